/**
 * Memory for short messages that are kept.
 *
 * @module
 */

// A separate array costs some hundred bytes beside the message's; one long-lived message keeps at most a block alive.
const BLOCK_BYTES = 4_096;
// Longer messages have arrays of their own.
const MAX_SHARED_BYTES = 1_024;

/** The place of kept bytes. */
export interface KeptPlace {
  readonly block: Uint8Array;
  /** The index of the first byte in `block`. */
  readonly start: number;
}

/** Copies short messages one after another into blocks; a block is freed when no message in it is kept any more. */
export class KeptBytes {
  #block: Uint8Array | undefined;
  #used = 0;

  /** Keeps a copy of `bytes`; long ones stay where they are, unless they waste most of their buffer. */
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
