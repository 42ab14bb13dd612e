/**
 * Messages that deviate from the specification but are clear: fields of another type that say the same, sections in another
 * order.
 *
 * @module
 */

import { isBytes, isDate } from "../base/kinds.ts";
import { utf8 } from "../base/text.ts";
import { fitsInteger, type IntegerType, isAscii, typeOf } from "./codes.ts";
import { readDescriptor } from "./composite.ts";
import { definitions, sections } from "./definitions.ts";
import { type FieldPlan, messageIdForm, timestampForm } from "./plans.ts";
import { decodeUtf8, joined } from "./primitives.ts";
import { type CodecLimits, MAX_DEPTH } from "./limits.ts";
import { Reader } from "./reader.ts";
import type { PrimitiveType } from "./values.ts";
import { stillFits, type TypedWriter } from "./wire_types.ts";

/** A reader for the sections of a message: lenient, unless the limits ask for strictness. */
export function messageReader(bytes: Uint8Array, limits?: CodecLimits): Reader {
  const reader = new Reader(bytes, limits, "delivery");
  reader.subject = "message";
  if (limits?.strict !== true) reader.decodeOtherType = decodeOtherType;
  return reader;
}

/**
 * The message with its sections in the order of the specification, each unchanged; the same array if they are in order.
 *
 * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if the bytes are no sections, or one occurs
 * twice.
 */
export function sectionsInOrder(bytes: Uint8Array): Uint8Array {
  const parts = sectionsOf(bytes);
  const isInOrder = parts.every(({ section }, i) => i === 0 || section >= parts[i - 1].section);
  return isInOrder ? bytes : joined(sorted(parts).map(({ part }) => part));
}

// Each section with its bytes, undecoded.
function sectionsOf(bytes: Uint8Array): { section: number; part: Uint8Array }[] {
  const reader = messageReader(bytes);
  const parts: { section: number; part: Uint8Array }[] = [];
  let seen = 0;
  for (let last = 0; reader.remaining > 0;) {
    const start = reader.position;
    const section = readSection(reader, last, seen);
    skip(reader);
    parts.push({ section, part: bytes.subarray(start, reader.position) });
    seen |= bitOf(section);
    last = section;
  }
  return parts;
}

function skip(reader: Reader, depth = 0): void {
  if (depth > MAX_DEPTH) throw reader.fail(`descriptors nest deeper than ${MAX_DEPTH}`);
  let code = reader.code();
  for (; code === 0x00; code = reader.code()) skip(reader, depth + 1);
  if (typeOf(code) === undefined) throw reader.fail(`0x${code.toString(16)} is not the constructor of a type`);
  // Every value with a size has it where a binary has it.
  if (code >= 0xa0) reader.binary((code & 0x10) === 0 ? 0xa0 : 0xb0);
  else if (code !== 0x45) reader.scalar(code);
}

function sorted<T extends { section: number }>(parts: readonly T[]): T[] {
  return [...parts].sort((a, b) => a.section - b.section);
}

/** The sections of the bare message in the order of the specification, each unchanged. */
export function bareOf(bytes: Uint8Array): Uint8Array {
  const bare = sectionsOf(bytes).filter(({ section }) =>
    section >= definitions.properties.code && section !== sections.footer.code
  );
  return joined(sorted(bare).map(({ part }) => part));
}

/** Reads the descriptor of a section; `last` is the section before it, `seen` has the bits of all before it. */
export function readSection(reader: Reader, last: number, seen: number): number {
  reader.subject = "message";
  if (reader.code() !== 0x00) throw reader.fail("a section does not begin with a descriptor");
  const section = readDescriptor(reader);
  if (section < definitions.header.code || section > sections.footer.code) {
    throw reader.fail("the descriptor is not that of a known section");
  }
  const isRepeated = section === last && (section === sections.data.code || section === sections.sequence.code);
  if ((seen & bitOf(section)) !== 0 && !isRepeated) throw reader.fail("a section occurs twice");
  if (section < last && !reader.lenient) throw reader.fail("a section is out of order");
  if (isBody(section) && (seen & BODY_BITS & ~bitOf(section)) !== 0) throw reader.fail("the body is of two kinds");
  return section;
}

const BODY_BITS = 1 << 5 | 1 << 6 | 1 << 7;

/** The bit of a section in `seen`. */
export function bitOf(section: number): number {
  return 1 << section - definitions.header.code;
}

export function isBody(section: number): boolean {
  return section >= sections.data.code && section <= sections.value.code;
}

// Reads a field with another type than the table's that says the same: a symbol for a string, an int for a uint. Only in
// messages; the type is recorded, so that the field is written back as it came.
function decodeOtherType(reader: Reader, field: FieldPlan, code: number, composite: object): unknown {
  const type = typeOf(code);
  const isText = type === "string" || type === "symbol";
  if (type === undefined || !isText && !isInteger(type)) return undefined;
  const value = convert(field, reader.scalar(code) as string | number | bigint);
  if (value === undefined) return undefined;
  const known = reader.noteTypes(composite);
  known.set(field.key, type);
  known.writeField = encodeOtherType;
  return value;
}

function convert({ form, type }: FieldPlan, value: string | number | bigint): unknown {
  if (typeof value === "string") {
    if (type === "binary") return utf8(value);
    return form === messageIdForm || type === "string" || type === "symbol" && isAscii(value) ? value : undefined;
  }
  if (form === messageIdForm) return BigInt(value);
  if (form === timestampForm) {
    const date = new Date(Number(value));
    return Number.isNaN(date.getTime()) ? undefined : date;
  }
  const number = Number(value);
  return isInteger(type) && fitsInteger(type as IntegerType, number) ? number : undefined;
}

function isInteger(type: PrimitiveType): boolean {
  return /^(u?(byte|short|int|long))$/.test(type);
}

// Writes a field with the type that it came with, other than the table's; false if its value has changed and no longer fits.
function encodeOtherType(writer: TypedWriter, type: PrimitiveType | undefined, value: unknown): boolean {
  if (type === undefined) return false;
  const plain = isDate(value) ? value.getTime() : isBytes(value) ? decodeUtf8(value) : value;
  const isNumber = typeof plain === "number" || typeof plain === "bigint";
  const given = !isNumber || !isInteger(type)
    ? plain
    : type === "ulong" || type === "long"
    ? toBigInt(plain)
    : Number(plain);
  if (type !== "long" ? !stillFits(type, given) : typeof given !== "bigint") return false;
  writer.typed(type, given);
  return true;
}

function toBigInt(value: number | bigint): bigint | undefined {
  return Number.isSafeInteger(Number(value)) || typeof value === "bigint" ? BigInt(value) : undefined;
}
