/**
 * Whatever one peer floods a broker with, others are served, and the flood ends or is counted.
 *
 * @module
 */

import { assertEquals, assertLess } from "@std/assert";
import { test } from "../harness.ts";
import { filledBroker, floods, pour } from "./floods.ts";

const MOST_BYTES = 524_288;

for (const [name, step] of Object.entries(floods)) {
  test(`ATK-8, ATK-36: a flood of ${name} keeps nobody else from the broker`, async () => {
    await using broker = await filledBroker();
    const other = await broker.connect();
    const sender = other.sender("others");
    await sender.send({ body: 0 });
    const flooding = pour(broker, step, MOST_BYTES, () => 0);
    const receiver = other.receiver("others", { credit: 1 });
    // Messages of others go on between the pieces, there and back.
    for (let i = 0; i < 5; i++) {
      const delivery = await receiver.receive();
      assertEquals(delivery.message.body, i);
      delivery.accept();
      await sender.send({ body: i + 1 });
    }
    await flooding;
    assertEquals([other.open, sender.open, receiver.open], [true, true, true]);
    assertLess(broker.connections.size, 3);
    await other.close();
  });
}
