import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { connect } from "../../src/client/connect.ts";
import { KEPT_SENDER_IDLE_MS, MAX_BUSY_SENDERS, MAX_KEPT_SENDERS } from "../../src/client/kept_senders.ts";
import type { ReconnectOptions } from "../../src/client/reconnect.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { VirtualNetwork, VirtualTime } from "./virtual.ts";

async function sinks(accept: (address: string | undefined) => boolean = () => true, handleMax = 1_023) {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const links = new Set<Receiver>();
  let attached = 0;
  const server = acceptor({
    environment: time,
    session: { handleMax },
    onReceiver: (request) => {
      attached++;
      if (!accept(request.address)) throw new Error("no");
      const receiver = request.accept();
      links.add(receiver);
      void receiver.closed.then(() => links.delete(receiver));
      void receiver.serve(() => {});
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial }));
  return { time, network, links, connection, attached: () => attached };
}

// A peer that grants no credit until `release` is called.
async function stuck(reconnect: ReconnectOptions = {}) {
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const receivers: Receiver[] = [];
  const taken = new Set<unknown>();
  let credit = 0;
  const serve = (receiver: Receiver): void => {
    receiver.grant(credit);
    void receiver.serve(({ message }) => void taken.add(message.body));
  };
  const server = acceptor({
    environment: time,
    onReceiver: (request) => {
      const receiver = request.accept({ credit: "manual" });
      receivers.push(receiver);
      if (credit > 0) serve(receiver);
    },
  });
  network.up("a", (channel) => server.accept(channel));
  const options = { environment: time, dial: network.dial, log: null, reconnect };
  const connection = await time.wait(connect("ws://a/", options));
  const release = (): void => {
    credit = 10;
    receivers.forEach(serve);
  };
  return { time, network, connection, receivers, taken, release };
}

test("connection.send keeps a sender for each address, and lets idle ones go", async () => {
  const { time, links, connection, attached } = await sinks();
  for (let i = 0; i < 10; i++) await time.wait(connection.send(i % 2 === 0 ? "a" : "b", { body: i }));
  assertEquals([attached(), links.size], [2, 2]);
  await time.pass(KEPT_SENDER_IDLE_MS / 2);
  await time.wait(connection.send("b", { body: 10 }));
  await time.pass(KEPT_SENDER_IDLE_MS / 2 + 1_000);
  assertEquals([...links].map(({ address }) => address), ["b"]);
  await time.pass(2 * KEPT_SENDER_IDLE_MS);
  assertEquals(links.size, 0);
  assertEquals(await time.wait(connection.send("a", { body: 11 })), { kind: "accepted" });
  assertEquals(attached(), 3);
  await time.wait(connection.close());
  assertEquals(time.pending <= 1, true);
});

test("connection.send keeps no more senders than it should, those used last", async () => {
  const { time, links, connection, attached } = await sinks();
  const most = MAX_KEPT_SENDERS + 20;
  for (let i = 0; i < most; i++) await time.wait(connection.send(`q${i}`, { body: i }));
  await time.pass(1);
  assertEquals([attached(), links.size], [most, MAX_KEPT_SENDERS]);
  assert(![...links].some(({ address }) => address === "q19"));
  await time.wait(connection.send("q20", { body: 0 }));
  assertEquals(attached(), most);
  await time.wait(connection.close());
});

test("connection.send keeps no more than half of the links that the peer accepts", async () => {
  const { time, links, connection } = await sinks(undefined, 7);
  for (let i = 0; i < 30; i++) await time.wait(connection.send(`q${i}`, { body: i }));
  await time.pass(1);
  assertEquals([...links].map(({ address }) => address), ["q26", "q27", "q28", "q29"]);
  await time.wait(connection.close());
});

test("connection.send fails for an address that is refused, and for no other", async () => {
  const { time, connection, attached } = await sinks((address) => address !== "b");
  for (let i = 0; i < 2; i++) await assertRejects(() => time.wait(connection.send("b", { body: 1 })), Error, '"');
  assertEquals(await time.wait(connection.send("a", { body: 1 })), { kind: "accepted" });
  assertEquals(attached(), 3);
  await assertRejects(() => connection.send("", { body: 1 }), TypeError);
  await time.wait(connection.close());
  await assertRejects(() => connection.send("a", { body: 1 }), Error, "closed");
});

test("connection.drain lets handlers come to their end, and what they send", async () => {
  const { time, connection } = await sinks();
  const inbound = acceptor({
    onSender: (request) => void request.accept().sendAll([{ body: 1 }, { body: 2 }]).catch(() => {}),
    onReceiver: (request) => void request.accept().serve(({ message }) => void sent.push(message.body)),
  });
  const sent: unknown[] = [];
  const network = new VirtualNetwork();
  network.up("a", (channel) => inbound.accept(channel));
  await time.wait(connection.close());
  const consumer = await time.wait(connect("ws://a/", { environment: time, dial: network.dial }));
  let taken = 0;
  const serving = consumer.receiver("orders", { credit: 1 }).serve(async ({ message }) => {
    taken++;
    await new Promise<void>((resolve) => time.setTimer(resolve, 60_000));
    await consumer.send("done", { body: message.body });
  });
  await time.pass(1);
  await time.wait(consumer.drain());
  await serving;
  assertEquals([taken, sent, consumer.state, time.pending], [1, [1], "closed", 0]);
});

test("connection.send to more addresses at once than the peer takes links sends all, each address in its order", async () => {
  const { time, links, connection } = await sinks();
  const order: string[] = [];
  const sends = Array.from({ length: 3_000 }, async (_, i) => {
    const address = `q${i % 1_500}`;
    await connection.send(address, { body: i });
    order.push(address, String(i));
  });
  await time.wait(Promise.all(sends));
  for (let i = 0; i < 1_500; i++) assert(order.indexOf(String(i)) < order.indexOf(String(i + 1_500)));
  assert(links.size <= MAX_BUSY_SENDERS, `${links.size}`);
  await time.wait(connection.close());
});

test("connection.send that waits for others can be called off, and ends with its connection", async () => {
  const { time, connection } = await stuck();
  for (let i = 0; i < MAX_BUSY_SENDERS; i++) connection.send(`q${i}`, { body: i }).catch(() => {});
  const called = new AbortController();
  const aborted = assertRejects(
    () => connection.send("more", { body: 1 }, { signal: called.signal }),
    SendAbortedError,
    'Cannot send to "more" at ',
  );
  const ended = assertRejects(() => connection.send("more", { body: 2 }), AmqpError);
  await time.pass(1);
  called.abort(new Error("enough"));
  await aborted;
  const { signal } = called;
  await assertRejects(() => connection.send("more", { body: 3 }, { signal }), SendAbortedError, "before the message");
  await time.wait(connection.close({ timeoutMs: 10 }).catch(() => {}));
  await ended;
});

for (const end of ["close", "drain"] as const) {
  test(`connection.${end} waits for sends that wait for one of the kept senders`, async () => {
    const { time, connection, attached } = await sinks();
    const count = MAX_BUSY_SENDERS + 300;
    const sends = Array.from({ length: count }, (_, i) => connection.send(`q${i}`, { body: i }));
    const closed = connection[end]();
    const outcomes = await time.wait(Promise.all(sends));
    assert(outcomes.every((outcome) => outcome?.kind === "accepted"));
    await time.wait(closed);
    assertEquals([attached(), connection.state, time.pending], [count, "closed", 0]);
  });
}

test("connection.close waits no longer than it may for sends that wait for one of the kept senders", async () => {
  const { time, connection } = await stuck();
  const sends = Array.from({ length: MAX_BUSY_SENDERS + 1 }, (_, i) => connection.send(`q${i}`, { body: i }));
  const failed = Promise.all(sends.map((send) => assertRejects(() => send, AmqpError)));
  const from = time.now();
  await time.wait(connection.close({ timeoutMs: 1_000 }));
  await failed;
  assert(time.now() - from <= 1_010, `${time.now() - from}`);
  await assertRejects(() => sends.at(-1)!, AmqpError, `"q${MAX_BUSY_SENDERS}"`);
});

test("connection.close gives its time once, whenever a send that waited for one of the kept senders has left", async () => {
  const { time, connection } = await stuck();
  const called = new AbortController();
  const sends = [connection.send("q", { body: 0 }, { signal: called.signal })];
  for (let i = 0; i < MAX_BUSY_SENDERS; i++) sends.push(connection.send(`q${i}`, { body: i }));
  const failed = Promise.allSettled(sends);
  const from = time.now();
  const closing = connection.close({ timeoutMs: 1_000 });
  await time.pass(900);
  called.abort(new Error("enough"));
  await time.wait(closing);
  assert(time.now() - from <= 1_010, `${time.now() - from}`);
  await failed;
});

test("connection.send that waits for others sends what was passed, and keeps nothing once called off", async () => {
  const { time, connection, receivers, release, taken } = await stuck();
  for (let i = 0; i < MAX_BUSY_SENDERS; i++) connection.send(`q${i}`, { body: i }).catch(() => {});
  const message = { body: "before" };
  const sent = connection.send("more", message);
  message.body = "after";
  await assertRejects(
    () => connection.send("more", { body: Symbol() as never }),
    TypeError,
    "there is no AMQP type for a symbol",
  );
  const called = new AbortController();
  const off = Array.from({ length: 1_000 }, () => connection.send("off", message, { signal: called.signal }));
  called.abort(new Error("enough"));
  for (const one of await Promise.allSettled(off)) assertEquals(one.status, "rejected");
  release();
  await time.wait(sent);
  await time.wait(connection.close());
  assertEquals([taken.has("before"), taken.has("after")], [true, false]);
  assertEquals(receivers.some(({ address }) => address === "off"), false);
});

test("sends that wait for one of the kept senders count for maxPending", async () => {
  const { time, connection, network } = await stuck({ maxPending: MAX_BUSY_SENDERS + 2 });
  const send = (i: number) => connection.send(`q${i}`, { body: i });
  const sends = Array.from({ length: MAX_BUSY_SENDERS }, (_, i) => send(i));
  await time.pass(1);
  network.down("a");
  await time.pass(1);
  assertEquals(connection.state, "interrupted");
  sends.push(send(MAX_BUSY_SENDERS), send(MAX_BUSY_SENDERS + 1));
  const refusal = "Cannot send: connection is interrupted, and 386 messages of ";
  await assertRejects(() => send(MAX_BUSY_SENDERS + 2), AmqpError, refusal);
  // They are counted anew by then.
  await time.pass(1_000);
  await assertRejects(() => send(MAX_BUSY_SENDERS + 2), AmqpError, refusal);
  connection.destroy(new Error("enough"));
  await Promise.allSettled(sends);
});
