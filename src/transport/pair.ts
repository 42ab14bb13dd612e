/**
 * Two channels joined in memory, for tests and for a broker in the same process.
 *
 * @module
 */

import { checkOptions } from "../base/options.ts";
import { type Channel, Inbound } from "./channel.ts";

/** The settings of {@linkcode channelPair}. */
export interface ChannelPairOptions {
  /**
   * Cuts or joins the pieces that one side sent in one turn, before the other side receives them.
   *
   * Default: every piece arrives as it was sent.
   */
  rechunk?: ((pieces: readonly Uint8Array[]) => Iterable<Uint8Array>) | undefined;
}

/**
 * Joins two channels: bytes sent into one arrive at the other in a microtask of their own, uncopied.
 *
 * `close` ends both sides after the bytes sent before it; `close(1006)` looks like a lost connection to both.
 *
 * @example
 * ```ts
 * import { channelPair } from "@webamqp/amqp/testing";
 *
 * const [left, right] = channelPair();
 * right.onbytes = (bytes) => right.send(bytes);
 * left.onbytes = () => left.close();
 * left.send(Uint8Array.of(1, 2, 3));
 * ```
 *
 * @throws {TypeError} If an option does not exist or is of the wrong kind.
 */
export function channelPair(options: ChannelPairOptions = {}): [left: Channel, right: Channel] {
  checkOptions("join channels", options, { rechunk: "function" });
  const left = new PairedChannel(options);
  const right = new PairedChannel(options);
  left.join(right);
  right.join(left);
  return [left, right];
}

class PairedChannel extends Inbound implements Channel {
  readonly #options: ChannelPairOptions;
  #peer: PairedChannel | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #closing: { code: number; reason: string } | undefined;
  #ended = false;
  #pump: Promise<void> | undefined;

  constructor(options: ChannelPairOptions) {
    super();
    this.#options = options;
  }

  join(peer: PairedChannel): void {
    this.#peer = peer;
  }

  get bufferedAmount(): number {
    return this.#queuedBytes;
  }

  send(bytes: Uint8Array): void {
    if (this.#ended || this.#closing !== undefined || bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#schedule();
  }

  close(code = 1000, reason = ""): void {
    if (this.#ended || this.#closing !== undefined) return;
    this.#closing = { code, reason };
    this.mute();
    this.discard();
    this.#schedule();
  }

  ready(): Promise<void> {
    return this.#pump ?? Promise.resolve();
  }

  #schedule(): void {
    this.#pump ??= Promise.resolve().then(() => this.#transmit());
  }

  #transmit(): void {
    this.#pump = undefined;
    if (this.#ended) return;
    const pieces = this.#queue;
    const closing = this.#closing;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const piece of this.#options.rechunk?.(pieces) ?? pieces) this.#peer?.deliver(piece);
    if (closing === undefined) return;
    this.#peer?.finish(closing);
    this.finish(closing);
  }

  finish(close: { code: number; reason: string }): void {
    this.#ended = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.end(close);
  }
}
