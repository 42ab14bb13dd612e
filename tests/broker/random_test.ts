import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { type Random, random, seed, test } from "../harness.ts";
import { range, sendNumbers } from "./set_up.ts";
import { linkUp } from "../client/link_up.ts";

/** The outcomes of each message so far. */
interface Told {
  readonly accepted: number[];
  readonly rejected: number[];
}

/** Settles a delivery at random, in one of a consumer's ways. */
function settle(delivery: Delivery, chance: Random, told: Told): void {
  const number = Number(delivery.message.body);
  switch (chance.int(8)) {
    case 0:
      return delivery.release();
    case 1:
      return delivery.modify({ deliveryFailed: true, messageAnnotations: { "x-opt-seen": number } });
    case 2:
      return delivery.modify({ undeliverableHere: true });
    case 3:
      told.rejected.push(number);
      return delivery.reject();
    case 4:
      // Held until the link ends.
      return;
    default:
      told.accepted.push(number);
      delivery.accept();
  }
}

/** Receives and settles at random for a while, then ends in one of several ways. */
async function consume(connection: Connection, chance: Random, told: Told): Promise<void> {
  const receiver = connection.receiver("jobs", { credit: 1 + chance.int(30), settle: "manual" });
  const controller = new AbortController();
  for (let left = 1 + chance.int(60); left > 0; left--) {
    // Nothing may come: other consumers may hold all, or the rest must not come here again.
    const giveUp = setTimeout(() => controller.abort(), 20);
    try {
      settle(await receiver.receive({ signal: controller.signal }), chance, told);
    } catch {
      break;
    } finally {
      clearTimeout(giveUp);
    }
  }
  // The outcomes must arrive first, or the messages are rightly delivered again.
  switch (chance.int(3)) {
    case 0:
      return await connection.close();
    case 1:
      await receiver.close();
      break;
    case 2:
      await receiver.detach();
  }
  connection.destroy(new Error("cable cut"));
}

test("whatever consumers do and wherever they go, a message is accepted or rejected once, and none is lost", async () => {
  const chance = random(seed());
  for (let round = 0; round < 10; round++) {
    const broker = new Broker({ queues: { jobs: { deadLetter: "dead", maxMessages: 40 + chance.int(400) } } });
    const told: Told = { accepted: [], rejected: [] };
    const sent = Promise.all(range(0, 3).map((i) => sendNumbers(linkUp(broker), "jobs", 100, 100 * i)));
    const all = (): boolean => told.accepted.length + told.rejected.length === 300;
    while (!all()) {
      await Promise.all(range(0, 1 + chance.int(4)).map(() => consume(linkUp(broker), chance, told)));
    }
    await sent;
    assertEquals([...told.accepted, ...told.rejected].sort((a, b) => a - b), range(0, 300));
    const { messages, unsettled, waiting, bytes, dropped } = broker.queue("jobs")!;
    assertEquals([messages, unsettled, waiting, bytes, dropped], [0, 0, 0, 0, 0]);
    assertEquals(broker.queue("dead")?.messages ?? 0, told.rejected.length);
    await broker.close();
  }
});
