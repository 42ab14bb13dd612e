/**
 * What is not settled on a session, and what is to be told of it [transport 2.6.12].
 *
 * @module
 */

import { MAX_UINT } from "../codec/checks.ts";
import type { DeliveryState, Disposition, Role } from "../codec/types.ts";
import { DeliveriesById, type IncomingDelivery, type OutgoingDelivery } from "./deliveries.ts";
import { DispositionBatch } from "./dispositions.ts";

/** What settlement asks of its session. */
export interface SettlementSession {
  /** Checks that the peer takes a frame with this body. */
  check(disposition: Disposition): void;
  /** Notes that dispositions wait to be written. */
  markDirty(): void;
}

/** What settlement asks of a link whose deliveries are to be dropped. */
interface SettlementLink {
  readonly role: Role;
  readonly unsettled: { values(): Iterable<OutgoingDelivery | IncomingDelivery>; clear(): void };
}

/** The unsettled deliveries of one session, both directions, and the dispositions that wait to be written. */
export class Settlement {
  readonly #session: SettlementSession;
  readonly #outgoing = new DeliveriesById<OutgoingDelivery>();
  readonly #incoming = new DeliveriesById<IncomingDelivery>();
  readonly #asSender = new DispositionBatch("sender");
  readonly #asReceiver = new DispositionBatch("receiver");

  /** Starts with nothing. */
  constructor(session: SettlementSession) {
    this.#session = session;
  }

  /** How many deliveries there are. */
  get size(): number {
    return this.#outgoing.size + this.#incoming.size;
  }

  /** Keeps a delivery whose first frame left unsettled. */
  sent(delivery: OutgoingDelivery): void {
    this.#outgoing.set(delivery.id!, delivery);
  }

  /** Keeps a delivery that arrived unsettled. */
  arrived(delivery: IncomingDelivery): void {
    this.#incoming.set(delivery.id, delivery);
  }

  /**
   * Checks that the peer takes a disposition with this state.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if it does not.
   * @throws {TypeError | RangeError} If the state holds what AMQP cannot express.
   */
  check(state: DeliveryState): void {
    // There is nothing in these.
    if (state.kind === "accepted" || state.kind === "released") return;
    this.#session.check({
      kind: "disposition",
      role: "receiver",
      first: MAX_UINT,
      last: MAX_UINT,
      settled: true,
      state,
    });
  }

  /** Tells the sender the state of a delivery that we received. */
  update(delivery: IncomingDelivery): void {
    // One whose link or session has ended is nothing to the peer any more.
    if (delivery.settled) {
      if (!this.#incoming.delete(delivery)) return;
      delivery.link.unsettled.delete(delivery.key);
    } else if (!this.#incoming.has(delivery)) return;
    this.#asReceiver.add(delivery.id, delivery.state, delivery.settled);
    this.#session.markDirty();
  }

  /** Tells the receiver that we settled a delivery that we sent. */
  settle(delivery: OutgoingDelivery): void {
    // A receiver is told only once it knows the whole delivery; one whose link has ended is nothing to it any more.
    if (!delivery.sent || !this.#outgoing.delete(delivery)) return;
    delivery.link.unsettled.delete(delivery.key);
    this.#asSender.add(delivery.id!, delivery.state, true);
    this.#session.markDirty();
  }

  /** Drops a delivery that was aborted. */
  forget(delivery: OutgoingDelivery): void {
    delivery.link.unsettled.delete(delivery.key);
    this.#outgoing.delete(delivery);
  }

  /** Drops the deliveries of a link that is closed; those of a suspended one live on. */
  forgetLink(link: SettlementLink): void {
    const deliveries: DeliveriesById<OutgoingDelivery | IncomingDelivery> = link.role === "sender"
      ? this.#outgoing
      : this.#incoming;
    for (const delivery of link.unsettled.values()) deliveries.delete(delivery);
    link.unsettled.clear();
  }

  /** Takes what the peer tells of deliveries. */
  receive(disposition: Disposition): void {
    const { first, last = first, state, settled = false } = disposition;
    const deliveries: DeliveriesById<OutgoingDelivery | IncomingDelivery> = disposition.role === "receiver"
      ? this.#outgoing
      : this.#incoming;
    for (const delivery of deliveries.range(first, last)) {
      // Settled here before its last frame was out: nobody waits for an outcome any more.
      const done = delivery.settled;
      if (state !== undefined) delivery.remoteState = state;
      if (settled) {
        deliveries.remove(delivery.id!);
        delivery.link.unsettled.delete(delivery.key);
        delivery.settledByPeer();
      }
      // Each kind of delivery has a link of its kind.
      if (!done) delivery.link.handleDisposition(delivery as OutgoingDelivery & IncomingDelivery, state, settled);
    }
  }

  /** Hands out the dispositions that wait. */
  write(write: (disposition: Disposition) => void): void {
    this.#asReceiver.drain(write);
    this.#asSender.drain(write);
  }

  /** Drops all. */
  clear(): void {
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#asSender.clear();
    this.#asReceiver.clear();
  }
}
