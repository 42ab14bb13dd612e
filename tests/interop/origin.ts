/**
 * Our broker behind WebSocket servers that are not ours: the npm package `ws`, over TCP and TLS.
 *
 * @module
 */

import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { Broker } from "../../src/broker/broker.ts";
import { webSocketChannel } from "../../src/transport/websocket/standard.ts";
import { keyPair } from "../pki.ts";
import { HOST } from "./daemon.ts";

/** A running broker. */
export interface Origin extends AsyncDisposable {
  /** Its URL over TCP, with user name and password. */
  readonly ws: string;
  /** Its URL over TLS, with user name and password; the host is a name. */
  readonly wss: string;
  /** The names of all header fields in any handshake, in lower case. */
  readonly fields: ReadonlySet<string>;
}

/** Starts the broker. */
export async function startOrigin(): Promise<Origin> {
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  const fields = new Set<string>();
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has("amqp") ? "amqp" : false,
  });
  sockets.on("connection", (socket: WebSocket) => void broker.accept(webSocketChannel(socket)));
  const servers = [createServer(), createSecureServer(keyPair("server"))];
  for (const server of servers) {
    server.on("request", (_request, response) => response.writeHead(404).end());
    server.on("upgrade", (request, socket, head) => {
      for (const name of Object.keys(request.headers)) fields.add(name);
      sockets.handleUpgrade(request, socket, head, (webSocket) => sockets.emit("connection", webSocket, request));
    });
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  }
  const [port, securePort] = servers.map((server) => (server.address() as AddressInfo).port);
  return {
    ws: `ws://user:secret@${HOST}:${port}`,
    wss: `wss://user:secret@localhost:${securePort}`,
    fields,
    async [Symbol.asyncDispose]() {
      await broker.close();
      for (const socket of sockets.clients) socket.terminate();
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}
