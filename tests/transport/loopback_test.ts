import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { TransportError } from "../../src/base/errors.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { dial } from "../../src/transport/websocket/standard.ts";
import { random, seed, test } from "../harness.ts";
import { serve } from "../serve.ts";
import { type ChannelLog, record } from "./channel_log.ts";
import { rawClient, rawServer } from "./raw_peer.ts";

const [BINARY, TEXT, CLOSE] = [2, 1, 8];
const MIB = 1024 * 1024;
const runtime = globalThis as { Deno?: unknown; Bun?: unknown };
const NODE = runtime.Deno === undefined && runtime.Bun === undefined;

function echo(channel: Channel): void {
  channel.onbytes = (bytes) => channel.send(bytes);
}

async function end(channel: Channel, log: ChannelLog): Promise<void> {
  channel.close();
  await log.closed;
}

// Node reports nothing about a failed handshake.
function assertStatus(error: TransportError, status: number): void {
  assertEquals(error.code, NODE ? "connect-failed" : "handshake-failed");
  assertEquals(error.status, NODE ? undefined : status);
}

test("WSB-1, WSB-13: bytes of any sizes come back as one stream", async () => {
  const server = await serve(echo);
  const channel = await dial(`${server.url}/any/path?query`);
  const log = record(channel);
  const { int, bytes, pick } = random(seed());
  const sent: number[] = [];
  for (let round = 0; round < 200; round++) {
    const piece = bytes(int(pick([2, 130, 5000, 140_000])));
    for (const byte of piece) sent.push(byte);
    channel.send(piece);
    if (round % 50 === 49) await log.until(sent.length);
  }
  await log.until(sent.length);
  assertEquals(log.bytes().length, sent.length);
  assert(log.bytes().every((byte, index) => byte === sent[index]));
  await end(channel, log);
  await server.close();
});

test("WSB-16: 16 MiB go out and come back", async () => {
  const server = await serve(echo);
  const channel = await dial(server.url);
  const log = record(channel);
  const large = new Uint8Array(16 * MIB);
  for (let index = 0; index < large.length; index++) large[index] = (index * 31 + (index >>> 12)) & 0xff;
  channel.send(large.slice());
  await log.until(large.length);
  assert(log.bytes().every((byte, index) => byte === large[index]));
  await end(channel, log);
  await server.close();
});

test("WSB-3, WSB-6, WSB-9: both ends agree on the server's first choice", async () => {
  const chosen: string[] = [];
  const server = await serve(
    (_channel, { protocol, request }) => chosen.push(protocol, new URL(request.url).pathname),
    {
      subprotocols: ["amqp", "AMQPWSB10"],
    },
  );
  for (const [offer, expected] of [[["AMQPWSB10", "amqp"], "amqp"], [["mqtt", "AMQPWSB10"], "AMQPWSB10"]] as const) {
    const channel = await dial(`${server.url}/$servicebus`, { subprotocols: offer });
    assertEquals(channel.protocol, expected);
    assertEquals(chosen.splice(0), [expected, "/$servicebus"]);
    await end(channel, record(channel));
  }
  await server.close();
});

test("WSB-8: a client without a known name is refused with 400, and the status is told where the runtime knows", async () => {
  const server = await serve(() => assert(false, "accepted"));
  const error = await assertRejects(
    () => dial(`${server.url}/?sig=secret`, { subprotocols: ["mqtt"] }),
    TransportError,
  );
  assertStatus(error, 400);
  assert(!error.message.includes("secret"));
  await server.close();
});

test("WS-11, WS-12: a plain request is refused with 426 and a short text", async () => {
  const server = await serve(() => assert(false, "accepted"));
  const get = await fetch(server.url.replace("ws:", "http:"));
  assertEquals([get.status, await get.text()], [426, "Cannot accept WebSocket: a WebSocket is required\n"]);
  const post = await fetch(server.url.replace("ws:", "http:"), { method: "POST", body: "x" });
  assertEquals([post.status, post.headers.get("allow")], [405, "GET"]);
  await post.body?.cancel();
  await server.close();
});

test("WS-8: a handshake that is refused fails with the status where the runtime tells it", async () => {
  const server = await rawServer((peer) => peer.refuse(Number(peer.path.slice(1))));
  for (const status of [401, 403, 404, 429, 503, 302, 200]) {
    const error = await assertRejects(() => dial(`${server.url}/${status}`), TransportError);
    assertStatus(error, status);
  }
  await server.close();
});

test("WSB-4: a server that chooses no name or another gets no bytes", async () => {
  const server = await rawServer((peer) => peer.accept(peer.path.slice(1)));
  for (const name of ["", "other", "AMQP"]) {
    const error = await assertRejects(() => dial(`${server.url}/${name}`), TransportError);
    assertEquals(error.code, NODE ? "connect-failed" : "subprotocol-mismatch");
  }
  for (const peer of server.peers) {
    peer.socket.end();
    await peer.ended;
    assertEquals(peer.received, 0);
  }
  await server.close();
});

test("WS-36: a server that is not there, or hangs up, is connect-failed", async () => {
  const server = await rawServer((peer) => peer.socket.destroy());
  const hangup = await assertRejects(() => dial(server.url), TransportError);
  assertEquals(hangup.code, "connect-failed");
  await server.close();
  const refused = await assertRejects(() => dial(server.url), TransportError);
  assertEquals(refused.code, "connect-failed");
});

test("WS-36: abort while connecting rejects with the reason and hangs up", async () => {
  const reason = new Error("Enough");
  const controller = new AbortController();
  const server = await rawServer(() => controller.abort(reason));
  const dialling = dial(server.url, { signal: controller.signal });
  assertStrictEquals(await dialling.catch((error) => error), reason);
  await server.peers[0].ended;
  await server.close();
});

test("WS-9: a server that does not answer is given up and hung up on", async () => {
  const server = await rawServer(() => {});
  const error = await assertRejects(() => dial(server.url, { handshakeTimeoutMs: 50 }), TransportError);
  assertEquals(error.code, "timeout");
  await Promise.all(server.peers.map(({ ended }) => ended));
  await server.close();
});

test("WSB-21: bytes in one packet with the 101 are kept", async () => {
  const server = await rawServer((peer) => peer.accept("amqp", Uint8Array.of(0x82, 3, 1, 2, 3)));
  const channel = await dial(server.url);
  const log = record(channel);
  await log.until(3);
  assertEquals(log.bytes(), Uint8Array.of(1, 2, 3));
  server.peers[0].socket.destroy();
  await log.closed;
  await server.close();
});

test("WSB-28, WS-34: a peer that drops without a close frame is 1006 with a cause, behind its bytes", async () => {
  const server = await rawServer((peer) => {
    peer.accept();
    peer.send(BINARY, Uint8Array.of(7));
    peer.socket.end();
  });
  const channel = await dial(server.url);
  const log = record(channel);
  const { code, cause } = await log.closed;
  assertEquals(code, 1006);
  assertInstanceOf(cause, TransportError);
  assertEquals(cause.code, "connection-lost");
  assertEquals(log.events[0], Uint8Array.of(7));
  assertEquals(log.events.length, 2);
  await server.close();
});

test("WSB-12: a text message is answered with 1003 or 4003, and nothing else", async () => {
  const server = await rawServer((peer) => {
    peer.accept();
    peer.send(TEXT, Uint8Array.of(65));
  });
  const channel = await dial(server.url);
  const log = record(channel);
  const [peer] = server.peers;
  await peer.until(({ controls }) => controls.some(({ opcode }) => opcode === CLOSE));
  const { payload } = peer.controls.find(({ opcode }) => opcode === CLOSE)!;
  const code = payload[0] * 256 + payload[1];
  assertEquals(code, runtime.Bun === undefined ? 4003 : 1003);
  peer.send(CLOSE, payload);
  peer.socket.end();
  assertEquals((await log.closed).code, 1003);
  assertEquals(peer.received, 0);
  await server.close();
});

test("WSB-24, WSB-27: close codes and reasons reach the other end, from either end", async () => {
  const accepted: Array<{ channel: Channel; log: ChannelLog }> = [];
  const server = await serve((channel) => accepted.push({ channel, log: record(channel) }));
  for (const [code, reason] of [[1000, ""], [3000, "why"], [4999, "é".repeat(61)]] as const) {
    for (const closer of ["client", "server"]) {
      const channel = await dial(server.url);
      const near = { channel, log: record(channel) };
      const far = accepted.pop()!;
      const [from, to] = closer === "client" ? [near, far] : [far, near];
      from.channel.close(code, reason);
      assertEquals(await to.log.closed, { code, reason }, closer);
      assertEquals((await from.log.closed).code, code);
    }
  }
  await server.close();
});

test("WSB-30: 1001 arrives as 1001 or 4001", async () => {
  const server = await serve((channel) => channel.close(1001, "going"));
  const channel = await dial(server.url);
  const { code, reason } = await record(channel).closed;
  assert(code === 1001 || code === 4001, `${code}`);
  assertEquals(reason, "going");
  await server.close();
});

test("WSB-27: a close frame of the peer is answered once and told with its code", async () => {
  for (const [payload, code, reason] of [[[3, 0xe9, 98, 121, 101], 1001, "bye"], [[], 1005, ""]] as const) {
    const server = await rawServer((peer) => {
      peer.accept();
      peer.send(CLOSE, Uint8Array.from(payload));
    });
    const channel = await dial(server.url);
    const log = record(channel);
    const [peer] = server.peers;
    await peer.until(({ controls }) => controls.length > 0);
    peer.socket.end();
    assertEquals(await log.closed, { code, reason });
    assertEquals(peer.controls.length, 1);
    await server.close();
  }
});

test("WS-33: a peer that never answers the close is given up", async () => {
  const server = await rawServer((peer) => {
    peer.accept();
    peer.socket.pause();
  });
  const channel = await dial(server.url, { closeTimeoutMs: 50 });
  const log = record(channel);
  channel.close();
  const { code, cause } = await log.closed;
  assertEquals(code, 1006);
  assertInstanceOf(cause, TransportError);
  assertEquals(cause.code, "timeout");
  await server.close();
});

test("ATK-18: a client waits for a peer that reads slowly, and loses nothing", async () => {
  const server = await rawServer((peer) => {
    peer.accept();
    peer.socket.pause();
  });
  const channel = await dial(server.url);
  const log = record(channel);
  // More than the kernel buffers on both sides.
  const sent = 32 * MIB;
  for (let index = 0; index < sent / MIB; index++) channel.send(new Uint8Array(MIB));
  let resolved = false;
  const ready = channel.ready().then(() => resolved = true);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!resolved);
  const [peer] = server.peers;
  peer.socket.resume();
  await ready;
  assert(channel.bufferedAmount <= 256 * 1024);
  channel.close();
  await peer.until(({ received, controls }) => received === sent && controls.length > 0);
  peer.send(CLOSE, peer.controls[0].payload);
  peer.socket.end();
  assertEquals((await log.closed).code, 1000);
  await server.close();
});

test("ATK-18: a server holds any backlog for a peer that reads slowly, and loses nothing", async () => {
  const accepted: Channel[] = [];
  const server = await serve((channel) => void accepted.push(channel));
  const peer = await rawClient(server.url);
  peer.socket.pause();
  const [channel] = accepted;
  const log = record(channel);
  // Bun drops messages beyond 16 MiB.
  const sent = 40 * MIB;
  for (let index = 0; index < sent / MIB; index++) channel.send(new Uint8Array(MIB));
  assert(channel.bufferedAmount > 24 * MIB, `only ${channel.bufferedAmount} wait`);
  let resolved = false;
  const ready = channel.ready().then(() => resolved = true);
  channel.close();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!resolved);
  peer.socket.resume();
  await ready;
  await peer.until(({ received, controls }) => received === sent && controls.length > 0);
  peer.send(CLOSE, peer.controls[0].payload);
  assertEquals((await log.closed).code, 1000);
  peer.socket.destroy();
  await peer.ended;
  await server.close();
});
