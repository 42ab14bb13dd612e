import { assert, assertEquals } from "@std/assert";
import { Fifo, SerialMap } from "../../src/base/collections.ts";
import { random, seed, test } from "../harness.ts";

test("a fifo does what an array does, whatever the order of pushing, taking and removing", () => {
  const { int } = random(seed());
  const fifo = new Fifo<number>();
  let array: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    // The map grows and shrinks by turns.
    const growing = (i >> 9) % 2 === 0;
    const step = int(10);
    if (step < (growing ? 6 : 3)) {
      fifo.push(i);
      array.push(i);
    } else if (step < 9) assertEquals(fifo.shift(), array.shift());
    else {
      const item = array[int(array.length + 1)] ?? -1;
      assertEquals(fifo.remove(item), array.includes(item));
      array = array.filter((other) => other !== item);
    }
    assertEquals([fifo.length, fifo.first], [array.length, array[0]]);
  }
  assertEquals(fifo.clear(), array);
  assertEquals([fifo.length, fifo.first, fifo.shift()], [0, undefined, undefined]);
});

test("a serial map does what a Map does, with keys in order, around the wrap, far apart, and texts", () => {
  const { int } = random(seed());
  const ours = new SerialMap<number | string, number>();
  const model = new Map<number | string, number>();
  let next = 0xffff_0000;
  for (let i = 0; i < 40_000; i++) {
    const growing = (i >> 11) % 2 === 0;
    // Mostly consecutive keys; tags of a counter, lowest byte first, share their last bits.
    const kind = int(20);
    const key = kind < 16 ? next = (next + 1) >>> 0 : kind < 18 ? int(256) << 24 : kind < 19 ? -int(9) : `${int(99)}`;
    if (int(10) < (growing ? 7 : 3)) {
      if (!model.has(key)) ours.set(key, i);
      model.set(key, ours.get(key)!);
    } else {
      const keys = [...model.keys()];
      const old = keys[int(4) === 0 ? int(keys.length + 1) : 0] ?? key;
      assertEquals(ours.delete(old), model.delete(old));
      assertEquals(ours.get(old), undefined);
    }
    assertEquals([ours.size, ours.get(key)], [model.size, model.get(key)]);
  }
  assertEquals(ours.values().sort((a, b) => a - b), [...model.values()].sort((a, b) => a - b));
  for (const [key, value] of model) assertEquals([ours.get(key), ours.delete(key)], [value, true]);
  assertEquals([ours.size, ours.values()], [0, []]);
});

test("a serial map gives back the places of a peak, though a few entries stay", () => {
  class Counted extends SerialMap<number, number> {
    get places(): number {
      return this.slots;
    }
  }
  for (const step of [1, 3, 1 << 16]) {
    const map = new Counted();
    const keyOf = (i: number): number => i * step | 0;
    for (let i = 0; i < 60_000; i++) map.set(keyOf(i), i);
    for (let i = 0; i < 59_990; i++) assert(map.delete(keyOf(i)));
    assert(map.places <= 4_096, `${map.places} places, keys ${step} apart`);
    const rest = Array.from({ length: 10 }, (_, i) => 59_990 + i);
    assertEquals(map.values().sort((a, b) => a - b), rest);
    for (const i of rest) assertEquals(map.get(keyOf(i)), i);
    for (let i = 60_000; i < 70_000; i++) {
      map.set(keyOf(i), i);
      assert(map.delete(keyOf(i)));
    }
    assert(map.places <= 4_096, `${map.places} places, keys ${step} apart`);
  }
});
