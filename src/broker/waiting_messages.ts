/**
 * Messages that have arrived and wait for room.
 *
 * @module
 */

import { Fifo } from "../base/collections.ts";
import type { RoomBudget } from "./budget.ts";
import type { Arrival, Waitlist } from "./producer.ts";
import { checkSchedule } from "./schedule.ts";

/** The messages that wait for room in one node, in order. */
export class WaitingMessages {
  readonly #budget: RoomBudget;
  readonly #arrivals = new Fifo<Arrival>();

  /** Counts the waiting messages in `budget`. */
  constructor(budget: RoomBudget) {
    this.#budget = budget;
  }

  get size(): number {
    return this.#arrivals.length;
  }

  get first(): Arrival | undefined {
    return this.#arrivals.first;
  }

  /**
   * Adds an arrival to the list of `waitlist`; false if too many wait.
   *
   * @throws {AmqpError} With `amqp:decode-error` if a queue could not read a message: later nobody would expect that.
   */
  add(arrival: Arrival, waitlist: Waitlist): boolean {
    const { bytes, messages } = arrival;
    for (const message of messages) checkSchedule(message);
    if (!this.#budget.fits(bytes, messages.length)) return false;
    this.#budget.add(bytes, bytes, messages.length);
    this.#arrivals.push(arrival);
    arrival.producer.handleWaiting(waitlist);
    return true;
  }

  shift(): Arrival | undefined {
    const arrival = this.#arrivals.shift();
    if (arrival !== undefined) this.#release(arrival);
    return arrival;
  }

  /** Drops arrivals whose producer is gone. */
  forgetGone(): void {
    for (const arrival of this.#arrivals.clear()) {
      if (arrival.gone) this.#release(arrival);
      else this.#arrivals.push(arrival);
    }
  }

  #release(arrival: Arrival): void {
    const { bytes, messages } = arrival;
    this.#budget.remove(bytes, bytes, messages.length);
    arrival.producer.waiting--;
  }
}
