/**
 * Accepts WebSockets in Cloudflare Workers, and connects by their sockets.
 *
 * A Worker may use a WebSocket only while it handles the request that opened it. A program that serves one connection, such
 * as an acceptor that forwards, runs anywhere; one that joins several, such as a broker, belongs in a Durable Object.
 *
 * @example
 * ```ts
 * import { acceptor } from "@webamqp/amqp/server";
 * import { handler } from "@webamqp/amqp/workers";
 *
 * const server = acceptor({ onReceiver: (request) => request.accept().serve(() => {}) });
 * const worker = { fetch: handler((channel, info) => server.accept(channel, info)) }; // what the Worker exports
 * console.assert(typeof worker.fetch === "function");
 * ```
 *
 * @module
 */

import { TransportError } from "../../base/errors.ts";
import { checkOptions, type Kinds, type OptionKinds } from "../../base/options.ts";
import { abortable, throwIfAborted, within } from "../../base/wait.ts";
import type { Channel } from "../channel.ts";
import { HANDSHAKE_TIMEOUT_MS, positive } from "../channel.ts";
import { StreamChannel } from "../socket/socket.ts";
import { joinAuthority, readUrl } from "../url.ts";
import { closeSocket, type CloudflareSocket, WorkersSocket } from "./workers_socket.ts";
import { type Accept, admit, checkHandler, type UpgradeOptions } from "../websocket/upgrade.ts";
import { webSocketChannel, type WebSocketLike } from "../websocket/standard.ts";

export type { Channel, ChannelClose } from "../channel.ts";
export type { WebSocketChannelOptions } from "../websocket/web_socket_channel.ts";
export type { Accept, OriginPolicy, UpgradeInfo, UpgradeOptions } from "../websocket/upgrade.ts";

/**
 * Makes a `fetch` handler that upgrades to AMQP over WebSocket and refuses everything else.
 *
 * @example
 * ```ts ignore
 * export default { fetch: handler((channel, { protocol }) => {}) };
 * ```
 *
 * @throws {TypeError} If `accept` is not a function, or an option cannot be used.
 * @throws {TransportError} With code `"not-supported"` outside Workers, when a request comes.
 */
export function handler(accept: Accept, options: UpgradeOptions = {}): (request: Request) => Response {
  checkHandler(accept, options);
  return (request) => {
    const { WebSocketPair } = globalThis as { WebSocketPair?: WebSocketPairConstructor };
    if (WebSocketPair === undefined) {
      throw new TransportError("not-supported", "Cannot upgrade: runtime is not Cloudflare Workers");
    }
    const protocol = admit(request, options);
    if (typeof protocol !== "string") return protocol;
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    accept(webSocketChannel(server, options), { protocol, request });
    const upgrade: WorkersResponseInit = {
      status: 101,
      headers: { "sec-websocket-protocol": protocol },
      webSocket: client,
    };
    return new Response(null, upgrade);
  };
}

/** The settings of {@linkcode dialSocket}; other options need Node's sockets and are refused. */
export interface WorkersDialOptions {
  /** Aborts the attempt. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for connecting, TLS included. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Milliseconds without progress after which a closing channel is dropped. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
  /** Refused: Workers trust their own authorities, and send no client certificate. */
  tls?: unknown | undefined;
  /** Refused. */
  proxy?: unknown | undefined;
}

/**
 * Connects by `amqp:` or `amqps:` over a socket of Cloudflare Workers, without `nodejs_compat`; for the option `dial` of
 * `connect` and `publish`.
 *
 * @example
 * ```ts ignore
 * import { connect } from "@webamqp/amqp";
 * import { dialSocket } from "@webamqp/amqp/workers";
 *
 * const connection = await connect("amqps://user:secret@broker.example", { dial: dialSocket });
 * ```
 *
 * @throws {TypeError} If the URL or an option cannot be used.
 * @throws {TransportError} With code `"not-supported"` outside Workers, `"connect-failed"` or `"timeout"`.
 * @throws The abort reason of `signal`.
 */
export async function dialSocket(url: string | URL, options: WorkersDialOptions = {}): Promise<Channel> {
  const { hostname, port, secure } = readUrl(url, ["amqp:", "amqps:"]);
  checkOptions("connect", options, DIAL_KINDS);
  const { signal, closeTimeoutMs, handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = options;
  positive("handshakeTimeoutMs", handshakeTimeoutMs);
  for (const name of ["tls", "proxy"] as const) {
    if (options[name] !== undefined) throw new TypeError(`Cannot use option "${name}": sockets of Workers have none`);
  }
  throwIfAborted(signal);
  const place = joinAuthority(hostname, port);
  let sockets: CloudflareSockets;
  try {
    // A specifier in a variable, which bundlers do not resolve; webpack would put an error in its place, and Vite warns.
    const name = "cloudflare:sockets";
    sockets = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (cause) {
    throw new TransportError("not-supported", "Cannot use sockets: runtime is not Cloudflare Workers", { cause });
  }
  let socket: CloudflareSocket | undefined;
  try {
    socket = sockets.connect({ hostname, port }, { secureTransport: secure ? "on" : "off", allowHalfOpen: true });
    const opened = abortable(socket.opened, signal);
    if (await within(opened, handshakeTimeoutMs)) await opened;
    else throw new TransportError("timeout", `Cannot connect to "${place}": no answer within ${handshakeTimeoutMs} ms`);
    return new StreamChannel(new WorkersSocket(socket), closeTimeoutMs === undefined ? {} : { closeTimeoutMs });
  } catch (cause) {
    if (socket !== undefined) closeSocket(socket);
    if (cause instanceof TransportError || signal?.aborted) throw cause;
    const { message } = cause as Error;
    throw new TransportError("connect-failed", `Cannot connect to "${place}": ${message}`, { cause });
  }
}

const DIAL_KINDS: OptionKinds<WorkersDialOptions> & Kinds = {
  signal: "object",
  handshakeTimeoutMs: "number from 1",
  closeTimeoutMs: "number from 1",
  tls: "",
  proxy: "",
  // What the option `dial` of `connect` is given besides, and has no meaning without a WebSocket.
  headers: "",
  hostHeader: "",
  subprotocols: "",
  transport: "",
  onstep: "",
};

interface CloudflareSockets {
  connect(
    address: { hostname: string; port: number },
    options: { secureTransport: "on" | "off"; allowHalfOpen: boolean },
  ): CloudflareSocket;
}

type WebSocketPairConstructor = new () => { 0: WebSocketLike; 1: WebSocketLike & { accept(): void } };

interface WorkersResponseInit extends ResponseInit {
  webSocket: WebSocketLike;
}
