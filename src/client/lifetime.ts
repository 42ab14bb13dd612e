/**
 * The part common to connections, sessions and links: each begins, is closed by its user, and ends once.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError, type ErrorScope, OutcomeError, TransportError } from "../base/errors.ts";
import { checkOptions, type OptionKinds, WAIT_KINDS } from "../base/options.ts";
import type { ErrorFields } from "../codec/types.ts";
import { abortable, Deferred, type WaitOptions, within } from "../base/wait.ts";

/** The default of {@linkcode CloseOptions.timeoutMs}, in milliseconds. */
export const DEFAULT_CLOSE_WAIT_MS = 5_000;
/** Milliseconds that an unbounded wait lasts before a warning is logged. */
export const WARNING_DELAY_MS = 10_000;

/** Options of closing a connection, session or link. */
export interface CloseOptions extends WaitOptions {
  /**
   * Milliseconds to wait for messages in flight, and again for the peer's answer. Default: 5,000, for the answer the
   * `closeTimeoutMs` of the connection's limits. A close that is under way already ends within them, too.
   */
  timeoutMs?: number | undefined;
  /** The error to send to the peer. Default: none, an orderly close. */
  error?: AmqpError | ErrorFields | undefined;
}

/** What a close needs of what is closed. */
export interface Dropping {
  readonly environment: Environment;
  /** Ends it without waiting for the peer, which has had its milliseconds. */
  drop(timeoutMs: number): void;
}

/** The kinds of {@linkcode CloseOptions}. */
export const CLOSE_KINDS: OptionKinds<CloseOptions> = {
  signal: "object",
  timeoutMs: "number",
  error: "object with condition",
};

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
  #begun = false;
  #over = false;
  // Promises that were asked for: most are not, and a server has thousands of connections.
  #beginning: Deferred<void> | undefined;
  #ending: Deferred<void> | undefined;
  #closing: Promise<void> | undefined;
  #error: Error | undefined;

  /** True until the object has ended or begins to close. */
  get open(): boolean {
    return !this.#over && this.#closing === undefined;
  }

  /** The error of the end, if it was not in order. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Resolves when the object has ended, in whatever way. */
  get closed(): Promise<void> {
    const ending = this.#ending ??= new Deferred<void>();
    if (this.#over) ending.resolve();
    return ending.promise;
  }

  /**
   * Waits until the peer has begun its side; after an interruption, until it has done so again.
   *
   * @throws {AmqpError | TransportError} If the peer refuses, or the object ends first.
   */
  ready(options: WaitOptions = {}): Promise<void> {
    try {
      checkOptions(`wait for ${this.describe().label}`, options, WAIT_KINDS);
    } catch (error) {
      return Promise.reject(error);
    }
    const beginning = this.#beginning ??= new Deferred<void>();
    if (this.#begun) beginning.resolve();
    else if (this.#over) beginning.reject(this.#error ?? this.endError("wait"));
    return abortable(beginning.promise, options.signal);
  }

  /** Ends the object in order. Never fails because it has ended already. */
  abstract close(options?: CloseOptions): Promise<void>;

  /** Ends the object in order. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * @ignore Throws unless the object is open.
   *
   * @throws {AmqpError} If the object has ended or begins to close.
   */
  requireOpen(doing: string): void {
    if (!this.open) throw this.endError(doing);
  }

  /** The label for errors, and their scope. */
  protected abstract describe(): { label: string; scope: ErrorScope };

  /** The error of a call after the end. */
  protected endError(doing: string): AmqpError {
    const { label, scope } = this.describe();
    const cause = this.#error;
    const known = cause instanceof AmqpError;
    return new AmqpError(
      known ? cause.condition : condition.illegalState,
      `Cannot ${doing}: ${label} is closed${cause === undefined ? "" : `, ${cause.message}`}`,
      // Retryable if a new object may do.
      { scope, cause, retryable: known ? cause.retryable : cause !== undefined },
    );
  }

  /** @ignore True once the object has ended. */
  get over(): boolean {
    return this.#over;
  }

  /** Called when the peer has begun its side. */
  protected begin(): void {
    this.#begun = true;
    this.#beginning?.resolve();
  }

  /** @ignore Runs `work` unless a close is under way, and waits for the close or the signal. */
  protected async closeBy(work: () => Promise<void>, options: CloseOptions, dropping: Dropping): Promise<void> {
    checkOptions(`close ${this.describe().label}`, options, CLOSE_KINDS);
    const { signal, timeoutMs } = options;
    let closed = this.#closing;
    // A close that is under way may wait for longer than this caller wants to.
    if (closed !== undefined && timeoutMs !== undefined) {
      const { environment } = dropping;
      closed = within(closed, timeoutMs, environment).then((inTime) => inTime || this.#over || dropping.drop(timeoutMs))
        .then(() => this.#closing);
    }
    await abortable(closed ?? (this.#closing = work()), signal);
  }

  /** Called when the peer's side is lost for now; `ready` waits for the next. */
  protected interrupt(): void {
    if (!this.#begun) return;
    this.#begun = false;
    this.#beginning = undefined;
  }

  /** Marks the end. Returns a lazy error for waiting callers: an orderly end often has none, and errors are slow to make. */
  protected end(error: Error | undefined): () => Error {
    this.#over = true;
    this.#error = error;
    let ending = error;
    const endingOf = (): Error => ending ??= this.endError("wait");
    this.#beginning?.reject(endingOf());
    this.#ending?.resolve();
    return endingOf;
  }
}

/** A copy of the error whose text ends with `where`. An error of the program, or of a message, is returned as it is. */
export function located(error: Error, where: string): Error {
  if (!(error instanceof AmqpError || error instanceof TransportError) || error instanceof OutcomeError) return error;
  const message = `${error.message} (${where})`;
  const { cause } = error;
  if (error instanceof AmqpError) return new AmqpError(error.condition, message, { ...error, cause });
  const { headers, body } = error;
  return new TransportError(error.code, message, { ...error, headers, body, cause });
}
