/**
 * Lists of tokens in header fields.
 *
 * @module
 */

import { isToken } from "../url.ts";

/**
 * The elements of a comma-separated list, without empty ones, which are allowed and have no meaning [rfc9110 5.6.1.2].
 *
 * Only for lists of tokens: a comma inside a quoted string would count as a separator.
 */
export function elementsOf(list: string): string[] {
  // Splitting and trimming are linear, unlike the usual regular expression [ws CVE-2021-32640].
  return list.split(",").map(trimBlanks).filter((element) => element !== "");
}

/** The tokens of a list; undefined if an element is not a token. */
export function tokensOf(list: string): string[] | undefined {
  const elements = elementsOf(list);
  return elements.every(isToken) ? elements : undefined;
}

/** Whether a comma-separated list has `token`, in any case. */
export function hasToken(list: string, token: string): boolean {
  const wanted = token.toLowerCase();
  return elementsOf(list).some((element) => element.toLowerCase() === wanted);
}

/** Removes surrounding spaces and tabs; `String.trim` would also remove 0xa0, the last byte of many UTF-8 sequences. */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

/** Whether a code unit is a space or a tab, the only blanks within a field. */
export function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09;
}

/** Whether a code unit is a control character, tab included. */
export function isControl(unit: number): boolean {
  return unit < 0x20 || unit === 0x7f;
}
