/**
 * What a peer may cost: memory that it makes us keep, and work that brings nothing on.
 *
 * @module
 */

/** Bytes of deliveries that have arrived in part on one connection, at a time. Two of the largest that are taken by default. */
export const DEFAULT_MAX_UNFINISHED_BYTES = 134_217_728;
/** Memory of begins and attaches that are kept for one connection: 4,096 links need a fraction of it. */
export const MAX_KEPT_BYTES = 16_777_216;
/** Frames that change nothing, beyond those that time and deliveries make up for: far above what any honest peer sends. */
export const MAX_IDLE_WORK = 100_000;

// A begin, an attach, the flows of both and the states of the delivery.
const DELIVERY_WORK = 20;

/** Something of which there is so much, counted for one connection or for several together. */
export class Budget {
  /** How much is taken. */
  used = 0;
  readonly #limit: number;
  readonly #shared: Budget | undefined;

  /** Starts with nothing taken; what is taken of it is taken of `shared` as well. */
  constructor(limit: number, shared?: Budget) {
    this.#limit = limit;
    this.#shared = shared;
  }

  /** Takes some; false, and nothing taken, if there is not as much. */
  take(amount: number): boolean {
    if (this.used + amount > this.#limit || this.#shared?.take(amount) === false) return false;
    this.used += amount;
    return true;
  }

  /** Gives some back. */
  give(amount: number): void {
    this.used -= amount;
    this.#shared?.give(amount);
  }
}

/** Work of one connection that brings nothing on. */
export class IdleWork {
  #level = 0;
  #at = 0;

  /** Adds some at this time, each millisecond of which makes up for one; false when it is too much. */
  add(amount: number, now: number): boolean {
    this.#level = Math.max(0, this.#level - (now - this.#at)) + amount;
    this.#at = now;
    return this.#level <= MAX_IDLE_WORK;
  }

  /**
   * A frame of a delivery has come or gone, which makes up for the flow that it takes; a whole one also for a session and a link
   * of its own, as clients that send each message over new ones have them.
   */
  relieve(whole: boolean): void {
    this.#level -= whole ? DELIVERY_WORK : 2;
  }
}
