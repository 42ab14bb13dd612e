import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { decodeHex } from "@std/encoding";
import { OutcomeError, TransactionError } from "../../src/base/errors.ts";
import type { LogEntry } from "../../src/base/log.ts";
import type { BrokerOptions } from "../../src/broker/broker.ts";
import { QueuedMessage } from "../../src/broker/queued_message.ts";
import { type Described, symbol } from "../../src/codec/types.ts";
import { test } from "../harness.ts";
import { numbers, sendNumbers, type Setup, setUp, take, until } from "./set_up.ts";

// A broker that cannot encode the first message of its queue for its first consumer.
async function withFault(options: BrokerOptions, run: (at: Setup, told: LogEntry[]) => Promise<void>): Promise<void> {
  const told: LogEntry[] = [];
  await using at = setUp({ ...options, log: (entry) => void told.push(entry) });
  await sendNumbers(at.producer, "orders", 2);
  const { toSend } = QueuedMessage.prototype;
  try {
    QueuedMessage.prototype.toSend = function () {
      QueuedMessage.prototype.toSend = toSend;
      throw new RangeError("cannot write");
    };
    await run(at, told);
  } finally {
    QueuedMessage.prototype.toSend = toSend;
  }
}

test("undeliverable: a message that cannot be encoded goes to the dead letters, and the log says so", async () => {
  await withFault({ queues: { orders: { deadLetter: "dead" } } }, async ({ broker, consumer }, told) => {
    assertEquals(numbers(await take(consumer.receiver("orders", { credit: 2 }), 1)), [1]);
    const dead = await consumer.receiver("dead", { credit: 1 }).receive();
    const { value } = dead.message.deliveryAnnotations!.rejected as Described;
    assertEquals([numbers([dead]), value], [[0], [symbol("amqp:internal-error"), "Cannot encode message"]]);
    assertEquals(broker.queue("orders")!.dropped, 0);
    assertEquals(told.map(({ level, code, address }) => [level, code, address]), [[
      "error",
      "not-delivered",
      "orders",
    ]]);
    assertStringIncludes(told[0]!.message, 'it goes to "dead"');
    assertEquals((told[0]!.error as Error).message, "cannot write");
  });
});

test("undeliverable: without dead letters it stays for other consumers", async () => {
  await withFault({}, async ({ broker, consumer, producer }, told) => {
    const first = consumer.receiver("orders", { credit: 2 });
    assertEquals(numbers(await take(first, 1)), [1]);
    assertEquals([broker.queue("orders")!.messages, broker.queue("orders")!.dropped], [1, 0]);
    assertEquals(told.map(({ code }) => code), ["not-delivered"]);
    const other = producer.receiver("orders", { credit: 1 });
    assertEquals(numbers(await take(other, 1)), [0]);
  });
});

test("undeliverable: a browser goes on with the next message, and the queue keeps both", async () => {
  await withFault({}, async ({ broker, consumer }, told) => {
    const browser = consumer.receiver({ address: "orders", credit: 2, source: { distributionMode: "copy" } });
    assertEquals(numbers(await take(browser, 1)), [1]);
    assertEquals([broker.queue("orders")!.messages, told.map(({ code }) => code)], [2, ["not-delivered"]]);
  });
});

// A header with a time to live, properties whose group-id is a number, and a body.
const MISTYPED = decodeHex(
  "005370c00803404070000186a0" + "005373c00d0b" + "40".repeat(10) + "5205" + "005377a10161",
);

test("ATK-1: a message whose properties no queue can read takes no room, ends no transaction by halves", async () => {
  await using at = setUp({ queue: { maxMessages: 3 } });
  const sender = at.producer.sender("orders");
  for (let i = 0; i < 5; i++) await assertRejects(() => sender.send(MISTYPED), OutcomeError, "group");
  assertEquals([at.broker.messages, at.broker.bytes], [0, 0]);
  const transaction = await at.producer.transaction();
  const sends = [{ body: 1n }, MISTYPED, { body: 2n }].map((message) => transaction.send(sender, message));
  await Promise.allSettled(sends);
  await assertRejects(() => transaction.commit(), TransactionError);
  assertEquals([at.broker.messages, at.broker.bytes], [0, 0]);
});

test("ATK-1: a message that cannot be read is refused at once, also by a queue or topic without room", async () => {
  for (const address of ["orders", "topic/orders"]) {
    await using at = setUp({ queue: { maxMessages: 1 }, log: null });
    const source = { expiryPolicy: "never", durable: "unsettled-state" } as const;
    const receiver = at.consumer.receiver({
      address,
      name: "one",
      credit: "manual",
      ...(address !== "orders" && { source }),
    });
    await receiver.ready();
    const senders = [at.producer.sender(address), at.producer.sender(address)];
    await Promise.all(senders.map((sender) => sender.ready()));
    await until(() => senders.every(({ credit }) => credit > 0));
    const [sent, refused] = senders.map((sender, i) => sender.send(i === 0 ? { body: 0n } : MISTYPED));
    await assertRejects(() => refused!, OutcomeError, "group");
    receiver.grant(1);
    (await receiver.receive()).accept();
    assertEquals((await sent)!.kind, "accepted");
  }
});
