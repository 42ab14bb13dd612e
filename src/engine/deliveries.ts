/**
 * Deliveries in motion, and the bookkeeping of what is not settled yet.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { DeliveryState, ReceiverSettleMode, SenderSettleMode } from "../codec/types.ts";
import { ChurnMap } from "../base/collections.ts";
import type { LinkState } from "./states.ts";
import { add, difference } from "./windows.ts";

/** Longest delivery tag [transport 2.8.7]. */
export const MAX_DELIVERY_TAG_BYTES = 32;

/** What a delivery asks of the link that it travels on, whichever way. */
interface DeliveryLink {
  /** The link's name. */
  readonly name: string;
  /** Where the link stands. */
  readonly state: LinkState;
  /** Deliveries of the link that are not settled on both sides, by tag. */
  readonly unsettled: { delete(key: TagKey): boolean };
  /** Checks that the peer takes a disposition with this state. */
  check(state: DeliveryState): void;
}

/** What a delivery asks of the link that sends it. */
export interface SendingLink extends DeliveryLink {
  /** Which deliveries are sent settled. */
  readonly sndSettleMode: SenderSettleMode;
  /** Tells the receiver that `delivery` is settled. */
  settle(delivery: OutgoingDelivery): void;
  /** Gives up `delivery`; false when it is too late. */
  abort(delivery: OutgoingDelivery): boolean;
  /** Reports what the receiver told of `delivery`. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void;
}

/** What a delivery asks of the link that it came on. */
export interface ReceivingLink extends DeliveryLink {
  /** Whether an outcome settles at once. */
  readonly rcvSettleMode: ReceiverSettleMode;
  /** Tells the sender the state of `delivery`. */
  update(delivery: IncomingDelivery): void;
  /** Reports what the sender told of `delivery`. */
  handleDisposition(delivery: IncomingDelivery, state: DeliveryState | undefined, settled: boolean): void;
}

/** What has arrived of a delivery, by the time that it is whole. */
export interface ArrivedDelivery {
  /** Number on its session. */
  readonly id: number;
  /** The tag as a map key. */
  readonly key: TagKey;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** True if it takes up one from before the link was attached. */
  readonly resume: boolean;
  /** True if the sender has settled it. */
  readonly settled: boolean;
  /** What the sender said last of its state. */
  readonly state: DeliveryState | undefined;
  /** The payload. */
  bytes(): Uint8Array;
}

/** How a delivery is sent. */
export interface DeliveryOptions {
  /** True sends it settled: at most once, no outcome. Default: false, or true on a link of settle mode `"settled"`. */
  settled?: boolean;
  /** The message format. Default: 0, an AMQP message. */
  messageFormat?: number;
  /** Delivery state on the first frame, such as that of a transaction. Default: none. */
  state?: DeliveryState;
  /** True takes up a delivery that the `unsettled` map of our attach names [transport 2.6.13]. Default: false. */
  resume?: boolean;
}

/** A delivery that we send. */
export class OutgoingDelivery {
  /** The link it travels on. */
  readonly link: SendingLink;
  /** Names the delivery on its link, 1 to 32 bytes. */
  readonly tag: Uint8Array;
  /** The tag as a map key. */
  readonly key: TagKey;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** The encoded message. */
  readonly payload: Uint8Array;
  /** True if it goes out settled. */
  readonly sentSettled: boolean;
  /** True if it takes up one from before the link was attached. */
  readonly resume: boolean;
  /** Number on its session; undefined until the first frame is written. */
  id: number | undefined;
  /** How much of `payload` has been written. */
  offset = 0;
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
  /** What the user of the link keeps of it. */
  context: unknown;

  /** Prepares a delivery; nothing is written yet. */
  constructor(link: SendingLink, tag: Uint8Array, payload: Uint8Array, options: DeliveryOptions) {
    this.link = link;
    this.tag = tag;
    this.key = tagKey(tag);
    this.payload = payload;
    this.messageFormat = options.messageFormat ?? 0;
    this.sentSettled = this.settled = link.sndSettleMode === "settled" || (options.settled ?? false);
    this.state = options.state;
    this.resume = options.resume ?? false;
  }

  /**
   * Settles it, which ends it on this side; the answer to an outcome when the receiver waits for us [transport 2.6.12].
   *
   * The receiver is told when the last frame is out.
   *
   * @throws {TypeError} If `state` is `received`, which is the receiver's to tell [transport 2.7.6].
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the peer does not take so large a state.
   */
  settle(state?: DeliveryState): void {
    if (this.settled) return;
    if (state?.kind === "received") throw new TypeError('Cannot settle delivery: only a receiver tells "received"');
    if (state !== undefined) {
      this.link.check(state);
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
  }
}

/** A delivery that we received in full. */
export class IncomingDelivery {
  /** The link it came on. */
  readonly link: ReceivingLink;
  /** Number on its session. */
  readonly id: number;
  /** The tag as a map key. */
  readonly key: TagKey;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** The encoded message. */
  payload: Uint8Array;
  /** True if it takes up one from before the link was attached; the payload starts where the sender was told to. */
  readonly resume: boolean;
  /** True once the sender has settled it. */
  remoteSettled: boolean;
  /** The state that the sender told last, if any. */
  remoteState: DeliveryState | undefined;
  /** True once this side has settled it. */
  settled = false;
  /** The state that we told last, if any. */
  state: DeliveryState | undefined;
  /** What the user of the link keeps of it. */
  context: unknown;

  /** Built by its link when the last frame arrived. */
  constructor(link: ReceivingLink, arrived: ArrivedDelivery) {
    this.link = link;
    this.id = arrived.id;
    this.key = arrived.key;
    this.messageFormat = arrived.messageFormat;
    this.payload = arrived.bytes();
    this.resume = arrived.resume;
    this.remoteSettled = arrived.settled;
    this.remoteState = arrived.state;
  }

  /** Names the delivery on its link; made when asked for, as few ask and an array of four bytes takes 220. */
  get tag(): Uint8Array {
    return tagOf(this.key);
  }

  /**
   * Tells the sender our state of the delivery and, if it is an outcome and the link does not settle in two steps,
   * settles it.
   *
   * In two steps (`rcvSettleMode` `"second"`) an outcome goes out unsettled, and the delivery is settled when the sender
   * settles it [transport 2.6.12].
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it is settled already, `amqp:frame-size-too-small` if the peer does
   * not take so large a state.
   */
  update(
    state: DeliveryState,
    settled: boolean = this.link.rcvSettleMode === "first" && state.kind !== "received",
  ): void {
    if (this.settled) {
      throw new AmqpError(condition.illegalState, "Cannot update delivery: it is settled", { scope: "delivery" });
    }
    if (!this.remoteSettled) this.link.check(state);
    this.state = state;
    this.settled = settled || this.remoteSettled;
    if (!this.remoteSettled) this.link.update(this);
  }

  /** Notes that the sender settled it; for sessions. */
  settledByPeer(): void {
    this.remoteSettled = true;
    // An outcome that was told has been heard; otherwise what is told from now on matters on this side only.
    if (this.state !== undefined && this.state.kind !== "received") this.settled = true;
  }
}

/** Deliveries of one direction of a session by their id. */
export class DeliveriesById<D extends { readonly id: number | undefined }> {
  readonly #byId = new ChurnMap<number, D>();

  /** How many there are. */
  get size(): number {
    return this.#byId.size;
  }

  /** Whether it is held. */
  has(delivery: D): boolean {
    return delivery.id !== undefined && this.#byId.get(delivery.id) === delivery;
  }

  /** Adds one. */
  set(id: number, delivery: D): void {
    this.#byId.set(id, delivery);
  }

  /** Removes one; false when it is not held. */
  delete(delivery: D): boolean {
    return this.has(delivery) && this.#byId.delete(delivery.id!);
  }

  /** Removes the one that is held with this id. */
  remove(id: number): void {
    this.#byId.delete(id);
  }

  /** Removes all. */
  clear(): void {
    this.#byId.clear();
  }

  /** Those that we hold of the range `first` to `last`, both included. */
  range(first: number, last: number): D[] {
    const found: D[] = [];
    const span = difference(last, first);
    // A range backwards, or of undefined order, names nothing [rfc1982 3.2].
    if (span < 0) return found;
    // Work follows the smaller of the two: a range may span 2^31 ids, of which we hold but a few.
    if (span < this.#byId.size) {
      for (let i = 0; i <= span; i++) {
        const delivery = this.#byId.get(add(first, i));
        if (delivery !== undefined) found.push(delivery);
      }
    } else {
      for (const [id, delivery] of this.#byId) {
        const offset = difference(id, first);
        if (offset >= 0 && offset <= span) found.push(delivery);
      }
    }
    return found;
  }
}

/** A delivery tag as a map key. */
export type TagKey = number | string;

/** A delivery tag as a map key: a number for one of four bytes, as counters make them, else one character a byte. */
export function tagKey(tag: Uint8Array): TagKey {
  if (tag.length === 4) return tag[0]! << 24 | tag[1]! << 16 | tag[2]! << 8 | tag[3]!;
  // At once: put together one by one, a text of more than a dozen stays a chain of its parts, 32 bytes for each.
  return String.fromCharCode.apply(undefined, tag as unknown as number[]);
}

/** The delivery tag of a map key. */
export function tagOf(key: TagKey): Uint8Array {
  if (typeof key === "number") return Uint8Array.of(key >>> 24, key >>> 16, key >>> 8, key);
  return Uint8Array.from(key, (unit) => unit.charCodeAt(0));
}
