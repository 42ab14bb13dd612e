/**
 * A fuzz target of a broker's books: clients that keep to the protocol send messages whose sections hold values of any type, and
 * do all that clients do with the messages of others.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Sender } from "../../src/client/sender.ts";
import type { Transaction } from "../../src/client/transaction.ts";
import { BATCH_FORMAT } from "../../src/codec/batch.ts";
import { Described, type Value } from "../../src/codec/values.ts";
import { array, int, symbol, uint, ulong } from "../../src/codec/wrappers.ts";
import { Writer } from "../../src/codec/writer.ts";
// Loaded here, as loading it at first use takes real time, for which a virtual clock does not wait.
import "../../src/client/preload.ts";
import { VirtualTime } from "../../src/testing/virtual_time.ts";
import type { Random } from "../harness.ts";

const SELECTOR = "apache.org:selector-filter:string";
const ADDRESSES = ["queue", "small", "topic/t", "dead"];

/** Whatever the messages hold: nothing is unhandled, and a broker whose queues are emptied counts no message and no byte. */
export async function fuzzMessages(random: Random): Promise<void> {
  const { int: below, pick } = random;
  const time = new VirtualTime(below(2 ** 32));
  const broker = new Broker({
    environment: time,
    log: null,
    queues: {
      small: { maxMessages: 2, deadLetter: "dead", maxDeliveries: 2 },
      queue: { maxMessages: 9, deadLetter: "dead" },
    },
  });
  const [producer, consumer] = [await broker.connect({ log: null }), await broker.connect({ log: null })];
  const lasting = { expiryPolicy: "never", durable: "unsettled-state" } as const;
  const filter = {
    selector: new Described(SELECTOR, "a = 'g' OR b > 3 OR JMSXGroupID = 'g' OR JMSCorrelationID LIKE 'a%'"),
  };
  const settings = [
    { address: "topic/t", name: "lasting", source: lasting, filter },
    { address: "topic/t", name: "passing" },
    { address: "queue", filter },
    { address: "queue" },
    { address: "small" },
    { address: "small", source: { distributionMode: "copy" } },
  ];
  const receivers = settings.map((setting) => consumer.receiver({ ...setting, credit: 2 }));
  const serving = receivers.map((receiver) =>
    receiver.serve((delivery) => handle(delivery, random), { onerror: () => {} })
  );
  const senders = [...ADDRESSES, null].map((address) => producer.sender({ address }));
  const sends: Promise<unknown>[] = [];
  let transaction: Transaction | undefined;
  for (let i = 0; i < 60; i++) {
    if (below(12) === 0) {
      const begun = producer.transaction();
      await time.advance(10);
      transaction ??= await begun;
    }
    sends.push(sendOne(pick(senders), below(3) === 0 ? transaction : undefined, random));
    if (below(8) === 0 && transaction !== undefined) {
      sends.push((below(2) === 0 ? transaction.commit() : transaction.rollback()).catch(() => {}));
      transaction = undefined;
    }
    if (below(30) === 0) broker.delete(pick(ADDRESSES));
    if (below(30) === 0) broker.purge(pick(ADDRESSES));
    if (below(20) === 0) void pick(receivers).close({ timeoutMs: pick([0, 1, 50]) });
    await time.advance(pick([0, 0, 1, 40]));
  }
  const closing = Promise.all([consumer.close(), producer.close()]);
  await time.advance(200_000);
  await closing;
  await Promise.allSettled([...sends, ...serving]);
  // Messages of the first ones may expire only now, and become dead letters.
  for (let rounds = 0; rounds < 3; rounds++) for (const { address } of broker.queues()) broker.purge(address);
  broker.delete("topic/t");
  assertEquals([broker.messages, broker.bytes], [0, 0], "the broker counts what it does not hold");
  await broker.close();
}

function handle(delivery: Delivery, random: Random): void {
  const value = valueOf(random);
  switch (random.int(6)) {
    case 0:
      return delivery.accept();
    case 1:
      return delivery.reject({ condition: "test:refused", info: { value } });
    case 2:
      return delivery.release();
    case 3:
      return delivery.modify({
        deliveryFailed: true,
        undeliverableHere: random.int(2) === 0,
        messageAnnotations: { value },
      });
    case 4:
      throw new Error("the handler failed as planned");
  }
}

function sendOne(sender: Sender, transaction: Transaction | undefined, random: Random): Promise<unknown> {
  const isBatch = random.int(8) === 0;
  const payload = isBatch ? sectionsOf(Array.from({ length: 3 }, () => [0x75, messageOf(random)])) : messageOf(random);
  const options = { messageFormat: isBatch ? BATCH_FORMAT : 0 };
  return transaction === undefined
    ? sender.send(payload, { ...options, settled: random.int(5) === 0 })
    : transaction.send(sender, payload, options);
}

// An encoded message, most sections of which are of the right type, and most fields of some.
function messageOf(random: Random): Uint8Array {
  const { int: below, pick, bytes } = random;
  const sections: [number, Value][] = [];
  const value = (): Value => valueOf(random);
  if (below(3) > 0) sections.push([0x70, [true, null, pick([value(), uint(30), uint(100_000)]), value(), value()]]);
  const annotation = pick(["x-opt-delivery-time", "x-opt-delivery-delay", "x-opt-jms-dest", "x-other"]);
  if (below(2) === 0) sections.push([0x72, pick([value(), new Map<Value, Value>([[symbol(annotation), value()]])])]);
  const properties = Array.from({ length: below(15) }, (_, i) => i === 2 ? pick([...ADDRESSES, value()]) : value());
  if (below(5) > 0) sections.push([0x73, pick([properties, properties, properties, value()])]);
  if (below(2) === 0) sections.push([0x74, pick([value(), new Map([["a", value()], ["b", value()]])])]);
  sections.push([pick([0x75, 0x76, 0x77]), pick([value(), bytes(5), ["in a list"]])]);
  const encoded = sectionsOf(sections);
  if (below(10) === 0) encoded[below(encoded.length)] = below(256);
  return below(20) === 0 ? encoded.subarray(0, below(encoded.length)) : encoded;
}

function sectionsOf(sections: readonly (readonly [number, Value])[]): Uint8Array {
  const writer = new Writer();
  for (const [code, value] of sections) writer.value(new Described(BigInt(code), value));
  return new Uint8Array(writer.take());
}

function valueOf({ int: below, pick, bytes }: Random): Value {
  if (below(2) === 0) return null;
  const date = new Date(Date.now() + below(100));
  const plain: Value[] = ["g", 1.5, true, date, -1n, BigInt(date.getTime()), bytes(3), [1], new Map([["a", 1]])];
  return pick([...plain, uint(5), ulong(7n), int(-3), symbol("s"), new Described(1n, 2), array("symbol", ["a"])]);
}
