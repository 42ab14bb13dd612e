import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { anonymous, connect } from "../../mod.ts";
import {
  BLOCK_HEAD_BYTES,
  giveBlock,
  isBlock,
  leaveSlab,
  lend,
  MIN_BLOCK_BYTES,
  type Slab,
  takeBlock,
  takeSlab,
} from "../../src/base/pool.ts";
import { Writer } from "../../src/codec/writer.ts";
import { listen } from "../../src/transport/sockets.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { type Socket, StreamChannel } from "../../src/transport/socket/socket.ts";
import { SocketWebSocket } from "../../src/transport/websocket/own.ts";
import { WebSocketChannel } from "../../src/transport/websocket/web_socket_channel.ts";
import { webSocketChannel } from "../../src/transport/websocket/standard.ts";
import { test } from "../harness.ts";
import { ca, keyPair } from "../pki.ts";
import { serve } from "../serve.ts";
import { openServer } from "../transport/endpoints.ts";
import { FakeSocket } from "../transport/socket/fake_socket.ts";

// A size that nothing else here asks for.
const SIZE = 1_000_000;

/** Whether the next request for that size gets the memory of `bytes`. */
function isSpare(bytes: Uint8Array): boolean {
  const block = takeBlock(bytes.length);
  return block.buffer === bytes.buffer;
}

test("blocks: a view behind the room for a transport's header gives its block back, one further in is a slab's part", () => {
  const block = takeBlock(SIZE);
  const view = block.subarray(BLOCK_HEAD_BYTES);
  assertEquals([giveBlock(lend(view)), isSpare(block)], [true, true]);
  assertEquals(giveBlock(lend(block.subarray(BLOCK_HEAD_BYTES + 1))), false);
});

test("blocks: memory that was given back is taken by who needs about as much, and by one only", () => {
  const block = takeBlock(SIZE);
  assert(block.length >= SIZE && block.length < SIZE + 4_096);
  giveBlock(lend(block.subarray(0, 7)));
  assertNotStrictEquals(takeBlock(SIZE / 2).buffer, block.buffer);
  assertNotStrictEquals(takeBlock(SIZE * 2).buffer, block.buffer);
  assertStrictEquals(takeBlock(SIZE - 10_000).buffer, block.buffer);
  assertNotStrictEquals(takeBlock(SIZE).buffer, block.buffer);
});

test("blocks: what was never lent is not taken back, be it the same memory", () => {
  const large = new Uint8Array(SIZE);
  assertEquals(giveBlock(large), false);
  assert(!isSpare(large));
  const view = lend(large.subarray(0, 10));
  assertEquals(giveBlock(large.subarray(0, 10)), false);
  assert(!isSpare(large));
  assertEquals(giveBlock(view), true);
  assert(isSpare(large));
});

test("blocks: one that is given back twice has one owner all the same", () => {
  const view = lend(takeBlock(SIZE).subarray(0, 10));
  assertEquals([giveBlock(view), giveBlock(view)], [true, false]);
  const taken = takeBlock(SIZE);
  assertStrictEquals(taken.buffer, view.buffer);
  assertNotStrictEquals(takeBlock(SIZE).buffer, view.buffer);
  // The previous owner cannot return it again: it has another owner now.
  assertEquals(giveBlock(view), false);
  assertNotStrictEquals(takeBlock(SIZE).buffer, view.buffer);
});

/** Bytes as a writer hands them over: a lent view with room for a header in front. */
function blockOf(length: number): Uint8Array {
  const writer = new Writer(16_384);
  writer.append(new Uint8Array(length).fill(1));
  return writer.take();
}

test("slabs: what one writer leaves is written on by the next, behind all that was handed out", () => {
  const first = new Writer(4_096);
  first.append(Uint8Array.of(1, 2, 3));
  const taken = first.take();
  first.release();
  const second = new Writer(16);
  second.append(Uint8Array.of(4, 5));
  // Another writer has the slab now, so the first one begins elsewhere.
  first.append(Uint8Array.of(6));
  assertStrictEquals(second.take().buffer, taken.buffer);
  assertNotStrictEquals(first.take().buffer, taken.buffer);
  assertEquals(taken, Uint8Array.of(1, 2, 3));
});

test("slabs: the two writers of a flush need no memory of their own each time", () => {
  const buffers = new Set<ArrayBufferLike>();
  for (let i = 0; i < 50; i++) {
    const [inner, outer] = [new Writer(4_096), new Writer(4_096)];
    inner.append(new Uint8Array(20));
    const frame = inner.take();
    outer.append(frame);
    buffers.add(frame.buffer).add(outer.take().buffer);
    outer.release();
    inner.release();
  }
  assert(buffers.size <= 4, `${buffers.size} slabs for 2,000 bytes`);
});

test("slabs: the four roomiest are kept, the roomier ones first, and taken to the last byte", () => {
  const slab = (room: number): Slab => ({ bytes: new Uint8Array(room + 1), end: 1 });
  const kept = (...rooms: number[]): number[] => {
    const taken: number[] = [];
    while (takeSlab(0) !== undefined);
    for (const room of rooms) leaveSlab(slab(room));
    for (let next = takeSlab(0); next !== undefined; next = takeSlab(0)) taken.push(next.bytes.length - 1);
    return taken;
  };
  for (const rooms of [[5, 10, 20, 20, 30], [30, 20, 20, 10, 5], [20, 30, 5, 20, 10], [5, 5, 10, 30, 20, 20]]) {
    assertEquals(kept(...rooms), [30, 20, 20, 10]);
  }
  const [older, newer] = [slab(20), slab(20)];
  leaveSlab(older);
  leaveSlab(newer);
  assert(takeSlab(20) === older && takeSlab(20) === newer);
  leaveSlab(older);
  assertEquals(takeSlab(21), undefined);
  assertStrictEquals(takeSlab(20), older);
  leaveSlab({ bytes: new Uint8Array(5), end: 5 });
  leaveSlab({ bytes: new Uint8Array(MIN_BLOCK_BYTES), end: 0 });
  assertEquals(takeSlab(0), undefined);
});

test("blocks: memory is one from 32 KiB on, at its start", () => {
  const large = new Uint8Array(MIN_BLOCK_BYTES);
  assertEquals(
    [large, large.subarray(0, 1), large.subarray(1), new Uint8Array(MIN_BLOCK_BYTES - 1)].map(isBlock),
    [true, true, false, false],
  );
});

test("blocks: no more than 8 MiB are kept, and the oldest go first", () => {
  const given = Array.from({ length: 20 }, () => lend(new Uint8Array(SIZE)));
  for (const block of given) giveBlock(block);
  const taken = new Set(given.map(() => takeBlock(SIZE).buffer));
  const kept = given.map(({ buffer }) => taken.has(buffer));
  assertEquals(kept.filter((is) => is).length, Math.floor(8 * 1_048_576 / SIZE));
  assertEquals(kept.indexOf(true), kept.length - 8);
});

test("blocks: one of more than 8 MiB is not kept, and drops no other", () => {
  const others = [1, 2, 3].map(() => lend(new Uint8Array(SIZE)));
  for (const block of others) giveBlock(block);
  const huge = lend(new Uint8Array(8 * 1_048_576 + 1));
  assertEquals(giveBlock(huge), true);
  assertNotStrictEquals(takeBlock(huge.length).buffer, huge.buffer);
  const taken = new Set(others.map(() => takeBlock(SIZE).buffer));
  assert(others.every(({ buffer }) => taken.has(buffer)));
});

test("blocks: what a writer hands over shares memory with nothing if it is large", () => {
  const writer = new Writer(16_384);
  const pieces = [10, 20, 40_000, 30, 70_000, 70_000, 5].map((length) => {
    writer.append(new Uint8Array(length).fill(length & 0xff));
    return writer.take();
  });
  for (const piece of pieces) assert(piece.every((byte) => byte === (piece.length & 0xff)));
  const large = pieces.filter(({ length }) => length > 32_768);
  for (const one of large) {
    assertEquals(one.byteOffset, BLOCK_HEAD_BYTES);
    assertEquals(pieces.filter(({ buffer }) => buffer === one.buffer).length, 1);
  }
});

test("blocks: a socket's memory is used again when the system has taken the bytes, and not if that failed", async () => {
  for (const error of [undefined, new Error("gone")]) {
    const written: Array<{ bytes: Uint8Array; tell: ((error?: Error | null) => void) | undefined }> = [];
    const socket = {
      writableLength: 0,
      destroyed: false,
      write: (bytes: Uint8Array, tell?: (error?: Error | null) => void) => written.push({ bytes, tell }) > 0,
      on() {},
      resume() {},
    };
    const channel = new SocketWebSocket(socket as unknown as Socket, openServer());
    const bytes = blockOf(65_000);
    channel.send(bytes);
    await Promise.resolve();
    const { bytes: piece, tell } = written[0]!;
    assertStrictEquals(piece.buffer, bytes.buffer);
    assertEquals(piece.subarray(4), new Uint8Array(65_000).fill(1));
    assert(!isSpare(piece));
    tell!(error);
    assertEquals(isSpare(piece), error === undefined);
  }
});

test("blocks: our own WebSocket copies what is no block, or has no room around it, and gives back the block that it copied", () => {
  const tight = blockOf(65_000);
  const close = lend(new Uint8Array(tight.buffer as ArrayBuffer, 0, 65_000));
  const cases: [bytes: Uint8Array, given: boolean][] = [
    [new Uint8Array(65_000).fill(1), false],
    [new Uint8Array(100_000).fill(1).subarray(16, 65_016), false],
    [close, true],
  ];
  for (const [bytes, given] of cases) {
    const endpoint = openServer();
    endpoint.sendBinary(bytes);
    const piece = endpoint.transmit()!;
    assertNotStrictEquals(piece.buffer, bytes.buffer);
    assertEquals(piece.subarray(4), bytes.slice());
    assertEquals(isSpare(bytes), given);
  }
});

test("blocks: a flush that leaves as it is, over TCP, is one that is used again when the system has taken it", () => {
  for (const error of [undefined, new Error("gone")]) {
    const tells: Array<((error?: Error | null) => void) | undefined> = [];
    const socket = {
      writableLength: 0,
      destroyed: false,
      write: (_: Uint8Array, tell?: (error?: Error | null) => void) => tells.push(tell) > 0,
      on() {},
      resume() {},
    };
    const channel = new StreamChannel(socket as unknown as Socket);
    const flush = lend(takeBlock(SIZE).subarray(0, SIZE - 5));
    channel.send(flush);
    assert(!isSpare(flush));
    tells[0]!(error);
    assertEquals(isSpare(flush), error === undefined);
    // The pool never takes the program's own memory.
    const own = new Uint8Array(SIZE);
    channel.send(own);
    tells[1]!();
    assert(!isSpare(own));
  }
});

test("blocks: a WebSocket that is not the platform's own may keep what it is given", () => {
  const socket = new FakeSocket();
  const channel = webSocketChannel(socket);
  const bytes = new Uint8Array(40_000);
  channel.send(bytes);
  assertEquals(channel.copied, false);
  assertStrictEquals(socket.sent[0], bytes);
});

test("blocks: what waits in a channel is not copied yet", () => {
  const sent: Uint8Array[] = [];
  let room = true;
  const send = (message: Uint8Array): boolean => sent.push(message) > 0 && room;
  const carrier = { copies: true, bufferedAmount: 0, send, close() {}, terminate() {} };
  const channel = new WebSocketChannel(carrier);
  const steps: Array<[act: () => void, copied: boolean, sent: number]> = [
    [() => channel.send(new Uint8Array(5)), false, 0],
    [() => channel.opened(), true, 1],
    [() => channel.send(new Uint8Array(100_000)), true, 3],
    [() => room = false, true, 3],
    [() => channel.send(new Uint8Array(100_000)), false, 4],
    [() => room = true, false, 4],
    [() => channel.drained(), true, 5],
  ];
  for (const [act, copied, count] of steps) {
    act();
    assertEquals([channel.copied, sent.length], [copied, count]);
  }
});

for (const carrier of ["our own WebSocket", "the runtime's WebSocket", "TCP", "TLS"]) {
  test(`blocks: large messages of many sizes, side by side, arrive as they were when they were sent, over ${carrier}`, async () => {
    const sizes = Array.from({ length: 120 }, (_, i) => 20_000 + (i * 7_919) % 120_000);
    const wrong: number[] = [];
    const check = (body: unknown): void => {
      if (!(body instanceof Uint8Array) || body.some((byte) => byte !== (body.length & 0xff))) wrong.push(1);
    };
    const endpoint = acceptor({
      onReceiver: (request) => request.accept({ credit: 64 }).serve(({ message }) => check(message.body)),
      onSender: async (request) => {
        await request.accept().sendAll(sizes.map((size) => ({ body: new Uint8Array(size).fill(size & 0xff) })));
      },
    });
    const ours = carrier !== "the runtime's WebSocket";
    const scheme = carrier === "TCP" ? "amqp" : carrier === "TLS" ? "amqps" : "ws";
    const { url, close } = ours
      ? await listening(endpoint, scheme)
      : await serve((channel) => endpoint.accept(channel));
    const connection = await connect(url, {
      transport: ours ? "socket" : "websocket",
      auth: anonymous(),
      ...(carrier === "TLS" && { tls: { ca } }),
    });
    const sender = connection.sender("up");
    for (let round = 0; round < 3; round++) {
      await Promise.all(sizes.map((size) => {
        const body = new Uint8Array(size).fill(size & 0xff);
        const sent = sender.send({ body });
        body.fill(0x55);
        return sent;
      }));
    }
    const held: unknown[] = [];
    const receiver = connection.receiver({ address: "down", credit: 64 });
    for await (const { message } of receiver) if (held.push(message.body) === sizes.length) break;
    for (const body of held) check(body);
    assertEquals(wrong, []);
    await connection.close();
    await endpoint.close();
    await close();
  });
}

async function listening(
  server: ReturnType<typeof acceptor>,
  scheme: string,
): Promise<{ url: string; close(): Promise<void> }> {
  const tls = scheme === "amqps" ? keyPair("server") : undefined;
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: server, tls });
  return { url: `${scheme}://localhost:${listener.port}`, close: () => listener.close() };
}
