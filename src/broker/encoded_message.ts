/**
 * A message as a node on its way sees it: the sections in front may change, the bare message may not [messaging 3.2].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { decodeAs, encodeAs, readDescriptor } from "../codec/composite.ts";
import { encodeMessage } from "../codec/message.ts";
import { type CodecLimits, Reader } from "../codec/reader.ts";
import { recall, remember } from "../codec/wire_types.ts";
import type { ErrorFields, Fields, Header, Properties, Value } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";

const HEADER = 0x70;
const DELIVERY_ANNOTATIONS = 0x71;
const MESSAGE_ANNOTATIONS = 0x72;
const PROPERTIES = 0x73;

// A payload is a view of what the transport delivered: a short one must not keep all of that alive for long.
const MAX_SLACK_BYTES = 1_024;

/** What is changed of a message when it is sent on. */
export interface Changes {
  /** The header; undefined for none. */
  readonly header: Header | undefined;
  /** For the next node only; those that the message came with were for us. */
  readonly deliveryAnnotations: Fields | undefined;
  /** Annotations that replace all the message has; undefined leaves them as they are. */
  readonly messageAnnotations: Fields | undefined;
}

/** An encoded message, of which no more is decoded than a node on its way needs. */
export class EncodedMessage {
  /** The whole of it, as it came. */
  readonly payload: Uint8Array;
  /** 0 for an AMQP message; of any other nothing is known but its bytes. */
  readonly messageFormat: number;
  /** How it is to be delivered; undefined for a message without a header. */
  readonly header: Readonly<Header> | undefined;
  /** True when it has delivery annotations. */
  readonly annotated: boolean;

  readonly #limits: CodecLimits | undefined;
  #properties: Properties | undefined;
  // Where the message annotations begin, if there are any, and where the bare message does.
  readonly #annotationsAt: number;
  readonly #bareAt: number;

  /**
   * Reads the sections in front of the bare message.
   *
   * @throws {AmqpError} With scope `"delivery"` and condition `amqp:decode-error` if they are no AMQP message's.
   */
  constructor(payload: Uint8Array, messageFormat: number, limits: CodecLimits | undefined) {
    const wasteful = payload.length + MAX_SLACK_BYTES < payload.buffer.byteLength / 4;
    this.payload = wasteful ? new Uint8Array(payload) : payload;
    this.messageFormat = messageFormat;
    this.#limits = limits;
    let header: Header | undefined;
    let annotated = false;
    let annotationsAt = 0;
    let bareAt = 0;
    if (messageFormat === 0) {
      const reader = this.#reader();
      for (let last = 0; reader.remaining > 0; bareAt = reader.position) {
        const section = openSection(reader);
        if (section >= PROPERTIES) break;
        if (section <= last) throw reader.fail("a section occurs twice or out of order");
        last = section;
        annotationsAt = bareAt;
        if (section === HEADER) header = decodeAs(reader, "header");
        else reader.record(reader.code(), "symbol");
        if (section === DELIVERY_ANNOTATIONS) annotated = true;
        if (section !== MESSAGE_ANNOTATIONS) annotationsAt = reader.position;
      }
    }
    this.header = header;
    this.annotated = annotated;
    this.#annotationsAt = annotationsAt;
    this.#bareAt = bareAt;
  }

  /**
   * The standard properties, decoded when first asked for.
   *
   * @throws {AmqpError} With `amqp:decode-error` if they are none.
   */
  get properties(): Properties {
    return this.#properties ??= this.#decodeProperties();
  }

  /** The message annotations, decoded anew with each call, so that they are the caller's own. */
  messageAnnotations(): Fields {
    if (this.#annotationsAt === this.#bareAt) return Object.create(null);
    const reader = this.#reader(this.#annotationsAt);
    openSection(reader);
    return reader.record(reader.code(), "symbol");
  }

  /** The message with its front changed; the bare message and the footer stay as they are, byte for byte. */
  changed(changes: Changes): Uint8Array {
    const { header, deliveryAnnotations, messageAnnotations } = changes;
    const rest = this.payload.subarray(messageAnnotations === undefined ? this.#annotationsAt : this.#bareAt);
    if (rest.length === 0) return this.payload;
    const writer = new Writer(rest.length + 64);
    encodeMessage({ header, deliveryAnnotations, messageAnnotations }, writer, rest);
    return writer.take();
  }

  #decodeProperties(): Properties {
    const reader = this.#reader(this.#bareAt);
    if (this.messageFormat !== 0 || reader.remaining === 0 || openSection(reader) !== PROPERTIES) return {};
    return decodeAs(reader, "properties");
  }

  #reader(start = 0): Reader {
    const reader = new Reader(this.payload, this.#limits, "delivery");
    reader.window(start, this.payload.length);
    reader.subject = "message";
    return reader;
  }
}

/** Adds to annotations, over those of the same names; the wire types stay those that were decoded. */
export function mergeFields(fields: Fields, added: Readonly<Fields>): void {
  for (const key of Object.keys(added)) {
    fields[key] = added[key]!;
    const type = recall(added)?.values.get(key);
    if (type !== undefined) remember(fields).values.set(key, type);
    else recall(fields)?.values.delete(key);
  }
}

/** An error as it stands among annotations, a described value [messaging 3.4.3]. */
export function errorValue(error: ErrorFields): Value {
  const writer = new Writer(64);
  encodeAs(writer, "error", error);
  return new Reader(writer.take()).value();
}

/** The error for a message that cannot be taken, which names it where the link may end with it [anonterm 2.2.2]. */
export function deliveryError(symbol: string, message: string, tag: Uint8Array, cause?: unknown): AmqpError {
  return new AmqpError(symbol, message, { scope: "delivery", info: { "delivery-tag": new Uint8Array(tag) }, cause });
}

/** The error for a message that would never fit. */
export function tooLarge(bytes: number, largest: number, tag: Uint8Array): AmqpError {
  return deliveryError(
    condition.resourceLimitExceeded,
    `Cannot keep message: it has ${bytes} bytes, ${largest} are the most`,
    tag,
  );
}

function openSection(reader: Reader): number {
  if (reader.code() !== 0x00) throw reader.fail("a section does not begin with a descriptor");
  const section = readDescriptor(reader);
  if (section < HEADER || section > 0x78) throw reader.fail("the descriptor is not that of a known section");
  return section;
}
