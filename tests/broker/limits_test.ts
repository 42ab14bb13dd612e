import { assertEquals, assertInstanceOf, assertLessOrEqual, assertRejects, assertThrows } from "@std/assert";
import { Log } from "../../src/base/log.ts";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { Broker } from "../../src/broker/broker.ts";
import { RoomBudget } from "../../src/broker/budget.ts";
import { Nodes, type NodesOptions } from "../../src/broker/nodes.ts";
import type { Producer } from "../../src/broker/producer.ts";
import { type NodeHost, Queue } from "../../src/broker/queue.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { Sender } from "../../src/client/sender.ts";
import { VirtualTime } from "../../src/testing/mod.ts";
import { KeptBytes } from "../../src/broker/kept_bytes.ts";
import { type EncodedMessage, keepMessage } from "../../src/broker/encoded_message.ts";
import { test } from "../harness.ts";
import { encoded, numbers, range, sendNumbers, setUp, take, until } from "./set_up.ts";
import { linkUp } from "../client/link_up.ts";

const NODES: NodesOptions = {
  queues: {},
  queue: {},
  autoCreate: true,
  topics: [],
  maxQueues: 10,
  idleQueueMs: 1_000,
};

// The host of nodes, without a broker.
function hostOf(environment: VirtualTime): Omit<NodeHost, "deadLetter" | "noteUnused" | "noteExpiring"> {
  const budget = () => new RoomBudget(1_000_000, 256 * 1_024 * 1_024);
  return {
    budget: budget(),
    waiting: budget(),
    keptBytes: new KeptBytes(),
    environment,
    log: new Log(null, environment),
  };
}

test("ATK-18: a full queue gives its producers no credit, and takes them up again in order", async () => {
  await using at = setUp({ queues: { orders: { maxMessages: 10 } } });
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  const all = Promise.all(range(0, 1_000).map((i) => sender.send({ body: BigInt(i) })));
  await until(() => broker.queue("orders")!.messages === 10 && sender.credit === 0 && sender.pending === 990);
  assertEquals([broker.messages, sender.pending], [10, 990]);
  const seen: number[] = [];
  let most = 0;
  for await (const delivery of consumer.receiver("orders", { credit: 3 })) {
    const { messages, unsettled } = broker.queue("orders")!;
    most = Math.max(most, messages + unsettled);
    seen.push(Number(delivery.message.body));
    if (seen.length === 1_000) break;
  }
  await all;
  assertEquals(seen, range(0, 1_000));
  assertLessOrEqual(most, 10);
});

test("ATK-18: producers of a small queue share it, whatever had set out waits outside", async () => {
  await using at = setUp({ queues: { orders: { maxMessages: 5 } } });
  const { broker, consumer } = at;
  const producers = range(0, 10).map(() => linkUp(broker));
  const all = Promise.all(producers.map((producer, i) => sendNumbers(producer, "orders", 50, 100 * i)));
  await until(() => broker.queue("orders")!.messages === 5 && broker.queue("orders")!.waiting > 0);
  assertEquals(broker.messages, 5);
  const receiver = consumer.receiver("orders", { credit: 2 });
  const seen: number[] = [];
  const served = receiver.serve((delivery) => void seen.push(Number(delivery.message.body)));
  await all;
  await until(() => seen.length === 500);
  assertEquals(broker.queue("orders")!.waiting, 0);
  await receiver.close();
  await served;
  // All messages are there, each producer's in order.
  for (const i of range(0, 10)) {
    assertEquals(seen.filter((n) => n >= 100 * i && n < 100 * i + 100), range(100 * i, 100 * i + 50));
  }
});

test("ATK-18: bytes are limited as well as messages, and credit follows the size of messages", async () => {
  const maxBytes = 1_000_000;
  await using at = setUp({ queue: { maxBytes } });
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  const body = new Uint8Array(100_000);
  const all = Promise.all(range(0, 100).map(() => sender.send({ body })));
  await until(() => broker.queue("orders")?.messages === 9 && sender.credit === 0);
  const receiver = consumer.receiver("orders", { credit: 2 });
  for (let i = 0; i < 100; i++) {
    const delivery = await receiver.receive();
    assertLessOrEqual(broker.bytes, maxBytes);
    assertLessOrEqual(broker.queue("orders")!.waiting, 10);
    delivery.accept();
  }
  await all;
});

test("ATK-18: a message that waits outside a full queue comes before a smaller one that would still fit", async () => {
  await using at = setUp({ queues: { orders: { maxBytes: 10_000 } } });
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  await until(() => sender.credit > 2);
  const sending = ["1".repeat(6_000), "2".repeat(6_000), "3"].map((body) => sender.send({ body }));
  await until(() => broker.queue("orders")!.waiting === 2);
  const receiver = consumer.receiver("orders", { credit: 1 });
  const seen: string[] = [];
  for (const _ of sending) {
    const delivery = await receiver.receive();
    seen.push(delivery.message.text()[0]!);
    delivery.accept();
  }
  assertEquals(seen, ["1", "2", "3"]);
  await Promise.all(sending);
});

test("a message that can never fit is refused, at the link where that says so", async () => {
  await using at = setUp({ maxMessageSize: 10_000, queues: { small: { maxBytes: 1_256 } } });
  const { producer, broker } = at;
  const body = "x".repeat(2_000);
  const small = producer.sender("small");
  assertEquals((await assertRejects(() => small.send({ body }), AmqpError)).condition, condition.messageSizeExceeded);
  assertEquals(small.remote?.maxMessageSize, 1_000n);
  const anonymous = producer.sender({});
  const error = await assertRejects(() => anonymous.send({ properties: { to: "small" }, body }), OutcomeError);
  assertEquals([error.outcome, error.condition], ["rejected", condition.resourceLimitExceeded]);
  assertEquals(anonymous.remote?.maxMessageSize, 10_000n);
  await anonymous.send({ properties: { to: "large" }, body });
  assertEquals(broker.messages, 1);
});

test("ATK-18: what all queues hold together is limited, and room in one is room for another", async () => {
  await using at = setUp({ maxMessages: 20 });
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "a", 20);
  const sender = producer.sender("b");
  const waiting = sender.send({ body: 0n });
  await sender.ready();
  await until(() => broker.queue("b") !== undefined);
  assertEquals([sender.credit, broker.queue("b")!.messages], [0, 0]);
  (await consumer.receiver("a", { credit: 1 }).receive()).accept();
  await waiting;
  assertEquals([broker.queue("a")!.messages, broker.queue("b")!.messages, broker.messages], [18, 1, 20]);
});

test("ATK-18: what cannot wait outside a full queue any more is rejected, and may be sent again", async () => {
  await using at = setUp({ maxMessageSize: 1_000, maxBytes: 5_500 });
  const { producer, consumer, broker } = at;
  // Without a fixed target, the broker cannot know for which queue the credit would be used.
  const sender = producer.sender({});
  const message = { properties: { to: "orders" }, body: new Uint8Array(900) };
  const results = range(0, 20).map(() => sender.send(message).then(() => "accepted", (error) => error));
  const refused = await Promise.all(results.slice(5));
  for (const error of refused) {
    assertInstanceOf(error, OutcomeError);
    assertEquals([error.condition, error.retryable], [condition.resourceLimitExceeded, true]);
  }
  const { messages, waiting } = broker.queue("orders")!;
  assertEquals([messages, waiting], [4, 1]);
  (await consumer.receiver("orders", { credit: 1 }).receive()).accept();
  assertEquals(await Promise.all(results.slice(0, 5)), Array(5).fill("accepted"));
  assertEquals(await sender.send({ ...message, properties: { to: "orders" }, body: null }), { kind: "accepted" });
});

test("a link that names its target for each message is not stopped by one full queue", async () => {
  await using at = setUp({ queues: { full: { maxMessages: 1 } } });
  const { producer, broker } = at;
  const sender = producer.sender({});
  await sender.send({ properties: { to: "full" } });
  const waiting = sender.send({ properties: { to: "full" } });
  for (let i = 0; i < 500; i++) await sender.send({ properties: { to: "other" } });
  assertEquals([broker.queue("other")!.messages, broker.queue("full")!.waiting], [500, 1]);
  broker.purge("full");
  assertEquals(await waiting, { kind: "accepted" });
});

test("what waits outside goes with its producer, unless it was sent settled", async () => {
  await using at = setUp({ queues: { full: { maxMessages: 1 } } });
  const { broker, consumer } = at;
  await sendNumbers(at.producer, "full", 1);
  const producer = linkUp(broker);
  const sender = producer.sender({});
  const lost = sender.send({ properties: { to: "full" }, body: 1n });
  await sender.send({ properties: { to: "full" }, body: 2n }, { settled: true });
  await until(() => broker.queue("full")!.waiting === 2);
  producer.destroy(new Error("cable cut"));
  await assertRejects(() => lost, OutcomeError);
  await until(() => broker.queue("full")!.waiting === 1);
  const receiver = consumer.receiver("full", { credit: 1 });
  for (const expected of [0, 2]) {
    const delivery = await receiver.receive();
    assertEquals(numbers([delivery]), [expected]);
    delivery.accept();
  }
  await receiver.close();
  const { messages, unsettled, waiting, bytes } = broker.queue("full")!;
  assertEquals([messages, unsettled, waiting, bytes], [0, 0, 0, 0]);
});

test("MSG-10: expired messages make room for a producer that waits, without any consumer", async () => {
  await using at = setUp({ queues: { audit: { maxMessages: 3 } } });
  const { producer, broker } = at;
  const sender = producer.sender("audit");
  for (let i = 0; i < 10; i++) await sender.send({ header: { ttl: 20 }, body: BigInt(i) });
  assertEquals(broker.queue("audit")!.dropped >= 7, true);
  await producer.close();
});

test("MSG-10: a dead-letter queue that is full drops what comes", async () => {
  await using at = setUp({ queues: { a: { deadLetter: "b" }, b: { maxMessages: 2, deadLetter: "b" } } });
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "a", 5);
  const receiver = consumer.receiver("a", { credit: 5 });
  for (const delivery of await take(receiver, 5)) delivery.reject();
  await receiver.close();
  assertEquals([broker.queue("a")!.dropped, broker.queue("b")!.messages, broker.messages], [3, 2, 2]);
});

test("ATK-8: queues are limited in number, and make place when nobody uses them", async () => {
  await using at = setUp({ maxQueues: 3, queues: { kept: {} } });
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "a", 1);
  const user = consumer.receiver("b");
  await user.ready();
  for (const link of [producer.sender("c"), consumer.receiver("topic/c"), consumer.receiver({ dynamic: true })]) {
    const error = await assertRejects(() => link.ready(), AmqpError);
    assertEquals(error.condition, condition.resourceLimitExceeded);
  }
  await user.close();
  await producer.sender("c").ready();
  assertEquals(broker.queues().map((queue) => queue.address), ["kept", "a", "c"]);
});

test("ATK-8: addresses that come and go leave nothing behind", async () => {
  await using at = setUp({ maxQueues: 10 });
  const { consumer, producer, broker } = at;
  for (let i = 0; i < 100; i++) {
    const node = consumer.receiver({ dynamic: true });
    await node.ready();
    await producer.sender(node.address!).send({ body: i });
    await node.close();
    await producer.sender(`topic/${i}`).close();
    await consumer.receiver(`queue ${i}`).close();
  }
  assertLessOrEqual(broker.queues().length, 10);
  assertEquals([broker.messages, broker.bytes], [0, 0]);
});

test("ATK-8: queues that only messages keep make place when those have expired, whatever asks for one first", async () => {
  for (const settings of [{}, { maxMessages: 3 }]) {
    const time = new VirtualTime();
    const broker = new Broker({ environment: time, maxQueues: 5, idleQueueMs: 1_000, queue: settings, log: null });
    const connection = linkUp(broker, { environment: time });
    const refused: string[] = [];
    const attach = async (link: Sender | Receiver): Promise<void> => {
      await Promise.all([link.ready().catch((error) => refused.push(error.condition)), time.advance(100)]);
    };
    const fill = async (address: string, ttl: number): Promise<void> => {
      const sender = connection.sender(address);
      const sent = sender.send({ header: { ttl }, body: 1n });
      await time.advance(100);
      await sent;
      await Promise.all([sender.close(), time.advance(100)]);
    };
    for (const i of range(0, 5)) await fill(`q${i}`, 60_000);
    // The second check finds a message that lives longer.
    await fill("q1", 600_000);
    await time.advance(5_000);
    await attach(connection.sender("too early"));
    assertEquals([refused, broker.messages], [[condition.resourceLimitExceeded], 6]);
    await time.advance(100_000);
    await attach(connection.sender("in time"));
    assertEquals([refused.length, broker.messages], [1, 1]);
    await time.advance(10_000_000);
    // Nobody looks the node up by its name here.
    for (const _ of range(0, 4)) await attach(connection.receiver({ dynamic: true }));
    assertEquals([refused.length, broker.messages, broker.queues().length], [1, 0, 5]);
    await Promise.all([connection.close(), broker.close(), time.advance(10_000)]);
  }
});

test("ATK-8: queues without links that become empty by a purge, a rollback or their time make place", async () => {
  const time = new VirtualTime();
  const host = hostOf(time);
  const nodes = new Nodes({ ...NODES, maxQueues: 3, idleQueueMs: 1_000 }, host);
  const message = (ttl?: number): EncodedMessage =>
    keepMessage(encoded({ header: { ttl }, body: 1n }), 0, undefined, host.keptBytes);
  const [purged, rolledBack, expired] = ["a", "b", "c"].map((address) => nodes.find(address) as Queue);
  assertEquals(purged!.copy(message()), true);
  const reservation = rolledBack!.reserve(message())!;
  // An earlier message, which has expired by the time of the later one.
  expired!.copy(message(10));
  await time.advance(20);
  assertEquals([expired!.unused, expired!.copy(message(60_000))], [true, true]);
  await time.advance(5_000);
  assertThrows(() => nodes.find("d"), AmqpError, "too many queues");
  purged!.purge();
  assertEquals(nodes.find("d").address, "d");
  nodes.delete("d");
  nodes.find("e");
  reservation.rollback();
  await time.advance(5_000);
  assertEquals([...nodes.all()].map(({ address }) => address), ["c"]);
  await time.advance(60_000);
  assertEquals([...nodes.all()].map(({ address }) => address), ["c"]);
  await time.advance(2_000);
  assertEquals([...nodes.all()].length, 0);
  assertEquals([host.budget.messages, host.budget.bytes, host.budget.reserved], [0, 0, 0]);
});

test("ATK-8: a new address among 10,000 nodes in use visits a few of them, and none in turn", () => {
  const count = 10_000;
  const time = new VirtualTime();
  const host = hostOf(time);
  const nodes = new Nodes({ ...NODES, maxQueues: count + 1, idleQueueMs: 0 }, host);
  const message = keepMessage(
    encoded({ header: { ttl: 60_000 }, body: 1n }),
    0,
    undefined,
    host.keptBytes,
  );
  for (const i of range(0, count)) {
    const queue = nodes.find(`in use ${i}`) as Queue;
    // Half of the queues are kept by a link, half by a message.
    if (i % 2 === 0) queue.addProducer({ end: () => {} } as unknown as Producer);
    else queue.copy(message);
  }
  // The first lookup checks every queue that was noted when it was made.
  assertLessOrEqual(visitsDuring(() => nodes.find("first")), 8 * count);
  const come = () => {
    for (const i of range(0, 100)) {
      nodes.find(`new ${i}`);
      nodes.delete(`new ${i}`);
    }
  };
  assertLessOrEqual(visitsDuring(come), 10 * 100);
  const refuse = () => assertThrows(() => nodes.find("last"), AmqpError, "too many queues");
  nodes.delete("first");
  (nodes.find("last but one") as Queue).copy(message);
  refuse();
  assertLessOrEqual(visitsDuring(() => range(0, 100).forEach(refuse)), 10 * 100);
});

// Counts queues asked whether they are unused, and steps through maps and sets.
function visitsDuring(call: () => void): number {
  let visits = 0;
  const unused = Object.getOwnPropertyDescriptor(Queue.prototype, "unused")!;
  const iterators = [new Map(), new Set()].map((one) => Object.getPrototypeOf(one[Symbol.iterator]()));
  const nexts = iterators.map(({ next }) => next);
  try {
    Object.defineProperty(Queue.prototype, "unused", {
      ...unused,
      get(this: Queue) {
        visits++;
        return unused.get!.call(this);
      },
    });
    iterators.forEach((iterator, i) => {
      iterator.next = function () {
        visits++;
        return nexts[i].call(this);
      };
    });
    call();
  } finally {
    Object.defineProperty(Queue.prototype, "unused", unused);
    iterators.forEach((iterator, i) => iterator.next = nexts[i]);
  }
  return visits;
}

test("ATK-18: a short message does not keep alive the large piece of memory that it came in", () => {
  const bytes = encoded({ body: "one" });
  const chunk = new Uint8Array(65_536);
  chunk.set(bytes, 1_000);
  const part = chunk.subarray(1_000, 1_000 + bytes.length);
  const { payload } = keepMessage(part, 0, undefined, new KeptBytes());
  assertEquals(payload, bytes);
  assertLessOrEqual(payload.buffer.byteLength, 4_096);
  // A large part of a buffer stays where it is.
  const large = new Uint8Array(encoded({ body: new Uint8Array(30_000) }));
  assertEquals(keepMessage(large, 0, undefined, new KeptBytes()).payload, large);
});

test("purge drops what waits, delete drops all and ends the links", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  for (let i = 0; i < 5; i++) await sender.send({ body: BigInt(i) });
  const receiver = consumer.receiver("orders", { credit: 2, settle: "manual" });
  const [held] = await take(receiver, 2);
  assertEquals([broker.purge("orders"), broker.purge("orders"), broker.purge("nothing")], [3, 0, 0]);
  assertEquals([broker.queue("orders")!.messages, broker.messages], [0, 2]);
  held!.release();
  await until(() => broker.queue("orders")!.messages + broker.queue("orders")!.unsettled === 2);
  assertEquals([broker.delete("orders"), broker.delete("orders")], [true, false]);
  await Promise.all([sender.closed, receiver.closed]);
  for (const { error } of [sender, receiver]) {
    assertInstanceOf(error, AmqpError);
    assertEquals([error.condition, error.remote], [condition.resourceDeleted, true]);
  }
  assertEquals([broker.messages, broker.bytes, broker.queue("orders")], [0, 0, undefined]);
  // The connections go on, and the address can be used anew.
  await producer.sender("orders").send({ body: 7n });
  assertEquals(numbers([await consumer.receiver("orders").receive()]), [7]);
});

test("closing the broker in the middle ends everything, and it takes nobody any more", async () => {
  const at = setUp({ queues: { full: { maxMessages: 10 } } });
  const { broker, producer, consumer } = at;
  const sender = producer.sender("full");
  const sends = range(0, 100).map((i) => sender.send({ body: BigInt(i) }).then(() => "accepted", (error) => error));
  const receiver = consumer.receiver("full", { credit: 5, settle: "manual" });
  await take(receiver, 3);
  const started = performance.now();
  await broker.close();
  assertLessOrEqual(performance.now() - started, 1_000);
  await Promise.all([producer.closed, consumer.closed]);
  const results = await Promise.all(sends);
  assertEquals(results.slice(0, 10), Array(10).fill("accepted"));
  for (const error of results.slice(10)) assertInstanceOf(error, AmqpError);
  assertInstanceOf(producer.error, AmqpError);
  assertEquals([producer.error.condition, producer.error.remote], [condition.connectionForced, true]);
  assertEquals([broker.messages, broker.bytes, broker.queues(), broker.connections.size], [0, 0, [], 0]);
  const late = linkUp(broker);
  await assertRejects(() => late.ready());
  await late.close();
  await broker.close();
});

test("closing the broker is aborted by its signal, and goes on", async () => {
  const broker = new Broker();
  const connection = linkUp(broker);
  await connection.sender("orders").send({ body: 1 });
  const reason = new Error("in a hurry");
  assertEquals(await broker.close({ signal: AbortSignal.abort(reason) }).catch((error) => error), reason);
  await connection.closed;
  await broker.close();
  assertEquals([broker.messages, broker.queues()], [0, []]);
});

test("clients that come and go in the middle of everything leave nothing behind", async () => {
  const broker = new Broker({ queues: { jobs: { maxMessages: 50 } } });
  const seen = new Set<number>();
  const worker = linkUp(broker);
  const receiver = worker.receiver("jobs", { credit: 10 });
  const served = receiver.serve((delivery) => void seen.add(Number(delivery.message.body)));
  const accepted: number[] = [];
  for (let round = 0; round < 20; round++) {
    const client = linkUp(broker);
    const thief = linkUp(broker);
    await thief.receiver("jobs", { credit: 20, settle: "manual" }).ready();
    const sender = client.sender("jobs");
    const sends = range(0, 50).map(async (i) => {
      await sender.send({ body: BigInt(100 * round + i) });
      accepted.push(100 * round + i);
    });
    await Promise.all(sends.slice(0, 1 + round * 2));
    client.destroy(new Error("cable cut"));
    thief.destroy(new Error("cable cut"));
    await Promise.allSettled(sends);
  }
  await until(() => accepted.every((i) => seen.has(i)) && broker.messages === 0);
  await receiver.close();
  await served;
  await worker.close();
  await until(() => broker.connections.size === 0);
  const { bytes, ...status } = broker.queue("jobs")!;
  assertEquals(status, {
    address: "jobs",
    messages: 0,
    unsettled: 0,
    waiting: 0,
    consumers: 0,
    producers: 0,
    dropped: 0,
  });
  assertEquals([bytes, broker.bytes], [0, 0]);
  await broker.close();
});
