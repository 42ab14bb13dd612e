import { assert } from "@std/assert";
import { random, seed, test } from "../harness.ts";
import { World } from "./world.ts";

// Most runs on one runtime, some on the others, which run the same code.
const RUNS = "Deno" in globalThis ? 250 : 80;

test("SES-7, FLW-4, TRF-3, DSP-1: whatever both sides do, all that is sent arrives once, in order, and settles once", () => {
  const first = seed();
  let [delivered, settled] = [0, 0];
  for (let run = 0; run < RUNS; run++) {
    const source = random(first + run);
    const world = new World(source);
    try {
      for (let steps = 50 + source.int(200); steps > 0; steps--) {
        world.step();
        world.check();
      }
      if (source.int(5) === 0) world.lose();
      else world.finish();
    } catch (error) {
      throw new Error(`run ${run} of seed ${first}, repeat it with SEED=${first + run}`, { cause: error });
    }
    delivered += world.delivered;
    settled += world.settled;
  }
  assert(delivered > 10 * RUNS && settled > RUNS, `only ${delivered} deliveries and ${settled} outcomes`);
});
