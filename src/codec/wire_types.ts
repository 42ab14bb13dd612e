/**
 * The wire types that decoded containers had, where their JavaScript values do not tell: a uint and a double are
 * both a `number`. Kept beside the containers, so that those are ordinary arrays, maps and records, and consulted
 * when such a container is encoded again.
 *
 * @module
 */

import { fitsBigInt, fitsInteger } from "./checks.ts";
import type { PrimitiveType } from "./values.ts";

/** What is known of one container. */
export interface WireTypes {
  /** The wire types of values by index or key. */
  readonly values: Map<unknown, PrimitiveType>;
  /** The wire types of a map's keys, if it has any that are special. */
  keys: Map<unknown, PrimitiveType> | undefined;
  /** The keys of a record in wire order, where the record does not keep it. */
  order: readonly string[] | undefined;
}

let containers: WeakMap<object, WireTypes> | undefined;

/** What is known of a container; undefined for one that was not decoded, or that holds nothing special. */
export function recall(container: object): WireTypes | undefined {
  return containers?.get(container);
}

/** The place to note what is known of a container. */
export function remember(container: object): WireTypes {
  containers ??= new WeakMap();
  let known = containers.get(container);
  if (known === undefined) {
    known = { values: new Map(), keys: undefined, order: undefined };
    containers.set(container, known);
  }
  return known;
}

/** The wire type of a constructor code, if the decoded value alone would be encoded with another one. */
export function ambiguousType(code: number): PrimitiveType | undefined {
  switch (code) {
    case 0x50:
      return "ubyte";
    case 0x60:
      return "ushort";
    case 0x43:
    case 0x52:
    case 0x70:
      return "uint";
    case 0x51:
      return "byte";
    case 0x61:
      return "short";
    case 0x54:
    case 0x71:
      return "int";
    case 0x72:
      return "float";
    case 0x44:
    case 0x53:
    case 0x80:
      return "ulong";
    default:
      return undefined;
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
    default:
      return false;
  }
}
