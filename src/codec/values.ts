/**
 * AMQP values in TypeScript: plain ones, and classes for exact wire types.
 *
 * @module
 */

import { isBytes } from "../base/kinds.ts";
import { hex } from "../base/text.ts";

/** The JavaScript form of each primitive wire type, inside a {@linkcode Typed} or as an item of an {@linkcode AmqpArray}. */
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
  /** Lower-case text with hyphens. */
  uuid: string;
  /** Bytes. */
  binary: Uint8Array;
  /** Unicode text. */
  string: string;
  /** ASCII text from a constrained domain. */
  symbol: string;
  /** Values in order. */
  list: Value[];
  /** Keys and values, in order. */
  map: Map<Value, Value> | { [key: string]: Value };
  /** Values of one wire type. */
  array: AmqpArray;
}

/** The name of a primitive wire type [types 1.6]. */
export type PrimitiveType = keyof PrimitiveValues;

/** Any primitive that is not compound, without a wrapper. */
export type Scalar = PrimitiveValues[Exclude<PrimitiveType, "list" | "map" | "array">];

/**
 * Any AMQP value.
 *
 * A bare value has one documented wire type: `number` is a double, `bigint` a long, `string` a string, `Date` a timestamp,
 * `Uint8Array` a binary, an array a list, a `Map` or a plain record (with string keys) a map. A wrapper such as {@linkcode
 * uint} or {@linkcode symbol} gives any other wire type.
 *
 * Decoded integers and floats are plain `number`s (`bigint` for ulong and long): their container keeps the wire types that they
 * were decoded with, so that encoding it again gives the same types. A decoded list that is spliced keeps the wire types by
 * index.
 *
 * `structuredClone` and `postMessage` make plain objects of wrappers and forget wire types: to another thread a message goes as
 * bytes, made by `encodeMessage` or taken from `delivery.payload`.
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

/** A map keyed by symbols, such as properties, annotations and filters; decoded, it has no prototype. */
export type Fields = { [key: string]: Value };

/** A value that application properties may hold: anything but lists, maps and arrays. */
export type SimpleValue = null | boolean | string | number | bigint | Date | Uint8Array | Typed | Described;

/**
 * A value with an explicit wire type.
 *
 * Wrapper functions such as {@linkcode uint} make it, and check that the value fits.
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

  /** Pairs a value with a wire type without checking it; encoding checks. */
  constructor(type: T, value: PrimitiveValues[T]) {
    this.type = type;
    this.value = value;
  }

  /** The value as text; bytes as hex. */
  toString(): string {
    return isBytes(this.value) ? hex(this.value) : String(this.value);
  }

  /** The value for `JSON.stringify`: as it is where JSON has it, else as text. */
  toJSON(): unknown {
    return typeof this.value === "bigint" || isBytes(this.value) ? this.toString() : this.value;
  }

  /** The value, so that `uint(5) > 4` holds. */
  valueOf(): PrimitiveValues[T] {
    return this.value;
  }
}

/**
 * A value with a descriptor, which gives its meaning [types 1.2].
 *
 * As a descriptor, a bare `bigint` is a ulong and a bare `string` a symbol, the two types that
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
  /** The descriptor: a `bigint` (ulong), a `string` (symbol), or any other value. */
  readonly descriptor: Value;
  /** The value that is described. */
  readonly value: Value;

  /** Pairs a value with a descriptor. */
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

  /** Creates an array without checking its items; encoding checks. */
  constructor(type: T, items: readonly PrimitiveValues[T][], descriptors: readonly Value[] = []) {
    this.type = type;
    this.items = items;
    this.descriptors = descriptors;
  }

  /** Iterates over the items. */
  [Symbol.iterator](): Iterator<PrimitiveValues[T]> {
    return this.items[Symbol.iterator]();
  }

  /** The items, for `JSON.stringify`. */
  toJSON(): unknown {
    return this.items;
  }
}
