import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { TransportError } from "../../../src/base/errors.ts";
import { type BunSocket, handler as bunHandler } from "../../../src/transport/runtime/bun.ts";
import type { Channel } from "../../../src/transport/channel.ts";
import { handler as denoHandler } from "../../../src/transport/runtime/deno.ts";
import { upgradeListener } from "../../../src/transport/socket/http_server.ts";
import { listen } from "../../../src/transport/socket/listen.ts";
import { admit, type UpgradeOptions } from "../../../src/transport/websocket/upgrade.ts";
import { handler as workersHandler } from "../../../src/transport/runtime/workers.ts";
import { test } from "../../harness.ts";
import { record } from "../channel_log.ts";

const HANDSHAKE = {
  "connection": "keep-alive, Upgrade",
  "upgrade": "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": "amqp",
};

/** The chosen subprotocol or the status of the refusal, for a handshake with these headers changed. */
function verdict(
  headers: Record<string, string | undefined>,
  options?: UpgradeOptions,
  method = "GET",
): string | number {
  const fields = Object.entries({ ...HANDSHAKE, ...headers }).filter(([, value]) => value !== undefined);
  const answer = admit({ method, headers: new Headers(fields as [string, string][]) }, options);
  return typeof answer === "string" ? answer : answer.status;
}

const offer = (names: string | undefined, options?: UpgradeOptions): string | number =>
  verdict({ "sec-websocket-protocol": names }, options);

test("WSB-3, WSB-7: chooses amqp when it is offered as a whole token in lower case", () => {
  for (const names of ["amqp", "mqtt, amqp", "mqtt,amqp", " amqp ", "mqtt,\tamqp\t,x", ",,amqp,", "amqp, amqp"]) {
    assertEquals(offer(names), "amqp", names);
  }
  for (const names of ["AMQP", "mqtt-amqp", "amqp1", "amqp.v1", "amq p", "amqp;q=1", "amqp\u00a0", '"amqp"']) {
    assertEquals(offer(names), 400, names);
  }
});

test("WSB-8: a request without a known name is refused with 400", () => {
  for (const names of [undefined, "", ",", "mqtt", "mqtt, v12.stomp"]) assertEquals(offer(names), 400, names);
});

test("WSB-6, WSB-9: of several known names our first counts, not the client's", () => {
  const options = { subprotocols: ["amqp", "AMQPWSB10"] };
  assertEquals(offer("AMQPWSB10, amqp", options), "amqp");
  assertEquals(offer("AMQPWSB10", options), "AMQPWSB10");
  assertEquals(offer("amqpwsb10", options), 400);
  for (const subprotocols of [[], ["a,b"], ["amqp", "amqp"]]) {
    assertThrows(() => offer("amqp", { subprotocols }), TypeError);
  }
});

test("WS-16: a hostile list of names costs time in proportion to its length", () => {
  for (
    const names of [" ".repeat(100_000) + "x", `b${" ".repeat(100_000)}c`, "a,".repeat(100_000), ",".repeat(100_000)]
  ) {
    const start = performance.now();
    assertEquals(offer(`${names},amqp,`), names.includes("b") ? 400 : "amqp");
    assert(performance.now() - start < 1000);
  }
});

test("WS-11, WS-12: what is no WebSocket handshake is refused", () => {
  assertEquals(verdict({}, {}, "POST"), 405);
  assertEquals(verdict({}, {}, "HEAD"), 405);
  assertEquals(verdict({ upgrade: undefined }), 426);
  assertEquals(verdict({ upgrade: "h2c" }), 426);
  assertEquals(verdict({ upgrade: "websocket2" }), 426);
  assertEquals(verdict({ upgrade: "h2c, WebSocket" }), "amqp");
  assertEquals(verdict({ connection: "keep-alive" }), 400);
  assertEquals(verdict({ connection: "UPGRADE" }), "amqp");
  assertEquals(verdict({ connection: undefined }), "amqp", "hidden by a front end");
  assertEquals(verdict({ "sec-websocket-version": "8" }), 426);
});

test("WS-12: refusals carry what HTTP requires, and nothing of the request", async () => {
  const refusal = (headers: Record<string, string>, method = "GET"): Response => {
    const answer = admit({ method, headers: new Headers(headers) });
    assertInstanceOf(answer, Response);
    return answer;
  };
  assertEquals(refusal(HANDSHAKE, "PUT").headers.get("allow"), "GET");
  assertEquals(refusal({}).headers.get("upgrade"), "websocket");
  const version = refusal({ ...HANDSHAKE, "sec-websocket-version": "99" });
  assertEquals(version.headers.get("sec-websocket-version"), "13");
  const reflected = refusal({ ...HANDSHAKE, "origin": "https://evil.example", "sec-websocket-protocol": "evil" });
  assertEquals(
    await reflected.text(),
    'Cannot accept WebSocket: its Origin is not allowed; pages and programs that send one have to be named in "origins"\n',
  );
});

test("ATK-20, WS-13: pages are refused unless their origin is allowed, programs are not concerned", () => {
  const origin = (value: string, origins?: UpgradeOptions["origins"]): string | number =>
    verdict({ origin: value }, { origins });
  assertEquals(verdict({}), "amqp");
  assertEquals(origin("https://app.example"), 403);
  assertEquals(origin("null"), 403);
  assertEquals(origin(""), 403);
  assertEquals(origin("https://app.example", ["https://app.example"]), "amqp");
  assertEquals(origin("https://app.example.evil", ["https://app.example"]), 403);
  assertEquals(origin("http://app.example", ["https://app.example"]), 403);
  assertEquals(origin("https://app.example", "any"), "amqp");
  assertEquals(origin("https://a.app.example", (value) => value.endsWith(".app.example")), "amqp");
  assertEquals(origin("https://a.other.example", (value) => value.endsWith(".app.example")), 403);
  assertEquals(verdict({}, { origins: () => false }), "amqp");
});

test("ATK-20: a text where a list of origins belongs lets no page in, and is refused by whoever is told of it", async () => {
  const origins = "https://app.example.com" as unknown as UpgradeOptions["origins"];
  for (const value of ["https://app.example", "https://app.example.com", ""]) {
    assertEquals(verdict({ origin: value }, { origins }), 403);
  }
  const told = 'option "origins" is "https://app.example.com", not "any", "same-host", function or array of string';
  const accept = (): void => {};
  for (const handler of [bunHandler, denoHandler, workersHandler]) {
    assertThrows(() => handler(accept, { origins }), TypeError, told);
  }
  assertThrows(() => upgradeListener({ accept, origins }), TypeError, told);
  await assertRejects(() => listen({ port: 0, accept, origins }), TypeError, told);
});

test("WS-36: adapters for Deno and Workers name their runtime elsewhere", () => {
  const runtime = globalThis as { Deno?: unknown };
  const request = new Request("http://h/");
  if (runtime.Deno === undefined) assertThrows(() => denoHandler(() => {})(request), TransportError, "not Deno");
  assertThrows(() => workersHandler(() => {})(request), TransportError, "not Cloudflare Workers");
});

/** Bun's side of one connection. */
function bunConnection(accept: (channel: Channel) => void, options?: UpgradeOptions): {
  results: number[];
  sent: number[];
  calls: string[];
  backlog: { bytes: number };
  socket: BunSocket;
  handler: ReturnType<typeof bunHandler>;
  headers: Record<string, string>;
} {
  const handler = bunHandler((channel) => accept(channel), options);
  const results: number[] = [];
  const sent: number[] = [];
  const calls: string[] = [];
  const backlog = { bytes: 0 };
  let upgraded: Parameters<Parameters<typeof handler.fetch>[1]["upgrade"]>[1] | undefined;
  let socket: BunSocket | undefined;
  const answer = handler.fetch({ method: "GET", headers: new Headers(HANDSHAKE) } as Request, {
    upgrade(_request, options): boolean {
      upgraded = options;
      socket = {
        data: options.data,
        send: (message) => {
          sent.push(message[0]);
          return results.shift() ?? message.length;
        },
        close: (code) => calls.push(`close ${code}`),
        terminate: () => calls.push("terminate"),
        getBufferedAmount: () => backlog.bytes,
      };
      // Before `upgrade` returns, as Bun does.
      handler.websocket.open(socket);
      return true;
    },
  });
  assertEquals(answer, undefined);
  return { results, sent, calls, backlog, socket: socket!, handler, headers: upgraded!.headers };
}

test("WSB-3 and WSB-10: under Bun the chosen name is set, not left to the client's first, and compression refused", () => {
  const { headers, handler } = bunConnection(() => {});
  assertEquals(headers, { "sec-websocket-protocol": "amqp" });
  assertEquals(handler.websocket.perMessageDeflate, false);
  assertEquals(handler.websocket.idleTimeout, 0);
});

test("adapters: under Bun nothing of the request outlives the upgrade but what its taker keeps", () => {
  const { socket } = bunConnection(() => {});
  assertEquals(Object.values(socket.data as Record<string, unknown>).filter((value) => value !== undefined).length, 1);
});

test("WSB-8: under Bun a request that Bun itself would not upgrade is refused with 400", () => {
  const request = { method: "GET", headers: new Headers(HANDSHAKE) } as Request;
  assertEquals(bunHandler(() => {}).fetch(request, { upgrade: () => false })?.status, 400);
  const plain = { method: "GET", headers: new Headers() } as Request;
  assertEquals(bunHandler(() => {}).fetch(plain, { upgrade: () => assert(false, "upgraded") as never })?.status, 426);
});

test("ATK-18: under Bun nothing is sent between backlog and drain, so nothing is dropped", async () => {
  let channel: Channel | undefined;
  const { results, sent, calls, backlog, socket, handler } = bunConnection((given) => channel = given);
  const log = record(channel!);
  backlog.bytes = 7;
  results.push(1, -1);
  for (const value of [1, 2, 3, 4]) channel!.send(Uint8Array.of(value));
  assertEquals(sent, [1, 2]);
  assertEquals(channel!.bufferedAmount, 9);
  channel!.close(1003);
  assertEquals(calls, []);
  backlog.bytes = 0;
  handler.websocket.drain(socket);
  assertEquals(sent, [1, 2, 3, 4]);
  assertEquals(calls, ["close 1003"]);
  handler.websocket.close(socket, 1003, "");
  assertEquals((await log.closed).code, 1003);
});

test("ATK-18: under Bun a message that was dropped all the same ends the channel", async () => {
  let channel: Channel | undefined;
  const { results } = bunConnection((given) => channel = given);
  const log = record(channel!);
  results.push(0);
  channel!.send(Uint8Array.of(1));
  const { code, cause } = await log.closed;
  assertEquals(code, 1006);
  assertInstanceOf(cause, TransportError);
});

test("ATK-20: same-host lets in pages and programs of this machine, and no name that may lead here later", () => {
  const ask = (origin: string, host: string) => {
    const headers = new Headers({ upgrade: "websocket", "sec-websocket-protocol": "amqp", origin, host });
    const answer = admit({ method: "GET", headers }, { origins: "same-host" });
    return typeof answer === "string" ? answer : answer.status;
  };
  assertEquals(ask("http://localhost:3000", "localhost:5672"), "amqp");
  assertEquals(ask("http://127.0.0.1:5672", "127.0.0.1:5672"), "amqp");
  assertEquals(ask("http://[::1]", "[::1]:5672"), "amqp");
  assertEquals(ask("http://evil.example", "evil.example"), 403);
  assertEquals(ask("http://evil.example", "127.0.0.1:5672"), 403);
  assertEquals(ask("http://127.0.0.1", "localhost"), 403);
  assertEquals(ask("null", "localhost"), 403);
  assertEquals(ask("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"), 403);
});
