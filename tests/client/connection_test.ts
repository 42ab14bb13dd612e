import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { AmqpError, TransportError } from "../../src/base/errors.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import { connect } from "../../src/client/connect.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { ScriptedPeer } from "../../src/testing/peer.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { test } from "../harness.ts";
import { linkUp } from "./link_up.ts";
import { VirtualTime } from "./virtual.ts";

test("CON-2: an open that would not fit 512 bytes is refused here, unless asked for", async () => {
  const properties = { text: "x".repeat(600) };
  assertThrows(() => linkUp(acceptor(), { properties }), AmqpError, "larger than 512 bytes");
  const connection = linkUp(acceptor(), { properties, limits: { openFrameSize: 2_048 } });
  await connection.ready();
  await connection.close();
});

test("events tell opened and closed, also to who comes late", async () => {
  const server = acceptor({ containerId: "server" });
  const connection = linkUp(server);
  const told: ConnectionEvent[] = [];
  const listening = (async () => {
    for await (const event of connection.events()) told.push(event);
  })();
  await connection.ready();
  await connection.close();
  await listening;
  assertEquals(told.map((event) => event.kind), ["opened", "closed"]);
  assertEquals(told[0]!.kind === "opened" && told[0]!.remote.containerId, "server");
  const late: ConnectionEvent[] = [];
  for await (const event of connection.events()) late.push(event);
  assertEquals(late, [{ kind: "closed", error: undefined }]);
});

test("WSB-25: an error of AMQP leaves in a close, and the channel ends with 1000 after the answer, or without one in time", async () => {
  for (const side of ["client", "server"] as const) {
    for (const answers of [true, false]) {
      const time = new VirtualTime();
      const peer = new ScriptedPeer({ ignore: ["empty"] });
      if (side === "client") peer.expectOpening();
      else {
        peer.send("header", { id: 0 });
        peer.send("open", { containerId: "peer" });
        peer.expect("header", { id: 0 });
        peer.expect("open");
      }
      // A flow on a channel without a session.
      peer.send("flow", { incomingWindow: 1, nextOutgoingId: 0, outgoingWindow: 1 }, { channel: 3 });
      const closing = peer.expect("close", { error: { condition: "amqp:not-allowed" } });
      if (answers) closing.respond();
      peer.expectEnd(1000);
      const connection = side === "client"
        ? await connect(peer.channel, { environment: time, log: null })
        : acceptor({ environment: time, log: null }).accept(peer.channel)!;
      const ended = connection.closed.then(() => "ended");
      if (!answers) {
        // Long before the limit nothing has ended but the connection's use.
        await time.pass(1_000);
        assertEquals(peer.frames.at(-1)!.kind, "close");
        await time.pass(10_000);
      }
      await peer.done();
      assertEquals([await ended, (connection.error as AmqpError).condition], ["ended", "amqp:not-allowed"]);
    }
  }
});

test("WSB-27: a channel that breaks ends every pending call at once", async () => {
  const [client, far] = channelPair();
  const server = acceptor({
    onSender: (request) => void request.accept(),
    onReceiver: (request) => void request.accept({ credit: "manual" }),
  });
  server.accept(far);
  const { openOver } = await import("../../src/client/connect.ts");
  const connection = openOver(client, undefined);
  const sender = connection.sender("a");
  const receiver = connection.receiver("b");
  await Promise.all([sender.ready(), receiver.ready()]);
  const pending = [
    sender.send({ body: 1 }),
    sender.sendAll([{ body: 1 }]),
    receiver.receive(),
    receiver[Symbol.asyncIterator]().next(),
    receiver.serve(() => {}),
    receiver.readable.getReader().read(),
    connection.request("c", { body: 1 }),
    connection.session().ready(),
  ];
  far.close(1006);
  for (const result of await Promise.allSettled(pending)) {
    assertEquals(result.status, "rejected");
    assertInstanceOf((result as PromiseRejectedResult).reason, Error);
  }
  assertInstanceOf(connection.error, TransportError);
  assertEquals((connection.error as TransportError).code, "connection-lost");
  await connection.close();
  await Promise.all([sender.close(), receiver.close(), sender.closed, receiver.closed, connection.closed]);
});

test("SES-1: sessions of their own begin, carry links and end without touching the rest", async () => {
  const server = acceptor({ onReceiver: (request) => void request.accept().serve(() => {}) });
  const connection = linkUp(server);
  const first = connection.session({ incomingWindow: 2 });
  const second = connection.session();
  await Promise.all([first.ready(), second.ready()]);
  const a = first.sender("a");
  const b = second.sender("b");
  await Promise.all([a.send({ body: 1 }), b.send({ body: 1 })]);
  await first.close();
  assertEquals([a.open, b.open], [false, true]);
  await b.send({ body: 2 });
  assertThrows(() => first.sender("more"), AmqpError);
  await connection.close();
});

test("CON-4: no more sessions than the peer takes", async () => {
  const connection = linkUp(acceptor({ channelMax: 1 }));
  await connection.ready();
  const sessions = [connection.session(), connection.session()];
  await Promise.all(sessions.map((session) => session.ready()));
  assertThrows(() => connection.session(), AmqpError, "sessions are open");
  await connection.close();
});

/** An acceptor that answers requests to any address with `answer` of their bodies. */
function responder(answer: (body: unknown) => unknown) {
  const replies = new Map<
    string,
    ReturnType<Parameters<NonNullable<Parameters<typeof acceptor>[0]>["onSender"] & object>[0]["accept"]>
  >();
  return acceptor({
    onSender: (request) => {
      const address = `reply-${crypto.randomUUID()}`;
      replies.set(address, request.accept({ address }));
    },
    onReceiver: (request) =>
      void request.accept().serve(async (delivery) => {
        const { properties, body } = delivery.message;
        const correlationId = properties?.messageId;
        await replies.get(properties!.replyTo!)?.send({ properties: { correlationId }, body: answer(body) as string });
      }, { concurrency: 4 }),
  });
}

test("MGT-1: request waits for the answer that names it, several side by side", async () => {
  const connection = linkUp(responder((body) => `re: ${body}`));
  const answers = await Promise.all(["a", "b", "c"].map((body) => connection.request("echo", { body })));
  assertEquals(answers.map((answer) => answer.text()), ["re: a", "re: b", "re: c"]);
  assertEquals((await connection.request("other", { body: "d" })).text(), "re: d");
  await connection.close();
});

test("MGT-1: a request that gets no answer ends with its signal or with the connection", async () => {
  const server = acceptor({
    onSender: (request) => void request.accept({ address: "reply" }),
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  const connection = linkUp(server);
  const controller = new AbortController();
  const aborted = connection.request("void", { body: 1 }, { signal: controller.signal });
  const broken = connection.request("void", { body: 2 });
  await connection.ready();
  controller.abort(new Error("too slow"));
  await assertRejects(() => aborted, Error, "too slow");
  connection.destroy(new Error("cable cut"));
  await assertRejects(() => broken, Error);
  await assertRejects(() => connection.request("void", { body: 3 }), AmqpError, "is closed");
});

test("TRM-2: a dynamic node has the address that the peer made up", async () => {
  const server = acceptor({
    onSender: (request) => {
      assertEquals([request.dynamic, request.address], [true, undefined]);
      request.accept({ address: "made-up" });
    },
  });
  const connection = linkUp(server);
  const receiver = connection.receiver({ dynamic: true });
  await receiver.ready();
  assertEquals(receiver.address, "made-up");
  await connection.close();
});

test("closing hands back untaken messages, ends links, and can be repeated", async () => {
  const outcomes: string[] = [];
  const server = acceptor({
    onSender: (request) => {
      const sender = request.accept();
      for (let i = 0; i < 5; i++) {
        sender.send({ body: i }).then(() => outcomes.push("accepted"), (error) => outcomes.push(error.outcome));
      }
    },
  });
  const connection: Connection = linkUp(server);
  const receiver = connection.receiver("orders", { credit: 5 });
  (await receiver.receive()).accept();
  await Promise.all([connection.close(), connection.close()]);
  await connection.close();
  assertEquals(outcomes, ["accepted", "released", "released", "released", "released"]);
  assertEquals([connection.open, connection.error, receiver.open], [false, undefined, false]);
});

test("close is aborted by its signal, and goes on", async () => {
  const server = acceptor({ onReceiver: (request) => void request.accept({ credit: 5, settle: "manual" }) });
  const connection = linkUp(server);
  const sender = connection.sender("a");
  const sent = sender.send({ body: 1 });
  sent.catch(() => {});
  await sender.ready();
  const controller = new AbortController();
  const closing = connection.close({ signal: controller.signal, timeoutMs: 50 });
  controller.abort(new Error("no time"));
  await assertRejects(() => closing, Error, "no time");
  await connection.closed;
  await assertRejects(() => sent, AmqpError);
});

test("CON-10: a peer that closes instead of opening is quoted with its reason", async () => {
  const peer = new ScriptedPeer();
  peer.expect("header", { id: 3 }).respond().send("saslMechanisms", { saslServerMechanisms: ["ANONYMOUS"] });
  peer.expect("saslInit").respond();
  peer.expect("header", { id: 0 }).respond();
  const error = { condition: "amqp:not-found", description: "no such host" };
  peer.expect("open").send("close", { error });
  peer.expectClosing();
  const refused = await assertRejects(() => connect(peer.channel, { reconnect: false }), AmqpError, "no such host");
  assertEquals([refused.condition, refused.remote], ["amqp:not-found", true]);
  await peer.done();
});

test("LNK-4: a peer that detaches instead of attaching refuses that link with its reason, and the others go on", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow"] });
  peer.expectOpening();
  peer.expect("begin").respond();
  peer.expect("attach").respond().send("flow", { handle: 0, linkCredit: 10, deliveryCount: 0 });
  peer.expect("attach", { handle: 1 })
    .send("detach", { handle: 1, closed: true, error: { condition: "amqp:not-found", description: "no queue" } });
  peer.expect("detach", { handle: 1 });
  peer.expect("transfer", { handle: 0 }).respond();
  peer.expect("detach", { handle: 0 }).respond();
  peer.expectClosing();
  const connection = await connect(peer.channel, { reconnect: false, log: null });
  const sender = connection.sender("good");
  await sender.ready();
  const refused = await assertRejects(() => connection.receiver("bad").receive(), AmqpError, "no queue");
  assertEquals([refused.condition, refused.scope], ["amqp:not-found", "link"]);
  assertEquals(await sender.send({ body: 1 }), { kind: "accepted" });
  await sender.close();
  await connection.close();
  await peer.done();
});

test("SASL-2: a peer without SASL, and one that asks for it, are answered with the option to give", async () => {
  const without = new ScriptedPeer();
  without.expect("header", { id: 3 }).send("header", { id: 0 });
  await assertRejects(
    () => connect(without.channel, { reconnect: false }),
    AmqpError,
    "AMQP 0 1 0 0, give auth: null",
  );
  const asking = new ScriptedPeer({ ignore: ["open", "close"] });
  asking.expect("header", { id: 0 }).send("header", { id: 3 });
  const anonymously = { reconnect: false, auth: null } as const;
  await assertRejects(() => connect(asking.channel, anonymously), AmqpError, "AMQP 3 1 0 0, give auth");
});

test("ERR-1: a close tells the error that it is given, as an AmqpError or as its fields, of any copy of the package", async () => {
  const peer = new ScriptedPeer({ ignore: ["empty", "flow"] });
  const told = (condition: string) => ({ error: { condition, description: "over" } });
  peer.expectOpening();
  peer.expect("begin").respond();
  for (const condition of ["shop:one", "shop:two"]) {
    peer.expect("attach").respond();
    peer.expect("detach", told(condition)).respond();
  }
  peer.expect("end", told("shop:three")).respond();
  peer.expect("close", told("shop:four")).respond();
  const connection = await connect(peer.channel);
  const session = connection.session();
  const fields = (condition: string) => ({ condition, description: "over" });
  await session.sender("a").close({ error: fields("shop:one") });
  // As an instance of another copy's class.
  const { condition, description: message } = fields("shop:two");
  await session.receiver("b").close({ error: { condition, message } as unknown as AmqpError });
  await session.close({ error: new AmqpError("shop:three", "over") });
  await connection.close({ error: fields("shop:four") });
  await peer.done();
});
