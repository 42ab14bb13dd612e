import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { leastWidth, typeOf } from "../../src/codec/codes.ts";
import { Reader } from "../../src/codec/reader.ts";
import {
  AmqpArray,
  byte,
  char,
  decimal128,
  decimal32,
  decimal64,
  double,
  float,
  int,
  long,
  short,
  symbol,
  timestamp,
  Typed,
  ubyte,
  uint,
  ulong,
  ushort,
  uuid,
  type Value,
} from "../../src/codec/types.ts";
import { test } from "../harness.ts";
import { assertRefused, compact, decode, encode, wire } from "./bytes.ts";
import { primitives } from "./xml_fixture.ts";

// The smallest encoding, its decoded value, and the value that encodes to it, if different.
const smallest: [hex: string, decoded: Value, encoded?: Value][] = [
  ["40", null],
  ["41", true],
  ["42", false],
  ["50 00", 0, ubyte(0)],
  ["50 ff", 255, ubyte(255)],
  ["60 00 00", 0, ushort(0)],
  ["60 ff fe", 65534, ushort(65534)],
  ["43", 0, uint(0)],
  ["52 01", 1, uint(1)],
  ["52 ff", 255, uint(255)],
  ["70 00 00 01 00", 256, uint(256)],
  ["70 ff ff ff ff", 4294967295, uint(4294967295)],
  ["44", 0n, ulong(0)],
  ["53 01", 1n, ulong(1n)],
  ["53 ff", 255n, ulong(255n)],
  ["80 00 00 00 00 00 00 01 00", 256n, ulong(256)],
  ["80 ff ff ff ff ff ff ff ff", 18446744073709551615n, ulong(18446744073709551615n)],
  ["51 80", -128, byte(-128)],
  ["51 7f", 127, byte(127)],
  ["61 80 00", -32768, short(-32768)],
  ["61 7f ff", 32767, short(32767)],
  ["54 00", 0, int(0)],
  ["54 80", -128, int(-128)],
  ["54 7f", 127, int(127)],
  ["71 00 00 00 80", 128, int(128)],
  ["71 ff ff ff 7f", -129, int(-129)],
  ["71 80 00 00 00", -2147483648, int(-2147483648)],
  ["55 00", 0n],
  ["55 80", -128n],
  ["55 7f", 127n, long(127)],
  ["81 00 00 00 00 00 00 00 80", 128n],
  ["81 7f ff ff ff ff ff ff ff", 9223372036854775807n],
  ["81 80 00 00 00 00 00 00 00", -9223372036854775808n],
  ["72 3f c0 00 00", 1.5, float(1.5)],
  ["72 ff 80 00 00", -Infinity, float(-Infinity)],
  ["82 3f f8 00 00 00 00 00 00", 1.5],
  ["82 00 00 00 00 00 00 00 00", 0],
  ["82 80 00 00 00 00 00 00 00", -0],
  ["82 7f f0 00 00 00 00 00 00", Infinity, double(Infinity)],
  ["74 01 02 03 04", decimal32(Uint8Array.of(1, 2, 3, 4))],
  ["84 01 02 03 04 05 06 07 08", decimal64(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))],
  ["94 0102030405060708 090a0b0c0d0e0f10", decimal128(Uint8Array.from({ length: 16 }, (_, i) => i + 1))],
  ["73 00 00 00 41", char("A")],
  ["73 00 01 f6 00", char("😀"), char(0x1f600)],
  ["83 00 00 00 00 00 00 00 00", new Date(0)],
  ["83 ff ff ff ff ff ff ff ff", new Date(-1)],
  ["83 00 00 01 89 6d 4e b0 00", new Date(0x1896d4eb000), timestamp(0x1896d4eb000)],
  ["83 00 1e b2 08 c2 dc 00 00", new Date(8.64e15)],
  ["83 ff e1 4d f7 3d 24 00 00", new Date(-8.64e15)],
  ["83 00 1e b2 08 c2 dc 00 01", new Typed("timestamp", 8640000000000001n)],
  ["83 80 00 00 00 00 00 00 00", timestamp(-9223372036854775808n)],
  ["98 00112233 4455 6677 8899 aabbccddeeff", uuid("00112233-4455-6677-8899-AABBCCDDEEFF")],
  ["a0 00", new Uint8Array(0)],
  ["a0 03 01 02 03", Uint8Array.of(1, 2, 3)],
  ["a1 00", ""],
  ["a1 05 68 65 6c 6c 6f", "hello"],
  ["a1 06 c3 a9 e2 82 ac 21", "é€!"],
  ["a1 04 f0 9f 98 80", "😀"],
  ["a3 00", symbol("")],
  ["a3 04 61 6d 71 70", symbol("amqp")],
  ["45", []],
  ["c1 01 00", new Map()],
  ["e0 02 00 52", new AmqpArray("uint", [])],
];

test("TYP-1 TYP-3: every type has its smallest encoding, both ways", () => {
  for (const [hex, decoded, encoded = decoded] of smallest) {
    assertEquals(encode(encoded), compact(hex));
    assertEquals(decode(hex), decoded);
  }
});

// Encodings that are larger than they need to be.
const larger: [hex: string, decoded: Value][] = [
  ["56 01", true],
  ["56 00", false],
  ["52 00", 0],
  ["70 00 00 00 00", 0],
  ["70 00 00 00 07", 7],
  ["53 00", 0n],
  ["80 00 00 00 00 00 00 00 07", 7n],
  ["71 ff ff ff ff", -1],
  ["81 ff ff ff ff ff ff ff ff", -1n],
  ["b0 00 00 00 02 01 02", Uint8Array.of(1, 2)],
  ["b1 00 00 00 02 68 69", "hi"],
  ["b3 00 00 00 02 68 69", symbol("hi")],
  ["c0 01 00", []],
  ["d0 00 00 00 04 00 00 00 00", []],
  ["d0 00 00 00 05 00 00 00 01 40", [null]],
  ["d1 00 00 00 04 00 00 00 00", new Map()],
  ["f0 00 00 00 05 00 00 00 00 40", new AmqpArray("null", [])],
];

test("TYP-3: larger encodings than needed are accepted", () => {
  for (const [hex, decoded] of larger) assertEquals(decode(hex), decoded);
});

test("TYP-1: the tests above use every constructor of the specification", () => {
  const tried = new Set([...smallest, ...larger].map(([hex]) => Number.parseInt(hex.slice(0, 2), 16)));
  for (const encodings of Object.values(primitives)) {
    for (const [code] of encodings) assert(tried.has(code), `0x${code.toString(16)} is not tried`);
  }
});

test("TYP-1 TYP-2: the codes are those of the specification, and no others", () => {
  const types = new Map<number, string>();
  for (const [type, encodings] of Object.entries(primitives)) {
    for (const [code, , width] of encodings) {
      types.set(code, type);
      assertEquals(leastWidth(code), width);
    }
  }
  for (let code = 0; code < 256; code++) assertEquals(typeOf(code), types.get(code));
});

test("TYP-2: a constructor that is none is refused", () => {
  for (let code = 1; code < 256; code++) {
    if (typeOf(code) !== undefined) continue;
    const digits = code.toString(16).padStart(2, "0");
    assertRefused(
      `${digits} 00 00 00 00`,
      `Cannot decode value: 0x${digits} is not the constructor of a type (at byte 1)`,
    );
    assertRefused(`e0 02 00 ${digits}`, `0x${digits} is not the constructor of a type`);
  }
});

test("TYP-3: text and bytes take the long form above 255 bytes, not characters", () => {
  for (const length of [0, 1, 15, 16, 17, 32, 33, 47, 48, 49, 64, 127, 128, 255, 256, 257, 70000]) {
    const size = length < 256 ? length.toString(16).padStart(2, "0") : length.toString(16).padStart(8, "0");
    const [a, b, c] = length < 256 ? ["a0", "a1", "a3"] : ["b0", "b1", "b3"];
    const text = "x".repeat(length);
    assertEquals(encode(new Uint8Array(length)), a + size + "00".repeat(length));
    assertEquals(encode(text), b + size + "78".repeat(length));
    assertEquals(encode(symbol(text)), c + size + "78".repeat(length));
    assertEquals(decode(a + size + "00".repeat(length)), new Uint8Array(length));
    assertEquals(decode(b + size + "78".repeat(length)), text);
    assertEquals(decode(c + size + "78".repeat(length)), symbol(text));
  }
  for (const count of [42, 43, 85, 86, 127, 128, 200]) {
    const text = "é".repeat(count);
    const size = 2 * count < 256
      ? `a1${(2 * count).toString(16).padStart(2, "0")}`
      : `b1${(2 * count).toString(16).padStart(8, "0")}`;
    assertEquals(encode(text), size + "c3a9".repeat(count));
    assertEquals(decode(size + "c3a9".repeat(count)), text);
  }
});

test("TYP-7 ATK-27: a string that is not UTF-8 is refused", () => {
  const wrong = {
    "overlong NUL": "c0 80",
    "overlong slash": "e0 80 af",
    "lone continuation": "80",
    "cut sequence": "e2 82",
    "high surrogate": "ed a0 80",
    "low surrogate": "ed bf bf",
    "above U+10FFFF": "f4 90 80 80",
    "no such byte": "ff",
  };
  for (const hex of Object.values(wrong)) {
    const bytes = compact(hex);
    assertRefused(`a1 0${bytes.length / 2} ${hex}`, "a string is not UTF-8");
    assertRefused(`b1 0000001${bytes.length / 2} ${"31".repeat(16)} ${hex}`, "a string is not UTF-8");
  }
  // The rest of the character would be in the next value.
  assertRefused("c0 06 02 a1 02 e2 82 ac", "a string is not UTF-8");
});

test("TYP-7 ATK-27: the character that stands for invalid bytes may come as itself, and hides none", () => {
  for (const text of ["\ufffd", "a\ufffd".repeat(50)]) assertEquals(decode(encode(text)), text);
  assertRefused("a1 04 ef bf bd ff", "a string is not UTF-8");
});

test("TYP-3: texts that are kept for the next time are not taken for each other", () => {
  // The same length, first, middle and last character, and remains of a longer text.
  const texts = ["abXcdYefg", "axXcdYxfg", "abXcdYefgh", "abXcd", "a", "b", "", "k".repeat(32), "k".repeat(33)];
  for (let round = 0; round < 2; round++) {
    for (const text of texts) assertEquals([decode(encode(text)), decode(encode(symbol(text)))], [text, symbol(text)]);
  }
  // Invalid text is not cached either.
  assertRefused("a1 05 61 62 80 63 64", "a string is not UTF-8");
  assertEquals(decode("a1 05 61 62 58 63 64"), "abXcd");
});

test("TYP-7: a byte order mark is a character like any other", () => {
  assertEquals(decode("a1 04 ef bb bf 41"), "\ufeffA");
  assertEquals(encode("\ufeffA"), "a104efbbbf41");
});

test("TYP-7: half of a UTF-16 pair is not replaced but refused, also where strings have no isWellFormed", () => {
  const { isWellFormed } = String.prototype;
  try {
    for (const older of [false, true]) {
      if (older) Reflect.deleteProperty(String.prototype, "isWellFormed");
      for (const text of ["\ud800", "a\udc00", "x".repeat(100) + "\ud800", "\udc00\ud800"]) {
        assertThrows(() => encode(text), RangeError, "Cannot encode string: it has half of a UTF-16 pair");
      }
      assertEquals(encode("\u{1f600}"), "a104f09f9880");
    }
  } finally {
    Object.defineProperty(String.prototype, "isWellFormed", {
      value: isWellFormed,
      writable: true,
      configurable: true,
    });
  }
});

test("TYP-7 ATK-27: a symbol with a byte above 0x7f is refused, short or long", () => {
  assertRefused("a3 02 61 80", "a symbol is not ASCII");
  assertRefused("a3 02 c3 a9", "a symbol is not ASCII");
  assertRefused(`a3 28 ${"61".repeat(39)} ff`, "a symbol is not ASCII");
  assertRefused("b3 00000001 ff", "a symbol is not ASCII");
  assertThrows(() => symbol("é"), RangeError, 'Cannot encode symbol: "é" does not fit');
  assertThrows(() => encode(new Typed("symbol", "é")), RangeError);
  assertThrows(() => encode(new Typed("symbol", "x".repeat(100) + "é")), RangeError);
});

test("TYP-7: a name that is met again is the same text, and no other name takes its place", () => {
  const names = Array.from({ length: 2000 }, (_, i) => `x-opt-${i}`);
  for (const name of [...names, ...names]) assertEquals(decode(encode(symbol(name))), symbol(name));
});

test("TYP-7: a boolean byte is 0 or 1", () => {
  assertRefused("56 02", "0x02 is not a boolean");
  assertRefused("56 ff", "0xff is not a boolean");
  assertRefused("e0 04 02 56 01 02", "0x02 is not a boolean");
});

test("TYP-7: a char is a Unicode character", () => {
  assertRefused("73 00 11 00 00", "0x110000 is not a character");
  assertRefused("73 00 00 d8 00", "0xd800 is not a character");
  assertRefused("73 00 00 df ff", "0xdfff is not a character");
  assertRefused("73 ff ff ff ff", "0xffffffff is not a character");
  assertEquals(decode("73 00 10 ff ff"), char(0x10ffff));
  for (const wrong of ["", "ab", "\ud800", "e\u0301"]) assertThrows(() => char(wrong), RangeError, "does not fit");
  for (const wrong of [-1, 1.5, 0xd800, 0x110000, NaN]) assertThrows(() => char(wrong), RangeError, "does not fit");
});

test("TYP-8: 64 bits are never rounded", () => {
  for (const value of [9007199254740993n, -9007199254740993n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    assertStrictEquals(decode(encode(value)), value);
    assertStrictEquals(decode(encode(long(value))), value);
  }
  assertStrictEquals(decode(encode(ulong(2n ** 64n - 1n))), 2n ** 64n - 1n);
  assertThrows(() => encode(2n ** 63n), RangeError, "Cannot encode long: 9223372036854775808 does not fit");
  assertThrows(() => encode(-(2n ** 63n) - 1n), RangeError);
  assertThrows(() => ulong(-1n), RangeError, "Cannot encode ulong: -1 does not fit");
  assertThrows(() => ulong(2n ** 64n), RangeError);
  assertThrows(() => ulong(2 ** 53), RangeError);
  assertThrows(() => long(0.5), RangeError);
});

test("TYP-3: a wrapper refuses what its type cannot hold, and so does encoding", () => {
  const wrong: [(value: number) => Typed, number[]][] = [
    [ubyte, [-1, 256, 0.5, NaN]],
    [ushort, [-1, 65536, 0.5]],
    [uint, [-1, 4294967296, 0.5, Infinity]],
    [byte, [-129, 128, 0.5]],
    [short, [-32769, 32768]],
    [int, [-2147483649, 2147483648, 0.1]],
  ];
  for (const [wrapper, values] of wrong) {
    for (const value of values) {
      assertThrows(() => wrapper(value), RangeError, `: ${value} does not fit`);
      assertThrows(() => encode(new Typed(wrapper(1).type, value)), RangeError, `: ${value} does not fit`);
    }
  }
  for (const wrapper of [decimal32, decimal64, decimal128, uuid]) {
    assertThrows(() => wrapper(new Uint8Array(3)), RangeError, "a binary of 3 bytes does not fit");
  }
  assertThrows(() => uuid("00112233-4455-6677-8899-aabbccddeef"), RangeError, "does not fit");
  assertThrows(() => timestamp(new Date(NaN)), RangeError, "Cannot encode timestamp: NaN does not fit");
  assertThrows(() => encode(new Date(NaN)), RangeError, "Cannot encode timestamp");
});

test("TYP-3: a value of another kind than its wire type is refused", () => {
  const wrong: [Typed["type"], unknown][] = [
    ["null", 0],
    ["boolean", 1],
    ["uint", "1"],
    ["ulong", "1"],
    ["float", "1"],
    ["double", 1n],
    ["char", {}],
    ["timestamp", "now"],
    ["uuid", 5],
    ["decimal64", "1"],
    ["binary", [1]],
    ["string", 5],
    ["symbol", 5],
    ["list", "x"],
    ["map", "x"],
    ["array", [1]],
  ];
  for (const [type, value] of wrong) {
    const error = assertThrows(() => encode(new Typed(type, value as never)), Error, `Cannot encode ${type}: `);
    assert(error instanceof TypeError || error instanceof RangeError);
  }
});

test("TYP-3: a JavaScript value without a wire type is refused", () => {
  class Point {
    x = 1;
  }
  for (const value of [() => 1, Symbol("x"), new Point(), new ArrayBuffer(2), new Float32Array(2), new Set()]) {
    assertThrows(() => encode(value as never), TypeError, "Cannot encode ");
  }
  assertEquals(encode(undefined as never), "40");
});

test("TYP-2 ATK-5: a value that is cut short is refused, whatever it is", () => {
  for (const [hex] of [...smallest, ...larger]) {
    const bytes = wire(hex);
    for (let length = 0; length < bytes.length; length++) {
      assertRefused(hex.replace(/\s/g, "").slice(0, 2 * length), "Cannot decode value: ");
    }
  }
});

test("TYP-1: a binary is a view of the bytes that were read, not a copy", () => {
  const bytes = wire("a0 03 01 02 03");
  const value = new Reader(bytes).value() as Uint8Array;
  assertStrictEquals(value.buffer, bytes.buffer);
  assertEquals(value.byteOffset, bytes.byteOffset + 2);
});
