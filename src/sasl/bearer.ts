/**
 * OAuth 2.0 tokens: OAUTHBEARER [rfc7628] and the older XOAUTH2, on both sides.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { checkOptions, checkText } from "../base/options.ts";
import { quote, utf8 } from "../base/text.ts";
import { decodeUtf8 } from "../codec/primitives.ts";
import type { SaslExchange, SaslMechanism, SaslServerExchange, SaslServerMechanism } from "./mechanism.ts";

/** A token, or a function that returns one; it is called on every attempt to connect, so that it can return a fresh token. */
export type Token = string | (() => string | Promise<string>);

/** Options of {@linkcode oauthbearer} and {@linkcode xoauth2}. */
export interface BearerOptions {
  /** The user that the token is for. Default: none for OAUTHBEARER, empty for XOAUTH2. */
  username?: string | undefined;
  /** Sends the token also where others can read it on the way. Default: false. */
  allowCleartext?: boolean | undefined;
}

/**
 * Authenticates with a bearer token by OAUTHBEARER [rfc7628].
 *
 * @throws {RangeError} If the user name holds a control character, or a token that is a string is not printable ASCII without blanks.
 * @throws {TypeError} If the token is neither a string nor a function, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { oauthbearer } from "@webamqp/amqp/sasl";
 *
 * console.assert(oauthbearer(() => Promise.resolve("a token")).needsPrivacy);
 * ```
 */
export function oauthbearer(token: Token, options: BearerOptions = {}): SaslMechanism {
  check("OAUTHBEARER", token, options);
  const user = options.username?.replaceAll("=", "=3D").replaceAll(",", "=2C");
  return mechanism("OAUTHBEARER", token, options, (secret, { hostname, port }) => {
    const host = hostname === undefined ? "" : `host=${hostname}\x01`;
    const at = port === undefined ? "" : `port=${port}\x01`;
    return `n,${user === undefined ? "" : `a=${user}`},\x01${host}${at}auth=Bearer ${secret}\x01\x01`;
  });
}

/**
 * Authenticates with a bearer token by XOAUTH2.
 *
 * @throws {RangeError} If the user name holds a control character, or a token that is a string is not printable ASCII without blanks.
 * @throws {TypeError} If the token is neither a string nor a function, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { xoauth2 } from "@webamqp/amqp/sasl";
 *
 * console.assert(xoauth2("a-token", { username: "user" }).name === "XOAUTH2");
 * ```
 */
export function xoauth2(token: Token, options: BearerOptions = {}): SaslMechanism {
  check("XOAUTH2", token, options);
  const { username = "" } = options;
  return mechanism("XOAUTH2", token, options, (secret) => `user=${username}\x01auth=Bearer ${secret}\x01\x01`);
}

/** Returns the identity of a token, or undefined to refuse it; `username` is the one that the client claims, if any. */
export type VerifyToken = (
  token: string,
  username: string | undefined,
) => string | undefined | Promise<string | undefined>;

/**
 * Accepts clients whose token `verify` accepts, by OAUTHBEARER.
 *
 * @example
 * ```ts
 * import { oauthbearerServer } from "@webamqp/amqp/sasl";
 *
 * const tokens = new Map([["a token", "ada"]]);
 * console.assert(oauthbearerServer((token) => tokens.get(token)).name === "OAUTHBEARER");
 * ```
 */
export function oauthbearerServer(verify: VerifyToken): SaslServerMechanism {
  return {
    name: "OAUTHBEARER",
    exchange: (initialResponse) => serverExchange(initialResponse, verify, /^[ny],(?:a=([^,]*))?,$/),
  };
}

/**
 * Accepts clients whose token `verify` accepts, by XOAUTH2.
 *
 * @example
 * ```ts
 * import { xoauth2Server } from "@webamqp/amqp/sasl";
 *
 * const tokens = new Map([["a token", "ada"]]);
 * console.assert(xoauth2Server((token) => tokens.get(token)).name === "XOAUTH2");
 * ```
 */
export function xoauth2Server(verify: VerifyToken): SaslServerMechanism {
  return {
    name: "XOAUTH2",
    exchange: (initialResponse) => serverExchange(initialResponse, verify, /^user=(.*)$/),
  };
}

function check(name: string, token: Token, options: BearerOptions): void {
  checkOptions(`use ${name}`, options, { username: "string", allowCleartext: "boolean" });
  if (typeof token !== "function") {
    checkText(`use ${name}`, "token", token);
    if (!isToken(token)) throw new RangeError(`Cannot use ${name}: token is not printable ASCII without blanks`);
  }
  if (/\p{Cc}/u.test(options.username ?? "")) {
    throw new RangeError(`Cannot use ${name}: user name holds a control character`);
  }
}

function isToken(token: unknown): token is string {
  return typeof token === "string" && /^[\x21-\x7e]+$/.test(token);
}

function mechanism(
  name: string,
  token: Token,
  options: BearerOptions,
  format: (secret: string, target: Parameters<SaslMechanism["exchange"]>[0]) => string,
): SaslMechanism {
  return {
    name,
    needsPrivacy: options.allowCleartext !== true,
    renews: typeof token === "function",
    async *exchange(target): SaslExchange {
      const secret = typeof token === "function" ? await token() : token;
      if (!isToken(secret)) throw new TypeError(`Cannot use ${name}: token is not printable ASCII without blanks`);
      const said = yield utf8(format(secret, target));
      if (said === undefined || said.length === 0) return;
      // A refusal comes as a challenge with the reason; the answer lets the server send its outcome [rfc7628 3.2.3].
      const after = yield name === "XOAUTH2" ? new Uint8Array(0) : Uint8Array.of(1);
      const why = `Cannot authenticate with ${name}: server says ${quote(decodeUtf8(said) ?? "", 200)}`;
      if (after === undefined) throw new AmqpError(condition.unauthorizedAccess, why);
    },
  };
}

async function* serverExchange(
  initialResponse: Uint8Array | undefined,
  verify: VerifyToken,
  header: RegExp,
): SaslServerExchange {
  const [head, ...fields] = decodeUtf8(initialResponse ?? (yield new Uint8Array(0)))?.split("\x01") ?? [""];
  const start = header.exec(head!);
  const token = fields.map((field) => /^auth=Bearer +([\x21-\x7e]+)$/i.exec(field)?.[1]).find((found) =>
    found !== undefined
  );
  const whole = fields.length > 2 && fields.slice(-2).join("") === "";
  const username = start?.[1]?.replaceAll("=2C", ",").replaceAll("=3D", "=");
  if (start !== null && token !== undefined && whole) {
    const identity = await verify(token, username === "" ? undefined : username);
    // An empty string or null is no identity, and refuses the client.
    if (typeof identity === "string" && identity !== "") return { identity };
  }
  // The client gets the reason in the mechanism's own format, and then the outcome of SASL.
  yield utf8(JSON.stringify({ status: "invalid_token", schemes: "bearer" }));
  return undefined;
}
