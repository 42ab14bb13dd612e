/**
 * Measures decoding per byte of input: memory and time of each shape that is small on the wire and large in memory.
 * `--expose-gc` tells what is garbage from what is kept.
 *
 * @module
 */

import process from "node:process";
import { AmqpError } from "../../src/base/errors.ts";
import { MAX_VALUES } from "../../src/codec/limits.ts";
import { readRecord } from "../../src/codec/composite.ts";
import { Reader } from "../../src/codec/reader.ts";
import { hex } from "../transport/wire.ts";

/** The result for one shape. */
export interface Weight {
  readonly shape: string;
  /** Bytes of memory for each byte of input. */
  readonly memory: number;
  /** Bytes of memory for each unit of the budget. */
  readonly perUnit: number;
  /** Nanoseconds for each byte of input. */
  readonly time: number;
}

/** Items of a list, each small on the wire, as hex. */
const shapes: Readonly<Record<string, string>> = {
  "null": "40",
  "uint 0": "43",
  "uints and nulls": "43 40",
  "ulong 0": "44",
  "double": "82 3ff8000000000000",
  "timestamp": "83 000000e8d4a51000",
  "empty binary": "a0 00",
  "empty string": "a1 00",
  "string of one character": "a1 02 c3 a9",
  "empty symbol": "a3 00",
  "char": "73 00000061",
  "decimal32": "74 00000000",
  "uuid": "98 00112233445566778899aabbccddeeff",
  "empty list": "45",
  "list of null": "c0 02 01 40",
  "list of uint 0": "c0 02 01 43",
  "list of two types": "c0 03 02 43 40",
  "empty map": "c1 01 00",
  "map of one entry": "c1 03 02 40 40",
  "map of uint keys": "c1 03 02 43 43",
  "map with a list as its key": "c1 03 02 45 40",
  "described": "00 44 40",
  "described uint": "00 44 43",
  "empty array": "e0 02 00 40",
  "array of lists": "e0 02 03 45",
};

/** Measures all shapes; each with about a megabyte. */
export function measure(): Weight[] {
  const gc = (globalThis as { gc?: () => void }).gc;
  if (gc === undefined) throw new TypeError("Cannot measure memory: run with --expose-gc");
  const weights = Object.entries(shapes).map(([shape, item]) => weigh(shape, listOf(item, 1_000_000), gc));
  weights.push(
    weigh(
      "annotations of distinct keys",
      annotations(100_000),
      gc,
      (reader) => readRecord(reader, reader.code(), "symbol"),
    ),
  );
  return weights.sort((a, b) => b.memory - a.memory);
}

function weigh(
  shape: string,
  bytes: Uint8Array,
  gc: () => void,
  read = (reader: Reader): unknown => reader.value(),
): Weight {
  const limits = { maxDepth: 32, maxElements: Infinity, maxValues: Infinity };
  const decode = (): { reader: Reader; value: unknown } => {
    const reader = new Reader(bytes, limits, "delivery");
    return { value: read(reader), reader };
  };
  // Once, for allocations that happen only once.
  decode();
  const before = used(gc);
  const started = performance.now();
  const { value, reader } = decode();
  const time = performance.now() - started;
  const memory = used(gc) - before;
  if (value === undefined) throw new TypeError("Cannot measure memory: the value is gone");
  return { shape, memory: memory / bytes.length, perUnit: memory / reader.weight, time: 1e6 * time / bytes.length };
}

function used(gc: () => void): number {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function listOf(item: string, size: number): Uint8Array {
  const bytes = hex(item);
  const values = Math.floor(size / bytes.length);
  const count = item === "43 40" ? 2 * values : values;
  const list = new Uint8Array(9 + values * bytes.length);
  list[0] = 0xd0;
  new DataView(list.buffer).setUint32(1, 4 + values * bytes.length);
  new DataView(list.buffer).setUint32(5, count);
  for (let i = 0; i < values; i++) list.set(bytes, 9 + i * bytes.length);
  return list;
}

function annotations(count: number): Uint8Array {
  const map = new Uint8Array(9 + 9 * count);
  map[0] = 0xd1;
  const view = new DataView(map.buffer);
  view.setUint32(1, 4 + 9 * count);
  view.setUint32(5, 2 * count);
  for (let i = 0; i < count; i++) {
    map.set([0xa3, 6, ...String(i).padStart(6, "k").split("").map((c) => c.charCodeAt(0)), 0x43], 9 + 9 * i);
  }
  return map;
}

/** Prints all shapes, the worst first, and the most that a message within the default budget can take. */
export function printWeights(): void {
  const weights = measure();
  console.log("shape                          memory per byte   per unit   ns per byte");
  for (const { shape, memory, perUnit, time } of weights) {
    console.log(
      `${shape.padEnd(30)} ${memory.toFixed(1).padStart(15)} ${perUnit.toFixed(0).padStart(10)} ${
        time.toFixed(0).padStart(13)
      }`,
    );
  }
  const worst = Math.max(...weights.map(({ perUnit }) => perUnit));
  console.log(`at most ${Math.round(worst * MAX_VALUES / 1_048_576)} MiB for a message within the default maxValues`);
  if (worst > 48) throw new AmqpError("amqp:internal-error", `Cannot bound memory: a unit takes ${worst} bytes`);
}
