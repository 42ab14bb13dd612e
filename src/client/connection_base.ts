/**
 * What a connection is below its links: the engine and its driver, who is told of what, and the end.
 *
 * It makes no links by itself, so that a program that only publishes does without what receives.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, systemEnvironment } from "../base/environment.ts";
import { AmqpError, type ErrorScope } from "../base/errors.ts";
import type { CodecLimits } from "../codec/reader.ts";
import type { Open, SaslFrameBody } from "../codec/types.ts";
import { ChurnMap } from "../base/collections.ts";
import { ConnectionEndpoint, type ConnectionOptions as EngineOptions } from "../engine/connection.ts";
import type { IncomingDelivery, OutgoingDelivery } from "../engine/deliveries.ts";
import type { EngineEvent } from "../engine/events.ts";
import type { LinkEndpoint } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint, SessionOptions } from "../engine/session.ts";
import type { Channel } from "../transport/channel.ts";
import { Driver } from "./driver.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, Lifetime } from "./lifetime.ts";
import type { LinkConnection } from "./link.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import type { Session } from "./session.ts";

/** Something that happened to a connection as a whole. */
export type ConnectionEvent =
  /** The peer has opened it; `remote` is what it said of itself. */
  | { readonly kind: "opened"; readonly remote: Open }
  /** It has ended; `error` is absent after an orderly close of this side. */
  | { readonly kind: "closed"; readonly error: Error | undefined };

/**
 * What connections leave to the side that they are on. An acceptor has one of these for all of its connections.
 *
 * They are methods, so that a side may ask for the kind of connection that it makes.
 */
export interface ConnectionHooks {
  /** Says what is to be said before the peer has said anything. */
  onstart?(endpoint: ConnectionEndpoint): void;
  /** Told that the peer has opened it, before any of its links are. */
  onopen?(connection: ConnectionBase): void;
  /** Does this side's part of a SASL exchange. */
  onsasl?(frame: SaslFrameBody, endpoint: ConnectionEndpoint, connection: ConnectionBase): void | Promise<void>;
  /** Decides on a link that the peer attaches. */
  onattach?(link: SenderEndpoint | ReceiverEndpoint, connection: ConnectionBase): void;
  /** Told that it has ended, in whatever way. */
  onclosed?(connection: ConnectionBase): void;
}

/** The terms of a connection: those of its engine, and what may wait in its channel. */
export interface ConnectionTerms extends EngineOptions {
  /** Bytes that may wait in the channel before sends pause. Default: 1 MiB. */
  maxBufferedBytes?: number;
  /** Where it runs. Default: the runtime's own. */
  environment?: Environment;
}

/** One connection, as its links and sessions see it. */
export class ConnectionBase extends Lifetime implements LinkConnection {
  /** Who the peer authenticated as, on the accepting side; undefined for nobody in particular. */
  identity: string | undefined;
  /** Where it runs: time, timers, randomness. */
  readonly environment: Environment;
  /** What is decoded on it, at most. */
  readonly limits: CodecLimits | undefined;

  readonly #options: ConnectionTerms;
  readonly #hooks: ConnectionHooks;
  readonly #endpoint: ConnectionEndpoint;
  readonly #driver: Driver;
  readonly #links = new ChurnMap<LinkEndpoint, Sender | Receiver>();
  readonly #sessions = new ChurnMap<SessionEndpoint, Session>();
  #waitingForRoom: Set<{ handleCredit(): void }> | undefined;
  #listeners: Set<(event: ConnectionEvent) => void> | undefined;
  #defaultSession: SessionEndpoint | undefined;

  /** Takes over `channel` and starts; the client's open goes out with what is asked for in the same turn. */
  constructor(channel: Channel, options: ConnectionTerms, hooks: ConnectionHooks) {
    super();
    this.#options = options;
    this.#hooks = hooks;
    this.limits = options.limits;
    this.environment = options.environment ?? systemEnvironment;
    try {
      this.#endpoint = new ConnectionEndpoint(
        // As it is, it is shared by all connections of an acceptor.
        options.trace === undefined ? options : { ...options, trace: this.#guarded(options.trace) },
        this.environment.now(),
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
      maxBufferedBytes: options.maxBufferedBytes,
      environment: this.environment,
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

  /** True while more is written than leaves. */
  get congested(): boolean {
    return this.#driver.congested;
  }

  /**
   * Closes the connection: waits for sends in flight and running handlers, hands back messages that nobody took, then says
   * goodbye. Never fails because the connection has ended already.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(options), options);
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
  awaitReady(sender: { handleCredit(): void }): void {
    (this.#waitingForRoom ??= new Set()).add(sender);
  }

  /** @ignore The session of all links that do not ask for one of their own. */
  defaultSession(): SessionEndpoint {
    this.requireOpen("attach link");
    return this.#defaultSession ??= this.beginSession(this.#options.session);
  }

  /** @ignore Tells `link` from now on what happens to its endpoint. */
  addLink<L extends Sender | Receiver>(endpoint: LinkEndpoint, link: L): L {
    this.#links.set(endpoint, link);
    this.wake();
    return link;
  }

  /** @ignore For links whose detach the peer never answers. */
  dropLink(endpoint: LinkEndpoint, error?: Error): void {
    const link = this.#links.get(endpoint);
    this.#links.delete(endpoint);
    this.#waitingForRoom?.delete(link as Sender);
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

  /** @ignore Begins a session. */
  protected beginSession(options: SessionOptions = {}): SessionEndpoint {
    this.requireOpen("begin session");
    const endpoint = this.#endpoint.begin(options);
    this.wake();
    return endpoint;
  }

  /** @ignore Tells `session` from now on what happens to its endpoint. */
  protected addSession(endpoint: SessionEndpoint, session: Session): void {
    this.#sessions.set(endpoint, session);
  }

  /** Tells `listener` from now on what happens to the connection, and gives a function that ends that. */
  protected listen(listener: (event: ConnectionEvent) => void): () => void {
    if (this.over) listener({ kind: "closed", error: this.error });
    else (this.#listeners ??= new Set()).add(listener);
    return () => void this.#listeners?.delete(listener);
  }

  /** What is done before the goodbye. */
  protected beforeClose(_timeoutMs: number): Promise<void> | undefined {
    return undefined;
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    return { label: "connection", scope: "connection" };
  }

  async #close(options: CloseOptions): Promise<void> {
    if (!this.over) await this.beforeClose(options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS);
    if (!this.over) {
      if (options.error?.condition === condition.connectionForced) this.#driver.closeCode = 1001;
      this.#endpoint.close(options.error);
      this.wake();
    }
    // The engine bounds the wait for the peer's close, the channel that for its own.
    await this.#driver.ended;
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
        this.begin();
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
        return this.#senderOf(event.link)?.handleSent(event.delivery);
      case "drained":
        return this.#receiverOf(event.link)?.handleDrained();
      case "aborted":
        return this.#receiverOf(event.link)?.handleAborted();
      case "delivery":
        return this.#receiverOf(event.link)?.handleDelivery(event.delivery);
      case "disposition": {
        const { link, delivery, state, settled } = event;
        if (link.role === "sender") {
          return this.#senderOf(link)?.handleDisposition(delivery as OutgoingDelivery, state, settled);
        }
        return this.#receiverOf(link)?.handleDisposition(delivery as IncomingDelivery, state, settled);
      }
    }
  }

  #handleSasl(frame: SaslFrameBody): void {
    const fail = (error: unknown) => {
      this.#endpoint.fail(
        error instanceof AmqpError
          ? error
          : new AmqpError(condition.internalError, "Cannot authenticate: mechanism failed", { cause: error }),
      );
      this.wake();
    };
    const done = this.#hooks.onsasl?.(frame, this.#endpoint, this);
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
        Promise.resolve().then(() => this.destroy(error));
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
    if (error === undefined && this.open && this.#endpoint.handshake.client) {
      error = new AmqpError(condition.connectionForced, "Connection closed by peer without an error", { remote: true });
    }
    this.end(error);
    for (const link of [...this.#links.keys()]) this.dropLink(link, error);
    for (const session of [...this.#sessions.keys()]) this.dropSession(session, error);
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
    for (const listener of this.#listeners ?? []) listener(event);
    if (event.kind === "closed") this.#listeners = undefined;
  }
}
