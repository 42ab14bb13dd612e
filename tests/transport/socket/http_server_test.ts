import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { createServer, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { AmqpError, connect, external } from "../../../mod.ts";
import { acceptor } from "../../../src/server/acceptor.ts";
import { handler } from "../../../src/transport/runtime/deno.ts";
import { listen, upgradeListener, type UpgradeListenerOptions } from "../../../src/transport/sockets.ts";
import { test } from "../../harness.ts";
import { ca, keyPair } from "../../pki.ts";
import { BareClient } from "../bare.ts";
import { latin1 } from "../wire.ts";

const HANDSHAKE = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: amqp\r\n";

/** A program's own HTTP server, which answers ordinary requests itself. */
async function start(options: UpgradeListenerOptions): Promise<{ server: Server; port: number }> {
  const server = createServer((_request, response) => response.end("the program's own\n"));
  server.on("upgrade", upgradeListener(options));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, port: (server.address() as AddressInfo).port };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

async function ask(port: number, request: string): Promise<string> {
  await using client = await BareClient.connect(port);
  client.socket.write(latin1(request));
  await client.ended;
  return client.heard;
}

test("node:http: an existing server serves AMQP beside its own pages, and ends in order, the acceptor first", async () => {
  const broker = acceptor({ onSender: (request) => void request.accept(), onReceiver: (r) => void r.accept() });
  const { server, port } = await start({ acceptor: broker, paths: ["/amqp"] });
  const connection = await connect(`ws://127.0.0.1:${port}/amqp`, { transport: "socket", reconnect: false });
  assertStringIncludes(
    await ask(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    "the program's own",
  );
  assertStringIncludes(await ask(port, `GET /other HTTP/1.1\r\n${HANDSHAKE}\r\n`), "HTTP/1.1 404 ");
  const strange = `GET /amqp HTTP/1.1\r\n${HANDSHAKE}Origin: https://app.example\r\n\r\n`;
  assertStringIncludes(await ask(port, strange), "HTTP/1.1 403 ");
  await broker.close();
  await connection.closed;
  assertEquals((connection.error as { condition?: string } | undefined)?.condition, "amqp:connection:forced");
  await closed(server);
});

test("node:http: the server may be closed first", async () => {
  const broker = acceptor({});
  const { server, port } = await start({ acceptor: broker });
  const connection = await connect(`ws://127.0.0.1:${port}`, { transport: "socket", reconnect: false });
  const ended = closed(server);
  await connection.close();
  await broker.close();
  await ended;
});

test("node:http: options that cannot be used are refused", () => {
  assertThrows(() => upgradeListener({}), TypeError, 'give one of "acceptor" and "accept"');
  assertThrows(() => upgradeListener({ accept: () => {}, path: "/" } as UpgradeListenerOptions), TypeError, "path");
  // Before a request comes, whose error would end the process.
  for (const subprotocols of [[], ["amqp", "amqp"], ["a b"]]) {
    assertThrows(() => upgradeListener({ accept: () => {}, subprotocols }), TypeError, "Cannot use subprotocol");
    assertThrows(() => handler(() => {}, { subprotocols }), TypeError, "Cannot use subprotocol");
  }
});

test("listen: AMQP ends in order whichever is closed first, listener or acceptor", async () => {
  for (const first of ["listener", "acceptor"]) {
    const broker = acceptor({});
    const listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
    const connection = await connect(`ws://127.0.0.1:${listener.port}`, { transport: "socket", reconnect: false });
    const closing = first === "listener" ? [listener.close(), broker.close()] : [broker.close(), listener.close()];
    await Promise.all(closing);
    await connection.closed;
    assertEquals((connection.error as { condition?: string } | undefined)?.condition, "amqp:connection:forced", first);
  }
});

test("WSB-20: behind node:https the client's certificate says who it is, if the server's authorities signed it", async () => {
  const identities: (string | undefined)[] = [];
  const service = acceptor({
    sasl: { external: (_wanted, { certificate }) => certificate?.subject.CN },
    onConnection: (connection) => void identities.push(connection.identity),
  });
  const server = createSecureServer({ ...keyPair("server"), ca, requestCert: true, rejectUnauthorized: false });
  server.on("upgrade", upgradeListener({ acceptor: service }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `wss://localhost:${(server.address() as AddressInfo).port}`;
  const as = (tls: object) => connect(url, { reconnect: false, auth: external(), tls: { ca, ...tls } });
  // Bun's server asks for certificates, and shows none.
  const shown = !("Bun" in globalThis);
  const alice = shown ? await as(keyPair("client")) : undefined;
  await assertRejects(() => as({}), AmqpError);
  await assertRejects(() => as(keyPair("rogue_client")), AmqpError);
  assertEquals(identities, shown ? ["alice"] : []);
  await alice?.close();
  await service.close();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});
