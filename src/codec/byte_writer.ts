/**
 * Bytes on their way out: an output that grows, and gives away what is complete.
 *
 * @module
 */

import { isBlock, leaveSlab, lend, MIN_BLOCK_BYTES, takeBlock, takeSlab } from "../base/pool.ts";
import { noBytes } from "./primitives.ts";
import { utf8Encoder } from "../base/text.ts";

// Two flushes of a busy connection; one large message shall not make blocks for small ones as large.
const MAX_AHEAD = 131_072;

const LONGEST_LOOP = 48;

/**
 * Collects bytes.
 *
 * Memory is taken in blocks, and what {@linkcode ByteWriter.take} hands over are parts of them, one behind the other, so
 * that small messages do without an allocation of their own.
 */
export class ByteWriter {
  /** The block, another one after growing: a position that is kept is counted from {@linkcode ByteWriter.start}. */
  bytes: Uint8Array<ArrayBuffer> = noBytes();
  /** Where that begins which was not taken. */
  protected start = 0;
  /** Where it ends. */
  protected end = 0;

  readonly #capacity: number;
  #lastTaken = 0;

  /** Starts empty; memory is taken when there is something to write, `capacity` bytes at a time or more. */
  constructor(capacity = 256) {
    this.#capacity = capacity;
  }

  /** How many bytes were written. */
  get length(): number {
    return this.end - this.start;
  }

  /** The bytes written so far; valid until the next write. */
  view(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(this.start, this.end);
  }

  /**
   * Hands over the bytes written so far, and starts afresh behind them. So many that they needed a block of their own may
   * be given to `giveBlock` when nobody reads them any more.
   */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.view();
    this.#lastTaken = taken.length;
    this.start = this.end;
    if (isBlock(this.bytes)) {
      lend(taken);
      this.bytes = noBytes();
      this.start = 0;
    }
    this.truncate(0);
    return taken;
  }

  /**
   * Leaves the rest of its slab to whichever writer needs memory next, as long as there is nothing to write: of
   * connections that say little, however many they are, none has any.
   */
  release(): void {
    if (this.length > 0 || this.bytes.length === 0) return;
    leaveSlab({ bytes: this.bytes, end: this.end });
    this.bytes = noBytes();
    this.start = this.end = 0;
  }

  /** Takes back all bytes after the first `length`. */
  truncate(length: number): void {
    this.end = this.start + length;
  }

  /** Writes bytes as they are. */
  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** Writes one byte as it is. */
  u8(value: number): void {
    // Before the array is read: it is another one after it grew.
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  /** Writes four bytes as they are. */
  u32(value: number): void {
    this.overwrite32(value, this.reserve(4) - this.start);
  }

  /** Writes four bytes over those that stand after the first `position`. */
  overwrite32(value: number, position: number): void {
    const at = this.start + position;
    const bytes = this.bytes;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
  }

  /** Writes as many bytes of a view as are asked for. */
  protected copy(view: DataView, width: number): void {
    const at = this.reserve(width);
    const bytes = this.bytes;
    for (let i = 0; i < width; i++) bytes[at + i] = view.getUint8(i);
  }

  /** Writes the constructor of a value of variable width, which is `code` where it is short, with the length. */
  protected header(code: number, length: number): void {
    if (length <= 0xff) {
      this.u8(code);
      this.u8(length);
    } else {
      this.u8(code + 0x10);
      this.u32(length);
    }
  }

  /** Writes text with its header if it is ASCII, and tells whether it is. */
  protected ascii(code: number, text: string): boolean {
    const { length } = text;
    if (length > LONGEST_LOOP) return this.#longAscii(code, text);
    // For texts as short as names and addresses are, a loop is faster than the call of an encoder.
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

  // Of ASCII alone the size is known before, so that it can be encoded in its place; anything else does not fit there.
  #longAscii(code: number, text: string): boolean {
    const before = this.length;
    this.header(code, text.length);
    const at = this.reserve(text.length);
    const { read } = utf8Encoder().encodeInto(text, this.bytes.subarray(at, this.end));
    if (read === text.length) return true;
    this.end = this.start + before;
    return false;
  }

  /** Takes room for so many bytes, and tells where. The array is not to be looked at before: it may be another one then. */
  reserve(length: number): number {
    if (this.end + length > this.bytes.length) this.#grow(this.length + length);
    const at = this.end;
    this.end = at + length;
    return at;
  }

  #grow(least: number): void {
    const written = this.view();
    // What is taken next is likely to be as long as what was taken last.
    const likely = Math.min(this.#lastTaken, MAX_AHEAD);
    const slab = written.length === 0 ? takeSlab(Math.max(likely, least)) : undefined;
    if (slab !== undefined) {
      this.bytes = slab.bytes;
      this.start = this.end = slab.end;
      return;
    }
    const size = Math.max(this.#capacity, likely, 2 * written.length, least);
    // Who told how much it will be may keep it for long, and wants no more than that.
    const exact = size < MIN_BLOCK_BYTES || size === this.#capacity;
    this.bytes = exact ? new Uint8Array(size) : takeBlock(size);
    this.bytes.set(written);
    this.start = 0;
    this.end = written.length;
  }
}
