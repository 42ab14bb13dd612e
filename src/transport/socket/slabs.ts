/**
 * Memory that a socket reads into.
 *
 * @module
 */

// A read of a busy connection fills this, so that few frames lie across two reads. Views of what is no larger are kept by the
// engine, rather than copied.
const MOST_BYTES = 262_144;
const LEAST_BYTES = 16_384;
// What is left of a slab is used up by reads as long as a frame of ordinary size fits.
const LEAST_LEFT = 8_192;

/**
 * Memory for one read after the other: large for a connection on which much arrives, of which each read would otherwise have
 * 64 KiB of its own; small for one that is idle.
 */
export class Slabs {
  readonly #make: (length: number) => Uint8Array<ArrayBuffer>;
  #slab: Uint8Array<ArrayBuffer>;
  #at = 0;

  /** Starts with a small one; `make` makes each. */
  constructor(make: (length: number) => Uint8Array<ArrayBuffer> = (length) => new Uint8Array(length)) {
    this.#make = make;
    this.#slab = make(LEAST_BYTES);
  }

  /** What the next read may fill. */
  get free(): Uint8Array<ArrayBuffer> {
    return this.#at === 0 ? this.#slab : this.#slab.subarray(this.#at);
  }

  /** Hands over the `length` bytes that were read. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const slab = this.#slab;
    const start = this.#at;
    this.#at += length;
    const left = slab.length - this.#at;
    if (left < LEAST_LEFT) {
      // A read that has filled all that there was has left something behind; one that is small by far was all there is.
      const size = left === 0 ? 4 * slab.length : 8 * length < slab.length ? slab.length / 2 : slab.length;
      this.#slab = this.#make(Math.min(Math.max(size, LEAST_BYTES), MOST_BYTES));
      this.#at = 0;
    }
    return new Uint8Array(slab.buffer, start, length);
  }
}
