/**
 * A connection as its user sees it, on either side.
 *
 * @module
 */

import type { DecodedMessage, Message } from "../codec/message.ts";
import { ReceiverEndpoint } from "../engine/receiver.ts";
import { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import { ConnectionBase, type ConnectionEvent } from "./connection_base.ts";
import { checkCredit, Receiver, type ReceiveTerms } from "./receiver.ts";
import type { Requester } from "./request.ts";
import { Sender, type SendTerms } from "./sender.ts";
import { Session } from "./session.ts";
import {
  receiverAttach,
  type ReceiverOptions,
  senderAttach,
  type SenderOptions,
  SESSION_KINDS,
  terms,
} from "./terms.ts";
import type { Coordinator, Transaction } from "./transaction.ts";
import { checkOptions } from "../base/options.ts";
import { abortable, Deferred, type WaitOptions } from "../base/wait.ts";

export type { ConnectionEvent };

/**
 * One AMQP connection: sessions and links over one WebSocket.
 *
 * It is made by {@linkcode connect}, or handed over by an acceptor. When it breaks, everything that waits on it ends at
 * once with the error.
 */
export class Connection extends ConnectionBase {
  #requester: Requester | undefined;
  #coordinator: Coordinator | undefined;

  /**
   * Attaches a sender. It can be used at once: messages wait until the peer has accepted it and gives credit.
   *
   * @throws {AmqpError} If the connection has ended, or the peer takes no more links.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function order(connection: Connection) {
   *   await using orders = connection.sender("orders");
   *   await orders.send({ body: "one coffee" });
   * }
   * ```
   */
  sender(address: string | SenderOptions, options?: SenderOptions): Sender {
    return this.attachSender(this.defaultSession(), terms("sender", address, options));
  }

  /**
   * Attaches a receiver.
   *
   * @throws {AmqpError} If the connection has ended, or the peer takes no more links.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function work(connection: Connection) {
   *   await using orders = connection.receiver({ address: "orders", credit: 10 });
   *   for await (const delivery of orders) console.log(delivery.message.text());
   * }
   * ```
   */
  receiver(address: string | ReceiverOptions, options?: ReceiverOptions): Receiver {
    return this.attachReceiver(this.defaultSession(), terms("receiver", address, options));
  }

  /**
   * Begins a session of its own, for links that shall not share the window of the others.
   *
   * @throws {AmqpError} If the connection has ended, or either side takes no more sessions.
   * @throws {TypeError} If an option does not exist or is of the wrong kind.
   */
  session(options: SessionOptions = {}): Session {
    checkOptions("begin session", options, SESSION_KINDS);
    const endpoint = this.beginSession(options);
    const session = new Session(this, endpoint);
    this.addSession(endpoint, session);
    return session;
  }

  /**
   * Sends a request and waits for its answer, which the peer sends to a dynamic node of this connection.
   *
   * The request's `messageId`, `correlationId` and `replyTo` are set here.
   *
   * @throws {OutcomeError} If the request was not accepted.
   * @throws {AmqpError} If a link or the connection ended before the answer came.
   */
  async request(address: string, message: Message, options: WaitOptions = {}): Promise<DecodedMessage> {
    this.requireOpen("send request");
    const { Requester } = await import("./request.ts");
    this.#requester ??= new Requester(this);
    return await this.#requester.request(address, message, options);
  }

  /**
   * Begins a local transaction: what is sent and settled in it takes effect together, or not at all.
   *
   * Its senders and receivers are those of the connection. Leaving its scope rolls it back unless it was committed.
   *
   * @throws {AmqpError} If the peer has no coordinator of transactions, refuses, or the connection has ended.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function transfer(connection: Connection) {
   *   const orders = connection.receiver("orders");
   *   const bills = connection.sender("bills");
   *   const delivery = await orders.receive();
   *   await using transaction = await connection.transaction();
   *   transaction.send(bills, { body: "a bill" });
   *   transaction.accept(delivery);
   *   await transaction.commit();
   * }
   * ```
   */
  async transaction(options: WaitOptions = {}): Promise<Transaction> {
    this.requireOpen("begin transaction");
    const { Coordinator } = await import("./transaction.ts");
    this.#coordinator ??= new Coordinator(this);
    return await this.#coordinator.begin(options);
  }

  /** What happens to the connection from now on, up to and with its end; a signal that is aborted makes it throw. */
  events(options: WaitOptions = {}): AsyncGenerator<ConnectionEvent, void, void> {
    const events = new EventQueue();
    const leave = this.listen((event) => events.push(event));
    return events.iterate(options.signal, leave);
  }

  /** @ignore For sessions. */
  attachSender(session: SessionEndpoint, options: SenderOptions): Sender {
    this.requireOpen("attach sender");
    const endpoint = session.attach(SenderEndpoint, senderAttach(options, this));
    return this.adopt(endpoint, options);
  }

  /** @ignore For sessions. */
  attachReceiver(session: SessionEndpoint, options: ReceiverOptions): Receiver {
    this.requireOpen("attach receiver");
    checkCredit(options.credit);
    const endpoint = session.attach(ReceiverEndpoint, receiverAttach(options, this));
    return this.adopt(endpoint, options);
  }

  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint, terms: SendTerms): Sender;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: ReceiverEndpoint, terms: ReceiveTerms): Receiver;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint | ReceiverEndpoint, terms: SendTerms & ReceiveTerms): Sender | Receiver {
    const link = endpoint.role === "sender" ? new Sender(this, endpoint, terms) : new Receiver(this, endpoint, terms);
    return this.addLink(endpoint, link);
  }

  /** {@inheritDoc ConnectionBase.beforeClose} */
  protected override beforeClose(timeoutMs: number): Promise<void> {
    return this.closeLinks({ timeoutMs });
  }
}

/** Events between their happening and their being asked for. */
class EventQueue {
  readonly #events: ConnectionEvent[] = [];
  #arrived = new Deferred<void>();

  push(event: ConnectionEvent): void {
    this.#events.push(event);
    this.#arrived.resolve();
  }

  async *iterate(signal: AbortSignal | undefined, leave: () => void): AsyncGenerator<ConnectionEvent, void, void> {
    try {
      for (;;) {
        await abortable(this.#arrived.promise, signal);
        const event = this.#events.shift();
        if (event === undefined) this.#arrived = new Deferred<void>();
        else yield event;
        if (event?.kind === "closed") return;
      }
    } finally {
      leave();
    }
  }
}
