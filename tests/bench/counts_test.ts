/**
 * Measurements that do not depend on the machine: the bytes on the wire for a thousand messages, and their copies.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { systemEnvironment } from "../../src/base/environment.ts";
import { AmqpError, TransportError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { FrameDecoder } from "../../src/codec/frame.ts";
import { decodeMessage, writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { anonymous, SaslClient } from "../../src/sasl/client.ts";
import type { SaslAuth } from "../../src/sasl/mechanism.ts";
import { type OpenOptions, openOver, publish } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { type Socket, StreamChannel } from "../../src/transport/socket/socket.ts";
import { test } from "../harness.ts";
import { transferFrame } from "./frames.ts";

const MESSAGES = 1_000;
const SMALL = 200;
const LARGE = 65_536;

/** The bytes and frames of one direction. */
class Wire {
  messages = 0;
  bytes = 0;
  largest = 0;
  readonly frames: Record<string, number> = {};

  count(bytes: Uint8Array): void {
    this.messages++;
    this.bytes += bytes.length;
    this.largest = Math.max(this.largest, bytes.length);
  }

  reset(): void {
    this.messages = this.bytes = this.largest = 0;
    for (const kind of Object.keys(this.frames)) delete this.frames[kind];
  }
}

interface Line {
  readonly connection: Connection;
  readonly up: Wire;
  readonly down: Wire;
  /** The number of turns in which the client waited for the server. */
  readonly turns: () => number;
}

/** A client and an acceptor that accepts messages and sends those asked for, over a counted line. */
function line(
  options: OpenOptions = {},
  sasl: SaslAuth | SaslClient = anonymous(),
  [near, far]: readonly [Channel, Channel] = channelPair(),
): Line {
  const up = new Wire();
  const down = new Wire();
  let turns = 0;
  let last: Wire | undefined;
  const counted = (channel: Channel, wire: Wire): Channel => {
    const send = channel.send.bind(channel);
    channel.send = (bytes) => {
      wire.count(bytes);
      if (wire === up && last !== up) turns++;
      last = wire;
      send(bytes);
    };
    return channel;
  };
  const server = acceptor({
    onReceiver: (request) => request.accept({ credit: MESSAGES }).serve(() => {}),
    onSender: async (request) => {
      const body = new Uint8Array(SMALL);
      await request.accept().sendAll(Array.from({ length: MESSAGES }, () => ({ body })));
    },
  });
  server.accept(counted(far, down));
  const trace = ({ direction, body }: FrameTrace): void => {
    const { frames } = direction === "out" ? up : down;
    if (body !== undefined) frames[body.kind] = (frames[body.kind] ?? 0) + 1;
  };
  const connection = openOver(counted(near, up), sasl, { trace, ...options });
  return { connection, up, down, turns: () => turns };
}

/** The allocations of a piece of work, on both sides of a line. */
interface Work {
  /** Bytes copied from one array into another. */
  copied: number;
  /** Arrays of bytes and views of them. */
  arrays: number;
  /** Promises, except those of async functions and of `then`. */
  promises: number;
  /** Entries of maps and sets. */
  entries: number;
}

async function workOf(run: () => Promise<void>): Promise<Work> {
  const work: Work = { copied: 0, arrays: 0, promises: 0, entries: 0 };
  const undo: Array<() => void> = [];
  const patch = (holder: object, name: string, count: (self: never, args: never[]) => void): void => {
    const method = Reflect.get(holder, name);
    Reflect.set(holder, name, function (this: never, ...args: never[]): unknown {
      count(this, args);
      return Reflect.apply(method, this, args);
    });
    undo.push(() => void Reflect.set(holder, name, method));
  };
  const construct = (name: "Uint8Array" | "Promise", kind: "arrays" | "promises"): void => {
    const original = globalThis[name];
    const counting: typeof original = new Proxy(original, {
      construct(target, args, of): object {
        work[kind]++;
        return Reflect.construct(target, args, of === counting ? target : of);
      },
    });
    Reflect.set(globalThis, name, counting);
    undo.push(() => void Reflect.set(globalThis, name, original));
  };
  const bytes = Object.getPrototypeOf(Uint8Array.prototype);
  patch(bytes, "set", (_, [source]: { length: number }[]) => work.copied += source!.length);
  patch(bytes, "slice", (self: Uint8Array) => {
    work.copied += self.length;
    work.arrays++;
  });
  patch(bytes, "copyWithin", (self: Uint8Array, [, from = 0, to = self.length]: number[]) => work.copied += to - from);
  patch(bytes, "subarray", () => work.arrays++);
  patch(Map.prototype, "set", () => work.entries++);
  patch(Set.prototype, "add", () => work.entries++);
  construct("Uint8Array", "arrays");
  construct("Promise", "promises");
  try {
    await run();
  } finally {
    for (const restore of undo) restore();
  }
  return work;
}

/** One end of a socket whose other end is in the same process; a write arrives, and is done, in a microtask. */
class JoinedSocket implements Socket {
  readonly writableLength = 0;
  destroyed = false;
  allowHalfOpen = true;
  writes = 0;
  other!: JoinedSocket;
  #ended = false;
  readonly #listeners: Record<string, Array<(told: never) => void>> = {};

  write(bytes: Uint8Array, written?: () => void): boolean {
    this.writes++;
    const copy = bytes.slice();
    queueMicrotask(() => {
      this.other.emit("data", copy);
      written?.();
    });
    return true;
  }

  end(): void {
    this.#ended = true;
    queueMicrotask(() => {
      this.other.emit("end");
      if (this.other.#ended) { for (const one of [this, this.other]) one.destroy(); }
    });
  }

  destroy(): void {
    if (!this.destroyed) this.emit("close");
    this.destroyed = true;
  }

  on(event: string, listener: (told: never) => void): void {
    (this.#listeners[event] ??= []).push(listener);
  }

  emit(event: string, bytes?: Uint8Array): void {
    for (const listener of this.#listeners[event] ?? []) listener(bytes as never);
  }

  pause(): void {}
  resume(): void {}
  unshift(): void {}
  off(): void {}
}

/** A line over two joined sockets; `end` closes it, and lets the turn pass that a channel leaves for answers to its end. */
function socketLine(): { connection: Connection; near: JoinedSocket; far: JoinedSocket; end(): Promise<void> } {
  const [near, far] = [new JoinedSocket(), new JoinedSocket()];
  near.other = far;
  far.other = near;
  const { connection } = line({}, anonymous(), [new StreamChannel(near), new StreamChannel(far)]);
  const end = async (): Promise<void> => {
    await connection.close();
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { connection, near, far, end };
}

test("bench: 1,000 sends over a socket are as few writes as hold them, and so are their outcomes", async () => {
  const { connection, near, far, end } = socketLine();
  const sender = connection.sender("sink");
  await sender.ready();
  near.writes = far.writes = 0;
  const body = new Uint8Array(SMALL);
  await Promise.all(Array.from({ length: MESSAGES }, () => sender.send({ body })));
  const most = Math.ceil(MESSAGES * (SMALL + 40) / 65_535) + 1;
  assert(near.writes <= most, `${near.writes} writes`);
  assert(far.writes <= most, `${far.writes} writes of answers`);
  await end();
});

test("bench: 1,000 deliveries over a socket, accepted one by one, are a handful of writes", async () => {
  const { connection, near, far, end } = socketLine();
  let received = 0;
  for await (const _ of connection.receiver({ address: "source", credit: 100 })) {
    if (++received === MESSAGES) break;
  }
  assert(near.writes <= 2 * MESSAGES / 100 + 10, `${near.writes} writes`);
  assert(far.writes <= 2 * MESSAGES / 100 + 10, `${far.writes} writes of messages`);
  await end();
});

test("bench: a message sent is copied twice, and costs one promise and no entry of a map", async () => {
  const { connection } = line();
  const sender = connection.sender("sink");
  await sender.ready();
  const body = new Uint8Array(SMALL);
  const work = await workOf(async () => {
    await Promise.all(Array.from({ length: MESSAGES }, () => sender.send({ body })));
  });
  await connection.close();
  // Its body into the message, and the message into the flush, which is moved as it grows, the more often the less was spare.
  assert(work.copied <= 2.5 * MESSAGES * SMALL, `${work.copied} bytes copied`);
  // The view of the message; of the other side the payload and the body.
  assert(work.arrays <= 3.1 * MESSAGES, `${work.arrays} arrays`);
  // The outcome's promise and, on the other side, the handler's.
  assert(work.promises <= 2.05 * MESSAGES, `${work.promises} promises`);
  assert(work.entries <= MESSAGES / 20, `${work.entries} entries`);
});

test("bench: a message received in one piece is not copied, and costs one promise and no entry of a map", async () => {
  const { connection } = line();
  const receiver = connection.receiver({ address: "source", credit: 100 });
  await receiver.ready();
  let received = 0;
  const work = await workOf(async () => {
    for await (const { message } of receiver.values({ preventCancel: true })) {
      if (message.bytes().length !== SMALL || ++received === MESSAGES) break;
    }
  });
  await connection.close();
  assertEquals(received, MESSAGES);
  // By the sender, as above.
  assert(work.copied <= 2.5 * MESSAGES * SMALL, `${work.copied} bytes copied`);
  // The payload and the body; of the sender the message; and for each piece that arrives one for the tags in it.
  assert(work.arrays <= 3.9 * MESSAGES, `${work.arrays} arrays`);
  // The promise that the loop returns.
  assert(work.promises <= 1.1 * MESSAGES, `${work.promises} promises`);
  assert(work.entries <= MESSAGES / 20, `${work.entries} entries`);
});

test("bench: a body of 64 KiB is copied twice, into memory that is used again over a socket", async () => {
  const { connection, near, end } = socketLine();
  const sender = connection.sender("sink");
  const body = new Uint8Array(LARGE);
  const round = async (): Promise<void> =>
    void await Promise.all(Array.from({ length: 10 }, () => sender.send({ body })));
  await round();
  const blocks = new Set<ArrayBufferLike>();
  const write = near.write.bind(near);
  near.write = (bytes, written) => {
    blocks.add(bytes.buffer);
    return write(bytes, written);
  };
  const work = await workOf(async () => {
    for (let i = 0; i < 10; i++) await round();
  });
  await end();
  // The slice is the socket's own.
  assert(work.copied <= 100 * 3.05 * LARGE, `${work.copied} bytes copied`);
  assert(blocks.size <= 25, `${blocks.size} blocks for 100 bodies`);
});

test("bench: 1,000 sends leave in as few WebSocket messages as hold them", async () => {
  const { connection, up, down } = line();
  const sender = connection.sender("sink");
  await sender.ready();
  up.reset();
  down.reset();
  const body = new Uint8Array(SMALL);
  await Promise.all(Array.from({ length: MESSAGES }, () => sender.send({ body })));
  assertEquals(up.frames, { transfer: MESSAGES });
  // 200 bytes, and 28 for the frame, the performative and the section.
  assert(up.bytes <= MESSAGES * (SMALL + 40), `${up.bytes} bytes`);
  assert(up.messages <= Math.ceil(up.bytes / 65_535) + 1, `${up.messages} WebSocket messages`);
  assert(up.largest <= 65_535, `${up.largest} bytes in one`);
  // At most one for each received WebSocket message.
  assert(down.frames.disposition! <= up.messages, `${down.frames.disposition} dispositions`);
  assert(down.messages <= up.messages + 1, `${down.messages} answers`);
  await connection.close();
});

test("bench: 1,000 deliveries, accepted one by one, cost a handful of dispositions and flows", async () => {
  const { connection, up, down } = line();
  let received = 0;
  for await (const _ of connection.receiver({ address: "source", credit: 100 })) {
    if (++received === MESSAGES) break;
  }
  await connection.close();
  assertEquals(down.frames.transfer, MESSAGES);
  // One for each half of the credit, and those that open the link.
  assert(up.frames.flow! <= 2 * MESSAGES / 100 + 2, `${up.frames.flow} flows`);
  assert(up.frames.disposition! <= 2 * MESSAGES / 100 + 2, `${up.frames.disposition} dispositions`);
  assert(up.messages <= 2 * MESSAGES / 100 + 10, `${up.messages} WebSocket messages`);
});

test("bench: 1,000 messages that come alone are waited for without a set, and cut no array", async () => {
  const { connection } = line();
  const sender = connection.sender("sink");
  await sender.ready();
  const { add } = Set.prototype;
  const { splice } = Array.prototype;
  let cuts = 0;
  let entries = 0;
  try {
    Set.prototype.add = function (value): Set<unknown> {
      entries++;
      return add.call(this, value);
    };
    Array.prototype.splice = function (...args: [number, number]): unknown[] {
      cuts++;
      return splice.apply(this, args);
    };
    for (let i = 0; i < MESSAGES; i++) await sender.send({ body: "one" });
  } finally {
    Set.prototype.add = add;
    Array.prototype.splice = splice;
  }
  await connection.close();
  // Only the link that has something to write.
  assert(entries <= MESSAGES + 20, `${entries} entries`);
  assert(cuts <= 20, `${cuts} cuts`);
});

test("bench: 1,000 messages through a broker put no text together and copy no tag", async () => {
  await using broker = new Broker();
  await using connection = await broker.connect();
  const sender = connection.sender("orders");
  const receiver = connection.receiver({ address: "orders", credit: 100 });
  await Promise.all([sender.ready(), receiver.ready()]);
  const { replace } = String.prototype;
  let texts = 0;
  let tags = 0;
  try {
    String.prototype.replace = function (...args: [never, never]): string {
      texts++;
      return replace.apply(this, args);
    };
    Uint8Array.of = (...bytes: number[]): Uint8Array<ArrayBuffer> => {
      tags++;
      return new Uint8Array(bytes);
    };
    const body = new Uint8Array(SMALL);
    const sent = Promise.all(Array.from({ length: MESSAGES }, () => sender.send({ body })));
    for (let i = 0; i < MESSAGES; i++) (await receiver.receive()).accept();
    await sent;
  } finally {
    String.prototype.replace = replace;
    delete (Uint8Array as { of?: unknown }).of;
  }
  assert(texts <= 20, `${texts} texts`);
  assert(tags <= 20, `${tags} tags`);
});

test("bench: a body of 64 KiB is one transfer, which the receiver has to put together but once", async () => {
  const { connection, up } = line();
  const sender = connection.sender("sink");
  await sender.ready();
  up.reset();
  const body = new Uint8Array(LARGE);
  await Promise.all(Array.from({ length: 10 }, () => sender.send({ body })));
  assertEquals(up.frames, { transfer: 10 });
  assertEquals(up.messages, 10);
  assert(up.largest <= LARGE + 72, `${up.largest} bytes in one`);
  await connection.close();
});

test("bench: a first message has its outcome after four turns, two of them for SASL", async () => {
  const seen: number[] = [];
  for (const pipelined of [false, true]) {
    const sasl = new SaslClient(anonymous(), { hostname: undefined, secure: true });
    const { connection, turns } = line(pipelined ? { saslInit: await sasl.begin() } : {}, sasl);
    await connection.sender("sink").send({ body: "one" });
    seen.push(turns());
    await connection.close();
  }
  // SASL's header, its init, the open, the message; before SASL's outcome the first three leave together.
  assertEquals(seen, [4, 2]);
});

test("bench: a connection that sends a message and ends in order makes no error", async () => {
  const made: string[] = [];
  class Counted extends Error {
    constructor(message?: string, options?: ErrorOptions) {
      super(message, options);
      // Entries of the other side do not count.
      if (!message!.includes("receiver of")) made.push(message!);
    }
  }
  try {
    for (const kind of [AmqpError, TransportError]) Object.setPrototypeOf(kind, Counted);
    const { connection } = line();
    await connection.sender("sink").send({ body: "one" });
    await connection.close();
    await connection.closed;
    const [near, far] = channelPair();
    const server = acceptor({ onReceiver: (request) => request.accept().serve(() => {}) });
    server.accept(far);
    await publish("ws://localhost", "sink", { body: "one" }, { dial: () => near });
  } finally {
    for (const kind of [AmqpError, TransportError]) Object.setPrototypeOf(kind, Error);
  }
  assertEquals(made, []);
});

test("bench: a fresh connection that publishes writes to memory that earlier ones left, and listens to its signal once", async () => {
  const server = acceptor({ onReceiver: (request) => request.accept().serve(() => {}) });
  const listened: EventTarget[] = [];
  const { addEventListener } = EventTarget.prototype;
  const send = async (): Promise<void> => {
    const [near, far] = channelPair();
    server.accept(far);
    const { signal } = new AbortController();
    const written = new Set<ArrayBufferLike>();
    const sent = near.send.bind(near);
    near.send = (bytes) => {
      written.add(bytes.buffer);
      sent(bytes);
    };
    await publish("ws://localhost", "sink", { body: "one" }, { dial: () => near, signal, auth: anonymous() });
    blocks.push(written);
  };
  const blocks: Set<ArrayBufferLike>[] = [];
  for (let i = 0; i < 4; i++) await send();
  try {
    EventTarget.prototype.addEventListener = function (
      this: EventTarget,
      ...given: Parameters<typeof addEventListener>
    ) {
      if (given[0] === "abort") listened.push(this);
      return addEventListener.apply(this, given);
    };
    const work = await workOf(send);
    // Both sides together.
    assert(work.arrays <= 44, `${work.arrays} arrays`);
    assert(work.promises <= 28, `${work.promises} promises`);
  } finally {
    EventTarget.prototype.addEventListener = addEventListener;
  }
  // The caller's signal, and the one that ends all attempts.
  assertEquals(listened.length, 2);
  const before = new Set(blocks.slice(0, -1).flatMap((one) => [...one]));
  for (const block of blocks.at(-1)!) assert(before.has(block), `${block.byteLength} bytes are new`);
});

test("bench: 1,000 encoded messages share a few blocks of memory", () => {
  const writer = new Writer(16_384);
  const blocks = new Set<ArrayBuffer>();
  let bytes = 0;
  for (let i = 0; i < MESSAGES; i++) {
    writeMessage({ body: new Uint8Array(SMALL) }, writer);
    const message = writer.take();
    blocks.add(message.buffer);
    bytes += message.length;
  }
  assert(blocks.size <= Math.ceil(bytes / 16_384) + 1, `${blocks.size} blocks for ${bytes} bytes`);
});

test("bench: 1,000 writers that have nothing to write share a few blocks of memory, and write over nothing", () => {
  const writers = Array.from({ length: MESSAGES }, () => new Writer(512));
  const blocks = new Set<ArrayBuffer>();
  const taken: Uint8Array<ArrayBuffer>[] = [];
  for (const [i, writer] of writers.entries()) {
    writer.u32(i);
    // A writer that is not released keeps its memory.
    writer.release();
    if (i === 500) continue;
    taken[i] = writer.take();
    writer.release();
    blocks.add(taken[i].buffer);
  }
  writers[500]!.u32(500);
  taken[500] = writers[500]!.take().subarray(4);
  assert(blocks.size <= 4 * MESSAGES / 512 + 2, `${blocks.size} blocks`);
  for (const [i, bytes] of taken.entries()) assertEquals(bytes, Uint8Array.of(0, 0, i >>> 8, i));
});

test("bench: what arrives in whole frames is not copied", () => {
  const arrived = transferFrame(100);
  const decoder = new FrameDecoder({ maxFrameSize: LARGE });
  decoder.push(arrived);
  for (let i = 0; i < 100; i++) assertEquals(decoder.frame()!.payload!.buffer === arrived.buffer, true);
});

test("bench: a decoded message makes one view of its bytes, that of its body", () => {
  const writer = new Writer();
  writeMessage({ header: { durable: true }, properties: { to: "orders" }, body: new Uint8Array(SMALL) }, writer);
  const bytes = writer.take();
  let views = 0;
  bytes.subarray = (start, end) => {
    views++;
    return Uint8Array.prototype.subarray.call(bytes, start, end) as Uint8Array<ArrayBuffer>;
  };
  const message = decodeMessage(bytes);
  assertEquals([views, message.bytes().length], [1, SMALL]);
  assertEquals([message.bare.length, views], [SMALL + 21, 2]);
});

test("bench: 1,000 messages through a broker read the clock a few times, and pass consumers without a set", async () => {
  let looks = 0;
  const now = (): number => {
    looks++;
    return systemEnvironment.now();
  };
  await using broker = new Broker({ environment: { ...systemEnvironment, now } });
  await using connection = await broker.connect();
  const sender = connection.sender("orders");
  const receivers = Array.from({ length: 4 }, () => connection.receiver({ address: "orders", credit: MESSAGES }));
  await Promise.all([sender.ready(), ...receivers.map((receiver) => receiver.ready())]);
  const { add } = Set.prototype;
  let entries = 0;
  looks = 0;
  try {
    Set.prototype.add = function (value): Set<unknown> {
      entries++;
      return add.call(this, value);
    };
    const body = new Uint8Array(SMALL);
    await Promise.all(Array.from({ length: MESSAGES }, () => sender.send({ body })));
  } finally {
    Set.prototype.add = add;
  }
  assert(looks <= MESSAGES / 10, `${looks} looks at the clock`);
  // Links that have something to write, and take turns.
  assert(entries <= 2.2 * MESSAGES, `${entries} entries`);
});
