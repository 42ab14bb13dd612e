/**
 * SASL mechanisms, on either side.
 *
 * Both sides of an exchange are generators: a yielded value goes to the peer, and `yield` returns the peer's answer. So the
 * steps of a mechanism stand below each other, and its state is in variables. An exchange may be abandoned at any `yield`.
 *
 * @module
 */

/** The connection on which a client authenticates, as its mechanism sees it. */
export interface SaslTarget {
  /** The virtual host: `hostname` of the connection; undefined where the connection has none. */
  readonly hostname: string | undefined;
  /** The port of the URL; undefined where there is no URL. */
  readonly port?: number | undefined;
  /** Whether nobody else can read or change the bytes on their way: TLS, or a peer on this machine. */
  readonly secure: boolean;
}

/**
 * A way for a client to authenticate: made by functions such as {@linkcode plain}, or an object of the program's own.
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
  /** True if the exchange shows the secret to whoever reads along; it is then used only over TLS or on this machine. */
  readonly needsPrivacy: boolean;
  /**
   * True if each exchange asks for the secret anew, such as a token of a callback: one that is refused may have expired, and is
   * worth one more attempt. Default: false.
   */
  readonly renews?: boolean | undefined;
  /**
   * Begins an exchange, one for each attempt to connect.
   *
   * The generator first yields the initial response, which goes out with the choice of the mechanism: undefined for none, which
   * differs from empty. Each `yield` returns the server's challenge or, on a successful outcome, its additional data, undefined
   * for none. The connection goes on only if the generator then returns: a mechanism in which the server proves itself throws
   * unless it has.
   */
  exchange(target: SaslTarget): SaslExchange;
}

/** The mechanism that a client authenticates with, or several, in order of preference. */
export type SaslAuth = SaslMechanism | readonly SaslMechanism[];

/** The client's side of one exchange. */
export type SaslExchange =
  | Generator<Uint8Array | undefined, void, Uint8Array | undefined>
  | AsyncGenerator<Uint8Array | undefined, void, Uint8Array | undefined>;

/** A client that the server has accepted. */
export interface SaslIdentity {
  /** The client's identity; undefined for an anonymous client. */
  readonly identity: string | undefined;
  /** Data that goes to the client with the outcome, such as the server's own proof. */
  readonly additionalData?: Uint8Array | undefined;
}

/**
 * A way for a server to authenticate clients. `Peer` is the carrier's description of the client.
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
   * `initialResponse` is undefined when the client sent none; a mechanism in which the client speaks first then yields an empty
   * challenge [rfc4422 3.3]. Each `yield` returns the client's response. Returning undefined refuses the client; throwing
   * reports an internal error of the server, after which the client may try again.
   */
  exchange(initialResponse: Uint8Array | undefined, peer: Peer): SaslServerExchange;
}

/** The server's side of one exchange. */
export type SaslServerExchange =
  | Generator<Uint8Array, SaslIdentity | undefined, Uint8Array>
  | AsyncGenerator<Uint8Array, SaslIdentity | undefined, Uint8Array>;
