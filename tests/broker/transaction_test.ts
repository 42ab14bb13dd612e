import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { AmqpError, condition, OutcomeError, TransactionError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { numbers, sendNumbers, setUp, take, until } from "./set_up.ts";

test("TXN-2, TXN-3, TXN-5: what is sent in a transaction appears with its commit, and not at all after a rollback", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const queue = producer.sender("orders");
  const topic = producer.sender("topic/a");
  const relay = producer.sender({});
  const listener = consumer.receiver("topic/a", { credit: 5 });
  const receiver = consumer.receiver("orders", { credit: 5 });
  await Promise.all([listener.ready(), receiver.ready()]);
  for (const commits of [false, true]) {
    const tx = await producer.transaction();
    await tx.send(queue, { body: 1n });
    await tx.send(topic, { body: 2n });
    await tx.send(relay, { properties: { to: "orders" }, body: 3n });
    // The uncommitted message has its place, but nobody has received it.
    assertEquals([broker.messages, receiver.buffered, listener.buffered, broker.queue("orders")!.messages], [
      3,
      0,
      0,
      0,
    ]);
    if (commits) await tx.commit();
    else await tx.rollback();
    if (!commits) assertEquals(broker.messages, 0);
  }
  assertEquals(numbers(await take(receiver, 2)), [1, 3]);
  assertEquals(numbers(await take(listener, 1)), [2]);
});

test("TXN-5: what a transaction held at a queue deleted meanwhile counts in the broker no more once it ends", async () => {
  await using at = setUp();
  const { producer, broker } = at;
  for (const commits of [false, true]) {
    const relay = producer.sender({});
    await producer.sender("orders").send({ body: 0n });
    const tx = await producer.transaction();
    await tx.send(relay, { properties: { to: "orders" }, body: 1n });
    await relay.close();
    assertEquals(broker.messages, 2);
    assertEquals(broker.delete("orders"), true);
    if (commits) await tx.commit();
    else await tx.rollback();
    assertEquals([broker.messages, broker.bytes], [0, 0]);
  }
});

test("TXN-6: outcomes take effect with the commit, and a rollback hands the messages back as delivered before", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 3);
  const receiver = consumer.receiver("orders", { credit: 10, settle: "manual" });
  const first = await take(receiver, 3);
  const lost = await consumer.transaction();
  for (const delivery of first) lost.accept(delivery);
  assertEquals(broker.queue("orders")!.unsettled, 3);
  await lost.rollback();
  const again = await take(receiver, 3);
  assertEquals(numbers(again), [0, 1, 2]);
  assertEquals(again.map(({ message }) => message.header?.deliveryCount), [1, 1, 1]);
  const kept = await consumer.transaction();
  kept.accept(again[0]!);
  kept.reject(again[1]!);
  kept.release(again[2]!);
  await kept.commit();
  assertEquals(numbers([await receiver.receive()]), [2]);
  assertEquals([broker.messages, broker.queue("orders")!.dropped], [1, 1]);
});

test("TXN-6: consume, transform and send on are one step, done or not done", async () => {
  await using at = setUp();
  const { consumer, broker } = at;
  await sendNumbers(at.producer, "in", 1);
  const receiver = consumer.receiver("in", { credit: 1, settle: "manual" });
  const out = consumer.sender("out");
  {
    await using tx = await consumer.transaction();
    tx.accept(await receiver.receive());
    await tx.send(out, { body: 10n });
  }
  assertEquals([broker.queue("out")!.messages, broker.queue("in")!.unsettled + broker.queue("in")!.messages], [0, 1]);
  const tx = await consumer.transaction();
  tx.accept(await receiver.receive());
  await tx.send(out, { body: 10n });
  await tx.commit();
  assertEquals([broker.queue("out")!.messages, broker.queue("in")!.messages, broker.messages], [1, 0, 1]);
});

test("TXN-8: a connection that is lost rolls its transactions back", async () => {
  await using at = setUp();
  const { producer, broker } = at;
  await sendNumbers(producer, "orders", 1);
  const client = await broker.connect();
  const tx = await client.transaction();
  await tx.send(client.sender("orders"), { body: 5n });
  tx.accept(await client.receiver("orders", { credit: 1, settle: "manual" }).receive());
  assertEquals(broker.messages, 2);
  client.destroy(new Error("cable cut"));
  await until(() => broker.messages === 1 && broker.queue("orders")!.messages === 1);
  const receiver = at.consumer.receiver("orders", { credit: 1 });
  assertEquals(numbers([await receiver.receive()]), [0]);
});

test("ATK-30: transactions are counted, timed, and of no use to another connection", async () => {
  await using broker = new Broker({ maxTransactions: 2, transactionTimeoutMs: 100, queues: { orders: {} } });
  const client = await broker.connect();
  const sender = client.sender("orders");
  const [one, two] = [await client.transaction(), await client.transaction()];
  assertEquals([one.id.length, two.id.length], [16, 16]);
  const error = await assertRejects(() => client.transaction(), AmqpError);
  assertEquals(error.condition, condition.resourceLimitExceeded);
  await Promise.all([one.send(sender, { body: 1n }), two.send(sender, { body: 2n })]);
  const stranger = await broker.connect();
  const state = { kind: "transactionalState", txnId: one.id } as const;
  const refused = await assertRejects(() => stranger.sender("orders").send({ body: 2n }, { state }), OutcomeError);
  assertEquals(refused.condition, condition.transactionUnknownId);
  await until(() => broker.messages === 0);
  const late = await assertRejects(() => one.send(sender, { body: 3n }), OutcomeError);
  assertEquals(late.condition, condition.transactionTimeout);
  const ended = await assertRejects(() => two.commit(), TransactionError);
  assertInstanceOf(ended, TransactionError);
  assertEquals(ended.condition, condition.transactionTimeout);
});

test("TXN-5: what has no room is refused in its transaction, which goes on without it", async () => {
  await using at = setUp({ queues: { small: { maxMessages: 1 } }, log: null });
  const { producer, broker } = at;
  const relay = producer.sender({});
  const tx = await producer.transaction();
  await tx.send(relay, { properties: { to: "small" }, body: 1n });
  const error = await assertRejects(() => tx.send(relay, { properties: { to: "small" }, body: 2n }), OutcomeError);
  assertEquals(error.condition, condition.resourceLimitExceeded);
  await tx.rollback();
  assertEquals(broker.messages, 0);
});

test("TXN-7: what is acquired in a transaction goes back with a rollback, and stays with a commit", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 3);
  const receiver = consumer.receiver({ address: "orders", credit: "manual", settle: "manual" });
  const lost = await consumer.transaction();
  assertEquals(numbers(await lost.acquire(receiver, 2)), [0, 1]);
  assertEquals([broker.queue("orders")!.unsettled, broker.queue("orders")!.messages], [2, 1]);
  await lost.rollback();
  await until(() => broker.queue("orders")!.messages === 3);
  const kept = await consumer.transaction();
  const acquired = await kept.acquire(receiver, 5);
  assertEquals(numbers(acquired), [0, 1, 2]);
  assertEquals(acquired.map(({ message }) => message.header?.deliveryCount ?? 0), [0, 0, 0]);
  for (const delivery of acquired) kept.accept(delivery);
  await kept.commit();
  await until(() => broker.messages === 0);
});

test("TXN-7: what is acquired and settled in a transaction counts as a failed attempt after a rollback", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 2);
  const receiver = consumer.receiver({ address: "orders", credit: "manual", settle: "manual" });
  const lost = await consumer.transaction();
  const [first] = await lost.acquire(receiver, 2);
  lost.accept(first!);
  await lost.rollback();
  await until(() => broker.queue("orders")!.messages === 2);
  const kept = await consumer.transaction();
  const counts = (await kept.acquire(receiver, 2)).map(({ message }) => message.header?.deliveryCount ?? 0);
  assertEquals(counts.toSorted(), [0, 1]);
  await kept.rollback();
});
