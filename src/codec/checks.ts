/**
 * Checks whether a JavaScript value fits a wire type; the one place that knows the ranges.
 *
 * @module
 */

import { describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";

/** The largest uint; also the largest serial number [rfc1982]. */
export const MAX_UINT = 0xffffffff;

/** Integer types whose values are a `number`. */
export type IntegerType = "ubyte" | "ushort" | "uint" | "byte" | "short" | "int";

/** 64-bit types whose values are a `bigint`. */
export type BigIntType = "ulong" | "long" | "timestamp";

/** Types whose bytes are not interpreted. */
export type OpaqueType = "decimal32" | "decimal64" | "decimal128" | "uuid";

export function fitsInteger(type: IntegerType, value: number): boolean {
  switch (type) {
    case "ubyte":
      return (value & 0xff) === value;
    case "ushort":
      return (value & 0xffff) === value;
    case "uint":
      return value >>> 0 === value;
    case "byte":
      return value << 24 >> 24 === value;
    case "short":
      return value << 16 >> 16 === value;
    case "int":
      return (value | 0) === value;
  }
}

export function fitsBigInt(type: BigIntType, value: bigint): boolean {
  return type === "ulong" ? BigInt.asUintN(64, value) === value : BigInt.asIntN(64, value) === value;
}

export function checkInteger(type: IntegerType, value: unknown): number {
  if (typeof value !== "number" || !fitsInteger(type, value)) throw misfit(type, value);
  return value;
}

/** Returns the integer as a bigint if it fits; a `number` must be a safe integer. */
export function checkBigInt(type: BigIntType, value: unknown): bigint {
  const integer = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof integer !== "bigint" || !fitsBigInt(type, integer)) throw misfit(type, value);
  return integer;
}

export function checkLength(type: OpaqueType, bytes: unknown): Uint8Array {
  const length = type === "decimal32" ? 4 : type === "decimal64" ? 8 : 16;
  if (!(bytes instanceof Uint8Array) || bytes.length !== length) throw misfit(type, bytes);
  return bytes;
}

export function checkAscii(value: unknown): string {
  if (typeof value !== "string" || !isAscii(value)) throw misfit("symbol", value);
  return value;
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return false;
  }
  return true;
}

/** The code point of a character, which may be given as a code point, too. */
export function checkChar(value: unknown): number {
  const point = typeof value === "string" ? value.codePointAt(0) : value;
  if (typeof point !== "number" || !isCharacter(point)) throw misfit("char", value);
  if (typeof value === "string" && value !== String.fromCodePoint(point)) throw misfit("char", value);
  return point;
}

export function checkUuid(value: unknown): string {
  if (typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) return value;
  throw misfit("uuid", value);
}

/** Whether a number is the code point of a character; a surrogate is none. */
export function isCharacter(point: number): boolean {
  return Number.isInteger(point) && point >= 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
}

/** The error for a value that does not fit the named type. */
export function misfit(type: string, value: unknown): RangeError | TypeError {
  const remedy = typeof value !== "string"
    ? ""
    : type === "binary"
    ? ", write new TextEncoder().encode(text)"
    : type === "timestamp"
    ? ", write new Date(text)"
    : "";
  const message = `Cannot encode ${type}: ${describe(value)} does not fit${remedy}`;
  return typeof value === "object" && !(value instanceof Uint8Array) ? new TypeError(message) : new RangeError(message);
}

// An object is described by its kind: its contents may be long, or private.
function describe(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (value instanceof Uint8Array) return `a binary of ${value.length} bytes`;
  return typeof value === "object" || typeof value === "function" ? describeKind(value) : String(value);
}
