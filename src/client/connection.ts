/**
 * The public connection, of clients and of servers.
 *
 * @module
 */

import type { DecodedMessage, Message } from "../codec/message.ts";
import { checkMessage } from "../codec/message_checks.ts";
import type { Channel } from "../transport/channel.ts";
import type { SessionOptions } from "../engine/session.ts";
import type { AttachmentSettings } from "./connection_base.ts";
import type { ConnectionEvent, ConnectionState, ConnectionStats } from "./events.ts";
import { KeptSenders } from "./kept_senders.ts";
import { showFacts } from "./inspect.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS } from "./lifetime.ts";
import { LastingConnection } from "./lasting_connection.ts";
import { closeFor, type Link, refused } from "./link.ts";
import { checkCredit, checkServe, type ServeOptions } from "./receive_options.ts";
import { Receiver } from "./receiver.ts";
import type { SendOptions, SendOutcome } from "./outcome.ts";
import type { Requester, RequestOptions, Responding } from "./request.ts";
import { Sender } from "./sender.ts";
import { Session, type SharedSession } from "./session.ts";
import {
  checkedOptions,
  receiverAttach,
  type ReceiverOptions,
  senderAttach,
  type SenderOptions,
  SESSION_KINDS,
  streamAttach,
} from "./link_options.ts";
import type { Transaction, TransactionController } from "./transaction.ts";
import { checkAddress, checkOptions, WAIT_KINDS } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { abortable, ignore, part, type WaitOptions, within } from "../base/wait.ts";

export type { ConnectionEvent, ConnectionState, ConnectionStats };

/**
 * One AMQP connection: sessions and links over one WebSocket or socket.
 *
 * Made by {@linkcode connect}, or by an acceptor. When it ends, every call that waits on it fails with the error.
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
   * Attaches a sender, usable at once: messages wait until the peer has attached the link and grants credit.
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

  // While a delivery arrives only the session's window holds the sender back, and a closed window stops all of its links.
  #onOwnSession<L extends Link>(attach: (session: SharedSession) => L): L {
    // Begun first, so that the other links have a session where the peer accepts no more: then the stream shares it.
    const common = this.defaultSession();
    const shared: SharedSession = { options: common.options, endpoint: undefined, session: undefined };
    try {
      this.addSession(shared);
    } catch (error) {
      const link = attach(common);
      link.writeLog("sharesSession", { error });
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
   * Begins a session of its own, for links that are not to share the window of others.
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
   * Sends a request and waits for the answer, which the peer sends to a dynamic node of this connection, or to
   * `options.replyTo`. Any number of requests may wait at a time, also for a reconnect, after which one may be sent twice.
   *
   * An answer is matched by its correlation-id: the request's `messageId`, which is generated if missing, or `correlationId`.
   * A request without an answer waits until `signal` is aborted, such as `AbortSignal.timeout(5_000)`.
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
    try {
      // Checked before the spread, which accepts anything.
      checkMessage(message);
    } catch (error) {
      return await refused(error, message);
    }
    return await (await this.#requests()).request(address, message, options);
  }

  /**
   * Answers requests at an address: the message that `handler` returns is sent to the request's `replyTo` with its
   * correlation-id. Otherwise as {@linkcode Receiver.serve}; a request is accepted when its answer is.
   *
   * Resolves when `options.signal` is aborted or the connection is closed. A rejection that nobody awaits is not unhandled.
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
   * Begins a local transaction: all that is sent and settled in it takes effect together, or not at all.
   *
   * The transaction uses senders and receivers of this connection. Leaving its scope rolls it back unless it was committed.
   *
   * @throws {AmqpError} If the peer has no transaction coordinator, refuses, or the connection has ended.
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
   * Sends one message to `address`, over a sender that is cached for the next message to that address: at most 256 senders,
   * each for a minute when idle.
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
  /** Sends one message to `address` settled: at most once, without an outcome. */
  send(address: string, message: Message | Uint8Array, options: SendOptions & { settled: true }): Promise<undefined>;
  /** Sends one message to `address`, settled or not as `options` say at run time. */
  send(address: string, message: Message | Uint8Array, options?: SendOptions): Promise<SendOutcome | undefined>;
  send(address: string, message: Message | Uint8Array, options: SendOptions = {}): Promise<SendOutcome | undefined> {
    try {
      if (!this.open) this.requireOpen(`send to ${quote(String(address))}`);
      return (this.#kept ??= new KeptSenders(this)).send(address, message, options);
    } catch (error) {
      return refused(error, message);
    }
  }

  /** @ignore For sends whose message waited for one of the kept senders, also while the connection closes. */
  keptSender(address: string): Sender {
    if (this.over) throw this.endError(`send to ${quote(address)}`);
    const options = { address };
    return this.addLink(new Sender(this, senderAttach(options, this)), this.defaultSession());
  }

  /** @ignore {@inheritDoc LastingConnection.countWaiting} */
  protected override countWaiting(): { messages: number; bytes: number } {
    const { messages, bytes } = super.countWaiting();
    const { messages: more = 0, bytes: moreBytes = 0 } = this.#kept?.waiting ?? {};
    return { messages: messages + more, bytes: bytes + moreBytes };
  }

  /** @ignore Messages that wait for a kept sender leave before the senders close. */
  protected override async beforeClose(timeoutMs: number | undefined): Promise<void> {
    const kept = this.#kept;
    if (!kept?.waiting.messages) return await super.beforeClose(timeoutMs);
    const { environment } = this;
    const from = environment.now();
    const started = within(kept.allStarted(), timeoutMs ?? DEFAULT_CLOSE_WAIT_MS, environment);
    const senders = kept.senders();
    const others = this.linksOf().filter((link) => !senders.has(link));
    await Promise.all([started, ...others.map((link) => link.close({ timeoutMs }))]);
    const left = timeoutMs && Math.max(0, timeoutMs - (environment.now() - from));
    await super.beforeClose(await started ? left : 0);
  }

  /**
   * Finishes all work and closes, such as when a program is asked to stop: receivers fetch no more, running handlers return
   * and may still send, sends get their outcomes, and the connection is closed.
   *
   * Without `timeoutMs` it waits as long as handlers and sends take, and for a lost connection to come back.
   */
  async drain(options: Omit<CloseOptions, "error"> = {}): Promise<void> {
    checkOptions("drain connection", options, { signal: "object", timeoutMs: "number" });
    const { timeoutMs = Infinity, signal } = options;
    const closing: Promise<void>[] = [];
    for (const link of this.links.keys()) if (link instanceof Receiver) closing.push(link.close({ timeoutMs }));
    await abortable(Promise.all(closing), signal);
    await this.close({ timeoutMs, signal });
  }

  /** A snapshot of the connection's counters. */
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

  /** Iterates over the connection's events from now on, its end included; throws the reason of an aborted `options.signal`. */
  events(options: WaitOptions = {}): AsyncGenerator<ConnectionEvent, void, void> {
    checkOptions("iterate events", options, WAIT_KINDS);
    return this.history.listen(options.signal, this.over, this.error);
  }

  /** @ignore For sessions. */
  attachSender(session: SharedSession, options: SenderOptions): Sender {
    this.requireOpen("attach sender");
    return this.addLink(new Sender(this, senderAttach(options, this), options), session);
  }

  /** @ignore A further sender with the settings of a link, for a streamed message. */
  senderForStream({ settings, address }: Link): Sender {
    this.requireOpen("attach sender");
    return this.#onOwnSession((session) =>
      this.addLink(new Sender(this, streamAttach(settings!, address, this.environment), { recovery: "fail" }), session)
    );
  }

  /** @ignore For sessions. */
  attachReceiver(session: SharedSession, options: ReceiverOptions): Receiver {
    this.requireOpen("attach receiver");
    checkCredit(options.credit);
    return this.addLink(new Receiver(this, receiverAttach(options, this), options), session);
  }

  /** @ignore The facts that `console.log` prints. */
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
    super.attach(channel, settings);
  }

  /** @ignore {@inheritDoc ConnectionBase.finish} */
  override finish(error: Error | undefined): void {
    super.finish(error);
    this.#kept?.clear();
  }

  /**
   * Closes the connection: waits for sends in flight and running handlers, releases messages that nobody took, then exchanges
   * closes with the peer. Never fails because the connection has ended already.
   *
   * A call within a handler of this connection does not wait for that handler, in browsers only before its first `await`.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return closeFor(() => super.close(options), this.linksOf(), options);
  }
}
