/**
 * Log entries of a client without a failed call: each names the address, the host, and the remedy.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { LogEntry } from "../../src/base/log.ts";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { durableSubscription, sharedSubscription } from "../../src/filters/mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";
import { turn, VirtualNetwork, VirtualTime } from "./virtual.ts";

function told(entries: LogEntry[]): unknown[] {
  return entries.map((
    { level, code, address, message },
  ) => [level, code, address, message.replace(/at "\w+"/, "at H")]);
}

test("log: a send that has waited 10 s for credit is told once, and counted", async () => {
  const time = new VirtualTime();
  const entries: LogEntry[] = [];
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: "manual" }), environment: time });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry) });
  const orders = connection.sender("orders");
  for (let i = 0; i < 3; i++) orders.send({ body: i });
  await time.pass(9_900);
  assertEquals(entries, []);
  await time.pass(200);
  orders.send({ body: 3 });
  await time.pass(20_000);
  assertEquals(told(entries), [[
    "warning",
    "send-waits",
    "orders",
    'Cannot send 3 messages to "orders" at H yet: they wait for credit; is the queue full, does anybody receive? A signal bounds the wait',
  ]]);
  assertEquals(connection.stats().creditWaits, 4);
  connection.destroy(new Error("over"));
  await time.pass(9_000);
  assertEquals([entries.length, time.pending], [1, 0]);
});

test("log: a send whose link is not attached in 10 s is told", async () => {
  const time = new VirtualTime();
  const entries: LogEntry[] = [];
  // The server never answers.
  const connection = linkUp(acceptor({ onReceiver: () => new Promise(() => {}), environment: time }), {
    environment: time,
    log: (entry) => entries.push(entry),
  });
  connection.sender("orders").send({ body: 1 });
  await time.pass(10_100);
  assertEquals(told(entries), [[
    "warning",
    "send-waits",
    "orders",
    'Cannot send 1 messages to "orders" at H yet: they wait for the peer to accept the link. A signal bounds the wait',
  ]]);
  connection.destroy(new Error("over"));
});

test("log: whoever waits for messages of a link that is not attached in 10 s is told", async () => {
  for (
    const wait of [
      (receiver: Receiver) => receiver.receive(),
      (receiver: Receiver) => receiver.serve(() => {}),
      (receiver: Receiver) => receiver[Symbol.asyncIterator]().next(),
    ]
  ) {
    const time = new VirtualTime();
    const entries: LogEntry[] = [];
    // The server never answers.
    const server = acceptor({ onSender: () => new Promise(() => {}), environment: time });
    const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry) });
    Promise.resolve(wait(connection.receiver("orders"))).catch(() => {});
    await time.pass(60_000);
    assertEquals(told(entries), [[
      "warning",
      "receive-waits",
      "orders",
      'Cannot receive messages of "orders" at H yet: they wait for the peer to accept the link. A signal bounds the wait',
    ]]);
    connection.destroy(new Error("over"));
    await time.pass(0);
    assertEquals(time.pending, 0);
  }
});

/** A client of a server that takes links, and what its log has told. */
function told10(options: { answers: boolean }) {
  const time = new VirtualTime();
  const entries: LogEntry[] = [];
  const never = () => new Promise<never>(() => {});
  const server = acceptor({
    environment: time,
    onReceiver: (request) => options.answers ? void request.accept({ credit: 10, settle: "manual" }) : never(),
    onSender: (request) => options.answers ? void request.accept() : never(),
  });
  const connection = linkUp(server, { environment: time, log: (entry) => entries.push(entry) });
  const end = async (): Promise<void> => {
    connection.destroy(new Error("over"));
    await time.pass(9_000);
    assertEquals(time.pending, 0);
  };
  return { time, connection, entries, end };
}

test("log: messages that have left and get no outcome are told once a minute", async () => {
  const { time, connection, entries, end } = told10({ answers: true });
  const orders = connection.sender("orders");
  for (let i = 0; i < 3; i++) orders.send({ body: i });
  await time.pass(9_900);
  assertEquals(entries, []);
  // What leaves at first is progress.
  await time.pass(10_200);
  assertEquals(entries.length, 1);
  orders.send({ body: 3 });
  await time.pass(30_000);
  assertEquals(told(entries), [[
    "warning",
    "send-waits",
    "orders",
    'Cannot tell the outcome of 3 messages to "orders" at H yet: they have left, and the peer settles none; does it wait for somebody who accepts them? A signal bounds the wait',
  ]]);
  await end();
});

test("log: whoever waits for a link that is not attached in 10 s is told", async () => {
  const { time, connection, entries, end } = told10({ answers: false });
  connection.sender("orders").ready().catch(() => {});
  connection.receiver("bills").ready().catch(() => {});
  connection.receiver("jobs", { credit: "manual" }).receiveBatch(5).catch(() => {});
  await time.pass(10_100);
  const yet = "yet: they wait for the peer to accept the link. A signal bounds the wait";
  assertEquals(told(entries), [
    [
      "warning",
      "send-waits",
      "orders",
      'Cannot send to "orders" at H yet: the peer has not accepted the link. A signal bounds the wait',
    ],
    ["warning", "receive-waits", "bills", `Cannot receive messages of "bills" at H ${yet}`],
    ["warning", "receive-waits", "jobs", `Cannot receive messages of "jobs" at H ${yet}`],
  ]);
  await end();
});

test("log: a drain that is not answered in 10 s is told", async () => {
  const { time, entries, connection, end } = told10({ answers: true });
  const jobs = connection.receiver("jobs", { credit: "manual" });
  await jobs.ready();
  jobs.grant(5);
  await time.pass(10);
  // The server's sender never answers.
  const { endpoint } = jobs;
  endpoint!.flow = (): void => {};
  jobs.drain().catch(() => {});
  await time.pass(10_100);
  assertEquals(told(entries), [[
    "warning",
    "receive-waits",
    "jobs",
    'Cannot drain "jobs" at H yet: the peer has not answered. A signal bounds the wait',
  ]]);
  await end();
});

test("log: a send to a receiver that takes one now and then is not told", async () => {
  const time = new VirtualTime();
  const entries: LogEntry[] = [];
  const broker = new Broker({ environment: time, log: null, queues: { small: { maxMessages: 10 } } });
  const connection = linkUp(broker, { environment: time, log: (entry) => entries.push(entry) });
  const small = connection.sender("small");
  for (let i = 0; i < 30; i++) small.send({ body: i });
  const taking = connection.receiver("small");
  for (let i = 0; i < 20; i++) {
    await time.pass(4_000);
    (await taking.receive()).accept();
  }
  assertEquals(entries, []);
  connection.destroy(new Error("over"));
});

test("log: a connection that is lost and made anew is told with its cause, once a minute", async () => {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time });
  network.up("broker.example", (channel) => server.accept(channel));
  const entries: LogEntry[] = [];
  const connection = await connect("wss://broker.example/", {
    dial: network.dial,
    environment: time,
    log: (entry) => entries.push(entry),
  });
  await time.pass(60_000);
  network.down("broker.example");
  await time.pass(30_000);
  network.up("broker.example", (channel) => server.accept(channel));
  await time.pass(30_000);
  assertEquals(connection.state, "open");
  const [first, second] = entries;
  assertEquals([first.level, first.code, first.host], ["warning", "reconnecting", "broker.example:443"]);
  assertMatch(
    first.message,
    /^Cannot keep connection to broker\.example:443: .*; the next attempt is in \d+ ms, events\(\) tells of each$/,
  );
  // A server that was never reached is named by the URL.
  const unreached = connect("wss://nowhere.example/", {
    dial: network.dial,
    environment: time,
    reconnect: { initial: true, maxAttempts: 2 },
    log: ({ host, message }) =>
      assertMatch(`${host} ${message}`, /^nowhere\.example Cannot keep connection to nowhere/),
  });
  await assertRejects(() => time.wait(unreached));
  // Another cause is logged anew, once for all its attempts.
  assertMatch(second.message, /Cannot connect to "broker\.example": refused; the next attempt/);
  assertEquals(entries.length, 2);
  connection.destroy(new Error("over"));
});

test("log: a path or query that amqp: does not carry is told, without the query's text", async () => {
  const network = new VirtualNetwork();
  const server = acceptor();
  network.up("broker.example", (channel) => server.accept(channel));
  const told = async (url: string): Promise<LogEntry[]> => {
    const entries: LogEntry[] = [];
    const connection = await connect(url, { dial: network.dial, log: (entry) => entries.push(entry) });
    await turn();
    await connection.close();
    return entries;
  };
  for (const url of ["amqp://broker.example", "amqps://broker.example/", "wss://broker.example/amqp?token=s3cret"]) {
    assertEquals(await told(url), []);
  }
  for (const [url, part] of [["amqps://broker.example/shop", "path"], ["amqp://broker.example?pw=s3cret", "query"]]) {
    const [{ code, message }] = await told(url!) as [LogEntry];
    assertEquals(code, "url-ignored");
    assertMatch(message, new RegExp(`^Cannot tell broker\\.example the ${part} of the URL: .*option "hostname"`));
    assert(!message.includes("s3cret"));
  }
});

test("log: a shared subscription at a peer that shares none is told", async () => {
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const shareless = acceptor({
    onSender: (request) => void request.accept({ source: { kind: "source", address: "topic/prices" } }),
  });
  const sharing = acceptor({ onSender: (request) => void request.accept({}) });
  for (const server of [shareless, sharing, new Broker()]) {
    const connection = linkUp(server, { log, containerId: "billing" });
    await connection.receiver("topic/prices", sharedSubscription("billing")).ready();
    await connection.receiver("topic/prices").ready();
    await turn();
    await connection.close();
  }
  assertEquals(told(entries), [[
    "warning",
    "not-shared",
    "topic/prices",
    'Cannot share messages of "topic/prices" at H: the peer does not offer SHARED-SUBS, so each receiver may get all of ' +
    "them; receive from a queue instead",
  ]]);
});

test("log: a shared subscription over a connection with a random container-id is told, for each connection gets all", async () => {
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const broker = new Broker();
  const workers = async (containerId: string | undefined, global: boolean): Promise<number> => {
    const connections = [0, 1].map(() => linkUp(broker, { log, containerId }));
    const options = { ...sharedSubscription("workers", { global }), credit: 5 };
    const receivers = connections.map((one) => one.receiver("topic/prices", options));
    for (const receiver of receivers) await receiver.ready();
    await connections[0]!.send("topic/prices", { body: 1 });
    await turn();
    const received = receivers.reduce((sum, { buffered }) => sum + buffered, 0);
    for (const connection of connections) await connection.close();
    return received;
  };
  assertEquals(await workers(undefined, true), 1);
  assertEquals(entries, []);
  assertEquals(await workers(undefined, false), 2);
  assertEquals(told(entries)[0], [
    "warning",
    "not-shared",
    "topic/prices",
    'Cannot share messages of "topic/prices" at H with other connections: the peer knows the subscription by the ' +
    '"containerId" of connect, which is random here, so each connection gets all of them; share it with "global: true"',
  ]);
});

test("log: what a program closes by itself tells nothing", async () => {
  const time = new VirtualTime();
  const entries: LogEntry[] = [];
  const [near, far] = channelPair();
  new Broker({ environment: time }).accept(far);
  const connection = await connect(near, { environment: time, log: (entry) => entries.push(entry) });
  await connection.send("orders", { body: 1 });
  await time.wait(connection.close());
  assertEquals([entries, time.pending], [[], 0]);
});

test("log: a durable subscription over a connection with a random container-id is told, for no other will find it", async () => {
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const broker = new Broker();
  for (
    const [containerId, options] of [["billing", undefined], [undefined, { shared: true, global: true }], [
      undefined,
    ]] as const
  ) {
    const connection = linkUp(broker, { log, containerId });
    await connection.receiver("topic/prices", durableSubscription("mine", options)).ready();
    await turn();
    await connection.close();
  }
  assertEquals(told(entries), [[
    "warning",
    "not-durable",
    "topic/prices",
    'Cannot find the subscription to "topic/prices" at H again from another connection: the peer knows it by the ' +
    '"containerId" of connect, which is random here and must be given, and the "name" of the receiver',
  ]]);
});

test("log: messages that came ahead to a receiver that nobody asks any more are told after 10 s, once", async () => {
  const time = new VirtualTime();
  const entries: LogEntry[] = [];
  const broker = new Broker({ environment: time });
  const connection = linkUp(broker, { environment: time, log: (entry) => entries.push(entry) });
  for (let i = 0; i < 9; i++) connection.send("orders", { body: i });
  await time.pass(10);
  const receive = async (receiver: Receiver) => (await receiver.receive()).accept();
  const receiver = connection.receiver("orders");
  // A program that comes back within 10 s each time, and one that has a message in hand, do not forget the receiver.
  for (let i = 0; i < 3; i++) {
    receive(receiver);
    await time.pass(8_000);
  }
  let inHand: Delivery | undefined;
  receiver.receive().then((delivery) => inHand = delivery);
  await time.pass(30_000);
  assertEquals([entries, receiver.buffered], [[], 5]);
  inHand!.accept();
  receive(receiver);
  await time.pass(60_000);
  assertEquals(told(entries), [[
    "warning",
    "unread",
    "orders",
    'Cannot give 4 messages of "orders" at H to others: they came ahead to a receiver that was asked for none for a while; ' +
    'close it, or keep it for the next call; credit "manual" with receiveBatch() takes none ahead',
  ]]);
  entries.length = 0;
  // One that was given credit, and is never asked for a message; and one whose program has none in hand yet, but waits.
  const forgotten = connection.receiver("drinks", { credit: 2 });
  connection.receiver("food", { credit: 2 }).serve(() => {}).catch(() => {});
  for (const address of ["drinks", "food"]) connection.send(address, { body: 1 });
  await time.pass(30_000);
  assertEquals(entries.map(({ code, address }) => [code, address]), [["unread", "drinks"]]);
  await forgotten.close();
  receive(receiver);
  await time.pass(10);
  connection.destroy(new Error("over"));
  broker.close();
  await time.pass(10_000);
  assertEquals(time.pending, 0);
});
