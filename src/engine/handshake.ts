/**
 * The exchange before AMQP: protocol headers, and SASL where it is wanted [transport 2.2, security 5].
 *
 * This file holds the part of both sides and the client's, `server_handshake.ts` the server's.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { isBytes } from "../base/kinds.ts";
import { quote } from "../base/text.ts";
import { encodeComposite } from "../codec/composite.ts";
import { beginFrame, endFrame, type Frame, type FrameDecoder, protocolHeader } from "../codec/frame.ts";
import { decodeUtf8 } from "../codec/primitives.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { FrameTrace } from "./events.ts";
import { type SaslState, saslTransitions } from "./states.ts";

/** Most challenges in one exchange. Mechanisms need a few, so this is no option: a peer that sends more comes to no end. */
const MAX_SASL_CHALLENGES = 16;

/** One side's part of a connection before AMQP. */
export abstract class Handshake {
  /** True for the side that speaks first. */
  abstract readonly client: boolean;
  /** The kind of the peer's next bytes. */
  expects: "header" | "saslFrame" | "amqpFrame" = "header";
  readonly out: Writer = new Writer(512);
  /** Called with each SASL frame, without its secrets; set by the connection. */
  trace: ((frame: FrameTrace) => void) | undefined;
  /** State of the SASL exchange; `"done"` from the start without SASL. */
  protected state: SaslState;
  #challenges = 0;

  constructor(sasl: boolean) {
    this.state = sasl ? "start" : "done";
  }

  /** True while AMQP must not be sent yet. */
  get holding(): boolean {
    return this.state !== "done";
  }

  /** Notes that the mechanism accepts the outcome. */
  confirm(): void {}

  /** True while bytes that arrived must wait. */
  waiting(_buffered: number): boolean {
    return false;
  }

  /**
   * Takes the peer's header, and returns its protocol id; undefined when it has not arrived yet.
   *
   * @throws {AmqpError} If we do not speak that protocol or version; the message names it.
   */
  receiveHeader(decoder: FrameDecoder): number | undefined {
    const header = decoder.header();
    if (header === undefined) return undefined;
    const { id, major, minor, revision } = header;
    if (major !== 1 || minor !== 0 || revision !== 0 || !this.takes(id)) {
      throw new AmqpError(
        condition.framingError,
        `Cannot agree on protocol: peer's header is AMQP ${id} ${major} ${minor} ${revision}${this.#why(id, major)}`,
      );
    }
    this.expects = id === 0 ? "amqpFrame" : "saslFrame";
    return id;
  }

  /**
   * Takes a SASL frame.
   *
   * @throws {AmqpError} If the frame is none of SASL, is out of turn, or reports that authentication failed.
   */
  receive({ type, body }: Frame): SaslFrameBody {
    if (type !== 1 || body === undefined) {
      throw new AmqpError(condition.framingError, "Cannot authenticate: frame is none of SASL");
    }
    const sasl = body as SaslFrameBody;
    this.#traceFrame("in", sasl);
    this.state = this.#next(sasl.kind, !this.client);
    return sasl;
  }

  /**
   * Writes a SASL frame, and returns the error that ends the connection because of it, if any.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the frame is out of turn.
   */
  send(body: SaslFrameBody): AmqpError | undefined {
    const next = this.#next(body.kind, this.client);
    const start = beginFrame(this.out, 1, 0);
    try {
      encodeComposite(this.out, body);
    } catch (error) {
      this.out.truncate(start);
      throw error;
    }
    endFrame(this.out, start);
    this.state = next;
    this.#traceFrame("out", body);
    return undefined;
  }

  /** Whether this side speaks the protocol `id` now. */
  protected takes(id: number): boolean {
    return id === (this.state === "done" ? 0 : 3);
  }

  #why(id: number, major: number): string {
    if (major === 0) return ", it speaks AMQP 0-9-1 and not 1.0";
    // What a client may do about each protocol id [transport 2.2].
    return this.client && [", give auth: null", "", ', it asks for TLS, "amqps:" is meant', ", give auth"][id] || "";
  }

  #traceFrame(direction: "in" | "out", body: SaslFrameBody): void {
    this.trace?.({ direction, channel: 0, body: withoutSaslSecrets(body), payloadBytes: 0 });
  }

  #next(kind: SaslFrameBody["kind"], byClient: boolean): SaslState {
    const ofClient = kind === "saslInit" || kind === "saslResponse";
    const next = ofClient === byClient ? saslTransitions[this.state][kind] : undefined;
    if (next === undefined) {
      const who = this.client ? "client" : "server";
      throw new AmqpError(condition.illegalState, `Cannot take ${kind} as SASL ${who}: state is ${this.state}`);
    }
    if (kind === "saslChallenge" && ++this.#challenges > MAX_SASL_CHALLENGES) {
      throw new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot authenticate: over ${MAX_SASL_CHALLENGES} challenges`,
      );
    }
    return next;
  }
}

/** A SASL frame that may be shown: its binaries, which are credentials and proofs, are empty. */
export function withoutSaslSecrets(body: SaslFrameBody): SaslFrameBody {
  const shown = Object.entries(body).map((
    [key, value],
  ) => [key, isBytes(value) ? new Uint8Array(0) : value]);
  return Object.fromEntries(shown);
}

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
  // Why the server refuses a token, which it says in JSON before the outcome [rfc7628 3.2.2].
  #reason = "";

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
    if (body.kind === "saslChallenge" && body.challenge[0] === 0x7b) {
      this.#reason = `, server says ${quote(decodeUtf8(body.challenge) ?? "", 200)}`;
    }
    if (body.kind !== "saslOutcome") return body;
    if (body.code !== "ok") {
      throw new AmqpError(
        // Other codes report a failure of the server, not wrong credentials [security 5.3.3.6].
        body.code === "auth" ? condition.unauthorizedAccess : condition.internalError,
        `Cannot authenticate with ${this.#mechanism}: ${
          REFUSALS[body.code]
        }, SASL outcome is "${body.code}"${this.#reason}`,
        // Only this code says that the same credentials may succeed later.
        { remote: true, retryable: body.code === "sys-temp" },
      );
    }
    // Headers are exchanged again [security 5.2].
    this.expects = "header";
    return body;
  }
}
