/**
 * Those who wait for the next of something, in their order.
 *
 * @module
 */

import { Fifo } from "../base/collections.ts";
import { Deferred } from "../base/wait.ts";

// How many may have given up before the line is gone through for them.
const LEAST_GIVEN_UP = 64;

/** A line of those who wait for one thing each. To leave it takes no longer the longer it is, wherever one stands. */
export class Waiters<T> {
  #line = new Fifo<Deferred<T>>();
  #length = 0;

  /** How many wait. */
  get length(): number {
    return this.#length;
  }

  /** Joins the line. */
  join(): Deferred<T> {
    const waiting = new Deferred<T>();
    this.#line.push(waiting);
    this.#length++;
    return waiting;
  }

  /** Takes out who is first, if anybody waits. */
  shift(): Deferred<T> | undefined {
    for (;;) {
      const waiting = this.#line.shift();
      if (waiting?.settled) continue;
      if (waiting !== undefined) this.#length--;
      return waiting;
    }
  }

  /** Ends a wait by `end`, unless it has what it waited for. */
  leave(waiting: Deferred<T>, end: () => void): void {
    if (waiting.settled) return;
    end();
    this.#length--;
    if (this.#line.length <= 2 * this.#length + LEAST_GIVEN_UP) return;
    const left = this.#line.clear();
    for (const one of left) if (!one.settled) this.#line.push(one);
  }

  /** Takes out all. */
  clear(): Deferred<T>[] {
    this.#length = 0;
    return this.#line.clear().filter(({ settled }) => !settled);
  }
}
