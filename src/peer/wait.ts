/**
 * Waiting, and not waiting, for promises.
 *
 * @module
 */

import { ignore, MAX_TIMER_MS } from "../transport/wait.ts";

export { abortable, ignore, MAX_TIMER_MS, type WaitOptions } from "../transport/wait.ts";

/** Waits for `promise`, but no longer than `ms`; true when it came to its end, in whatever way. */
export function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), Math.min(MAX_TIMER_MS, ms));
    promise.catch(ignore).then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** A promise with its two ends outside, which nobody has to wait for; it costs little before somebody does. */
export class Deferred<T> {
  #promise: Promise<T> | undefined;
  #ends: { resolve: (value: T) => void; reject: (reason: unknown) => void } | undefined;
  #outcome: { readonly value: T } | { readonly reason: unknown } | undefined;

  /** Settles once. */
  get promise(): Promise<T> {
    if (this.#promise === undefined) {
      this.#promise = new Promise((resolve, reject) => this.#ends = { resolve, reject });
      // Whoever waits gets the error; that nobody waits is no fault.
      this.#promise.catch(ignore);
      this.#settle();
    }
    return this.#promise;
  }

  /** Fulfils it. */
  resolve(value: T): void {
    this.#outcome ??= { value };
    this.#settle();
  }

  /** Rejects it. */
  reject(reason: unknown): void {
    this.#outcome ??= { reason };
    this.#settle();
  }

  #settle(): void {
    if (this.#ends === undefined || this.#outcome === undefined) return;
    if ("value" in this.#outcome) this.#ends.resolve(this.#outcome.value);
    else this.#ends.reject(this.#outcome.reason);
    this.#ends = undefined;
  }
}

/** A rejected promise that nobody has to wait for. */
export function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason);
  promise.catch(ignore);
  return promise;
}
