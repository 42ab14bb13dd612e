import { assertEquals, assertGreater, assertInstanceOf, assertLess, assertRejects } from "@std/assert";
import { decodeHex } from "@std/encoding";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { type ErrorFields, type Header, symbol, timestamp, uint, ulong } from "../../src/codec/types.ts";
import { systemEnvironment } from "../../src/base/environment.ts";
import { test } from "../harness.ts";
import { encoded, numbers, range, sendNumbers, setUp, take, until } from "./set_up.ts";
import { linkUp } from "../client/link_up.ts";

test("a message waits in a queue until somebody receives it, and is gone once accepted", async () => {
  await using at = setUp();
  const { broker, producer, consumer } = at;
  assertEquals(await producer.sender("orders").send({ body: "one coffee" }), { kind: "accepted" });
  const { bytes, ...status } = broker.queue("orders")!;
  assertEquals(status, {
    address: "orders",
    messages: 1,
    unsettled: 0,
    waiting: 0,
    consumers: 0,
    producers: 1,
    dropped: 0,
  });
  assertEquals([broker.messages, broker.bytes], [1, bytes]);
  const delivery = await consumer.receiver("orders").receive();
  assertEquals(delivery.message.body, "one coffee");
  assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [0, 1]);
  delivery.accept();
  await consumer.close();
  assertEquals([broker.messages, broker.bytes, broker.queue("orders")!.consumers], [0, 0, 0]);
});

test("a queue is first in, first out, for 10,000 messages from several links", async () => {
  await using at = setUp();
  const { broker, producer, consumer } = at;
  const seen: number[] = [];
  const receiver = consumer.receiver("orders", { credit: 200 });
  const served = receiver.serve((delivery) => {
    seen.push(Number(delivery.message.body));
    if (seen.length === 10_000) void receiver.close();
  });
  const sender = producer.sender("orders");
  const all = Array.from({ length: 10_000 }, (_, i) => sender.send({ body: BigInt(i) }));
  await Promise.all(all);
  await served;
  await receiver.close();
  assertEquals(seen, range(0, 10_000));
  assertEquals([broker.messages, broker.bytes], [0, 0]);
});

test("10,000 messages that nobody waits for are kept and come in order", async () => {
  await using at = setUp();
  const { broker, producer, consumer } = at;
  await sendNumbers(producer, "orders", 10_000);
  assertEquals(broker.queue("orders")!.messages, 10_000);
  const seen: number[] = [];
  for await (const delivery of consumer.receiver("orders")) {
    seen.push(Number(delivery.message.body));
    if (seen.length === 10_000) break;
  }
  assertEquals(seen, range(0, 10_000));
});

test("competing consumers each get a message in turn", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const a = consumer.receiver("orders", { credit: 20, settle: "manual" });
  const b = linkUp(broker).receiver("orders", { credit: 20, settle: "manual" });
  await Promise.all([a.ready(), b.ready()]);
  await until(() => broker.queue("orders")!.consumers === 2);
  // Credit follows the attach; with one message each, both have credit.
  await sendNumbers(producer, "orders", 2);
  await Promise.all([take(a, 1), take(b, 1)]);
  await sendNumbers(producer, "orders", 10, 2);
  const [ofA, ofB] = await Promise.all([take(a, 5), take(b, 5)]);
  assertEquals([...numbers(ofA), ...numbers(ofB)].sort((x, y) => x - y), range(2, 12));
  assertEquals(numbers(ofA).map((n) => n % 2), Array(5).fill(numbers(ofA)[0]! % 2));
});

test("a consumer without credit gets nothing, and the others get its share", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const a = consumer.receiver("orders", { credit: "manual" });
  const b = consumer.receiver("orders", { credit: "manual" });
  a.grant(2);
  b.grant(10);
  await Promise.all([a.ready(), b.ready()]);
  await sendNumbers(producer, "orders", 12);
  await Promise.all([take(a, 2), take(b, 10)]);
  assertEquals([a.buffered, b.buffered, a.credit, b.credit], [0, 0, 0, 0]);
  assertEquals(broker.queue("orders")!.unsettled, 12);
});

test("MSG-12: released messages come back at their place, the count of deliveries unchanged", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  await sendNumbers(producer, "orders", 5);
  const receiver = consumer.receiver("orders", { credit: "manual" });
  receiver.grant(3);
  const [zero, one, two] = await take(receiver, 3);
  two!.release();
  zero!.release();
  one!.accept();
  receiver.grant(4);
  const again = await take(receiver, 4);
  assertEquals(numbers(again), [0, 2, 3, 4]);
  assertEquals(again[0]!.message.header?.deliveryCount ?? 0, 0);
});

test("MSG-12: modified counts a failed delivery and merges annotations, their types kept", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const messageAnnotations = { "x-opt-a": uint(1), "x-opt-b": "old", "x-opt-c": symbol("c") };
  await producer.sender("orders").send({ header: { priority: 7 }, messageAnnotations, body: "x" });
  const receiver = consumer.receiver("orders", { credit: 1 });
  const first = await receiver.receive();
  first.modify({ deliveryFailed: true, messageAnnotations: { "x-opt-b": ulong(2n), "x-opt-d": new Date(7) } });
  const second = await receiver.receive();
  assertEquals({ ...second.message.header }, { priority: 7, deliveryCount: 1 });
  assertEquals({ ...second.message.messageAnnotations }, {
    "x-opt-a": 1,
    "x-opt-b": 2n,
    "x-opt-c": symbol("c"),
    "x-opt-d": new Date(7),
  });
  // The third round encodes once more: a uint is still a uint.
  assertEquals(
    encoded({ messageAnnotations: second.message.messageAnnotations }),
    encoded({
      messageAnnotations: { ...messageAnnotations, "x-opt-b": ulong(2n), "x-opt-d": new Date(7) },
    }),
  );
  second.modify();
  const third = await receiver.receive();
  assertEquals({ ...third.message.header }, { priority: 7, deliveryCount: 1 });
  third.accept();
});

test("MSG-12: undeliverable here goes to another link, and not to this one again", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 3);
  const picky = consumer.receiver("orders", { credit: 1, settle: "manual" });
  const refused = await picky.receive();
  refused.modify({ undeliverableHere: true });
  const rest = await take(picky, 1);
  rest[0]!.accept();
  rest.push(await picky.receive());
  assertEquals(numbers(rest), [1, 2]);
  assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [1, 1]);
  const other = await consumer.receiver("orders", { credit: 1 }).receive();
  assertEquals(numbers([other]), [0]);
});

test("MSG-12: rejected messages are dropped without a dead-letter queue", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 1);
  const receiver = consumer.receiver("orders", { credit: 1 });
  (await receiver.receive()).reject();
  await receiver.close();
  const { messages, unsettled, bytes, dropped } = broker.queue("orders")!;
  assertEquals([messages, unsettled, bytes, dropped], [0, 0, 0, 1]);
});

test("MSG-9: a rejected message goes to the dead-letter queue with the reason, once", async () => {
  await using at = setUp({ queue: { deadLetter: "dead" } });
  const { producer, consumer, broker } = at;
  await producer.sender("orders").send({ header: { ttl: 60_000 }, properties: { messageId: "m1" }, body: "bad" });
  const error = new AmqpError("shop:sold-out", "none left", { scope: "delivery", info: { left: uint(0) } });
  (await consumer.receiver("orders", { credit: 1 }).receive()).reject(error);
  const dead = consumer.receiver("dead", { credit: 1 });
  const delivery = await dead.receive();
  const { header, properties, deliveryAnnotations, body } = delivery.message;
  assertEquals([properties?.messageId, body], ["m1", "bad"]);
  assertEquals({ ...header }, { deliveryCount: 1 });
  const rejected = deliveryAnnotations?.rejected as { value: unknown[] };
  assertEquals(rejected.value.slice(0, 2).map(String), ["shop:sold-out", "none left"]);
  assertEquals([delivery.message.deadLetterReason, delivery.message.deadLetterDescription], [
    "shop:sold-out",
    "none left",
  ]);
  assertEquals(broker.queue("orders")!.dropped, 0);
  // A rejected dead letter is dropped.
  delivery.reject();
  await dead.close();
  assertEquals([broker.queue("dead")!.dropped, broker.messages], [1, 0]);
});

test("ATK-18: what a consumer tells of a rejection counts, and is cut where it is long", async () => {
  await using at = setUp({ queue: { deadLetter: "dead" }, topics: ["news"] });
  const { producer, consumer, broker } = at;
  const long = "why ".repeat(10_000);
  const rejections: [error: AmqpError, description: string | undefined, length: number][] = [
    [new AmqpError("app:bad", long, { scope: "delivery" }), long.slice(0, 500), 2],
    [new AmqpError("app:bad", "why", { scope: "delivery", info: { long } }), "why", 2],
    [new AmqpError("x".repeat(10_000), "why", { scope: "delivery" }), undefined, 0],
  ];
  for (const [error, description, length] of rejections) {
    // Two subscriptions share the bytes of a message, but not its deliveries' state.
    const receivers = [1, 2].map(() => consumer.receiver("news", { credit: 1 }));
    await Promise.all(receivers.map((receiver) => receiver.ready()));
    await producer.sender("news").send({ body: 1n });
    const before = broker.bytes;
    for (const receiver of receivers) {
      const delivery = await receiver.receive();
      // An error of this side is cut before it leaves; a peer's is not.
      const { condition, message, info } = error;
      const fields: ErrorFields = {
        condition,
        description: message,
        ...(info && { info: info as ErrorFields["info"] }),
      };
      delivery.update({ kind: "rejected", error: fields });
    }
    await until(() => broker.queue("dead")?.messages === 2);
    assertEquals(broker.bytes, broker.queue("dead")!.bytes - encoded({ body: 1n }).length);
    assertLess(broker.bytes - before, 2 * 600);
    if (length > 0) assertGreater(broker.bytes, before);
    const dead = consumer.receiver("dead", { credit: 2 });
    for (const delivery of await take(dead, 2)) {
      assertEquals(delivery.message.deadLetterDescription, description);
      const rejected = delivery.message.deliveryAnnotations?.rejected as { value: unknown[] } | undefined;
      assertEquals(rejected?.value.length ?? 0, length);
      delivery.accept();
    }
    await Promise.all([dead, ...receivers].map((link) => link.close()));
    await until(() => broker.messages === 0);
    assertEquals(broker.bytes, 0);
  }
});

test("a queue has a dead-letter queue of its own, and gives up after so many attempts", async () => {
  await using at = setUp({ queues: { orders: { deadLetter: "failed orders", maxDeliveries: 3 } } });
  const { producer, consumer, broker } = at;
  await producer.sender("orders").send({ body: "poison" });
  const receiver = consumer.receiver("orders", { credit: 1 });
  for (let i = 0; i < 3; i++) {
    const delivery = await receiver.receive();
    assertEquals(delivery.message.header?.deliveryCount ?? 0, i);
    delivery.modify({ deliveryFailed: true });
  }
  const dead = await consumer.receiver("failed orders", { credit: 1 }).receive();
  assertEquals([dead.message.body, dead.message.header?.deliveryCount], ["poison", 3]);
  assertEquals([dead.message.deadLetterReason, dead.message.deadLetterDescription], ["max-deliveries", undefined]);
  assertEquals(broker.queue("orders")!.messages, 0);
});

test("what a consumer holds when its connection breaks comes back in order, the oldest as a failed attempt", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 20);
  const receiver = consumer.receiver("orders", { credit: 10, settle: "manual" });
  const held = await take(receiver, 10);
  held[3]!.accept();
  await until(() => broker.queue("orders")!.unsettled === 10 && broker.queue("orders")!.messages === 9);
  consumer.destroy(new Error("cable cut"));
  await until(() => broker.queue("orders")!.consumers === 0);
  assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [19, 0]);
  const other = linkUp(broker).receiver("orders", { credit: 30, settle: "manual" });
  const all = await take(other, 19);
  assertEquals(numbers(all), [0, 1, 2, ...range(4, 20)]);
  const counts = all.map((delivery) => delivery.message.header?.deliveryCount ?? 0);
  // Only the oldest counts: it may have broken the connection, and the others were hardly looked at.
  assertEquals(counts, [1, ...Array(18).fill(0)]);
});

test("what a consumer holds when its link or session ends in order comes back, and has not failed", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  await sendNumbers(producer, "orders", 4);
  const held = consumer.receiver("orders", { credit: 2, settle: "manual" });
  await take(held, 2);
  await held.close();
  const session = consumer.session();
  const next = session.receiver({ address: "orders", credit: 4, settle: "manual" });
  assertEquals(numbers(await take(next, 4)), [0, 1, 2, 3]);
  await session.close();
  const last = await take(consumer.receiver("orders", { credit: 4, settle: "manual" }), 4);
  assertEquals(numbers(last), [0, 1, 2, 3]);
  assertEquals(last.map((delivery) => delivery.message.header?.deliveryCount), Array(4).fill(undefined));
});

test("TRM-6: messages left unsettled have the default outcome that the source asked for", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 2);
  const receiver = consumer.receiver({
    address: "orders",
    credit: 2,
    settle: "manual",
    source: { defaultOutcome: { kind: "released" } },
  });
  await take(receiver, 2);
  assertEquals(receiver.remote?.source?.defaultOutcome, { kind: "released" });
  await receiver.close();
  const again = consumer.receiver("orders", { credit: 2 });
  assertEquals((await take(again, 2)).map((delivery) => delivery.message.header?.deliveryCount ?? 0), [0, 0]);
  assertEquals(again.remote?.source?.defaultOutcome, { kind: "modified", deliveryFailed: true });
  assertEquals(broker.queue("orders")!.unsettled, 2);
});

test("messages that a closing receiver had not handed out come back uncounted", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 10);
  const receiver = consumer.receiver("orders", { credit: 10 });
  (await receiver.receive()).accept();
  await receiver.close();
  assertEquals(broker.queue("orders")!.messages, 9);
  const first = await consumer.receiver("orders", { credit: 1 }).receive();
  assertEquals([...numbers([first]), first.message.header?.deliveryCount ?? 0], [1, 0]);
});

test("TRM-4: distribution mode copy shows the messages and leaves them", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  await sendNumbers(producer, "orders", 5);
  const browser = consumer.receiver({ address: "orders", credit: 10, source: { distributionMode: "copy" } });
  const shown = await take(browser, 5);
  assertEquals(numbers(shown), [0, 1, 2, 3, 4]);
  assertEquals(browser.remote?.source?.distributionMode, "copy");
  for (const delivery of shown) delivery.accept();
  await sendNumbers(producer, "orders", 1, 5);
  assertEquals(numbers(await take(browser, 1)), [5]);
  await browser.drain();
  assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.unsettled], [6, 0]);
  const receiver = consumer.receiver("orders", { credit: 6 });
  assertEquals(numbers(await take(receiver, 6)), [0, 1, 2, 3, 4, 5]);
  assertEquals(receiver.remote?.source?.distributionMode, "move");
});

test("FLW-5: a drain gets what there is and the rest of the credit back", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  await sendNumbers(producer, "orders", 3);
  const receiver = consumer.receiver("orders", { credit: "manual" });
  await receiver.ready();
  receiver.grant(10);
  await receiver.drain();
  assertEquals([receiver.buffered, receiver.credit], [3, 0]);
  await receiver.drain();
  receiver.grant(2);
  await receiver.drain();
  assertEquals([receiver.buffered, receiver.credit], [3, 0]);
  await sendNumbers(producer, "orders", 5, 3);
  receiver.grant(2);
  await receiver.drain();
  assertEquals(numbers(await take(receiver, 5)), [0, 1, 2, 3, 4]);
});

test("settled deliveries: at most once, into the broker and out of it", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const sender = producer.sender("log");
  assertEquals(await sender.send({ body: 1n }, { settled: true }), undefined);
  const receiver = consumer.receiver({ address: "log", credit: 5, sndSettleMode: "settled" });
  const delivery = await receiver.receive();
  assertEquals([delivery.remoteSettled, delivery.message.body], [true, 1n]);
  await until(() => broker.messages === 0);
  assertEquals(broker.queue("log")!.unsettled, 0);
});

test("DSP-2: a consumer may settle second", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const sender = producer.sender({ address: "orders", rcvSettleMode: "second" });
  await Promise.all(range(0, 5).map((i) => sender.send({ body: BigInt(i) })));
  const receiver = consumer.receiver({ address: "orders", credit: 1, rcvSettleMode: "second" });
  for (let i = 0; i < 5; i++) {
    const delivery = await receiver.receive();
    assertEquals(delivery.message.body, BigInt(i));
    delivery.accept();
  }
  await until(() => broker.messages === 0);
});

test("MSG-4: the message is forwarded byte for byte, its header only when it has to change", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const plain = encoded({
    header: { durable: true, priority: 9 },
    messageAnnotations: { "x-opt-n": uint(1) },
    properties: { messageId: ulong(7n).value },
    applicationProperties: { n: uint(5) },
    body: { list: [uint(1), ulong(2n)] },
    footer: { hash: uint(3) },
  });
  const sender = producer.sender("raw");
  await sender.send(plain);
  const receiver = consumer.receiver("raw", { credit: 1 });
  const first = await receiver.receive();
  assertEquals(first.payload, plain);
  const { bare } = first.message;
  first.modify({ deliveryFailed: true });
  const second = await receiver.receive();
  assertEquals(second.message.bare, bare);
  assertEquals({ ...second.message.header }, { durable: true, priority: 9, deliveryCount: 1 });
  const headerBytes = (header: Header) => encoded({ header }).length - encoded({}).length;
  assertEquals(
    second.payload.subarray(headerBytes({ durable: true, priority: 9, deliveryCount: 1 })),
    plain.subarray(headerBytes({ durable: true, priority: 9 })),
  );
  second.accept();
});

test("MSG-1: delivery annotations are for one hop", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const message = { properties: { subject: "s" }, body: "x" };
  await producer.sender("orders").send({ deliveryAnnotations: { "x-opt-hop": true }, ...message });
  const delivery = await consumer.receiver("orders", { credit: 1 }).receive();
  assertEquals(delivery.payload, encoded(message));
});

test("MSG-11: a message of another format is handed on as it is", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const bytes = Uint8Array.of(0xff, 0, 1, 2);
  await producer.sender("raw").send(bytes, { messageFormat: 0x80013700 });
  const receiver = consumer.receiver("raw", { credit: 1 });
  (await receiver.receive()).modify({ deliveryFailed: true, messageAnnotations: { "x-opt-a": 1 } });
  const delivery = await receiver.receive();
  assertEquals([delivery.messageFormat, [...delivery.payload]], [0x80013700, [...bytes]]);
});

test("MSG-1: bytes that are no message are rejected", async () => {
  await using at = setUp();
  const { producer, broker } = at;
  const sender = producer.sender("orders");
  for (const hex of ["01", "005370d0", "005324", "0053714043", "0053704500537045"]) {
    const bytes = decodeHex(hex);
    const error = await assertRejects(() => sender.send(bytes), OutcomeError);
    assertEquals([error.outcome, error.condition], ["rejected", condition.decodeError]);
  }
  assertEquals(await sender.send({ body: "fine" }), { kind: "accepted" });
  assertEquals(broker.queue("orders")!.messages, 1);
});

test("MSG-3: first-acquirer does not stay true when a message is delivered again, but a browser acquires nothing", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  await producer.sender("orders").send({ header: { firstAcquirer: true }, body: "x" });
  const browser = consumer.receiver({ address: "orders", credit: 1, source: { distributionMode: "copy" } });
  assertEquals((await browser.receive()).message.header?.firstAcquirer, true);
  const receiver = consumer.receiver("orders", { credit: 1 });
  const first = await receiver.receive();
  assertEquals(first.message.header?.firstAcquirer, true);
  first.release();
  const second = await receiver.receive();
  assertEquals(second.message.header?.firstAcquirer, false);
});

test("MSG-10: expired messages are not delivered, others with what is left of their time", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  await sender.send({ header: { ttl: 1 }, body: "short" });
  await sender.send({ header: { ttl: 100_000 }, body: "long" });
  await sender.send({ body: "for ever" });
  await until(() => broker.queue("orders")!.dropped === 1);
  const receiver = consumer.receiver("orders", { credit: 10 });
  const [long, ever] = await take(receiver, 2);
  assertEquals([long!.message.body, ever!.message.body], ["long", "for ever"]);
  const { ttl } = long!.message.header!;
  assertEquals(ttl! > 0 && ttl! <= 100_000, true);
  assertEquals(ever!.message.header, undefined);
});

test("MSG-10: an expiry time counts also where no Date can hold it", async () => {
  await using at = setUp();
  const sender = at.producer.sender("orders");
  for (const far of [-(2n ** 62n), 2n ** 62n]) {
    await sender.send({ properties: { absoluteExpiryTime: timestamp(far) }, body: far });
  }
  await sender.send({ properties: { absoluteExpiryTime: new Date(-1) }, body: 0n });
  const [far] = await take(at.consumer.receiver("orders", { credit: 10 }), 1);
  assertEquals(far!.message.body, 2n ** 62n);
  await until(() => at.broker.queue("orders")!.dropped === 2);
});

test("MSG-10: a message with a ttl and an expiry time expires at the earlier of the two", async () => {
  await using at = setUp();
  const sender = at.producer.sender("orders");
  const past = new Date(Date.now() - 1), later = new Date(Date.now() + 3_600_000);
  await sender.send({ header: { ttl: 100_000 }, properties: { absoluteExpiryTime: past }, body: 0n });
  await sender.send({ header: { ttl: 0 }, properties: { absoluteExpiryTime: later }, body: 1n });
  await sender.send({ header: { ttl: 100_000 }, properties: { absoluteExpiryTime: later }, body: 2n });
  const [left] = await take(at.consumer.receiver("orders", { credit: 10 }), 1);
  assertEquals(left!.message.body, 2n);
  await until(() => at.broker.queue("orders")!.dropped === 2);
});

test("MSG-10: the ttl that a receiver sees is lowered by the time that the message has waited", async () => {
  let later = 0;
  await using at = setUp({ environment: { ...systemEnvironment, now: () => performance.now() + later } });
  await at.producer.sender("orders").send({ header: { ttl: 100_000 }, body: 1n });
  later = 40_000;
  const { ttl } = (await at.consumer.receiver("orders").receive()).message.header!;
  assertEquals(ttl! <= 60_000 && ttl! > 50_000, true, `${ttl}`);
});

test("MSG-10: what has expired goes to the dead-letter queue, where it stays", async () => {
  await using at = setUp({ queue: { deadLetter: "dead" } });
  const { producer, consumer } = at;
  await producer.sender("orders").send({ header: { ttl: 0 }, body: "late" });
  const receiver = consumer.receiver("orders", { credit: 1 });
  const delivery = await consumer.receiver("dead", { credit: 1 }).receive();
  assertEquals([delivery.message.body, delivery.message.header?.ttl], ["late", undefined]);
  await receiver.close();
});

test("MSG-13: durable messages are taken, or rejected on request", async () => {
  await using at = setUp();
  assertEquals(at.producer.remote, undefined);
  await at.producer.sender("orders").send({ header: { durable: true }, body: "x" });
  assertEquals(at.producer.remote?.properties?.storage, "memory");
  await using strict = setUp({ durable: "reject" });
  const sender = strict.producer.sender("orders");
  const error = await assertRejects(() => sender.send({ header: { durable: true }, body: "x" }), OutcomeError);
  assertEquals(error.condition, condition.preconditionFailed);
  await sender.send({ body: "x" });
  // A sender that does not take `rejected`, or has settled, loses its link.
  for (const [outcomes, settled] of [[["amqp:accepted:list"], false], [undefined, true]] as const) {
    const link = strict.producer.sender({ address: "orders", source: { outcomes: outcomes && [...outcomes] } });
    void link.send({ header: { durable: true }, body: "x" }, { settled }).catch(() => {});
    await link.closed;
    assertInstanceOf(link.error, AmqpError);
    assertEquals([link.error.condition, link.error.scope], [condition.preconditionFailed, "link"]);
  }
});
