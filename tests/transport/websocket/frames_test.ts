import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { encodeHex } from "@std/encoding";
import { TransportError } from "../../../src/base/errors.ts";
import { BLOCK_HEAD_BYTES, isLent, lend } from "../../../src/base/pool.ts";
import {
  decodeClose,
  encodeClose,
  type FrameLimits,
  MAX_FRAGMENTS,
  MAX_MESSAGE_BYTES,
  opcode,
  WebSocketFrameDecoder,
  WebSocketFrameEncoder,
} from "../../../src/transport/websocket/frames.ts";
import { mask, MaskKeys } from "../../../src/transport/websocket/mask.ts";
import { isCloseCode } from "../../../src/transport/channel.ts";
import { type Random, random, seed, test } from "../../harness.ts";
import { everyCut, hex, latin1, randomCut } from "../wire.ts";

/** Returns the mask key of the specification's examples. */
const EXAMPLE_KEY = { getRandomValues: (array: Uint8Array) => array.forEach((_, i) => array[i] = KEY[i % 4]!) };
const KEY = hex("37fa213d");

/** The decoder's events, in a form that does not depend on the size of pieces: `.` ends a message. */
function decode(masked: boolean, pieces: Iterable<Uint8Array>, limits?: FrameLimits): string[] {
  const decoder = new WebSocketFrameDecoder(masked, limits);
  const found: string[] = [];
  let open = false;
  for (const bytes of pieces) {
    decoder.push(bytes);
    for (let piece = decoder.next(); piece !== undefined; piece = decoder.next()) {
      if (piece.kind === "control") {
        found.push(`${piece.opcode}:${encodeHex(piece.payload)}`);
        open = false;
      } else {
        const text = encodeHex(piece.bytes) + (piece.last ? "." : "");
        if (open) found[found.length - 1] += text;
        else found.push(text);
        open = !piece.last;
      }
    }
  }
  return found;
}

function closeCodeOf(masked: boolean, pieces: Iterable<Uint8Array>, limits?: FrameLimits): number | undefined {
  const error = assertThrows(() => decode(masked, pieces, limits), TransportError, "Cannot read WebSocket frame: ");
  assertEquals(error.code, "protocol-violation");
  return error.closeCode;
}

/** One frame, masked for a server, by an independent and slow encoder. */
function frame(first: number, payload: Uint8Array, masked: boolean): Uint8Array<ArrayBuffer> {
  const length = payload.length < 126
    ? [payload.length]
    : payload.length < 65_536
    ? [126, payload.length >> 8, payload.length & 255]
    : [127, ...Array.from({ length: 8 }, (_, i) => Number((BigInt(payload.length) >> BigInt(8 * (7 - i))) & 255n))];
  const head = [first, length[0]! | (masked ? 0x80 : 0), ...length.slice(1), ...(masked ? KEY : [])];
  return concat([Uint8Array.from(head), payload.map((byte, i) => masked ? byte ^ KEY[i % 4]! : byte)]);
}

function encodeOne(code: number, payload: Uint8Array, keys?: MaskKeys): Uint8Array {
  const encoder = new WebSocketFrameEncoder(keys);
  encoder.frame(code, payload);
  return takeAll(encoder);
}

function takeAll(encoder: WebSocketFrameEncoder): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let piece = encoder.take(); piece !== undefined; piece = encoder.take()) pieces.push(piece);
  return concat(pieces);
}

test("vectors: fragments, ping and pong of the specification, at every cut", () => {
  // The specification's text frames with the opcode for binary, since text is refused here.
  for (const pieces of everyCut(hex("82 05 48656c6c6f"))) assertEquals(decode(false, pieces), ["48656c6c6f."]);
  for (const pieces of everyCut(hex("82 85 37fa213d 7f9f4d5158"))) assertEquals(decode(true, pieces), ["48656c6c6f."]);
  for (const pieces of everyCut(hex("02 03 48656c 80 02 6c6f"))) assertEquals(decode(false, pieces), ["48656c6c6f."]);
  for (const pieces of everyCut(hex("89 05 48656c6c6f"))) assertEquals(decode(false, pieces), ["9:48656c6c6f"]);
  for (const pieces of everyCut(hex("8a 85 37fa213d 7f9f4d5158"))) {
    assertEquals(decode(true, pieces), ["10:48656c6c6f"]);
  }
});

test("vectors: masked and unmasked frames of the specification are written", () => {
  const keys = new MaskKeys(EXAMPLE_KEY);
  assertEquals(encodeOne(opcode.text, latin1("Hello")), hex("81 05 48656c6c6f"));
  assertEquals(encodeOne(opcode.text, latin1("Hello"), keys), hex("81 85 37fa213d 7f9f4d5158"));
  assertEquals(encodeOne(opcode.ping, latin1("Hello")), hex("89 05 48656c6c6f"));
  assertEquals(encodeOne(opcode.pong, latin1("Hello"), keys), hex("8a 85 37fa213d 7f9f4d5158"));
  assertEquals(encodeOne(opcode.binary, new Uint8Array(256)).subarray(0, 5), hex("82 7e 0100 00"));
  assertEquals(encodeOne(opcode.binary, new Uint8Array(65_536)).subarray(0, 11), hex("82 7f 0000000000010000 00"));
});

test("WS-18: a reserved bit or opcode fails with 1002, text with 1003, whatever the cut", () => {
  for (const bit of [0x40, 0x20, 0x10, 0x70]) {
    assertEquals(closeCodeOf(false, [hex(`${(0x82 | bit).toString(16)}00`)]), 1002);
  }
  for (const code of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    for (const pieces of everyCut(Uint8Array.of(0x80 | code, 0))) assertEquals(closeCodeOf(false, pieces), 1002);
  }
  for (const pieces of everyCut(hex("81 05 48656c6c6f"))) assertEquals(closeCodeOf(false, pieces), 1003);
  for (const pieces of everyCut(hex("01 83 37fa213d 7f9f4d"))) assertEquals(closeCodeOf(true, pieces), 1003);
});

test("WS-19: an unmasked frame to a server and a masked one to a client fail with 1002", () => {
  for (const first of [0x82, 0x02, 0x88, 0x89, 0x8a]) {
    assertEquals(closeCodeOf(true, [Uint8Array.of(first, 0)]), 1002);
    assertEquals(closeCodeOf(false, [Uint8Array.of(first, 0x80)]), 1002);
  }
});

test("WS-19: a client masks every frame, empty and control ones too, each with a fresh key", () => {
  const encoder = new WebSocketFrameEncoder(new MaskKeys(crypto));
  const seen = new Set<string>();
  for (let i = 0; i < 2_000; i++) {
    encoder.frame([opcode.binary, opcode.ping, opcode.pong, opcode.close][i % 4]!, new Uint8Array(i % 3));
    const bytes = takeAll(encoder);
    assertEquals(bytes[1], 0x80 | (i % 3));
    seen.add(encodeHex(bytes.subarray(2, 6)));
  }
  // Of 2,000 keys out of 2^32, a single pair is alike about once in two thousand runs.
  assert(seen.size >= 1_998);
});

test("ATK-19: keys come from the source that was handed in, each byte of it used once", () => {
  let next = 0;
  const asked: number[] = [];
  const counter = {
    getRandomValues(array: Uint8Array): void {
      asked.push(array.length);
      for (let i = 0; i < array.length; i++) array[i] = next++ >> (i % 2 * 8);
    },
  };
  const keys = new MaskKeys(counter);
  assertEquals(asked, []);
  const key = new Uint8Array(4);
  const drawn: string[] = [];
  for (let i = 0; i < 3_000; i++) {
    keys.next(key);
    drawn.push(encodeHex(key));
  }
  assertEquals(new Set(drawn).size, 3_000);
  assert(asked.reduce((sum, length) => sum + length) < 3_000 * 4 + asked[0]!);
  assert(asked.every((length) => length <= 65_536), "a quota of getRandomValues");
});

test("WS-20: masking is byte i with key i modulo 4, at every length, alignment and phase", () => {
  const source = random(seed());
  for (let round = 0; round < 2_000; round++) {
    const length = source.int(source.pick([8, 100, 3_000]));
    const offset = source.int(9);
    const phase = source.int(4);
    const key = source.bytes(4);
    const memory = source.bytes(offset + length + 9);
    const expected = memory.map((byte, i) => {
      return i < offset || i >= offset + length ? byte : byte ^ key[(phase + i - offset) % 4]!;
    });
    assertEquals(mask(memory.subarray(offset, offset + length), key, phase), (phase + length) % 4);
    assertEquals(memory, expected);
  }
});

test("WS-21: lengths take the shortest form, and nothing else is read", () => {
  for (
    const [length, head] of [
      [0, "82 00"],
      [125, "82 7d"],
      [126, "82 7e 007e"],
      [65_535, "82 7e ffff"],
      [65_536, "82 7f 0000000000010000"],
      [16_777_216, "82 7f 0000000001000000"],
    ] as const
  ) {
    const bytes = encodeOne(opcode.binary, new Uint8Array(length));
    const expected = hex(head);
    assertEquals(bytes.subarray(0, expected.length), expected);
    assertEquals(bytes.length, expected.length + length);
  }
  for (const head of ["82 7e 0000", "82 7e 007d", "82 7f 0000000000000000", "82 7f 000000000000ffff"]) {
    for (const pieces of everyCut(hex(head))) assertEquals(closeCodeOf(false, pieces), 1002);
  }
});

test("WS-22: the high word of a length is not the low one again", () => {
  for (const length of [65_536, 1_000_000, 16_777_217]) {
    const view = new DataView(encodeOne(opcode.binary, new Uint8Array(length)).buffer);
    assertEquals([view.getUint32(2), view.getUint32(6)], [0, length]);
  }
});

test("WS-23: a length over the limit fails with 1009 from its header alone, one of 2^63 with 1002", () => {
  const limits = { maxMessageBytes: 100 };
  assertEquals(closeCodeOf(false, [hex("82 65")], limits), 1009);
  assertEquals(decode(false, [hex("82 64")], limits), []);
  assertEquals(closeCodeOf(false, [hex("02 32"), new Uint8Array(50), hex("80 33")], limits), 1009);
  assertEquals(MAX_MESSAGE_BYTES, 134_217_728);
  assertEquals(decode(false, [hex("82 7f 0000000008000000")]), []);
  assertEquals(closeCodeOf(false, [hex("82 7f 0000000008000001")]), 1009);
  const none = { maxMessageBytes: Infinity };
  assertEquals(decode(false, [hex("82 7f 001fffffffffffff 00")], none), ["00"]);
  assertEquals(closeCodeOf(false, [hex("82 7f 0020000000000000")], none), 1009);
  assertEquals(closeCodeOf(false, [hex("82 7f 7fffffffffffffff")]), 1009);
  assertEquals(closeCodeOf(false, [hex("82 7f 8000000000000000")]), 1002);
  assertEquals(closeCodeOf(false, [hex("82 7f ffffffffffffffff")]), 1002);
});

test("WS-24: control frames stand between fragments, are whole and at most 125 bytes", () => {
  const bytes = hex("02 01 aa  89 02 0102  00 01 bb  8a 00  00 00  88 02 03e8  80 01 cc");
  for (const pieces of everyCut(bytes)) {
    assertEquals(decode(false, pieces), ["aa", "9:0102", "bb", "10:", "8:03e8", "cc."]);
  }
  const full = new Uint8Array(125).fill(7);
  for (const pieces of everyCut(frame(0x89, full, true))) assertEquals(decode(true, pieces), [`9:${encodeHex(full)}`]);
  for (const first of ["08", "09", "0a"]) assertEquals(closeCodeOf(false, [hex(`${first} 00`)]), 1002);
  for (const first of ["88", "89", "8a"]) {
    assertEquals(closeCodeOf(false, [hex(`${first} 7e 007e`)]), 1002);
    assertEquals(closeCodeOf(false, [hex(`${first} 7f`)]), 1002);
  }
});

test("WS-25: a new message within another, and a continuation of none, fail with 1002; empty fragments are legal", () => {
  for (const pieces of everyCut(hex("02 00  00 00  80 00  82 00"))) assertEquals(decode(false, pieces), [".", "."]);
  for (const pieces of everyCut(hex("02 00  82 00"))) assertEquals(closeCodeOf(false, pieces), 1002);
  for (const pieces of everyCut(hex("02 00  02 00"))) assertEquals(closeCodeOf(false, pieces), 1002);
  for (const pieces of everyCut(hex("80 00"))) assertEquals(closeCodeOf(false, pieces), 1002);
  for (const pieces of everyCut(hex("00 00"))) assertEquals(closeCodeOf(false, pieces), 1002);
  for (const pieces of everyCut(hex("82 00  80 00"))) assertEquals(closeCodeOf(false, pieces), 1002);
});

test("WSB-15: each fragment, and each part of one that a read brings, is handed on at once and uncopied", () => {
  const decoder = new WebSocketFrameDecoder(false);
  const first = hex("02 04 aabb");
  decoder.push(first);
  const piece = decoder.next();
  assert(piece?.kind === "bytes" && piece.bytes.buffer === first.buffer && !piece.last);
  assertEquals(piece.bytes, hex("aabb"));
  assertEquals(decoder.next(), undefined);
  decoder.push(hex("ccdd 80 7f 0000000000010000 ee"));
  assertEquals(decoder.next(), { kind: "bytes", bytes: hex("ccdd"), last: false });
  assertEquals(decoder.next(), { kind: "bytes", bytes: hex("ee"), last: false });
  assertEquals(decoder.next(), undefined);
});

test("WS-28: a control frame of two bytes at the end of a read is handled at once", () => {
  const decoder = new WebSocketFrameDecoder(false);
  decoder.push(hex("82 01 aa 88 00"));
  assertEquals(decoder.next(), { kind: "bytes", bytes: hex("aa"), last: true });
  assertEquals(decoder.next(), { kind: "control", opcode: opcode.close, payload: new Uint8Array(0) });
  assertEquals(decoder.next(), undefined);
});

test("decoder: bytes that were not read to their end are not lost without a word", () => {
  const decoder = new WebSocketFrameDecoder(false);
  decoder.push(hex("82 00 82 00"));
  decoder.next();
  assertThrows(() => decoder.push(hex("82")), TypeError);
});

test("ATK-17: fragments of size 0 and 1 without end are stopped by their number", () => {
  for (const fragment of ["00 00", "00 01 aa"]) {
    const decoder = new WebSocketFrameDecoder(false, { maxFragments: 100 });
    decoder.push(hex("02 00"));
    assertEquals(decoder.next(), undefined);
    let read = 1;
    const error = assertThrows(() => {
      for (; read < 1_000; read++) {
        decoder.push(hex(fragment));
        while (decoder.next() !== undefined);
      }
    }, TransportError);
    assertEquals([read, error.closeCode], [100, 1008]);
  }
  assertEquals(MAX_FRAGMENTS, 65_536);
  const fresh = Array.from({ length: 300 }, () => hex("82 00"));
  assertEquals(decode(false, fresh, { maxFragments: 1 }).length, 300);
});

test("WS-29 and WS-30: the codes that may stand in a close frame, and no others", () => {
  const legal = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
  const illegal = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535];
  for (const code of legal) assertEquals(decodeClose(Uint8Array.of(code >> 8, code & 255)), { code, reason: "" });
  for (const code of illegal) {
    assertEquals(isCloseCode(code), false);
    const error = assertThrows(() => decodeClose(Uint8Array.of(code >> 8, code & 255)), TransportError);
    assertEquals(error.closeCode, 1002);
  }
  assertEquals(decodeClose(new Uint8Array(0)), { code: 1005, reason: "" });
  assertEquals(assertThrows(() => decodeClose(hex("03")), TransportError).closeCode, 1002);
});

test("WS-31: a reason is UTF-8 or fails with 1007, and is cut between two characters when sent", () => {
  assertEquals(decodeClose(hex("03e8 efbbbf c3a9")), { code: 1000, reason: "\ufeffé" });
  for (const bytes of ["ff", "c3", "eda080", "c080", "f4908080"]) {
    assertEquals(assertThrows(() => decodeClose(hex(`03e8${bytes}`)), TransportError).closeCode, 1007);
  }
  assertEquals(encodeClose({ code: 1000, reason: "é" }), hex("03e8 c3a9"));
  assertEquals(encodeClose({ code: 1005, reason: "ignored" }), new Uint8Array(0));
  assertEquals(encodeClose({ code: 4999, reason: "x".repeat(124) }).length, 125);
  const cut = encodeClose({ code: 1000, reason: `${"x".repeat(121)}😀` });
  assertEquals([cut.length, decodeClose(cut).reason], [123, "x".repeat(121)]);
  assertEquals(decodeClose(encodeClose({ code: 1000, reason: "\ud800" })).reason, "\ufffd");
});

test("encoder: small frames leave together, in order, and no piece is written to again", () => {
  const encoder = new WebSocketFrameEncoder();
  for (let i = 0; i < 3; i++) encoder.frame(opcode.binary, Uint8Array.of(i));
  assertEquals(encoder.length, 9);
  const first = encoder.take()!;
  assertEquals(first, hex("820100 820101 820102"));
  assertEquals([encoder.take(), encoder.length], [undefined, 0]);
  encoder.frame(opcode.binary, Uint8Array.of(9));
  encoder.raw(hex("ff"));
  assertEquals(encoder.take(), hex("820109 ff"));
  assertEquals(first, hex("820100 820101 820102"));
});

test("encoder: a block is framed where it is, as the same bytes are that are copied, and keeps its place between others", () => {
  const source = random(seed());
  for (let round = 0; round < 60; round++) {
    const most = source.pick([1, 125, 126, 65_535, 65_536, Infinity]) + (round & 1);
    const length = most < 1_000 ? source.int(800) + 1 : source.int(150_000) + 1;
    const payload = source.bytes(length);
    const room = 16 * Math.ceil(length / most);
    const lent = (): Uint8Array => {
      const memory = new Uint8Array(BLOCK_HEAD_BYTES + length + room);
      memory.set(payload, BLOCK_HEAD_BYTES);
      return lend(memory.subarray(BLOCK_HEAD_BYTES, BLOCK_HEAD_BYTES + length));
    };
    for (const masked of [false, true]) {
      const [copying, placing] = [1, 2].map(() =>
        new WebSocketFrameEncoder(masked ? new MaskKeys(EXAMPLE_KEY) : undefined)
      );
      for (const encoder of [copying!, placing!]) {
        encoder.frame(opcode.ping, Uint8Array.of(1));
        const block = lent();
        if (encoder === copying) {
          for (let at = 0; at < length; at += most) encoder.frame(opcode.binary, block.subarray(at, at + most));
        } else assertEquals([encoder.block(opcode.binary, block, most), isLent(block)], [true, false]);
        encoder.frame(opcode.ping, Uint8Array.of(2));
      }
      assertEquals(placing!.length, copying!.length);
      assertEquals(takeAll(placing!), takeAll(copying!));
      assertEquals(placing!.length, 0);
    }
  }
});

test("encoder: bytes that are no block, or have no room around them, are not taken", () => {
  const encoder = new WebSocketFrameEncoder();
  const memory = new Uint8Array(70_020);
  for (const view of [memory.subarray(16, 70_016), lend(memory.subarray(3)), lend(memory.subarray(16, 70_017))]) {
    assertEquals([encoder.block(opcode.binary, view, 65_535), encoder.length], [false, 0]);
  }
  // Two headers of four bytes at most.
  assertEquals(encoder.block(opcode.binary, lend(memory.subarray(4, 70_016)), 65_535), true);
});

test("encoder: connections take turns with their memory, and no two write to it at a time", () => {
  const encoders = Array.from({ length: 1_000 }, () => new WebSocketFrameEncoder());
  const blocks = new Set<ArrayBufferLike>();
  const taken: Uint8Array[] = [];
  for (const [i, encoder] of encoders.entries()) {
    encoder.frame(opcode.binary, Uint8Array.of(i >>> 8, i));
    // A slow encoder: its piece waits while others write.
    if (i === 500) continue;
    taken[i] = encoder.take()!;
    blocks.add(taken[i].buffer);
  }
  taken[500] = encoders[500]!.take()!;
  // Two blocks may be spare, and filled by then, from earlier work of this process.
  assert(blocks.size <= 4, `${blocks.size} blocks of memory`);
  for (const [i, bytes] of taken.entries()) assertEquals(bytes, Uint8Array.of(0x82, 2, i >>> 8, i));
});

test("encoder: what is dropped does not leave, and the caller's bytes stay as they are", () => {
  const encoder = new WebSocketFrameEncoder(new MaskKeys(crypto));
  const payload = new Uint8Array(40_000);
  encoder.frame(opcode.binary, payload);
  encoder.frame(opcode.binary, payload);
  encoder.clear();
  assertEquals([encoder.take(), encoder.length], [undefined, 0]);
  assertEquals(payload, new Uint8Array(40_000));
  encoder.frame(opcode.binary, hex("aabb"));
  assertEquals(decode(true, [takeAll(encoder)]), ["aabb."]);
});

/** Random frames, with the expected events. */
function stream(source: Random, masked: boolean): { bytes: Uint8Array; expected: string[] } {
  const frames: Uint8Array[] = [];
  const expected: string[] = [];
  let inMessage = false;
  let open = false;
  for (let count = 1 + source.int(8); count > 0; count--) {
    if (source.int(4) === 0) {
      const code = source.pick([8, 9, 10]);
      const payload = source.bytes(source.int(126));
      frames.push(frame(0x80 | code, payload, masked));
      expected.push(`${code}:${encodeHex(payload)}`);
      open = false;
    } else {
      const final = source.int(2) === 0;
      const payload = source.bytes(source.int(source.pick([2, 130, 300])));
      frames.push(frame((final ? 0x80 : 0) | (inMessage ? 0 : 2), payload, masked));
      inMessage = !final;
      if (payload.length === 0 && !final) continue;
      const text = encodeHex(payload) + (final ? "." : "");
      if (open) expected[expected.length - 1] += text;
      else expected.push(text);
      open = !final;
    }
  }
  return { bytes: concat(frames), expected };
}

test("frames: any sequence is read alike at any cut, masked or not", () => {
  const source = random(seed());
  for (let round = 0; round < 300; round++) {
    const masked = source.int(2) === 0;
    const { bytes, expected } = stream(source, masked);
    assertEquals(decode(masked, randomCut(bytes, source)), expected);
  }
});

test("frames: long ones are read alike at any cut", () => {
  const source = random(seed());
  for (const masked of [false, true]) {
    for (const length of [65_535, 65_536, 70_001]) {
      const payload = source.bytes(length);
      const bytes = frame(0x82, payload, masked);
      for (let round = 0; round < 3; round++) {
        assertEquals(decode(masked, randomCut(bytes, source)), [`${encodeHex(payload)}.`]);
      }
    }
  }
});

test("frames: what is written is read, at any cut", () => {
  const source = random(seed());
  for (let round = 0; round < 300; round++) {
    const encoder = new WebSocketFrameEncoder(round % 2 === 0 ? new MaskKeys(crypto) : undefined);
    const payloads = Array.from(
      { length: 1 + source.int(20) },
      () => source.bytes(source.int(source.pick([3, 200, 2_000]))),
    );
    for (const payload of payloads) encoder.frame(opcode.binary, payload);
    assertEquals(
      decode(round % 2 === 0, randomCut(takeAll(encoder), source)),
      payloads.map((payload) => `${encodeHex(payload)}.`),
    );
  }
});

test("ATK-17: whatever arrives, pieces come out of what came in, or a violation; never another error, never a copy kept", () => {
  const source = random(seed());
  const outcome = (masked: boolean, pieces: Uint8Array[]): unknown => {
    try {
      return decode(masked, pieces, { maxMessageBytes: 1_000, maxFragments: 20 });
    } catch (error) {
      assert(error instanceof TransportError, String(error));
      return [error.message, error.closeCode];
    }
  };
  for (let round = 0; round < 3_000; round++) {
    const masked = source.int(2) === 0;
    const bytes = source.int(3) === 0
      ? source.bytes(60)
      : Uint8Array.from(stream(source, masked).bytes.subarray(0, 2_000));
    for (let i = source.int(4); i > 0; i--) bytes[source.int(bytes.length)] = source.int(256);
    const pieces = randomCut(bytes, source);
    const copy = Uint8Array.from(bytes);
    assertEquals(outcome(masked, pieces), outcome(masked, [copy]));
  }
  assertNotEquals(outcome(true, [hex("82 00")]), outcome(false, [hex("82 00")]));
});
