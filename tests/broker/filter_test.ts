import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { Message } from "../../src/codec/message.ts";
import { byte, described, type Fields, symbol, ulong } from "../../src/codec/types.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { keepMessage } from "../../src/broker/encoded_message.ts";
import { readFilters, selectorFilter } from "../../src/broker/filters.ts";
import { delayed } from "../../src/filters/mod.ts";
import { likeMatcher } from "../../src/broker/like.ts";
import { KeptBytes } from "../../src/broker/kept_bytes.ts";
import { test } from "../harness.ts";
import { encoded, numbers, range, setUp, take, until } from "./set_up.ts";

const MESSAGE: Message = {
  header: { priority: 7, durable: true, deliveryCount: 2 },
  properties: { messageId: "ID:1", subject: "order", creationTime: new Date(1_000), correlationId: 5n, groupId: "g" },
  applicationProperties: {
    color: "red",
    size: 12,
    weight: 2.5,
    big: 9_007_199_254_740_993n,
    gift: true,
    text: "it's 10%",
  },
  body: null,
};

function matches(selector: string, message: Message = MESSAGE): boolean {
  return selectorFilter(selector)(keepMessage(encoded(message), 0, undefined, new KeptBytes()));
}

test("EXT-2: a selector is true, false or unknown, and only what it is true of passes", () => {
  const passes = [
    "color = 'red'",
    "color <> 'blue' AND size > 10",
    "size BETWEEN 12 AND 13 and not size between 1 and 2",
    "color IN ('blue', 'red') AND color NOT IN ('green')",
    "missing IS NULL AND color IS NOT NULL",
    "text LIKE 'it''s%' AND text LIKE '%10\\%' ESCAPE '\\' AND text NOT LIKE '10%'",
    "color LIKE 'r_d' AND color LIKE '%e%' AND color LIKE 'red'",
    "big = 9007199254740993 AND big <> 9007199254740992",
    "size * 2 + 1 = 25 AND size / 5 = 2 AND -size < 0 AND weight * 2 = 5",
    "size = 12.0 AND weight > 2 AND size = 0xC AND size = 014 AND weight = 25e-1 AND size = 12L",
    "gift AND gift = TRUE AND NOT (gift = FALSE)",
    "JMSPriority = 7 AND JMSDeliveryMode = 'PERSISTENT' AND JMSType = 'order' AND JMSMessageID = 'ID:1'",
    "JMSTimestamp = 1000 AND JMSXGroupID = 'g' AND JMSRedelivered AND JMSXDeliveryCount = 3 AND JMSExpiration = 0",
    "JMSCorrelationID = 'ID:AMQP_ULONG:5'",
    "missing = 1 OR color = 'red'",
    "NOT (missing = 1 AND color = 'blue')",
    "  size\n>\t1 ",
  ];
  for (const selector of passes) assertEquals(matches(selector), true, selector);
  const fails = [
    "color = 'blue'",
    "missing = 1",
    "NOT missing = 1",
    "missing <> 1",
    "missing IN ('a')",
    "missing NOT LIKE 'a%'",
    "missing BETWEEN 1 AND 2",
    "color = 1",
    "color <> 1",
    "color > 'a'",
    "size / 0 = 1 OR color + 1 = 2",
    "color",
    "gift > FALSE",
    "size LIKE '1%'",
  ];
  for (const selector of fails) assertEquals(matches(selector), false, selector);
  assertEquals(selectorFilter("TRUE")(keepMessage(Uint8Array.of(1), 5, undefined, new KeptBytes())), false);
});

test("ATK-31: what is no selector is refused with the place, and so is one that is too long or nests too deep", () => {
  const wrong = [
    "",
    "a =",
    "a = 'x",
    "(a = 1",
    "a = 1)",
    "a BETWEEN 1",
    "a IN ()",
    "a IN (1)",
    "a LIKE b",
    "a # 1",
    "AND",
    "1a = 2",
  ];
  wrong.push(
    "a IS 1",
    "a NOT 1",
    "a LIKE 'x' ESCAPE 'ab'",
    `a LIKE '${"x".repeat(600)}'`,
    "(".repeat(100) + "a" + ")".repeat(100),
  );
  // As Azure Event Hubs have it: here it would be the name of a missing property.
  wrong.push("amqp.annotation.x-opt-offset > '1'");
  wrong.push(`a = '${"x".repeat(5_000)}'`, `a = 1${"+1".repeat(1_500)}`);
  for (const selector of wrong) {
    const error = assertThrows(() => selectorFilter(selector), AmqpError, undefined, selector.slice(0, 30));
    assertEquals([error.condition, error.scope], [condition.invalidField, "link"]);
  }
  // Neither stack nor time grows with a peer's repetitions.
  assertEquals(matches(`${"NOT ".repeat(1_000)}gift`), true);
  assertEquals(matches(Array(300).fill("gift").join(" AND ")), true);
  const matcher = likeMatcher("%" + "a_".repeat(200) + "%b");
  assertEquals(matcher("a".repeat(200_000)), false);
});

test("EXT-2: a pattern finds what it stands for, also over word limits", () => {
  const long = "abc".repeat(20);
  for (
    const [pattern, text, expected] of [
      ["%", "", true],
      ["_", "", false],
      ["a%a", "a", false],
      ["a%a", "aa", true],
      ["%ab%ab%", "abab", true],
      ["%ab%ab%", "abxb", false],
      ["%aab%", "aaab", true],
      [`%${long}%`, `x${long.slice(0, -1)}${long}y`, true],
      [`%${"_".repeat(40)}x%`, "y".repeat(45) + "x", true],
      [`%${"_".repeat(40)}x%`, "y".repeat(39) + "x", false],
    ] as const
  ) assertEquals(likeMatcher(pattern)(text), expected, `${pattern} ${text}`);
});

test("TRM-5: filters in force are echoed, unknown ones refuse the link, and null is none", async () => {
  const selector = described(ulong(0x468C00000004n).value, "n > 1");
  const asked: Fields = { "jms-selector": selector, other: null };
  assertEquals(readFilters(asked, "me").inForce, Object.assign(Object.create(null), { "jms-selector": selector }));
  assertEquals(
    readFilters({ s: described("apache.org:selector-filter:string", "n > 1") }, "me").filter !== undefined,
    true,
  );
  assertEquals(readFilters({ "jms-selector": "n > 1" }, "me").filter !== undefined, true);
  await using at = setUp();
  for (
    const [filter, expected] of [
      [{ "x:sql": described("vendor:sql", "1=1") }, condition.notImplemented],
      [{ "jms-selector": described("apache.org:selector-filter:string", "n >") }, condition.invalidField],
      [{ "jms-selector": described("apache.org:selector-filter:string", 5) }, condition.invalidField],
    ] as const
  ) {
    const receiver = at.consumer.receiver({ address: "orders", filter });
    assertEquals((await assertRejects(() => receiver.ready(), AmqpError)).condition, expected);
  }
});

test("TRM-5: consumers with selectors get what they want, in order, and leave the rest to others", async () => {
  await using at = setUp();
  const { producer, consumer, broker } = at;
  const sender = producer.sender("orders");
  await Promise.all(
    range(0, 5_000).map((n) => sender.send({ applicationProperties: { odd: n % 2 === 1 }, body: BigInt(n) })),
  );
  const filter = { "jms-selector": described("apache.org:selector-filter:string", "odd = TRUE") };
  const odd = consumer.receiver({ address: "orders", filter, credit: 2_500, settle: "manual" });
  const taken = await take(odd, 2_500);
  assertEquals(numbers(taken), range(0, 2_500).map((n) => 2 * n + 1));
  assertEquals(odd.remote?.source?.filter?.["jms-selector"] !== undefined, true);
  await odd.drain();
  assertEquals([odd.buffered, odd.credit, broker.queue("orders")!.messages], [0, 0, 2_500]);
  taken[0]!.release();
  assertEquals(numbers([await odd.receive()]), [1]);
  const rest = consumer.receiver({ address: "orders", credit: 3 });
  assertEquals(numbers(await take(rest, 3)), [0, 2, 4]);
});

test("TRM-5: a message passes all filters, or is not for the receiver", async () => {
  await using at = setUp();
  const own = await at.broker.connect({ containerId: "me" });
  const filter = {
    "no-local": described(ulong(0x468C00000003n).value, []),
    "jms-selector": described("apache.org:selector-filter:string", "n > 1"),
  };
  const receiver = own.receiver({ address: "topic/a", filter, credit: 10 });
  await receiver.ready();
  await own.sender("topic/a").send({ applicationProperties: { n: 2 }, body: 1n });
  await at.producer.sender("topic/a").send({ applicationProperties: { n: 1 }, body: 2n });
  await at.producer.sender("topic/a").send({ applicationProperties: { n: 2 }, body: 3n });
  assertEquals(numbers([await receiver.receive()]), [3]);
  assertEquals(receiver.buffered, 0);
});

test("EXT-2: no-local keeps a container's own messages from it, whichever connection they came on", async () => {
  await using at = setUp();
  const own = await at.broker.connect({ containerId: "me" });
  const again = await at.broker.connect({ containerId: "me" });
  const filter = { "no-local": described(ulong(0x468C00000003n).value, []) };
  const receiver = own.receiver({ address: "topic/a", filter, credit: 10 });
  await receiver.ready();
  await again.sender("topic/a").send({ body: 1n });
  await at.producer.sender("topic/a").send({ body: 2n });
  assertEquals(numbers([await receiver.receive()]), [2]);
  assertEquals(at.broker.messages, 1);
});

test("MSG-3: higher priorities come first, each in order, also what comes back", async () => {
  await using at = setUp();
  const sender = at.producer.sender("orders");
  for (const [i, priority] of [4, 0, 9, 4, 9, 12].entries()) {
    await sender.send({ header: { priority }, body: BigInt(i) });
  }
  const first = at.consumer.receiver("orders", { credit: 1, settle: "manual" });
  const held = await first.receive();
  assertEquals(numbers([held]), [2]);
  await first.close();
  assertEquals(numbers(await take(at.consumer.receiver("orders", { credit: 6 }), 6)), [2, 4, 5, 0, 3, 1]);
});

test("TRM-4: a browser sees what waits once, also what comes in front, and takes nothing", async () => {
  await using at = setUp();
  const sender = at.producer.sender("orders");
  for (const i of range(0, 3)) await sender.send({ body: BigInt(i) });
  const browser = at.consumer.receiver({ address: "orders", source: { distributionMode: "copy" }, credit: 10 });
  assertEquals(numbers(await take(browser, 3)), [0, 1, 2]);
  await sender.send({ header: { priority: 9 }, body: 3n });
  assertEquals(numbers([await browser.receive()]), [3]);
  assertEquals(at.broker.queue("orders")!.messages, 4);
  const mode = at.consumer.receiver({ address: "orders", source: { distributionMode: "steal" } });
  assertEquals((await assertRejects(() => mode.ready(), AmqpError)).condition, condition.notImplemented);
});

test("EXT-8, SBX-4: messages wait for their time, however it is told, and count meanwhile", async () => {
  await using at = setUp();
  const sender = at.producer.sender("orders");
  await sender.send({ messageAnnotations: { "x-opt-delivery-delay": 90 }, body: 4n });
  await sender.send({ messageAnnotations: { "x-qpid-not-valid-before": BigInt(Date.now() + 75) }, body: 3n });
  await sender.send({ messageAnnotations: delayed(60, { serviceBus: true }), body: 2n });
  await sender.send({ messageAnnotations: { "x-opt-delivery-time": BigInt(Date.now() + 30) }, body: 1n });
  await sender.send({ messageAnnotations: { "x-opt-delivery-time": BigInt(Date.now() - 30) }, body: 0n });
  assertEquals(at.broker.queue("orders")!.messages, 5);
  assertEquals(numbers(await take(at.consumer.receiver("orders", { credit: 5 }), 5)), [0, 1, 2, 3, 4]);
  await sender.send({ messageAnnotations: { "x-opt-delivery-delay": 600_000 }, body: 5n });
  assertEquals([at.broker.purge("orders")], [1]);
});

test("messages of a group go to one consumer while it is there, then to another, in order", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const sender = producer.sender("orders");
  const a = consumer.receiver("orders", { credit: 1, settle: "manual" });
  const b = consumer.receiver("orders", { credit: 1, settle: "manual" });
  await Promise.all([a.ready(), b.ready()]);
  for (const [i, groupId] of ["g", "g", "h", "g"].entries()) {
    await sender.send({ properties: { groupId }, body: BigInt(i) });
  }
  const [first, other] = await Promise.all([a.receive(), b.receive()]);
  assertEquals(numbers([first, other]), [0, 2]);
  other.accept();
  await until(() => at.broker.queue("orders")!.unsettled === 1);
  assertEquals([b.buffered, at.broker.queue("orders")!.messages], [0, 2]);
  await a.close();
  const rest = await take(b, 1);
  assertEquals(numbers(rest), [0]);
  rest[0]!.accept();
  assertEquals(numbers([await b.receive()]), [1]);
});

test("a link that only looks sees the messages of a group that another has", async () => {
  await using at = setUp();
  const { producer, consumer } = at;
  const holder = consumer.receiver("orders", { credit: 1, settle: "manual" });
  await holder.ready();
  const sender = producer.sender("orders");
  const browser = (): Receiver =>
    consumer.receiver({ address: "orders", source: { distributionMode: "copy" }, credit: 10 });
  const early = browser();
  await early.ready();
  for (let i = 0; i < 3; i++) await sender.send({ properties: { groupId: "g" }, body: BigInt(i) });
  assertEquals(numbers([await holder.receive()]), [0]);
  assertEquals(numbers(await take(early, 3)), [0, 1, 2]);
  assertEquals(numbers(await take(browser(), 2)), [1, 2]);
});

test("TRM-3: a dynamic node with another lifetime than its link's is refused", async () => {
  await using at = setUp();
  const dynamicNodeProperties = { "lifetime-policy": described(0x2cn, []) };
  const receiver = at.consumer.receiver({ dynamic: true, source: { dynamicNodeProperties } });
  assertEquals((await assertRejects(() => receiver.ready(), AmqpError)).condition, condition.notImplemented);
});

test("EXT-1: a relayed message says of a new address what it is, as JMS clients do", async () => {
  await using at = setUp();
  const sender = at.producer.sender({});
  const jms = (type: number) => ({ "x-opt-jms-dest": byte(type), "x-opt-other": symbol("s") });
  await sender.send({ messageAnnotations: jms(1), properties: { to: "news" }, body: 1n });
  await sender.send({ messageAnnotations: jms(0), properties: { to: "jobs" }, body: 1n });
  assertEquals([at.broker.queue("news"), at.broker.queue("jobs")!.messages], [undefined, 1]);
});
