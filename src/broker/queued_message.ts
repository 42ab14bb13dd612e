/**
 * A message in a queue.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { MAX_UINT } from "../codec/codes.ts";
import { Reader } from "../codec/reader.ts";
import type { Described, ErrorFields, Fields, Header, Modified, Value } from "../codec/types.ts";
import { DEFAULT_PRIORITY, EncodedMessage, encodeError, keepMessage, mergeFields } from "./encoded_message.ts";
import type { KeptBytes, MessageBlock } from "./kept_bytes.ts";
import type { Parts, Ranked } from "./sorted_messages.ts";

/** The overhead of a message that is counted beside its bytes. */
export const MESSAGE_BYTES = 256;

const HIGHEST_PRIORITY = 9;
const RANKS_OF_PRIORITY = 2 ** 48;

/** The reason in a dead letter: the error that the receiver gave, or a word of this broker's. */
export type DeadLetterReason = ErrorFields | "rejected" | "max-deliveries" | "undeliverable-here" | "expired";

/** The history of a message in its queue. */
interface Past {
  failures: number;
  // Only of a message with the header field `first-acquirer`.
  acquired: boolean;
  // An error is kept as bytes: its fields may be as long as a frame, and keep more memory alive.
  reason: Exclude<DeadLetterReason, ErrorFields> | Uint8Array | undefined;
  excludedFrom: WeakSet<object> | undefined;
}

/** A message in a queue, with its history there. */
export class QueuedMessage implements Ranked {
  encoded: EncodedMessage;
  /** The place in the queue; lower ranks are delivered first. */
  rank = 0;
  /** The index of its group in the queue; -1 for none. */
  group = -1;
  /** The index among the messages that consumers hold; -1 if none does. */
  at = -1;

  // A small integer, rounded down, 0 for never: other numbers cost a heap object each.
  readonly #expires: number;
  // Few messages have a history, so it is kept apart from them.
  #past: Past | undefined;

  /** Makes a message that expires at `expires`, by the broker's clock. */
  constructor(encoded: EncodedMessage, expires: number) {
    this.encoded = encoded;
    this.#expires = expires === Infinity ? 0 : Math.max(1, Math.floor(expires));
  }

  /** The time of expiry by the broker's clock; Infinity for never. */
  get expires(): number {
    return this.#expires === 0 ? Infinity : this.#expires;
  }

  get bytes(): number {
    return this.overhead + this.encoded.length;
  }

  /** The bytes that this copy counts for when it shares its encoded bytes with others. */
  get overhead(): number {
    const reason = this.#past?.reason;
    return typeof reason === "object" ? MESSAGE_BYTES + reason.length : MESSAGE_BYTES;
  }

  /** The number of failed attempts to deliver the message, here and at earlier nodes. */
  get deliveryCount(): number {
    return Math.min(MAX_UINT, (this.encoded.header?.deliveryCount ?? 0) + (this.#past?.failures ?? 0));
  }

  /** Ranks the message behind all earlier ones of its priority; `n` counts the messages of the queue. */
  assignRank(n: number): void {
    const priority = Math.min(HIGHEST_PRIORITY, this.encoded.priority);
    // A whole number that V8 keeps in the field itself, unless there are other priorities.
    this.rank = priority === DEFAULT_PRIORITY ? n : (DEFAULT_PRIORITY - priority) * RANKS_OF_PRIORITY + n;
  }

  /** True if the message can be made again of its encoded bytes and its rank. */
  get plain(): boolean {
    return this.#past === undefined && this.#expires === 0 && this.group < 0;
  }

  /** Notes that a consumer gets the message. */
  acquire(): void {
    if (this.encoded.firstAcquirer) (this.#past ??= noPast()).acquired = true;
  }

  fail(): void {
    (this.#past ??= noPast()).failures++;
  }

  exclude(consumer: object): void {
    ((this.#past ??= noPast()).excludedFrom ??= new WeakSet()).add(consumer);
  }

  excludes(consumer: object): boolean {
    return this.#past?.excludedFrom?.has(consumer) ?? false;
  }

  /**
   * Applies a receiver's changes [messaging 3.4.5]. Annotations that cannot be encoded, or with which the message would
   * have more than `most` bytes, are left out.
   */
  modify(changes: Modified, keptBytes: KeptBytes, most: number): void {
    if (changes.deliveryFailed) this.fail();
    const { encoded } = this;
    if (changes.messageAnnotations === undefined || encoded.messageFormat !== 0) return;
    try {
      const messageAnnotations = encoded.messageAnnotations();
      mergeFields(messageAnnotations, changes.messageAnnotations);
      const { header } = encoded;
      const changed = encoded.changed({ header, deliveryAnnotations: undefined, messageAnnotations });
      if (MESSAGE_BYTES + changed.length > most) return;
      const source = { limits: undefined, container: encoded.source?.container };
      this.encoded = keepMessage(changed, 0, source, keptBytes);
    } catch {
      // The receiver's annotations cannot be encoded: the message goes on without them.
    }
  }

  /** The message for a dead-letter queue: without expiry, open to all consumers, and with its reason in the annotations. */
  deadLetter(reason: DeadLetterReason): QueuedMessage {
    const message = new QueuedMessage(this.encoded, Infinity);
    message.group = this.group;
    message.#past = {
      failures: this.#past?.failures ?? 0,
      acquired: this.#past?.acquired ?? false,
      reason: typeof reason === "object" ? encodeError(reason) ?? "rejected" : reason,
      excludedFrom: undefined,
    };
    return message;
  }

  /** The bytes to send now: those received, unless a section in front of the bare message has to change. */
  toSend(clock: Pick<Environment, "now">): Uint8Array {
    const { encoded } = this;
    const past = this.#past;
    const again = past?.acquired ?? false;
    const reason = past?.reason;
    const same = !encoded.expires && !again && (past === undefined || past.failures === 0);
    if (encoded.messageFormat !== 0 || (same && reason === undefined && !encoded.annotated)) {
      return encoded.payload;
    }
    const header = same ? encoded.header : headerToSend(this, again, clock);
    const error = typeof reason === "object" ? new Reader(reason).value() as Described : undefined;
    return encoded.changed({
      header,
      // A rejection's error goes into the delivery annotations [messaging 3.4.3].
      deliveryAnnotations: error && { rejected: error },
      messageAnnotations: reason && annotationsWith(encoded, error ?? reason as string),
    });
  }
}

/**
 * What a queue keeps of a message that waits: the block of its bytes and its place there, if that is all there is to it. Two
 * objects for each cost V8 almost as much again, and pages that few of them keep alive.
 */
export const partsOfMessage: Parts<QueuedMessage, QueuedMessage | MessageBlock> = {
  part: (message) => message.plain ? message.encoded.block : message,
  place: (message) => message.encoded.at,
  item(part, place, rank) {
    if (part instanceof QueuedMessage) return part;
    const message = new QueuedMessage(new EncodedMessage(part, place), Infinity);
    message.rank = rank;
    return message;
  },
};

// Adds the annotations in which other brokers' clients, and `deadLetterReason` of a received message, look for the reason.
function annotationsWith(encoded: EncodedMessage, reason: Described | string): Fields {
  const [condition, description] = typeof reason === "object" ? reason.value as readonly Value[] : [reason];
  const annotations = encoded.messageAnnotations();
  mergeFields(annotations, {
    "x-opt-dead-letter-reason": String(condition),
    ...(typeof description === "string" && { "x-opt-dead-letter-description": description }),
  });
  return annotations;
}

function noPast(): Past {
  return { failures: 0, acquired: false, reason: undefined, excludedFrom: undefined };
}

// Not a private method, which would cost each message a field.
function headerToSend(
  { encoded, expires, deliveryCount }: QueuedMessage,
  again: boolean,
  clock: Pick<Environment, "now">,
): Header {
  const { header } = encoded;
  const ttl = header?.ttl;
  return {
    ...header,
    // The remaining time [messaging 3.2.1]; a dead letter does not expire.
    ttl: ttl === undefined || expires === Infinity
      ? undefined
      : Math.min(MAX_UINT, Math.max(0, Math.round(expires - clock.now()))),
    firstAcquirer: again ? false : header?.firstAcquirer,
    deliveryCount: deliveryCount === 0 ? header?.deliveryCount : deliveryCount,
  };
}

/** The messages of a queue that consumers hold, in no order: each knows its place, so that removal needs no lookup. */
export class HeldMessages {
  readonly #messages: QueuedMessage[] = [];

  get size(): number {
    return this.#messages.length;
  }

  /** Any of the messages; undefined if there are none. */
  get any(): QueuedMessage | undefined {
    return this.#messages.at(-1);
  }

  add(message: QueuedMessage): void {
    message.at = this.#messages.length;
    this.#messages.push(message);
  }

  /** Removes a message; false if it is not among them. */
  delete(message: QueuedMessage): boolean {
    const { at } = message;
    if (at < 0) return false;
    // The last one takes its place.
    const last = this.#messages.pop()!;
    if (last !== message) {
      this.#messages[at] = last;
      last.at = at;
    }
    message.at = -1;
    return true;
  }
}
