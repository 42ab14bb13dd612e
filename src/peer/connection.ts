/**
 * A connection as its user sees it, on either side.
 *
 * @module
 */

import * as condition from "../condition.ts";
import { AmqpError } from "../errors.ts";
import type { CodecLimits } from "../codec/reader.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import type { Open } from "../codec/types.ts";
import { ChurnMap } from "../engine/churn.ts";
import { ConnectionEndpoint, type ConnectionOptions as EngineOptions } from "../engine/connection.ts";
import type { IncomingDelivery, OutgoingDelivery } from "../engine/deliveries.ts";
import type { EngineEvent } from "../engine/events.ts";
import type { LinkEndpoint } from "../engine/link.ts";
import { ReceiverEndpoint } from "../engine/receiver.ts";
import { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import type { Channel } from "../transport/channel.ts";
import { Driver } from "./driver.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, mayRetry } from "./link.ts";
import { Receiver, type ReceiveTerms } from "./receiver.ts";
import type { Requester } from "./request.ts";
import { Sender } from "./sender.ts";
import { Session } from "./session.ts";
import { checkCredit, receiverAttach, type ReceiverOptions, senderAttach, type SenderOptions, terms } from "./terms.ts";
import { abortable, Deferred, type WaitOptions } from "./wait.ts";

/** Something that happened to a connection as a whole. */
export type ConnectionEvent =
  /** The peer has opened it; `remote` is what it said of itself. */
  | { readonly kind: "opened"; readonly remote: Open }
  /** It has ended; `error` is absent after an orderly close of this side. */
  | { readonly kind: "closed"; readonly error: Error | undefined };

/** What connections leave to the side that they are on. An acceptor has one of these for all of its connections. */
export interface ConnectionHooks {
  /** Says what is to be said before the peer has said anything. */
  onstart?: (endpoint: ConnectionEndpoint) => void;
  /** Told that the peer has opened it, before any of its links are. */
  onopen?: (connection: Connection) => void;
  /** Does this side's part of a SASL exchange. */
  onsasl?: (event: EngineEvent, endpoint: ConnectionEndpoint, connection: Connection) => void | Promise<void>;
  /** Decides on a link that the peer attaches. */
  onattach?: (link: SenderEndpoint | ReceiverEndpoint, connection: Connection) => void;
  /** Told that it has ended, in whatever way. */
  onclosed?: (connection: Connection) => void;
}

/**
 * One AMQP connection: sessions and links over one WebSocket.
 *
 * It is made by {@linkcode connect}, or handed over by an acceptor. When it breaks, everything that waits on it ends at
 * once with the error.
 */
export class Connection {
  /** What is decoded on it, at most. */
  readonly limits: CodecLimits | undefined;
  /** Who the peer authenticated as, on the accepting side; undefined for nobody in particular. */
  identity: string | undefined;

  readonly #options: EngineOptions;
  readonly #hooks: ConnectionHooks;
  readonly #endpoint: ConnectionEndpoint;
  readonly #driver: Driver;
  readonly #opened = new Deferred<Open>();
  readonly #closed = new Deferred<void>();
  readonly #links = new ChurnMap<LinkEndpoint, Sender | Receiver>();
  readonly #sessions = new ChurnMap<SessionEndpoint, Session>();
  #waitingForRoom: Set<Sender> | undefined;
  #listeners: Set<EventQueue> | undefined;
  #defaultSession: SessionEndpoint | undefined;
  #requester: Requester | undefined;
  #closing: Promise<void> | undefined;
  #over = false;
  #error: Error | undefined;

  /** Takes over `channel` and starts; the client's open goes out with what is asked for in the same turn. */
  constructor(channel: Channel, options: EngineOptions, hooks: ConnectionHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.limits = options.limits;
    try {
      this.#endpoint = new ConnectionEndpoint(
        // As it is, it is shared by all connections of an acceptor.
        options.trace === undefined ? options : { ...options, trace: this.#guarded(options.trace) },
        performance.now(),
      );
      hooks.onstart?.(this.#endpoint);
      if (this.#endpoint.handshake.client) this.#endpoint.open();
    } catch (error) {
      channel.close(1000);
      throw error;
    }
    this.#driver = new Driver(channel, this.#endpoint, {
      onevent: (event) => this.#handle(event),
      onready: () => this.#handleReady(),
    });
  }

  /** The name of this container. */
  get containerId(): string {
    return this.#options.containerId;
  }

  /** What the peer said of itself when it opened the connection, once it has. */
  get remote(): Readonly<Open> | undefined {
    return this.#endpoint.remote;
  }

  /** True until the connection has ended or begins to close. */
  get open(): boolean {
    return !this.#over && this.#closing === undefined;
  }

  /** What the connection ended with, if it was an error. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Resolves when the connection has ended, in whatever way. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** True while more is written than leaves. */
  get congested(): boolean {
    return this.#driver.congested;
  }

  /**
   * Waits until the peer has opened the connection.
   *
   * @throws {AmqpError | TransportError} If it ended first.
   */
  async ready(options: WaitOptions = {}): Promise<void> {
    await abortable(this.#opened.promise, options.signal);
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
    return this.attachSender(this.#session(), terms(address, options));
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
    return this.attachReceiver(this.#session(), terms(address, options));
  }

  /**
   * Begins a session of its own, for links that shall not share the window of the others.
   *
   * @throws {AmqpError} If the connection has ended, or either side takes no more sessions.
   */
  session(options: SessionOptions = {}): Session {
    this.#requireOpen("begin session");
    const endpoint = this.#endpoint.begin(options);
    const session = new Session(this, endpoint);
    this.#sessions.set(endpoint, session);
    this.wake();
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
    this.#requireOpen("send request");
    const { Requester } = await import("./request.ts");
    this.#requester ??= new Requester(this);
    return await this.#requester.request(address, message, options);
  }

  /** What happens to the connection from now on, up to and with its end; a signal that is aborted makes it throw. */
  events(options: WaitOptions = {}): AsyncGenerator<ConnectionEvent, void, void> {
    const events = new EventQueue();
    if (this.#over) events.push({ kind: "closed", error: this.#error });
    else (this.#listeners ??= new Set()).add(events);
    return events.iterate(options.signal, () => this.#listeners?.delete(events));
  }

  /**
   * Closes the connection: waits for sends in flight and running handlers, hands back messages that nobody took, then says
   * goodbye. Never fails because the connection has ended already.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#closeNow(options, true);
    return abortable(this.#closing, options.signal);
  }

  /** @ignore Closes the connection, and with it links on which nothing is in flight, in one round trip instead of two. */
  leave(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#closeNow(options, false);
    return abortable(this.#closing, options.signal);
  }

  /** Closes the connection. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Drops the connection without waiting for anything; whatever waits on it ends with `cause`. */
  destroy(cause: Error): void {
    // A signal's reason may be anything.
    this.#driver.destroy(cause instanceof Error ? cause : new Error(String(cause), { cause }));
  }

  /** @ignore For links and sessions: something waits to be written. */
  wake(): void {
    this.#driver.wake();
  }

  /** @ignore For senders: tells `sender` when the channel takes more. */
  awaitReady(sender: Sender): void {
    (this.#waitingForRoom ??= new Set()).add(sender);
  }

  /** @ignore For sessions. */
  attachSender(session: SessionEndpoint, options: SenderOptions): Sender {
    this.#requireOpen("attach sender");
    const endpoint = session.attach(SenderEndpoint, senderAttach(options, this.containerId));
    return this.adopt(endpoint);
  }

  /** @ignore For sessions. */
  attachReceiver(session: SessionEndpoint, options: ReceiverOptions): Receiver {
    this.#requireOpen("attach receiver");
    checkCredit(options.credit);
    const endpoint = session.attach(ReceiverEndpoint, receiverAttach(options, this.containerId));
    return this.adopt(endpoint, options);
  }

  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint): Sender;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: ReceiverEndpoint, terms: ReceiveTerms): Receiver;
  /** @ignore Makes a link of this connection's user out of the engine's. */
  adopt(endpoint: SenderEndpoint | ReceiverEndpoint, terms: ReceiveTerms = {}): Sender | Receiver {
    const link = endpoint.role === "sender" ? new Sender(this, endpoint) : new Receiver(this, endpoint, terms);
    this.#links.set(endpoint, link);
    this.wake();
    return link;
  }

  /** @ignore For links whose detach the peer never answers. */
  dropLink(endpoint: LinkEndpoint, error?: Error): void {
    const link = this.#links.get(endpoint);
    this.#links.delete(endpoint);
    if (link instanceof Sender) this.#waitingForRoom?.delete(link);
    link?.handleEnded(error);
  }

  /** @ignore For sessions whose end the peer never answers. */
  dropSession(endpoint: SessionEndpoint, error?: Error): void {
    this.#sessions.get(endpoint)?.handleEnded(error);
    this.#sessions.delete(endpoint);
  }

  /** @ignore Closes the links of one session, or all. */
  async closeLinks(options: CloseOptions, session?: SessionEndpoint): Promise<void> {
    const closing: Promise<void>[] = [];
    for (const [endpoint, link] of this.#links) {
      if (session === undefined || endpoint.session === session) closing.push(link.close(options));
    }
    await Promise.all(closing);
  }

  async #closeNow(options: CloseOptions, links: boolean): Promise<void> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
    if (!this.#over && links) await this.closeLinks({ timeoutMs });
    if (!this.#over) {
      if (options.error?.condition === condition.connectionForced) this.#driver.closeCode = 1001;
      this.#endpoint.close(options.error);
      this.wake();
    }
    // The engine bounds the wait for the peer's close, the channel that for its own.
    await this.#driver.ended;
  }

  #session(): SessionEndpoint {
    this.#requireOpen("attach link");
    if (this.#defaultSession === undefined) {
      this.#defaultSession = this.#endpoint.begin(this.#options.session);
      this.wake();
    }
    return this.#defaultSession;
  }

  #requireOpen(doing: string): void {
    if (this.open) return;
    const cause = this.#error;
    throw new AmqpError(
      cause instanceof AmqpError ? cause.condition : condition.illegalState,
      `Cannot ${doing}: connection is closed${cause === undefined ? "" : `, ${cause.message}`}`,
      { cause, retryable: mayRetry(cause) },
    );
  }

  #handle(event: EngineEvent): void {
    switch (event.kind) {
      case "saslMechanisms":
      case "saslChallenge":
      case "saslInit":
      case "saslResponse":
      case "saslOutcome":
        return this.#handleSasl(event);
      case "opened":
        this.#opened.resolve(event.open);
        this.#tell({ kind: "opened", remote: event.open });
        return this.#hooks.onopen?.(this);
      case "closed":
        return this.#handleClosed(event.error);
      case "begun":
        return this.#sessions.get(event.session)?.handleBegun();
      case "ended":
        return this.#handleSessionEnded(event.session, event.error);
      case "attachRequested":
        return this.#hooks.onattach?.(event.link, this);
      case "attached":
        return this.#links.get(event.link)?.handleAttached();
      case "detached":
        return this.dropLink(event.link, event.error);
      case "credit":
        return this.#senderOf(event.link)?.handleCredit();
      case "sent":
        return this.#senderOf(event.delivery.link)?.handleSent(event.delivery);
      case "drained":
        return this.#receiverOf(event.link)?.handleDrained();
      case "aborted":
        return this.#receiverOf(event.link)?.handleAborted();
      case "delivery":
        return this.#receiverOf(event.link)?.handleDelivery(event.delivery);
      case "disposition": {
        const { delivery, state, settled } = event;
        if (delivery.link.role === "sender") {
          return this.#senderOf(delivery.link)?.handleDisposition(delivery as OutgoingDelivery, state, settled);
        }
        return this.#receiverOf(delivery.link)?.handleDisposition(delivery as IncomingDelivery, state, settled);
      }
    }
  }

  #handleSasl(event: EngineEvent): void {
    const fail = (error: unknown) => {
      this.#endpoint.fail(
        error instanceof AmqpError
          ? error
          : new AmqpError(condition.internalError, "Cannot authenticate: mechanism failed", { cause: error }),
      );
      this.wake();
    };
    const done = this.#hooks.onsasl?.(event, this.#endpoint, this);
    // What the engine has to say after a call that came out of turn is heard with the next flush.
    done?.then(() => this.wake(), fail);
  }

  // A trace that throws ends the connection, but not in the middle of a frame.
  #guarded(trace: EngineOptions["trace"]): EngineOptions["trace"] {
    if (trace === undefined) return undefined;
    return (frame) => {
      try {
        trace(frame);
      } catch (cause) {
        const error = new AmqpError(condition.internalError, "Cannot go on: trace failed", { cause });
        queueMicrotask(() => this.destroy(error));
      }
    };
  }

  #handleSessionEnded(endpoint: SessionEndpoint, error: Error | undefined): void {
    for (const link of [...this.#links.keys()]) if (link.session === endpoint) this.dropLink(link, error);
    this.dropSession(endpoint, error);
    if (this.#defaultSession === endpoint) this.#defaultSession = undefined;
  }

  #handleClosed(error: Error | undefined): void {
    // A client whose server says goodbye is left without what it wanted; a server whose client does so is done.
    if (error === undefined && this.#closing === undefined && this.#endpoint.handshake.client) {
      error = new AmqpError(condition.connectionForced, "Connection closed by peer without an error", { remote: true });
    }
    this.#over = true;
    this.#error = error;
    const ending = error ?? new AmqpError(condition.illegalState, "Connection closed");
    for (const link of [...this.#links.keys()]) this.dropLink(link, error);
    for (const session of [...this.#sessions.keys()]) this.dropSession(session, error);
    this.#opened.reject(ending);
    this.#closed.resolve();
    this.#hooks.onclosed?.(this);
    this.#tell({ kind: "closed", error });
    this.wake();
  }

  #handleReady(): void {
    const senders = this.#waitingForRoom;
    this.#waitingForRoom = undefined;
    for (const sender of senders ?? []) sender.handleCredit();
  }

  #senderOf(endpoint: SenderEndpoint): Sender | undefined {
    return this.#links.get(endpoint) as Sender | undefined;
  }

  #receiverOf(endpoint: ReceiverEndpoint): Receiver | undefined {
    return this.#links.get(endpoint) as Receiver | undefined;
  }

  #tell(event: ConnectionEvent): void {
    for (const listener of this.#listeners ?? []) listener.push(event);
    if (event.kind === "closed") this.#listeners = undefined;
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
