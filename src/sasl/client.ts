/**
 * The client's part in a SASL exchange: it picks a mechanism, answers challenges, and takes the outcome. Here are also the
 * mechanisms that every client may need: ANONYMOUS, PLAIN, EXTERNAL.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { checkOptions, checkText, describeKind } from "../base/options.ts";
import { quote, utf8 } from "../base/text.ts";
import { follow } from "../base/wait.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import type { SaslAuth, SaslExchange, SaslMechanism, SaslTarget } from "./mechanism.ts";

type Step = IteratorResult<Uint8Array | undefined, void>;

/** One exchange, from the choice of a mechanism to the outcome. */
export class SaslClient {
  readonly #mechanisms: readonly SaslMechanism[];
  readonly #target: SaslTarget;
  #mechanism: SaslMechanism | undefined;
  #exchange: SaslExchange | undefined;
  #done = false;

  /**
   * Takes the client's mechanisms, in order of preference, and the target.
   *
   * @throws {TypeError} If an entry is no mechanism.
   * @throws {AmqpError} If each mechanism would expose its secret on the way.
   */
  constructor(auth: SaslAuth, target: SaslTarget) {
    const mechanisms = [auth].flat() as SaslMechanism[];
    const wrong = mechanisms.findIndex((mechanism) => typeof mechanism?.exchange !== "function");
    if (wrong >= 0 || mechanisms.length === 0) {
      const given = describeKind(mechanisms[wrong]);
      throw new TypeError(`Cannot connect: option "auth" is ${given}, not a mechanism such as plain(user, password)`);
    }
    this.#mechanisms = mechanisms.filter((mechanism) => target.secure || !mechanism.needsPrivacy);
    this.#target = target;
    if (this.#mechanisms.length === 0) {
      throw refusal(
        namesOf(mechanisms),
        "anyone on the way can read the secret, use wss: or amqps:, or SCRAM, or allowCleartext",
      );
    }
  }

  /** The names of the usable mechanisms, for errors. */
  get names(): string {
    return namesOf(this.#mechanisms);
  }

  /**
   * Begins with the first mechanism before the server has offered any; the others are not tried.
   *
   * @throws {unknown} The error that the mechanism throws.
   */
  async begin(): Promise<SaslFrameBody> {
    return await this.#begin(this.#mechanisms[0]!);
  }

  /**
   * Takes a frame of the server, and gives the answer, undefined where there is none: a promise only where the mechanism has
   * to wait, as a turn for each step would delay every new connection.
   *
   * @throws {AmqpError} If the server offers no usable mechanism, or reports success before the mechanism has ended.
   */
  handle(frame: SaslFrameBody): SaslFrameBody | undefined | Promise<SaslFrameBody | undefined> {
    switch (frame.kind) {
      case "saslMechanisms": {
        // Begun already; a server without the mechanism says so with its outcome.
        if (this.#exchange !== undefined) return undefined;
        const offered = frame.saslServerMechanisms;
        // The client's order counts: an attacker may have changed the server's.
        const mechanism = this.#mechanisms.find(({ name }) => offered.includes(name));
        if (mechanism === undefined) {
          throw refusal(this.names, `server offers ${quote(offered.join(", "), 200)}, use one of these as "auth"`);
        }
        return this.#begin(mechanism);
      }
      case "saslChallenge": {
        if (this.#done) {
          throw refusal(this.#mechanism!.name, "server sent a challenge, which the mechanism has none of");
        }
        // A proof of the server in a challenge is acknowledged with an empty response [rfc5802 5, rfc4422 3.5].
        return follow(this.#next(frame.challenge), (response) => {
          return { kind: "saslResponse", response: response ?? new Uint8Array(0) };
        });
      }
      case "saslOutcome":
        if (frame.code !== "ok" || this.#done) return undefined;
        return follow(this.#next(frame.additionalData), () => {
          if (this.#done) return undefined;
          throw refusal(this.#mechanism!.name, "server said yes before the mechanism had come to its end");
        });
    }
    return undefined;
  }

  #begin(mechanism: SaslMechanism): SaslFrameBody | Promise<SaslFrameBody> {
    this.#mechanism = mechanism;
    this.#exchange = mechanism.exchange(this.#target);
    return follow(this.#next(undefined), (initialResponse) => {
      return { kind: "saslInit", mechanism: mechanism.name, initialResponse, hostname: this.#target.hostname };
    });
  }

  #next(said: Uint8Array | undefined): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const step: Step | Promise<Step> = this.#exchange!.next(said);
    return follow(step, ({ done, value }) => {
      this.#done = done === true;
      return value as Uint8Array | undefined;
    });
  }
}

function namesOf(mechanisms: readonly SaslMechanism[]): string {
  return mechanisms.map(({ name }) => name).join(", ");
}

function refusal(name: string, why: string): AmqpError {
  return new AmqpError(condition.unauthorizedAccess, `Cannot authenticate with ${name}: ${why}`);
}

/**
 * Authenticates as nobody in particular [rfc4505].
 *
 * `trace` tells the server's operator something about the client, such as a mail address; the server does not verify it.
 *
 * @throws {RangeError} If `trace` is no string, longer than 255 characters or holds a NUL.
 *
 * @example
 * ```ts
 * import { anonymous } from "@webamqp/amqp";
 *
 * console.assert(anonymous().name === "ANONYMOUS");
 * ```
 */
export function anonymous(trace = ""): SaslMechanism {
  if (typeof trace !== "string" || trace.length > 255 || trace.includes("\0")) {
    throw new RangeError("Cannot use trace of ANONYMOUS: it is no string, longer than 255 characters or holds NUL");
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
