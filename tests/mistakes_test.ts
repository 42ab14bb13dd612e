/**
 * Plausible mistakes of a program, with their errors: each names what is wrong and what to do. Prints the table.
 *
 * Programs in JavaScript make them as those in TypeScript do, so nothing here is held back by types.
 *
 * @module
 */

// deno-lint-ignore-file no-explicit-any
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { Broker } from "../src/broker/broker.ts";
import type { LogEntry } from "../src/base/log.ts";
import { connect as typedConnect, publish as typedPublish } from "../src/client/connect.ts";
import { gateway } from "../src/gateway/gateway.ts";
import { plain } from "../src/sasl/client.ts";
import { listen } from "../src/transport/sockets.ts";
import { linkUp } from "./client/link_up.ts";
import { turn, VirtualTime } from "./client/virtual.ts";
import { test } from "./harness.ts";
import { keyPair } from "./pki.ts";

type Loose = (...parameters: any[]) => any;
const connect = typedConnect as Loose;
const publish = typedPublish as Loose;
const once = { reconnect: false } as const;
const NOWHERE = "ws://127.0.0.1:9/";

interface Place {
  /** A client of a broker with a queue "orders". */
  readonly connection: any;
  readonly broker: Broker;
  /** The client's log. */
  readonly entries: LogEntry[];
  readonly time: VirtualTime;
}

type Mistake = (place: Place) => unknown;

/** A received delivery with this body. */
async function received({ connection }: Place, body: unknown): Promise<any> {
  await connection.sender("bodies").send({ body });
  const delivery = await connection.receiver("bodies").receive();
  delivery.accept();
  return delivery.message;
}

async function onceLogged(
  { entries, time }: Place,
  promise: Promise<unknown> | undefined,
  code: string,
): Promise<never> {
  promise?.catch(() => {});
  for (let i = 0; i < 4 && !entries.some((entry) => entry.code === code); i++) await time.pass(10_000);
  throw new Error(entries.find((entry) => entry.code === code)?.message ?? "nothing was logged");
}

/** Connects to a server that is no AMQP peer. */
async function at(
  accept: (channel: any) => void,
  use: (port: number) => unknown,
  options: object = {},
): Promise<unknown> {
  const listener = await listen({ port: 0, host: "127.0.0.1", accept, ...options } as never);
  try {
    return await use(listener.port);
  } finally {
    await listener.close();
  }
}

/** Without sockets, as in a browser or a Worker. */
async function withoutSockets(work: () => Promise<unknown>): Promise<unknown> {
  const host = process as { getBuiltinModule?: unknown };
  const { getBuiltinModule } = host;
  try {
    host.getBuiltinModule = undefined;
    return await work();
  } finally {
    host.getBuiltinModule = getBuiltinModule;
  }
}

// The number in the list of mistakes, the mistake, and its error.
const MISTAKES: [number, string, RegExp, Mistake][] = [
  [
    1,
    "http: scheme",
    /^TypeError: Cannot connect: URL scheme "http:" is not "wss:", "ws:", "amqps:" or "amqp:"; write "ws:"/,
    () => connect("http://broker.example/", once),
  ],
  [
    1,
    "tcp: scheme",
    /^TypeError: Cannot connect: URL scheme "tcp:" is not "wss:", "ws:", "amqps:" or "amqp:"; write "amqp:"/,
    () => connect("tcp://broker.example/", once),
  ],
  [
    1,
    "sb: scheme",
    /^TypeError: Cannot connect: URL scheme is "sb:"; give the connection string to "azure" of @webamqp\/amqp\/azure/,
    () => connect("sb://shop.servicebus.windows.net/", once),
  ],
  [
    2,
    "no scheme",
    /^TypeError: Cannot connect: URL has no scheme; write "wss:", "ws:", "amqps:" or "amqp:" and "\/\/" before its host/,
    () => connect("broker.example:5672/amqp", once),
  ],
  [
    2,
    "undefined as URL",
    /^TypeError: Cannot connect: URL is undefined and not a string, such as "wss:\/\/host\/path"/,
    () => connect(undefined, once),
  ],
  [
    2,
    "a connection string",
    /^TypeError: Cannot connect: this is a connection string and not a URL; give it to "azure" of @webamqp\/amqp\/azure/,
    () => connect("Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0", once),
  ],
  [
    2,
    "an object as URL",
    /^TypeError: Cannot connect: URL is object and not a string, such as "amqps:\/\/host:port" for a host and a port/,
    () => connect({ host: "broker.example", port: 5671 }, once),
  ],
  [
    3,
    '"/" in a URL\'s password',
    /^TypeError: Cannot connect: URL has "\/", "\?" or "#" in its user name or password/,
    () => connect("amqps://user:a/b@broker.example/", once),
  ],
  [
    4,
    "no await before connect",
    // JavaScript's own error, which names the call; TypeScript reports that `await` is missing.
    /^TypeError: .*\bsender is not a function/,
    () => {
      const connection = typedConnect(NOWHERE, once);
      connection.catch(() => {});
      // @ts-expect-error a promise has no sender
      return connection.sender("orders");
    },
  ],
  [
    5,
    "send(undefined)",
    /^TypeError: Cannot encode message: it is (undefined|a string), not an object such as \{ body: "text" \}/,
    ({ connection }) => connection.sender("orders").send(undefined),
  ],
  [
    6,
    'send("text")',
    /^TypeError: Cannot encode message: it is (undefined|a string), not an object such as \{ body: "text" \}/,
    ({ connection }) => connection.sender("orders").send("text"),
  ],
  [
    6,
    "send({ orderId })",
    /^TypeError: Cannot encode message: there is no field "orderId", what the message carries belongs in body/,
    ({ connection }) => connection.sender("orders").send({ orderId: 1 }),
  ],
  [
    7,
    "rhea's message_id",
    /^TypeError: Cannot encode message: "message_id" belongs in properties as "messageId"/,
    ({ connection }) => connection.sender("orders").send({ message_id: "1", body: 1 }),
  ],
  [
    7,
    "Azure's contentType beside body",
    /^TypeError: Cannot encode message: "contentType" belongs in properties/,
    ({ connection }) => connection.sender("orders").send({ contentType: "text/plain", body: 1 }),
  ],
  [
    8,
    "a Date or a bigint as body",
    /^works: 2026-11-28T05:00:00\.000Z and 9007199254740993$/,
    async (place) => {
      const { body: [at, long] } = await received(place, [new Date("2026-11-28T05:00:00Z"), 9007199254740993n]);
      return `works: ${at.toISOString()} and ${long}`;
    },
  ],
  [
    9,
    "bigint above 2^63",
    /^RangeError: Cannot encode long: 9223372036854775808 does not fit \(body: ulong\(n\) reaches to 2\^64-1\)/,
    ({ connection }) => connection.sender("orders").send({ body: 2n ** 63n }),
  ],
  [
    10,
    "a nested object as body, read by json() or as the map that it is",
    /^works: \{"a":\{"b":\[1,2\]\}\} and \[1,2\]$/,
    async (place) => {
      const message = await received(place, { a: { b: [1, 2] } });
      return `works: ${JSON.stringify(message.json())} and ${JSON.stringify(message.body.get("a").get("b"))}`;
    },
  ],
  [
    11,
    "a class instance as body",
    /^TypeError: Cannot encode map: an object of class Order does not fit \(body: json\(value\) sends it as JSON\)/,
    ({ connection }) => connection.sender("orders").send({ body: new (class Order {})() }),
  ],
  [
    11,
    "an ArrayBuffer as body",
    /^TypeError: Cannot encode map: an object of class ArrayBuffer does not fit \(body: write new Uint8Array\(buffer\)\)/,
    ({ connection }) => connection.sender("orders").send({ body: new ArrayBuffer(1) }),
  ],
  [
    11,
    "a Promise as body",
    /^TypeError: Cannot encode map: an object of class Promise does not fit \(body: await it first\)/,
    ({ connection }) => connection.sender("orders").send({ body: Promise.resolve(1) }),
  ],
  [
    12,
    "a function in the body",
    /^TypeError: Cannot encode value: there is no AMQP type for a function \(body\.items\[1\]\.fn\)/,
    ({ connection }) => connection.sender("orders").send({ body: { items: [{}, { fn: () => 1 }] } }),
  ],
  [
    13,
    "{ a: undefined } as body",
    /^works: \{"a":null\}$/,
    async (place) => `works: ${JSON.stringify((await received(place, { a: undefined })).json())}`,
  ],
  [14, "a body that holds itself", /^TypeError: Cannot encode body: body\.self holds itself/, ({ connection }) => {
    const body: any = {};
    body.self = body;
    return connection.sender("orders").send({ body });
  }],
  [
    15,
    "messageId: 5",
    /^TypeError: Cannot encode message id: it is neither string, bigint, Uint8Array nor uuid; write String\(5\) or BigInt\(5\) \(properties, field "messageId"\)/,
    ({ connection }) => connection.sender("orders").send({ properties: { messageId: 5 } }),
  ],
  [
    16,
    "ttl: -1",
    /^RangeError: Cannot encode uint: -1 does not fit \(header, field "ttl"\)/,
    ({ connection }) => connection.sender("orders").send({ header: { ttl: -1 } }),
  ],
  [
    17,
    "nested applicationProperties",
    /^TypeError: Cannot encode application properties: "a" is not a simple value/,
    ({ connection }) => connection.sender("orders").send({ applicationProperties: { a: {} } }),
  ],
  [18, "send after close", /^AmqpError: Cannot send: sender of "orders" at "\w+" is closed/, async ({ connection }) => {
    const sender = connection.sender("orders");
    await sender.close();
    await sender.send({ body: 1 });
  }],
  [
    18,
    "send of a connection after close",
    /^AmqpError: Cannot send to "orders": connection to "\w+" is closed/,
    async ({ connection, time }) => {
      await connection.ready();
      await time.wait(connection.close());
      await connection.send("orders", { body: 1 });
    },
  ],
  [
    18,
    "receive after close",
    /^AmqpError: Cannot receive: receiver of "orders" at "\w+" is closed/,
    async ({ connection }) => {
      const receiver = connection.receiver("orders");
      await receiver.close();
      await receiver.receive();
    },
  ],
  [
    19,
    "accept after loss",
    /^OutcomeError: Cannot settle delivery of "orders" at "\w+": cable cut; the sender hands the message out again/,
    async (place) => {
      await place.connection.sender("orders").send({ body: 1 });
      const delivery = await place.connection.receiver("orders").receive();
      place.connection.destroy(new Error("cable cut"));
      delivery.accept();
    },
  ],
  [
    19,
    "accept twice",
    /^AmqpError: Cannot settle delivery of "orders" at "\w+": it is accepted already/,
    async (place) => {
      await place.connection.sender("orders").send({ body: 1 });
      const delivery = await place.connection.receiver("orders").receive();
      delivery.accept();
      delivery.accept();
    },
  ],
  [
    20,
    "two receivers, the first of which never reads",
    /^works: the second got 10 of 10$/,
    async ({ connection }) => {
      for (let i = 0; i < 10; i++) await connection.send("orders", { body: i });
      connection.receiver("orders");
      const second = connection.receiver("orders");
      for (let i = 0; i < 10; i++) (await second.receive()).accept();
      return "works: the second got 10 of 10";
    },
  ],
  [
    21,
    "credit 0",
    /^Error: Cannot receive messages of "orders" at "\w+": the sender has no credit, call grant\(\) or leave out the credit that the receiver was given/,
    (place) => onceLogged(place, place.connection.receiver("orders", { credit: 0 }).receive(), "no-credit"),
  ],
  [
    21,
    '"manual" without grant',
    /^Error: Cannot receive messages of "orders" at "\w+": the sender has no credit, call grant\(\) or leave out the credit that the receiver was given/,
    (place) => onceLogged(place, place.connection.receiver("orders", { credit: "manual" }).receive(), "no-credit"),
  ],
  [
    22,
    "credit -1",
    /^RangeError: Cannot grant credit: -1 is not a whole number from 0 to 2\^32-1/,
    ({ connection }) => connection.receiver("orders", { credit: -1 }),
  ],
  [
    23,
    "concurrency 0",
    /^RangeError: Cannot serve: concurrency 0 is not a whole number from 1/,
    ({ connection }) => connection.receiver("orders").serve(() => {}, { concurrency: 0 }),
  ],
  [
    23,
    "concurrency above credit",
    /^RangeError: Cannot serve "orders": concurrency 50 is above the receiver's credit 10, raise or leave out the credit/,
    ({ connection }) => connection.receiver("orders", { credit: 10 }).serve(() => {}, { concurrency: 50 }),
  ],
  [
    24,
    "an aborted signal",
    /^AbortError: Cannot send to "orders"(?: at "\w+")?: aborted before the message left, /,
    ({ connection }) => connection.sender("orders").send({ body: 1 }, { signal: AbortSignal.abort() }),
  ],
  [25, "closing twice", /^works: closed$/, async ({ connection, time }) => {
    const sender = connection.sender("orders");
    await time.wait(Promise.all([sender.close(), sender.close()]));
    await sender.close();
    await time.wait(Promise.all([connection.close(), connection.close()]));
    await connection.close();
    return `works: ${connection.state}`;
  }],
  [
    26,
    "sender(undefined)",
    /^TypeError: Cannot attach sender: address is undefined, give the name of a queue or another node as a string/,
    ({ connection }) => connection.sender(undefined),
  ],
  [
    27,
    'sender("")',
    /^TypeError: Cannot attach sender: address is empty, give the name of a queue or another node as a string/,
    ({ connection }) => connection.sender(""),
  ],
  [
    27,
    "receiver({ credit })",
    /^TypeError: Cannot attach receiver: address is undefined, give the name of a queue or another node as a string/,
    ({ connection }) => connection.receiver({ credit: 5 }),
  ],
  [
    27,
    "publish without an address",
    /^TypeError: Cannot publish: address is undefined, give the name of a queue or another node as a string/,
    () => publish(NOWHERE, undefined, { body: 1 }, once),
  ],
  [
    28,
    "publish with its arguments swapped",
    /^TypeError: Cannot publish: address is an object with "body", give the name of a queue or another node as a string/,
    () => publish(NOWHERE, { body: 1 }, "orders", once),
  ],
  [
    29,
    "a wrong option of connect",
    /^TypeError: Cannot connect: there is no option "idleTimeout", "idleTimeOut" is meant/,
    () => connect(NOWHERE, { idleTimeout: 5 }),
  ],
  [
    29,
    "a wrong option of receiver",
    /^TypeError: Cannot attach receiver: there is no option "prefetch", "credit" is meant/,
    ({ connection }) => connection.receiver("orders", { prefetch: 5 }),
  ],
  [
    29,
    "a wrong option of listen",
    /^TypeError: Cannot listen: there is no option "hostname", "host" is meant/,
    () => (listen as Loose)({ port: 0, acceptor: {}, hostname: "localhost" }),
  ],
  [
    29,
    "new Broker({ users })",
    /^TypeError: Cannot make broker: there is no option "users", "sasl" is meant/,
    () => new (Broker as any)({ users: {} }),
  ],
  [
    29,
    "a wrong option of gateway",
    /^TypeError: Cannot make gateway: there is no option "url", but listen, target, targets, dial, lingerMs, maxBufferedBytes, onError, trace/,
    () => (gateway as Loose)({ listen: { port: 0 }, targets: [], url: NOWHERE }),
  ],
  [
    30,
    "auth: { username, password }",
    /^TypeError: Cannot connect: option "auth" is an object with "username", "password", not a mechanism such as plain\(user, password\)/,
    () => connect(NOWHERE, { ...once, auth: { username: "user", password: "s3cret" } }),
  ],
  [
    30,
    'auth: "plain"',
    /^TypeError: Cannot connect: option "auth" is a string, not object, array, function or null/,
    () => connect(NOWHERE, { ...once, auth: "plain" }),
  ],
  [
    31,
    "amqp: where there are no sockets",
    /^TransportError: Cannot use URL scheme "amqp:": .* has no sockets; connect by ws: or wss: without it, or run on Node, Deno or Bun/,
    () => withoutSockets(() => connect("amqp://broker.example/", { ...once })),
  ],
  [
    31,
    "tls where there are no sockets",
    /^TransportError: Cannot use option "tls": .* has no sockets; connect by ws: or wss: without it, or run on Node, Deno or Bun/,
    () => withoutSockets(() => connect("wss://broker.example/", { ...once, tls: { serverName: "a" } })),
  ],
  [
    31,
    "headers where there are no sockets",
    /^TransportError: Cannot use option "headers": .* has no sockets; connect by ws: or wss: without it, or run on Node, Deno or Bun/,
    () => withoutSockets(() => connect("wss://broker.example/", { ...once, headers: { "X-Own": "1" } })),
  ],
  [
    31,
    "proxy where there are no sockets",
    /^TransportError: Cannot use option "proxy": .* has no sockets; connect by ws: or wss: without it, or run on Node, Deno or Bun/,
    () => withoutSockets(() => connect("wss://broker.example/", { ...once, proxy: "http://proxy.example:3128" })),
  ],
  [
    32,
    "nobody listens",
    /^TransportError: Cannot connect to "127\.0\.0\.1:9"/,
    () => connect(NOWHERE, { ...once, transport: "socket" }),
  ],
  [
    33,
    "no such host",
    /^TransportError: Cannot connect to "nowhere\.invalid:80"/,
    () => connect("ws://nowhere.invalid/", { ...once, transport: "socket" }),
  ],
  [
    34,
    "a certificate of one's own",
    /^TransportError: Cannot open TLS to "127\.0\.0\.1:\d+": .*; give the authority that its certificate comes from in tls\.ca/,
    () => at(() => {}, (port) => connect(`amqps://127.0.0.1:${port}/`, once), { tls: keyPair("server") }),
  ],
  [
    36,
    "a path instead of PEM",
    /^TypeError: Cannot use tls: certificate is not PEM/,
    () => connect("wss://localhost:9/", { ...once, tls: { ca: "/etc/ssl/ca.pem" } }),
  ],
  [
    35,
    "wss to a ws port",
    /^TransportError: Cannot open TLS to "127\.0\.0\.1:\d+"/,
    () =>
      at(() => {}, (port) => connect(`wss://127.0.0.1:${port}/`, { ...once, transport: "socket" }), {
        schemes: ["ws"],
      }),
  ],
  [
    37,
    "a wrong password",
    /^AmqpError: Cannot authenticate with PLAIN: server refuses the credentials, SASL outcome is "auth"/,
    () => {
      const broker = new Broker({ sasl: { users: { user: "right" } } });
      return at(
        (channel) => broker.accept(channel),
        (port) => connect(`ws://127.0.0.1:${port}/`, { ...once, transport: "socket", auth: plain("user", "s3cret") }),
      );
    },
  ],
  [
    38,
    "no credentials",
    /^AmqpError: Cannot authenticate with ANONYMOUS: server offers "SCRAM-SHA-512, SCRAM-SHA-256, PLAIN"/,
    () => {
      const broker = new Broker({ sasl: { users: { user: "right" } } });
      return at(
        (channel) => broker.accept(channel),
        (port) => connect(`ws://127.0.0.1:${port}/`, { ...once, transport: "socket" }),
      );
    },
  ],
  [
    39,
    "PLAIN in clear to another host",
    /^AmqpError: Cannot authenticate with PLAIN: anyone on the way can read the secret, use wss: or amqps:, or SCRAM, or allowCleartext/,
    () => connect("ws://broker.example/", { ...once, auth: plain("user", "s3cret") }),
  ],
  [
    40,
    "no permission",
    /^AmqpError: Link of "payroll" detached by peer with amqp:unauthorized-access: Cannot send at "payroll": anonymous may not/,
    ({ time }) =>
      linkUp(new Broker({ authorize: () => false, environment: time }), { environment: time }).sender("payroll").send({
        body: 1,
      }),
  ],
  [
    41,
    "a message that is too large",
    /^AmqpError: Cannot send to "orders": message has 2008 bytes, receiver takes 1000/,
    ({ time }) =>
      linkUp(new Broker({ maxMessageSize: 1_000, environment: time }), { environment: time }).sender("orders").send({
        body: "x".repeat(2_000),
      }),
  ],
  [
    42,
    "a queue that is full",
    /^Error: Cannot take more messages for "small": it holds 1 messages of 268 bytes; its producers wait; consume them, or raise "maxMessages" or "maxBytes"/,
    async (place) => {
      const sender = place.connection.sender("small");
      await sender.send({ body: 1 });
      return await onceLogged(place, sender.send({ body: 2 }), "producer-held");
    },
  ],
  [
    43,
    "text() of a number",
    /^TypeError: Cannot read body as text: it is a number, body has the value/,
    async (place) => (await received(place, 5)).text(),
  ],
  [
    44,
    "json() of what is no JSON",
    /^SyntaxError: Cannot read body as JSON/,
    async (place) => (await received(place, "{oops")).json(),
  ],
  [
    45,
    "a request that nobody answers",
    /^Error: Cannot tell the answer of "nobody" at "\w+" yet: none came in 10 s; does anybody answer there\? A signal bounds the wait/,
    (place) => onceLogged(place, place.connection.request("nobody", { body: 1 }), "request-unanswered"),
  ],
  [
    45,
    "a request that is text",
    /^TypeError: Cannot encode message: it is a string, not an object such as \{ body: "text" \}/,
    ({ connection }) => connection.request("sums", "1+2"),
  ],
  [
    45,
    "an answer that is no message",
    /^Error: Cannot handle message of "sums" at "\w+": handler failed, the message goes back as a failed attempt; give "onerror"/,
    (place) => {
      place.connection.respond("sums", () => 5);
      return onceLogged(place, place.connection.request("sums", { body: 1 }), "handler-failed");
    },
  ],
  [
    46,
    "a handler that is no function",
    /^TypeError: Cannot serve: handler is undefined, not a function/,
    ({ connection }) => connection.receiver("orders").serve(undefined),
  ],
  [
    48,
    "a WebSocket that speaks no AMQP",
    /^TransportError: Cannot open connection: time-out, peer sent no open, state is openPipe/,
    () =>
      at((channel) => {
        channel.onbytes = () => {};
        channel.onclose = () => {};
      }, (port) =>
        connect(`ws://127.0.0.1:${port}/`, {
          ...once,
          transport: "socket",
          limits: { openTimeoutMs: 50, closeTimeoutMs: 20 },
        })),
  ],
  [
    47,
    "a broker of AMQP 0-9-1",
    /^AmqpError: Cannot agree on protocol: peer's header is AMQP 0 0 9 1, it speaks AMQP 0-9-1 and not 1\.0/,
    () =>
      at((channel) => {
        channel.onbytes = () => channel.send(Uint8Array.of(65, 77, 81, 80, 0, 0, 9, 1));
        channel.onclose = () => {};
      }, (port) => connect(`amqp://127.0.0.1:${port}/`, once)),
  ],
  [
    49,
    "HTTP 401",
    /^TransportError: Cannot open WebSocket to "ws:\/\/127\.0\.0\.1:\d+\/": status is 401, server says "Refused with status 401"/,
    () =>
      at(() => {}, (port) => connect(`ws://127.0.0.1:${port}/`, { ...once, transport: "socket" }), {
        authenticate: () => ({ status: 401 }),
      }),
  ],
  [
    49,
    "HTTP 404",
    /^TransportError: Cannot open WebSocket to "ws:\/\/127\.0\.0\.1:\d+\/other": status is 404, server says "Refused with status 404"/,
    () =>
      at(() => {}, (port) => connect(`ws://127.0.0.1:${port}/other`, { ...once, transport: "socket" }), {
        paths: ["/amqp"],
      }),
  ],
  [
    50,
    "another subprotocol",
    /^TransportError: Cannot open WebSocket to "ws:\/\/127\.0\.0\.1:\d+\/": status is 400, server says "Cannot accept WebSocket: subprotocol is not \\"amqp\\""/,
    () =>
      at(
        () => {},
        (port) => connect(`ws://127.0.0.1:${port}/`, { ...once, transport: "socket", subprotocols: ["mqtt"] }),
      ),
  ],
];

async function told(mistake: Mistake): Promise<string> {
  const entries: LogEntry[] = [];
  const time = new VirtualTime();
  const broker = new Broker({
    environment: time,
    log: (entry) => entries.push(entry),
    queues: { small: { maxMessages: 1 } },
  });
  const connection = linkUp(broker, { environment: time, log: (entry) => entries.push(entry) });
  try {
    const result = await mistake({ connection, broker, entries, time });
    return typeof result === "string" ? result : "nothing";
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  } finally {
    connection.destroy(new Error("over"));
    await turn();
  }
}

for (const [number, what, expected, mistake] of MISTAKES) {
  test(`mistake ${number}: ${what}`, async () => {
    const text = await told(mistake);
    console.log(`| ${number} | ${what} | ${text} |`);
    assert(expected.test(text), `${text} is not ${expected}`);
    // No error may quote a secret, or be a runtime's error about our code.
    const bad = /s3cret|c2VjcmV0|Cannot read propert|is not a function|undefined is not|^nothing/;
    assert(number === 4 || !bad.test(text), text);
  });
}

test("mistakes: all 50 rows of the list are made", () => {
  assertEquals(
    [...new Set(MISTAKES.map(([number]) => number))].sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => i + 1),
  );
});
