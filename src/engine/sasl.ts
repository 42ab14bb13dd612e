/**
 * The SASL exchange that may come before AMQP [security 5.3], both roles.
 *
 * @module
 */

import * as condition from "../condition.ts";
import { AmqpError } from "../errors.ts";
import { encodeComposite } from "../codec/composite.ts";
import { beginFrame, endFrame, protocolHeader } from "../codec/frame.ts";
import type { SaslFrameBody } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { EngineEvent, FrameTrace } from "./events.ts";
import { type SaslState, saslTransitions } from "./states.ts";

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

  /** True while the server waits for its caller. */
  get waiting(): boolean {
    return this.#role === "server" && this.state === "init";
  }

  /**
   * Writes a frame of ours.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it is not its turn.
   */
  send(body: SaslFrameBody): void {
    const next = this.#next(body, this.#role);
    const start = beginFrame(this.out, 1, 0);
    try {
      encodeComposite(this.out, body);
    } catch (error) {
      this.out.truncate(start);
      throw error;
    }
    endFrame(this.out, start);
    this.state = next;
    this.#trace?.({ direction: "out", channel: 0, body: withoutSecrets(body), payloadBytes: 0 });
  }

  /**
   * Takes a frame of the peer.
   *
   * @throws {AmqpError} If it is not its turn, or says that authentication failed.
   */
  receive(body: SaslFrameBody): EngineEvent {
    this.#trace?.({ direction: "in", channel: 0, body: withoutSecrets(body), payloadBytes: 0 });
    this.state = this.#next(body, this.#role === "client" ? "server" : "client");
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
        throw new AmqpError(
          // The others say that the server broke down over the credentials, not that they are wrong [security 5.3.3.6].
          body.code === "auth" ? condition.unauthorizedAccess : condition.internalError,
          `Cannot authenticate: SASL outcome is "${body.code}"`,
          // Only this code says that the same credentials may do later.
          { remote: true, retryable: body.code === "sys-temp" },
        );
    }
  }

  #next(body: SaslFrameBody, from: "client" | "server"): SaslState {
    const byClient = body.kind === "saslInit" || body.kind === "saslResponse";
    const next = byClient === (from === "client") ? saslTransitions[this.state][body.kind] : undefined;
    if (next === undefined) throw this.#illegal(body.kind);
    if (body.kind === "saslChallenge" && ++this.#challenges > MAX_SASL_CHALLENGES) {
      throw new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot authenticate: over ${MAX_SASL_CHALLENGES} challenges`,
      );
    }
    return next;
  }

  #illegal(kind: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot take ${kind} as SASL ${this.#role}: state is ${this.state}`);
  }
}

/** The frame as it may be shown: without credentials and proofs. */
export function withoutSecrets(body: SaslFrameBody): SaslFrameBody {
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
