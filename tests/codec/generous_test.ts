/**
 * Input that is decoded although it is wrong: unchanged, encoded as it came, and refused by `limits.strict`.
 *
 * @module
 */

import { assertEquals, assertNotStrictEquals, assertThrows } from "@std/assert";
import { sectionsInOrder } from "../../src/codec/generous.ts";
import {
  type DecodedMessage,
  decodeMessage,
  encodeMessage,
  type Message,
  writeMessage,
} from "../../src/codec/message.ts";
import { described, type Properties, type Value } from "../../src/codec/types.ts";
import { AmqpError } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { compact, decode, sized, wire, written } from "./bytes.ts";

const strict = { maxDepth: 32, maxElements: 65_536, strict: true };
const body = "00 53 77 40";

function read(hex: string): DecodedMessage {
  assertThrows(() => decodeMessage(wire(hex), strict), AmqpError, "Cannot decode");
  return decodeMessage(wire(hex));
}

function assertWrittenBack(message: Message, hex: string): void {
  assertEquals(written((writer) => writeMessage(message, writer)), compact(hex));
}

test("MSG-8: annotations keyed by strings and ulongs are read, and leave as they came", () => {
  for (const section of ["71", "72", "78"]) {
    // go-amqp writes its integers as longs.
    const keyed = "a1 01 61 41  80 8000000000000001 52 05  a3 01 63 a1 01 78  55 fb 52 06  81 0100000000000000 52 07";
    const map = sized("c1", 10, keyed);
    const hex = section === "78" ? `${body} 00 53 78 ${map}` : `00 53 ${section} ${map} ${body}`;
    const message = read(hex);
    const fields = message.deliveryAnnotations ?? message.messageAnnotations ?? message.footer;
    assertEquals({ ...fields }, { a: true, "9223372036854775809": 5, c: "x", "-5": 6, "72057594037927936": 7 });
    assertWrittenBack({ ...message }, hex);
  }
});

test("MSG-8: an annotation with a key of any other type, or the same key twice, is refused with the reason", () => {
  for (const map of [sized("c1", 2, "52 05 41"), sized("c1", 2, "40 41"), sized("c1", 4, "a3 01 61 41 a1 01 61 41")]) {
    assertThrows(() => decodeMessage(wire(`00 53 72 ${map} ${body}`)), AmqpError, "Cannot decode message: ");
  }
});

test("MSG-7: application properties keyed by symbols are read, and leave as they came", () => {
  const hex = `00 53 74 ${sized("c1", 4, "a3 01 61 41 a1 01 62 54 05")} ${body}`;
  const message = read(hex);
  assertEquals({ ...message.applicationProperties }, { a: true, b: 5 });
  assertWrittenBack({ ...message }, hex);
});

test("MSG-7, MSG-14: described values are application properties like others, both ways", () => {
  const hex = `00 53 74 ${sized("c1", 2, "a1 01 61 00 a3 01 78 a1 01 76")} ${body}`;
  const message = read(hex);
  assertEquals(message.applicationProperties!.a, described("x", "v"));
  assertWrittenBack({ applicationProperties: { a: described("x", "v") }, body: null }, hex);
});

test("MSG-7, MSG-14: compound application properties are read, and leave as they came; a program makes none", () => {
  for (const value of ["45", sized("c0", 1, "41"), sized("c1", 2, "a1 01 61 41"), "e0 03 01 56 01"]) {
    const hex = `00 53 74 ${sized("c1", 4, `a1 01 61 ${value} a1 01 62 a3 01 63`)} ${body}`;
    const message = read(hex);
    assertEquals(Object.keys(message.applicationProperties!), ["a", "b"]);
    assertWrittenBack({ ...message }, hex);
    const { applicationProperties } = message;
    const retried = encodeMessage({ ...message, applicationProperties: { ...applicationProperties, retry: 1 } });
    assertEquals(Object.keys(decodeMessage(retried).applicationProperties!), ["a", "b", "retry"]);
    const made = { applicationProperties: { a: applicationProperties!.a } };
    assertThrows(() => encodeMessage(made as Message), TypeError, '"a" is not a simple value');
  }
  for (
    const simple of ["40", "41", "a0 00", "a3 01 61", "83 0000000000000000", `98 ${"00".repeat(16)}`, "73 00000061"]
  ) {
    decodeMessage(wire(`00 53 74 ${sized("c1", 2, `a1 01 61 ${simple}`)} ${body}`), strict);
  }
});

test("SBX-5: time spans, URIs and times with an offset of .NET pass through, wherever they stand", () => {
  const ascii = (text: string) => [...text].map((letter) => letter.charCodeAt(0).toString(16)).join("");
  const name = (text: string) => text.length.toString(16).padStart(2, "0") + ascii(text);
  const cases: [symbol: string, value: string, decoded: Value][] = [
    ["com.microsoft:timespan", "81 0000000861c46800", 36_000_000_000n],
    ["com.microsoft:uri", `a1 ${name("https://a.example/")}`, "https://a.example/"],
    ["com.microsoft:datetime-offset", "81 08da000000000001", 0x08da_0000_0000_0001n],
  ];
  for (const [descriptor, value, decoded] of cases) {
    const one = `00 a3 ${name(descriptor)} ${value}`;
    const annotations = `00 53 72 ${sized("c1", 2, `a3 ${name("x-opt-one")} ${one}`)}`;
    const properties = `00 53 74 ${sized("c1", 2, `a1 01 61 ${one}`)}`;
    for (const inBody of [one, sized("c0", 1, one), sized("c1", 2, `a1 01 61 ${one}`)]) {
      const hex = `${annotations} ${properties} 00 53 77 ${inBody}`;
      const message = read(hex);
      assertEquals(message.applicationProperties!.a, described(descriptor, decoded));
      assertEquals(message.messageAnnotations!["x-opt-one"], described(descriptor, decoded));
      assertWrittenBack(message, hex);
      assertWrittenBack({ ...message }, hex);
    }
  }
});

test("MSG-3, MSG-14: properties whose text, numbers and times have another type are read, and leave as they came", () => {
  const cases: [place: number, hex: string, field: keyof Properties, value: unknown][] = [
    [0, "a3 01 69", "messageId", "i"],
    [0, "52 07", "messageId", 7n],
    [1, "a1 01 75", "userId", Uint8Array.of(0x75)],
    [2, "a3 01 74", "to", "t"],
    [3, "a3 01 73", "subject", "s"],
    [5, "54 ff", "correlationId", -1n],
    [5, "55 ff", "correlationId", -1n],
    [6, "a1 01 63", "contentType", "c"],
    [8, "81 000000e8d4a51000", "absoluteExpiryTime", new Date(1e12)],
    [9, "80 000000e8d4a51000", "creationTime", new Date(1e12)],
    [11, "55 07", "groupSequence", 7],
    [11, "80 0000000000000100", "groupSequence", 256],
  ];
  for (const [place, value, field, expected] of cases) {
    const list = sized("c0", place + 1, "40".repeat(place) + value);
    const message = read(`00 53 73 ${list} ${body}`);
    assertEquals(message.properties, { [field]: expected });
    assertWrittenBack(message, `00 53 73 ${list} ${body}`);
    assertWrittenBack({ ...message, properties: { ...message.properties } }, `00 53 73 ${list} ${body}`);
  }
});

test("MSG-3: a changed property has the type of the table again where the one that came does not hold it", () => {
  const message = read(`00 53 73 ${sized("c0", 7, "40".repeat(6) + "a3 00".replace("a3", "a1"))} ${body}`);
  message.properties!.contentType = "text/plain";
  assertWrittenBack(message, `00 53 73 ${sized("c0", 7, "40".repeat(6) + "a1 0a 746578742f706c61696e")} ${body}`);
  const ttl = read(`00 53 70 ${sized("c0", 3, "40 40 55 05")} ${body}`);
  assertEquals(ttl.header, { ttl: 5 });
  ttl.header!.ttl = 4_000_000_000;
  assertWrittenBack(ttl, `00 53 70 ${sized("c0", 3, "40 40 81 00000000ee6b2800")} ${body}`);
});

test("MSG-3: what says nothing that the field could hold is refused", () => {
  for (const field of ["40 40 54 ff", "40 40 a1 01 35", "40 50 05 41", "56 02"]) {
    const list = sized("c0", field.split(" 40").length, field);
    assertThrows(() => decodeMessage(wire(`00 53 70 ${list} ${body}`)), AmqpError, "Cannot decode header: ");
  }
});

test("MSG-2, MSG-14: null in a data section is no bytes, and leaves as it came", () => {
  const message = read("00 53 75 40");
  assertEquals(message.body, new Uint8Array(0));
  assertWrittenBack(message, "00 53 75 40");
  assertWrittenBack({ ...message }, "00 53 75 40");
  assertWrittenBack({ ...message, body: Uint8Array.of(1) }, "00 53 75 a0 01 01");
  assertEquals(decodeMessage(wire("00 53 75 40 00 53 75 a0 01 01")).bytes(), Uint8Array.of(1));
});

test("MSG-1: a section that is null says nothing", () => {
  for (const section of ["70", "71", "72", "73", "74"]) {
    const message = read(`00 53 ${section} 40 00 53 77 a1 01 62`);
    assertEquals([message.header, message.messageAnnotations, message.applicationProperties], Array(3).fill(undefined));
    assertEquals(message.body, "b");
  }
});

test("MSG-1, MSG-14: the bare message of sections in another order is each as it came, in the order of the specification", () => {
  const data = "00 53 75 a0 01 01 00 53 75 a0 01 02";
  const properties = "00 53 73 c0 04 01 a1 01 69";
  const header = "00 53 70 c0 02 01 41";
  const footer = "00 53 78 c1 05 02 a3 01 66 41";
  const message = read(footer + data + properties + header);
  assertEquals(message.bare, wire(properties + data));
  assertEquals(message.bytes(), Uint8Array.of(1, 2));
  assertEquals(sectionsInOrder(wire(footer + data + properties + header)), wire(header + properties + data + footer));
  const ordered = wire(header + properties + data + footer);
  assertEquals(sectionsInOrder(ordered) === ordered, true);
  assertThrows(() => sectionsInOrder(wire(data + header + data)), AmqpError, "a section occurs twice");
});

test("TYP-5: a spread copy of a message keeps wire types: of its body, properties and application properties", () => {
  const properties = "00 53 73 c0 05 01 80 0000000000000005".replace("c0 05", "c0 0a");
  const application = `00 53 74 ${sized("c1", 4, "a1 01 61 54 05 a1 01 62 72 3fc00000")}`;
  const annotations = `00 53 72 ${sized("c1", 2, "a3 01 78 60 0102")}`;
  for (const [value, changed] of [["52 05", "52 06"], ["54 05", "54 06"], ["60 0005", "60 0006"]]) {
    const hex = annotations + application + "00 53 77" + value;
    const message = decodeMessage(wire(hex), strict);
    const copy: Message = {
      ...message,
      messageAnnotations: { ...message.messageAnnotations },
      applicationProperties: { ...message.applicationProperties },
    };
    assertNotStrictEquals(copy.applicationProperties, message.applicationProperties);
    assertWrittenBack(copy, hex);
    assertWrittenBack({ ...copy }, hex);
    // A changed value keeps the type of its place, a new one has that of a bare value.
    copy.body = 6;
    Object.assign(copy.applicationProperties!, { c: 7 });
    const extended = `00 53 74 ${sized("c1", 6, "a1 01 61 54 05 a1 01 62 72 3fc00000 a1 01 63 82 401c000000000000")}`;
    assertWrittenBack(copy, annotations + extended + "00 53 77" + changed);
    assertWrittenBack({ ...message, body: "text" }, annotations + application + "00 53 77 a1 04 74657874");
  }
  const message = decodeMessage(wire(properties + body), strict);
  assertWrittenBack({ ...message, properties: { ...message.properties } }, "00 53 73 c0 03 01 53 05" + body);
});

test("TYP-5: a copy has no more to show than the sections", () => {
  const message = decodeMessage(wire("00 53 77 52 05"), strict);
  assertEquals(Object.keys({ ...message }).length, 7);
  assertEquals(JSON.parse(JSON.stringify({ ...message })), { body: 5 });
});

test("TYP-5: a list whose items all have one type keeps it, also when it is changed", () => {
  const list = decode("c0 07 03 54 01 54 02 54 03") as number[];
  list[1] = 9;
  list.push(4);
  const encoded = written((writer) => writer.value(list));
  assertEquals(encoded, compact("c0 10 04 54 01 54 09 54 03 82 4010000000000000"));
  const mixed = decode("c0 08 04 54 01 54 02 41 52 03") as number[];
  assertEquals(written((writer) => writer.value(mixed)), compact("c0 08 04 54 01 54 02 41 52 03"));
});

test("MSG-2: several data sections are by the letter", () => {
  assertEquals(decodeMessage(wire("00 53 75 a0 01 01 00 53 75 a0 01 02"), strict).bytes(), Uint8Array.of(1, 2));
});

test("MSG-3: a property that came as a number and is text now is written as text", () => {
  const message = read(`00 53 73 ${sized("c0", 1, "52 07")} ${body}`);
  message.properties!.messageId = "7";
  assertWrittenBack(message, `00 53 73 ${sized("c0", 1, "a1 01 37")} ${body}`);
});

test("ATK-3: sections are passed over as deep as values may nest, and no deeper", () => {
  const nested = (depth: number): Uint8Array =>
    wire(`${body} 00 53 78 ${"00 ".repeat(depth)} 40 ${"40".repeat(depth)} 00 53 70 45`);
  assertEquals(sectionsInOrder(nested(32)).length, nested(32).length);
  assertThrows(() => sectionsInOrder(nested(33)), AmqpError, "descriptors nest deeper than 32");
});
