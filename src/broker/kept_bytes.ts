/**
 * Memory for messages that are kept.
 *
 * @module
 */

import type { CodecLimits } from "../codec/limits.ts";

// A separate array costs some hundred bytes beside the message's; one long-lived message keeps at most a block alive.
const BLOCK_BYTES = 4_096;

/** The numbers that a block keeps beside the bytes of each message, 32 bits each. */
export const RECORD_NUMBERS = 7;
/** The first number of a record, the index of the message's first byte; the others belong to whoever keeps it. */
export const START = 0;

const RECORD_BYTES = 4 * RECORD_NUMBERS;
// Longer messages, of which fewer than four fill a block, have arrays of their own.
const MAX_SHARED_BYTES = BLOCK_BYTES / 4 - RECORD_BYTES;

/** Where messages came from: one object for all messages of a link. */
export interface MessageSource {
  /** Limits of decoding. */
  readonly limits: CodecLimits | undefined;
  /** The sending container, for no-local filters. */
  readonly container: string | undefined;
}

/**
 * Messages one after another, each behind a record of numbers. What is kept of a message is its block and the index of its
 * record there: two values and not an object, as a queue may hold a million messages.
 */
export class MessageBlock {
  readonly bytes: Uint8Array;
  readonly numbers: Int32Array;
  /** The index of the newest record. */
  last = 0;
  // Those that records refer to by their index; an array of its own takes less than one that begins empty.
  #sources: (MessageSource | undefined)[] | undefined;

  constructor(bytes: Uint8Array, numbers: Int32Array) {
    this.bytes = bytes;
    this.numbers = numbers;
  }

  /** The index of a source here, which is added if it is new; undefined is the source of the broker's own messages. */
  indexOf(source: MessageSource | undefined): number {
    const sources = this.#sources ??= [source];
    // Most messages come from where the one before them came from.
    const newest = sources.length - 1;
    if (sources[newest] === source) return newest;
    const at = sources.indexOf(source);
    return at < 0 ? sources.push(source) - 1 : at;
  }

  source(index: number): MessageSource | undefined {
    return this.#sources?.[index];
  }
}

/** Copies short messages one after another into blocks; a block is freed when no message in it is kept any more. */
export class KeptBytes {
  #block: MessageBlock | undefined;
  #used = 0;

  /** Keeps a copy of `bytes`, the block's newest message; long ones stay where they are, unless that wastes their buffer. */
  keep(bytes: Uint8Array): MessageBlock {
    const { length } = bytes;
    if (length > MAX_SHARED_BYTES) {
      const wasteful = length + MAX_SHARED_BYTES < bytes.buffer.byteLength / 4;
      return new MessageBlock(wasteful ? new Uint8Array(bytes) : bytes, new Int32Array(RECORD_NUMBERS));
    }
    let block = this.#block;
    if (block === undefined || this.#used + RECORD_BYTES + length > BLOCK_BYTES) {
      const bytes = new Uint8Array(BLOCK_BYTES);
      this.#block = block = new MessageBlock(bytes, new Int32Array(bytes.buffer));
      this.#used = 0;
    }
    const start = this.#used + RECORD_BYTES;
    block.last = this.#used / 4;
    block.numbers[block.last + START] = start;
    block.bytes.set(bytes, start);
    // Numbers begin at multiples of four.
    this.#used = (start + length + 3) & ~3;
    return block;
  }
}
