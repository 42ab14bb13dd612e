/**
 * Messages: to bytes and from bytes, their sections in order [messaging 3.2].
 *
 * @module
 */

import { isBytes, isDate } from "../base/kinds.ts";
import {
  type Body,
  bytesOf,
  DataBody,
  joinedData,
  joinedSequence,
  jsonOf,
  type PlainObject,
  type SendableValue,
  SequenceBody,
  shownBody,
  textOf,
  ValueBody,
} from "./body.ts";
import { typeOf } from "./codes.ts";
import { decodeAs, encodeAs, readRecord } from "./composite.ts";
import { definitions, sections } from "./definitions.ts";
import { onlyData } from "./fast_path.ts";
import { bareOf, bitOf, isBody, messageReader, readSection } from "./generous.ts";
import { checkFields, checkMessage, checkSimple, isSimple } from "./message_checks.ts";
import { CODEC_LIMIT_KINDS, type CodecLimits } from "./limits.ts";
import type { Reader } from "./reader.ts";
import { ambiguousType, originOf, setOrigin, type WireTypes, wireTypesOf } from "./wire_types.ts";
import { checkOptions, describeKind } from "../base/options.ts";
import { hexByte } from "../base/text.ts";
import type { Fields, Header, Properties } from "./types.ts";
import { noBytes } from "./primitives.ts";
import type { PrimitiveType, SimpleValue, Value } from "./values.ts";
import { Writer } from "./writer.ts";

export * from "./body.ts";

/** A message: its sections, all of them optional. A message without a body is sent with the value null. */
export interface Message {
  /** The delivery header. Absent, the specification's defaults apply. */
  header?: Header | undefined;
  /** Annotations for the next node only. */
  deliveryAnnotations?: Fields | PlainObject | undefined;
  /** Annotations for the nodes on the way. */
  messageAnnotations?: Fields | PlainObject | undefined;
  /** The standard properties, which do not change on the way. */
  properties?: Properties | undefined;
  /** The application's own properties, which do not change on the way. Any object is checked when it is sent. */
  applicationProperties?: { [key: string]: SimpleValue } | PlainObject | undefined;
  /** The body, which does not change on the way. */
  body?: Body | SendableValue | undefined;
  /** Hashes, signatures and the like over the message. */
  footer?: Fields | PlainObject | undefined;
}

/** A message as it was decoded: the new sections of a copy of it take their wire types from here. */
class Origin {
  readonly #message: Message;
  // The sections as decoded, whatever becomes of the message.
  readonly #sections: Partial<Message>;

  constructor(message: Message) {
    this.#message = message;
    this.#sections = { ...message };
  }

  get body(): PrimitiveType | undefined {
    return wireTypesOf(this.#message)?.get("body");
  }

  types(section: keyof Message): WireTypes | undefined {
    const decoded = this.#sections[section];
    return typeof decoded === "object" && decoded !== null ? wireTypesOf(decoded) : undefined;
  }
}

function typesOf(message: Message, section: keyof Message): WireTypes | undefined {
  return wireTypesOf(message[section] as object) ?? originOf<Origin>(message)?.types(section);
}

let inspectable = false;

function inspectMessage(this: DecodedMessage): unknown {
  return { ...this.toJSON(), body: isBytes(this.body) ? shownBody(this.body) : this.body };
}

/**
 * A received message.
 *
 * @example
 * ```ts
 * import type { DecodedMessage } from "@webamqp/amqp";
 *
 * function show(message: DecodedMessage) {
 *   const { properties, applicationProperties } = message;
 *   console.log(properties?.messageId, applicationProperties?.colour, message.json());
 * }
 * ```
 */
export class DecodedMessage implements Message {
  /** The delivery header; undefined if the message has none, which means the defaults. */
  header: Header | undefined;
  /** Annotations of the last node. */
  deliveryAnnotations: Fields | undefined;
  /** Annotations of the nodes on the way. */
  messageAnnotations: Fields | undefined;
  /** The standard properties. */
  properties: Properties | undefined;
  /** The application's own properties, without a prototype, so that any key is possible. */
  applicationProperties: { [key: string]: SimpleValue } | undefined;
  /**
   * The body: a `Uint8Array` for one data section, a {@linkcode DataBody} for several, a {@linkcode SequenceBody} for
   * sequences, otherwise the value itself; a binary value comes as a {@linkcode ValueBody}, which distinguishes it from data.
   * Null for a message without a body.
   */
  body: Body;
  /** Hashes, signatures and the like over the message. */
  footer: Fields | undefined;
  readonly #bytes: Uint8Array;
  readonly #bareStart: number;
  readonly #bareEnd: number;

  /** Decodes a message, as {@linkcode decodeMessage} does. */
  constructor(bytes: Uint8Array, limits?: CodecLimits) {
    const data = limits?.maxValues === undefined ? onlyData(bytes) : undefined;
    this.body = data ?? null;
    this.#bytes = bytes;
    this.#bareStart = 0;
    this.#bareEnd = bytes.length;
    if (data !== undefined) return;
    const reader = messageReader(bytes, limits);
    let bareStart = bytes.length;
    let bareEnd = bytes.length;
    let seen = 0;
    let inOrder = true;
    for (let last = 0, start = 0; reader.remaining > 0; start = reader.position) {
      const section = readSection(reader, last, seen);
      if (section >= definitions.properties.code && last < definitions.properties.code) bareStart = start;
      if (section === sections.footer.code) bareEnd = start;
      if (section < last) inOrder = false;
      decodeSection(reader, section, this);
      seen |= bitOf(section);
      last = section;
    }
    if (reader.hasWireTypes) setOrigin(this, new Origin(this));
    if (!inOrder) this.#bytes = bareOf(bytes);
    else this.#bareStart = bareStart;
    this.#bareEnd = inOrder ? bareEnd : this.#bytes.length;
  }

  /**
   * The encoded sections that must not change on the way, as they arrived: properties, application properties and body
   * [messaging 3.2]. Pass them to {@linkcode encodeMessage} to forward the message.
   */
  get bare(): Uint8Array {
    return this.#bytes.subarray(this.#bareStart, this.#bareEnd);
  }

  /**
   * The body as text: a string as it is, bytes as UTF-8.
   *
   * @throws {TypeError} If the body is neither; the error names its type and the call that fits.
   */
  text(): string {
    return textOf(this.body);
  }

  /**
   * The body as plain values: bytes and strings are parsed as JSON, maps become objects and lists arrays at every level;
   * numbers, dates and the like stay as they are.
   *
   * @throws {SyntaxError} If bytes or a string are not JSON.
   */
  json(): unknown {
    return jsonOf(this.body);
  }

  /**
   * The body as bytes: several data sections joined, a string as UTF-8.
   *
   * @throws {TypeError} If the body is neither; the error names its type and the call that fits.
   */
  bytes(): Uint8Array<ArrayBuffer> {
    return bytesOf(this.body) as Uint8Array<ArrayBuffer>;
  }

  /** Earlier delivery attempts that failed: the header's delivery-count, 0 without a header. */
  get deliveryCount(): number {
    return this.header?.deliveryCount ?? 0;
  }

  /** The reason why a broker dead-lettered the message, if given: Azure Service Bus, ActiveMQ and the broker of this module. */
  get deadLetterReason(): string | undefined {
    return this.#note("DeadLetterReason", "x-opt-dead-letter-reason", "x-opt-jms-dead-letter-reason");
  }

  /** The explanation of {@linkcode DecodedMessage.deadLetterReason}, where there is one. */
  get deadLetterDescription(): string | undefined {
    return this.#note("DeadLetterErrorDescription", "x-opt-dead-letter-description");
  }

  /** The time at which a broker enqueued the message, if given, as by Azure's and ActiveMQ. */
  get enqueuedTime(): Date | undefined {
    const time = this.messageAnnotations?.["x-opt-enqueued-time"] ?? this.messageAnnotations?.["x-opt-ingress-time"];
    return isDate(time) ? time : undefined;
  }

  /** The number that a broker gave the message in its queue or partition, if any. */
  get sequenceNumber(): bigint | undefined {
    const number = this.messageAnnotations?.["x-opt-sequence-number"];
    return typeof number === "number" ? BigInt(number) : typeof number === "bigint" ? number : undefined;
  }

  /** The message for `JSON.stringify` and for people: its sections, with maps as objects and bytes as text or hex. */
  toJSON(): { [section: string]: unknown } {
    const { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, body, footer } = this;
    const given = { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, footer };
    const shown = Object.entries(given).filter(([, section]) => section !== undefined);
    return {
      ...Object.fromEntries(shown.map(([name, section]) => [name, shownBody({ ...section })])),
      body: shownBody(body),
    };
  }

  #note(...names: string[]): string | undefined {
    for (const name of names) {
      const note = this.applicationProperties?.[name] ?? this.messageAnnotations?.[name];
      if (note !== undefined && note !== null) return String(note);
    }
    return undefined;
  }
}

/**
 * Writes a message; nothing is written if it throws.
 *
 * With `bare`, the encoded sections of a message that is forwarded, those bytes replace properties, application properties and
 * body, so that they leave unchanged. `explainMessage` explains errors in more words.
 *
 * @throws {TypeError} If a value has no wire type, or is not allowed in its place.
 * @throws {RangeError} If a wire type cannot hold its value.
 */
export function writeMessage(message: Message, writer: Writer, bare?: Uint8Array): void {
  checkMessage(message);
  const start = writer.length;
  try {
    if (bare === undefined || bare.length === 0) {
      encodeHead(message, writer);
      encodeBody(message, writer);
    } else {
      encodeAnnotations(message, writer);
      writer.append(bare);
    }
    encodeFooter(message, writer);
  } catch (error) {
    writer.truncate(start);
    throw error;
  }
}

/** Writes the sections before the body, for a message whose body follows in parts. */
export function encodeHead(message: Message, writer: Writer): void {
  encodeAnnotations(message, writer);
  const { properties, applicationProperties, body } = message;
  if (properties !== undefined) checkFields("properties", properties);
  const contentType = properties?.contentType ?? (body instanceof DataBody ? body.contentType : undefined);
  if (contentType !== properties?.contentType) encodeAs(writer, "properties", { ...properties, contentType });
  else if (properties !== undefined) encodeAs(writer, "properties", properties, typesOf(message, "properties"));
  if (applicationProperties === undefined) return;
  beginSection(writer, sections.applicationProperties.code);
  const known = typesOf(message, "applicationProperties");
  const check = known?.isNested ? undefined : checkSimple;
  writer.record(applicationProperties as Record<string, SimpleValue>, "string", check, known);
}

/** Writes one data section, for a message whose body follows in parts. */
export function encodeData(chunk: Uint8Array, writer: Writer): void {
  beginSection(writer, sections.data.code);
  writer.binary(chunk);
}

/** Writes the section after the body, for a message whose body was sent in parts. */
export function encodeFooter(message: Message, writer: Writer): void {
  encodeFields(writer, "footer", message, message.footer);
}

/**
 * Encodes a message as a transfer carries it: for a store, a file, or a test. `send` encodes by itself, and accepts these bytes
 * as well.
 *
 * With `bare`, the encoded sections of a message that is forwarded, those bytes replace properties, application properties and
 * body, so that they leave unchanged.
 *
 * @throws {TypeError} If `message` is none, or a value has no wire type or is not allowed in its place.
 * @throws {RangeError} If a wire type cannot hold its value.
 *
 * @example
 * ```ts
 * import { decodeMessage, encodeMessage } from "@webamqp/amqp";
 *
 * const bytes = encodeMessage({ properties: { subject: "order" }, body: "one coffee" });
 * const { properties, body } = decodeMessage(bytes);
 * console.assert(properties?.subject === "order" && body === "one coffee");
 * ```
 */
export function encodeMessage(message: Message, bare?: Uint8Array): Uint8Array<ArrayBuffer> {
  const writer = new Writer(1_024, true);
  writeMessage(message, writer, bare);
  return writer.take();
}

/**
 * Decodes a whole message.
 *
 * Binaries and data are views of the bytes. A message without a body, which the specification forbids, is read as one with the
 * body null.
 *
 * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if the bytes are not a message.
 * @throws {TypeError} If the bytes are no `Uint8Array`.
 * @throws {TypeError | RangeError} If a limit does not exist, is of the wrong kind or negative.
 *
 * @example
 * ```ts
 * import { decodeMessage } from "@webamqp/amqp";
 *
 * const message = decodeMessage(Uint8Array.of(0x00, 0x53, 0x77, 0xa1, 0x02, 0x68, 0x69));
 * console.assert(message.text() === "hi");
 * ```
 */
export function decodeMessage(bytes: Uint8Array, limits?: CodecLimits): DecodedMessage {
  if (!isBytes(bytes)) {
    throw new TypeError(`Cannot decode message: bytes are ${describeKind(bytes)}, not a Uint8Array`);
  }
  checkOptions("decode message", limits, CODEC_LIMIT_KINDS);
  return readMessage(bytes, limits);
}

/** Decodes a message with limits that were checked. */
export function readMessage(bytes: Uint8Array, limits: CodecLimits | undefined): DecodedMessage {
  if (!inspectable) {
    // Here and not beside the class, where it would be work at load.
    inspectable = true;
    const name = Symbol.for("nodejs.util.inspect.custom");
    Object.defineProperty(DecodedMessage.prototype, name, { value: inspectMessage, configurable: true });
  }
  return new DecodedMessage(bytes, limits);
}

function decodeSection(reader: Reader, section: number, message: DecodedMessage): void {
  // Some peers write null for a section without content.
  if (reader.lenient && reader.peek() === 0x40 && !isBody(section)) return void reader.code();
  switch (section) {
    case definitions.header.code:
      message.header = decodeAs(reader, "header");
      break;
    case sections.deliveryAnnotations.code:
      message.deliveryAnnotations = readRecord(reader, reader.code(), "symbol");
      break;
    case sections.messageAnnotations.code:
      message.messageAnnotations = readRecord(reader, reader.code(), "symbol");
      break;
    case definitions.properties.code:
      message.properties = decodeAs(reader, "properties");
      break;
    case sections.applicationProperties.code:
      message.applicationProperties = readRecord(reader, reader.code(), "string") as { [key: string]: SimpleValue };
      if (!reader.lenient && !Object.values(message.applicationProperties).every(isSimple)) {
        throw reader.fail("an application property is not a simple value");
      }
      break;
    case sections.data.code:
      message.body = joinedData(message.body, decodeData(reader, message));
      break;
    case sections.sequence.code:
      message.body = joinedSequence(message.body, decodeSequence(reader));
      break;
    case sections.value.code:
      message.body = decodeValue(reader, message);
      break;
    case sections.footer.code:
      message.footer = readRecord(reader, reader.code(), "symbol");
  }
}

function decodeData(reader: Reader, message: DecodedMessage): Uint8Array {
  const code = reader.code();
  if (code === 0x40 && reader.lenient) {
    reader.noteTypes(message).set("body", "null");
    return noBytes();
  }
  if (code !== 0xa0 && code !== 0xb0) throw reader.fail(`constructor 0x${hexByte(code)} of data is not binary`);
  return reader.binary(code);
}

function decodeSequence(reader: Reader): Value[] {
  const code = reader.code();
  if (typeOf(code) !== "list") throw reader.fail(`constructor 0x${hexByte(code)} of a sequence is not list`);
  return reader.value(code) as Value[];
}

function decodeValue(reader: Reader, message: DecodedMessage): Body {
  const code = reader.code();
  const type = ambiguousType(code);
  if (type !== undefined) reader.noteTypes(message).set("body", type);
  const value = reader.value(code);
  return isBytes(value) ? new ValueBody(value) : value;
}

function encodeAnnotations(message: Message, writer: Writer): void {
  if (message.header !== undefined) {
    checkFields("header", message.header);
    encodeAs(writer, "header", message.header, typesOf(message, "header"));
  }
  encodeFields(writer, "deliveryAnnotations", message, message.deliveryAnnotations);
  encodeFields(writer, "messageAnnotations", message, message.messageAnnotations);
}

function encodeFields(
  writer: Writer,
  section: "deliveryAnnotations" | "messageAnnotations" | "footer",
  message: Message,
  fields: Message["footer"],
): void {
  if (fields === undefined) return;
  beginSection(writer, sections[section].code);
  writer.record(fields as Fields, "symbol", undefined, typesOf(message, section));
}

function encodeBody(message: Message, writer: Writer): void {
  const { body } = message;
  if (isBytes(body)) {
    if (body.length > 0 || originOf<Origin>(message)?.body !== "null") return encodeData(body, writer);
    beginSection(writer, sections.data.code);
    return writer.value(null);
  }
  if (body instanceof DataBody) {
    // A body needs a section, so a body without data is one empty section.
    for (const chunk of body.chunks.length > 0 ? body.chunks : [new Uint8Array(0)]) encodeData(chunk, writer);
  } else if (body instanceof SequenceBody) {
    for (const list of body.lists.length > 0 ? body.lists : [[]]) {
      beginSection(writer, sections.sequence.code);
      writer.typed("list", list);
    }
  } else {
    beginSection(writer, sections.value.code);
    if (body instanceof ValueBody) writer.value(body.value);
    else writer.valueAs(originOf<Origin>(message)?.body, body as Value);
  }
}

function beginSection(writer: Writer, section: number): void {
  writer.u8(0x00);
  writer.u8(0x53);
  writer.u8(section);
}
