/**
 * A virtual clock.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";

/**
 * Time that stands still until a test advances it, and repeatable randomness: the option `environment` of `connect`,
 * `acceptor` and `Broker`.
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
  #loaded: Promise<void> | undefined;

  /** Starts at 0 with the seed of the randomness. */
  constructor(seed = 1) {
    this.#state = seed >>> 0;
  }

  /** Milliseconds since the clock was made. */
  now(): number {
    return this.#now;
  }

  /** Calls `call` once time has advanced by `ms`. */
  setTimer(call: () => void, ms: number): unknown {
    this.#timers.set(++this.#count, { at: this.#now + Math.max(0, ms), call });
    return this.#count;
  }

  /** Cancels a timer. */
  clearTimer(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** Always false: there is no end-of-turn callback. */
  endOfTurn(): boolean {
    return false;
  }

  /** Fills `bytes` from the seeded generator. */
  random(bytes: Uint8Array<ArrayBuffer>): void {
    for (let i = 0; i < bytes.length; i++) {
      this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
      bytes[i] = this.#state >>> 24;
    }
  }

  /** The number of pending timers. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Advances time, calling each timer at its time; after each the promises it triggered are settled. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    // Loading takes real time, which a clock that stands still would not see.
    await (this.#loaded ??= import("../client/preload.ts").then(({ preload }) => preload()));
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

// Settles chains of promises: an answer over a pair of channels takes some dozens of microtasks.
async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await undefined;
}
