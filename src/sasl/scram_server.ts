/**
 * The server's side of SCRAM [rfc5802, rfc7677].
 *
 * @module
 */

import { encodeBase64 } from "@std/encoding";
import { randomName } from "../base/environment.ts";
import { checkFunction, checkOptions } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import { decodeUtf8 } from "../codec/primitives.ts";
import type { SaslServerMechanism } from "./mechanism.ts";
import {
  DEFAULT_ITERATIONS,
  digest,
  equalBytes,
  fromBase64,
  hmac,
  SALT_LENGTH,
  type ScramHash,
  type ScramKeys,
  xor,
} from "./scram_keys.ts";

/** Finds a user's keys for a hash function; undefined if the user is unknown or has no such keys. */
export type FindScramKeys = (
  username: string,
  hash: ScramHash,
) => ScramKeys | undefined | Promise<ScramKeys | undefined>;

/** Options of {@linkcode scramServer}. */
export interface ScramServerOptions {
  /**
   * Iterations and salt length in bytes that are shown for unknown users, so that they look like known ones: give those of the
   * known users' keys. Default: 16,384 and 16, as {@linkcode scramKeys} makes them.
   */
  decoy?: { iterations?: number; saltLength?: number } | undefined;
  /** The server's part of the nonce, of printable ASCII without a comma. Default: 128 random bits. */
  nonce?: string | undefined;
}

// A user name in SCRAM has `=2C` for a comma and `=3D` for an equals sign, and neither of the two otherwise.
const CLIENT_FIRST = /^(?:n|y),(?:a=((?:[^,=]|=2C|=3D)+))?,n=((?:[^,=]|=2C|=3D)+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?$/s;
const CLIENT_FINAL = /^(c=([A-Za-z\d+/]+={0,2}),r=([\x21-\x2b\x2d-\x7e]+)(?:,[^,]*)*),p=([A-Za-z\d+/]+={0,2})$/s;

/**
 * Accepts clients that prove to have the password behind the keys that `find` returns; a client may act only as itself.
 *
 * @throws {TypeError} If `find` is no function, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { type ScramKeys, scramServer } from "@webamqp/amqp/sasl";
 *
 * const keys = new Map<string, ScramKeys>();
 * console.assert(scramServer("SHA-256", (user) => keys.get(user)).name === "SCRAM-SHA-256");
 * ```
 */
export function scramServer(
  hash: ScramHash,
  find: FindScramKeys,
  options: ScramServerOptions = {},
): SaslServerMechanism {
  checkOptions("serve SCRAM", options, { decoy: { iterations: "number", saltLength: "number" }, nonce: "string" });
  checkFunction("serve SCRAM", "what finds keys", find);
  const { iterations: decoyIterations = DEFAULT_ITERATIONS, saltLength = SALT_LENGTH } = options.decoy ?? {};
  let secret: string | undefined;

  // An unknown user gets the same salt each time, and takes the same steps as a known one.
  async function decoy(username: string): Promise<ScramKeys> {
    const bytes = await hmac("SHA-512", utf8(secret ??= randomName()), username);
    const [salt, storedKey] = [bytes.subarray(0, saltLength), await digest(hash, bytes)];
    return { hash, salt, iterations: decoyIterations, storedKey, serverKey: storedKey };
  }

  return {
    name: `SCRAM-${hash}`,
    async *exchange(initialResponse) {
      const first = decodeUtf8(initialResponse ?? (yield new Uint8Array(0))) ?? "";
      const parts = CLIENT_FIRST.exec(first);
      if (parts === null) return undefined;
      const [, authorizationId, user, clientNonce] = parts as unknown as [string, string | undefined, string, string];
      const username = unescapeName(user);
      const unknownUser = await decoy(username);
      const found = await find(username, hash);
      const known = found?.hash === hash &&
        (authorizationId === undefined || unescapeName(authorizationId) === username);
      const { salt, iterations, storedKey, serverKey } = known ? found : unknownUser;

      const nonce = `${clientNonce}${options.nonce ?? randomName()}`;
      const serverFirst = `r=${nonce},s=${encodeBase64(salt)},i=${iterations}`;
      const final = CLIENT_FINAL.exec(decodeUtf8(yield utf8(serverFirst)) ?? "");
      if (final === null) return undefined;
      const [, withoutProof, binding, repeated, proof] = final as unknown as [string, string, string, string, string];
      const bare = first.indexOf(",", first.indexOf(",") + 1) + 1;
      const message = `${first.slice(bare)},${serverFirst},${withoutProof}`;
      const given = fromBase64(proof);
      const clientKey = xor(await hmac(hash, storedKey, message), given);
      const proved = equalBytes(await digest(hash, clientKey), storedKey) && given.length === storedKey.length;
      const additionalData = utf8(`v=${encodeBase64(await hmac(hash, serverKey, message))}`);
      const same = repeated === nonce && binding === encodeBase64(first.slice(0, bare));
      return known && proved && same ? { identity: username, additionalData } : undefined;
    },
  };
}

function unescapeName(name: string): string {
  return name.replaceAll("=2C", ",").replaceAll("=3D", "=");
}
