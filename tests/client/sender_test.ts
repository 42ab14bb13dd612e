import { assertEquals, assertInstanceOf, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { concat } from "@std/bytes";
import { decodeMessage } from "../../src/codec/message.ts";
import { connect, openOver } from "../../src/client/connect.ts";
import { ScriptedPeer } from "../../src/testing/peer.ts";
import { SendAbortedError, type SendOptions } from "../../src/client/outcome.ts";
import { channelPair } from "../../src/transport/pair.ts";
import type { LogEntry } from "../../src/base/log.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { linkUp, sending } from "./link_up.ts";
import { turn } from "./virtual.ts";

test("send waits for the attach, the credit and the outcome, in the order of the calls", async () => {
  const bodies: unknown[] = [];
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 3 });
    void receiver.serve((delivery) => void bodies.push(delivery.message.body));
    return receiver;
  });
  const sender = connection.sender("orders");
  const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => sender.send({ body: BigInt(i) })));
  assertEquals(outcomes, Array.from({ length: 20 }, () => ({ kind: "accepted" as const })));
  assertEquals(bodies, Array.from({ length: 20 }, (_, i) => BigInt(i)));
  assertEquals(sender.pending, 0);
  await connection.close();
});

test("MSG-12: rejected, released and modified outcomes throw an OutcomeError that tells which", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 10 });
    void receiver.serve((delivery) => {
      switch (delivery.message.body) {
        case "reject":
          return delivery.reject(new AmqpError("shop:sold-out", "none left", { info: { left: 0n } }));
        case "reject plainly":
          return delivery.reject();
        case "release":
          return delivery.release();
        case "modify":
          return delivery.modify({ deliveryFailed: true });
        case "modify, not here":
          return delivery.modify({ undeliverableHere: true });
        case "throw":
          throw new Error("handler failed");
      }
    }, { onerror: () => {} });
    return receiver;
  });
  const sender = connection.sender("orders");
  const expected: [string, string, string, boolean][] = [
    ["reject", "rejected", "shop:sold-out", false],
    ["reject plainly", "rejected", "amqp:rejected:list", false],
    ["release", "released", "amqp:released:list", true],
    ["modify", "modified", "amqp:modified:list", true],
    ["modify, not here", "modified", "amqp:modified:list", false],
    ["throw", "modified", "amqp:modified:list", true],
  ];
  for (const [body, outcome, symbol, retryable] of expected) {
    const error = await assertRejects(() => sender.send({ body }), OutcomeError);
    assertEquals([error.outcome, error.condition, error.retryable, error.remote], [outcome, symbol, retryable, true]);
    if (body === "reject") assertEquals({ ...error.info }, { left: 0n });
  }
  await connection.close();
});

test("TRF-5: a settled send resolves without an outcome once it is written", async () => {
  const bodies: unknown[] = [];
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 2 });
    void receiver.serve((delivery) => {
      assertEquals(delivery.remoteSettled, true);
      bodies.push(delivery.message.body);
    });
    return receiver;
  });
  const sender = connection.sender("log");
  for (let i = 0; i < 10; i++) assertStrictEquals(await sender.send({ body: `${i}` }, { settled: true }), undefined);
  await connection.close();
  assertEquals(bodies.length, 10);
});

test("DSP-2: a receiver that settles second gets the sender's settlement first", async () => {
  let told = 0;
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 1, rcvSettleMode: "second" });
    void receiver.serve(() => void told++);
    return receiver;
  });
  const sender = connection.sender({ address: "orders", rcvSettleMode: "second" });
  // With a credit of one, the second message leaves only after the first was settled on both sides.
  for (let i = 0; i < 5; i++) assertEquals(await sender.send({ body: "x" }), { kind: "accepted" });
  assertEquals(told, 5);
  await connection.close();
});

test("DSP-2: an accepting side settles with another outcome than the receiver asks for, as a broker whose lock was lost", async () => {
  const entries: LogEntry[] = [];
  const outcomes: Promise<unknown>[] = [];
  const lost = { condition: "com.microsoft:message-lock-lost", description: "the lock is over" };
  const server = acceptor({
    log: (entry) => entries.push(entry),
    onSender: (request) => {
      const sender = request.accept({ rcvSettleMode: "second" });
      const decisions: NonNullable<SendOptions["decide"]>[] = [
        () => ({ kind: "rejected", error: lost }),
        (asked) => asked.kind === "accepted" ? undefined : { kind: "released" },
        () => {
          throw new Error("boom");
        },
      ];
      for (const [i, decide] of decisions.entries()) {
        const tag = Uint8Array.of(i + 1);
        outcomes.push(
          sender.send({ body: i }, { tag, decide }).catch(({ outcome, condition }) => ({ outcome, condition })),
        );
      }
    },
  });
  const [near, far] = channelPair();
  server.accept(far);
  const told: unknown[] = [];
  const connection = openOver(near, undefined, {
    trace: ({ direction, body }) => {
      if (direction === "in" && body?.kind === "disposition") told.push([body.settled, body.state]);
    },
  });
  const receiver = connection.receiver("orders", { rcvSettleMode: "second" });
  for (let i = 0; i < 3; i++) (await receiver.receive()).accept();
  assertEquals(await Promise.all(outcomes), [
    { outcome: "rejected", condition: lost.condition },
    { kind: "accepted" },
    { kind: "accepted" },
  ]);
  await connection.close();
  assertEquals(told, [
    [true, { kind: "rejected", error: lost }],
    // Both in one range.
    [true, { kind: "accepted" }],
  ]);
  await turn();
  assertEquals(entries.map(({ code, address }) => [code, address]), [["callback-failed", "orders"]]);
});

test("a send is aborted while it waits for credit, and the next ones still leave", async () => {
  const bodies: unknown[] = [];
  const { connection, ends } = sending((request) => request.accept({ credit: "manual" }));
  const sender = connection.sender("orders");
  await sender.ready();
  const controller = new AbortController();
  const first = sender.send({ body: "first" }, { signal: controller.signal });
  const second = sender.send({ body: "second" });
  controller.abort(new Error("changed my mind"));
  await assertRejects(() => first, Error, "changed my mind");
  assertEquals(sender.pending, 1);
  ends[0]!.grant(5);
  const delivery = await ends[0]!.receive();
  bodies.push(delivery.message.body);
  delivery.accept();
  await second;
  assertEquals(bodies, ["second"]);
  assertEquals(ends[0]!.credit, 4);
  await connection.close();
});

test("an aborted signal rejects at once, and a send without a reason to wait leaves no listener", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 5 });
    void receiver.serve(() => {});
    return receiver;
  });
  const sender = connection.sender("orders");
  await assertRejects(() => sender.send({ body: 1 }, { signal: AbortSignal.abort(new Error("no")) }), Error, "no");
  const controller = new AbortController();
  await sender.send({ body: 1 }, { signal: controller.signal });
  controller.abort();
  await sender.send({ body: 2 });
  await connection.close();
});

test("LNK-4: a refused sender rejects ready, queued sends and later ones with the peer's error", async () => {
  const server = acceptor({
    onReceiver: () => {
      throw new AmqpError(condition.notFound, "Cannot attach: no such queue", { scope: "link" });
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("nowhere");
  const queued = sender.send({ body: 1 });
  const error = await assertRejects(() => sender.ready(), AmqpError, "no such queue");
  assertEquals([error.condition, error.remote, error.scope], [condition.notFound, true, "link"]);
  assertEquals((await assertRejects(() => queued, AmqpError)).condition, condition.notFound);
  assertEquals((await assertRejects(() => sender.send({ body: 2 }), AmqpError)).condition, condition.notFound);
  assertInstanceOf(sender.error, AmqpError);
  // The connection and its other links go on.
  assertEquals(connection.open, true);
  await connection.close();
});

test("LNK-7: a message larger than the receiver takes is refused before it leaves", async () => {
  const { connection } = sending((request) => request.accept({ credit: 5, maxMessageSize: 100n }));
  const sender = connection.sender("small");
  const error = await assertRejects(() => sender.send({ body: new Uint8Array(200) }), AmqpError, "receiver takes 100");
  assertEquals(error.condition, condition.messageSizeExceeded);
  await connection.close();
});

test("what is in flight when the connection breaks is lost, what was still queued has not left", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 2, settle: "manual" }));
  const sender = connection.sender("orders");
  const inFlight = sender.send({ body: 1 });
  const alsoInFlight = sender.send({ body: 2 });
  const queued = sender.send({ body: 3 });
  const results = Promise.allSettled([inFlight, alsoInFlight, queued]);
  await sender.ready();
  await ends[0]!.receive();
  await ends[0]!.receive();
  connection.destroy(new Error("cable cut"));
  const reasons = (await results).map((result) => (result as PromiseRejectedResult).reason);
  assertInstanceOf(reasons[0], OutcomeError);
  // Only the program knows whether its own error allows another attempt.
  assertEquals([reasons[0].outcome, reasons[0].retryable], ["lost", false]);
  assertInstanceOf(reasons[1], OutcomeError);
  assertEquals(reasons[2].message, "cable cut");
  assertEquals(connection.error?.message, "cable cut");
  assertThrows(() => connection.sender("more"), AmqpError, "is closed");
  await connection.close();
});

test("closing a sender waits for what is in flight", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 5, settle: "manual" }));
  const sender = connection.sender("orders");
  const sent = sender.send({ body: 1 });
  await sender.ready();
  const delivery = await ends[0]!.receive();
  let closed = false;
  const closing = sender.close().then(() => closed = true);
  await assertRejects(() => sender.send({ body: 2 }), AmqpError, "is closed");
  assertEquals(closed, false);
  delivery.accept();
  assertEquals(await sent, { kind: "accepted" });
  await closing;
  assertEquals(sender.open, false);
  await connection.close();
});

test("closing a sender gives up on an outcome that does not come in time", async () => {
  const { connection } = sending((request) => request.accept({ credit: 5, settle: "manual" }));
  const sender = connection.sender("orders");
  const sent = sender.send({ body: 1 });
  await sender.ready();
  await sender.close({ timeoutMs: 20 });
  assertEquals((await assertRejects(() => sent, OutcomeError)).outcome, "lost");
  await connection.close();
});

test("MSG-4: bytes are sent unchanged, with their message format", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 1 }));
  const sender = connection.sender("raw");
  const sent = sender.send(Uint8Array.of(1, 2, 3), { messageFormat: 0x80013700 });
  await sender.ready();
  const delivery = await ends[0]!.receive();
  assertEquals([delivery.messageFormat, [...delivery.payload]], [0x80013700, [1, 2, 3]]);
  assertEquals(delivery.message.body, Uint8Array.of(1, 2, 3));
  delivery.accept();
  await sent;
  await connection.close();
});

test("a message that cannot be encoded rejects its send and nothing else", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 10 });
    void receiver.serve(() => {});
    return receiver;
  });
  const sender = connection.sender("orders");
  // deno-lint-ignore no-explicit-any
  await assertRejects(() => sender.send({ applicationProperties: { list: [] as any } }), TypeError);
  assertEquals(await sender.send({ body: "fine" }), { kind: "accepted" });
  await connection.close();
});

test("what is asked of a link that was refused is as final as the refusal", async () => {
  const server = acceptor({
    onReceiver: ({ address }) => {
      throw new AmqpError(address === "busy" ? condition.resourceLocked : condition.notFound, "no", { scope: "link" });
    },
  });
  const connection = linkUp(server);
  for (const [address, retryable] of [["nowhere", false], ["busy", true]] as const) {
    const sender = connection.sender(address);
    await sender.closed;
    assertEquals((await assertRejects(() => sender.send({ body: 1 }), AmqpError)).retryable, retryable);
  }
  await connection.close();
});

test("closing a sender waits without bound when so asked", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 5, settle: "manual" }));
  const sender = connection.sender("orders");
  const sent = sender.send({ body: 1 });
  await sender.ready();
  const delivery = await ends[0]!.receive();
  const closing = sender.close({ timeoutMs: Infinity });
  // A timer of no delay has fired by then.
  await new Promise((resolve) => setTimeout(resolve, 5));
  delivery.accept();
  assertEquals(await sent, { kind: "accepted" });
  await closing;
  await connection.close();
});

test("a failing send that nobody waits for does not end the process", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 1 });
    void receiver.serve((delivery) => delivery.reject());
    return receiver;
  });
  const sender = connection.sender("orders");
  void sender.send({ body: "rejected" });
  void sender.send({ applicationProperties: { key: Symbol() as unknown as string } });
  void sender.send({ body: "aborted" }, { signal: AbortSignal.abort(new Error("no")) });
  await assertRejects(() => sender.send({ body: "watched" }), OutcomeError);
  void sender.send({ body: "lost" });
  connection.destroy(new Error("cable cut"));
  void sender.send({ body: "late" });
  await connection.close();
  // The runner fails a test with an unhandled rejection; a turn lets it see one.
  await new Promise((resolve) => setTimeout(resolve));
});

test("ATK-36: aborting 40,000 queued sends by one signal looks at each once, and takes its listener away", async () => {
  const { connection } = sending((request) => request.accept({ credit: "manual" }));
  const sender = connection.sender("orders");
  await sender.ready();
  const controller = new AbortController();
  const { signal } = controller;
  let [added, removed] = [0, 0];
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
    added++;
    return addEventListener.apply(signal, given);
  };
  signal.removeEventListener = (...given: Parameters<typeof removeEventListener>) => {
    removed++;
    return removeEventListener.apply(signal, given);
  };
  const sends = Array.from({ length: 40_000 }, () => sender.send(new Uint8Array(1), { signal }));
  const results = Promise.allSettled(sends);
  assertEquals([added, sender.pending], [1, 40_000]);
  controller.abort(new Error("enough"));
  const errors = (await results).map((result) => (result as PromiseRejectedResult).reason as SendAbortedError);
  assertEquals(
    new Set(errors.map(({ sent, cause }) => `${sent} ${(cause as Error).message}`)),
    new Set(["false enough"]),
  );
  assertEquals([added, removed, sender.pending], [1, 1, 0]);
  await connection.close();
});

test("a signal that is not aborted is left alone once its messages have their outcomes", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 10 });
    void receiver.serve(() => {});
    return receiver;
  });
  const { signal } = new AbortController();
  let listening = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
    listening++;
    return addEventListener.apply(signal, given);
  };
  signal.removeEventListener = (...given: Parameters<typeof removeEventListener>) => {
    listening--;
    return removeEventListener.apply(signal, given);
  };
  const sender = connection.sender("orders");
  const sends = [1, 2, 3].map((n) => sender.send({ body: n }, { signal }));
  assertEquals(listening, 1);
  await Promise.all(sends);
  assertEquals(listening, 0);
  await connection.close();
});

test("an aborted send tells by its error whether the message had left, named as its reason", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 1 }));
  const sender = connection.sender("orders");
  const controller = new AbortController();
  const { signal } = controller;
  const [left, kept] = [sender.send({ body: 1 }, { signal }), sender.send({ body: 2 }, { signal })];
  const errors = Promise.allSettled([left, kept]);
  await sender.ready();
  await ends[0]!.receive();
  const reason = new DOMException("too slow", "TimeoutError");
  controller.abort(reason);
  for (const [i, result] of (await errors).entries()) {
    const error = (result as PromiseRejectedResult).reason;
    assertInstanceOf(error, SendAbortedError);
    assertEquals(
      [error.name, error.sent, error.retryable, error.cause],
      ["TimeoutError", i === 0, i !== 0, reason],
    );
  }
  await connection.close({ timeoutMs: 1 });
});

test("a message that a link does not take ends alone, and the next goes", async () => {
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 10, maxMessageSize: 100n });
    void receiver.serve(() => {});
    return receiver;
  });
  const sender = connection.sender("orders");
  const [large, small] = await Promise.allSettled([sender.send(new Uint8Array(101)), sender.send({ body: 1 })]);
  assertEquals((large as PromiseRejectedResult).reason.condition, condition.messageSizeExceeded);
  assertEquals(small.status, "fulfilled");
  await connection.close();
});

test("DSP-2: an outcome told in two steps is echoed by its kind alone", async () => {
  const seen: unknown[] = [];
  const { connection } = sending((request) => {
    const receiver = request.accept({ credit: 10, rcvSettleMode: "second" });
    void receiver.serve((delivery) => delivery.reject(new AmqpError("shop:sold-out", "x".repeat(150))));
    return receiver;
  }, {
    trace: ({ direction, body }) => {
      if (direction === "out" && body?.kind === "disposition") seen.push([body.settled, body.state]);
    },
  });
  const sender = connection.sender({ address: "orders", rcvSettleMode: "second" });
  await assertRejects(() => sender.send({ body: 1 }), OutcomeError, "xxx");
  await connection.close();
  assertEquals(seen, [[true, { kind: "rejected" }]]);
});

test("TRM-6: a sender names all outcomes, and the one for what is settled without", async () => {
  const { connection, ends } = sending((request) => request.accept({ credit: 1 }));
  await connection.sender("orders").ready();
  const source = ends[0]!.remote?.source;
  assertEquals(source?.outcomes?.length, 4);
  assertEquals(source?.defaultOutcome, { kind: "released" });
  await connection.close();
});

test("DSP-4: a message that is settled before its last frame is out leaves as it was, whatever is sent meanwhile", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow", "disposition"] });
  const bodies = ["a", "b"].map((letter) => letter.repeat(100_000));
  peer.expect("header", { id: 0 }).respond();
  peer.expect("open").respond({ maxFrameSize: 60_000 });
  peer.expect("begin").respond({ incomingWindow: 1 });
  peer.expect("attach").respond();
  peer.send("flow", { handle: 0, linkCredit: 10, deliveryCount: 0, incomingWindow: 1, nextIncomingId: 0 });
  const state = { kind: "accepted" } as const;
  peer.expect("transfer", { more: true }).send("disposition", {
    role: "receiver",
    first: 0,
    settled: true,
    state,
  });
  const connection = openOver(peer.channel, undefined);
  const sender = connection.sender("orders");
  assertEquals((await sender.send({ body: bodies[0]! }))?.kind, "accepted");
  // Encoded into the same memory, if that were free already.
  const second = sender.send({ body: bodies[1]! });
  peer.send("flow", { incomingWindow: 100, nextIncomingId: 1 });
  peer.expect("transfer");
  peer.expect("transfer", { more: true });
  peer.expect("transfer").send("disposition", { role: "receiver", first: 1, settled: true, state });
  assertEquals((await second)?.kind, "accepted");
  const payloads = peer.frames.filter(({ kind }) => kind === "transfer").map(({ payload }) => payload!);
  const texts = [concat(payloads.slice(0, 2)), concat(payloads.slice(2))].map((bytes) => decodeMessage(bytes).body);
  assertEquals(texts, bodies);
  peer.expect("detach").respond();
  peer.expectClosing();
  await connection.close();
  await peer.done();
});

test("MSG-12: the error of a modified message tells all that the receiver said of it", async () => {
  const server = acceptor({
    onReceiver: (request) => {
      const receiver = request.accept({ credit: 10, settle: "manual" });
      void receiver.receive().then((delivery) =>
        delivery.modify({ deliveryFailed: true, undeliverableHere: true, messageAnnotations: { "x-opt-why": "full" } })
      );
    },
  });
  const error = await assertRejects(() => linkUp(server).sender("orders").send({ body: 1 }), OutcomeError);
  assertEquals(
    [error.outcome, error.deliveryFailed, error.undeliverableHere, error.retryable],
    ["modified", true, true, false],
  );
  assertEquals({ ...error.messageAnnotations }, { "x-opt-why": "full" });
  // Other outcomes have no such fields.
  const released = new OutcomeError("released", condition.detachForced, "Cannot send: released");
  assertEquals([released.deliveryFailed, released.undeliverableHere, released.messageAnnotations], [
    false,
    false,
    undefined,
  ]);
  await server.close({ timeoutMs: 0 });
});

test("MSG-12: a receiver's own kind of outcome fails the one message as lost, and the connection goes on", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach").respond().send("flow", { handle: 0, linkCredit: 10, deliveryCount: 0 });
  // A settled disposition for delivery 0 whose state is described by a symbol of the peer's own.
  peer.expect("transfer").sendBytes("0000001d02000000 005315 c01005 41434041 00a3076d792d646f6e65 45");
  peer.expect("transfer").respond();
  peer.ignore("detach", "close");
  const connection = await connect(peer.channel, { reconnect: false });
  const error = await assertRejects(() => connection.send("q", { body: 1 }), OutcomeError);
  assertEquals([error.outcome, error.retryable, error.condition], ["lost", false, condition.notImplemented]);
  assertEquals(await connection.send("q", { body: 2 }), { kind: "accepted" });
  connection.destroy(new Error("over"));
});
