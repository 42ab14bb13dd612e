/**
 * What values are made of on the wire: numbers of several bytes, most significant first, UTF-8, names that come again and
 * again, uuids.
 *
 * @module
 */

let decoder: TextDecoder | undefined;
let kept: { readonly texts: (string | undefined)[]; readonly spelt: Uint8Array } | undefined;
let nothing: Uint8Array<ArrayBuffer> | undefined;
let scratch: DataView | undefined;

/** No bytes; one for all, since an array of none takes 200 bytes in V8. */
export function noBytes(): Uint8Array<ArrayBuffer> {
  return nothing ??= new Uint8Array(0);
}

/** The unsigned number of four bytes that stands there. */
export function uint32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]) >>> 0;
}

/**
 * Eight bytes to put the parts of a number into, or the number to take its parts from; another call may change them.
 *
 * There is one for all: a view over each message for the one double in it costs five times the copy.
 */
export function scratchView(): DataView {
  return scratch ??= new DataView(new ArrayBuffer(8));
}

/** The bytes that stand there as a view; valid until the next call. */
export function loaded(bytes: Uint8Array, at: number, width: 4 | 8): DataView {
  const view = scratchView();
  for (let i = 0; i < width; i++) view.setUint8(i, bytes[at + i]);
  return view;
}

/** Longer texts than this are rarely the same twice. */
const LONGEST_KEPT = 32;

/** Up to here V8 is faster by a loop than by the call of a decoder, by a third; JavaScriptCore is slower by as much. */
const LONGEST_LOOP = 48;

/**
 * UTF-8 as text, undefined if it is none. A byte order mark is kept, it is an ordinary character there [types 1.6.20].
 */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  // Deno takes twice as long when it is to throw, so invalid bytes are found by what stands for them.
  const text = (decoder ??= new TextDecoder("utf-8", { ignoreBOM: true })).decode(bytes);
  return text.includes("\ufffd") && !isUtf8(bytes) ? undefined : text;
}

// Asked where the text has the character that stands for invalid bytes, which may also have come as itself.
function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/**
 * ASCII of a few bytes as text, undefined when it is long or no ASCII.
 *
 * Names, addresses, and most short texts come again and again: the last ones are kept, for a text that exists already
 * costs neither memory nor, as the key of an object, a lookup among all strings of the program.
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

// Bytes with bytes: to look at the characters of a text takes twice as long.
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
