/**
 * Whether a lasting soak distinguishes a leak from memory that comes and goes.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import { growthOf, type MemorySample } from "./memory.ts";

const samples = (...sizes: number[]): MemorySample[] =>
  sizes.map((size) => ({ heapUsed: size, external: 10, arrayBuffers: 0, resident: 2 * size }));

test("soak: memory that is leaked grows, that which comes and goes does not, and becoming warm does not count", () => {
  assertEquals(growthOf(samples(1, 2, 3, 4, 5, 6)), { heap: 2, resident: 4 });
  assertEquals(growthOf(samples(1, 50, 90, 60, 75, 60)), { heap: 0, resident: -30 });
});

test("soak: of fewer than three samples nobody says that memory is flat", () => {
  assertEquals([growthOf([]), growthOf(samples(1, 90))], [undefined, undefined]);
});
