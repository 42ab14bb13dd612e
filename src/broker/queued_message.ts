/**
 * A message in a queue.
 *
 * @module
 */

import { MAX_UINT } from "../codec/checks.ts";
import { Reader } from "../codec/reader.ts";
import type { Described, ErrorFields, Fields, Header, Modified, Value } from "../codec/types.ts";
import { EncodedMessage, encodeError, mergeFields } from "./encoded_message.ts";
import type { KeptBytes } from "./kept_bytes.ts";
import type { Ranked } from "./sorted_messages.ts";

/** What a message costs beside its bytes, counted as bytes. */
export const MESSAGE_BYTES = 256;

const DEFAULT_PRIORITY = 4;
const HIGHEST_PRIORITY = 9;
// More messages than a queue sees in its life.
const RANKS_OF_PRIORITY = 2 ** 48;

/** Why a message goes to a queue of dead letters: what its receiver told, or a word of this broker's. */
export type DeadLetterReason = ErrorFields | "rejected" | "max-deliveries" | "undeliverable-here" | "expired";

/** A message in a queue, with what has happened to it there. */
export class QueuedMessage implements Ranked {
  encoded: EncodedMessage;
  /** Its place in the queue. */
  rank = 0;
  /** True while it waits for a consumer. */
  available = false;
  /** Which of the queue's groups it belongs to; -1 for none. */
  group = -1;
  /** Its neighbours among those that consumers hold. */
  before: QueuedMessage | undefined;
  /** {@inheritDoc before} */
  after: QueuedMessage | undefined;

  // A whole number, none later than its time, 0 for never: others take an object of their own each.
  readonly #expires: number;
  #acquired = false;
  #failures = 0;
  // An error as bytes: what its sender gave is as long as a frame, and may hold on to more.
  #reason: Exclude<DeadLetterReason, ErrorFields> | Uint8Array | undefined;
  #refusedBy: WeakSet<object> | undefined;

  /** Puts a message that expires then into a queue. */
  constructor(encoded: EncodedMessage, expires: number) {
    this.encoded = encoded;
    this.#expires = expires === Infinity ? 0 : Math.max(1, Math.floor(expires));
  }

  /** When it expires, by the broker's clock; Infinity for never. */
  get expires(): number {
    return this.#expires === 0 ? Infinity : this.#expires;
  }

  get bytes(): number {
    return this.overhead + this.encoded.length;
  }

  /** What it counts for beside what others share with it. */
  get overhead(): number {
    return typeof this.#reason === "object" ? MESSAGE_BYTES + this.#reason.length : MESSAGE_BYTES;
  }

  /** Attempts to deliver it that failed, here and before. */
  get deliveryCount(): number {
    return Math.min(MAX_UINT, (this.encoded.header?.deliveryCount ?? 0) + this.#failures);
  }

  /** Puts it behind all messages of its priority that came before, the last of which was the `n`th of the queue. */
  line(n: number): void {
    const priority = Math.min(HIGHEST_PRIORITY, this.encoded.priority);
    this.rank = (DEFAULT_PRIORITY - priority) * RANKS_OF_PRIORITY + n;
  }

  /** Counts an attempt that failed. */
  fail(): void {
    this.#failures++;
  }

  keepFrom(consumer: object): void {
    (this.#refusedBy ??= new WeakSet()).add(consumer);
  }

  isKeptFrom(consumer: object): boolean {
    return this.#refusedBy !== undefined && this.#refusedBy.has(consumer);
  }

  /**
   * Merges what a receiver has changed [messaging 3.4.5]. Annotations that cannot be encoded, or with which the message would
   * have more than `most` bytes, are left out.
   */
  modify(changes: Modified, slab: KeptBytes, most: number): void {
    if (changes.deliveryFailed) this.fail();
    const { encoded } = this;
    if (changes.messageAnnotations === undefined || encoded.messageFormat !== 0) return;
    try {
      const messageAnnotations = encoded.messageAnnotations();
      mergeFields(messageAnnotations, changes.messageAnnotations);
      const { header } = encoded;
      const changed = encoded.changed({ header, deliveryAnnotations: undefined, messageAnnotations });
      if (MESSAGE_BYTES + changed.length > most) return;
      this.encoded = new EncodedMessage(changed, 0, undefined, slab);
      this.encoded.origin = encoded.origin;
    } catch {
      // The peer's annotations are what cannot be encoded: its own message goes on without them.
    }
  }

  /** What is put into a dead-letter queue for it: it no longer expires, anybody may have it, and it tells why it is there. */
  deadLetter(reason: DeadLetterReason): QueuedMessage {
    const message = new QueuedMessage(this.encoded, Infinity);
    message.#reason = typeof reason === "object" ? encodeError(reason) ?? "rejected" : reason;
    message.#failures = this.#failures;
    message.#acquired = this.#acquired;
    return message;
  }

  /** The bytes to send now, those that came unless something has to be changed in front of the bare message. */
  toSend(now: number): Uint8Array {
    const { encoded } = this;
    const again = this.#acquired && encoded.firstAcquirer;
    this.#acquired = true;
    const same = encoded.ttl === undefined && !again && this.#failures === 0;
    if (encoded.messageFormat !== 0 || (same && this.#reason === undefined && !encoded.annotated)) {
      return encoded.payload;
    }
    const header = same ? encoded.header : headerToSend(this, again, now);
    const reason = this.#reason;
    const error = typeof reason === "object" ? new Reader(reason).value() as Described : undefined;
    return encoded.changed({
      header,
      // Where the reason of a rejection stands is written down [messaging 3.4.3].
      deliveryAnnotations: error && { rejected: error },
      messageAnnotations: reason && annotationsWith(encoded, error ?? reason as string),
    });
  }
}

// Where readers of other brokers look for it, and `deadLetterReason` of a message that was received.
function annotationsWith(encoded: EncodedMessage, reason: Described | string): Fields {
  const [condition, description] = typeof reason === "object" ? reason.value as readonly Value[] : [reason];
  const annotations = encoded.messageAnnotations();
  mergeFields(annotations, {
    "x-opt-dead-letter-reason": String(condition),
    ...(typeof description === "string" && { "x-opt-dead-letter-description": description }),
  });
  return annotations;
}

// No private method: it would cost each message a field.
function headerToSend({ encoded, expires, deliveryCount }: QueuedMessage, again: boolean, now: number): Header {
  const { header, ttl } = encoded;
  return {
    ...header,
    // What remains of it [messaging 3.2.1]; a dead letter has no end.
    ttl: ttl === undefined || expires === Infinity
      ? undefined
      : Math.min(MAX_UINT, Math.max(0, Math.round(expires - now))),
    firstAcquirer: again ? false : header?.firstAcquirer,
    deliveryCount: deliveryCount === 0 ? header?.deliveryCount : deliveryCount,
  };
}

/** The messages of a queue that consumers hold. Messages know their neighbours, so that nothing is looked up. */
export class HeldMessages {
  size = 0;
  first: QueuedMessage | undefined;

  add(message: QueuedMessage): void {
    const { first } = this;
    message.after = first;
    if (first !== undefined) first.before = message;
    this.first = message;
    this.size++;
  }

  /** Removes one; false if it is not there. */
  delete(message: QueuedMessage): boolean {
    const { before, after } = message;
    if (before === undefined && this.first !== message) return false;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after !== undefined) after.before = before;
    message.before = message.after = undefined;
    this.size--;
    return true;
  }
}
