/**
 * Connecting as a client.
 *
 * @module
 */

import type { ClaimsOptions } from "./claims.ts";
import { type Environment, randomFraction, randomName, systemEnvironment } from "../base/environment.ts";
import { OutcomeError, TransportError } from "../base/errors.ts";
import { checkAddress, checkOptions, type OptionKinds } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { abortable, ignore, type WaitOptions, within } from "../base/wait.ts";
import type { LogOption } from "../base/log.ts";
import type { Message } from "../codec/message.ts";
import { FastPathReader } from "../codec/fast_path.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Accepted, Fields, SaslFrameBody } from "../codec/types.ts";
import type { CostLimits } from "../engine/budgets.ts";
import { ClientHandshake } from "../engine/client_handshake.ts";
import type { SessionOptions } from "../engine/session.ts";
import { checkRetry, isPassing, Retry, type RetryOptions } from "../recovery/retry.ts";
import { SaslClient } from "../sasl/client.ts";
import type { SaslAuth } from "../sasl/mechanism.ts";
import { anonymous } from "../sasl/mechanisms.ts";
import type { Channel } from "../transport/channel.ts";
import { explainedUrl, parseUrl, readUrl } from "../transport/url.ts";
import { attempt, type AttemptOptions, CallbackFailure, loginSettings, type Trace } from "./attempt.ts";
import { Connection } from "./connection.ts";
import { ConnectionBase, type ConnectionSettings } from "./connection_base.ts";
import { MAX_PENDING, MAX_PENDING_BYTES, type ReconnectOptions, Reconnector } from "./reconnect.ts";
import type { SendOptions } from "./outcome.ts";
import { Sender } from "./sender.ts";
import { CODEC_LIMIT_KINDS, codecLimits, senderAttach, SESSION_KINDS } from "./link_options.ts";

/** Bounds of what a peer can cost; each has a default. */
export interface ConnectionLimits extends Partial<CodecLimits>, CostLimits {
  /** Milliseconds for the WebSocket handshake; over sockets for each of TCP, TLS, proxy, handshake. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Milliseconds for SASL and open. Default: 30,000. */
  openTimeoutMs?: number | undefined;
  /** Milliseconds that a close may go unanswered. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
  /** Largest SASL frame taken, in bytes. Default: 65,536. */
  saslFrameSize?: number | undefined;
  /** Largest open frame sent, in bytes. Default: 512, which every peer takes. */
  openFrameSize?: number | undefined;
  /**
   * Bytes that may wait in the WebSocket or socket before sends pause; fewer than 262,144 count as those. A peer that goes on
   * without reading its answers is dropped when four times as many wait. Default: 1,048,576.
   */
  maxBufferedBytes?: number | undefined;
  /**
   * Bytes of messages that have arrived in part, on all links at a time; the link of one that passes it ends. Of a message that is
   * read as a stream only what is not read yet counts. Default: 134,217,728.
   */
  maxUnfinishedBytes?: number | undefined;
}

/** What {@linkcode connect} takes. */
export interface ConnectOptions extends WaitOptions, AttemptOptions {
  /**
   * How a connection that is lost is made anew: back-off with full jitter, 250 ms to 30 s, without end; false ends it with the
   * error. Everything that the program holds lives on meanwhile. Default: `{}`.
   */
  reconnect?: ReconnectOptions | false | undefined;
  /** Tokens for a peer that wants some on its `$cbs` node before links attach, such as Azure. Default: none. */
  claims?: ClaimsOptions | undefined;
  /** Names this container to the peer. Default: a random name. */
  containerId?: string | undefined;
  /** Largest frame taken, in bytes, at least 512. Default: 131,072. */
  maxFrameSize?: number | undefined;
  /** Highest channel that either side may use. Default: 255. */
  channelMax?: number | undefined;
  /** Idle time-out announced to the peer, in milliseconds; without a frame for twice as long it is given up. Default: 60,000; 0 for none. */
  idleTimeOut?: number | undefined;
  /** Connection properties. */
  properties?: Fields | undefined;
  /** Capabilities wanted of the peer. */
  desiredCapabilities?: string[] | undefined;
  /** Settings of the session that links of the connection share. */
  session?: SessionOptions | undefined;
  /** Bounds of what the peer can cost. */
  limits?: ConnectionLimits | undefined;
  /** Where it runs; another one makes time and chance repeatable in tests. Default: the runtime's clock, timers and randomness. */
  environment?: Environment | undefined;
  /**
   * Told what no call fails for: a handler that failed, a wait that may last for ever. Default: warnings and errors go to the
   * console; null silences them.
   */
  log?: LogOption | undefined;
  /**
   * Told of every frame, secrets left out; `jsonLines` of `./trace` writes them, and what happens below AMQP, as lines. What it
   * throws goes to `log`.
   */
  trace?: Trace | undefined;
  /** Measures what the connection does: `opentelemetry(api)` of `./telemetry`. Default: nothing, at no cost. */
  telemetry?: Telemetry | undefined;
}

/** Where a connection leads, as {@linkcode Telemetry} is told. */
export type TelemetryServer = Pick<URL, "hostname" | "port">;

/** Measures what connections do; made by `opentelemetry(api)` of `./telemetry`. */
export interface Telemetry {
  /** Is given each connection before anything is done on it, with where it leads. */
  (connection: Connection, server?: TelemetryServer): void;
  /** Measures a message of `publish`, which `send` sends once it is called with it or with one that holds more. */
  publish?<T>(
    send: (message: Message | Uint8Array) => Promise<T>,
    address: string,
    message: Message | Uint8Array,
    server: TelemetryServer,
  ): Promise<T>;
}

function connectKinds(): OptionKinds<ConnectOptions> {
  return {
    auth: "object, array, function or null",
    signal: "object",
    pipelineSasl: "boolean",
    claims: "object",
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
      maxUnfinishedBytes: "number",
      maxKeptBytes: "number",
      maxIdleWork: "number",
    } satisfies OptionKinds<ConnectionLimits>,
    trace: "function",
    log: "function or null",
    telemetry: "function",
    environment: "object",
    transport: '"auto", "websocket" or "socket"',
    headers: "object, array or function",
    hostHeader: "string",
    tls: "object or function",
    dial: "function",
    reconnect: "object or boolean",
    redirect: '"same-host" or function',
    proxy: "string or object",
  };
}

const RECONNECT_KINDS: OptionKinds<ReconnectOptions> = {
  initialDelayMs: "number",
  maxDelayMs: "number",
  maxAttempts: "number",
  timeoutMs: "number",
  shuffle: "boolean",
  initial: "boolean",
  maxPending: "number",
  maxPendingBytes: "number",
};

/** What {@linkcode publish} takes. */
export interface PublishOptions extends Omit<ConnectOptions, "reconnect" | "claims">, Pick<SendOptions, "settled"> {
  /** How further attempts are made while there is time; false makes one only. Default: `{}`. */
  reconnect?: RetryOptions | false | undefined;
  /** Milliseconds for all of it, further attempts included. Default: 30,000. */
  timeoutMs?: number | undefined;
}

/** How long {@linkcode publish} may take by default, in milliseconds. */
export const PUBLISH_TIMEOUT_MS = 30_000;

/**
 * Connects to a broker and opens an AMQP connection: over a WebSocket for `ws:` and `wss:`, and where there are sockets also
 * over TCP for `amqp:` and TLS for `amqps:`; or over a channel that is open already.
 *
 * A connection that is lost is made anew, and everything that the program holds goes on: see `reconnect`. Of several URLs,
 * the servers of one service, each is tried in turn. User info in the URL is used for SASL PLAIN only; it is not sent with the
 * HTTP request.
 *
 * @throws {TransportError} If the WebSocket or socket cannot be opened, or this runtime cannot honour an option.
 * @throws {AmqpError} If the peer refuses the credentials or the connection.
 * @throws {TypeError} If the URL or an option cannot be used, such as `reconnect` with a channel.
 * @throws {RangeError} If a number is out of range.
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
export async function connect(
  where: string | URL | readonly (string | URL)[] | Channel,
  options: ConnectOptions = {},
): Promise<Connection> {
  checkOptions("connect", options, connectKinds());
  const { signal, reconnect } = options;
  if (isChannel(where)) {
    if (reconnect) throw new TypeError('Cannot connect: a channel cannot be dialled again, leave out "reconnect"');
    const { auth = anonymous(), hostname } = options;
    const given = typeof auth === "function" ? await abortable(Promise.resolve(auth()), signal) : auth;
    const connection = openOver(where, given ?? undefined, { ...options, hostname });
    options.telemetry?.(connection);
    return await opened(await withClaims(connection, options), undefined, signal);
  }
  if (reconnect) {
    checkOptions("connect", { reconnect }, { reconnect: RECONNECT_KINDS });
    checkRetry(reconnect);
  }
  signal?.throwIfAborted();
  const policy = reconnect === false ? undefined : reconnect ?? {};
  const urls = await urlsOf(where);
  const { maxPending: messages = MAX_PENDING, maxPendingBytes: bytes = MAX_PENDING_BYTES } = policy ?? {};
  const settings = { ...connectionSettings(options), fastPath: FastPathReader, maxPending: { messages, bytes } };
  const list = policy?.shuffle ? shuffled(urls, settings.environment) : urls;
  const reconnector = new Reconnector(list, options, policy);
  const connection = new Connection(settings, reconnector.hooks);
  options.telemetry?.(connection, list[0]);
  return await opened(await withClaims(connection, options), reconnector, signal);
}

/**
 * Sends one message and closes: connection, session and link are opened in one flight, without a wait in between.
 *
 * Trouble that passes is tried again until the time is up. A message whose outcome was lost then goes out again, and may
 * arrive twice; one that is sent `settled` goes out once.
 *
 * @returns The outcome.
 * @throws {OutcomeError} If the message was not accepted.
 * @throws {TransportError | AmqpError} If it could not be sent, also for want of time.
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
export function publish(
  url: string | URL | readonly (string | URL)[],
  address: string,
  message: Message | Uint8Array,
  options?: PublishOptions & { settled?: false | undefined },
): Promise<Accepted>;
/** Sends one message settled, at most once and without an outcome, and closes. */
export function publish(
  url: string | URL | readonly (string | URL)[],
  address: string,
  message: Message | Uint8Array,
  options: PublishOptions & { settled: true },
): Promise<undefined>;
/** Sends one message as `options` say, which are known only when the program runs, and closes. */
export function publish(
  url: string | URL | readonly (string | URL)[],
  address: string,
  message: Message | Uint8Array,
  options?: PublishOptions,
): Promise<Accepted | undefined>;
export async function publish(
  url: string | URL | readonly (string | URL)[],
  address: string,
  message: Message | Uint8Array,
  options: PublishOptions = {},
): Promise<Accepted | undefined> {
  const { claims: _, ...kinds } = connectKinds();
  checkOptions("publish", options, { ...kinds, settled: "boolean", timeoutMs: "number" });
  checkAddress("publish", address);
  const { signal, reconnect, timeoutMs = PUBLISH_TIMEOUT_MS, telemetry } = options;
  signal?.throwIfAborted();
  const urls = await urlsOf(url);
  if (telemetry?.publish) {
    const unmeasured = { ...options, telemetry: undefined };
    return await telemetry.publish((message) => publish(url, address, message, unmeasured), address, message, urls[0]!);
  }
  const settings = connectionSettings(options);
  const { environment } = settings;
  const retry = new Retry(reconnect === false ? { maxAttempts: 0 } : reconnect ?? {}, urls.length);
  const ending = new AbortController();
  // That of the last attempt.
  let failure: Error | undefined;
  const ended = new Promise<void>((resolve) => ending.signal.onabort = () => resolve());
  const abort = (): void => ending.abort(signal!.reason);
  signal?.addEventListener("abort", abort);
  const timer = environment.setTimer(() => {
    const because = failure === undefined ? "" : `, ${failure.message}`;
    const message = `Cannot publish to ${quote(address)} at ${urls[0]!.host}: no outcome in ${timeoutMs} ms${because}`;
    ending.abort(new TransportError("timeout", message, { cause: failure }));
  }, timeoutMs);
  try {
    for (;;) {
      try {
        ending.signal.throwIfAborted();
        const target = urls[retry.attempts % urls.length]!;
        const { channel, login } = await attempt(target, options, ending.signal);
        const connection = new ConnectionBase(settings, {});
        connection.attach(channel, login);
        return await sendOver(connection, address, message, { settled: options.settled, signal: ending.signal });
      } catch (error) {
        const final = error instanceof CallbackFailure ? error.cause : error;
        const decided = error instanceof OutcomeError && (error.outcome !== "lost" || options.settled);
        const delayMs = retry.next(environment.now(), randomFraction(environment));
        if (ending.signal.aborted || decided || !isPassing(final) || delayMs === undefined) throw final;
        failure = final as Error;
        await within(ended, delayMs, environment);
      }
    }
  } finally {
    environment.clearTimer(timer);
    signal?.removeEventListener("abort", abort);
  }
}

// Loaded before anything is dialled, so that a connection made anew need not wait for it.
async function withClaims(connection: Connection, { claims }: ConnectOptions): Promise<Connection> {
  if (claims !== undefined) connection.claims = new (await import("./claims.ts")).Claims(connection, claims);
  return connection;
}

async function sendOver(
  connection: ConnectionBase,
  address: string,
  message: Message | Uint8Array,
  options: SendOptions,
): Promise<Accepted | undefined> {
  try {
    const sender = new Sender(connection, senderAttach({ address }, connection));
    return await connection.addLink(sender, connection.defaultSession()).send(message, options);
  } catch (error) {
    if (!(error instanceof OutcomeError)) connection.abandon(error as Error);
    throw error;
  } finally {
    // The outcome is known; how the goodbye goes does not change it.
    await connection.close({ signal: options.signal }).catch(ignore);
  }
}

// The connection once the peer has opened it.
async function opened(
  connection: Connection,
  reconnector: Reconnector | undefined,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  try {
    await abortable(reconnector?.open(connection) ?? Promise.resolve(), signal);
    await connection.ready({ signal });
  } catch (error) {
    // A signal's reason may be anything.
    connection.abandon(error instanceof Error ? error : new Error(String(error), { cause: error }));
    throw error instanceof CallbackFailure ? error.cause : error;
  }
  return connection;
}

/** What {@linkcode openOver} takes. */
export interface OpenOptions extends Omit<ConnectOptions, keyof AttemptOptions | "reconnect" | "signal"> {
  /** The virtual host. */
  hostname?: string | undefined;
  /** The choice of the mechanism, where it does not wait for what the server offers. */
  saslInit?: SaslFrameBody | undefined;
}

/** A client's connection over a channel that is open already; nothing is waited for. Without `auth`, without SASL. */
export function openOver(
  channel: Channel,
  auth: SaslAuth | SaslClient | undefined,
  options: OpenOptions = {},
): Connection {
  const { hostname, saslInit } = options;
  const fresh = auth !== undefined && !(auth instanceof SaslClient);
  const sasl = fresh ? new SaslClient(auth, { hostname, secure: true }) : auth;
  const connection = new Connection({ ...connectionSettings(options), fastPath: FastPathReader }, {});
  connection.attach(channel, { ...loginSettings(sasl, saslInit), hostname });
  return connection;
}

// Checked before anything is asked of whoever has the credentials.
async function urlsOf(where: string | URL | readonly (string | URL)[]): Promise<URL[]> {
  const urls: URL[] = [];
  for (const one of [where].flat()) {
    try {
      const url = parseUrl(one);
      readUrl(url);
      urls.push(url);
    } catch (error) {
      throw await explainedUrl(one, error);
    }
  }
  if (urls.length === 0) throw new TypeError("Cannot connect: the list of URLs is empty");
  return urls;
}

interface ClientSettings extends ConnectionSettings {
  readonly environment: Environment;
}

function connectionSettings(options: Omit<ConnectOptions, keyof AttemptOptions>): ClientSettings {
  const { limits = {}, environment = systemEnvironment } = options;
  return {
    ...options,
    ...limits,
    // Each attempt has its own.
    handshake: () => new ClientHandshake(),
    environment,
    containerId: options.containerId ?? randomName(environment),
    isNamed: options.containerId !== undefined,
    saslMaxFrameSize: limits.saslFrameSize,
    maxOpenSize: limits.openFrameSize,
    limits: codecLimits(limits),
    logging: { option: options.log },
  };
}

function isChannel(where: unknown): where is Channel {
  return typeof (where as Partial<Channel> | undefined)?.send === "function";
}

function shuffled<T>(list: readonly T[], environment: Environment): T[] {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(randomFraction(environment) * left.length), 1)[0]!);
}
