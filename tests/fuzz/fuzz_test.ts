import { random, seed, test } from "../harness.ts";
import { targets } from "./targets.ts";

const CASES: Readonly<Record<string, number>> = {
  decoder: 2_000,
  fastPath: 2_000,
  message: 2_000,
  engine: 2_000,
  splits: 500,
  world: 30,
  webSocket: 2_000,
  head: 2_000,
  challenge: 2_000,
  client: 30,
  broker: 20,
  acceptor: 20,
  messages: 12,
  cancelled: 12,
};

// All cases on one runtime, some on the others, which run the same code.
const SHARE = "Deno" in globalThis ? 1 : 4;

for (const [name, target] of Object.entries(targets)) {
  test(`ATK-33, ATK-8: whatever arrives, the ${name} gives a result or a typed error`, async () => {
    const first = seed();
    for (let i = 0; i < CASES[name]! / SHARE; i++) {
      try {
        await target(random(first + i));
      } catch (error) {
        throw new Error(`case ${first + i} of "${name}" failed, repeat it with SEED=${first + i}`, { cause: error });
      }
    }
  });
}
