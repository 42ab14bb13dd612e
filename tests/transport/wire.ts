/**
 * Bytes in a specification's notation, and every way in which a socket may cut them.
 *
 * @module
 */

import { decodeHex } from "@std/encoding";
import type { Random } from "../harness.ts";

/** Bytes from hex digits with blanks between them. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  return decodeHex(text.replaceAll(/\s/g, ""));
}

/** One byte per character. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** One character per byte. */
export function text(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/**
 * The bytes whole, byte by byte, and cut in two at every place.
 *
 * Every piece is a fresh copy in the middle of other bytes, so that nothing can be read or written out of place.
 */
export function* everyCut(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [inDirt(bytes)];
  yield Array.from(bytes, (byte) => inDirt(Uint8Array.of(byte)));
  for (let at = 0; at <= bytes.length; at++) yield [inDirt(bytes.subarray(0, at)), inDirt(bytes.subarray(at))];
}

/** The bytes in pieces of random lengths, empty ones among them. */
export function randomCut(bytes: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const most = Math.max(random.pick([1, 3, 20, 200, 70_000]), Math.ceil(bytes.length / 500));
  for (let at = 0; at < bytes.length;) {
    const length = random.int(most + 1);
    pieces.push(inDirt(bytes.subarray(at, at + length)));
    at += length;
  }
  return pieces;
}

function inDirt(bytes: Uint8Array): Uint8Array {
  const dirty = new Uint8Array(bytes.length + 16).fill(0xd1);
  dirty.set(bytes, 7);
  return dirty.subarray(7, 7 + bytes.length);
}
