/**
 * Messages to bytes and from bytes: the sections in their order [messaging 3.2].
 *
 * @module
 */

import {
  type Body,
  bytesOf,
  DataBody,
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
import { bareOf, bitOf, isBody, messageReader, readSection } from "./generous.ts";
import type { CodecLimits } from "./limits.ts";
import type { Reader } from "./reader.ts";
import { ambiguousType, originOf, setOrigin, type WireTypes, wireTypesOf } from "./wire_types.ts";
import { hexByte, quote } from "../base/text.ts";
import type { Fields, Header, Properties } from "./types.ts";
import { checkFields, checkMessage, explained } from "./mistakes.ts";
import { noBytes } from "./primitives.ts";
import { Described, type PrimitiveType, type SimpleValue, Typed, type Value } from "./values.ts";
import { Writer } from "./writer.ts";

export * from "./body.ts";

/** A message: its sections, all of them optional. A message without a body is sent with the value null. */
export interface Message {
  /** How it is to be delivered. Absent, it has the defaults of the specification. */
  header?: Header | undefined;
  /** For the next node only. */
  deliveryAnnotations?: Fields | PlainObject | undefined;
  /** For the nodes on the way. */
  messageAnnotations?: Fields | PlainObject | undefined;
  /** The standard properties; not changed on the way. */
  properties?: Properties | undefined;
  /** The application's own properties; not changed on the way. What an object of a type of yours holds is checked when it is sent. */
  applicationProperties?: { [key: string]: SimpleValue } | PlainObject | undefined;
  /** What it carries; not changed on the way. */
  body?: Body | SendableValue | undefined;
  /** Hashes, signatures and the like over the message. */
  footer?: Fields | PlainObject | undefined;
}

/** What was decoded: a copy's sections take the wire types from here, unless they are the very ones that came. */
class Origin {
  readonly #message: Message;
  // As they were, whatever becomes of the message.
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
  return { ...this.toJSON(), body: this.body instanceof Uint8Array ? shownBody(this.body) : this.body };
}

/**
 * A message that was received.
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
  /** How it is to be delivered; undefined if the message has no header, which means its defaults. */
  header: Header | undefined;
  /** What the last node says of this delivery. */
  deliveryAnnotations: Fields | undefined;
  /** What the nodes on the way say of the message. */
  messageAnnotations: Fields | undefined;
  /** The standard properties. */
  properties: Properties | undefined;
  /** The application's own properties. Without prototype, so that any key is one. */
  applicationProperties: { [key: string]: SimpleValue } | undefined;
  /**
   * What it carries: a `Uint8Array` for one data section, a {@linkcode DataBody} for several, a
   * {@linkcode SequenceBody} for sequences, else the value itself; only a value that is a binary is kept apart from
   * data in a {@linkcode ValueBody}. Null for a message without a body.
   */
  body: Body;
  /** Hashes, signatures and the like over the message. */
  footer: Fields | undefined;
  readonly #bytes: Uint8Array;
  readonly #bareStart: number;
  readonly #bareEnd: number;

  /** Decodes a message, as {@linkcode decodeMessage} does. */
  constructor(bytes: Uint8Array, limits?: CodecLimits) {
    this.header = undefined;
    this.deliveryAnnotations = undefined;
    this.messageAnnotations = undefined;
    this.properties = undefined;
    this.applicationProperties = undefined;
    this.body = null;
    this.footer = undefined;
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
    if (reader.noted) setOrigin(this, new Origin(this));
    this.#bytes = inOrder ? bytes : bareOf(bytes);
    this.#bareStart = inOrder ? bareStart : 0;
    this.#bareEnd = inOrder ? bareEnd : this.#bytes.length;
  }

  /**
   * The sections that may not be changed on the way, each as it arrived: properties, application properties and body
   * [messaging 3.2]. {@linkcode encodeMessage} takes them to forward the message.
   */
  get bare(): Uint8Array {
    return this.#bytes.subarray(this.#bareStart, this.#bareEnd);
  }

  /**
   * The body as text: a string as it is, bytes as UTF-8.
   *
   * @throws {TypeError} If it is neither; the error names its type and the call that fits.
   */
  text(): string {
    return textOf(this.body);
  }

  /**
   * What the body says as plain values: bytes and strings are read as JSON, a map gives an object and a list an array, as deep as
   * they go; numbers, dates and the like are what they are.
   *
   * @throws {SyntaxError} If bytes or a string are not JSON.
   */
  json(): unknown {
    return jsonOf(this.body);
  }

  /**
   * The body as bytes: several data sections joined, a string as UTF-8.
   *
   * @throws {TypeError} If it is neither; the error names its type and the call that fits.
   */
  bytes(): Uint8Array<ArrayBuffer> {
    return bytesOf(this.body) as Uint8Array<ArrayBuffer>;
  }

  /** How often it was delivered before without success: the header's delivery-count, 0 without one. */
  get deliveryCount(): number {
    return this.header?.deliveryCount ?? 0;
  }

  /** Why a broker moved it to a dead-letter queue, where it says so: Azure Service Bus, ActiveMQ and the broker of this module. */
  get deadLetterReason(): string | undefined {
    return this.#note("DeadLetterReason", "x-opt-dead-letter-reason", "x-opt-jms-dead-letter-reason");
  }

  /** The explanation of {@linkcode DecodedMessage.deadLetterReason}, where there is one. */
  get deadLetterDescription(): string | undefined {
    return this.#note("DeadLetterErrorDescription", "x-opt-dead-letter-description");
  }

  /** When a broker took it in, where it says so, as Azure's and ActiveMQ do. */
  get enqueuedTime(): Date | undefined {
    const time = this.messageAnnotations?.["x-opt-enqueued-time"] ?? this.messageAnnotations?.["x-opt-ingress-time"];
    return time instanceof Date ? time : undefined;
  }

  /** The number that a broker gave it in its queue or partition, where it did. */
  get sequenceNumber(): bigint | undefined {
    const number = this.messageAnnotations?.["x-opt-sequence-number"];
    return typeof number === "number" ? BigInt(number) : typeof number === "bigint" ? number : undefined;
  }

  /** The message for `JSON.stringify` and for people: the sections that it has, maps as objects, bytes as text or hex. */
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
 * With `bare`, the encoded sections of a message that is forwarded, those bytes stand in place of properties,
 * application properties and body, so that they leave as they came.
 *
 * @throws {TypeError} If a value has no wire type, or is not allowed where it stands.
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
    const { body } = message;
    throw explained(error, body instanceof ValueBody ? body.value : body instanceof SequenceBody ? body.lists : body);
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
  writer.record(
    applicationProperties as Record<string, SimpleValue>,
    "string",
    checkSimple,
    typesOf(message, "applicationProperties"),
  );
}

/** Writes one data section, for a message whose body follows in parts. */
export function encodeData(chunk: Uint8Array, writer: Writer): void {
  beginSection(writer, sections.data.code);
  writer.binary(chunk);
}

/** Writes the section after the body, for a message whose body went in parts. */
export function encodeFooter(message: Message, writer: Writer): void {
  encodeFields(writer, "footer", message);
}

/**
 * The bytes of a message, as a transfer carries them: for a store, a file, or a test. `send` encodes by itself, and takes these
 * bytes as well.
 *
 * With `bare`, the encoded sections of a message that is forwarded, those bytes stand in place of properties,
 * application properties and body, so that they leave as they came.
 *
 * @throws {TypeError} If it is no message, or a value has no wire type or is not allowed where it stands.
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
  const writer = new Writer(1_024);
  writeMessage(message, writer, bare);
  return writer.take();
}

/**
 * Reads a whole message.
 *
 * Binaries and data are views of the bytes. A message without a body, which is not allowed, is taken as one with
 * the value null.
 *
 * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if the bytes are not a message.
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
  if (!inspectable) {
    // Not where the class is declared: that would be work at load.
    inspectable = true;
    const name = Symbol.for("nodejs.util.inspect.custom");
    Object.defineProperty(DecodedMessage.prototype, name, { value: inspectMessage, configurable: true });
  }
  return new DecodedMessage(bytes, limits);
}

function decodeSection(reader: Reader, section: number, message: DecodedMessage): void {
  // Some write null for a section that they have nothing to say in.
  if (reader.generous && reader.peek() === 0x40 && !isBody(section)) return void reader.code();
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
  if (code === 0x40 && reader.generous) {
    reader.noteTypes(message).set("body", "null");
    return noBytes();
  }
  if (code !== 0xa0 && code !== 0xb0) throw reader.fail(`constructor 0x${hexByte(code)} of data is not binary`);
  return reader.binary(code);
}

// Null is the body of a message whose first section this is.
function joinedData(body: Body, chunk: Uint8Array): Body {
  if (body === null) return chunk;
  if (!(body instanceof DataBody)) return new DataBody([body as Uint8Array, chunk]);
  (body.chunks as Uint8Array[]).push(chunk);
  return body;
}

function decodeSequence(reader: Reader): Value[] {
  const code = reader.code();
  if (typeOf(code) !== "list") throw reader.fail(`constructor 0x${hexByte(code)} of a sequence is not list`);
  return reader.value(code) as Value[];
}

function joinedSequence(body: Body, list: Value[]): Body {
  if (!(body instanceof SequenceBody)) return new SequenceBody([list]);
  (body.lists as Value[][]).push(list);
  return body;
}

function decodeValue(reader: Reader, message: DecodedMessage): Body {
  const code = reader.code();
  const type = ambiguousType(code);
  if (type !== undefined) reader.noteTypes(message).set("body", type);
  const value = reader.value(code);
  return value instanceof Uint8Array ? new ValueBody(value) : value;
}

function encodeAnnotations(message: Message, writer: Writer): void {
  if (message.header !== undefined) {
    checkFields("header", message.header);
    encodeAs(writer, "header", message.header, typesOf(message, "header"));
  }
  encodeFields(writer, "deliveryAnnotations", message);
  encodeFields(writer, "messageAnnotations", message);
}

function encodeFields(
  writer: Writer,
  section: "deliveryAnnotations" | "messageAnnotations" | "footer",
  message: Message,
): void {
  const fields = message[section];
  if (fields === undefined) return;
  beginSection(writer, sections[section].code);
  writer.record(fields as Fields, "symbol", undefined, typesOf(message, section));
}

function encodeBody(message: Message, writer: Writer): void {
  const { body } = message;
  if (body instanceof Uint8Array) {
    if (body.length > 0 || originOf<Origin>(message)?.body !== "null") return encodeData(body, writer);
    beginSection(writer, sections.data.code);
    return writer.value(null);
  }
  if (body instanceof DataBody) {
    // There is no body without a section, and no data is one without bytes.
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

// Application properties are for filters and routing, which know no compound values [messaging 3.2.5].
function checkSimple(key: string, value: SimpleValue | undefined): void {
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return;
  if (value instanceof Described) return;
  if (value instanceof Typed && value.type !== "list" && value.type !== "map" && value.type !== "array") return;
  throw new TypeError(`Cannot encode application properties: ${quote(key)} is not a simple value`);
}
