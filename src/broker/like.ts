/**
 * Patterns of LIKE, matched in time proportional to the text.
 *
 * @module
 */

/** Longest pattern, in characters: the time for each character of a text grows with it by steps of 32. */
const MAX_PATTERN_LENGTH = 512;

/** The cost of a link's filters. */
export interface FilterCost {
  /** Steps of about a microsecond each, beyond one for each message. */
  steps: number;
  /** Cost for each character of a text, in units of 32 pattern characters. */
  words: number;
}

export function noCost(): FilterCost {
  return { steps: 0, words: 0 };
}

// The characters of a text in one step, for each 32 characters of a pattern.
const STEP_LENGTH = 256;

// A character of a pattern; undefined for any.
type Unit = number | undefined;

/**
 * Compiles a pattern in which `%` stands for any characters and `_` for one; `escape` makes the next one literal. Each
 * match adds to `cost`.
 *
 * @throws {RangeError} If the pattern is too long, or `escape` is not one character.
 */
export function likeMatcher(
  pattern: string,
  escape?: string,
  cost: FilterCost = noCost(),
): (text: string) => boolean {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new RangeError(`a pattern has ${pattern.length} characters, ${MAX_PATTERN_LENGTH} are the most`);
  }
  if (escape !== undefined && escape.length !== 1) throw new RangeError("what escapes is not one character");
  const parts: Unit[][] = [[]];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    if (c === escape && i + 1 < pattern.length) parts.at(-1)!.push(pattern.charCodeAt(++i));
    else if (c === "%") parts.push([]);
    else parts.at(-1)!.push(c === "_" ? undefined : pattern.charCodeAt(i));
  }
  const first = parts[0]!;
  if (parts.length === 1) return (text) => text.length === first.length && isAt(first, text, 0);
  const last = parts.at(-1)!;
  const middle = parts.slice(1, -1).filter((part) => part.length > 0);
  const finders = middle.map(finder);
  const words = Math.max(0, ...middle.map(({ length }) => Math.ceil(length / 32)));
  cost.words += words;
  return (text) => {
    cost.steps += Math.floor(text.length * words / STEP_LENGTH);
    const end = text.length - last.length;
    if (end < first.length || !isAt(first, text, 0) || !isAt(last, text, end)) return false;
    let at = first.length;
    // The leftmost match of each part leaves most to the others.
    for (const find of finders) if ((at = find(text, at, end)) < 0) return false;
    return true;
  };
}

function isAt(part: readonly Unit[], text: string, at: number): boolean {
  return part.every((unit, i) => unit === undefined || text.charCodeAt(at + i) === unit);
}

// Finds the end of the leftmost match of a part between two indices, or -1, by shift-and: a bit for each prefix of the part
// tells whether it ends at the current character, so each character is looked at once.
function finder(part: readonly Unit[]): (text: string, from: number, to: number) => number {
  const words = Math.ceil(part.length / 32);
  const anything = new Uint32Array(words);
  const masks = new Map<number, Uint32Array>();
  for (const unit of part) if (unit !== undefined) masks.set(unit, new Uint32Array(words));
  part.forEach((unit, i) => {
    const bit = 1 << (i % 32);
    for (const [code, mask] of masks) if (unit === undefined || unit === code) mask[i >>> 5]! |= bit;
    if (unit === undefined) anything[i >>> 5]! |= bit;
  });
  const whole = 1 << ((part.length - 1) % 32);
  return (text, from, to) => {
    const state = new Uint32Array(words);
    for (let at = from; at < to; at++) {
      const mask = masks.get(text.charCodeAt(at)) ?? anything;
      let carry = 1;
      for (let w = 0; w < words; w++) {
        const word = state[w]!;
        state[w] = (word << 1 | carry) & mask[w]!;
        carry = word >>> 31;
      }
      if ((state[words - 1]! & whole) !== 0) return at + 1;
    }
    return -1;
  };
}
