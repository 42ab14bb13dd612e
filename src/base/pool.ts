/**
 * Memory for output, which is used again: to ask for as much each time costs more than to fill it, since collectors of
 * garbage count it, and walk the whole heap the more often.
 *
 * There are two kinds. A *slab* is small and written once, from its start to its end, by one writer after the other; its
 * parts are handed out and never given back. A *block* is large and has one owner: the writer until it hands the block
 * over with {@linkcode lend}, then whoever holds that very view, who may {@linkcode giveBlock} it once, when nobody will
 * read it any more. Giving back twice, or what was never lent, does nothing.
 *
 * @module
 */

/** The least that is worth being used again as a block, in bytes. */
export const MIN_BLOCK_BYTES = 32_768;

// What 64 messages of 64 KiB take that wait for their outcome, and the flushes on their way; kept while nothing is sent.
const MAX_SPARE_BYTES = 8_388_608;
// Sizes differ by a few bytes from message to message.
const STEP_BYTES = 4_096;

/** Memory that is written once; what was handed out of it stays as it is. */
export interface Slab {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How far it is written. */
  end: number;
}

let blocks: Uint8Array<ArrayBuffer>[] | undefined;
let blockBytes = 0;
let lent: WeakSet<Uint8Array> | undefined;

// The slabs that no writer writes to right now. The next one that has something to write goes on behind its end, so that
// connections with nothing to send have no memory for it, however many they are. Two, since a flush over a WebSocket has two
// writers, of the frames of AMQP and of those around them.
let spare: Slab | undefined;
let second: Slab | undefined;

/** A block of at least `least` bytes, and not much more. What stands in it is what others have left. */
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

/** Whether these are the first bytes of a block. */
export function isBlock(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.byteOffset === 0 && bytes.buffer.byteLength >= MIN_BLOCK_BYTES;
}

/** Makes whoever holds `view` the owner of its block; the caller does not touch the block any more. */
export function lend<T extends Uint8Array>(view: T): T {
  (lent ??= new WeakSet()).add(view);
  return view;
}

/** Whether this view may be given back. */
export function isLent(view: Uint8Array): boolean {
  return lent !== undefined && lent.has(view);
}

/** Takes back the block of a view that was lent, which nobody will read again; false for anything else. */
export function giveBlock(view: Uint8Array): boolean {
  if (!lent?.delete(view)) return false;
  const block = new Uint8Array(view.buffer as ArrayBuffer);
  blockBytes += block.length;
  blocks ??= [];
  blocks.push(block);
  // The oldest go, so that sizes that nobody asks for do not stay for ever.
  while (blockBytes > MAX_SPARE_BYTES) blockBytes -= blocks.shift()!.length;
  return true;
}

/** A slab that is spare and has room for so many bytes; the caller writes behind its end, and leaves it later. */
export function takeSlab(least: number): Slab | undefined {
  // The roomier one is the first.
  if (spare === undefined || roomOf(spare) < least) return undefined;
  const slab = spare;
  spare = second;
  second = undefined;
  return slab;
}

/** Leaves a slab to the next writer. The roomiest are worth keeping, and a block is none. */
export function leaveSlab(slab: Slab): void {
  if (isBlock(slab.bytes) || roomOf(slab) === 0) return;
  if (spare === undefined || roomOf(slab) > roomOf(spare)) {
    second = spare;
    spare = slab;
  } else if (second === undefined || roomOf(slab) > roomOf(second)) second = slab;
}

export function roomOf({ bytes, end }: Slab): number {
  return bytes.length - end;
}
