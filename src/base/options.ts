/**
 * Checks of the options of a call: names that do not exist and values of the wrong kind are refused, and the error says what
 * was meant, and what was given by its kind, never by its content, which may be a secret.
 *
 * @module
 */

/**
 * What each option of `T` takes, in words that an error can show and that the check reads: the results of `typeof`, `array`,
 * `null`, and literal strings in quotes, such as `number or "manual"`. An empty text takes anything; an object holds the
 * kinds of options within the option.
 */
export type OptionKinds<T> = { readonly [K in keyof Required<T>]: string | Kinds };

/** The kinds of some options, see {@linkcode OptionKinds}. */
export interface Kinds {
  readonly [name: string]: string | Kinds;
}

// What other libraries call it, where no spelling leads to our name.
const ELSEWHERE: Readonly<Record<string, string>> = {
  queue: "address",
  timeout: "signal",
  timeoutms: "signal",
  creditwindow: "credit",
  prefetch: "credit",
  autoaccept: "settle",
  username: "auth",
  password: "auth",
  users: "sasl",
  heartbeat: "idleTimeOut",
  hostname: "host",
};

/** What a call that waits takes. */
export const WAIT_KINDS: Kinds = { signal: "object" };

/**
 * Checks `options` of the call that is `doing` something.
 *
 * @throws {TypeError} If they are no object, one of them does not exist, or its value is of another kind.
 */
export function checkOptions(doing: string, options: unknown, kinds: Kinds, within = ""): void {
  if (options === undefined) return;
  if (typeOf(options) !== "object") {
    refuse(doing, `options${within && ` of "${within.slice(0, -1)}"`} are ${describeKind(options)}, not an object`);
  }
  const given = options as Record<string, unknown>;
  for (const name in given) {
    const value = given[name];
    // Many calls run for each message: what fits at first sight is not looked at again.
    if (name === "signal" ? !isSignal(value) || !("signal" in kinds) : typeOf(value) !== kinds[name]) {
      checkOption(doing, given, name, kinds, within);
    }
  }
}

function checkOption(
  doing: string,
  options: Record<string, unknown>,
  name: string,
  kinds: Kinds,
  within: string,
): void {
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
  if (kind.includes(typeOf(value))) return;
  const text = typeof value === "string" && kind.includes('"') && `"${value.slice(0, 32)}"`;
  if (!text || !kind.includes(text)) refuse(doing, `${option} is ${text || describeKind(value)}, not ${kind}`);
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
 * @throws {TypeError} If it is no text, or an empty one.
 */
export function checkAddress(doing: string, address: unknown): void {
  if (typeof address === "string" && address !== "") return;
  const given = address === "" ? "empty" : describeKind(address);
  throw new TypeError(`Cannot ${doing}: address is ${given}, give the name of a queue or another node as a string`);
}

/**
 * Checks that a part of credentials is a text: one that was not set would else be the text "undefined".
 *
 * @throws {TypeError} If it is none; the error does not show it.
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

/** Which of `names` was meant by one that does not exist, if there is one so near. */
export function meant(name: string, names: readonly string[]): string | undefined {
  const wanted = bare(name);
  if (names.includes(`${name}Ms`)) return `${name}Ms`;
  const other = ELSEWHERE[wanted];
  if (Object.hasOwn(ELSEWHERE, wanted) && names.includes(other)) return other;
  // A third of it may be wrong: less finds nothing in short names, more finds what nobody meant.
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  let nearest: string | undefined;
  for (const candidate of names) {
    const distance = editDistance(wanted, bare(candidate));
    if (distance < least) [least, nearest] = [distance, candidate];
  }
  return nearest;
}

/** What a value is, for an error: its type with an article, never its content. */
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

// Insertions, deletions and exchanges of one character that make one out of the other.
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
