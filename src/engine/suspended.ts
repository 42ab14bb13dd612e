/**
 * Deliveries of an earlier attachment that the sender may resume [transport 2.6.13]. Loaded with the code that resumes links.
 *
 * @module
 */

import { difference } from "../base/collections.ts";
import type { Attach, DeliveryState } from "../codec/types.ts";
import type { IncomingDelivery } from "./deliveries.ts";
import { type TagKey, tagKey } from "./tags.ts";
import type { IncomingTransfers } from "./incoming_transfers.ts";
import type { ReceiverEndpoint, Suspended } from "./receiver.ts";

/** The suspended deliveries of one receiver, which its attach lists as unsettled. */
export class SuspendedDeliveries implements Suspended {
  readonly #link: ReceiverEndpoint;
  readonly #deliveries: Map<TagKey, IncomingDelivery> = new Map();

  /** Moves the deliveries to `link`; the sender has settled those that it does not list itself. */
  constructor(link: ReceiverEndpoint, deliveries: Iterable<IncomingDelivery>) {
    this.#link = link;
    for (const delivery of deliveries) {
      delivery.link = link;
      delivery.suspended = true;
      this.#deliveries.set(delivery.key, delivery);
    }
    if (link.remote !== undefined) this.compare(link.remote);
  }

  has(key: TagKey): boolean {
    return this.#deliveries.has(key);
  }

  // The sender has settled a delivery that it does not list, unless its list is incomplete; a sender that lists nothing at all
  // has kept nothing, and its tags start over.
  compare({ unsettled, incompleteUnsettled }: Attach): void {
    if (unsettled === undefined) return this.#deliveries.clear();
    if (incompleteUnsettled) return;
    const listed = new Set(Array.from(unsettled.keys(), tagKey));
    for (const delivery of this.#deliveries.values()) {
      if (!listed.has(delivery.key)) this.#settledBefore(delivery, undefined);
    }
  }

  resume({ key, id, settled, state }: IncomingTransfers, aborted: boolean): void {
    const delivery = this.#deliveries.get(key)!;
    if (settled || aborted) return this.#settledBefore(delivery, state);
    const link = this.#link;
    this.#deliveries.delete(key);
    if (state !== undefined) delivery.remoteState = state;
    delivery.id = id;
    delivery.suspended = false;
    link.unsettled.set(key, delivery);
    link.session.settlement.arrived(delivery);
    if (delivery.state !== undefined) {
      // A state that was set on the lost link, or on none, is sent here.
      delivery.settled = link.rcvSettleMode === "first" && delivery.state.kind !== "received";
      link.update(delivery, false);
    }
    if (delivery.settled) link.handleDisposition(delivery, state, true);
  }

  values(): Iterable<IncomingDelivery> {
    return this.#deliveries.values();
  }

  #settledBefore(delivery: IncomingDelivery, state: DeliveryState | undefined): void {
    this.#deliveries.delete(delivery.key);
    if (state !== undefined) delivery.remoteState = state;
    delivery.settledByPeer();
    this.#link.handleDisposition(delivery, state, true);
  }
}

/** Deliveries of a receiver that are not settled on both sides, including those that were not resumed yet. */
export function unsettledOf({ suspended, unsettled }: ReceiverEndpoint): IncomingDelivery[] {
  return [...suspended?.values() ?? [], ...unsettled.values().sort((a, b) => difference(a.id, b.id))];
}
