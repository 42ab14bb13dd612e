/**
 * Memory for short messages that are kept.
 *
 * @module
 */

// An array of its own costs a message some hundred bytes beside its own; one long-lived message keeps no more than a block.
const BLOCK_BYTES = 4_096;
// Longer messages have arrays of their own.
const MAX_SHARED_BYTES = 1_024;

/** Where kept bytes stand. */
export interface KeptPlace {
  /** The memory that holds them, shared with others. */
  readonly block: Uint8Array;
  /** Where they begin in it. */
  readonly start: number;
}

/** Copies short messages one after the other into blocks; a block is freed when no message in it is kept any more. */
export class KeptBytes {
  #block: Uint8Array | undefined;
  #used = 0;

  /** Keeps a copy of `bytes`, or `bytes` themselves where they are most of the memory that they keep alive. */
  keep(bytes: Uint8Array): KeptPlace {
    const { length } = bytes;
    if (length > MAX_SHARED_BYTES) {
      const wasteful = length + MAX_SHARED_BYTES < bytes.buffer.byteLength / 4;
      return { block: wasteful ? new Uint8Array(bytes) : bytes, start: 0 };
    }
    if (this.#block === undefined || this.#used + length > BLOCK_BYTES) {
      this.#block = new Uint8Array(BLOCK_BYTES);
      this.#used = 0;
    }
    const place = { block: this.#block, start: this.#used };
    this.#block.set(bytes, this.#used);
    this.#used += length;
    return place;
  }
}
