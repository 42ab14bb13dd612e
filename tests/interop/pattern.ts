/**
 * Bytes that show when they were mixed up.
 *
 * @module
 */

/** Bytes that differ from their neighbours near and far. */
export function pattern(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31) ^ (i >> 8);
  return bytes;
}

/** Whether these are the bytes of {@linkcode pattern}, complete and no more. */
export function isPattern(bytes: Uint8Array, size: number): boolean {
  const expected = pattern(size);
  return bytes.length === size && bytes.every((byte, i) => byte === expected[i]);
}
