/**
 * Carriers that break.
 *
 * @module
 */

import type { Channel, ChannelClose } from "../transport/channel.ts";

/** What goes wrong with a channel. */
export interface Faults {
  /** The connection is lost when so many bytes have come in. */
  readonly cutAfterIn?: number;
  /** The connection is lost when so many bytes have gone out; those up to there arrive. */
  readonly cutAfterOut?: number;
  /** Nothing comes in any more after so many bytes, and nobody says so. */
  readonly stallAfterIn?: number;
  /** What comes in is cut into pieces of so many bytes. */
  readonly chop?: number;
}

/**
 * A channel that behaves as another does, until something goes wrong.
 *
 * @example A connection that is lost after 100 bytes
 * ```ts
 * import { faulty, ScriptedPeer } from "@webamqp/amqp/testing";
 *
 * const peer = new ScriptedPeer();
 * const channel = faulty(peer.channel, { cutAfterOut: 100 });
 * console.assert(channel.bufferedAmount === 0);
 * ```
 */
export function faulty(channel: Channel, faults: Faults): Channel {
  return new FaultyChannel(channel, faults);
}

class FaultyChannel implements Channel {
  readonly #channel: Channel;
  readonly #faults: Faults;
  #in = 0;
  #out = 0;
  onbytes: ((bytes: Uint8Array) => void) | undefined;
  onclose: ((close: ChannelClose) => void) | undefined;

  constructor(channel: Channel, faults: Faults) {
    this.#channel = channel;
    this.#faults = faults;
    channel.onbytes = (bytes) => this.#receive(bytes);
    channel.onclose = (close) => this.onclose?.(close);
  }

  get bufferedAmount(): number {
    return this.#channel.bufferedAmount;
  }

  ready(): Promise<void> {
    return this.#channel.ready();
  }

  send(bytes: Uint8Array): void {
    const { cutAfterOut = Infinity } = this.#faults;
    const left = cutAfterOut - this.#out;
    this.#out += bytes.length;
    if (bytes.length < left) return this.#channel.send(bytes);
    if (left > 0) this.#channel.send(bytes.subarray(0, left));
    this.#channel.close(1006);
  }

  close(code?: number, reason?: string): void {
    this.#channel.close(code, reason);
  }

  #receive(bytes: Uint8Array): void {
    const { cutAfterIn = Infinity, stallAfterIn = Infinity, chop = Infinity } = this.#faults;
    const left = Math.min(cutAfterIn, stallAfterIn) - this.#in;
    this.#in += bytes.length;
    const whole = bytes.subarray(0, Math.max(0, left));
    for (let at = 0; at < whole.length; at += chop) {
      this.onbytes?.(whole.subarray(at, Math.min(whole.length, at + chop)));
    }
    if (this.#in >= cutAfterIn) this.#channel.close(1006);
  }
}
