/**
 * Text for people and bytes for texts: quoting, escaping, hex, UTF-8.
 *
 * @module
 */

const DIGITS = "0123456789abcdef";

let encoder: TextEncoder | undefined;

export function utf8Encoder(): TextEncoder {
  return encoder ??= new TextEncoder();
}

/** A text as UTF-8; a lone surrogate becomes U+FFFD. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return utf8Encoder().encode(text);
}

/** Whether a text is free of lone surrogates; also in browsers before `String.prototype.isWellFormed`, such as Safari 16.3. */
export function isWellFormed(text: string): boolean {
  return (text as Partial<string>).isWellFormed?.call(text) ?? !/\p{Surrogate}/u.test(text);
}

/** A text with U+FFFD for each lone surrogate, which no encoder takes. */
export function toWellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

// Not the one of @std/encoding: a client loads this file first, and that one adds 600 bytes (gzip) of alphabets for one line.
/** Bytes as lower-case hex digits. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += hexByte(bytes[i]);
  return text;
}

/** One byte as two lower-case hex digits. */
export function hexByte(byte: number): string {
  return DIGITS[byte >> 4] + DIGITS[byte & 15];
}

/** Text in double quotes on one line, escaped and cut as {@linkcode printable} does; quotes and backslashes are escaped too. */
export function quote(text: string, longest = 80): string {
  return `"${printable(text, longest, /["\\\p{C}\u2028\u2029]/gu)}"`;
}

/**
 * Text on one line: control, bidi and line-separating characters escaped, so that a peer's text can write neither lines nor
 * terminal sequences into a log, and cut so that it cannot flood one.
 */
export function printable(text: string, longest = 1_000, unsafe: RegExp = /[\p{C}\u2028\u2029]/gu): string {
  const shown = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return shown.replace(unsafe, escape);
}

function escape(character: string): string {
  if (character === '"' || character === "\\") return `\\${character}`;
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
