/**
 * Checks of the options of a call: names that do not exist and values of the wrong kind are refused, and the error says what
 * was meant.
 *
 * @module
 */

/**
 * What each option of `T` takes, in words that an error can show and that the check reads: the results of `typeof`, `array`,
 * `null`, and literal strings in quotes, such as `number or "manual"`. An empty text takes anything.
 */
export type OptionKinds<T> = { readonly [K in keyof Required<T>]: string };

// What other libraries call it, where no spelling leads to our name.
const ELSEWHERE: Readonly<Record<string, string>> = {
  creditwindow: "credit",
  prefetch: "credit",
  maxconcurrentcalls: "concurrency",
  autoaccept: "settle",
  autosettle: "settle",
  ack: "settle",
  username: "auth",
  user: "auth",
  password: "auth",
  credentials: "auth",
  users: "sasl",
  heartbeat: "idleTimeOut",
  protocols: "subprotocols",
  ca: "tls",
  cert: "tls",
  host: "hostname",
  vhost: "hostname",
  timeout: "signal",
  logger: "log",
  queue: "address",
  topic: "address",
};

/**
 * Checks `options` of the call that is `doing` something.
 *
 * @throws {TypeError} If they are no object, one of them does not exist, or its value is of another kind.
 */
export function checkOptions(doing: string, options: unknown, kinds: Readonly<Record<string, string>>): void {
  if (options === undefined) return;
  if (typeOf(options) !== "object") {
    throw new TypeError(`Cannot ${doing}: options are ${describeKind(options)}, not an object`);
  }
  for (const name of Object.keys(options as object)) {
    if (!Object.hasOwn(kinds, name)) throw unknownOption(doing, name, Object.keys(kinds));
    const value = (options as Record<string, unknown>)[name];
    const kind = kinds[name];
    const text = typeof value === "string" ? `"${value.slice(0, 32)}"` : undefined;
    if (value === undefined || kind === "" || kind.includes(typeOf(value)) || text && kind.includes(text)) continue;
    const given = text !== undefined && kind.includes('"') ? text : describeKind(value);
    throw new TypeError(`Cannot ${doing}: option "${name}" is ${given}, not ${kind}`);
  }
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

function unknownOption(doing: string, name: string, names: readonly string[]): TypeError {
  const near = meant(name, names);
  const instead = near === undefined
    ? `there are ${names.map((name) => `"${name}"`).join(", ")}`
    : `"${near}" is meant`;
  return new TypeError(`Cannot ${doing}: there is no option "${name.slice(0, 64)}", ${instead}`);
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
