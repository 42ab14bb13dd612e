/**
 * What is checked with every foreign broker, however it is reached.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Place } from "./ours/client.ts";
import type { Runtime } from "./runtimes.ts";
import type { Suite } from "./suite.ts";

/** One way to one broker. */
export interface BrokerSettings {
  /** What stands in front of the checks' names. */
  readonly how: string;
  /** Where messages of that name go. */
  place(name: string): Place | Promise<Place>;
  /** Whether it delivers again what was released, and whether it then says that it came before. */
  readonly redelivers: boolean | "unmarked";
  /** Whether a rejected message does not come again. Default: true. */
  readonly rejects?: boolean;
  /** Whether it takes lists as bodies. */
  readonly lists: boolean;
  /** Whether it takes messages that are to survive a restart. Default: true. */
  readonly durable?: boolean;
  /** Whether its links settle in two steps where they are asked to. Default: true. */
  readonly settlesTwice?: boolean;
  /** Whether it keeps what it has handed out to a connection that breaks. Default: true. */
  readonly keeps?: boolean;
  /** Whether it keeps all data sections of a message, in their order. Default: true. */
  readonly ordersSections?: boolean;
  /** How many messages to send. */
  readonly many: number;
  /** The bytes of a large message. */
  readonly large: number;
}

/** Sending, receiving and settling, much and many. */
export function brokerChecks(
  runtime: Runtime,
  settings: BrokerSettings,
): Suite["checks"] {
  const { how, place, redelivers, rejects = true, lists, durable, many, large } = settings;
  const { settlesTwice = true, keeps = true, ordersSections = true } = settings;
  return {
    [`${how}: send and receive`]: async () => await runtime.call("roundTrip", await place("one")),
    [`${how}: sections and bodies come back unchanged`]: async () =>
      await runtime.call("sections", await place("sections"), { lists, durable }),
    [`${how}: links that resume lose nothing, and say where they cannot`]: async () => {
      if (!settlesTwice) {
        const refused = runtime.call("resumed", await place("refused"), 60, keeps);
        await assertRejects(() => refused, Error, "rcv-settle-mode second not supported");
      }
      const mode = settlesTwice ? "second" : "first";
      const [accepted, seen, reasons] = await runtime.call("resumed", await place("resumed"), 60, keeps, mode);
      assertEquals([accepted, keeps ? seen : 60], [60, 60]);
      assert(reasons.length > 0, "no link was told why it was not resumed");
      // Broker-J says so in words; all others answer as if the link were new.
      assert(reasons.every((reason) => /kept nothing of it|does not resume links/.test(reason)), `${reasons}`);
    },
    [`${how}: accept, release, reject`]: async () => {
      const seen = await runtime.call("settle", await place("settle"), [
        "accept",
        "release",
        ...redelivers ? ["accept" as const] : [],
        rejects ? "reject" : "accept",
        "accept",
      ]);
      const again = redelivers === "unmarked" ? ["b"] : redelivers ? ["b!"] : [];
      assertEquals(seen, ["a", "b", ...again, "c", "d"]);
    },
    [`${how}: ${many} messages`]: async () => {
      assertEquals(await runtime.call("many", await place("many"), many), many);
    },
    [`${how}: message of ${large / 1e6} MB`]: async () => {
      assert(await runtime.call("large", await place("large"), large));
    },
    [`${how}: message of ${large / 1e6} MB as a stream`]: async () => {
      assert(await runtime.call("streamed", await place("streamed"), large, ordersSections ? "many" : "one"));
    },
  };
}
