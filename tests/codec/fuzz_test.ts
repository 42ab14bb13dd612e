import { assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { decodeComposite, encodeComposite, print } from "../../src/codec/composite.ts";
import { definitions } from "../../src/codec/definitions.ts";
import { beginFrame, endFrame, FrameDecoder } from "../../src/codec/frame.ts";
import { data, decodeMessage, type Message, writeMessage } from "../../src/codec/message.ts";
import { Reader } from "../../src/codec/reader.ts";
import type { Composite, Kind } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { AmqpError } from "../../src/base/errors.ts";
import { type Random, random, seed, test } from "../harness.ts";
import { amidst } from "./bytes.ts";
import { randomValue } from "./random_values.ts";
import { sample } from "./samples.ts";

const interesting = [0x00, 0x01, 0x40, 0x43, 0x45, 0x53, 0x7f, 0x80, 0xa0, 0xb1, 0xc0, 0xd0, 0xd1, 0xe0, 0xf0, 0xff];

/** The bytes with a few small changes that tend to break decoders. */
function mutated(source: Random, original: Uint8Array): Uint8Array {
  let bytes = original.slice();
  for (let changes = 1 + source.int(3); changes > 0; changes--) {
    const at = source.int(bytes.length + 1);
    switch (source.int(6)) {
      case 0:
        if (at < bytes.length) bytes[at] ^= 1 << source.int(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = source.pick(interesting);
        break;
      case 2:
        bytes = concat([bytes.subarray(0, at), bytes.subarray(at + 1 + source.int(4))]);
        break;
      case 3:
        bytes = concat([bytes.subarray(0, at), source.bytes(1 + source.int(4)), bytes.subarray(at)]);
        break;
      case 4:
        bytes = concat([bytes.subarray(0, at), bytes.subarray(source.int(bytes.length + 1))]);
        break;
      case 5:
        if (at + 4 <= bytes.length) {
          new DataView(bytes.buffer, bytes.byteOffset).setUint32(
            at,
            source.pick([0, 1, 0x7fffffff, 0x80000000, 0xffffffff]),
          );
        }
    }
  }
  return bytes;
}

/** The result of `run`, or undefined for an AMQP error; other errors pass. */
function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof AmqpError) return undefined;
    throw error;
  }
}

/** A decoded composite can be printed and encoded, and decodes again to the same; a part that was skipped is not encoded. */
function assertUsable(composite: Composite): void {
  if (print(composite).includes("unknown(")) return;
  const writer = new Writer();
  encodeComposite(writer, composite);
  assertEquals(decodeComposite(new Reader(amidst(writer.take()))), composite);
}

function kinds(): Exclude<Kind, "error" | "header" | "properties">[] {
  const plain = ["error", "header", "properties"];
  return (Object.keys(definitions) as Kind[]).filter((kind) => !plain.includes(kind)) as ReturnType<typeof kinds>;
}

test("ATK-33: every composite with every bit flipped is a result or an AMQP error", () => {
  for (const kind of kinds()) {
    const writer = new Writer();
    encodeComposite(writer, sample(kind));
    const bytes = amidst(writer.take());
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      bytes[bit >> 3] ^= 1 << (bit & 7);
      const composite = attempt(() => decodeComposite(new Reader(bytes)));
      if (composite !== undefined) assertUsable(composite);
      bytes[bit >> 3] ^= 1 << (bit & 7);
    }
  }
});

test("ATK-33: mutated frames in pieces are frames or an AMQP error", () => {
  const source = random(seed());
  const bodies = kinds().map((kind) => sample(kind));
  for (let i = 0; i < 3000; i++) {
    const writer = new Writer();
    for (let frames = source.int(3); frames >= 0; frames--) {
      const body = source.pick(bodies);
      const start = beginFrame(writer, body.kind.startsWith("sasl") ? 1 : 0, source.int(65536));
      encodeComposite(writer, body);
      if (body.kind === "transfer") writer.append(source.bytes(source.int(20)));
      endFrame(writer, start);
    }
    const bytes = mutated(source, writer.take());
    const decoder = new FrameDecoder({ maxFrameSize: 4096 });
    const cut = source.int(bytes.length + 1);
    for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      decoder.push(amidst(piece));
      for (let frame = attempt(() => decoder.frame()); frame !== undefined; frame = attempt(() => decoder.frame())) {
        if (frame.body !== undefined) assertUsable(frame.body);
      }
    }
  }
});

test("ATK-33: mutated messages are messages or an AMQP error", () => {
  const source = random(seed() + 1);
  for (let i = 0; i < 3000; i++) {
    const message: Message = {
      header: sample("header"),
      messageAnnotations: { a: randomValue(source, 1).given },
      properties: sample("properties"),
      applicationProperties: { a: 1, b: "text", c: null },
      body: source.int(3) === 0 ? data([source.bytes(3), source.bytes(4)]) : [randomValue(source, 2).given],
    };
    const writer = new Writer();
    writeMessage(message, writer);
    const decoded = attempt(() => decodeMessage(amidst(mutated(source, writer.take()))));
    if (decoded === undefined) continue;
    // Decoding accepts values there that encoding refuses [messaging 3.2.5].
    decoded.applicationProperties = undefined;
    writeMessage(decoded, writer);
    decodeMessage(amidst(writer.take()));
  }
});

test("ATK-33: random bytes are a value or an AMQP error", () => {
  const source = random(seed() + 2);
  for (let i = 0; i < 10000; i++) {
    const bytes = source.bytes(1 + source.int(24));
    if (source.int(2) === 0) bytes[0] = source.pick(interesting);
    const reader = new Reader(amidst(bytes));
    const value = attempt(() => reader.value());
    // Numbers alone do not show their type.
    if (value === undefined || typeof value === "number" || typeof value === "bigint") continue;
    const writer = new Writer();
    writer.value(value);
    const again = writer.take();
    assertEquals(new Reader(amidst(again)).value(), value);
  }
});
