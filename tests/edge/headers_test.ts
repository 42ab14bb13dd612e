/**
 * A program's own headers in workerd, where `fetch` sends them.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { bundle } from "../bundle.ts";
import { test } from "../harness.ts";
import { startBroker } from "../broker_server.ts";
import { Broker } from "../../src/broker/broker.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { rawServer } from "../transport/raw_peer.ts";
import { startWorker } from "./workerd.ts";

const { code } = bundle(`
  import { publish } from "./mod.ts";

  export default {
    async fetch(request) {
      const { url, options } = await request.json();
      try {
        return Response.json((await publish(url, "q", { body: 1 }, options)).kind);
      } catch ({ name, code, status, message }) {
        return Response.json({ name, code, status, message });
      }
    },
  };
`);

test("workerd: headers are sent through fetch; what needs sockets is refused by name", async () => {
  await using broker = await startBroker();
  await using worker = await startWorker({ code });
  const server = await rawServer((peer) => peer.path === "/mqtt" ? peer.accept("mqtt") : peer.refuse(401));
  const ask = async (url: string, options: unknown): Promise<unknown> => {
    const response = await fetch(worker.url, { method: "POST", body: JSON.stringify({ url, options }) });
    return await response.json();
  };
  const headers = { Authorization: "Bearer t", "X-Own": "1" };

  assertEquals(await ask(broker.url, { headers }), "accepted");
  const refused = await ask(`${server.url}/x?y=z`, { headers });
  const label = `Cannot open WebSocket to "${server.url}`;
  assertEquals(refused, {
    name: "TransportError",
    code: "handshake-failed",
    status: 401,
    message: `${label}/x": status is 401`,
  });
  const { head } = server.peers[0]!;
  assertEquals(head.startsWith("GET /x?y=z HTTP/1.1\r\n"), true);
  for (const line of ["authorization: Bearer t", "x-own: 1", "sec-websocket-protocol: amqp"]) {
    assertEquals(head.toLowerCase().includes(`\r\n${line.toLowerCase()}\r\n`), true, line);
  }
  assertEquals((await ask(`${server.url}/mqtt`, { headers }) as { code: string }).code, "subprotocol-mismatch");
  const message = 'Cannot set header "host": it belongs to the handshake, option "hostHeader" sets it';
  assertEquals(await ask(broker.url, { headers: { Host: "x" } }), { name: "TypeError", message });

  for (
    const [url, options, need] of [
      ["amqps://x", {}, 'URL scheme "amqps:"'],
      ["wss://x", { tls: {} }, 'option "tls"'],
      ["ws://127.0.0.1", { headers, proxy: "http://y" }, 'option "proxy"'],
    ] as const
  ) {
    const { name, code, message } = await ask(url, options) as { name: string; code: string; message: string };
    assertEquals([name, code], ["TransportError", "not-supported"]);
    assertStringIncludes(
      message,
      `Cannot use ${need}: "Cloudflare-Workers" has no sockets; give connect the dialSocket of`,
    );
  }
  await server.close();
});

test("workerd: with nodejs_compat there are sockets, and AMQP over them", async () => {
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  await using listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
  await using worker = await startWorker({ code, compatibilityFlags: ["nodejs_compat"] });
  const ask = async (url: string, options: unknown): Promise<unknown> => {
    const response = await fetch(worker.url, { method: "POST", body: JSON.stringify({ url, options }) });
    return await response.json();
  };
  const host = `user:secret@127.0.0.1:${listener.port}`;
  assertEquals(await ask(`amqp://${host}`, {}), "accepted");
  assertEquals(await ask(`ws://${host}`, { transport: "socket" }), "accepted");
  assertEquals(broker.queue("q")?.messages, 2);
  await broker.close();
});
