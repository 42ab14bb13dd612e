/**
 * The entry points of a client: `connect`, `publish` and `openOver`.
 *
 * @module
 */

import type { ClaimsOptions } from "./claims.ts";
import { type Environment, randomFraction, randomName, systemEnvironment } from "../base/environment.ts";
import { OutcomeError, TransportError } from "../base/errors.ts";
import { isBytes } from "../base/kinds.ts";
import { checkAddress, checkOptions, type Kinds, type OptionKinds } from "../base/options.ts";
import { quote } from "../base/text.ts";
import {
  abortable,
  abortReason,
  abortWith,
  Deferred,
  ignore,
  onAbort,
  part,
  throwIfAborted,
  type WaitOptions,
  within,
} from "../base/wait.ts";
import type { LogOption } from "../base/log.ts";
import { type Message, writeMessage } from "../codec/message.ts";
import { checkEncoded } from "../codec/message_checks.ts";
import { FastPathReader } from "../codec/fast_path.ts";
import { CODEC_LIMIT_KINDS, type CodecLimits } from "../codec/limits.ts";
import type { Accepted, Fields, SaslFrameBody } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { CostLimits } from "../engine/budgets.ts";
import { ClientHandshake } from "../engine/handshake.ts";
import type { SessionOptions } from "../engine/session.ts";
import type { MessageTarget, Redirects } from "../recovery/redirects.ts";
import { isPassing, Retry, type RetryOptions } from "../recovery/retry.ts";
import { anonymous, SaslClient } from "../sasl/client.ts";
import type { SaslAuth } from "../sasl/mechanism.ts";
import { type Channel, isChannel } from "../transport/channel.ts";
import { explainedUrl, parseUrl, readUrl } from "../transport/url.ts";
import { attempt, type AttemptOptions, CallbackFailure, failureAt, loginSettings, type Trace } from "./attempt.ts";
import { Connection } from "./connection.ts";
import { ConnectionBase, type ConnectionSettings } from "./connection_base.ts";
import { MAX_PENDING, MAX_PENDING_BYTES, type ReconnectOptions, Reconnector } from "./reconnect.ts";
import { SendAbortedError, type SendOptions } from "./outcome.ts";
import { BLOCK_BYTES, Sender } from "./sender.ts";
import { refused } from "./link.ts";
import { codecLimits, senderAttach, SESSION_KINDS } from "./link_options.ts";

/** Bounds on what a peer can cost; each has a default. */
export interface ConnectionLimits extends Partial<CodecLimits>, CostLimits {
  /** Milliseconds for the WebSocket handshake; over sockets for each of TCP, TLS, proxy, handshake. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Milliseconds for SASL and open. Default: 30,000. */
  openTimeoutMs?: number | undefined;
  /** Milliseconds to wait for the peer's answer to a close. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
  /** Largest SASL frame accepted, in bytes. Default: 65,536. */
  saslFrameSize?: number | undefined;
  /** Largest open frame sent, in bytes. Default: 512, which every peer accepts. */
  openFrameSize?: number | undefined;
  /**
   * Bytes that may wait in the WebSocket or socket before sends pause; at least 262,144. A peer that keeps sending without
   * reading the answers is dropped once four times as many wait. Default: 1,048,576.
   */
  maxBufferedBytes?: number | undefined;
  /**
   * Bytes of partly received messages on all links at a time; the link that exceeds it ends. Of a message that is read as a
   * stream only the unread bytes count. Default: 134,217,728.
   */
  maxUnfinishedBytes?: number | undefined;
}

/** Options of {@linkcode connect}. */
export interface ConnectOptions extends WaitOptions, AttemptOptions {
  /**
   * How a lost connection is dialled again: back-off with full jitter, 250 ms to 30 s, without end; false ends the connection
   * with the error instead. Links, sessions and pending sends live on meanwhile. Default: `{}`.
   */
  reconnect?: ReconnectOptions | false | undefined;
  /** Tokens for a peer, such as Azure, that requires them on its `$cbs` node before links attach. Default: none. */
  claims?: ClaimsOptions | undefined;
  /** The name of this container. Default: a random name. */
  containerId?: string | undefined;
  /** Largest frame accepted, in bytes, at least 512. Default: 131,072. */
  maxFrameSize?: number | undefined;
  /** Highest channel that either side may use. Default: 255. */
  channelMax?: number | undefined;
  /** Idle time-out announced, in milliseconds, 0 for none; after twice that in silence the connection closes. Default: 60,000. */
  idleTimeOut?: number | undefined;
  /** Properties of the connection, sent in the open. */
  properties?: Fields | undefined;
  /** Capabilities wanted of the peer. */
  desiredCapabilities?: string[] | undefined;
  /** Settings of the session that the connection's links share. */
  session?: SessionOptions | undefined;
  /** Bounds on what the peer can cost. */
  limits?: ConnectionLimits | undefined;
  /** Clock, timers and randomness; a test gives others to be repeatable. Default: the runtime's. */
  environment?: Environment | undefined;
  /**
   * Receives events for which no call fails: a handler that failed, a wait that may last for ever. Default: warnings and
   * errors go to the console; null silences them.
   */
  log?: LogOption | undefined;
  /**
   * Called with every frame, secrets left out; `jsonLines` of `./trace` writes them, and the steps below AMQP, as lines.
   * Errors that it throws go to `log`.
   */
  trace?: Trace | undefined;
  /** Measures the connection: `opentelemetry(api)` of `./telemetry`. Default: none, at no cost. */
  telemetry?: Telemetry | undefined;
}

/** The server of a connection, as {@linkcode Telemetry} receives it. */
export type TelemetryServer = Pick<URL, "hostname" | "port">;

/** Measures connections; made by `opentelemetry(api)` of `./telemetry`. */
export interface Telemetry {
  /** Called with each connection, and its server, before the connection is used. */
  (connection: Connection, server?: TelemetryServer): void;
  /** Measures one call of `publish`: sends the message by calling `send` with it, or with a copy that has more properties. */
  publish?<T>(
    send: (message: Message | Uint8Array) => Promise<T>,
    address: string,
    message: Message | Uint8Array,
    server: TelemetryServer,
  ): Promise<T>;
}

// Of `connect` and `publish`, with those that are of one of them.
function connectKinds<T extends Kinds>(own: T): T & OptionKinds<Omit<ConnectOptions, "claims">> {
  return {
    auth: "object, array, function or null",
    signal: "object",
    pipelineSasl: "boolean",
    containerId: "string",
    hostname: "string",
    maxFrameSize: "whole number from 512 to 4294967295",
    channelMax: "whole number from 0 to 65535",
    idleTimeOut: "whole number from 0 to 4294967295",
    properties: "object",
    desiredCapabilities: "array of string",
    subprotocols: "array of string",
    session: SESSION_KINDS,
    limits: {
      ...CODEC_LIMIT_KINDS,
      handshakeTimeoutMs: "number from 1",
      openTimeoutMs: "number from 1",
      closeTimeoutMs: "number from 1",
      saslFrameSize: "number from 512",
      openFrameSize: "number",
      maxBufferedBytes: "number",
      maxUnfinishedBytes: "number",
      maxKeptBytes: "number from 1",
      maxIdleWork: "number from 1",
    } satisfies OptionKinds<ConnectionLimits>,
    trace: "function",
    log: "function or null",
    telemetry: "function",
    environment: "object with setTimer",
    transport: '"auto", "websocket" or "socket"',
    headers: "object, array or function",
    hostHeader: "string",
    tls: "object or function",
    dial: "function",
    reconnect: "object or boolean",
    redirect: '"same-host" or function',
    proxy: "string or object",
    ...own,
  };
}

const RETRY_KINDS: OptionKinds<RetryOptions> = {
  initialDelayMs: "number",
  maxDelayMs: "number",
  maxAttempts: "number",
  timeoutMs: "number",
};
const RECONNECT_KINDS: OptionKinds<Omit<ReconnectOptions, keyof RetryOptions>> = {
  shuffle: "boolean",
  initial: "boolean",
  maxPending: "number",
  maxPendingBytes: "number",
};

/** Options of {@linkcode publish}. */
export interface PublishOptions extends Omit<ConnectOptions, "reconnect" | "claims">, Pick<SendOptions, "settled"> {
  /** How failed attempts are repeated until the time is up; false makes one attempt only. Default: `{}`. */
  reconnect?: RetryOptions | false | undefined;
  /** Milliseconds for the whole call, all attempts included. Default: 30,000. */
  timeoutMs?: number | undefined;
}

/** The default of {@linkcode PublishOptions.timeoutMs}, in milliseconds. */
export const PUBLISH_TIMEOUT_MS = 30_000;

/**
 * Connects to a broker and opens an AMQP connection: over a WebSocket for `ws:` and `wss:`; where the runtime has sockets,
 * also over TCP for `amqp:` and TLS for `amqps:`; or over an open channel.
 *
 * A lost connection is dialled again, and its links, sessions and pending sends go on: see `reconnect`. Several URLs name
 * servers of one service, tried in turn. User info in the URL is used for SASL PLAIN only, not for HTTP.
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
  checkOptions("connect", options, connectKinds({ claims: "object" }));
  const { signal, reconnect } = options;
  if (isChannel(where)) {
    if (reconnect) throw new TypeError('Cannot connect: a channel cannot be dialled again, leave out "reconnect"');
    for (const name of ["headers", "hostHeader", "tls", "proxy", "transport", "dial", "subprotocols"] as const) {
      if (options[name]) throw new TypeError(`Cannot connect: a channel is not dialled, leave out "${name}"`);
    }
    const { auth = anonymous(), hostname } = options;
    const given = typeof auth === "function" ? await abortable(Promise.resolve(auth()), signal) : auth;
    return await opened(openOver(where, given ?? undefined, { ...options, hostname }), undefined, options);
  }
  if (reconnect) checkOptions("connect", { reconnect }, { reconnect: { ...RETRY_KINDS, ...RECONNECT_KINDS } });
  throwIfAborted(signal);
  const policy = reconnect === false ? undefined : reconnect ?? {};
  const urls = await urlsOf(where);
  const { maxPending: messages = MAX_PENDING, maxPendingBytes: bytes = MAX_PENDING_BYTES } = policy ?? {};
  const settings = { ...connectionSettings(options), fastPath: FastPathReader, maxPending: { messages, bytes } };
  const list = policy?.shuffle ? shuffled(urls, settings.environment) : urls;
  const redirects = await redirectsOf(options);
  const reconnector = new Reconnector(list, options, policy, redirects);
  return await opened(new Connection(settings, reconnector.hooks), reconnector, options, list[0]);
}

/**
 * Sends one message and closes: connection, session and link are opened in one flight, without waiting in between.
 *
 * A passing failure is tried again until the time is up. A message whose outcome was lost is then sent again, and may arrive
 * twice; a `settled` one is sent once.
 *
 * @returns The outcome.
 * @throws {OutcomeError} If the message was not accepted.
 * @throws {SendAbortedError} If `signal` was aborted once a part of the message had left; `sent` is true then.
 * @throws {TransportError | AmqpError} If the message could not be sent, or not in time.
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
/** Sends one message, settled or not as `options` say at run time, and closes. */
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
  checkOptions("publish", options, connectKinds({ settled: "boolean", timeoutMs: "number" }));
  if (options.reconnect) checkOptions("publish", { reconnect: options.reconnect }, { reconnect: RETRY_KINDS });
  checkAddress("publish", address);
  const { signal, reconnect, timeoutMs = PUBLISH_TIMEOUT_MS, telemetry } = options;
  throwIfAborted(signal);
  const urls = await urlsOf(url);
  if (telemetry?.publish) {
    const unmeasured = { ...options, telemetry: undefined };
    return await telemetry.publish((message) => publish(url, address, message, unmeasured), address, message, urls[0]!);
  }
  let payload: Uint8Array;
  try {
    // A message that cannot be sent is told at once, not when there is a connection.
    payload = encoded(message);
  } catch (error) {
    return await refused(error, message);
  }
  const settings = connectionSettings(options);
  const { environment } = settings;
  const retry = new Retry(reconnect === false ? { maxAttempts: 0 } : reconnect ?? {}, urls.length);
  const redirects = await redirectsOf(options);
  let moved: MessageTarget | undefined;
  const ending = new AbortController();
  let failure: Error | undefined;
  // Whether an attempt has sent the message and lost its outcome: it may have arrived, however the last one ends.
  let left = false;
  const failures = new Map<string, Error>();
  const ended = new Deferred<void>();
  // Held from here to the end, so that the waits on the way share one listener.
  const callsOff = [onAbort(ending.signal, () => ended.resolve())];
  if (signal !== undefined) callsOff.push(onAbort(signal, () => abortWith(ending, abortReason(signal))));
  const timer = environment.setTimer(() => {
    const because = failure === undefined ? "" : `, ${failure.message}`;
    const message = `Cannot publish to ${quote(address)} at ${urls[0]!.host}: no outcome in ${timeoutMs} ms${because}`;
    abortWith(ending, new TransportError("timeout", message, { cause: failure }));
  }, timeoutMs);
  try {
    for (;;) {
      const target = moved ?? { url: urls[retry.attempts % urls.length]!, address };
      const { url, hostname = options.hostname } = target;
      const connection = new ConnectionBase(settings, {});
      try {
        throwIfAborted(ending.signal);
        const { channel, login } = await attempt(url, { ...options, hostname }, ending.signal);
        connection.attach(channel, login);
        return await sendOver(connection, target.address, payload, { settled: options.settled, signal: ending.signal });
      } catch (error) {
        const final = error instanceof CallbackFailure ? error.cause : error;
        const decided = error instanceof OutcomeError && (error.outcome !== "lost" || options.settled);
        const delayMs = retry.next(environment.now(), randomFraction(environment), final);
        left ||= final instanceof OutcomeError
          ? final.outcome === "lost"
          : final instanceof SendAbortedError && final.sent;
        if (left && signal?.aborted && !decided) {
          throw new SendAbortedError(abortReason(signal), true, `${quote(address)} at ${url.host}`);
        }
        if (final instanceof SendAbortedError && !signal?.aborted) throw outOfTime(final, left);
        if (ending.signal.aborted || decided) throw final;
        moved = redirects?.moved(final instanceof OutcomeError ? final.cause : final, target, connection.host!);
        if (moved !== undefined) continue;
        failure = failureAt(url, final as Error, failures);
        if (!isPassing(final) || delayMs === undefined) throw failure;
        await within(ended.promise, delayMs, environment);
      }
    }
  } finally {
    environment.clearTimer(timer);
    for (const callOff of callsOff) callOff();
  }
}

// What follows redirects, loaded where the options allow any.
async function redirectsOf({ redirect }: AttemptOptions): Promise<Redirects | undefined> {
  return redirect && new (await part("redirects", () => import("../recovery/redirects.ts"))).Redirects(redirect);
}

// The end of the time that a publish has, as the error that it documents.
function outOfTime({ cause }: SendAbortedError, left: boolean): unknown {
  const { message } = cause as Error;
  return new TransportError("timeout", `${message}, it ${left ? "has left and may arrive" : "has not left"}`, {
    cause,
  });
}

// In memory of which the next writer takes the rest.
function encoded(message: Message | Uint8Array): Uint8Array {
  if (isBytes(message)) {
    checkEncoded(message);
    return message;
  }
  const writer = new Writer(BLOCK_BYTES);
  writeMessage(message, writer);
  const bytes = writer.take();
  writer.release();
  return bytes;
}

async function sendOver(
  connection: ConnectionBase,
  address: string,
  payload: Uint8Array,
  options: SendOptions,
): Promise<Accepted | undefined> {
  try {
    const sender = new Sender(connection, senderAttach({ address }, connection));
    return await connection.addLink(sender, connection.defaultSession()).send(payload, options);
  } catch (error) {
    if (!(error instanceof OutcomeError)) connection.abandon(error as Error);
    throw error;
  } finally {
    // The outcome is known; a failed close does not change it.
    await connection.close({ signal: options.signal }).catch(ignore);
  }
}

// Resolves with the connection once the peer has opened it; on failure nothing of it is left.
async function opened(
  connection: Connection,
  reconnector: Reconnector | undefined,
  { claims, telemetry, signal }: ConnectOptions,
  server?: TelemetryServer,
): Promise<Connection> {
  try {
    telemetry?.(connection, server);
    // Loaded before dialling, so that a reconnect need not wait for it.
    if (claims !== undefined) {
      await part("receiving", () => import("./subscription.ts"));
      connection.claims = new (await import("./claims.ts")).Claims(connection, claims);
    }
    await abortable(reconnector?.open(connection) ?? Promise.resolve(), signal);
    await connection.ready({ signal });
  } catch (error) {
    // A signal's reason may be anything.
    connection.abandon(error instanceof Error ? error : new Error(String(error), { cause: error }));
    throw error instanceof CallbackFailure ? error.cause : error;
  }
  return connection;
}

/** Options of {@linkcode openOver}. */
export interface OpenOptions extends Omit<ConnectOptions, keyof AttemptOptions | "reconnect" | "signal"> {
  hostname?: string | undefined;
  /** The SASL init to send at once, without waiting for the server's mechanisms. */
  saslInit?: SaslFrameBody | undefined;
}

/** A client's connection over an open channel; it waits for nothing. No SASL if `auth` is undefined. */
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

// Checks every URL before the program is asked for credentials.
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
    // Each attempt makes its own handshake.
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

function shuffled<T>(list: readonly T[], environment: Environment): T[] {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(randomFraction(environment) * left.length), 1)[0]!);
}
