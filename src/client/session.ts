/**
 * Sessions beside the connection's default one.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, type ErrorScope } from "../base/errors.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import { type CloseOptions, Lifetime } from "./lifetime.ts";
import { answerWait, closeFor, type Link, type LinkConnection } from "./link.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import { checkedOptions, type ReceiverOptions, type SenderOptions } from "./link_options.ts";
import { within } from "../base/wait.ts";

export type { SessionOptions };

/** The connection of a session. */
export interface SessionConnection extends LinkConnection {
  /** @ignore Attaches a sender to a session. */
  attachSender(session: SharedSession, options: SenderOptions): Sender;
  /** @ignore Attaches a receiver to a session. */
  attachReceiver(session: SharedSession, options: ReceiverOptions): Receiver;
  /** @ignore */
  linksOf(session: SharedSession): Link[];
  /** @ignore */
  closeLinks(options: CloseOptions, session: SharedSession): Promise<void>;
  /** @ignore Removes and ends a session. */
  endSession(session: SharedSession, error?: Error): void;
}

/** A session over all attachments: its settings, and its present endpoint. */
export interface SharedSession {
  /** The settings of each begin. */
  readonly options: SessionOptions;
  /** @ignore The engine's endpoint, while begun. */
  endpoint: SessionEndpoint | undefined;
  /** @ignore The peer's last handle-max: after a reconnect as many links attach in one flight with the begin. */
  knownHandleMax?: number | undefined;
  /** The public session; undefined for the connection's default one. */
  readonly session: Session | undefined;
}

/**
 * A session: links that share a flow-control window and a sequence of deliveries.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 *
 * async function main(connection: Connection) {
 *   // A window of its own: large files do not hold back the orders.
 *   await using files = connection.session({ incomingWindow: 16 });
 *   const delivery = await files.receiver("files").receive();
 *   delivery.accept();
 * }
 * ```
 */
export class Session extends Lifetime {
  /** The connection of the session. */
  readonly connection: SessionConnection;

  readonly #shared: SharedSession;

  /** Made by the connection. */
  constructor(connection: SessionConnection, options: SessionOptions) {
    super();
    this.connection = connection;
    this.#shared = { options, endpoint: undefined, session: this };
  }

  /** @ignore For the connection. */
  get shared(): SharedSession {
    return this.#shared;
  }

  /**
   * Attaches a sender on this session; see {@linkcode Connection.sender}.
   *
   * @throws {AmqpError} If the session or connection has ended, or the peer takes no more links.
   */
  sender(address: string | SenderOptions, options?: SenderOptions): Sender {
    this.requireOpen("attach sender");
    return this.connection.attachSender(this.#shared, checkedOptions("sender", address, options));
  }

  /**
   * Attaches a receiver on this session; see {@linkcode Connection.receiver}.
   *
   * @throws {AmqpError} If the session or connection has ended, or the peer takes no more links.
   */
  receiver(address: string | ReceiverOptions, options?: ReceiverOptions): Receiver {
    this.requireOpen("attach receiver");
    return this.connection.attachReceiver(this.#shared, checkedOptions("receiver", address, options));
  }

  /** Closes the links of the session, then ends it. Never fails because the session has ended already. */
  override close(options: CloseOptions = {}): Promise<void> {
    const close = (): Promise<void> =>
      this.closeBy(() => this.#close(options), options, {
        environment: this.connection.environment,
        drop: () => {
          this.#shared.endpoint?.end();
          this.connection.wake();
          for (const link of this.connection.linksOf(this.#shared)) this.connection.endLink(link);
          this.connection.endSession(this.#shared);
        },
      });
    return closeFor(close, this.connection.linksOf(this.#shared), options);
  }

  /** @ignore Called by the connection. */
  handleBegun(): void {
    this.begin();
  }

  /** @ignore Called by the connection when the session is to be begun again. */
  handleInterrupted(): void {
    this.interrupt();
  }

  /** @ignore Called by the connection. */
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

  /** @ignore The facts that `console.log` prints. */
  facts(): Record<string, unknown> {
    const state = this.over ? "closed" : this.open ? "open" : "closing";
    return { state, links: this.connection.linksOf(this.#shared).length, host: this.connection.host };
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    return { label: "session", scope: "session" };
  }

  async #close(options: CloseOptions): Promise<void> {
    const { timeoutMs, error } = options;
    await this.connection.closeLinks({ timeoutMs, error }, this.#shared);
    if (this.over) return;
    const { endpoint } = this.#shared;
    endpoint?.end(options.error);
    this.connection.wake();
    if (
      endpoint !== undefined && endpoint.state !== "ended" &&
      await within(this.closed, answerWait(this.connection, options), this.connection.environment)
    ) return;
    this.connection.endSession(this.#shared);
  }
}
