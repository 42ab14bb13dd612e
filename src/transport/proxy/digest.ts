/**
 * The client's side of HTTP Digest authentication [rfc7616]. The caller passes hash functions and randomness.
 *
 * @module
 */

import { encodeHex } from "@std/encoding";
import { TransportError } from "../../base/errors.ts";
import { utf8 } from "../../base/text.ts";
import { isFieldValue, latin1Bytes } from "../http/head.ts";

/** A hash function, by the name in the challenge. */
export type DigestHash = "MD5" | "SHA-256" | "SHA-512-256";

/**
 * Hashes bytes; undefined if the runtime lacks the algorithm, which is then never chosen.
 *
 * `"SHA-512-256"` is FIPS 180-4's SHA-512/256 with initial values of its own, not a truncated SHA-512.
 */
export type Hash = (algorithm: DigestHash, bytes: Uint8Array) => Uint8Array | undefined;

/** A Digest challenge that can be answered. Each character of its texts is one byte of the header. */
export interface DigestChallenge {
  /** The protection space of the password. */
  readonly realm: string;
  /** The server nonce. */
  readonly nonce: string;
  /** Sent back unchanged. */
  readonly opaque: string | undefined;
  /** The hash function; MD5 if the challenge names none. */
  readonly hash: DigestHash;
  /** Whether the algorithm is the `-sess` form. */
  readonly session: boolean;
  /** The algorithm as spelt in the challenge; undefined if it names none. */
  readonly algorithm: string | undefined;
  /** The quality of protection to answer with; undefined for the older form without one [rfc2069]. */
  readonly qop: "auth" | "auth-int" | undefined;
  /** Whether the last answer failed only by its nonce, so that the same credentials are to be tried again. */
  readonly stale: boolean;
  /** Whether name and password are UTF-8, which also allows `username*`. */
  readonly utf8: boolean;
  /** Whether the name is to be sent hashed. */
  readonly userhash: boolean;
}

/** The request that an answer covers. */
export interface DigestRequest {
  readonly method: string;
  /** The request target, as in the request line. */
  readonly uri: string;
  /** The request body, which only `auth-int` covers. Default: empty. */
  readonly body?: Uint8Array;
}

/** The settings of a {@linkcode DigestSession}. */
export interface DigestSessionOptions {
  readonly username: string;
  /** The password, which is hashed at once and not kept. */
  readonly password: string;
  /** The client nonce: at least 128 random bits as visible ASCII, fresh for each session. */
  readonly cnonce: string;
  readonly hash: Hash;
}

/**
 * Reads a challenge's parameters; undefined if they are no challenge that can be answered.
 *
 * `auth` is preferred to `auth-int`. `domain` has no meaning for a proxy.
 */
export function readDigestChallenge(params: ReadonlyMap<string, string>): DigestChallenge | undefined {
  const realm = params.get("realm");
  const nonce = params.get("nonce");
  const opaque = params.get("opaque");
  if (realm === undefined || nonce === undefined) return undefined;
  // All three are sent back, so they must not hold anything that could end the header line.
  if (!isFieldValue(realm) || !isFieldValue(nonce) || !isFieldValue(opaque ?? "")) return undefined;
  const spelt = params.get("algorithm");
  const algorithm = readAlgorithm(spelt ?? "MD5");
  if (algorithm === undefined) return undefined;
  const offered = params.get("qop")?.split(",").map((qop) => qop.trim().toLowerCase());
  const qop = offered?.includes("auth") ? "auth" : offered?.includes("auth-int") ? "auth-int" : undefined;
  if (offered !== undefined && qop === undefined) return undefined;
  return {
    realm,
    nonce,
    opaque,
    ...algorithm,
    algorithm: spelt,
    qop,
    stale: isTrue(params.get("stale")),
    utf8: params.get("charset")?.toLowerCase() === "utf-8",
    userhash: isTrue(params.get("userhash")),
  };
}

/**
 * Answers one challenge for as many requests as its nonce lasts, counting them.
 *
 * Name, password and values derived from them stay private: inspecting, printing or serialising a session shows nothing.
 *
 * @example
 * ```ts
 * import { DigestSession, readDigestChallenge } from "./digest.ts";
 * import { createHash } from "node:crypto";
 *
 * const challenge = readDigestChallenge(new Map([["realm", "lab"], ["nonce", "abc"], ["qop", "auth"]]))!;
 * const session = new DigestSession(challenge, {
 *   username: "user",
 *   password: "secret",
 *   cnonce: "f2wE4q74E6zIJEtWaHKaf5wv",
 *   hash: (_algorithm, bytes) => createHash("md5").update(bytes).digest(),
 * });
 * const value = session.authorization({ method: "CONNECT", uri: "broker.example:443" });
 * console.assert(value.startsWith('Digest username="user"'));
 * ```
 */
export class DigestSession {
  readonly #challenge: DigestChallenge;
  readonly #hash: Hash;
  readonly #cnonce: string;
  readonly #user: string;
  readonly #ha1: string;
  #nonce: string;
  #count = 0;

  /**
   * Starts a session on a fresh challenge.
   *
   * @throws {TransportError} With code `"not-supported"` if the runtime lacks the hash function.
   * @throws {TypeError} If the name holds a control character or the client's nonce is not visible ASCII.
   */
  constructor(challenge: DigestChallenge, options: DigestSessionOptions) {
    if (!/^[!-~]+$/.test(options.cnonce)) throw new TypeError("Cannot start Digest: cnonce must be visible ASCII");
    this.#challenge = challenge;
    this.#hash = options.hash;
    this.#cnonce = options.cnonce;
    this.#nonce = challenge.nonce;
    this.#user = this.#userParams(options.username);
    const secret = this.#digest(joined(utf8(options.username), latin1Bytes(challenge.realm), utf8(options.password)));
    // Once per session, over the first pair of nonces, even if the nonce is renewed later [rfc7616 3.4.2].
    this.#ha1 = challenge.session
      ? this.#digest(latin1Bytes(`${secret}:${challenge.nonce}:${options.cnonce}`))
      : secret;
  }

  /** The `Proxy-Authorization` value for one more request; the nonce count rises with each call. */
  authorization(request: DigestRequest): string {
    const { realm, opaque, algorithm, qop, session, userhash } = this.#challenge;
    const nc = (++this.#count).toString(16).padStart(8, "0");
    const covered = `${request.method}:${request.uri}`;
    const ha2 = this.#digest(
      latin1Bytes(qop === "auth-int" ? `${covered}:${this.#digest(request.body ?? new Uint8Array(0))}` : covered),
    );
    const bound = qop === undefined ? this.#nonce : `${this.#nonce}:${nc}:${this.#cnonce}:${qop}`;
    const response = this.#digest(latin1Bytes(`${this.#ha1}:${bound}:${ha2}`));
    // Quoted or bare as in the RFC: some proxies require the bare ones [rfc7616 3.4].
    const params = [
      this.#user,
      `realm=${quotedString(realm)}`,
      `nonce=${quotedString(this.#nonce)}`,
      `uri=${quotedString(request.uri)}`,
      `response=${quotedString(response)}`,
    ];
    if (algorithm !== undefined) params.push(`algorithm=${algorithm}`);
    if (opaque !== undefined) params.push(`opaque=${quotedString(opaque)}`);
    if (qop !== undefined) params.push(`qop=${qop}`, `nc=${nc}`);
    if (qop !== undefined || session) params.push(`cnonce=${quotedString(this.#cnonce)}`);
    if (userhash) params.push("userhash=true");
    return `Digest ${params.join(", ")}`;
  }

  /** Replaces the nonce by the one that the proxy announced; one that could not be sent back is ignored. */
  renew(nonce: string): void {
    if (!isFieldValue(nonce)) return;
    this.#nonce = nonce;
    this.#count = 0;
  }

  #userParams(username: string): string {
    const { realm, userhash, utf8: declared } = this.#challenge;
    if (!isFieldValue(username, Infinity)) {
      throw new TypeError("Cannot start Digest: user name must not hold control characters");
    }
    if (userhash) return `username="${this.#digest(joined(utf8(username), latin1Bytes(realm)))}"`;
    if (declared && !/^[ -~]*$/.test(username)) return `username*=UTF-8''${extended(utf8(username))}`;
    return `username=${quotedString(binary(utf8(username)))}`;
  }

  #digest(bytes: Uint8Array): string {
    const { hash } = this.#challenge;
    const digest = this.#hash(hash, bytes);
    if (digest === undefined) {
      throw new TransportError("not-supported", `Cannot answer Digest challenge: this runtime lacks "${hash}"`);
    }
    return encodeHex(digest);
  }
}

function readAlgorithm(spelt: string): { hash: DigestHash; session: boolean } | undefined {
  const name = spelt.toUpperCase();
  const session = name.endsWith("-SESS");
  const hash = session ? name.slice(0, -5) : name;
  return hash === "MD5" || hash === "SHA-256" || hash === "SHA-512-256" ? { hash, session } : undefined;
}

function isTrue(value: string | undefined): boolean {
  return value?.toLowerCase() === "true";
}

function quotedString(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

// Escapes everything but attr-char, more than encodeURIComponent does [rfc8187 3.2.1].
function extended(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    text += /[A-Za-z0-9!#$&+.^_`|~-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

function binary(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

// Joins the parts by colons, as the RFC concatenates the values that it hashes.
function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length + 1, -1));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
    if (at < bytes.length) bytes[at++] = 0x3a;
  }
  return bytes;
}
