import { assertEquals, assertRejects } from "@std/assert";
import { condition, OutcomeError } from "../../src/base/errors.ts";
import { batch } from "../../src/codec/batch.ts";
import { test } from "../harness.ts";
import { numbers, range, setUp, take } from "./set_up.ts";

const messages = range(0, 5).map((n) => ({ applicationProperties: { n }, body: BigInt(n) }));

test("MSG-11: a batch comes into a queue as its messages, and with one outcome", async () => {
  await using at = setUp();
  const { payload, messageFormat } = batch(messages);
  await at.producer.sender("orders").send(payload, { messageFormat });
  assertEquals(at.broker.messages, 5);
  const taken = await take(at.consumer.receiver("orders", { credit: 5 }), 5);
  assertEquals([numbers(taken), taken.map((delivery) => delivery.messageFormat)], [range(0, 5), Array(5).fill(0)]);
  const tx = await at.producer.transaction();
  await tx.send(at.producer.sender("later"), payload, { messageFormat });
  assertEquals(at.broker.queue("later")!.messages, 0);
  await tx.commit();
  assertEquals(at.broker.queue("later")!.messages, 5);
});

test("MSG-11: a batch that does not fit is refused whole, or kept whole where the broker is to keep it", async () => {
  const { payload, messageFormat } = batch(messages);
  await using small = setUp({ queue: { maxMessages: 4 }, log: null });
  const error = await assertRejects(() => small.producer.sender("q").send(payload, { messageFormat }), OutcomeError);
  assertEquals([error.condition, small.broker.messages], [condition.resourceLimitExceeded, 0]);
  await using kept = setUp({ batches: "keep" });
  await kept.producer.sender("q").send(payload, { messageFormat });
  const delivery = await kept.consumer.receiver("q", { credit: 1 }).receive();
  assertEquals([delivery.messageFormat, delivery.payload], [messageFormat, payload]);
});
