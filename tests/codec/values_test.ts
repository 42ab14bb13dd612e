import { assert, assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import { hex } from "../../src/base/text.ts";
import { parseUuid } from "../../src/codec/primitives.ts";
import {
  AmqpArray,
  array,
  byte,
  char,
  decimal32,
  Described,
  described,
  double,
  float,
  int,
  long,
  symbol,
  timestamp,
  Typed,
  uint,
  ulong,
  uuid,
} from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";

test("TYP-1: a wrapper tells its type and acts as its value", () => {
  const five = uint(5);
  assertInstanceOf(five, Typed);
  assertEquals([five.type, five.value], ["uint", 5]);
  assert(Number(five) + 1 === 6 && (five as unknown as number) > 4);
  assertEquals(`${five} ${byte(-1)} ${ulong(7)} ${symbol("s")}`, "5 -1 7 s");
  assertEquals(String(decimal32(Uint8Array.of(1, 0xff, 0, 16))), "01ff0010");
});

test("TYP-1: wrappers have a form in JSON", () => {
  const values = {
    a: uint(5),
    b: long(2n ** 60n),
    c: symbol("s"),
    d: decimal32(new Uint8Array(4)),
    e: array("int", [1]),
  };
  assertEquals(JSON.parse(JSON.stringify(values)), { a: 5, b: "1152921504606846976", c: "s", d: "00000000", e: [1] });
});

test("TYP-8: wrappers bring values to the form that decoding gives", () => {
  assertStrictEquals(ulong(5).value, 5n);
  assertStrictEquals(long(-5).value, -5n);
  assertStrictEquals(float(0.1).value, Math.fround(0.1));
  assertStrictEquals(double(0.1).value, 0.1);
  assertStrictEquals(int(-5).value, -5);
  assertStrictEquals(char(0x41).value, "A");
  assertStrictEquals(timestamp(new Date(5)).value, 5n);
  assertStrictEquals(uuid("AABBCCDD-0011-2233-4455-66778899AABB").value, "aabbccdd-0011-2233-4455-66778899aabb");
  assertEquals(uuid(parseUuid("aabbccdd-0011-2233-4455-66778899aabb")), uuid("AABBCCDD-0011-2233-4455-66778899AABB"));
});

test("TYP-6: an array goes through its items", () => {
  const symbols = array("symbol", ["a", "b"], [1n]);
  assertInstanceOf(symbols, AmqpArray);
  assertEquals([...symbols], ["a", "b"]);
  assertEquals([symbols.type, symbols.items, symbols.descriptors], ["symbol", ["a", "b"], [1n]]);
  assertEquals(described("a:b", 1), new Described("a:b", 1));
});

test("Writer: bytes are handed over, and what comes next stands elsewhere", () => {
  const writer = new Writer(4);
  assertEquals(writer.take(), new Uint8Array(0));
  writer.append(Uint8Array.of(1, 2, 3, 4, 5));
  writer.u8(6);
  writer.u32(0x0708090a);
  assertEquals(writer.length, 10);
  assertEquals(hex(writer.view()), "0102030405060708090a");
  writer.overwrite32(0xffffffff, 1);
  writer.truncate(6);
  const taken = writer.take();
  assertEquals(hex(taken), "01ffffffff06");
  assertEquals([writer.length, writer.view().length], [0, 0]);
  writer.append(Uint8Array.of(9, 9, 9));
  assertEquals(hex(taken), "01ffffffff06");
  assertEquals(hex(writer.take()), "090909");
});

test("Writer: a value that fails inside others can be taken back", () => {
  const writer = new Writer();
  writer.value(true);
  const { length } = writer;
  let thrown = 0;
  for (let i = 0; i < 2000; i++) {
    try {
      writer.value([[[(() => 1) as never]]]);
    } catch (error) {
      assertInstanceOf(error, TypeError);
      thrown++;
      writer.truncate(length);
    }
  }
  writer.value([false]);
  assertEquals([thrown, hex(writer.take())], [2000, "41c0020142"]);
});
