/**
 * Bytes to values: a cursor that compares each size with the bytes that remain before it uses the size.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, type ErrorScope } from "../base/errors.ts";
import { decodeUtf8, formatUuid, loaded, shortAscii, uint32At, valueEnd } from "./primitives.ts";
import { isCharacter, leastWidth, typeOf } from "./codes.ts";
import type { FieldPlan } from "./plans.ts";
import { ambiguousType, noteTypes, type WireTypes, wireTypesOf } from "./wire_types.ts";
import { hexByte, quote } from "../base/text.ts";
import type { PrimitiveType, PrimitiveValues, Scalar, Value } from "./values.ts";
import { AmqpArray, Described, Typed } from "./values.ts";
import {
  BINARY_WEIGHT,
  type CodecLimits,
  EMPTY_WEIGHT,
  ENTRY_WEIGHT,
  LIST_WEIGHT,
  MAP_WEIGHT,
  MAX_DEPTH,
  MAX_ELEMENTS,
  MAX_MAP_ENTRIES,
  MAX_VALUES,
  OBJECT_WEIGHT,
  TYPES_WEIGHT,
} from "./limits.ts";
import { encodingOf, MAX_ENCODED_DEPTH } from "./writer.ts";

/** Reads a field of another type than the table's; undefined if the value cannot stand for the field. */
export type DecodeOtherType = (reader: Reader, field: FieldPlan, code: number, composite: object) => unknown;

/**
 * Reads AMQP values from bytes, in order.
 *
 * Binaries are views of the given bytes, not copies. Every method throws an {@linkcode AmqpError} with condition
 * `amqp:decode-error` when the bytes are malformed; the reader is of no use after that, unless {@linkcode attempt} caught it.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #maxDepth: number;
  readonly #maxElements: number;
  readonly #maxValues: number;
  readonly #scope: ErrorScope;
  #origin = 0;
  #position = 0;
  #end: number;
  #depth = 0;
  #elements = 0;
  #values = 0;

  /** Reads fields of another type than the table's, in messages that may deviate from the specification. */
  decodeOtherType: DecodeOtherType | undefined;
  /** Whether wire types were recorded, as the decoded values alone would be encoded with other types. */
  hasWireTypes = false;
  /** The subject of error messages. */
  subject = "value";
  /** The field of the subject, for error messages. */
  field: string | undefined;
  /** Whether what cannot be read of one delivery, link, session or error is skipped, rather than an error of all. */
  skips = false;

  /** Starts at the first byte; `scope` is the scope of errors. */
  constructor(bytes: Uint8Array, limits?: CodecLimits, scope: ErrorScope = "connection") {
    this.#bytes = bytes;
    this.#maxDepth = Math.min(limits?.maxDepth ?? MAX_DEPTH, MAX_ENCODED_DEPTH);
    this.#maxElements = limits?.maxElements ?? MAX_ELEMENTS;
    this.#maxValues = limits?.maxValues ?? MAX_VALUES;
    this.#scope = scope;
    this.#end = bytes.length;
  }

  /** The position of the next byte. */
  get position(): number {
    return this.#position;
  }

  /** The end of the readable bytes: of the innermost open list, or of all. */
  get end(): number {
    return this.#end;
  }

  /** The number of bytes that may still be read. */
  get remaining(): number {
    return this.#end - this.#position;
  }

  /** Moves the reader to another part of its bytes, the body of a frame, and resets the limits. */
  window(start: number, end: number): void {
    this.subject = "frame";
    this.field = undefined;
    this.#origin = this.#position = start;
    this.#end = end;
    this.#depth = this.#elements = this.#values = 0;
  }

  /** Whether values that deviate from the specification are read. */
  get lenient(): boolean {
    return this.decodeOtherType !== undefined;
  }

  /** Memory of the values decoded so far, in units of about 32 bytes. */
  get weight(): number {
    return this.#values;
  }

  /** The bytes that remain, as a view. */
  rest(): Uint8Array {
    return this.#bytes.subarray(this.#position, this.#end);
  }

  /** The error for a problem at this place; the caller throws it. */
  fail(problem: string, symbol: string = condition.decodeError): AmqpError {
    const field = this.field === undefined ? "" : `field ${quote(this.field)} `;
    const text = `Cannot decode ${this.subject}: ${problem} (${field}at byte ${this.#position - this.#origin})`;
    return new AmqpError(symbol, text, { scope: this.#scope });
  }

  /** The result of `read`, which begins behind a constructor; for a value that is malformed, skipped as a whole, its error. */
  attempt<T>(read: () => T): T | AmqpError {
    const { subject, field, end } = this, start = this.#position - 1, depth = this.#depth;
    try {
      return read();
    } catch (error) {
      const next = valueEnd(this.#bytes, start);
      if (!(error instanceof AmqpError) || next > end) throw error;
      if (error.condition === condition.resourceLimitExceeded) throw error;
      Object.assign(this, { subject, field });
      [this.#position, this.#end, this.#depth] = [next, end, depth];
      return error;
    }
  }

  code(): number {
    return this.#u8();
  }

  /** The next constructor code; 0xff, which is none, at the end. */
  peek(): number {
    return this.#position < this.#end ? this.#bytes[this.#position] : 0xff;
  }

  /** Reads a value of any type; `code` is its constructor if that was read already. */
  value(code: number = this.#u8()): Value {
    switch (code) {
      case 0x00:
        return this.#described();
      case 0x73:
      case 0x74:
      case 0x84:
      case 0x94:
      case 0x98:
      case 0xa3:
      case 0xb3:
        this.#weigh(OBJECT_WEIGHT);
        return new Typed(typeOf(code)!, this.scalar(code));
      case 0x83:
        return this.timestamp();
      default:
        return this.#primitive(code);
    }
  }

  /** Reads the bytes behind the constructor of a value that is not compound. */
  scalar(code: number): Scalar {
    switch (code) {
      case 0x40:
        return null;
      case 0x41:
      case 0x42:
      case 0x56:
        return this.boolean(code);
      case 0x50:
        return this.#u8();
      case 0x60:
        return this.#u8() << 8 | this.#u8();
      case 0x43:
      case 0x52:
      case 0x70:
        return this.uint(code);
      case 0x44:
        return 0n;
      case 0x53:
        return BigInt(this.#u8());
      case 0x80:
        return loaded(this.#bytes, this.#advance(8), 8).getBigUint64(0);
      case 0x51:
      case 0x54:
        return this.#u8() << 24 >> 24;
      case 0x61:
        return (this.#u8() << 8 | this.#u8()) << 16 >> 16;
      case 0x71:
        return this.#u32() | 0;
      case 0x55:
        return BigInt(this.#u8() << 24 >> 24);
      case 0x81:
        return loaded(this.#bytes, this.#advance(8), 8).getBigInt64(0);
      case 0x72:
        return loaded(this.#bytes, this.#advance(4), 4).getFloat32(0);
      case 0x82:
        return loaded(this.#bytes, this.#advance(8), 8).getFloat64(0);
      case 0x74:
      case 0x84:
      case 0x94:
        return this.#view8(leastWidth(code));
      case 0x73:
        return this.#char();
      case 0x83:
        return this.#time();
      case 0x98:
        return formatUuid(this.#bytes, this.#advance(16));
      case 0xa0:
      case 0xb0:
        return this.binary(code);
      case 0xa1:
      case 0xb1:
        return this.string(code);
      case 0xa3:
      case 0xb3:
        return this.symbol(code);
      default:
        throw this.fail(`0x${hexByte(code)} is not the constructor of a type`);
    }
  }

  boolean(code: number): boolean {
    if (code !== 0x56) return code === 0x41;
    const byte = this.#u8();
    if (byte > 1) throw this.fail(`0x${hexByte(byte)} is not a boolean`);
    return byte === 1;
  }

  uint(code: number): number {
    return code === 0x52 ? this.#u8() : code === 0x43 ? 0 : this.#u32();
  }

  binary(code: number): Uint8Array {
    return this.#view8(code === 0xa0 ? this.#u8() : this.#u32());
  }

  string(code: number): string {
    const length = code === 0xa1 ? this.#u8() : this.#u32();
    const start = this.#advance(length);
    return shortAscii(this.#bytes, start, length) ?? this.#utf8(start, length);
  }

  symbol(code: number): string {
    const length = code === 0xa3 ? this.#u8() : this.#u32();
    const start = this.#advance(length);
    const text = shortAscii(this.#bytes, start, length);
    if (text !== undefined) return text;
    for (let i = start; i < start + length; i++) {
      if (this.#bytes[i] > 0x7f) throw this.fail("a symbol is not ASCII");
    }
    return this.#utf8(start, length);
  }

  timestamp(): Date | Typed<"timestamp"> {
    const time = this.#time();
    return typeof time === "bigint" ? new Typed("timestamp", time) : time;
  }

  /** The record of the wire types of a container that is being decoded. */
  noteTypes(container: object): WireTypes {
    this.hasWireTypes = true;
    const known = wireTypesOf(container);
    if (known !== undefined) return known;
    this.#weigh(TYPES_WEIGHT);
    return noteTypes(container);
  }

  /** Enters a list: returns the number of its values, and narrows the reader to them until {@linkcode close}. */
  openList(code: number): number {
    if (code !== 0x45 && code !== 0xc0 && code !== 0xd0) throw this.fail(`constructor 0x${hexByte(code)} is not list`);
    if (code !== 0x45) return this.#open(code === 0xc0, LIST_WEIGHT, 1);
    this.#weigh(EMPTY_WEIGHT);
    this.#descend();
    this.#end = this.#position;
    return 0;
  }

  /** Enters a map: returns the number of keys and values together, and narrows the reader as {@linkcode openList} does. */
  openMap(code: number): number {
    if (code !== 0xc1 && code !== 0xd1) throw this.fail(`constructor 0x${hexByte(code)} is not map`);
    const count = this.#open(code === 0xc1, MAP_WEIGHT, ENTRY_WEIGHT);
    if (count % 2 !== 0) throw this.fail("a map has a key without a value");
    if (count / 2 > MAX_MAP_ENTRIES) throw this.fail(`a map of ${count / 2} entries is more than a Map holds`);
    return count;
  }

  /** Leaves a list or map, and widens the reader to the end that it had before. */
  close(outer: number): void {
    if (this.#position !== this.#end) throw this.fail(`a compound value is ${this.remaining} bytes too long`);
    this.#end = outer;
    this.#depth--;
  }

  #described(): Described {
    this.#weigh(OBJECT_WEIGHT);
    this.#descend();
    const descriptor = this.#descriptor();
    const type = ambiguousType(this.peek());
    const described = new Described(descriptor, this.value());
    if (type !== undefined) this.noteTypes(described).set("value", type);
    this.#depth--;
    return described;
  }

  // A bare bigint or string is a ulong or symbol here, so values of other types that decode to these are wrapped.
  #descriptor(): Value {
    const code = this.#u8();
    const type = typeOf(code);
    if (type === "ulong" || type === "symbol") return this.scalar(code);
    const value = this.value(code);
    if (typeof value !== "number" && typeof value !== "bigint" && typeof value !== "string") return value;
    return new Typed(type!, value);
  }

  #list(code: number): Value[] {
    const outer = this.#end;
    const count = this.openList(code);
    const list: Value[] = [];
    let known: WireTypes | undefined;
    for (let i = 0; i < count; i++) {
      const type = ambiguousType(this.peek());
      list.push(this.value());
      if (type !== undefined) this.#note(known ??= this.noteTypes(list), i, type);
    }
    this.close(outer);
    return list;
  }

  #map(code: number): Map<Value, Value> {
    const outer = this.#end;
    const count = this.openMap(code);
    const map = new Map<Value, Value>();
    // A Map compares objects by identity, but two keys are equal when type and value are [types 1.6.23].
    let objects: Set<string> | undefined;
    for (let i = 0; i < count; i += 2) {
      const key = this.#key(map);
      if (typeof key === "object" && key !== null) {
        objects ??= new Set();
        if (objects.size === objects.add(encodingOf(key)).size) throw this.fail("a map has equal keys");
      }
      const type = ambiguousType(this.peek());
      map.set(key, this.value());
      if (type !== undefined) this.#note(this.noteTypes(map), key, type);
    }
    this.close(outer);
    return map;
  }

  #key(map: Map<Value, Value>): Value {
    const code = this.peek();
    const key = this.value();
    if (typeof key === "object" && key !== null) return key;
    const type = ambiguousType(code);
    if (map.has(key)) {
      if (wireTypesOf(map)?.keys?.get(key) === type) throw this.fail("a map has equal keys");
      // An int 1 and a uint 1 are two keys, and only a wrapper keeps them two.
      return new Typed(typeOf(code)!, key);
    }
    // A Map would turn the key into +0.
    if (Object.is(key, -0)) return new Typed(typeOf(code)!, key);
    if (type !== undefined) {
      this.#weigh(ENTRY_WEIGHT);
      (this.noteTypes(map).keys ??= new Map()).set(key, type);
    }
    return key;
  }

  #array(code: number): AmqpArray {
    const outer = this.#end;
    this.#descend();
    const count = this.#enter(code === 0xe0);
    this.#weigh(LIST_WEIGHT);
    const descriptors: Value[] = [];
    let itemCode = this.#u8();
    while (itemCode === 0x00) {
      if (descriptors.length === this.#maxDepth) throw this.fail(`descriptors nest deeper than ${this.#maxDepth}`);
      descriptors.push(this.#descriptor());
      itemCode = this.#u8();
    }
    const type = typeOf(itemCode);
    if (type === undefined) throw this.fail(`0x${hexByte(itemCode)} is not the constructor of a type`);
    this.#expect(count, leastWidth(itemCode));
    this.#weigh(count);
    const items: PrimitiveValues[PrimitiveType][] = [];
    for (let i = 0; i < count; i++) items.push(this.#primitive(itemCode));
    this.close(outer);
    return new AmqpArray(type, items, descriptors);
  }

  // Without a wrapper, as an item of an array.
  #primitive(code: number): Exclude<PrimitiveValues[PrimitiveType], Typed> {
    switch (code) {
      case 0x45:
      case 0xc0:
      case 0xd0:
        return this.#list(code);
      case 0xc1:
      case 0xd1:
        return this.#map(code);
      case 0xe0:
      case 0xf0:
        return this.#array(code);
      default:
        return this.scalar(code);
    }
  }

  // Checked before the first element is made, so that a count costs nothing that the bytes do not pay for.
  #expect(count: number, width: number): void {
    if (width > 0) {
      if (count > this.remaining / width) throw this.fail(`${count} elements do not fit in ${this.remaining} bytes`);
      return;
    }
    this.#elements += count;
    if (this.#elements > this.#maxElements) {
      throw this.fail(`array elements without bytes are more than ${this.#maxElements}`);
    }
  }

  #descend(): void {
    if (++this.#depth > this.#maxDepth) throw this.fail(`values nest deeper than ${this.#maxDepth}`);
  }

  #open(small: boolean, weight: number, each: number): number {
    this.#descend();
    const count = this.#enter(small);
    this.#expect(count, 1);
    this.#weigh(weight + each * count);
    return count;
  }

  // Counts memory before it is taken: few bytes must not become many.
  #weigh(weight: number): void {
    this.#values += weight;
    if (this.#values <= this.#maxValues) return;
    throw this.fail(`the values weigh more than ${this.#maxValues}`, condition.resourceLimitExceeded);
  }

  #note(known: WireTypes, place: unknown, type: PrimitiveType): void {
    this.#weigh(1);
    known.set(place, type);
  }

  // The size counts the bytes after itself, so the count is inside [types 1.6.22].
  #enter(small: boolean): number {
    const size = small ? this.#u8() : this.#u32();
    if (size > this.remaining) throw this.fail(`a size of ${size} is beyond the ${this.remaining} bytes that remain`);
    this.#end = this.#position + size;
    return small ? this.#u8() : this.#u32();
  }

  #utf8(start: number, length: number): string {
    const text = decodeUtf8(this.#bytes.subarray(start, start + length));
    if (text === undefined) throw this.fail("a string is not UTF-8");
    return text;
  }

  #char(): string {
    const point = this.#u32();
    if (!isCharacter(point)) throw this.fail(`0x${point.toString(16)} is not a character`);
    return String.fromCodePoint(point);
  }

  #time(): Date | bigint {
    this.#weigh(BINARY_WEIGHT);
    const at = this.#position;
    // Exact for all dates, and without a bigint for every message.
    const date = new Date((this.#u32() | 0) * 0x1_0000_0000 + this.#u32());
    return Number.isNaN(date.getTime()) ? loaded(this.#bytes, at, 8).getBigInt64(0) : date;
  }

  #view8(length: number): Uint8Array {
    this.#weigh(BINARY_WEIGHT);
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  #u8(): number {
    return this.#bytes[this.#advance(1)];
  }

  #u32(): number {
    return uint32At(this.#bytes, this.#advance(4));
  }

  #advance(length: number): number {
    const start = this.#position;
    if (length > this.#end - start) throw this.fail(`${length} bytes are needed, ${this.remaining} remain`);
    this.#position = start + length;
    return start;
  }
}
