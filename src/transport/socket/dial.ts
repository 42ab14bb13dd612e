/**
 * Dialling over sockets: AMQP or WebSocket, over TCP or TLS, directly or through a proxy.
 *
 * @module
 */

import { TransportError } from "../../base/errors.ts";
import { checkOptions, type OptionKinds } from "../../base/options.ts";
import { HttpProxy, type ProxyOptions } from "../proxy/http_proxy.ts";
import type { HeaderField } from "../http/head.ts";
import { environment, hash } from "../runtime/node.ts";
import { SocksProxy } from "../proxy/socks.ts";
import { proxyFromEnvironment } from "../proxy/environment.ts";
import { WebSocketEndpoint } from "../websocket/rfc6455.ts";
import { type PausableChannel, type Socket, StreamChannel } from "./socket.ts";
import { openTcp, openTls, openTunnel, type StepOptions } from "./steps.ts";
import { SocketWebSocket } from "../websocket/own.ts";
import { checkSubprotocols, readUrl, type RemoteUrl } from "../url.ts";
import { checkTls, type TlsOptions } from "./tls.ts";
import { channelLimits, type WebSocketChannelOptions } from "../websocket/web_socket_channel.ts";
import { type ChannelClose, HANDSHAKE_TIMEOUT_MS, positive, type TransportEvent } from "../channel.ts";
import { prepareUpgrade } from "../websocket/handshake.ts";

export { type AsyncStorage, asyncStorage, hasOwnDispatcher, hasSockets, noSockets } from "../runtime/node.ts";
export type { TlsOptions } from "./tls.ts";

/** A proxy, with the settings of TLS to it for an `https:` URL. */
export interface SocketProxyOptions extends ProxyOptions {
  /** The TLS settings for the proxy itself. Default: only `ca` of the connection's own `tls`. */
  tls?: TlsOptions | undefined;
}

export const TLS_KINDS: OptionKinds<TlsOptions> = {
  ca: "string or array of string",
  cert: "string",
  key: "string",
  serverName: "string",
};

const PROXY_KINDS: OptionKinds<SocketProxyOptions> = {
  url: "string or object",
  username: "string",
  password: "string",
  credentials: "function",
  authenticate: "function",
  schemes: 'array of "basic" or "digest"',
  preemptive: "boolean",
  headers: "object",
  tls: "object",
};

/** The settings of {@linkcode dialSocket}. */
export interface SocketDialOptions extends WebSocketChannelOptions {
  /** Subprotocols to offer, one of which the server must choose; none with `[]`. Default: `["amqp"]` [wsb 2.1]. */
  subprotocols?: readonly string[] | undefined;
  /** Further header fields of the WebSocket handshake, such as `Authorization`; with `ws:` they are sent in clear. */
  headers?: Readonly<Record<string, string>> | Iterable<readonly [name: string, value: string]> | undefined;
  /** The `Host` field of the WebSocket handshake. Default: the host and port of the URL. */
  hostHeader?: string | undefined;
  /** Trusted authorities, a client certificate, the server name. */
  tls?: TlsOptions | undefined;
  /**
   * The HTTP or SOCKS proxy: its URL, or its settings. The URL `"env"` takes the proxy that the environment names
   * (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), if any.
   */
  proxy?: string | URL | SocketProxyOptions | undefined;
  /** Aborts the attempt. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for each step: TCP, TLS, each answer of a proxy, the WebSocket handshake. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Called with each completed step; events hold no secrets. */
  onstep?: ((event: TransportEvent) => void) | undefined;
}

export const DIAL_KINDS: OptionKinds<Omit<SocketDialOptions, "signal" | "onstep">> = {
  subprotocols: "array of string",
  headers: "object or array of array",
  hostHeader: "string",
  tls: TLS_KINDS,
  proxy: "string or object",
  handshakeTimeoutMs: "number from 1",
  maxMessageBytes: "number from 1",
  closeTimeoutMs: "number from 1",
};

/** A {@linkcode Channel} over a socket. */
export interface DialedSocket extends PausableChannel {
  /** The WebSocket subprotocol that the server chose; empty without a WebSocket. */
  readonly protocol: string;
}

/**
 * Connects over a socket and resolves with a {@linkcode Channel}: the plain byte stream for `amqp:` and `amqps:`, an open
 * WebSocket for `ws:` and `wss:`. With a proxy, TLS to the target runs inside the tunnel.
 *
 * User info in the URL is not sent. Errors name host and port, never the query or credentials.
 *
 * @example
 * ```ts
 * import { dialSocket } from "@webamqp/amqp/node";
 *
 * async function main() {
 *   const channel = await dialSocket("wss://broker.example/amqp", {
 *     headers: { Authorization: "Bearer …" },
 *     proxy: { url: "http://proxy.example:3128", username: "user", password: "secret" },
 *   });
 *   channel.close();
 * }
 * ```
 *
 * @throws {TypeError} If the URL or an option cannot be used.
 * @throws {TransportError} With code `"connect-failed"` for TCP and TLS, `"proxy-failed"` or
 * `"proxy-authentication-failed"` for the proxy, `"handshake-failed"` with the HTTP status or `"subprotocol-mismatch"` for
 * the WebSocket, `"timeout"` for each of them, `"not-supported"` without sockets.
 * @throws The abort reason of `signal`, or the error of a credentials callback.
 */
export async function dialSocket(url: string | URL, options: SocketDialOptions = {}): Promise<DialedSocket> {
  const kinds: OptionKinds<SocketDialOptions> = { ...DIAL_KINDS, signal: "object", onstep: "function" };
  const known = Object.entries(Object(options)).filter(([name]) => name in kinds);
  // As the option `dial` of `connect` it is given further options.
  checkOptions("connect", Object(options) === options ? Object.fromEntries(known) : options, kinds);
  return await dialRemote(readUrl(url), options);
}

/** Does what {@linkcode dialSocket} does, for a URL that was read. */
export async function dialRemote(target: RemoteUrl, options: SocketDialOptions): Promise<DialedSocket> {
  const { signal, tls = {}, onstep } = options;
  const steps = {
    signal,
    onstep,
    timeoutMs: positive("handshakeTimeoutMs", options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS),
  };
  channelLimits(options);
  checkOptions("use tls", tls, TLS_KINDS);
  checkTls(tls);
  const isWebSocket = target.scheme.startsWith("ws");
  const handshake = isWebSocket ? await prepareHandshake(target, options) : undefined;
  const proxy = proxyOf(target, options.proxy);
  signal?.throwIfAborted();

  let socket = proxy === undefined
    ? await openTcp(target.hostname, target.port, steps, !target.secure)
    : await openTunnel({ ...steps, proxy, tls: proxyTls(options), hostname: target.hostname, port: target.port });
  if (target.secure) {
    const alpn = isWebSocket ? { alpn: ["http/1.1"] } : {};
    socket = await openTls(socket, target.hostname, target.port, { ...steps, tls: { ...tls, ...alpn } });
  }
  if (handshake === undefined) {
    return Object.assign(new StreamChannel(socket, options), { protocol: "" });
  }
  return await openWebSocket(socket, handshake, { ...options, ...steps });
}

function prepareHandshake(target: RemoteUrl, options: SocketDialOptions): ReturnType<typeof prepareUpgrade> {
  const subprotocols = checkSubprotocols(options.subprotocols);
  return prepareUpgrade({
    url: target.url,
    crypto,
    subprotocols,
    host: options.hostHeader,
    headers: headerFields(options.headers),
  });
}

function headerFields(headers: SocketDialOptions["headers"] = []): HeaderField[] {
  const entries = Symbol.iterator in headers ? headers : Object.entries(headers);
  return Array.from(entries as Iterable<readonly [string, string]>, (field) => {
    if (Array.isArray(field) && field.every((part) => typeof part === "string")) return [field[0], field[1]];
    throw new TypeError(
      'Cannot use headers: they are no object such as { authorization: "Bearer …" }, nor pairs of strings',
    );
  });
}

function openWebSocket(
  socket: Socket,
  handshake: Awaited<ReturnType<typeof prepareUpgrade>>,
  options: SocketDialOptions & StepOptions,
): Promise<DialedSocket> {
  const { signal, timeoutMs, closeTimeoutMs, maxMessageBytes } = options;
  return new Promise((resolve, reject) => {
    const endpoint = new WebSocketEndpoint({
      role: "client",
      handshake,
      random: crypto,
      now: performance.now(),
      limits: { handshakeTimeoutMs: timeoutMs, closeTimeoutMs, maxSentMessageBytes: maxMessageBytes },
    });
    const settle = (): void => {
      signal?.removeEventListener("abort", abort);
      channel.onclose = undefined;
    };
    const abort = (): void => {
      settle();
      channel.close();
      reject(signal?.reason);
    };
    const channel = new SocketWebSocket(socket, endpoint, {
      closeTimeoutMs,
      onopen: ({ subprotocol }) => {
        settle();
        options.onstep?.({ event: "upgraded", status: 101, subprotocol });
        resolve(Object.assign(channel, { protocol: subprotocol }));
      },
    });
    const closed = ({ cause }: ChannelClose): void => {
      settle();
      reject(cause ?? new TransportError("connect-failed", "Cannot open WebSocket: connection ended"));
    };
    channel.onclose = closed;
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
  });
}

// Connections with the same options object share a proxy's challenge, which saves each a round trip.
let known: WeakMap<SocketProxyOptions, HttpProxy> | undefined;

function proxyOf(target: RemoteUrl, proxy: SocketDialOptions["proxy"]): HttpProxy | SocksProxy | undefined {
  if (proxy === undefined) return undefined;
  const options: SocketProxyOptions = typeof proxy === "string" || proxy instanceof URL ? { url: proxy } : proxy;
  checkOptions("use proxy", options, PROXY_KINDS);
  if (options.url === undefined) {
    throw new TypeError('Cannot use proxy: "url" is missing, such as "http://proxy.example:3128"');
  }
  const url = options.url === "env" ? proxyFromEnvironment(environment(), target) : options.url;
  if (url === undefined) return undefined;
  if (/^socks5h?:/i.test(`${url}`)) return new SocksProxy({ ...options, url });
  let found = url === options.url ? known?.get(options) : undefined;
  if (found === undefined) {
    const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
    found = new HttpProxy({ ...options, url }, { hash, random });
    known ??= new WeakMap();
    if (url === options.url) known.set(options, found);
  }
  return found;
}

function proxyTls({ proxy, tls }: SocketDialOptions): TlsOptions {
  const own = typeof proxy === "object" && "tls" in proxy ? proxy.tls : undefined;
  // The client certificate is for the target.
  return own ?? (tls?.ca === undefined ? {} : { ca: tls.ca });
}
