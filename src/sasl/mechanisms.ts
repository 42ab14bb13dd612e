/**
 * The client's side of the mechanisms that every client may need: ANONYMOUS, PLAIN, EXTERNAL.
 *
 * @module
 */

import { checkOptions, checkText } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
import type { SaslMechanism } from "./mechanism.ts";

/**
 * Authenticates as nobody in particular [rfc4505].
 *
 * `trace` tells the server's operator something about the client, such as a mail address; the server does not verify it.
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
 * Authenticates with user name and password [rfc4616].
 *
 * The password travels in clear inside the connection, so PLAIN is refused over `ws:` and `amqp:` unless the host is this
 * machine; `allowCleartext` lifts that. `credentials` of `./sasl` prefers SCRAM, which hides the password.
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
  checkText("use PLAIN", "user name", username);
  checkText("use PLAIN", "password", password);
  const text = [options.authorizationId ?? "", username, password].join("\0");
  if (username === "" || text.split("\0").length !== 3) {
    throw new RangeError("Cannot use PLAIN: user name is empty, or a part holds NUL");
  }
  return single("PLAIN", options.allowCleartext !== true, text);
}

/**
 * Authenticates with the identity of the layer below, such as a TLS client certificate [rfc4422 A].
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

// A mechanism of a single message; an empty one is sent too, since leaving it out costs a round trip.
function single(name: string, needsPrivacy: boolean, text: string): SaslMechanism {
  return {
    name,
    needsPrivacy,
    *exchange() {
      yield utf8(text);
    },
  };
}
