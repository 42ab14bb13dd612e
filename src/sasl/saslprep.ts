/**
 * SASLprep: user names and passwords in the one form that both sides compare [rfc4013].
 *
 * @module
 */

import { checkText } from "../base/options.ts";

// Non-ASCII spaces become a space [rfc3454 C.1.2]; some characters are removed [rfc3454 B.1].
const SPACE = /[\xa0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
const NOTHING = /[\xad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/gu;

// Control characters, private use, non-characters, surrogates, and characters that change or tag text [rfc3454 C.2 to C.9].
const PROHIBITED =
  /[\p{Cc}\u06dd\u070f\u180e\u200e\u200f\u2028-\u202e\u2061-\u2063\u206a-\u206f\u2ff0-\u2ffb\ufdd0-\ufdef\ufff9-\ufffd\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]/u;

// Characters written from right to left [rfc3454 D.1].
const RIGHT_TO_LEFT =
  /[\u05be\u05c0\u05c3\u05d0-\u05ea\u05f0-\u05f4\u061b\u061f\u0621-\u063a\u0640-\u064a\u066d-\u066f\u0671-\u06d5\u06e5\u06e6\u06fa-\u06fe\u0700-\u070d\u0710\u0712-\u072c\u0780-\u07a5\u07b1\ufb1d\ufb1f-\ufb28\ufb2a-\ufb36\ufb38-\ufb3c\ufb3e\ufb40\ufb41\ufb43\ufb44\ufb46-\ufbb1\ufbd3-\ufd3d\ufd50-\ufd8f\ufd92-\ufdc7\ufdf0-\ufdfc\ufe70-\ufe74\ufe76-\ufefc]/u;

// Letters, letter-like numbers and spacing marks: the left-to-right characters [rfc3454 D.2] that a password may hold, in a
// thousandth of the table's length.
const LETTER = /[\p{L}\p{Nl}\p{Mc}]/u;

/**
 * Prepares a text for comparison: spaces unified, compatible characters normalized.
 *
 * Characters that Unicode 3.2 had not assigned are allowed, as in a query.
 *
 * @throws {RangeError} If the text is empty once prepared, holds a prohibited character, or mixes directions of writing; the
 * error names `what`, never the text.
 * @throws {TypeError} If it is no string.
 */
export function saslprep(text: string, what: string): string {
  checkText(`use ${what}`, "it", text);
  const prepared = text.replace(SPACE, " ").replace(NOTHING, "").normalize("NFKC");
  if (prepared === "") throw new RangeError(`Cannot use ${what}: it is empty`);
  if (PROHIBITED.test(prepared)) {
    throw new RangeError(`Cannot use ${what}: it holds a control character, or another that SASLprep does not allow`);
  }
  if (RIGHT_TO_LEFT.test(prepared)) {
    const characters = [...prepared];
    const mixed = characters.some((character) => LETTER.test(character) && !RIGHT_TO_LEFT.test(character));
    // Right-to-left text must begin and end with such a character [rfc3454 6].
    if (mixed || !RIGHT_TO_LEFT.test(characters[0]!) || !RIGHT_TO_LEFT.test(characters.at(-1)!)) {
      throw new RangeError(`Cannot use ${what}: it mixes directions of writing, which SASLprep does not allow`);
    }
  }
  return prepared;
}
