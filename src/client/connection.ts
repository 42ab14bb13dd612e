/**
 * A connection as its user sees it, on either side.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { showFacts } from "../base/inspect.ts";
import { Delivery } from "./delivery.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import type { DeliveryState, Open } from "../codec/types.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { EngineEvent } from "../engine/events.ts";
import { isPassing } from "../recovery/retry.ts";
import type { Channel } from "../transport/channel.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import { type Attachment, type AttachmentTerms, ConnectionBase } from "./connection_base.ts";
import { type ConnectionEvent, type ConnectionState, type ConnectionStats, EventQueue } from "./events.ts";
import { KeptSenders } from "./kept_senders.ts";
import type { CloseOptions } from "./lifetime.ts";
import type { Link } from "./link.ts";
import { closeFor } from "./handlers.ts";
import { checkCredit, checkServe, type ReceiveTerms, type ServeOptions } from "./receive_options.ts";
import { Receiver } from "./receiver.ts";
import type { SendOptions, SendOutcome } from "./outcome.ts";
import type { Requester, RequestOptions, Responding } from "./request.ts";
import type { LinkResumed } from "./recovery.ts";
import { Sender, type SendTerms } from "./sender.ts";
import { Session, type SharedSession } from "./session.ts";
import {
  receiverAttach,
  type ReceiverOptions,
  senderAttach,
  type SenderOptions,
  SESSION_KINDS,
  terms,
  twinAttach,
} from "./terms.ts";
import type { Coordinator, Transaction } from "./transaction.ts";
import { checkAddress, checkOptions, WAIT_KINDS } from "../base/options.ts";
import { abortable, ignore, rejected, type WaitOptions } from "../base/wait.ts";

export type { ConnectionEvent, ConnectionState, ConnectionStats };

// A walk over all that waits takes a millisecond or so.
const RECOUNT_MS = 100;

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
export class Connection extends ConnectionBase {
  readonly #queues = new Set<EventQueue>();
  #requester: Requester | undefined;
  #kept: KeptSenders | undefined;
  #coordinator: Coordinator | undefined;
  readonly #stats: ConnectionStats = {
    sent: 0,
    accepted: 0,
    rejected: 0,
    released: 0,
    modified: 0,
    creditWaits: 0,
    received: 0,
    reconnects: 0,
    bytesSent: 0,
    bytesReceived: 0,
  };
  #opened = false;
  // What waits for the connection to come back, at most: what was given up meanwhile is still in it.
  #waiting: { messages: number; bytes: number } | undefined;
  #countedAt = 0;
  // What becomes of messages that were in motion when something was lost.
  #returning = { resent: 0, lost: 0, redelivered: 0 };

  /** Where it stands: `"interrupted"` while a lost one is made anew. */
  get state(): ConnectionState {
    if (this.over) return "closed";
    if (!this.open) return "closing";
    if (!this.#opened) return "connecting";
    return this.attachment?.opened ? "open" : "interrupted";
  }

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
    const checked = terms("receiver", address, options);
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
      import("./complaints.ts").then(({ complain }) => complain(link, "sharesSession", { error })).catch(ignore);
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
    const { Requester } = await import("./request.ts");
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
    const { Coordinator } = await import("./transaction.ts");
    this.#coordinator ??= new Coordinator(this);
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
   * Without `timeoutMs` it waits for handlers as long as they take.
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
    const stats = this.#stats;
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
    const queue = new EventQueue();
    if (this.over) queue.push({ kind: "closed", error: this.error });
    else this.#queues.add(queue);
    return queue.iterate(options.signal, () => this.#queues.delete(queue));
  }

  /** @ignore For sessions. */
  attachSender(session: SharedSession, options: SenderOptions): Sender {
    this.requireOpen("attach sender");
    return this.addLink(new Sender(this, senderAttach(options, this), options), session);
  }

  /** @ignore For a message that is streamed. */
  twin({ terms, address }: Link): Sender {
    this.requireOpen("attach sender");
    return this.#onOwnSession((session) =>
      this.addLink(new Sender(this, twinAttach(terms!, address, this.environment), { recovery: "fail" }), session)
    );
  }

  /** @ignore For sessions. */
  attachReceiver(session: SharedSession, options: ReceiverOptions): Receiver {
    this.requireOpen("attach receiver");
    checkCredit(options.credit);
    return this.addLink(new Receiver(this, receiverAttach(options, this), options), session);
  }

  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint, terms: SendTerms): Sender;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: ReceiverEndpoint, terms: ReceiveTerms): Receiver;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint | ReceiverEndpoint, terms: SendTerms & ReceiveTerms): Sender | Receiver {
    const link = endpoint.role === "sender" ? new Sender(this, endpoint, terms) : new Receiver(this, endpoint, terms);
    this.attachment?.links.set(endpoint, link);
    this.links.set(link, undefined);
    this.wake();
    return link;
  }

  /** @ignore Goes on with a link that the peer has attached again, maybe on another connection. */
  takeOver(endpoint: SenderEndpoint | ReceiverEndpoint, link: Link): void {
    this.attachment?.links.set(endpoint, link);
    this.links.set(link, undefined);
    link.carryOn(endpoint);
    this.wake();
  }

  /** @ignore {@inheritDoc ConnectionBase.endLink} */
  override endLink(link: Link, error?: Error): void {
    const { onsuspended } = this.hooks;
    if (!onsuspended || !link.open || link.endedForGood || !link.recovery || !onsuspended(this, link, error)) {
      return super.endLink(link, error);
    }
    this.links.delete(link);
    link.handleInterrupted(error ?? new AmqpError(condition.detachForced, "Link suspended by peer", { scope: "link" }));
  }

  /** @ignore Attaches a link again that the peer had ended, or with a new attachment; one that cannot be ends. */
  attachAgain(link: Link): void {
    const { attachment } = this;
    const session = this.links.get(link);
    if (session === undefined || attachment === undefined || link.carried) return;
    try {
      this.attachLink(link, session, attachment);
    } catch (error) {
      this.loseLink(link, error as Error);
    }
  }

  /** @ignore {@inheritDoc ConnectionBase.admit} */
  override admit(bytes: number): void {
    const { maxPending } = this.terms;
    if (maxPending === undefined || this.state !== "interrupted") return;
    const isFull = ({ messages, bytes: held }: { messages: number; bytes: number }): boolean =>
      messages >= maxPending.messages || held + bytes > maxPending.bytes;
    const now = this.environment.now();
    // Counted again now and then, not for each of those that are refused.
    if (this.#waiting === undefined || isFull(this.#waiting) && now >= this.#countedAt + RECOUNT_MS) {
      this.#countedAt = now;
      this.#waiting = this.#countWaiting();
    }
    if (isFull(this.#waiting)) {
      const { messages, bytes: held } = this.#waiting;
      throw new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot send: connection is interrupted, and ${messages} messages of ${held} bytes wait for it; ` +
          'wait until it is open again, or raise "maxPending" or "maxPendingBytes"',
      );
    }
    this.#waiting.messages++;
    this.#waiting.bytes += bytes;
  }

  /** @ignore For links that take up what was not settled. */
  handleResumed(link: Link, what: LinkResumed): void {
    this.tell({ kind: "linkResumed", link, ...what });
  }

  /** @ignore Detaches a link, and attaches it again. */
  attachAfresh(link: Link, ending?: Error): void {
    const session = this.links.get(link);
    if (this.attachment === undefined || session === undefined) return;
    // What is still told of the former one concerns nobody.
    this.attachment.links.delete(link.suspend());
    if (ending !== undefined) return this.loseLink(link, ending);
    this.attachAgain(link);
  }

  /** @ignore Closes the links of one session, or all. */
  async closeLinks(options: CloseOptions, session?: SharedSession): Promise<void> {
    await Promise.all(this.linksOf(session).map((link) => link.close(options)));
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

  /** @ignore The links of one session, or all. */
  linksOf(session?: SharedSession): Link[] {
    const links: Link[] = [];
    for (const [link, on] of this.links) if (session === undefined || on === session) links.push(link);
    return links;
  }

  /** @ignore Tells those who listen to `events`. */
  tell(event: ConnectionEvent): void {
    for (const queue of this.#queues) queue.push(event);
  }

  /** @ignore {@inheritDoc ConnectionBase.attach} */
  override attach(channel: Channel, terms?: AttachmentTerms): void {
    showFacts(Connection.prototype, "Connection");
    showFacts(Session.prototype, "Session");
    showFacts(Sender.prototype, "Sender");
    showFacts(Receiver.prototype, "Receiver");
    showFacts(Delivery.prototype, "Delivery");
    super.attach(channel, terms);
    for (const session of [...this.sessions]) {
      try {
        this.beginSession(session, this.attachment!);
      } catch (error) {
        this.endSession(session, error as Error);
      }
    }
    for (const link of [...this.links.keys()]) this.attachAgain(link);
  }

  /** @ignore {@inheritDoc ConnectionBase.finish} */
  override finish(error: Error | undefined): void {
    if (this.over) return;
    if (this.attachment !== undefined) this.#keepBytes(this.attachment);
    super.finish(error);
    this.#kept?.clear();
    this.tell({ kind: "closed", error });
    this.#queues.clear();
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

  /** {@inheritDoc ConnectionBase.beforeClose} */
  protected override beforeClose(timeoutMs: number): Promise<void> {
    return this.closeLinks({ timeoutMs });
  }

  /** @ignore {@inheritDoc ConnectionBase.handle} */
  protected override handle(attachment: Attachment, event: EngineEvent): void {
    switch (event.kind) {
      case "opened":
        this.#handleOpened(event.open);
        break;
      case "closed":
        this.#keepBytes(attachment);
        break;
      case "begun":
        return attachment.sessions.get(event.session)?.session?.handleBegun();
      case "attachRequested":
        return this.hooks.onattach?.(event.link, this);
    }
    super.handle(attachment, event);
  }

  /** @ignore {@inheritDoc ConnectionBase.handleLink} */
  protected override handleLink(link: Link, event: EngineEvent): void {
    const receiver = link as Receiver;
    switch (event.kind) {
      case "drained":
        return receiver.handleDrained();
      case "aborted":
        return receiver.handleAborted();
      case "sent":
        if (!event.delivery.resume) this.#stats.sent++;
        break;
      case "delivery":
        this.#stats.received++;
        return receiver.handleDelivery(event.delivery);
      case "disposition":
        if (event.link.role === "sender") {
          this.#countOutcome(event.state);
          break;
        }
        return receiver.handleDisposition(event.delivery as IncomingDelivery, event.settled);
    }
    super.handleLink(link, event);
  }

  /** @ignore {@inheritDoc ConnectionBase.handleSessionEnded} */
  protected override handleSessionEnded(
    attachment: Attachment,
    endpoint: SessionEndpoint,
    error: AmqpError | undefined,
  ): void {
    const shared = attachment.sessions.get(endpoint);
    if (shared === undefined || shared.session?.open === false) {
      return super.handleSessionEnded(attachment, endpoint, error);
    }
    attachment.sessions.delete(endpoint);
    detach(shared);
    const ending = error ?? new AmqpError(condition.detachForced, "Session ended by peer without an error", {
      scope: "session",
      remote: true,
    });
    const lost: Link[] = [];
    for (const [key, link] of [...attachment.links]) {
      if (key.session !== endpoint) continue;
      attachment.links.delete(key);
      lost.push(link);
    }
    // RabbitMQ 3 ends the session over a link that cannot be taken up, which is no fault of the others.
    const refused = lost.filter((link) => refusesToResume(link, ending)).length > 0;
    for (const link of lost) {
      if (refused && link.returns) this.#attachInstead(link, ending);
      else this.loseLink(link, ending);
    }
    // It is begun again with the first of its links that is attached again.
    for (const on of this.links.values()) if (on === shared) return shared.session?.handleInterrupted();
    this.endSession(shared, error);
  }

  /** @ignore What the peer ends for a reason that passes lives on, if this side has it so. */
  protected override loseLink(link: Link, error: Error | undefined): void {
    const ending = link.endingOf(error);
    if (ending !== undefined && refusesToResume(link, ending)) return this.#attachInstead(link, ending);
    if (ending !== undefined && link.returns && this.hooks.onlinklost?.(this, link, ending)) {
      return this.#interrupt(link, ending);
    }
    const { open } = link;
    this.endLink(link, ending);
    if (open && ending !== undefined) this.tell({ kind: "linkLost", link, error: ending });
  }

  /** @ignore {@inheritDoc ConnectionBase.survives} */
  protected override survives(attachment: Attachment, error: Error): boolean {
    if (!this.hooks.onlost?.(this, error)) return false;
    this.interrupt();
    if (attachment.opened) this.tell({ kind: "interrupted", cause: error, retryable: isPassing(error) });
    for (const link of [...this.links.keys()]) {
      if (link.returns) this.#interrupt(link, error);
      else this.endLink(link, error);
    }
    for (const shared of [...this.sessions]) {
      detach(shared);
      if (shared.session?.open === false) this.endSession(shared, error);
      else shared.session?.handleInterrupted();
    }
    return true;
  }

  #keepBytes({ driver }: Attachment): void {
    this.#stats.bytesSent += driver.bytesSent;
    this.#stats.bytesReceived += driver.bytesReceived;
  }

  #countWaiting(): { messages: number; bytes: number } {
    const sum = { messages: 0, bytes: 0 };
    for (const link of this.links.keys()) {
      if (!(link instanceof Sender)) continue;
      const { messages, bytes } = link.waiting();
      sum.messages += messages;
      sum.bytes += bytes;
    }
    return sum;
  }

  #countOutcome(state: DeliveryState | undefined): void {
    const kind = state?.kind === "transactionalState" ? state.outcome?.kind : state?.kind;
    if (kind === undefined || kind === "declared" || !(kind in this.#stats)) return;
    this.#stats.sent++;
    this.#stats[kind as "accepted" | "rejected" | "released" | "modified"]++;
  }

  #handleOpened(remote: Open): void {
    if (this.#opened) this.#stats.reconnects++;
    this.#waiting = undefined;
    this.tell(this.#opened ? { kind: "resumed", remote, ...this.#returning } : { kind: "opened", remote });
    this.#returning = { resent: 0, lost: 0, redelivered: 0 };
    this.#opened = true;
  }

  #attachInstead(link: Link, error: Error): void {
    this.#interrupt(link, error);
    this.attachAgain(link);
  }

  #interrupt(link: Link, error: Error): void {
    const { resent = 0, lost = 0, redelivered = 0 } = link.handleInterrupted(error);
    const sum = this.#returning;
    sum.resent += resent;
    sum.lost += lost;
    sum.redelivered += redelivered;
  }
}

// One that cannot be taken up may be attached as a new one.
function refusesToResume(link: Link, error: Error): boolean {
  return link.returns && link.attachedAt === undefined && (link.recovery?.refused(error) ?? false);
}

function detach(shared: SharedSession): void {
  const begin = shared.endpoint?.remote;
  if (begin !== undefined) shared.knownHandleMax = begin.handleMax ?? 0xffffffff;
  shared.endpoint = undefined;
}
