/**
 * Sessions, for those who want more than the connection's own one.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, type ErrorScope } from "../base/errors.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, Lifetime } from "./lifetime.ts";
import type { LinkConnection } from "./link.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import { type ReceiverOptions, type SenderOptions, terms } from "./terms.ts";
import { within } from "../base/wait.ts";

export type { SessionOptions };

/** The connection of a session: what its user finds there, and what the session asks of it. */
export interface SessionConnection extends LinkConnection {
  /** @ignore Attaches a sender on a session. */
  attachSender(session: SessionEndpoint, options: SenderOptions): Sender;
  /** @ignore Attaches a receiver on a session. */
  attachReceiver(session: SessionEndpoint, options: ReceiverOptions): Receiver;
  /** @ignore Closes the links of a session. */
  closeLinks(options: CloseOptions, session: SessionEndpoint): Promise<void>;
  /** @ignore Ends a session whose end the peer never answers. */
  dropSession(endpoint: SessionEndpoint, error?: Error): void;
}

/** A session: links that share a flow-control window and a sequence of deliveries. */
export class Session extends Lifetime {
  /** The connection it is multiplexed on. */
  readonly connection: SessionConnection;

  readonly #endpoint: SessionEndpoint;

  /** Built by the connection. */
  constructor(connection: SessionConnection, endpoint: SessionEndpoint) {
    super();
    this.connection = connection;
    this.#endpoint = endpoint;
  }

  /**
   * Attaches a sender on this session; see {@linkcode Connection.sender}.
   *
   * @throws {AmqpError} If the session or connection has ended, or the peer takes no more links.
   */
  sender(address: string | SenderOptions, options?: SenderOptions): Sender {
    this.requireOpen("attach sender");
    return this.connection.attachSender(this.#endpoint, terms("sender", address, options));
  }

  /**
   * Attaches a receiver on this session; see {@linkcode Connection.receiver}.
   *
   * @throws {AmqpError} If the session or connection has ended, or the peer takes no more links.
   */
  receiver(address: string | ReceiverOptions, options?: ReceiverOptions): Receiver {
    this.requireOpen("attach receiver");
    return this.connection.attachReceiver(this.#endpoint, terms("receiver", address, options));
  }

  /** Closes the links of the session, then ends it. Never fails because it has ended already. */
  override close(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(options), options);
  }

  /** @ignore Told by the connection. */
  handleBegun(): void {
    this.begin();
  }

  /** @ignore Told by the connection. */
  handleEnded(error: Error | undefined): void {
    if (this.over) return;
    if (error === undefined && this.open && this.connection.open) {
      error = new AmqpError(condition.illegalState, "Session ended by peer without an error", {
        scope: "session",
        remote: true,
      });
    }
    this.end(error);
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    return { label: "session", scope: "session" };
  }

  async #close(options: CloseOptions): Promise<void> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
    await this.connection.closeLinks({ timeoutMs, error: options.error }, this.#endpoint);
    if (this.over) return;
    this.#endpoint.end(options.error);
    this.connection.wake();
    if (!await within(this.closed, timeoutMs, this.connection.environment)) this.connection.dropSession(this.#endpoint);
  }
}
