import {
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import type { LogEntry } from "../../src/base/log.ts";
import type { Message } from "../../src/codec/message.ts";
import { test } from "../harness.ts";
import { numbers, range, setUp, take, until } from "./set_up.ts";
import { linkUp } from "../client/link_up.ts";

test("a topic copies each message to those who listen at the time", async () => {
  await using at = setUp({ topics: ["news/*", "alerts"] });
  const { producer, consumer, broker } = at;
  const sender = producer.sender("news/today");
  await sender.send({ body: "nobody hears" });
  const a = consumer.receiver("news/today", { credit: 10 });
  const b = linkUp(broker).receiver("news/today", { credit: 10 });
  const other = consumer.receiver("news/tomorrow", { credit: 10 });
  await Promise.all([a.ready(), b.ready(), other.ready()]);
  for (let i = 0; i < 3; i++) await sender.send({ body: BigInt(i) });
  assertEquals(numbers(await take(a, 3)), [0, 1, 2]);
  assertEquals(numbers(await take(b, 3)), [0, 1, 2]);
  await other.drain();
  assertEquals(other.buffered, 0);
  assertEquals(a.remote?.source?.distributionMode, "copy");
  await b.close();
  await sender.send({ body: 3n });
  assertEquals(numbers(await take(a, 1)), [3]);
  assertEquals([broker.queue("news/today"), broker.queues().length], [undefined, 0]);
  await a.close();
  assertEquals([broker.messages, broker.bytes], [0, 0]);
  // A topic name without a star matches that address only.
  await producer.sender("alerts/2").send({ body: "queued" });
  assertEquals(broker.queue("alerts/2")!.messages, 1);
});

test("a subscriber that falls too far behind is dropped with a reason, and nobody else", async () => {
  await using at = setUp({ queue: { maxMessages: 5 } });
  const { producer, consumer, broker } = at;
  const slow = consumer.receiver("topic/a", { credit: 1, settle: "manual" });
  const quick = consumer.receiver("topic/a", { credit: 100 });
  await Promise.all([slow.ready(), quick.ready()]);
  const sender = producer.sender("topic/a");
  const seen: number[] = [];
  const served = quick.serve((delivery) => void seen.push(Number(delivery.message.body)));
  await sender.send({ body: 0n });
  // From here on, sending is as fast as a queue's.
  await until(() => seen.length === 1);
  for (let i = 1; i < 20; i++) await sender.send({ body: BigInt(i) });
  await slow.closed;
  assertInstanceOf(slow.error, AmqpError);
  assertEquals(slow.error.condition, condition.resourceLimitExceeded);
  await until(() => seen.length === 20);
  await quick.close();
  await served;
  assertEquals([broker.messages, broker.bytes], [0, 0]);
});

test("ATK-8: the log is told once when there are too many queues, whatever addresses come", async () => {
  const told: LogEntry[] = [];
  await using at = setUp({ maxQueues: 2, log: (entry) => told.push(entry) });
  await at.producer.send("one", { body: 1 });
  await at.producer.send("two", { body: 1 });
  for (const address of ["three\n", "four", "five"]) {
    const error = await assertRejects(() => at.producer.send(address, { body: 1 }), AmqpError);
    assertMatch(error.message, /Cannot attach link: there are too many queues, 2 /);
  }
  assertEquals(told.map(({ level, code }) => `${level} ${code}`), ["warning refused"]);
  assertMatch(told[0]!.message, /^Cannot make "three\\u\{a\}": there are too many queues, 2; raise "maxQueues"/);
  // Those that are there go on.
  await at.producer.send("one", { body: 2 });
});

test("a topic whose last subscriber was dropped leaves its place to another node", async () => {
  await using at = setUp({ maxQueues: 1, queue: { maxMessages: 2 } });
  const { producer, consumer } = at;
  const slow = consumer.receiver("topic/a", { credit: 1, settle: "manual" });
  await slow.ready();
  const other = consumer.receiver("orders");
  assertMatch((await assertRejects(() => other.ready(), AmqpError)).message, /too many queues/);
  // By the relay: the end of a producer of the topic would report it as unused.
  const relayed = producer.sender({});
  for (let i = 0; i < 2; i++) await relayed.send({ properties: { to: "topic/a" }, body: i });
  await assertRejects(() => relayed.send({ properties: { to: "topic/a" }, body: 2 }), OutcomeError);
  await slow.closed;
  await consumer.receiver("orders").ready();
});

test("a message that a subscriber cannot take does not stay", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const small = consumer.receiver("topic/a", { credit: 5, maxMessageSize: 100 });
  await small.ready();
  const sender = producer.sender("topic/a");
  await sender.send({ body: "x".repeat(1_000) });
  await sender.send({ body: "y" });
  assertEquals((await small.receive()).message.body, "y");
  assertEquals(broker.messages, 1);
});

test("a message larger than a consumer takes waits for another one", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  for (let i = 0; i < 3_000; i++) void sender.send({ body: "x".repeat(200) });
  await sender.send({ body: "y" });
  const small = consumer.receiver("orders", { credit: 5, maxMessageSize: 100 });
  assertEquals((await small.receive()).message.body, "y");
  const large = consumer.receiver("orders", { credit: 1 });
  assertEquals((await large.receive()).message.text().length, 200);
  assertEquals(broker.queue("orders")!.unsettled, 2);
});

test("TRM-2: a dynamic node has a random address, and goes away with the link that made it", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const node = consumer.receiver({ dynamic: true });
  const twin = consumer.receiver({ dynamic: true });
  await Promise.all([node.ready(), twin.ready()]);
  const address = node.address!;
  assertMatch(address, /^dynamic\/[0-9a-f]{32}$/);
  assertEquals(address === twin.address, false);
  const source = node.remote!.source!;
  assertEquals(source.dynamic, true);
  assertStringIncludes(
    JSON.stringify(source.dynamicNodeProperties, (_, v) => typeof v === "bigint" ? `${v}` : v),
    "43",
  );
  const sender = producer.sender(address);
  await sender.send({ body: "hello" });
  assertEquals((await node.receive()).message.body, "hello");
  await node.close();
  await sender.closed;
  assertInstanceOf(sender.error, AmqpError);
  assertEquals(sender.error.condition, condition.resourceDeleted);
  assertEquals([broker.queue(address), broker.messages], [undefined, 0]);
  const late = producer.sender(address);
  const error = await assertRejects(() => late.ready(), AmqpError);
  assertEquals(error.condition, condition.notFound);
});

test("ATK-23: nobody but the maker's connection receives from a dynamic node", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const node = consumer.receiver({ dynamic: true });
  await node.ready();
  const spy = producer.receiver(node.address!);
  const error = await assertRejects(() => spy.ready(), AmqpError);
  assertEquals(error.condition, condition.unauthorizedAccess);
  await consumer.receiver(node.address!).ready();
});

test("TRM-2: a sender may have a dynamic node made, too", async () => {
  await using at = setUp();
  const sender = at.producer.sender({ dynamic: true });
  await sender.ready();
  assertMatch(sender.address!, /^dynamic\//);
  await sender.send({ body: "x" });
  assertEquals((await at.producer.receiver(sender.address!).receive()).message.body, "x");
  await at.producer.close();
  await until(() => at.broker.queues().length === 0);
});

test("a request is answered over a dynamic node", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const service = consumer.receiver("double");
  const replies = consumer.sender({});
  void service.serve(async ({ message }) => {
    const { replyTo, messageId } = message.properties!;
    const body = 2n * (message.body as bigint);
    await replies.send({ properties: { to: replyTo, correlationId: messageId }, body });
  }, { concurrency: 4 });
  const answers = await Promise.all(range(0, 50).map((i) => producer.request("double", { body: BigInt(i) })));
  assertEquals(answers.map((answer) => answer.body), range(0, 50).map((i) => BigInt(2 * i)));
  await Promise.all([producer.close(), consumer.close()]);
  assertEquals([broker.messages, broker.queues().map((queue) => queue.address)], [0, ["double"]]);
});

test("EXT-1: messages on a link without a target go where each of them says", async () => {
  await using at = setUp({ topics: ["news"] });
  const { producer, consumer, broker } = at;
  const listener = consumer.receiver("news", { credit: 1 });
  await Promise.all([producer.ready(), listener.ready()]);
  assertEquals(producer.remote?.offeredCapabilities, ["ANONYMOUS-RELAY", "DELAYED_DELIVERY", "SHARED-SUBS"]);
  const sender = producer.sender({});
  await sender.send({ properties: { to: "a" }, body: 1 });
  await sender.send({ properties: { to: "b" }, body: 2 });
  await sender.send({ properties: { to: "news" }, body: 3 });
  assertEquals(sender.address, undefined);
  assertEquals([broker.queue("a")!.messages, broker.queue("b")!.messages], [1, 1]);
  assertEquals((await listener.receive()).message.body, 3);
});

test("EXT-1: what cannot be routed is rejected, and names its delivery", async () => {
  await using at = setUp({ autoCreate: false, queues: { a: {} } });
  const sender = at.producer.sender({});
  const cases: Message[] = [{ body: 1 }, { properties: { to: "" } }, { properties: { to: "nowhere" } }];
  for (const message of cases) {
    const error = await assertRejects(() => sender.send(message), OutcomeError);
    assertEquals([error.outcome, error.condition], ["rejected", condition.notFound]);
    assertInstanceOf(error.info?.["delivery-tag"], Uint8Array);
  }
  await sender.send({ properties: { to: "a" } });
  await sender.send({ properties: { to: "nowhere" } }, { settled: true });
  await sender.closed;
  assertInstanceOf(sender.error, AmqpError);
  assertEquals(sender.error.condition, condition.notFound);
  assertInstanceOf(sender.error.info?.["delivery-tag"], Uint8Array);
});

test("autoCreate: false refuses addresses that nobody has set up", async () => {
  await using at = setUp({ autoCreate: false, queues: { orders: {} }, topics: ["news/*"] });
  const { producer, consumer, broker } = at;
  await producer.sender("orders").send({ body: 1 });
  await producer.sender("news/x").send({ body: 1 });
  for (const link of [producer.sender("other"), consumer.receiver("other")]) {
    const error = await assertRejects(() => link.ready(), AmqpError);
    assertEquals([error.condition, error.remote], [condition.notFound, true]);
  }
  assertEquals(broker.queues().map((queue) => queue.address), ["orders"]);
});

test("TRM-8: links without a node, and transactions, are refused with a reason", async () => {
  await using at = setUp();
  const { consumer, producer } = at;
  const nameless = consumer.receiver({ address: null });
  assertEquals((await assertRejects(() => nameless.ready(), AmqpError)).condition, condition.notFound);
  await producer.ready();
  assertEquals(producer.open, true);
});

test("a queue that is there from the start counts with its address, and gives back no more when it is deleted", async () => {
  const named = "q".repeat(1_000);
  await using at = setUp({ queues: { [named]: {} }, maxBytes: 2_500, log: null });
  const { producer, broker } = at;
  const attach = (n: number) => producer.sender("r".repeat(400) + n).ready();
  assertEquals((await assertRejects(() => attach(0), AmqpError)).condition, condition.resourceLimitExceeded);
  broker.delete(named);
  for (let n = 0; n < 3; n++) await attach(n);
  assertEquals((await assertRejects(() => attach(3), AmqpError)).condition, condition.resourceLimitExceeded);
});

test("a queue that the program declares has its settings, and makes no room for others", async () => {
  await using at = setUp({ maxQueues: 1, log: null });
  const { broker, producer } = at;
  assertEquals([broker.declare("orders", { maxMessages: 1 }), broker.declare("orders")], [true, false]);
  assertThrows(() => broker.declare("more"), AmqpError, "too many queues");
  assertThrows(() => broker.declare("orders", { maxMessage: 1 } as never), TypeError, "maxMessages");
  await assertRejects(() => producer.send("others", { body: 1 }), AmqpError, "too many queues");
  await producer.send("orders", { body: 1 });
  const full = producer.send("orders", { body: 2 });
  await until(() => broker.queue("orders")?.messages === 1);
  assertEquals(broker.purge("orders"), 1);
  await full;
});
