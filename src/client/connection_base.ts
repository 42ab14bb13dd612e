/**
 * The part of a connection below its links: dispatch of the engine's events, its end, and its attachment: an engine and its
 * driver over one channel, which may be lost and followed by another.
 *
 * The base makes no links, so that a program that only publishes does not load the receiving side.
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
import type { ReceiverEndpoint, ReceiverEvent } from "../engine/receiver.ts";
import type { SenderEndpoint, SenderEvent } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type { Channel } from "../transport/channel.ts";
import { Driver } from "./driver.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, Lifetime, located } from "./lifetime.ts";
import type { Link, LinkConnection } from "./link.ts";
import type { SharedSession } from "./session.ts";

/**
 * The callbacks that connections leave to their side, client or server. An acceptor has one object for all its connections.
 *
 * Methods rather than functions, so that a side may narrow the type of connection that it makes.
 */
export interface ConnectionHooks {
  /** Called when the peer has opened the connection, before any link attaches. */
  onopen?(connection: ConnectionBase): void;
  /** Performs this side's part of a SASL exchange. */
  onsasl?(frame: SaslFrameBody, endpoint: ConnectionEndpoint, connection: ConnectionBase): void | Promise<void>;
  /** Returns the answer to the peer's open, which overrides the settings; an error refuses the connection. */
  answerOpen?(open: Open, connection: ConnectionBase): Partial<Omit<Open, "kind">>;
  /** Decides on a link that the peer attaches. */
  onattach?(link: SenderEndpoint | ReceiverEndpoint, connection: ConnectionBase): void;
  /** Called when the channel is lost; true keeps the connection until there is another channel. */
  onlost?(connection: ConnectionBase, error: Error): boolean;
  /** Whether links are attached again at once that were on a session which the peer ended over another link. */
  readonly reattaches?: boolean;
  /** Called when the peer has ended a link; true keeps it until it is attached again, an error replaces that of its end. */
  onlinklost?(connection: ConnectionBase, link: Link, error: Error): boolean | Error;
  /** Called when a link of the peer's is lost, but not closed; true keeps it for the peer to attach again. */
  onsuspended?(connection: ConnectionBase, link: Link, error: Error | undefined): boolean;
  /** Called when the connection has ended, in whatever way. */
  onclosed?(connection: ConnectionBase): void;
}

/** The settings of a connection: those of its engine, and bounds of its channel. */
export interface ConnectionSettings extends EngineOptions {
  /** Bytes that may wait in the channel before sends pause. Default: 1 MiB. */
  maxBufferedBytes?: number | undefined;
  /** Clock, timers and randomness. Default: the runtime's. */
  environment?: Environment | undefined;
  /** The environment whose timers the connection's own time-outs use. Default: `environment`. */
  timers?: Environment | undefined;
  /** The most messages, and bytes of them, that may wait while the connection is lost. */
  maxPending?: { readonly messages: number; readonly bytes: number } | undefined;
  /** Whether the program chose `containerId`. */
  isNamed?: boolean | undefined;
  /** The log; an acceptor has one for all its connections. */
  logging?: LogHolder | undefined;
}

export interface AttachmentSettings extends Partial<Pick<EngineOptions, "handshake" | "hostname">> {
  /** The server's host and port. Default: the peer's container-id, once known. */
  host?: string | undefined;
  /** Called before the peer has sent anything, to send the first frames. */
  onstart?(endpoint: ConnectionEndpoint): void;
  /** Performs this side's part of a SASL exchange, in place of the hook. */
  onsasl?(frame: SaslFrameBody, endpoint: ConnectionEndpoint): void | Promise<void>;
}

/** The engine, driver and channel of a connection at present. */
export interface Attachment {
  readonly settings: AttachmentSettings;
  readonly endpoint: ConnectionEndpoint;
  readonly driver: Driver;
  readonly links: ChurnMap<LinkEndpoint, Link>;
  readonly sessions: ChurnMap<SessionEndpoint, SharedSession>;
  /** True once the peer has opened the connection. */
  opened: boolean;
  /** True once this side has closed it. */
  closing: boolean;
}

/**
 * One connection, as its links and sessions use it.
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
  /** The identity that the peer authenticated as, on the accepting side; undefined for an anonymous one. */
  identity: string | undefined;
  /** @ignore The log. */
  readonly logging: LogHolder;
  /** Clock, timers and randomness. */
  readonly environment: Environment;
  /** The limits of decoding. */
  readonly limits: CodecLimits | undefined;

  /** @ignore */
  protected readonly settings: ConnectionSettings;
  /** @ignore */
  protected readonly hooks: ConnectionHooks;
  /** @ignore The links, each with its session, in the order in which they were made. */
  protected readonly links: ChurnMap<Link, SharedSession | undefined> = new ChurnMap();
  /** @ignore */
  protected readonly sessions: ChurnMap<SharedSession, true> = new ChurnMap();
  /** @ignore */
  protected attachment: Attachment | undefined;
  /** @ignore Messages that found no credit when sent. */
  creditWaits = 0;
  /** @ignore Puts tokens before links attach. */
  claims: {
    beforeAttach(link: Link, attachment: unknown): Promise<void> | undefined;
    mayReturn(link: Link, error: Error): boolean;
  } | undefined;
  #remote: Open | undefined;
  #host: string | undefined;
  #defaultSession: SharedSession | undefined;

  /** Makes a connection without an attachment. */
  constructor(options: ConnectionSettings, hooks: ConnectionHooks) {
    super();
    // Unless guarded, one object is shared by all connections of an acceptor.
    this.settings = options.trace === undefined ? options : { ...options, trace: this.#guarded(options.trace) };
    this.hooks = hooks;
    this.limits = options.limits;
    this.environment = options.environment ?? systemEnvironment;
    this.logging = options.logging ?? { option: undefined };
  }

  /** @ignore Whether the program chose the name of this container. */
  get isNamed(): boolean {
    return this.settings.isNamed ?? false;
  }

  /** The name of this container. */
  get containerId(): string {
    return this.settings.containerId;
  }

  /** The peer's host and port, or the container-id of a peer that connected to us; undefined before it is known. */
  get host(): string | undefined {
    return this.#host ?? (this.remote && quote(this.remote.containerId));
  }

  /** The peer's open, once received. */
  get remote(): Readonly<Open> | undefined {
    return this.attachment?.endpoint.remote ?? this.#remote;
  }

  /** True while the channel's buffer is above its bound. */
  get congested(): boolean {
    return this.attachment?.driver.congested ?? false;
  }

  /**
   * Closes the connection: waits for sends in flight and running handlers, releases messages that nobody took, then exchanges
   * closes with the peer. Never fails because the connection has ended already.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(options), options, {
      environment: this.environment,
      drop: (timeoutMs) => this.#drop(timeoutMs),
    });
  }

  /** @ignore {@inheritDoc LinkConnection.closeTimeoutMs} */
  get closeTimeoutMs(): number {
    return this.settings.closeTimeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
  }

  // The peer has not closed in time.
  #drop(timeoutMs: number): void {
    const { attachment } = this;
    if (attachment === undefined) return this.finish(undefined);
    attachment.driver.closeTimeoutMs = 0;
    const message = `Cannot close connection: no answer within ${timeoutMs} ms`;
    attachment.driver.destroy(new TransportError("timeout", message));
  }

  /** Drops the connection without waiting or a close frame; every call that waits on it fails with `cause`. */
  destroy(cause: Error): void {
    // A signal's reason may be anything.
    const error = cause instanceof Error ? cause : new Error(String(cause), { cause });
    const attachment = this.attachment;
    this.finish(error);
    attachment?.driver.destroy(error);
  }

  /** @ignore Ends the connection with `error` and sends a close, without waiting for the peer's. */
  abandon(error: Error): void {
    const attachment = this.attachment;
    this.finish(error);
    attachment?.endpoint.close();
    attachment?.driver.flush();
    attachment?.driver.destroy(error);
  }

  /** @ignore For senders: throws when too much waits already. */
  admit(_bytes: number): void {}

  /** @ignore For the engine. */
  answerOpen(open: Open): Partial<Omit<Open, "kind">> {
    return this.hooks.answerOpen?.(open, this) ?? {};
  }

  /** @ignore For links and sessions: there is something to write. */
  wake(): void {
    this.attachment?.driver.wake();
  }

  /** @ignore For receivers: there is something to write that the peer can go on with. */
  hurry(): void {
    this.attachment?.driver.hurry();
  }

  /**
   * @ignore Attaches the connection to `channel`; a client's open, sessions and links leave in one flight with the turn's
   * sends.
   */
  attach(channel: Channel, settings: AttachmentSettings = {}): void {
    let endpoint: ConnectionEndpoint;
    try {
      const { handshake, hostname } = settings;
      const options = handshake === undefined ? this.settings : { ...this.settings, handshake, hostname };
      endpoint = new ConnectionEndpoint(options, this.environment.now(), this);
      settings.onstart?.(endpoint);
      if (endpoint.handshake.client) endpoint.open();
    } catch (error) {
      channel.close(1000);
      throw error;
    }
    this.#host = settings.host ?? this.#host;
    const { maxBufferedBytes, timers = this.environment } = this.settings;
    this.attachment = {
      settings,
      endpoint,
      driver: new Driver(channel, endpoint, this, { maxBufferedBytes, environment: timers }),
      links: new ChurnMap(),
      sessions: new ChurnMap(),
      opened: false,
      closing: false,
    };
  }

  /** @ignore For the driver. */
  handleEvent(event: EngineEvent, driver: Driver): void {
    const { attachment } = this;
    // Events of a former attachment are void.
    if (attachment?.driver !== driver) return;
    const { error } = event as { error?: Error };
    const host = error && this.host;
    this.handle(attachment, error && host ? { ...event, error: located(error, host) } as EngineEvent : event);
  }

  /** @ignore The session of all links without one of their own. */
  defaultSession(): SharedSession {
    if (this.#defaultSession !== undefined) return this.#defaultSession;
    this.requireOpen("attach link");
    const { session: options = {} } = this.settings;
    return this.#defaultSession = this.addSession({ options, endpoint: undefined, session: undefined });
  }

  /** @ignore Adds `session`, to be begun on each attachment. */
  addSession(session: SharedSession): SharedSession {
    this.requireOpen("begin session");
    if (this.attachment !== undefined) this.beginSession(session, this.attachment);
    this.sessions.set(session, true);
    return session;
  }

  /** @ignore Adds `link`, to be attached to `session` on each attachment. */
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

  /** @ignore Removes and ends a link. */
  endLink(link: Link, error?: Error): void {
    this.links.delete(link);
    link.handleEnded(error);
  }

  /** @ignore The highest handle that the peer accepts on the default session, if it has said so. */
  get peerHandleMax(): number | undefined {
    return this.#defaultSession?.endpoint?.remote?.handleMax;
  }

  /** @ignore Removes and ends a session. */
  endSession(shared: SharedSession, error?: Error): void {
    this.sessions.delete(shared);
    if (this.#defaultSession === shared) this.#defaultSession = undefined;
    shared.session?.handleEnded(error);
  }

  /** @ignore Ends the connection, with its links and sessions. */
  finish(error: Error | undefined): void {
    if (this.over) return;
    this.#remote = this.remote;
    this.attachment = undefined;
    this.end(error);
    for (const link of [...this.links.keys()]) this.endLink(link, error);
    for (const session of [...this.sessions.keys()]) this.endSession(session, error);
    this.hooks.onclosed?.(this);
  }

  /** Runs before the close is sent. */
  protected beforeClose(_timeoutMs: number | undefined): Promise<void> | undefined {
    return undefined;
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    const { host } = this;
    return { label: host === undefined ? "connection" : `connection to ${host}`, scope: "connection" };
  }

  async #close(options: CloseOptions): Promise<void> {
    if (!this.over) await this.beforeClose(options.timeoutMs);
    const attachment = this.attachment;
    if (attachment === undefined) return this.finish(undefined);
    attachment.closing = true;
    const { driver, endpoint } = attachment;
    // The peer of a lost connection that has not opened again waits for no close, and may never answer one.
    if (!attachment.opened && this.#remote !== undefined) {
      this.finish(undefined);
      driver.closeTimeoutMs = 0;
      return driver.destroy(new Error("closed"));
    }
    const { timeoutMs = Infinity } = options;
    if (options.error?.condition === condition.connectionForced) driver.closeCode = 1001;
    if (timeoutMs !== Infinity) driver.closeTimeoutMs = timeoutMs;
    endpoint.close(options.error);
    driver.wake();
    // The engine bounds the wait for the peer's close, the channel the wait for its own; an explicit time bounds both.
    if (!await within(driver.ended, timeoutMs, this.environment)) this.#drop(timeoutMs);
    await driver.ended;
  }

  /** @ignore */
  protected beginSession(session: SharedSession, attachment: Attachment): void {
    const endpoint = attachment.endpoint.begin(session.options, session.knownHandleMax);
    attachment.sessions.set(endpoint, session);
    session.endpoint = endpoint;
    attachment.driver.wake();
  }

  /** @ignore Attaches a link, once it holds the token and the recovery that it waits for. */
  protected attachLink(link: Link, session: SharedSession, attachment: Attachment): void {
    const claimed = this.claims?.beforeAttach(link, attachment);
    const waits = link.prepare()?.then(() => claimed) ?? claimed;
    if (waits === undefined) return this.#attachNow(link, session, attachment);
    const stillWaits = (): boolean => this.attachment === attachment && this.links.has(link) && !link.carried;
    waits.then(() => stillWaits() && this.#attachNow(link, session, attachment))
      .catch((error) => stillWaits() && this.loseLink(link, error));
    // Told at once, as of a link that does not wait.
    this.#located(link, () => session.endpoint?.freeHandle(link.name));
  }

  #attachNow(link: Link, session: SharedSession, attachment: Attachment): void {
    if (session.endpoint === undefined) this.beginSession(session, attachment);
    this.#located(link, () => attachment.links.set(link.attachOn(session.endpoint!), link));
    attachment.driver.wake();
  }

  #located(link: Link, call: () => void): void {
    try {
      call();
    } catch (error) {
      throw located(error as Error, link.where);
    }
  }

  /** @ignore Dispatches an event of the engine. */
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
      case "begun":
      case "attachRequested":
        return;
    }
    const link = attachment.links.get(event.link);
    if (event.kind === "detached") attachment.links.delete(event.link);
    if (link !== undefined) this.handleLink(link, event);
  }

  /** @ignore Dispatches an event of the engine to its link. */
  protected handleLink(link: Link, event: SenderEvent | ReceiverEvent): void {
    if (event.kind === "attached") link.handleAttached();
    else if (event.kind === "detached") this.loseLink(link, event.error);
    else link.handleEvent(event);
  }

  #handleSasl({ endpoint, driver, settings }: Attachment, frame: SaslFrameBody): void {
    const fail = (error: unknown) => {
      endpoint.fail(
        error instanceof AmqpError ? error : new AmqpError(
          condition.internalError,
          `Cannot authenticate: mechanism failed, ${(error as Error)?.message ?? error}`,
          {
            cause: error,
            retryable: (error as { retryable?: unknown } | null)?.retryable !== false,
          },
        ),
      );
      driver.wake();
    };
    try {
      const done = settings.onsasl === undefined
        ? this.hooks.onsasl?.(frame, endpoint, this)
        : settings.onsasl(frame, endpoint);
      // A frame that the engine emits later, outside its turn, goes out with the next flush.
      done?.then(() => driver.wake(), fail);
    } catch (error) {
      fail(error);
    }
  }

  // A failing trace must not disturb the traffic.
  #guarded(trace: EngineOptions["trace"]): EngineOptions["trace"] {
    if (trace === undefined) return undefined;
    return (frame) => {
      try {
        trace(frame);
      } catch (error) {
        import("./log_texts.ts").then(({ writeLog, traceFailed }) => writeLog(this, traceFailed(error))).catch(ignore);
      }
    };
  }

  /** @ignore Ends a session and its links. */
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

  /** @ignore Whether the connection survives the loss of its attachment. */
  protected survives(_attachment: Attachment, _error: Error): boolean {
    return false;
  }

  #handleClosed(attachment: Attachment, error: Error | undefined): void {
    // For a client, a server's close without an error is a failure; for a server, a client's close is the regular end.
    if (error === undefined && this.open && attachment.endpoint.handshake.client) {
      error = new AmqpError(condition.connectionForced, "Connection closed by peer without an error", { remote: true });
    }
    this.#remote = this.remote;
    this.attachment = undefined;
    // The engine's close is still to be written.
    attachment.driver.wake();
    if (error === undefined || attachment.closing || !this.survives(attachment, error)) this.finish(error);
  }
}
