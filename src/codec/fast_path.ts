/**
 * The fast path of frames that come with every message, written by hand beside the table: transfers and dispositions in their
 * usual encodings are read without the table, such transfers are written without it, the fields of
 * properties are read by name, and a message of nothing but data is read without its sections.
 *
 * All else is left to the table: other forms, rare fields, malformed frames. Both give the same bytes and the same
 * fields, absent ones perhaps as undefined; tests/codec/fast_path_test.ts holds this file to the table.
 *
 * @module
 */

import { leastView, uint32At } from "./primitives.ts";
import { definitions, sections } from "./definitions.ts";
import type { ByteWriter } from "./byte_writer.ts";
import type { DeliveryState, Disposition, Performative, Properties, SaslFrameBody, Transfer } from "./types.ts";

export interface Frame {
  /** 0 for AMQP, 1 for SASL. */
  readonly type: 0 | 1;
  /** The channel of the session; 0 in SASL frames. */
  readonly channel: number;
  /** The performative; undefined in an empty frame, which keeps the connection alive. */
  readonly body: Performative | SaslFrameBody | undefined;
  /**
   * The payload of a transfer, as a view of the bytes that were pushed, or as a copy where a view would keep much more memory
   * alive; undefined with any other body.
   */
  readonly payload: Uint8Array | undefined;
  /** The size of the whole frame, in bytes. */
  readonly size: number;
}

/**
 * Most bytes that precede the payload of a transfer without a state: the frame header, a descriptor, the head of a list, a tag
 * of 32 bytes, and all other fields in their longest forms.
 */
export const MAX_TRANSFER_HEAD_BYTES = 71;

// Reading fields by a variable name takes longer than all the rest of encoding; written out, it is nearly free.
/** The values of a composite in wire order, for kinds of many fields that come with every message. */
export const valuesInOrder = {
  properties: (c: Properties): unknown[] => [
    c.messageId,
    c.userId,
    c.to,
    c.subject,
    c.replyTo,
    c.correlationId,
    c.contentType,
    c.contentEncoding,
    c.absoluteExpiryTime,
    c.creationTime,
    c.groupId,
    c.groupSequence,
    c.replyToGroupId,
  ],
};

/**
 * Writes the first transfer of a delivery as the table would, if it has only the usual fields; otherwise false, and nothing is
 * written.
 */
export function writeTransfer(writer: ByteWriter, transfer: Transfer): boolean {
  const { handle, deliveryId, deliveryTag: tag, messageFormat, settled, more } = transfer;
  if (deliveryId === undefined || tag === undefined || messageFormat === undefined) return false;
  if (transfer.state !== undefined || transfer.rcvSettleMode !== undefined || transfer.batchable !== undefined) {
    return false;
  }
  if (transfer.resume !== undefined || transfer.aborted !== undefined || tag.length > 32) return false;
  const before = writer.length;
  const start = writer.reserve(MAX_TRANSFER_HEAD_BYTES);
  const { bytes } = writer;
  bytes[start] = 0x00;
  bytes[start + 1] = 0x53;
  bytes[start + 2] = definitions.transfer.code;
  bytes[start + 3] = 0xc0;
  bytes[start + 5] = more !== undefined ? 6 : settled !== undefined ? 5 : 4;
  let at = putUint(bytes, start + 6, handle);
  at = putUint(bytes, at, deliveryId);
  bytes[at++] = 0xa0;
  bytes[at++] = tag.length;
  for (let i = 0; i < tag.length; i++) bytes[at++] = tag[i];
  at = putUint(bytes, at, messageFormat);
  if (settled !== undefined) bytes[at++] = settled ? 0x41 : 0x42;
  else if (more !== undefined) bytes[at++] = 0x40;
  if (more !== undefined) bytes[at++] = more ? 0x41 : 0x42;
  bytes[start + 4] = at - start - 5;
  writer.truncate(before + at - start);
  return true;
}

function putUint(bytes: Uint8Array, at: number, value: number): number {
  if (value === 0) {
    bytes[at] = 0x43;
    return at + 1;
  }
  if (value <= 0xff) {
    bytes[at] = 0x52;
    bytes[at + 1] = value;
    return at + 2;
  }
  bytes[at] = 0x70;
  bytes[at + 1] = value >>> 24;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 8;
  bytes[at + 4] = value;
  return at + 5;
}

/** A frame's body for somebody who keeps it: transfers are read and written with one object and one tag for all of them. */
export function kept<T extends Performative | undefined>(body: T): T {
  return body?.kind === "transfer" ? { ...body, deliveryTag: body.deliveryTag?.slice() } : body;
}

/** The data of a message that is one section of data and nothing else; undefined for any other message. */
export function onlyData(bytes: Uint8Array): Uint8Array | undefined {
  const code = bytes[3];
  if (bytes[0] !== 0x00 || bytes[1] !== 0x53 || bytes[2] !== sections.data.code) return undefined;
  if (code !== 0xa0 && code !== 0xb0) return undefined;
  const start = code === 0xa0 ? 5 : 8;
  const length = code === 0xa0 ? bytes[4] : uint32At(bytes, 4);
  return start + length === bytes.length ? bytes.subarray(start) : undefined;
}

/** Reads the usual performatives from one array of bytes, and is the frame that it has read last. */
export class FastPathReader implements Frame {
  readonly type = 0;
  channel = 0;
  body: Transfer | Disposition | undefined;
  payload: Uint8Array | undefined;
  size = 0;
  readonly #bytes: Uint8Array;
  // A view made from these two costs two thirds of one by subarray.
  readonly #buffer: ArrayBufferLike;
  readonly #offset: number;
  readonly #leastView: number;
  // Used again for each transfer, and for each tag of four bytes, as counters make them: nobody keeps those of a frame.
  #transferBody: Transfer | undefined;
  #tag: Uint8Array | undefined;
  #position = 0;
  #left = 0;
  #irregular = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#buffer = bytes.buffer;
    this.#offset = bytes.byteOffset;
    this.#leastView = leastView(this.#buffer.byteLength);
  }

  /** The end of the performative that was read last. */
  get position(): number {
    return this.#position;
  }

  view(start: number, end: number): Uint8Array {
    return new Uint8Array(this.#buffer, this.#offset + start, end - start);
  }

  /**
   * The frame at `start`, valid until the next call, if it is an AMQP frame with a usual performative, and without an extended
   * header.
   */
  frame(start: number, size: number): Frame | undefined {
    const bytes = this.#bytes;
    if (bytes[start + 4] !== 2 || bytes[start + 5] !== 0) return undefined;
    const end = start + size;
    const body = this.performative(start + 8, end);
    if (body === undefined) return undefined;
    this.body = body;
    this.channel = bytes[start + 6] << 8 | bytes[start + 7];
    this.payload = body.kind === "transfer" ? this.#payload(end) : undefined;
    this.size = size;
    return this;
  }

  #payload(end: number): Uint8Array {
    const view = this.view(this.#position, end);
    return view.length < this.#leastView ? new Uint8Array(view) : view;
  }

  /** The performative at `start`, if it is a usual one, followed by nothing but a payload. */
  performative(start: number, end: number): Transfer | Disposition | undefined {
    const bytes = this.#bytes;
    // A described value, its descriptor as a ulong of one byte, and a list; rhea and go-amqp give all lists a size of four bytes.
    const list = bytes[start + 3];
    if (bytes[start] !== 0x00 || bytes[start + 1] !== 0x53 || list !== 0xc0 && list !== 0xd0) return undefined;
    const isShort = list === 0xc0;
    const sized = start + (isShort ? 5 : 8);
    const stop = sized + (isShort ? bytes[start + 4] : uint32At(bytes, start + 4));
    if (stop > end) return undefined;
    this.#left = isShort ? bytes[sized] : uint32At(bytes, sized);
    this.#position = sized + (isShort ? 1 : 4);
    this.#irregular = false;
    const code = bytes[start + 2];
    const body = code === definitions.transfer.code
      ? this.#transfer(stop)
      : code === definitions.disposition.code && stop === end
      ? this.#disposition()
      : undefined;
    // Fields beyond the list were misread, but then the position shows it.
    return this.#irregular || this.#left > 0 || this.#position !== stop ? undefined : body;
  }

  #transfer(stop: number): Transfer | undefined {
    const handle = this.#uint();
    const deliveryId = this.#uint();
    const deliveryTag = this.#binary(stop);
    const messageFormat = this.#uint();
    const settled = this.#boolean();
    const more = this.#boolean();
    // Some write the absent fields behind as nulls.
    for (let i = 0; i < 5 && this.#left > 0; i++) this.#none(this.#code());
    // The first transfer of a delivery has these.
    if (handle === undefined || deliveryId === undefined || deliveryTag === undefined || messageFormat === undefined) {
      return undefined;
    }
    const transfer = this.#transferBody ??= { kind: "transfer", handle };
    transfer.handle = handle;
    transfer.deliveryId = deliveryId;
    transfer.deliveryTag = deliveryTag;
    transfer.messageFormat = messageFormat;
    transfer.settled = settled;
    transfer.more = more;
    return transfer;
  }

  #disposition(): Disposition | undefined {
    const isReceiver = this.#boolean();
    const first = this.#uint();
    const last = this.#uint();
    const settled = this.#boolean();
    const state = this.#accepted();
    if (isReceiver === undefined || first === undefined || settled === undefined || state === undefined) {
      return undefined;
    }
    return { kind: "disposition", role: isReceiver ? "receiver" : "sender", first, last, settled, state };
  }

  // The constructor of the next field, or that of null behind the last one.
  #code(): number {
    return this.#left-- > 0 ? this.#bytes[this.#position++] : 0x40;
  }

  #uint(): number | undefined {
    const code = this.#code();
    switch (code) {
      case 0x43:
        return 0;
      case 0x52:
        return this.#bytes[this.#position++];
      case 0x70:
        this.#position += 4;
        return uint32At(this.#bytes, this.#position - 4);
    }
    return this.#none(code);
  }

  #boolean(): boolean | undefined {
    const code = this.#code();
    return code === 0x41 ? true : code === 0x42 ? false : this.#none(code);
  }

  #binary(stop: number): Uint8Array | undefined {
    const code = this.#code();
    if (code !== 0xa0) return this.#none(code);
    const start = this.#position + 1;
    const end = start + this.#bytes[this.#position];
    this.#position = end;
    // Also for a length beyond the end of the array.
    if (end > stop) return this.#none(code);
    if (end - start !== 4) return this.view(start, end);
    const tag = this.#tag ??= new Uint8Array(4);
    for (let i = 0; i < 4; i++) tag[i] = this.#bytes[start + i];
    return tag;
  }

  #accepted(): DeliveryState | undefined {
    const code = this.#code();
    if (code !== 0x00) return this.#none(code);
    const bytes = this.#bytes;
    const at = this.#position;
    this.#position = at + 3;
    const isAccepted = bytes[at] === 0x53 && bytes[at + 1] === definitions.accepted.code && bytes[at + 2] === 0x45;
    return isAccepted ? { kind: "accepted" } : this.#none(code);
  }

  #none(code: number): undefined {
    if (code !== 0x40) this.#irregular = true;
  }
}
