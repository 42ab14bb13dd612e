/**
 * Compares the fast path with the table of definitions.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { decodeProvider } from "../../src/codec/composite.ts";
import { FastPathReader } from "../../src/codec/fast_path.ts";
import { archetypes } from "../../src/codec/plans.ts";
import { Reader } from "../../src/codec/reader.ts";
import { amidst } from "./bytes.ts";

/** Asserts that the fast path and the table agree on a frame's body; false if the fast path left it to the table. */
export function agree(frame: Uint8Array): boolean {
  // Followed by bytes that would be misread if lengths were not checked.
  const bytes = amidst(Uint8Array.from([0x52, ...frame, 0x52, 0x41, 0x43, 0x43, 0x43]));
  const end = 1 + frame.length;
  const byFastPath = new FastPathReader(bytes);
  const body = byFastPath.performative(1, end);
  if (body === undefined) return false;
  const found = present(body);
  const reader = new Reader(bytes);
  reader.window(1, end);
  const expected = decodeProvider(reader, archetypes.frame);
  assertEquals<unknown>(found, expected);
  assertEquals(Object.keys(found), Object.keys(expected));
  assertEquals(byFastPath.position, reader.position);
  if (body.kind !== "transfer") assertEquals(reader.remaining, 0);
  return true;
}

function present(body: object): object {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
