/**
 * The outgoing side of a link: its messages in order, from the call that sends them until they are settled.
 *
 * The link outlives its attachments. While there is one, its sender pulls deliveries from here when it transmits.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { isBytes } from "../base/kinds.ts";
import { MAX_DELIVERY_TAG_BYTES } from "../codec/limits.ts";
import type { DeliveryState } from "../codec/types.ts";
import { keyOfTag, type TagKey, tagKey, tagOf } from "./tags.ts";

// Bytes that are read from a source at a time: a frame of them fits the flush with what stands before it.
const READ_BYTES = 64_512;

/** A payload that is read while it is sent. */
export interface PayloadSource {
  /** True when everything was read. */
  readonly ended: boolean;
  /** Returns the next bytes, at most `max`; undefined while there are none, until the link's `wake` is called. */
  read(max: number): Uint8Array | undefined;
  /** Called when nothing more is read: the delivery is sent and settled, or aborted. */
  done?(): void;
}

/** States that a sender may report: `received` is the receiver's [transport 2.7.6]. */
export type SenderState = Exclude<DeliveryState, { readonly kind: "received" }>;

export interface DeliveryOptions {
  /**
   * True sends the delivery settled: at most once, no outcome. Default: false, or true on a link of settle mode `"settled"`.
   */
  settled?: boolean | undefined;
  /** The message format. Default: 0, an AMQP message. */
  messageFormat?: number | undefined;
  /** The delivery state on the first frame, such as that of a transaction. Default: none. */
  state?: DeliveryState | undefined;
  /** The delivery tag, 1 to 32 bytes. Default: a counter of the link. */
  tag?: Uint8Array | undefined;
  /** True resumes a delivery in the `unsettled` map of our attach [transport 2.6.13]. Default: false. */
  resume?: boolean | undefined;
  /** False holds the delivery, and those behind it, until it is set and the link's `wake` is called. Default: true. */
  ready?: boolean | undefined;
}

export interface OutgoingEndpoint {
  readonly session: { readonly settlement: OutgoingSettlement };
  /** Notes that there may be something to write. */
  wake(): void;
  /** Reports the receiver's disposition of `delivery`. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void;
}

/** The part of a session's settlement that outgoing links use. */
interface OutgoingSettlement {
  /** Checks that the peer accepts a disposition with this state. */
  check(state: DeliveryState): void;
  /** Reports to the receiver that `delivery` is settled. */
  settle(delivery: OutgoingDelivery): void;
  forget(delivery: OutgoingDelivery): void;
}

export class OutgoingDelivery {
  readonly link: OutgoingLink;
  /** The encoded message, or the part of it that is being written. */
  payload: Uint8Array;
  /** The source of the rest of the message, where it is read while it is sent. */
  readonly source: PayloadSource | undefined;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  sentSettled: boolean;
  /** True if this delivery resumes one of an earlier attachment. */
  resume: boolean | undefined;
  /** False while the delivery must not go out yet. */
  ready: boolean;
  /** True if the delivery is sent as a new one although an earlier attachment has sent it. */
  resent = false;
  /** True if the delivery was resumed where an earlier attachment had left it. */
  resumed = false;
  /** The delivery id on its session; undefined until the first frame is written. */
  id: number | undefined;
  /** Bytes of `payload` that have been written. */
  offset = 0;
  /** Bytes of the message that came before `payload`. */
  before = 0;
  /** True once the last frame has been written. */
  sent = false;
  /** True once this side holds no state of the delivery any more. */
  settled: boolean;
  /** True once the delivery was aborted before its last frame. */
  aborted = false;
  /** Our last state, if any. */
  state: DeliveryState | undefined;
  /** The last state that the receiver reported, if any. */
  remoteState: DeliveryState | undefined;
  /** Data that the user of the link keeps with the delivery; a delivery without any is not sent again. */
  context: unknown;
  /** The tag, as a number where the link counted it; for links. */
  ownTag: number | Uint8Array | undefined;
  /** The delivery before this one on the link; for links. */
  previous: OutgoingDelivery | undefined;
  /** The delivery behind this one on the link; for links. */
  next: OutgoingDelivery | undefined;

  constructor(link: OutgoingLink, payload: Uint8Array | PayloadSource, options: DeliveryOptions) {
    this.link = link;
    const whole = isBytes(payload);
    this.payload = whole ? payload : new Uint8Array(0);
    this.source = whole ? undefined : payload;
    this.messageFormat = options.messageFormat ?? 0;
    this.sentSettled = this.settled = options.settled ?? false;
    this.state = options.state;
    this.resume = options.resume;
    this.ready = options.ready !== false;
    this.ownTag = options.tag;
  }

  /** The delivery tag, 1 to 32 bytes; made on access. */
  get tag(): Uint8Array {
    const tag = this.link.number(this);
    return typeof tag === "number" ? tagOf(tag) : tag;
  }

  /** Whether no more of the message follows `payload`. */
  get whole(): boolean {
    return this.source === undefined || this.source.ended;
  }

  /**
   * Settles the delivery on this side; the answer to an outcome when the receiver waits for us [transport 2.6.12].
   *
   * The receiver is notified once the last frame is out.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the state is larger than the peer accepts.
   */
  settle(state?: SenderState): void {
    if (this.settled) return;
    if (state !== undefined) {
      this.link.settlement?.check(state);
      this.state = state;
    }
    this.settled = true;
    this.link.settle(this);
  }

  /** Aborts a delivery whose last frame is not written yet; false when it is too late. */
  abort(): boolean {
    return this.link.abort(this);
  }

  /** Notes that the receiver settled the delivery; for sessions. */
  settledByPeer(): void {
    this.settled = true;
    if (this.sent) this.link.remove(this);
  }

  /** Reports the receiver's disposition; for sessions. */
  handleDisposition(state: DeliveryState | undefined, settled: boolean): void {
    this.link.attachment?.handleDisposition(this, state, settled);
  }

  /** Whether a frame can be written; reads on where the message comes from a source. */
  fill(): boolean {
    if (this.aborted || this.whole || this.offset < this.payload.length) return true;
    const bytes = this.source!.read(READ_BYTES);
    if (bytes === undefined || bytes.length === 0) return this.whole;
    this.before += this.payload.length;
    this.payload = bytes;
    this.offset = 0;
    return true;
  }
}

/** The deliveries of one link in order: first the unsettled ones that were sent, then those that wait to be written. */
export class OutgoingLink {
  /** The sender that carries the link now, if any; set by the sender. */
  attachment: OutgoingEndpoint | undefined;
  /** Deliveries without a written frame. */
  queued = 0;
  /** Deliveries that are not done. */
  size = 0;

  #first: OutgoingDelivery | undefined;
  #last: OutgoingDelivery | undefined;
  // The first delivery whose last frame is not written.
  #cursor: OutgoingDelivery | undefined;
  #nextTag = 0;
  // Tags of unsettled deliveries; kept from the first one that was not counted here.
  #tags: Set<TagKey> | undefined;

  /** The settlement of the session, while there is an attachment. */
  get settlement(): OutgoingSettlement | undefined {
    return this.attachment?.session.settlement;
  }

  /** The delivery to write next, if any. */
  get next(): OutgoingDelivery | undefined {
    return this.#cursor;
  }

  /** The deliveries that are not done, in order. */
  *[Symbol.iterator](): Generator<OutgoingDelivery, void, void> {
    for (let delivery = this.#first; delivery !== undefined;) {
      // The delivery may be removed meanwhile.
      const { next } = delivery;
      yield delivery;
      delivery = next;
    }
  }

  /**
   * Queues a delivery, to be written when the receiver grants credit; `inFront` before all others, none of which has begun.
   *
   * @throws {RangeError} If the tag is empty or longer than 32 bytes, or the message format is no uint.
   * @throws {AmqpError} With `amqp:illegal-state` if the tag is in use.
   */
  push(payload: Uint8Array | PayloadSource, options: DeliveryOptions = {}, inFront = false): OutgoingDelivery {
    const { tag, messageFormat } = options;
    if (messageFormat !== undefined && messageFormat !== messageFormat >>> 0) {
      throw new RangeError(`Cannot send: messageFormat ${messageFormat} is no uint`);
    }
    if (tag !== undefined) this.#takeTag(tag, options.settled ?? false);
    const delivery = new OutgoingDelivery(this, payload, options);
    if (inFront && this.#first !== undefined) {
      this.#first.previous = delivery;
      delivery.next = this.#first;
      this.#first = this.#cursor = delivery;
    } else {
      delivery.previous = this.#last;
      if (this.#last === undefined) this.#first = delivery;
      else this.#last.next = delivery;
      this.#last = delivery;
      this.#cursor ??= delivery;
    }
    this.size++;
    this.queued++;
    // Nothing is written ahead of the deliveries in front.
    if (this.#cursor === delivery) this.wake();
    return delivery;
  }

  /** Notes that a delivery became ready, or that its source has more. */
  wake(): void {
    this.attachment?.wake();
  }

  /** The tag of a delivery, which gets a counted one if it has none. */
  number(delivery: OutgoingDelivery): number | Uint8Array {
    if (delivery.ownTag !== undefined) return delivery.ownTag;
    let number: number;
    do {
      number = this.#nextTag;
      this.#nextTag = (number + 1) >>> 0;
    } while (this.#tags?.has(number | 0));
    if (!delivery.sentSettled) this.#tags?.add(number | 0);
    return delivery.ownTag = number;
  }

  /** Gives a delivery a tag that no other has. */
  name(delivery: OutgoingDelivery, tag: Uint8Array): void {
    this.#tags?.add(tagKey(tag));
    delivery.ownTag = tag;
  }

  /** Notes that the first frame of a delivery was written; for senders. */
  begin(delivery: OutgoingDelivery, id: number): void {
    delivery.id = id;
    this.queued--;
  }

  /** Notes that the last frame of a delivery was written; for senders. */
  finish(delivery: OutgoingDelivery): void {
    delivery.sent = true;
    this.#cursor = delivery.next;
    if (delivery.settled) this.settle(delivery);
  }

  /** Settles a delivery that is marked as settled, once it is sent. */
  settle(delivery: OutgoingDelivery): void {
    // A receiver is notified only once it has the whole delivery.
    if (!delivery.sent) return;
    this.settlement?.settle(delivery);
    this.remove(delivery);
  }

  /** Aborts a delivery whose last frame is not written yet; false when it is too late. */
  abort(delivery: OutgoingDelivery): boolean {
    if (delivery.sent || delivery.aborted || !this.#holds(delivery)) return false;
    delivery.aborted = delivery.settled = true;
    // The peer must learn of a delivery that it knows; it never saw the others.
    if (delivery.id === undefined && !delivery.resume) this.remove(delivery);
    else this.settlement?.forget(delivery);
    // The delivery behind may go now.
    this.wake();
    return true;
  }

  /** Removes a delivery, wherever it is. */
  remove(delivery: OutgoingDelivery): void {
    if (!this.#holds(delivery)) return;
    const { previous, next } = delivery;
    if (this.#cursor === delivery) this.#cursor = next;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    delivery.previous = delivery.next = undefined;
    this.size--;
    if (delivery.id === undefined) this.queued--;
    this.#freeTag(delivery);
    delivery.source?.done?.();
  }

  /** Removes a delivery that is not to be sent; those behind it may go on. */
  drop(delivery: OutgoingDelivery): void {
    this.remove(delivery);
    this.wake();
  }

  /** Makes a delivery go out settled that was not meant to; for senders. */
  sendSettled(delivery: OutgoingDelivery): void {
    this.#freeTag(delivery);
    delivery.sentSettled = delivery.settled = true;
  }

  /**
   * Starts over after the end of an attachment: with `again`, sent deliveries that are unsettled are sent again, in order and
   * before all others. `held` holds each of them until somebody has decided on it: until then `resume` marks it, and `ready`
   * lets it go.
   *
   * @returns The removed deliveries, which must not go out twice: settled ones, those without a `context`, those from a source,
   * and those of a transaction, which has ended with the attachment.
   */
  rewind(again: boolean, held = false): OutgoingDelivery[] {
    const over: OutgoingDelivery[] = [];
    for (const delivery of this) {
      if (delivery.id === undefined && !delivery.resume) {
        // Behind deliveries that are sent as new ones there may be others that are not decided on yet.
        if (held) continue;
        break;
      }
      this.settlement?.forget(delivery);
      const { settled, context, source, state } = delivery;
      if (!again || settled || context === undefined || source !== undefined || state?.kind === "transactionalState") {
        over.push(delivery);
        this.remove(delivery);
        continue;
      }
      if (delivery.id !== undefined) this.queued++;
      if (state?.kind === "received") delivery.state = undefined;
      delivery.id = delivery.remoteState = undefined;
      delivery.offset = 0;
      delivery.sent = false;
      delivery.resent ||= !held;
      delivery.resume = held || undefined;
      delivery.ready = !held;
    }
    this.attachment = undefined;
    this.#cursor = this.#first;
    return over;
  }

  /** Removes and returns all deliveries. */
  clear(): OutgoingDelivery[] {
    const all = [...this];
    for (const delivery of all) {
      this.settlement?.forget(delivery);
      this.remove(delivery);
    }
    this.attachment = undefined;
    return all;
  }

  #freeTag({ ownTag, sentSettled }: OutgoingDelivery): void {
    if (this.#tags !== undefined && ownTag !== undefined && !sentSettled) this.#tags.delete(keyOfTag(ownTag));
  }

  #holds(delivery: OutgoingDelivery): boolean {
    return delivery.previous !== undefined || this.#first === delivery;
  }

  #takeTag(tag: Uint8Array, settled: boolean): void {
    if (tag.length === 0 || tag.length > MAX_DELIVERY_TAG_BYTES) {
      throw new RangeError(`Cannot send: delivery tag has ${tag.length} bytes, not 1 to 32`);
    }
    // A settled delivery needs no unique tag.
    if (settled) return;
    if (this.#tags === undefined) {
      this.#tags = new Set();
      for (const { ownTag, sentSettled } of this) {
        if (ownTag !== undefined && !sentSettled) this.#tags.add(keyOfTag(ownTag));
      }
    }
    const key = tagKey(tag);
    if (this.#tags.has(key)) {
      throw new AmqpError(condition.illegalState, "Cannot send: delivery tag is in use", { scope: "delivery" });
    }
    this.#tags.add(key);
  }
}
