/**
 * Incoming deliveries.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { DeliveryState, ReceiverSettleMode } from "../codec/types.ts";
import type { LinkState } from "./states.ts";
import { type TagKey, tagOf } from "./tags.ts";

export interface ReceivingLink {
  readonly name: string;
  readonly state: LinkState;
  /** `"first"` if an outcome settles at once. */
  readonly rcvSettleMode: ReceiverSettleMode;
  readonly session: { readonly settlement: { fit(state: DeliveryState): DeliveryState } };
  /** The state to send for `state`: the nearest outcome that the source takes; undefined for its default outcome. */
  agreed(state: DeliveryState): DeliveryState | undefined;
  /** Sends the state of `delivery`; `again` if one was sent before. */
  update(delivery: IncomingDelivery, again: boolean): void;
  forget(delivery: IncomingDelivery): void;
  /** Reports the sender's disposition of `delivery`. */
  handleDisposition(delivery: IncomingDelivery, state: DeliveryState | undefined, settled: boolean): void;
}

/** What an {@linkcode IncomingDelivery} is made of, besides its payload. */
export interface ArrivedDelivery {
  /** The delivery id on its session. */
  readonly id: number;
  /** The tag as a map key. */
  readonly key: TagKey;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** True if this delivery resumes one of an earlier attachment. */
  readonly resume: boolean;
  /** True if the sender has settled the delivery. */
  readonly settled: boolean;
  /** The last state that the sender reported. */
  readonly state: DeliveryState | undefined;
}

/** A delivery that has arrived; on a link with streams, one whose first frame has. */
export class IncomingDelivery {
  /** The link that the delivery came on, or that has resumed it. */
  link: ReceivingLink;
  id: number;
  /** The tag as a map key. */
  readonly key: TagKey;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  payload: Uint8Array;
  /** True if this delivery resumes one of an earlier attachment; the payload then starts where our attach said. */
  readonly resume: boolean;
  /** True once the sender has settled the delivery. */
  remoteSettled: boolean;
  /** The last state that the sender reported, if any. */
  remoteState: DeliveryState | undefined;
  /** True once this side has settled the delivery. */
  settled = false;
  /** True while no link carries the delivery: a state that is set meanwhile is sent once a link resumes it. */
  suspended = false;
  /** Our last state, if any. */
  state: DeliveryState | undefined;
  /** Data that the user of the link keeps with the delivery. */
  context: unknown;

  constructor(link: ReceivingLink, arrived: ArrivedDelivery, payload: Uint8Array) {
    this.link = link;
    this.id = arrived.id;
    this.key = arrived.key;
    this.messageFormat = arrived.messageFormat;
    this.payload = payload;
    this.resume = arrived.resume;
    this.remoteSettled = arrived.settled;
    this.remoteState = arrived.state;
  }

  /** The delivery tag; made on access, as few ask for it and an array of four bytes takes 220. */
  get tag(): Uint8Array {
    return tagOf(this.key);
  }

  /**
   * Sends our state of the delivery to the sender. An outcome also settles the delivery, unless the link settles in two steps.
   *
   * In two steps (`rcvSettleMode` `"second"`) an outcome goes out unsettled, and the delivery is settled when the sender
   * settles it [transport 2.6.12]. An outcome that the source does not take is replaced by the nearest that it takes.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the delivery is settled, `amqp:frame-size-too-small` if the state is
   * larger than the peer accepts.
   */
  update(
    state: DeliveryState,
    settled: boolean = !this.suspended && this.link.rcvSettleMode === "first" && state.kind !== "received",
  ): void {
    if (this.settled) {
      throw new AmqpError(condition.illegalState, "Cannot update delivery: it is settled", { scope: "delivery" });
    }
    const again = this.state !== undefined;
    const agreed = this.remoteSettled ? state : this.link.agreed(state);
    this.state = this.remoteSettled || agreed === undefined ? agreed : this.link.session.settlement.fit(agreed);
    this.settled = settled || agreed === undefined || this.remoteSettled;
    if (!this.remoteSettled) this.link.update(this, again);
  }

  /** Notes that the sender settled the delivery; for sessions. */
  settledByPeer(): void {
    this.remoteSettled = true;
    this.link.forget(this);
    // An outcome that was sent has arrived; otherwise a state that is set from now on matters on this side only.
    if (this.state !== undefined && this.state.kind !== "received") this.settled = true;
  }

  /** Reports the sender's disposition; for sessions. */
  handleDisposition(state: DeliveryState | undefined, settled: boolean): void {
    this.link.handleDisposition(this, state, settled);
  }
}
