/**
 * A message as a node on its way sees it: the sections in front may change, the bare message may not [messaging 3.2].
 *
 * @module
 */

import { AmqpError } from "../base/errors.ts";
import { decodeAs, encodeAs, readDescriptor, readRecord } from "../codec/composite.ts";
import { messageReader, sectionsInOrder } from "../codec/generous.ts";
import { writeMessage } from "../codec/message.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Reader } from "../codec/reader.ts";
import { valueEnd } from "../codec/value_end.ts";
import { recall, remember } from "../codec/wire_types.ts";
import type { ErrorFields, Fields, Header, Properties } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import { shortened } from "../engine/fault.ts";
import type { KeptBytes } from "./kept_bytes.ts";

const HEADER = 0x70;
const DELIVERY_ANNOTATIONS = 0x71;
const MESSAGE_ANNOTATIONS = 0x72;
const PROPERTIES = 0x73;
const APPLICATION_PROPERTIES = 0x74;
const FOOTER = 0x78;
const DEFAULT_PRIORITY = 4;

/** What is changed of a message when it is sent on. */
export interface Changes {
  /** The header; undefined for none. */
  readonly header: Header | undefined;
  /** For the next node only; those that the message came with were for this one. */
  readonly deliveryAnnotations: Fields | undefined;
  /** Annotations that replace all the message has; undefined leaves them as they are. */
  readonly messageAnnotations: Fields | undefined;
}

/** An encoded message, of which no more is decoded than a node on its way needs. */
export class EncodedMessage {
  /** 0 for an AMQP message; of any other nothing is known but its bytes. */
  readonly messageFormat: number;
  /** Its time to live in milliseconds, if it has one. */
  readonly ttl: number | undefined;
  /** Its priority, 4 if it says nothing. */
  readonly priority: number;
  /** Whether it says that nobody has acquired it before. */
  readonly firstAcquirer: boolean;
  /** True when it has delivery annotations. */
  readonly annotated: boolean;
  /** How many bytes it has. */
  readonly length: number;
  /** The container that it came from, where somebody may ask for that. */
  origin: string | undefined;
  /** How many queues hold it; the broker counts its bytes once. */
  holders = 0;

  // No private methods: they would cost each message a field.
  readonly #block: Uint8Array;
  readonly #start: number;
  readonly #limits: CodecLimits | undefined;
  // Where the message annotations begin, if there are any, and where the bare message does.
  readonly #annotationsAt: number;
  readonly #bareAt: number;

  /**
   * Reads the sections in front of the bare message. Short messages are copied to `slab`, since a payload is a view of what
   * the transport delivered, all of which it would keep alive.
   *
   * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if they are no AMQP message's.
   */
  constructor(bytes: Uint8Array, messageFormat: number, limits: CodecLimits | undefined, slab: KeptBytes) {
    const payload = messageFormat === 0 ? inOrder(bytes) : bytes;
    this.messageFormat = messageFormat;
    this.#limits = limits;
    let header: Header | undefined;
    let annotated = false;
    let annotationsAt = 0;
    let bareAt = 0;
    if (messageFormat === 0) {
      const reader = readerOf(payload, 0, payload.length, limits);
      for (; reader.remaining > 0; bareAt = reader.position) {
        const section = openSection(reader);
        if (section >= PROPERTIES) break;
        annotationsAt = bareAt;
        // Some write null for a section that they have nothing to say in.
        if (reader.generous && reader.peek() === 0x40) reader.code();
        else if (section === HEADER) header = decodeAs(reader, "header");
        else readRecord(reader, reader.code(), "symbol", true);
        if (section === DELIVERY_ANNOTATIONS) annotated = true;
        if (section !== MESSAGE_ANNOTATIONS) annotationsAt = reader.position;
      }
    }
    const { block, start } = slab.keep(payload);
    this.#block = block;
    this.#start = start;
    this.length = payload.length;
    this.ttl = header?.ttl;
    this.priority = header?.priority ?? DEFAULT_PRIORITY;
    this.firstAcquirer = header?.firstAcquirer ?? false;
    this.annotated = annotated;
    this.#annotationsAt = annotationsAt;
    this.#bareAt = bareAt;
  }

  /** How it is to be delivered, decoded anew with each call; undefined for a message without a header. */
  get header(): Header | undefined {
    if (this.messageFormat !== 0 || this.#bareAt === 0) return undefined;
    const reader = readerOf(this.#block, this.#start, this.#start + this.length, this.#limits);
    return openSection(reader) === HEADER ? decodeAs(reader, "header") : undefined;
  }

  /** All of it, as it came; a view. */
  get payload(): Uint8Array {
    const { length } = this;
    if (this.#start === 0 && this.#block.length === length) return this.#block;
    return this.#block.subarray(this.#start, this.#start + length);
  }

  /**
   * The standard properties, decoded anew with each call.
   *
   * @throws {AmqpError} With `amqp:decode-error` if they are none.
   */
  get properties(): Properties {
    const reader = readerOf(this.#block, this.#start + this.#bareAt, this.#start + this.length, this.#limits);
    if (this.messageFormat !== 0 || reader.remaining === 0 || openSection(reader) !== PROPERTIES) return {};
    if (reader.generous && reader.peek() === 0x40) return {};
    return decodeAs(reader, "properties");
  }

  /** How many of the standard properties there are, empty ones in the middle included: those behind are not set. */
  get propertyCount(): number {
    const at = this.#start + this.#bareAt;
    const bytes = this.#block;
    if (this.messageFormat !== 0 || this.length - this.#bareAt < 4 || bytes[at + 1] !== 0x53) return Infinity;
    if (bytes[at + 2] !== PROPERTIES) return 0;
    const constructor = bytes[at + 3];
    return constructor === 0x45 ? 0 : constructor === 0xc0 ? bytes[at + 5]! : Infinity;
  }

  /**
   * The application properties, decoded anew with each call.
   *
   * @throws {AmqpError} With `amqp:decode-error` if they are none.
   */
  applicationProperties(): Fields {
    const reader = readerOf(this.#block, this.#start + this.#bareAt, this.#start + this.length, this.#limits);
    if (this.messageFormat !== 0) return Object.create(null);
    while (reader.remaining > 0) {
      const section = openSection(reader);
      if (section === APPLICATION_PROPERTIES) return readRecord(reader, reader.code(), "string", true);
      if (section > APPLICATION_PROPERTIES) break;
      decodeAs(reader, "properties");
    }
    return Object.create(null);
  }

  /** The message annotations, decoded anew with each call, so that they are the caller's own. */
  messageAnnotations(): Fields {
    if (this.#annotationsAt === this.#bareAt) return Object.create(null);
    const reader = readerOf(this.#block, this.#start + this.#annotationsAt, this.#start + this.length, this.#limits);
    openSection(reader);
    if (reader.peek() === 0x40) return Object.create(null);
    return readRecord(reader, reader.code(), "symbol", true);
  }

  /** Whether the message annotations hold these ASCII characters anywhere, which is quicker than to decode them. */
  annotationsMention(text: string): boolean {
    const bytes = this.#block;
    const end = this.#start + this.#bareAt - text.length;
    const first = text.charCodeAt(0);
    for (let at = this.#start + this.#annotationsAt; at <= end; at++) {
      if (bytes[at] !== first) continue;
      let i = 1;
      while (i < text.length && bytes[at + i] === text.charCodeAt(i)) i++;
      if (i === text.length) return true;
    }
    return false;
  }

  /** The message with its front changed; the bare message and the footer stay as they are, byte for byte. */
  changed(changes: Changes): Uint8Array {
    const { header, deliveryAnnotations, messageAnnotations } = changes;
    const { payload } = this;
    const rest = payload.subarray(messageAnnotations === undefined ? this.#annotationsAt : this.#bareAt);
    if (rest.length === 0) return payload;
    const writer = new Writer(rest.length + 64);
    writeMessage({ header, deliveryAnnotations, messageAnnotations }, writer, rest);
    return writer.take();
  }
}

/** Adds to annotations, over those of the same names; the wire types stay those that were decoded. */
export function mergeFields(fields: Fields, added: Readonly<Fields>): void {
  for (const key of Object.keys(added)) {
    fields[key] = added[key]!;
    const type = recall(added)?.get(key);
    if (type !== undefined) remember(fields).set(key, type);
    else recall(fields)?.delete(key);
  }
}

// What is kept of an error with a message; more of an explanation nobody reads.
const MAX_ERROR_BYTES = 2_048;
const MAX_DESCRIPTION_LENGTH = 500;

/**
 * An error as it stands among annotations, a described value [messaging 3.4.3], in bytes: without what cannot be encoded of it,
 * which its sender's library may have put there, or is too long; undefined where nothing remains.
 */
export function encodeError({ condition, description, info }: ErrorFields): Uint8Array | undefined {
  // Cut in the middle of a character, a text is none that can be encoded.
  const text = description?.slice(0, MAX_DESCRIPTION_LENGTH).toWellFormed();
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
      // The next has less.
    }
  }
  return undefined;
}

/** The error for a message that cannot be taken, which names it where the link may end with it [anonterm 2.2.2]. */
export function deliveryError(symbol: string, message: string, tag: Uint8Array, cause?: unknown): AmqpError {
  return new AmqpError(symbol, message, { scope: "delivery", info: { "delivery-tag": new Uint8Array(tag) }, cause });
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
  if (section < HEADER || section > FOOTER) throw reader.fail("the descriptor is not that of a known section");
  return section;
}

// The sections in the order that the specification has. Some libraries write delivery annotations or the footer elsewhere.
// Nearly all messages are in order, so the others alone are taken apart.
function inOrder(payload: Uint8Array): Uint8Array {
  let last = 0;
  for (let start = 0; start < payload.length;) {
    const { section, end } = sectionAt(payload, start);
    // Only data and sequences come several times [messaging 3.2].
    if (section < last || (section === last && section !== 0x75 && section !== 0x76)) return sectionsInOrder(payload);
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
  if (section < HEADER || section > FOOTER) {
    const reader = readerOf(payload, start, payload.length, undefined);
    section = openSection(reader);
    end = reader.position;
  }
  end = valueEnd(payload, end);
  if (end > payload.length) throw readerOf(payload, start, payload.length, undefined).fail("a section is cut off");
  return { section, end };
}
