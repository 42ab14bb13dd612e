/**
 * The challenges of a proxy in `Proxy-Authenticate`: parsing, ranking, and the answer for Basic.
 *
 * @module
 */

import { encodeBase64 } from "@std/encoding";
import { isBlank, isControl } from "../http/tokens.ts";
import { type DigestChallenge, type DigestHash, type Hash, readDigestChallenge } from "./digest.ts";

/** An authentication scheme that this module can answer. */
export type ProxyScheme = "basic" | "digest";

/** A user's name and password for a proxy. */
export interface ProxyCredentials {
  /** The user's name; no control characters, and for Basic no colon. */
  readonly username: string;
  /** The password; no control characters. */
  readonly password: string;
}

/** A challenge as written, of any scheme [rfc9110 11.3]. */
export interface Challenge {
  /** The scheme's name in lower case. */
  readonly scheme: string;
  /** The opaque value that some schemes carry instead of parameters. */
  readonly token68: string | undefined;
  /** The parameters by lower-case name, unquoted. Each character is one byte of the header. */
  readonly params: ReadonlyMap<string, string>;
}

/** A challenge that can be answered. */
export type UsableChallenge =
  | { readonly scheme: "digest"; readonly digest: DigestChallenge }
  | { readonly scheme: "basic"; readonly realm: string | undefined };

/** The settings of {@linkcode rankChallenges}. */
export interface RankOptions {
  /** The schemes that the user allows for this proxy. */
  readonly schemes: readonly ProxyScheme[];
  /** The runtime's hash functions; a challenge that needs a missing one is left out. */
  readonly hash: Hash;
}

/**
 * Parses the challenges in all values of `Proxy-Authenticate`.
 *
 * One value may hold several challenges, separated by the same comma that separates the parameters of one [rfc9110 11.6.1].
 * A challenge that names a parameter twice is left out; one that is malformed, too, with the rest of its value, since the
 * start of the next one is then ambiguous. Never throws.
 */
export function parseChallenges(values: readonly string[]): Challenge[] {
  const challenges: Challenge[] = [];
  for (const value of values) readValue(new Scanner(value), challenges);
  return challenges;
}

/**
 * Parses a bare list of parameters, as in `Proxy-Authentication-Info`; empty when it is malformed.
 *
 * Names are in lower case, values unquoted; a repeated name makes the whole list unusable.
 */
export function parseParams(value: string): ReadonlyMap<string, string> {
  const draft = newDraft("");
  const scanner = new Scanner(value);
  while (scanner.skipToElement()) {
    if (!readParam(scanner, scanner.token(), draft) || !scanner.atElementEnd()) return new Map();
  }
  return draft.usable ? draft.params : new Map();
}

/**
 * The challenges that can be answered, best first.
 *
 * This module's ranking decides, not the proxy's order: Digest with SHA-512-256, with SHA-256, with MD5, then Basic.
 * Unknown, malformed, disallowed and uncomputable challenges are left out.
 */
export function rankChallenges(challenges: readonly Challenge[], options: RankOptions): UsableChallenge[] {
  const ranked: { rank: number; challenge: UsableChallenge }[] = [];
  for (const { scheme, params, token68 } of challenges) {
    if (scheme === "digest" && options.schemes.includes("digest")) {
      const digest = readDigestChallenge(params);
      if (digest === undefined || options.hash(digest.hash, new Uint8Array(0)) === undefined) continue;
      // The session form hides nothing more from this proxy, and fewer proxies implement it correctly.
      const rank = 2 * DIGEST_RANK[digest.hash] + (digest.session ? 1 : 0);
      ranked.push({ rank, challenge: { scheme: "digest", digest } });
    } else if (scheme === "basic" && options.schemes.includes("basic") && token68 === undefined) {
      ranked.push({ rank: BASIC_RANK, challenge: { scheme: "basic", realm: params.get("realm") } });
    }
  }
  return ranked.sort((a, b) => a.rank - b.rank).map((entry) => entry.challenge);
}

/**
 * The `Proxy-Authorization` value that answers a Basic challenge, in UTF-8 [rfc7617 2.1].
 *
 * @throws {TypeError} If the name holds a colon, or name or password a control character.
 */
export function basicAuthorization(credentials: ProxyCredentials): string {
  checkCredentials(credentials, ["basic"]);
  return `Basic ${encodeBase64(`${credentials.username}:${credentials.password}`)}`;
}

/**
 * Refuses credentials that the schemes cannot carry, before anything is sent.
 *
 * @throws {TypeError} If name or password holds a control character, or the name a colon and only Basic is left.
 */
export function checkCredentials(credentials: ProxyCredentials, schemes: readonly ProxyScheme[]): void {
  const { username, password } = credentials;
  if (typeof username !== "string" || typeof password !== "string") {
    throw new TypeError("Cannot use proxy credentials: user name and password must be strings");
  }
  if (hasControl(username) || hasControl(password)) {
    throw new TypeError("Cannot use proxy credentials: user name and password must not hold control characters");
  }
  if (username.includes(":") && !schemes.includes("digest")) {
    throw new TypeError("Cannot use proxy credentials: a user name for Basic must not hold a colon");
  }
}

// Lower is better.
const DIGEST_RANK: Readonly<Record<DigestHash, number>> = { "SHA-512-256": 0, "SHA-256": 1, "MD5": 2 };
const BASIC_RANK = 6;

interface Draft {
  readonly scheme: string;
  token68: string | undefined;
  readonly params: Map<string, string>;
  usable: boolean;
}

function newDraft(scheme: string): Draft {
  return { scheme: scheme.toLowerCase(), token68: undefined, params: new Map(), usable: true };
}

function readValue(scanner: Scanner, challenges: Challenge[]): void {
  let draft: Draft | undefined;
  while (scanner.skipToElement()) {
    const name = scanner.token();
    // "name =" continues the current challenge, "name" followed by anything else begins one.
    if (draft === undefined || !scanner.atEquals()) {
      finish(draft, challenges);
      draft = undefined;
      if (name === "") return;
      const opened = newDraft(name);
      if (!scanner.atElementEnd()) {
        opened.token68 = scanner.token68();
        if (opened.token68 === undefined && !readParam(scanner, scanner.token(), opened)) return;
      }
      draft = opened;
    } else if (!readParam(scanner, name, draft)) {
      return;
    }
    if (!scanner.atElementEnd()) return;
  }
  finish(draft, challenges);
}

function finish(draft: Draft | undefined, challenges: Challenge[]): void {
  if (draft?.usable) challenges.push({ scheme: draft.scheme, token68: draft.token68, params: draft.params });
}

// False if the parameter is malformed: the rest of the value is not to be trusted.
function readParam(scanner: Scanner, name: string, draft: Draft): boolean {
  if (name === "" || !scanner.skipEquals()) return false;
  const value = scanner.value();
  if (value === undefined) return false;
  const key = name.toLowerCase();
  // Two values for one parameter: another party on the path may take the other one.
  if (draft.params.has(key) || draft.token68 !== undefined) draft.usable = false;
  draft.params.set(key, value);
  return true;
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (isControl(text.charCodeAt(i))) return true;
  }
  return false;
}

function isAlphanumeric(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
}

function isTokenCode(code: number): boolean {
  return isAlphanumeric(code) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(code));
}

function isToken68Code(code: number): boolean {
  return isAlphanumeric(code) || "-._~+/".includes(String.fromCharCode(code));
}

// Scans one field value; every step moves forward, so the work is linear in the value's length.
class Scanner {
  readonly #text: string;
  #position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Skips blanks and commas, which may repeat [rfc9110 5.6.1]; false at the end. */
  skipToElement(): boolean {
    while (this.#code() === COMMA || isBlank(this.#code())) this.#position++;
    return this.#position < this.#text.length;
  }

  /** Skips blanks; true at the end of the element. */
  atElementEnd(): boolean {
    this.#skipBlanks();
    return this.#position >= this.#text.length || this.#code() === COMMA;
  }

  /** Skips blanks; true in front of an equals sign. */
  atEquals(): boolean {
    this.#skipBlanks();
    return this.#code() === EQUALS;
  }

  skipEquals(): boolean {
    if (!this.atEquals()) return false;
    this.#position++;
    this.#skipBlanks();
    return true;
  }

  token(): string {
    const start = this.#position;
    while (isTokenCode(this.#code())) this.#position++;
    return this.#text.slice(start, this.#position);
  }

  /** A token68 that fills the rest of its element; else undefined, and nothing is skipped. */
  token68(): string | undefined {
    const start = this.#position;
    while (isToken68Code(this.#code())) this.#position++;
    const any = this.#position > start;
    while (this.#code() === EQUALS) this.#position++;
    const text = this.#text.slice(start, this.#position);
    if (any && this.atElementEnd()) return text;
    this.#position = start;
    return undefined;
  }

  /** A token or quoted string; undefined if there is neither, or the string does not end. */
  value(): string | undefined {
    if (this.#code() === QUOTE) return this.#quoted();
    const token = this.token();
    return token === "" ? undefined : token;
  }

  #quoted(): string | undefined {
    const pieces: string[] = [];
    let start = ++this.#position;
    for (; this.#position < this.#text.length; this.#position++) {
      const code = this.#code();
      if (code === QUOTE) {
        pieces.push(this.#text.slice(start, this.#position++));
        return pieces.join("");
      }
      if (code === BACKSLASH) {
        pieces.push(this.#text.slice(start, this.#position));
        start = ++this.#position;
      }
      // Checked behind a backslash, too: the value is sent back in the answer.
      const literal = this.#code();
      if (isControl(literal) && literal !== TAB) return undefined;
    }
    return undefined;
  }

  #skipBlanks(): void {
    while (isBlank(this.#code())) this.#position++;
  }

  // NaN at the end, which equals nothing and lies in no range.
  #code(): number {
    return this.#text.charCodeAt(this.#position);
  }
}

const TAB = 0x09;
const QUOTE = 0x22;
const COMMA = 0x2c;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;
