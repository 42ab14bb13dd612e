/**
 * Errors of connecting say where, why, and what to do.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, publish, SendAbortedError, TransportError } from "../../mod.ts";
import { Broker } from "../../src/broker/broker.ts";
import type { LogEntry } from "../../src/base/log.ts";
import { gateway } from "../../src/gateway/gateway.ts";
import { ScriptedPeer } from "../../src/testing/peer.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { test } from "../harness.ts";
import { keyPair } from "../pki.ts";

const MISTAKES: ReadonlyArray<readonly [url: unknown, ...texts: string[]]> = [
  ["http://host/", 'URL scheme "http:" is not', 'write "ws:"'],
  ["https://host/", 'write "wss:"'],
  ["tcp://host:5672", 'write "amqp:"'],
  ["sb://host/", "@webamqp/amqp/azure"],
  ["mqtt://host/", 'URL scheme "mqtt:" is not "wss:", "ws:", "amqps:" or "amqp:"'],
  ['"amqp://guest:s3cret@localhost"', "URL is in quotation marks; take them off"],
  ["localhost:5672", "URL has no scheme"],
  ["broker.example/path", "URL has no scheme"],
  ["user:s3cret@broker.example", "URL has no scheme"],
  ["", "URL is empty"],
  [undefined, "URL is undefined and not a string"],
  [null, "URL is null"],
  [5672, "and not a string"],
  [{ host: "h", port: 5672 }, '"amqps://host:port"'],
  [new Broker(), 'URL is an object of class Broker and not a string, such as "wss://host/path"'],
  [new ScriptedPeer(), 'URL is an object of class ScriptedPeer; give its "channel"'],
  [{ send() {}, close() {}, onmessage: null }, "give the URL instead, or a channel"],
  ["Endpoint=sb://x.example/;SharedAccessKeyName=a;SharedAccessKey=s3cret=", "connection string", "azure"],
  ["wss://Root:12/c=s3cret@localhost", 'URL has "/", "?" or "#" in its user name or password', "%2F"],
  ["wss://root:s3cret/c=@localhost", 'URL has "/", "?" or "#" in its user name or password', "%2F"],
  ["wss://root:s3cret#c@localhost", "%23"],
  ["wss://root:s3cret?c@localhost", "%3F"],
  ["wss://u:%E0%A4%A@localhost", "user info in URL is not percent-encoded UTF-8"],
  ["wss://host/path#part", "URL has a fragment"],
  ["wss://", "URL has no host"],
  ["ws://user:s3cret@localhost:99999/", "port of the URL is not a number from 0 to 65535"],
  ["ws://localhost:port/", "port of the URL is not a number from 0 to 65535"],
  ["failover:(amqp://u:s3cret@a.example:5672,amqp://b.example:5672)", "several servers; give connect an array of URLs"],
  ["amqp://a.example:5672,b.example:5672", "several servers; give connect an array of URLs"],
  ["wss://[fe80::1%25eth0]:443/amqp", "a zone in its IPv6 address"],
  ["amqp://::1:5672", 'an IPv6 address without brackets; write "[::1]:5672"'],
];

test("connect: a URL that cannot be used is a TypeError that says what to write, and nothing secret", async () => {
  for (const [url, ...texts] of MISTAKES) {
    const error = await assertRejects(() => connect(url as string), TypeError);
    for (const text of ["Cannot connect: ", ...texts]) assertStringIncludes(error.message, text);
    assert(!`${error.message}${error.stack}`.includes("s3cret"), error.message);
  }
});

test("connect: TLS that fails names host, port and what to do, and whether it may pass by itself", async () => {
  await using secure = await listen({ port: 0, host: "127.0.0.1", accept: () => {}, tls: keyPair("server") });
  await using clear = await listen({ port: 0, host: "127.0.0.1", accept: () => {} });
  const untrusted = await assertRejects(() => connect(`amqps://localhost:${secure.port}`), TransportError);
  assertStringIncludes(untrusted.message, `Cannot open TLS to "localhost:${secure.port}": `);
  assertStringIncludes(untrusted.message, "tls.ca");
  assertEquals([untrusted.code, untrusted.retryable], ["connect-failed", false]);
  const noTls = await assertRejects(() => connect(`amqps://localhost:${clear.port}`), TransportError);
  assertStringIncludes(noTls.message, `Cannot open TLS to "localhost:${clear.port}": `);
  assertStringIncludes(noTls.message, "does this port speak TLS? ws: and amqp: do without");
});

test("connect: a refused WebSocket names its URL, the status, what the server says, and when to come again", async () => {
  await using listener = await listen({
    port: 0,
    host: "127.0.0.1",
    accept: () => {},
    authenticate: () => ({ status: 503, headers: [["Retry-After", "7"]] }),
  });
  const url = `ws://127.0.0.1:${listener.port}`;
  const refused = await assertRejects(
    () => connect(`${url}/path?token=s3cret`, { transport: "socket" }),
    TransportError,
  );
  assertStringIncludes(refused.message, `Cannot open WebSocket to "${url}/path": status is 503, server says "`);
  assert(!refused.message.includes("s3cret"));
  assertEquals([refused.status, refused.retryable, refused.retryAfterMs], [503, true, 7_000]);
  const other = { subprotocols: ["mqtt"], transport: "socket" } as const;
  const mismatch = await assertRejects(() => connect(url, other), TransportError);
  assertStringIncludes(mismatch.message, 'server says "Cannot accept WebSocket: subprotocol is not \\"amqp\\"');
});

test("connect: subprotocols may be none, headers and tls a function that is asked on every attempt", async () => {
  let asked = 0;
  const seen: unknown[] = [];
  await using listener = await listen({
    port: 0,
    host: "127.0.0.1",
    accept: () => {},
    authenticate: ({ headers }) => {
      seen.push(headers.find(([name]) => name.toLowerCase() === "x-token")?.[1]);
      return { status: 401 };
    },
  });
  const url = `ws://127.0.0.1:${listener.port}`;
  const headers = () => Promise.resolve({ "X-Token": `${++asked}` });
  for (let i = 0; i < 2; i++) await assertRejects(() => connect(url, { headers }), TransportError, "401");
  // A refusal may mean that a token has expired, so each call asks for another once.
  assertEquals(seen, ["1", "2", "3", "4"]);
  const error = await assertRejects(() => connect(url, { headers: () => Promise.reject(new Error("no token")) }));
  assertEquals((error as Error).message, "no token");
  const none = await assertRejects(() => connect(url, { subprotocols: [], transport: "socket" }), TransportError);
  assertStringIncludes(none.message, "subprotocol is not");
});

test("connect: what is within proxy, tls and headers is checked, since a proxy that is not asked is gone round", async () => {
  const refused = async (options: object): Promise<string> =>
    (await assertRejects(() => connect("ws://127.0.0.1:9/", options), TypeError)).message;
  const proxy = { host: "proxy.example", port: 3128 };
  assertStringIncludes(await refused({ proxy }), 'Cannot use proxy: there is no option "host"');
  assertStringIncludes(await refused({ proxy: { username: "user" } }), 'Cannot use proxy: "url" is missing');
  const tls = { rejectUnauthorized: false };
  assertStringIncludes(await refused({ tls }), 'Cannot use tls: there is no option "rejectUnauthorized"');
  assertStringIncludes(await refused({ tls: { servername: "a" } }), '"serverName" is meant');
  for (
    const headers of [
      ["authorization: s3cret"],
      { authorization: 5 },
      [["authorization"]],
      () => 5,
      () => null,
      () => "s3cret",
    ]
  ) {
    const message = await refused({ headers });
    assertStringIncludes(message, "Cannot use headers: ");
    assert(!message.includes("s3cret"));
  }
});

test("listen: a port that is not given is told with its address, the system's code and what to do", async () => {
  await using listener = await listen({ port: 0, host: "127.0.0.1", accept: () => {} });
  const { port } = listener;
  const taken = await assertRejects(() => listen({ port, host: "127.0.0.1", accept: () => {} }), Error);
  assertEquals((taken as Error & { code?: string }).code, "EADDRINUSE");
  assertEquals(
    taken.message,
    `Cannot listen on "127.0.0.1" port ${port}: EADDRINUSE, another program listens there; port 0 takes a free one`,
  );
  const nowhere = await assertRejects(() => listen({ port: 0, host: "nowhere.invalid", accept: () => {} }), Error);
  assertStringIncludes(nowhere.message, 'Cannot listen on "nowhere.invalid" port 0: ');
});

test("listen and connect: on Deno without the right to, both are refused in a word on what to run with", async () => {
  const program = `
    import { connect } from "./mod.ts";
    import { listen } from "./src/transport/sockets.ts";
    const told = async (call) => console.log(await call().then(() => "none", (error) => error.message + " " + error.retryable));
    for (const host of ["127.0.0.1", "localhost", undefined]) await told(() => listen({ port: 5999, host, accept() {} }));
    for (const url of ["ws://127.0.0.1:5999", "amqp://localhost:5999"]) await told(() => connect(url));
  `;
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const path = join(mkdtempSync(join(root, "tests/.rights-")), "program.ts");
  writeFileSync(path, program.replaceAll('"./', `"${pathToFileURL(root).href}`));
  try {
    const parameters = ["run", "--no-prompt", "--no-check", path];
    const child = spawn(join(root, "node_modules/.bin/deno"), parameters, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [out, err] = ["", ""];
    child.stdout.on("data", (bytes) => out += bytes);
    child.stderr.on("data", (bytes) => err += bytes);
    const status = await new Promise((resolve) => child.on("close", resolve));
    assertEquals(status, 0, err);
    const lines = out.trim().split("\n");
    assertEquals(lines.length, 5, out);
    for (const line of lines.slice(0, 3)) assertStringIncludes(line, "run with --allow-net");
    for (const line of lines.slice(3)) assertStringIncludes(line, "on Deno run with --allow-net false");
  } finally {
    rmSync(dirname(path), { recursive: true });
  }
});

test("publish: time that is up tells the host, and why the last attempt failed", async () => {
  const error = await assertRejects(
    () => publish("ws://127.0.0.1:9/", "orders", { body: "a" }, { timeoutMs: 300, transport: "socket" }),
    TransportError,
  );
  assertStringIncludes(
    error.message,
    'Cannot publish to "orders" at 127.0.0.1:9: no outcome in 300 ms, Cannot connect',
  );
  assertEquals([error.code, error.cause instanceof TransportError], ["timeout", true]);
});

test("connect and publish: a server that takes the connection and says nothing is told with its URL, as a time-out", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket)).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const url = `ws://127.0.0.1:${port}/amqp`;
  const connecting = await assertRejects(
    () => connect(url, { transport: "socket", limits: { handshakeTimeoutMs: 50 } }),
    TransportError,
    `Cannot open WebSocket to "${url}": peer sent no whole handshake in time`,
  );
  assertEquals([connecting.code, connecting.retryable], ["timeout", true]);
  // The message waits for a connection that does not open.
  const publishing = await assertRejects(
    () => publish(`amqp://127.0.0.1:${port}`, "orders", { body: "a" }, { timeoutMs: 200 }),
    TransportError,
    `Cannot publish to "orders" at 127.0.0.1:${port}: no outcome in 200 ms, it has not left`,
  );
  assertEquals([publishing.code, publishing.retryable, publishing.name], ["timeout", true, "TransportError"]);
  for (const socket of sockets) socket.destroy();
  silent.close();
  await once(silent, "close");
});

test("publish: time that is up while the outcome is awaited says that the message may arrive", async () => {
  const broker = new Broker();
  broker.faults.set(() => ({ dropDispositionsOut: true }));
  await using listener = await listen({ port: 0, host: "127.0.0.1", acceptor: broker });
  const url = `amqp://127.0.0.1:${listener.port}`;
  const error = await assertRejects(() => publish(url, "orders", { body: "a" }, { timeoutMs: 500 }), TransportError);
  assertStringIncludes(error.message, "no outcome in 500 ms, it has left and may arrive");
  assertEquals(broker.queue("orders")?.messages, 1);
  const signal = AbortSignal.timeout(500);
  const aborted = await assertRejects(() => publish(url, "orders", { body: "a" }, { signal }), SendAbortedError);
  assertEquals([aborted.sent, aborted.name], [true, "TimeoutError"]);
  await broker.close();
});

test("connect: a proxy that is not there, or whose URL cannot be used, is told as the proxy, with what to write", async () => {
  const through = (proxy: string) => connect("ws://broker.example/", { proxy, reconnect: false });
  await assertRejects(() => through("http://127.0.0.1:9"), TransportError, 'Cannot connect to proxy "127.0.0.1:9": ');
  const cases: [proxy: string, text: string][] = [
    ["127.0.0.1:3128", 'url cannot be parsed; write one such as "http://proxy.example:3128"'],
    ["proxy.example:3128", 'url starts with "proxy.example:" and not with "http:" or "https:"; write "http://" before'],
    ["socks4://proxy.example", 'of SOCKS only "socks5:" is known'],
  ];
  for (const [proxy, text] of cases) await assertRejects(() => through(proxy), TypeError, text);
});

test("gateway: a target that cannot be reached is logged with its reason, and the client learns that the target is at fault", async () => {
  const entries: LogEntry[] = [];
  const listening = { port: 0, host: "127.0.0.1", log: (entry: LogEntry) => void entries.push(entry) };
  await using running = await gateway({ listen: listening, target: "amqp://127.0.0.1:9" });
  await assertRejects(
    () => connect(`ws://127.0.0.1:${running.port}`, { transport: "socket", reconnect: false }),
    TransportError,
    'connection ended with code 1011, reason "the gateway cannot use the target"',
  );
  assertEquals(entries.map(({ code }) => code), ["refused"]);
  assertStringIncludes(entries[0]!.message, 'Cannot relay client from 127.0.0.1: Cannot connect to "127.0.0.1:9": ');
});
