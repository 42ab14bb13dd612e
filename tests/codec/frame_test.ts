import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLessOrEqual,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { concat } from "@std/bytes";
import { encodeComposite } from "../../src/codec/composite.ts";
import { beginFrame, endFrame, type Frame, FrameDecoder, protocolHeader } from "../../src/codec/frame.ts";
import type { Composite, Performative, Transfer } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { random, seed, test } from "../harness.ts";
import { amidst, assertAmqpError, compact, sized, wire, written } from "./bytes.ts";
import { sample } from "./samples.ts";

const performatives = ["open", "begin", "attach", "flow", "transfer", "disposition", "detach", "end", "close"] as const;
const saslBodies = ["saslMechanisms", "saslInit", "saslChallenge", "saslResponse", "saslOutcome"] as const;

function frameOf(type: 0 | 1, channel: number, body?: Composite, payload?: Uint8Array): Uint8Array {
  const writer = new Writer();
  const start = beginFrame(writer, type, channel);
  if (body !== undefined) encodeComposite(writer, body);
  if (payload !== undefined) writer.append(payload);
  endFrame(writer, start);
  return writer.take();
}

function decoderOf(...pieces: Uint8Array[]): FrameDecoder {
  const decoder = new FrameDecoder({ maxFrameSize: 65536 });
  for (const piece of pieces) decoder.push(piece);
  return decoder;
}

function framesOf(decoder: FrameDecoder): Frame[] {
  const frames: Frame[] = [];
  for (let frame = decoder.frame(); frame !== undefined; frame = decoder.frame()) frames.push(frame);
  return frames;
}

function assertRefused(
  hex: string,
  includes: string,
  symbol: string = condition.framingError,
  maxFrameSize = 512,
): void {
  const decoder = new FrameDecoder({ maxFrameSize });
  decoder.push(wire(hex));
  const error = assertAmqpError(() => decoder.frame(), includes, symbol);
  assertEquals(error.scope, "connection");
}

test("FRM-1: the three protocol headers, both ways", () => {
  for (const [id, hex] of [[0, "414d515000010000"], [2, "414d515002010000"], [3, "414d515003010000"]] as const) {
    assertEquals(written((writer) => writer.append(protocolHeader(id))), hex);
    assertEquals(decoderOf(wire(hex)).header(), { id, major: 1, minor: 0, revision: 0 });
  }
});

test("FRM-1: a header that arrives byte by byte, with frames behind it", () => {
  const frame = frameOf(0, 0, { kind: "open", containerId: "c" });
  const decoder = decoderOf();
  for (const byte of protocolHeader(3)) {
    assertEquals(decoder.header(), undefined);
    decoder.push(Uint8Array.of(byte));
  }
  assertEquals(decoder.buffered, 8);
  decoder.push(frame);
  assertEquals(decoder.header()?.id, 3);
  assertEquals(decoder.buffered, frame.length);
  assertEquals(decoder.frame()?.body?.kind, "open");
  assertEquals(decoder.buffered, 0);
});

test("FRM-3 FRM-4: an unknown version is handed over, for the error must carry it", () => {
  assertEquals(decoderOf(wire("414d515001090807")).header(), { id: 1, major: 9, minor: 8, revision: 7 });
});

test("FRM-1 FRM-4: what is no header is refused as soon as that is clear, and shown", () => {
  for (let length = 1; length <= 8; length++) {
    const bytes = new TextEncoder().encode("HTTP/1.1").subarray(0, length);
    const shown = `0x${compact("48 54 54 50 2f 31 2e 31").slice(0, 2 * length)} does not begin with "AMQP"`;
    const message = `Cannot decode protocol header: ${shown}`;
    assertAmqpError(() => decoderOf(amidst(bytes)).header(), message, condition.framingError);
  }
  const speakers: [string, string][] = [
    ["48 54 54 50 2f 31 2e 31", "it is HTTP"],
    ["15 03 03 00 02 02 50", "it is TLS"],
    ["16 03 01 01 ed 01 00 01", "it is TLS"],
    ["00 00 01 83 01 41 63 74", "it is OpenWire"],
  ];
  for (const [bytes, who] of speakers) {
    assertAmqpError(
      () => decoderOf(wire(bytes)).header(),
      `does not begin with "AMQP", ${who}`,
      condition.framingError,
    );
  }
  const error = assertThrows(() => decoderOf(wire("41 4d 51 41")).header(), AmqpError);
  assertEquals(error.scope, "connection");
  assertEquals(decoderOf(wire("41 4d 51")).header(), undefined);
});

test("FRM-6: a frame's header, both ways", () => {
  assertEquals(
    written((writer) => writer.append(frameOf(0, 0x1234, { kind: "end" }))),
    compact("00 00 00 0c 02 00 12 34 00 53 17 45"),
  );
  assertEquals(
    written((writer) => writer.append(frameOf(1, 0, { kind: "saslChallenge", challenge: new Uint8Array(0) }))),
    compact("00 00 00 10 02 01 00 00 00 53 42 c0 03 01 a0 00"),
  );
  const frame = decoderOf(wire("00 00 00 0c 02 00 12 34 00 53 17 45")).frame();
  assertEquals(frame, { type: 0, channel: 0x1234, body: { kind: "end" }, payload: undefined, size: 12 });
});

test("FRM-6: an extended header is skipped", () => {
  const [frame] = framesOf(decoderOf(wire("00 00 00 14 04 00 00 01 de ad be ef de ad be ef 00 53 17 45")));
  assertEquals([frame.channel, frame.body, frame.size], [1, { kind: "end" }, 20]);
  const [empty] = framesOf(decoderOf(wire("00 00 00 0c 03 00 00 00 de ad be ef")));
  assertEquals([empty.body, empty.size], [undefined, 12]);
});

test("FRM-6: a size or offset that cannot be is a framing error", () => {
  assertRefused("00 00 00 00", "Cannot decode frame: a size of 0 is below 8");
  assertRefused("00 00 00 07 02 00 00 00", "a size of 7 is below 8");
  assertRefused("00 00 00 0c 01 00 00 00 00 53 17 45", "a data offset of 4 does not fit into a size of 12");
  assertRefused("00 00 00 0c 00 00 00 00 00 53 17 45", "a data offset of 0 does not fit into a size of 12");
  assertRefused("00 00 00 0c 04 00 00 00 00 53 17 45", "a data offset of 16 does not fit into a size of 12");
  assertRefused("00 00 00 0c ff 00 00 00 00 53 17 45", "a data offset of 1020 does not fit into a size of 12");
});

test("FRM-7 ATK-6: a size above the limit is refused with the first four bytes, before anything is gathered", () => {
  assertRefused("00 00 02 01", "a size of 513 is above the maximum of 512");
  assertRefused("ff ff ff ff", "a size of 4294967295 is above the maximum of 512");
  const decoder = new FrameDecoder({ maxFrameSize: 512 });
  for (const byte of wire("00 00 02")) {
    decoder.push(Uint8Array.of(byte));
    assertEquals(decoder.frame(), undefined);
  }
  decoder.push(Uint8Array.of(1));
  assertAmqpError(() => decoder.frame(), "a size of 513", condition.framingError);
  assertAmqpError(() => decoder.frame(), "a size of 513", condition.framingError);
  decoder.maxFrameSize = 600;
  assertEquals(decoder.frame(), undefined);
});

/** The lengths of the arrays that `work` makes by their length. */
function lengthsMade(work: () => void): number[] {
  const lengths: number[] = [];
  const Original = globalThis.Uint8Array;
  class Counting extends Original {
    constructor(...args: [number]) {
      super(...args);
      if (typeof args[0] === "number") lengths.push(args[0]);
    }
  }
  globalThis.Uint8Array = Counting as unknown as Uint8ArrayConstructor;
  try {
    work();
  } finally {
    globalThis.Uint8Array = Original;
  }
  return lengths;
}

test("ATK-6: memory for a frame in pieces grows with what has arrived", () => {
  const decoder = new FrameDecoder({ maxFrameSize: 0xffffffff });
  const pieces = [wire("ff ff ff f0 02 00 00 00"), ...Array.from({ length: 500 }, () => new Uint8Array(100))];
  const lengths = lengthsMade(() => {
    for (const piece of pieces) {
      decoder.push(piece);
      assertEquals(decoder.frame(), undefined);
    }
  });
  assertEquals(decoder.buffered, 50_008);
  assert(lengths.length > 0);
  assertLessOrEqual(Math.max(...lengths), 2 * 50_008);
});

test("a frame up to 128 KiB takes all of its memory with 16 KiB of it, and twice what has arrived with less", () => {
  for (const [cut, size, made] of [[20_000, 131_072, 1], [16_383, 131_072, 2], [20_000, 131_073, 2]] as const) {
    const frame = frameOf(0, 0, { kind: "transfer", handle: 0 }, new Uint8Array(size - 15).fill(7));
    assertEquals(frame.length, size);
    const decoder = new FrameDecoder({ maxFrameSize: size });
    const lengths = lengthsMade(() => {
      decoder.push(frame.subarray(0, cut));
      assertEquals(decoder.frame(), undefined);
      decoder.push(frame.subarray(cut));
      assertEquals(decoder.frame()!.size, size);
    });
    // The first four bytes, which tell the size, have an array of their own.
    assertEquals(lengths.slice(1), made === 1 ? [size] : [2 * cut, size]);
  }
});

test("a frame that most of an owned piece begins is put together in the memory of that piece, moved", () => {
  const frame = frameOf(0, 0, { kind: "transfer", handle: 0 }, new Uint8Array(60_000).fill(7));
  const [begin, end] = [frame.slice(0, 59_000), frame.slice(59_000)];
  const decoder = new FrameDecoder({ maxFrameSize: frame.length, owned: true });
  decoder.push(begin);
  assertEquals([decoder.frame(), begin.length, decoder.buffered], [undefined, 0, 59_000]);
  decoder.push(end);
  const { payload } = decoder.frame()!;
  assertEquals(payload, new Uint8Array(60_000).fill(7));
  assertEquals([payload!.buffer.byteLength, decoder.buffered], [frame.length, 0]);
});

test("a piece stays where it is if it is not owned, has other bytes in its memory, is small, or cannot be moved", () => {
  const frame = frameOf(0, 0, { kind: "transfer", handle: 0 }, new Uint8Array(80_000).fill(7));
  const unmovable = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer);
  unmovable.set(frame.subarray(0, unmovable.length));
  const cases: [Uint8Array, boolean][] = [
    [frame.slice(0, 60_000), false],
    [frame.slice(0, 60_001).subarray(0, 60_000), true],
    // The announced size alone takes no memory.
    [frame.slice(0, 39_000), true],
    [frame.slice(0, 10_000), true],
    [unmovable, true],
  ];
  for (const [piece, owned] of cases) {
    const { length } = piece;
    const decoder = new FrameDecoder({ maxFrameSize: frame.length, owned });
    decoder.push(piece);
    assertEquals([decoder.frame(), piece.length], [undefined, length]);
    decoder.push(frame.slice(length));
    assertEquals(decoder.frame()!.payload, new Uint8Array(80_000).fill(7));
  }
});

test("frames are the same from pieces of any size, owned or not, and those before them stay as they were", () => {
  const source = random(seed());
  for (let round = 0; round < 100; round++) {
    const sizes = Array.from(
      { length: 1 + source.int(5) },
      () => source.pick([0, 100, 20_000, 65_536]) + source.int(50),
    );
    const frames = sizes.map((size, i) =>
      frameOf(0, 0, { kind: "transfer", handle: i, deliveryTag: source.bytes(4) }, source.bytes(size))
    );
    const stream = concat(frames);
    const [plain, owned] = [false, true].map((owned) => {
      const cuts = random(round);
      const decoder = new FrameDecoder({ maxFrameSize: 0xffffffff, owned });
      const decoded: Frame[] = [];
      for (let at = 0; at < stream.length;) {
        const piece = stream.slice(at, at += cuts.pick([1, 5_000, 65_535]) + cuts.int(20_000));
        decoder.push(piece);
        decoded.push(...framesOf(decoder));
      }
      return decoded;
    });
    assertEquals(plain!.length, sizes.length);
    assertEquals(owned, plain);
  }
});

test("FRM-7: a frame of exactly the limit is accepted, in one piece and in many", () => {
  const frame = frameOf(0, 0, { kind: "transfer", handle: 0 }, new Uint8Array(1000));
  const decoder = new FrameDecoder({ maxFrameSize: frame.length });
  decoder.push(frame);
  assertEquals(decoder.frame()?.size, frame.length);
  for (const byte of frame) decoder.push(Uint8Array.of(byte));
  assertEquals(decoder.frame()?.size, frame.length);
});

test("FRM-8: an unknown type of frame is a framing error", () => {
  assertRefused("00 00 00 08 02 02 00 00", "0x02 is not a type of frame");
  assertRefused("00 00 00 0c 02 ff 00 00 00 53 17 45", "0xff is not a type of frame");
});

test("FRM-8 SASL-1: a frame's body belongs to its type", () => {
  for (const kind of saslBodies) {
    const [frame] = framesOf(decoderOf(frameOf(1, 0, sample(kind))));
    assertEquals([frame.type, frame.channel, frame.body], [1, 0, sample(kind)]);
    assertAmqpError(() => decoderOf(frameOf(0, 0, sample(kind))).frame(), "not that of a known frame");
  }
  for (const kind of performatives) {
    const [frame] = framesOf(decoderOf(frameOf(0, 9, sample(kind))));
    assertEquals([frame.type, frame.channel, frame.body as Performative], [0, 9, sample(kind)]);
    assertAmqpError(() => decoderOf(frameOf(1, 0, sample(kind))).frame(), "not that of a known saslFrame");
  }
  assertRefused("00 00 00 0c 02 00 00 00 00 53 24 45", "not that of a known frame", condition.decodeError);
});

test("SASL-1: what stands in place of a channel is ignored in a SASL frame", () => {
  const frame = decoderOf(wire("00 00 00 10 02 01 12 34 00 53 42 c0 03 01 a0 00")).frame();
  assertEquals(frame?.channel, 0);
});

test("FRM-9: what follows a transfer is its payload, what follows anything else is an error", () => {
  const transfer = frameOf(0, 1, { kind: "transfer", handle: 0 }, Uint8Array.of(1, 2, 3));
  assertEquals(decoderOf(transfer).frame()?.payload, Uint8Array.of(1, 2, 3));
  assertEquals(decoderOf(frameOf(0, 1, { kind: "transfer", handle: 0 })).frame()?.payload, new Uint8Array(0));
  for (const kind of performatives) {
    if (kind === "transfer") continue;
    const frame = frameOf(0, 0, sample(kind), Uint8Array.of(0));
    assertAmqpError(() => decoderOf(frame).frame(), `Cannot decode frame: 1 bytes follow the ${kind}`);
  }
});

test("FRM-9: a body that its frame cuts short does not read on into the next frame", () => {
  const open = frameOf(0, 0, { kind: "open", containerId: "container" });
  const cut = open.slice();
  cut[3] -= 3;
  const decoder = decoderOf(concat([cut, open]));
  assertAmqpError(() => decoder.frame(), "Cannot decode open: a size of 12 is beyond the 9 bytes that remain");
});

test("FRM-9: after a body that cannot be decoded comes the next frame", () => {
  const bad = wire("00 00 00 0c 02 00 00 00 00 53 10 45");
  const good = frameOf(0, 3, { kind: "close" });
  const decoder = decoderOf(concat([bad, good]));
  assertAmqpError(() => decoder.frame(), 'Cannot decode open: field "containerId" is mandatory');
  assertEquals(decoder.frame()?.body, { kind: "close" });
  assertEquals(decoder.frame(), undefined);
});

test("FRM-10: an empty frame has no body", () => {
  const frame = decoderOf(wire("00 00 00 08 02 00 00 07")).frame();
  assertEquals(frame, { type: 0, channel: 7, body: undefined, payload: undefined, size: 8 });
  assertEquals(written((writer) => endFrame(writer, beginFrame(writer, 0, 0))), compact("00 00 00 08 02 00 00 00"));
});

/** A stream with a frame of every kind, and its decoded frames. */
function everything(): { stream: Uint8Array; frames: Frame[] } {
  const pieces = performatives.map((kind, i) => {
    return frameOf(0, i, sample(kind), kind === "transfer" ? Uint8Array.of(5, 6, 7) : undefined);
  });
  pieces.push(frameOf(0, 0), ...saslBodies.map((kind) => frameOf(1, 0, sample(kind))));
  const stream = concat(pieces);
  const frames = framesOf(decoderOf(amidst(stream)));
  assertEquals(frames.length, pieces.length);
  assertEquals(frames.map((frame) => frame.size), pieces.map((piece) => piece.length));
  return { stream, frames };
}

test("FRM-6 ATK-33: a stream cut at any byte gives the same frames", () => {
  const { stream, frames } = everything();
  for (let cut = 0; cut <= stream.length; cut++) {
    const decoder = decoderOf(amidst(stream.subarray(0, cut)));
    const before = framesOf(decoder);
    decoder.push(amidst(stream.subarray(cut)));
    assertEquals([...before, ...framesOf(decoder)], frames);
    assertEquals(decoder.buffered, 0);
  }
});

test("FRM-6 ATK-33: a stream cut into pieces of any size gives the same frames", () => {
  const { stream, frames } = everything();
  for (const size of [1, 2, 3, 5, 7, 8, 13, 64, 100]) {
    const decoder = decoderOf();
    const seen: Frame[] = [];
    for (let at = 0; at < stream.length; at += size) {
      decoder.push(amidst(stream.subarray(at, at + size)));
      decoder.push(new Uint8Array(0));
      seen.push(...framesOf(decoder));
    }
    assertEquals(seen, frames);
    // All pieces at once.
    const pieces = Array.from(
      { length: Math.ceil(stream.length / size) },
      (_, i) => stream.subarray(i * size, (i + 1) * size),
    );
    assertEquals(framesOf(decoderOf(...pieces)), frames);
  }
});

test("ATK-27: a character that is cut by a limit of frames is refused, not joined with what follows", () => {
  // The rest of the character would be in the next frame.
  const decoder = decoderOf(wire("00 00 00 12 02 00 00 00 00 53 10 c0 05 01 a1 02 e2 82 ac 00 00 08 02 00 00 00"));
  assertAmqpError(() => decoder.frame(), "a string is not UTF-8");
});

test("FRM-9: a payload is a view of what was pushed if the frame lay in one piece", () => {
  const bytes = amidst(
    frameOf(0, 0, { kind: "transfer", handle: 0, deliveryTag: Uint8Array.of(9) }, Uint8Array.of(1, 2)),
  );
  const whole = decoderOf(bytes).frame();
  assertStrictEquals(whole?.payload?.buffer, bytes.buffer);
  assertStrictEquals((whole?.body as Transfer).deliveryTag?.buffer, bytes.buffer);
});

test("FRM-9: what was gathered for one frame is not used for another", () => {
  const decoder = decoderOf();
  const taken: Frame[] = [];
  for (let i = 1; i <= 3; i++) {
    const bytes = frameOf(0, 0, { kind: "transfer", handle: 0 }, new Uint8Array(50).fill(i));
    decoder.push(bytes.subarray(0, 20));
    assertEquals(decoder.frame(), undefined);
    decoder.push(bytes.subarray(20));
    taken.push(...framesOf(decoder));
  }
  assertEquals(taken.map(({ payload }) => payload), [1, 2, 3].map((i) => new Uint8Array(50).fill(i)));
});

test("ATK-1 ATK-3: the limits of decoding hold for each frame on its own", () => {
  const properties = sized("c1", 2, "a3 01 61 f0 00000005 00008000 40");
  const writer = new Writer();
  const start = beginFrame(writer, 0, 0);
  writer.append(wire(`00 53 10 ${sized("c0", 10, `a1 01 63 ${"40".repeat(8)} ${properties}`)}`));
  endFrame(writer, start);
  const frame = writer.take();
  const decoder = new FrameDecoder({ maxFrameSize: 512, limits: { maxDepth: 8, maxElements: 0x8000 } });
  decoder.push(concat([frame, frame, frame]));
  assertEquals(framesOf(decoder).length, 3);
  const strict = new FrameDecoder({ maxFrameSize: 512, limits: { maxDepth: 8, maxElements: 0x7fff } });
  strict.push(frame);
  assertAmqpError(() => strict.frame(), "array elements without bytes are more than 32767");
});

test("ATK-16: frames that come byte by byte while nobody reads are copied a few times, in the same order", () => {
  const decoder = new FrameDecoder({ maxFrameSize: 512 });
  const empty = [0, 0, 0, 8, 2, 0, 0];
  const count = 2_000;
  const copied = copiedBy(() => {
    for (let i = 0; i < count; i++) {
      for (const byte of [...empty, i & 0xff]) decoder.push(Uint8Array.of(byte));
    }
  });
  assertEquals(decoder.buffered, 8 * count);
  for (let i = 0; i < count; i++) assertEquals(decoder.frame()?.channel, i & 0xff);
  assertEquals([decoder.frame(), decoder.buffered], [undefined, 0]);
  // Joined after every 64 pieces, each byte is copied 125 times on average; joined at each piece, 8,000 times.
  assertGreaterOrEqual(copied, 8 * count - 400);
  assertLessOrEqual(copied, 64 * 8 * count);
});

/** The number of bytes that a call copies into other arrays. */
function copiedBy(call: () => void): number {
  const { set } = Uint8Array.prototype;
  let bytes = 0;
  Uint8Array.prototype.set = function (from, offset) {
    bytes += from.length;
    set.call(this, from, offset);
  };
  try {
    call();
  } finally {
    Uint8Array.prototype.set = set;
  }
  return bytes;
}
