/**
 * Batches: many messages in one, of message format 0x80013700, which Service Bus and Event Hubs split again.
 *
 * @module
 */

import { isBytes } from "../base/kinds.ts";
import { checkOptions, describeKind } from "../base/options.ts";
import type { CodecLimits } from "./limits.ts";
import { DataBody } from "./body.ts";
import { type DecodedMessage, decodeMessage, encodeData, encodeHead, encodeMessage, type Message } from "./message.ts";
import { Writer } from "./writer.ts";

/** The message format of a batch. */
export const BATCH_FORMAT = 0x80013700;

/** Options of {@linkcode batch}. */
export interface BatchOptions {
  /** Largest size of the batch, in bytes: the sender's `remote.maxMessageSize`. Default: no limit. */
  maxMessageSize?: number | bigint | undefined;
  /** Sections of the batch before its body, such as the annotation of a partition key. Default: none. */
  head?: Omit<Message, "body" | "footer"> | undefined;
}

/** Messages that are sent as one; made by {@linkcode batch}. */
export interface Batch {
  /** The encoded batch, to be sent with its message format. */
  readonly payload: Uint8Array;
  /** {@linkcode BATCH_FORMAT}. */
  readonly messageFormat: number;
  /** The number of messages in the batch: fewer than were given if no more fit. */
  readonly count: number;
}

/**
 * Encodes as many messages as fit into one batch; the rest begins at index `count`.
 *
 * @throws {RangeError} If there are no messages, or the first one does not fit.
 * @throws {TypeError} If an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { batch, type Sender } from "@webamqp/amqp";
 *
 * async function report(events: Sender, readings: number[]) {
 *   await events.ready();
 *   const messages = readings.map((body) => ({ body }));
 *   for (let at = 0; at < messages.length;) {
 *     const { payload, messageFormat, count } = batch(messages.slice(at), events.remote);
 *     await events.send(payload, { messageFormat });
 *     at += count;
 *   }
 * }
 * ```
 */
export function batch(messages: readonly Message[], options: BatchOptions = {}): Batch {
  // The remote attach of a sender has further fields.
  const given = "kind" in Object(options) ? { maxMessageSize: options.maxMessageSize } : options;
  checkOptions("make batch", given, { maxMessageSize: "number or bigint", head: "object" });
  const { maxMessageSize, head } = options;
  if (typeof messages?.[Symbol.iterator] !== "function") {
    throw new TypeError(`Cannot make batch: messages are ${describeKind(messages)}, not an array`);
  }
  // Zero is no limit, as in an attach.
  const most = Number(maxMessageSize ?? 0) || Infinity;
  const whole = new Writer(1_024, true);
  if (head !== undefined) encodeHead(head, whole);
  let count = 0;
  for (const message of messages) {
    const before = whole.length;
    encodeData(encodeMessage(message), whole);
    if (whole.length > most) {
      whole.truncate(before);
      break;
    }
    count++;
  }
  if (count === 0) {
    const why = messages.length === 0 ? "there are no messages" : `the first message does not fit into ${most} bytes`;
    throw new RangeError(`Cannot make batch: ${why}`);
  }
  return { payload: whole.take(), messageFormat: BATCH_FORMAT, count };
}

/**
 * Decodes the messages of a delivery: those of a batch, or its single one.
 *
 * @throws {AmqpError} With `amqp:decode-error` if the bytes, or an item of the batch, are no AMQP message.
 * @throws {TypeError} If the message format is another one, or the body of the batch is not of data sections.
 *
 * @example
 * ```ts
 * import { type Delivery, unbatch } from "@webamqp/amqp";
 *
 * function read(delivery: Delivery) {
 *   for (const message of unbatch(delivery)) console.log(message.body);
 * }
 * ```
 */
export function unbatch(
  delivery: { readonly messageFormat: number; readonly payload: Uint8Array },
  limits?: CodecLimits,
): DecodedMessage[] {
  const { messageFormat, payload } = Object(delivery) as typeof delivery;
  if (!isBytes(payload)) {
    throw new TypeError(`Cannot take batch apart: ${describeKind(delivery)} is no delivery`);
  }
  // The lowest byte is the version [transport 2.8.11].
  if (messageFormat >>> 8 !== BATCH_FORMAT >>> 8) {
    if (messageFormat === 0) return [decodeMessage(payload, limits)];
    throw new TypeError(`Cannot take batch apart: message format is 0x${messageFormat.toString(16)}`);
  }
  const { body } = decodeMessage(payload, limits);
  const chunks = body instanceof DataBody ? body.chunks : isBytes(body) ? [body] : undefined;
  if (chunks === undefined) throw new TypeError("Cannot take batch apart: its body is not of data sections");
  return chunks.map((chunk) => decodeMessage(chunk, limits));
}
