/**
 * A clock that a test turns.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";

/**
 * Time that stands still until a test moves it, and randomness that repeats: the option `environment` of `connect`, `acceptor`
 * and `Broker`.
 *
 * @example
 * ```ts
 * import { VirtualTime } from "@webamqp/amqp/testing";
 *
 * const time = new VirtualTime();
 * let rung = false;
 * time.setTimer(() => rung = true, 60_000);
 * await time.advance(59_999);
 * console.assert(!rung);
 * await time.advance(1);
 * console.assert(rung);
 * ```
 */
export class VirtualTime implements Environment {
  readonly #timers = new Map<number, { at: number; call: () => void }>();
  #now = 0;
  #count = 0;
  #state: number;

  /** Begins at 0, with the seed of its randomness. */
  constructor(seed = 1) {
    this.#state = seed >>> 0;
  }

  /** Milliseconds since it was made. */
  now(): number {
    return this.#now;
  }

  /** Calls `call` when time has moved on by `ms`. */
  setTimer(call: () => void, ms: number): unknown {
    this.#timers.set(++this.#count, { at: this.#now + Math.max(0, ms), call });
    return this.#count;
  }

  /** Keeps a timer from calling. */
  clearTimer(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** Nobody tells when a turn ends: false. */
  endOfTurn(): boolean {
    return false;
  }

  /** Fills `bytes` with what the seed gives. */
  random(bytes: Uint8Array<ArrayBuffer>): void {
    for (let i = 0; i < bytes.length; i++) {
      this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
      bytes[i] = this.#state >>> 24;
    }
  }

  /** How many timers wait. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Moves time on, calling each timer at its time; between two of them what they have set off comes to rest. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      const { at, call } = this.#timers.get(next)!;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, at);
      call();
      await settle();
    }
    this.#now = end;
  }

  #next(end: number): number | undefined {
    let found: number | undefined, least = Infinity;
    for (const [id, { at }] of this.#timers) {
      if (at > end || at >= least) continue;
      found = id;
      least = at;
    }
    return found;
  }
}

// Promises that follow on each other: over a pair of channels an answer takes some dozens of them.
async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await undefined;
}
