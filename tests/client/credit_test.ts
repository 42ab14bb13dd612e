import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../src/client/connect.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { ScriptedPeer } from "../../src/testing/peer.ts";
import { test } from "../harness.ts";
import { turn, VirtualTime } from "./virtual.ts";
import { numbered, queue, receiving } from "./receiving.ts";

test("credit: none given is taken at first use, by serve from its concurrency and half as much, else 32", async () => {
  const { connection, senders } = receiving([]);
  const credit = async (use: (receiver: Receiver) => unknown): Promise<number> => {
    const receiver = connection.receiver("orders");
    await receiver.ready();
    await turn();
    assertEquals([receiver.credit, senders.at(-1)!.credit], [0, 0]);
    Promise.resolve(use(receiver)).catch(() => {});
    await turn();
    return senders.at(-1)!.credit;
  };
  assertEquals(await credit((receiver) => receiver.serve(() => {})), 2);
  assertEquals(await credit((receiver) => receiver.serve(() => {}, { concurrency: 8 })), 12);
  assertEquals(await credit((receiver) => receiver.receive()), 32);
  assertEquals(await credit((receiver) => receiver[Symbol.asyncIterator]().next()), 32);
  assertEquals(await credit((receiver) => receiver.readable.getReader().read()), 32);
  assertEquals(
    await credit((receiver) => {
      void receiver.serve(() => {}, { concurrency: 2 });
      return receiver.serve(() => {}, { concurrency: 2 });
    }),
    6,
  );
  await connection.close();
});

test("credit: two receivers share a queue, the one that never reads takes nothing", async () => {
  const { connection } = await queue(10);
  const idle = connection.receiver("orders");
  await idle.ready();
  const seen: unknown[] = [];
  for await (const delivery of connection.receiver("orders")) {
    seen.push(delivery.message.body);
    delivery.accept();
    if (seen.length === 10) break;
  }
  assertEquals(seen.length, 10);
  await connection.close();
});

test("drain: right after attaching it waits for the link, and brings what the queue has", async () => {
  const { connection } = await queue(3);
  for (const credit of [10, undefined]) {
    const receiver = connection.receiver("orders", { credit });
    await receiver.drain();
    assertEquals([receiver.buffered, receiver.credit], [3, 0]);
    await receiver.close();
  }
  await connection.close();
});

test("FLW-5: a drain that was given up leaves later grants alone, and none is lost", async () => {
  const { connection, senders } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  await receiver.ready();
  // The peer is blocked, and answers no drain.
  const stop = new AbortController();
  const drained = receiver.drain({ signal: stop.signal });
  await Promise.resolve();
  stop.abort(new Error("no longer"));
  await assertRejects(() => drained, Error, "no longer");
  await turn();
  for (let i = 0; i < 12; i++) {
    void senders[0]!.send({ body: i });
    (await receiver.receive()).accept();
  }
  assert(receiver.credit > 0);
  await connection.close();
});

test("receiveBatch: polls a queue in one call, takes no more than it was asked for, and leaves the rest there", async () => {
  const { broker, connection } = await queue(25);
  for (const credit of ["manual", undefined] as const) {
    const receiver = connection.receiver("orders", { credit });
    const batch = await receiver.receiveBatch(10);
    assertEquals([batch.length, receiver.buffered, receiver.credit], [10, 0, 0]);
    for (const delivery of batch) delivery.accept();
    await receiver.close();
  }
  await using rest = connection.receiver("orders", { credit: "manual" });
  assertEquals(
    (await rest.receiveBatch(10, { waitMs: 5_000 })).map((delivery) => (delivery.accept(), delivery.message.body)),
    [20n, 21n, 22n, 23n, 24n],
  );
  assertEquals(await rest.receiveBatch(10), []);
  assertEquals(broker.queue("orders")?.messages, 0);
  await assertRejects(() => rest.receiveBatch(0), RangeError, "is not a whole number from 1");
  await assertRejects(() => rest.receiveBatch(1, { signal: AbortSignal.abort(new Error("no")) }), Error, "no");
  await connection.close();
});

test("receiveBatch: what it has taken when it is aborted is there for the next call", async () => {
  for (const settled of [false, true]) {
    const { connection, senders, outcomes, time } = receiving(numbered(3), settled);
    const receiver = connection.receiver("orders", { credit: 4 });
    await receiver.ready();
    await turn();
    // The drain has no answer.
    senders[0]!.setSearching(true);
    await turn();
    const stop = new AbortController();
    const batch = receiver.receiveBatch(5, { signal: stop.signal });
    await turn();
    assertEquals([receiver.unsettled, receiver.buffered], [3, 0]);
    stop.abort(new Error("no longer"));
    await assertRejects(() => batch, Error, "no longer");
    const bodies: unknown[] = [];
    while (receiver.buffered > 0) {
      const delivery = await receiver.receive();
      bodies.push(delivery.message.body);
      if (!settled) delivery.accept();
    }
    await turn();
    assertEquals([bodies, receiver.unsettled, outcomes], [[0n, 1n, 2n], 0, Array(3).fill("accepted")]);
    senders[0]!.setSearching(false);
    await time.wait(connection.close());
  }
});

test("receiveBatch: waits for the first message as long as it was told", async () => {
  const { connection, senders, time } = receiving([]);
  const receiver = connection.receiver("orders", { credit: "manual" });
  await time.wait(receiver.ready());
  const before = time.now();
  assertEquals(await time.wait(receiver.receiveBatch(5, { waitMs: 700 })), []);
  assertEquals(time.now() - before, 700);
  const batch = receiver.receiveBatch(5, { waitMs: 700 });
  await turn();
  void senders[0]!.send({ body: "one" });
  assertEquals((await time.wait(batch)).map(({ message }) => message.body), ["one"]);
  assertEquals(time.now() - before, 700);
  await connection.close();
});

test("FLW-7: whoever settles in batches above three quarters of the credit gets the next batch", async () => {
  const { connection, senders } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  await receiver.ready();
  for (let i = 0; i < 100; i++) void senders[0]!.send({ body: i });
  const batch: Delivery[] = [];
  let received = 0;
  while (received < 80) {
    batch.push(await receiver.receive());
    received++;
    if (batch.length === 8) { for (const delivery of batch.splice(0)) delivery.accept(); }
  }
  await connection.close();
});

test("log: who waits for messages without any credit is told after a while why none come", async () => {
  const reasons: Record<string, (receiver: Receiver) => Promise<unknown>> = {
    "the sender has no credit, call grant() or leave out the credit that the receiver was given": (receiver) =>
      receiver.receive(),
    "all 2 messages of the receiver's credit are taken and not settled, call accept() or another outcome": async (
      receiver,
    ) => {
      for (let i = 0; i < 3; i++) await receiver.receive();
    },
  };
  for (const [i, [reason, use]] of Object.entries(reasons).entries()) {
    for (const credit of i === 0 ? [0, "manual"] as const : [2]) {
      const { connection, entries, time } = receiving(numbered(5));
      const receiver = connection.receiver("orders", { credit });
      await time.wait(receiver.ready());
      use(receiver).catch(() => {});
      await time.pass(9_000);
      assertEquals(entries, []);
      await time.pass(2_000);
      assertEquals(entries.map(({ code, message }) => [code, message.replace(/at "\w+"/, "at H")]), [
        ["no-credit", `Cannot receive messages of "orders" at H: ${reason}`],
      ]);
      await time.wait(connection.close());
    }
  }
});

test("receiveBatch: a sender that does not answer a drain holds back no batch, and what it sends later is for the next", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow", "disposition"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach").respond();
  const send = (id: number) =>
    peer.send("transfer", { handle: 0, deliveryId: id, deliveryTag: Uint8Array.of(id) }, {
      payload: { body: `${id}` },
    });
  const time = new VirtualTime();
  const connection = await connect(peer.channel, { environment: time });
  const receiver = connection.receiver("orders");
  await receiver.ready();
  const bodies = async (batch: Promise<Delivery[]>) => (await time.wait(batch)).map(({ message }) => message.body);
  const first = receiver.receiveBatch(5, { waitMs: 50 });
  await turn();
  send(0);
  const before = time.now();
  assertEquals(await bodies(first), ["0"]);
  assertEquals(time.now() - before, 2_000);
  assertEquals(await bodies(receiver.receiveBatch(5, { drainMs: 10 })), []);
  send(1);
  assertEquals((await time.wait(receiver.receive())).message.body, "1");
  send(2);
  assertEquals(await bodies(receiver.receiveBatch(1, { waitMs: 50 })), ["2"]);
  connection.destroy(new Error("over"));
});
