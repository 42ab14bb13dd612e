import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Connection } from "rhea";
import { AmqpError, anonymous, connect, plain, TransportError } from "../../mod.ts";
import type { Connection as OurConnection } from "../../src/client/connection.ts";
import type { SaslServerOptions } from "../../src/server/sasl.ts";
import { test } from "../harness.ts";
import { acceptorServer, once, rheaClient, rheaDial, type RheaOptions, rheaServer } from "./rhea.ts";

const users = (username: string, password: string) => username === "user" && password === "pässword 密码";

test("SASL-2: rhea server, PLAIN: the right password opens the connection under the user's name", async () => {
  await using server = await rheaServer({}, users);
  const opened = once(server.container, "connection_open");
  await using connection = await connect(server.url, {
    auth: plain("user", "pässword 密码"),
    hostname: "host.example",
  });
  const accepted = (await opened).connection;
  assertEquals(accepted.sasl_transport.username, "user");
  assertEquals(accepted.hostname, "host.example");
  assertEquals(accepted.remote.open.container_id, connection.containerId);
  assertEquals(connection.remote?.containerId, accepted.container.id);
});

test("SASL-5: rhea server, PLAIN: a wrong password is an AmqpError, and the connection never opens", async () => {
  await using server = await rheaServer({}, users);
  let opened = 0;
  server.container.on("connection_open", () => opened++);
  const error = await assertRejects(() => connect(server.url, { auth: plain("user", "wrong") }), AmqpError);
  assertEquals([error.condition, error.remote, error.retryable], ["amqp:unauthorized-access", true, false]);
  assert(!error.message.includes("wrong"), error.message);
  assertEquals(opened, 0);
});

test("SASL-5: rhea server, PLAIN: a check that breaks down is told from a wrong password", async () => {
  await using server = await rheaServer({}, () => Promise.reject(new Error("directory is down")));
  const error = await assertRejects(() => connect(server.url, { auth: plain("user", "x") }), AmqpError);
  assertEquals([error.remote, error.condition], [true, "amqp:internal-error"]);
});

test("SASL-2: rhea server, PLAIN: user info of the URL, or a callback that takes its time, authenticates as well", async () => {
  await using server = await rheaServer({}, users);
  const url = new URL(server.url);
  url.username = "user";
  url.password = encodeURIComponent("pässword 密码");
  await (await connect(url)).close();
  const auth = async () => {
    await Promise.resolve();
    return plain("user", "pässword 密码");
  };
  await (await connect(server.url, { auth })).close();
});

test("SASL-3, SASL-4: rhea server, ANONYMOUS: opens the connection where it is offered, and is not tried where it is not", async () => {
  await using open = await rheaServer();
  await (await connect(open.url)).close();
  await (await connect(open.url, { auth: anonymous("somebody") })).close();
  await using closed = await rheaServer({}, users);
  const error = await assertRejects(() => connect(closed.url), AmqpError, "PLAIN");
  assertEquals(error.condition, "amqp:unauthorized-access");
});

test("WSB-18: rhea server, no SASL: opens the connection where SASL may be left out, and fails where it may not", async () => {
  await using open = await rheaServer();
  await (await connect(open.url, { auth: null })).close();
  await using closed = await rheaServer({}, users);
  // rhea drops the socket without an answer.
  const error = await assertRejects(() => connect(closed.url, { auth: null }), TransportError);
  assertEquals(error.code, "connection-lost");
});

interface Admitted {
  identity: string | undefined;
  containerId: string | undefined;
}

/** Connects rhea to an acceptor, and returns what the acceptor knows of it. */
async function admitted(sasl: SaslServerOptions | undefined, options: RheaOptions): Promise<Admitted> {
  let told: (connection: OurConnection) => void = () => {};
  const connected = new Promise<OurConnection>((resolve) => told = resolve);
  await using server = await acceptorServer({ sasl, onConnection: (connection) => told(connection) });
  await using client = await rheaClient(server.url, { username: undefined, container_id: "tester", ...options });
  assert(client.connection.is_open());
  const { identity, remote } = await connected;
  return { identity, containerId: remote?.containerId };
}

/** Connects rhea to an acceptor that refuses it, and returns rhea's reasons. */
async function refused(sasl: SaslServerOptions | undefined, options: RheaOptions): Promise<string[]> {
  await using server = await acceptorServer({ sasl, onConnection: () => void heard.push("opened") });
  const heard: string[] = [];
  const client = rheaDial(server.url, options);
  client.connection.on("connection_open", () => heard.push("open"));
  client.connection.on("connection_error", ({ connection }: { connection: Connection }) => {
    heard.push(String((connection.get_error() as { condition?: string } | undefined)?.condition));
  });
  client.connection.on("protocol_error", (error: Error) => heard.push(error.message));
  await once(client.connection, "disconnected");
  await client[Symbol.asyncDispose]();
  return heard;
}

const ours = { users: { user: "secret" } };

test("SASL-2: rhea client, PLAIN: the right password gives the connection its identity", async () => {
  assertEquals(await admitted(ours, { username: "user", password: "secret" }), {
    identity: "user",
    containerId: "tester",
  });
  const slow = (username: string, password: string) => Promise.resolve(username + password === "usersecret");
  assertEquals((await admitted({ users: slow }, { username: "user", password: "secret" })).identity, "user");
});

test("SASL-5, SASL-9: rhea client, PLAIN: a wrong password, an unknown user and a check that breaks down open nothing", async () => {
  const unauthorized = ["amqp:unauthorized-access"];
  assertEquals(await refused(ours, { username: "user", password: "wrong" }), unauthorized);
  assertEquals(await refused(ours, { username: "nobody", password: "secret" }), unauthorized);
  const broken = () => Promise.reject(new Error("directory is down"));
  assertEquals(await refused({ users: broken }, { username: "user", password: "secret" }), ["amqp:internal-error"]);
});

test("SASL-3, SASL-6: rhea client, ANONYMOUS: is nobody where it may, and is kept out where it may not", async () => {
  assertEquals((await admitted(undefined, { username: "anonymous" })).identity, undefined);
  assertEquals((await admitted({ ...ours, anonymous: true }, { username: "anonymous" })).identity, undefined);
  assertEquals(await refused(ours, { username: "anonymous" }), ["amqp:unauthorized-access"]);
});

test("SASL-7: rhea client, EXTERNAL: is who the layer below says it is", async () => {
  const { default: rhea } = await import("rhea");
  const sasl_mechanisms = rhea.sasl.client_mechanisms();
  sasl_mechanisms.enable_external();
  const sasl = { external: (authorizationId: string) => `certificate${authorizationId}` };
  assertEquals((await admitted(sasl, { sasl_mechanisms })).identity, "certificate");
});

test("WSB-18, FRM-3: rhea client, no SASL: is let in where it may be left out, elsewhere shown the header that would do", async () => {
  assertEquals((await admitted(undefined, {})).identity, undefined);
  assertEquals(await refused(ours, {}), ["SASL layer not enabled"]);
});
