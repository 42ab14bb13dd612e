/**
 * Buffers for the reads of a socket.
 *
 * @module
 */

// Large enough that few frames span two reads on a busy connection; views of buffers up to this size are kept by the
// engine, rather than copied.
const MAX_BYTES = 262_144;
const MIN_BYTES = 16_384;
// The rest of a buffer is used for reads as long as a frame of usual size fits.
const MIN_LEFT = 8_192;

/**
 * Buffers for one read after the other: large on a busy connection, each of whose reads would otherwise have 64 KiB of its
 * own; small on an idle one.
 */
export class ReadBuffers {
  readonly #make: (length: number) => Uint8Array<ArrayBuffer>;
  #buffer: Uint8Array<ArrayBuffer>;
  #at = 0;

  /** Starts with a small buffer; `make` allocates each. */
  constructor(make: (length: number) => Uint8Array<ArrayBuffer> = (length) => new Uint8Array(length)) {
    this.#make = make;
    this.#buffer = make(MIN_BYTES);
  }

  /** The buffer for the next read. */
  get free(): Uint8Array<ArrayBuffer> {
    return this.#at === 0 ? this.#buffer : this.#buffer.subarray(this.#at);
  }

  /** The `length` bytes that were read. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer;
    const start = this.#at;
    this.#at += length;
    const left = buffer.length - this.#at;
    if (left < MIN_LEFT) {
      // A read that filled the buffer has left bytes behind; a much smaller one took all there were.
      const size = left === 0 ? 4 * buffer.length : 8 * length < buffer.length ? buffer.length / 2 : buffer.length;
      this.#buffer = this.#make(Math.min(Math.max(size, MIN_BYTES), MAX_BYTES));
      this.#at = 0;
    }
    return new Uint8Array(buffer.buffer, start, length);
  }
}
