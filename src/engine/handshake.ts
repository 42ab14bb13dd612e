/**
 * What comes before AMQP: protocol headers, and SASL where it is wanted [transport 2.2, security 5.2].
 *
 * @module
 */

import * as condition from "../condition.ts";
import { AmqpError } from "../errors.ts";
import type { Frame, ProtocolHeader, ProtocolId } from "../codec/frame.ts";
import type { EngineEvent } from "./events.ts";
import type { ConnectionOptions } from "./options.ts";
import { SaslEndpoint } from "./sasl.ts";

/** Decides on the headers of the peer, and keeps the SASL layer while there is one. */
export class Handshake {
  /** What the peer's next bytes are. */
  expects: "header" | "saslFrame" | "amqpFrame" = "header";
  /** The SASL layer, while there is one. */
  sasl: SaslEndpoint | undefined;

  readonly #options: ConnectionOptions;
  #authenticated = false;

  /** Starts with the client's header, if that is the one of SASL. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    if (options.role === "client" && options.sasl) this.sasl = new SaslEndpoint("client", options.trace);
  }

  /** True while the client must wait for what our caller says to its credentials. */
  get waiting(): boolean {
    return this.sasl?.waiting ?? false;
  }

  /** True while AMQP must not be sent yet. */
  get holding(): boolean {
    return this.sasl !== undefined && this.#options.sasl !== "pipelined";
  }

  /** The protocol that we would take next. */
  get wanted(): ProtocolId {
    if (this.#options.role === "client") return this.sasl === undefined ? 0 : 3;
    return this.#mechanisms !== undefined && !this.#authenticated ? 3 : 0;
  }

  /**
   * Takes a header of the peer.
   *
   * @throws {AmqpError} If it is not one that we can go on with; it tells which it was.
   */
  receiveHeader(header: ProtocolHeader): void {
    const { id, major, minor, revision } = header;
    const known = major === 1 && minor === 0 && revision === 0;
    const sasl = this.#options.sasl;
    const optional = id === 0 && typeof sasl === "object" && !sasl.required;
    if (!known || (id !== this.wanted && !optional)) {
      throw new AmqpError(
        condition.framingError,
        `Cannot agree on protocol: peer's header is AMQP ${id} ${major} ${minor} ${revision}`,
      );
    }
    if (id === 0) {
      this.expects = "amqpFrame";
      return;
    }
    this.expects = "saslFrame";
    if (this.sasl !== undefined) return;
    this.sasl = new SaslEndpoint("server", this.#options.trace);
    this.sasl.send({ kind: "saslMechanisms", saslServerMechanisms: this.#mechanisms! });
  }

  /**
   * Takes a frame of the SASL layer.
   *
   * @throws {AmqpError} If it is none, is out of turn, or says that authentication failed.
   */
  receiveFrame(frame: Frame): EngineEvent {
    const { body } = frame;
    switch (frame.type === 1 ? body?.kind : undefined) {
      case "saslMechanisms":
      case "saslInit":
      case "saslChallenge":
      case "saslResponse":
      case "saslOutcome":
        return this.sasl!.receive(body as Parameters<SaslEndpoint["receive"]>[0]);
      default:
        throw new AmqpError(condition.framingError, "Cannot authenticate: frame is none of SASL");
    }
  }

  /** Ends the SASL layer in success; headers are exchanged again [security 5.2]. */
  authenticated(): void {
    this.sasl = undefined;
    this.#authenticated = true;
    this.expects = "header";
  }

  get #mechanisms(): string[] | undefined {
    return typeof this.#options.sasl === "object" ? this.#options.sasl.mechanisms : undefined;
  }
}
