import { assertEquals, assertRejects } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { described } from "../../src/codec/types.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { Broker } from "../../src/broker/broker.ts";
import { test } from "../harness.ts";
import { numbers, recall, setUp, take, until } from "./set_up.ts";

// A durable subscription, as qpid-jms attaches it.
function durable(
  connection: Connection,
  name: string,
  more: { selector?: string; capabilities?: string[] } = {},
): Receiver {
  return connection.receiver({
    address: "news",
    name,
    credit: 10,
    filter: more.selector === undefined
      ? undefined
      : { "jms-selector": described("apache.org:selector-filter:string", more.selector) },
    source: {
      durable: "unsettled-state",
      expiryPolicy: "never",
      distributionMode: "copy",
      capabilities: ["topic", ...more.capabilities ?? []],
    },
  });
}

async function send(connection: Connection, ...bodies: number[]): Promise<void> {
  const sender = connection.sender({ address: "news", target: { capabilities: ["topic"] } });
  for (const n of bodies) await sender.send({ applicationProperties: { n }, body: BigInt(n) });
  await sender.close();
}

test("TRM-1: a durable subscription gets what comes while nobody listens, and is found again by its name", async () => {
  await using broker = new Broker();
  const producer = await broker.connect();
  const first = await broker.connect({ containerId: "client" });
  const receiver = durable(first, "sub");
  await receiver.ready();
  const { source } = receiver.remote!;
  assertEquals([source?.durable, source?.expiryPolicy, source?.distributionMode], ["unsettled-state", "never", "copy"]);
  assertEquals(source?.capabilities, ["topic"]);
  await send(producer, 1);
  (await receiver.receive()).accept();
  await receiver.detach();
  await send(producer, 2);
  first.destroy(new Error("cable cut"));
  await send(producer, 3);
  // Another container has a subscription of its own under the same name.
  const stranger = durable(await broker.connect({ containerId: "stranger" }), "sub");
  await stranger.ready();
  const second = await broker.connect({ containerId: "client" });
  const again = durable(second, "sub");
  assertEquals(numbers(await take(again, 2)), [2, 3]);
  const session = second.session();
  const double = session.receiver({ address: "news", name: "sub", credit: 5, source: { expiryPolicy: "never" } });
  await Promise.all([double.ready(), again.closed]);
  assertEquals((again.error as AmqpError).condition, condition.stolen);
  assertEquals(numbers(await take(double, 2)), [2, 3]);
});

test("TRM-1: to close the link ends a durable subscription, and so does to take it up without a source", async () => {
  await using broker = new Broker();
  const producer = await broker.connect();
  const client = await broker.connect({ containerId: "client" });
  const receiver = durable(client, "sub");
  await receiver.ready();
  await receiver.detach();
  await send(producer, 1);
  assertEquals(broker.messages, 1);
  // qpid-jms unsubscribes in this way.
  const lookup = recall(client, "sub");
  await lookup.ready();
  assertEquals(lookup.remote?.source?.address, "news");
  await lookup.close();
  await until(() => broker.messages === 0);
  const nothing = recall(client, "sub");
  assertEquals((await assertRejects(() => nothing.ready(), AmqpError)).condition, condition.notFound);
});

test("TRM-1: a link that takes a subscription up without a source is refused with its topic, and counts losses as others", async () => {
  await using broker = new Broker({ queue: { lossCount: "all" } });
  const producer = await broker.connect();
  const first = await broker.connect({ containerId: "client" });
  const receiver = durable(first, "sub");
  await receiver.ready();
  await receiver.detach();
  await send(producer, 1, 2);
  broker.faults.refuse("news");
  const refused = recall(first, "sub");
  assertEquals((await assertRejects(() => refused.ready(), AmqpError)).condition, condition.detachForced);
  broker.faults.allow("news");
  const recalled = recall(first, "sub");
  recalled.grant(2);
  await take(recalled, 2);
  first.destroy(new Error("cable cut"));
  const second = recall(await broker.connect({ containerId: "client" }), "sub");
  second.grant(2);
  assertEquals((await take(second, 2)).map(({ message }) => message.header?.deliveryCount), [1, 1]);
});

test("TRM-1: a subscription with another selector replaces the old one", async () => {
  await using broker = new Broker();
  const producer = await broker.connect();
  const client = await broker.connect({ containerId: "client" });
  const receiver = durable(client, "sub", { selector: "n > 1" });
  await receiver.ready();
  await send(producer, 1, 2);
  assertEquals(numbers([await receiver.receive()]), [2]);
  await receiver.detach();
  await send(producer, 3);
  const other = durable(client, "sub", { selector: "n < 3" });
  await other.ready();
  await send(producer, 1, 5);
  assertEquals(numbers([await other.receive()]), [1]);
  assertEquals(broker.messages, 1);
});

test("EXT-5: a shared subscription gives each message to one of its links, of one container or of all", async () => {
  for (const [global, names] of [[false, ["s", "s|2"]], [true, ["s|global", "s|global2"]]] as const) {
    await using broker = new Broker();
    const producer = await broker.connect();
    const one = await broker.connect({ containerId: "one" });
    const two = global ? await broker.connect({ containerId: "two" }) : one;
    const capabilities = global ? ["shared", "global"] : ["shared"];
    const a = durable(one, names[0], { capabilities });
    const b = durable(two, names[1], { capabilities });
    await Promise.all([a.ready(), b.ready()]);
    assertEquals(a.remote?.source?.capabilities, ["topic", ...capabilities]);
    await send(producer, 1, 2, 3, 4);
    const got = [...numbers(await take(a, 2)), ...numbers(await take(b, 2))];
    assertEquals(got.sort(), [1, 2, 3, 4]);
  }
});

test("capabilities say what an address is to be, and are refused where it is something else", async () => {
  await using at = setUp();
  const { consumer, producer } = at;
  const topic = consumer.receiver({ address: "x", source: { capabilities: ["topic"] } });
  await topic.ready();
  const queue = producer.sender({ address: "x", target: { capabilities: ["queue"] } });
  assertEquals((await assertRejects(() => queue.ready(), AmqpError)).condition, condition.notAllowed);
  await producer.sender("x").send({ body: 1n });
  assertEquals(numbers([await topic.receive()]), [1]);
  const made = producer.sender({ dynamic: true, target: { capabilities: ["temporary-topic"] } });
  await made.ready();
  const listeners = [producer.receiver(made.address!), producer.receiver(made.address!)];
  await Promise.all(listeners.map((listener) => listener.ready()));
  await consumer.sender(made.address!).send({ body: 2n });
  for (const listener of listeners) assertEquals(numbers([await listener.receive()]), [2]);
});

test("a lasting subscription that is full holds back who sends, and loses nothing", async () => {
  await using broker = new Broker({ queue: { maxMessages: 2 }, log: null });
  const producer = await broker.connect();
  const client = await broker.connect({ containerId: "client" });
  const receiver = durable(client, "sub");
  await receiver.ready();
  await receiver.detach();
  const sending = send(producer, 1, 2, 3);
  await until(() => broker.messages === 2);
  const again = durable(client, "sub");
  for (const n of [1, 2, 3]) {
    const delivery = await again.receive();
    assertEquals(numbers([delivery]), [n]);
    delivery.accept();
  }
  await sending;
});

test("nodes of the program's own are handed their links", async () => {
  const seen: string[] = [];
  await using broker = new Broker({
    nodes: {
      $service: (link) => {
        seen.push(link.role);
        if (link.role === "receiver") link.accept({ credit: 5 });
        else {link.refuse(
            new AmqpError(condition.notImplemented, "Cannot receive: nothing is sent here", { scope: "link" }),
          );}
      },
      "own/*": (link) =>
        link.address === "own/yes" ? false : void (link.role === "receiver" && link.accept({ credit: 5 })),
    },
    authorize: (identity) => identity === "me",
  });
  const me = await broker.connect({ identity: "me" });
  await me.sender("$service").ready();
  const receiver = me.receiver("$service");
  assertEquals((await assertRejects(() => receiver.ready(), AmqpError)).condition, condition.notImplemented);
  // A pattern, at which false leaves the link to the queue of that address.
  await me.send("own/yes", { body: 1 });
  await me.sender("own/no").ready();
  assertEquals([broker.queue("own/yes")?.messages, broker.queue("own/no")], [1, undefined]);
  const stranger = (await broker.connect()).sender("$service");
  assertEquals((await assertRejects(() => stranger.ready(), AmqpError)).condition, condition.unauthorizedAccess);
  assertEquals(seen, ["receiver", "sender"]);
});

test("ATK-8: subscriptions that outlive their links are limited in number, and make place when they end", async () => {
  await using broker = new Broker({ maxQueues: 2, log: null });
  const connection = await broker.connect({ containerId: "client", log: null });
  const [first, second, third] = ["one", "two", "three"].map((name) => durable(connection, name));
  await Promise.all([first!.ready(), second!.ready()]);
  const error = await assertRejects(
    () => third!.ready(),
    AmqpError,
    'too many subscriptions: 2, as many as "maxQueues"',
  );
  assertEquals(error.condition, condition.resourceLimitExceeded);
  // A detach keeps its subscription, a close ends it.
  await first!.detach();
  await assertRejects(() => durable(connection, "three").ready(), AmqpError, "too many subscriptions");
  await second!.close();
  await durable(connection, "three").ready();
});
