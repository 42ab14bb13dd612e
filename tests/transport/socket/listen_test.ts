import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect as connectTls } from "node:tls";
import { AmqpError, connect, external, plain, TransportError } from "../../../mod.ts";
import { isDeno } from "../../../src/base/environment.ts";
import type { LogEntry } from "../../../src/base/log.ts";
import { acceptor } from "../../../src/server/acceptor.ts";
import type { Channel } from "../../../src/transport/channel.ts";
import { upgradeListener, type UpgradeListenerOptions } from "../../../src/transport/socket/http_server.ts";
import { listen, type Listener, type ListenInfo, type ListenOptions } from "../../../src/transport/socket/listen.ts";
import { dialSocket } from "../../../src/transport/socket/dial.ts";
import { test } from "../../harness.ts";
import { ca, keyPair } from "../../pki.ts";
import { BareClient } from "../bare.ts";
import { type ChannelLog, record } from "../channel_log.ts";
import { latin1, text } from "../wire.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const SASL = "AMQP\x03\x01\x00\x00";

/** Listens, and keeps the accepted channels. */
async function start(
  options: Partial<ListenOptions> = {},
): Promise<Listener & { accepted: Array<{ channel: Channel; info: ListenInfo }> }> {
  const accepted: Array<{ channel: Channel; info: ListenInfo }> = [];
  const listener = await listen({
    port: 0,
    host: "127.0.0.1",
    accept: (channel, info) => {
      accepted.push({ channel, info });
      channel.onbytes = (bytes) => channel.send(bytes);
    },
    ...options,
  });
  return Object.assign(listener, { accepted });
}

/** Waits until only `count` connections are left. */
async function isLeft(listener: Listener, count: number): Promise<void> {
  while (listener.counters.connections > count) await new Promise((resolve) => setTimeout(resolve, 1));
}

function upgrade(path: string, fields: Record<string, string> = {}): Uint8Array<ArrayBuffer> {
  const all: Record<string, string> = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "amqp",
    ...fields,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== "").map(([name, value]) => `${name}: ${value}\r\n`);
  return latin1(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
}

/** Sends bytes and returns all bytes received until the server ends. */
async function ask(port: number, request: Uint8Array | string): Promise<string> {
  await using client = await BareClient.connect(port);
  client.socket.write(request as Uint8Array);
  await client.ended;
  return client.heard;
}

test("listen: one port tells WebSocket, WSS, AMQP and AMQPS apart, with and without SASL", async () => {
  const listener = await start({ tls: keyPair("server"), subprotocols: ["amqp", "AMQPWSB10"] });
  for (const scheme of ["ws", "wss", "amqp", "amqps"] as const) {
    for (const header of [SASL, "AMQP\x00\x01\x00\x00"]) {
      const channel = await dialSocket(`${scheme}://localhost:${listener.port}/p?q`, {
        tls: { ca },
        subprotocols: ["AMQPWSB10"],
      });
      const log = record(channel);
      channel.send(latin1(header));
      await log.until(8);
      assertEquals(log.bytes(), latin1(header));
      const { info } = listener.accepted.pop()!;
      const isWebSocket = scheme.startsWith("ws");
      assertEquals([info.scheme, info.secure], [scheme, scheme === "wss" || scheme === "amqps"]);
      assertEquals([info.protocol, info.request?.target], isWebSocket ? ["AMQPWSB10", "/p?q"] : [undefined, undefined]);
      assertEquals([info.remoteAddress, info.certificate], ["127.0.0.1", undefined]);
      channel.close();
      await log.closed;
    }
  }
  assertEquals(listener.counters.accepted, 8);
  await listener.close();
});

test("listen: first bytes may come one by one, and TLS or a request in any pieces", async () => {
  await using listener = await start();
  for (const bytes of [latin1(SASL), upgrade("/")]) {
    await using client = await BareClient.connect(listener.port);
    for (const byte of bytes) {
      client.socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await client.until(bytes.length === 8 ? SASL : "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
  }
});

test("listen: schemes that are not served are dropped without a word", async () => {
  await using listener = await start({ tls: keyPair("server"), schemes: ["wss"] });
  for (const bytes of [SASL, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x80\x2e\x01", "SSH-2.0-x\r\n"]) {
    assertEquals(await ask(listener.port, bytes), "");
  }
  const error = await assertRejects(
    () => dialSocket(`wss://localhost:${listener.port}`, { tls: { ca }, subprotocols: ["mqtt"] }),
    TransportError,
  );
  assertEquals(error.status, 400);
  await using clear = await start();
  assertEquals(await ask(clear.port, Uint8Array.of(0x16, 3, 1, 0, 5)), "");
});

test("listen: an ordinary GET gets a plain answer, other requests get theirs", async () => {
  await using listener = await start({
    paths: ["/amqp", "/health"],
    health: "fine\n",
    origins: ["https://app.example"],
  });
  const { port } = listener;
  const cases: ReadonlyArray<readonly [request: Uint8Array | string, status: number, fragment: string]> = [
    ["GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200, "Content-Length: 5\r\n\r\nfine\n"],
    ["GET /amqp?x HTTP/1.0\r\n\r\n", 200, "fine\n"],
    ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "no such path"],
    ["POST /amqp HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405, "Allow: GET\r\n"],
    ["GET /amqp HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 200, "fine\n"],
    [upgrade("/"), 404, "Connection: close\r\n"],
    [upgrade("/amqp", { Origin: "https://evil.example" }), 403, "Origin is not allowed"],
    [upgrade("/amqp", { "Sec-WebSocket-Protocol": "mqtt" }), 400, "subprotocol is not"],
    [upgrade("/amqp", { "Sec-WebSocket-Protocol": "" }), 400, "subprotocol is not"],
    [upgrade("/amqp", { "Sec-WebSocket-Version": "8" }), 426, "Sec-WebSocket-Version: 13\r\n"],
    [upgrade("/amqp", { "Sec-WebSocket-Key": "short" }), 400, "key"],
    ["GET /amqp HTTP/3.0\r\n\r\n", 400, ""],
    ["GET /amqp\r\n", 400, ""],
  ];
  for (const [request, status, fragment] of cases) {
    const answer = await ask(port, request);
    assertStringIncludes(answer, `HTTP/1.1 ${status} \r\n`);
    assertStringIncludes(answer, fragment);
  }
  const head = await ask(port, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
  assert(head.endsWith("Content-Length: 5\r\n\r\n"), head);
  for (const origin of ["", "https://app.example"]) {
    await using client = await BareClient.connect(port);
    client.socket.write(upgrade("/amqp", { Origin: origin }));
    await client.until("HTTP/1.1 101 ");
  }
  assertEquals(listener.counters.accepted, 2);
});

test("ATK-20: paths may be a function, and pages are refused by default", async () => {
  await using listener = await start({ paths: (path) => path.startsWith("/a") });
  assertStringIncludes(await ask(listener.port, upgrade("/b")), " 404 ");
  assertStringIncludes(await ask(listener.port, upgrade("/a", { Origin: "http://127.0.0.1" })), " 403 ");
  await using client = await BareClient.connect(listener.port);
  client.socket.write(upgrade("/abc"));
  await client.until(" 101 ");
});

test("RFC9112 3.2.2: a path is found behind scheme and host", async () => {
  await using listener = await start({ paths: ["/", "/amqp"] });
  for (const target of ["http://x/amqp", "HTTPS://x:1/amqp?a=/b", "http://x", "http://x?a"]) {
    await using client = await BareClient.connect(listener.port);
    client.socket.write(upgrade(target));
    await client.until(" 101 ");
  }
  for (const target of ["http://x/other", "http://x/amqp/", "http:/amqp", "//x/amqp", "/http://x/amqp"]) {
    assertStringIncludes(await ask(listener.port, upgrade(target)), " 404 ", target);
  }
});

test("WS-14: a WebSocket is authenticated before it is opened", async () => {
  const seen: unknown[] = [];
  await using listener = await start({
    log: null,
    authenticate: async (request, { secure, remoteAddress }) => {
      seen.push([secure, remoteAddress]);
      const authorization = await Promise.resolve(request.headers.find(([name]) => name === "Authorization")?.[1]);
      if (authorization === "Bearer good") return undefined;
      if (authorization === "Bearer odd") return { status: 200 };
      if (authorization === "Bearer split") return { status: 401, headers: [["X", "a\r\nSet-Cookie: b"]] };
      if (authorization === "Bearer broken") throw new Error("secret of the house");
      return { status: 401, headers: [["WWW-Authenticate", 'Bearer realm="orders"']] };
    },
  });
  const refused = await ask(listener.port, upgrade("/"));
  assertEquals(refused.startsWith("HTTP/1.1 401"), true);
  assertStringIncludes(refused, 'WWW-Authenticate: Bearer realm="orders"\r\n');
  assertEquals(seen, [[false, "127.0.0.1"]]);
  for (const Authorization of ["Bearer odd", "Bearer split", "Bearer broken"]) {
    const answer = await ask(listener.port, upgrade("/", { Authorization }));
    assertEquals(answer.startsWith("HTTP/1.1 500"), true);
    assertEquals(/secret|Set-Cookie/.test(answer), false);
  }
  const url = `ws://127.0.0.1:${listener.port}/`;
  const error = await assertRejects(() => dialSocket(url), TransportError);
  assertEquals([error.status, new TextDecoder().decode(error.body)], [401, "Refused with status 401\n"]);
  const channel = await dialSocket(url, { headers: { Authorization: "Bearer good" } });
  assertEquals(listener.accepted.length, 1);
  const log = record(channel);
  channel.close();
  await log.closed;
});

test("WSB-20: the client's certificate says who it is", async () => {
  const identities: (string | undefined)[] = [];
  const server = acceptor({
    sasl: {
      external: (wanted, { certificate }) => {
        const name = certificate?.subject.CN;
        return wanted === "" || wanted === name ? name : undefined;
      },
    },
    onConnection: (connection) => void identities.push(connection.identity),
  });
  await using listener = await listen({
    port: 0,
    host: "127.0.0.1",
    acceptor: server,
    tls: { ...keyPair("server"), ca },
  });
  for (const scheme of ["wss", "amqps"]) {
    const url = `${scheme}://localhost:${listener.port}`;
    {
      await using _ = await connect(url, { auth: external(), tls: { ca, ...keyPair("client") } });
    }
    await assertRejects(() => connect(url, { auth: external("bob"), tls: { ca, ...keyPair("client") } }), AmqpError);
    await assertRejects(() => connect(url, { auth: external(), tls: { ca } }), AmqpError);
    await assertRejects(
      () => connect(url, { auth: external(), tls: { ca, ...keyPair("rogue_client") } }),
      TransportError,
    );
  }
  assertEquals(identities, ["alice", "alice"]);
  await server.close();
});

test("tls: clients can be required to show a certificate", async () => {
  await using listener = await start({ tls: { ...keyPair("server"), ca, clientCertificate: "require" } });
  const url = `amqps://localhost:${listener.port}`;
  const channel = await dialSocket(url, { tls: { ca, ...keyPair("client") } });
  const log = record(channel);
  channel.send(latin1(SASL));
  await log.until(8);
  const { certificate } = listener.accepted[0]!.info;
  assertEquals({ ...certificate!.subject }, { O: "webamqp tests", CN: "alice" });
  assertEquals(certificate!.subjectAltName, "email:alice@elsewhere.example");
  assert(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/.test(certificate!.fingerprint));
  channel.close();
  await log.closed;
  for (const tls of [{ ca }, { ca, ...keyPair("rogue_client") }]) {
    // With TLS 1.3 the client may believe that it is connected before it is refused.
    const refused = await dialSocket(url, { tls }).catch(() => undefined);
    if (refused !== undefined) assertEquals((await record(refused).closed).code === 1000, false);
  }
  assertEquals(listener.accepted.length, 1);
});

test("listen: TLS that fails is dropped, and leaves nothing", async () => {
  await using listener = await start({ tls: keyPair("server") });
  await ask(listener.port, Uint8Array.of(0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8));
  const secure = connectTls({ port: listener.port, host: "127.0.0.1" });
  await new Promise<void>((resolve) => {
    secure.on("error", () => {});
    secure.on("close", () => resolve());
  });
  await isLeft(listener, 0);
  assertEquals([listener.counters.accepted, listener.counters.refused], [0, 2]);
});

test("ATK-16: a handshake that takes too long is dropped, at every stage, and a request is told why", async () => {
  await using listener = await start({ tls: keyPair("server"), limits: { handshakeTimeoutMs: 500 } });
  const beginnings = ["", "AM", "G", "GET / HTTP/1.1\r\nX: ", "\x16", "\x16\x03\x01\x02\x00\x01"];
  const before = performance.now();
  const answers = await Promise.all(beginnings.map((bytes) => ask(listener.port, latin1(bytes))));
  assertEquals(answers.map((answer) => answer.split(" ", 2).join(" ")), [
    "",
    "",
    "HTTP/1.1 408",
    "HTTP/1.1 408",
    "",
    "",
  ]);
  const secure = connectTls({ port: listener.port, host: "localhost", ca });
  const told: Uint8Array[] = [];
  await new Promise<void>((resolve) => {
    secure.on("data", (bytes: Uint8Array) => told.push(bytes));
    secure.on("error", () => {});
    secure.on("close", () => resolve());
    secure.on("secureConnect", () => secure.write("GET / HTTP/1.1\r\n"));
  });
  assertStringIncludes(told.map(text).join(""), "HTTP/1.1 408 \r\nConnection: close\r\n");
  assert(performance.now() - before >= 900);
  await isLeft(listener, 0);
  assertEquals(listener.counters, { connections: 0, accepted: 0, refused: 7 });
  // Accepted connections stay.
  await using client = await BareClient.connect(listener.port);
  client.socket.write(SASL);
  await client.until(SASL);
  await new Promise((resolve) => setTimeout(resolve, 600));
  client.socket.write("more");
  await client.until("more");
});

test("ATK-8: connections above the limit are dropped, and make room when they end", async () => {
  await using listener = await start({ limits: { maxConnections: 2 } });
  const one = await BareClient.connect(listener.port);
  const two = await BareClient.connect(listener.port);
  for (const client of [one, two]) {
    client.socket.write(SASL);
    await client.until(SASL);
  }
  await (await BareClient.connect(listener.port)).ended;
  await one[Symbol.asyncDispose]();
  await isLeft(listener, 1);
  await using three = await BareClient.connect(listener.port);
  three.socket.write(SASL);
  await three.until(SASL);
  assertEquals(listener.counters, { connections: 2, accepted: 3, refused: 1 });
  await two[Symbol.asyncDispose]();
});

test("ATK-8: connections from one address above its limit are dropped, and make room when they end", async () => {
  await using listener = await start({ limits: { maxConnectionsPerAddress: 1 } });
  for (let turn = 1; turn <= 2; turn++) {
    await using client = await BareClient.connect(listener.port);
    client.socket.write(SASL);
    await client.until(SASL);
    await (await BareClient.connect(listener.port)).ended;
    assertEquals(listener.counters, { connections: 1, accepted: turn, refused: turn });
    await client[Symbol.asyncDispose]();
    await isLeft(listener, 0);
  }
});

test("ATK-8: who says nothing makes room for who comes next", async () => {
  await using listener = await start({ limits: { maxHandshakes: 2 } });
  const mute = await Promise.all([BareClient.connect(listener.port), BareClient.connect(listener.port)]);
  await using speaking = await BareClient.connect(listener.port);
  speaking.socket.write(SASL);
  await speaking.until(SASL);
  await Promise.any(mute.map((client) => client.ended));
  assertEquals(listener.counters.refused, 1);
  for (const client of mute) await client[Symbol.asyncDispose]();
});

test("ATK-8: who was answered and stays makes room at once, whatever the answer", async () => {
  const refused: string[] = [];
  await using listener = await start({
    limits: { maxHandshakes: 1 },
    paths: ["/amqp"],
    authenticate: ({ headers }) => headers.some(([name]) => name === "X-Bad") ? { status: 401 } : undefined,
    onRefused: ({ reason }) => void refused.push(reason),
  });
  const requests: Record<string, string | Uint8Array> = {
    "200": "GET /amqp HTTP/1.1\r\nHost: x\r\n\r\n",
    "400": "PRI * HTTP/2.0\r\n\r\n",
    "401": upgrade("/amqp", { "X-Bad": "1" }),
    "403": upgrade("/amqp", { Origin: "https://page.example" }),
    "404": upgrade("/other"),
    "405": "POST /amqp HTTP/1.1\r\nHost: x\r\n\r\n",
  };
  const answered: BareClient[] = [];
  for (const [status, request] of Object.entries(requests)) {
    const client = await BareClient.connect(listener.port);
    // Reads the answer, and stays.
    client.socket.removeAllListeners("end");
    client.socket.write(request as Uint8Array);
    await client.until(`HTTP/1.1 ${status} `);
    answered.push(client);
  }
  await using speaking = await BareClient.connect(listener.port);
  speaking.socket.write(SASL);
  await speaking.until(SASL);
  assertEquals(refused, answered.map(() => "answered"));
  assertEquals(listener.counters, { connections: 7, accepted: 1, refused: 6 });
  // Closing does not wait for them.
  await listener.close();
  for (const client of answered) await client[Symbol.asyncDispose]();
});

test("ATK-8: those who have said nothing while they waited in line are passed over", async () => {
  await using listener = await start({ limits: { maxHandshakes: 1 } });
  const mute = await Promise.all(Array.from({ length: 6 }, () => BareClient.connect(listener.port)));
  while (listener.counters.connections < 6) await new Promise((resolve) => setTimeout(resolve, 1));
  // 503 after five seconds otherwise.
  assertStringIncludes(await ask(listener.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ");
  for (const client of mute) await client[Symbol.asyncDispose]();
});

test("ATK-8, ATK-38: a burst of connections waits in line for its handshake, and all get through", async () => {
  await using listener = await start({ limits: { maxHandshakes: 3 } });
  const url = `ws://127.0.0.1:${listener.port}`;
  const channels = await Promise.all(Array.from({ length: 150 }, () => dialSocket(url)));
  assertEquals(listener.counters, { connections: 150, accepted: 150, refused: 0 });
  for (const channel of channels) channel.close();
  await isLeft(listener, 0);
});

test("ATK-8, ATK-38: who waits too long gets 503 and Retry-After, who comes above the line is dropped; both are told of", async () => {
  const refused: string[] = [];
  await using listener = await start({
    limits: { maxHandshakes: 1, maxWaiting: 2, waitTimeoutMs: 200 },
    onRefused: ({ reason, remoteAddress }) => void refused.push(`${reason} ${remoteAddress}`),
  });
  await using slow = await BareClient.connect(listener.port);
  slow.socket.write("GET / HT");
  while (listener.counters.connections < 1) await new Promise((resolve) => setTimeout(resolve, 1));
  const waiting = [ask(listener.port, upgrade("/")), ask(listener.port, SASL)];
  while (listener.counters.connections < 3) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(await ask(listener.port, upgrade("/")), "");
  const [http, amqp] = await Promise.all(waiting);
  assertStringIncludes(http!, "HTTP/1.1 503 ");
  assertStringIncludes(http!, "\r\nRetry-After: 1\r\n");
  assertEquals(amqp, "");
  assertEquals(refused, ["waiting 127.0.0.1", "waited 127.0.0.1", "waited 127.0.0.1"]);
  slow.socket.destroy();
  await isLeft(listener, 0);
  assertEquals(refused.slice(3), ["closed 127.0.0.1"]);
  assertEquals(listener.counters.refused, 4);
});

test("ATK-8: whom a limit turned away is told to the log, each cause once", async () => {
  const told: LogEntry[] = [];
  await using listener = await start({ limits: { maxConnections: 1 }, log: (entry) => told.push(entry) });
  await using first = await BareClient.connect(listener.port);
  while (listener.counters.connections < 1) await new Promise((resolve) => setTimeout(resolve, 1));
  for (let i = 0; i < 3; i++) assertEquals(await ask(listener.port, SASL), "");
  first.socket.destroy();
  await isLeft(listener, 0);
  // Other refusals are the client's own affair, and are not logged.
  await ask(listener.port, "\x00\x01\x02");
  assertEquals(told.map(({ level, code }) => `${level} ${code}`), ["warning refused"]);
  assertStringIncludes(told[0]!.message, `Cannot accept connection from 127.0.0.1 on port ${listener.port}: `);
  assertStringIncludes(told[0]!.message, '"limits.maxConnections"');
});

test("listen: onRefused tells why, and may throw, which the log is told", async () => {
  const refused: string[] = [];
  const told: LogEntry[] = [];
  await using listener = await start({
    limits: { handshakeTimeoutMs: 200 },
    log: (entry) => told.push(entry),
    onRefused: ({ reason }) => {
      refused.push(reason);
      throw new Error("nobody hears this");
    },
  });
  await ask(listener.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await ask(listener.port, "\x00\x01\x02");
  await ask(listener.port, "GET / HT");
  await isLeft(listener, 0);
  assertEquals(refused, ["answered", "unknown-protocol", "handshake-timeout"]);
  assertEquals(told.map(({ code }) => code), ["callback-failed"]);
});

test("ATK-16: a head that comes in many pieces is read", async () => {
  await using listener = await start();
  const request = upgrade("/", { "X-Long": "x".repeat(8_000) });
  await using client = await BareClient.connect(listener.port);
  for (let at = 0; at < request.length; at += 100) client.socket.write(request.subarray(at, at + 100));
  while (listener.counters.accepted === 0) await new Promise((resolve) => setTimeout(resolve, 1));
});

test("listen: close ends channels with 1001 and handshakes at once, and takes nobody new", async () => {
  const listener = await start();
  const channel = await dialSocket(`ws://127.0.0.1:${listener.port}`);
  const log = record(channel);
  const mute = await BareClient.connect(listener.port);
  mute.socket.write("GET /");
  const accepted = record(listener.accepted[0]!.channel);
  await Promise.all([listener.close(), listener[Symbol.asyncDispose]()]);
  assertEquals((await log.closed).code, 1001);
  assertEquals((await accepted.closed).code, 1001);
  await mute.ended;
  await assertRejects(() => dialSocket(`amqp://127.0.0.1:${listener.port}`), TransportError);
});

test("listen: close is aborted by its signal, and goes on", async () => {
  const listener = await start({ closeTimeoutMs: 20 });
  // The client never answers the close.
  await using client = await BareClient.connect(listener.port);
  client.socket.write(upgrade("/"));
  await client.until(" 101 ");
  const reason = new Error("in a hurry");
  assertEquals(await listener.close({ signal: AbortSignal.abort(reason) }).catch((error) => error), reason);
  await listener.close();
  await isLeft(listener, 0);
});

test("websocket: a close behind bytes that are on their way ends in order, in clear and under TLS", async () => {
  const received: Promise<ChannelLog>[] = [];
  await using listener = await listen({
    port: 0,
    host: "127.0.0.1",
    tls: keyPair("server"),
    accept: (channel) => {
      const log = record(channel);
      received.push(log.closed.then(() => log));
    },
  });
  for (const [scheme, size] of [["ws", 10], ["ws", 60_000], ["wss", 10], ["wss", 60_000]] as const) {
    const url = `${scheme}://localhost:${listener.port}`;
    const channel = await dialSocket(url, { tls: { ca }, closeTimeoutMs: 1_000 });
    const { closed } = record(channel);
    channel.send(new Uint8Array(size));
    channel.close();
    assertEquals(await closed, { code: 1000, reason: "" });
    assertEquals((await received.pop()!).received, size);
  }
});

// Texts of clients that may break a program's callback.
const stumbling: Record<string, [Partial<ListenOptions & UpgradeListenerOptions>, answer: string]> = {
  origins: [{ origins: (origin) => new URL(origin).hostname === "app.example" }, "HTTP/1.1 403 "],
  paths: [{ origins: "any", paths: (path) => decodeURIComponent(path) === "/amqp" }, "HTTP/1.1 404 "],
  authenticate: [{
    origins: "any",
    authenticate: () => {
      throw new Error("not today");
    },
  }, "HTTP/1.1 500 "],
  "authenticate ": [{ origins: "any", authenticate: (() => false) as never }, "HTTP/1.1 500 "],
  accept: [{
    origins: "any",
    accept: () => {
      throw new Error("not today");
    },
  }, "\x88\x02\x03\xf3"],
  "accept ": [{ origins: "any", accept: () => Promise.reject(new Error("not today")) as never }, "\x88\x02\x03\xf3"],
  acceptor: [{
    origins: "any",
    accept: undefined,
    acceptor: {
      accept: () => {
        throw new Error("not today");
      },
    },
  }, "\x88\x02\x03\xf3"],
};

for (const [name, [options, answer]] of Object.entries(stumbling)) {
  const what = name.endsWith(" ") ? `${name}that gives something else` : `${name} that throws`;
  test(`listen, node:http: ${what} costs its client the connection, and the log is told`, async () => {
    const entries: LogEntry[] = [];
    const log = (entry: LogEntry): void => void entries.push(entry);
    await using listener = await listen({ port: 0, host: "127.0.0.1", accept: () => {}, ...options, log });
    const server = createServer();
    server.on("upgrade", upgradeListener({ accept: () => {}, ...options, log }));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    for (const port of [listener.port, (server.address() as AddressInfo).port]) {
      await using client = await BareClient.connect(port);
      client.socket.write(upgrade("/%", { Origin: "null" }));
      await client.until(answer);
    }
    const closed = new Promise((resolve) => server.close(resolve));
    assertEquals(
      entries.map(({ level, code, message }) => `${level} ${code}: ${message}`),
      [`listen on port ${listener.port}`, "upgradeListener"].map((where) =>
        `error callback-failed: Cannot serve a client: option "${name.trim()}" of ${where} failed; mend it`
      ),
    );
    assert(entries.every(({ error }) => error instanceof Error));
    await closed;
  });
}

test("listen: options that cannot be used, and ports that are taken, reject", async () => {
  const base = { port: 0, host: "127.0.0.1" };
  await assertRejects(() => listen(base), TypeError);
  await assertRejects(() => listen({ ...base, acceptor: acceptor(), accept: () => {} }), TypeError);
  await assertRejects(() => start({ subprotocols: ["a b"] }), TypeError);
  await assertRejects(() => start({ limits: { maxConnections: 0 } }), RangeError);
  await assertRejects(() => start({ limits: { maxConnectionsPerAddress: 0 } }), RangeError);
  await assertRejects(() => start({ tls: { cert: "x", key: "y" } }));
  await assertRejects(() => start({ tls: { ...keyPair("server"), clientCertificate: "request" } }), TypeError);
  for (const schemes of [[], ["wss", "amqps"]] as const) {
    await assertRejects(() => start({ schemes }), TypeError, 'Cannot listen: option "schemes"');
  }
  // Without a certificate every handshake would fail.
  const without = { ca } as unknown as ListenOptions["tls"];
  await assertRejects(() => start({ tls: without }), TypeError, 'Cannot use tls: a server needs "cert" and "key"');
  await using listener = await start();
  await assertRejects(() => start({ port: listener.port }));
  // Deno reads them with the first client.
  if (isDeno()) return;
  const damaged = { ...keyPair("server"), key: keyPair("server").key.replace(/^[A-Za-z0-9+/]{8}/m, "AAAAAAAA") };
  const error = await assertRejects(() => start({ tls: damaged }), TypeError, "Cannot use tls: certificate, key or ca");
  assertEquals(error.message.includes("AAAA"), false);
});

test("listen: credentials over TLS reach the acceptor on every way in", async () => {
  const server = acceptor({ sasl: { users: { user: "secret" } } });
  await using listener = await listen({ ...{ port: 0, host: "127.0.0.1" }, acceptor: server, tls: keyPair("server") });
  for (const scheme of ["wss", "amqps"]) {
    const url = `${scheme}://user:secret@localhost:${listener.port}`;
    await using connection = await connect(url, { tls: { ca } });
    assertInstanceOf(connection.remote, Object);
    await assertRejects(() => connect(url, { tls: { ca }, auth: plain("user", "no") }), AmqpError);
  }
  await server.close();
});
