/**
 * Ends of values, found without decoding, for readers that look for the sections of a message and not at their contents.
 *
 * @module
 */

/**
 * The end of the value at `at`; `Infinity` if the bytes end before its size is known. The width of a value follows from the
 * upper half of its constructor [types 1.2].
 */
export function valueEnd(bytes: Uint8Array, at: number): number {
  let missing = 1;
  while (missing > 0) {
    if (at >= bytes.length) return Infinity;
    const constructor = bytes[at++]!;
    if (constructor === 0x00) {
      // A descriptor and a value.
      missing++;
      continue;
    }
    missing--;
    const kind = constructor >> 4;
    if (kind >= 0xa) {
      const wide = kind % 2 === 1;
      if (at + (wide ? 4 : 1) > bytes.length) return Infinity;
      const size = wide
        ? bytes[at]! * 0x1000000 + (bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!)
        : bytes[at]!;
      at += (wide ? 4 : 1) + size;
    } else at += kind <= 4 ? 0 : 1 << kind - 5;
  }
  return at;
}

/** The end of each section of an encoded message, in order; undefined for bytes that are no whole sections. */
export function sectionEnds(payload: Uint8Array): number[] | undefined {
  const ends: number[] = [];
  for (let at = 0; at < payload.length;) {
    if (payload[at] !== 0x00) return undefined;
    at = valueEnd(payload, at);
    if (at > payload.length) return undefined;
    ends.push(at);
  }
  return ends;
}
