/**
 * The environment of a connection: time, timers, the end of a turn, randomness; and which runtime this is. No other file of a
 * connection reads a clock or sets a timer, so with another environment a connection runs in virtual time and repeats to the
 * byte.
 *
 * @module
 */

import { hex } from "./text.ts";

/** Time, timers and randomness of a connection. */
export interface Environment {
  /** Milliseconds since an arbitrary moment; never decreases. */
  now(): number;
  /** Calls `call` once, after `ms` milliseconds, at most {@linkcode MAX_TIMER_MS}. */
  setTimer(call: () => void, ms: number): unknown;
  /** Cancels a timer. */
  clearTimer(timer: unknown): void;
  /** Calls `call` at the end of this turn of the event loop; false, and no call, where the runtime has no hook for that. */
  endOfTurn(call: () => void): boolean;
  /** Fills `bytes` with random values that nobody can guess. */
  random(bytes: Uint8Array<ArrayBuffer>): void;
}

/** Longest delay that `setTimeout` takes, in milliseconds; a longer one fires at once. */
export const MAX_TIMER_MS = 0x7fffffff;

/**
 * The runtime's own environment. Each global is looked up at the call: fake timers of a test govern all time-outs, while
 * traffic, which needs none of them, goes on.
 */
export const systemEnvironment: Environment = {
  now: () => isClockFake() ? fakeNow() : performance.now(),
  setTimer: (call, ms) => setTimeout(call, Math.min(MAX_TIMER_MS, Math.max(0, ms))),
  clearTimer: (timer) => clearTimeout(timer as number),
  endOfTurn(call) {
    // Node, Deno and Bun have `setImmediate`, Workers and most browsers do not.
    const { setImmediate } = globalThis as { setImmediate?: (call: () => void) => unknown };
    // A fake `setImmediate` fires when its test says so, perhaps never; under fake timers of Bun the real one never does.
    if (isFake(setImmediate, "setImmediate") || Object.hasOwn(setTimeout, "clock")) return false;
    setImmediate!(call);
    return true;
  },
  random,
};

// All known fakes have one of these two marks.
function isFake(timer: { name: string } | undefined, name: string): boolean {
  return timer?.name !== name || Object.hasOwn(timer, "clock");
}

// Fake timers move `Date`, but those of Deno, Node and older vitest leave `performance` alone: by its clock a timer of theirs
// would fire early, and whoever waits would set the next one. Monitoring replaces `setTimeout` too, but not `Date`.
function isClockFake(): boolean {
  return isFake(setTimeout, "setTimeout") && !Object.hasOwn(performance, "now") &&
    !/^function Date\(.*native/s.test(Function.prototype.toString.call(Date));
}

// The fake `Date` that was read last, and what was added to its time so that the clock went on from where it was.
let fakeDate: DateConstructor | undefined;
let ahead = 0;

function fakeNow(): number {
  if (fakeDate !== Date) {
    fakeDate = Date;
    ahead = performance.now() - Date.now();
  }
  return Date.now() + ahead;
}

// Random bytes that nobody has seen yet, from `taken` on: a call of the system costs more than all of a name's hex.
let pool: Uint8Array<ArrayBuffer> | undefined;
let taken = 0;
const POOL_BYTES = 2_048;

function random(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.length > POOL_BYTES) return void crypto.getRandomValues(bytes);
  if (pool === undefined || taken + bytes.length > POOL_BYTES) {
    pool = crypto.getRandomValues(new Uint8Array(POOL_BYTES));
    taken = 0;
  }
  bytes.set(pool.subarray(taken, taken + bytes.length));
  // What was handed out may be a secret.
  pool.fill(0, taken, taken += bytes.length);
}

/** Lets the process exit before `timer` fires, where the runtime supports that. */
export function unref<T>(timer: T): T {
  (timer as { unref?(): void } | undefined)?.unref?.();
  return timer;
}

/** 128 random bits in hex, unguessable and unique. */
export function randomName(environment: Environment = systemEnvironment): string {
  // A random UUID has only 122 random bits.
  const bytes = new Uint8Array(16);
  environment.random(bytes);
  return hex(bytes);
}

/** A random number from 0 up to but not including 1, of 32 bits. */
export function randomFraction(environment: Environment): number {
  const bytes = new Uint8Array(4);
  environment.random(bytes);
  return new DataView(bytes.buffer).getUint32(0) / 0x1_0000_0000;
}

/** Calls `call` whenever the runtime reports that the network is back; returns a function that stops that. */
export function listenOnline(call: () => void): () => void {
  // Browsers, and runtimes modelled on them, emit `online`.
  const global = globalThis as Partial<EventTarget>;
  global.addEventListener?.("online", call);
  return () => global.removeEventListener?.("online", call);
}

/** The runtime's user agent; empty if it has none. */
export function userAgent(): string {
  return (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent ?? "";
}

/** Whether the runtime is Cloudflare Workers, where `fetch` opens a WebSocket with headers. */
export function isWorkers(): boolean {
  return userAgent() === "Cloudflare-Workers";
}

export function isNode(): boolean {
  return userAgent().startsWith("Node.js/");
}

export function isDeno(): boolean {
  return userAgent().startsWith("Deno/");
}
