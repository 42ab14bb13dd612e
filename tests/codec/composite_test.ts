import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  decodeAs,
  decodeComposite,
  encodeAs,
  encodeComposite,
  fromDescribed,
  readDescriptor,
  toDescribed,
  withDefaults,
} from "../../src/codec/composite.ts";
import { definitions } from "../../src/codec/definitions.ts";
import { planOf } from "../../src/codec/plans.ts";
import { Reader } from "../../src/codec/reader.ts";
import {
  type Attach,
  type Close,
  type Composite,
  Described,
  described,
  type Header,
  type MessageId,
  type Properties,
  symbol,
  timestamp,
  Typed,
  uint,
  ulong,
  uuid,
} from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { condition } from "../../src/base/errors.ts";
import { test } from "../harness.ts";
import { assertAmqpError, compact, sized, wire, written } from "./bytes.ts";

/** The one composite that the bytes encode. */
function read(hex: string): Composite {
  const reader = new Reader(wire(hex));
  const composite = decodeComposite(reader);
  assertEquals(reader.remaining, 0);
  return composite;
}

function write(composite: Composite): string {
  return written((writer) => encodeComposite(writer, composite));
}

function assertBothWays(hex: string, composite: Composite): void {
  assertEquals(read(hex), composite);
  assertEquals(write(composite), compact(hex));
}

function assertRefused(hex: string, includes: string, symbol: string = condition.decodeError): void {
  const error = assertAmqpError(() => read(hex), includes, symbol);
  assertEquals(error.scope, "connection");
}

test("TYP-9: composites, both ways", () => {
  assertBothWays("00 53 10 c0 04 01 a1 01 63", { kind: "open", containerId: "c" });
  assertBothWays("00 53 11 c0 06 04 40 52 05 43 43", {
    kind: "begin",
    nextOutgoingId: 5,
    incomingWindow: 0,
    outgoingWindow: 0,
  });
  assertBothWays(`00 53 14 ${sized("c0", 6, "43 52 07 a0 01 09 43 40 41")}`, {
    kind: "transfer",
    handle: 0,
    deliveryId: 7,
    deliveryTag: Uint8Array.of(9),
    messageFormat: 0,
    more: true,
  });
  assertBothWays(`00 53 15 ${sized("c0", 5, "41 52 01 52 03 41 00 53 24 45")}`, {
    kind: "disposition",
    role: "receiver",
    first: 1,
    last: 3,
    settled: true,
    state: { kind: "accepted" },
  });
  assertBothWays("00 53 17 45", { kind: "end" });
  assertBothWays(`00 53 18 ${sized("c0", 1, "00 53 1d c0 04 01 a3 01 78")}`, {
    kind: "close",
    error: { condition: "x" },
  });
  assertBothWays(`00 53 40 ${sized("c0", 1, "e0 04 01 a3 01 58")}`, {
    kind: "saslMechanisms",
    saslServerMechanisms: ["X"],
  });
  assertBothWays("00 53 44 c0 03 01 50 01", { kind: "saslOutcome", code: "auth" });
});

test("TYP-9: a descriptor may be a ulong of any width or a symbol", () => {
  for (
    const descriptor of [
      "53 17",
      "80 00 00 00 00 00 00 00 17",
      "a3 0d 616d71703a656e643a6c697374",
      "b3 0000000d 616d71703a656e643a6c697374",
    ]
  ) {
    assertEquals(read(`00 ${descriptor} 45`), { kind: "end" });
    assertEquals(read(`00 ${descriptor} c0 01 00`), { kind: "end" });
    assertEquals(read(`00 ${descriptor} d0 00 00 00 04 00 00 00 00`), { kind: "end" });
  }
});

test("TYP-9: what has no descriptor, or one that is not known, is refused", () => {
  assertRefused("45", "Cannot decode value: constructor 0x45 is not that of a described value");
  assertRefused("00 53 99 45", "the descriptor is not that of a known composite");
  assertRefused("00 80 00 00 00 01 00 00 00 10 45", "the descriptor is not that of a known composite");
  assertRefused("00 80 ff ff ff ff ff ff ff ff 45", "the descriptor is not that of a known composite");
  assertRefused("00 44 45", "the descriptor is not that of a known composite");
  assertRefused("00 a3 01 78 45", "the descriptor is not that of a known composite");
  assertRefused("00 a1 01 78 45", "the descriptor is not that of a known composite");
  assertRefused("00 53 75 a0 00", "the descriptor is not that of a known composite");
  // An error, a header and properties do not name their kind, and cannot stand alone.
  assertRefused("00 53 1d c0 04 01 a3 01 78", "the descriptor is not that of a known composite");
});

test("TYP-9: trailing nulls may be there, and are not written", () => {
  const detach = read(`00 53 16 ${sized("c0", 3, "52 01 40 40")}`);
  assertEquals(detach, { kind: "detach", handle: 1 });
  assertEquals(write(detach), compact("00 53 16 c0 03 01 52 01"));
  assertEquals(
    write({ kind: "flow", incomingWindow: 1, nextOutgoingId: 2, outgoingWindow: 3, echo: undefined }),
    compact("00 53 13 c0 08 04 40 52 01 52 02 52 03"),
  );
});

test("TYP-9: a field that equals its default is told apart from one that is absent", () => {
  const set = read("00 53 16 c0 03 02 43 42");
  assertEquals(set, { kind: "detach", handle: 0, closed: false });
  assertEquals(write(set), compact("00 53 16 c0 03 02 43 42"));
  assertEquals(Object.keys(read("00 53 16 c0 02 01 43")), ["kind", "handle"]);
});

test("SASL-7: a response of no bytes is told apart from none", () => {
  assertBothWays(`00 53 41 ${sized("c0", 2, "a3 01 58 a0 00")}`, {
    kind: "saslInit",
    mechanism: "X",
    initialResponse: new Uint8Array(0),
  });
  assertBothWays(`00 53 41 ${sized("c0", 1, "a3 01 58")}`, { kind: "saslInit", mechanism: "X" });
});

test("TYP-9: a mandatory field that is null or absent is refused", () => {
  assertRefused("00 53 10 45", 'Cannot decode open: field "containerId" is mandatory');
  assertRefused("00 53 10 c0 02 01 40", 'Cannot decode open: field "containerId" is mandatory');
  assertRefused("00 53 12 c0 04 01 a1 01 6e", 'Cannot decode attach: field "handle" is mandatory');
  assertRefused("00 53 12 c0 06 03 a1 01 6e 40 41", 'Cannot decode attach: field "handle" is mandatory');
  assertRefused(`00 53 18 ${sized("c0", 1, "00 53 1d 45")}`, 'Cannot decode error: field "condition" is mandatory');
  assertThrows(
    () => write({ kind: "open" } as never),
    TypeError,
    'Cannot encode open: field "containerId" is mandatory',
  );
  assertThrows(
    () => write({ kind: "close", error: {} } as never),
    TypeError,
    'Cannot encode error: field "condition" is mandatory (close, field "error")',
  );
});

test("TYP-9: more fields than there are is refused", () => {
  assertRefused("00 53 17 c0 03 02 40 40", "Cannot decode end: there are 2 fields instead of 1");
  assertRefused("00 53 24 c0 02 01 40", "Cannot decode accepted: there are 1 fields instead of 0");
});

test("TYP-9: a field of another type is refused, and the error says where", () => {
  assertRefused(
    "00 53 10 c0 03 01 52 05",
    'Cannot decode open: constructor 0x52 is not string (field "containerId" at byte 7)',
  );
  assertRefused("00 53 16 c0 04 02 43 56 02", 'Cannot decode detach: 0x02 is not a boolean (field "closed" at byte 9)');
  assertRefused("00 53 16 c0 03 02 43 43", "constructor 0x43 is not boolean");
  assertRefused("00 53 11 c0 07 04 60 00 00 41 43 43", "constructor 0x41 is not uint");
  assertRefused("00 53 17 c1 01 00", "Cannot decode end: constructor 0xc1 is not list");
  assertRefused("00 53 17 40", "constructor 0x40 is not list");
  const inner = `00 53 28 ${sized("c0", 1, "43")}`;
  const attach = `00 53 12 ${sized("c0", 6, `a1 01 6e 43 41 40 40 ${inner}`)}`;
  assertRefused(attach, 'Cannot decode source: constructor 0x43 is not string (field "address" at byte 20)');
});

test("TYP-10: several values may be null, one value, or an array; none is absent", () => {
  const open = (locales: string) => read(`00 53 10 ${sized("c0", 6, `a1 01 63 40 40 40 40 ${locales}`)}`);
  const plain = { kind: "open", containerId: "c" };
  assertEquals<unknown>(open("40"), plain);
  assertEquals<unknown>(open("e0 02 00 a3"), plain);
  assertEquals<unknown>(open("e0 02 00 40"), plain);
  assertEquals<unknown>(open("a3 01 65"), { ...plain, outgoingLocales: ["e"] });
  assertEquals<unknown>(open("e0 04 01 a3 01 65"), { ...plain, outgoingLocales: ["e"] });
  assertEquals<unknown>(open("e0 0c 02 b3 00 00 00 01 65 00 00 00 01 66"), {
    ...plain,
    outgoingLocales: ["e", "f"],
  });
  assertEquals(write({ kind: "open", containerId: "c", outgoingLocales: [] }), compact("00 53 10 c0 04 01 a1 01 63"));
  for (
    const [wrong, includes] of [
      ["a1 01 65", "constructor 0xa1 is not symbol"],
      ["c0 04 01 a3 01 65", "constructor 0xc0 is not symbol"],
      ["e0 04 01 a1 01 65", "the array is of string, not symbol"],
      ["e0 07 01 00 53 01 a3 01 65", "constructor 0xe0 is not symbol"],
    ]
  ) {
    assertAmqpError(() => open(wrong), includes);
  }
  const notArray = { kind: "open", containerId: "c", outgoingLocales: "e" };
  assertThrows(() => write(notArray as never), TypeError, '(open, field "outgoingLocales")');
});

test("TYP-10: several values that are mandatory need one", () => {
  assertRefused("00 53 40 45", 'field "saslServerMechanisms" is mandatory');
  assertRefused("00 53 40 c0 02 01 40", 'field "saslServerMechanisms" is mandatory');
  assertRefused("00 53 40 c0 05 01 e0 02 00 a3", 'field "saslServerMechanisms" is mandatory');
  assertEquals<unknown>(read("00 53 40 c0 04 01 a3 01 58"), { kind: "saslMechanisms", saslServerMechanisms: ["X"] });
  assertThrows(() => write({ kind: "saslMechanisms", saslServerMechanisms: [] }), TypeError, "is mandatory");
});

test("TYP-11: the keys of fields are symbols, not null, and not twice", () => {
  const properties = (map: string) => read(`00 53 10 ${sized("c0", 10, `a1 01 63 ${"40".repeat(8)} ${map}`)}`);
  const { properties: fields } = properties("c1 05 02 a3 01 6b 41") as { properties?: object };
  assertEquals({ ...fields }, { k: true });
  assertAmqpError(() => properties("c1 03 02 40 41"), "a map key has constructor 0x40, not symbol");
  assertAmqpError(() => properties("c1 05 02 a1 01 6b 41"), "a map key has constructor 0xa1, not symbol");
  assertAmqpError(() => properties("c1 09 04 a3 01 6b 41 a3 01 6b 41"), 'map key "k" occurs twice');
  assertAmqpError(() => properties("45"), "constructor 0x45 is not map");
  const bad = { kind: "open", containerId: "c", properties: { é: 1 } } as const;
  assertThrows(() => write(bad), RangeError, '(open, field "properties")');
});

test("TYP-11: only the info of an error may have keys that are strings", () => {
  const close = (map: string) => read(`00 53 18 ${sized("c0", 1, `00 53 1d ${sized("c0", 3, `a3 01 78 40 ${map}`)}`)}`);
  const { error } = close("c1 09 04 a1 01 6b 41 a3 01 6c 42") as Close;
  assertEquals({ ...error?.info }, { k: true, l: false });
  assertAmqpError(() => close("c1 09 04 a1 01 6b 41 a3 01 6b 42"), 'map key "k" occurs twice');
  assertAmqpError(() => close("c1 04 02 52 01 41"), "a map key has constructor 0x52, not symbol");
});

test("TYP-11: what stands for an archetype must provide it", () => {
  const state = (composite: string) => `00 53 15 ${sized("c0", 5, `41 43 40 40 ${composite}`)}`;
  assertEquals<unknown>(read(state("00 53 26 45")), {
    kind: "disposition",
    role: "receiver",
    first: 0,
    state: { kind: "released" },
  });
  assertRefused(state("00 53 17 45"), "Cannot decode disposition: the descriptor is not that of a known deliveryState");
  assertRefused(state("00 53 1d c0 04 01 a3 01 78"), "not that of a known deliveryState");
  assertRefused(state("00 53 99 45"), "not that of a known deliveryState", condition.notImplemented);
  assertRefused(state("45"), "constructor 0x45 is not that of a described value");
  const wrong = { kind: "disposition", role: "receiver", first: 0, state: { kind: "end" } };
  assertThrows(
    () => write(wrong as never),
    TypeError,
    'Cannot encode deliveryState: "end" is not one (disposition, field "state")',
  );
  const unknown = { kind: "disposition", role: "receiver", first: 0, state: { kind: "toString" } };
  assertThrows(() => write(unknown as never), TypeError, 'there is no kind "toString"');
  const nested = { kind: "declared", txnId: Uint8Array.of(1), outcome: { kind: "received" } };
  assertThrows(() => write({ ...nested, kind: "transactionalState" } as never), TypeError, '"received" is not one');
});

test("TRM-8: a target may be a coordinator; an unknown kind of terminus is not implemented", () => {
  const attach = (source: string, target: string) =>
    `00 53 12 ${sized("c0", 7, `a1 01 6e 43 41 40 40 ${source} ${target}`)}`;
  const { target } = read(attach("40", "00 53 30 c0 05 01 a3 02 74 78")) as Attach;
  assertEquals(target, { kind: "coordinator", capabilities: ["tx"] });
  assertRefused(attach("00 a3 01 78 45", "40"), "not that of a known source", condition.notImplemented);
  assertRefused(attach("40", "00 53 99 45"), "not that of a known target", condition.notImplemented);
  // A known composite that is no terminus is an error of the peer.
  assertRefused(attach("40", "00 53 28 45"), "not that of a known target");
});

test("TRM-7: a terminus without any field is not the same as none", () => {
  const attach: Attach = { kind: "attach", name: "n", handle: 0, role: "sender", source: { kind: "source" } };
  assertBothWays(`00 53 12 ${sized("c0", 6, "a1 01 6e 43 42 40 40 00 53 28 45")}`, attach);
});

test("TRM-1 TRM-3 TRM-5: a whole terminus comes back as it was", () => {
  const attach: Attach = {
    kind: "attach",
    name: "n",
    handle: 0,
    role: "receiver",
    source: {
      kind: "source",
      address: "q",
      durable: "unsettled-state",
      expiryPolicy: "never",
      timeout: 60,
      dynamic: true,
      dynamicNodeProperties: fields({
        "lifetime-policy": toDescribed({ kind: "deleteOnClose" }),
        "supported-dist-modes": symbol("copy"),
      }),
      distributionMode: "copy",
      filter: fields({ "apache.org:selector-filter:string": described("apache.org:selector-filter:string", "a = 1") }),
      defaultOutcome: { kind: "modified", deliveryFailed: true },
      outcomes: ["amqp:accepted:list", "amqp:rejected:list"],
      capabilities: ["queue"],
    },
    target: { kind: "target", durable: "configuration", expiryPolicy: "link-detach" },
  };
  const decoded = read(write(attach)) as Attach;
  assertEquals(decoded, attach);
  assertEquals(fromDescribed(decoded.source?.dynamicNodeProperties?.["lifetime-policy"]), { kind: "deleteOnClose" });
});

function fields<T extends object>(values: T): T {
  return Object.assign(Object.create(null), values);
}

test("TRM-1: a wire value that an enumeration does not have is an invalid field", () => {
  assertRefused("00 53 44 c0 03 01 50 05", 'Cannot decode saslOutcome: "5" is not a saslCode', condition.invalidField);
  const attach = (mode: string) => `00 53 12 ${sized("c0", 5, `a1 01 6e 43 41 40 ${mode}`)}`;
  assertRefused(attach("50 02"), '"2" is not a receiverSettleMode', condition.invalidField);
  assertRefused(attach("52 01"), "constructor 0x52 is not ubyte");
  const target = (fields: string) => `00 53 12 ${sized("c0", 7, `a1 01 6e 43 41 40 40 40 00 53 29 ${fields}`)}`;
  assertRefused(target(sized("c0", 2, "40 52 03")), '"3" is not a terminusDurability', condition.invalidField);
  assertRefused(
    target(sized("c0", 3, "40 40 a3 02 6e 6f")),
    '"no" is not a terminusExpiryPolicy',
    condition.invalidField,
  );
  const wrong = { kind: "saslOutcome", code: "no" };
  assertThrows(
    () => write(wrong as never),
    RangeError,
    'Cannot encode saslCode: "no" is not one (saslOutcome, field "code")',
  );
});

test("MSG-5: a message id is a ulong, a uuid, a binary or a string, and stays what it is", () => {
  const ids: [hex: string, id: MessageId][] = [
    ["53 05", 5n],
    ["98 00112233 4455 6677 8899 aabbccddeeff", uuid("00112233-4455-6677-8899-aabbccddeeff")],
    ["a0 01 07", Uint8Array.of(7)],
    ["a1 01 78", "x"],
  ];
  for (const [hex, id] of ids) {
    const bytes = compact(`00 53 73 ${sized("c0", 1, hex)}`);
    assertEquals(written((writer) => encodeAs(writer, "properties", { messageId: id })), bytes);
    const reader = new Reader(wire(bytes).subarray(3));
    assertEquals(decodeAs(reader, "properties"), { messageId: id });
  }
  const typed = [ulong(5), new Typed("string", "x"), new Typed("binary", Uint8Array.of(1))] as unknown as MessageId[];
  for (const id of typed) written((writer) => encodeAs(writer, "properties", { messageId: id }));
  for (const wrong of [5, true, uint(5), new Date(0), {}]) {
    const properties = { correlationId: wrong } as unknown as Properties;
    assertThrows(
      () => written((writer) => encodeAs(writer, "properties", properties)),
      TypeError,
      "Cannot encode message id",
    );
  }
  const reader = new Reader(wire(sized("c0", 1, "52 05")));
  assertAmqpError(() => decodeAs(reader, "properties"), "constructor 0x52 is not message-id");
});

test("MSG-6: a time that a Date cannot hold is a timestamp all the same", () => {
  const properties: Properties = { absoluteExpiryTime: timestamp(2n ** 62n), creationTime: new Date(5) };
  const hex = written((writer) => encodeAs(writer, "properties", properties));
  assertEquals(decodeAs(new Reader(wire(hex).subarray(3)), "properties"), properties);
  const wrong = new Reader(wire(sized("c0", 9, `${"40".repeat(8)} 55 05`)));
  assertAmqpError(() => decodeAs(wrong, "properties"), "constructor 0x55 is not timestamp");
});

test("LNK-8 ATK-10: the unsettled map is keyed by tags that occur once", () => {
  const attach = (map: string) => `00 53 12 ${sized("c0", 8, `a1 01 6e 43 41 40 40 40 40 ${map}`)}`;
  const decoded = read(attach(sized("c1", 4, "a0 01 01 40 a0 01 02 00 53 24 45"))) as Attach;
  assertEquals([...decoded.unsettled!], [[Uint8Array.of(1), null], [Uint8Array.of(2), { kind: "accepted" }]]);
  assertRefused(attach(sized("c1", 4, "a0 01 01 40 b0 00 00 00 01 01 40")), "a delivery tag occurs twice");
  assertRefused(attach(sized("c1", 2, "40 40")), "constructor 0x40 is not binary");
  assertRefused(attach(sized("c1", 2, "a0 01 01 41")), "constructor 0x41 is not that of a described value");
  assertRefused(attach("45"), "constructor 0x45 is not map");
  const wrong = { kind: "attach", name: "n", handle: 0, role: "sender", unsettled: {} };
  assertThrows(() => write(wrong as never), TypeError, "the value is not a Map");
});

test("TXN-2: a global id may be any value, and keeps its type", () => {
  const hex = "00 53 31 c0 03 01 52 05";
  const declare = read(hex);
  assertEquals(declare, { kind: "declare", globalId: 5 });
  assertEquals(write(declare), compact(hex));
});

test("TYP-3: a field that its type cannot hold is refused, and nothing is written", () => {
  const writer = new Writer();
  writer.append(Uint8Array.of(1, 2));
  const open = { kind: "open", containerId: "c", maxFrameSize: 2 ** 32 } as const;
  const message = 'Cannot encode uint: 4294967296 does not fit (open, field "maxFrameSize")';
  const error = assertThrows(() => encodeComposite(writer, open), RangeError, message);
  assertStrictEquals((error.cause as Error).message, "Cannot encode uint: 4294967296 does not fit");
  assertEquals(writer.length, 2);
  assertThrows(
    () => encodeComposite(writer, { kind: "open", containerId: 5 } as never),
    RangeError,
    "Cannot encode string",
  );
  assertThrows(() => encodeComposite(writer, { kind: "nothing" } as never), TypeError, 'there is no kind "nothing"');
  assertEquals(writer.length, 2);
});

test("CON-3 TYP-9: defaults are filled in where nothing is set, and only there", () => {
  assertEquals(withDefaults({ kind: "open", containerId: "c", channelMax: 5 }), {
    kind: "open",
    containerId: "c",
    maxFrameSize: 4294967295,
    channelMax: 5,
  });
  const attach = withDefaults({ kind: "attach", name: "n", handle: 0, role: "sender", sndSettleMode: undefined });
  assertEquals([attach.sndSettleMode, attach.rcvSettleMode, attach.incompleteUnsettled], ["mixed", "first", false]);
  const { durable, expiryPolicy, timeout, dynamic } = withDefaults({ kind: "source" });
  assertEquals([durable, expiryPolicy, timeout, dynamic], ["none", "session-end", 0, false]);
  const given = { kind: "detach", handle: 1 } as const;
  withDefaults(given);
  assertEquals<unknown>(given, { kind: "detach", handle: 1 });
});

test("MSG-3: the defaults of a header", () => {
  const header: Header = { ttl: 5 };
  assertEquals(withDefaults(header, "header"), {
    ttl: 5,
    durable: false,
    priority: 4,
    firstAcquirer: false,
    deliveryCount: 0,
  });
});

test("TXN-2: a composite can stand where any value may", () => {
  const discharge = { kind: "discharge", txnId: Uint8Array.of(1), fail: true } as const;
  const value = toDescribed(discharge);
  assert(value instanceof Described);
  assertEquals(value, described(0x32n, [Uint8Array.of(1), true]));
  assertEquals(fromDescribed(value), discharge);
  assertEquals(fromDescribed(described("amqp:accepted:list", [])), { kind: "accepted" });
  assertEquals(fromDescribed(described(0x99n, [])), undefined);
  assertEquals(fromDescribed(described(0x1dn, [symbol("x")])), undefined);
  assertEquals(fromDescribed([0x32n]), undefined);
  const error = assertAmqpError(() => fromDescribed(described(0x32n, [])), 'field "txnId" is mandatory');
  assertEquals(error.scope, "delivery");
});

test("TYP-9: a symbolic descriptor is looked up among composites and sections", () => {
  const code = (hex: string) => readDescriptor(new Reader(wire(hex)));
  assertEquals(code("a3 10 616d71703a646174613a62696e617279"), 0x75);
  assertEquals(code("53 75"), 0x75);
  assertEquals(code("44"), 0);
  assertEquals(code("a3 01 78"), -1);
  assertEquals(code("40"), -1);
  assertEquals(code("c0 01 00"), -1);
});

test("TYP-9: the fields that are asked for by name are all of the table's, in its order", () => {
  const keys = Object.keys(definitions.properties.fields);
  const composite = Object.fromEntries(keys.map((key) => [key, key]));
  assertEquals(planOf("properties").values!(composite as never), keys);
});
