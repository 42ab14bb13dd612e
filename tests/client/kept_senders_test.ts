import { assert, assertEquals, assertRejects } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { connect } from "../../src/client/connect.ts";
import { KEPT_SENDER_IDLE_MS, MAX_BUSY_SENDERS, MAX_KEPT_SENDERS } from "../../src/client/kept_senders.ts";
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
  const time = new VirtualTime();
  const network = new VirtualNetwork();
  const server = acceptor({ environment: time, onReceiver: (request) => void request.accept({ credit: "manual" }) });
  network.up("a", (channel) => server.accept(channel));
  const connection = await time.wait(connect("ws://a/", { environment: time, dial: network.dial, log: null }));
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
