/**
 * Matching of frames against a script's patterns.
 *
 * @module
 */

import { isBytes, isDate, isMap } from "../base/kinds.ts";
import { toJson } from "../trace/json.ts";
import { AmqpArray, Described, Typed } from "../codec/types.ts";

/**
 * The pattern of a field: a value, of which objects are matched in part; a regular expression for a string; a predicate;
 * undefined for a field that must be absent.
 */
export type Pattern<T> =
  | T
  | RegExp
  | ((value: T | undefined) => boolean)
  | (T extends object ? { [K in keyof T]?: Pattern<T[K]> } : never);

/** Describes where and how `value` differs from `pattern`; undefined if it matches. */
export function mismatch(value: unknown, pattern: unknown, path: string): string | undefined {
  if (pattern instanceof RegExp) {
    return typeof value === "string" && pattern.test(value) ? undefined : `${path} is ${shown(value)}, not ${pattern}`;
  }
  if (typeof pattern === "function") {
    return pattern(value) === true
      ? undefined
      : `${path} is ${shown(value)}, which ${pattern.name || "the function"} refuses`;
  }
  if (!isPlain(pattern)) {
    return same(value, pattern) ? undefined : `${path} is ${shown(value)}, not ${shown(pattern)}`;
  }
  if (value === null || typeof value !== "object") return `${path} is ${shown(value)}, not ${shown(pattern)}`;
  for (const [key, inner] of Object.entries(pattern)) {
    const found = mismatch((value as Record<string, unknown>)[key], inner, path === "" ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (value === null || typeof value !== "object") return false;
  return !(Array.isArray(value) || isBytes(value) || isDate(value) || isMap(value) ||
    value instanceof Typed || value instanceof Described || value instanceof AmqpArray);
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  // A plain number may stand for a ulong.
  if (typeof a === "bigint" && typeof b === "number") return a === BigInt(b);
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return false;
  return JSON.stringify(toJson(a)) === JSON.stringify(toJson(b));
}

export function shown(value: unknown): string {
  if (value === undefined) return "absent";
  return JSON.stringify(toJson(value, { exact: false }));
}
