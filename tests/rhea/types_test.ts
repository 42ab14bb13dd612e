import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import {
  array,
  byte,
  char,
  connect,
  decimal128,
  decimal32,
  decimal64,
  type DecodedMessage,
  Described,
  described,
  double,
  float,
  int,
  long,
  type Message,
  type MessageId,
  short,
  type SimpleValue,
  symbol,
  timestamp,
  ubyte,
  uint,
  ulong,
  ushort,
  uuid,
  type Value,
  value,
} from "../../mod.ts";
import { ValueBody, writeMessage } from "../../src/codec/message.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";
import { acceptorServer, rheaClient, type RheaMessage, rheaServer, sendAll } from "./rhea.ts";
import { readShapes, type Shape, shapeOf, wire, type WireTyped } from "./wire_types.ts";

interface Row {
  /** The value that we send. */
  readonly ours: Value;
  /** The same for rhea. */
  readonly theirs: WireTyped;
  /** The value that we receive for it. */
  readonly decoded: Value;
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const counting = (length: number) => Uint8Array.from({ length }, (_, i) => i);
const UUID = "00112233-4455-6677-8899-aabbccddeeff";
const UUID_BYTES = Buffer.from(UUID.replaceAll("-", ""), "hex");
const MAX_LONG = 2n ** 63n - 1n;

function row(ours: Value, theirs: WireTyped, decoded: Value = ours): Row {
  return { ours, theirs, decoded };
}

/** Every primitive type except containers, at its limits and in each of its encodings. */
function simpleRows(): Row[] {
  return [
    row(null, wire.Null()),
    row(true, wire.True()),
    row(false, wire.False()),
    row(true, wire.Boolean(1)),
    row(ubyte(0), wire.Ubyte(0), 0),
    row(ubyte(255), wire.Ubyte(255), 255),
    row(ushort(256), wire.Ushort(256), 256),
    row(ushort(65_535), wire.Ushort(65_535), 65_535),
    row(uint(0), wire.Uint0(), 0),
    row(uint(255), wire.SmallUint(255), 255),
    row(uint(256), wire.Uint(256), 256),
    row(uint(4_294_967_295), wire.Uint(4_294_967_295), 4_294_967_295),
    row(ulong(0), wire.Ulong0(), 0n),
    row(ulong(255n), wire.SmallUlong(255), 255n),
    row(ulong(2n ** 53n), wire.Ulong(2 ** 53), 2n ** 53n),
    row(ulong(2n ** 64n - 1n), wire.Ulong(Buffer.alloc(8, 0xff)), 2n ** 64n - 1n),
    row(byte(-128), wire.Byte(-128), -128),
    row(byte(127), wire.Byte(127), 127),
    row(short(-32_768), wire.Short(-32_768), -32_768),
    row(int(-128), wire.SmallInt(-128), -128),
    row(int(0), wire.SmallInt(0), 0),
    row(int(128), wire.Int(128), 128),
    row(int(-2_147_483_648), wire.Int(-2_147_483_648), -2_147_483_648),
    row(-1n, wire.SmallLong(-1)),
    row(long(128), wire.Long(128), 128n),
    row(-(2n ** 53n), wire.Long(-(2 ** 53))),
    row(MAX_LONG, wire.Long(Buffer.from("7fffffffffffffff", "hex"))),
    row(-MAX_LONG - 1n, wire.Long(Buffer.from("8000000000000000", "hex"))),
    row(float(1.5), wire.Float(1.5), 1.5),
    row(float(-Infinity), wire.Float(-Infinity), -Infinity),
    row(Math.PI, wire.Double(Math.PI)),
    row(double(1), wire.Double(1), 1),
    row(NaN, wire.Double(NaN)),
    row(decimal32(counting(4)), wire.Decimal32(Buffer.from(counting(4)))),
    row(decimal64(counting(8)), wire.Decimal64(Buffer.from(counting(8)))),
    row(decimal128(counting(16)), wire.Decimal128(Buffer.from(counting(16)))),
    row(char("A"), wire.CharUTF32(0x41)),
    row(char("😀"), wire.CharUTF32(0x1f600)),
    row(new Date(0), wire.Timestamp(0)),
    row(new Date(-1), wire.Timestamp(-1)),
    row(timestamp(1_600_000_000_123), wire.Timestamp(1_600_000_000_123), new Date(1_600_000_000_123)),
    row(uuid(UUID), wire.Uuid(UUID_BYTES)),
    row("", wire.Str8("")),
    row("grüße 😀", wire.Str8("grüße 😀")),
    row("ü".repeat(128), wire.Str32("ü".repeat(128))),
    row(symbol("x-opt-a"), wire.Sym8("x-opt-a")),
    row(symbol("s".repeat(256)), wire.Sym32("s".repeat(256))),
  ];
}

function binaryRows(): Row[] {
  return [
    row(bytes(), wire.Vbin8(Buffer.from([]))),
    row(bytes(0, 1, 255), wire.Vbin8(Buffer.from([0, 1, 255]))),
    row(counting(256), wire.Vbin32(Buffer.from(counting(256)))),
  ];
}

/** An array of every type but arrays, which rhea cannot write. */
function arrayRows(): Row[] {
  const buffer = (length: number) => Buffer.from(counting(length));
  const list = [wire.Str8("x"), wire.SmallUint(1)];
  return [
    row(array("symbol", ["a", "bc"]), wire.Array8(["a", "bc"], 0xa3)),
    row(array("symbol", ["s".repeat(300)]), wire.Array32(["s".repeat(300)], 0xb3)),
    row(array("string", ["ü", ""]), wire.Array8(["ü", ""], 0xa1)),
    row(array("binary", [bytes(1), bytes()]), wire.Array8([Buffer.from([1]), buffer(0)], 0xa0)),
    row(array("null", [null, null]), wire.Array8([null, null], 0x40)),
    row(array("boolean", [true, false]), wire.Array8([1, 0], 0x56)),
    row(array("ubyte", [0, 255]), wire.Array8([0, 255], 0x50)),
    row(array("ushort", [0, 65_535]), wire.Array8([0, 65_535], 0x60)),
    row(array("uint", []), wire.Array8([], 0x70)),
    row(array("uint", [1, 4_294_967_295]), wire.Array32([1, 4_294_967_295], 0x70)),
    row(array("uint", [1, 255]), wire.Array8([1, 255], 0x52)),
    row(array("ulong", [1n, 2n ** 53n]), wire.Array8([1, 2 ** 53], 0x80)),
    row(array("byte", [-1, 1]), wire.Array8([-1, 1], 0x51)),
    row(array("short", [-1, 1]), wire.Array8([-1, 1], 0x61)),
    row(array("int", [-1, 128]), wire.Array8([-1, 128], 0x71)),
    row(array("long", [-1n, 2n]), wire.Array8([-1, 2], 0x81)),
    row(array("float", [1.5, -0.5]), wire.Array8([1.5, -0.5], 0x72)),
    row(array("double", [Math.PI]), wire.Array8([Math.PI], 0x82)),
    row(array("decimal32", [counting(4)]), wire.Array8([buffer(4)], 0x74)),
    row(array("decimal64", [counting(8)]), wire.Array8([buffer(8)], 0x84)),
    row(array("decimal128", [counting(16)]), wire.Array8([buffer(16)], 0x94)),
    row(array("char", ["A", "😀"]), wire.Array8([0x41, 0x1f600], 0x73)),
    row(array("timestamp", [new Date(0), new Date(-1)]), wire.Array8([0, -1], 0x83)),
    row(array("uuid", [UUID]), wire.Array8([UUID_BYTES], 0x98)),
    row(array("list", [["x", uint(1)], []]), wire.Array32([list, []], 0xd0), array("list", [["x", 1], []])),
    row(array("map", [new Map([["x", uint(1)]])]), wire.Array32([list], 0xd1), array("map", [new Map([["x", 1]])])),
  ];
}

/** Lists, maps, arrays and described values. */
function containerRows(): Row[] {
  const simple = [...simpleRows(), ...binaryRows()];
  const items = simple.map(({ ours }) => ours);
  const keys = simple.map((_, i) => int(i));
  return [
    row([], wire.List0()),
    row([[], [1, "a"]], wire.List8([wire.List0(), wire.List8([wire.Double(1), wire.Str8("a")])])),
    row(items, wire.List32(simple.map(({ theirs }) => theirs)), simple.map(({ decoded }) => decoded)),
    row(new Map(), wire.Map8([])),
    row(
      new Map<Value, Value>([["b", uint(1)], [symbol("b"), null], [ulong(7), []]]),
      wire.Map8([
        wire.Str8("b"),
        wire.SmallUint(1),
        wire.Sym8("b"),
        wire.Null(),
        wire.SmallUlong(7),
        wire.List0(),
      ]),
      new Map<Value, Value>([["b", 1], [symbol("b"), null], [7n, []]]),
    ),
    row(
      new Map(items.map((item, i) => [keys[i]!, item])),
      wire.Map32(simple.flatMap(({ theirs }, i) => [wire.SmallInt(i), theirs])),
      new Map(simple.map(({ decoded }, i) => [i, decoded])),
    ),
    ...arrayRows(),
    row(described(7n, "x"), wire.described(wire.SmallUlong(7), wire.Str8("x"))),
    row(described("a:b", uint(9)), wire.described(wire.Sym8("a:b"), wire.SmallUint(9)), described("a:b", 9)),
  ];
}

const AMQP_VALUE = { type: "ulong", value: 0x77n };

function withValueDescriptor(row: Row): Shape {
  return { ...shapeOf(row.theirs), descriptor: AMQP_VALUE };
}

// A described amqp-value has two descriptors, of which rhea keeps the outer one only.
function bodyRows(): Row[] {
  return [...simpleRows(), ...containerRows().filter(({ ours }) => !(ours instanceof Described))];
}

function encode(message: Message): Uint8Array {
  const writer = new Writer();
  writeMessage(message, writer);
  return writer.take();
}

/** Sends encoded messages to rhea, and returns the sections that it reads of each. */
async function shownToRhea(messages: Message[]): Promise<Shape[][]> {
  await using server = await rheaServer();
  const seen: Shape[][] = [];
  server.container.on("message", ({ message }) => seen.push(readShapes(message as Uint8Array)));
  await using connection = await connect(server.url);
  const sender = connection.sender("q");
  // rhea hands over the bytes of a format that it does not know.
  await Promise.all(messages.map((message) => sender.send(encode(message), { messageFormat: 0x100 })));
  return seen;
}

/** Sends messages from rhea, and returns each as we get it, with the sections that we would forward it as. */
async function shownByRhea(
  messages: RheaMessage[],
): Promise<Array<{ message: DecodedMessage; forwarded: Shape[] }>> {
  const seen: Array<{ message: DecodedMessage; forwarded: Shape[] }> = [];
  let done = () => {};
  const all = new Promise<void>((resolve) => done = resolve);
  await using server = await acceptorServer({
    onReceiver: (request) =>
      request.accept().serve(({ message }) => {
        seen.push({ message, forwarded: readShapes(encode(message)) });
        if (seen.length === messages.length) done();
      }),
  });
  await using client = await rheaClient(server.url);
  sendAll(client.connection.open_sender("q"), messages);
  await all;
  return seen;
}

/** The only section of a message with this code. */
function section(shapes: Shape[], code: bigint): unknown {
  return shapes.find(({ descriptor }) => descriptor?.value === code)?.value;
}

test("TYP-1, TYP-3: every type that we write is the type that rhea reads", async () => {
  const rows = bodyRows();
  const seen = await shownToRhea(rows.map(({ ours }) => ({ body: value(ours) })));
  for (const [i, shapes] of seen.entries()) assertEquals(shapes, [withValueDescriptor(rows[i]!)]);
  assertEquals(seen.length, rows.length);
});

test("TYP-1, TYP-3: every type that rhea writes, in each encoding, is ours too, and stays so when forwarded", async () => {
  const rows = bodyRows();
  const seen = await shownByRhea(rows.map(({ theirs }) => ({ body: theirs })));
  for (const [i, { message, forwarded }] of seen.entries()) {
    const { body } = message;
    assertEquals(body instanceof ValueBody ? body.value : body, rows[i]!.decoded);
    // rhea writes empty sections.
    assertEquals(section(forwarded, 0x77n), shapeOf(rows[i]!.theirs).value);
    assertEquals(forwarded.at(-1)!.type, shapeOf(rows[i]!.theirs).type);
  }
});

test("TYP-1: described values go both ways inside a list", async () => {
  const rows = containerRows().filter(({ ours }) => ours instanceof Described);
  const shapes = rows.map(({ theirs }) => shapeOf(theirs));
  const [shown] = await shownToRhea([{ body: rows.map(({ ours }) => ours) }]);
  assertEquals(section(shown!, 0x77n), shapes);
  const [seen] = await shownByRhea([{ body: wire.List8(rows.map(({ theirs }) => theirs)) }]);
  assertEquals(seen!.message.body, rows.map(({ decoded }) => decoded));
  assertEquals(section(seen!.forwarded, 0x77n), shapes);
});

test("MSG-7: every simple type is good for an application property, and keeps its type both ways", async () => {
  const rows = [...simpleRows(), ...binaryRows()].filter(({ ours }) => ours !== null);
  const shapes = rows.flatMap(({ theirs }, i) => [{ type: "string", value: `p${i}` }, shapeOf(theirs)]);
  const ours = Object.fromEntries(rows.map(({ ours }, i) => [`p${i}`, ours as SimpleValue]));
  const [shown] = await shownToRhea([{ applicationProperties: ours }]);
  assertEquals(section(shown!, 0x74n), shapes);
  const theirs = Object.fromEntries(rows.map(({ theirs }, i) => [`p${i}`, theirs]));
  const [seen] = await shownByRhea([{ application_properties: theirs, body: "" }]);
  const decoded: [string, Value][] = rows.map(({ decoded }, i) => [`p${i}`, decoded]);
  assertEquals(Object.entries(seen!.message.applicationProperties!) as [string, Value][], decoded);
  assertEquals(section(seen!.forwarded, 0x74n), shapes);
});

test("MSG-5: message ids and correlation ids keep their type both ways", async () => {
  const rows: Array<{ ours: MessageId; theirs: WireTyped }> = [
    { ours: "id", theirs: wire.Str8("id") },
    { ours: 2n ** 64n - 1n, theirs: wire.Ulong(Buffer.alloc(8, 0xff)) },
    { ours: 0n, theirs: wire.Ulong0() },
    { ours: bytes(1, 2, 3), theirs: wire.Vbin8(Buffer.from([1, 2, 3])) },
    { ours: uuid(UUID), theirs: wire.Uuid(UUID_BYTES) },
  ];
  const idsOf = (shapes: Shape[]) => {
    const fields = section(shapes, 0x73n) as Shape[];
    return [fields[0], fields[5]];
  };
  const shown = await shownToRhea(
    rows.map(({ ours }) => ({ properties: { messageId: ours, correlationId: ours } })),
  );
  const seen = await shownByRhea(rows.map(({ theirs }) => ({ message_id: theirs, correlation_id: theirs, body: "" })));
  for (const [i, { ours, theirs }] of rows.entries()) {
    const expected = [shapeOf(theirs), shapeOf(theirs)];
    assertEquals(idsOf(shown[i]!), expected);
    assertEquals(idsOf(seen[i]!.forwarded), expected);
    assertEquals(seen[i]!.message.properties!.messageId, ours);
    assertEquals(seen[i]!.message.properties!.correlationId, ours);
  }
});
