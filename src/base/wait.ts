/**
 * Waiting, and not waiting, for promises.
 *
 * @module
 */

import { type Environment, MAX_TIMER_MS, systemEnvironment } from "./environment.ts";

export { MAX_TIMER_MS };

/** Options of a call that waits. */
export interface WaitOptions {
  /** Ends the wait: the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Waits for `promise` or the abort of `signal`, whichever comes first. The work behind `promise` goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    promise.catch(ignore);
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    promise.then(resolve, reject).finally(onAbort(signal, () => reject(signal.reason)));
  });
}

let aborts: WeakMap<AbortSignal, Set<() => void>> | undefined;

/**
 * Calls `call` when `signal` is aborted; returns a function that cancels that. All calls share one listener: a signal scans its
 * listeners at each addition and removal, so that thousands of waits on one signal would take minutes.
 */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  const known = aborts ??= new WeakMap();
  let calls = known.get(signal);
  if (calls === undefined) {
    known.set(signal, calls = new Set());
    signal.addEventListener("abort", runAll);
  }
  calls.add(call);
  return () => {
    if (calls.delete(call) && calls.size === 0 && known.delete(signal)) signal.removeEventListener("abort", runAll);
  };
}

function runAll(this: AbortSignal): void {
  const calls = aborts!.get(this)!;
  aborts!.delete(this);
  for (const call of calls) call();
}

let parts: Record<string, Promise<unknown> | undefined> | undefined;

/**
 * Loads a part of the module when it is first needed, and caches it: even a repeated import takes a turn of the event loop. A
 * failed load is tried again at the next need.
 */
export function part<T>(name: string, load: () => Promise<T>): Promise<T> {
  const known = parts ??= {};
  return (known[name] ??= load().catch((error) => {
    known[name] = undefined;
    throw error;
  })) as Promise<T>;
}

/** Swallows an error that is reported elsewhere. */
export function ignore(): void {}

/** Waits for `promise`, but no longer than `ms` milliseconds; true when it settled, either way. */
export function within(promise: Promise<unknown>, ms: number, environment?: Environment): Promise<boolean> {
  const clock = environment ?? systemEnvironment;
  return new Promise((resolve) => {
    const timer = clock.setTimer(() => resolve(false), ms);
    promise.catch(ignore).then(() => {
      clock.clearTimer(timer);
      resolve(true);
    });
  });
}

/** A promise that is resolved from outside, with no unhandled rejection; it is created only when `promise` is read. */
export class Deferred<T> {
  #promise: Promise<T> | undefined;
  #ends: { resolve: (value: T) => void; reject: (reason: unknown) => void } | undefined;
  #outcome: { readonly value: T } | { readonly reason: unknown } | undefined;

  get promise(): Promise<T> {
    if (this.#promise === undefined) {
      this.#promise = new Promise((resolve, reject) => this.#ends = { resolve, reject });
      // A rejection that nobody awaits is no fault.
      this.#promise.catch(ignore);
      this.#settle();
    }
    return this.#promise;
  }

  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  resolve(value: T): void {
    this.#outcome ??= { value };
    this.#settle();
  }

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

/** A rejected promise that causes no unhandled rejection. */
export function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason);
  promise.catch(ignore);
  return promise;
}
