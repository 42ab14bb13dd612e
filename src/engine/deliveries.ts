/**
 * Deliveries in motion, and the bookkeeping of what is not settled yet.
 *
 * @module
 */

import { AmqpError, condition } from "../errors.ts";
import type { DeliveryState, Disposition, Role } from "../codec/types.ts";
import type { ReceiverEndpoint, SenderEndpoint } from "./link.ts";
import { add, difference } from "./serial.ts";

/** A delivery that we send. */
export class OutgoingDelivery {
  /** The link it travels on. */
  readonly link: SenderEndpoint;
  /** Names the delivery on its link, 1 to 32 bytes. */
  readonly tag: Uint8Array;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** The encoded message. */
  readonly payload: Uint8Array;
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

  /** Prepares a delivery; nothing is written yet. */
  constructor(link: SenderEndpoint, tag: Uint8Array, payload: Uint8Array, options: SendOptions) {
    this.link = link;
    this.tag = tag;
    this.payload = payload;
    this.messageFormat = options.messageFormat ?? 0;
    this.settled = options.settled ?? false;
    this.state = options.state;
  }

  /** Settles it, which ends it on this side; the answer to an outcome when the receiver waits for us [transport 2.6.12]. */
  settle(state?: DeliveryState): void {
    if (this.settled) return;
    this.settled = true;
    this.link.session.settleOutgoing(this, state);
  }

  /** Gives up a delivery whose last frame is not written yet; false when it is too late. */
  abort(): boolean {
    return this.link.abort(this);
  }
}

/** How a delivery is sent. */
export interface SendOptions {
  /** True sends it settled: at most once, no outcome. Default: false. */
  settled?: boolean;
  /** The message format. Default: 0, an AMQP message. */
  messageFormat?: number;
  /** Delivery state on the first frame, such as that of a transaction. Default: none. */
  state?: DeliveryState;
}

/** A delivery that we received in full. */
export class IncomingDelivery {
  /** The link it came on. */
  readonly link: ReceiverEndpoint;
  /** Number on its session. */
  readonly id: number;
  /** Names the delivery on its link. */
  readonly tag: Uint8Array;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** The encoded message. */
  payload: Uint8Array;
  /** True once the sender has settled it. */
  remoteSettled: boolean;
  /** The state that the sender told last, if any. */
  remoteState: DeliveryState | undefined;
  /** True once this side has settled it. */
  settled = false;
  /** The state that we told last, if any. */
  state: DeliveryState | undefined;

  /** Built by its link when the last frame arrived. */
  constructor(link: ReceiverEndpoint, id: number, tag: Uint8Array, messageFormat: number, payload: Uint8Array) {
    this.link = link;
    this.id = id;
    this.tag = tag;
    this.messageFormat = messageFormat;
    this.payload = payload;
    this.remoteSettled = false;
  }

  /**
   * Tells the sender our state of the delivery and, unless the link settles in two steps, settles it.
   *
   * In two steps (`rcvSettleMode` `"second"`) an outcome goes out unsettled, and the delivery is settled when the sender
   * settles it [transport 2.6.12].
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it is settled already.
   */
  update(state: DeliveryState, settled: boolean = this.link.rcvSettleMode === "first"): void {
    if (this.settled) {
      throw new AmqpError(condition.illegalState, "Cannot update delivery: it is settled", { scope: "delivery" });
    }
    this.state = state;
    if (settled || this.remoteSettled) this.settled = true;
    if (!this.remoteSettled) this.link.session.updateIncoming(this);
  }
}

/** Deliveries of one direction of a session by their id. */
export class Unsettled<D> {
  readonly #byId = new Map<number, D>();

  /** How many there are. */
  get size(): number {
    return this.#byId.size;
  }

  /** Adds one. */
  set(id: number, delivery: D): void {
    this.#byId.set(id, delivery);
  }

  /** Removes one. */
  delete(id: number): void {
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

interface DispositionRange {
  first: number;
  last: number;
  readonly settled: boolean;
  readonly state: DeliveryState | undefined;
}

/** Dispositions of one role that wait to be written, joined to ranges. */
export class DispositionBatch {
  readonly #role: Role;
  #ranges: DispositionRange[] = [];
  // A delivery may be told twice when a state that is not its last came first; such updates keep their order.
  #ordered = false;

  /** Gathers dispositions told by `role`. */
  constructor(role: Role) {
    this.#role = role;
  }

  /** True when nothing waits. */
  get empty(): boolean {
    return this.#ranges.length === 0;
  }

  /** Adds one delivery's. */
  add(id: number, state: DeliveryState | undefined, settled: boolean): void {
    if (state?.kind === "received" || state?.kind === "transactionalState") this.#ordered = true;
    const last = this.#ranges[this.#ranges.length - 1];
    if (last !== undefined && id === add(last.last, 1) && alike(last, settled, state)) last.last = id;
    else this.#ranges.push({ first: id, last: id, settled, state });
  }

  /** Hands out the performatives and forgets them. */
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
