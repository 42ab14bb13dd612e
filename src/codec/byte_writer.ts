/**
 * Output bytes: a buffer that grows, and hands over complete parts.
 *
 * @module
 */

import { BLOCK_HEAD_BYTES, leaveSlab, lend, MIN_BLOCK_BYTES, takeBlock, takeSlab } from "../base/pool.ts";
import { noBytes } from "./primitives.ts";
import { utf8Encoder } from "../base/text.ts";

// Two flushes of a busy connection: one large message must not make the blocks for small ones as large.
const MAX_AHEAD = 131_072;

const LONGEST_LOOP = 48;

/**
 * Collects bytes.
 *
 * Memory is taken in blocks; {@linkcode ByteWriter.take} hands over consecutive parts of a block, so that small messages need
 * no allocation of their own.
 */
export class ByteWriter {
  /** The block; growing replaces it, so a position that is kept counts from {@linkcode ByteWriter.start}. */
  bytes: Uint8Array<ArrayBuffer> = noBytes();
  // Asking an array for its buffer costs as much as making a view, and each message takes a view.
  #buffer: ArrayBuffer = this.bytes.buffer;
  /** Start of the bytes that were not taken. */
  protected start = 0;
  /** End of the bytes that were written. */
  protected end = 0;

  readonly #capacity: number;
  readonly #isOwn: boolean;
  #lastTaken = 0;

  /**
   * Starts empty; memory is taken at the first write, `capacity` bytes or more at a time. `isOwn` for what a program gets: others
   * neither have written to that memory, nor will.
   */
  constructor(capacity = 256, isOwn = false) {
    this.#capacity = capacity;
    this.#isOwn = isOwn;
  }

  /** Bytes that were written and not taken. */
  get length(): number {
    return this.end - this.start;
  }

  /** The bytes written so far; valid until the next write. */
  view(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer, this.start, this.end - this.start);
  }

  /**
   * Hands over the bytes written so far, and starts again behind them. Bytes that needed a block of their own may be passed to
   * `giveBlock` once nobody reads them any more.
   */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.view();
    this.#lastTaken = taken.length;
    if (this.bytes.length >= MIN_BLOCK_BYTES && !this.#isOwn) {
      lend(taken);
      this.#hold(noBytes(), 0);
    } else this.start = this.end;
    return taken;
  }

  /**
   * Leaves the rest of its slab to the next writer, if nothing is to be written: idle connections, however many, hold no memory
   * for output.
   */
  release(): void {
    if (this.length > 0 || this.bytes.length === 0) return;
    leaveSlab({ bytes: this.bytes, end: this.end });
    this.#hold(noBytes(), 0);
  }

  /** Drops all bytes after the first `length`. */
  truncate(length: number): void {
    this.end = this.start + length;
  }

  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  u8(value: number): void {
    // Reserved before the array is read: growing replaces it.
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  /** Writes four bytes, the most significant first. */
  u32(value: number): void {
    this.overwrite32(value, this.reserve(4) - this.start);
  }

  /** Overwrites the four bytes at `position`, counted from the start. */
  overwrite32(value: number, position: number): void {
    const at = this.start + position;
    const bytes = this.bytes;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
  }

  /** Writes the first `width` bytes of a view. */
  protected copy(view: DataView, width: number): void {
    const at = this.reserve(width);
    const bytes = this.bytes;
    for (let i = 0; i < width; i++) bytes[at + i] = view.getUint8(i);
  }

  /** Writes constructor and length of a value of variable width; `code` is the constructor of the short form. */
  protected header(code: number, length: number): void {
    if (length <= 0xff) {
      this.u8(code);
      this.u8(length);
    } else {
      this.u8(code + 0x10);
      this.u32(length);
    }
  }

  /** Writes a text with its header if it is ASCII; false, and nothing written, if it is not. */
  protected ascii(code: number, text: string): boolean {
    const { length } = text;
    if (length > LONGEST_LOOP) return this.#longAscii(code, text);
    // For texts as short as names and addresses a loop is faster than a call of the encoder.
    const before = this.length;
    let at = this.reserve(2 + length);
    const bytes = this.bytes;
    bytes[at++] = code;
    bytes[at++] = length;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 0x7f) {
        this.end = this.start + before;
        return false;
      }
      bytes[at++] = unit;
    }
    return true;
  }

  // The size of ASCII is known ahead, so the text is encoded in place; any other text does not fit there.
  #longAscii(code: number, text: string): boolean {
    const before = this.length;
    this.header(code, text.length);
    const at = this.reserve(text.length);
    const { read } = utf8Encoder().encodeInto(text, this.bytes.subarray(at, this.end));
    if (read === text.length) return true;
    this.end = this.start + before;
    return false;
  }

  /** Reserves `length` bytes, and returns their position. Read `bytes` only after that: growing replaces it. */
  reserve(length: number): number {
    if (this.end + length > this.bytes.length) this.#grow(this.length + length);
    const at = this.end;
    this.end = at + length;
    return at;
  }

  #grow(least: number): void {
    const written = this.length === 0 ? undefined : this.view();
    // The next output is likely to be as long as the last.
    const likely = Math.min(this.#lastTaken, MAX_AHEAD);
    const slab = written === undefined && !this.#isOwn ? takeSlab(Math.max(likely, least)) : undefined;
    if (slab !== undefined) return this.#hold(slab.bytes, slab.end);
    const size = Math.max(this.#capacity, likely, 2 * this.length, least);
    // A writer of known capacity may keep the memory for long, and takes no more than that.
    const exact = this.#isOwn || size < MIN_BLOCK_BYTES || size === this.#capacity;
    if (exact) this.#hold(new Uint8Array(size), 0);
    else this.#hold(takeBlock(BLOCK_HEAD_BYTES + size), BLOCK_HEAD_BYTES);
    if (written !== undefined) this.append(written);
  }

  // Continues in other memory, from `at`.
  #hold(bytes: Uint8Array<ArrayBuffer>, at: number): void {
    this.bytes = bytes;
    this.#buffer = bytes.buffer;
    this.start = this.end = at;
  }
}
