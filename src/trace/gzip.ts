/**
 * Traces and captures that were packed by gzip.
 *
 * @module
 */

/**
 * The bytes of a file, unpacked if it is packed; of one that was cut off, what is there.
 */
export async function unpacked(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      pieces.push(new Uint8Array(next.value));
    }
  } catch {
    // Its end is missing, as of a file that is still being written.
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
