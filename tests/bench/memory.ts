/**
 * The memory of this process.
 *
 * @module
 */

import process from "node:process";

interface Runtime {
  readonly Bun?: { gc(force: boolean): void };
  gc?(): void;
}

/** Bytes of live objects, after a collection. */
export function heapBytes(): number {
  collect();
  // V8 frees array buffers while the program goes on, and counts them until then; another collection waits for it.
  collect();
  const { heapUsed, external } = process.memoryUsage();
  // Bun's heap contains what it calls external.
  return "Bun" in globalThis ? heapUsed : heapUsed + external;
}

/** Bytes of resident memory, after a collection. */
export function residentBytes(): number {
  collect();
  return process.memoryUsage().rss;
}

function collect(): void {
  const { Bun, gc } = globalThis as Runtime;
  if (Bun === undefined) gc?.();
  else Bun.gc(true);
}
