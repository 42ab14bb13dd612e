/**
 * Deliveries that arrive, and the tags of all.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { DeliveryState, ReceiverSettleMode } from "../codec/types.ts";
import type { LinkState } from "./states.ts";

/** Longest delivery tag [transport 2.8.7]. */
export const MAX_DELIVERY_TAG_BYTES = 32;

/** What a delivery asks of the link that it came on. */
export interface ReceivingLink {
  /** The link's name. */
  readonly name: string;
  /** Where the link stands. */
  readonly state: LinkState;
  /** Whether an outcome settles at once. */
  readonly rcvSettleMode: ReceiverSettleMode;
  /** The session of the link. */
  readonly session: { readonly settlement: { fit(state: DeliveryState): DeliveryState } };
  /** Tells the sender the state of `delivery`; `again` if it was told one before. */
  update(delivery: IncomingDelivery, again: boolean): void;
  /** Drops what the link holds of `delivery`. */
  forget(delivery: IncomingDelivery): void;
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
  bytes(): Uint8Array;
}

/** A delivery that we received in full. */
export class IncomingDelivery {
  /** What it came on, or is taken up on. */
  link: ReceivingLink;
  id: number;
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
  /** True while nothing carries it: what is told of it meanwhile is told when a link takes it up. */
  suspended = false;
  /** The state that we told last, if any. */
  state: DeliveryState | undefined;
  /** What the user of the link keeps of it. */
  context: unknown;

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
    settled: boolean = !this.suspended && this.link.rcvSettleMode === "first" && state.kind !== "received",
  ): void {
    if (this.settled) {
      throw new AmqpError(condition.illegalState, "Cannot update delivery: it is settled", { scope: "delivery" });
    }
    const again = this.state !== undefined;
    this.state = this.remoteSettled ? state : this.link.session.settlement.fit(state);
    this.settled = settled || this.remoteSettled;
    if (!this.remoteSettled) this.link.update(this, again);
  }

  /** Goes on under another number; for the link that takes it up. */
  takeUp(id: number): void {
    this.id = id;
    this.suspended = false;
    if (this.state === undefined) return;
    // What was told on the lost link, or to nobody, is told here.
    this.settled = this.link.rcvSettleMode === "first" && this.state.kind !== "received";
    this.link.update(this, false);
  }

  /** Notes that the sender settled it; for sessions. */
  settledByPeer(): void {
    this.remoteSettled = true;
    this.link.forget(this);
    // An outcome that was told has been heard; otherwise what is told from now on matters on this side only.
    if (this.state !== undefined && this.state.kind !== "received") this.settled = true;
  }

  /** Reports what the sender told; for sessions. */
  handleDisposition(state: DeliveryState | undefined, settled: boolean): void {
    this.link.handleDisposition(this, state, settled);
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
