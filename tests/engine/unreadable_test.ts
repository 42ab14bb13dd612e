import { assertEquals } from "@std/assert";
import { condition } from "../../src/base/errors.ts";
import { beginFrame, endFrame } from "../../src/codec/frame.ts";
import { print } from "../../src/codec/print.ts";
import {
  described,
  type Disposition,
  symbol as amqpSymbol,
  ubyte,
  uint,
  ulong,
  ushort,
  type Value,
} from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";
import { attachLink, sendOn } from "./endpoint.ts";
import { tag } from "./pair.ts";
import { attach, begin, flow, Script, transfer } from "./script.ts";

/** A frame with a performative whose fields may be anything. */
function frameOf(code: bigint, fields: Value[], channel: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const writer = new Writer();
  const start = beginFrame(writer, 0, channel);
  writer.value(described(code, fields));
  writer.append(payload);
  endFrame(writer, start);
  return writer.take();
}

/** Sends one on channel 0. */
function raw(script: Script, code: bigint, fields: Value[], payload?: Uint8Array): void {
  script.raw(frameOf(code, fields, 0, payload));
}

const UNKNOWN: [Value, string, string][] = [
  [described("shop:held:list", []), condition.notImplemented, "not that of a known deliveryState"],
  [described(0x99n, [true]), condition.notImplemented, "not that of a known deliveryState"],
  [described(0x17n, []), condition.decodeError, "not that of a known deliveryState"],
  [described(0x23n, [uint(1)]), condition.decodeError, 'Cannot decode received: field "sectionOffset" is mandatory'],
  [described(0x27n, [5]), condition.decodeError, "Cannot decode modified: constructor 0x82 is not boolean"],
  [described(0x34n, [Uint8Array.of(1), described(0x99n, [])]), condition.decodeError, "not that of a known outcome"],
  ["accepted", condition.decodeError, "constructor 0xa1 is not that of a described value"],
];

/** A client with a sender at handle 0, with credit. */
function sending() {
  const script = Script.opened({ role: "client" });
  const sender = attachLink(script.endpoint.begin({}), { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.send(attach({ role: "receiver" }));
  script.send(flow({ handle: 0, linkCredit: 100, deliveryCount: 0 }));
  script.rest();
  return { script, sender };
}

test("DSP-1, ATK-39: a delivery state that cannot be read is that of its deliveries, and ends no more", () => {
  const { script, sender } = sending();
  for (const [i, [state, symbol, text]] of UNKNOWN.entries()) {
    const sent = [sendOn(sender, tag(i), Uint8Array.of(1)), sendOn(sender, tag(i + 100), Uint8Array.of(1))];
    script.rest();
    raw(script, 0x15n, [true, uint(2 * i), uint(2 * i + 1), true, state]);
    for (const [j, event] of script.take("disposition").entries()) {
      assertEquals([event.delivery, event.settled, event.state?.kind], [sent[j]!, true, "unknown"]);
      const { error } = event.state as { error: { condition: string; description: string } };
      assertEquals([error.condition, error.description.includes(text)], [symbol, true], error.description);
    }
    assertEquals(sent.map(({ settled }) => settled), [true, true]);
  }
  script.quiet();
  script.alive();
});

test("MSG-12: a rejection whose error cannot be read is a rejection, and tells why it has no error", () => {
  const { script, sender } = sending();
  sendOn(sender, tag(1), Uint8Array.of(1));
  script.rest();
  raw(script, 0x15n, [true, uint(0), null, true, described(0x25n, [described(0x1dn, ["no symbol"])])]);
  assertEquals(script.one("disposition").state, {
    kind: "rejected",
    error: {
      condition: condition.decodeError,
      description: 'Cannot decode error: constructor 0xa1 is not symbol (field "condition" at byte 23)',
    },
  });
});

test("TRF-8: a transfer with a state that cannot be read is taken, and tells it", () => {
  const script = Script.begun();
  script.send(attach({ role: "sender" }));
  const { link } = script.one("attachRequested");
  if (link.role === "receiver") link.flow({ linkCredit: 10 });
  script.rest();
  const tag = Uint8Array.of(0, 0, 0, 0);
  const state = described("shop:branch:list", []);
  raw(script, 0x14n, [uint(0), uint(0), tag, uint(0), false, false, null, state], Uint8Array.of(1, 2, 3));
  const { delivery } = script.one("delivery");
  assertEquals([delivery.remoteState?.kind, [...delivery.payload]], ["unknown", [1, 2, 3]]);
  script.send(transfer(1), { payload: Uint8Array.of(4) });
  script.one("delivery");
});

test("LNK-8: an unsettled map may have states that cannot be read", () => {
  const script = Script.begun();
  const unsettled = new Map<Value, Value>([
    [Uint8Array.of(1), described("shop:held:list", [1])],
    [Uint8Array.of(2), described(0x24n, [])],
  ]);
  const terminus = (code: bigint) => described(code, []);
  raw(script, 0x12n, ["l", uint(0), false, null, null, terminus(0x28n), terminus(0x29n), unsettled, null, uint(0)]);
  const kinds = [...script.one("attachRequested").link.remote!.unsettled!.values()].map((state) => state?.kind);
  assertEquals(kinds, ["unknown", "accepted"]);
});

/** Sends an attach of "l" on handle 0 that is to be refused, and checks that only its link ends. */
function refuses(fields: Value[], symbol: string, text: string): void {
  const script = Script.begun();
  script.send(attach({ role: "sender", name: "other", handle: 7 }));
  script.one("attachRequested");
  script.rest();
  raw(script, 0x12n, fields);
  const answer = script.expect("attach");
  assertEquals(fields[2] ? answer.source : answer.target, undefined);
  script.expect2("detach", symbol, text);
  script.send({ kind: "detach", handle: 0, closed: true });
  script.quiet();
  assertEquals(script.take("attachRequested"), []);
  assertEquals([...script.endpoint.sessions()][0]!.linkCount, 1);
  script.alive();
}

test("TRM-8, TRM-6: a terminus that cannot be read refuses its link, and the session goes on", () => {
  const cases: [Value, Value, string, string][] = [
    [described("shop:shelf:list", []), described(0x29n, []), condition.notImplemented, "not that of a known source"],
    [described(0x28n, []), described("shop:shelf:list", []), condition.notImplemented, "not that of a known target"],
    [described(0x28n, [5]), described(0x29n, []), condition.decodeError, 'not string (field "address"'],
    [described(0x28n, []), described(0x30n, [5]), condition.decodeError, "Cannot decode coordinator"],
    [
      described(0x28n, [null, null, null, null, null, null, null, null, described(0x99n, [])]),
      described(0x29n, []),
      condition.decodeError,
      "not that of a known outcome",
    ],
  ];
  for (const role of [true, false]) {
    for (const [source, target, symbol, text] of cases) {
      refuses(["l", uint(0), role, null, null, source, target, null, null, uint(0)], symbol, text);
    }
  }
});

test("TRM-8: a link of ours that is answered with a terminus that cannot be read ends with its error", () => {
  const script = Script.opened({ role: "client" });
  attachLink(script.endpoint.begin({}), { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.rest();
  raw(script, 0x12n, ["link", uint(0), true, null, null, described(0x28n, []), described("shop:shelf:list", [])]);
  script.detachedWith(condition.notImplemented, "not that of a known target");
  assertEquals(script.take("attached"), []);
});

test("LNK-1, ATK-39: an attach with a field that cannot be read refuses its link, and the session goes on", () => {
  // The index of the field, its value, and the refusal.
  const cases: [number, Value, string, string][] = [
    [3, ubyte(9), condition.invalidField, '"9" is not a senderSettleMode (field "sndSettleMode"'],
    [4, ubyte(2), condition.invalidField, '"2" is not a receiverSettleMode (field "rcvSettleMode"'],
    [3, "mixed", condition.decodeError, 'not ubyte (field "sndSettleMode"'],
    [7, "all", condition.decodeError, 'not map (field "unsettled"'],
    [7, new Map<Value, Value>([["tag", null]]), condition.decodeError, 'not binary (field "unsettled"'],
    [7, new Map([[new Uint8Array(33), null]]), condition.invalidField, "a delivery tag has 33 bytes"],
    [9, ulong(1), condition.decodeError, 'not uint (field "initialDeliveryCount"'],
    [10, "big", condition.decodeError, 'not ulong (field "maxMessageSize"'],
    [11, [amqpSymbol("a")], condition.decodeError, 'not symbol (field "offeredCapabilities"'],
    [13, new Map<Value, Value>([["string", 1]]), condition.decodeError, 'not symbol (field "properties"'],
  ];
  for (const role of [true, false]) {
    for (const [index, value, symbol, text] of cases) {
      const fields: Value[] = ["l", uint(0), role, null, null, described(0x28n, []), described(0x29n, []), null];
      while (fields.length < 14) fields.push(null);
      fields[9] = uint(0);
      fields[index] = value;
      refuses(fields, symbol, text);
    }
  }
});

test("LNK-1: a link of ours that is answered with a field that cannot be read ends with its error", () => {
  const script = Script.opened({ role: "client" });
  attachLink(script.endpoint.begin({}), { name: "link", role: "sender", target: { kind: "target" } });
  script.send(begin({ remoteChannel: 0 }));
  script.rest();
  raw(script, 0x12n, ["link", uint(0), true, ubyte(9), null, described(0x28n, []), described(0x29n, [])]);
  script.detachedWith(condition.invalidField, '"9" is not a senderSettleMode');
  assertEquals(script.take("attached"), []);
  script.alive();
});

/** A server with two links of the peer's senders, of handles 0 and 1. */
function receivingTwo() {
  const script = Script.begun();
  for (const handle of [0, 1]) {
    script.send(attach({ role: "sender", name: `l${handle}`, handle }));
    const { link } = script.one("attachRequested");
    if (link.role === "receiver") link.flow({ linkCredit: 10 });
  }
  script.rest();
  return script;
}

test("TRF-5, ATK-39: a transfer with a field that cannot be read ends its link, and the session goes on", () => {
  const tag = Uint8Array.of(0, 0, 0, 0);
  const cases: [Value[], string, string][] = [
    [[tag, uint(0), false, false, ubyte(2)], condition.invalidField, '"2" is not a receiverSettleMode'],
    [[tag, uint(0), "no"], condition.decodeError, 'not boolean (field "settled"'],
    [["tag"], condition.decodeError, 'not binary (field "deliveryTag"'],
  ];
  for (const [fields, symbol, text] of cases) {
    const script = receivingTwo();
    raw(script, 0x14n, [uint(0), uint(0), ...fields], Uint8Array.of(1, 2, 3));
    script.detachedWith(symbol, text);
    // The delivery counts for the session all the same.
    script.send(transfer(1, { handle: 1 }), { payload: Uint8Array.of(4) });
    script.one("delivery");
    script.alive();
  }
});

test("FLW-4, ATK-39: a flow with a field that cannot be read ends its link, or its session if it is of no link", () => {
  const session = [uint(1), uint(100), uint(0), uint(100)];
  const bad = new Map<Value, Value>([["string", 1]]);
  for (const [handle, isLink] of [[uint(0), true], [null, false], ["0", false]] as const) {
    const script = receivingTwo();
    raw(script, 0x13n, [...session, handle, uint(0), uint(1), null, false, false, bad]);
    const text = handle === "0" ? 'not uint (field "handle"' : "a map key has constructor 0xa1, not symbol";
    if (isLink) script.detachedWith(condition.decodeError, text);
    else script.endedWith(condition.decodeError, text);
    if (isLink) script.send(transfer(0, { handle: 1 }), { payload: Uint8Array.of(4) });
    script.alive();
  }
});

test("SES-1, ATK-39: a begin with a field that cannot be read ends its session, ours and the peer's", () => {
  const fields = (remoteChannel: Value): Value[] => [remoteChannel, uint(0), uint(9), uint(9), uint(9), null, null, 5];
  const own = Script.begun();
  own.send(attach({ role: "sender" }));
  own.one("attachRequested");
  own.rest();
  own.raw(frameOf(0x11n, fields(null), 3));
  own.expect("begin");
  own.expect2("end", condition.decodeError, "Cannot decode begin: constructor 0x82 is not map");
  assertEquals(own.events.at(-1)?.kind, "ended");
  own.alive();
  const script = Script.opened({ role: "client" });
  script.endpoint.begin({});
  script.rest();
  script.raw(frameOf(0x11n, fields(ushort(0)), 0));
  script.endedWith(condition.decodeError, "Cannot decode begin");
  script.alive();
  // Whose answer it is cannot be told.
  script.raw(frameOf(0x11n, fields("0"), 1));
  script.closedWith(condition.decodeError, 'field "remoteChannel"');
});

test("ERR-1: a detach, an end and a close whose error cannot be read end what they say", () => {
  const bad = described(0x1dn, [described(ulong(1), 1)]);
  const { script } = sending();
  raw(script, 0x16n, [uint(0), true, bad]);
  const { error, closed } = script.one("detached");
  assertEquals([closed, error?.condition, error?.remote], [true, condition.decodeError, true]);
  assertEquals(error?.message.includes("Cannot decode error"), true);
  script.expect("detach");
  script.alive();
  raw(script, 0x17n, [bad]);
  assertEquals((script.one("ended").error as { condition?: string }).condition, condition.decodeError);
  script.expect("end");
  script.alive();
  raw(script, 0x18n, [bad]);
  assertEquals((script.one("closed").error as { condition?: string }).condition, condition.decodeError);
});

test("ATK-4: a state that is longer than its disposition is an error of the frame", () => {
  const { script } = sending();
  // The list of the state is said to have 0x20 bytes.
  script.raw(
    Uint8Array.from([0, 0, 0, 22, 2, 0, 0, 0, 0, 0x53, 0x15, 0xc0, 9, 5, 0x41, 0x43, 0x40, 0x41, 0, 0x53, 0x27, 0xc0]),
  );
  script.closedWith(condition.decodeError);
});

test("a state that cannot be read is printed", () => {
  const state = { kind: "unknown", error: { condition: "amqp:decode-error", description: "bad\n" } } as const;
  const disposition: Disposition = { kind: "disposition", role: "receiver", first: 1, state };
  assertEquals(
    print(disposition),
    'disposition(role=receiver, first=1, state=unknown(error(condition="amqp:decode-error", description="bad\\u{a}")))',
  );
  const flow = { kind: "flow", incomingWindow: 1, nextOutgoingId: 0, outgoingWindow: 1, unread: state } as const;
  assertEquals(
    print(flow),
    "flow(incomingWindow=1, nextOutgoingId=0, outgoingWindow=1, " +
      'unread=unknown(error(condition="amqp:decode-error", description="bad\\u{a}")))',
  );
});
