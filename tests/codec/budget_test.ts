/**
 * Decoding costs no more than its budget, whatever the bytes say.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { beginFrame, endFrame, FrameDecoder } from "../../src/codec/frame.ts";
import { decodeMessage, writeMessage } from "../../src/codec/message.ts";
import { MAX_FRAME_VALUES, MAX_VALUES } from "../../src/codec/limits.ts";
import { uint, type Value } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";
import { wire } from "./bytes.ts";

const limits = { maxDepth: 32, maxElements: 65_536 };

/** A message whose body is a list of `count` equal items. */
function listOf(count: number, item: string): Uint8Array {
  const bytes = wire(item);
  const message = new Uint8Array(12 + count * bytes.length);
  message.set([0, 0x53, 0x77, 0xd0]);
  const view = new DataView(message.buffer);
  view.setUint32(4, 4 + count * bytes.length);
  view.setUint32(8, count);
  for (let i = 0; i < count; i++) message.set(bytes, 12 + i * bytes.length);
  return message;
}

function refuses(run: () => unknown, scope: string): void {
  const error = assertThrows(run, AmqpError, "the values weigh more than");
  assertEquals([error.condition, error.scope], [condition.resourceLimitExceeded, scope]);
}

test("ATK-3, ATK-34: a message of more values than maxValues is an error of that delivery", () => {
  for (
    const item of ["40", "45", "c1 01 00", "a0 00", "a3 00", "43", "00 53 01 40", "83 0000000000000000", "e0 02 00 40"]
  ) {
    refuses(() => decodeMessage(listOf(100, item), { ...limits, maxValues: 100 }), "delivery");
    assertEquals((decodeMessage(listOf(100, item), { ...limits, maxValues: 2_500 }).body as Value[]).length, 100);
  }
  const keys = new Writer();
  writeMessage(
    { messageAnnotations: Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, null])) },
    keys,
  );
  refuses(() => decodeMessage(keys.view(), { ...limits, maxValues: 200 }), "delivery");
});

test("ATK-3: a map of more entries than any Map holds is an error of that delivery", () => {
  const head = [0, 0x53, 0x77, 0xd1];
  const count = 2 * (0xff_ffff + 1);
  const message = new Uint8Array(12 + count).fill(0x40);
  message.set(head);
  new DataView(message.buffer).setUint32(4, 4 + count);
  new DataView(message.buffer).setUint32(8, count);
  refuses(() => decodeMessage(message, limits), "delivery");
  const error = assertThrows(
    () => decodeMessage(message, { ...limits, maxValues: Number.MAX_SAFE_INTEGER }),
    AmqpError,
    "is more than a Map holds",
  );
  assertEquals(error.scope, "delivery");
});

test("ATK-3: what ordinary messages hold is far from the defaults", () => {
  const body: Value[] = Array.from({ length: 100_000 }, (_, i) => ({ id: uint(i), name: `n${i}`, price: i / 3 }));
  const writer = new Writer();
  writeMessage({ body }, writer);
  assertEquals((decodeMessage(writer.view(), { ...limits }).body as Value[]).length, 100_000);
  assert((decodeMessage(listOf(1_000_000, "52 05")).body as Value[]).every((item) => item === 5));
  refuses(() => decodeMessage(listOf(MAX_VALUES, "40")), "delivery");
});

test("ATK-3, ATK-34: a frame of more values than maxFrameValues is an error of the connection, and each has its own budget", () => {
  const writer = new Writer();
  const at = beginFrame(writer, 0, 0);
  const values = new Uint8Array(1_005).fill(0x45);
  writer.append(wire("00 53 18 d0 0000040a 00000001 00 53 1d d0 000003fe 00000003 a3 01 61 40 d1 000003f1 000003ec"));
  writer.append(values);
  endFrame(writer, at);
  const decoder = new FrameDecoder({ maxFrameSize: 65_536, limits: { ...limits, maxFrameValues: 50 } });
  decoder.push(writer.view());
  refuses(() => decoder.frame(), "connection");

  const fine = new FrameDecoder({ maxFrameSize: 65_536 });
  const open = new Writer();
  const start = beginFrame(open, 0, 0);
  open.append(wire("00 53 10 c0 04 01 a1 01 63"));
  endFrame(open, start);
  for (let i = 0; i < 3; i++) {
    fine.push(open.view());
    assertEquals(fine.frame()?.body?.kind, "open");
    assert(fine.weight > 0 && fine.weight < 50);
  }
  assert(MAX_FRAME_VALUES < MAX_VALUES);
});
