/**
 * The checks of every foreign broker, however it is reached.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Place } from "./ours/client.ts";
import type { Runtime } from "./runtimes.ts";
import type { Suite } from "./suite.ts";

/** One transport to one broker. */
export interface BrokerSettings {
  /** The prefix of the checks' names. */
  readonly how: string;
  /** The address for messages of that name. */
  place(name: string): Place | Promise<Place>;
  /** Whether the broker delivers released messages again, and whether it then marks them as delivered before. */
  readonly redelivers: boolean | "unmarked";
  /** Whether a rejected message does not come again. Default: true. */
  readonly rejects?: boolean;
  /** Whether the broker accepts lists as bodies. */
  readonly lists: boolean;
  /** Whether the broker accepts durable messages. Default: true. */
  readonly durable?: boolean;
  /** Whether the broker's links settle in two steps if asked. Default: true. */
  readonly settlesTwice?: boolean;
  /** Whether the broker keeps unsettled messages of a connection that breaks. Default: true. */
  readonly keeps?: boolean;
  /** Whether the broker keeps all data sections of a message, in order. Default: true. */
  readonly ordersSections?: boolean;
  /** The number of messages to send. */
  readonly many: number;
  /** The bytes of a large message. */
  readonly large: number;
}

/** Checks of sending, receiving and settling, with many and large messages. */
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
      // Broker-J says so in words; the others answer as if the link were new.
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
