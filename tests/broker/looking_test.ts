import { assertEquals, assertRejects } from "@std/assert";
import { type AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { Log } from "../../src/base/log.ts";
import { Broker } from "../../src/broker/broker.ts";
import { RoomBudget } from "../../src/broker/budget.ts";
import { keepMessage } from "../../src/broker/encoded_message.ts";
import { readFilters } from "../../src/broker/filters.ts";
import { KeptBytes } from "../../src/broker/kept_bytes.ts";
import type { Arrival } from "../../src/broker/producer.ts";
import { Topic } from "../../src/broker/topic.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import type { ReceiverOptions } from "../../src/client/link_options.ts";
import { test } from "../harness.ts";
import { turn, VirtualTime } from "../client/virtual.ts";
import { encoded, until } from "./set_up.ts";

const COUNT = 10_000;

// A broker in virtual time, with a queue of which only the last message passes the filter.
async function withQueue(
  body: (
    time: VirtualTime,
    open: (options?: Partial<ReceiverOptions>) => ReturnType<Connection["receiver"]>,
  ) => Promise<void>,
): Promise<void> {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, idleTimeOut: 0, log: null });
  const connection = await time.wait(broker.connect());
  const numbers = Array.from({ length: COUNT }, (_, n) => ({ applicationProperties: { n }, body: n }));
  await time.wait(connection.sender("numbers").sendAll(numbers));
  const filter = { "jms-selector": `n = ${COUNT - 1}` };
  await body(time, (options) => connection.receiver({ address: "numbers", filter, credit: "manual", ...options }));
  await time.wait(connection.close());
  await time.wait(broker.close());
}

for (const distributionMode of ["move", "copy"] as const) {
  test(`ATK-36, FLW-5: a link that drains (${distributionMode}) looks at what there is over several turns, and is answered then`, async () => {
    await withQueue(async (time, open) => {
      const receiver = open({ source: { distributionMode } });
      await time.wait(receiver.ready());
      receiver.grant(2);
      const drained = receiver.drain();
      let done = false;
      drained.then(() => done = true);
      await turn();
      assertEquals([receiver.buffered, done], [0, false]);
      await time.wait(drained);
      assertEquals([receiver.buffered, receiver.credit], [1, 0]);
      // The next consumer has nothing new to look at.
      receiver.grant(2);
      await time.wait(receiver.drain());
      assertEquals(receiver.buffered, 1);
    });
  });
}

test("ATK-36, FLW-5: a link that has looked at all there is drains while others still look", async () => {
  await withQueue(async (time, open) => {
    const source = { distributionMode: "copy" };
    const [early, late] = [open({ source }), open({ source, filter: { "jms-selector": "n = -1" } })];
    const taker = open({ filter: { "jms-selector": "n = -2" } });
    for (const receiver of [early, taker]) {
      await time.wait(receiver.ready());
      receiver.grant(2);
      await time.wait(receiver.drain());
    }
    await time.wait(late.ready());
    const drain = (receiver: typeof late): Promise<unknown> => {
      receiver.grant(2);
      return receiver.drain();
    };
    let done = false;
    const last = drain(late).then(() => done = true);
    await turn();
    await time.wait(Promise.all([drain(early), drain(taker)]));
    assertEquals(done, false);
    await time.wait(last);
  });
});

test("ATK-36: links that look for messages have so many looks a turn together, however often they give credit", async () => {
  await withQueue(async (time, open) => {
    const receivers = Array.from({ length: 8 }, () => open());
    await Promise.all(receivers.map((receiver) => time.wait(receiver.ready())));
    for (const receiver of receivers) {
      for (let i = 0; i < 10; i++) {
        receiver.grant(1);
        await turn();
      }
    }
    assertEquals(receivers.reduce((sum, { buffered }) => sum + buffered, 0), 0);
    await time.pass(0);
    await turn();
    assertEquals(receivers.reduce((sum, { buffered }) => sum + buffered, 0), 1);
  });
});

for (const [distributionMode, links] of [["move", 4_500], ["copy", 2_700]] as const) {
  test(`ATK-36: links that look (${distributionMode}) come to rest, also more of them than a turn has looks, and all hear of what comes`, async () => {
    const time = new VirtualTime();
    const broker = new Broker({ environment: time, idleTimeOut: 0, log: null });
    const producer = await time.wait(broker.connect());
    const sender = producer.sender("numbers");
    const send = (n: number): Promise<unknown> => time.wait(sender.send({ applicationProperties: { n }, body: n }));
    await send(0);
    const connections = await Promise.all(Array.from({ length: links / 900 }, () => time.wait(broker.connect())));
    const receivers = connections.flatMap((connection) =>
      Array.from({ length: 900 }, () =>
        connection.receiver({
          address: "numbers",
          filter: { "jms-selector": "n = 1" },
          credit: 1,
          source: { distributionMode },
        }))
    );
    await time.wait(Promise.all(receivers.map((receiver) => receiver.ready())));
    await time.pass(0);
    await send(1);
    await time.pass(0);
    const got = receivers.reduce((sum, { buffered }) => sum + buffered, 0);
    assertEquals(got, distributionMode === "move" ? 1 : links);
    for (const connection of [producer, ...connections]) connection.destroy(new Error("Over"));
    await time.wait(broker.close());
  });
}

test("messages go in turn to links that look for the same", async () => {
  await using broker = new Broker({ log: null });
  const connection = await broker.connect();
  const open = (selector: string): Receiver =>
    connection.receiver({ address: "numbers", filter: { "jms-selector": selector }, credit: 10 });
  const receivers = [open("n > 0"), open("n >= 1"), open("n < 0")];
  await Promise.all(receivers.map((receiver) => receiver.ready()));
  const sender = connection.sender("numbers");
  for (const n of [0, 1, 2, 3, 4]) await sender.send({ applicationProperties: { n }, body: n });
  await until(() => receivers[0]!.buffered + receivers[1]!.buffered === 4);
  assertEquals(receivers.map(({ buffered }) => buffered), [2, 2, 0]);
  await connection.close();
});

test("messages that are taken as they come need no turn of the event loop, however many they are", async () => {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, idleTimeOut: 0, log: null });
  const connection = await time.wait(broker.connect());
  const [sender, receiver] = [connection.sender("numbers"), connection.receiver("numbers", { credit: 200 })];
  await receiver.ready();
  for (let sent = 0; sent < COUNT; sent += 100) {
    const sending = sender.sendAll(Array.from({ length: 100 }, (_, i) => ({ body: sent + i })));
    for (let i = 0; i < 100; i++) {
      const delivery = await receiver.receive();
      assertEquals(delivery.message.body, sent + i);
      delivery.accept();
    }
    await sending;
  }
  await time.wait(connection.close());
  await time.wait(broker.close());
});

test("ATK-36: subscriptions whose patterns take too long for one message end, those without go on", async () => {
  const told: string[] = [];
  await using broker = new Broker({ log: ({ code, message }) => void told.push(`${code}: ${message}`) });
  const connection = await broker.connect();
  const slow = `p LIKE '%${"a_".repeat(250)}b%'`;
  const subscribe = (selector?: string) =>
    connection.receiver({
      address: "topic/a",
      credit: 10,
      filter: selector === undefined ? undefined : { "jms-selector": selector },
    });
  // Each selector takes a few thousand steps for the text below; all together would take seconds.
  const receivers = Array.from({ length: 40 }, () => subscribe(slow));
  const plain = [subscribe(), subscribe("n = 1")];
  await Promise.all([...receivers, ...plain].map((receiver) => receiver.ready()));
  await connection.sender("topic/a").send({ applicationProperties: { n: 1, p: "a".repeat(100_000) }, body: "long" });
  for (const receiver of plain) assertEquals((await receiver.receive()).message.body, "long");
  await until(() => receivers.some(({ open }) => !open));
  const ended = receivers.filter(({ open }) => !open);
  // Subscriptions whose turn came in time stay.
  assertEquals(receivers.indexOf(ended[0]!), receivers.length - ended.length);
  assertEquals(ended.length, 29);
  assertEquals((ended[0]!.error as AmqpError).condition, condition.resourceLimitExceeded);
  assertEquals(told, [
    'refused: Cannot keep subscription to "topic/a": the selectors there take too long; give them shorter patterns, or LIKE shorter texts',
  ]);
  await connection.close();
});

test("ATK-36, TRM-1: lasting subscriptions whose patterns take too long keep what they have, and the message is refused", async () => {
  await using broker = new Broker({ log: null });
  const connection = await broker.connect();
  const slow = `n = 1 OR p LIKE '%${"a_".repeat(250)}b%'`;
  const subscribe = (name: string) =>
    connection.receiver({
      address: "topic/a",
      name,
      credit: 10,
      filter: { "jms-selector": slow },
      source: { durable: "unsettled-state", expiryPolicy: "never" },
    });
  const receivers = Array.from({ length: 20 }, (_, i) => subscribe(`s${i}`));
  await Promise.all(receivers.map((receiver) => receiver.ready()));
  await Promise.all(receivers.map((receiver) => receiver.detach()));
  const sender = connection.sender("topic/a");
  await sender.send({ applicationProperties: { n: 1, p: "short" }, body: "kept" });
  const long = { applicationProperties: { n: 2, p: "a".repeat(100_000) }, body: "long" };
  const error = await assertRejects(() => sender.send(long), OutcomeError, "the selectors there take too long");
  assertEquals(error.condition, condition.resourceLimitExceeded);
  await sender.send({ applicationProperties: { n: 1, p: "short" }, body: "next" });
  for (let i = 0; i < receivers.length; i++) {
    const again = subscribe(`s${i}`);
    assertEquals((await again.receive()).message.body, "kept");
    assertEquals((await again.receive()).message.body, "next");
  }
  await connection.close();
});

test("ATK-36: a subscription that ends for one message of a batch ends once", () => {
  const environment = new VirtualTime();
  const ended: string[] = [];
  const topic = new Topic(
    {
      budget: new RoomBudget(1_000, 10_000_000),
      waiting: new RoomBudget(1_000, 10_000_000),
      keptBytes: new KeptBytes(),
      environment,
      log: new Log(null, environment),
      deadLetter: () => false,
      noteUnused: () => {},
      noteExpiring: () => {},
    },
    "news",
    {},
  );
  for (let i = 0; i < 20; i++) {
    const filters = readFilters({ "jms-selector": `n = 1 OR p LIKE '%${"a_".repeat(250)}b%'` }, "");
    const expiry = { policy: "link-detach", timeoutMs: 60_000 } as const;
    topic.subscribe({ name: `s${i}`, filters, shared: false, expiry }).onended = () => ended.push(`s${i}`);
  }
  const messages = [{ n: 1, p: "short" }, { n: 2, p: "a".repeat(100_000) }].map((applicationProperties) =>
    keepMessage(encoded({ applicationProperties, body: null }), 0, undefined, new KeptBytes())
  );
  let accepted = false;
  topic.publish({ messages, bytes: 200_000, accept: () => accepted = true } as unknown as Arrival);
  assertEquals([accepted, ended.length, new Set(ended).size], [true, 9, 9]);
});
