/**
 * Text on the wire and text for people: UTF-8, hex, uuids, quoting.
 *
 * @module
 */

let encoder: TextEncoder | undefined;
let decoder: TextDecoder | undefined;
let names: (string | undefined)[] | undefined;

/** The one text encoder, made when first needed. */
export function utf8Encoder(): TextEncoder {
  return encoder ??= new TextEncoder();
}

/**
 * The one decoder for strings on the wire, made when first needed: it throws on invalid UTF-8, and keeps a byte
 * order mark, which is an ordinary character there [types 1.6.20].
 */
export function utf8Decoder(): TextDecoder {
  return decoder ??= new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
}

/**
 * ASCII of a few bytes as text, undefined when it is long or no ASCII: below this length the loop is faster than
 * the call of a decoder on every runtime.
 */
export function shortAscii(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (length > 16) return undefined;
  const end = start + length;
  let text = "";
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const a = bytes[at];
    const b = bytes[at + 1];
    const c = bytes[at + 2];
    const d = bytes[at + 3];
    if ((a | b | c | d) > 0x7f) return undefined;
    text += String.fromCharCode(a, b, c, d);
  }
  for (; at < end; at++) {
    if (bytes[at] > 0x7f) return undefined;
    text += String.fromCharCode(bytes[at]);
  }
  return text;
}

/**
 * ASCII of a name as text, undefined when it is long or no ASCII.
 *
 * Keys of maps and symbols are few and come again and again: the last ones are kept, for a text that exists already
 * costs neither memory nor, as the key of an object, a lookup among all strings of the program.
 */
export function nameAscii(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (length === 0 || length > 32) return undefined;
  const last = start + length - 1;
  const slot = (length * 7 + bytes[start] * 31 + bytes[last] * 5 + bytes[start + (length >> 1)]) & 0xff;
  const kept = (names ??= [])[slot];
  if (kept !== undefined && equalsAscii(kept, bytes, start, length)) return kept;
  let text = "";
  for (let at = start; at <= last; at++) {
    if (bytes[at] > 0x7f) return undefined;
    text += String.fromCharCode(bytes[at]);
  }
  return names[slot] = text;
}

function equalsAscii(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (text.charCodeAt(i) !== bytes[start + i]) return false;
  }
  return true;
}

/** Bytes as lower-case hex digits. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += hexByte(byte);
  return text;
}

/** One byte as two lower-case hex digits. */
export function hexByte(byte: number): string {
  return (byte < 0x10 ? "0" : "") + byte.toString(16);
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
  let text = "";
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
    text += hexByte(bytes[offset + i]);
  }
  return text;
}

/**
 * Text in double quotes on one line: control characters escaped, so that a peer's text can write neither lines nor
 * terminal sequences into a log, and cut so that it cannot flood one.
 */
export function quote(text: string, longest = 80): string {
  const shown = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return `"${shown.replace(/["\\\p{C}\u2028\u2029]/gu, escape)}"`;
}

function escape(character: string): string {
  if (character === '"' || character === "\\") return `\\${character}`;
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
