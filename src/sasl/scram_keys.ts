/**
 * The keys of SCRAM: derived from a password, kept by a server, and used in proofs [rfc5802 3].
 *
 * @module
 */

import { decodeBase64 } from "@std/encoding";
import { checkOptions } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import { saslprep } from "./saslprep.ts";

/** The hash functions of the SCRAM mechanisms. */
export type ScramHash = "SHA-512" | "SHA-256" | "SHA-1";

/** The option kind of {@linkcode ScramHash}. */
export const SCRAM_HASHES = '"SHA-512" or "SHA-256" or "SHA-1"';

/** A server's keys of a user for SCRAM; they suffice to check a client, not to pose as one. */
export interface ScramKeys {
  /** The hash function that the keys were made with. */
  readonly hash: ScramHash;
  /** The random bytes that went into the keys. */
  readonly salt: Uint8Array;
  /** The iterations of the hash. */
  readonly iterations: number;
  /** Verifies a client's proof. */
  readonly storedKey: Uint8Array;
  /** Proves to the client that this server has its keys. */
  readonly serverKey: Uint8Array;
}

/** Options of {@linkcode scramKeys}. */
export interface ScramKeysOptions {
  /** The hash function. Default: `"SHA-256"`. */
  hash?: ScramHash | undefined;
  /** Iterations of the hash, at least 4,096; more cost client and server time. Default: 16,384. */
  iterations?: number | undefined;
  /** Random bytes that go into the keys. Default: 16 new ones. */
  salt?: Uint8Array | undefined;
}

/** The keys that one side derives from the password; the client keeps them while salt and iterations stay the same. */
export interface SaltedKeys {
  /** The key that a client proves to have. */
  readonly clientKey: Uint8Array<ArrayBuffer>;
  /** The key that a server proves to have. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
}

/** The fewest iterations that both sides accept [rfc7677 4]. */
export const MIN_ITERATIONS = 4_096;

/** Iterations of new keys: some milliseconds. */
export const DEFAULT_ITERATIONS = 16_384;

/** Bytes of a new salt. */
export const SALT_LENGTH = 16;

/**
 * Makes the keys that a server keeps instead of a user's password.
 *
 * @throws {RangeError} If the password is empty or holds characters that SASLprep does not allow, the salt is empty, or there are
 * too few iterations.
 * @throws {TypeError} If the password is no string, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { scramKeys } from "@webamqp/amqp/sasl";
 *
 * const keys = await scramKeys("pencil");
 * console.assert(keys.hash === "SHA-256" && keys.storedKey.length === 32);
 * ```
 */
export async function scramKeys(password: string, options: ScramKeysOptions = {}): Promise<ScramKeys> {
  checkOptions("make keys of SCRAM", options, { hash: SCRAM_HASHES, iterations: "number", salt: "Uint8Array" });
  const { hash = "SHA-256", iterations = DEFAULT_ITERATIONS } = options;
  if (!Number.isSafeInteger(iterations) || iterations < MIN_ITERATIONS) {
    throw new RangeError(`Cannot make keys of SCRAM: ${iterations} iterations are fewer than ${MIN_ITERATIONS}`);
  }
  if (options.salt?.length === 0) throw new RangeError("Cannot make keys of SCRAM: salt is empty");
  const salt = options.salt ?? crypto.getRandomValues(new Uint8Array(SALT_LENGTH));
  const { clientKey, serverKey } = await saltedKeys(hash, saslprep(password, "password"), salt, iterations);
  return { hash, salt, iterations, storedKey: await digest(hash, clientKey), serverKey };
}

/** Derives the keys of a password that SASLprep has prepared. */
export async function saltedKeys(
  hash: ScramHash,
  password: string,
  salt: Uint8Array,
  iterations: number,
): Promise<SaltedKeys> {
  const { subtle } = crypto;
  if (subtle === undefined) {
    throw new TypeError(
      "Cannot authenticate with SCRAM: this page has no WebCrypto, which browsers have over https: only",
    );
  }
  const key = await subtle.importKey("raw", utf8(password), "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash, salt: new Uint8Array(salt), iterations };
  const salted = new Uint8Array(
    await subtle.deriveBits(algorithm, key, hash === "SHA-1" ? 160 : Number(hash.slice(4))),
  );
  return {
    clientKey: await hmac(hash, salted, "Client Key"),
    serverKey: await hmac(hash, salted, "Server Key"),
  };
}

export async function digest(hash: ScramHash, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest(hash, bytes));
}

export async function hmac(hash: ScramHash, key: Uint8Array, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: "HMAC", hash };
  const imported = await crypto.subtle.importKey("raw", new Uint8Array(key), algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, utf8(text)));
}

/** The bytes of a base64 text; none where it is malformed. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return decodeBase64(text);
  } catch {
    return new Uint8Array(0);
  }
}

/** The bitwise exclusive or of two byte strings of one length. */
export function xor(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(a, (byte, i) => byte ^ b[i]!);
}

/** Compares two byte strings, in a time that does not depend on how many bytes are the same. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) different |= a[i]! ^ b[i % (b.length || 1)]!;
  return different === 0;
}
