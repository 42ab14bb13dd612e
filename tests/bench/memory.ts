/**
 * The memory of this process.
 *
 * @module
 */

import { readFileSync } from "node:fs";
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

/** Bytes that another process occupies; on Linux only. */
export function residentBytesOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
  return Number(kilobytes) * 1024;
}

function collect(): void {
  const { Bun, gc } = globalThis as Runtime;
  if (Bun === undefined) gc?.();
  else Bun.gc(true);
}
