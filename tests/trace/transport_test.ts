/**
 * Events below AMQP in traces of clients, brokers and gateways, without secrets.
 *
 * @module
 */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect, type LogEntry, plain, symbol } from "../../mod.ts";
import { Deferred } from "../../src/base/wait.ts";
import { Broker } from "../../src/broker/broker.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import { withoutSecrets, withoutSecretText } from "../../src/trace/secrets.ts";
import { jsonLines, type TraceData, type TraceEvent } from "../../src/trace/writer.ts";
import { listen } from "../../src/transport/sockets.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { dialSocket, type SocketDialOptions } from "../../src/transport/socket/dial.ts";
import { test } from "../harness.ts";
import { ca, keyPair } from "../pki.ts";
import { bareServer } from "../transport/bare.ts";
import { record } from "../transport/channel_log.ts";
import { connectProxy, PROXY_USER } from "../transport/proxy/connect_proxy.ts";

/** A trace with its transport events. */
function traced() {
  const lines: string[] = [];
  const all = (): TraceEvent[] => lines.slice(1).map((line) => JSON.parse(line));
  return {
    trace: jsonLines((line) => lines.push(line)),
    all,
    events: (): TraceData[] => all().filter(({ data }) => data.event !== undefined).map(({ data }) => data),
    text: (): string => lines.join(""),
  };
}

test("trace: TLS, the proxy's answers, the handshake and the close code of a client, without any secret", async () => {
  const broker = new Broker({ sasl: { users: { user: "hunter2" } } });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker, tls: keyPair("server") });
  await using proxy = await connectProxy({ auth: "digest" });
  const client = traced();
  const connection = await connect(`wss://127.0.0.1:${listener.port}/amqp?sig=hunter2`, {
    auth: plain("user", "hunter2"),
    headers: { Authorization: "Bearer hunter2" },
    proxy: { url: proxy.url, ...PROXY_USER },
    tls: { ca },
    trace: client.trace,
  });
  await connection.send("orders", { body: "hunter2" });
  await connection.close();
  await broker.close();
  await listener.close();
  const events = client.events();
  assertEquals(events.map(({ event }) => event), [
    "connecting",
    "tcp",
    "proxy",
    "tls",
    "upgraded",
    "connected",
    "closed",
  ]);
  const [connecting, , tunnel, tls, upgraded, , closed] = events;
  assertEquals(connecting!.url, `wss://127.0.0.1:${listener.port}/amqp`);
  assertEquals([tunnel!.answer, tunnel!.target], ["tunnel", `127.0.0.1:${listener.port}`]);
  assertMatch(String(tls!.protocol), /^TLSv1\.[23]$/);
  assertEquals([upgraded!.status, upgraded!.subprotocol, closed!.code], [101, "amqp", 1000]);
  for (const secret of ["hunter2", PROXY_USER.password, btoa("hunter2"), "Bearer", "Basic"]) {
    assertEquals(client.text().includes(secret), false, secret);
  }
});

test("trace: a server that is not there, and one that wants no such handshake", async () => {
  const client = traced();
  const gone = await listen({ host: "127.0.0.1", port: 0, acceptor: new Broker() });
  await gone.close();
  const url = `ws://127.0.0.1:${gone.port}`;
  await assertRejects(() => connect(url, { transport: "socket", trace: client.trace }));
  const [connecting, failed] = client.events();
  assertEquals([connecting!.event, failed!.event, failed!.code], ["connecting", "failed", "connect-failed"]);
  assertMatch(String(failed!.error), /ECONNREFUSED/);
});

test("trace: a connection that comes back begins anew, and breaks no rule by it", async () => {
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const client = traced();
  const connection = await connect(`amqp://127.0.0.1:${listener.port}`, { trace: client.trace, log: null });
  const orders = connection.sender("orders");
  await orders.send({ body: 1 });
  const back = (async () => {
    for await (const { kind } of connection.events()) if (kind === "resumed") return;
  })();
  for (const accepted of broker.connections) accepted.abandon(new Error("cut"));
  await back;
  await orders.send({ body: 2 });
  await connection.close();
  await broker.close();
  await listener.close();
  const closes = client.events().filter(({ event }) => event === "closed");
  assertEquals([closes.length, client.events().filter(({ event }) => event === "connected").length], [2, 2]);
  const found = client.all().flatMap(({ data }) => data.faults ?? []).filter(({ reported }) => !reported);
  assertEquals(found, []);
});

test("trace: an acceptor tells who comes and how each ends, a gateway both of its sides", async () => {
  const server = traced(), between = traced();
  const broker = new Broker({ trace: server.trace });
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const target = `amqp://127.0.0.1:${listener.port}`;
  const running = await gateway({ listen: { host: "127.0.0.1", port: 0 }, target, trace: between.trace });
  const url = `ws://127.0.0.1:${running.port}`;
  for (let i = 0; i < 2; i++) await (await connect(url)).close();
  await running.close();
  await broker.close();
  await listener.close();
  const told = server.events().map(({ connection, event, from }) => [connection, event, from]);
  assertEquals(told.filter(([connection]) => connection === 1), [[1, "accepted", "127.0.0.1"], [
    1,
    "closed",
    undefined,
  ]]);
  assertEquals(told.filter(([connection]) => connection === 2), [[2, "accepted", "127.0.0.1"], [
    2,
    "closed",
    undefined,
  ]]);
  const first = between.events().filter(({ connection }) => connection === 1);
  assertEquals(first.map(({ event }) => event), ["accepted", "connecting", "tcp", "half closed", "closed"]);
  assertEquals(new Set(first.slice(3).map(({ side }) => side)), new Set(["client", "target"]));
});

test("trace: what looks like a secret is hidden by its name or by itself, wherever it stands", async () => {
  const client = traced();
  const broker = new Broker();
  const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
  const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2";
  const connection = await connect(`amqp://127.0.0.1:${listener.port}`, {
    trace: client.trace,
    properties: {
      "x-access-token": "hunter2",
      nested: new Map<string | ReturnType<typeof symbol>, unknown>([[symbol("client-secret"), "hunter2"], [
        symbol("kept"),
        "seen",
      ]]) as never,
      list: ["Bearer hunter2", `SharedAccessSignature sr=x&sig=hunter2`],
      id: jwt,
      endpoint: "https://user:hunter2@broker.example/?sig=hunter2&sv=1",
      connection: "Endpoint=sb://x/;SharedAccessKey=hunter2;EntityPath=q",
      "token-expires": true,
    },
  });
  await connection.close();
  await broker.close();
  await listener.close();
  assertEquals(client.text().includes("hunter2"), false, client.text());
  for (const kept of ["seen", "broker.example", "EntityPath=q", '"token-expires":true']) {
    assertEquals(client.text().includes(kept), true, kept);
  }
  assertEquals(withoutSecrets({ $map: [[{ $described: [1, "password"] }, "x"]] }, false), {
    $map: [[{ $described: [1, "password"] }, "(hidden)"]],
  });
});

test("trace: a password in a URL is hidden as people write it, and no text takes long", () => {
  for (const password of ["hunter2", "hun/ter2", "hun@ter2", "hun?ter2", "hun#ter2", "h@/?#:hun//ter2", "%40ter2"]) {
    for (const user of ["user", "", "user@domain"]) {
      for (const scheme of ["amqp", "wss", "amqp+ssl", "x1"]) {
        const text = withoutSecretText(
          `Cannot reach "${scheme}://${user}:${password}@broker.example:5671/path", again at 12:30`,
        );
        assertEquals(text, `Cannot reach "${scheme}://(hidden)@broker.example:5671/path", again at 12:30`);
      }
    }
  }
  for (const kept of ["a@b.example", "wss://broker.example/path?to=1", "see wss://broker.example or ask a@b.example"]) {
    assertEquals(withoutSecretText(kept), kept);
  }
  for (const piece of ["a://", "a.", "eyJ-", "eyJaaaaaaaa.", "@", "sig=", "Bearer\t"]) {
    // Quadratic time would be minutes.
    withoutSecretText(`x${piece.repeat(1_000_000 / piece.length)}`);
  }
});

test("ATK-32: trace: a writer that throws disturbs no connection, and the logs are told", async () => {
  for (const side of ["client", "broker", "gateway"]) {
    const entries: LogEntry[] = [];
    const heard = new Deferred<void>();
    const log = (entry: LogEntry): void => {
      entries.push(entry);
      if (entries.length >= 2) heard.resolve();
    };
    let broken = false;
    const trace = jsonLines(() => {
      if (broken) throw new Error("disk is full");
    });
    broken = true;
    const broker = new Broker(side === "broker" ? { trace, log } : {});
    const listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
    const target = `amqp://127.0.0.1:${listener.port}`;
    const running = await gateway({
      listen: { host: "127.0.0.1", port: 0, ...(side === "gateway" && { log }) },
      target,
      ...(side === "gateway" && { trace }),
    });
    const connection = await connect(`ws://127.0.0.1:${running.port}`, side === "client" ? { trace, log } : {});
    await connection.send("orders", { body: 1 });
    await connection.close();
    assertEquals(connection.error, undefined);
    assertEquals([side, broker.messages, running.counters.opened], [side, 1, 1]);
    await running.close();
    await broker.close();
    await listener.close();
    if (side !== "gateway") await heard.promise;
    assertEquals(
      new Set(entries.map(({ code, error }) => `${code} ${(error as Error).message}`)),
      new Set(["callback-failed disk is full"]),
    );
  }
});

test("trace: a gateway says that what passes is not AMQP, and lets it pass", async () => {
  const between = traced();
  const entries: LogEntry[] = [];
  await using echo = await bareServer((socket) => void socket.pipe(socket));
  const running = await gateway({
    listen: { host: "127.0.0.1", port: 0, log: (entry) => entries.push(entry) },
    target: `amqp://127.0.0.1:${echo.port}`,
    trace: between.trace,
  });
  const channel = await dialSocket(`amqp://127.0.0.1:${running.port}`);
  const log = record(channel);
  const bytes = Uint8Array.of(...new TextEncoder().encode("AMQP"), 0, 1, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9);
  channel.send(bytes.slice());
  await log.until(bytes.length);
  assertEquals(log.bytes(), bytes);
  channel.close();
  await log.closed;
  await running.close();
  const told = between.events().filter(({ event }) => event === "not AMQP").map(({ direction }) => direction);
  assertEquals(told, ["in", "out"]);
  assertEquals(entries.map(({ code }) => code), ["not-traced", "not-traced"]);
});

test("trace: a traced channel ends at once where the one below can", async () => {
  await using server = await bareServer((socket) => void socket.resume());
  const client = traced();
  const dial = client.trace.dialling((url, options) => dialSocket(url, options as SocketDialOptions));
  const channel = await dial(new URL(`amqp://127.0.0.1:${server.port}`), {});
  // The server keeps its half: a close in order would wait for it.
  channel.closeNow!();
  assertEquals((await record(channel).closed).code, 1000);
  const [paired] = channelPair();
  const memory = await client.trace.dialling(() => paired)(new URL("amqp://memory"), {});
  assertEquals(memory.closeNow, undefined);
});
