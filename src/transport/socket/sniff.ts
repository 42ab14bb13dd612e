/**
 * Detection of a peer's protocol by its first bytes, so that one port serves TLS, WebSocket and AMQP.
 *
 * @module
 */

/**
 * The protocol that the first bytes begin: a TLS handshake, an HTTP request (mostly the upgrade to a WebSocket), AMQP's
 * SASL layer, AMQP with any other protocol id, or an unknown one.
 */
export type Opening = "tls" | "http" | "sasl" | "amqp" | "unknown";

const SASL = 3;

/**
 * Detects the protocol from bytes that arrive in any pieces, as soon as it is certain.
 *
 * TLS starts with a handshake record [rfc8446 5.1], AMQP and its SASL layer with `AMQP` and their protocol id [transport
 * 2.2], and HTTP with a method, all of whose registered names start with a capital. No WebSocket starts with frames.
 *
 * @example
 * ```ts
 * import { Sniffer } from "./sniff.ts";
 *
 * const sniffer = new Sniffer();
 * console.assert(sniffer.receive(new TextEncoder().encode("GE")) === "http");
 * ```
 */
export class Sniffer {
  readonly #seen: Uint8Array = new Uint8Array(5);
  #length = 0;

  /** Takes bytes and returns the protocol; undefined while it is not certain. */
  receive(bytes: Uint8Array): Opening | undefined {
    for (let i = 0; i < bytes.length && this.#length < this.#seen.length; i++) {
      this.#seen[this.#length++] = bytes[i]!;
      const opening = this.#decide();
      if (opening !== undefined) return opening;
    }
    return undefined;
  }

  #decide(): Opening | undefined {
    const seen = this.#seen.subarray(0, this.#length);
    const [first, second] = seen;
    if (first === 0x16) return second === undefined ? undefined : second === 0x03 ? "tls" : "unknown";
    if (isPrefix(seen, "AMQP")) return undefined;
    if (this.#length === 5 && isPrefix(seen.subarray(0, 4), "AMQP")) return seen[4] === SASL ? "sasl" : "amqp";
    return first! >= 0x41 && first! <= 0x5a ? "http" : "unknown";
  }
}

function isPrefix(bytes: Uint8Array, text: string): boolean {
  return bytes.length <= text.length && bytes.every((byte, index) => byte === text.charCodeAt(index));
}
