/**
 * A real WebSocket server on loopback, by the runtime under test.
 *
 * @module
 */

import type { AddressInfo } from "node:net";
import { type BunHandler, handler as bunHandler } from "../src/transport/runtime/bun.ts";
import { handler as denoHandler } from "../src/transport/runtime/deno.ts";
import { type Accept, admit, type UpgradeOptions } from "../src/transport/websocket/upgrade.ts";
import { webSocketChannel } from "../src/transport/websocket/standard.ts";

/** A running server. */
export interface TestServer {
  /** The URL, without a path. */
  readonly url: string;
  /** Ends the server and all its connections. */
  close(): Promise<void>;
}

interface Runtime {
  readonly Deno?: {
    serve(
      options: { hostname: string; port: number; onListen(): void },
      handler: (request: Request) => Response,
    ): { addr: { port: number }; shutdown(): Promise<void> };
  };
  readonly Bun?: {
    serve(
      options: { hostname: string; port: number } & BunHandler,
    ): { port: number; stop(force: boolean): Promise<void> };
  };
}

const HOST = "127.0.0.1";

/** Accepts WebSockets with this runtime's own server: `Deno.serve`, `Bun.serve`, or the npm package `ws` on Node. */
export async function serve(accept: Accept, options: UpgradeOptions = {}): Promise<TestServer> {
  const { Deno, Bun } = globalThis as Runtime;
  const channels = new Set<Parameters<Accept>[0]>();
  const tracked: Accept = (channel, info) => {
    channels.add(channel);
    accept(channel, info);
  };
  const close = async (stop: () => Promise<void>): Promise<void> => {
    for (const channel of channels) channel.close(1001);
    await stop();
  };
  if (Deno !== undefined) {
    const listen = { hostname: HOST, port: 0, onListen: () => {} };
    const server = Deno.serve(listen, denoHandler(tracked, options));
    return { url: `ws://${HOST}:${server.addr.port}`, close: () => close(() => server.shutdown()) };
  }
  if (Bun !== undefined) {
    const server = Bun.serve({ hostname: HOST, port: 0, ...bunHandler(tracked, options) });
    return { url: `ws://${HOST}:${server.port}`, close: () => close(() => server.stop(true)) };
  }
  const { port, stop } = await serveOnNode(tracked, options);
  return { url: `ws://${HOST}:${port}`, close: () => close(stop) };
}

async function serveOnNode(accept: Accept, options: UpgradeOptions): Promise<{ port: number; stop(): Promise<void> }> {
  const { createServer } = await import("node:http");
  const { WebSocketServer } = await import("ws");
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  const server = createServer(async (request, response) => {
    const refusal = admit({ method: request.method ?? "", headers: new Headers(request.headers as never) }, options);
    if (typeof refusal === "string") return void response.destroy();
    response.writeHead(refusal.status, Object.fromEntries(refusal.headers)).end(await refusal.text());
  });
  server.on("upgrade", async (incoming, socket, head) => {
    const headers = new Headers(incoming.headers as Record<string, string>);
    const request = new Request(`http://${HOST}${incoming.url}`, { headers });
    const protocol = admit({ method: incoming.method ?? "", headers }, options);
    if (typeof protocol === "string") {
      sockets.options.handleProtocols = () => protocol;
      sockets.handleUpgrade(incoming, socket, head, (webSocket) => {
        accept(webSocketChannel(webSocket, options), { protocol, request });
      });
      return;
    }
    const fields = [...protocol.headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
    socket.end(`HTTP/1.1 ${protocol.status} Refused\r\n${fields}Connection: close\r\n\r\n${await protocol.text()}`);
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const stop = (): Promise<void> => {
    server.closeAllConnections();
    for (const webSocket of sockets.clients) webSocket.terminate();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return { port: (server.address() as AddressInfo).port, stop };
}
