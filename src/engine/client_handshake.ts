/**
 * The client's part in what comes before AMQP.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type Frame, protocolHeader } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Handshake } from "./handshake.ts";

/** Speaks first: with the header of SASL if that is wanted, otherwise with AMQP at once. */
export class ClientHandshake extends Handshake {
  /** Always true. */
  override readonly client = true;
  readonly #pipelined: boolean;

  /** With SASL the header is ready to be sent; `"pipelined"` sends what follows without waiting for the outcome. */
  constructor(sasl: boolean | "pipelined" = false) {
    super(sasl !== false);
    this.#pipelined = sasl === "pipelined";
    if (sasl) this.out.append(protocolHeader(3));
  }

  /** {@inheritDoc Handshake.holding} */
  override get holding(): boolean {
    return !this.#pipelined && super.holding;
  }

  /** {@inheritDoc Handshake.receive} */
  override receive(frame: Frame): SaslFrameBody {
    const body = super.receive(frame);
    if (body.kind !== "saslOutcome") return body;
    if (body.code !== "ok") {
      throw new AmqpError(
        // The others say that the server broke down over the credentials, not that they are wrong [security 5.3.3.6].
        body.code === "auth" ? condition.unauthorizedAccess : condition.internalError,
        `Cannot authenticate: SASL outcome is "${body.code}"`,
        // Only this code says that the same credentials may do later.
        { remote: true, retryable: body.code === "sys-temp" },
      );
    }
    // Headers are exchanged again [security 5.2].
    this.expects = "header";
    return body;
  }
}
