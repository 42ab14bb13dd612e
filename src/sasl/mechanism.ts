/**
 * What a SASL mechanism is, on either side.
 *
 * Both sides of an exchange are generators: what it yields goes to the peer, what the peer answers comes back from `yield`.
 * So the steps of a mechanism stand below each other, and what it has to remember are its variables. An exchange may be
 * given up at any `yield`.
 *
 * @module
 */

/** What a client's mechanism may want to know of the connection that it is used on. */
export interface SaslTarget {
  /** The virtual host: `hostname` of the connection; undefined where the connection has none. */
  readonly hostname: string | undefined;
  /** The port of the URL; undefined where there is no URL. */
  readonly port?: number | undefined;
  /** Whether nobody can read or change what is sent: TLS, or this machine. */
  readonly secure: boolean;
}

/**
 * How a client authenticates: made by functions such as {@linkcode plain}, or an object of the program's own.
 *
 * @example A mechanism of one's own
 * ```ts
 * import type { SaslMechanism } from "@webamqp/amqp";
 *
 * const pin: SaslMechanism = {
 *   name: "X-PIN",
 *   needsPrivacy: true,
 *   *exchange() {
 *     const question = yield new TextEncoder().encode("my name");
 *     yield new TextEncoder().encode(`${new TextDecoder().decode(question)}: 1234`);
 *   },
 * };
 * console.assert(pin.name === "X-PIN");
 * ```
 */
export interface SaslMechanism {
  /** The mechanism's registered name. */
  readonly name: string;
  /** True if someone who reads along learns the secret; such a mechanism is used over TLS or on this machine only. */
  readonly needsPrivacy: boolean;
  /**
   * Begins an exchange, one for each attempt to connect.
   *
   * It yields first the response that goes out with the choice of the mechanism, undefined for none, which differs from
   * empty. Each `yield` gives the server's challenge, or, when the server says that it is content, the additional data of
   * its outcome, undefined for none. The connection goes on only if the exchange then returns: a mechanism in which the
   * server proves itself throws unless it has.
   */
  exchange(target: SaslTarget): SaslExchange;
}

/** What a client authenticates with: one mechanism, or several, the one to prefer first. */
export type SaslAuth = SaslMechanism | readonly SaslMechanism[];

/** The client's side of one exchange. */
export type SaslExchange =
  | Generator<Uint8Array | undefined, void, Uint8Array | undefined>
  | AsyncGenerator<Uint8Array | undefined, void, Uint8Array | undefined>;

/** Whom the server has let in. */
export interface SaslIdentity {
  /** Who the client is; undefined for nobody in particular. */
  readonly identity: string | undefined;
  /** What goes to the client with the outcome, such as the server's own proof. */
  readonly additionalData?: Uint8Array | undefined;
}

/**
 * How a server lets clients prove who they are. `Peer` is what the carrier knows of the client.
 *
 * @example A mechanism of one's own
 * ```ts
 * import type { SaslServerMechanism } from "@webamqp/amqp/server";
 *
 * const pin: SaslServerMechanism = {
 *   name: "X-PIN",
 *   *exchange(initialResponse) {
 *     const user = new TextDecoder().decode(initialResponse ?? (yield new Uint8Array(0)));
 *     const answer = yield new TextEncoder().encode("and your number");
 *     return new TextDecoder().decode(answer) === "and your number: 1234" ? { identity: user } : undefined;
 *   },
 * };
 * console.assert(pin.name === "X-PIN");
 * ```
 */
export interface SaslServerMechanism<Peer = unknown> {
  /** The mechanism's registered name. */
  readonly name: string;
  /**
   * Begins an exchange with a client that has chosen this mechanism.
   *
   * `initialResponse` is undefined when the client sent none; a mechanism in which the client speaks first then yields an
   * empty challenge [rfc4422 3.3]. Each `yield` gives the client's response to the challenge. Returning undefined refuses
   * the client; throwing tells it that the server broke down, and that it may try again.
   */
  exchange(initialResponse: Uint8Array | undefined, peer: Peer): SaslServerExchange;
}

/** The server's side of one exchange. */
export type SaslServerExchange =
  | Generator<Uint8Array, SaslIdentity | undefined, Uint8Array>
  | AsyncGenerator<Uint8Array, SaslIdentity | undefined, Uint8Array>;
