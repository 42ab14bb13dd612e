import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type Body,
  data,
  DataBody,
  type DecodedMessage,
  decodeMessage,
  encodeData,
  encodeFooter,
  encodeHead,
  encodeMessage,
  json,
  type Message,
  sequence,
  SequenceBody,
  value,
  ValueBody,
  writeMessage,
} from "../../src/codec/message.ts";
import { explainMessage } from "../../src/codec/mistakes.ts";
import {
  array,
  described,
  float,
  int,
  type SimpleValue,
  symbol,
  ubyte,
  uint,
  ulong,
  uuid,
  type Value,
} from "../../src/codec/types.ts";
import type { CodecLimits } from "../../src/codec/limits.ts";
import { Writer } from "../../src/codec/writer.ts";
import * as entry from "../../mod.ts";
import { hex } from "../../src/base/text.ts";
import { Broker } from "../../src/broker/broker.ts";
import { linkUp } from "../client/link_up.ts";
import { test } from "../harness.ts";
import { amidst, assertAmqpError, compact, sized, wire, written } from "./bytes.ts";

const strict = { maxDepth: 32, maxElements: 65_536, strict: true };

function read(hex: string, limits?: CodecLimits): DecodedMessage {
  return decodeMessage(wire(hex), limits);
}

/** The sections alone, without the methods and wire types of a decoded message. */
function sections(message: Message): Message {
  const { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, body, footer } = message;
  return { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, body, footer };
}

function write(message: Message, bare?: Uint8Array): string {
  return written((writer) => writeMessage(message, writer, bare));
}

function there(message: Message): DecodedMessage {
  return read(write(message));
}

function assertRefused(hex: string, includes: string, limits?: CodecLimits): void {
  const error = assertAmqpError(() => read(hex, limits), includes);
  assertEquals(error.scope, "delivery");
}

function fields<T extends object>(values: T): T {
  return Object.assign(Object.create(null), values);
}

const header = "00 53 70 c0 02 01 41";
const deliveryAnnotations = "00 53 71 c1 05 02 a3 01 64 41";
const messageAnnotations = "00 53 72 c1 05 02 a3 01 6d 41";
const properties = "00 53 73 c0 04 01 a1 01 69";
const applicationProperties = "00 53 74 c1 05 02 a1 01 61 41";
const body = "00 53 77 a1 01 62";
const footer = "00 53 78 c1 05 02 a3 01 66 41";

test("MSG-1: all sections in their order, both ways", () => {
  const hex = header + deliveryAnnotations + messageAnnotations + properties + applicationProperties + body + footer;
  const message: Message = {
    header: { durable: true },
    deliveryAnnotations: fields({ d: true }),
    messageAnnotations: fields({ m: true }),
    properties: { messageId: "i" },
    applicationProperties: fields({ a: true }),
    body: "b",
    footer: fields({ f: true }),
  };
  assertEquals(write(message), compact(hex));
  const { bare: _, ...decoded } = read(hex);
  assertEquals(decoded, message);
  assertEquals(write(decoded), compact(hex));
});

test("MSG-1: descriptors of sections may be symbols", () => {
  const message = read(
    "00 a3 10 616d71703a6865616465723a6c697374 45 00 a3 10 616d71703a646174613a62696e617279 a0 01 07",
  );
  assertEquals([message.header, message.body], [{}, Uint8Array.of(7)]);
});

test("MSG-1: a section that is repeated, out of order or unknown is refused", () => {
  const all = [header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, body, footer];
  for (const [i, first] of all.entries()) {
    assertRefused(first + first, "Cannot decode message: a section occurs twice");
    for (const second of all.slice(0, i)) {
      assertRefused(first + second, "a section is out of order", strict);
      assertRefused(first + second + first, "a section occurs twice");
      assertEquals(sections(read(first + second)), sections(read(second + first)));
    }
    for (const second of all.slice(i + 1)) read(first + second, strict);
  }
  assertRefused(body + "00 53 79 c1 01 00", "the descriptor is not that of a known section");
  assertRefused("00 53 24 45", "the descriptor is not that of a known section");
  assertRefused("00 a3 01 78 40", "the descriptor is not that of a known section");
  assertRefused("00 80 ff ff ff ff ff ff ff ff 40", "the descriptor is not that of a known section");
  assertRefused("40", "a section does not begin with a descriptor");
  assertRefused(body + "00", "1 bytes are needed, 0 remain");
});

test("MSG-2: a body is of one kind only", () => {
  const kinds = ["00 53 75 a0 00", "00 53 76 45", "00 53 77 40"];
  for (const [i, first] of kinds.entries()) {
    for (const second of kinds.slice(i + 1)) assertRefused(first + second, "the body is of two kinds");
    for (const second of kinds.slice(0, i)) assertRefused(first + second, "the body is of two kinds");
  }
  assertRefused("00 53 77 40 00 53 77 40", "a section occurs twice");
});

test("MSG-2: a section holds what its kind says", () => {
  assertRefused("00 53 75 a1 00", "constructor 0xa1 of data is not binary");
  assertRefused("00 53 75 40", "constructor 0x40 of data is not binary", strict);
  assertRefused("00 53 76 c1 01 00", "constructor 0xc1 of a sequence is not list");
  assertRefused("00 53 70 c1 01 00", "Cannot decode header: constructor 0xc1 is not list");
  assertRefused(
    "00 53 73 c0 03 01 52 05",
    'Cannot decode properties: constructor 0x52 is not message-id (field "messageId"',
    strict,
  );
  assertRefused("00 53 72 45", "Cannot decode message: constructor 0x45 is not map");
  assertRefused("00 53 74 40", "constructor 0x40 is not map", strict);
});

test("MSG-2: no body is taken as null, and never sent", () => {
  assertEquals(read("").body, null);
  assertEquals(read(header).body, null);
  assertEquals(write({}), compact("00 53 77 40"));
  assertEquals(write({ body: undefined, header: undefined }), compact("00 53 77 40"));
  assertEquals(write(read(header)), compact(header + "00 53 77 40"));
});

const bodies: [name: string, hex: string, body: Body, given?: Body][] = [
  ["null", "00 53 77 40", null],
  ["boolean", "00 53 77 41", true],
  ["string", "00 53 77 a1 02 68 69", "hi"],
  ["double", "00 53 77 82 3f f8 00 00 00 00 00 00", 1.5],
  ["long", "00 53 77 55 05", 5n],
  ["ulong", "00 53 77 53 05", 5n, ulong(5)],
  ["uint", "00 53 77 52 05", 5, uint(5)],
  ["int", "00 53 77 54 05", 5, int(5)],
  ["ubyte", "00 53 77 50 05", 5, ubyte(5)],
  ["float", "00 53 77 72 3f c0 00 00", 1.5, float(1.5)],
  ["timestamp", "00 53 77 83 00 00 00 00 00 00 00 05", new Date(5)],
  ["symbol", "00 53 77 a3 01 61", symbol("a")],
  ["uuid", "00 53 77 98 00112233445566778899aabbccddeeff", uuid("00112233-4455-6677-8899-aabbccddeeff")],
  ["list", "00 53 77 c0 05 02 41 a1 01 61", [true, "a"]],
  ["map", "00 53 77 c1 05 02 a1 01 61 41", new Map([["a", true]])],
  ["record", "00 53 77 c1 05 02 a1 01 61 41", new Map([["a", true]]), { a: true }],
  ["array", "00 53 77 e0 04 02 50 01 02", array("ubyte", [1, 2])],
  ["described", "00 53 77 00 53 31 45", described(0x31n, [])],
  ["value of binary", "00 53 77 a0 02 01 02", new ValueBody(Uint8Array.of(1, 2)), value(Uint8Array.of(1, 2))],
  ["data", "00 53 75 a0 02 01 02", Uint8Array.of(1, 2)],
  ["data of one", "00 53 75 a0 02 01 02", Uint8Array.of(1, 2), data(Uint8Array.of(1, 2))],
  ["data without bytes", "00 53 75 a0 00", new Uint8Array(0), data([])],
  ["data of several", "00 53 75 a0 01 01 00 53 75 a0 00", data([Uint8Array.of(1), new Uint8Array(0)])],
  ["sequence", "00 53 76 c0 02 01 41", sequence([[true]])],
  ["sequence without lists", "00 53 76 45", sequence([[]]), sequence([])],
  ["sequence of several", "00 53 76 c0 02 01 41 00 53 76 45", sequence([[true], []])],
  ["sequence of uints", "00 53 76 c0 03 01 52 05", sequence([[5]]), sequence([[uint(5)]])],
  ["value given as such", "00 53 77 a1 01 61", "a", value("a")],
];

test("MSG-2: every kind of body, both ways, and what was decoded encodes to the same bytes", () => {
  for (const [name, hex, decoded, given = decoded] of bodies) {
    assertEquals(write({ body: given }), compact(hex), name);
    const message = read(hex);
    assertEquals(message.body, decoded, name);
    assertEquals(write(message), compact(hex), name);
  }
});

test("MSG-2: the classes tell the kinds apart", () => {
  assertInstanceOf(read("00 53 75 a0 00 00 53 75 a0 00").body, DataBody);
  assertInstanceOf(read("00 53 76 45").body, SequenceBody);
  assertInstanceOf(read("00 53 77 a0 00").body, ValueBody);
});

test("MSG-2: a body that was replaced has the type of its own", () => {
  const message = read("00 53 77 52 05");
  message.body = 300;
  assertEquals(write(message), compact("00 53 77 70 00 00 01 2c"));
  message.body = 1.5;
  assertEquals(write(message), compact("00 53 77 82 3f f8 00 00 00 00 00 00"));
  message.body = "x";
  assertEquals(write(message), compact("00 53 77 a1 01 78"));
});

test("MSG-4: what may not be changed on the way leaves as it came, however it is encoded", () => {
  // Larger encodings than needed, symbolic descriptors, trailing nulls.
  const bare = "00 80 00 00 00 00 00 00 00 73 d0 00 00 00 0b 00 00 00 02 b1 00 00 00 01 69 40" +
    "00 53 74 d1 00 00 00 0c 00 00 00 02 a1 01 61 70 00 00 00 05" +
    "00 a3 10 616d71703a646174613a62696e617279 b0 00 00 00 01 07";
  const message = read(header + messageAnnotations + bare + footer);
  assertEquals(message.bare, wire(bare));
  assertEquals(message.properties, { messageId: "i" });
  message.header = { ...message.header, deliveryCount: 1 };
  const forwarded = write(message, message.bare);
  assertEquals(forwarded, compact("00 53 70 c0 07 05 41 40 40 40 52 01" + messageAnnotations + bare + footer));
  assertEquals(read(bare).bare, wire(bare));
  assertEquals(read(header + footer).bare, new Uint8Array(0));
  assertEquals(write(read(header), read(header).bare), compact(header + "00 53 77 40"));
});

test("MSG-1, MSG-4: the entry encodes and decodes messages without a connection, also those of another", () => {
  const sent: Message = { header: { priority: 7 }, properties: { subject: "order" }, body: "one coffee" };
  const bytes = entry.encodeMessage(sent);
  assertEquals(hex(bytes), written((writer) => writeMessage(sent, writer)));
  const came = entry.decodeMessage(bytes);
  assertInstanceOf(came, entry.DecodedMessage);
  assertEquals([came.header?.priority, came.properties?.subject, came.text()], [7, "order", "one coffee"]);
  const forwarded = entry.decodeMessage(entry.encodeMessage({ header: { deliveryCount: 1 } }, came.bare));
  assertEquals([forwarded.deliveryCount, forwarded.header?.priority], [1, undefined]);
  assertEquals(forwarded.bare, came.bare);
  assertThrows(() => entry.encodeMessage("one coffee" as never), TypeError, "Cannot encode message: it is a string");
  assertThrows(() => entry.decodeMessage(Uint8Array.of(1)), entry.AmqpError);
});

test("MSG-5: the types of message ids survive", () => {
  for (const id of ["x", 5n, Uint8Array.of(1), uuid("00112233-4455-6677-8899-aabbccddeeff")]) {
    const message = there({ properties: { messageId: id, correlationId: id } });
    assertEquals(message.properties, { messageId: id, correlationId: id });
    assertEquals(write(message), write({ properties: { messageId: id, correlationId: id } }));
  }
});

test("MSG-6: all properties", () => {
  const all = {
    messageId: "id",
    userId: Uint8Array.of(1),
    to: "to",
    subject: "subject",
    replyTo: "reply",
    correlationId: 2n,
    contentType: "text/plain",
    contentEncoding: "gzip",
    absoluteExpiryTime: new Date(1e12),
    creationTime: new Date(0),
    groupId: "group",
    groupSequence: 0xffffffff,
    replyToGroupId: "other",
  };
  assertEquals(there({ properties: all }).properties, all);
});

test("MSG-7: application properties have string keys and simple values", () => {
  const simple: Record<string, SimpleValue> = fields({
    null: null,
    boolean: true,
    string: "s",
    number: 1.5,
    bigint: 5n,
    date: new Date(5),
    binary: Uint8Array.of(1),
    symbol: symbol("x"),
    uuid: uuid("00112233-4455-6677-8899-aabbccddeeff"),
    "": "empty",
  });
  assertEquals(there({ applicationProperties: simple }).applicationProperties, simple);
  const compound = [[], new Map(), {}, array("ubyte", []), array("ubyte", [])];
  for (const value of compound) {
    const message = { applicationProperties: { "a\nb": value } } as unknown as Message;
    assertThrows(
      () => write(message),
      TypeError,
      'Cannot encode application properties: "a\\u{a}b" is not a simple value',
    );
  }
  assertRefused("00 53 74 c1 05 02 a3 01 61 41", "a map key has constructor 0xa3, not string", strict);
  assertRefused("00 53 74 c1 03 02 40 41", "a map key has constructor 0x40, not string");
  // Values that others send against the rule are decoded all the same.
  assertEquals<unknown>(read("00 53 74 c1 05 02 a1 01 61 45").applicationProperties?.a, []);
});

test("MSG-7: application properties keep their types", () => {
  const hex = "00 53 74" + sized("c1", 6, "a1 01 61 52 05 a1 01 62 53 05 a1 01 63 72 3f c0 00 00") + "00 53 77 40";
  const message = read(hex);
  assertEquals(message.applicationProperties, fields({ a: 5, b: 5n, c: 1.5 }));
  assertEquals(write(message), compact(hex));
});

test("MSG-8: annotations have symbol keys, and unknown ones are kept", () => {
  const annotations = fields({ "x-opt-a": 1.5, other: "x" });
  assertEquals(there({ messageAnnotations: annotations }).messageAnnotations, annotations);
  assertRefused("00 53 72 c1 05 02 a1 01 61 41", "a map key has constructor 0xa1, not symbol", strict);
  assertRefused("00 53 72 c1 04 02 53 05 41", "a map key has constructor 0x53, not symbol", strict);
  assertThrows(() => write({ messageAnnotations: { é: 1 } }), RangeError, "Cannot encode symbol");
});

test("ATK-25: keys that name a prototype are keys like any other", () => {
  const key = "a1 09 5f5f70726f746f5f5f";
  const message = read(
    `00 53 74 ${sized("c1", 2, `${key} c1 05 02 a1 01 78 41`)} 00 53 77 ${sized("c1", 2, `${key} 41`)}`,
  );
  const { applicationProperties } = message;
  assertEquals(Object.keys(applicationProperties!), ["__proto__"]);
  assertStrictEquals(Object.getPrototypeOf(applicationProperties), null);
  assertStrictEquals((applicationProperties as { x?: unknown }).x, undefined);
  assertEquals(message.body, new Map([["__proto__", true]]));
  assertEquals(Object.prototype.hasOwnProperty.call({}, "x"), false);
});

test("MSG-11: bytes that are no message are refused with the scope of a delivery", () => {
  assertRefused("ff", "a section does not begin with a descriptor");
  assertRefused("00 53 77 a1 05 61", "5 bytes are needed, 1 remain");
  assertRefused(`00 53 77 ${"c0 ff 01".repeat(40)}`, "Cannot decode message: ");
  const limits = { maxDepth: 1, maxElements: 1 };
  assertAmqpError(() => decodeMessage(wire("00 53 77 c0 02 01 45"), limits), "values nest deeper than 1");
});

test("MSG-2: json is data with a content type that the properties may override", () => {
  const message = there({ body: json({ a: [1, "é"] }) });
  assertEquals(message.properties, { contentType: "application/json" });
  assertInstanceOf(message.body, Uint8Array);
  assertEquals(message.json(), { a: [1, "é"] });
  const given = there({ body: json(1), properties: { messageId: "i", contentType: "application/x+json" } });
  assertEquals(given.properties, { messageId: "i", contentType: "application/x+json" });
  const other = { messageId: "i" };
  assertEquals(there({ body: json(1), properties: other }).properties, {
    messageId: "i",
    contentType: "application/json",
  });
  assertEquals(other, { messageId: "i" });
  assertThrows(() => json(undefined), TypeError, "Cannot encode body: JSON has no form of undefined");
  assertThrows(() => json(() => 1), TypeError, "no form of function");
});

test("MSG-2: reading a body as text, bytes or JSON", () => {
  const utf8 = new TextEncoder().encode("é{}");
  const texts: [Body, string][] = [
    ["é{}", "é{}"],
    [utf8, "é{}"],
    [data([utf8.subarray(0, 1), utf8.subarray(1)]), "é{}"],
    [value(utf8), "é{}"],
    [null, ""],
  ];
  for (const [body, text] of texts) {
    const message = there({ body });
    assertEquals(message.text(), text);
    assertEquals(message.bytes(), new TextEncoder().encode(text));
  }
  assertEquals(there({ body: '{"a":1}' }).json(), { a: 1 });
  assertThrows(() => there({ body: "{" }).json(), SyntaxError);
  // As with a Response, invalid bytes are replaced and a byte order mark is removed.
  assertEquals(there({ body: Uint8Array.of(0x61, 0xff) }).text(), "a\ufffd");
  assertEquals(there({ body: Uint8Array.of(0xef, 0xbb, 0xbf, 0x61) }).text(), "a");
  const others: [Body, kind: string, json: unknown][] = [
    [5, "a number, body has the value", 5],
    [true, "a boolean, body has the value", true],
    [[1, { a: 2n }], "a list, json() gives it as an array", [1, { a: 2 }]],
    [new Map<Value, Value>([["a", [uint(1)]], [1, "b"]]), "a map, json() gives it as an object", { a: [1], 1: "b" }],
    [sequence([[1], [2]]), "a sequence, json() gives it as an array", [1, 2]],
    [symbol("s"), "of type symbol, body has the value", "s"],
    [described(1n, [1]), "a described value, body has it", [1]],
  ];
  for (const [body, kind, json] of others) {
    const message = there({ body });
    assertThrows(() => message.text(), TypeError, `Cannot read body as text: it is ${kind}`);
    assertThrows(() => message.bytes(), TypeError, `Cannot read body as bytes: it is ${kind}`);
    assertEquals(message.json(), json);
  }
  assertEquals(there({}).json(), null);
  assertThrows(() => there({ body: new Uint8Array(0) }).json(), SyntaxError, "Cannot read body as JSON: it is empty");
});

test("messages: JSON and inspection show the sections that there are, maps as objects, bytes as text or hex", () => {
  const message = there({
    header: { ttl: 5 },
    properties: { messageId: 7n, userId: Uint8Array.of(0x75) },
    applicationProperties: { n: uint(1) },
    body: { list: [1n, symbol("s")], bytes: Uint8Array.of(0, 255) },
  });
  const shown = {
    header: { ttl: 5 },
    properties: { messageId: 7, userId: "u" },
    applicationProperties: { n: 1 },
    body: { list: [1, "s"], bytes: "00ff" },
  };
  assertEquals(JSON.parse(JSON.stringify(message)), shown);
  assertEquals(JSON.parse(JSON.stringify(there({ body: new TextEncoder().encode("text") }))), { body: "text" });
  const inspect = (message as unknown as Record<symbol, () => Record<string, unknown>>)[
    Symbol.for("nodejs.util.inspect.custom")
  ];
  assertEquals(Object.keys(inspect.call(message)), ["header", "properties", "applicationProperties", "body"]);
});

test("messages: what brokers add has readers", () => {
  const enqueued = new Date(1e12);
  const message = there({
    header: { deliveryCount: 3 },
    messageAnnotations: { "x-opt-sequence-number": 9n, "x-opt-enqueued-time": enqueued },
    applicationProperties: { DeadLetterReason: "expired", DeadLetterErrorDescription: "too late" },
  });
  assertEquals([message.deliveryCount, message.sequenceNumber, message.enqueuedTime], [3, 9n, enqueued]);
  assertEquals([message.deadLetterReason, message.deadLetterDescription], ["expired", "too late"]);
  const bare = there({});
  assertEquals([bare.deliveryCount, bare.sequenceNumber, bare.enqueuedTime], [0, undefined, undefined]);
  assertEquals([bare.deadLetterReason, bare.deadLetterDescription], [undefined, undefined]);
});

test("mistakes 5-14, 43, 44: what no message has is a TypeError that tells where it belongs", () => {
  const cyclic: Record<string, unknown> = { a: {} };
  (cyclic.a as Record<string, unknown>).b = [cyclic];
  const cases: [message: unknown, text: string][] = [
    [undefined, 'Cannot encode message: it is undefined, not an object such as { body: "text" }'],
    ["text", 'Cannot encode message: it is a string, not an object such as { body: "text" }'],
    [{ orderId: 1 }, 'there is no field "orderId", what the message carries belongs in body'],
    [{ message_id: "a" }, '"message_id" belongs in properties as "messageId"'],
    [{ reply_to: "a" }, '"reply_to" belongs in properties as "replyTo"'],
    [{ application_properties: {} }, '"application_properties" is applicationProperties here'],
    [{ body: 1, contentType: "a" }, '"contentType" belongs in properties'],
    [{ body: 1, durable: true }, '"durable" belongs in header'],
    [{ body: 1, timeToLive: 5 }, '"timeToLive" belongs in header.ttl'],
    [{ body: 1, sessionId: "s" }, '"sessionId" belongs in properties.groupId'],
    [{ properties: { ttl: 5 } }, 'Cannot encode properties: "ttl" belongs in header'],
    [[{ body: 1 }], "Cannot encode message: it is an array, sendAll() of a sender takes several messages"],
    [entry.batch([{ body: 1 }]), "Cannot encode message: it is a batch, write send(batch.payload, { messageFormat: "],
    [{ header: null }, "Cannot encode message: header is null, give an object"],
    [
      { properties: new Map() },
      "Cannot encode message: properties is an object of class Map, write Object.fromEntries(map)",
    ],
    [
      { applicationProperties: new Map([["a", 1]]) },
      "Cannot encode message: applicationProperties is an object of class Map",
    ],
    [{ messageAnnotations: "a" }, "Cannot encode message: messageAnnotations is a string, give an object"],
    [
      { applicationProperties: { at: new Date(NaN) } },
      "Cannot encode timestamp: NaN does not fit (applicationProperties.at)",
    ],
    [{ applicationProperties: { a: [1] } }, "is not a simple value; give a string, number, boolean, date or bytes"],
    [{ properties: { message_id: 5 } }, 'Cannot encode properties: "message_id" is "messageId" here'],
    [{ properties: { mine: 5 } }, 'there is no field "mine", fields of your own belong in applicationProperties'],
    [{ header: { mine: 5 } }, 'Cannot encode header: there is no field "mine"'],
    [{ body: { items: [1, 2, { fn() {} }] } }, "there is no AMQP type for a function (body.items[2].fn)"],
    [{ body: new Map([["a b", Symbol("s")]]) }, 'there is no AMQP type for a symbol (body["a b"])'],
    [{ body: 2n ** 63n }, "(body: ulong(n) reaches to 2^64-1)"],
    [{ body: new ArrayBuffer(4) }, "(body: write new Uint8Array(buffer))"],
    [
      { body: [new Float64Array(1)] },
      '(body[0]: write new Uint8Array(view.buffer, view.byteOffset, view.byteLength), or array("double", [...view]))',
    ],
    [{ body: { later: Promise.resolve() } }, "(body.later: await it first)"],
    [{ body: new URLSearchParams("a=1") }, "(body: write new Map(value))"],
    [{ body: [new FormData()] }, "(body[0]: write new Map(value) if it has no files)"],
    [{ body: new Headers() }, "(body: write new Map(value))"],
    [{ body: new Set() }, "(body: write [...set])"],
    [{ body: new URL("http://a") }, "(body: write String(url))"],
    [{ body: new (class Order {})() }, "(body: json(value) sends it as JSON)"],
    // As a second copy of the package has them.
    [{ body: [new (class Typed {})()] }, "(body[0]: it is of another copy or version of this package, load one alone)"],
    [{ body: new (class DataBody {})() }, "(body: it is of another copy or version of this package, load one alone)"],
    [
      { applicationProperties: { n: new (class Typed {})() } },
      "value: it is of another copy or version of this package",
    ],
    [{ body: cyclic }, "Cannot encode body: body.a.b[0] holds itself"],
  ];
  for (const [message, text] of cases) {
    const error = assertThrows(() => write(message as Message), Error, "Cannot encode ");
    const explained = explainMessage(error, message);
    assert(explained instanceof TypeError || explained instanceof RangeError, text);
    assertStringIncludes(explained.message, text);
  }
  // The first error, before longer texts are loaded, names the known fields.
  const { message } = assertThrows(() => write({ orderId: 1 } as Message), TypeError);
  assertEquals(
    message,
    'Cannot encode message: there is no field "orderId", but body, properties, applicationProperties, header, ' +
      "messageAnnotations, deliveryAnnotations, footer",
  );
  assertThrows(() => write({ header: { mine: 5 } } as Message), TypeError, '"mine", but durable, priority, ttl');
  for (const other of [new Error("lost"), new TypeError("Cannot send: there is no option")]) {
    assertStrictEquals(explainMessage(other, { body: 1 }), other);
  }
  const writer = new Writer();
  assertThrows(() => writeMessage({ properties: { to: "a" }, body: [() => {}] as never }, writer), TypeError);
  assertEquals(writer.length, 0);
});

test("MSG-2: data is a view of the bytes, not a copy", () => {
  const bytes = amidst(wire("00 53 75 a0 02 01 02"));
  const { body } = decodeMessage(bytes);
  assert(body instanceof Uint8Array);
  assertStrictEquals(body.buffer, bytes.buffer);
});

test("MSG-2: a message is written in parts as it is in whole", () => {
  const message: Message = { header: { durable: true }, properties: { to: "q" }, footer: { f: true } };
  const chunks = [Uint8Array.of(1), Uint8Array.of(2, 3)];
  const parts = written((writer) => {
    encodeHead(message, writer);
    for (const chunk of chunks) encodeData(chunk, writer);
    encodeFooter(message, writer);
  });
  assertEquals(parts, write({ ...message, body: data(chunks) }));
});

test("MSG-2: a message that cannot be encoded leaves nothing behind", () => {
  const writer = new Writer();
  writer.append(Uint8Array.of(7));
  assertThrows(() => writeMessage({ header: { priority: 300 } }, writer), RangeError, '(header, field "priority")');
  assertThrows(() => writeMessage({ body: [1n, (() => 1) as unknown as Value] }, writer), TypeError);
  assertThrows(() => writeMessage({ body: new DataBody(["x" as never]) }, writer), RangeError, "Cannot encode binary");
  assertEquals(writer.take(), Uint8Array.of(7));
});

test("ATK-2: a hundred thousand empty data sections are one body", () => {
  const section = wire("00 53 75 a0 00");
  const bytes = new Uint8Array(5 * 100_000);
  for (let i = 0; i < bytes.length; i += 5) bytes.set(section, i);
  const { body } = decodeMessage(bytes);
  assertEquals((body as DataBody).chunks.length, 100_000);
});

test("encodeMessage: the program's bytes stand in memory that nobody else has written to, or will", () => {
  const others = Array.from({ length: 10 }, () => {
    const writer = new Writer(512);
    writer.u32(7);
    const bytes = writer.take();
    writer.release();
    return bytes.buffer;
  });
  const ours = encodeMessage({ body: "hi" }).buffer;
  const later = new Writer(512);
  later.u32(7);
  assert(![...others, later.take().buffer].includes(ours));
});

test("encodeMessage: a large message stays as it is after it was sent", async () => {
  const connection = linkUp(new Broker({ log: null }));
  const bytes = encodeMessage({ body: new Uint8Array(65_536).fill(1) });
  const before = bytes.slice();
  const sender = connection.sender("queue");
  await sender.send(bytes);
  for (let i = 0; i < 4; i++) await sender.send({ body: new Uint8Array(65_536).fill(2) });
  assert(bytes.every((byte, i) => byte === before[i]));
  await connection.close();
});
