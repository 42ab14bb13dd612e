/**
 * Bounds of a message's sections, for readers of a message in parts. Nothing is decoded, so the contents and the order of
 * sections are for the decoder to check.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { hexByte } from "../base/text.ts";
import { definitions, sections } from "./definitions.ts";

// More than the bytes of the longest symbol that names a section.
const MAX_NAME_BYTES = 64;

/** The bounds of one section, by its first bytes. */
export interface SectionBounds {
  readonly section: number;
  /** Start of the contents, behind constructor and length. */
  readonly start: number;
  /** End of the contents, perhaps behind the bytes at hand; Infinity for a value or a sequence, which needs decoding. */
  readonly end: number;
}

/**
 * The section that begins at `at`; undefined if there are too few bytes.
 *
 * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if there is no section.
 */
export function sectionAt(bytes: Uint8Array, at: number): SectionBounds | undefined {
  const constructor = endOfDescriptor(bytes, at);
  if (constructor >= bytes.length) return undefined;
  const section = sectionOf(bytes.subarray(at + 1, constructor));
  if (section === sections.value.code || section === sections.sequence.code) {
    return { section, start: at, end: Infinity };
  }
  const code = bytes[constructor]!;
  const isData = section === sections.data.code;
  // Some peers write null for a section without content.
  if (code === 0x40 || !isData && code === 0x45) return { section, start: constructor + 1, end: constructor + 1 };
  if (isData ? code !== 0xa0 && code !== 0xb0 : code !== 0xc0 && code !== 0xc1 && code !== 0xd0 && code !== 0xd1) {
    throw undecodable(`constructor 0x${hexByte(code)} is none of section 0x${hexByte(section)}`);
  }
  const isShort = (code & 0x10) === 0;
  const start = constructor + (isShort ? 2 : 5);
  return start > bytes.length
    ? undefined
    : { section, start, end: start + (isShort ? bytes[constructor + 1]! : uint(bytes, constructor + 1)) };
}

/** The error for bytes that are no message. */
export function undecodable(state: string): AmqpError {
  return new AmqpError(condition.decodeError, `Cannot decode message: ${state}`, { scope: "delivery" });
}

// End of the descriptor at `at`, perhaps behind the bytes at hand.
function endOfDescriptor(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== 0x00) throw undecodable("a section does not begin with a descriptor");
  switch (bytes[at + 1]) {
    case undefined:
      return bytes.length;
    case 0x53:
      return at + 3;
    case 0x80:
      return at + 10;
    case 0xa3:
      return at + 3 + Math.min(MAX_NAME_BYTES, bytes[at + 2] ?? 0);
    case 0xb3:
      return at + 6 + Math.min(MAX_NAME_BYTES, uint(bytes, at + 2));
  }
  throw unknown();
}

function sectionOf(descriptor: Uint8Array): number {
  const code = descriptor[0];
  if (code === 0x53 || code === 0x80) {
    const number = code === 0x53 ? descriptor[1]! : uint(descriptor, 1) === 0 ? uint(descriptor, 5) : 0;
    if (number >= definitions.header.code && number <= sections.footer.code) return number;
  } else {
    const name = String.fromCharCode(...descriptor.subarray(code === 0xa3 ? 2 : 5));
    if (name === "amqp:header:list") return definitions.header.code;
    if (name === "amqp:properties:list") return definitions.properties.code;
    for (const section of Object.values(sections)) if (section.name === name) return section.code;
  }
  throw unknown();
}

function unknown(): AmqpError {
  return undecodable("the descriptor is not that of a known section");
}

function uint(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}
