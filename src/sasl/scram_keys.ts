/**
 * The keys of SCRAM: what a password turns into, what a server keeps of it, and how proofs are made of them [rfc5802 3].
 *
 * @module
 */

import { decodeBase64 } from "@std/encoding";
import { checkOptions } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import { saslprep } from "./saslprep.ts";

/** The hash functions of the SCRAM mechanisms. */
export type ScramHash = "SHA-512" | "SHA-256" | "SHA-1";

/** The same, for errors about options. */
export const SCRAM_HASHES = '"SHA-512" or "SHA-256" or "SHA-1"';

/** What a server keeps of a user for SCRAM; it is enough to check a client, not to be one. */
export interface ScramKeys {
  /** The hash function that the keys were made with. */
  readonly hash: ScramHash;
  /** Random bytes that went into the keys. */
  readonly salt: Uint8Array;
  /** How often the hash was taken. */
  readonly iterations: number;
  /** Tells whether a client has the password. */
  readonly storedKey: Uint8Array;
  /** Proves to the client that this server has its keys. */
  readonly serverKey: Uint8Array;
}

/** What keys of SCRAM are made with; each has a default. */
export interface ScramKeysOptions {
  /** The hash function. Default: `"SHA-256"`. */
  hash?: ScramHash | undefined;
  /** How often the hash is taken, at least 4,096; more costs client and server time. Default: 16,384. */
  iterations?: number | undefined;
  /** Random bytes. Default: 16 new ones. */
  salt?: Uint8Array | undefined;
}

/** What one side computes from the password; the client keeps it while salt and iterations stay the same. */
export interface SaltedKeys {
  /** What a client proves to have. */
  readonly clientKey: Uint8Array<ArrayBuffer>;
  /** What a server proves to have. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
}

/** The fewest iterations that both sides take [rfc7677 4]. */
export const MIN_ITERATIONS = 4_096;

/** Iterations of keys that are made here: some milliseconds. */
export const DEFAULT_ITERATIONS = 16_384;

/** Bytes of a salt that is made here. */
export const SALT_LENGTH = 16;

/**
 * Makes the keys that a server keeps of a user instead of the password.
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
  checkOptions("make keys of SCRAM", options, { hash: SCRAM_HASHES, iterations: "number", salt: "object" });
  const { hash = "SHA-256", iterations = DEFAULT_ITERATIONS } = options;
  if (!Number.isSafeInteger(iterations) || iterations < MIN_ITERATIONS) {
    throw new RangeError(`Cannot make keys of SCRAM: ${iterations} iterations are fewer than ${MIN_ITERATIONS}`);
  }
  if (options.salt?.length === 0) throw new RangeError("Cannot make keys of SCRAM: salt is empty");
  const salt = options.salt ?? crypto.getRandomValues(new Uint8Array(SALT_LENGTH));
  const { clientKey, serverKey } = await saltedKeys(hash, saslprep(password, "password"), salt, iterations);
  return { hash, salt, iterations, storedKey: await digest(hash, clientKey), serverKey };
}

/** The keys of a password that is prepared already. */
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

/** The signature of a text. */
export async function hmac(hash: ScramHash, key: Uint8Array, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: "HMAC", hash };
  const imported = await crypto.subtle.importKey("raw", new Uint8Array(key), algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, utf8(text)));
}

/** The bytes of base64; none where it is none. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return decodeBase64(text);
  } catch {
    return new Uint8Array(0);
  }
}

/** Two byte strings of one length, bit by bit exclusive. */
export function xor(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(a, (byte, i) => byte ^ b[i]!);
}

/** Whether two byte strings are the same; time does not tell how many bytes were. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) different |= a[i]! ^ b[i % (b.length || 1)]!;
  return different === 0;
}
