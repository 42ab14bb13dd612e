/**
 * How much memory this process uses.
 *
 * @module
 */

import process from "node:process";

interface Runtime {
  readonly Bun?: { gc(force: boolean): void };
  gc?(): void;
}

/** Bytes that live objects take, after a collection. */
export function heapBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  // Bun counts array buffers in neither.
  return heapUsed + external;
}

/** Bytes that the process occupies, after a collection. */
export function residentBytes(): number {
  collect();
  return process.memoryUsage().rss;
}

function collect(): void {
  const { Bun, gc } = globalThis as Runtime;
  if (Bun === undefined) gc?.();
  else Bun.gc(true);
}
