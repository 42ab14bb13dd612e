import { adoptReceiver } from "../../src/server/link_requests.ts";
import { assertEquals, assertLessOrEqual, assertRejects } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { systemEnvironment } from "../../src/base/environment.ts";
import type { LogEntry } from "../../src/base/log.ts";
import { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import { Broker } from "../../src/broker/broker.ts";
import { keepMessage } from "../../src/broker/encoded_message.ts";
import { KeptBytes } from "../../src/broker/kept_bytes.ts";
import { decodeMessage } from "../../src/codec/message.ts";
import { type Described, type ErrorFields, symbol } from "../../src/codec/types.ts";
import { MESSAGE_BYTES, QueuedMessage } from "../../src/broker/queued_message.ts";
import { selector } from "../../src/filters/mod.ts";
import { SortedMessages } from "../../src/broker/sorted_messages.ts";
import { VirtualTime } from "../../src/testing/mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { linkUp } from "../client/link_up.ts";
import { turn } from "../client/virtual.ts";
import { encoded, numbers, range, sendNumbers, setUp, take, until } from "./set_up.ts";

test("ATK-39: a message whose delivery-count is full stays what it is, and its queue goes on", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  await producer.sender("orders").send({ header: { deliveryCount: 0xffffffff }, body: 0n });
  await producer.sender("orders").send({ body: 1n });
  const receiver = consumer.receiver("orders", { credit: 5, settle: "manual" });
  const [full, other] = await take(receiver, 2);
  full!.modify({ deliveryFailed: true });
  const again = await receiver.receive();
  assertEquals([numbers([again]), again.message.header?.deliveryCount], [[0], 0xffffffff]);
  assertEquals([numbers([other!]), consumer.open], [[1], true]);
});

test("ATK-39: a rejection whose info nobody could send on is told without it", () => {
  const encodedMessage = keepMessage(encoded({ body: 1n }), 0, undefined, new KeptBytes());
  for (const info of [{ "schlüssel": 1 }, { key: Symbol("no value") }]) {
    const error = { condition: "app:bad", description: "why", info } as unknown as ErrorFields;
    const dead = new QueuedMessage(encodedMessage, Infinity).deadLetter(error);
    const { deliveryAnnotations, body } = decodeMessage(dead.toSend({ now: () => 0 }));
    const { value } = deliveryAnnotations!.rejected as Described;
    assertEquals([body, value], [1n, [symbol("app:bad"), "why"]]);
  }
});

test("ATK-39: annotations of modified count as what they are, and are left out where they would not fit", async () => {
  await using at = setUp({ queues: { orders: { maxBytes: 4_000 } } });
  const { producer, consumer, broker } = at;
  await producer.sender("orders").send({ body: 1n });
  const before = broker.queue("orders")!.bytes;
  const receiver = consumer.receiver("orders", { credit: 1 });
  (await receiver.receive()).modify({ messageAnnotations: { "x-opt-a": "y".repeat(1_000) } });
  const grown = await receiver.receive();
  assertEquals(grown.message.messageAnnotations, { "x-opt-a": "y".repeat(1_000) });
  assertEquals(broker.queue("orders")!.bytes > before + 1_000, true);
  assertEquals(broker.bytes, broker.queue("orders")!.bytes);
  grown.modify({ messageAnnotations: { "x-opt-b": "z".repeat(5_000) } });
  const same = await receiver.receive();
  assertEquals(Object.keys(same.message.messageAnnotations!), ["x-opt-a"]);
  same.accept();
  await until(() => broker.messages === 0);
  assertEquals(broker.bytes, 0);
});

test("budgets: every message counts a constant beside its bytes", async () => {
  await using at = setUp({ queues: { small: { maxBytes: 10 * (MESSAGE_BYTES + 20) } }, log: null });
  const { producer, broker } = at;
  const sender = producer.sender("small");
  for (const i of range(0, 100)) void sender.send({ body: BigInt(i) }).catch(() => {});
  await until(() => broker.queue("small")!.messages > 0 && sender.credit === 0);
  const { messages, bytes } = broker.queue("small")!;
  assertLessOrEqual(messages, 10);
  assertLessOrEqual(messages * MESSAGE_BYTES, bytes);
});

test("budgets: a message that many subscribers have counts once in the whole", async () => {
  await using at = setUp({ maxBytes: 100_000 });
  const { producer, consumer, broker } = at;
  const receivers = range(0, 20).map(() => consumer.receiver("topic/a", { credit: 1, settle: "manual" }));
  await Promise.all(receivers.map((receiver) => receiver.ready()));
  await producer.sender("topic/a").send({ body: "x".repeat(10_000) });
  assertEquals([broker.messages, broker.bytes < 20_000], [20, true]);
  for (const receiver of receivers) (await receiver.receive()).accept();
  await until(() => broker.messages === 0);
  assertEquals(broker.bytes, 0);
});

test("budgets: a full broker holds back who sends to a topic, and drops no subscriber that keeps up", async () => {
  await using at = setUp({ maxMessages: 20, log: null });
  const { producer, consumer, broker } = at;
  const receiver = consumer.receiver("topic/a", { credit: 100 });
  await receiver.ready();
  await sendNumbers(producer, "filled", 20);
  const sending = producer.sender("topic/a").send({ body: 7n });
  const hog = linkUp(broker).receiver("filled", { credit: 1 });
  const first = await hog.receive();
  assertEquals([receiver.open, receiver.buffered], [true, 0]);
  first.accept();
  assertEquals(numbers([await receiver.receive()]), [7]);
  assertEquals(await sending, { kind: "accepted" });
});

test("budgets: a sender does not hear of what no subscriber got that it was accepted", async () => {
  await using at = setUp({ queue: { maxMessages: 1 }, log: null });
  const { producer, consumer } = at;
  const slow = consumer.receiver("topic/a", { credit: 0 });
  await slow.ready();
  const sender = producer.sender("topic/a");
  await sender.send({ body: 1n });
  const error = await assertRejects(() => sender.send({ body: 2n }), AmqpError);
  assertEquals(error.condition, condition.resourceLimitExceeded);
  await slow.closed;
  // Without subscribers, nobody could have got the message.
  assertEquals(await sender.send({ body: 3n }), { kind: "accepted" });
});

test("nodes that nobody uses go after a time, others stay", async () => {
  let later = 0;
  const environment = { ...systemEnvironment, now: () => performance.now() + later };
  await using broker = new Broker({ environment, idleQueueMs: 50_000, queues: { kept: {} } });
  const connection = await broker.connect();
  await connection.sender("full").send({ body: 1n });
  const used = connection.receiver("used");
  await used.ready();
  for (const link of [connection.receiver("idle"), connection.sender("topic/idle")]) {
    await link.ready();
    await link.close();
  }
  await until(() => broker.queue("idle")?.consumers === 0);
  assertEquals(broker.queues().map(({ address }) => address), ["kept", "full", "used", "idle"]);
  later = 60_000;
  assertEquals(broker.queues().map(({ address }) => address), ["kept", "full", "used"]);
});

test("a full queue says so in the log, once, with what to do", async () => {
  const told: LogEntry[] = [];
  await using at = setUp({ queues: { small: { maxMessages: 2 } }, log: (entry) => told.push(entry) });
  const sender = at.producer.sender("small");
  for (const i of range(0, 10)) void sender.send({ body: BigInt(i) }).catch(() => {});
  await until(() => told.length > 0);
  assertEquals([told.length, told[0]!.code, told[0]!.address], [1, "producer-held", "small"]);
  assertEquals(told[0]!.message.includes('"maxMessages"'), true);
});

test("TRM-10: a receiver settles as it says, a sender that asks for two steps has one, and settleModes has both as it says", async () => {
  for (
    const [settleModes, receives, sends] of [
      [undefined, "second", "first"],
      [["first"], "first", "first"],
      [["first", "second"], "second", "second"],
    ] as const
  ) {
    await using at = setUp({ settleModes });
    const { producer, consumer, broker } = at;
    const sender = producer.sender("a", { rcvSettleMode: "second" });
    const receiver = consumer.receiver("a", { rcvSettleMode: "second", credit: 1 });
    assertEquals((await sender.send({ body: 1n }))?.kind, "accepted");
    assertEquals((await receiver.receive()).accept(), undefined);
    assertEquals([receiver.remote?.rcvSettleMode ?? "first", sender.remote?.rcvSettleMode ?? "first"], [
      receives,
      sends,
    ]);
    // The broker takes the second step, whatever outcome the first named.
    await until(() => broker.messages === 0 && receiver.unsettled === 0);
  }
});

test("TRM-10: an acceptor's program that says nothing has a receiver settle as it says, and a sender in one step", async () => {
  await using server = acceptor({
    onSender: (request) => void request.accept().send({ body: 1n }).catch(() => {}),
    onReceiver: (request) => void request.accept({ credit: 1 }),
  });
  await using connection = linkUp(server);
  const receiver = connection.receiver("a", { rcvSettleMode: "second" });
  const sender = connection.sender("a", { rcvSettleMode: "second" });
  await Promise.all([receiver.ready(), sender.ready()]);
  assertEquals([receiver.remote?.rcvSettleMode, sender.remote?.rcvSettleMode ?? "first"], ["second", "first"]);
});

test("what consumers held when they were lost counts for all, none or the oldest, as the queue says", async () => {
  for (const [lossCount, expected] of [["all", [1, 1, 1]], ["none", [0, 0, 0]], ["oldest", [1, 0, 0]]] as const) {
    await using at = setUp({ queue: { lossCount } });
    const { producer, consumer, broker } = at;
    await sendNumbers(producer, "orders", 3);
    await take(consumer.receiver("orders", { credit: 3, settle: "manual" }), 3);
    consumer.destroy(new Error("cable cut"));
    const again = await take(linkUp(broker).receiver("orders", { credit: 3, settle: "manual" }), 3);
    assertEquals(again.map(({ message }) => message.header?.deliveryCount ?? 0), [...expected]);
  }
});

test("an open-ended number of messages comes back to any place without a walk through the others", async () => {
  const count = 20_000;
  await using at = setUp();
  const { producer, consumer, broker } = at;
  let steps = 0;
  const { insert, delete: remove, after } = SortedMessages.prototype;
  const { excludes } = QueuedMessage.prototype;
  const counted = <Args extends unknown[], Result>(call: (...args: Args) => Result) =>
    function (this: unknown, ...args: Args): Result {
      steps++;
      return call.apply(this, args);
    };
  Object.assign(SortedMessages.prototype, {
    insert: counted(insert),
    delete: counted(remove),
    after: counted(after),
  });
  QueuedMessage.prototype.excludes = counted(excludes);
  try {
    await sendNumbers(producer, "orders", count);
    const receiver = consumer.receiver("orders", { credit: count, settle: "manual" });
    const held = await take(receiver, count);
    // In reverse order, refused by one of two consumers, and with one that dies.
    for (const delivery of held.reverse()) delivery.modify({ undeliverableHere: true });
    await until(() => broker.queue("orders")!.messages === count);
    const other = linkUp(broker);
    const all = await take(other.receiver("orders", { credit: count, settle: "manual" }), count);
    assertEquals(numbers(all), range(0, count));
    other.destroy(new Error("cable cut"));
    await until(() => broker.queue("orders")!.messages === count);
    const again = await take(linkUp(broker).receiver("orders", { credit: 3, settle: "manual" }), 3);
    assertEquals(numbers(again), [0, 1, 2]);
  } finally {
    Object.assign(SortedMessages.prototype, { insert, delete: remove, after });
    QueuedMessage.prototype.excludes = excludes;
  }
  // Each message came three times and went twice, looked at by two consumers at most.
  assertLessOrEqual(steps, 16 * count);
});

test("a message finds its place among many, and is found there, by looking at few of them", () => {
  const count = 20_000;
  let looks = 0;
  // Numbers that count how often they are compared.
  const ranks = range(0, count).map((i) => ({
    valueOf() {
      looks++;
      return i;
    },
  } as unknown as number));
  const messages = ranks.map((rank) => ({ rank }));
  const sorted = new SortedMessages<{ readonly rank: number }>();
  const orders: ReadonlyArray<readonly [string, (i: number) => number]> = [
    ["in order", (i) => i],
    ["in reverse", (i) => count - 1 - i],
    ["here and there", (i) => i * 7_919 % count],
  ];
  for (const [name, at] of orders) {
    looks = 0;
    for (const i of range(0, count)) sorted.insert(messages[at(i)]!);
    assertEquals(sorted.size, count);
    for (const i of range(0, count)) {
      if (sorted.after(ranks[i - 1] ?? -1) !== messages[i]) throw new Error(`${name}: ${i} is lost`);
    }
    for (const i of range(0, count)) if (!sorted.delete(ranks[at(i)]!)) throw new Error(`${name}: ${i} is lost`);
    assertEquals(sorted.size, 0);
    // Three times twice the number of halvings.
    assertLessOrEqual(looks, 3 * 2 * 15 * count, name);
  }
});

test("a send to another queue gets its outcome while a consumer looks through many messages", async () => {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time });
  const [producer, consumer] = [linkUp(broker, { environment: time }), linkUp(broker, { environment: time })];
  const orders = producer.sender("orders");
  const sent = range(0, 30_000).map(() => orders.send({ body: "x" }));
  await Promise.all([
    ...sent,
    orders.send({ applicationProperties: { wanted: true }, body: "y" }),
    time.advance(1_000),
  ]);
  const other = producer.sender("other");
  await Promise.all([other.ready(), consumer.ready(), time.advance(1_000)]);
  const choosy = consumer.receiver({ address: "orders", filter: selector("wanted = TRUE"), credit: 5 });
  await turn();
  // Time stands still, so the broker does not go on; an outcome that arrives now arrives in the middle of its work.
  let outcome = "none";
  void other.send({ body: "z" }).then(({ kind }) => outcome = kind);
  await turn();
  assertEquals([outcome, choosy.open, choosy.buffered], ["accepted", true, 0]);
  await time.advance(1_000);
  assertEquals(choosy.buffered, 1);
  await Promise.all([producer.close(), consumer.close(), broker.close(), time.advance(10_000)]);
});

test("FLW-3: a drain that comes ahead of the answer to the attach brings what there is", async () => {
  await using at = setUp();
  await sendNumbers(at.producer, "orders", 3);
  const { consumer } = at;
  const endpoint = consumer.defaultSession().endpoint!.attach(ReceiverEndpoint, {
    name: "early",
    source: { kind: "source", address: "orders" },
    target: { kind: "target" },
  });
  const receiver = adoptReceiver(consumer, endpoint, { credit: "manual", settle: "manual" });
  endpoint.flow({ linkCredit: 10, drain: true });
  consumer.wake();
  await until(() => endpoint.linkCredit === 0);
  assertEquals(receiver.buffered, 3);
});
