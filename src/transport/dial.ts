/**
 * Which way to connect: the runtime's own WebSocket wherever it will do, sockets where an option or the runtime needs them.
 *
 * @module
 */

import type { TransportEvent } from "./channel.ts";
import { isWorkers, prefersSockets } from "./runtime/detect.ts";
import type { SocketDialOptions, SocketProxyOptions, TlsOptions } from "./socket/dial.ts";
import { readUrl } from "./url.ts";
import { dial, type DialedChannel } from "./websocket/standard.ts";

/** Header fields, by name or as pairs. */
export type HeaderFields = Readonly<Record<string, string>> | Iterable<readonly [name: string, value: string]>;

/** How a connection gets to its broker. */
export interface TransportOptions {
  /**
   * `"websocket"`: the runtime's own WebSocket. `"socket"`: a socket of Node, Deno or Bun, with a WebSocket of this module
   * over it for `ws:` and `wss:`. Default: `"auto"`, which takes the former unless `headers`, `tls`, `proxy` or the scheme
   * need the latter, or this is Deno, whose own WebSocket takes 44 ms for a message that a socket carries in 0.3, or Node,
   * whose own takes almost twice as long for large messages. On Node a dispatcher that was set for `fetch`, as
   * `NODE_USE_ENV_PROXY` does, is heeded by its own WebSocket, which is therefore taken then. A global `WebSocket` that the
   * program has replaced is taken by `"websocket"` everywhere. The own ones of Bun and Node may offer `permessage-deflate`,
   * which no program can forbid them; `"socket"` never does, and no adapter of this module accepts it.
   */
  transport?: "auto" | "websocket" | "socket" | undefined;
  /**
   * Further header fields of the WebSocket handshake, such as `Authorization`. With `ws:` they go out in clear, where anyone
   * on the way can read them. Where there are no sockets, only Cloudflare Workers can send them.
   */
  headers?: HeaderFields | undefined;
  /**
   * The `Host` field of the WebSocket handshake, for a server that is reached under another name or by its address. Default: host
   * and port of the URL. Needs sockets.
   */
  hostHeader?: string | undefined;
  /** Trusted authorities, a client certificate, the name to ask for. Needs sockets. */
  tls?: TlsOptions | undefined;
  /**
   * The HTTP proxy to go through, as a URL or with more about it; `"env"` for the one that the environment names. Needs
   * sockets.
   */
  proxy?: string | URL | SocketProxyOptions | undefined;
}

/** How {@linkcode dialAny} connects. */
export interface DialAnyOptions extends TransportOptions {
  /** The WebSocket subprotocols to offer, none with `[]`. Default: `["amqp"]` [wsb 2.1]. */
  subprotocols?: readonly string[] | undefined;
  /** Ends the attempt. */
  signal?: AbortSignal | undefined;
  /** How long the handshake, or each step of it, may take. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** How long the peer's part of the end may take without any progress. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
  /** Told of each step on the way, where there are sockets. */
  onstep?: ((event: TransportEvent) => void) | undefined;
}

/**
 * Connects in the way that URL and options ask for.
 *
 * @throws {TypeError} If the URL or an option cannot be used, or `transport` rules out what another option needs.
 * @throws {TransportError} With code `"not-supported"` if this runtime cannot do it, or as the chosen way throws.
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
  // Not before it is needed: a page that connects by its own WebSocket never loads it.
  const { dialSocket, hasOwnDispatcher, hasSockets, noSockets } = await import("./socket/dial.ts");
  if (need === undefined && transport === "auto" && (!hasSockets() || hasOwnDispatcher())) return await native();
  if (!hasSockets()) {
    throw noSockets(need ?? 'transport "socket"');
  }
  return await dialSocket(target.url, options as SocketDialOptions);
}

// What the runtime's own WebSocket cannot do. Headers last: they alone can be done without sockets somewhere.
function needOf(scheme: string, options: TransportOptions): string | undefined {
  if (scheme === "amqp:" || scheme === "amqps:") return `URL scheme "${scheme}"`;
  for (const name of ["tls", "proxy", "hostHeader", "headers"] as const) {
    if (options[name] !== undefined) return `option "${name}"`;
  }
  return undefined;
}
