import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { condition, OutcomeError } from "../../src/base/errors.ts";
import { batch } from "../../src/codec/batch.ts";
import { test } from "../harness.ts";
import { numbers, range, sendNumbers, setUp, take, until } from "./set_up.ts";

const messages = range(0, 5).map((n) => ({ applicationProperties: { n }, body: BigInt(n) }));

function ofRelay(...to: string[]) {
  return batch(messages.map((message, i) => ({ ...message, properties: { to: to[i % to.length]! } })));
}

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
  for (const queue of [{ maxMessages: 4 }, { maxBytes: 5 * 256 }]) {
    for (const topics of [[], ["q"]]) {
      await using small = setUp({ queue, topics, log: null });
      const error = await assertRejects(
        () => small.producer.sender({}).send(ofRelay("q").payload, { messageFormat }),
        OutcomeError,
      );
      assertEquals([error.condition, small.broker.messages], [condition.resourceLimitExceeded, 0]);
      assertMatch(error.message, /it has 5 messages of \d+ bytes together, \d+ messages and \d+ bytes are the most/);
    }
  }
  await using kept = setUp({ batches: "keep" });
  await kept.producer.sender("q").send(payload, { messageFormat });
  const delivery = await kept.consumer.receiver("q", { credit: 1 }).receive();
  assertEquals([delivery.messageFormat, delivery.payload], [messageFormat, payload]);
});

for (const anonymous of [false, true]) {
  const name = anonymous ? "on a link without a target" : "on a link of the queue";
  test(`MSG-11: a batch that a full queue has no room for waits, and is taken whole and in its place, ${name}`, async () => {
    await using at = setUp({ queue: { maxMessages: 6 }, log: null });
    const { broker, producer, consumer } = at;
    const sender = producer.sender(anonymous ? {} : "q");
    await sender.ready();
    await sendNumbers(producer, "q", 4, 100);
    const { payload, messageFormat } = ofRelay("q");
    let taken = false;
    const sent = sender.send(payload, { messageFormat }).then(() => taken = true);
    await until(() => broker.queue("q")!.waiting === 1);
    const receiver = consumer.receiver("q", { credit: "manual" });
    await receiver.grant(2);
    for (const delivery of await take(receiver, 2)) delivery.accept();
    await until(() => broker.messages === 2);
    // There is room for four of the batch's five messages.
    assertEquals([taken, broker.queue("q")!.waiting], [false, 1]);
    await receiver.grant(1);
    (await receiver.receive()).accept();
    await sent;
    assertEquals([broker.messages, broker.queue("q")!.waiting], [6, 0]);
    await receiver.grant(6);
    assertEquals(numbers(await take(receiver, 6)), [103, ...range(0, 5)]);
  });
}

test("MSG-11: a batch for a topic waits until a lasting subscription has room for all of it", async () => {
  await using at = setUp({ topics: ["news"], queue: { maxMessages: 6 }, log: null });
  const { broker, producer, consumer } = at;
  const receiver = consumer.receiver({
    address: "news",
    source: { expiryPolicy: "never" },
    credit: "manual",
  });
  await receiver.ready();
  const sender = producer.sender({});
  const { payload, messageFormat } = ofRelay("news");
  await sender.send(payload, { messageFormat });
  let taken = false;
  const sent = sender.send(payload, { messageFormat }).then(() => taken = true);
  await receiver.grant(3);
  for (const delivery of await take(receiver, 3)) delivery.accept();
  await until(() => broker.messages === 2);
  assertEquals(taken, false);
  await receiver.grant(1);
  (await receiver.receive()).accept();
  await sent;
  await receiver.grant(6);
  assertEquals(numbers(await take(receiver, 6)), [4, ...range(0, 5)]);
});

test("MSG-11: a batch for several queues is taken by all of them at once, or refused whole", async () => {
  await using at = setUp({ queue: { maxMessages: 4 }, log: null });
  const { broker, producer } = at;
  const sender = producer.sender({});
  const { payload, messageFormat } = ofRelay("a", "b");
  await sender.send(payload, { messageFormat });
  assertEquals([broker.queue("a")!.messages, broker.queue("b")!.messages], [3, 2]);
  const error = await assertRejects(() => sender.send(payload, { messageFormat }), OutcomeError);
  assertEquals([error.condition, broker.messages], [condition.resourceLimitExceeded, 5]);
});
