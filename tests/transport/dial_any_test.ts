import { assertEquals, assertNotEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import process from "node:process";
import { connect, TransportError } from "../../mod.ts";
import { acceptor } from "../../src/server/acceptor.ts";
import { hasOwnDispatcher } from "../../src/transport/runtime/node.ts";
import { dialAny, type DialAnyOptions } from "../../src/transport/dial.ts";
import { readUrl } from "../../src/transport/url.ts";
import { listen } from "../../src/transport/socket/listen.ts";
import { test } from "../harness.ts";
import { ca } from "../pki.ts";
import { rawServer } from "./raw_peer.ts";

/** Options that need sockets, with their names in the error. */
const NEEDS: ReadonlyArray<readonly [url: string, options: DialAnyOptions, need: string]> = [
  ["amqp://127.0.0.1:1", {}, 'URL scheme "amqp:"'],
  ["amqps://127.0.0.1:1", {}, 'URL scheme "amqps:"'],
  ["ws://127.0.0.1:1", { headers: { a: "b" } }, 'option "headers"'],
  ["wss://127.0.0.1:1", { tls: { ca } }, 'option "tls"'],
  ["ws://127.0.0.1:1", { proxy: "http://127.0.0.1:2" }, 'option "proxy"'],
  ["ws://127.0.0.1:1", { headers: { a: "b" }, proxy: "env" }, 'option "proxy"'],
];

test("transport: the runtime's own WebSocket wherever it will do, a socket where an option needs it", async () => {
  const server = await rawServer((peer) => peer.refuse(403));
  const first = (): string =>
    server.peers.at(-1)!.head.split("\r\n").filter((line) => /^x-own|^host/i.test(line)).join();
  const ways: Array<[DialAnyOptions, boolean]> = [
    [{}, false],
    [{ transport: "websocket" }, false],
    [{ headers: { "X-Own": "1" } }, true],
    [{ transport: "socket", headers: [["X-Own", "1"]] }, true],
  ];
  for (const [options, own] of ways) {
    await assertRejects(() => dialAny(server.url, options), TransportError);
    assertEquals(first().includes("X-Own"), own);
  }
  await server.close();
});

test("transport: auto takes a socket on Deno and Node, whose own WebSockets are slow, and nowhere else", async () => {
  const server = await rawServer((peer) => peer.refuse(403));
  const fields = async (transport: DialAnyOptions["transport"]): Promise<string[]> => {
    await assertRejects(() => dialAny(server.url, { transport }), TransportError);
    return server.peers.at(-1)!.head.split("\r\n").map((line) => line.split(":", 1)[0]!);
  };
  const [auto, native, own] = [await fields("auto"), await fields("websocket"), await fields("socket")];
  assertNotEquals(native, own);
  assertEquals(auto, /^(Deno|Node\.js)\//.test(navigator.userAgent) ? own : native);
  await server.close();
});

test("transport: the host of an amqp: URL is written as that of a ws: URL, whether it needs a second look or not", () => {
  const plain = ["localhost", "a.b-c.example", "127.0.0.1", "255.249.199.99", "a--b", "1.a", "-a"];
  const others = [
    "EXAMPLE",
    "127.1",
    "0x7f.1",
    "%61",
    "b\u00fccher.example",
    "xn--bcher-kva.example",
    "a.",
    "[::1]",
    "1.2.3.4.",
  ];
  for (const host of [...plain, ...others]) {
    const normal = new URL(`ws://${host}`).hostname.replace(/^\[|\]$/g, "");
    assertEquals(readUrl(`amqp://${host}`).hostname, normal, host);
    assertEquals(normal === host, plain.includes(host) || ["a.", "xn--bcher-kva.example"].includes(host), host);
  }
  for (const host of ["256.1.1.1", "1.2.3.4.5", "a.1"]) {
    assertThrows(() => readUrl(`amqp://${host}`), TypeError);
  }
});

test("WSB-10, ATK-17: the runtime's own WebSocket offers no compression where it can be told so", async () => {
  const server = await rawServer((peer) => peer.refuse(403));
  for (const subprotocols of [["amqp"], ["one", "two"], []]) {
    await assertRejects(() => dialAny(server.url, { transport: "websocket", subprotocols }), TransportError);
    const { head } = server.peers.at(-1)!;
    assertEquals(/^sec-websocket-protocol: (.*)\r$/im.exec(head)?.[1]?.split(/, ?/) ?? [], subprotocols);
    if (!navigator.userAgent.startsWith("Node.js/")) assertEquals(/^sec-websocket-extensions:/im.test(head), false);
  }
  await server.close();
});

test("transport: auto takes Node's own WebSocket where that has a dispatcher of the program's or the environment's", async () => {
  const isNode = navigator.userAgent.startsWith("Node.js/");
  const server = await rawServer((peer) => peer.refuse(403));
  const host = globalThis as { [key: symbol]: unknown };
  const key = Symbol.for("undici.globalDispatcher.1");
  // Node makes its dispatcher when its WebSocket is first used.
  await assertRejects(() => dialAny(server.url, { transport: "websocket" }), TransportError);
  const original = host[key];
  let asked = 0;
  const settings = Symbol("options");
  class Agent {
    readonly [settings]: { connect: unknown };
    constructor(connect?: unknown) {
      this[settings] = { connect };
    }
    dispatch(): boolean {
      asked++;
      throw new Error("Not today");
    }
  }
  class ProxyAgent extends Agent {}
  // An agent as undici's `compose` and its version 8 change it.
  const composed = new Proxy(new Agent(), {
    get: (agent, name) => name === "dispatch" ? () => agent.dispatch() : Reflect.get(agent, name),
  });
  class Dispatcher1Wrapper extends Agent {}
  const next = Symbol.for("undici.globalDispatcher.2");
  const originalNext = host[next];
  try {
    const cases = [
      [new Agent(), false],
      [new Agent({ ca }), true],
      [new ProxyAgent(), true],
      [composed, true],
      [new Dispatcher1Wrapper(), false, new Agent()],
      [new Dispatcher1Wrapper(), true, new ProxyAgent()],
    ] as const;
    for (const [dispatcher, own, wrapped] of cases) {
      asked = 0;
      host[key] = dispatcher;
      host[next] = wrapped;
      await assertRejects(() => dialAny(server.url), TransportError);
      assertEquals(asked > 0, isNode && own);
      // Deno and Bun do not use the dispatcher, whoever has set it.
      assertEquals(hasOwnDispatcher(), isNode && own);
    }
  } finally {
    host[key] = original;
    if (originalNext === undefined) delete host[next];
    else host[next] = originalNext;
  }
  await server.close();
});

test("transport: auto does with the runtime's own WebSocket where there are no sockets", async () => {
  const server = await rawServer((peer) => peer.refuse(403));
  const host = process as { getBuiltinModule?: unknown };
  const { getBuiltinModule } = host;
  try {
    host.getBuiltinModule = undefined;
    const error = await assertRejects(() => dialAny(server.url), TransportError);
    assertNotEquals(error.code, "not-supported");
  } finally {
    host.getBuiltinModule = getBuiltinModule;
  }
  await server.close();
});

test("transport: what websocket cannot do is a mistake, and names what needs a socket", async () => {
  for (const [url, options, need] of NEEDS) {
    const error = await assertRejects(() => dialAny(url, { ...options, transport: "websocket" }), TypeError);
    assertEquals(error.message, `Cannot connect: ${need} needs transport "socket"`);
  }
});

test("not-supported: where there are no sockets, an error names the runtime and what needs them", async () => {
  const host = process as { getBuiltinModule?: unknown };
  const original = host.getBuiltinModule;
  try {
    host.getBuiltinModule = undefined;
    const socket = { transport: "socket" } as const;
    for (const [url, options, need] of [...NEEDS, ["ws://127.0.0.1:1", socket, 'transport "socket"'] as const]) {
      const error = await assertRejects(() => dialAny(url, options), TransportError);
      assertEquals(error.code, "not-supported");
      assertStringIncludes(error.message, `Cannot use ${need}: "`);
      assertStringIncludes(error.message, navigator.userAgent);
    }
    const error = await assertRejects(() => listen({ port: 0, accept: () => {} }), TransportError);
    assertEquals(error.code, "not-supported");
  } finally {
    host.getBuiltinModule = original;
  }
});

test("ATK-28: PLAIN over amqp to another host is refused before anything is sent", async () => {
  const error = await assertRejects(() => connect("amqp://user:s3cret@broker.invalid"));
  assertStringIncludes((error as Error).message, "Cannot authenticate with PLAIN");
  assertEquals((error as Error).message.includes("s3cret"), false);
});

test("connect: user info of an amqp URL is used for PLAIN, its host for open", async () => {
  const hosts: (string | undefined)[] = [];
  const server = acceptor({
    sasl: { users: { "me@home": "p:w" } },
    onConnection: ({ remote, identity }) => void hosts.push(remote?.hostname, identity),
  });
  await using listener = await listen({ port: 0, host: "127.0.0.1", acceptor: server });
  {
    await using _ = await connect(`amqp://me%40home:p%3Aw@localhost:${listener.port}`);
  }
  assertEquals(hosts, ["localhost", "me@home"]);
  await server.close();
});

test("ATK-14: a URL that cannot be used is not repeated", async () => {
  for (const url of ["wss://user:s3cret@ broken", "s3cret", "ftp://user:s3cret@x", "wss://user:s3cret@x/#s3cret"]) {
    const error = await assertRejects(() => connect(url), TypeError);
    assertEquals(`${error.message}${error.stack}${error.cause}`.includes("s3cret@"), false, error.message);
  }
});
