/**
 * The primitive types [types 1.6]: their constructor codes, and the values that fit them; the one place that knows the ranges.
 *
 * @module
 */

import { isBytes, isDate } from "../base/kinds.ts";
import { describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { parseUuid } from "./primitives.ts";
import { AmqpArray, Described, type PrimitiveType, Typed } from "./values.ts";

// By code; the comments distinguish the codes of one type.
const types: { readonly [code: number]: PrimitiveType | undefined } = {
  0x40: "null",
  0x41: "boolean", // true
  0x42: "boolean", // false
  0x56: "boolean",
  0x50: "ubyte",
  0x60: "ushort",
  0x43: "uint", // 0
  0x52: "uint", // 8 bits
  0x70: "uint",
  0x44: "ulong", // 0
  0x53: "ulong", // 8 bits
  0x80: "ulong",
  0x51: "byte",
  0x61: "short",
  0x54: "int", // 8 bits
  0x71: "int",
  0x55: "long", // 8 bits
  0x81: "long",
  0x72: "float",
  0x82: "double",
  0x74: "decimal32",
  0x84: "decimal64",
  0x94: "decimal128",
  0x73: "char",
  0x83: "timestamp",
  0x98: "uuid",
  0xa0: "binary", // length of 8 bits
  0xb0: "binary", // length of 32 bits
  0xa1: "string",
  0xb1: "string",
  0xa3: "symbol",
  0xb3: "symbol",
  0x45: "list", // empty
  0xc0: "list", // size and count of 8 bits
  0xd0: "list", // size and count of 32 bits
  0xc1: "map",
  0xd1: "map",
  0xe0: "array",
  0xf0: "array",
};

let fullCodes: { [type: string]: number } | undefined;

/** The wire type of a constructor code; undefined if there is none. */
export function typeOf(code: number): PrimitiveType | undefined {
  return types[code];
}

/** Whether there is a wire type of that name. */
export function isType(name: string): boolean {
  return Object.values(types).includes(name as PrimitiveType);
}

/** The constructor code of a type's widest form, which is its highest. */
function fullCode(type: PrimitiveType): number {
  if (fullCodes === undefined) {
    fullCodes = {};
    for (const code in types) fullCodes[types[code]!] = Number(code);
  }
  return fullCodes[type]!;
}

/**
 * The fewest bytes that a value takes after its constructor, by the code's high nibble [types 1.3].
 *
 * For values of variable size this is the width of the size field.
 */
export function leastWidth(code: number): number {
  switch (code >> 4) {
    case 0x4:
      return 0;
    case 0x6:
      return 2;
    case 0x7:
    case 0xb:
    case 0xd:
    case 0xf:
      return 4;
    case 0x8:
      return 8;
    case 0x9:
      return 16;
    default:
      return 1;
  }
}

/** Types whose values all have one width, apart from shorter forms of small integers. */
export type FixedWidthType = Exclude<PrimitiveType, "null" | "string" | "symbol" | "binary" | "list" | "map" | "array">;

/** A checked value of fixed width, as it is written. */
export type FixedWidthValue = number | bigint | Uint8Array;

/** Returns the form of a value that is written, if it fits the type. */
export function checkFixedWidth(type: FixedWidthType, value: unknown): FixedWidthValue {
  switch (type) {
    case "boolean":
      if (typeof value !== "boolean") throw misfit(type, value);
      return value ? 1 : 0;
    case "float":
    case "double":
      if (typeof value !== "number") throw misfit(type, value);
      return value;
    case "ulong":
    case "long":
      return checkBigInt(type, value);
    case "timestamp":
      return checkBigInt(type, isDate(value) ? value.getTime() : value);
    case "char":
      return checkChar(value);
    case "uuid":
      return parseUuid(checkUuid(value));
    case "decimal32":
    case "decimal64":
    case "decimal128":
      return checkLength(type, value);
    default:
      return checkInteger(type, value);
  }
}

/** The constructor of a type's full form, or of its one-byte form if all values are `small`. */
export function codeFor(type: FixedWidthType, small: boolean): number {
  if (small) {
    switch (type) {
      case "uint":
        return 0x52;
      case "ulong":
        return 0x53;
      case "int":
        return 0x54;
      case "long":
        return 0x55;
    }
  }
  return fullCode(type);
}

/** Whether a checked value fits the one-byte form of its type. */
export function isSmall(type: FixedWidthType, value: FixedWidthValue): boolean {
  if (type === "uint" || type === "ulong") return value as number | bigint <= 0xff;
  return value as number | bigint >= -0x80 && value as number | bigint <= 0x7f;
}

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
  if (!isBytes(bytes) || bytes.length !== length) throw misfit(type, bytes);
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
  return typeof value === "object" && !isBytes(value) ? new TypeError(message) : new RangeError(message);
}

// An object is described by its kind: its contents may be long, or private.
function describe(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (isBytes(value)) return `a binary of ${value.length} bytes`;
  if (typeof value !== "object" && typeof value !== "function") return String(value);
  const kind = describeKind(value);
  const isOwn = value instanceof Typed || value instanceof Described || value instanceof AmqpArray;
  // As of filters that a second copy of the package made.
  return !isOwn && /class (Typed|Described|AmqpArray)$/.test(kind)
    ? `${kind} of another copy or version of this package`
    : kind;
}
