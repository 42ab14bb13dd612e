/**
 * Waiting, and not waiting, for promises.
 *
 * @module
 */

import { type Environment, MAX_TIMER_MS, systemEnvironment } from "./environment.ts";
import { isPromise } from "./kinds.ts";

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
    return Promise.reject(abortReason(signal));
  }
  return new Promise((resolve, reject) => {
    promise.then(resolve, reject).finally(onAbort(signal, () => reject(abortReason(signal))));
  });
}

/**
 * Why `signal` was aborted. Signals of React Native and of packages that came before those of the runtimes tell no reason, and
 * have no `throwIfAborted`.
 */
export function abortReason(signal: AbortSignal | undefined): unknown {
  const reason: unknown = signal?.reason;
  return reason === undefined ? Object.assign(new Error("aborted"), { name: "AbortError" }) : reason;
}

/** Aborts with a reason that {@linkcode abortReason} finds, also where the runtime's own controllers take none. */
export function abortWith(controller: AbortController, reason: unknown): void {
  const { signal } = controller;
  if (!("reason" in signal)) Object.assign(signal, { reason });
  controller.abort(reason);
}

/** Throws why `signal` was aborted, if it is. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortReason(signal);
}

let aborts: WeakMap<AbortSignal, Set<() => void>> | undefined;

/**
 * Calls `call` when `signal` is aborted, or soon if it is; returns a function that cancels that. All calls share one listener: a
 * signal scans its listeners at each addition and removal, so that thousands of waits on one signal would take minutes.
 */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  const known = aborts ??= new WeakMap();
  let calls = known.get(signal);
  if (calls === undefined) {
    known.set(signal, calls = new Set());
    signal.addEventListener("abort", runAll);
    // A signal that was aborted while the caller waited for something else tells nobody any more.
    if (signal.aborted) Promise.resolve().then(() => runAll.call(signal));
  }
  calls.add(call);
  return () => {
    if (calls.delete(call) && calls.size === 0 && known.delete(signal)) signal.removeEventListener("abort", runAll);
  };
}

function runAll(this: AbortSignal): void {
  const calls = aborts!.get(this);
  if (calls === undefined) return;
  aborts!.delete(this);
  this.removeEventListener("abort", runAll);
  for (const call of calls) call();
}

interface Part {
  readonly loading: Promise<unknown>;
  exports?: unknown;
}

let parts: Record<string, Part | undefined> | undefined;

/**
 * Loads a part of the module when it is first needed, and caches it: even a repeated import takes a turn of the event loop. A
 * failed load is tried again at the next need.
 */
export function part<T>(name: string, load: () => Promise<T>): Promise<T> {
  const known = parts ??= {};
  const loading = known[name]?.loading ?? load().then((exports) => known[name]!.exports = exports, (error) => {
    known[name] = undefined;
    throw error;
  });
  known[name] ??= { loading };
  return loading as Promise<T>;
}

/** A part that was loaded before; undefined for any other. */
export function loadedPart<T>(name: string): T | undefined {
  return parts?.[name]?.exports as T | undefined;
}

/** Calls `call` with `value`: at once, or when the promise that it is resolves. */
export function follow<T, R>(value: T | Promise<T>, call: (value: T) => R): R | Promise<R> {
  return isPromise(value) ? (value as Promise<T>).then(call) : call(value as T);
}

/** Swallows an error that is reported elsewhere. */
export function ignore(): void {}

/** Waits for `promise`, but no longer than `ms` milliseconds; true when it settled, either way. */
export function within(promise: Promise<unknown>, ms: number, environment?: Environment): Promise<boolean> {
  const clock = environment ?? systemEnvironment;
  return new Promise((resolve) => {
    const timer = ms === Infinity ? undefined : clock.setTimer(() => resolve(false), ms);
    promise.catch(ignore).then(() => {
      if (timer !== undefined) clock.clearTimer(timer);
      resolve(true);
    });
  });
}

/** A promise that is resolved from outside, with no unhandled rejection; it is created when `promise` is read, or with its outcome. */
export class Deferred<T> {
  // No private methods: they would cost each object a field.
  #promise: Promise<T> | undefined;
  #resolve: ((value: T) => void) | undefined;
  #reject: ((reason: unknown) => void) | undefined;
  #settled = false;

  get promise(): Promise<T> {
    return this.#promise ??= new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get settled(): boolean {
    return this.#settled;
  }

  resolve(value: T): void {
    if (this.#settled) return;
    this.#settled = true;
    if (this.#resolve === undefined) this.#promise = Promise.resolve(value);
    else this.#resolve(value);
  }

  reject(reason: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    // A rejection that nobody awaits is no fault.
    this.promise.catch(ignore);
    this.#reject!(reason);
  }
}

/** A rejected promise that causes no unhandled rejection. */
export function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason);
  promise.catch(ignore);
  return promise;
}
