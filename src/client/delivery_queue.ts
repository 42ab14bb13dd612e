/**
 * Deliveries that have arrived and nobody has taken, and who waits for the next.
 *
 * @module
 */

import { Fifo } from "../base/collections.ts";
import { Deferred, onAbort } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import { DEFAULT_CREDIT } from "./receive_options.ts";

// Callers that may have given up before the line is gone through for them.
const LEAST_GIVEN_UP = 64;

/** Two lines, one of which is empty: items that wait to be taken, and callers that wait for an item each. */
export class Arrivals<T> {
  readonly #items = new Fifo<T>();
  readonly #line = new Fifo<Deferred<T | undefined>>();
  #waiting = 0;

  /** Items that wait to be taken. */
  get length(): number {
    return this.#items.length;
  }

  /** Callers that wait for an item. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Hands an item to the caller that has waited longest; false if nobody waits, and the item is kept. */
  push(item: T): boolean {
    for (;;) {
      const waiting = this.#line.shift();
      if (waiting?.settled) continue;
      if (waiting === undefined) {
        this.keep(item);
        return false;
      }
      this.#waiting--;
      waiting.resolve(item);
      return true;
    }
  }

  /** Keeps an item for a caller that comes later. */
  keep(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first item, if there is one. */
  shift(): T | undefined {
    return this.#items.shift();
  }

  /** Removes an item, if nobody has taken it. */
  remove(item: T): void {
    this.#items.remove(item);
  }

  /** Takes all items. */
  clear(): T[] {
    return this.#items.clear();
  }

  /** Joins the line of those who wait for an item; undefined when there will be none. */
  join(): Deferred<T | undefined> {
    const waiting = new Deferred<T | undefined>();
    this.#line.push(waiting);
    this.#waiting++;
    return waiting;
  }

  /** Ends a wait by `end`, unless the caller has its item; takes no longer the more callers wait. */
  leave(waiting: Deferred<T | undefined>, end: () => void): void {
    if (waiting.settled) return;
    end();
    this.#waiting--;
    if (this.#line.length <= 2 * this.#waiting + LEAST_GIVEN_UP) return;
    for (const one of this.#line.clear()) if (!one.settled) this.#line.push(one);
  }

  /** Ends all waits by `end`. */
  end(end: (waiting: Deferred<T | undefined>) => void): void {
    this.#waiting = 0;
    for (const waiting of this.#line.clear()) if (!waiting.settled) end(waiting);
  }
}

/** What the queue asks of its receiver. */
export interface QueueReceiver {
  /** True until it has ended or begins to close. */
  readonly open: boolean;
  /** True once it has ended. */
  readonly over: boolean;
  /** What it ended with, if it was an error. */
  readonly error: Error | undefined;
}

/** The credit of that receiver: whoever waits for a message needs some. */
export interface QueueCredit {
  /** Messages that may be held or on their way. */
  readonly window: number;
  /** Widens the window, unless the program has said how wide it is. */
  raise(credit: number): void;
  /** Told that somebody waits for a message. */
  handleWaiting(): void;
}

/** The deliveries of one receiver that nobody has taken. */
export class DeliveryQueue extends Arrivals<Delivery> {
  /** True while the receiver closes and takes messages still: the sender keeps nothing of what it has sent settled. */
  finishing = false;
  readonly #receiver: QueueReceiver;
  readonly #credit: QueueCredit;

  constructor(receiver: QueueReceiver, credit: QueueCredit) {
    super();
    this.#receiver = receiver;
    this.#credit = credit;
  }

  /** Takes the next delivery, and waits for it; undefined when there will be none. */
  async take(signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    signal?.throwIfAborted();
    const ready = this.shift();
    if (ready !== undefined) return ready;
    if (this.#credit.window === 0) this.#credit.raise(DEFAULT_CREDIT);
    const waiting = this.wait();
    if (waiting === undefined || signal === undefined) return waiting?.promise;
    // The caller may have its delivery already, the news is just not there yet.
    const callOff = onAbort(signal, () => this.leave(waiting, () => waiting.reject(signal.reason)));
    try {
      return await waiting.promise;
    } finally {
      callOff();
    }
  }

  /** Waits for the next delivery; undefined where that would be in vain. A link that did not end in order says why. */
  wait(): Deferred<Delivery | undefined> | undefined {
    const { open, over, error } = this.#receiver;
    if (over && error !== undefined) throw error;
    if (over || !open && !this.finishing) return undefined;
    const waiting = this.join();
    this.#credit.handleWaiting();
    return waiting;
  }

  /** Adds a delivery: for whoever waits, or else for whoever comes. */
  add(delivery: Delivery): void {
    // A delivery that was on its way when the receiver began to close.
    if (!this.push(delivery) && !this.#receiver.open) this.release();
  }

  /** Hands back what nobody has taken, but for what the sender has sent settled. */
  release(): void {
    for (const delivery of this.clear()) {
      if (delivery.remoteSettled) this.keep(delivery);
      else if (delivery.usable) delivery.release();
    }
  }

  /** Drops what the sender hands out again; what it has sent settled, and is there to its end, stays. */
  drop(): void {
    for (const delivery of this.clear()) if (delivery.remoteSettled && delivery.isWhole) this.keep(delivery);
  }

  /** Tells all that wait that there will be no more. */
  finish(): void {
    this.finishing = false;
    this.end((waiting) => waiting.resolve(undefined));
  }
}
