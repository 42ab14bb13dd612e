import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import { writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import type { OutgoingDelivery } from "../../src/engine/outgoing.ts";
import type { SendListener } from "../../src/client/outcome.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Delivery } from "../../src/client/delivery.ts";
import { OutcomeError } from "../../src/base/errors.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { ScriptedPeer } from "../../src/testing/peer.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";
import { numbered, receiving } from "./receiving.ts";

/** Waits a round trip, after which the peer's engine has answered. */
async function roundTrip(delivery: Delivery): Promise<void> {
  await (delivery.receiver.connection as Connection).session().ready();
}

test("iterating accepts a message when the loop turns; leaving the loop closes the receiver, a failed attempt at the one in hand", async () => {
  const { connection, outcomes } = receiving(numbered(10));
  const receiver = connection.receiver("orders", { credit: 3 });
  const bodies: unknown[] = [];
  for await (const delivery of receiver) {
    bodies.push(delivery.message.body);
    assertEquals(outcomes.length <= bodies.length, true);
    if (bodies.length === 5) break;
  }
  assertEquals(bodies, [0n, 1n, 2n, 3n, 4n]);
  assertEquals([receiver.open, receiver.buffered], [false, 0]);
  await receiver.closed;
  // Four accepted, the fifth returned by break, prefetched ones released.
  assertEquals(outcomes.slice(0, 5), ["accepted", "accepted", "accepted", "accepted", "modified"]);
  assertEquals(
    new Set(outcomes.slice(5).filter((outcome) => !["lost", "unsent", undefined].includes(outcome))),
    new Set(["released"]),
  );
  await connection.close();
});

test("a throw in the loop is a failed attempt, closes the receiver, and is passed on", async () => {
  const { connection, outcomes } = receiving(numbered(1));
  const receiver = connection.receiver("orders");
  await assertRejects(
    async () => {
      for await (const _ of receiver) throw new Error("work failed");
    },
    Error,
    "work failed",
  );
  await receiver.closed;
  assertEquals(outcomes, ["modified"]);
  await connection.close();
});

test("MSG-12: what is settled in the loop is left as it is", async () => {
  const { connection, outcomes } = receiving(numbered(5));
  const receiver = connection.receiver("orders");
  let turn = 0;
  for await (const delivery of receiver) {
    turn++;
    if (turn === 1) delivery.accept();
    if (turn === 2) delivery.reject({ condition: "shop:no", description: "not today" });
    if (turn === 3) delivery.release();
    if (turn === 4) delivery.modify({ deliveryFailed: true });
    if (turn === 5) {
      delivery.reject();
      assertThrows(() => delivery.accept(), AmqpError, "it is rejected already");
      break;
    }
  }
  await receiver.close();
  assertEquals(outcomes, ["accepted", "rejected", "released", "modified", "rejected"]);
  await connection.close();
});

test("FLW-2: credit bounds what is on its way or in work, and comes back with the settlement", async () => {
  const { connection, senders } = receiving(numbered(20));
  const receiver = connection.receiver("orders", { credit: 4, settle: "manual" });
  const held: Delivery[] = [];
  for (let i = 0; i < 4; i++) held.push(await receiver.receive());
  await roundTrip(held[0]!);
  assertEquals([senders[0]!.credit, receiver.buffered, receiver.credit], [0, 0, 0]);
  held[0]!.accept();
  held.push(await receiver.receive());
  assertEquals(held[4]!.message.body, 4n);
  for (const delivery of held.slice(1)) delivery.accept();
  for (let i = 5; i < 20; i++) {
    const delivery = await receiver.receive();
    assertEquals(delivery.message.body, BigInt(i));
    delivery.accept();
  }
  await connection.close();
});

test("a held message does not stop the others, nor the other links", async () => {
  const { connection } = receiving(numbered(200));
  const slow = connection.receiver("slow", { credit: 5 });
  const fast = connection.receiver("fast", { credit: 5 });
  await slow.receive();
  const bodies: unknown[] = [];
  for await (const delivery of fast) if (bodies.push(delivery.message.body) === 200) break;
  assertEquals(bodies, numbered(200).map(({ body }) => body));
  for (let i = 1; i < 150; i++) (await slow.receive()).accept();
  await connection.close();
});

test("manual credit: nothing comes unasked, and what is granted replaces what was", async () => {
  const { connection, senders } = receiving(numbered(10));
  const receiver = connection.receiver("orders", { credit: "manual" });
  await receiver.ready();
  assertEquals(receiver.credit, 0);
  receiver.grant(2);
  receiver.grant(2);
  (await receiver.receive()).accept();
  const second = await receiver.receive();
  second.accept();
  await roundTrip(second);
  assertEquals([receiver.credit, receiver.buffered, senders[0]!.credit], [0, 0, 0]);
  assertThrows(() => receiver.grant(-1), RangeError);
  assertThrows(() => receiver.grant(1.5), RangeError);
  await connection.close();
});

test("FLW-5: drain takes what is there and hands back the rest of the credit", async () => {
  const { connection, senders } = receiving(numbered(3));
  const receiver = connection.receiver("orders", { credit: 10, settle: "manual" });
  await receiver.drain();
  assertEquals([receiver.buffered, receiver.credit, senders[0]!.credit], [3, 0, 0]);
  for (let i = 0; i < 3; i++) (await receiver.receive()).accept();
  // The next receive grants credit again.
  const next = receiver.receive();
  void senders[0]!.send({ body: "late" });
  const late = await next;
  assertEquals(late.message.body, "late");
  late.accept();
  await connection.close();
});

test("draining an empty source ends at once, also twice and without credit", async () => {
  const { connection } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 5 });
  await Promise.all([receiver.drain(), receiver.drain()]);
  await receiver.drain();
  assertEquals(receiver.credit, 0);
  await connection.close();
});

test("receive is aborted without losing the message that comes next", async () => {
  const { connection, senders } = receiving([]);
  const receiver = connection.receiver("orders");
  const controller = new AbortController();
  const first = receiver.receive({ signal: controller.signal });
  const second = receiver.receive();
  controller.abort(new Error("enough"));
  await assertRejects(() => first, Error, "enough");
  await receiver.ready();
  void senders[0]!.send({ body: "for the second" });
  const delivery = await second;
  assertEquals(delivery.message.body, "for the second");
  delivery.accept();
  await assertRejects(() => receiver.receive({ signal: AbortSignal.abort(new Error("no")) }), Error, "no");
  await connection.close();
});

test("serve handles as many at a time as asked, accepts on return, and hands back as a failed attempt on throw", async () => {
  const { connection, outcomes } = receiving(numbered(12));
  const receiver = connection.receiver("jobs", { credit: 6 });
  let running = 0;
  let most = 0;
  let done = 0;
  const errors: unknown[] = [];
  const controller = new AbortController();
  await receiver.serve(async (delivery) => {
    most = Math.max(most, ++running);
    await roundTrip(delivery);
    running--;
    if (++done === 12) controller.abort();
    if (delivery.message.body === 7n) throw new Error("seven");
  }, { concurrency: 3, signal: controller.signal, onerror: (error) => errors.push((error as Error).message) });
  await receiver.close();
  assertEquals(most, 3);
  assertEquals(errors, ["seven"]);
  assertEquals(outcomes.filter((outcome) => outcome === "accepted").length, 11);
  assertEquals(outcomes[7], "modified");
  await connection.close();
});

test("serve ends when the receiver is closed, after the handler that runs", async () => {
  const { connection, outcomes } = receiving(numbered(1));
  const receiver = connection.receiver("jobs");
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  let started = () => {};
  const running = new Promise<void>((resolve) => started = resolve);
  const serving = receiver.serve(async () => {
    started();
    await held;
  });
  await running;
  const closing = receiver.close();
  release();
  await Promise.all([serving, closing]);
  assertEquals(outcomes, ["accepted"]);
  await connection.close();
});

test("TYP-4: a message that cannot be decoded is rejected, not released", async () => {
  const { connection, outcomes } = receiving([Uint8Array.of(0x00, 0x53, 0x77, 0xa1, 0xff, 0x41)]);
  const receiver = connection.receiver("orders");
  const error = await assertRejects(async () => {
    for await (const delivery of receiver) delivery.message.body;
  }, AmqpError);
  assertEquals([error.condition, error.scope], [condition.decodeError, "delivery"]);
  await receiver.close();
  assertEquals(outcomes, ["rejected"]);
  await connection.close();
});

test("TRF-5: messages that come settled need no settlement, and their credit comes back", async () => {
  const { connection } = receiving(numbered(30), true);
  const receiver = connection.receiver("log", { credit: 2 });
  for (let i = 0; i < 10; i++) {
    const delivery = await receiver.receive();
    assertEquals([delivery.message.body, delivery.remoteSettled], [BigInt(i), true]);
  }
  let next = 10n;
  for await (const delivery of receiver) {
    assertEquals(delivery.message.body, next);
    if (next++ === 29n) break;
  }
  await connection.close();
});

test("a readable hands out messages and closes the link when it is cancelled", async () => {
  const { connection, outcomes } = receiving(numbered(5));
  const receiver = connection.receiver("orders", { credit: 2 });
  const reader = receiver.readable.getReader();
  for (let i = 0; i < 3; i++) {
    const { value } = await reader.read();
    assertEquals(value!.message.body, BigInt(i));
    value!.accept();
  }
  await reader.cancel();
  assertEquals(receiver.open, false);
  await receiver.closed;
  // Asked of a receiver that has ended, a stream says so, as a loop does.
  await assertRejects(() => receiver.readable.getReader().read(), AmqpError, "is closed");
  assertEquals(outcomes.slice(0, 3), ["accepted", "accepted", "accepted"]);
  await connection.close();
});

test("iteration ends when the receiver is closed here, and throws when the peer ends it", async () => {
  const { connection, senders } = receiving([]);
  const ours = connection.receiver("a");
  const loop = (async () => {
    for await (const _ of ours);
  })();
  await ours.ready();
  await ours.close();
  await loop;
  const theirs = connection.receiver("b");
  const broken = (async () => {
    for await (const _ of theirs);
  })();
  await theirs.ready();
  void senders[1]!.close({ error: new AmqpError(condition.resourceDeleted, "queue was deleted", { scope: "link" }) });
  const error = await assertRejects(() => broken, AmqpError, "queue was deleted");
  assertEquals(error.condition, condition.resourceDeleted);
  const silent = connection.receiver("c");
  await silent.ready();
  const waiting = silent.receive();
  void senders[2]!.close();
  assertEquals((await assertRejects(() => waiting, AmqpError)).condition, condition.detachForced);
  await connection.close();
});

test("a message cannot be settled any more when its link has ended, and the loop does not mind", async () => {
  const { connection } = receiving(numbered(2));
  const receiver = connection.receiver("orders");
  const error = await assertRejects(async () => {
    for await (const delivery of receiver) {
      connection.destroy(new Error("cable cut"));
      const late = assertThrows(() => delivery.accept(), OutcomeError, 'Cannot settle delivery of "orders" at ');
      assertEquals([late.outcome, late.retryable, (late.cause as Error).message], ["lost", false, "cable cut"]);
    }
  }, Error);
  assertEquals(error.message, "cable cut");
  await connection.close();
});

test("DSP-2: in two steps a message counts against the credit until the sender has settled", async () => {
  const { connection, outcomes } = receiving(numbered(6));
  const receiver = connection.receiver("orders", { credit: 1, rcvSettleMode: "second" });
  let count = 0;
  for await (const _ of receiver) if (++count === 6) break;
  await receiver.close();
  assertEquals(outcomes.slice(0, 5), Array.from({ length: 5 }, () => "accepted"));
  await connection.close();
});

test("FLW-5: whoever waits for a message gets the one that comes after a drain", async () => {
  const { connection, senders } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  await receiver.ready();
  const before = receiver.receive();
  const drained = receiver.drain();
  const after = receiver.receive();
  await drained;
  for (const body of ["one", "two"]) void senders[0]!.send({ body });
  for (const waiting of [before, after]) (await waiting).accept();
  await connection.close();
});

test("FLW-5: a drain comes to its end while credit is topped up", async () => {
  const { connection, senders } = receiving(numbered(6), true);
  const receiver = connection.receiver("orders", { credit: 10 });
  await receiver.ready();
  const drained = receiver.drain();
  for (let i = 0; i < 6; i++) await receiver.receive();
  const next = receiver.receive();
  await drained;
  void senders[0]!.send({ body: "late" }, { settled: true });
  assertEquals((await next).message.body, "late");
  await connection.close();
});

test("drain does nothing for a signal that is aborted already", async () => {
  const { connection } = receiving([]);
  const receiver = connection.receiver("orders", { credit: 10 });
  await assertRejects(() => receiver.drain({ signal: AbortSignal.abort(new Error("no")) }), Error, "no");
  assertEquals(receiver.credit, 10);
  await connection.close();
});

test("an outcome that cannot be encoded leaves the message to be settled in another way", async () => {
  const { connection, outcomes } = receiving(numbered(2));
  const receiver = connection.receiver("orders");
  const delivery = await receiver.receive();
  const annotation = { "x-opt-a": "x".repeat(200_000) };
  const refused = assertThrows(() => delivery.modify({ messageAnnotations: annotation }), AmqpError);
  assertEquals(refused.condition, condition.frameSizeTooSmall);
  const noValue = { messageAnnotations: { "x-opt-a": () => {} } } as unknown as Parameters<typeof delivery.modify>[0];
  assertThrows(() => delivery.modify(noValue), TypeError);
  delivery.accept();
  const controller = new AbortController();
  await receiver.serve((delivery) => {
    controller.abort();
    delivery.modify(noValue);
  }, { signal: controller.signal, onerror: () => {} });
  await receiver.close();
  assertEquals(outcomes, ["accepted", "modified"]);
  await connection.close();
});

test("DSP-2: a message that the handler accepted counts, too, until the sender has settled", async () => {
  const { connection } = receiving(numbered(4));
  const receiver = connection.receiver("orders", { credit: 2, rcvSettleMode: "second" });
  const controller = new AbortController();
  await receiver.serve(async (delivery) => {
    delivery.accept();
    await Promise.resolve();
    assertEquals(receiver.credit < 2, true);
    if (delivery.message.body === 3n) controller.abort();
  }, { signal: controller.signal });
  await connection.close();
});

test("what has not been taken when the link breaks is not handed out, unless it came settled", async () => {
  for (const settled of [false, true]) {
    const { connection } = receiving(numbered(5), settled);
    const receiver = connection.receiver("orders", { settle: "manual" });
    const first = await receiver.receive();
    await roundTrip(first);
    connection.destroy(new Error("cable cut"));
    let count = 1;
    await assertRejects(
      async () => {
        for await (const _ of receiver) count++;
      },
      Error,
      "cable cut",
    );
    assertEquals(count, settled ? 5 : 1);
  }
});

test("a credit that is no whole number is refused before the link is attached", async () => {
  const { connection, senders } = receiving([]);
  for (const credit of [-1, 1.5, NaN, 2 ** 32]) {
    assertThrows(() => connection.receiver("orders", { credit }), RangeError, "is not a whole number");
  }
  await connection.receiver("orders").ready();
  assertEquals(senders.length, 1);
  await connection.close();
});

test("serve refuses a concurrency that handles nothing", async () => {
  const { connection } = receiving([]);
  const receiver = connection.receiver("orders");
  for (const concurrency of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => receiver.serve(() => {}, { concurrency }), RangeError, "concurrency");
  }
  await connection.close();
});

test("serve handles nothing more once onerror has thrown", async () => {
  const { connection, senders, outcomes } = receiving(numbered(1));
  const receiver = connection.receiver("orders");
  let handled = 0;
  const serving = receiver.serve(() => {
    handled++;
    throw new Error("handler failed");
  }, {
    concurrency: 2,
    onerror: () => {
      throw new Error("so did onerror");
    },
  });
  await assertRejects(() => serving, Error, "so did onerror");
  assertEquals(handled, 1);
  void senders[0]!.send({ body: "next" });
  (await receiver.receive()).accept();
  await receiver.close();
  assertEquals([handled, outcomes], [1, ["modified"]]);
  await connection.close();
});

test("ATK-32: a server that does not look at what serve returns outlives a client that vanishes", async () => {
  let ended: Promise<void> | undefined;
  const server = acceptor({
    onReceiver: (request) => {
      const receiver = request.accept();
      ended = receiver.closed;
      void receiver.serve(() => {});
    },
  });
  const connection = linkUp(server);
  await connection.sender("orders").send({ body: 1 });
  connection.destroy(new Error("cable cut"));
  await ended;
  const other = linkUp(server);
  assertEquals(await other.sender("orders").send({ body: 2 }), { kind: "accepted" });
  await other.close();
});

test("a receiver that closes asks for no more while its handlers finish", async () => {
  const { connection, senders, outcomes } = receiving(numbered(1));
  const receiver = connection.receiver("orders", { credit: 10 });
  let finish = () => {};
  const held = new Promise<void>((resolve) => finish = resolve);
  let started = (_: Delivery) => {};
  const running = new Promise<Delivery>((resolve) => started = resolve);
  void receiver.serve(async (delivery) => {
    started(delivery);
    await held;
  });
  const delivery = await running;
  const closing = receiver.close();
  await roundTrip(delivery);
  assertEquals(senders[0]!.credit, 0);
  const late = senders[0]!.send({ body: "late" });
  finish();
  await closing;
  // The message never left, so its outcome is not in doubt.
  assertEquals((await assertRejects(() => late, AmqpError)).scope, "link");
  assertEquals(outcomes, ["accepted"]);
  await connection.close();
});

test("serve leaves settling to the handler where it is manual, and what came settled to nobody", async () => {
  for (const settled of [false, true]) {
    const { connection, outcomes } = receiving(numbered(4), settled);
    const receiver = connection.receiver("orders", { credit: 2, settle: "manual" });
    const held: Delivery[] = [];
    const controller = new AbortController();
    let handled = 0;
    await receiver.serve((delivery) => {
      held.push(delivery);
      if (++handled === (settled ? 4 : 2)) controller.abort();
      if (handled === 1) throw new Error("to be settled all the same");
    }, { concurrency: 2, signal: controller.signal, onerror: () => {} });
    if (!settled) {
      held[0]!.accept();
      held[1]!.reject();
    }
    await receiver.close();
    assertEquals(handled, settled ? 4 : 2);
    if (!settled) assertEquals(outcomes.slice(0, 2), ["accepted", "rejected"]);
    await connection.close();
  }
});

test("serve hands over in one go what is there when its handler has nothing to wait for, and stops at once", async () => {
  const { connection, outcomes } = receiving(numbered(10));
  const receiver = connection.receiver("orders");
  // All have arrived with the first: they fit into one WebSocket message.
  await roundTrip(await receiver.receive());
  assertEquals(receiver.buffered, 9);
  const stop = new AbortController();
  const seen: unknown[] = [];
  const served = receiver.serve(({ message }) => {
    queueMicrotask(() => seen.push("turn"));
    seen.push(message.body);
    if (message.body === 5n) stop.abort();
  }, { signal: stop.signal });
  assertEquals(seen, []);
  await served;
  // Prefetched messages have been released: nobody takes them any more.
  assertEquals([seen.slice(0, 6), receiver.buffered], [[1n, 2n, 3n, 4n, 5n, "turn"], 0]);
  await receiver.close();
  assertEquals(outcomes.slice(1), [...Array(5).fill("accepted"), ...Array(4).fill("released")]);
  await connection.close();
});

test("DSP-4: what the sender settles by itself makes room for others, also where the program settles by calls", async () => {
  const sent: OutgoingDelivery[] = [];
  const listener: SendListener = { onoutcome() {}, onsent() {}, onlost() {} };
  const server = acceptor({
    onSender: (request) => {
      const sender = request.accept();
      const writer = new Writer();
      for (let i = 0; i < 6; i++) {
        writeMessage({ body: i }, writer);
        sent.push(sender.forward(writer.take(), {}, listener)!);
      }
    },
  });
  const connection = linkUp(server);
  const receiver = connection.receiver("orders", { credit: 2 });
  for (let i = 0; i < 6; i += 2) {
    const deliveries = [await receiver.receive(), await receiver.receive()];
    const lost = deliveries.map(({ signal }) =>
      new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }))
    );
    // One of them only has the state that somebody works on it.
    deliveries[0]!.update({ kind: "received", sectionNumber: 1, sectionOffset: 0n });
    for (const delivery of sent.slice(i, i + 2)) delivery.settle({ kind: "released" });
    await Promise.all(lost);
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(receiver.unsettled - receiver.buffered, 0);
    assertThrows(() => deliveries[0]!.accept(), OutcomeError, "has settled it by itself");
  }
  connection.destroy(new Error("over"));
});

test("FLW-5: a drain ends with a sender's answer that hands back no credit, and a late message still arrives", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow", "disposition"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach").respond({ initialDeliveryCount: 7 });
  peer.expect("flow", { linkCredit: 5, drain: true }).send("flow", {
    nextIncomingId: 0,
    incomingWindow: 100,
    nextOutgoingId: 0,
    outgoingWindow: 100,
    handle: 0,
    deliveryCount: 7,
    linkCredit: 0,
    drain: true,
  });
  const connection = await connect(peer.channel, { reconnect: false });
  const receiver = connection.receiver("orders", { credit: 5 });
  await receiver.drain();
  peer.send("transfer", { handle: 0, deliveryId: 0, deliveryTag: new Uint8Array(1) }, { payload: { body: "late" } });
  peer.expect("detach").respond();
  peer.expectClosing();
  const delivery = await receiver.receive();
  assertEquals(delivery.message.body, "late");
  await delivery.accept();
  await connection.close();
  await peer.done();
});

test("LNK-5: an answer without initial-delivery-count, as of Azure's $cbs, counts from 0, and one that refuses tells why", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "disposition"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach").respond({ initialDeliveryCount: undefined });
  peer.expect("flow", { linkCredit: 1 });
  peer.send("transfer", { handle: 0, deliveryId: 0, deliveryTag: new Uint8Array(1) }, { payload: { body: "ok" } });
  const connection = await connect(peer.channel, { reconnect: false });
  const receiver = connection.receiver("$cbs", { credit: 1 });
  assertEquals((await receiver.receive()).message.body, "ok");
  peer.expect("attach", { handle: 1 }).send("attach", {
    name: "r",
    handle: 1,
    role: "sender",
    initialDeliveryCount: undefined,
  })
    .send("detach", { handle: 1, closed: true, error: { condition: "amqp:link:stolen", description: "epoch 0" } });
  peer.expect("detach");
  const refused = await assertRejects(() => connection.receiver({ address: "hub", name: "r" }).receive(), AmqpError);
  assertEquals([refused.condition, refused.scope], ["amqp:link:stolen", "link"]);
  peer.expect("detach", { handle: 0 }).respond();
  peer.expectClosing();
  await receiver.close();
  await connection.close();
  await peer.done();
});
