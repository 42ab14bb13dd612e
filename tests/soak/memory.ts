/**
 * The memory of a process, and whether it grows.
 *
 * @module
 */

import process from "node:process";

/** The memory of a process after a garbage collection, in bytes. */
export interface MemorySample {
  readonly heapUsed: number;
  /** Memory outside of the heap, buffers included. */
  readonly external: number;
  readonly arrayBuffers: number;
  readonly resident: number;
}

const BYTES_PER_MEGABYTE = 1_048_576;

/** Collects garbage if the runtime allows it, and takes a sample. */
export function memoryOf(): MemorySample {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
  gc?.();
  Bun?.gc(true);
  const { heapUsed, external, arrayBuffers = 0, rss } = process.memoryUsage();
  return { heapUsed, external, arrayBuffers, resident: rss };
}

/** Formats a number of bytes. */
export function megabytes(bytes: number): string {
  return `${(bytes / BYTES_PER_MEGABYTE).toFixed(1)} MB`;
}

/** Formats a sample. */
export function print({ heapUsed, external, arrayBuffers, resident }: MemorySample): string {
  return `heap ${megabytes(heapUsed)}, external ${megabytes(external)} (buffers ${megabytes(arrayBuffers)}), ` +
    `resident ${megabytes(resident)}`;
}

/**
 * The growth from the second third to the last: the first is for warming up. Heap and buffers count by their minimum, since
 * memory in use comes and goes and leaked memory stays; resident memory by its median.
 *
 * @returns Bytes, or undefined of fewer samples than three, which show nothing.
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
