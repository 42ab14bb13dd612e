/**
 * The client's part before AMQP: protocol headers and SASL.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type Frame, type FrameDecoder, protocolHeader } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Handshake } from "./handshake.ts";

// Room for a header, an open and some answers that the server sends while its proof is verified.
const MAX_UNCONFIRMED_BYTES = 65_536;

// Meanings of the outcome codes [security 5.3.3.6].
const REFUSALS = {
  auth: "server refuses the credentials",
  sys: "server failed over it",
  "sys-perm": "server failed over it for good",
  "sys-temp": "server failed over it for now, try again",
};

/** Speaks first: with the header of SASL if that is wanted, otherwise with that of AMQP. */
export class ClientHandshake extends Handshake {
  override readonly client = true;
  readonly #pipelined: boolean;
  #unconfirmed: boolean;
  #mechanism = "SASL";

  /**
   * With SASL the header is ready to be sent; `"pipelined"` sends AMQP without waiting for the outcome. With `confirms` an
   * outcome `"ok"` counts only after {@linkcode confirm}, as the mechanism may verify it.
   */
  constructor(sasl: boolean | "pipelined" = false, confirms = false) {
    super(sasl !== false);
    this.#pipelined = sasl === "pipelined";
    this.#unconfirmed = confirms && sasl !== false;
    if (sasl) this.out.append(protocolHeader(3));
  }

  override get holding(): boolean {
    return !this.#pipelined && (this.#unconfirmed || super.holding);
  }

  override confirm(): void {
    this.#unconfirmed = false;
  }

  override receiveHeader(decoder: FrameDecoder): number | undefined {
    if (this.state === "done" && this.#unconfirmed) {
      if (decoder.buffered <= MAX_UNCONFIRMED_BYTES) return undefined;
      throw new AmqpError(condition.resourceLimitExceeded, "Cannot authenticate: server sent too much ahead");
    }
    return super.receiveHeader(decoder);
  }

  override send(body: SaslFrameBody): AmqpError | undefined {
    if (body.kind === "saslInit") this.#mechanism = body.mechanism;
    return super.send(body);
  }

  override receive(frame: Frame): SaslFrameBody {
    const body = super.receive(frame);
    if (body.kind !== "saslOutcome") return body;
    if (body.code !== "ok") {
      throw new AmqpError(
        // Other codes report a failure of the server, not wrong credentials [security 5.3.3.6].
        body.code === "auth" ? condition.unauthorizedAccess : condition.internalError,
        `Cannot authenticate with ${this.#mechanism}: ${REFUSALS[body.code]}, SASL outcome is "${body.code}"`,
        // Only this code says that the same credentials may succeed later.
        { remote: true, retryable: body.code === "sys-temp" },
      );
    }
    // Headers are exchanged again [security 5.2].
    this.expects = "header";
    return body;
  }
}
