/**
 * Values to bytes, each in its smallest encoding.
 *
 * @module
 */

import { isBytes, isDate, isMap } from "../base/kinds.ts";
import { ByteWriter } from "./byte_writer.ts";
import { scratchView, uint32At } from "./primitives.ts";
import {
  checkAscii,
  checkFixedWidth,
  checkInteger,
  codeFor,
  type FixedWidthType,
  type FixedWidthValue,
  isSmall,
  misfit,
} from "./codes.ts";
import { stillFits, type WireTypes, wireTypesOf } from "./wire_types.ts";
import { hex, isWellFormed, utf8 } from "../base/text.ts";
import { AmqpArray, Described, type PrimitiveType, Typed, type Value } from "./values.ts";

/** Deepest nesting of values that are encoded: far from overflowing the stack, so that a cycle is an error. */
export const MAX_ENCODED_DEPTH = 1000;

/** A value, or undefined for null. */
export type Encodable = Value | undefined;

/**
 * Collects AMQP values as bytes.
 *
 * A method that throws may leave a part of its value behind; {@linkcode Writer.truncate} drops it.
 */
export class Writer extends ByteWriter {
  #depth = 0;

  /** Drops all bytes after the first `length`. */
  override truncate(length: number): void {
    super.truncate(length);
    this.#depth = 0;
  }

  /**
   * Writes a value of any type.
   *
   * @throws {TypeError} If the value has no wire type.
   * @throws {RangeError} If the wire type cannot hold the value.
   */
  value(value: Encodable): void {
    switch (typeof value) {
      case "string":
        return this.string(value);
      case "number":
        return this.typed("double", value);
      case "bigint":
        return this.typed("long", value);
      case "boolean":
        return this.boolean(value);
      case "undefined":
        return this.u8(0x40);
      case "object":
        return value === null ? this.u8(0x40) : this.#object(value);
      default:
        throw new TypeError(`Cannot encode value: there is no AMQP type for a ${typeof value}`);
    }
  }

  /** Writes a value with the wire type that its place was decoded with, unless the value no longer fits it. */
  valueAs(type: PrimitiveType | undefined, value: Encodable): void {
    if (type !== undefined && stillFits(type, value)) this.typed(type, value);
    else this.value(value);
  }

  /**
   * Writes a value as a primitive of the given type.
   *
   * @throws {TypeError} If the value is of another kind.
   * @throws {RangeError} If the type cannot hold the value.
   */
  typed(type: PrimitiveType, value: unknown): void {
    switch (type) {
      case "null":
        if (value !== null) throw misfit(type, value);
        return this.u8(0x40);
      case "boolean":
        return this.boolean(value);
      case "uint":
        return this.uint(value);
      case "string":
        return this.string(value);
      case "symbol":
        return this.symbol(value);
      case "binary":
        return this.binary(value);
      case "timestamp":
        return this.timestamp(value);
      case "list":
        return this.#compound(type, 0xc0, value);
      case "map":
        return this.#compound(type, 0xc1, value);
      case "array":
        return this.#compound(type, 0xe0, value);
      default:
        return this.#scalar(type, checkFixedWidth(type, value));
    }
  }

  boolean(value: unknown): void {
    if (typeof value !== "boolean") throw misfit("boolean", value);
    this.u8(value ? 0x41 : 0x42);
  }

  uint(value: unknown): void {
    const checked = checkInteger("uint", value);
    if (checked > 0xff) {
      this.u8(0x70);
      this.u32(checked);
    } else if (checked > 0) {
      this.u8(0x52);
      this.u8(checked);
    } else {
      this.u8(0x43);
    }
  }

  /** Writes a timestamp: a date, or milliseconds since 1970. */
  timestamp(value: unknown): void {
    const time = isDate(value) ? value.getTime() : NaN;
    // A number is exact for all dates, and spares three bigints for each message with a time.
    if (Number.isNaN(time)) return this.#scalar("timestamp", checkFixedWidth("timestamp", value));
    this.u8(0x83);
    this.u32(Math.floor(time / 0x1_0000_0000));
    this.u32(time);
  }

  string(value: unknown): void {
    if (typeof value !== "string") throw misfit("string", value);
    if (!this.ascii(0xa1, value)) this.#sized(0xa1, wellFormed(value));
  }

  symbol(value: unknown): void {
    if (typeof value !== "string" || !this.ascii(0xa3, value)) throw misfit("symbol", value);
  }

  binary(value: unknown): void {
    if (!isBytes(value)) throw misfit("binary", value);
    this.#sized(0xa0, value);
  }

  /** Writes a descriptor: a bare bigint is a ulong there, a bare string a symbol. */
  descriptor(value: Value): void {
    this.u8(0x00);
    if (typeof value === "bigint") this.typed("ulong", value);
    else if (typeof value === "string") this.symbol(value);
    else this.value(value);
  }

  /**
   * Writes a record as a map whose keys all are symbols or all are strings; `check` throws for forbidden entries, `known` are
   * the wire types that values and keys were decoded with.
   */
  record<T extends Encodable>(
    record: Readonly<Record<string, T>>,
    keyType: "symbol" | "string",
    check?: (key: string, value: T) => void,
    known: WireTypes | undefined = wireTypesOf(record),
  ): void {
    const start = this.open();
    this.close(start, 0xc1, this.#record(record, keyType, known, check as (key: string, value: Encodable) => void));
  }

  /** Begins a compound value, and returns its position for {@linkcode Writer.close}. */
  open(): number {
    this.#descend();
    return this.reserve(3) - this.start;
  }

  /**
   * Ends a compound value of `count` elements; `code` is the constructor of its small form.
   *
   * {@linkcode Writer.open} reserves the header of the small form. Few values are larger, and those are moved; an empty list
   * needs no header.
   */
  close(position: number, code: number, count: number): void {
    this.#depth--;
    let start = this.start + position;
    if (count === 0 && code === 0xc0) {
      this.bytes[start] = 0x45;
      this.end = start + 1;
      return;
    }
    const length = this.end - start - 3;
    if (length < 0xff && count <= 0xff) {
      this.bytes[start] = code;
      this.bytes[start + 1] = length + 1;
      this.bytes[start + 2] = count;
      return;
    }
    this.reserve(6);
    start = this.start + position;
    this.bytes.copyWithin(start + 9, start + 3, start + 3 + length);
    this.bytes[start] = code + 0x10;
    this.overwrite32(length + 4, position + 1);
    this.overwrite32(count, position + 5);
  }

  #object(value: Exclude<Value, null | boolean | string | number | bigint>): void {
    if (isBytes(value)) return this.binary(value);
    if (value instanceof Typed) return this.typed(value.type, value.value);
    if (Array.isArray(value)) return this.typed("list", value);
    if (isDate(value)) return this.typed("timestamp", value);
    if (value instanceof AmqpArray) return this.typed("array", value);
    if (!(value instanceof Described)) return this.typed("map", value);
    this.#descend();
    this.descriptor(value.descriptor);
    this.valueAs(wireTypesOf(value)?.get("value"), value.value);
    this.#depth--;
  }

  #scalar(type: FixedWidthType, value: FixedWidthValue): void {
    if (type === "ulong" && value === 0n) return this.u8(0x44);
    const code = codeFor(type, isSmall(type, value));
    this.u8(code);
    this.#fixedWidth(code, value);
  }

  #fixedWidth(code: number, value: FixedWidthValue): void {
    if (typeof value === "object") return this.append(value);
    const view = scratchView();
    switch (code) {
      case 0x60:
      case 0x61:
        view.setInt16(0, value as number);
        return this.copy(view, 2);
      case 0x70:
      case 0x71:
      case 0x73:
        return this.u32(value as number);
      case 0x72:
        view.setFloat32(0, value as number);
        return this.copy(view, 4);
      case 0x80:
      case 0x81:
      case 0x83:
        view.setBigInt64(0, value as bigint);
        return this.copy(view, 8);
      case 0x82:
        view.setFloat64(0, value as number);
        return this.copy(view, 8);
      default:
        return this.u8(Number(value));
    }
  }

  #compound(type: VariableType, code: number, value: unknown): void {
    const start = this.open();
    this.close(start, code, this.#contents(type, value));
  }

  // Writes the bytes behind the header of a value of variable size, and returns the count for the header of a compound one.
  #contents(type: VariableType, value: unknown): number {
    switch (type) {
      case "list":
        if (!Array.isArray(value)) throw misfit(type, value);
        return this.#elements(value);
      case "map":
        return isMap(value) ? this.#entries(value as Map<Value, Value>) : this.#record(value, "string", undefined);
      case "array":
        if (!(value instanceof AmqpArray)) throw misfit(type, value);
        return this.#items(value);
      case "binary":
        if (!isBytes(value)) throw misfit(type, value);
        this.append(value);
        return 0;
      case "string":
        if (typeof value !== "string") throw misfit(type, value);
        this.append(wellFormed(value));
        return 0;
      case "symbol":
        this.append(utf8(checkAscii(value)));
        return 0;
    }
  }

  #elements(list: readonly Encodable[]): number {
    const known = wireTypesOf(list);
    for (let i = 0; i < list.length; i++) this.valueAs(known?.get(i), list[i]);
    return list.length;
  }

  #entries(map: ReadonlyMap<Value, Value>): number {
    const known = wireTypesOf(map);
    // A Map compares objects by identity, but two keys are equal when type and value are [types 1.6.23].
    const written = hasObjectKey(map) ? new Set<string>() : undefined;
    for (const [key, value] of map) {
      const start = this.length;
      this.valueAs(known?.keys?.get(key), key);
      if (written !== undefined && written.size === written.add(hex(this.view().subarray(start))).size) {
        throw new TypeError("Cannot encode map: two keys are equal");
      }
      this.valueAs(known?.get(key), value);
    }
    return 2 * map.size;
  }

  #record(
    record: unknown,
    keyType: "symbol" | "string",
    known: WireTypes | undefined,
    check?: (key: string, value: Encodable) => void,
  ): number {
    if (!isRecord(record)) throw misfit("map", record);
    const keys = orderedKeys(record, known);
    for (const key of keys) {
      const value = record[key];
      check?.(key, value);
      this.#key(known?.keys?.get(key) ?? keyType, key);
      if (known === undefined) this.value(value);
      else this.valueAs(known.get(key), value);
    }
    return 2 * keys.length;
  }

  // Keys are of the record's key type, except those that were decoded as another.
  #key(type: PrimitiveType, key: string): void {
    if (type === "ulong" || type === "long") this.typed(type, BigInt(key));
    else if (type === "symbol") this.symbol(key);
    else this.string(key);
  }

  #items(array: AmqpArray): number {
    for (const descriptor of array.descriptors) this.descriptor(descriptor);
    const { type, items } = array;
    switch (type) {
      case "null":
        if (items.some((item) => item !== null)) {
          throw new TypeError("Cannot encode array of null: an item is not null");
        }
        this.u8(0x40);
        break;
      case "string":
      case "symbol":
      case "binary":
      case "list":
      case "map":
      case "array":
        this.#variableItems(type, items);
        break;
      default:
        this.#fixedWidthItems(type, items);
    }
    return items.length;
  }

  #fixedWidthItems(type: FixedWidthType, items: readonly unknown[]): void {
    const checked = items.map((item) => checkFixedWidth(type, item));
    // Never the forms without bytes, as receivers limit counts that cost nothing.
    const code = codeFor(type, checked.every((item) => isSmall(type, item)));
    this.u8(code);
    for (const item of checked) this.#fixedWidth(code, item);
  }

  // Written with wide headers, and compacted at the end if all items are small: trying narrow ones first would double the work
  // with every level of nesting.
  #variableItems(type: VariableType, items: readonly unknown[]): void {
    const codeAt = this.reserve(1) - this.start;
    const counted = type === "list" || type === "map" || type === "array";
    let largest = 0;
    this.#descend();
    for (const item of items) {
      const at = this.reserve(counted ? 8 : 4) - this.start;
      const count = this.#contents(type, item);
      const size = this.length - at - 4;
      this.overwrite32(size, at);
      if (counted) this.overwrite32(count, at + 4);
      largest = Math.max(largest, counted ? size - 3 : size, count);
    }
    this.#depth--;
    this.bytes[this.start + codeAt] = variableCodes[type] + (largest > 0xff ? 0x10 : 0);
    if (largest <= 0xff) this.#narrow(this.start + codeAt + 1, counted);
  }

  // Turns the headers of small items from `start` to the end into narrow ones.
  #narrow(start: number, counted: boolean): void {
    const bytes = this.bytes;
    let to = start;
    for (let from = start; from < this.end;) {
      const next = from + 4 + uint32At(bytes, from);
      // The count shrinks from four bytes to one, and the size that includes it accordingly.
      const contents = from + (counted ? 7 : 4);
      bytes[to++] = next - contents;
      bytes.copyWithin(to, contents, next);
      to += next - contents;
      from = next;
    }
    this.end = to;
  }

  #sized(code: number, bytes: Uint8Array): void {
    this.header(code, bytes.length);
    this.append(bytes);
  }

  #descend(): void {
    if (++this.#depth <= MAX_ENCODED_DEPTH) return;
    throw new RangeError(`Cannot encode value: it nests deeper than ${MAX_ENCODED_DEPTH}`);
  }
}

/** The smallest encoding of a value as text, which is the same for two values exactly when they are equal. */
export function encodingOf(value: Value): string {
  const writer = new Writer(64);
  writer.value(value);
  return hex(writer.view());
}

/** Whether a value is a plain record: with a root prototype of any realm, as an instance of a class has no wire type. */
export function isRecord(value: unknown): value is Record<string, Encodable> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

type VariableType = "string" | "symbol" | "binary" | "list" | "map" | "array";

const variableCodes = { string: 0xa1, symbol: 0xa3, binary: 0xa0, list: 0xc0, map: 0xc1, array: 0xe0 } as const;

// An encoder would silently replace a lone surrogate by U+FFFD.
function wellFormed(text: string): Uint8Array {
  if (!isWellFormed(text)) throw new RangeError("Cannot encode string: it has half of a UTF-16 pair");
  return utf8(text);
}

function hasObjectKey(map: ReadonlyMap<Value, Value>): boolean {
  for (const key of map.keys()) {
    if (typeof key === "object" && key !== null) return true;
  }
  return false;
}

function orderedKeys(record: object, known: WireTypes | undefined): readonly string[] {
  const keys = Object.keys(record);
  if (known?.order === undefined) return keys;
  return [...new Set([...known.order, ...keys])].filter((key) => Object.hasOwn(record, key));
}
