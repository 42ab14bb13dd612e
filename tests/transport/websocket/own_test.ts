import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import type { Socket } from "../../../src/transport/socket/socket.ts";
import { opcode, WebSocketFrameEncoder } from "../../../src/transport/websocket/frames.ts";
import { MaskKeys } from "../../../src/transport/websocket/mask.ts";
import { SocketWebSocket } from "../../../src/transport/websocket/own.ts";
import { random, seed, test } from "../../harness.ts";
import { openClient, openServer } from "../endpoints.ts";

/** A socket that takes all, and reads what the test gives it. */
class QuietSocket {
  readonly writableLength = 0;
  readonly destroyed = false;
  writes = 0;
  read: (bytes: Uint8Array) => void = () => {};
  close: () => void = () => {};

  write(): boolean {
    this.writes++;
    return true;
  }
  on(event: string, listener: (bytes?: Uint8Array) => void): void {
    if (event === "data") this.read = listener;
    if (event === "close") this.close = listener;
  }
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

/** An open channel, what it has delivered, and how it ended. */
function opened(role: "client" | "server") {
  const socket = new QuietSocket();
  const channel = new SocketWebSocket(socket as unknown as Socket, role === "client" ? openClient() : openServer());
  const delivered: Uint8Array[] = [];
  channel.onbytes = (bytes) => void delivered.push(bytes);
  return { socket, channel, delivered };
}

/** The frames of these payloads, as the peer of a `role` sends them. */
function framesOf(role: "client" | "server", payloads: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const encoder = new WebSocketFrameEncoder(role === "server" ? new MaskKeys(crypto) : undefined);
  for (const payload of payloads) encoder.frame(opcode.binary, payload);
  const pieces: Uint8Array[] = [];
  for (let piece = encoder.take(); piece !== undefined; piece = encoder.take()) pieces.push(piece.slice());
  return concat(pieces);
}

test("WSB-13: messages that come in one read are delivered as one piece of the memory that was read", () => {
  for (const role of ["client", "server"] as const) {
    const { socket, delivered } = opened(role);
    const payloads = Array.from({ length: 300 }, (_, i) => new Uint8Array(200).fill(i));
    const read = framesOf(role, payloads);
    socket.read(read);
    assertEquals(delivered.length, 1);
    assertEquals(delivered[0], concat(payloads));
    assert(delivered[0]!.buffer === read.buffer);
  }
});

test("WSB-16: the end of a flush above 65,535 bytes is delivered with the message before it, a long message apart", () => {
  const { socket, delivered } = opened("client");
  socket.read(framesOf("client", [65_535, 60, 65_535, 60, 8_193, 8_192].map((size) => new Uint8Array(size))));
  assertEquals(delivered.map(({ length }) => length), [65_595, 65_595, 8_193 + 8_192]);
});

test("WSB-16: a full flush leaves at once, with what waits before it, and small ones together", async () => {
  for (const role of ["client", "server"] as const) {
    const { socket, channel } = opened(role);
    channel.send(new Uint8Array(65_535));
    assertEquals(socket.writes, 1);
    for (let i = 0; i < 10; i++) channel.send(new Uint8Array(100));
    assertEquals(socket.writes, 1);
    await Promise.resolve();
    assertEquals(socket.writes, 2);
    channel.send(new Uint8Array(100));
    channel.send(new Uint8Array(65_535));
    assertEquals(channel.bufferedAmount, 0);
    const { writes } = socket;
    await Promise.resolve();
    assertEquals(socket.writes, writes);
  }
});

test("WSB-28: messages between control frames and before a close frame are delivered in order", async () => {
  const { socket, channel, delivered } = opened("client");
  let code = 0;
  channel.onclose = (close) => code = close.code;
  const messages = (...values: number[]): Uint8Array => framesOf("client", values.map((value) => Uint8Array.of(value)));
  socket.read(concat([
    messages(1, 2),
    Uint8Array.of(0x89, 1, 9),
    messages(3),
    Uint8Array.of(0x82, 0),
    messages(4),
    Uint8Array.of(0x88, 2, 3, 0xe8),
    messages(5),
  ]));
  socket.close();
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(concat(delivered), Uint8Array.of(1, 2, 3, 4));
  assertEquals(code, 1000);
});

test("WSB-13: any messages, cut anywhere, are the same bytes in the same order, and those delivered stay as they were", () => {
  const source = random(seed());
  for (let round = 0; round < 100; round++) {
    const role = source.pick(["client", "server"] as const);
    const { socket, delivered } = opened(role);
    const payloads = Array.from(
      { length: 1 + source.int(20) },
      () => source.bytes(source.pick([0, 1, 200, 9_000]) + source.int(300)),
    );
    const stream = framesOf(role, payloads);
    const kept: Uint8Array[] = [];
    for (let at = 0; at < stream.length;) {
      const end = at + 1 + source.int(source.pick([3, 1_000, 60_000]));
      socket.read(stream.slice(at, end));
      at = end;
      for (const piece of delivered.slice(kept.length)) kept.push(piece.slice());
    }
    assertEquals(concat(delivered), concat(payloads));
    assertEquals(delivered, kept);
  }
});
