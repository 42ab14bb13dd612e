/**
 * Checks of a call's options: unknown names and values of the wrong kind are refused. The error suggests the name that was
 * meant, and describes the value by its kind, never by its content, which may be a secret.
 *
 * @module
 */

import { isBytes } from "./kinds.ts";

/**
 * The kind of each option of `T`, in words that errors show and the check parses: results of `typeof`, `array`, `Uint8Array`,
 * `null`, and quoted literals, such as `number or "manual"`. `array of string` tells the kind of its elements, `object with
 * accept` what the object must have. A number is not negative unless literals are beside it; further bounds are written as
 * `whole number from 1 to 255`. An empty string accepts anything; an object holds the kinds of nested options.
 */
export type OptionKinds<T> = { readonly [K in keyof Required<T>]: string | Kinds };

/** The kinds of some options, see {@linkcode OptionKinds}. */
export interface Kinds {
  readonly [name: string]: string | Kinds;
}

// Names in other libraries, where no similarity leads to ours.
const ELSEWHERE: Readonly<Record<string, string>> = {
  queue: "address",
  timeout: "signal",
  timeoutms: "signal",
  waitms: "signal",
  creditwindow: "credit",
  prefetch: "credit",
  autoaccept: "settle",
  username: "auth",
  password: "auth",
  users: "sasl",
  heartbeat: "idleTimeOut",
  hostname: "host",
  selector: "filter",
  durable: "source",
  transaction: "send() of the transaction",
};

/** The kinds of the options of a call that only waits. */
export const WAIT_KINDS: Kinds = { signal: "object" };

/**
 * Checks the options of a call; `doing` is the call in words, such as "open sender".
 *
 * @throws {TypeError} If `options` is no object, an option does not exist, or its value is of another kind.
 * @throws {RangeError} If a number is negative, NaN or out of the bounds of its kind.
 */
export function checkOptions(doing: string, options: unknown, kinds: Kinds, within = ""): void {
  if (options === undefined) return;
  if (typeOf(options) !== "object") {
    refuse(doing, `options${within && ` of "${within.slice(0, -1)}"`} are ${describeKind(options)}, not an object`);
  }
  const given = options as Record<string, unknown>;
  for (const name in given) {
    const value = given[name];
    // Many calls check options for each message: a value that fits at once is not checked further.
    const fits = name === "signal"
      ? isSignal(value) && "signal" in kinds
      : typeOf(value) === kinds[name] && (typeof value !== "number" || value >= 0);
    if (!fits) checkOption(doing, given, name, kinds, within);
  }
}

function checkOption(
  doing: string,
  options: Record<string, unknown>,
  first: string,
  kinds: Kinds,
  within: string,
): void {
  // A name that does not exist is told before a value that does not fit.
  const name = Object.keys(options).find((one) => !Object.hasOwn(kinds, one)) ?? first;
  const value = options[name];
  const option = `option "${within}${name.slice(0, 64)}"`;
  if (!Object.hasOwn(kinds, name)) {
    if (isSignal(options)) refuse(doing, "options are an AbortSignal, give it as { signal }");
    if (!Object.hasOwn(options, name)) return;
    const names = Object.keys(kinds);
    const near = meant(name, names);
    const hint = near === "signal" ? ": AbortSignal.timeout(ms)" : "";
    refuse(
      doing,
      `there is no ${option}, ${near === undefined ? `but ${names.join(", ")}` : `"${near}${hint}" is meant`}`,
    );
  }
  const kind = kinds[name]!;
  if (typeof kind === "object") return checkOptions(doing, value, kind, `${within}${name}.`);
  if (value === undefined || kind === "") return;
  if (name === "signal") {
    const remedy = value instanceof AbortController ? ', give its "signal"' : "";
    refuse(doing, `${option} is ${describeKind(value)}, not an AbortSignal${remedy}`);
  }
  checkKind(doing, option, value, kind);
}

function checkKind(doing: string, option: string, value: unknown, kind: string): void {
  const type = typeOf(value);
  const [own, item] = kind.split(" of ") as [string, string?];
  if (type === "number" && own.includes(type) && !own.includes('"')) {
    const [, least, most] = /from (\d+)(?: to (\d+))?/.exec(own) ?? [];
    const number = value as number;
    const isWithin = number >= Number(least ?? 0) && number <= Number(most ?? Infinity);
    if (isWithin && (!own.startsWith("whole") || Number.isInteger(number))) return;
    throw new RangeError(`Cannot ${doing}: ${option} is ${number}, not ${own}${least === undefined ? " from 0" : ""}`);
  }
  const member = type === "object" && / with (\w+)/.exec(own)?.[1];
  const fits = own.includes(type) && (!member || (value as Record<string, unknown>)[member] !== undefined);
  const text = type === "string" && own.includes('"') && `"${(value as string).slice(0, 32)}"`;
  if (!fits && !(text && own.includes(text)) && !(own.includes("Uint8Array") && isBytes(value))) {
    refuse(doing, `${option} is ${text || describeKind(value)}, not ${kind}`);
  }
  if (item && type === "array") {
    (value as unknown[]).forEach((one, i) => checkKind(doing, `${option.slice(0, -1)}[${i}]"`, one, item));
  }
}

function isSignal(value: unknown): boolean {
  return typeof (value as Partial<AbortSignal> | null | undefined)?.aborted === "boolean";
}

function refuse(doing: string, state: string): never {
  throw new TypeError(`Cannot ${doing}: ${state}`);
}

/**
 * Checks the address of a node.
 *
 * @throws {TypeError} If it is no string, or an empty one.
 */
export function checkAddress(doing: string, address: unknown): void {
  if (typeof address === "string" && address !== "") return;
  const given = address === "" ? "empty" : describeKind(address);
  throw new TypeError(`Cannot ${doing}: address is ${given}, give the name of a queue or another node as a string`);
}

/**
 * Checks that a part of credentials is a string; undefined would otherwise become the text "undefined".
 *
 * @throws {TypeError} If it is none; the error does not show the value.
 */
export function checkText(doing: string, what: string, value: unknown): void {
  if (typeof value !== "string") refuse(doing, `${what} is ${describeKind(value)}, not a string`);
}

/**
 * Checks that a handler can be called.
 *
 * @throws {TypeError} If it is no function.
 */
export function checkFunction(doing: string, what: string, value: unknown): void {
  if (typeof value !== "function") {
    throw new TypeError(`Cannot ${doing}: ${what} is ${describeKind(value)}, not a function`);
  }
}

/** The one of `names` that an unknown `name` most likely meant, if any is near. */
export function meant(name: string, names: readonly string[]): string | undefined {
  const wanted = bare(name);
  if (names.includes(`${name}Ms`)) return `${name}Ms`;
  const other = ELSEWHERE[wanted];
  if (Object.hasOwn(ELSEWHERE, wanted) && (names.includes(other) || other.includes(" "))) return other;
  // A third of the characters may differ: less finds nothing for short names, more finds unrelated names.
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  let nearest: string | undefined;
  for (const candidate of names) {
    const distance = editDistance(wanted, bare(candidate));
    if (distance < least) [least, nearest] = [distance, candidate];
  }
  return nearest;
}

/** The type of a value with an article, for an error; never its content. */
export function describeKind(value: unknown): string {
  const type = typeOf(value);
  if (value === undefined || value === null) return type;
  if (type === "object") {
    const keys = Object.keys(value as object).slice(0, 4).map((key) => `"${key.slice(0, 32)}"`);
    const name = (value as object).constructor?.name;
    if (name !== undefined && name !== "Object") return `an object of class ${name}`;
    return keys.length === 0 ? "an empty object" : `an object with ${keys.join(", ")}`;
  }
  return `${type === "array" ? "an" : "a"} ${type}`;
}

function typeOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

function bare(name: string): string {
  return name.slice(0, 64).replace(/[^a-z\d]/gi, "").toLowerCase();
}

// The Levenshtein distance.
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
