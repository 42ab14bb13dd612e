/**
 * Accepts WebSockets under `Bun.serve`.
 *
 * @example
 * ```ts
 * import { Broker } from "@webamqp/amqp/broker";
 * import { handler } from "@webamqp/amqp/bun";
 *
 * const broker = new Broker();
 * const options = { port: 5673, ...handler((channel, info) => broker.accept(channel, info)) };
 * console.assert(options.websocket.idleTimeout === 0); // for Bun.serve(options)
 * ```
 *
 * @module
 */

import {
  type Accept,
  admit,
  checkHandler,
  refuseMalformed,
  type UpgradeInfo,
  type UpgradeOptions,
} from "../websocket/upgrade.ts";
import { TurnPieces } from "../websocket/turn_pieces.ts";
import { type Carrier, WebSocketChannel } from "../websocket/web_socket_channel.ts";

export type { Accept, OriginPolicy, UpgradeInfo, UpgradeOptions } from "../websocket/upgrade.ts";

/**
 * Makes the part of `Bun.serve`'s options that upgrades to AMQP over WebSocket and refuses everything else.
 *
 * @example
 * ```ts ignore
 * Bun.serve({ port: 5673, ...handler((channel, { protocol }) => {}) });
 * ```
 */
export function handler(accept: Accept, options: UpgradeOptions = {}): BunHandler {
  checkHandler(accept, options);
  return {
    fetch(request, server): Response | undefined {
      const protocol = admit(request, options);
      if (typeof protocol !== "string") return protocol;
      // Without the header Bun answers with the first name that the client offered.
      const headers = { "sec-websocket-protocol": protocol };
      const data: BunSocketData = { info: { protocol, request } };
      return server.upgrade(request, { headers, data }) ? undefined : refuseMalformed();
    },
    websocket: {
      // Idle time is AMQP's own affair [transport 2.4.5]; compression would allow decompression bombs.
      idleTimeout: 0,
      perMessageDeflate: false,
      open(socket): void {
        const channel = new WebSocketChannel(new BunCarrier(socket), options, TurnPieces);
        const data = dataOf(socket);
        const { info } = data;
        // Dropped, since a request costs many times what the channel does.
        data.info = undefined;
        data.channel = channel;
        channel.opened();
        if (info !== undefined) accept(channel, info);
      },
      message: (socket, message) => dataOf(socket).channel?.received(message),
      drain: (socket) => dataOf(socket).channel?.drained(),
      close: (socket, code, reason) => dataOf(socket).channel?.closed(code, reason),
    },
  };
}

interface BunSocketData {
  info: UpgradeInfo | undefined;
  channel?: WebSocketChannel;
}

function dataOf(socket: BunSocket): BunSocketData {
  return socket.data as BunSocketData;
}

class BunCarrier implements Carrier {
  readonly copies = true;
  readonly #socket: BunSocket;

  constructor(socket: BunSocket) {
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.getBufferedAmount();
  }

  send(message: Uint8Array): boolean {
    const written = this.#socket.send(message);
    // Bun drops messages beyond its backlog limit; the channel stops sending at -1, well before.
    if (written === 0) throw new Error("Bun has dropped a message");
    return written > 0;
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }
}

/** The part of `Bun.serve`'s options that {@linkcode handler} makes. */
export interface BunHandler {
  /** Answers a request, unless it was upgraded. */
  fetch(request: Request, server: BunServer): Response | undefined;
  /** The settings and listeners of all sockets. */
  websocket: {
    idleTimeout: number;
    perMessageDeflate: boolean;
    open(socket: BunSocket): void;
    message(socket: BunSocket, message: string | Uint8Array): void;
    drain(socket: BunSocket): void;
    close(socket: BunSocket, code: number, reason: string): void;
  };
}

/** The part of Bun's `Server` that the handler uses. */
export type BunServer = {
  upgrade(request: Request, options: { headers: Record<string, string>; data: unknown }): boolean;
};

/** The part of Bun's `ServerWebSocket` that the handler uses; `send` returns 0 for dropped, -1 for queued. */
export type BunSocket = {
  readonly data: unknown;
  send(message: Uint8Array): number;
  close(code?: number, reason?: string): void;
  terminate(): void;
  getBufferedAmount(): number;
};
