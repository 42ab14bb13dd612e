import { assertEquals } from "@std/assert";
import { Fifo } from "../../src/base/collections.ts";
import { random, seed, test } from "../harness.ts";

test("a fifo does what an array does, whatever the order of pushing, taking and removing", () => {
  const { int } = random(seed());
  const fifo = new Fifo<number>();
  let array: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    // Now it grows, now it shrinks.
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
