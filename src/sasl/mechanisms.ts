/**
 * SASL mechanisms of the client.
 *
 * @module
 */

/** How a client authenticates; made by {@linkcode anonymous}, {@linkcode plain}, {@linkcode external}. */
export interface SaslMechanism {
  /** The mechanism's registered name. */
  readonly name: string;
  /** True if someone who reads along learns the secret; such a mechanism is used over TLS or on this machine only. */
  readonly needsPrivacy: boolean;
  /** The response that goes out with the choice of the mechanism; undefined for none, which differs from empty. */
  start(): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Answers a challenge. Absent when the mechanism has none. */
  respond?(challenge: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/**
 * No identity [rfc4505].
 *
 * @example
 * ```ts
 * import { anonymous } from "@webamqp/amqp";
 *
 * console.assert(anonymous().name === "ANONYMOUS");
 * ```
 */
export function anonymous(trace = ""): SaslMechanism {
  if (trace.length > 255 || trace.includes("\0")) {
    throw new RangeError("Cannot use trace of ANONYMOUS: it is longer than 255 characters or holds NUL");
  }
  return { name: "ANONYMOUS", needsPrivacy: false, start: () => new TextEncoder().encode(trace) };
}

/**
 * User name and password [rfc4616].
 *
 * They travel in clear inside the connection, so over `ws:` they are refused unless the host is this machine;
 * `allowCleartext` lifts that.
 *
 * @throws {RangeError} If either holds a NUL, or the user name is empty.
 *
 * @example
 * ```ts
 * import { plain } from "@webamqp/amqp";
 *
 * console.assert(plain("user", "secret").name === "PLAIN");
 * ```
 */
export function plain(
  username: string,
  password: string,
  options: { authorizationId?: string; allowCleartext?: boolean } = {},
): SaslMechanism {
  const authorizationId = options.authorizationId ?? "";
  if (username === "" || `${authorizationId}${username}${password}`.includes("\0")) {
    throw new RangeError("Cannot use PLAIN: user name is empty, or a part holds NUL");
  }
  return {
    name: "PLAIN",
    needsPrivacy: options.allowCleartext !== true,
    start: () => new TextEncoder().encode(`${authorizationId}\0${username}\0${password}`),
  };
}

/**
 * The identity of the layer below, such as a TLS client certificate [rfc4422 A].
 *
 * @example
 * ```ts
 * import { external } from "@webamqp/amqp";
 *
 * console.assert(external().name === "EXTERNAL");
 * ```
 */
export function external(authorizationId = ""): SaslMechanism {
  return { name: "EXTERNAL", needsPrivacy: false, start: () => new TextEncoder().encode(authorizationId) };
}
