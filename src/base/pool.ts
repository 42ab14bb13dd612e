/**
 * Memory for large pieces of output, which is used again: to ask for as much each time costs more than to fill it, since
 * collectors of garbage count it, and walk the whole heap the more often.
 *
 * @module
 */

/** The least that is worth being used again, in bytes. */
export const MIN_BLOCK_BYTES = 32_768;

// What 64 messages of 64 KiB take that wait for their outcome, and the flushes on their way; kept while nothing is sent.
const MAX_SPARE_BYTES = 8_388_608;
// Sizes differ by a few bytes from message to message.
const STEP_BYTES = 4_096;

let spare: Uint8Array<ArrayBuffer>[] | undefined;
let spareBytes = 0;

/** Memory of at least `least` bytes, and not much more. What stands in it is what others have left. */
export function takeBlock(least: number): Uint8Array<ArrayBuffer> {
  for (let i = (spare?.length ?? 0) - 1; i >= 0; i--) {
    const block = spare![i]!;
    if (block.length < least || block.length > 1.5 * least) continue;
    spare!.splice(i, 1);
    spareBytes -= block.length;
    return block;
  }
  return new Uint8Array(Math.ceil(least / STEP_BYTES) * STEP_BYTES);
}

/** Whether these are the first bytes of a block of their own. */
export function isBlock(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.byteOffset === 0 && bytes.buffer.byteLength >= MIN_BLOCK_BYTES;
}

/** Takes back the memory of bytes that nobody will read again, if they are the first of a block. */
export function giveBlock(bytes: Uint8Array): void {
  if (!isBlock(bytes)) return;
  const block = new Uint8Array(bytes.buffer);
  spareBytes += block.length;
  spare ??= [];
  spare.push(block);
  // The oldest go, so that sizes that nobody asks for do not stay for ever.
  while (spareBytes > MAX_SPARE_BYTES) spareBytes -= spare.shift()!.length;
}
