import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { encodeHex } from "@std/encoding";
import { readRecord } from "../../src/codec/composite.ts";
import { Reader } from "../../src/codec/reader.ts";
import {
  type AmqpArray,
  array,
  char,
  decimal32,
  Described,
  described,
  float,
  int,
  type PrimitiveType,
  type PrimitiveValues,
  symbol,
  timestamp,
  Typed,
  uint,
  ulong,
  uuid,
  type Value,
} from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";
import { assertRefused, compact, decode, encode, sized, wire } from "./bytes.ts";

/** The bytes decode to the value, and both the decoded value and `encoded` encode to the bytes. */
function assertBothWays(hex: string, value: Value, encoded: Value = value): void {
  assertEquals(decode(hex), value);
  assertEquals(encode(decode(hex)), compact(hex));
  assertEquals(encode(encoded), compact(hex));
}

test("TYP-1: lists, both ways", () => {
  assertBothWays("45", []);
  assertBothWays("c0 02 01 40", [null]);
  assertBothWays("c0 06 03 41 a1 01 61 45", [true, "a", []]);
  assertBothWays("c0 07 02 45 c0 03 02 41 42", [[], [true, false]]);
});

test("TYP-1 TYP-3: a list is large above 254 bytes or 255 values", () => {
  assertBothWays(`c0 ff fe ${"41".repeat(254)}`, Array(254).fill(true));
  assertBothWays(`d0 00000103 000000ff ${"41".repeat(255)}`, Array(255).fill(true));
  assertBothWays(`c0 ff 01 a0 fc ${"07".repeat(252)}`, [new Uint8Array(252).fill(7)]);
  assertBothWays(`d0 00000103 00000001 a0 fd ${"07".repeat(253)}`, [new Uint8Array(253).fill(7)]);
});

test("TYP-3: undefined in a list is null", () => {
  assertEquals(encode([undefined, 1n] as never), "c00402405501");
});

test("TYP-4 ATK-4: a compound whose size is too short for its values is refused", () => {
  assertRefused("c0 01 01 40", "1 elements do not fit in 0 bytes");
  assertRefused("c0 04 01 a1 05 68 65 6c 6c 6f", "5 bytes are needed, 1 remain");
  assertRefused("d0 00 00 00 05 00 00 00 02 40", "2 elements do not fit in 1 bytes");
  assertRefused("c0 00 00", "1 bytes are needed, 0 remain");
  assertRefused("d0 00 00 00 03 00 00 00 00", "4 bytes are needed, 3 remain");
  assertRefused("e0 01 00 40", "1 bytes are needed, 0 remain");
});

test("TYP-4 ATK-4: a compound whose size is too long for its values is refused", () => {
  assertRefused("c0 03 01 40 40", "a compound value is 1 bytes too long");
  assertRefused("c1 03 00 40 40", "a compound value is 2 bytes too long");
  assertRefused("e0 04 01 50 07 08", "a compound value is 1 bytes too long");
  assertRefused("c0 02 00 40", "a compound value is 1 bytes too long");
});

test("TYP-4 ATK-4: a compound that is larger than what holds it is refused", () => {
  assertRefused("c0 03 01 40", "a size of 3 is beyond the 2 bytes that remain");
  assertRefused("d0 ff ff ff ff 00 00 00 01 40", "a size of 4294967295 is beyond the 5 bytes that remain");
  // Bytes remain for the inner list, but they are beyond the outer one.
  assertRefused("c0 04 01 c0 03 01 40 40", "a size of 3 is beyond the 1 bytes that remain");
});

test("TYP-5: maps keep their order and their types of keys, both ways", () => {
  const map = new Map<Value, Value>([["b", 1n], ["a", 2n], [5n, true], [null, null], [false, 1.5]]);
  assertBothWays("c1 1a 0a a1 01 62 55 01 a1 01 61 55 02 55 05 41 40 40 42 82 3f f8 00 00 00 00 00 00", map);
  assertEquals([...(decode(encode(map)) as Map<Value, Value>).keys()], ["b", "a", 5n, null, false]);
  assertBothWays("c1 09 02 a3 01 6b c0 03 02 41 42", new Map([[symbol("k"), [true, false]]]));
});

test("TYP-5: any value can be a key, both ways", () => {
  const keys: Value[] = [
    symbol("s"),
    "s",
    char("s"),
    uuid("00112233-4455-6677-8899-aabbccddeeff"),
    decimal32(Uint8Array.of(1, 2, 3, 4)),
    Uint8Array.of(1, 2),
    new Date(5),
    new Typed("timestamp", 2n ** 60n),
    [],
    ["x", 1n],
    new Map([["x", 1n]]),
    described(1n, "x"),
    array("symbol", ["x"]),
    0,
    1.5,
    NaN,
    7n,
    true,
    null,
  ];
  const map = new Map<Value, Value>(keys.map((key, i) => [key, BigInt(i)]));
  const decoded = decode(encode(map)) as Map<Value, Value>;
  assertEquals([...decoded], [...map]);
  assertEquals(encode(decoded), encode(map));
});

test("TYP-5: a map with an odd count is refused", () => {
  assertRefused("c1 02 01 40", "a map has a key without a value");
  assertRefused("d1 00 00 00 07 00 00 00 03 40 40 41", "a map has a key without a value");
});

test("TYP-5: equal keys are refused, whatever their type and encoding", () => {
  const pairs = [
    ["a1 01 61", "a1 01 61"],
    ["a1 01 61", "b1 00 00 00 01 61"],
    ["a3 01 61", "b3 00 00 00 01 61"],
    ["52 01", "70 00 00 00 01"],
    ["44", "53 00"],
    ["55 01", "81 00 00 00 00 00 00 00 01"],
    ["41", "56 01"],
    ["40", "40"],
    ["a0 01 07", "b0 00 00 00 01 07"],
    ["83 00 00 00 00 00 00 00 05", "83 00 00 00 00 00 00 00 05"],
    ["82 00 00 00 00 00 00 00 00", "82 00 00 00 00 00 00 00 00"],
    ["82 80 00 00 00 00 00 00 00", "82 80 00 00 00 00 00 00 00"],
    ["45", "c0 01 00"],
    ["c0 03 01 52 01", "c0 06 01 70 00 00 00 01"],
    ["c1 04 02 40 52 01", "c1 07 02 40 70 00 00 00 01"],
    ["00 53 01 40", "00 80 00 00 00 00 00 00 00 01 40"],
    ["e0 03 01 52 01", "e0 06 01 70 00 00 00 01"],
  ];
  for (const [first, second] of pairs) {
    assertRefused(sized("c1", 4, `${first} 41 ${second} 42`), "a map has equal keys");
  }
});

test("TYP-5 ATK-26: keys that look equal in JavaScript and are not are kept apart", () => {
  // int 1, uint 1, double 1, long 1, ulong 1, string "1", symbol "1".
  const hex = sized("c1", 14, "54 01 41 52 01 42 82 3ff0000000000000 41 55 01 42 53 01 41 a1 01 31 42 a3 01 31 41");
  const map = decode(hex) as Map<Value, Value>;
  assertEquals([...map.keys()], [1, uint(1), new Typed("double", 1), 1n, ulong(1), "1", symbol("1")]);
  assertEquals(encode(map), compact(hex));
  // At the third key, the equal uint is found.
  assertRefused("c1 0a 06 54 01 41 52 01 42 52 01 41", "a map has equal keys");
});

test("TYP-5: both zeroes are keys of their own", () => {
  const hex = "c1 15 04 82 80 00 00 00 00 00 00 00 41 82 00 00 00 00 00 00 00 00 42";
  const map = decode(hex) as Map<Value, Value>;
  assertEquals([...map.keys()], [new Typed("double", -0), 0]);
  assertEquals(encode(map), compact(hex));
});

test("TYP-5: a map with equal keys is not encoded", () => {
  assertThrows(() => encode(new Map([[symbol("a"), 1n], [symbol("a"), 2n]])), TypeError, "two keys are equal");
  assertThrows(() => encode(new Map<Value, Value>([["a", 1n], [new Typed("string", "a"), 2n]])), TypeError);
});

test("TYP-3: a record is a map with string keys; only its own properties count", () => {
  assertEquals(encode({ a: true, b: null }), "c10904a1016141a1016240");
  assertEquals(encode(Object.assign(Object.create(null), { a: true })), "c10502a1016141");
  assertEquals(encode({ a: undefined } as never), "c10502a1016140");
});

const arrays: [hex: string, array: AmqpArray][] = [
  ["e0 02 02 40", array("null", [null, null])],
  ["e0 04 02 56 01 00", array("boolean", [true, false])],
  ["e0 04 02 50 00 ff", array("ubyte", [0, 255])],
  ["e0 06 02 60 00 01 ff ff", array("ushort", [1, 65535])],
  ["e0 04 02 52 00 ff", array("uint", [0, 255])],
  ["e0 0a 02 70 00 00 00 00 00 00 01 00", array("uint", [0, 256])],
  ["e0 04 02 53 00 ff", array("ulong", [0n, 255n])],
  ["e0 12 02 80 0000000000000000 0000000000000100", array("ulong", [0n, 256n])],
  ["e0 04 02 51 80 7f", array("byte", [-128, 127])],
  ["e0 06 02 61 80 00 00 01", array("short", [-32768, 1])],
  ["e0 04 02 54 80 7f", array("int", [-128, 127])],
  ["e0 0a 02 71 00 00 00 80 ff ff ff ff", array("int", [128, -1])],
  ["e0 04 02 55 80 7f", array("long", [-128n, 127n])],
  ["e0 12 02 81 0000000000000080 ffffffffffffffff", array("long", [128n, -1n])],
  ["e0 06 01 72 3f c0 00 00", array("float", [1.5])],
  ["e0 0a 01 82 3f f8 00 00 00 00 00 00", array("double", [1.5])],
  ["e0 06 01 74 01 02 03 04", array("decimal32", [Uint8Array.of(1, 2, 3, 4)])],
  ["e0 0a 01 84 01 02 03 04 05 06 07 08", array("decimal64", [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)])],
  [
    "e0 12 01 94 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07",
    array("decimal128", [new Uint8Array(16).fill(7, 15)]),
  ],
  ["e0 0a 02 73 00 00 00 41 00 01 f6 00", array("char", ["A", "😀"])],
  ["e0 12 02 83 0000000000000005 7fffffffffffffff", array("timestamp", [new Date(5), 2n ** 63n - 1n])],
  ["e0 12 01 98 00112233 4455 6677 8899 aabbccddeeff", array("uuid", ["00112233-4455-6677-8899-aabbccddeeff"])],
  ["e0 07 02 a0 02 01 02 01 03", array("binary", [Uint8Array.of(1, 2), Uint8Array.of(3)])],
  ["e0 07 02 a1 02 c3 a9 01 61", array("string", ["é", "a"])],
  ["e0 07 03 a3 01 61 00 01 62", array("symbol", ["a", "", "b"])],
  ["e0 0b 03 c0 03 02 41 42 01 00 02 01 40", array("list", [[true, false], [], [null]])],
  ["e0 0a 02 c1 05 02 a1 01 61 41 01 00", array("map", [new Map([["a", true]]), new Map()])],
  ["e0 0b 02 e0 04 02 50 01 02 03 01 56 01", array("array", [array("ubyte", [1, 2]), array("boolean", [true])])],
];

test("TYP-6: arrays of every type, both ways", () => {
  for (const [hex, value] of arrays) assertBothWays(hex, value);
  const tried = new Set(arrays.map(([, { type }]) => type));
  assertEquals(tried.size, 24);
});

test("TYP-6: arrays whose elements are large, both ways", () => {
  const long = "x".repeat(256);
  const hex78 = "78".repeat(256);
  assertBothWays(`f0 0000010e 00000002 b1 00000100 ${hex78} 00000001 61`, array("string", [long, "a"]));
  assertBothWays(`f0 0000010e 00000002 b3 00000100 ${hex78} 00000001 61`, array("symbol", [long, "a"]));
  const lists = array("list", [[long, true], []]);
  assertBothWays(`f0 0000011b 00000002 d0 0000010a 00000002 b1 00000100 ${hex78} 41 00000004 00000000`, lists);
  // A count above 255 makes an array large as well, but not its elements.
  assertBothWays(`f0 00000105 00000100 50 ${"07".repeat(256)}`, array("ubyte", Array(256).fill(7)));
});

test("TYP-6: zero-width elements are accepted, and not sent but for null", () => {
  assertEquals(decode("e0 02 03 41"), array("boolean", [true, true, true]));
  assertEquals(decode("e0 02 03 42"), array("boolean", [false, false, false]));
  assertEquals(decode("e0 02 02 43"), array("uint", [0, 0]));
  assertEquals(decode("e0 02 02 44"), array("ulong", [0n, 0n]));
  assertEquals(decode("e0 02 02 45"), array("list", [[], []]));
  assertEquals(encode(decode("e0 02 02 43")), "e00402520000");
});

test("TYP-6: an array with descriptors, both ways", () => {
  assertBothWays("e0 07 02 00 53 01 50 07 08", array("ubyte", [7, 8], [1n]));
  assertBothWays("e0 0c 01 00 a3 01 78 00 53 02 a3 02 68 69", array("symbol", ["hi"], ["x", 2n]));
  assertBothWays("e0 0a 01 00 55 05 c0 04 01 a1 01 61", array("list", [["a"]], [new Typed("long", 5n)]));
});

test("TYP-6: an array refuses what its type cannot hold", () => {
  const wrong: [PrimitiveType, unknown][] = [
    ["null", 0],
    ["ubyte", 256],
    ["uint", "1"],
    ["symbol", "é"],
    ["string", 1],
    ["binary", "x"],
    ["boolean", 1],
    ["list", {}],
    ["map", 5],
    ["array", []],
  ];
  for (const [type, item] of wrong) {
    const error = assertThrows(
      () => encode(array(type, [item as PrimitiveValues[PrimitiveType]])),
      Error,
      `Cannot encode `,
    );
    assert(error instanceof TypeError || error instanceof RangeError);
  }
});

test("TYP-9: described values, both ways", () => {
  assertBothWays("00 53 10 45", described(16n, []));
  assertBothWays("00 80 01 00 00 00 00 00 00 00 a1 01 61", described(2n ** 56n, "a"));
  assertBothWays("00 a3 03 61 3a 62 52 05", described("a:b", 5), described("a:b", uint(5)));
  assertBothWays("00 53 01 00 53 02 41", described(1n, described(2n, true)));
  // Descriptors of other types are reserved, but valid.
  assertBothWays("00 a1 01 61 41", described(new Typed("string", "a"), true));
  assertBothWays("00 55 05 41", described(new Typed("long", 5n), true));
  assertBothWays("00 52 05 41", described(uint(5), true));
  assertBothWays("00 40 41", described(null, true));
  assertBothWays("00 00 53 01 41 42", described(described(1n, true), false));
  assertBothWays("00 c0 03 01 a1 00 41", described([""], true));
});

test("TYP-3: integers and floats encode as the type that they were decoded from", () => {
  const numbers = "50 01 60 00 02 52 03 53 04 51 05 61 00 06 54 07 55 08 72 3f c0 00 00 82 3f f8 00 00 00 00 00 00 43";
  const hex = sized("c0", 11, numbers);
  const list = decode(hex) as Value[];
  assertEquals(list, [1, 2, 3, 4n, 5, 6, 7, 8n, 1.5, 1.5, 0]);
  assertEquals(encode(list), compact(hex));
  const map = "c1 0d 04 54 01 52 02 a1 01 61 72 3f c0 00 00";
  assertEquals(encode(decode(map)), compact(map));
});

test("TYP-3: a decoded place keeps its type as long as its value fits", () => {
  const list = decode("c0 0a 03 52 03 53 04 72 3f c0 00 00") as Value[];
  list[0] = 300;
  assertEquals(encode(list).slice(6, 16), "700000012c");
  list[0] = -1;
  list[1] = 2n ** 64n;
  assertThrows(() => encode(list), RangeError, "Cannot encode long");
  list[1] = -1n;
  list[2] = 0.1;
  assertEquals(decode(encode(list)), [-1, -1n, 0.1]);
  list[0] = "three";
  assertEquals(encode(list).slice(6, 20), encode("three"));
  // A copy is another list, without recorded wire types.
  assertEquals(encode([...(decode("c0 03 01 52 03") as Value[])]), "c00a01824008000000000000");
});

test("ATK-1: elements without a byte of their own are counted", () => {
  for (const code of ["40", "41", "42", "43", "44", "45"]) {
    assertRefused(`f0 00 00 00 05 ff ff ff ff ${code}`, "array elements without bytes are more than 65536");
    assertRefused(`f0 00 00 00 05 00 01 00 01 ${code}`, "array elements without bytes are more than 65536");
  }
  assertEquals((decode("f0 00 00 00 05 00 01 00 00 40") as AmqpArray).items.length, 65536);
});

test("ATK-1: many arrays do not get around the limit of one", () => {
  const one = "f0 00 00 00 05 00 00 c0 00 40";
  assertRefused(`c0 15 02 ${one} ${one}`, "array elements without bytes are more than 65536");
  assertRefused("e0 02 03 40", "array elements without bytes are more than 2", { maxDepth: 5, maxElements: 2 });
});

test("ATK-2: a count that the bytes cannot pay for is refused before anything is made", () => {
  assertRefused("d0 00 00 00 05 ff ff ff ff 40", "4294967295 elements do not fit in 1 bytes");
  assertRefused("d1 00 00 00 05 ff ff ff fe 40", "4294967294 elements do not fit in 1 bytes");
  assertRefused("f0 00 00 00 06 ff ff ff ff 50 00", "4294967295 elements do not fit in 1 bytes");
  assertRefused("e0 08 04 60 00 00 00 00 00 00", "4 elements do not fit in 6 bytes");
  for (const code of ["70", "80", "94", "b1", "d0", "d1", "f0", "a1", "c0", "e0"]) {
    assertRefused(`f0 00 00 00 05 00 00 00 01 ${code}`, "1 elements do not fit in 0 bytes");
  }
});

test("ATK-3: what nests too deep is refused, whatever nests", () => {
  const nested = {
    list: (inner: Value): Value => [inner],
    map: (inner: Value): Value => new Map([["k", inner]]),
    key: (inner: Value): Value => new Map([[inner, "v"]]),
    array: (inner: Value): Value => array("list", [[inner]]),
    described: (inner: Value): Value => described(1n, inner),
    descriptor: (inner: Value): Value => new Described(inner, 1n),
  };
  for (const [name, wrap] of Object.entries(nested)) {
    const step = name === "array" ? 2 : 1;
    let value: Value = true;
    for (let depth = 0; depth < 32; depth += step) value = wrap(value);
    assertEquals(decode(encode(value)), value);
    assertRefused(encode(wrap(value)), "values nest deeper than 32");
  }
});

test("ATK-3: a descriptor chain of an array is counted", () => {
  assertRefused(sized("e0", 0, `${"00 53 01".repeat(80)} 40`), "descriptors nest deeper than 32");
});

test("ATK-3: a hundred thousand levels are an error, not an overflow", () => {
  assertRefused("00".repeat(100000), "values nest deeper than 32");
  assertRefused("0040".repeat(100000), "values nest deeper than 32");
  const limits = { maxDepth: Number.MAX_SAFE_INTEGER, maxElements: 10 };
  assertRefused("00".repeat(100000), "values nest deeper than 1000", limits);
});

test("ATK-3: a value that holds itself is an error, not an overflow", () => {
  const list: Value[] = [];
  list.push(list);
  assertThrows(() => encode(list), RangeError, "Cannot encode value: it nests deeper than 1000");
  const map = new Map<Value, Value>();
  map.set("self", map);
  assertThrows(() => encode(map), RangeError);
  const items: Value[][] = [];
  items.push([array("list", items)]);
  assertThrows(() => encode(array("list", items)), RangeError);
});

test("ATK-3: nested arrays cost no more than their size", () => {
  let value: Value = array("ubyte", [1]);
  for (let depth = 0; depth < 30; depth++) value = array("array", [value as AmqpArray, array("null", [])]);
  assertEquals(decode(encode(value)), value);
});

test("ATK-5: a length near 2^32 is refused", () => {
  for (const code of ["b0", "b1", "b3"]) {
    assertRefused(`${code} ff ff ff ff 00`, "4294967295 bytes are needed, 1 remain");
    assertRefused(`${code} ff ff ff fb 00`, "4294967291 bytes are needed, 1 remain");
    assertRefused(`${code} 80 00 00 00 00`, "2147483648 bytes are needed, 1 remain");
    assertRefused(`f0 00 00 00 09 00 00 00 01 ${code} ff ff ff ff`, "4294967295 bytes are needed, 0 remain");
  }
});

test("ATK-25: keys that name a prototype are keys like any other", () => {
  const names = "a3 09 5f5f70726f746f5f5f 41 a3 0b 636f6e7374727563746f72 42 a3 08 746f537472696e67 40";
  const reader = new Reader(wire(sized("c1", 6, names)));
  const record = readRecord(reader, reader.code(), "symbol");
  assertStrictEquals(Object.getPrototypeOf(record), null);
  assertEquals(Object.keys(record), ["__proto__", "constructor", "toString"]);
  assertEquals(Object.getOwnPropertyDescriptor(record, "__proto__")?.value, true);
  assertStrictEquals(({} as Record<string, unknown>).polluted, undefined);
  const writer = new Writer();
  writer.record(record, "symbol");
  assertEquals(
    decode(writer.take()),
    new Map<Value, Value>([[symbol("__proto__"), true], [symbol("constructor"), false], [symbol("toString"), null]]),
  );
});

test("TYP-11: a record refuses keys that are null, of another type, or equal", () => {
  const read = (hex: string, type: "symbol" | "string") => () => {
    const reader = new Reader(wire(hex));
    return readRecord(reader, reader.code(), type);
  };
  assertThrows(read("c1 03 02 40 41", "symbol"), Error, "a map key has constructor 0x40, not symbol");
  assertThrows(read("c1 05 02 a1 01 61 41", "symbol"), Error, "a map key has constructor 0xa1, not symbol");
  assertThrows(read("c1 05 02 a3 01 61 41", "string"), Error, "a map key has constructor 0xa3, not string");
  assertThrows(read("c1 09 04 a3 01 61 41 a3 01 61 42", "symbol"), Error, 'map key "a" occurs twice');
  assertThrows(read("c0 01 00", "symbol"), Error, "constructor 0xc0 is not map");
});

test("TYP-5: a record keeps the order of keys that are numbers, and the types of its values", () => {
  const hex = sized("c1", 8, "a3 01 62 52 05 a3 01 39 41 a3 01 31 54 07 a3 01 61 72 3f c0 00 00");
  const reader = new Reader(wire(hex));
  const record = readRecord(reader, reader.code(), "symbol");
  assertEquals({ ...record }, { b: 5, 9: true, 1: 7, a: 1.5 });
  const written = () => {
    const writer = new Writer();
    writer.record(record, "symbol");
    return encodeHex(writer.take());
  };
  assertEquals(written(), compact(hex));
  delete record[9];
  record.new = true;
  const keys = decode(written()) as Map<Value, Value>;
  assertEquals([...keys.keys()].map(String), ["b", "1", "a", "new"]);
});

test("TYP-3: wrappers inside containers are not unwrapped", () => {
  const list = [int(1), uint(2), float(1.5), timestamp(5), ulong(6), char("x")];
  assertEquals(encode(list), sized("c0", 6, "54 01 52 02 72 3fc00000 83 0000000000000005 53 06 73 00000078"));
});
