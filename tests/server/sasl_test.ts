import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AmqpError, condition, TransportError } from "../../src/base/errors.ts";
import { anonymous, external, plain, SaslClient } from "../../src/sasl/client.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { test } from "../harness.ts";
import { linkUp } from "../client/link_up.ts";
import { print } from "../../src/codec/composite.ts";
import type { FrameTrace } from "../../src/engine/events.ts";

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
