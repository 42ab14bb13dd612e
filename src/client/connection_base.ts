/**
 * What a connection is below its links: who is told of what, the end, and what carries it: an attachment, that is an engine
 * and its driver over one channel, which is lost with the channel and may be followed by another.
 *
 * It makes no links by itself, so that a program that only publishes does without what receives.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { ChurnMap } from "../base/collections.ts";
import { type Environment, systemEnvironment } from "../base/environment.ts";
import { AmqpError, type ErrorScope, TransportError } from "../base/errors.ts";
import { ignore, within } from "../base/wait.ts";
import type { LogHolder } from "../base/log.ts";
import { quote } from "../base/text.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Open, SaslFrameBody } from "../codec/types.ts";
import { ConnectionEndpoint, type ConnectionOptions as EngineOptions } from "../engine/connection.ts";
import type { EngineEvent } from "../engine/events.ts";
import type { LinkEndpoint } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type { Channel } from "../transport/channel.ts";
import { Driver } from "./driver.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, Lifetime, located } from "./lifetime.ts";
import type { Link, LinkConnection } from "./link.ts";
import type { Sender } from "./sender.ts";
import type { SharedSession } from "./session.ts";

/**
 * What connections leave to the side that they are on. An acceptor has one of these for all of its connections.
 *
 * They are methods, so that a side may ask for the kind of connection that it makes.
 */
export interface ConnectionHooks {
  /** Told that the peer has opened it, before any of its links are. */
  onopen?(connection: ConnectionBase): void;
  /** Does this side's part of a SASL exchange. */
  onsasl?(frame: SaslFrameBody, endpoint: ConnectionEndpoint, connection: ConnectionBase): void | Promise<void>;
  /** Decides on a link that the peer attaches. */
  onattach?(link: SenderEndpoint | ReceiverEndpoint, connection: ConnectionBase): void;
  /** Told that what carried it is lost; true if it is to live on until there is another channel. */
  onlost?(connection: ConnectionBase, error: Error): boolean;
  /** Told that the peer has ended a link; true if it is to live on until it is attached again, or what it ends with instead. */
  onlinklost?(connection: ConnectionBase, link: Link, error: Error): boolean | Error;
  /** Told that a link of the peer's is lost, but not closed; true if it is kept for the peer to attach it again. */
  onsuspended?(connection: ConnectionBase, link: Link, error: Error | undefined): boolean;
  /** Told that it has ended, in whatever way. */
  onclosed?(connection: ConnectionBase): void;
}

/** The settings of a connection: those of its engine, and what may wait in its channel. */
export interface ConnectionSettings extends EngineOptions {
  /** Bytes that may wait in the channel before sends pause. Default: 1 MiB. */
  maxBufferedBytes?: number | undefined;
  /** Where it runs. Default: the runtime's own. */
  environment?: Environment | undefined;
  /** Messages, and their bytes, that may wait for the connection to come back. */
  maxPending?: { readonly messages: number; readonly bytes: number } | undefined;
  /** Whether `containerId` is a name of the program's own. */
  isNamed?: boolean | undefined;
  /** Told what no call fails for; an acceptor has one for all its connections. */
  logging?: LogHolder | undefined;
}

/** How one channel is taken over: settings that are no others', and what is said first. */
export interface AttachmentSettings extends Partial<Pick<EngineOptions, "handshake" | "hostname">> {
  /** Whom it is with, as host and port. Default: the peer's container, once it is known. */
  host?: string | undefined;
  /** Says what is to be said before the peer has said anything. */
  onstart?(endpoint: ConnectionEndpoint): void;
  /** Does this side's part of a SASL exchange, instead of that of the hooks. */
  onsasl?(frame: SaslFrameBody, endpoint: ConnectionEndpoint): void | Promise<void>;
}

/** What carries a connection at the moment. */
export interface Attachment {
  readonly settings: AttachmentSettings;
  readonly endpoint: ConnectionEndpoint;
  readonly driver: Driver;
  readonly links: ChurnMap<LinkEndpoint, Link>;
  readonly sessions: ChurnMap<SessionEndpoint, SharedSession>;
  opened?: boolean;
  /** Whether this side has closed it. */
  goodbye?: boolean;
}

/**
 * One connection, as its links and sessions see it.
 *
 * @example
 * ```ts
 * import type { ConnectionBase } from "@webamqp/amqp";
 *
 * function about(connection: ConnectionBase): string {
 *   return `${connection.containerId} with ${connection.host}, as ${connection.remote?.containerId}`;
 * }
 * ```
 */
export class ConnectionBase extends Lifetime implements LinkConnection {
  /** Who the peer authenticated as, on the accepting side; undefined for nobody in particular. */
  identity: string | undefined;
  /** @ignore Told what no call fails for. */
  readonly logging: LogHolder;
  /** Where it runs: time, timers, randomness. */
  readonly environment: Environment;
  /** What is decoded on it, at most. */
  readonly limits: CodecLimits | undefined;

  /** @ignore Its settings. */
  protected readonly settings: ConnectionSettings;
  /** @ignore What this side is told of. */
  protected readonly hooks: ConnectionHooks;
  /** @ignore Its links, and which session each is on, in the order in which they were made. */
  protected readonly links: ChurnMap<Link, SharedSession | undefined> = new ChurnMap();
  /** @ignore Its sessions. */
  protected readonly sessions: Set<SharedSession> = new Set();
  /** @ignore What carries it. */
  protected attachment: Attachment | undefined;
  /** @ignore Messages that found no credit when they were sent. */
  creditWaits = 0;
  /** @ignore Gives tokens to the peer before links attach. */
  claims: { beforeAttach(link: Link, attachment: unknown): Promise<void> | undefined } | undefined;
  #remote: Open | undefined;
  #host: string | undefined;
  #defaultSession: SharedSession | undefined;

  /** Prepares a connection that nothing carries yet. */
  constructor(options: ConnectionSettings, hooks: ConnectionHooks) {
    super();
    // As it is, it is shared by all connections of an acceptor.
    this.settings = options.trace === undefined ? options : { ...options, trace: this.#guarded(options.trace) };
    this.hooks = hooks;
    this.limits = options.limits;
    this.environment = options.environment ?? systemEnvironment;
    this.logging = options.logging ?? { option: undefined };
  }

  /** @ignore Whether the name of this container is the program's own. */
  get isNamed(): boolean {
    return this.settings.isNamed ?? false;
  }

  /** The name of this container. */
  get containerId(): string {
    return this.settings.containerId;
  }

  /** Whom it is with: the host and port, or the container of a peer that has connected; undefined before it is known. */
  get host(): string | undefined {
    return this.#host ?? (this.remote && quote(this.remote.containerId));
  }

  /** What the peer said of itself when it opened the connection, once it has. */
  get remote(): Readonly<Open> | undefined {
    return this.attachment?.endpoint.remote ?? this.#remote;
  }

  /** True while more is written than leaves. */
  get congested(): boolean {
    return this.attachment?.driver.congested ?? false;
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
    const error = cause instanceof Error ? cause : new Error(String(cause), { cause });
    const attachment = this.attachment;
    this.finish(error);
    attachment?.driver.destroy(error);
  }

  /** @ignore Ends it with `error`, and says so to the peer, without waiting for its answer. */
  abandon(error: Error): void {
    const attachment = this.attachment;
    this.finish(error);
    attachment?.endpoint.close();
    attachment?.driver.flush();
    attachment?.driver.destroy(error);
  }

  /** @ignore For senders: refuses one more message when too much waits already. */
  admit(_bytes: number): void {}

  /** @ignore For links and sessions: something waits to be written. */
  wake(): void {
    this.attachment?.driver.wake();
  }

  /**
   * @ignore Takes over `channel` and starts; the client's open, its sessions and links go out with what is asked for in the
   * same turn.
   */
  attach(channel: Channel, settings: AttachmentSettings = {}): void {
    let endpoint: ConnectionEndpoint;
    try {
      const { handshake, hostname } = settings;
      const options = handshake === undefined ? this.settings : { ...this.settings, handshake, hostname };
      endpoint = new ConnectionEndpoint(options, this.environment.now());
      settings.onstart?.(endpoint);
      if (endpoint.handshake.client) endpoint.open();
    } catch (error) {
      channel.close(1000);
      throw error;
    }
    this.#host = settings.host ?? this.#host;
    const driver = new Driver(channel, endpoint, {
      onevent: (event) => {
        // What the last attachment still has to tell concerns nobody.
        if (attachment !== this.attachment) return;
        const { error } = event as { error?: Error };
        const host = error && this.host;
        this.handle(attachment, error && host ? { ...event, error: located(error, host) } as EngineEvent : event);
      },
      maxBufferedBytes: this.settings.maxBufferedBytes,
      environment: this.environment,
    });
    const attachment: Attachment = { settings, endpoint, driver, links: new ChurnMap(), sessions: new ChurnMap() };
    this.attachment = attachment;
  }

  /** @ignore The session of all links that do not ask for one of their own. */
  defaultSession(): SharedSession {
    this.requireOpen("attach link");
    const { session: options = {} } = this.settings;
    return this.#defaultSession ??= this.addSession({ options, endpoint: undefined, session: undefined });
  }

  /** @ignore Keeps `session`, which is begun on each attachment. */
  addSession(session: SharedSession): SharedSession {
    this.requireOpen("begin session");
    if (this.attachment !== undefined) this.beginSession(session, this.attachment);
    this.sessions.add(session);
    return session;
  }

  /** @ignore Keeps `link`, which is attached on each attachment, on `session`. */
  addLink<L extends Link>(link: L, session: SharedSession): L {
    if (this.attachment !== undefined) this.attachLink(link, session, this.attachment);
    this.links.set(link, session);
    return link;
  }

  /** @ignore Ends the link of an endpoint. */
  dropLink(endpoint: LinkEndpoint, error?: Error): void {
    const link = this.attachment?.links.get(endpoint);
    this.attachment?.links.delete(endpoint);
    if (link !== undefined) this.endLink(link, error);
  }

  /** @ignore Forgets a link, which ends. */
  endLink(link: Link, error?: Error): void {
    this.links.delete(link);
    link.handleEnded(error);
  }

  /** @ignore Forgets a session, which ends. */
  endSession(shared: SharedSession, error?: Error): void {
    this.sessions.delete(shared);
    if (this.#defaultSession === shared) this.#defaultSession = undefined;
    shared.session?.handleEnded(error);
  }

  /** @ignore Ends it, and all that is on it. */
  finish(error: Error | undefined): void {
    if (this.over) return;
    this.#remote = this.remote;
    this.attachment = undefined;
    this.end(error);
    for (const link of [...this.links.keys()]) this.endLink(link, error);
    for (const session of [...this.sessions]) this.endSession(session, error);
    this.hooks.onclosed?.(this);
  }

  /** What is done before the goodbye. */
  protected beforeClose(_timeoutMs: number): Promise<void> | undefined {
    return undefined;
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    const { host } = this;
    return { label: host === undefined ? "connection" : `connection to ${host}`, scope: "connection" };
  }

  async #close(options: CloseOptions): Promise<void> {
    if (!this.over) await this.beforeClose(options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS);
    const attachment = this.attachment;
    if (attachment === undefined) return this.finish(undefined);
    attachment.goodbye = true;
    const { driver, endpoint } = attachment;
    const { timeoutMs = Infinity } = options;
    if (options.error?.condition === condition.connectionForced) driver.closeCode = 1001;
    if (timeoutMs !== Infinity) driver.closeTimeoutMs = timeoutMs;
    endpoint.close(options.error);
    driver.wake();
    // The engine bounds the wait for the peer's close, the channel that for its own; a time that was given bounds both.
    if (!await within(driver.ended, timeoutMs, this.environment)) {
      driver.closeTimeoutMs = 0;
      driver.destroy(new TransportError("timeout", `Cannot close connection: no answer within ${timeoutMs} ms`));
    }
    await driver.ended;
  }

  /** @ignore Begins a session. */
  protected beginSession(session: SharedSession, attachment: Attachment): void {
    const endpoint = attachment.endpoint.begin(session.options, session.knownHandleMax);
    attachment.sessions.set(endpoint, session);
    session.endpoint = endpoint;
    attachment.driver.wake();
  }

  /** @ignore Attaches a link. */
  protected attachLink(link: Link, session: SharedSession, attachment: Attachment): void {
    const claimed = this.claims?.beforeAttach(link, attachment);
    const waits = link.prepared?.then(() => claimed) ?? claimed;
    if (waits === undefined) return this.#attachNow(link, session, attachment);
    const stillWaits = (): boolean => this.attachment === attachment && this.links.has(link) && !link.carried;
    waits.then(() => stillWaits() && this.#attachNow(link, session, attachment))
      .catch((error) => stillWaits() && this.loseLink(link, error));
  }

  #attachNow(link: Link, session: SharedSession, attachment: Attachment): void {
    if (session.endpoint === undefined) this.beginSession(session, attachment);
    attachment.links.set(link.attachOn(session.endpoint!), link);
    attachment.driver.wake();
  }

  /** @ignore Told by the engine. */
  protected handle(attachment: Attachment, event: EngineEvent): void {
    switch (event.kind) {
      case "saslMechanisms":
      case "saslChallenge":
      case "saslInit":
      case "saslResponse":
      case "saslOutcome":
        return this.#handleSasl(attachment, event);
      case "opened":
        attachment.opened = true;
        this.begin();
        return this.hooks.onopen?.(this);
      case "closed":
        return this.#handleClosed(attachment, event.error);
      case "ended":
        return this.handleSessionEnded(attachment, event.session, event.error);
    }
    if (!("link" in event)) return;
    const link = attachment.links.get(event.link);
    if (event.kind === "detached") attachment.links.delete(event.link);
    if (link !== undefined) this.handleLink(link, event);
  }

  /** @ignore Told by the engine of one link. */
  protected handleLink(link: Link, event: EngineEvent): void {
    const sender = link as Sender;
    switch (event.kind) {
      case "attached":
        return link.handleAttached();
      case "detached":
        return this.loseLink(link, event.error);
      case "credit":
        return sender.handleCredit();
      case "refused":
        return sender.handleRefused(event.delivery, event.error);
      case "sent":
        return sender.handleSent(event.delivery);
      case "disposition":
        return sender.handleDisposition(event.delivery as OutgoingDelivery, event.state, event.settled);
    }
  }

  #handleSasl({ endpoint, driver, settings }: Attachment, frame: SaslFrameBody): void {
    const fail = (error: unknown) => {
      endpoint.fail(
        error instanceof AmqpError
          ? error
          : new AmqpError(condition.internalError, "Cannot authenticate: mechanism failed", { cause: error }),
      );
      driver.wake();
    };
    const done = settings.onsasl === undefined
      ? this.hooks.onsasl?.(frame, endpoint, this)
      : settings.onsasl(frame, endpoint);
    // What the engine has to say after a call that came out of turn is heard with the next flush.
    done?.then(() => driver.wake(), fail);
  }

  // What only watches the traffic never disturbs it.
  #guarded(trace: EngineOptions["trace"]): EngineOptions["trace"] {
    if (trace === undefined) return undefined;
    return (frame) => {
      try {
        trace(frame);
      } catch (error) {
        import("./complaints.ts").then(({ tell, traceFailed }) => tell(this, traceFailed(error))).catch(ignore);
      }
    };
  }

  /** @ignore The session of an endpoint has ended, and its links with it. */
  protected handleSessionEnded(attachment: Attachment, endpoint: SessionEndpoint, error: AmqpError | undefined): void {
    const shared = attachment.sessions.get(endpoint);
    attachment.sessions.delete(endpoint);
    for (const key of [...attachment.links.keys()]) if (key.session === endpoint) this.dropLink(key, error);
    if (shared !== undefined) this.endSession(shared, error);
  }

  /** @ignore The peer has ended a link. */
  protected loseLink(link: Link, error: Error | undefined): void {
    this.endLink(link, error);
  }

  /** @ignore What carried it is lost; true if it lives on. */
  protected survives(_attachment: Attachment, _error: Error): boolean {
    return false;
  }

  #handleClosed(attachment: Attachment, error: Error | undefined): void {
    // A client whose server says goodbye is left without what it wanted; a server whose client does so is done.
    if (error === undefined && this.open && attachment.endpoint.handshake.client) {
      error = new AmqpError(condition.connectionForced, "Connection closed by peer without an error", { remote: true });
    }
    this.#remote = this.remote;
    this.attachment = undefined;
    // The goodbye of the engine is still to be written.
    attachment.driver.wake();
    if (error === undefined || attachment.goodbye || !this.survives(attachment, error)) this.finish(error);
  }
}
