/**
 * Waiting, and not waiting, for promises.
 *
 * @module
 */

import { type Environment, MAX_TIMER_MS, systemEnvironment } from "./environment.ts";

export { MAX_TIMER_MS };

/** What a call that waits takes. */
export interface WaitOptions {
  /** Ends the wait: the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Waits for `promise` or for `signal`, whichever comes first. The promise itself goes on. */
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
 * Calls `call` when `signal` is aborted, and gives how to call that off. All share one listener: signals look through theirs at
 * each that comes or goes, so that thousands of waits that one signal ends would take minutes.
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
 * Loads a part of the module when it is first needed, and keeps it: also what is there already takes a turn of the event loop to
 * import. A load that failed is tried again by who needs it next.
 */
export function part<T>(name: string, load: () => Promise<T>): Promise<T> {
  const known = parts ??= {};
  return (known[name] ??= load().catch((error) => {
    known[name] = undefined;
    throw error;
  })) as Promise<T>;
}

/** Takes an error that is reported elsewhere. */
export function ignore(): void {}

/** Waits for `promise`, but no longer than `ms`; true when it came to its end, in whatever way. */
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

  /** Whether it has its outcome. */
  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  /** Fulfils it. */
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

/** A rejected promise that nobody has to wait for. */
export function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason);
  promise.catch(ignore);
  return promise;
}
