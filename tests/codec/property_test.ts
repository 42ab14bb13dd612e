import { assertEquals } from "@std/assert";
import { encodeHex } from "@std/encoding";
import { decodeMessage, type Message, writeMessage } from "../../src/codec/message.ts";
import type { Fields, Value } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { type Random, random, seed, test } from "../harness.ts";
import { amidst, decode, encode } from "./bytes.ts";
import { randomValue } from "./random_values.ts";

test("TYP-1 TYP-3: any value comes back as it was, and encodes to the same bytes again", () => {
  const source = random(seed());
  for (let i = 0; i < 3000; i++) {
    const { given, decoded } = randomValue(source, 4);
    // Inside a list, whose wire types are recorded.
    const hex = encode([given]);
    const value = decode(hex);
    assertEquals(value, [decoded]);
    assertEquals(encode(value), hex);
  }
});

test("TYP-4: the encoding of a value, cut anywhere, is refused and nothing else", () => {
  const source = random(seed() + 1);
  for (let i = 0; i < 100; i++) {
    const writer = new Writer();
    writer.value(randomValue(source, 3).given);
    const bytes = writer.take();
    const cut = amidst(bytes.subarray(0, source.int(bytes.length)));
    let refused = false;
    try {
      decode(cut);
    } catch (error) {
      refused = (error as Error).name === "AmqpError";
    }
    assertEquals(refused, true);
  }
});

function randomFields(source: Random): { given: Fields; decoded: Fields } {
  const given: Fields = {};
  const decoded: Fields = Object.create(null);
  const length = source.int(4);
  for (let i = 0; i < length; i++) {
    const key = source.pick(["a", "x-opt-b", "7", "03", "2", "__proto__", "constructor", ""]);
    const value = randomValue(source, 2);
    Object.defineProperty(given, key, { value: value.given, enumerable: true, writable: true, configurable: true });
    decoded[key] = value.decoded;
  }
  return { given, decoded };
}

test("MSG-1: any message comes back as it was, and encodes to the same bytes again", () => {
  const source = random(seed() + 2);
  for (let i = 0; i < 500; i++) {
    const given: Message = {};
    const expected: Record<string, unknown> = {};
    for (const section of ["deliveryAnnotations", "messageAnnotations", "footer"] as const) {
      const fields = source.int(3) > 0 ? randomFields(source) : undefined;
      given[section] = fields?.given;
      expected[section] = fields?.decoded;
    }
    const body = randomValue(source, 3);
    given.body = body.given instanceof Uint8Array ? [body.given] : body.given;
    const writer = new Writer();
    writeMessage(given, writer);
    const hex = encodeHex(writer.take());
    const message = decodeMessage(amidst(fromHex(hex)));
    for (const section of ["deliveryAnnotations", "messageAnnotations", "footer"] as const) {
      assertEquals<unknown>(message[section], expected[section]);
    }
    writeMessage(message, writer);
    assertEquals(encodeHex(writer.take()), hex);
  }
});

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

test("TYP-3: values that share a writer do not disturb each other", () => {
  const source = random(seed() + 3);
  const writer = new Writer(8);
  const values: Value[] = Array.from({ length: 200 }, () => randomValue(source, 2).given);
  let together = "";
  for (const value of values) {
    writer.value(value);
    if (source.int(4) === 0) together += encodeHex(writer.take());
  }
  together += encodeHex(writer.take());
  assertEquals(together, values.map(encode).join(""));
});
