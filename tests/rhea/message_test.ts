import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import rhea, { type Message as RheaDecoded } from "rhea";
import {
  connect,
  data,
  type DecodedMessage,
  json,
  type Message,
  plain,
  publish,
  sequence,
  symbol,
  uint,
  value,
} from "../../mod.ts";
import { type Body, DataBody, SequenceBody, ValueBody } from "../../src/codec/message.ts";
import { test } from "../harness.ts";
import { acceptorServer, type EventContext, once, rheaClient, type RheaMessage, rheaServer, sendAll } from "./rhea.ts";

/** Sends messages to rhea, and returns how rhea decodes them. */
async function toRhea(messages: Message[]): Promise<RheaDecoded[]> {
  await using server = await rheaServer();
  const seen: RheaDecoded[] = [];
  server.container.on("message", ({ message }) => seen.push(message!));
  await using connection = await connect(server.url);
  const sender = connection.sender("q");
  await Promise.all(messages.map((message) => sender.send(message)));
  return seen;
}

/** Sends messages from rhea, and returns how we decode them. */
async function fromRhea(messages: RheaMessage[]): Promise<DecodedMessage[]> {
  await using server = await rheaServer();
  server.container.on("sender_open", ({ sender }) => sendAll(sender!, messages));
  await using connection = await connect(server.url);
  const seen: DecodedMessage[] = [];
  for await (const { message } of connection.receiver("q")) {
    seen.push(message);
    if (seen.length === messages.length) break;
  }
  return seen;
}

/** Sends messages from rhea to an acceptor, which returns each as decoded, and returns how rhea decodes that. */
async function thereAndBack(messages: RheaMessage[]): Promise<RheaDecoded[]> {
  const passing: DecodedMessage[] = [];
  let more = () => {};
  await using server = await acceptorServer({
    onReceiver: (request) =>
      request.accept().serve(({ message }) => {
        passing.push(message);
        more();
      }),
    onSender: async (request) => {
      const sender = request.accept();
      for (let i = 0; i < messages.length; i++) {
        if (passing.length === i) await new Promise<void>((resolve) => more = resolve);
        await sender.send(passing[i]!);
      }
    },
  });
  await using client = await rheaClient(server.url);
  const seen: RheaDecoded[] = [];
  const receiver = client.connection.open_receiver("q");
  const done = new Promise<void>((resolve) =>
    receiver.on("message", ({ message }) => {
      if (seen.push(message!) === messages.length) resolve();
    })
  );
  sendAll(client.connection.open_sender("q"), messages);
  await done;
  return seen;
}

test("MSG-2: rhea sees every kind of body that we send as that kind", async () => {
  const chunks = [Uint8Array.of(1, 2), Uint8Array.of(), Uint8Array.of(3)];
  const bodies: Array<[Body | undefined, unknown]> = [
    [Uint8Array.of(1, 2, 3), rhea.message.data_section(Buffer.from([1, 2, 3]))],
    [data(chunks[0]!), rhea.message.data_section(Buffer.from([1, 2]))],
    [data(chunks), rhea.message.data_sections(chunks.map((chunk) => Buffer.from(chunk)) as never)],
    [json({ a: [1] }), rhea.message.data_section(Buffer.from('{"a":[1]}'))],
    [sequence([[1.5, "a"]]), rhea.message.sequence_section([1.5, "a"])],
    [sequence([["a"], [], [true]]), rhea.message.sequence_sections([["a"], [], [true]] as never)],
    [value(Uint8Array.of(9)), Buffer.from([9])],
    ["text", "text"],
    [42.5, 42.5],
    [7n, 7],
    [false, false],
    [null, null],
    [undefined, null],
    [new Date(1_000), new Date(1_000)],
    [["a", [1.5]], ["a", [1.5]]],
    [{ a: 1.5, b: { c: "d" } }, { a: 1.5, b: { c: "d" } }],
    [new Map([["k", uint(3)]]), { k: 3 }],
    [symbol("s"), "s"],
  ];
  const seen = await toRhea(bodies.map(([body]) => ({ body })));
  for (const [i, message] of seen.entries()) assertEquals(bare(message.body), bare(bodies[i]![1]));
  assertEquals(seen.length, bodies.length);
  assertEquals(seen[3]!.content_type, "application/json");
});

test("MSG-2: every kind of body that rhea sends is that kind here", async () => {
  const { data_section, data_sections, sequence_section, sequence_sections } = rhea.message;
  const chunks = [Buffer.from([1, 2]), Buffer.from([3])];
  const bodies: Array<[unknown, Body]> = [
    [data_section(Buffer.from([1, 2])), Uint8Array.of(1, 2)],
    [data_sections(chunks as never), data(chunks.map((chunk) => Uint8Array.from(chunk)))],
    [sequence_section([1.5, "a"]), sequence([[1.5, "a"]])],
    [sequence_sections([["a"], [true]] as never), sequence([["a"], [true]])],
    [Buffer.from([9]), value(Uint8Array.of(9))],
    ["text", "text"],
    [1.5, 1.5],
    [null, null],
    [undefined, null],
    [{ a: ["b"] }, new Map([["a", ["b"]]])],
  ];
  const seen = await fromRhea(bodies.map(([body]) => ({ body })));
  for (const [i, message] of seen.entries()) assertEquals(bare(message.body), bare(bodies[i]![1]));
  const [one, several, list, lists, binary, text] = seen.map(({ body }) => body);
  assert(one instanceof Uint8Array && several instanceof DataBody && binary instanceof ValueBody);
  assert(list instanceof SequenceBody && lists instanceof SequenceBody && typeof text === "string");
  assertEquals(seen[1]!.bytes(), Uint8Array.of(1, 2, 3));
});

const SECTIONS: RheaMessage = {
  durable: true,
  priority: 9,
  ttl: 60_000,
  first_acquirer: true,
  delivery_count: 3,
  delivery_annotations: { "x-opt-hop": 1.5 },
  message_annotations: { "x-opt-key": "k", "x-opt-list": ["a", [1.5]] },
  message_id: "id",
  user_id: Buffer.from("user"),
  to: "to",
  subject: "subject",
  reply_to: "reply-to",
  correlation_id: 18,
  content_type: "text/plain",
  content_encoding: "gzip",
  absolute_expiry_time: new Date(2_000),
  creation_time: new Date(1_000),
  group_id: "group",
  group_sequence: 4_294_967_295,
  reply_to_group_id: "reply-group",
  application_properties: { text: "grüße", flag: true, number: 1.5 },
  body: "body",
};

// The properties of SECTIONS, as we have them.
function properties() {
  return {
    messageId: "id",
    userId: new TextEncoder().encode("user"),
    to: "to",
    subject: "subject",
    replyTo: "reply-to",
    correlationId: 18n,
    contentType: "text/plain",
    contentEncoding: "gzip",
    absoluteExpiryTime: new Date(2_000),
    creationTime: new Date(1_000),
    groupId: "group",
    groupSequence: 4_294_967_295,
    replyToGroupId: "reply-group",
  };
}

test("MSG-1, MSG-3, MSG-6: rhea reads every section and field that we write", async () => {
  const [seen] = await toRhea([{
    header: { durable: true, priority: 9, ttl: 60_000, firstAcquirer: true, deliveryCount: 3 },
    deliveryAnnotations: { "x-opt-hop": 1.5 },
    messageAnnotations: { "x-opt-key": "k", "x-opt-list": ["a", [1.5]] },
    properties: properties(),
    applicationProperties: { text: "grüße", flag: true, number: 1.5 },
    body: "body",
    footer: { "x-opt-hash": "h" },
  }]);
  assertEquals(bare(seen), bare({ ...SECTIONS, footer: { "x-opt-hash": "h" } }));
});

test("MSG-1, MSG-3, MSG-6: we read every section and field that rhea writes, up to the body", async () => {
  const [seen] = await fromRhea([SECTIONS]);
  assertEquals(seen!.header, { durable: true, priority: 9, ttl: 60_000, firstAcquirer: true, deliveryCount: 3 });
  assertEquals(bare(seen!.deliveryAnnotations), { "x-opt-hop": 1.5 });
  assertEquals(bare(seen!.messageAnnotations), { "x-opt-key": "k", "x-opt-list": ["a", [1.5]] });
  assertEquals(seen!.properties, properties());
  assertEquals(bare(seen!.applicationProperties), { text: "grüße", flag: true, number: 1.5 });
  assertEquals(seen!.body, "body");
});

test("MSG-4: rhea gets back what it sent through us, section by section", async () => {
  const messages: RheaMessage[] = [
    SECTIONS,
    { body: rhea.message.data_sections([Buffer.from("a"), Buffer.from("b")] as never) },
    { body: rhea.message.sequence_sections([[1], ["x", -5]] as never) },
    { body: { __proto__: null, constructor: 1, nested: [0, -1, 1.5, 2 ** 40, -(2 ** 40)] } },
  ];
  const seen = await thereAndBack(messages);
  for (const [i, message] of seen.entries()) assertEquals(bare(message), bare(messages[i]));
});

test("MSG-1: a footer of rhea's, which it writes before the body, is read; limits.strict rejects the message and not the link", async () => {
  for (const strict of [false, true]) {
    const footers: unknown[] = [];
    await using server = await acceptorServer({
      limits: { strict },
      onReceiver: (request) => request.accept().serve(({ message }) => void footers.push({ ...message.footer })),
    });
    await using client = await rheaClient(server.url);
    const sender = client.connection.open_sender("q");
    const outcomes: unknown[] = [];
    sender.on("rejected", ({ delivery }) => outcomes.push(delivery!.remote_state!.error!.condition));
    sender.on("accepted", () => outcomes.push("accepted"));
    sendAll(sender, [{ body: "a", footer: { "x-opt-hash": "h" } }, { body: "b" }]);
    while (outcomes.length < 2) await once(sender, "settled");
    assertEquals(outcomes, [strict ? "amqp:decode-error" : "accepted", "accepted"]);
    assertEquals(footers, strict ? [{}] : [{ "x-opt-hash": "h" }, {}]);
  }
});

test("MSG-11: a message of another format passes as bytes, to rhea and from it", async () => {
  await using server = await rheaServer();
  let told: (context: EventContext & { format?: number }) => void = () => {};
  const seen = new Promise<EventContext & { format?: number }>((resolve) => told = resolve);
  server.container.on("message", (context) => told(context));
  server.container.on("sender_open", ({ sender }) => {
    sender!.once("sendable", () => {
      setImmediate(() => sender!.send(Buffer.from([9, 8]) as never, undefined, 0x8001_3700));
    });
  });
  await using connection = await connect(server.url);
  await connection.sender("q").send(Uint8Array.of(1, 2, 3), { messageFormat: 0x8001_3700 });
  const { format, message } = await seen;
  assertEquals([format, bare(message)], [0x8001_3700, [1, 2, 3]]);
  const delivery = await connection.receiver("q").receive();
  assertEquals([delivery.messageFormat, delivery.message.body], [0x8001_3700, Uint8Array.of(9, 8)]);
});

test("WSB-24: publish brings rhea one message, and ends connection and socket in order", async () => {
  for (const users of [undefined, () => true]) {
    await using server = await rheaServer({}, users);
    const seen: unknown[] = [];
    server.container.on("message", ({ message }) => seen.push(message!.body));
    server.container.on("connection_close", () => seen.push("close"));
    const opened = once(server.container, "connection_open").then(() => {
      const [socket] = server.sockets;
      return new Promise<number>((resolve) => socket!.on("close", resolve));
    });
    const auth = users && plain("user", "secret");
    assertEquals((await publish(server.url, "q", { body: "once" }, { auth }))?.kind, "accepted");
    // Depends on which side is first; rhea sends no code.
    assert([1000, 1005].includes(await opened));
    assertEquals(await publish(server.url, "q", { body: "settled" }, { auth, settled: true }), undefined);
    assertEquals(seen, ["once", "close", "settled", "close"]);
  }
});

/** The same as plain data: rhea's values are Buffers, records and classes of its own. */
function bare(value: unknown): unknown {
  if (value === undefined) return null;
  if (value instanceof Uint8Array) return [...value];
  if (value instanceof Date || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(bare);
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(
    entries.filter(([, inner]) => typeof inner !== "function").map(([key, inner]) => [key, bare(inner)]),
  );
}
