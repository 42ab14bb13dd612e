/**
 * Accepting AMQP connections over any channel.
 *
 * @example A server that prints what clients send
 * ```ts
 * import { acceptor } from "@webamqp/amqp/server";
 * import { listen } from "@webamqp/amqp/node";
 *
 * const server = acceptor({
 *   onReceiver: (request) => request.accept().serve(({ message }) => console.log(message.body)),
 * });
 * await using listener = await listen({ host: "127.0.0.1", port: 0, acceptor: server });
 * console.assert(listener.port > 0);
 * ```
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, isWorkers, randomName, systemEnvironment } from "../base/environment.ts";
import { AmqpError, TransportError } from "../base/errors.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { FastPathReader } from "../codec/fast_path.ts";
import { CODEC_LIMIT_KINDS, type CodecLimits } from "../codec/limits.ts";
import { type LogEntry, type LogHolder, logOf, type LogOption } from "../base/log.ts";
import type { Fields, Open, SaslFrameBody } from "../codec/types.ts";
import type { ConnectionEndpoint } from "../engine/connection.ts";
import type { FrameTrace } from "../engine/events.ts";
import { takeLink } from "../engine/accept.ts";
import { Budget, type CostLimits } from "../engine/budgets.ts";
import { ServerHandshake } from "../engine/server_handshake.ts";
import type { SessionOptions } from "../engine/session.ts";
import { type Channel, checkChannel, type PeerInfo, TRY_AGAIN_LATER } from "../transport/channel.ts";
import { Connection } from "../client/connection.ts";
import type { AttachmentSettings, ConnectionHooks, ConnectionSettings } from "../client/connection_base.ts";
import { CLOSE_KINDS, type CloseOptions } from "../client/lifetime.ts";
import { Containers } from "./containers.ts";
import { asAmqpError, decide, guardHook, type ReceiverRequest, type SenderRequest } from "./link_requests.ts";
import { ACCEPTOR_KINDS } from "./kinds.ts";
import { SaslServer } from "../sasl/server.ts";
import { SharedTimers } from "./shared_timers.ts";
import { SASL_KINDS, saslMechanisms, type SaslServerOptions } from "./sasl.ts";
import { codecLimits, SESSION_KINDS } from "../client/link_options.ts";
import { abortable, ignore } from "../base/wait.ts";

export type { CostLimits } from "../engine/budgets.ts";
export type { LogCode, LogEntry, LogOption } from "../base/log.ts";
export type { LinkOptions } from "../engine/link.ts";
export type { PeerCertificate, PeerInfo } from "../transport/channel.ts";
export type { AcceptSettings, LinkRequest, ReceiverRequest, SenderRequest } from "./link_requests.ts";
export type { SaslServerOptions, UserTable } from "./sasl.ts";
export type { ScramHash, ScramKeys } from "../sasl/scram_keys.ts";
export type { FindScramKeys } from "../sasl/scram_server.ts";
export type { SaslIdentity, SaslServerExchange, SaslServerMechanism } from "../sasl/mechanism.ts";
export type { CheckPassword, IdentifyExternal } from "../sasl/server_mechanisms.ts";

/** Options of an {@linkcode Acceptor}. */
export interface AcceptorOptions extends CostLimits {
  /** The name of this container. Default: a random name. */
  containerId?: string | undefined;
  /** Who may connect. Default: anybody, anonymously. */
  sasl?: SaslServerOptions | undefined;
  /** Called when a peer has opened its connection, before any link attaches; an error thrown closes the connection. */
  onConnection?: ((connection: Connection) => void | Promise<void>) | undefined;
  /** Called when a peer attaches to receive; an error thrown refuses the link. Default: links are refused. */
  onSender?: ((request: SenderRequest) => void | Promise<void>) | undefined;
  /** Called when a peer attaches to send; an error thrown refuses the link. Default: links are refused. */
  onReceiver?: ((request: ReceiverRequest) => void | Promise<void>) | undefined;
  /** Largest frame accepted, in bytes, at least 512. Default: 131,072. */
  maxFrameSize?: number | undefined;
  /** Highest channel that either side may use. Default: 255. */
  channelMax?: number | undefined;
  /** Connections at a time; further channels are closed at once with code 1013, try again later. Default: 10,000. */
  maxConnections?: number | undefined;
  /**
   * Links at a time on all sessions of a connection. More are refused with `amqp:resource-limit-exceeded`; a peer that leaves
   * as many refused links attached is disconnected. Default: 4,096.
   */
  maxLinks?: number | undefined;
  /**
   * Suspended links at a time (`suspendMs`). One more ends the oldest link of the peer that has most, or itself if no other
   * peer has more. Default: 1,000.
   */
  maxSuspendedLinks?: number | undefined;
  /** Bytes of partly received messages on all connections at a time; the link that exceeds it ends. Default: 268,435,456. */
  maxUnfinishedBytes?: number | undefined;
  /** Idle time-out announced to peers, in milliseconds; 0 for none. Default: 60,000. */
  idleTimeOut?: number | undefined;
  /** Properties of the connection, sent in the open. */
  properties?: Fields | undefined;
  /** Capabilities offered. */
  offeredCapabilities?: string[] | undefined;
  /** Returns fields of the open with which to answer a peer's, over the other options. */
  answerOpen?: ((open: Open) => Partial<Omit<Open, "kind">>) | undefined;
  /** Settings of the sessions that peers begin. */
  session?: SessionOptions | undefined;
  /** Largest SASL frame accepted, in bytes. Default: 65,536. */
  saslFrameSize?: number | undefined;
  /** Bytes that a client may send ahead while its credentials are checked. Default: 65,536. */
  maxPipelinedBytes?: number | undefined;
  /**
   * Bytes that may wait in a connection's channel before sends pause; at least 262,144. A peer that keeps sending without
   * reading the answers is dropped once four times as many wait. Default: 1,048,576.
   */
  maxBufferedBytes?: number | undefined;
  /** Milliseconds for SASL and open. Default: 30,000. */
  openTimeoutMs?: number | undefined;
  /** Milliseconds to wait for the peer's answer to a close. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
  /** Limits of decoding. */
  limits?: Partial<CodecLimits> | undefined;
  /** Clock, timers and randomness; a test gives others to be repeatable. Default: the runtime's. */
  environment?: Environment | undefined;
  /**
   * Receives events for which no call fails: a handler that failed, a peer refused by a limit, a wait that may last for ever.
   * Default: warnings and errors go to the console; null silences them.
   */
  log?: LogOption | undefined;
  /** Called with every frame of every connection, secrets left out. Errors that it throws go to `log`. */
  trace?: AcceptorTracer | undefined;
}

/** A frame of one of an acceptor's connections. */
export interface AcceptorTrace extends FrameTrace {
  /** The connection's number, from 1 in the order of acceptance. */
  readonly connection: number;
}

/** Called with every frame, secrets left out; `jsonLines` of `./trace`, which makes one, also traces channels. */
export interface AcceptorTracer {
  (frame: AcceptorTrace): void;
  /** Wraps the channel of a connection so that its beginning and end are traced. Failures of tracing go to `log`. */
  accepted?(channel: Channel, info: PeerInfo | undefined, connection: number, log?: LogOption): Channel;
}

/** A peer that need not authenticate, such as one in this process. */
export interface TrustedPeer {
  /** The peer's identity; undefined for an anonymous one. */
  readonly identity?: string | undefined;
}

/** Accepts connections; made by {@linkcode acceptor}. */
export interface Acceptor {
  /**
   * Serves a channel whose peer is about to send AMQP; `info` is for SASL EXTERNAL.
   *
   * @returns Undefined if the channel was closed: the acceptor is full, or closed itself.
   */
  accept(channel: Channel, info?: PeerInfo, trusted?: TrustedPeer): Connection | undefined;
  /** The connections that have not ended. */
  readonly connections: ReadonlySet<Connection>;
  /** Closes all connections and accepts no more. */
  close(options?: CloseOptions): Promise<void>;
  /** Closes all connections and accepts no more. */
  [Symbol.asyncDispose](): Promise<void>;
}

// Some hundreds of megabytes when idle, on the runtime that needs most per connection.
const MAX_CONNECTIONS = 10_000;

const MAX_SUSPENDED_LINKS = 1_000;

// Four messages of the default maximum size.
const MAX_UNFINISHED_BYTES = 268_435_456;

// The WebSocket close code of a server that stops [rfc6455 7.4.1].
const GOING_AWAY = 1001;

/**
 * Makes an acceptor: the server side of AMQP, over any channel.
 *
 * @throws {TypeError} If an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { acceptor } from "@webamqp/amqp/server";
 *
 * const echo = acceptor({
 *   onReceiver: (request) => {
 *     void request.accept({ credit: 10 }).serve((delivery) => console.log(delivery.message.body));
 *   },
 * });
 * await echo.close();
 * ```
 */
export function acceptor(options: AcceptorOptions = {}): Acceptor {
  const kinds: OptionKinds<AcceptorOptions> = {
    ...ACCEPTOR_KINDS,
    onSender: "function",
    onReceiver: "function",
    sasl: SASL_KINDS,
    session: SESSION_KINDS,
    limits: CODEC_LIMIT_KINDS,
  };
  checkOptions("make acceptor", options, kinds);
  const accepting = new Accepting(options);
  return {
    accept: (channel, info, trusted) => accepting.accept(channel, info, trusted),
    connections: accepting.connections,
    close: (options) => accepting.close(options),
    [Symbol.asyncDispose]: () => accepting.close(),
  };
}

/** The connections of one acceptor. */
class Accepting {
  readonly connections: Set<Connection> = new Set();
  readonly #options: AcceptorOptions;
  readonly #environment: Environment;
  readonly #logging: LogHolder;
  readonly #containers: Containers;
  // Connections that are not open yet; their peer info is dropped then.
  readonly #authenticating = new Map<Connection, SaslServer<PeerInfo>>();
  // Connections that were open for no more than to be told why they are closed.
  readonly #refused = new WeakSet<Connection>();
  readonly #mechanisms: ReturnType<typeof saslMechanisms>;
  readonly #hooks: ConnectionHooks = {
    onopen: (connection: Connection) => this.#onopen(connection),
    onsasl: (frame, endpoint, connection: Connection) => this.#onsasl(frame, endpoint, connection),
    onattach: (link, connection: Connection) => {
      // The close that says why is on its way; an answer to what came in one flight with the open would give another reason.
      if (this.#refused.has(connection)) return;
      decide(connection, link, this.#options, this.#containers);
    },
    onsuspended: (_, link) => this.#closing === undefined && this.#containers.suspend(link),
    answerOpen: (open, connection: Connection) => this.#answerOpen(open, connection),
    onclosed: (connection: Connection) => this.#onclosed(connection),
  };
  // Made once for all connections.
  readonly #attachment: AttachmentSettings = {};
  #settings: ConnectionSettings | undefined;
  #accepted = 0;
  #closing: Promise<void> | undefined;

  constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#environment = options.environment ?? systemEnvironment;
    this.#logging = { option: options.log };
    this.#mechanisms = saslMechanisms(options.sasl);
    this.#containers = new Containers(
      this.#environment,
      options.maxSuspendedLinks ?? MAX_SUSPENDED_LINKS,
      (message) => this.#warn(message, "suspended"),
    );
  }

  accept(channel: Channel, info?: PeerInfo, trusted?: TrustedPeer): Connection | undefined {
    // Checked before anything is allocated.
    checkChannel("accept connection", channel);
    if (this.#closing !== undefined) return void channel.close(GOING_AWAY);
    const { maxConnections = MAX_CONNECTIONS, trace, log } = this.#options;
    const { size } = this.connections;
    if (size >= maxConnections) {
      this.#warn(
        `Cannot accept connection: ${size} are there, as many as "maxConnections" allows; raise it`,
        "connections",
      );
      return void channel.close(TRY_AGAIN_LATER, "Too many connections");
    }
    const number = ++this.#accepted;
    let settings = this.#settings ??= this.#makeSettings();
    let carrier = channel;
    if (trace !== undefined) {
      settings = { ...settings, trace: (frame) => trace({ ...frame, connection: number }) };
      carrier = trace.accepted?.(channel, info, number, log) ?? channel;
    }
    if (trusted !== undefined) settings = { ...settings, handshake: () => new ServerHandshake() };
    const connection = new Connection(settings, this.#hooks);
    connection.attach(carrier, this.#attachment);
    this.connections.add(connection);
    if (trusted === undefined) this.#authenticating.set(connection, new SaslServer(this.#mechanisms, info ?? {}));
    else connection.identity = trusted.identity;
    return connection;
  }

  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions("close acceptor", options, CLOSE_KINDS);
    const { signal, ...closeOptions } = options;
    const before = this.#closing;
    // A close that is under way ends within this call's milliseconds, too.
    const closing = Promise.all(
      [...this.connections].map((connection) => connection.close({ error: goingAway(), ...closeOptions })),
    );
    this.#closing = Promise.all([before, closing]).then(() => {});
    // Their timers would keep the process alive.
    this.#containers.close(goingAway());
    // The signal ends this wait, not that of another call.
    await abortable(this.#closing, signal);
  }

  // The settings of all connections.
  #makeSettings(): ConnectionSettings {
    const options = this.#options;
    const mechanisms = this.#mechanisms.map(({ name }) => name);
    const offer = { mechanisms, required: !mechanisms.includes("ANONYMOUS") };
    return {
      ...options,
      trace: undefined,
      handshake: () => new ServerHandshake(offer, options.maxPipelinedBytes),
      takeLink,
      maxUnfinishedBytes: undefined,
      unfinished: new Budget(options.maxUnfinishedBytes ?? MAX_UNFINISHED_BYTES),
      saslMaxFrameSize: options.saslFrameSize,
      limits: codecLimits(options.limits),
      fastPath: FastPathReader,
      // Not earlier: Workers have no randomness outside a request.
      containerId: options.containerId ?? randomName(options.environment),
      logging: this.#logging,
      // A timer of Workers ends with the request in which it was set, and with it the time-outs of all other connections.
      timers: isWorkers() ? undefined : new SharedTimers(this.#environment),
    };
  }

  #onopen(connection: Connection): void {
    this.#authenticating.delete(connection);
    const refused = this.#containers.refusal(connection);
    const fail = (thrown: unknown): void => {
      const error = asAmqpError(connection, thrown, "open connection");
      if (connection.open) connection.close({ error }).catch(ignore);
    };
    if (refused !== undefined) connection.close({ error: refused }).catch(ignore);
    else guardHook(() => this.#options.onConnection?.(connection), fail);
    if (!connection.open) this.#refused.add(connection);
  }

  async #onsasl(frame: SaslFrameBody, endpoint: ConnectionEndpoint, connection: Connection): Promise<void> {
    const sasl = this.#authenticating.get(connection);
    const answer = await sasl?.handle(frame);
    // The channel may have ended while the credentials were checked.
    if (sasl === undefined || answer === undefined || endpoint.finished) return;
    connection.identity = sasl.identity;
    endpoint.sasl(answer);
    if (sasl.error !== undefined) {
      asAmqpError(connection, sasl.error.cause, "authenticate client");
      throw sasl.error;
    }
  }

  #answerOpen(open: Open, connection: Connection): Partial<Omit<Open, "kind">> {
    const options = this.#options;
    const answer: Partial<Omit<Open, "kind">> = { ...options.answerOpen?.(open) };
    const sole = this.#containers.open(connection, open);
    const capabilities = [options, answer, sole].flatMap(({ offeredCapabilities = [] }) => offeredCapabilities);
    if (capabilities.length > 0) answer.offeredCapabilities = capabilities;
    if (answer.properties ?? sole.properties) {
      answer.properties = { ...options.properties, ...answer.properties, ...sole.properties };
    }
    return answer;
  }

  #onclosed(connection: Connection): void {
    this.#authenticating.delete(connection);
    this.#containers.closed(connection);
    this.connections.delete(connection);
    const { error, host } = connection;
    if (!isExcess(error)) return;
    const peer = host ?? "a peer that has not opened it";
    this.#warn(`Cannot keep connection with ${peer}: ${error.message}`, "limit", { host, error });
  }

  #warn(message: string, cause: string, entry: Partial<LogEntry> = {}): void {
    const log = logOf(this.#logging, this.#environment);
    log.write({ level: "warning", code: "refused", message, ...entry }, cause);
  }
}

// Whether this side ended the connection for its cost, rather than for the peer's silence.
function isExcess(error: unknown): error is AmqpError {
  return error instanceof AmqpError && !error.remote && error.condition === condition.resourceLimitExceeded &&
    !(error.cause instanceof TransportError);
}

function goingAway(): AmqpError {
  return new AmqpError(condition.connectionForced, "Cannot keep connection: this side is going away");
}
