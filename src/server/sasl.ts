/**
 * The accepting side of SASL: ANONYMOUS, PLAIN, EXTERNAL.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { ConnectionEndpoint } from "../engine/connection.ts";
import type { EngineEvent } from "../engine/events.ts";
import type { SaslOffer } from "../engine/server_handshake.ts";
import type { PeerInfo } from "../transport/info.ts";

/** Who may connect, and how they prove it. */
export interface SaslServerOptions {
  /** Lets in those who give no identity. Default: true unless `users` or `external` is given. */
  anonymous?: boolean;
  /** Passwords by user name, or a function that says whether a user name and password belong together. */
  users?: Readonly<Record<string, string>> | ((username: string, password: string) => boolean | Promise<boolean>);
  /**
   * Gives the identity that the layer below has proved, or undefined to refuse. It gets the identity that the client asks to
   * act as, empty for its own, and what the carrier knows, such as a TLS client certificate.
   */
  external?: (authorizationId: string, info: PeerInfo) => string | undefined | Promise<string | undefined>;
}

/** What is offered to all clients. */
export function saslOffer(options: SaslServerOptions = {}): SaslOffer {
  const anonymous = options.anonymous ?? (options.users === undefined && options.external === undefined);
  const mechanisms: string[] = [];
  if (options.external !== undefined) mechanisms.push("EXTERNAL");
  if (options.users !== undefined) mechanisms.push("PLAIN");
  if (anonymous) mechanisms.push("ANONYMOUS");
  return { mechanisms, required: !anonymous };
}

/** The exchange of one connection. */
export class SaslServer {
  readonly #options: SaslServerOptions;
  readonly #mechanisms: readonly string[];
  readonly #info: PeerInfo;
  #mechanism = "";

  /** Starts the exchange with a client that is offered these mechanisms, and of whom this much is known. */
  constructor(options: SaslServerOptions, mechanisms: readonly string[], info: PeerInfo = {}) {
    this.#options = options;
    this.#mechanisms = mechanisms;
    this.#info = info;
  }

  /** Answers one frame of the client; `identify` gets who it is. */
  async handle(
    event: EngineEvent,
    endpoint: ConnectionEndpoint,
    identify: (identity: string | undefined) => void,
  ): Promise<void> {
    let response: Uint8Array | undefined;
    if (event.kind === "saslInit") {
      this.#mechanism = event.mechanism;
      response = event.initialResponse;
      if (!this.#mechanisms.includes(event.mechanism)) return endpoint.sasl({ kind: "saslOutcome", code: "auth" });
      // A client may keep its response for an empty challenge [rfc4422 3.3].
      if (response === undefined && event.mechanism !== "ANONYMOUS") {
        return endpoint.sasl({ kind: "saslChallenge", challenge: new Uint8Array(0) });
      }
    } else if (event.kind === "saslResponse") {
      response = event.response;
    } else {
      return;
    }
    let identity: string | undefined;
    try {
      identity = await this.#verify(response ?? new Uint8Array(0));
    } catch (error) {
      endpoint.sasl({ kind: "saslOutcome", code: "sys-temp" });
      throw new AmqpError(condition.internalError, "Cannot authenticate client: internal error", { cause: error });
    }
    // The transport may have ended while the credentials were looked at.
    if (endpoint.finished) return;
    // One reply for an unknown user and a wrong password.
    if (identity === undefined) return endpoint.sasl({ kind: "saslOutcome", code: "auth" });
    identify(identity === "" ? undefined : identity);
    endpoint.sasl({ kind: "saslOutcome", code: "ok" });
  }

  // The identity, empty for nobody in particular, or undefined for a refusal.
  async #verify(response: Uint8Array): Promise<string | undefined> {
    if (this.#mechanism === "ANONYMOUS") return "";
    const text = decode(response);
    if (text === undefined) return undefined;
    if (this.#mechanism === "EXTERNAL") return await this.#options.external?.(text, this.#info);
    const parts = text.split("\0");
    if (parts.length !== 3 || parts[1] === "") return undefined;
    const [authorizationId, username, password] = parts as [string, string, string];
    // Acting as somebody else is not offered.
    if (authorizationId !== "" && authorizationId !== username) return undefined;
    return await this.#check(username, password) ? username : undefined;
  }

  #check(username: string, password: string): boolean | Promise<boolean> {
    const { users } = this.#options;
    if (typeof users === "function") return users(username, password);
    const known = users !== undefined && Object.hasOwn(users, username);
    // The work is the same for a name that is not there.
    const same = equal(password, known ? users[username]! : username);
    return known && same;
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

// Time does not tell how many characters were right.
function equal(given: string, wanted: string): boolean {
  let different = given.length ^ wanted.length;
  for (let i = 0; i < given.length; i++) different |= given.charCodeAt(i) ^ wanted.charCodeAt(i % (wanted.length || 1));
  return different === 0;
}
