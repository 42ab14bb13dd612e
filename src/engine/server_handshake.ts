/**
 * The server's part before AMQP: protocol headers and SASL.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type FrameDecoder, protocolHeader } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Handshake } from "./handshake.ts";

/** Bytes that a client may send ahead by default while its credentials are verified: an open and some hundred links. */
export const MAX_PIPELINED_BYTES = 65_536;

/** A server's offer of SASL. */
export interface SaslOffer {
  /** The mechanisms, in order of preference. */
  mechanisms: string[];
  /** Whether clients must use SASL. */
  required: boolean;
}

/** Answers the client's headers and SASL frames. */
export class ServerHandshake extends Handshake {
  override readonly client = false;
  readonly #offer: SaslOffer | undefined;
  readonly #maxPipelinedBytes: number;

  /**
   * Waits for the client's header; without an offer there is no SASL. `maxPipelinedBytes` bounds the bytes that the client may
   * send ahead while its credentials are verified.
   *
   * @throws {RangeError} If the offer has no mechanisms.
   */
  constructor(offer?: SaslOffer, maxPipelinedBytes: number = MAX_PIPELINED_BYTES) {
    super(offer !== undefined);
    if (offer?.mechanisms.length === 0) throw new RangeError("Cannot offer SASL: there are no mechanisms");
    this.#offer = offer;
    this.#maxPipelinedBytes = maxPipelinedBytes;
  }

  /** True while the caller verifies the client's credentials. */
  override waiting(buffered: number): boolean {
    if (this.state !== "init") return false;
    if (buffered <= this.#maxPipelinedBytes) return true;
    throw new AmqpError(condition.resourceLimitExceeded, "Cannot authenticate: too much was sent ahead");
  }

  override receiveHeader(decoder: FrameDecoder): number | undefined {
    let id: number | undefined;
    try {
      id = super.receiveHeader(decoder);
    } catch (error) {
      // The header that we would have accepted tells the peer what to try [transport 2.2].
      this.out.append(protocolHeader(this.holding ? 3 : 0));
      throw error;
    }
    if (id === 0) this.state = "done";
    if (id === 3) {
      this.out.append(protocolHeader(3));
      this.send({ kind: "saslMechanisms", saslServerMechanisms: this.#offer!.mechanisms });
    }
    return id;
  }

  override send(body: SaslFrameBody): AmqpError | undefined {
    super.send(body);
    if (body.kind !== "saslOutcome") return undefined;
    if (body.code === "ok") {
      // Headers are exchanged again [security 5.2].
      this.expects = "header";
      return undefined;
    }
    const symbol = body.code === "auth" ? condition.unauthorizedAccess : condition.internalError;
    return new AmqpError(symbol, `Cannot authenticate client: outcome is "${body.code}"`);
  }

  protected override takes(id: number): boolean {
    return super.takes(id) || (id === 0 && this.#offer?.required === false);
  }
}
