/**
 * The client's side of SCRAM: the client proves that it has the password without sending it, and has the server prove the same
 * [rfc5802, rfc7677].
 *
 * @module
 */

import { encodeBase64 } from "@std/encoding";
import * as condition from "../base/condition.ts";
import { randomName } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { quote, utf8 } from "../base/text.ts";
import { decodeUtf8 } from "../codec/primitives.ts";
import type { SaslMechanism } from "./mechanism.ts";
import { saslprep } from "./saslprep.ts";
import {
  digest,
  equalBytes,
  fromBase64,
  hmac,
  MIN_ITERATIONS,
  type SaltedKeys,
  saltedKeys,
  SCRAM_HASHES,
  type ScramHash,
  xor,
} from "./scram_keys.ts";

/** Most iterations that a client computes by default: about half a second. */
const MAX_ITERATIONS = 1_000_000;

/** Options of {@linkcode scram}. */
export interface ScramOptions {
  /** The hash function. Default: `"SHA-256"`. */
  hash?: ScramHash | undefined;
  /** The identity to act as. Default: the user. */
  authorizationId?: string | undefined;
  /** Fewest iterations that are accepted, as fewer make the password easy to guess. Default: 4,096. */
  minIterations?: number | undefined;
  /** Most iterations that are accepted, as a server may ask for endless work. Default: 1,000,000. */
  maxIterations?: number | undefined;
  /** The client's nonce, of printable ASCII without a comma. Default: 128 random bits. */
  nonce?: string | undefined;
}

const SCRAM_KINDS: OptionKinds<ScramOptions> = {
  hash: SCRAM_HASHES,
  authorizationId: "string",
  minIterations: "number",
  maxIterations: "number",
  nonce: "string",
};

/**
 * Authenticates with user name and password, without sending the password: SCRAM-SHA-256 or one of its relatives.
 *
 * SCRAM may be used over `ws:` and `amqp:`; the connection's messages can then still be read and changed on their way.
 *
 * @throws {RangeError} If a part is empty or holds characters that SASLprep does not allow, or an option is invalid.
 * @throws {TypeError} If a part is no string, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { scram } from "@webamqp/amqp/sasl";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp", { auth: scram("user", "pencil") });
 *   await connection.sender("orders").send({ body: "one coffee" });
 * }
 * ```
 */
export function scram(username: string, password: string, options: ScramOptions = {}): SaslMechanism {
  checkOptions("use SCRAM", options, SCRAM_KINDS);
  const { hash = "SHA-256", minIterations = MIN_ITERATIONS, maxIterations = MAX_ITERATIONS } = options;
  // Written so that NaN is refused too.
  if (!(minIterations >= 1 && maxIterations >= minIterations)) {
    throw new RangeError(
      `Cannot use SCRAM: it takes ${minIterations} to ${maxIterations} iterations, which is no range`,
    );
  }
  if (options.nonce !== undefined && !/^[\x21-\x2b\x2d-\x7e]+$/.test(options.nonce)) {
    throw new RangeError('Cannot use SCRAM: option "nonce" is empty or not printable ASCII without a comma');
  }
  const name = `SCRAM-${hash}`;
  const user = escapeName(saslprep(username, "user name"));
  const secret = saslprep(password, "password");
  const { authorizationId } = options;
  // No channel binding: the carrier does not expose its TLS [rfc5802 6].
  const gs2 = `n,${authorizationId === undefined ? "" : `a=${escapeName(authorizationId)}`},`;
  let kept: { salt: string; iterations: number; keys: Promise<SaltedKeys> } | undefined;

  function keysFor(salt: string, iterations: number): Promise<SaltedKeys> {
    if (kept?.salt !== salt || kept.iterations !== iterations) {
      kept = { salt, iterations, keys: saltedKeys(hash, secret, fromBase64(salt), iterations) };
    }
    return kept.keys;
  }

  function refuse(why: string): AmqpError {
    return new AmqpError(condition.unauthorizedAccess, `Cannot authenticate with ${name}: ${why}`);
  }

  return {
    name,
    needsPrivacy: false,
    async *exchange() {
      const nonce = options.nonce ?? randomName();
      const clientFirst = `n=${user},r=${nonce}`;
      const first = yield utf8(gs2 + clientFirst);
      if (first === undefined) throw refuse("server said yes without a proof");
      const serverFirst = decodeUtf8(first) ?? "";
      // Some servers refuse an unknown user here already.
      if (serverFirst.startsWith("e=")) throw refuse(`server says ${quote(serverFirst.slice(2))}`);
      // Fields after these three are ignored, one before them is refused [rfc5802 5.1].
      const parts = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z\d+/]+={0,2}),i=([1-9]\d{0,9})(,.*)?$/.exec(serverFirst);
      if (parts === null || fromBase64(parts[2]!).length === 0) throw refuse("server's first message is malformed");
      const [, together, salt, count] = parts as unknown as [string, string, string, string];
      if (!together.startsWith(nonce) || together.length === nonce.length) {
        throw refuse("server's nonce does not go on from this side's");
      }
      const iterations = Number(count);
      if (iterations < minIterations || iterations > maxIterations) {
        throw refuse(`server asks for ${iterations} iterations, not ${minIterations} to ${maxIterations}`);
      }

      const { clientKey, serverKey } = await keysFor(salt, iterations);
      const withoutProof = `c=${encodeBase64(gs2)},r=${together}`;
      const message = `${clientFirst},${serverFirst},${withoutProof}`;
      const proof = xor(clientKey, await hmac(hash, await digest(hash, clientKey), message));
      const wanted = await hmac(hash, serverKey, message);
      const final = yield utf8(`${withoutProof},p=${encodeBase64(proof)}`);

      if (final === undefined) throw refuse("server said yes without a proof");
      const serverFinal = decodeUtf8(final) ?? "";
      if (serverFinal.startsWith("e=")) throw refuse(`server says ${quote(serverFinal.slice(2))}`);
      const signature = /^v=([A-Za-z\d+/]+={0,2})(,.*)?$/.exec(serverFinal)?.[1];
      if (signature === undefined || !equalBytes(fromBase64(signature), wanted)) {
        throw refuse("server's proof is wrong, it does not have the password's keys");
      }
    },
  };
}

function escapeName(name: string): string {
  return name.replaceAll("=", "=3D").replaceAll(",", "=2C");
}
