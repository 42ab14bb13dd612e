/**
 * What goes out on a link: its messages in order, from the call that sends them until they are settled.
 *
 * The link outlives its attachment. While there is one, the sender of it pulls from here when it transmits.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { DeliveryState } from "../codec/types.ts";
import { MAX_DELIVERY_TAG_BYTES, type TagKey, tagKey } from "./deliveries.ts";

// What is read of a source at a time, in bytes: a frame that fits the flush with what stands before it.
const READ_BYTES = 64_512;

/** A payload that is read as it goes out. */
export interface PayloadSource {
  /** True when all of it was read. */
  readonly ended: boolean;
  /** The next bytes, `max` at most; undefined while there are none, until `wake` of the link is called. */
  read(max: number): Uint8Array | undefined;
  /** Nothing more is read: the delivery is sent and settled, or given up. */
  done?(): void;
}

/** What a sender may tell: `received` is the receiver's [transport 2.7.6]. */
export type SenderState = Exclude<DeliveryState, { readonly kind: "received" }>;

/** How a delivery is sent. */
export interface DeliveryOptions {
  /** True sends it settled: at most once, no outcome. Default: false, or true on a link of settle mode `"settled"`. */
  settled?: boolean | undefined;
  /** The message format. Default: 0, an AMQP message. */
  messageFormat?: number | undefined;
  /** Delivery state on the first frame, such as that of a transaction. Default: none. */
  state?: DeliveryState | undefined;
  /** The tag, 1 to 32 bytes. Default: one that the link counts. */
  tag?: Uint8Array | undefined;
  /** True takes up a delivery that the `unsettled` map of our attach names [transport 2.6.13]. Default: false. */
  resume?: boolean | undefined;
  /** False keeps it, and those behind it, until it is set and `wake` of the link is called. Default: true. */
  ready?: boolean | undefined;
}

/** What a link that goes out asks of its attachment. */
export interface OutgoingEndpoint {
  /** The session of the attachment. */
  readonly session: { readonly settlement: OutgoingSettlement };
  /** Notes that there may be something to write. */
  wake(): void;
  /** Reports what the receiver told of `delivery`. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void;
}

/** What a link that goes out asks of those who keep what is not settled. */
interface OutgoingSettlement {
  /** Checks that the peer takes a disposition with this state. */
  check(state: DeliveryState): void;
  /** Tells the receiver that `delivery` is settled. */
  settle(delivery: OutgoingDelivery): void;
  /** Drops `delivery`. */
  forget(delivery: OutgoingDelivery): void;
}

export class OutgoingDelivery {
  /** The link it travels on. */
  readonly link: OutgoingLink;
  /** The encoded message, or the part of it that is written now. */
  payload: Uint8Array;
  /** Where more of the message comes from, if it is not there as a whole. */
  readonly source: PayloadSource | undefined;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  sentSettled: boolean;
  /** True if it takes up one from before the link was attached. */
  resume: boolean | undefined;
  /** False while it must not go out yet. */
  ready: boolean;
  /** True if it is sent as a new one although an earlier attachment has sent it. */
  resent = false;
  /** True if it was taken up where an earlier attachment had left it. */
  resumed = false;
  /** Number on its session; undefined until the first frame is written. */
  id: number | undefined;
  /** How much of `payload` has been written. */
  offset = 0;
  /** Bytes of the message that came before `payload`. */
  before = 0;
  /** True once the last frame has been written. */
  sent = false;
  /** True once this side holds no state of it any more. */
  settled: boolean;
  /** True once it was given up before its last frame. */
  aborted = false;
  /** The state that we hold, if any. */
  state: DeliveryState | undefined;
  /** The state that the receiver told last, if any. */
  remoteState: DeliveryState | undefined;
  /** What the user of the link keeps of it; one that nobody keeps anything of is not sent again. */
  context: unknown;
  /** The tag: the number of one that was counted, the bytes of any other; for links. */
  ownTag: number | Uint8Array | undefined;
  /** The delivery before this one on the link; for links. */
  previous: OutgoingDelivery | undefined;
  /** The delivery behind this one on the link; for links. */
  next: OutgoingDelivery | undefined;

  constructor(link: OutgoingLink, payload: Uint8Array | PayloadSource, options: DeliveryOptions) {
    this.link = link;
    const whole = payload instanceof Uint8Array;
    this.payload = whole ? payload : new Uint8Array(0);
    this.source = whole ? undefined : payload;
    this.messageFormat = options.messageFormat ?? 0;
    this.sentSettled = this.settled = options.settled ?? false;
    this.state = options.state;
    this.resume = options.resume;
    this.ready = options.ready !== false;
    this.ownTag = options.tag;
  }

  /** Names the delivery on its link, 1 to 32 bytes; made when asked for. */
  get tag(): Uint8Array {
    const tag = this.link.number(this);
    return typeof tag === "number" ? writeTag(new Uint8Array(4), tag) : tag;
  }

  /** Whether no more of the message is to come behind `payload`. */
  get whole(): boolean {
    return this.source === undefined || this.source.ended;
  }

  /**
   * Settles it, which ends it on this side; the answer to an outcome when the receiver waits for us [transport 2.6.12].
   *
   * The receiver is told when the last frame is out.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the peer does not take so large a state.
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

  /** Gives up a delivery whose last frame is not written yet; false when it is too late. */
  abort(): boolean {
    return this.link.abort(this);
  }

  /** Notes that the receiver settled it; for sessions. */
  settledByPeer(): void {
    this.settled = true;
    if (this.sent) this.link.remove(this);
  }

  /** Reports what the receiver told; for sessions. */
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

/** The deliveries of one link in order: first those that wait to be settled, then those that wait to be written. */
export class OutgoingLink {
  /** What carries the link now, if anything does; set by it. */
  attachment: OutgoingEndpoint | undefined;
  /** Deliveries of which no frame is written. */
  queued = 0;
  /** All deliveries that are not done. */
  size = 0;

  #first: OutgoingDelivery | undefined;
  #last: OutgoingDelivery | undefined;
  // The first whose last frame is not written.
  #cursor: OutgoingDelivery | undefined;
  #nextTag = 0;
  // Of what is not settled; kept once there is a tag that was not counted here.
  #tags: Set<TagKey> | undefined;

  /** Those who keep what is not settled, while there is an attachment. */
  get settlement(): OutgoingSettlement | undefined {
    return this.attachment?.session.settlement;
  }

  /** The delivery whose turn it is to be written, if any. */
  get next(): OutgoingDelivery | undefined {
    return this.#cursor;
  }

  /** The deliveries that are not done, in order. */
  *[Symbol.iterator](): Generator<OutgoingDelivery, void, void> {
    for (let delivery = this.#first; delivery !== undefined;) {
      // The delivery may be done meanwhile.
      const { next } = delivery;
      yield delivery;
      delivery = next;
    }
  }

  /**
   * Queues a delivery, to be written when the receiver gives credit; `inFront` before all others, none of which has been.
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
    // Nothing is written before what is in front of it.
    if (this.#cursor === delivery) this.wake();
    return delivery;
  }

  /** Says that a delivery became ready, or that its source has more. */
  wake(): void {
    this.attachment?.wake();
  }

  /** The tag of a delivery, which gets one if it has none. */
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

  /** Settles a delivery that is marked so, once it is sent. */
  settle(delivery: OutgoingDelivery): void {
    // A receiver is told only once it knows the whole delivery.
    if (!delivery.sent) return;
    this.settlement?.settle(delivery);
    this.remove(delivery);
  }

  /** Gives up a delivery whose last frame is not written yet; false when it is too late. */
  abort(delivery: OutgoingDelivery): boolean {
    if (delivery.sent || delivery.aborted || !this.#holds(delivery)) return false;
    delivery.aborted = delivery.settled = true;
    // The peer must hear of one that it knows; the rest it never saw.
    if (delivery.id === undefined && !delivery.resume) this.remove(delivery);
    else this.settlement?.forget(delivery);
    // What it leaves free is for the next.
    this.wake();
    return true;
  }

  /** Takes a delivery off the link, wherever it is. */
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

  /** Takes off a delivery that is not to be sent; those behind it need not wait for it any more. */
  drop(delivery: OutgoingDelivery): void {
    this.remove(delivery);
    this.wake();
  }

  /** Has a delivery go out settled that was not meant to; for senders. */
  sendSettled(delivery: OutgoingDelivery): void {
    this.#freeTag(delivery);
    delivery.sentSettled = delivery.settled = true;
  }

  /**
   * Starts afresh after the end of an attachment: what was sent and is not settled is sent again if so asked, in order and
   * before all else. `held` keeps it until somebody has decided what becomes of each: `resume` tells it from the rest then,
   * and `ready` lets it go.
   *
   * @returns Those that must not go out twice, which are taken off: settled ones, those that nobody waits for any more,
   * those that came from a source, and those of a transaction, which has ended with the attachment.
   */
  rewind(again: boolean, held = false): OutgoingDelivery[] {
    const over: OutgoingDelivery[] = [];
    for (const delivery of this) {
      if (delivery.id === undefined && !delivery.resume) {
        // Behind those that are sent as new ones there may be others that nothing is known of yet.
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

  /** Takes all deliveries off. */
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
    if (this.#tags !== undefined && ownTag !== undefined && !sentSettled) this.#tags.delete(keyOf(ownTag));
  }

  #holds(delivery: OutgoingDelivery): boolean {
    return delivery.previous !== undefined || this.#first === delivery;
  }

  #takeTag(tag: Uint8Array, settled: boolean): void {
    if (tag.length === 0 || tag.length > MAX_DELIVERY_TAG_BYTES) {
      throw new RangeError(`Cannot send: delivery tag has ${tag.length} bytes, not 1 to 32`);
    }
    // Of what is settled nothing needs a name.
    if (settled) return;
    if (this.#tags === undefined) {
      this.#tags = new Set();
      for (const { ownTag, sentSettled } of this) {
        if (ownTag !== undefined && !sentSettled) this.#tags.add(keyOf(ownTag));
      }
    }
    const key = tagKey(tag);
    if (this.#tags.has(key)) {
      throw new AmqpError(condition.illegalState, "Cannot send: delivery tag is in use", { scope: "delivery" });
    }
    this.#tags.add(key);
  }
}

export function writeTag(tag: Uint8Array, number: number): Uint8Array {
  tag[0] = number >>> 24;
  tag[1] = number >>> 16;
  tag[2] = number >>> 8;
  tag[3] = number;
  return tag;
}

function keyOf(tag: number | Uint8Array): TagKey {
  return typeof tag === "number" ? tag | 0 : tagKey(tag);
}
