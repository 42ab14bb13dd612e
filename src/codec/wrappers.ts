/**
 * Wrappers that give values an exact wire type, and check that they fit.
 *
 * @module
 */

import { isDate } from "../base/kinds.ts";
import { checkAscii, checkBigInt, checkChar, checkInteger, checkLength, checkUuid, isType, misfit } from "./codes.ts";
import { formatUuid } from "./primitives.ts";
import { AmqpArray, Described, type PrimitiveType, type PrimitiveValues, Typed, type Value } from "./values.ts";

/**
 * A value of wire type ubyte.
 *
 * @throws {RangeError} If it is not an integer of 0 to 255.
 *
 * @example
 * ```ts
 * import { ubyte } from "@webamqp/amqp";
 *
 * console.assert(ubyte(255).value === 255);
 * ```
 */
export function ubyte(value: number): Typed<"ubyte"> {
  return new Typed("ubyte", checkInteger("ubyte", value));
}

/**
 * A value of wire type ushort.
 *
 * @throws {RangeError} If it is not an integer of 0 to 65,535.
 *
 * @example
 * ```ts
 * import { ushort } from "@webamqp/amqp";
 *
 * console.assert(ushort(65_535).value === 65_535);
 * ```
 */
export function ushort(value: number): Typed<"ushort"> {
  return new Typed("ushort", checkInteger("ushort", value));
}

/**
 * A value of wire type uint.
 *
 * @throws {RangeError} If it is not an integer of 0 to 4,294,967,295.
 *
 * @example
 * ```ts
 * import { uint } from "@webamqp/amqp";
 *
 * console.assert(uint(5).type === "uint");
 * ```
 */
export function uint(value: number): Typed<"uint"> {
  return new Typed("uint", checkInteger("uint", value));
}

/**
 * A value of wire type ulong.
 *
 * @throws {RangeError} If it is not an integer of 0 to 2^64-1, or a `number` that is not a safe integer.
 *
 * @example
 * ```ts
 * import { ulong } from "@webamqp/amqp";
 *
 * console.assert(ulong(5).value === 5n);
 * ```
 */
export function ulong(value: bigint | number): Typed<"ulong"> {
  return new Typed("ulong", checkBigInt("ulong", value));
}

/**
 * A value of wire type byte.
 *
 * @throws {RangeError} If it is not an integer of -128 to 127.
 *
 * @example
 * ```ts
 * import { byte } from "@webamqp/amqp";
 *
 * console.assert(byte(-128).value === -128);
 * ```
 */
export function byte(value: number): Typed<"byte"> {
  return new Typed("byte", checkInteger("byte", value));
}

/**
 * A value of wire type short.
 *
 * @throws {RangeError} If it is not an integer of -32,768 to 32,767.
 *
 * @example
 * ```ts
 * import { short } from "@webamqp/amqp";
 *
 * console.assert(short(-5).value === -5);
 * ```
 */
export function short(value: number): Typed<"short"> {
  return new Typed("short", checkInteger("short", value));
}

/**
 * A value of wire type int.
 *
 * @throws {RangeError} If it is not an integer of -2,147,483,648 to 2,147,483,647.
 *
 * @example
 * ```ts
 * import { int } from "@webamqp/amqp";
 *
 * console.assert(int(5).type === "int");
 * ```
 */
export function int(value: number): Typed<"int"> {
  return new Typed("int", checkInteger("int", value));
}

/**
 * A value of wire type long, which a bare `bigint` has anyway.
 *
 * @throws {RangeError} If it is not an integer of -2^63 to 2^63-1, or a `number` that is not a safe integer.
 *
 * @example
 * ```ts
 * import { long } from "@webamqp/amqp";
 *
 * console.assert(long(5).value === 5n);
 * ```
 */
export function long(value: bigint | number): Typed<"long"> {
  return new Typed("long", checkBigInt("long", value));
}

/**
 * A value of wire type float, rounded to the nearest float.
 *
 * @throws {TypeError | RangeError} If it is no number.
 *
 * @example
 * ```ts
 * import { float } from "@webamqp/amqp";
 *
 * console.assert(float(0.5).value === 0.5);
 * ```
 */
export function float(value: number): Typed<"float"> {
  if (typeof value !== "number") throw misfit("float", value);
  return new Typed("float", Math.fround(value));
}

/**
 * A value of wire type double, which a bare `number` has anyway.
 *
 * @example
 * ```ts
 * import { double } from "@webamqp/amqp";
 *
 * console.assert(double(0.1).value === 0.1);
 * ```
 */
export function double(value: number): Typed<"double"> {
  return new Typed("double", value);
}

/**
 * A value of wire type decimal32, given as its four bytes.
 *
 * @throws {RangeError} If the length differs.
 *
 * @example
 * ```ts
 * import { decimal32 } from "@webamqp/amqp";
 *
 * console.assert(decimal32(new Uint8Array(4)).value.length === 4);
 * ```
 */
export function decimal32(bytes: Uint8Array): Typed<"decimal32"> {
  return new Typed("decimal32", checkLength("decimal32", bytes));
}

/**
 * A value of wire type decimal64, given as its eight bytes.
 *
 * @throws {RangeError} If the length differs.
 *
 * @example
 * ```ts
 * import { decimal64 } from "@webamqp/amqp";
 *
 * console.assert(decimal64(new Uint8Array(8)).value.length === 8);
 * ```
 */
export function decimal64(bytes: Uint8Array): Typed<"decimal64"> {
  return new Typed("decimal64", checkLength("decimal64", bytes));
}

/**
 * A value of wire type decimal128, given as its sixteen bytes.
 *
 * @throws {RangeError} If the length differs.
 *
 * @example
 * ```ts
 * import { decimal128 } from "@webamqp/amqp";
 *
 * console.assert(decimal128(new Uint8Array(16)).value.length === 16);
 * ```
 */
export function decimal128(bytes: Uint8Array): Typed<"decimal128"> {
  return new Typed("decimal128", checkLength("decimal128", bytes));
}

/**
 * A value of wire type char: one character, or its code point.
 *
 * @throws {RangeError} If it is not exactly one Unicode character; a surrogate is none.
 *
 * @example
 * ```ts
 * import { char } from "@webamqp/amqp";
 *
 * console.assert(char("é").value === char(0xe9).value);
 * ```
 */
export function char(value: string | number): Typed<"char"> {
  return new Typed("char", String.fromCodePoint(checkChar(value)));
}

/**
 * A value of wire type symbol.
 *
 * @throws {RangeError} If the text is not ASCII.
 *
 * @example
 * ```ts
 * import { symbol } from "@webamqp/amqp";
 *
 * console.assert(symbol("queue").value === "queue");
 * ```
 */
export function symbol(value: string): Typed<"symbol"> {
  return new Typed("symbol", checkAscii(value));
}

/**
 * A value of wire type timestamp, in milliseconds since 1970; a bare `Date` has that type anyway.
 *
 * @throws {RangeError} If it is not a whole number of 64 bits, or an invalid `Date`.
 *
 * @example
 * ```ts
 * import { timestamp } from "@webamqp/amqp";
 *
 * console.assert(timestamp(new Date(5)).value === 5n);
 * ```
 */
export function timestamp(value: Date | number | bigint): Typed<"timestamp"> {
  return new Typed("timestamp", checkBigInt("timestamp", isDate(value) ? value.getTime() : value));
}

/**
 * A value of wire type uuid, given as text or as its sixteen bytes.
 *
 * @throws {RangeError} If the text is no uuid, or the length is not 16 bytes.
 *
 * @example
 * ```ts
 * import { uuid } from "@webamqp/amqp";
 *
 * console.assert(uuid(crypto.randomUUID()).type === "uuid");
 * ```
 */
export function uuid(value: string | Uint8Array): Typed<"uuid"> {
  if (typeof value !== "string") return new Typed("uuid", formatUuid(checkLength("uuid", value), 0));
  return new Typed("uuid", checkUuid(value).toLowerCase());
}

/**
 * A described value: `described(0x2bn, [])` for a numeric descriptor, `described("example:colour:int", int(3))`.
 *
 * @example
 * ```ts
 * import { described, int } from "@webamqp/amqp";
 *
 * const red = described("example:colour:int", int(0xff0000));
 * console.assert(red.descriptor === "example:colour:int");
 * ```
 */
export function described(descriptor: Value, value: Value): Described {
  return new Described(descriptor, value);
}

/**
 * An array of one wire type: `array("symbol", ["a", "b"])`. The items are checked when the array is encoded.
 *
 * @throws {TypeError} If there is no such type, or the items are no array.
 *
 * @example
 * ```ts
 * import { array } from "@webamqp/amqp";
 *
 * console.assert(array("symbol", ["queue", "topic"]).items.length === 2);
 * ```
 */
export function array<T extends PrimitiveType>(
  type: T,
  items: readonly PrimitiveValues[T][],
  descriptors: readonly Value[] = [],
): AmqpArray<T> {
  if (!isType(type) || !Array.isArray(items)) {
    throw new TypeError(`Cannot make array: give a wire type, such as "symbol", and an array of its items`);
  }
  return new AmqpArray(type, items, descriptors);
}
