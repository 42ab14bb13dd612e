/**
 * The questions of the conformance sheet, asked of our own broker; `ask.ts` asks others.
 *
 * @module
 */

import { Broker } from "../../src/broker/broker.ts";
import { faulty } from "../../src/testing/mod.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { probes, put } from "./probes.ts";

for (const probe of probes) {
  test(`${probe.id}: a server is asked: ${probe.name}`, async () => {
    for (const chop of [undefined, 1]) {
      const broker = new Broker({ log: null });
      const [asking, asked] = channelPair();
      broker.accept(chop === undefined ? asked : faulty(asked, { chop }));
      await put(probe, asking, undefined, 5_000);
      await broker.close({ timeoutMs: 50 });
    }
  });
}
