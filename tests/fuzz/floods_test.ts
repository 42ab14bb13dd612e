/**
 * Whatever one peer floods a broker with, others are served, and the flood ends or is counted.
 *
 * @module
 */

import { assertEquals, assertMatch } from "@std/assert";
import { test } from "../harness.ts";
import { filledBroker, floods, pour } from "./floods.ts";

const MAX_BYTES = 524_288;

// Frames that change nothing; the default bound takes some megabytes more.
const MAX_IDLE_WORK = 1_000;

// These floods settle messages of the queue, one a frame.
const BRINGS_ON = ["modified with annotations", "rejected with info"];

for (const [name, step] of Object.entries(floods)) {
  test(`ATK-8, ATK-36: a flood of ${name} keeps nobody else from the broker`, async () => {
    await using broker = await filledBroker({ maxIdleWork: MAX_IDLE_WORK });
    const other = await broker.connect();
    const sender = other.sender("others");
    await sender.send({ body: 0 });
    const flooding = pour(broker, step, MAX_BYTES, () => 0);
    const receiver = other.receiver("others", { credit: 1 });
    // Messages of other clients go on between the pieces.
    for (let i = 0; i < 5; i++) {
      const delivery = await receiver.receive();
      assertEquals(delivery.message.body, i);
      delivery.accept();
      await sender.send({ body: i + 1 });
    }
    const { ended } = await flooding;
    if (!BRINGS_ON.includes(name)) assertMatch(`${ended}`, /^amqp:(resource-limit-exceeded|connection:framing-error)$/);
    assertEquals([other.open, sender.open, receiver.open], [true, true, true]);
    await other.close();
  });
}
