/**
 * A message in a queue.
 *
 * @module
 */

import type { ErrorFields, Fields, Header, Modified } from "../codec/types.ts";

import { type EncodedMessage, errorValue, mergeFields } from "./encoded_message.ts";

/** A message in a queue, with what has happened to it there. */
export class QueuedMessage {
  /** The message as it came. */
  readonly encoded: EncodedMessage;
  /** Its place in the queue. */
  place = 0;

  #expires: number;
  #lives: boolean;
  #acquired = false;
  #failures = 0;
  #annotations: Fields | undefined;
  #rejection: ErrorFields | undefined;
  #refusedBy: WeakSet<object> | undefined;

  /** Starts the message's time to live [messaging 3.2.1]. */
  constructor(encoded: EncodedMessage, now: number) {
    this.encoded = encoded;
    const ttl = encoded.header?.ttl;
    this.#lives = ttl !== undefined;
    this.#expires = ttl === undefined ? Infinity : now + ttl;
  }

  /** What it counts for. */
  get bytes(): number {
    return this.encoded.payload.length;
  }

  /** When it expires, by the clock that it was made with. */
  get expires(): number {
    return this.#expires;
  }

  /** Attempts to deliver it that failed, here and before. */
  get deliveryCount(): number {
    return (this.encoded.header?.deliveryCount ?? 0) + this.#failures;
  }

  /** Counts an attempt that failed. */
  fail(): void {
    this.#failures++;
  }

  /** Keeps it from a consumer from now on. */
  keepFrom(consumer: object): void {
    (this.#refusedBy ??= new WeakSet()).add(consumer);
  }

  /** Whether a consumer may have it. */
  suits(consumer: object): boolean {
    return this.#refusedBy === undefined || !this.#refusedBy.has(consumer);
  }

  /** Merges what a receiver has changed [messaging 3.4.5]. */
  modify(changes: Modified): void {
    if (changes.deliveryFailed) this.fail();
    if (changes.messageAnnotations === undefined || this.encoded.messageFormat !== 0) return;
    mergeFields(this.#annotations ??= this.encoded.messageAnnotations(), changes.messageAnnotations);
  }

  /** Moves it to a dead-letter queue: it no longer expires, and anybody may have it. */
  becomeDeadLetter(rejection: ErrorFields | undefined): void {
    this.#rejection = rejection;
    this.#expires = Infinity;
    this.#refusedBy = undefined;
  }

  /** The bytes to send now, those that came unless something has to be changed in front of the bare message. */
  toSend(now: number): Uint8Array {
    const { encoded } = this;
    const header = this.#header(now);
    this.#acquired = true;
    const same = header === encoded.header && this.#annotations === undefined && this.#rejection === undefined;
    if (encoded.messageFormat !== 0 || (same && !encoded.annotated)) return encoded.payload;
    // Where the reason of a rejection stands is written down [messaging 3.4.3].
    const deliveryAnnotations = this.#rejection && { rejected: errorValue(this.#rejection) };
    return encoded.changed({ header, deliveryAnnotations, messageAnnotations: this.#annotations });
  }

  #header(now: number): Header | undefined {
    const { header } = this.encoded;
    const again = this.#acquired && header?.firstAcquirer === true;
    if (!this.#lives && !again && this.#failures === 0) return header;
    return {
      ...header,
      // What remains of it [messaging 3.2.1]; a dead letter has no end.
      ttl: this.#expires === Infinity ? undefined : Math.max(0, Math.round(this.#expires - now)),
      firstAcquirer: again ? false : header?.firstAcquirer,
      deliveryCount: this.deliveryCount === 0 ? header?.deliveryCount : this.deliveryCount,
    };
  }
}
