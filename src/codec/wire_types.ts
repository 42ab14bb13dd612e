/**
 * The wire types of decoded containers, where JavaScript values do not determine them: a uint and a double are both a `number`.
 * The writer consults them when such a container is encoded again.
 *
 * Wire types are kept beside the containers, so that those are ordinary arrays, maps and records. A message carries the wire
 * types for its copies under a symbol, which a spread copies: `{ ...message, applicationProperties: {
 * ...message.applicationProperties, retry: 1 } }` keeps the types of all decoded values.
 *
 * @module
 */

import { isWellFormed } from "../base/text.ts";
import { fitsBigInt, fitsInteger, isAscii, typeOf } from "./codes.ts";
import type { PrimitiveType } from "./values.ts";

/** Writes a value as a primitive of a given type; a `Writer`. */
export interface TypedWriter {
  /** Writes the value, or throws if the type cannot hold it. */
  typed(type: PrimitiveType, value: unknown): void;
}

/** The wire types of one container. */
export class WireTypes {
  /** The wire types of a map's keys, if any are ambiguous. */
  keys: Map<unknown, PrimitiveType> | undefined = undefined;
  /** The keys of a record in wire order, where the record loses it. */
  order: readonly string[] | undefined = undefined;
  /** Whether a record came with a list, map or array: where only simple values belong, it leaves as it came. */
  isNested = false;
  /**
   * Writes a field of a composite with another type than the table's; false if that type does not hold the value. Set where a
   * field came with such a type.
   */
  writeField: ((writer: TypedWriter, type: PrimitiveType | undefined, value: unknown) => boolean) | undefined =
    undefined;
  #values: Map<unknown, PrimitiveType> | undefined;
  // The first items of a list, which mostly have one type, take no entries.
  #first: PrimitiveType | undefined;
  #count = 0;

  /** The wire type of the value at an index or key. */
  get(place: unknown): PrimitiveType | undefined {
    const isFirst = typeof place === "number" && place < this.#count && place >>> 0 === place;
    return isFirst ? this.#first : this.#values?.get(place);
  }

  set(place: unknown, type: PrimitiveType): void {
    if (place === this.#count && type === (this.#first ??= type)) this.#count++;
    else (this.#values ??= new Map()).set(place, type);
  }

  delete(place: unknown): void {
    this.#values?.delete(place);
  }
}

let containers: WeakMap<object, WireTypes> | undefined;
let originKey: symbol | undefined;

/** The wire types of a container; undefined if it was not decoded, or has no ambiguous values. */
export function wireTypesOf(container: object): WireTypes | undefined {
  return containers?.get(container);
}

/** The record of a container's wire types, created at need. */
export function noteTypes(container: object): WireTypes {
  containers ??= new WeakMap();
  let known = containers.get(container);
  if (known === undefined) containers.set(container, known = new WireTypes());
  return known;
}

/** The decoded state of a message, or of a spread copy of one; undefined if no value in it is ambiguous. */
export function originOf<T>(message: object): T | undefined {
  return originKey === undefined ? undefined : (message as { [key: symbol]: T | undefined })[originKey];
}

/** Attaches the decoded state to a message, from where its spread copies take it. */
export function setOrigin(message: object, origin: object): void {
  (message as { [key: symbol]: object })[originKey ??= Symbol("origin")] = origin;
}

/** The wire type of a constructor code, if the decoded value alone would be encoded with another one. */
export function ambiguousType(code: number): PrimitiveType | undefined {
  const type = typeOf(code);
  switch (type) {
    case "ubyte":
    case "ushort":
    case "uint":
    case "byte":
    case "short":
    case "int":
    case "float":
    case "ulong":
      return type;
  }
}

/** Whether a value may still have the wire type that its place was decoded with. */
export function stillFits(type: PrimitiveType, value: unknown): boolean {
  switch (type) {
    case "ubyte":
    case "ushort":
    case "uint":
    case "byte":
    case "short":
    case "int":
      return typeof value === "number" && fitsInteger(type, value);
    case "float":
      return typeof value === "number" && (Math.fround(value) === value || Number.isNaN(value));
    case "ulong":
      return typeof value === "bigint" && fitsBigInt(type, value);
    case "string":
      return typeof value === "string" && isWellFormed(value);
    case "symbol":
      return typeof value === "string" && isAscii(value);
    default:
      return false;
  }
}
