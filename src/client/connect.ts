/**
 * Connecting as a client.
 *
 * @module
 */

import { OutcomeError } from "../base/errors.ts";
import { type Environment, randomName } from "../base/environment.ts";
import type { Message } from "../codec/message.ts";
import type { CodecLimits } from "../codec/reader.ts";
import type { Accepted, Fields, SaslFrameBody } from "../codec/types.ts";
import { ClientHandshake } from "../engine/client_handshake.ts";
import type { FrameTrace } from "../engine/events.ts";
import { SenderEndpoint } from "../engine/sender.ts";
import type { SessionOptions } from "../engine/session.ts";
import type { Channel } from "../transport/channel.ts";
import { dialAny, type TransportOptions } from "../transport/dial.ts";
import { parseUrl, readUrl } from "../transport/url.ts";
import { SaslClient } from "../sasl/client.ts";
import type { SaslAuth, SaslMechanism } from "../sasl/mechanism.ts";
import { anonymous, plain } from "../sasl/mechanisms.ts";
import { Connection } from "./connection.ts";
import { ConnectionBase, type ConnectionHooks, type ConnectionTerms } from "./connection_base.ts";
import { Sender, type SendOptions } from "./sender.ts";
import { checkAddress, checkOptions, describeKind, type OptionKinds } from "../base/options.ts";
import { CODEC_LIMIT_KINDS, codecLimits, senderAttach, SESSION_KINDS } from "./terms.ts";
import { abortable, ignore, type WaitOptions } from "../base/wait.ts";

/** Bounds of what a peer can cost; each has a default. */
export interface ConnectionLimits extends Partial<CodecLimits> {
  /** Milliseconds for the WebSocket handshake; over sockets for each of TCP, TLS, proxy, handshake. Default: 20,000. */
  handshakeTimeoutMs?: number;
  /** Milliseconds for SASL and open. Default: 30,000. */
  openTimeoutMs?: number;
  /** Milliseconds that a close may go unanswered. Default: 5,000. */
  closeTimeoutMs?: number;
  /** Largest SASL frame taken, in bytes. Default: 65,536. */
  saslFrameSize?: number;
  /** Largest open frame sent, in bytes. Default: 512, which every peer takes. */
  openFrameSize?: number;
  /**
   * Bytes that may wait in the WebSocket or socket before sends pause; fewer than 262,144 count as those. A peer that goes on
   * without reading its answers is dropped when four times as many wait. Default: 1,048,576.
   */
  maxBufferedBytes?: number;
}

/** What {@linkcode connect} takes. */
export interface ConnectOptions extends WaitOptions, TransportOptions {
  /**
   * How to authenticate: a mechanism, several of them, the one to prefer first, a function that gives them and is asked on
   * every attempt, or null for a connection without SASL. Default: PLAIN with the user info of the URL, or ANONYMOUS without
   * any.
   */
  auth?: SaslAuth | null | (() => SaslAuth | null | Promise<SaslAuth | null>);
  /**
   * True sends the credentials, and all that follows, without waiting for what the server offers and says to them: two
   * round trips less. Only for a server that is known to take it and the mechanism, which must have no challenge. Default:
   * false.
   */
  pipelineSasl?: boolean;
  /** Names this container to the peer. Default: a random name. */
  containerId?: string;
  /** The virtual host. Default: the host of the URL. */
  hostname?: string;
  /** Largest frame taken, in bytes, at least 512. Default: 131,072. */
  maxFrameSize?: number;
  /** Highest channel that either side may use. Default: 255. */
  channelMax?: number;
  /** Idle time-out announced to the peer, in milliseconds; without a frame for twice as long it is given up. Default: 60,000; 0 for none. */
  idleTimeOut?: number;
  /** Connection properties. */
  properties?: Fields;
  /** Capabilities wanted of the peer. */
  desiredCapabilities?: string[];
  /** WebSocket subprotocols to offer. Default: `["amqp"]`; Azure wants `["AMQPWSB10"]`. */
  subprotocols?: string[];
  /** Terms of the session that links of the connection share. */
  session?: SessionOptions;
  /** Bounds of what the peer can cost. */
  limits?: ConnectionLimits;
  /** Where it runs; another one makes time and chance repeatable in tests. Default: the runtime's clock, timers and randomness. */
  environment?: Environment;
  /** Told of every frame, secrets left out. */
  trace?: (frame: FrameTrace) => void;
}

function connectKinds(): OptionKinds<ConnectOptions> {
  return {
    auth: "object, array, function or null",
    signal: "object",
    pipelineSasl: "boolean",
    containerId: "string",
    hostname: "string",
    maxFrameSize: "number",
    channelMax: "number",
    idleTimeOut: "number",
    properties: "object",
    desiredCapabilities: "array",
    subprotocols: "array",
    session: SESSION_KINDS,
    limits: {
      ...CODEC_LIMIT_KINDS,
      handshakeTimeoutMs: "number",
      openTimeoutMs: "number",
      closeTimeoutMs: "number",
      saslFrameSize: "number",
      openFrameSize: "number",
      maxBufferedBytes: "number",
    } satisfies OptionKinds<ConnectionLimits>,
    trace: "function",
    environment: "object",
    transport: '"auto", "websocket" or "socket"',
    headers: "object or array",
    tls: "object",
    proxy: "string or object",
  };
}

/** What {@linkcode publish} takes. */
export type PublishOptions = ConnectOptions & Pick<SendOptions, "settled">;

/**
 * Connects to a broker and opens an AMQP connection: over a WebSocket for `ws:` and `wss:`, and where there are sockets also
 * over TCP for `amqp:` and TLS for `amqps:`.
 *
 * User info in the URL is used for SASL PLAIN only; it is not sent with the HTTP request.
 *
 * @throws {TransportError} If the WebSocket or socket cannot be opened, or this runtime cannot honour an option.
 * @throws {AmqpError} If the peer refuses the credentials or the connection.
 * @throws {TypeError} If the URL or an option cannot be used.
 *
 * @example
 * ```ts
 * import { connect, plain } from "@webamqp/amqp";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp", { auth: plain("user", "secret") });
 *   await connection.sender("orders").send({ body: "one coffee" });
 * }
 * ```
 */
export async function connect(url: string | URL, options: ConnectOptions = {}): Promise<Connection> {
  checkOptions("connect", options, connectKinds());
  const connection = await start(Connection, url, options);
  try {
    await connection.ready(options);
  } catch (error) {
    connection.destroy(error as Error);
    throw error;
  }
  return connection;
}

/**
 * Sends one message and closes: connection, session and link are opened in one flight, without a wait in between.
 *
 * @returns The outcome, or undefined with `settled`.
 * @throws {OutcomeError} If the message was not accepted.
 * @throws {TransportError | AmqpError} If it could not be sent.
 * @throws {TypeError} If an argument or option cannot be used.
 *
 * @example
 * ```ts
 * import { plain, publish } from "@webamqp/amqp";
 *
 * async function main() {
 *   await publish("wss://broker.example/amqp", "orders", { body: "one coffee" }, { auth: plain("user", "secret") });
 * }
 * ```
 */
export async function publish(
  url: string | URL,
  address: string,
  message: Message | Uint8Array,
  options: PublishOptions = {},
): Promise<Accepted | undefined> {
  checkOptions("publish", options, { ...connectKinds(), settled: "boolean" });
  checkAddress("publish", address);
  const connection = await start(ConnectionBase, url, options);
  try {
    return await senderTo(address, connection).send(message, options);
  } catch (error) {
    if (!(error instanceof OutcomeError)) connection.destroy(error as Error);
    throw error;
  } finally {
    // The outcome is known; how the goodbye goes does not change it.
    await connection.close(options).catch(ignore);
  }
}

function senderTo(address: string, connection: ConnectionBase): Sender {
  const endpoint = connection.defaultSession().attach(
    SenderEndpoint,
    senderAttach({ address }, connection),
  );
  return connection.addLink(endpoint, new Sender(connection, endpoint));
}

// Dials, and sends all that can be sent before the peer has said anything.
async function start<C>(Class: ConnectionClass<C>, url: string | URL, options: ConnectOptions): Promise<C> {
  const target = parseUrl(url);
  // Before anything is asked of whoever has the credentials.
  readUrl(target);
  const { signal, limits } = options;
  signal?.throwIfAborted();
  const hostname = options.hostname ?? target.hostname;
  const auth = await abortable(authOf(target, options.auth), signal);
  const sasl = auth === null ? undefined : new SaslClient(auth, {
    hostname,
    port: Number(target.port) || undefined,
    secure: isSecure(target),
  });
  const saslInit = options.pipelineSasl ? await abortable(Promise.resolve(sasl?.begin()), signal) : undefined;
  const channel = await dialAny(target, { ...options, handshakeTimeoutMs: limits?.handshakeTimeoutMs });
  return open(Class, channel, sasl, { ...options, saslInit, hostname });
}

/** What {@linkcode openOver} takes. */
export interface OpenOptions
  extends Omit<ConnectOptions, "auth" | "pipelineSasl" | "signal" | "subprotocols" | keyof TransportOptions> {
  /** The choice of the mechanism, where `pipelineSasl` does not wait for what the server offers. */
  saslInit?: SaslFrameBody | undefined;
}

/** A client's connection over a channel that is open already; nothing is waited for. Without `auth`, without SASL. */
export function openOver(
  channel: Channel,
  auth: SaslAuth | SaslClient | undefined,
  options: OpenOptions = {},
): Connection {
  const { hostname } = options;
  const fresh = auth !== undefined && !(auth instanceof SaslClient);
  return open(Connection, channel, fresh ? new SaslClient(auth, { hostname, secure: true }) : auth, options);
}

type ConnectionClass<C> = new (channel: Channel, options: ConnectionTerms, hooks: ConnectionHooks) => C;

function open<C>(
  Class: ConnectionClass<C>,
  channel: Channel,
  sasl: SaslClient | undefined,
  options: OpenOptions,
): C {
  const { hostname, limits = {}, saslInit } = options;
  return new Class(
    channel,
    {
      handshake: () => new ClientHandshake(sasl !== undefined && (saslInit ? "pipelined" : true), true),
      environment: options.environment,
      containerId: options.containerId ?? randomName(options.environment),
      hostname,
      maxFrameSize: options.maxFrameSize,
      channelMax: options.channelMax,
      idleTimeOut: options.idleTimeOut,
      properties: options.properties,
      desiredCapabilities: options.desiredCapabilities,
      saslMaxFrameSize: limits.saslFrameSize,
      maxOpenSize: limits.openFrameSize,
      maxBufferedBytes: limits.maxBufferedBytes,
      openTimeoutMs: limits.openTimeoutMs,
      closeTimeoutMs: limits.closeTimeoutMs,
      session: options.session,
      limits: codecLimits(limits),
      trace: options.trace,
    },
    sasl === undefined ? {} : {
      onstart: (endpoint) => {
        if (saslInit !== undefined) endpoint.sasl(saslInit);
      },
      onsasl: async (frame, endpoint) => {
        const answer = await sasl.handle(frame);
        if (answer !== undefined) endpoint.sasl(answer);
        if (frame.kind === "saslOutcome") endpoint.confirmSasl();
      },
    },
  );
}

async function authOf(url: URL, auth: ConnectOptions["auth"]): Promise<SaslAuth | null> {
  const given = typeof auth === "function" ? await auth() : auth === undefined ? fromUserInfo(url) : auth;
  for (const one of given === null ? [] : [given].flat()) {
    if (typeof one?.exchange === "function") continue;
    throw new TypeError(
      `Cannot connect: option "auth" is ${describeKind(one)}, not a mechanism such as plain(user, password)`,
    );
  }
  return given;
}

function fromUserInfo(url: URL): SaslMechanism {
  return url.username === "" ? anonymous() : plain(decodeURIComponent(url.username), decodeURIComponent(url.password));
}

function isSecure({ protocol, hostname }: URL): boolean {
  return protocol === "wss:" || protocol === "amqps:" || isLoopback(hostname);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
