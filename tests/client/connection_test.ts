import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import { print } from "../../src/codec/composite.ts";
import type { FrameTrace } from "../../src/engine/events.ts";
import { SaslClient } from "../../src/sasl/client.ts";
import { anonymous, external, plain } from "../../src/sasl/mechanisms.ts";
import type { Connection, ConnectionEvent } from "../../src/client/connection.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { ScriptedPeer } from "../../src/testing/mod.ts";
import { test } from "../harness.ts";
import { record } from "../transport/channel_log.ts";
import { linkUp } from "./link_up.ts";

/** An acceptor with one user, and the identities that got in. */
function guarded() {
  const identities: (string | undefined)[] = [];
  const server = acceptor({
    sasl: { users: { alice: "wonderland", "ünï": "pässwörd" } },
    onConnection: (connection) => void identities.push(connection.identity),
    onReceiver: (request) => void request.accept().serve(() => {}),
  });
  return { server, identities };
}

test("SASL-2: a client without credentials is let in anonymously, with and without the SASL layer", async () => {
  for (const auth of [undefined, null]) {
    const server = acceptor();
    const connection = linkUp(server, { auth, containerId: "me" });
    await connection.ready();
    assertEquals([...server.connections].map((one) => [one.remote?.containerId, one.identity]), [["me", undefined]]);
    await connection.close();
    assertEquals(server.connections.size, 0);
  }
});

test("PLAIN: the right password gives an identity, also beyond ASCII", async () => {
  const { server, identities } = guarded();
  for (const [user, password] of [["alice", "wonderland"], ["ünï", "pässwörd"]] as const) {
    const connection = linkUp(server, { auth: plain(user, password) });
    await connection.ready();
    await connection.close();
  }
  assertEquals(identities, ["alice", "ünï"]);
});

test("SASL-9: a wrong password and an unknown user get the same answer, and no secret is in it", async () => {
  const { server } = guarded();
  const messages: string[] = [];
  for (const auth of [plain("alice", "s3cret"), plain("bob", "s3cret"), plain("constructor", "s3cret")]) {
    const connection = linkUp(server, { auth });
    const error = await assertRejects(() => connection.ready(), AmqpError);
    assertEquals([error.condition, error.retryable], [condition.unauthorizedAccess, false]);
    messages.push(error.message);
    await connection.close();
  }
  assertEquals(new Set(messages).size, 1);
  assertEquals(messages[0]!.includes("s3cret"), false);
});

test("SASL-4: a mechanism that the server does not offer is an error that names what it offers", async () => {
  const { server } = guarded();
  const connection = linkUp(server, { auth: external() });
  const error = await assertRejects(
    () => connection.ready(),
    AmqpError,
    'server offers "SCRAM-SHA-512, SCRAM-SHA-256, PLAIN"',
  );
  assertEquals(error.condition, condition.unauthorizedAccess);
  await connection.close();
});

test("SASL-1: a server that requires SASL refuses a client without it", async () => {
  const { server } = guarded();
  const connection = linkUp(server, { auth: null });
  const error = await assertRejects(() => connection.ready(), AmqpError, "header");
  assertEquals(error.condition, condition.framingError);
  await connection.close();
});

test("ATK-13: a SASL frame is no larger than the server says", async () => {
  const server = acceptor({ saslFrameSize: 512, sasl: { users: () => true } });
  const fits = linkUp(server, { auth: plain("alice", "x".repeat(400)) });
  await fits.ready();
  await fits.close();
  const large = linkUp(server, { auth: plain("alice", "x".repeat(500)) });
  await assertRejects(() => large.ready());
  await large.close();
});

test("ATK-13: a client sends no more ahead of the outcome of SASL than the server says", async () => {
  for (const [maxPipelinedBytes, containerId, fits] of [[512, "a", true], [512, "a".repeat(600), false]] as const) {
    const server = acceptor({ maxPipelinedBytes });
    const auth = new SaslClient(anonymous(), { hostname: undefined, secure: true });
    const saslInit = await auth.begin();
    const connection = linkUp(server, { auth, saslInit, containerId, limits: { openFrameSize: 2_048 } });
    if (fits) await connection.ready();
    else await assertRejects(() => connection.ready(), TransportError, "connection ended");
    await connection.close();
    assertEquals(server.connections.size, 0);
  }
});

test("EXTERNAL: the layer below gives the identity, or refuses", async () => {
  const identities: (string | undefined)[] = [];
  const server = acceptor({
    sasl: { external: (wanted) => Promise.resolve(wanted === "device-7" ? "CN=device-7" : undefined) },
    onConnection: (connection) => void identities.push(connection.identity),
  });
  const good = linkUp(server, { auth: external("device-7") });
  await good.ready();
  await good.close();
  const bad = linkUp(server, { auth: external("device-8") });
  await assertRejects(() => bad.ready(), AmqpError);
  await bad.close();
  assertEquals(identities, ["CN=device-7"]);
});

test("SASL-5: a failure while credentials are looked at is temporary, and tells nothing", async () => {
  const server = acceptor({ sasl: { users: () => Promise.reject(new Error("database is down")) } });
  const connection = linkUp(server, { auth: plain("alice", "x") });
  const error = await assertRejects(() => connection.ready(), AmqpError);
  assertEquals([error.retryable, error.message.includes("database")], [true, false]);
  await connection.close();
});

test("ATK-14: the trace of a whole conversation holds no secret", async () => {
  const lines: string[] = [];
  const trace = ({ direction, channel, body, payloadBytes }: FrameTrace) =>
    lines.push(`${direction} ${channel} ${body === undefined ? "empty" : print(body)} ${payloadBytes}`);
  const { server } = guarded();
  const connection = linkUp(server, { auth: plain("alice", "wonderland"), trace });
  await connection.sender("orders").send({ body: "hello" });
  await connection.close();
  const text = lines.join("\n");
  assertEquals(/wonderland|776f6e6465726c616e64/i.test(text), false);
  for (const kind of ["saslMechanisms", "saslInit", "saslOutcome", "open", "begin", "attach", "transfer", "close"]) {
    assertStringIncludes(text, kind);
  }
});

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

test("WSB-30: an acceptor that closes tells its clients that it goes away", async () => {
  const server = acceptor();
  const connections = [linkUp(server), linkUp(server)];
  await Promise.all(connections.map((connection) => connection.ready()));
  // This server leaves it to the client to end the transport.
  const slow = new ScriptedPeer();
  server.accept(slow.channel);
  slow.send("header", { id: 0 });
  slow.send("open");
  slow.expect("header");
  slow.expect("open");
  await slow.done();
  slow.expectClosing();
  slow.expectEnd(1001);
  await server.close();
  await slow.done();
  for (const connection of connections) {
    await connection.closed;
    assertEquals((connection.error as AmqpError).condition, condition.connectionForced);
    assertEquals((connection.error as AmqpError).retryable, true);
  }
  const late = linkUp(server);
  const error = await assertRejects(() => late.ready(), TransportError);
  assertEquals(error.closeCode, 1001);
  await late.close();
});

test("ATK-8: connections above the limit are closed before anything is made for them, and make room when they end", async () => {
  const server = acceptor({ maxConnections: 2 });
  const connections = [linkUp(server), linkUp(server)];
  const [near, far] = channelPair();
  assertEquals(server.accept(far), undefined);
  const log = record(near);
  const { code, reason } = await log.closed;
  assertEquals([code, reason, log.received], [1013, "Too many connections", 0]);
  const error = await assertRejects(() => linkUp(server).ready(), TransportError);
  assertEquals(error.closeCode, 1013);
  assertEquals(server.connections.size, 2);
  await connections[0]!.close();
  connections.push(linkUp(server));
  await Promise.all(connections.slice(1).map((connection) => connection.ready()));
  await server.close();
  assertEquals(server.connections.size, 0);
});

test("ATK-8: an acceptor takes ten thousand connections unless told otherwise", async () => {
  const server = acceptor();
  // Only what an acceptor needs of a channel before its client has sent anything.
  const mute = (): Channel => ({
    bufferedAmount: 0,
    onbytes: undefined,
    onclose: undefined,
    send: () => {},
    ready: () => Promise.resolve(),
    close(code = 1000): void {
      this.onclose?.({ code, reason: "" });
    },
  });
  for (let i = 0; i < 10_000; i++) server.accept(mute());
  assertEquals([server.connections.size, server.accept(mute())], [10_000, undefined]);
  await server.close({ timeoutMs: 0 });
  assertEquals(server.connections.size, 0);
});

test("onConnection refuses by throwing, with its error or without telling it", async () => {
  for (
    const [thrown, symbol] of [
      [new AmqpError(condition.notAllowed, "wrong virtual host"), condition.notAllowed],
      [new Error("secret of the house"), condition.internalError],
    ] as const
  ) {
    const server = acceptor({
      onConnection: () => {
        throw thrown;
      },
    });
    const connection = linkUp(server, { hostname: "elsewhere" });
    await connection.closed;
    assertEquals((connection.error as AmqpError).condition, symbol);
    assertEquals(connection.error!.message.includes("secret"), false);
  }
});

test("ATK-32: a link hook that fails refuses the link, and the connection lives on", async () => {
  const server = acceptor({
    onReceiver: () => Promise.reject(new Error("secret of the house")),
    onSender: async (request) => {
      request.accept();
      await Promise.reject(new AmqpError(condition.resourceLocked, "somebody else has it"));
    },
  });
  const connection = linkUp(server);
  const sender = connection.sender("a");
  const refused = await assertRejects(() => sender.ready(), AmqpError);
  assertEquals([refused.condition, refused.message.includes("secret")], [condition.internalError, false]);
  const receiver = connection.receiver("b");
  await receiver.closed;
  assertEquals((receiver.error as AmqpError).condition, condition.resourceLocked);
  assertEquals(connection.open, true);
  await connection.close();
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

test("ATK-8: no more links than the accepting side takes, on whatever session", async () => {
  const server = acceptor({ maxLinks: 2, onReceiver: (request) => void request.accept().serve(() => {}) });
  const connection = linkUp(server);
  const first = connection.sender("a");
  await first.send({ body: 1 });
  await connection.session().sender("b").send({ body: 2 });
  const error = await assertRejects(() => connection.sender("c").send({ body: 3 }), AmqpError);
  assertEquals([error.condition, error.remote, error.retryable], [condition.resourceLimitExceeded, true, true]);
  await first.close();
  await connection.sender("c").send({ body: 3 });
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
