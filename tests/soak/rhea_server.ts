/**
 * A rhea server that records what it receives, and sends numbers until each was accepted.
 *
 * @module
 */

import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import { createServer } from "node:http";
import rhea, { type Sender as RheaSender } from "rhea";
import { WebSocketServer } from "ws";

/** A rhea server. */
export interface RheaServer {
  readonly port: number;
  /** The number of times that each body has come. */
  readonly stored: Map<string, number>;
  close(): Promise<void>;
}

/** Starts a server that sends `count` messages, over TCP or WebSockets. */
export async function rheaServer(scheme: "amqp" | "ws", count: number): Promise<RheaServer> {
  const container = rhea.create_container();
  const stored = new Map<string, number>();
  // Unaccepted numbers, and those in flight, by their delivery.
  const waiting = Array.from({ length: count }, (_, i) => `out/${i}`).reverse();
  const handed = new Map<unknown, { readonly body: string; readonly sender: RheaSender }>();
  const pump = (sender: RheaSender): void => {
    while (sender.is_open() && sender.sendable() && waiting.length > 0) {
      const body = waiting.pop()!;
      handed.set(sender.send({ body }), { body, sender });
    }
  };
  container.on("message", ({ message }) => {
    const body = String(message!.body);
    stored.set(body, (stored.get(body) ?? 0) + 1);
  });
  container.on("sendable", ({ sender }) => pump(sender!));
  container.on("accepted", ({ delivery }) => void handed.delete(delivery));
  const takeBack = (gone: (sender: RheaSender) => boolean): void => {
    for (const [delivery, { body, sender }] of handed) {
      if (!gone(sender)) continue;
      handed.delete(delivery);
      waiting.push(body);
    }
  };
  container.on("disconnected", ({ connection }) => takeBack((sender) => sender.connection === connection));
  container.on("sender_close", ({ sender }) => takeBack((other) => other === sender));
  for (const event of ["connection_error", "session_error", "sender_error", "receiver_error", "error"]) {
    container.on(event, () => {});
  }
  const options = { receiver_options: { credit_window: 200 }, reconnect: false };
  let server: Server;
  if (scheme === "amqp") server = container.listen({ ...options, port: 0, host: "127.0.0.1" } as never);
  else {
    const http = createServer();
    new WebSocketServer({ server: http, handleProtocols: () => "amqp" }).on("connection", (socket) => {
      container.websocket_accept(socket as never, options as never);
    });
    http.listen(0, "127.0.0.1");
    server = http;
  }
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    stored,
    close: async () => {
      server.close();
      if ("closeAllConnections" in server) (server as { closeAllConnections(): void }).closeAllConnections();
      await once(server, "close");
    },
  };
}
