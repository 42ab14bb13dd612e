/**
 * What is checked with every foreign broker, however it is reached.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Place } from "./ours/client.ts";
import type { Runtime } from "./runtimes.ts";
import type { Suite } from "./suite.ts";

/** One way to one broker. */
export interface BrokerTerms {
  /** What stands in front of the checks' names. */
  readonly how: string;
  /** Where messages of that name go. */
  place(name: string): Place | Promise<Place>;
  /** Whether it delivers again what was released. */
  readonly redelivers: boolean;
  /** Whether it takes lists as bodies. */
  readonly lists: boolean;
  /** How many messages to send. */
  readonly many: number;
  /** The bytes of a large message. */
  readonly large: number;
}

/** Sending, receiving and settling, much and many. */
export function brokerChecks(
  runtime: Runtime,
  { how, place, redelivers, lists, many, large }: BrokerTerms,
): Suite["checks"] {
  return {
    [`${how}: send and receive`]: async () => await runtime.call("roundTrip", await place("one")),
    [`${how}: sections and bodies come back unchanged`]: async () =>
      await runtime.call("sections", await place("sections"), { lists }),
    [`${how}: accept, release, reject`]: async () => {
      const seen = await runtime.call("settle", await place("settle"), [
        "accept",
        "release",
        ...redelivers ? ["accept" as const] : [],
        "reject",
        "accept",
      ]);
      assertEquals(seen, redelivers ? ["a", "b", "b!", "c", "d"] : ["a", "b", "c", "d"]);
    },
    [`${how}: ${many} messages`]: async () => {
      assertEquals(await runtime.call("many", await place("many"), many), many);
    },
    [`${how}: message of ${large / 1e6} MB`]: async () => {
      assert(await runtime.call("large", await place("large"), large));
    },
  };
}
