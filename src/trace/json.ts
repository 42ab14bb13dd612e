/**
 * AMQP values as JSON, for traces and for messages on a command line.
 *
 * A value that JSON cannot express is an object with one key that begins with `$` and names the type: `{"$binary":"00ff"}`.
 *
 * @module
 */

import { isBytes, isDate, isMap } from "../base/kinds.ts";
import {
  AmqpArray,
  array,
  byte,
  char,
  Described,
  double,
  float,
  int,
  short,
  symbol,
  timestamp,
  Typed,
  ubyte,
  uint,
  ulong,
  ushort,
  uuid,
  type Value,
} from "../codec/types.ts";
import { describeKind } from "../base/options.ts";
import { hex } from "../base/text.ts";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Options of {@linkcode toJson}. */
export interface ToJsonOptions {
  /**
   * True writes JSON that {@linkcode fromJson} reads back to the same value; false writes for people: small bigints are plain
   * numbers, wrapped values bare, and binaries longer than 64 bytes cut. Default: true.
   */
  exact?: boolean | undefined;
}

const LONGEST_BINARY = 64;
const MAX_LEVELS = 32;

/**
 * Converts an AMQP value, or an object of such values, to JSON. Undefined entries are left out.
 *
 * @example
 * ```ts
 * import { toJson } from "./json.ts";
 *
 * console.assert(JSON.stringify(toJson({ id: 5n, key: Uint8Array.of(1, 255) })) === '{"id":{"$long":"5"},"key":{"$binary":"01ff"}}');
 * ```
 */
export function toJson(value: unknown, options: ToJsonOptions = {}): Json {
  return convert(value, options.exact ?? true, 0);
}

function convert(value: unknown, exact: boolean, level: number): Json {
  if (level > MAX_LEVELS) return "…";
  const inner = (item: unknown): Json => convert(item, exact, level + 1);
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : { $double: String(value) };
    case "bigint":
      return !exact && Number.isSafeInteger(Number(value)) ? Number(value) : { $long: String(value) };
    case "object":
      break;
    default:
      return null;
  }
  if (value === null) return null;
  if (isBytes(value)) return binary(value, exact);
  if (isDate(value)) return exact ? { $timestamp: value.toISOString() } : value.toISOString();
  if (value instanceof Typed) return exact ? typed(value, inner) : inner(value.value);
  if (value instanceof Described) return { $described: [inner(value.descriptor), inner(value.value)] };
  if (value instanceof AmqpArray) {
    return exact ? { $array: [value.type, ...value.items.map(inner)] } : value.items.map(inner);
  }
  if (Array.isArray(value)) return value.map(inner);
  if (isMap(value)) return map(value, inner);
  return record(value, inner);
}

function binary(bytes: Uint8Array, exact: boolean): Json {
  if (exact || bytes.length <= LONGEST_BINARY) return { $binary: hex(bytes) };
  return { $binary: `${hex(bytes.subarray(0, LONGEST_BINARY))}…`, bytes: bytes.length };
}

function typed({ type, value }: Typed, inner: (item: unknown) => Json): Json {
  if (isDate(value)) return { [`$${type}`]: value.toISOString() };
  if (isBytes(value)) return { [`$${type}`]: hex(value) };
  return { [`$${type}`]: typeof value === "bigint" ? String(value) : inner(value) };
}

function map(entries: Map<unknown, unknown>, inner: (item: unknown) => Json): Json {
  const plain = [...entries.keys()].every((key) => typeof key === "string" && !key.startsWith("$"));
  return plain
    ? record(Object.fromEntries(entries), inner)
    : { $map: [...entries].map(([key, item]) => [inner(key), inner(item)]) };
}

function record(value: object, inner: (item: unknown) => Json): Json {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  if (entries.length === 1 && entries[0][0].startsWith("$")) return { $map: [[entries[0][0], inner(entries[0][1])]] };
  return Object.fromEntries(entries.map(([key, item]) => [key, inner(item)]));
}

/**
 * Reads an AMQP value from JSON that {@linkcode toJson} has written, or a person has typed.
 *
 * @throws {TypeError} If a key with `$` names no type, or its value has another form.
 * @throws {RangeError} If the value does not fit the type.
 */
export function fromJson(json: Json): Value {
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return json.map(fromJson);
  const keys = Object.keys(json);
  if (keys.length !== 1 || !keys[0].startsWith("$")) {
    return Object.fromEntries(keys.map((key) => [key, fromJson(json[key])]));
  }
  const type = keys[0].slice(1), content = json[keys[0]];
  const text = String(content);
  switch (type) {
    case "binary":
      return hexBytes(text);
    case "long":
    case "ulong":
      return type === "long" ? integerOf(type, text) : ulong(integerOf(type, text));
    case "timestamp":
      return /^-?\d+$/.test(text) ? timestamp(BigInt(text)) : dateOf(text);
    case "uuid":
      return uuid(text);
    case "symbol":
      return symbol(text);
    case "char":
      return char(text);
    case "map":
      return new Map(listOf(type, content).map((entry) => pairOf(type, entry)));
    case "described":
      return new Described(...pairOf(type, content));
    case "array": {
      const [name, ...items] = listOf(type, content);
      return array(name as "string", items.map(fromJson) as string[]);
    }
    default:
      return number(type, Number(text));
  }
}

function integerOf(type: string, text: string): bigint {
  if (/^-?\d+$/.test(text)) return BigInt(text);
  throw new TypeError(`Cannot read JSON: "$${type}" is no whole number`);
}

function dateOf(text: string): Date {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date;
  throw new TypeError('Cannot read JSON: "$timestamp" is no date, such as "2026-12-31T23:59:59Z", nor milliseconds');
}

function listOf(type: string, json: Json): Json[] {
  if (Array.isArray(json)) return json;
  throw new TypeError(`Cannot read JSON: "$${type}" has no list but ${describeKind(json)}`);
}

function pairOf(type: string, json: Json): [Value, Value] {
  const pair = listOf(type, json);
  if (pair.length !== 2) throw new TypeError(`Cannot read JSON: "$${type}" has ${pair.length} values, not a pair`);
  return [fromJson(pair[0]), fromJson(pair[1])];
}

function number(type: string, value: number): Value {
  switch (type) {
    case "ubyte":
      return ubyte(value);
    case "ushort":
      return ushort(value);
    case "uint":
      return uint(value);
    case "byte":
      return byte(value);
    case "short":
      return short(value);
    case "int":
      return int(value);
    case "float":
      return float(value);
    case "double":
      return double(value);
    default:
      throw new TypeError(`Cannot read JSON: "$${type}" is not a type`);
  }
}

/**
 * The bytes of hexadecimal text; white space is ignored.
 *
 * @throws {TypeError} If it is not hexadecimal.
 */
export function hexBytes(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 2 !== 0 || /[^\da-f]/i.test(digits)) throw new TypeError("Cannot read bytes: not hexadecimal");
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}
