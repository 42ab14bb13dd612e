/**
 * Accepts WebSockets in Cloudflare Workers.
 *
 * A Worker may use a WebSocket only while it handles the request that it came with. What serves one connection, such as
 * an acceptor that forwards, runs anywhere; what joins several, such as a broker, belongs in a Durable Object.
 *
 * @module
 */

import { TransportError } from "../../base/errors.ts";
import { type Accept, admit, type UpgradeOptions } from "../websocket/upgrade.ts";
import { webSocketChannel, type WebSocketLike } from "../websocket/standard.ts";

export type { Accept, OriginPolicy, UpgradeInfo, UpgradeOptions } from "../websocket/upgrade.ts";

/**
 * Makes a `fetch` handler that upgrades to AMQP over WebSocket and refuses everything else.
 *
 * @example
 * ```ts ignore
 * export default { fetch: handler((channel, { protocol }) => {}) };
 * ```
 *
 * @throws {TransportError} With code `"not-supported"` outside Workers, when a request comes.
 */
export function handler(accept: Accept, options: UpgradeOptions = {}): (request: Request) => Response {
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

type WebSocketPairConstructor = new () => { 0: WebSocketLike; 1: WebSocketLike & { accept(): void } };

interface WorkersResponseInit extends ResponseInit {
  webSocket: WebSocketLike;
}
