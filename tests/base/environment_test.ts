import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { hex } from "../../src/base/text.ts";
import { randomName, systemEnvironment } from "../../src/base/environment.ts";
import { test } from "../harness.ts";

const random = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  systemEnvironment.random(bytes);
  return bytes;
};

test("environment: no random bytes are handed out twice, whatever the lengths asked for", () => {
  const lengths = [16, 4, 255, 256, 257, 1, 16, 100, 200, 4_096];
  const seen = new Set<string>();
  for (let round = 0; round < 50; round++) {
    for (const length of lengths) {
      const bytes = random(length);
      for (let at = 0; at + 16 <= length; at += 16) seen.add(hex(bytes.subarray(at, at + 16)));
    }
  }
  const pieces = lengths.reduce((sum, length) => sum + Math.floor(length / 16), 0);
  assertEquals(seen.size, 50 * pieces);
});

test("environment: each byte is random, at the edges of what is asked of the system, too", () => {
  const ones = new Array<number>(7 * 8).fill(0);
  const rounds = 4_000;
  for (let round = 0; round < rounds; round++) {
    random(7).forEach((byte, i) => {
      for (let bit = 0; bit < 8; bit++) ones[i * 8 + bit]! += byte >> bit & 1;
    });
  }
  // Eight standard deviations.
  const allowed = 4 * Math.sqrt(rounds);
  assert(ones.every((count) => Math.abs(count - rounds / 2) < allowed), `${ones}`);
});

test("environment: a random name has 128 bits in hex", () => {
  assertEquals(/^[\da-f]{32}$/.test(randomName()), true);
  assertNotEquals(randomName(), randomName());
});
