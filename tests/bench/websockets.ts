/**
 * WebSockets without AMQP: the runtime's own, and `ws` for servers on Node.
 *
 * @module
 */

import { WebSocket as NodeWebSocket, WebSocketServer } from "ws";

/** The part of a WebSocket that is used. */
export interface Socket {
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Called with every message. */
  onmessage: ((event: { data: ArrayBuffer }) => void) | null;
  /** Set to `"arraybuffer"`. */
  binaryType: string;
}

interface Runtime {
  readonly Deno?: {
    serve(
      options: { hostname: string; port: number; onListen(): void },
      handler: (request: Request) => Response,
    ): { addr: { port: number } };
    upgradeWebSocket(request: Request, options: { protocol: string }): { socket: WebSocket; response: Response };
  };
  readonly Bun?: {
    serve(options: unknown): { port: number };
  };
}

const HOST = "127.0.0.1";
const runtime = globalThis as Runtime;

/** The fastest client class: Node's own is slower than `ws`, which programs on Node also use with rhea. */
export const Dialler: typeof WebSocket = runtime.Deno === undefined && runtime.Bun === undefined
  ? NodeWebSocket as never
  : WebSocket;

/** Accepts WebSockets of subprotocol `amqp`: Deno's own, elsewhere those of `ws`, which Bun has built in. */
export function listen(accept: (socket: Socket) => void): Promise<string> {
  const { Deno } = runtime;
  if (Deno !== undefined) {
    const { addr } = Deno.serve({ hostname: HOST, port: 0, onListen() {} }, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "amqp" });
      accept(socket as never);
      return response;
    });
    return Promise.resolve(`ws://${HOST}:${addr.port}`);
  }
  return new Promise((resolve) => {
    const server = new WebSocketServer({
      host: HOST,
      port: 0,
      perMessageDeflate: false,
      handleProtocols: () => "amqp",
    });
    server.on("connection", (socket) => accept(socket as never));
    server.on("listening", () => resolve(`ws://${HOST}:${(server.address() as { port: number }).port}`));
  });
}

/** Accepts WebSockets in the fastest way, which is Bun's own on Bun. */
export function listenRaw(accept: (socket: Socket) => void): Promise<string> {
  const { Bun } = runtime;
  if (Bun === undefined) return listen(accept);
  type Handle = { data: { socket?: Socket }; send(data: Uint8Array): void };
  const { port } = Bun.serve({
    hostname: HOST,
    port: 0,
    fetch(request: Request, server: { upgrade(request: Request, options: unknown): boolean }) {
      server.upgrade(request, { headers: { "sec-websocket-protocol": "amqp" }, data: {} });
    },
    websocket: {
      maxPayloadLength: 1 << 24,
      open(handle: Handle) {
        handle.data.socket = { send: (data) => handle.send(data), onmessage: null, binaryType: "arraybuffer" };
        accept(handle.data.socket);
      },
      message(handle: Handle, data: Uint8Array<ArrayBuffer>) {
        // A view of memory of its own, so nothing is copied.
        handle.data.socket!.onmessage?.({ data: data as unknown as ArrayBuffer });
      },
    },
  });
  return Promise.resolve(`ws://${HOST}:${port}`);
}
