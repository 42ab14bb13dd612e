import { assert, assertEquals, assertFalse, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { print } from "../../src/codec/composite.ts";
import { definitions } from "../../src/codec/definitions.ts";
import { quote } from "../../src/base/text.ts";
import {
  array,
  type Composite,
  described,
  type Kind,
  type Open,
  symbol,
  uint,
  type Value,
} from "../../src/codec/types.ts";
import { test } from "../harness.ts";
import { sample } from "./samples.ts";

function printProperties(properties: { [key: string]: Value }): string {
  return print({ kind: "open", containerId: "c", properties });
}

test("print: every kind with all of its fields is one line that names them", () => {
  for (const kind of Object.keys(definitions) as Kind[]) {
    if (kind === "error" || kind === "header" || kind === "properties") continue;
    const line = print(sample(kind));
    assertMatch(line, /^\w+\([ -~…]*\)$/);
    for (const key of Object.keys(definitions[kind].fields)) assertStringIncludes(line, `${key}=`);
  }
});

test("print: each performative", () => {
  const lines: [Composite, string][] = [
    [{ kind: "open", containerId: "c", channelMax: 5 }, 'open(containerId="c", channelMax=5)'],
    [
      { kind: "begin", nextOutgoingId: 0, incomingWindow: 1, outgoingWindow: 2 },
      "begin(nextOutgoingId=0, incomingWindow=1, outgoingWindow=2)",
    ],
    [
      {
        kind: "attach",
        name: "l",
        handle: 0,
        role: "sender",
        source: { kind: "source", filter: { f: described("d", "a = 1") } },
        target: { kind: "target", address: "q", durable: "unsettled-state" },
        unsettled: new Map([[Uint8Array.of(1), null], [Uint8Array.of(2), {
          kind: "rejected",
          error: { condition: "x" },
        }]]),
        maxMessageSize: 5n,
      },
      'attach(name="l", handle=0, role=sender, source=source(filter={f=@"d" "a = 1"}), target=target(address="q", ' +
      'durable=unsettled-state), unsettled={0x01=null, 0x02=rejected(error=error(condition="x"))}, maxMessageSize=5)',
    ],
    [
      { kind: "flow", incomingWindow: 1, nextOutgoingId: 2, outgoingWindow: 3, drain: true },
      "flow(incomingWindow=1, nextOutgoingId=2, outgoingWindow=3, drain=true)",
    ],
    [
      { kind: "transfer", handle: 0, deliveryTag: Uint8Array.of(0xab), rcvSettleMode: "second" },
      "transfer(handle=0, deliveryTag=0xab, rcvSettleMode=second)",
    ],
    [
      { kind: "disposition", role: "receiver", first: 1, state: { kind: "accepted" } },
      "disposition(role=receiver, first=1, state=accepted())",
    ],
    [
      { kind: "detach", handle: 1, error: { condition: "amqp:not-found", description: "no", info: { a: uint(1) } } },
      'detach(handle=1, error=error(condition="amqp:not-found", description="no", info={a=uint 1}))',
    ],
    [{ kind: "end" }, "end()"],
    [{ kind: "close", error: undefined }, "close()"],
  ];
  for (const [composite, line] of lines) assertEquals(print(composite), line);
});

test("ATK-14: of the binaries in SASL frames only the length is shown", () => {
  const secret = new TextEncoder().encode("\0user\0hunter2");
  const lines: [Composite, string][] = [
    [{ kind: "saslMechanisms", saslServerMechanisms: ["PLAIN"] }, 'saslMechanisms(saslServerMechanisms=["PLAIN"])'],
    [
      { kind: "saslInit", mechanism: "PLAIN", initialResponse: secret, hostname: "h" },
      'saslInit(mechanism="PLAIN", initialResponse=<13 bytes>, hostname="h")',
    ],
    [{ kind: "saslChallenge", challenge: secret }, "saslChallenge(challenge=<13 bytes>)"],
    [{ kind: "saslResponse", response: secret }, "saslResponse(response=<13 bytes>)"],
    [{ kind: "saslOutcome", code: "ok", additionalData: secret }, "saslOutcome(code=ok, additionalData=<13 bytes>)"],
  ];
  for (const [composite, line] of lines) assertEquals(print(composite), line);
});

test("ERR-1 ATK-14: no control character gets through, wherever it stands", () => {
  const nasty = 'a\r\nb\x1b[31m\0\u2028\u202e\u0085"\\';
  const line = print({
    kind: "open",
    containerId: nasty,
    offeredCapabilities: [nasty],
    properties: {
      [nasty]: nasty,
      list: [nasty],
      symbol: symbol(nasty.replace(/[^\0-\x7f]/g, "")),
      d: described(nasty, nasty),
    },
  });
  assertMatch(line, /^[ -~]*$/);
  assertStringIncludes(line, 'containerId="a\\u{d}\\u{a}b\\u{1b}[31m\\u{0}\\u{2028}\\u{202e}\\u{85}\\"\\\\"');
  assertEquals(quote("\ud800"), '"\\u{d800}"');
});

test("print: values of every type", () => {
  const line = printProperties({
    null: null,
    number: 1.5,
    bigint: 5n,
    boolean: true,
    date: new Date(0),
    never: new Date(NaN),
    binary: Uint8Array.of(1, 0xff),
    typed: uint(5),
    list: [1, "a"],
    array: array("symbol", ["x"]),
    map: new Map<Value, Value>([[1, 2], ["two words", [] as Value[]]]),
    record: { a: { b: "c" } },
  });
  assertEquals(
    line,
    'open(containerId="c", properties={null=null, number=1.5, bigint=5, boolean=true, date=1970-01-01T00:00:00.000Z, ' +
      'never=invalid date, binary=0x01ff, typed=uint 5, list=[1, "a"], array=["x"], map={1=2, "two words"=[]}, ' +
      'record={a={b="c"}}})',
  );
});

test("print: what is long is cut", () => {
  const line = print({ kind: "open", containerId: "x".repeat(100000) });
  assertEquals(line, `open(containerId="${"x".repeat(80)}…")`);
  assertEquals(
    print({ kind: "transfer", handle: 0, deliveryTag: new Uint8Array(40) }),
    `transfer(handle=0, deliveryTag=0x${"00".repeat(32)}… 40 bytes)`,
  );
  assertStringIncludes(printProperties({ list: Array(100).fill(1) }), "1, 1, … 84 more]");
  const long = Array.from({ length: 16 }, () => Array(16).fill("y".repeat(80)));
  assertEquals(printProperties({ long }).length, 2001);
});

test("print: what nests deep or holds itself ends", () => {
  const list: Value[] = [];
  list.push(list);
  const open: Open = { kind: "open", containerId: "c", properties: { list } };
  const line = print(open);
  assertStringIncludes(line, "…");
  assertLess(line.length, 100);
  assertFalse(line.includes("undefined"));
  assert(line.endsWith(")"));
});
