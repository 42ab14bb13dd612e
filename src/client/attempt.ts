/**
 * One attempt to reach a server: everything that may have changed since the last is asked for, the server is dialled, and what
 * the login has to say is prepared.
 *
 * @module
 */

import type { LogOption } from "../base/log.ts";
import { abortable } from "../base/wait.ts";
import { ClientHandshake } from "../engine/client_handshake.ts";
import type { FrameTrace } from "../engine/events.ts";
import type { RedirectOption } from "../recovery/retry.ts";
import { SaslClient } from "../sasl/client.ts";
import type { SaslAuth, SaslMechanism } from "../sasl/mechanism.ts";
import { anonymous, plain } from "../sasl/mechanisms.ts";
import type { Channel } from "../transport/channel.ts";
import { dialAny, type DialAnyOptions, type TransportOptions } from "../transport/dial.ts";
import { readUrl, userInfoOf } from "../transport/url.ts";
import type { AttachmentSettings } from "./connection_base.ts";

/** A value, or a function that gives it and is asked on every attempt. */
export type Asked<T> = T | (() => T | Promise<T>);

/** Opens a channel to `url`, which has no user info; the other way than by the runtime's WebSockets and sockets. */
export type Dial = (url: URL, options: DialAnyOptions) => Channel | Promise<Channel>;

/** Is told of every frame, secrets left out; what `jsonLines` of `./trace` makes also of what happens below AMQP. */
export interface Trace {
  (frame: FrameTrace): void;
  /**
   * Makes of what opens channels what tells of them too: of their opening, step by step, and of their end. What goes wrong with
   * telling goes to `log`.
   */
  dialling?(dial: Dial, log?: LogOption): Dial;
}

/** How a server is reached, and how the connection logs in. */
export interface AttemptOptions extends Omit<TransportOptions, "headers" | "tls"> {
  /**
   * How to authenticate: a mechanism, several of them, the one to prefer first, a function that gives them and is asked on
   * every attempt, or null for a connection without SASL. Default: PLAIN with the user info of the URL, or ANONYMOUS without
   * any.
   */
  auth?: Asked<SaslAuth | null> | undefined;
  /** Further header fields of the WebSocket handshake, as in {@linkcode TransportOptions}, or a function that gives them. */
  headers?: Asked<TransportOptions["headers"]> | undefined;
  /** Trusted authorities and the like, as in {@linkcode TransportOptions}, or a function that gives them. */
  tls?: Asked<TransportOptions["tls"]> | undefined;
  /**
   * True sends the credentials, and all that follows, without waiting for what the server offers and says to them: two
   * round trips less. Only for a server that is known to take it and the mechanism, which must have no challenge. Default:
   * false.
   */
  pipelineSasl?: boolean | undefined;
  /** The virtual host. Default: the host of the URL. */
  hostname?: string | undefined;
  /** WebSocket subprotocols to offer, none with `[]`. Default: `["amqp"]`; Azure wants `["AMQPWSB10"]`. */
  subprotocols?: readonly string[] | undefined;
  /**
   * Which redirects of the peer are followed, of connections, and of links to another address at the same host: `"same-host"`,
   * or a function that says so. Default: none, a redirect is an error.
   */
  redirect?: RedirectOption | undefined;
  /** Opens the channel instead of what the runtime has, such as in a test that needs no network. */
  dial?: Dial | undefined;
}

/** Holds what a callback of the program threw, so that it can be told from what the way to the server had to say. */
export class CallbackFailure extends Error {}

/** True when credentials, headers or certificates are asked for again on every attempt, and may be others then. */
export function asksAgain({ auth, headers, tls }: AttemptOptions): boolean {
  return [auth, headers, tls].some((option) => typeof option === "function");
}

/**
 * Makes one attempt.
 *
 * @throws {CallbackFailure} With what `auth`, `headers` or `tls` threw as its cause.
 * @throws {TransportError | AmqpError | TypeError} If the server cannot be reached in the way that is asked for.
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
  const { trace, dial = dialAny } = options;
  const remote = readUrl(url);
  const channel = await (trace?.dialling?.(dial, options.log) ?? dial)(remote.url, {
    ...options,
    headers,
    tls,
    signal,
    handshakeTimeoutMs,
    closeTimeoutMs,
  });
  return { channel, login: { ...loginSettings(sasl, saslInit), hostname, host: `${url.hostname}:${remote.port}` } };
}

/** What a login has to say on a new channel; nothing without SASL. */
export function loginSettings(sasl: SaslClient | undefined, saslInit?: SaslInit): AttachmentSettings {
  return {
    handshake: () => new ClientHandshake(sasl !== undefined && (saslInit ? "pipelined" : true), true),
    onstart: (endpoint) => saslInit && endpoint.sasl(saslInit),
    onsasl: async (frame, endpoint) => {
      const answer = await sasl?.handle(frame);
      if (answer !== undefined) endpoint.sasl(answer);
      if (frame.kind === "saslOutcome") endpoint.confirmSasl();
    },
  };
}

type SaslInit = Awaited<ReturnType<SaslClient["begin"]>> | undefined;

async function ask<T>(option: Asked<T>, signal: AbortSignal): Promise<T> {
  if (typeof option !== "function") return option;
  try {
    return await abortable(Promise.resolve((option as () => T | Promise<T>)()), signal);
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
