/**
 * Registration of a test with the runner of whichever runtime loads the file, and reproducible randomness.
 *
 * @module
 */

type Body = () => void | Promise<void>;

interface Runtime {
  readonly Bun?: unknown;
  readonly Deno?: { test(definition: { name: string; fn: Body; timeout: number }): void };
  readonly process?: { readonly env: Record<string, string | undefined> };
}

const TIMEOUT_MS = 60_000;
const LEAK_MS = 10_000;
const runtime = globalThis as Runtime;

/** Registers one test with the runtime's own runner; it fails when it takes longer than a minute. */
export const test: (name: string, body: Body) => void = await registrar();

/**
 * Registers a test that starts something else and judges that, such as a browser or the compiler: on Node only, as the others
 * would only do the same again.
 */
export const testOnNode: typeof test = runtime.Deno === undefined && runtime.Bun === undefined ? test : () => {};

async function registrar(): Promise<(name: string, body: Body) => void> {
  const { Bun, Deno } = runtime;
  if (Deno !== undefined) return (name, body) => Deno.test({ name, fn: body, timeout: TIMEOUT_MS });
  if (Bun !== undefined) {
    const bun: { test(name: string, body: Body, timeoutMs: number): void } = await import("bun:test");
    return (name, body) => bun.test(name, body, TIMEOUT_MS);
  }
  const node = await import("node:test");
  node.after(exitOnLeak);
  return (name, body) => void node.test(name, { timeout: TIMEOUT_MS }, body);
}

// Node would wait forever for what a test leaves open; Deno's sanitizers report it.
function exitOnLeak(): void {
  const { process } = globalThis as { process?: { exitCode?: number; exit(code: number): never } };
  setTimeout(() => {
    console.error(`Cannot end: a test has left a socket, timer or process open for ${LEAK_MS} ms`);
    process!.exit(1);
  }, LEAK_MS).unref();
}

let chosen: number | undefined;

/**
 * The seed of this file's property tests, printed when first asked for.
 *
 * `SEED=123 npm run test:deno` repeats a run.
 */
export function seed(): number {
  if (chosen === undefined) {
    const given = runtime.process?.env.SEED;
    chosen = given === undefined ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(given) >>> 0;
    console.log(`SEED=${chosen}`);
  }
  return chosen;
}

/** A reproducible source of test data. */
export interface Random {
  /** A whole number from 0 to `limit - 1`; `limit` is at most 2^32. */
  int(limit: number): number;
  /** Fresh random bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** One element of a list that has at least one. */
  pick<T>(list: readonly T[]): T;
}

/** Starts the sequence of a seed; the same seed gives the same sequence on every runtime. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  // mulberry32: 32 bits of state are plenty to pick test data.
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (x ^ (x >>> 14)) >>> 0;
  }
  function int(limit: number): number {
    return Math.floor((next() / 0x1_0000_0000) * limit);
  }
  return {
    int,
    bytes: (length) => Uint8Array.from({ length }, () => next() >>> 24),
    pick: (list) => list[int(list.length)],
  };
}
