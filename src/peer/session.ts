/**
 * Sessions, for those who want more than the connection's own one.
 *
 * @module
 */

import * as condition from "../condition.ts";
import { AmqpError } from "../errors.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import type { Connection } from "./connection.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, mayRetry } from "./link.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import { type ReceiverOptions, type SenderOptions, terms } from "./terms.ts";
import { abortable, Deferred, type WaitOptions, within } from "./wait.ts";

export type { SessionOptions };

/** A session: links that share a flow-control window and a sequence of deliveries. */
export class Session {
  /** The connection it is multiplexed on. */
  readonly connection: Connection;

  readonly #endpoint: SessionEndpoint;
  readonly #begun = new Deferred<void>();
  readonly #ended = new Deferred<void>();
  #closing: Promise<void> | undefined;
  #over = false;
  #error: Error | undefined;

  /** Built by the connection. */
  constructor(connection: Connection, endpoint: SessionEndpoint) {
    this.connection = connection;
    this.#endpoint = endpoint;
  }

  /** True until the session has ended or begins to close. */
  get open(): boolean {
    return !this.#over && this.#closing === undefined;
  }

  /** What the session ended with, if it was an error. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Resolves when the session has ended, in whatever way. */
  get closed(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Waits until the peer has begun its side.
   *
   * @throws {AmqpError} If the session or connection ended first.
   */
  ready(options: WaitOptions = {}): Promise<void> {
    return abortable(this.#begun.promise, options.signal);
  }

  /**
   * Attaches a sender on this session; see {@linkcode Connection.sender}.
   *
   * @throws {AmqpError} If the session or connection has ended, or the peer takes no more links.
   */
  sender(address: string | SenderOptions, options?: SenderOptions): Sender {
    this.#requireOpen("attach sender");
    return this.connection.attachSender(this.#endpoint, terms(address, options));
  }

  /**
   * Attaches a receiver on this session; see {@linkcode Connection.receiver}.
   *
   * @throws {AmqpError} If the session or connection has ended, or the peer takes no more links.
   */
  receiver(address: string | ReceiverOptions, options?: ReceiverOptions): Receiver {
    this.#requireOpen("attach receiver");
    return this.connection.attachReceiver(this.#endpoint, terms(address, options));
  }

  /** Closes the links of the session, then ends it. Never fails because it has ended already. */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#closeNow(options);
    return abortable(this.#closing, options.signal);
  }

  /** Ends the session. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @ignore Told by the connection. */
  handleBegun(): void {
    this.#begun.resolve();
  }

  /** @ignore Told by the connection. */
  handleEnded(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    if (error === undefined && this.#closing === undefined && this.connection.open) {
      error = new AmqpError(condition.illegalState, "Session ended by peer without an error", {
        scope: "session",
        remote: true,
      });
    }
    this.#error = error;
    this.#begun.reject(error ?? this.#endError("wait"));
    this.#ended.resolve();
  }

  #requireOpen(doing: string): void {
    if (!this.open) throw this.#endError(doing);
  }

  #endError(doing: string): AmqpError {
    const cause = this.#error;
    return new AmqpError(
      cause instanceof AmqpError ? cause.condition : condition.illegalState,
      `Cannot ${doing}: session is closed${cause === undefined ? "" : `, ${cause.message}`}`,
      { scope: "session", cause, retryable: mayRetry(cause) },
    );
  }

  async #closeNow(options: CloseOptions): Promise<void> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
    await this.connection.closeLinks({ timeoutMs, error: options.error }, this.#endpoint);
    if (this.#over) return;
    this.#endpoint.end(options.error);
    this.connection.wake();
    if (!await within(this.#ended.promise, timeoutMs)) this.connection.dropSession(this.#endpoint);
  }
}
