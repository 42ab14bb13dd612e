/**
 * Dialling over sockets: AMQP or WebSocket, over TCP or TLS, directly or through a proxy.
 *
 * @module
 */

import { checkOptions, type OptionKinds } from "../../base/options.ts";
import { part, throwIfAborted } from "../../base/wait.ts";
import { type PausableChannel, type Socket, StreamChannel } from "./socket.ts";
import { openTcp, openTls, type StepOptions } from "./steps.ts";
import { readUrl, type RemoteUrl } from "../url.ts";
import type { SocketProxyOptions } from "./tunnel.ts";
import { checkTls, TLS_KINDS, type TlsOptions } from "./tls.ts";
import { channelLimits, type WebSocketChannelOptions } from "../websocket/web_socket_channel.ts";
import { HANDSHAKE_TIMEOUT_MS, positive, type TransportEvent } from "../channel.ts";

export { type AsyncStorage, asyncStorage, hasOwnDispatcher, hasSockets, noSockets } from "../runtime/node.ts";
export type { SocketProxyOptions } from "./tunnel.ts";
export type { TlsOptions } from "./tls.ts";

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
  /** Called with each completed step; events hold no secrets. An error that it throws ends the attempt. */
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
 * @throws The abort reason of `signal`, or the error of a callback.
 */
export async function dialSocket(url: string | URL, options: SocketDialOptions = {}): Promise<DialedSocket> {
  const kinds: OptionKinds<SocketDialOptions> = { ...DIAL_KINDS, signal: "object", onstep: "function" };
  // As the option `dial` of `connect` it is given the transport, too.
  checkOptions("connect", options, { ...kinds, transport: "string" });
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
  // Each is loaded where it is needed, before anything is dialled: a first connection in a process waits for what it loads.
  const webSocket = isWebSocket ? await part("ownWebSocket", () => import("./web_socket.ts")) : undefined;
  const handshake = await webSocket?.prepareHandshake(target, options);
  const tunnel = options.proxy === undefined ? undefined : await tunnelOf(target, options.proxy, tls);
  throwIfAborted(signal);

  const { hostname, port } = target;
  const bare = tunnel === undefined && !target.secure;
  let socket = await (tunnel?.({ ...steps, hostname, port }) ?? openTcp(hostname, port, steps, bare));
  if (target.secure) {
    const alpn = isWebSocket ? { alpn: ["http/1.1"] } : {};
    socket = await openTls(socket, hostname, port, { ...steps, tls: { ...tls, ...alpn } });
  }
  if (webSocket === undefined) return Object.assign(new StreamChannel(socket, options, bare), { protocol: "" });
  return await webSocket.openWebSocket(socket, handshake!, { ...options, ...steps });
}

// Opens tunnels through the proxy; undefined if the environment names none.
async function tunnelOf(
  target: RemoteUrl,
  given: NonNullable<SocketDialOptions["proxy"]>,
  tls: TlsOptions,
): Promise<((place: StepOptions & { hostname: string; port: number }) => Promise<Socket>) | undefined> {
  const { openTunnel, proxyOf, proxyTls } = await part("tunnels", () => import("./tunnel.ts"));
  const proxy = proxyOf(target, given);
  return proxy && ((place) => openTunnel({ ...place, proxy, tls: proxyTls(given, tls) }));
}
