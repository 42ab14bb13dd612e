/**
 * One value for several mechanisms: the strongest that the server offers is used.
 *
 * @module
 */

import { checkOptions, type OptionKinds } from "../base/options.ts";
import { type BearerOptions, oauthbearer, type Token, xoauth2 } from "./bearer.ts";
import type { SaslMechanism } from "./mechanism.ts";
import { plain } from "./client.ts";
import { scram, type ScramOptions } from "./scram.ts";
import type { ScramHash } from "./scram_keys.ts";

/** Options of {@linkcode credentials}. */
export interface CredentialsOptions extends Pick<ScramOptions, "authorizationId" | "minIterations" | "maxIterations"> {
  /** The weakest mechanism to use. Default: `"PLAIN"`. */
  floor?: `SCRAM-${ScramHash}` | "PLAIN" | undefined;
  /**
   * Permits PLAIN where others can read the password on the way, or strip stronger mechanisms from the server's offer.
   * Default: false, so that over `ws:` and `amqp:` to another host nothing below SCRAM is used.
   */
  allowCleartext?: boolean | undefined;
}

const CREDENTIALS_KINDS: OptionKinds<CredentialsOptions> = {
  floor: "string",
  allowCleartext: "boolean",
  authorizationId: "string",
  minIterations: "number",
  maxIterations: "number",
};

/**
 * Authenticates by the strongest of SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1 and PLAIN that the server offers.
 *
 * The order is fixed, whatever order the server lists. PLAIN, which shows the password to the server, is used only over TLS and
 * on this machine.
 *
 * @throws {RangeError} If a part is empty or holds characters that SASLprep does not allow, or there is no such floor.
 * @throws {TypeError} If a part is no string, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { credentials } from "@webamqp/amqp/sasl";
 *
 * async function main() {
 *   const auth = credentials("user", "pencil", { floor: "SCRAM-SHA-256" });
 *   await using connection = await connect("wss://broker.example/amqp", { auth });
 *   await connection.sender("orders").send({ body: "one coffee" });
 * }
 * ```
 */
export function credentials(username: string, password: string, options: CredentialsOptions = {}): SaslMechanism[] {
  checkOptions("use credentials", options, CREDENTIALS_KINDS);
  const { floor = "PLAIN", allowCleartext = false, authorizationId, ...iterations } = options;
  const mechanisms = [
    ...(["SHA-512", "SHA-256", "SHA-1"] as const).map((hash) =>
      scram(username, password, { ...iterations, authorizationId, hash })
    ),
    plain(username, password, { authorizationId, allowCleartext }),
  ];
  const weakest = mechanisms.findIndex(({ name }) => name === floor);
  if (weakest < 0) {
    throw new RangeError(`Cannot use credentials: floor is none of ${mechanisms.map(({ name }) => name).join(", ")}`);
  }
  return mechanisms.slice(0, weakest + 1);
}

/**
 * Authenticates with a bearer token, by OAUTHBEARER or else XOAUTH2, whichever the server offers.
 *
 * @throws {RangeError} If the user name holds a control character, or a token that is a string is not printable ASCII.
 * @throws {TypeError} If the token is neither a string nor a function, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { bearer } from "@webamqp/amqp/sasl";
 *
 * async function main(freshToken: () => Promise<string>) {
 *   await using connection = await connect("wss://broker.example/amqp", { auth: bearer(freshToken) });
 *   await connection.sender("orders").send({ body: "one coffee" });
 * }
 * ```
 */
export function bearer(token: Token, options: BearerOptions = {}): SaslMechanism[] {
  return [oauthbearer(token, options), xoauth2(token, options)];
}
