/**
 * A connection as its user sees it, on either side.
 *
 * @module
 */

import { Delivery } from "./delivery.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import type { Channel } from "../transport/channel.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { SessionOptions } from "../engine/session.ts";
import type { AttachmentSettings } from "./connection_base.ts";
import type { ConnectionEvent, ConnectionState, ConnectionStats } from "./events.ts";
import { KeptSenders } from "./kept_senders.ts";
import type { CloseOptions } from "./lifetime.ts";
import { LastingConnection } from "./lasting_connection.ts";
import type { Link } from "./link.ts";
import { closeFor } from "./handlers.ts";
import { checkCredit, checkServe, type ReceiveSettings, type ServeOptions } from "./receive_options.ts";
import { Receiver } from "./receiver.ts";
import type { SendOptions, SendOutcome } from "./outcome.ts";
import type { Requester, RequestOptions, Responding } from "./request.ts";
import { Sender, type SendSettings } from "./sender.ts";
import { Session, type SharedSession } from "./session.ts";
import {
  checkedOptions,
  receiverAttach,
  type ReceiverOptions,
  senderAttach,
  type SenderOptions,
  SESSION_KINDS,
  twinAttach,
} from "./link_options.ts";
import type { Transaction, TransactionController } from "./transaction.ts";
import { checkAddress, checkOptions, WAIT_KINDS } from "../base/options.ts";
import { abortable, ignore, part, rejected, type WaitOptions } from "../base/wait.ts";

export type { ConnectionEvent, ConnectionState, ConnectionStats };

/**
 * One AMQP connection: sessions and links over one WebSocket.
 *
 * It is made by {@linkcode connect}, or handed over by an acceptor. When it breaks, everything that waits on it ends at
 * once with the error.
 *
 * @example
 * ```ts
 * import { connect, plain } from "@webamqp/amqp";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp", { auth: plain("user", "secret") });
 *   await connection.send("orders", { body: "one coffee" });
 *   console.log(connection.state, connection.stats());
 * }
 * ```
 */
export class Connection extends LastingConnection {
  #requester: Requester | undefined;
  #kept: KeptSenders | undefined;
  #coordinator: TransactionController | undefined;
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
    return this.attachSender(this.defaultSession(), checkedOptions("sender", address, options));
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
    const checked = checkedOptions("receiver", address, options);
    if (!checked.stream) return this.attachReceiver(this.defaultSession(), checked);
    return this.#onOwnSession((session) => this.attachReceiver(session, checked));
  }

  // Inside a delivery the window of the session is the only brake, which must not stop others.
  #onOwnSession<L extends Link>(attach: (session: SharedSession) => L): L {
    // Begun first, so that there is one for the others where the peer takes no more: better slow than not at all.
    const common = this.defaultSession();
    const shared: SharedSession = { options: common.options, endpoint: undefined, session: undefined };
    try {
      this.addSession(shared);
    } catch (error) {
      const link = attach(common);
      link.complain("sharesSession", { error });
      return link;
    }
    const end = (): void => {
      shared.endpoint?.end();
      this.endSession(shared);
      this.wake();
    };
    try {
      const link = attach(shared);
      link.closed.then(end);
      return link;
    } catch (error) {
      end();
      throw error;
    }
  }

  /**
   * Begins a session of its own, for links that shall not share the window of the others.
   *
   * @throws {AmqpError} If the connection has ended, or either side takes no more sessions.
   * @throws {TypeError} If an option does not exist or is of the wrong kind.
   */
  session(options: SessionOptions = {}): Session {
    checkOptions("begin session", options, SESSION_KINDS);
    const session = new Session(this, options);
    this.addSession(session.shared);
    return session;
  }

  /**
   * Sends a request and waits for its answer, which the peer sends to a dynamic node of this connection, or to
   * `options.replyTo`. Any number of requests may wait at a time; they go on when the connection is lost and comes back, for
   * which a request may be sent twice.
   *
   * The answer is known by its correlation-id, the request's `messageId` or `correlationId`, which are made up where the
   * message has none. A request that is never answered waits until `signal` is aborted, such as `AbortSignal.timeout(5_000)`.
   *
   * @throws {OutcomeError} If the request was not accepted.
   * @throws {AmqpError} If a link or the connection ended before the answer came.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function ask(connection: Connection) {
   *   const answer = await connection.request("prices", { body: "coffee" }, { signal: AbortSignal.timeout(5_000) });
   *   console.log(answer.text());
   * }
   * ```
   */
  async request(address: string, message: Message, options: RequestOptions = {}): Promise<DecodedMessage> {
    checkAddress("send request", address);
    checkOptions("send request", options, { signal: "object", replyTo: "string", receiver: "object" });
    this.requireOpen("send request");
    return await (await this.#requests()).request(address, message, options);
  }

  /**
   * Answers the requests that come to an address: what `handler` gives goes to the request's `replyTo`, with its
   * correlation-id. Everything else is as for {@linkcode Receiver.serve}; a request is accepted when its answer is.
   *
   * Returns when `options.signal` is aborted or the connection is closed. The promise need not be looked at.
   *
   * @throws {TypeError} At once, if the handler is no function, or an option does not exist or is of the wrong kind.
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * function answer(connection: Connection, signal: AbortSignal) {
   *   return connection.respond("prices", (request) => ({ body: `${request.text()}: 3.20` }), { signal, concurrency: 4 });
   * }
   * ```
   */
  respond(address: string | ReceiverOptions, handler: Responding, options: ServeOptions = {}): Promise<void> {
    checkServe("respond", handler, options);
    const receiver = this.receiver(address);
    const responding = this.#requests()
      .then((requests) => requests.respond(receiver, handler, options))
      .finally(() => receiver.close());
    responding.catch(ignore);
    return responding;
  }

  async #requests(): Promise<Requester> {
    const { Requester } = await part("request", () => import("./request.ts"));
    return this.#requester ??= new Requester(this);
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
    checkOptions("begin transaction", options, WAIT_KINDS);
    this.requireOpen("begin transaction");
    const { TransactionController } = await part("transaction", () => import("./transaction.ts"));
    this.#coordinator ??= new TransactionController(this);
    return await this.#coordinator.begin(options);
  }

  /**
   * Sends one message to `address`, over a sender that is kept for the next one to the same address: at most 256 are, and an
   * idle one for a minute.
   *
   * @returns The outcome.
   * @throws {OutcomeError} If the message was rejected, released, modified, or its outcome was lost.
   * @throws {AmqpError} If the link was refused, or the connection ended before the message left.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function order(connection: Connection) {
   *   await connection.send("orders", { body: "one coffee" });
   * }
   * ```
   */
  send(
    address: string,
    message: Message | Uint8Array,
    options?: SendOptions & { settled?: false | undefined },
  ): Promise<SendOutcome>;
  /** Sends one message to `address` settled: at most once, and without an outcome. */
  send(address: string, message: Message | Uint8Array, options: SendOptions & { settled: true }): Promise<undefined>;
  /** Sends one message to `address` as `options` say, which are known only when the program runs. */
  send(address: string, message: Message | Uint8Array, options?: SendOptions): Promise<SendOutcome | undefined>;
  send(address: string, message: Message | Uint8Array, options: SendOptions = {}): Promise<SendOutcome | undefined> {
    try {
      if (!this.open) this.requireOpen(`send to "${address}"`);
      return (this.#kept ??= new KeptSenders(this)).get(address).send(message, options);
    } catch (error) {
      return rejected(error);
    }
  }

  /**
   * Ends in order what the connection does, such as when a program is asked to stop: receivers take no more, handlers that run
   * come to their end and may still send, then sends get their outcomes, and the connection is closed.
   *
   * Without `timeoutMs` it waits as long as handlers and sends take, also for a lost connection to come back.
   */
  async drain(options: Omit<CloseOptions, "error"> = {}): Promise<void> {
    checkOptions("drain connection", options, { signal: "object", timeoutMs: "number" });
    const { timeoutMs = Infinity, signal } = options;
    const closing: Promise<void>[] = [];
    for (const link of this.links.keys()) if (link instanceof Receiver) closing.push(link.close({ timeoutMs }));
    await abortable(Promise.all(closing), signal);
    await this.close({ timeoutMs, signal });
  }

  /** What it has done so far: a copy, which counts no further. */
  stats(): ConnectionStats {
    const { bytesSent = 0, bytesReceived = 0 } = this.attachment?.driver ?? {};
    const { stats } = this.history;
    return {
      ...stats,
      creditWaits: this.creditWaits,
      bytesSent: stats.bytesSent + bytesSent,
      bytesReceived: stats.bytesReceived + bytesReceived,
    };
  }

  /** What happens to the connection from now on, up to and with its end; a signal that is aborted makes it throw. */
  events(options: WaitOptions = {}): AsyncGenerator<ConnectionEvent, void, void> {
    checkOptions("tell events", options, WAIT_KINDS);
    return this.history.listen(options.signal, this.over, this.error);
  }

  /** @ignore For sessions. */
  attachSender(session: SharedSession, options: SenderOptions): Sender {
    this.requireOpen("attach sender");
    return this.addLink(new Sender(this, senderAttach(options, this), options), session);
  }

  /** @ignore For a message that is streamed. */
  twin({ settings, address }: Link): Sender {
    this.requireOpen("attach sender");
    return this.#onOwnSession((session) =>
      this.addLink(new Sender(this, twinAttach(settings!, address, this.environment), { recovery: "fail" }), session)
    );
  }

  /** @ignore For sessions. */
  attachReceiver(session: SharedSession, options: ReceiverOptions): Receiver {
    this.requireOpen("attach receiver");
    checkCredit(options.credit);
    return this.addLink(new Receiver(this, receiverAttach(options, this), options), session);
  }

  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint, settings: SendSettings): Sender;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: ReceiverEndpoint, settings: ReceiveSettings): Receiver;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint | ReceiverEndpoint, settings: SendSettings & ReceiveSettings): Sender | Receiver {
    const link = endpoint.role === "sender"
      ? new Sender(this, endpoint, settings)
      : new Receiver(this, endpoint, settings);
    this.attachment?.links.set(endpoint, link);
    this.links.set(link, undefined);
    this.wake();
    return link;
  }

  /** @ignore What `console.log` shows. */
  facts(): Record<string, unknown> {
    const { state, host, identity, containerId, remote, error } = this;
    return {
      state,
      host,
      identity,
      containerId,
      peer: remote?.containerId,
      sessions: this.sessions.size,
      links: this.linksOf().length,
      error: error?.message,
    };
  }

  /** @ignore {@inheritDoc ConnectionBase.attach} */
  override attach(channel: Channel, settings?: AttachmentSettings): void {
    showFacts(Connection.prototype, "Connection");
    showFacts(Session.prototype, "Session");
    showFacts(Sender.prototype, "Sender");
    showFacts(Receiver.prototype, "Receiver");
    showFacts(Delivery.prototype, "Delivery");
    super.attach(channel, settings);
  }

  /** @ignore {@inheritDoc ConnectionBase.finish} */
  override finish(error: Error | undefined): void {
    super.finish(error);
    this.#kept?.clear();
  }

  /**
   * Closes the connection: waits for sends in flight and running handlers, hands back messages that nobody took, then says
   * goodbye. Never fails because the connection has ended already.
   *
   * A handler of this connection that waits for it is not waited for: for that handler it resolves when all else is done.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return closeFor(() => super.close(options), this.linksOf(), options);
  }
}

type Inspect = (value: unknown, options: unknown) => string;

/** What an object tells of itself: what a person would ask, never a secret. */
interface Inspected {
  /** @ignore Its facts by name. */
  facts(): Record<string, unknown>;
}

/**
 * Has `console.log` and `JSON.stringify`, which writers of logs use, show the facts of all objects of a class.
 *
 * Called when the first of them is made, and not where the class is declared: that would be work at load.
 */
function showFacts(prototype: Inspected, name: string): void {
  const key = Symbol.for("nodejs.util.inspect.custom");
  if (Object.hasOwn(prototype, key)) return;
  Object.defineProperty(prototype, key, {
    value(this: Inspected, _depth: number, options: unknown, inspect?: Inspect): unknown {
      const facts = Object.fromEntries(Object.entries(this.facts()).filter(([, fact]) => fact !== undefined));
      return inspect === undefined ? facts : `${name} ${inspect(facts, options)}`;
    },
    configurable: true,
  });
  Object.defineProperty(prototype, "toJSON", {
    value(this: Inspected): unknown {
      return this.facts();
    },
    configurable: true,
  });
}
