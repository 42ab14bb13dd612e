/**
 * The types of fixed width on their way out: what they accept, and which constructor is the smallest.
 *
 * @module
 */

import { checkBigInt, checkChar, checkInteger, checkLength, checkUuid, misfit } from "./checks.ts";
import { fullCode } from "./codes.ts";
import { parseUuid } from "./primitives.ts";
import type { PrimitiveType } from "./values.ts";

/** The types whose values all have the same width, apart from shorter forms of small integers. */
export type FixedType = Exclude<PrimitiveType, "null" | "string" | "symbol" | "binary" | "list" | "map" | "array">;

/** A value of fixed width that was checked, as what is written. */
export type FixedValue = number | bigint | Uint8Array;

/** Gives what is to be written, if the value fits the type. */
export function checkFixed(type: FixedType, value: unknown): FixedValue {
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
      return checkBigInt(type, value instanceof Date ? value.getTime() : value);
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

/** The constructor for values of a type that are written in full, or in one byte where all are `small`. */
export function codeFor(type: FixedType, small: boolean): number {
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

/** Whether a checked value of a type that has a form of one byte fits into it. */
export function isSmall(type: FixedType, value: FixedValue): boolean {
  if (type === "uint" || type === "ulong") return value as number | bigint <= 0xff;
  return value as number | bigint >= -0x80 && value as number | bigint <= 0x7f;
}
