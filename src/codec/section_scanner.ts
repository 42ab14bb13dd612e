/**
 * Where the sections of a message begin and end that comes in parts; nothing of them is decoded.
 *
 * @module
 */

import { sections } from "./definitions.ts";
import { bitOf, isBody, messageReader, readSection } from "./generous.ts";
import type { CodecLimits } from "./reader.ts";
import { hexByte } from "../base/text.ts";

// The longest symbol that names a section has fewer.
const MAX_DESCRIPTOR_BYTES = 64;

/** One section, as far as its first bytes tell. */
export interface FoundSection {
  /** The code of its descriptor. */
  readonly section: number;
  /** Where what it holds begins, behind constructor and length. */
  readonly start: number;
  /** Where it ends, perhaps behind the bytes that are there; Infinity for a value or a sequence, which only decoding tells. */
  readonly end: number;
}

/** Goes through the sections of one message, and holds them to the order in which they may come. */
export class SectionScanner {
  readonly #limits: CodecLimits | undefined;
  #last = 0;
  #seen = 0;

  /** Starts before the first section. */
  constructor(limits: CodecLimits | undefined) {
    this.#limits = limits;
  }

  /**
   * The section that begins at `at`; undefined if there are too few bytes to tell.
   *
   * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if it is none, or none that may follow.
   */
  scan(bytes: Uint8Array, at: number): FoundSection | undefined {
    const value = endOfDescriptor(bytes, at);
    if (value >= bytes.length) return undefined;
    const reader = messageReader(bytes.subarray(at), this.#limits);
    const section = readSection(reader, this.#last, this.#seen);
    if (isBody(section) && section !== sections.data.code) return { section, start: at, end: Infinity };
    const code = bytes[value]!;
    if (section === sections.data.code && code !== 0xa0 && code !== 0xb0 && !(code === 0x40 && reader.generous)) {
      throw reader.fail(`constructor 0x${hexByte(code)} of data is not binary`);
    }
    const { start, end } = valueAt(bytes, value);
    return start > bytes.length ? undefined : { section, start, end };
  }

  /** Goes on behind a section. */
  pass({ section }: FoundSection): void {
    this.#seen |= bitOf(section);
    this.#last = section;
  }
}

// Where the constructor of a section's value stands; bytes that are no descriptor are told so by who reads it.
function endOfDescriptor(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== 0x00) return at;
  const [code, length] = [bytes[at + 1], bytes[at + 2]];
  switch (code) {
    case undefined:
      return bytes.length;
    case 0x53:
      return at + 3;
    case 0x80:
      return at + 10;
    case 0xa3:
      return at + 3 + (length ?? 0);
    case 0xb3:
      return at + 6 + Math.min(MAX_DESCRIPTOR_BYTES, uint(bytes, at + 2));
    default:
      return at + 1;
  }
}

// What a constructor says of the length of its value, where what may follow is a list, a map or a binary.
function valueAt(bytes: Uint8Array, at: number): { start: number; end: number } {
  const code = bytes[at]!;
  if (code < 0xa0) return { start: at + 1, end: at + 1 };
  const start = at + ((code & 0x10) === 0 ? 2 : 5);
  return { start, end: start + ((code & 0x10) === 0 ? bytes[at + 1] ?? 0 : uint(bytes, at + 1)) };
}

function uint(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}
