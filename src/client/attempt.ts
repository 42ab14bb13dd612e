/**
 * One attempt to reach a server: asks for credentials, headers and certificates, which may have changed since the last
 * attempt, dials, and prepares the SASL exchange.
 *
 * @module
 */

import type { LogOption } from "../base/log.ts";
import { describeKind } from "../base/options.ts";
import { abortable, follow, ignore } from "../base/wait.ts";
import { ClientHandshake } from "../engine/handshake.ts";
import type { FrameTrace } from "../engine/events.ts";
import type { RedirectOption } from "../recovery/redirects.ts";
import { anonymous, plain, SaslClient } from "../sasl/client.ts";
import type { SaslAuth, SaslMechanism } from "../sasl/mechanism.ts";
import { type Channel, isChannel } from "../transport/channel.ts";
import { dialAny, type DialAnyOptions, type TransportOptions } from "../transport/dial.ts";
import { readUrl, userInfoOf } from "../transport/url.ts";
import type { AttachmentSettings } from "./connection_base.ts";
import { located } from "./lifetime.ts";

/** A value, or a function that returns it and is called on every attempt. */
export type Asked<T> = T | (() => T | Promise<T>);

/** Opens a channel to `url`, which has no user info, in place of the runtime's WebSockets and sockets. */
export type Dial = (url: URL, options: DialAnyOptions) => Channel | Promise<Channel>;

/** Called with every frame, secrets left out; `jsonLines` of `./trace`, which makes one, also traces the steps below AMQP. */
export interface Trace {
  (frame: FrameTrace): void;
  /**
   * Wraps `dial` so that the opening of each channel, step by step, and its end are traced. Failures of tracing go to `log`.
   */
  dialling?(dial: Dial, log?: LogOption): Dial;
}

/** Options of dialling and logging in. */
export interface AttemptOptions extends Omit<TransportOptions, "headers" | "tls"> {
  /**
   * The SASL mechanism to authenticate with; several, in order of preference; a function that returns them and is called on
   * every attempt; or null for no SASL. Default: PLAIN with the user info of the URL, or ANONYMOUS without.
   */
  auth?: Asked<SaslAuth | null> | undefined;
  /** Further header fields of the WebSocket handshake, as in {@linkcode TransportOptions}, or a function returning them. */
  headers?: Asked<TransportOptions["headers"]> | undefined;
  /** TLS settings such as trusted authorities, as in {@linkcode TransportOptions}, or a function that returns them. */
  tls?: Asked<TransportOptions["tls"]> | undefined;
  /**
   * True sends the credentials, and all that follows, without waiting for the server's mechanisms and outcome: two round
   * trips less. Only for a server known to accept this and the mechanism, which must have no challenge. Default: false.
   */
  pipelineSasl?: boolean | undefined;
  /** The virtual host. Default: the host of the URL. */
  hostname?: string | undefined;
  /** WebSocket subprotocols to offer, none with `[]`. Default: `["amqp"]`; Azure wants `["AMQPWSB10"]`. */
  subprotocols?: readonly string[] | undefined;
  /**
   * Which redirects by the peer are followed, both of connections and of links to another address at the same host and port:
   * `"same-host"`, or a function that decides. The peer may name another `hostname` for there. Default: none, a redirect is an
   * error.
   */
  redirect?: RedirectOption | undefined;
  /** Opens the channel in place of the runtime's WebSockets and sockets, such as in a test that needs no network. */
  dial?: Dial | undefined;
}

/** Wraps what a callback of the program threw, to distinguish it from a failure of the transport. */
export class CallbackFailure extends Error {}

/**
 * The error of the last attempt, at `host`, with the texts of the errors of the other servers of a list. `failures` keeps the
 * last error of each host.
 */
export function failureAt({ host }: URL, error: Error, failures: Map<string, Error>): Error {
  failures.set(host, error);
  const others = [...failures.values()].filter((one) => one !== error).map((one) => one?.message ?? one);
  return others.length === 0 ? error : located(error, `before that: ${others.join("; ")}`);
}

/** True when credentials, headers or certificates come from a function, and so may differ on the next attempt. */
export function asksAgain({ auth, headers, tls }: AttemptOptions): boolean {
  if (typeof auth !== "function" && [auth].flat().some((mechanism) => mechanism?.renews === true)) return true;
  return [auth, headers, tls].some((option) => typeof option === "function");
}

/**
 * Makes one attempt.
 *
 * @throws {CallbackFailure} With the error of `auth`, `headers` or `tls` as its cause.
 * @throws {TransportError | AmqpError | TypeError} If the server cannot be reached with these options.
 */
export async function attempt(
  url: URL,
  options: AttemptOptions & {
    readonly limits?: Pick<DialAnyOptions, "handshakeTimeoutMs" | "closeTimeoutMs">;
    readonly trace?: Trace;
    readonly log?: LogOption;
  },
  signal: AbortSignal,
): Promise<{ channel: Channel; login: AttachmentSettings }> {
  const hostname = options.hostname ?? url.hostname;
  const auth = await ask(options.auth === undefined ? fromUserInfo(url) : options.auth, signal);
  const sasl = auth === null ? undefined : new SaslClient(auth, {
    hostname,
    port: Number(url.port) || undefined,
    secure: isSecure(url),
  });
  const saslInit = options.pipelineSasl && sasl ? await abortable(sasl.begin(), signal) : undefined;
  const headers = await ask(options.headers, signal);
  const tls = await ask(options.tls, signal);
  const { handshakeTimeoutMs, closeTimeoutMs } = options.limits ?? {};
  const { trace, dial = dialAny, subprotocols, hostHeader, proxy, transport } = options;
  const remote = readUrl(url);
  // Without what is not of dialling, so that a dial may refuse names that it does not know.
  const asked = { subprotocols, hostHeader, proxy, transport, headers, tls };
  const settings = { ...asked, signal, handshakeTimeoutMs, closeTimeoutMs };
  const dialled = Promise.resolve((trace?.dialling?.(dial, options.log) ?? dial)(remote.url, settings));
  const channel = await abortable(dialled, signal).catch((error) => {
    // A dial of the program may not know of the signal: its channel may come when nobody waits for it.
    dialled.then((late) => late.close()).catch(ignore);
    throw error;
  });
  if (!isChannel(channel)) throw new TypeError(`Cannot connect: "dial" gave ${describeKind(channel)}, not a Channel`);
  return { channel, login: { ...loginSettings(sasl, saslInit), hostname, host: `${url.hostname}:${remote.port}` } };
}

/** The handshake and the SASL exchange of a new channel; no SASL without `sasl`. */
export function loginSettings(sasl: SaslClient | undefined, saslInit?: SaslInit): AttachmentSettings {
  return {
    handshake: () => new ClientHandshake(sasl !== undefined && (saslInit ? "pipelined" : true), true),
    onstart: (endpoint) => saslInit && endpoint.sasl(saslInit),
    onsasl: (frame, endpoint) =>
      follow(sasl?.handle(frame), (answer) => {
        if (answer !== undefined) endpoint.sasl(answer);
        if (frame.kind === "saslOutcome") endpoint.confirmSasl();
      }),
  };
}

type SaslInit = Awaited<ReturnType<SaslClient["begin"]>> | undefined;

function ask<T>(option: Asked<T>, signal: AbortSignal): T | Promise<T> {
  return typeof option === "function" ? answerOf(option as () => T | Promise<T>, signal) : option;
}

async function answerOf<T>(callback: () => T | Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await abortable(Promise.resolve(callback()), signal);
  } catch (cause) {
    throw new CallbackFailure("", { cause });
  }
}

function fromUserInfo(url: URL): SaslMechanism {
  const user = userInfoOf(url);
  return user === undefined ? anonymous() : plain(user.username, user.password);
}

function isSecure({ protocol, hostname }: URL): boolean {
  return protocol === "wss:" || protocol === "amqps:" || isLoopback(hostname);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
