/**
 * Fields of performatives that a peer gets wrong, one by one: each is an error of a condition that says so, and none of a fault
 * of this side.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { condition } from "../../src/base/errors.ts";
import { definitions } from "../../src/codec/definitions.ts";
import { beginFrame, endFrame } from "../../src/codec/frame.ts";
import { array, described, symbol, ubyte, uint, ulong, ushort, type Value } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { test } from "../harness.ts";
import { attach, Script } from "./script.ts";

const LONG = new Uint8Array(600);
const TAG = Uint8Array.of(9);
const state = (fields: Value[], code = 0x25n) => described(code, fields);

// Values of every kind, of which each field takes a few.
const WRONG: [what: string, value: Value][] = [
  ["null", null],
  ["true", true],
  ["a ubyte", ubyte(200)],
  ["the largest uint", uint(0xffff_ffff)],
  ["the largest ulong", ulong(2n ** 64n - 1n)],
  ["a double", 0.5],
  ["text", "text"],
  ["no text", ""],
  ["a symbol", symbol("symbol")],
  ["a long symbol", symbol("s".repeat(300))],
  ["no bytes", new Uint8Array(0)],
  ["33 bytes", new Uint8Array(33)],
  ["600 bytes", LONG],
  ["a list", []],
  ["an array of symbols", array("symbol", ["a"])],
  ["an array of uints", array("uint", [1])],
  ["an empty array", array("binary", [])],
  ["an empty map", new Map()],
  ["a map by numbers", new Map([[5, 5]])],
  ["a map by symbols", new Map([[symbol("a"), "b"]])],
  ["a map by a long tag", new Map<Value, Value>([[LONG, null]])],
  ["a map by a tag with an outcome", new Map<Value, Value>([[TAG, state([])]])],
  ["a map by a tag with a wrong outcome", new Map<Value, Value>([[TAG, state([5])]])],
  ["an unknown composite", described(0x99n, [])],
  ["one of another name", described(symbol("a".repeat(300)), [])],
  ["another performative", described(0x17n, [])],
  ["a source", described(0x28n, [null])],
  ["a source of a number", described(0x28n, [5])],
  ["a target", described(0x29n, [])],
  ["a coordinator", described(0x30n, [])],
  ["an error", described(0x1dn, [symbol("amqp:not-found")])],
  ["an error without condition", described(0x1dn, [null, 5])],
  ["a transactional state", state([LONG], 0x34n)],
  ["a received beyond the end", state([uint(0xffff_ffff), ulong(2n ** 64n - 1n)], 0x23n)],
];

// Fields that make a frame that the engine takes.
const GOOD: Record<string, Value[]> = {
  open: ["peer", "host", uint(1_000_000), ushort(9), uint(60_000), null, null, null, null, null],
  begin: [null, uint(0), uint(9), uint(9), uint(9), null, null, null],
  attach: ["new", uint(5), false, null, null, described(0x28n, []), described(0x29n, []), null, null, uint(0)],
  flow: [uint(0), uint(9), uint(0), uint(9), uint(0), uint(0), uint(9), uint(0), false, false, null],
  transfer: [uint(1), uint(0), TAG, uint(0), false, false, null, null, false, false, false],
  disposition: [true, uint(0), uint(0), true, state([], 0x24n), false],
  detach: [uint(0), true, null],
  end: [null],
  close: [null],
};

function frameOf(code: number, fields: Value[], channel: number): Uint8Array {
  const writer = new Writer();
  const start = beginFrame(writer, 0, channel);
  writer.value(described(BigInt(code), fields));
  endFrame(writer, start);
  return new Uint8Array(writer.take());
}

/** A server with a session, which has received a link at handle 0 and one at handle 1. */
function served(kind: string): Script {
  if (kind === "open") {
    const script = new Script({ role: "server" });
    script.cut = "whole";
    script.header(0);
    script.expect("header");
    return script;
  }
  const script = Script.begun();
  script.send(attach({ name: "in", role: "receiver", handle: 0 }));
  script.send(attach({ name: "out", role: "sender", handle: 1 }));
  script.rest();
  script.cut = "whole";
  return script;
}

const CONDITIONS = Object.values(condition).filter((symbol) => symbol !== condition.internalError);

for (const [kind, good] of Object.entries(GOOD)) {
  test(`ERR-1, LNK-1: no field of ${kind} that is wrong is a fault of this side`, () => {
    const { code, fields } = definitions[kind as "open"];
    let refused = 0;
    for (let i = 0; i < Object.keys(fields).length; i++) {
      for (const [what, value] of WRONG) {
        const script = served(kind);
        const given = [...good];
        while (given.length <= i) given.push(null);
        given[i] = value;
        const where = `${Object.keys(fields)[i]} of ${kind} is ${what}`;
        script.raw(frameOf(code, given, kind === "begin" ? 1 : 0));
        for (const item of script.rest()) {
          const { error } = item as { error?: { condition: string } };
          if (error === undefined) continue;
          refused++;
          assert(CONDITIONS.includes(error.condition as never), `${where}: ${error.condition}`);
        }
        for (const { error } of script.events as { error?: { condition?: string; message: string } }[]) {
          if (error === undefined) continue;
          refused++;
          assertEquals(typeof error.condition, "string", `${where}: ${error.message}`);
          assert(error.condition !== condition.internalError, `${where}: ${error.message}`);
        }
      }
    }
    assert(refused > 0);
  });
}
