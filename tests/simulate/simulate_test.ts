import { assert, assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import { simulate } from "./simulation.ts";

// All runs on one runtime, some on the others: only the order in which promises settle differs.
const RUNS = "Deno" in globalThis ? 200 : 50;
const BATCH = RUNS / 10;

for (let first = 1; first <= RUNS; first += BATCH) {
  test(`simulation: seeds ${first} to ${first + BATCH - 1}: one outcome per send, nothing lost, nothing left`, async () => {
    let cuts = 0;
    for (let seed = first; seed < first + BATCH; seed++) cuts += (await simulate(seed)).cuts;
    assert(cuts > 0, "the network was too kind");
  });
}

test("simulation: a seed repeats to the byte", async () => {
  for (const seed of [3, 17, 42]) {
    const [one, two] = [await simulate(seed), await simulate(seed)];
    assert(one.trace.length > 50);
    assertEquals(one.trace, two.trace);
  }
});
