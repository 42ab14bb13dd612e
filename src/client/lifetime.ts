/**
 * What connections, sessions and links have in common: each begins, is closed by its user, and ends once.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, type ErrorScope, TransportError } from "../base/errors.ts";
import { checkOptions, type OptionKinds, WAIT_KINDS } from "../base/options.ts";
import { abortable, Deferred, type WaitOptions } from "../base/wait.ts";

/** How long closing waits for messages in flight and for the peer's answer by default, in milliseconds. */
export const DEFAULT_CLOSE_WAIT_MS = 5_000;
/** How long something waits that may wait for ever before the log is told, in milliseconds. */
export const PATIENCE_MS = 10_000;

/** How something is closed. */
export interface CloseOptions extends WaitOptions {
  /** Milliseconds to wait for what is in flight, and again for the peer's answer. Default: 5,000. */
  timeoutMs?: number | undefined;
  /** Tells the peer why. Default: an orderly close. */
  error?: AmqpError | undefined;
}

/** What a call that closes takes. */
export const CLOSE_KINDS: OptionKinds<CloseOptions> = { signal: "object", timeoutMs: "number", error: "object" };

/**
 * A connection, session or link, from its beginning to its end.
 *
 * @example
 * ```ts
 * import type { Lifetime } from "@webamqp/amqp";
 *
 * // Tells of the end of a connection, session or link.
 * async function watch(what: string, lifetime: Lifetime) {
 *   await lifetime.closed;
 *   console.log(`${what} has ended`, lifetime.error?.message ?? "in order");
 * }
 * ```
 */
export abstract class Lifetime {
  #begun = new Deferred<void>();
  readonly #ended = new Deferred<void>();
  #closing: Promise<void> | undefined;
  #over = false;
  #error: Error | undefined;

  /** True until it has ended or begins to close. */
  get open(): boolean {
    return !this.#over && this.#closing === undefined;
  }

  /** What it ended with, if it was an error. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Resolves when it has ended, in whatever way. */
  get closed(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Waits until the peer has begun its side; after an interruption, until it has done so again.
   *
   * @throws {AmqpError | TransportError} If the peer refused, or it ended first.
   */
  ready(options: WaitOptions = {}): Promise<void> {
    try {
      checkOptions(`wait for ${this.describe().label}`, options, WAIT_KINDS);
    } catch (error) {
      return Promise.reject(error);
    }
    return abortable(this.#begun.promise, options.signal);
  }

  /** Ends it in order. Never fails because it has ended already. */
  abstract close(options?: CloseOptions): Promise<void>;

  /** Ends it in order. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * @ignore Before something is begun on it.
   *
   * @throws {AmqpError} If it has ended or begins to close.
   */
  requireOpen(doing: string): void {
    if (!this.open) throw this.endError(doing);
  }

  /** What it is in an error, and how much ends with it. */
  protected abstract describe(): { label: string; scope: ErrorScope };

  /** What a call after the end is answered with. */
  protected endError(doing: string): AmqpError {
    const { label, scope } = this.describe();
    const cause = this.#error;
    const known = cause instanceof AmqpError;
    return new AmqpError(
      known ? cause.condition : condition.illegalState,
      `Cannot ${doing}: ${label} is closed${cause === undefined ? "" : `, ${cause.message}`}`,
      // Whether it may do on a new one.
      { scope, cause, retryable: known ? cause.retryable : cause !== undefined },
    );
  }

  /** @ignore True once it has ended. */
  get over(): boolean {
    return this.#over;
  }

  /** Notes that the peer has begun its side. */
  protected begin(): void {
    this.#begun.resolve();
  }

  /** Closes it by `work`, unless that was begun already, and waits for its end or the signal. */
  protected async closeBy(work: () => Promise<void>, options: CloseOptions): Promise<void> {
    checkOptions(`close ${this.describe().label}`, options, CLOSE_KINDS);
    await abortable(this.#closing ??= work(), options.signal);
  }

  /** Notes that the peer's side is gone for now; `ready` waits for the next. */
  protected interrupt(): void {
    if (this.#begun.settled) this.#begun = new Deferred<void>();
  }

  /** Notes the end, and gives what tells it to those who wait: an end in order has nobody, and an error takes its time to make. */
  protected end(error: Error | undefined): () => Error {
    this.#over = true;
    this.#error = error;
    let ending = error;
    const tell = (): Error => ending ??= this.endError("wait");
    if (!this.#begun.settled) this.#begun.reject(tell());
    this.#ended.resolve();
    return tell;
  }
}

/** The same error, whose text ends with where it happened. */
export function located(error: Error, where: string): Error {
  const message = `${error.message} (${where})`;
  const { cause } = error;
  if (error instanceof AmqpError) return new AmqpError(error.condition, message, { ...error, cause });
  return error instanceof TransportError ? new TransportError(error.code, message, { ...error, cause }) : error;
}
