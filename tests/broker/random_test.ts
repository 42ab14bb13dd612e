import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { type Random, random, seed, test } from "../harness.ts";
import { range, sendNumbers } from "./set_up.ts";
import { linkUp } from "../client/link_up.ts";

/** What has been told of each message. */
interface Told {
  readonly accepted: number[];
  readonly rejected: number[];
}

/** Does one of the things that a consumer may do, as the source of chance says. */
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
      // Held, until the link ends.
      return;
    default:
      told.accepted.push(number);
      delivery.accept();
  }
}

/** Receives and settles by chance for a while, then goes in one way or another. */
async function consume(connection: Connection, chance: Random, told: Told): Promise<void> {
  const receiver = connection.receiver("jobs", { credit: 1 + chance.int(30), settle: "manual" });
  const controller = new AbortController();
  for (let left = 1 + chance.int(60); left > 0; left--) {
    // Nothing may come: all is held by others, or must not come here again.
    const giveUp = setTimeout(() => controller.abort(), 20);
    try {
      settle(await receiver.receive({ signal: controller.signal }), chance, told);
    } catch {
      break;
    } finally {
      clearTimeout(giveUp);
    }
  }
  // What was told has to arrive, or the message is rightly delivered again.
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
