/**
 * A message as an intermediary sees it: the sections in front may change, the bare message may not [messaging 3.2].
 *
 * @module
 */

import { AmqpError } from "../base/errors.ts";
import { toWellFormed } from "../base/text.ts";
import { decodeAs, encodeAs, readDescriptor, readRecord } from "../codec/composite.ts";
import { definitions, sections } from "../codec/definitions.ts";
import { messageReader, sectionsInOrder } from "../codec/generous.ts";
import { writeMessage } from "../codec/message.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Reader } from "../codec/reader.ts";
import { valueEnd } from "../codec/primitives.ts";
import { noteTypes, wireTypesOf } from "../codec/wire_types.ts";
import type { ErrorFields, Fields, Header, Properties } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import { shortened } from "../engine/fault.ts";
import { type KeptBytes, type MessageBlock, type MessageSource, START } from "./kept_bytes.ts";

/** The priority of a message whose header has none [messaging 3.2.1]. */
export const DEFAULT_PRIORITY = 4;

// The numbers of a message's record, behind `START`.
const LENGTH = 1;
const FORMAT = 2;
const FACTS = 3;
const ANNOTATIONS_AT = 4;
const BARE_AT = 5;
const HOLDERS = 6;

// The facts: of what the sections in front say, and the index of the message's source in its block.
const PRIORITY = 0xff;
const EXPIRES = 0x100;
const FIRST_ACQUIRER = 0x200;
const ANNOTATED = 0x400;
const SOURCE_SHIFT = 11;

/** The changes to a message that is sent on. */
export interface Changes {
  /** The header; undefined for none. */
  readonly header: Header | undefined;
  /** Annotations for the next node only; those received were for this one. */
  readonly deliveryAnnotations: Fields | undefined;
  /** Annotations that replace the message's; undefined leaves them as they are. */
  readonly messageAnnotations: Fields | undefined;
}

/**
 * Keeps an encoded message, and reads the sections in front of its bare message. Short messages are copied to `keptBytes`: a
 * payload is a view of the transport's buffer, and would keep all of that alive.
 *
 * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if `bytes` are not an AMQP message.
 */
export function keepMessage(
  bytes: Uint8Array,
  messageFormat: number,
  source: MessageSource | undefined,
  keptBytes: KeptBytes,
): EncodedMessage {
  const payload = messageFormat === 0 ? inOrder(bytes) : bytes;
  let header: Header | undefined;
  let annotated = false;
  let annotationsAt = 0;
  let bareAt = 0;
  if (messageFormat === 0) {
    const reader = readerOf(payload, 0, payload.length, source?.limits);
    for (; reader.remaining > 0; bareAt = reader.position) {
      const section = openSection(reader);
      if (section >= definitions.properties.code) break;
      annotationsAt = bareAt;
      // Some libraries write null for an empty section.
      if (reader.lenient && reader.peek() === 0x40) reader.code();
      else if (section === definitions.header.code) header = decodeAs(reader, "header");
      else readRecord(reader, reader.code(), "symbol", true);
      if (section === sections.deliveryAnnotations.code) annotated = true;
      if (section !== sections.messageAnnotations.code) annotationsAt = reader.position;
    }
  }
  const block = keptBytes.keep(payload);
  const { numbers, last } = block;
  numbers[last + LENGTH] = payload.length;
  numbers[last + FORMAT] = messageFormat;
  numbers[last + FACTS] = (header?.priority ?? DEFAULT_PRIORITY) | (header?.ttl === undefined ? 0 : EXPIRES) |
    (header?.firstAcquirer ? FIRST_ACQUIRER : 0) | (annotated ? ANNOTATED : 0) |
    (block.indexOf(source) << SOURCE_SHIFT);
  numbers[last + ANNOTATIONS_AT] = annotationsAt;
  numbers[last + BARE_AT] = bareAt;
  return new EncodedMessage(block, last);
}

/** An encoded message, decoded only as far as an intermediary needs: a view of what a block keeps of it. */
export class EncodedMessage {
  readonly block: MessageBlock;
  /** The index of the message's record in its block. */
  readonly at: number;

  constructor(block: MessageBlock, at: number) {
    this.block = block;
    this.at = at;
  }

  /** The index of the first byte in the block. */
  get start(): number {
    return this.block.numbers[this.at + START]!;
  }

  /** The index of the message annotations in the message, equal to `bareAt` without any. */
  get annotationsAt(): number {
    return this.block.numbers[this.at + ANNOTATIONS_AT]!;
  }

  /** The index of the bare message in the message. */
  get bareAt(): number {
    return this.block.numbers[this.at + BARE_AT]!;
  }

  /** The message's size in bytes. */
  get length(): number {
    return this.block.numbers[this.at + LENGTH]!;
  }

  /** 0 for an AMQP message; messages of other formats are opaque. */
  get messageFormat(): number {
    return this.block.numbers[this.at + FORMAT]! >>> 0;
  }

  /** The number of queues that hold the message; the broker counts its bytes once. */
  get holders(): number {
    return this.block.numbers[this.at + HOLDERS]!;
  }

  set holders(holders: number) {
    this.block.numbers[this.at + HOLDERS] = holders;
  }

  /** Where the message came from; undefined for a message of the broker's own. */
  get source(): MessageSource | undefined {
    return this.block.source(this.block.numbers[this.at + FACTS]! >>> SOURCE_SHIFT);
  }

  /** Default: 4. */
  get priority(): number {
    return this.block.numbers[this.at + FACTS]! & PRIORITY;
  }

  /** True if the header has a time to live. */
  get expires(): boolean {
    return (this.block.numbers[this.at + FACTS]! & EXPIRES) !== 0;
  }

  /** The header field `first-acquirer`. */
  get firstAcquirer(): boolean {
    return (this.block.numbers[this.at + FACTS]! & FIRST_ACQUIRER) !== 0;
  }

  /** True if the message has delivery annotations. */
  get annotated(): boolean {
    return (this.block.numbers[this.at + FACTS]! & ANNOTATED) !== 0;
  }

  /** The header, decoded anew with each call; undefined without one. */
  get header(): Header | undefined {
    if (this.messageFormat !== 0 || this.bareAt === 0) return undefined;
    const reader = readerFrom(this, 0);
    return openSection(reader) === definitions.header.code ? decodeAs(reader, "header") : undefined;
  }

  /** The message as it came; a view. */
  get payload(): Uint8Array {
    const { start, length } = this;
    const { bytes } = this.block;
    if (start === 0 && bytes.length === length) return bytes;
    return bytes.subarray(start, start + length);
  }

  /**
   * The standard properties, decoded anew with each call.
   *
   * @throws {AmqpError} With `amqp:decode-error` if they are malformed.
   */
  get properties(): Properties {
    const reader = readerFrom(this, this.bareAt);
    if (this.messageFormat !== 0 || reader.remaining === 0 || openSection(reader) !== definitions.properties.code) {
      return {};
    }
    if (reader.lenient && reader.peek() === 0x40) return {};
    return decodeAs(reader, "properties");
  }

  /** The number of standard properties on the wire, nulls included; the others are not set. Infinity if unknown. */
  get propertyCount(): number {
    const at = this.start + this.bareAt;
    const { bytes } = this.block;
    if (this.messageFormat !== 0 || this.length - this.bareAt < 4 || bytes[at + 1] !== 0x53) return Infinity;
    if (bytes[at + 2] !== definitions.properties.code) return 0;
    const constructor = bytes[at + 3];
    return constructor === 0x45 ? 0 : constructor === 0xc0 ? bytes[at + 5]! : Infinity;
  }

  /**
   * The application properties, decoded anew with each call.
   *
   * @throws {AmqpError} With `amqp:decode-error` if they are malformed.
   */
  applicationProperties(): Fields {
    const reader = readerFrom(this, this.bareAt);
    if (this.messageFormat !== 0) return Object.create(null);
    while (reader.remaining > 0) {
      const section = openSection(reader);
      if (section === sections.applicationProperties.code) return readRecord(reader, reader.code(), "string", true);
      if (section > sections.applicationProperties.code) break;
      decodeAs(reader, "properties");
    }
    return Object.create(null);
  }

  /** The message annotations, decoded anew with each call, so that the caller may change them. */
  messageAnnotations(): Fields {
    if (this.annotationsAt === this.bareAt) return Object.create(null);
    const reader = readerFrom(this, this.annotationsAt);
    openSection(reader);
    if (reader.peek() === 0x40) return Object.create(null);
    return readRecord(reader, reader.code(), "symbol", true);
  }

  /** Whether the message annotations contain these ASCII characters anywhere; faster than decoding them. */
  annotationsMention(text: string): boolean {
    const { bytes } = this.block;
    const end = this.start + this.bareAt - text.length;
    const first = text.charCodeAt(0);
    for (let at = this.start + this.annotationsAt; at <= end; at++) {
      if (bytes[at] !== first) continue;
      let i = 1;
      while (i < text.length && bytes[at + i] === text.charCodeAt(i)) i++;
      if (i === text.length) return true;
    }
    return false;
  }

  /** The message with changed sections in front; the bare message and the footer stay as they are, byte for byte. */
  changed(changes: Changes): Uint8Array {
    const { header, deliveryAnnotations, messageAnnotations } = changes;
    const { payload } = this;
    const rest = payload.subarray(messageAnnotations === undefined ? this.annotationsAt : this.bareAt);
    if (rest.length === 0) return payload;
    const writer = new Writer(rest.length + 64);
    writeMessage({ header, deliveryAnnotations, messageAnnotations }, writer, rest);
    return writer.take();
  }
}

/** Adds annotations, replacing those of the same names, with the wire types that were decoded. */
export function mergeFields(fields: Fields, added: Readonly<Fields>): void {
  for (const key of Object.keys(added)) {
    fields[key] = added[key]!;
    const type = wireTypesOf(added)?.get(key);
    if (type !== undefined) noteTypes(fields).set(key, type);
    else wireTypesOf(fields)?.delete(key);
  }
}

// Bounds of an error kept with a message.
const MAX_ERROR_BYTES = 2_048;
const MAX_DESCRIPTION_LENGTH = 500;

/**
 * An error as a described value for annotations [messaging 3.4.3], encoded: without the parts that are too long or that
 * cannot be encoded, as its sender may have put there; undefined if nothing remains.
 */
export function encodeError({ condition, description, info }: ErrorFields): Uint8Array | undefined {
  // A text cut in the middle of a surrogate pair cannot be encoded.
  const text = description && toWellFormed(description.slice(0, MAX_DESCRIPTION_LENGTH));
  let fields: ErrorFields | undefined = {
    condition,
    ...(text !== undefined && { description: text }),
    ...(info !== undefined && { info }),
  };
  for (; fields !== undefined; fields = shortened(fields)) {
    try {
      const writer = new Writer(64);
      encodeAs(writer, "error", fields);
      const bytes = writer.take();
      if (bytes.length <= MAX_ERROR_BYTES) return bytes.slice();
    } catch {
      // Try again with less.
    }
  }
  return undefined;
}

/** The error for a refused message, with its delivery tag in case the link ends with it [anonterm 2.2.2]. */
export function deliveryError(symbol: string, message: string, tag: Uint8Array, cause?: unknown): AmqpError {
  return new AmqpError(symbol, message, { scope: "delivery", info: { "delivery-tag": new Uint8Array(tag) }, cause });
}

function readerFrom({ block, start, length, source }: EncodedMessage, index: number): Reader {
  return readerOf(block.bytes, start + index, start + length, source?.limits);
}

function readerOf(bytes: Uint8Array, start: number, end: number, limits: CodecLimits | undefined): Reader {
  const reader = messageReader(bytes, limits);
  reader.window(start, end);
  reader.subject = "message";
  return reader;
}

function openSection(reader: Reader): number {
  if (reader.code() !== 0x00) throw reader.fail("a section does not begin with a descriptor");
  const section = readDescriptor(reader);
  if (section < definitions.header.code || section > sections.footer.code) {
    throw reader.fail("the descriptor is not that of a known section");
  }
  return section;
}

// The sections in the order of the specification: some libraries write delivery annotations or the footer elsewhere. Nearly
// all messages are in order, so only the others are taken apart.
function inOrder(payload: Uint8Array): Uint8Array {
  let last = 0;
  for (let start = 0; start < payload.length;) {
    const { section, end } = sectionAt(payload, start);
    // Only data and sequences may repeat [messaging 3.2].
    if (section < last || (section === last && section !== sections.data.code && section !== sections.sequence.code)) {
      return sectionsInOrder(payload);
    }
    last = section;
    start = end;
  }
  return payload;
}

interface Section {
  readonly section: number;
  readonly end: number;
}

function sectionAt(payload: Uint8Array, start: number): Section {
  let section = 0;
  let end = start + 3;
  // Nearly everybody writes the short form of the descriptor.
  if (payload[start] === 0x00 && payload[start + 1] === 0x53) section = payload[start + 2] ?? 0;
  if (section < definitions.header.code || section > sections.footer.code) {
    const reader = readerOf(payload, start, payload.length, undefined);
    section = openSection(reader);
    end = reader.position;
  }
  end = valueEnd(payload, end);
  if (end > payload.length) throw readerOf(payload, start, payload.length, undefined).fail("a section is cut off");
  return { section, end };
}
