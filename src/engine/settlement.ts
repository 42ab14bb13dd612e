/**
 * What is not settled on a session, and what is to be told of it [transport 2.6.12].
 *
 * @module
 */

import { MAX_UINT } from "../codec/checks.ts";
import type { DeliveryState, Disposition, ErrorFields } from "../codec/types.ts";
import type { IncomingDelivery } from "./deliveries.ts";
import { DeliveriesById } from "./deliveries_by_id.ts";
import { DispositionBatch } from "./dispositions.ts";
import { shortened } from "./fault.ts";
import type { OutgoingDelivery } from "./outgoing.ts";

/** What settlement asks of its session. */
export interface SettlementSession {
  /** Checks that the peer takes a frame with this body. */
  check(disposition: Disposition): void;
  /** Notes that dispositions wait to be written. */
  markDirty(): void;
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

  /**
   * The state as far as the peer takes it: of an error that cannot be written the description or the condition is left.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the peer does not take even that.
   * @throws {TypeError | RangeError} If the state holds what AMQP cannot express, and is no error.
   */
  fit(state: DeliveryState): DeliveryState {
    if (state.kind !== "rejected" || state.error === undefined) {
      this.check(state);
      return state;
    }
    for (let error: ErrorFields | undefined = state.error; error !== undefined; error = shortened(error)) {
      try {
        // One that fits stays the same object, so that ranges of it are told at once.
        const fitting: DeliveryState = error === state.error ? state : { kind: "rejected", error };
        this.check(fitting);
        return fitting;
      } catch {
        // With less of an explanation it may do.
      }
    }
    return { kind: "rejected" };
  }

  /** Tells the sender the state of a delivery that we received; `again` if it was told one before. */
  update(delivery: IncomingDelivery, again: boolean): void {
    // One whose link or session has ended is nothing to the peer any more.
    const held = delivery.settled ? this.#incoming.remove(delivery) : this.#incoming.get(delivery.id) === delivery;
    if (!held) return;
    this.#asReceiver.add(delivery.id, delivery.state, delivery.settled, again);
    this.#session.markDirty();
  }

  /** Tells the receiver that we settled a delivery that we sent. */
  settle(delivery: OutgoingDelivery): void {
    // One whose link has ended, or that the receiver has settled, is nothing to it any more.
    if (!this.#outgoing.remove(delivery)) return;
    this.#asSender.add(delivery.id!, delivery.state, true, false);
    this.#session.markDirty();
  }

  /** Drops a delivery. */
  forget(delivery: OutgoingDelivery | IncomingDelivery): void {
    // It is one of them at most.
    this.#outgoing.remove(delivery as OutgoingDelivery);
    this.#incoming.remove(delivery as IncomingDelivery);
  }

  /** Takes what the peer tells of deliveries, and tells how much of that brought nothing on. */
  receive({ role, first, last = first, state, settled = false }: Disposition): number {
    const deliveries: DeliveriesById<OutgoingDelivery | IncomingDelivery> = role === "receiver"
      ? this.#outgoing
      : this.#incoming;
    if (first !== last) {
      let idle = 1;
      for (const delivery of deliveries.range(first, last)) idle += tell(deliveries, delivery, state, settled);
      return Math.max(0, idle);
    }
    const delivery = deliveries.get(first);
    return delivery === undefined ? 1 : Math.max(0, tell(deliveries, delivery, state, settled));
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

// 1 for what brought nothing on, -1 for what did.
function tell<D extends OutgoingDelivery | IncomingDelivery>(
  deliveries: DeliveriesById<D>,
  delivery: D,
  state: DeliveryState | undefined,
  settled: boolean,
): number {
  // Settled here before its last frame was out: nobody waits for an outcome any more.
  const done = delivery.settled;
  const before = delivery.remoteState?.kind;
  // A state that comes again tells nothing; one of how far it has come may, as it is no outcome.
  if (!settled && (state === undefined || (state.kind === before && before !== "received"))) return 1;
  if (state !== undefined) delivery.remoteState = state;
  if (settled) {
    deliveries.remove(delivery);
    delivery.settledByPeer();
  }
  if (!done) delivery.handleDisposition(state, settled);
  return settled || state!.kind !== "received" && before === undefined ? -1 : 1;
}
