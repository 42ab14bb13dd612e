/**
 * Lists of tokens, as header fields carry them.
 *
 * @module
 */

import { isToken } from "../url.ts";

/**
 * The elements of a comma-separated list; empty ones are allowed and mean nothing [rfc9110 5.6.1.2].
 *
 * Only for lists of tokens: a comma inside a quoted string would be taken for a separator.
 */
export function elementsOf(list: string): string[] {
  // `split` on one character and a scan from both ends are linear, unlike the usual expression [ws CVE-2021-32640].
  return list.split(",").map(trimBlanks).filter((element) => element !== "");
}

/** The tokens of a list, or undefined if anything in it is not one. */
export function tokensOf(list: string): string[] | undefined {
  const elements = elementsOf(list);
  return elements.every(isToken) ? elements : undefined;
}

/** Whether a comma-separated list has `token`, whatever its case. */
export function hasToken(list: string, token: string): boolean {
  const wanted = token.toLowerCase();
  return elementsOf(list).some((element) => element.toLowerCase() === wanted);
}

/** The text without spaces and tabs around it: `String.trim` would also take 0xa0, the tail of many a UTF-8 sequence. */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

/** Whether it is a space or a tab, the only blanks within a field. */
export function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09;
}

/** Whether it is a control character, a tab included. */
export function isControl(unit: number): boolean {
  return unit < 0x20 || unit === 0x7f;
}
