/**
 * What AMQP values are in TypeScript: plain ones, and wrappers for exact wire types.
 *
 * @module
 */

import { checkAscii, checkBigInt, checkChar, checkInteger, checkLength, checkUuid } from "./checks.ts";
import { hex } from "../base/text.ts";
import { formatUuid } from "./primitives.ts";

/** What each primitive wire type holds, inside a {@linkcode Typed} or as an item of an {@linkcode AmqpArray}. */
export interface PrimitiveValues {
  /** No value. */
  null: null;
  /** True or false. */
  boolean: boolean;
  /** 8 bits, unsigned. */
  ubyte: number;
  /** 16 bits, unsigned. */
  ushort: number;
  /** 32 bits, unsigned. */
  uint: number;
  /** 64 bits, unsigned. */
  ulong: bigint;
  /** 8 bits, signed. */
  byte: number;
  /** 16 bits, signed. */
  short: number;
  /** 32 bits, signed. */
  int: number;
  /** 64 bits, signed. */
  long: bigint;
  /** IEEE 754 binary32. */
  float: number;
  /** IEEE 754 binary64. */
  double: number;
  /** IEEE 754 decimal32 as its four bytes. */
  decimal32: Uint8Array;
  /** IEEE 754 decimal64 as its eight bytes. */
  decimal64: Uint8Array;
  /** IEEE 754 decimal128 as its sixteen bytes. */
  decimal128: Uint8Array;
  /** One Unicode character, as a string of one code point. */
  char: string;
  /** Milliseconds since 1970; a `bigint` where a `Date` cannot reach. */
  timestamp: Date | bigint;
  /** Lower case, with hyphens. */
  uuid: string;
  /** Bytes. */
  binary: Uint8Array;
  /** Unicode text. */
  string: string;
  /** ASCII text from a constrained domain. */
  symbol: string;
  /** Values in a row. */
  list: Value[];
  /** Keys and values, in order. */
  map: Map<Value, Value> | { [key: string]: Value };
  /** Values of one wire type. */
  array: AmqpArray;
}

/** The name of a primitive wire type [types 1.6]. */
export type PrimitiveType = keyof PrimitiveValues;

/**
 * Anything that an AMQP value may be.
 *
 * A bare value has one documented wire type: `number` is a double, `bigint` a long, `string` a string, `Date` a
 * timestamp, `Uint8Array` a binary, an array a list, a `Map` or a plain record (with string keys) a map. Any other
 * wire type is asked for with a wrapper such as {@linkcode uint} or {@linkcode symbol}.
 *
 * Decoded integers and floats are plain `number`s (`bigint` for ulong and long): inside the container that they
 * were decoded in, their wire type is remembered, so that encoding the container again gives the same types. A
 * decoded list that is spliced keeps the wire types where they stood.
 */
export type Value =
  | null
  | boolean
  | string
  | number
  | bigint
  | Date
  | Uint8Array
  | Typed
  | Described
  | AmqpArray
  | Value[]
  | Map<Value, Value>
  | { [key: string]: Value };

/** A map keyed by symbols, such as properties, annotations and filters. Without prototype when decoded. */
export type Fields = { [key: string]: Value };

/** A value that application properties may hold: anything but lists, maps and arrays. */
export type SimpleValue = null | boolean | string | number | bigint | Date | Uint8Array | Typed | Described;

/**
 * A value with the wire type that it is to have, or had.
 *
 * Made by the wrapper functions, which check that the value fits.
 *
 * @example
 * ```ts
 * import { uint } from "@webamqp/amqp";
 *
 * console.assert(uint(5).type === "uint" && uint(5).value === 5 && `${uint(5)}` === "5");
 * ```
 */
export class Typed<T extends PrimitiveType = PrimitiveType> {
  /** The wire type. */
  readonly type: T;
  /** The value, in the form that {@linkcode PrimitiveValues} gives for the type. */
  readonly value: PrimitiveValues[T];

  /** Puts a value under a wire type without checking it; encoding checks. */
  constructor(type: T, value: PrimitiveValues[T]) {
    this.type = type;
    this.value = value;
  }

  /** The value as text; bytes as hex. */
  toString(): string {
    return this.value instanceof Uint8Array ? hex(this.value) : String(this.value);
  }

  /** The value for `JSON.stringify`: as it is where JSON has it, else as text. */
  toJSON(): unknown {
    return typeof this.value === "bigint" || this.value instanceof Uint8Array ? this.toString() : this.value;
  }

  /** The value, so that `uint(5) > 4` holds. */
  valueOf(): PrimitiveValues[T] {
    return this.value;
  }
}

/**
 * A value with a descriptor that says what it means [types 1.2].
 *
 * In the place of the descriptor a bare `bigint` is a ulong and a bare `string` a symbol, the two types that
 * descriptors have in practice; a decoded descriptor of another numeric or string type is a {@linkcode Typed}.
 *
 * @example
 * ```ts
 * import { Described, int } from "@webamqp/amqp";
 *
 * const red = new Described("example:colour:int", int(0xff0000));
 * console.assert(red.descriptor === "example:colour:int");
 * ```
 */
export class Described {
  /** What the value means: a `bigint` (ulong) or `string` (symbol), or any other value. */
  readonly descriptor: Value;
  /** The value that is described. */
  readonly value: Value;

  /** Puts a value under a descriptor. */
  constructor(descriptor: Value, value: Value) {
    this.descriptor = descriptor;
    this.value = value;
  }
}

/**
 * An AMQP array: values that all have one wire type, written once.
 *
 * The items are the plain values of that type, so an array of symbols holds strings.
 *
 * @example
 * ```ts
 * import { array } from "@webamqp/amqp";
 *
 * console.assert([...array("symbol", ["queue", "topic"])].join() === "queue,topic");
 * ```
 */
export class AmqpArray<T extends PrimitiveType = PrimitiveType> implements Iterable<PrimitiveValues[T]> {
  /** The wire type of every item. */
  readonly type: T;
  /** The items. */
  readonly items: readonly PrimitiveValues[T][];
  /** The descriptors that every item has, outermost first; nearly always none. */
  readonly descriptors: readonly Value[];

  /** Puts items under one wire type without checking them; encoding checks. */
  constructor(type: T, items: readonly PrimitiveValues[T][], descriptors: readonly Value[] = []) {
    this.type = type;
    this.items = items;
    this.descriptors = descriptors;
  }

  /** Goes through the items. */
  [Symbol.iterator](): Iterator<PrimitiveValues[T]> {
    return this.items[Symbol.iterator]();
  }

  /** The items, for `JSON.stringify`. */
  toJSON(): unknown {
    return this.items;
  }
}

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
 * A value of wire type float, rounded to what a float can hold.
 *
 * @example
 * ```ts
 * import { float } from "@webamqp/amqp";
 *
 * console.assert(float(0.5).value === 0.5);
 * ```
 */
export function float(value: number): Typed<"float"> {
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
  return new Typed("timestamp", checkBigInt("timestamp", value instanceof Date ? value.getTime() : value));
}

/**
 * A value of wire type uuid, given as text or as its sixteen bytes.
 *
 * @throws {RangeError} If it is neither.
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
 * An array of one wire type: `array("symbol", ["a", "b"])`. The items are checked when it is encoded.
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
  return new AmqpArray(type, items, descriptors);
}
