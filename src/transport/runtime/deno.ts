/**
 * Accepts WebSockets under `Deno.serve`.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { Broker } from "@webamqp/amqp/broker";
 * import { handler } from "@webamqp/amqp/deno";
 *
 * const broker = new Broker();
 * const accept = handler((channel, info) => broker.accept(channel, info));
 * const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, accept);
 * const connection = await connect(`ws://127.0.0.1:${server.addr.port}`);
 * await connection.send("orders", { body: "one coffee" });
 * await connection.close();
 * await server.shutdown();
 * await broker.close();
 * ```
 *
 * @module
 */

import { TransportError } from "../../base/errors.ts";
import { type Accept, admit, checkHandler, refuseMalformed, type UpgradeOptions } from "../websocket/upgrade.ts";
import { channelOver, type WebSocketLike } from "../websocket/standard.ts";

export type { Accept, OriginPolicy, UpgradeInfo, UpgradeOptions } from "../websocket/upgrade.ts";

/**
 * Makes a request handler that upgrades to AMQP over WebSocket and refuses everything else.
 *
 * `Deno.serve` gathers the fragments of a WebSocket message without a limit: where anybody may connect, use `listen` of `./node`,
 * which runs on Deno, too.
 *
 * @example
 * ```ts ignore
 * Deno.serve({ port: 5673 }, handler((channel, { protocol }) => {}));
 * ```
 *
 * @throws {TypeError} If `accept` is not a function, or an option cannot be used.
 * @throws {TransportError} With code `"not-supported"` outside Deno, when a request comes.
 */
export function handler(accept: Accept, options: UpgradeOptions = {}): (request: Request) => Response {
  checkHandler(accept, options);
  return (request) => {
    const { Deno } = globalThis as { Deno?: DenoGlobal };
    if (Deno === undefined) throw new TransportError("not-supported", "Cannot upgrade: runtime is not Deno");
    const protocol = admit(request, options);
    if (typeof protocol !== "string") return protocol;
    let upgraded: ReturnType<DenoGlobal["upgradeWebSocket"]>;
    try {
      // Idle time is AMQP's own affair; Deno's pings would end a peer that is merely busy [transport 2.4.5].
      upgraded = Deno.upgradeWebSocket(request, { protocol, idleTimeout: 0 });
    } catch {
      return refuseMalformed();
    }
    accept(channelOver(upgraded.socket, options, true), { protocol, request });
    return upgraded.response;
  };
}

interface DenoGlobal {
  upgradeWebSocket(
    request: Request,
    options: { protocol: string; idleTimeout: number },
  ): { socket: WebSocketLike; response: Response };
}
