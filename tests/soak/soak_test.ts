import { assert } from "@std/assert";
import { seed, test } from "../harness.ts";
import { soak } from "./soak.ts";

for (const server of ["broker", "rhea"] as const) {
  for (const scheme of ["amqp", "ws"] as const) {
    test(`soak: 600 messages each way with ${server} over ${scheme}, with cuts at random bytes: the books agree`, async () => {
      const { cuts } = await soak({ scheme, server, messages: 600, cuts: 12, most: 8_000, seed: seed() });
      assert(cuts.rst + cuts.fin + cuts.stall > 0, "nothing was cut");
    });
  }
}
