/**
 * The client's side of the mechanisms that every client may need: ANONYMOUS, PLAIN, EXTERNAL.
 *
 * @module
 */

import { checkOptions } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import type { SaslMechanism } from "./mechanism.ts";

/**
 * No identity [rfc4505].
 *
 * `trace` tells the server's operator something about the client, such as a mail address; it proves nothing.
 *
 * @throws {RangeError} If `trace` is longer than 255 characters or holds a NUL.
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
  return single("ANONYMOUS", false, trace);
}

/**
 * User name and password [rfc4616].
 *
 * They travel in clear inside the connection, so over `ws:` and `amqp:` they are refused unless the host is this machine;
 * `allowCleartext` lifts that. `credentials` of `./sasl` uses SCRAM where the server has it, which does not show the password.
 *
 * @throws {RangeError} If a part holds a NUL, or the user name is empty.
 * @throws {TypeError} If a part is no string, or an option does not exist.
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
  checkOptions("use PLAIN", options, { authorizationId: "string", allowCleartext: "boolean" });
  const parts = [options.authorizationId ?? "", username, password];
  // What was not set would else be the text "undefined".
  if (parts.some((part) => typeof part !== "string")) throw new TypeError("Cannot use PLAIN: a part is no string");
  const text = parts.join("\0");
  if (username === "" || text.split("\0").length !== 3) {
    throw new RangeError("Cannot use PLAIN: user name is empty, or a part holds NUL");
  }
  return single("PLAIN", options.allowCleartext !== true, text);
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
  return single("EXTERNAL", false, authorizationId);
}

// Mechanisms that say all they have to say at once; an empty text too, since an absent one costs a round trip.
function single(name: string, needsPrivacy: boolean, text: string): SaslMechanism {
  return {
    name,
    needsPrivacy,
    *exchange() {
      yield utf8(text);
    },
  };
}
