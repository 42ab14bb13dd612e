/**
 * What a connection takes from where it runs: time, timers, the end of a turn, randomness. Nothing else reads a clock, sets a
 * timer or asks for randomness, so with another of these all of it runs in made-up time and repeats to the byte.
 *
 * @module
 */

/** Where a connection runs. */
export interface Environment {
  /** Milliseconds from some moment in the past; they never fall. */
  now(): number;
  /** Calls `call` once, after `ms` milliseconds, at most {@linkcode MAX_TIMER_MS}. */
  setTimer(call: () => void, ms: number): unknown;
  /** Keeps a timer from calling. */
  clearTimer(timer: unknown): void;
  /** Calls `call` at the end of the turn of the event loop; false, and no call, where nobody tells when that is. */
  endOfTurn(call: () => void): boolean;
  /** Fills `bytes` with what nobody can guess. */
  random(bytes: Uint8Array<ArrayBuffer>): void;
}

/** Longest delay that `setTimeout` takes, in milliseconds; beyond it fires at once. */
export const MAX_TIMER_MS = 0x7fffffff;

/**
 * The runtime's own. Each global is looked up when it is called: whoever replaces timers in a test has all time-outs wait for
 * the replaced clock, while traffic, which needs none of them, goes on.
 */
export const systemEnvironment: Environment = {
  now: () => performance.now(),
  setTimer: (call, ms) => setTimeout(call, Math.min(MAX_TIMER_MS, Math.max(0, ms))),
  clearTimer: (timer) => clearTimeout(timer as number),
  endOfTurn(call) {
    // Node, Deno and Bun have it, Workers and browsers mostly not.
    const { setImmediate } = globalThis as { setImmediate?: (call: () => void) => unknown };
    // A replaced one calls when its test says so, which may be never; all that replace it leave one of these two marks.
    if (setImmediate?.name !== "setImmediate" || Object.hasOwn(setImmediate, "clock")) return false;
    setImmediate(call);
    return true;
  },
  random: (bytes) => void crypto.getRandomValues(bytes),
};

/** Lets the process end before this timer calls, where the runtime can be told so. */
export function unref<T>(timer: T): T {
  (timer as { unref?(): void } | undefined)?.unref?.();
  return timer;
}

/** 128 random bits in hex: nobody can guess or meet it. */
export function randomName(environment: Environment = systemEnvironment): string {
  // A random UUID would have only 122.
  const bytes = new Uint8Array(16);
  environment.random(bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A random number from 0 up to but not including 1, of 32 bits. */
export function randomFraction(environment: Environment): number {
  const bytes = new Uint8Array(4);
  environment.random(bytes);
  return new DataView(bytes.buffer).getUint32(0) / 0x1_0000_0000;
}

/** Calls `call` whenever the runtime says that the network is back, and gives a function that ends that. */
export function listenOnline(call: () => void): () => void {
  // Browsers tell, and what is built like them.
  const global = globalThis as Partial<EventTarget>;
  global.addEventListener?.("online", call);
  return () => global.removeEventListener?.("online", call);
}
