/**
 * Waiting, and not waiting, for promises.
 *
 * @module
 */

import { ignore } from "../transport/abort.ts";

export { abortable, ignore, type WaitOptions } from "../transport/abort.ts";

/** Longest delay that `setTimeout` takes, in milliseconds; beyond it fires at once. */
export const MAX_TIMER_MS = 0x7fffffff;

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

/** A promise with its two ends outside, which nobody has to wait for. */
export class Deferred<T> {
  /** Settles once. */
  readonly promise: Promise<T>;
  /** Fulfils it. */
  resolve!: (value: T) => void;
  /** Rejects it. */
  reject!: (reason: unknown) => void;

  /** Starts pending. */
  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever waits gets the error; that nobody waits is no fault.
    this.promise.catch(ignore);
  }
}

/** A rejected promise that nobody has to wait for. */
export function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason);
  promise.catch(ignore);
  return promise;
}
