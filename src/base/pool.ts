/**
 * Reused memory for output: allocating as much each time costs more than filling it, since garbage collectors count what is
 * allocated, and walk the whole heap the more often.
 *
 * There are two kinds. A *slab* is small and written once, from start to end, by one writer after another; parts of it are
 * handed out and never given back. A *block* is large and has one owner: the writer until it hands the block over with
 * {@linkcode lend}, then the holder of that very view, who may {@linkcode giveBlock} it once, when nobody will read it any
 * more. Giving back twice, or a view that was never lent, does nothing.
 *
 * @module
 */

/** Bytes that writers leave free at the start of a block, for the header that a transport puts in front of what was written. */
export const BLOCK_HEAD_BYTES = 16;

/** The smallest block that is worth reusing, in bytes. */
export const MIN_BLOCK_BYTES = 32_768;

// Enough for 64 messages of 64 KiB that wait for their outcome, and the flushes on their way; kept while nothing is sent.
const MAX_SPARE_BYTES = 8_388_608;
// Block sizes are multiples of this, as messages differ by a few bytes.
const STEP_BYTES = 4_096;

/** Memory that is written once; parts that were handed out stay as they are. */
export interface Slab {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes written so far. */
  end: number;
}

let blocks: Uint8Array<ArrayBuffer>[] | undefined;
let blockBytes = 0;
let lent: WeakSet<Uint8Array> | undefined;

// A fresh connection over a WebSocket has as many writers at a time: of SASL, of AMQP frames, of messages, of WebSocket frames.
const MAX_SPARE_SLABS = 4;
// The slabs that no writer holds, the roomiest first. The next writer goes on behind `end`, so that idle connections hold no
// memory, however many they are.
let spares: Slab[] | undefined;

/** A block of at least `least` bytes, and not much more; it may hold bytes of earlier writers. */
export function takeBlock(least: number): Uint8Array<ArrayBuffer> {
  for (let i = (blocks?.length ?? 0) - 1; i >= 0; i--) {
    const block = blocks![i]!;
    if (block.length < least || block.length > 1.5 * least) continue;
    blocks!.splice(i, 1);
    blockBytes -= block.length;
    return block;
  }
  return new Uint8Array(Math.ceil(least / STEP_BYTES) * STEP_BYTES);
}

/** Whether `bytes` begins at the start of a block. */
export function isBlock(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.byteOffset === 0 && bytes.buffer.byteLength >= MIN_BLOCK_BYTES;
}

/** Makes the holder of `view` the owner of its block; the caller must not touch the block any more. */
export function lend<T extends Uint8Array>(view: T): T {
  (lent ??= new WeakSet()).add(view);
  return view;
}

/** Whether `view` may be given back. */
export function isLent(view: Uint8Array): boolean {
  return lent !== undefined && lent.has(view);
}

/** The whole block of a lent view, for a holder that writes around it and lends another view; undefined for any other view. */
export function claimBlock(view: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  return lent?.delete(view) ? new Uint8Array(view.buffer as ArrayBuffer) : undefined;
}

/** Takes back the block of a lent view, which nobody will read again; false for any other view. */
export function giveBlock(view: Uint8Array): boolean {
  // Most are parts of a slab, which need not be looked for.
  const block = view.byteOffset > BLOCK_HEAD_BYTES ? undefined : claimBlock(view);
  if (block === undefined) return false;
  // One beyond the bound would drop all others, and then itself.
  if (block.length > MAX_SPARE_BYTES) return true;
  blockBytes += block.length;
  blocks ??= [];
  blocks.push(block);
  // The oldest blocks are dropped, so that sizes that nobody asks for do not stay for ever.
  while (blockBytes > MAX_SPARE_BYTES) blockBytes -= blocks.shift()!.length;
  return true;
}

/** A spare slab with room for `least` bytes, if any; the caller writes behind its end, and leaves it later. */
export function takeSlab(least: number): Slab | undefined {
  const roomiest = spares?.[0];
  return roomiest === undefined || roomOf(roomiest) < least ? undefined : spares!.shift();
}

/** Leaves a slab to the next writer. The roomiest are kept; a block never is. */
export function leaveSlab(slab: Slab): void {
  if (isBlock(slab.bytes) || roomOf(slab) === 0) return;
  spares ??= [];
  // Each takes the place of the first that has less room.
  for (let i = 0, left: Slab | undefined = slab; i < MAX_SPARE_SLABS && left !== undefined; i++) {
    const other: Slab | undefined = spares[i];
    if (other !== undefined && roomOf(left) <= roomOf(other)) continue;
    spares[i] = left;
    left = other;
  }
}

export function roomOf({ bytes, end }: Slab): number {
  return bytes.length - end;
}
