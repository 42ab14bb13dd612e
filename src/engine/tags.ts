/**
 * Delivery tags: the bytes by which both ends of a link know a delivery, and what stands for them in maps.
 *
 * @module
 */

/** A tag as a map key. A number is also what a link's own counter gives. */
export type TagKey = number | string;

/** Makes a map key of a delivery tag: a number of four bytes, as counters make them, else a string of one character a byte. */
export function tagKey(tag: Uint8Array): TagKey {
  if (tag.length === 4) return tag[0]! << 24 | tag[1]! << 16 | tag[2]! << 8 | tag[3]!;
  // At once: built by appending, a string of more than a dozen characters stays a chain of its parts, 32 bytes for each.
  return String.fromCharCode.apply(undefined, tag as unknown as number[]);
}

/** The key of a tag that a link may have counted. */
export function keyOfTag(tag: number | Uint8Array): TagKey {
  return typeof tag === "number" ? tag | 0 : tagKey(tag);
}

/** The tag of a map key. */
export function tagOf(key: TagKey): Uint8Array {
  if (typeof key === "number") return writeTag(new Uint8Array(4), key);
  return Uint8Array.from(key, (unit) => unit.charCodeAt(0));
}

/** Writes a counted tag into four bytes, and returns them. */
export function writeTag(tag: Uint8Array, number: number): Uint8Array {
  tag[0] = number >>> 24;
  tag[1] = number >>> 16;
  tag[2] = number >>> 8;
  tag[3] = number;
  return tag;
}
