/**
 * What a process holds, and whether it grows.
 *
 * @module
 */

import process from "node:process";

/** What a process holds after its garbage was collected, in bytes. */
export interface MemorySample {
  readonly heapUsed: number;
  /** What is held outside of the heap, buffers included. */
  readonly external: number;
  readonly arrayBuffers: number;
  readonly resident: number;
}

const BYTES_PER_MEGABYTE = 1_048_576;

/** Collects garbage where the runtime allows it, and looks. */
export function memoryOf(): MemorySample {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
  gc?.();
  Bun?.gc(true);
  const { heapUsed, external, arrayBuffers = 0, rss } = process.memoryUsage();
  return { heapUsed, external, arrayBuffers, resident: rss };
}

/** A number of bytes to read. */
export function megabytes(bytes: number): string {
  return `${(bytes / BYTES_PER_MEGABYTE).toFixed(1)} MB`;
}

/** A sample to read. */
export function print({ heapUsed, external, arrayBuffers, resident }: MemorySample): string {
  return `heap ${megabytes(heapUsed)}, external ${megabytes(external)} (buffers ${megabytes(arrayBuffers)}), ` +
    `resident ${megabytes(resident)}`;
}

/**
 * By how much the last third is above the second: the first is spent on becoming warm. Of heap and buffers the least of each, for
 * what is in use when one looks comes and goes, and what is leaked stays; of resident memory the median.
 *
 * @returns Bytes, or undefined of fewer samples than three, which tell nothing.
 */
export function growthOf(
  samples: readonly MemorySample[],
): { readonly heap: number; readonly resident: number } | undefined {
  const third = Math.floor(samples.length / 3);
  if (third === 0) return undefined;
  const growth = (size: (sample: MemorySample) => number, of: (sizes: readonly number[]) => number): number => {
    const sizes = samples.map(size);
    return of(sizes.slice(-third)) - of(sizes.slice(third, -third));
  };
  return {
    heap: growth(({ heapUsed, external }) => heapUsed + external, (sizes) => Math.min(...sizes)),
    resident: growth(({ resident }) => resident, median),
  };
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;
}
