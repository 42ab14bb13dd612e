/**
 * The server's part in a SASL exchange: it runs the mechanism that the client has chosen.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import type { SaslServerExchange, SaslServerMechanism } from "./mechanism.ts";

/** One exchange with one client. */
export class SaslServer<Peer> {
  /** The accepted client's identity; undefined for an anonymous client. */
  identity: string | undefined;
  /** The error of a mechanism that threw, which the client sees as the outcome `sys-temp`. */
  error: AmqpError | undefined;

  readonly #mechanisms: readonly SaslServerMechanism<Peer>[];
  readonly #peer: Peer;
  #exchange: SaslServerExchange | undefined;

  /** Starts an exchange that offers these mechanisms to a client; `peer` is the carrier's description of it. */
  constructor(mechanisms: readonly SaslServerMechanism<Peer>[], peer: Peer) {
    this.#mechanisms = mechanisms;
    this.#peer = peer;
  }

  /** Takes a frame of the client, and resolves with the answer, a challenge or the outcome; undefined where there is none. */
  async handle(frame: SaslFrameBody): Promise<SaslFrameBody | undefined> {
    try {
      if (frame.kind === "saslResponse") return this.#take(await this.#exchange!.next(frame.response));
      if (frame.kind !== "saslInit") return undefined;
      const mechanism = this.#mechanisms.find(({ name }) => name === frame.mechanism);
      if (mechanism === undefined) return { kind: "saslOutcome", code: "auth" };
      this.#exchange = mechanism.exchange(frame.initialResponse, this.#peer);
      // A generator drops the value of its first `next`.
      return this.#take(await this.#exchange.next(new Uint8Array(0)));
    } catch (cause) {
      this.error = new AmqpError(condition.internalError, "Cannot authenticate client: internal error", { cause });
      return { kind: "saslOutcome", code: "sys-temp" };
    }
  }

  #take({ done, value }: Awaited<ReturnType<SaslServerExchange["next"]>>): SaslFrameBody {
    if (done !== true) return { kind: "saslChallenge", challenge: value };
    // One reply for an unknown user and a wrong password.
    if (value === undefined) return { kind: "saslOutcome", code: "auth" };
    this.identity = value.identity;
    return { kind: "saslOutcome", code: "ok", additionalData: value.additionalData };
  }
}
