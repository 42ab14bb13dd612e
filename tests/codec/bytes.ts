/**
 * Hex in and hex out, for tests that compare with bytes on the wire.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { decodeHex, encodeHex } from "@std/encoding";
import type { CodecLimits } from "../../src/codec/limits.ts";
import { Reader } from "../../src/codec/reader.ts";
import type { Value } from "../../src/codec/types.ts";
import { Writer } from "../../src/codec/writer.ts";
import { AmqpError, condition } from "../../src/base/errors.ts";

/** Bytes of hex digits and blanks, in the middle of a larger buffer full of other bytes. */
export function wire(text: string): Uint8Array {
  return amidst(decodeHex(text.replace(/\s/g, "")));
}

/** The same bytes as a view into a buffer that has other bytes before and after them. */
export function amidst(bytes: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(bytes.length + 24).fill(0xa5);
  buffer.set(bytes, 11);
  return buffer.subarray(11, 11 + bytes.length);
}

/** Hex digits without blanks. */
export function compact(text: string): string {
  return text.replace(/\s/g, "");
}

/** A small compound, with its size computed from the contents. */
export function sized(code: string, count: number, contents: string): string {
  const digits = compact(contents);
  return compact(code) + byteOf(1 + digits.length / 2) + byteOf(count) + digits;
}

function byteOf(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** The one value that the bytes encode. */
export function decode(bytes: string | Uint8Array, limits?: CodecLimits): Value {
  const reader = new Reader(typeof bytes === "string" ? wire(bytes) : bytes, limits);
  const value = reader.value();
  assertEquals(reader.remaining, 0, "a value left bytes over");
  return value;
}

/** The hex digits of a value. */
export function encode(value: Value): string {
  const writer = new Writer(1);
  writer.value(value);
  return encodeHex(writer.take());
}

/** The hex digits of the written bytes. */
export function written(write: (writer: Writer) => void): string {
  const writer = new Writer(1);
  write(writer);
  return encodeHex(writer.take());
}

/** Asserts that an AMQP error is thrown, by default a decode error. */
export function assertAmqpError(
  run: () => unknown,
  includes: string,
  symbol: string = condition.decodeError,
): AmqpError {
  const error = assertThrows(run, AmqpError, includes);
  assertEquals(error.condition, symbol);
  assertEquals(error.remote, false);
  return error;
}

/** Asserts that the bytes encode no value. */
export function assertRefused(text: string, includes: string, limits?: CodecLimits): void {
  assertAmqpError(() => decode(text, limits), includes);
}
