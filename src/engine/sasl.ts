/**
 * The SASL exchange that may come before AMQP [security 5.3], both roles.
 *
 * @module
 */

import { AmqpError, condition } from "../errors.ts";
import { encodeComposite } from "../codec/composite.ts";
import { beginFrame, endFrame, protocolHeader } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { EngineEvent, FrameTrace } from "./events.ts";
import { type SaslState, saslTransitions } from "./states.ts";

/** SASL frames that we take at most, in bytes; the specification's 512 is too small for tokens. */
export const DEFAULT_SASL_MAX_FRAME_SIZE = 65_536;
/** Challenges in one exchange; more is a peer that never comes to an end. */
export const MAX_SASL_CHALLENGES = 16;

/** The SASL layer of one connection. */
export class SaslEndpoint {
  /** Where it stands. */
  state: SaslState = "start";
  /** What waits to be sent. */
  readonly out: Writer = new Writer(512);

  readonly #role: "client" | "server";
  readonly #trace: ((frame: FrameTrace) => void) | undefined;
  #challenges = 0;

  /** Starts with our protocol header. */
  constructor(role: "client" | "server", trace: ((frame: FrameTrace) => void) | undefined) {
    this.#role = role;
    this.#trace = trace;
    this.out.append(protocolHeader(3));
  }

  /** True while the client waits for the server to choose, or the server for its caller. */
  get waiting(): boolean {
    return this.#role === "server" && this.state === "init";
  }

  /**
   * Writes a frame of ours.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it is not its turn.
   */
  send(body: SaslFrameBody): void {
    this.#step(body);
    const start = beginFrame(this.out, 1, 0);
    encodeComposite(this.out, body);
    endFrame(this.out, start);
    this.#trace?.({ direction: "out", channel: 0, body: withoutSecrets(body), payloadBytes: 0 });
  }

  /** Takes a frame of the peer, which must be the other role's. */
  receive(body: SaslFrameBody): EngineEvent {
    this.#trace?.({ direction: "in", channel: 0, body: withoutSecrets(body), payloadBytes: 0 });
    const byServer = body.kind === "saslMechanisms" || body.kind === "saslChallenge" || body.kind === "saslOutcome";
    if (byServer !== (this.#role === "client")) throw this.#illegal(body.kind);
    this.#step(body);
    switch (body.kind) {
      case "saslMechanisms":
        return { kind: "saslMechanisms", mechanisms: body.saslServerMechanisms };
      case "saslChallenge":
        return { kind: "saslChallenge", challenge: body.challenge };
      case "saslInit":
        return {
          kind: "saslInit",
          mechanism: body.mechanism,
          initialResponse: body.initialResponse,
          hostname: body.hostname,
        };
      case "saslResponse":
        return { kind: "saslResponse", response: body.response };
      case "saslOutcome":
        if (body.code === "ok") return { kind: "saslSucceeded", additionalData: body.additionalData };
        throw new AmqpError(condition.unauthorizedAccess, `Cannot authenticate: SASL outcome is "${body.code}"`, {
          remote: true,
          // Only this code says that the same credentials may do later [security 5.3.3.6].
          retryable: body.code === "sys-temp",
        });
    }
  }

  #step(body: SaslFrameBody): void {
    const next = saslTransitions[this.state][body.kind];
    if (next === undefined) throw this.#illegal(body.kind);
    if (body.kind === "saslChallenge" && ++this.#challenges > MAX_SASL_CHALLENGES) {
      throw new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot authenticate: over ${MAX_SASL_CHALLENGES} challenges`,
      );
    }
    this.state = next;
  }

  #illegal(kind: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot take ${kind} as SASL ${this.#role}: state is ${this.state}`);
  }
}

function withoutSecrets(body: SaslFrameBody): SaslFrameBody {
  const none = new Uint8Array(0);
  switch (body.kind) {
    case "saslInit":
      return { kind: "saslInit", mechanism: body.mechanism, hostname: body.hostname };
    case "saslChallenge":
      return { kind: "saslChallenge", challenge: none };
    case "saslResponse":
      return { kind: "saslResponse", response: none };
    case "saslOutcome":
      return { kind: "saslOutcome", code: body.code };
    default:
      return body;
  }
}
