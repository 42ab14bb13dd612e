/**
 * What senders and receivers have in common.
 *
 * @module
 */

import * as condition from "../condition.ts";
import { AmqpError } from "../errors.ts";
import { quote } from "../codec/text.ts";
import type { Attach } from "../codec/types.ts";
import type { ReceiverEndpoint, SenderEndpoint } from "../engine/link.ts";
import type { Connection } from "./connection.ts";
import { abortable, Deferred, type WaitOptions, within } from "./wait.ts";

/** How long closing waits for messages in flight and for the peer's answer by default, in milliseconds. */
export const DEFAULT_CLOSE_WAIT_MS = 5_000;

/** How something is closed. */
export interface CloseOptions extends WaitOptions {
  /** Milliseconds to wait for what is in flight, and again for the peer's answer. Default: 5,000. */
  timeoutMs?: number;
  /** Tells the peer why. Default: an orderly close. */
  error?: AmqpError;
}

/** Whether what ended with `cause` may do on a new link or connection. */
export function mayRetry(cause: Error | undefined): boolean {
  return cause instanceof AmqpError ? cause.retryable : cause !== undefined;
}

/** One end of a link, sending or receiving. */
export abstract class Link {
  /** The connection it belongs to. */
  readonly connection: Connection;

  readonly #endpoint: SenderEndpoint | ReceiverEndpoint;
  readonly #accepted: boolean;
  readonly #attached = new Deferred<void>();
  readonly #detached = new Deferred<void>();
  #closing: Promise<void> | undefined;
  #error: Error | undefined;
  #over = false;

  /** Built by the connection or session. */
  constructor(connection: Connection, endpoint: SenderEndpoint | ReceiverEndpoint) {
    this.connection = connection;
    this.#endpoint = endpoint;
    this.#accepted = endpoint.remote !== undefined;
    if (endpoint.state === "attached") this.#attached.resolve();
  }

  /** The link's name, which tells it from others between the same two containers. */
  get name(): string {
    return this.#endpoint.name;
  }

  /** What the peer's attach said, once it came. */
  get remote(): Readonly<Attach> | undefined {
    return this.#endpoint.remote;
  }

  /** The node's address: the one asked for, or the one that was made up for a dynamic node. */
  get address(): string | undefined {
    const { local, remote, role } = this.#endpoint;
    // The node stands at the side that accepted the link, and that side's attach says which it is.
    const attach = this.#accepted ? local : remote ?? local;
    const terminus = (role === "sender") === this.#accepted ? attach?.source : attach?.target;
    return terminus !== undefined && "address" in terminus ? terminus.address : undefined;
  }

  /** True until the link has ended. */
  get open(): boolean {
    return !this.#over && this.#closing === undefined;
  }

  /** What the link ended with, if it was an error. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Resolves when the link has ended, in whatever way. */
  get closed(): Promise<void> {
    return this.#detached.promise;
  }

  /**
   * Waits until the peer has accepted the link.
   *
   * @throws {AmqpError} If the peer refused it, or the link, session or connection ended first.
   */
  ready(options: WaitOptions = {}): Promise<void> {
    return abortable(this.#attached.promise, options.signal);
  }

  /**
   * Ends the link once what is in flight is done, or the time is up. Never fails because the link has ended already.
   *
   * It waits for the handlers of {@linkcode Receiver.serve}, so a handler must not wait for it.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#end(true, options);
  }

  /** Suspends the link: both sides keep the terminus and what is not settled, as far as they can. */
  detach(options: CloseOptions = {}): Promise<void> {
    return this.#end(false, options);
  }

  /** Closes the link. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Waits until nothing is in flight any more. */
  protected abstract idle(): Promise<void>;
  /** Called once, when the link has ended. */
  protected abstract onended(error: Error): void;
  /** Called when the link begins to close, before it waits. */
  protected onclosing(): void {}
  /** Called when the peer accepted the link. */
  protected onattached(): void {}

  /** What a call after the end is answered with. */
  protected endError(doing: string): Error {
    const cause = this.#error;
    const state = cause === undefined ? "it is closed" : cause.message;
    return new AmqpError(
      cause instanceof AmqpError ? cause.condition : condition.illegalState,
      `Cannot ${doing} on link ${quote(this.name)}: ${state}`,
      { scope: "link", cause, retryable: mayRetry(cause) },
    );
  }

  /** @ignore Told by the connection. */
  handleAttached(): void {
    this.#attached.resolve();
    this.onattached();
  }

  /** @ignore Told by the connection, when the link, its session or the connection ended. */
  handleEnded(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    // A link of ours that the peer ended without a reason is an error to whoever waits on it; its own link is its own.
    if (error === undefined && this.#closing === undefined && !this.#accepted) {
      error = new AmqpError(condition.detachForced, `Link ${quote(this.name)} detached by peer without an error`, {
        scope: "link",
        remote: true,
      });
    }
    this.#error = error;
    const ending = this.endError("wait");
    this.#attached.reject(error ?? ending);
    this.onended(error ?? ending);
    this.#detached.resolve();
  }

  #end(closed: boolean, options: CloseOptions): Promise<void> {
    this.#closing ??= this.#endNow(closed, options);
    return abortable(this.#closing, options.signal);
  }

  async #endNow(closed: boolean, options: CloseOptions): Promise<void> {
    if (this.#over) return;
    const timeoutMs = options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
    this.onclosing();
    await within(Promise.race([this.idle(), this.#detached.promise]), timeoutMs);
    if (this.#over) return;
    this.#endpoint.detach({ closed, error: options.error });
    this.connection.wake();
    if (!await within(this.#detached.promise, timeoutMs)) this.connection.dropLink(this.#endpoint);
  }
}
