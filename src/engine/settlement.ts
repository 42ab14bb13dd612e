/**
 * Unsettled deliveries of a session, and the dispositions for them [transport 2.6.12].
 *
 * @module
 */

import { add, difference, SerialMap } from "../base/collections.ts";
import { MAX_UINT } from "../codec/codes.ts";
import type { DeliveryState, Disposition, ErrorFields, Role } from "../codec/types.ts";
import type { IncomingDelivery } from "./deliveries.ts";
import { shortened } from "./fault.ts";
import type { OutgoingDelivery } from "./outgoing.ts";

export interface SettlementSession {
  /** Checks that the peer accepts a frame with this body. */
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

  constructor(session: SettlementSession) {
    this.#session = session;
  }

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
   * Checks that the peer accepts a disposition with this state.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if it does not.
   * @throws {TypeError | RangeError} If the state holds a value that AMQP cannot express.
   */
  check(state: DeliveryState): void {
    // These have no fields.
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
   * Cuts a state to what the peer accepts: of an error that does not fit, the description or the condition remains.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if a state other than `rejected` is too large.
   * @throws {TypeError | RangeError} If a state other than `rejected` holds a value that AMQP cannot express.
   */
  fit(state: DeliveryState): DeliveryState {
    if (state.kind !== "rejected" || state.error === undefined) {
      this.check(state);
      return state;
    }
    for (let error: ErrorFields | undefined = state.error; error !== undefined; error = shortened(error)) {
      try {
        // A state that fits stays the same object, so that ranges of it are joined.
        const fitting: DeliveryState = error === state.error ? state : { kind: "rejected", error };
        this.check(fitting);
        return fitting;
      } catch {
        // A shorter error may fit.
      }
    }
    return { kind: "rejected" };
  }

  /** Sends the state of a received delivery; `again` if one was sent before. */
  update(delivery: IncomingDelivery, again: boolean): void {
    // The peer knows no delivery whose link or session has ended.
    const held = delivery.settled ? this.#incoming.remove(delivery) : this.#incoming.get(delivery.id) === delivery;
    if (!held) return;
    this.#asReceiver.add(delivery.id, delivery.state, delivery.settled, again);
    this.#session.markDirty();
  }

  /** Reports to the receiver that we settled a sent delivery. */
  settle(delivery: OutgoingDelivery): void {
    // The receiver knows no delivery that it has settled, or whose link has ended.
    if (!this.#outgoing.remove(delivery)) return;
    this.#asSender.add(delivery.id!, delivery.state, true, false);
    this.#session.markDirty();
  }

  forget(delivery: OutgoingDelivery | IncomingDelivery): void {
    // A delivery is in one of the two maps at most.
    this.#outgoing.remove(delivery as OutgoingDelivery);
    this.#incoming.remove(delivery as IncomingDelivery);
  }

  /** Takes a disposition of the peer, and returns how much work of it changed nothing. */
  receive({ role, first, last = first, state, settled = false }: Disposition): number {
    const deliveries: DeliveriesById<OutgoingDelivery | IncomingDelivery> = role === "receiver"
      ? this.#outgoing
      : this.#incoming;
    if (first !== last) {
      let idle = 1;
      for (const delivery of deliveries.range(first, last)) idle += apply(deliveries, delivery, state, settled);
      return Math.max(0, idle);
    }
    const delivery = deliveries.get(first);
    return delivery === undefined ? 1 : Math.max(0, apply(deliveries, delivery, state, settled));
  }

  /** Writes the dispositions that wait. */
  write(write: (disposition: Disposition) => void): void {
    this.#asReceiver.drain(write);
    this.#asSender.drain(write);
  }

  clear(): void {
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#asSender.clear();
    this.#asReceiver.clear();
  }
}

// Returns 1 if nothing changed, -1 if something did.
function apply<D extends OutgoingDelivery | IncomingDelivery>(
  deliveries: DeliveriesById<D>,
  delivery: D,
  state: DeliveryState | undefined,
  settled: boolean,
): number {
  // A delivery settled here before its last frame was out has nobody who waits for an outcome.
  const done = delivery.settled;
  const before = delivery.remoteState?.kind;
  // A repeated state is no news; `received` may be, as it reports progress and is no outcome.
  if (!settled && (state === undefined || (state.kind === before && before !== "received"))) return 1;
  if (state !== undefined) delivery.remoteState = state;
  if (settled) {
    deliveries.remove(delivery);
    delivery.settledByPeer();
  }
  if (!done) delivery.handleDisposition(state, settled);
  return settled || state!.kind !== "received" && before === undefined ? -1 : 1;
}

/** Deliveries of a session by id, of one direction. */
export class DeliveriesById<D extends { readonly id: number | undefined }> extends SerialMap<number, D> {
  /** Removes one; false when it is not held. */
  remove(delivery: D): boolean {
    const { id } = delivery;
    return id !== undefined && this.get(id) === delivery && this.delete(id);
  }

  /** The held deliveries of the range `first` to `last`, both included, in order. */
  range(first: number, last: number): D[] {
    // A backward range, or one of undefined order, is empty [rfc1982 3.2].
    const span = difference(last, first);
    // Work follows the held deliveries: a range may span 2^31 ids, of which we hold but a few.
    if (span >= this.slots) {
      return this.values().filter((held) => add(held.id!, -first) <= span).sort((a, b) => difference(a.id!, b.id!));
    }
    const found: D[] = [];
    for (let i = 0; i <= span; i++) {
      const held = this.get(add(first, i));
      if (held !== undefined) found.push(held);
    }
    return found;
  }
}

interface DispositionRange {
  first: number;
  last: number;
  readonly settled: boolean;
  readonly state: DeliveryState | undefined;
}

/** Dispositions of one role that wait to be written, joined to ranges. */
class DispositionBatch {
  readonly #role: Role;
  #ranges: DispositionRange[] = [];
  // True if a delivery has two dispositions, which must keep their order.
  #ordered = false;

  constructor(role: Role) {
    this.#role = role;
  }

  /** Adds the disposition of one delivery; `again` if the delivery had one before. */
  add(id: number, state: DeliveryState | undefined, settled: boolean, again: boolean): void {
    if (again) this.#ordered = true;
    const last = this.#ranges[this.#ranges.length - 1];
    if (last !== undefined && id === add(last.last, 1) && alike(last, settled, state)) last.last = id;
    else this.#ranges.push({ first: id, last: id, settled, state });
  }

  clear(): void {
    this.#ranges = [];
    this.#ordered = false;
  }

  /** Writes the joined dispositions, and drops them. */
  drain(write: (disposition: Disposition) => void): void {
    const ranges = this.#ranges;
    if (ranges.length === 0) return;
    this.#ranges = [];
    if (ranges.length > 1 && !this.#ordered) {
      const base = ranges[0]!.first;
      ranges.sort((a, b) => difference(a.first, base) - difference(b.first, base));
    }
    this.#ordered = false;
    let current = ranges[0]!;
    for (let i = 1; i < ranges.length; i++) {
      const next = ranges[i]!;
      if (next.first === add(current.last, 1) && alike(current, next.settled, next.state)) {
        current.last = next.last;
        continue;
      }
      write(this.#performative(current));
      current = next;
    }
    write(this.#performative(current));
  }

  #performative(range: DispositionRange): Disposition {
    return {
      kind: "disposition",
      role: this.#role,
      first: range.first,
      last: range.last === range.first ? undefined : range.last,
      settled: range.settled || undefined,
      state: range.state,
    };
  }
}

function alike(range: DispositionRange, settled: boolean, state: DeliveryState | undefined): boolean {
  if (range.settled !== settled) return false;
  if (range.state === state) return true;
  // Outcomes without fields are equal when their kinds are.
  return range.state?.kind === state?.kind && (state?.kind === "accepted" || state?.kind === "released");
}
