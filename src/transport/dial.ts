/**
 * The transport: the runtime's own WebSocket where it serves, sockets where an option or the runtime needs them.
 *
 * @module
 */

import type { TransportEvent } from "./channel.ts";
import { isDeno, isNode, isWorkers } from "../base/environment.ts";
import { part } from "../base/wait.ts";
import type { SocketDialOptions, SocketProxyOptions, TlsOptions } from "./socket/dial.ts";
import { readUrl } from "./url.ts";
import { dial, type DialedChannel } from "./websocket/standard.ts";

/** Header fields, by name or as pairs. */
export type HeaderFields = Readonly<Record<string, string>> | Iterable<readonly [name: string, value: string]>;

/** The transport of a connection. */
export interface TransportOptions {
  /**
   * `"websocket"`: the runtime's own WebSocket. `"socket"`: a socket of Node, Deno or Bun, with a WebSocket of this module
   * over it for `ws:` and `wss:`. Default: `"auto"`, which takes the former unless `headers`, `hostHeader`, `tls`, `proxy`
   * or the scheme need the latter, or the runtime is Deno, whose WebSocket takes 44 ms for a message that a socket carries
   * in 0.3, or Node, whose WebSocket takes almost twice as long for large messages. On Node with a dispatcher set for
   * `fetch`, as by `NODE_USE_ENV_PROXY`, `"auto"` takes Node's WebSocket, which uses that dispatcher. `"websocket"` takes a
   * global `WebSocket` that the program has replaced. Those of Node and of browsers may offer `permessage-deflate`, which
   * a program cannot prevent; `"socket"` never does, and no adapter of this module accepts it.
   */
  transport?: "auto" | "websocket" | "socket" | undefined;
  /**
   * Further header fields of the WebSocket handshake, such as `Authorization`. With `ws:` they are sent in clear. Needs
   * sockets, or Cloudflare Workers.
   */
  headers?: HeaderFields | undefined;
  /**
   * The `Host` field of the WebSocket handshake, for a server that is reached by another name or by its address. Default:
   * host and port of the URL. Needs sockets.
   */
  hostHeader?: string | undefined;
  /** Trusted authorities, a client certificate, the server name. Needs sockets. */
  tls?: TlsOptions | undefined;
  /**
   * The HTTP or SOCKS proxy, as a URL or with settings; `"env"` for the proxy that the environment variables name. Needs
   * sockets.
   */
  proxy?: string | URL | SocketProxyOptions | undefined;
}

/** The settings of {@linkcode dialAny}. */
export interface DialAnyOptions extends TransportOptions {
  /** The WebSocket subprotocols to offer; `[]` offers none. Default: `["amqp"]` [wsb 2.1]. */
  subprotocols?: readonly string[] | undefined;
  /** Aborts the attempt. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for the handshake, or for each step of it. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Milliseconds without progress after which a closing channel is dropped. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
  /** Called with each step of dialling, where there are sockets. */
  onstep?: ((event: TransportEvent) => void) | undefined;
}

/**
 * Connects by the transport that the URL and the options need.
 *
 * @throws {TypeError} If the URL or an option cannot be used, or `transport` rules out what another option needs.
 * @throws {TransportError} With code `"not-supported"` if the runtime cannot do it, or as the chosen transport throws.
 */
export async function dialAny(url: string | URL, options: DialAnyOptions = {}): Promise<DialedChannel> {
  const { transport = "auto", subprotocols, signal, handshakeTimeoutMs, closeTimeoutMs } = options;
  const target = readUrl(url);
  const need = needOf(target.scheme, options);
  const native = (): Promise<DialedChannel> =>
    dial(target.url, { subprotocols, signal, handshakeTimeoutMs, closeTimeoutMs });
  if (transport !== "socket") {
    if (need === undefined && (transport === "websocket" || !prefersSockets())) return await native();
    if (need === 'option "headers"' && isWorkers()) {
      const { dialByFetch } = await import("./websocket/fetch_dial.ts");
      return await dialByFetch(target.url, options as SocketDialOptions);
    }
    if (transport === "websocket") throw new TypeError(`Cannot connect: ${need} needs transport "socket"`);
  }
  // Imported on use: a page that connects by its own WebSocket never loads it.
  const { dialRemote, hasOwnDispatcher, hasSockets, noSockets } = await part(
    "sockets",
    () => import("./socket/dial.ts"),
  );
  if (need === undefined && transport === "auto" && (!hasSockets() || hasOwnDispatcher())) return await native();
  if (!hasSockets()) {
    throw noSockets(need ?? 'transport "socket"');
  }
  return await dialRemote(target, options as SocketDialOptions);
}

// The reason why the runtime's own WebSocket will not do. Headers last: Workers can send them without sockets.
function needOf(scheme: string, options: TransportOptions): string | undefined {
  if (scheme === "amqp:" || scheme === "amqps:") return `URL scheme "${scheme}"`;
  for (const name of ["tls", "proxy", "hostHeader", "headers"] as const) {
    if (options[name] !== undefined) return `option "${name}"`;
  }
  return undefined;
}

/**
 * Whether a socket with this module's WebSocket is faster than the runtime's own WebSocket.
 *
 * Deno's writes the head and the body of a message separately, and the system holds back the second: each message over 1
 * KiB that nothing follows takes 44 ms, over a socket 0.3 ms. Node's masks byte by byte and copies: small messages take a
 * tenth longer, large ones almost twice as long.
 */
function prefersSockets(): boolean {
  return isNode() || isDeno();
}
