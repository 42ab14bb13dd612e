import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { concat } from "@std/bytes";
import { decodeHex, encodeHex } from "@std/encoding";
import { random, seed, test } from "./harness.ts";

test("harness: the same seed gives the same sequence on every runtime", () => {
  const { int, bytes, pick } = random(1);
  assertEquals([int(0x1_0000_0000), int(10), int(1)], [2693262067, 0, 0]);
  assertEquals(encodeHex(bytes(4)), "fbf7479c");
  assertEquals(pick(["a", "b", "c"]), "c");
});

test("harness: every number lies within its limit and each is reached", () => {
  const { int } = random(seed());
  const seen = new Set<number>();
  for (let i = 0; i < 1000; i++) seen.add(int(7));
  assertEquals([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
});

test("harness: a failing assertion fails, thrown or rejected", async () => {
  assertThrows(() => assertEquals(1, 2), Error, "not equal");
  // deno-lint-ignore require-await
  await assertRejects(async () => assert(false), Error);
  assertEquals(concat([decodeHex("00ff"), decodeHex("7f")]), new Uint8Array([0, 255, 127]));
});
