import { assert, assertEquals } from "@std/assert";
import { ReadBuffers } from "../../../src/transport/socket/read_buffers.ts";
import { random, seed, test } from "../../harness.ts";

/** Simulates a read of waiting bytes, filled with `mark`. */
function read(buffers: ReadBuffers, waiting: number, mark: number): Uint8Array<ArrayBuffer> {
  const { free } = buffers;
  const length = Math.min(waiting, free.length);
  free.fill(mark, 0, length);
  return buffers.take(length);
}

test("read buffers: what a read was handed stays as it is, whatever is read after it", () => {
  const { int } = random(seed());
  const buffers = new ReadBuffers();
  const reads: Uint8Array[] = [];
  for (let i = 0; i < 2_000; i++) {
    const waiting = 1 + int([10, 1_000, 30_000, 400_000][int(4)]!);
    reads.push(read(buffers, waiting, i & 255));
  }
  for (const [i, bytes] of reads.entries()) {
    assert(bytes.length > 0);
    assert(bytes.every((byte) => byte === (i & 255)), `read ${i}`);
    // The engine keeps views of buffers up to this size.
    assert(bytes.buffer.byteLength <= 262_144);
  }
});

test("read buffers: a busy connection reads 256 KiB at a time, an idle one keeps 16 KiB", () => {
  const buffers = new ReadBuffers();
  assertEquals(buffers.free.length, 16_384);
  const reads = Array.from({ length: 100 }, (_, i) => read(buffers, 1_000_000, i));
  assertEquals([reads.at(-1)!.length, buffers.free.length], [262_144, 262_144]);
  const small = Array.from({ length: 10_000 }, (_, i) => read(buffers, 100, i & 255));
  assertEquals(small.at(-1)!.buffer.byteLength, 16_384);
  // Small reads share a buffer.
  assert(new Set(small.map(({ buffer }) => buffer)).size <= 100);
});
