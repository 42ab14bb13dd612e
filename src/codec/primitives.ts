/**
 * Parts of values on the wire: numbers of several bytes, most significant first, UTF-8, repeated names, uuids, and the end of a
 * value, found without decoding it.
 *
 * @module
 */

let decoder: TextDecoder | undefined;
let kept: { readonly texts: (string | undefined)[]; readonly spelt: Uint8Array } | undefined;
let nothing: Uint8Array<ArrayBuffer> | undefined;
let scratch: DataView | undefined;

/** No bytes; one array for all, since an empty one takes 200 bytes in V8. */
export function noBytes(): Uint8Array<ArrayBuffer> {
  return nothing ??= new Uint8Array(0);
}

/** The bytes of all pieces. `concat` of `@std/bytes` and the chunk of its own would take 200 more on a client's first load. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** The unsigned number of the four bytes at `at`. */
export function uint32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]) >>> 0;
}

/**
 * Eight bytes for the parts of a number that is read or written; any other call may overwrite them.
 *
 * The view is shared: one over each message for the one double in it costs five times the copy.
 */
export function scratchView(): DataView {
  return scratch ??= new DataView(new ArrayBuffer(8));
}

/** The bytes at `at` as a view, valid until the next call. */
export function loaded(bytes: Uint8Array, at: number, width: 4 | 8): DataView {
  const view = scratchView();
  for (let i = 0; i < width; i++) view.setUint8(i, bytes[at + i]);
  return view;
}

/** Longer texts rarely repeat. */
const LONGEST_KEPT = 32;

/** Up to this length a loop is a third faster in V8 than a call of the decoder; JavaScriptCore is slower by as much. */
const LONGEST_LOOP = 48;

/**
 * Decodes UTF-8; undefined if it is invalid. A byte order mark is kept, as an ordinary character [types 1.6.20].
 */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  // A decoder that throws takes twice as long in Deno, so invalid bytes are found by their replacement character.
  const text = (decoder ??= new TextDecoder("utf-8", { ignoreBOM: true })).decode(bytes);
  return text.includes("\ufffd") && !isUtf8(bytes) ? undefined : text;
}

// Called for a text with the replacement character, which may also have been sent as such.
function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/**
 * Decodes ASCII of a few bytes; undefined for long text and for text that is not ASCII.
 *
 * Names, addresses, and most short texts repeat: recent ones are kept, as an existing text costs neither memory nor, as the key
 * of an object, a lookup among all strings of the program.
 */
export function shortAscii(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (length > LONGEST_KEPT) return length > LONGEST_LOOP ? undefined : asciiOf(bytes, start, length);
  if (length === 0) return "";
  const last = start + length - 1;
  const slot = (length * 7 + bytes[start] * 31 + bytes[last] * 5 + bytes[start + (length >> 1)]) & 0xff;
  const { texts, spelt } = kept ??= { texts: [], spelt: new Uint8Array(LONGEST_KEPT << 8) };
  const found = texts[slot];
  if (found !== undefined && found.length === length && equals(spelt, slot * LONGEST_KEPT, bytes, start, length)) {
    return found;
  }
  const text = asciiOf(bytes, start, length);
  if (text === undefined) return undefined;
  for (let i = 0; i < length; i++) spelt[slot * LONGEST_KEPT + i] = bytes[start + i];
  return texts[slot] = text;
}

function asciiOf(b: Uint8Array, start: number, length: number): string | undefined {
  const end = start + length;
  let bits = 0;
  for (let at = start; at < end; at++) bits |= b[at];
  if (bits > 0x7f) return undefined;
  let text = "";
  let i = start;
  for (; i + 16 <= end; i += 16) {
    // deno-fmt-ignore
    text += String.fromCharCode(
      b[i], b[i + 1], b[i + 2], b[i + 3], b[i + 4], b[i + 5], b[i + 6], b[i + 7],
      b[i + 8], b[i + 9], b[i + 10], b[i + 11], b[i + 12], b[i + 13], b[i + 14], b[i + 15],
    );
  }
  for (; i < end; i++) text += String.fromCharCode(b[i]);
  return text;
}

// Compares bytes with bytes: reading the characters of a text takes twice as long.
function equals(kept: Uint8Array, at: number, bytes: Uint8Array, start: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (kept[at + i] !== bytes[start + i]) return false;
  }
  return true;
}

/** The sixteen bytes of a uuid's text. */
export function parseUuid(text: string): Uint8Array {
  const digits = text.replaceAll("-", "");
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Sixteen bytes as the text of a uuid. */
export function formatUuid(bytes: Uint8Array, offset: number): string {
  const digits: number[] = [];
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) digits.push(0x2d);
    const byte = bytes[offset + i];
    digits.push(hexDigit(byte >> 4), hexDigit(byte & 0xf));
  }
  // In one go: a text that grows letter by letter is a chain of 36 parts in V8, and takes 700 bytes.
  return String.fromCharCode(...digits);
}

function hexDigit(value: number): number {
  return value < 10 ? 0x30 + value : 0x57 + value;
}

// A payload is passed on as a view of the transport's chunk, unless that would keep far more alive: a peer could make us keep
// 16 MiB with one byte of message.
const KEEP_VIEW_BYTES = 262_144;

/** The least length of a view that may be kept for long, of a buffer of so many bytes; shorter ones are to be copied. */
export function leastView(byteLength: number): number {
  return byteLength > KEEP_VIEW_BYTES ? byteLength / 4 : 0;
}

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
