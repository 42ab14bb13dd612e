/**
 * What comes before AMQP: protocol headers, and SASL where it is wanted [transport 2.2, security 5].
 *
 * Here is what both sides do alike; what each does by itself is in `client_handshake.ts` and `server_handshake.ts`.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { encodeComposite } from "../codec/composite.ts";
import { beginFrame, endFrame, type Frame, type FrameDecoder } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { FrameTrace } from "./events.ts";
import { withoutSaslSecrets } from "./events.ts";
import { type SaslState, saslTransitions } from "./states.ts";

/** Challenges in one exchange. Mechanisms have a few, so it is no option: more is a peer that never comes to an end. */
export const MAX_SASL_CHALLENGES = 16;

/** What one side of one connection does before AMQP. */
export abstract class Handshake {
  /** Whether this is the side that speaks first. */
  abstract readonly client: boolean;
  /** What the peer's next bytes are. */
  expects: "header" | "saslFrame" | "amqpFrame" = "header";
  /** What is to be sent. */
  readonly out: Writer = new Writer(512);
  /** Told of the frames of SASL, their secrets left out; set by the connection. */
  trace: ((frame: FrameTrace) => void) | undefined;
  /** Where the SASL exchange stands; done from the start where there is none. */
  protected state: SaslState;
  #challenges = 0;

  /** Starts with SASL or without. */
  constructor(sasl: boolean) {
    this.state = sasl ? "start" : "done";
  }

  /** True while AMQP must not be sent yet. */
  get holding(): boolean {
    return this.state !== "done";
  }

  /** Says that the mechanism takes the outcome for good. */
  confirm(): void {}

  /** True while what has arrived must wait. */
  waiting(_buffered: number): boolean {
    return false;
  }

  /**
   * Takes the peer's header, and tells its protocol; undefined when it has not arrived yet.
   *
   * @throws {AmqpError} If it is not one that we can go on with; it tells which it was.
   */
  receiveHeader(decoder: FrameDecoder): number | undefined {
    const header = decoder.header();
    if (header === undefined) return undefined;
    const { id, major, minor, revision } = header;
    if (major !== 1 || minor !== 0 || revision !== 0 || !this.takes(id)) {
      throw new AmqpError(
        condition.framingError,
        `Cannot agree on protocol: peer's header is AMQP ${id} ${major} ${minor} ${revision}${
          major === 0 ? ", it speaks AMQP 0-9-1 and not 1.0" : ""
        }`,
      );
    }
    this.expects = id === 0 ? "amqpFrame" : "saslFrame";
    return id;
  }

  /**
   * Takes a frame of SASL.
   *
   * @throws {AmqpError} If it is none, is out of turn, or says that authentication failed.
   */
  receive({ type, body }: Frame): SaslFrameBody {
    if (type !== 1 || body === undefined) {
      throw new AmqpError(condition.framingError, "Cannot authenticate: frame is none of SASL");
    }
    const sasl = body as SaslFrameBody;
    this.#tell("in", sasl);
    this.state = this.#next(sasl.kind, !this.client);
    return sasl;
  }

  /**
   * Writes a frame of SASL, and tells what the connection ends with because of it, if it does.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it is not its turn.
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
    this.#tell("out", body);
    return undefined;
  }

  /** Whether the peer may go on with this protocol. */
  protected takes(id: number): boolean {
    return id === (this.state === "done" ? 0 : 3);
  }

  #tell(direction: "in" | "out", body: SaslFrameBody): void {
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
