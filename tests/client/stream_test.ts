import { assert, assertEquals, assertRejects } from "@std/assert";
import { concat } from "@std/bytes";
import { AmqpError, condition, OutcomeError } from "../../src/base/errors.ts";
import { connect } from "../../src/client/connect.ts";
import { SendAbortedError } from "../../src/client/outcome.ts";
import type { Attach } from "../../src/codec/types.ts";
import { DataBody } from "../../src/codec/body.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { acceptor, type ReceiverRequest } from "../../src/server/acceptor.ts";
import { ScriptedPeer } from "../../src/testing/mod.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { turn } from "./virtual.ts";
import { linkUp, type LinkUpOptions } from "./link_up.ts";

function taking(take: (request: ReceiverRequest) => Receiver, options: LinkUpOptions = {}) {
  const server = acceptor({ onReceiver: (request) => void take(request) });
  return linkUp(server, options);
}

test("a message that is streamed arrives whole, its sections around the pieces of its body", async () => {
  const got: unknown[] = [];
  const connection = taking((request) => {
    const receiver = request.accept({ credit: 10 });
    void receiver.serve(({ message }) => void got.push([message.properties?.subject, message.bytes(), message.footer]));
    return receiver;
  });
  const sender = connection.sender("files");
  async function* pieces() {
    for (let i = 0; i < 5; i++) {
      await Promise.resolve();
      yield new Uint8Array(100_000).fill(i);
    }
  }
  const message = { properties: { subject: "backup" }, footer: { "x-opt-sum": "none" }, body: pieces() };
  const [outcome] = await Promise.all([sender.stream(message), sender.send({ body: new Uint8Array(3) })]);
  assertEquals(outcome, { kind: "accepted" });
  const whole = new Uint8Array(500_000);
  for (let i = 0; i < 5; i++) whole.fill(i, i * 100_000, (i + 1) * 100_000);
  const [streamed] = (got as [string, Uint8Array, object][]).filter(([subject]) => subject === "backup");
  assert(streamed !== undefined);
  assertEquals([streamed[0], streamed[1].length, streamed[2]], ["backup", 500_000, { "x-opt-sum": "none" }]);
  assertEquals(streamed[1], whole);
  const readable = new Blob([new Uint8Array(70_000)]).stream();
  assertEquals(await sender.stream({ body: readable }), { kind: "accepted" });
  await connection.close();
});

test("every transfer of a stream brings something, the last one too, which RabbitMQ 3 does not take otherwise", async () => {
  const payloads: [more: boolean, bytes: number][] = [];
  const sections: unknown[] = [];
  const connection = taking((request) => {
    const receiver = request.accept({ credit: 10 });
    void receiver.serve(({ message: { body } }) => {
      sections.push(body instanceof DataBody ? body.chunks.map(({ length }) => length) : body);
    });
    return receiver;
  }, {
    trace: ({ direction, body, payloadBytes }) => {
      if (direction === "out" && body?.kind === "transfer") payloads.push([body.more === true, payloadBytes]);
    },
  });
  const sender = connection.sender("files");
  async function* pieces() {
    for (let i = 0; i < 3; i++) {
      yield new Uint8Array(1_000);
      // The last chunk leaves before the source reports its end.
      const left = payloads.length;
      while (payloads.length === left) await new Promise((resolve) => setTimeout(resolve));
    }
  }
  assertEquals(await sender.stream({ body: pieces() }), { kind: "accepted" });
  assertEquals(payloads.map(([more]) => more), [true, true, true, false]);
  assert(payloads.every(([, bytes]) => bytes > 0), JSON.stringify(payloads));
  // Proton takes the last section for the whole body.
  assertEquals(sections, [[1_000, 1_000, 1_000]]);
  // Every message has a body, also where its head has not left yet.
  assertEquals(await sender.stream({ body: new Blob([]).stream() }), { kind: "accepted" });
  assertEquals(sections.slice(1), [new Uint8Array(0)]);
  await connection.close();
});

test("an aborted stream gives up its body, and tells that a part has left", async () => {
  const connection = taking((request) => request.accept({ credit: 10 }), { maxFrameSize: 8_192 });
  const sender = connection.sender("files");
  let [read, returned] = [0, false];
  async function* endless() {
    try {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve));
        yield new Uint8Array(32_768).fill(read++ & 255);
      }
    } finally {
      returned = true;
    }
  }
  const controller = new AbortController();
  const streaming = sender.stream({ body: endless() }, { signal: controller.signal });
  const ended = assertRejects(() => streaming, SendAbortedError, "after the message left");
  await sender.ready();
  while (read < 20) await new Promise((resolve) => setTimeout(resolve, 1));
  controller.abort(new Error("enough"));
  await ended;
  while (!returned) await new Promise((resolve) => setTimeout(resolve));
  await connection.close({ timeoutMs: 10 });
});

test("a body is read a few frames ahead of what the link takes, and no further", async () => {
  const connection = taking((request) => request.accept({ credit: "manual" }));
  const sender = connection.sender("files");
  let read = 0;
  async function* endless() {
    for (;;) {
      await Promise.resolve();
      yield new Uint8Array(32_768).fill(read++ & 255);
    }
  }
  const controller = new AbortController();
  const streaming = sender.stream({ body: endless() }, { signal: controller.signal });
  const ended = assertRejects(() => streaming, SendAbortedError, "before the message left");
  await sender.ready();
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setTimeout(resolve));
  assertEquals(read, 4);
  controller.abort(new Error("enough"));
  await ended;
  await connection.close({ timeoutMs: 10 });
});

test("a stream that fails, is too large or loses its link is one error, and the receiver drops its part", async () => {
  const arrived: number[] = [];
  const connection = taking((request) => {
    const receiver = request.accept({ credit: 10, maxMessageSize: 200_000n });
    void receiver.serve(({ payload }) => void arrived.push(payload.length));
    return receiver;
  });
  const sender = connection.sender("files");
  async function* failing() {
    yield new Uint8Array(100_000);
    throw new Error("disk gone");
  }
  await assertRejects(() => sender.stream({ body: failing() }), Error, "disk gone");
  const large = new Blob([new Uint8Array(300_000)]).stream();
  const error = await assertRejects(() => sender.stream({ body: large }), AmqpError);
  assertEquals(error.condition, condition.messageSizeExceeded);
  assertEquals(await sender.send({ body: "the next" }), { kind: "accepted" });
  assertEquals(arrived.length, 1);
  const asked = Promise.withResolvers<void>();
  async function* stuck() {
    yield new Uint8Array(100_000);
    asked.resolve();
    await new Promise(() => {});
  }
  const lost = assertRejects(() => sender.stream({ body: stuck() }), OutcomeError, "cable cut");
  await asked.promise;
  // The chunks available now leave.
  await turn();
  connection.destroy(new Error("cable cut"));
  await lost;
});

test("a stream that was accepted while its body goes on ends with its signal", async () => {
  const accepted = Promise.withResolvers<void>();
  const connection = taking((request) => {
    const receiver = request.accept({ credit: 10, stream: true, settle: "manual" });
    // The sender's own link gets nothing.
    receiver.receive().then((delivery) => {
      delivery.accept();
      accepted.resolve();
    }, () => {});
    return receiver;
  });
  async function* stuck() {
    yield new Uint8Array(100_000);
    await new Promise(() => {});
  }
  const controller = new AbortController();
  const sending = connection.sender("files").stream({ body: stuck() }, { signal: controller.signal });
  await accepted.promise;
  // The outcome arrives, and the call waits for the body.
  await turn();
  controller.abort(new Error("enough"));
  await assertRejects(() => sending, Error, "aborted after the message left, enough");
  await connection.close();
});

test("a stream that was accepted early ends with its body's error or at the size limit, and the receiver hears of it", async () => {
  for (const fails of [true, false]) {
    let closed = 0;
    const accepted = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    const connection = taking((request) => {
      const receiver = request.accept({ credit: 10, stream: true, settle: "manual", maxMessageSize: 200_000n });
      receiver.receive().then((delivery) => {
        const reading = new Response(delivery.stream()).bytes();
        delivery.accept();
        reading.catch(() => aborted.resolve());
      }, () => {});
      void receiver.closed.then(() => closed++);
      return receiver;
    }, {
      trace: ({ direction, body }) => {
        if (direction === "in" && body?.kind === "disposition") accepted.resolve();
      },
    });
    const pieces = async function* () {
      yield new Uint8Array(100_000);
      await accepted.promise;
      // Handled, and not only received.
      await new Promise((resolve) => setTimeout(resolve));
      if (fails) throw new Error("disk gone");
      yield new Uint8Array(200_000);
    };
    const streaming = connection.sender("files").stream({ body: pieces() });
    await assertRejects(() => streaming, Error, fails ? "disk gone" : "receiver takes 200000 bytes");
    await aborted.promise;
    while (closed === 0) await new Promise((resolve) => setTimeout(resolve));
    assertEquals(closed, 1);
    await connection.close();
  }
});

test("a stream's own link is attached with the settings of its sender, but for the name", async () => {
  const attaches: Attach[] = [];
  const connection = taking((request) => {
    attaches.push(request.attach);
    const receiver = request.accept({ credit: 10, rcvSettleMode: request.attach.rcvSettleMode });
    void receiver.serve(() => {});
    return receiver;
  });
  const sender = connection.sender({
    address: "files",
    name: "backup",
    rcvSettleMode: "second",
    desiredCapabilities: ["queue"],
    properties: { tenant: "shop-1" },
    source: { address: "here" },
    target: { capabilities: ["queue"], durable: "unsettled-state" },
  });
  await sender.ready();
  assertEquals(await sender.stream({ body: new Blob(["x"]).stream() }), { kind: "accepted" });
  const [shared, own] = attaches.map(({ name: _, handle: __, ...settings }) => settings);
  assertEquals(own, shared);
  assertEquals([attaches.length, attaches[1]!.name === "backup"], [2, false]);
  await connection.close();
});

test("a stream of what is no body, or is read by another, leaves no link and no session behind", async () => {
  const connection = taking((request) => request.accept({ credit: 10 }));
  const sender = connection.sender("files");
  const locked = new Blob(["x"]).stream();
  locked.getReader();
  for (const body of ["text", undefined, locked] as ReadableStream<Uint8Array<ArrayBuffer>>[]) {
    await assertRejects(() => sender.stream({ body }), TypeError);
  }
  await turn();
  const { sessions, links } = connection.facts();
  assertEquals([sessions, links], [1, 1]);
  await connection.close();
});

test("a stream whose link ends before the first of it is queued fails, and does not wait for ever", async () => {
  const connection = taking((request) => request.accept({ credit: 10 }));
  const sender = connection.sender("files");
  await sender.ready();
  let told: unknown;
  sender.stream({ body: new Blob(["x"]).stream() }).catch((error) => told = error);
  connection.destroy(new Error("enough"));
  await turn();
  assert(told instanceof AmqpError, `${told}`);
  assert(told.message.endsWith("is closed, enough"), told.message);
});

test("a stream whose link is attached and ends in one turn fails, and does not wait for ever", async () => {
  // All that the peer writes in a turn arrives together.
  const [near, far] = channelPair({ rechunk: (pieces) => [concat([...pieces])] });
  const peer = new ScriptedPeer({ over: far, ignore: ["flow"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach").respond();
  peer.expect("begin").respond();
  peer.expect("attach").respond().send("close", { error: { condition: condition.connectionForced } });
  peer.expect("close");
  const connection = await connect(near);
  const sender = connection.sender("files");
  await sender.ready();
  let told: unknown;
  sender.stream({ body: new Blob(["x"]).stream() }).catch((error) => told = error);
  await turn();
  assert(told instanceof AmqpError && told.condition === condition.connectionForced, `${told}`);
  await peer.done();
});
