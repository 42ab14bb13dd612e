/**
 * The wire types that decoded containers had, where their JavaScript values do not tell: a uint and a double are
 * both a `number`. Consulted when such a container is encoded again.
 *
 * They are kept beside the containers, so that those are ordinary arrays, maps and records. A message carries what its
 * copies need under a symbol, which a spread takes along: `{ ...message, applicationProperties: {
 * ...message.applicationProperties, retry: 1 } }` keeps the types of all that came.
 *
 * @module
 */

import { typeOf } from "./codes.ts";
import { fitsBigInt, fitsInteger, isAscii } from "./checks.ts";
import type { PrimitiveType } from "./values.ts";

/** What writes a value as a primitive of the type given; a `Writer`. */
export interface TypedWriter {
  /** Writes it, or throws if the type cannot hold it. */
  typed(type: PrimitiveType, value: unknown): void;
}

/** What is known of one container. */
export class WireTypes {
  /** The wire types of a map's keys, if it has any that are special. */
  keys: Map<unknown, PrimitiveType> | undefined = undefined;
  /** The keys of a record in wire order, where the record does not keep it. */
  order: readonly string[] | undefined = undefined;
  /**
   * Writes a field of a composite with a type that is not that of the table; false if the type does not hold the value. Set
   * where a field came so.
   */
  writeField: ((writer: TypedWriter, type: PrimitiveType | undefined, value: unknown) => boolean) | undefined =
    undefined;
  #values: Map<unknown, PrimitiveType> | undefined;
  // Of a list the first items, which mostly all have the same type, take no entries.
  #first: PrimitiveType | undefined;
  #count = 0;

  /** The wire type of the value at an index or key. */
  get(place: unknown): PrimitiveType | undefined {
    const isFirst = typeof place === "number" && place < this.#count && place >>> 0 === place;
    return isFirst ? this.#first : this.#values?.get(place);
  }

  /** Notes the wire type of the value at an index or key. */
  set(place: unknown, type: PrimitiveType): void {
    if (place === this.#count && type === (this.#first ??= type)) this.#count++;
    else (this.#values ??= new Map()).set(place, type);
  }

  /** Forgets the wire type of the value at a key. */
  delete(place: unknown): void {
    this.#values?.delete(place);
  }
}

let containers: WeakMap<object, WireTypes> | undefined;
let originKey: symbol | undefined;

/** What is known of a container; undefined for one that was not decoded, or that holds nothing special. */
export function wireTypesOf(container: object): WireTypes | undefined {
  return containers?.get(container);
}

/** The place to note what is known of a container. */
export function noteTypes(container: object): WireTypes {
  containers ??= new WeakMap();
  let known = containers.get(container);
  if (known === undefined) containers.set(container, known = new WireTypes());
  return known;
}

/** What a message, or a spread copy of one, was when it was decoded; undefined where no value in it is special. */
export function originOf<T>(message: object): T | undefined {
  return originKey === undefined ? undefined : (message as { [key: symbol]: T | undefined })[originKey];
}

/** Has a message, and its spread copies, carry what it was when it was decoded. */
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
      return typeof value === "string" && value.isWellFormed();
    case "symbol":
      return typeof value === "string" && isAscii(value);
    default:
      return false;
  }
}
