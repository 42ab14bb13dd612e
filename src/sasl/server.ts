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
  /** Who the client is, once it was let in; undefined for nobody in particular. */
  identity: string | undefined;
  /** What the mechanism threw, where the outcome is that this side broke down. */
  error: AmqpError | undefined;

  readonly #mechanisms: readonly SaslServerMechanism<Peer>[];
  readonly #peer: Peer;
  #exchange: SaslServerExchange | undefined;

  /** Starts an exchange in which these mechanisms are offered, with a client of whom the carrier knows this much. */
  constructor(mechanisms: readonly SaslServerMechanism<Peer>[], peer: Peer) {
    this.#mechanisms = mechanisms;
    this.#peer = peer;
  }

  /** Takes a frame of the client, and gives the answer to it: a challenge or the outcome; undefined where there is none. */
  async handle(frame: SaslFrameBody): Promise<SaslFrameBody | undefined> {
    try {
      if (frame.kind === "saslResponse") return this.#take(await this.#exchange!.next(frame.response));
      if (frame.kind !== "saslInit") return undefined;
      const mechanism = this.#mechanisms.find(({ name }) => name === frame.mechanism);
      if (mechanism === undefined) return { kind: "saslOutcome", code: "auth" };
      this.#exchange = mechanism.exchange(frame.initialResponse, this.#peer);
      // A generator that starts takes no value.
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
