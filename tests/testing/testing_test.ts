/**
 * The testing kit by itself, and with clients and brokers.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, OutcomeError } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import { faulty, ScriptedPeer, ScriptError, VirtualTime } from "../../src/testing/mod.ts";
import { dialSocket, listen } from "../../src/transport/sockets.ts";
import { test } from "../harness.ts";

/** A peer to which a client has attached a sender, with `credit`. */
function receivingPeer(credit = 10): ScriptedPeer {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach", { role: "sender", target: { address: "orders" } }).respond();
  peer.send("flow", { handle: 0, linkCredit: credit, deliveryCount: 0 });
  return peer;
}

test("testing: a client sends and its message is accepted", async () => {
  const peer = receivingPeer();
  peer.expect("transfer", { handle: 0, settled: (settled) => settled !== true }).settle();
  peer.expect("detach", { closed: true }).respond();
  peer.expectClosing();
  const connection = await connect(peer.channel);
  const outcome = await connection.sender("orders").send({ body: "one coffee" });
  assertEquals(outcome?.kind, "accepted");
  await connection.close();
  await peer.done();
  const [transfer] = peer.frames.filter(({ kind }) => kind === "transfer");
  assertEquals(transfer!.message!.body, "one coffee");
});

test("testing: each outcome that a peer may give", async () => {
  const cases = [
    [{ kind: "rejected", error: { condition: "amqp:not-found", description: "none" } }, "rejected"],
    [{ kind: "released" }, "released"],
    [{ kind: "modified", deliveryFailed: true }, "modified"],
  ] as const;
  for (const [state, outcome] of cases) {
    const peer = receivingPeer();
    peer.expect("transfer").settle(state);
    peer.expect("detach").respond();
    peer.expectClosing();
    const connection = await connect(peer.channel);
    const error = await assertRejects(() => connection.sender("orders").send({ body: 1 }), OutcomeError);
    assertEquals(error.outcome, outcome);
    await connection.close();
    await peer.done();
  }
});

test("testing: a receiver gets what the peer sends, in frames of its choice, and settles it", async () => {
  const peer = new ScriptedPeer();
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach", { role: "receiver", source: { address: "orders" } }).respond();
  peer.expect("flow", { linkCredit: 1 })
    .send("transfer", { deliveryId: 0, more: true }, { payload: Uint8Array.of(0x00, 0x53, 0x77, 0xa1) })
    .send("transfer", { handle: 0 }, { payload: Uint8Array.of(0x01, 0x78) });
  peer.ignore("flow");
  peer.expect("disposition", { role: "receiver", first: 0, settled: true, state: { kind: "accepted" } });
  peer.expect("detach").respond();
  peer.expectClosing();
  const connection = await connect(peer.channel);
  const delivery = await connection.receiver("orders", { credit: 1, settle: "manual" }).receive();
  assertEquals(delivery.message.body, "x");
  delivery.accept();
  await connection.close();
  await peer.done();
});

test("testing: wrong things on purpose: raw bytes, and a connection that is lost", async () => {
  const garbled = new ScriptedPeer();
  garbled.expect("header", { id: 3 }).sendBytes("deadbeef deadbeef");
  await assertRejects(() => connect(garbled.channel), Error);
  const peer = receivingPeer();
  peer.expect("transfer").drop();
  const connection = await connect(peer.channel);
  const error = await assertRejects(() => connection.sender("orders").send({ body: 1 }), OutcomeError);
  assertEquals(error.outcome, "lost");
  await peer.done();
});

test("testing: what went wrong is told with what was expected, what came, and all that was said", async () => {
  const peer = new ScriptedPeer();
  peer.expectOpening();
  peer.expect("begin", { incomingWindow: 7 });
  const connection = await connect(peer.channel);
  connection.session();
  await connection.closed;
  const why = "Cannot follow script: expected begin(incomingWindow=7), but incomingWindow is 2048, not 7";
  assertStringIncludes(connection.error!.message, why);
  const error = await assertRejects(() => peer.done(), ScriptError);
  assertStringIncludes(error.message, why);
  assertStringIncludes(error.message, "\n  > open(");
  assertStringIncludes(error.message, '\n  < header {"id":0}');
  connection.destroy(new Error("over"));

  const silent = new ScriptedPeer();
  silent.expect("header");
  const late = await assertRejects(() => silent.done({ timeoutMs: 10 }), ScriptError);
  assertStringIncludes(late.message, "expected header, nothing came in 10 ms");
  const over = new ScriptedPeer();
  const connecting = connect(over.channel);
  connecting.catch(() => {});
  await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve));
  const extra = await assertRejects(() => over.done(), ScriptError);
  assertStringIncludes(extra.message, "it is over, but header came");
  over.channel.close(1006);
  await connecting.catch(() => {});
});

test("testing: the peer as the client of a broker", async () => {
  const broker = new Broker();
  const peer = new ScriptedPeer({ ignore: ["empty", "flow"] });
  broker.accept(peer.channel);
  peer.send("header", { id: 0 });
  peer.expect("header", { id: 0 });
  peer.send("open", { containerId: "tester" });
  peer.expect("open");
  peer.send("begin");
  peer.expect("begin", { remoteChannel: 0 });
  const target = { kind: "target", address: "orders" } as const;
  peer.send("attach", { name: "l", handle: 5, role: "sender", source: { kind: "source" }, target });
  peer.expect("attach", { name: "l", role: "receiver", target: { address: "orders" } });
  peer.send("transfer", { handle: 5, deliveryId: 0 }, { payload: { body: "one coffee" } });
  peer.expect("disposition", { role: "receiver", first: 0, state: { kind: "accepted" } });
  peer.send("close");
  peer.expect("close");
  await peer.done();
  assertEquals(broker.queue("orders")!.messages, 1);
  await broker.close();
});

test("testing: the peer over TCP and over a WebSocket", async () => {
  for (const scheme of ["amqp", "ws"] as const) {
    const peers: ScriptedPeer[] = [];
    const listener = await listen({
      host: "127.0.0.1",
      port: 0,
      accept: (channel) => {
        const peer = new ScriptedPeer({ over: channel });
        peer.expectOpening();
        peer.expectClosing();
        peers.push(peer);
      },
    });
    const connection = await connect(`${scheme}://127.0.0.1:${listener.port}`);
    await connection.close();
    await peers[0]!.done();
    await listener.close();
  }
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const peer = new ScriptedPeer({ over: await dialSocket(`amqp://127.0.0.1:${listener.port}`) });
  peer.send("header", { id: 0 });
  peer.expect("header");
  peer.send("open");
  peer.expect("open").send("close");
  peer.expect("close");
  await peer.done();
  await broker.close();
  await listener.close();
});

test("testing: a carrier that is cut in the middle of a message, or chops it", async () => {
  const cut = receivingPeer();
  const channel = faulty(cut.channel, { cutAfterOut: 1_500 });
  const connection = await connect(channel, { idleTimeOut: 0 });
  const error = await connection.sender("orders").send({ body: new Uint8Array(5_000) }).catch((error) => error);
  assert(error instanceof Error);
  const chopped = receivingPeer();
  chopped.expect("transfer").settle();
  chopped.expect("detach").respond();
  chopped.expectClosing();
  const whole = await connect(faulty(chopped.channel, { chop: 1 }));
  assertEquals((await whole.sender("orders").send({ body: 1 }))?.kind, "accepted");
  await whole.close();
  await chopped.done();
});

test("testing: time-outs of a client by a clock that the test turns", async () => {
  const time = new VirtualTime();
  const peer = new ScriptedPeer();
  peer.expectOpening();
  peer.expect("close", { error: { condition: "amqp:resource-limit-exceeded" } }).respond();
  const connecting = connect(peer.channel, { environment: time, idleTimeOut: 10_000 });
  await time.advance(1);
  const connection = await connecting;
  await time.advance(15_000);
  assertEquals(connection.error, undefined);
  await time.advance(10_000);
  await peer.done();
  assert(connection.error instanceof Error);
});

test("testing: a client in the process of a broker lives by the broker's clock", async () => {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time, log: null });
  const connection = await broker.connect();
  const receiver = connection.receiver("orders");
  // Both ends announce an idle time-out of a minute, and a client in real time would be dropped.
  await time.advance(3_600_000);
  assertEquals([connection.state, broker.connections.size], ["open", 1]);
  // More exchanges than a client in real time makes before it asks for a turn of the event loop, in microtasks alone.
  for (let i = 0; i < 100; i++) {
    let received: unknown;
    connection.send("orders", { body: i }).then(() => receiver.receive()).then((delivery) => {
      received = delivery.message.body;
      delivery.accept();
    });
    await time.advance(1);
    assertEquals(received, i);
  }
  connection.close();
  broker.close();
  await time.advance(10_000);
  assertEquals([connection.state, time.timers], ["closed", 0]);
});

test("testing: a client in the process of its broker takes the same clock, and retries for an hour in no time", async () => {
  const time = new VirtualTime();
  const broker = new Broker({ environment: time });
  const connection = await broker.connect();
  const attempts: number[] = [];
  const fail = (): never => {
    attempts.push(time.now());
    throw new Error("out of stock");
  };
  connection.receiver("orders").serve(fail, { retryDelay: () => 60_000, onerror: () => {} });
  await connection.send("orders", { body: "one coffee" });
  await time.advance(180_000);
  assertEquals(attempts, [0, 30_000, 60_000, 90_000, 120_000, 150_000, 180_000]);
  await connection.close();
  await broker.close();
});
