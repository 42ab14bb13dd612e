import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import type { Socket } from "node:net";
import { TransportError } from "../../../src/base/errors.ts";
import { dialSocket } from "../../../src/transport/socket/dial.ts";
import { test } from "../../harness.ts";
import { type BareServer, bareServer, silent } from "../bare.ts";
import { record } from "../channel_log.ts";
import { rawServer } from "../raw_peer.ts";
import { latin1, text } from "../wire.ts";

const MIB = 1_048_576;
const [BINARY, TEXT, CLOSE, PING, PONG] = [2, 1, 8, 9, 10];

function at(server: BareServer): string {
  return `amqp://127.0.0.1:${server.port}`;
}

test("stream: bytes of the peer come before its end, which is 1005; what answers them still goes out", async () => {
  const heard: string[] = [];
  await using server = await bareServer((socket) => {
    socket.on("data", (bytes: Uint8Array) => heard.push(text(bytes)));
    socket.end("goodbye");
  });
  const channel = await dialSocket(at(server));
  const log = record(channel);
  const keep = channel.onbytes!;
  channel.onbytes = (bytes) => {
    keep(bytes);
    // As an engine does: at the end of the current work.
    queueMicrotask(() => channel.send(latin1("goodbye to you")));
  };
  assertEquals(await log.closed, { code: 1005, reason: "" });
  assertEquals(text(log.bytes()), "goodbye");
  await server.gone(1);
  assertEquals(heard, ["goodbye to you"]);
});

test("stream: whoever wants to know of the peer's half ends the channel itself", async () => {
  const heard: string[] = [];
  await using server = await bareServer((socket) => {
    socket.on("data", (bytes: Uint8Array) => heard.push(text(bytes)));
    socket.end("that is all");
  });
  const channel = await dialSocket(at(server));
  const ended = new Promise<void>((resolve) => channel.onend = resolve);
  const log = record(channel);
  await ended;
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(log.events.length, 1);
  channel.send(latin1("much"));
  channel.send(latin1(" later"));
  channel.close();
  assertEquals((await log.closed).code, 1005);
  await server.gone(1);
  assertEquals(heard.join(""), "much later");
});

test("stream: close sends what was queued, hears no more, and waits for the peer's end", async () => {
  let received = 0;
  await using server = await bareServer((socket) => {
    socket.on("data", (bytes: Uint8Array) => received += bytes.length);
    socket.on("end", () => socket.end("too late"));
  });
  const channel = await dialSocket(at(server));
  const log = record(channel);
  for (let i = 0; i < 8; i++) channel.send(new Uint8Array(MIB));
  channel.close();
  channel.close(1011);
  channel.send(latin1("ignored"));
  assertEquals(await log.closed, { code: 1000, reason: "" });
  assertEquals([received, log.received, channel.bufferedAmount], [8 * MIB, 0, 0]);
  await channel.ready();
});

test("stream: closeNow waits for no end of the peer's; with bytes that wait it ends in order", async () => {
  let received = 0;
  let held: Socket | undefined;
  await using server = await bareServer((socket) => {
    held = socket.on("data", (bytes: Uint8Array) => received += bytes.length);
  });
  const open = () => dialSocket(at(server), { closeTimeoutMs: 600_000 });
  const channel = await open();
  const log = record(channel);
  channel.send(latin1("x"));
  while (channel.bufferedAmount > 0 || received === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  channel.closeNow!();
  channel.closeNow!(1011);
  assertEquals(await log.closed, { code: 1000, reason: "" });
  held!.end();
  const full = await open();
  const last = record(full);
  for (let i = 0; i < 8; i++) full.send(new Uint8Array(MIB));
  full.closeNow!(1001);
  while (received < 8 * MIB + 1) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(last.events.length, 0);
  held!.end();
  assertEquals(await last.closed, { code: 1001, reason: "" });
});

test("stream: a peer that breaks off is 1006 with what the system says", async () => {
  await using server = await bareServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
  const channel = await dialSocket(at(server));
  const log = record(channel);
  channel.send(latin1("x"));
  const { code, cause } = await log.closed;
  assertInstanceOf(cause, TransportError);
  assertEquals([code, cause.code, cause.message], [1006, "connection-lost", "Connection lost: ECONNRESET"]);
  channel.send(latin1("y"));
  channel.close();
  assertEquals(channel.bufferedAmount, 0);
});

for (const kind of ["stream", "websocket"] as const) {
  const open = async (onsocket: (socket: Socket) => void) => {
    if (kind === "stream") {
      const server = await bareServer(onsocket);
      return { url: at(server), close: () => server[Symbol.asyncDispose]() };
    }
    return await rawServer((peer) => {
      peer.accept();
      onsocket(peer.socket);
    });
  };

  test(`ATK-18: ${kind}: a peer that reads slowly is waited for, and loses nothing`, async () => {
    let peer: Socket | undefined;
    let received = 0;
    const server = await open((socket) => {
      peer = socket;
      socket.pause();
      socket.on("end", () => socket.end());
      socket.on("data", (bytes: Uint8Array) => received += bytes.length);
    });
    const channel = await dialSocket(server.url, { closeTimeoutMs: 300 });
    const log = record(channel);
    while (peer === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
    peer.pause();
    for (let i = 0; i < 32; i++) channel.send(new Uint8Array(MIB));
    let isReady = false;
    const ready = channel.ready().then(() => isReady = true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assertEquals(isReady, false);
    assert(channel.bufferedAmount > 16 * MIB);
    peer.resume();
    await ready;
    assert(channel.bufferedAmount <= 256 * 1024);
    channel.close();
    await log.closed;
    assert(received >= 32 * MIB, `${received}`);
    await server.close();
  });

  test(`ATK-18: ${kind}: a peer that never reads is given up when the channel is closed`, async () => {
    const server = await open((socket) => socket.pause());
    const channel = await dialSocket(server.url, { closeTimeoutMs: 60 });
    const log = record(channel);
    for (let i = 0; i < 32; i++) channel.send(new Uint8Array(MIB));
    const ready = channel.ready();
    channel.close();
    const { code, cause } = await log.closed;
    assertInstanceOf(cause, TransportError);
    assertEquals([code, cause.code], [1006, "timeout"]);
    await ready;
    await server.close();
  });

  test(`ATK-18: ${kind}: pause holds the peer back, resume takes everything`, async () => {
    const total = 32 * MIB;
    let written = 0;
    const server = await open((socket) => {
      const piece = new Uint8Array(65_530);
      const frame = kind === "stream" ? piece : new Uint8Array([0x82, 126, 0xff, 0xfa, ...piece]);
      const write = (): void => {
        while (written < total) {
          written += piece.length;
          if (!socket.write(frame)) return void socket.once("drain", write);
        }
      };
      socket.resume();
      socket.on("end", () => socket.end());
      write();
    });
    const channel = await dialSocket(server.url, { closeTimeoutMs: 60 });
    channel.pause();
    const log = record(channel);
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    assert(written < total, "everything was written although nothing was read");
    assert(log.received <= 4 * MIB, `${log.received} bytes came all the same`);
    channel.resume();
    await log.until(total);
    channel.close();
    await log.closed;
    await server.close();
  });
}

test("websocket: what was written in one turn leaves as frames in one piece", async () => {
  const pieces: number[] = [];
  const server = await rawServer((peer) => {
    peer.accept();
    peer.socket.on("data", (bytes: Uint8Array) => pieces.push(bytes.length));
  });
  const channel = await dialSocket(server.url);
  const log = record(channel);
  for (let i = 0; i < 100; i++) channel.send(new Uint8Array(10));
  await server.peers[0]!.until(({ received }) => received === 1_000);
  assertEquals(pieces, [1_600]);
  server.peers[0]!.socket.destroy();
  assertEquals((await log.closed).code, 1006);
  await server.close();
});

test("WS-26, WS-33: pings are answered, close codes and reasons go both ways", async () => {
  const server = await rawServer((peer) => {
    peer.accept();
    peer.send(PING, latin1("are you there"));
  });
  {
    const channel = await dialSocket(server.url);
    const log = record(channel);
    const [peer] = server.peers;
    await peer!.until(({ controls }) => controls.some(({ opcode }) => opcode === PONG));
    assertEquals(text(peer!.controls[0]!.payload), "are you there");
    channel.close(1001, "bye");
    await peer!.until(({ controls }) => controls.some(({ opcode }) => opcode === CLOSE));
    assertEquals(peer!.controls[1]!.payload, Uint8Array.of(3, 0xe9, ...latin1("bye")));
    peer!.send(CLOSE, peer!.controls[1]!.payload);
    peer!.socket.end();
    assertEquals(await log.closed, { code: 1001, reason: "bye" });
  }
  {
    const channel = await dialSocket(server.url);
    const log = record(channel);
    const peer = server.peers[1]!;
    peer.send(BINARY, latin1("last"));
    peer.send(CLOSE, Uint8Array.of(0x0f, 0xa0, ...latin1("own")));
    await peer.until(({ controls }) => controls.some(({ opcode }) => opcode === CLOSE));
    peer.socket.end();
    assertEquals(await log.closed, { code: 4000, reason: "own" });
    assertEquals(text(log.bytes()), "last");
  }
  {
    const channel = await dialSocket(server.url);
    const log = record(channel);
    const peer = server.peers[2]!;
    peer.send(TEXT, latin1("words"));
    await peer.until(({ controls }) => controls.some(({ opcode }) => opcode === CLOSE));
    peer.socket.end();
    const { code, cause } = await log.closed;
    assertInstanceOf(cause, TransportError);
    assertEquals([code, cause.code], [1003, "protocol-violation"]);
  }
  await server.close();
});

test("a channel over a socket that is closed twice, or with a code that may not be sent, ends once", async () => {
  await using server = await bareServer(silent);
  const channel = await dialSocket(at(server));
  const log = record(channel);
  channel.close(1006);
  channel.close();
  await log.closed;
  const raw = await rawServer((peer) => peer.accept());
  const webSocket = await dialSocket(raw.url);
  const heard = record(webSocket);
  webSocket.close(1005);
  webSocket.close();
  const [peer] = raw.peers;
  await peer!.until(({ controls }) => controls.length > 0);
  assertEquals(peer!.controls[0]!.payload, Uint8Array.of(3, 0xe8));
  peer!.send(CLOSE, Uint8Array.of(3, 0xe8));
  peer!.socket.end();
  assertEquals((await heard.closed).code, 1000);
  await raw.close();
});
