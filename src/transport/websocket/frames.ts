/**
 * WebSocket frames without I/O, for both directions and both roles [rfc6455 5].
 *
 * Payload is passed on as it arrives, before its frame is complete, so that memory is bounded by one read, whatever length
 * a peer announces.
 *
 * @module
 */

import { mask, type MaskKeys } from "./mask.ts";
import {
  claimBlock,
  isBlock,
  leaveSlab,
  lend,
  MIN_BLOCK_BYTES,
  roomOf,
  type Slab,
  takeBlock,
  takeSlab,
} from "../../base/pool.ts";
import { TransportError } from "../../base/errors.ts";
import { isCloseCode } from "../channel.ts";

/** The opcodes [rfc6455 5.2]; the other values are reserved. */
export const opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;

/** The close codes in use [rfc6455 7.4.1]; the last three never stand in a frame. */
export const closeCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  invalidPayload: 1007,
  policyViolation: 1008,
  tooBig: 1009,
  internalError: 1011,
  serviceRestart: 1012,
  tryAgainLater: 1013,
  noStatus: 1005,
  abnormal: 1006,
  tlsFailure: 1015,
} as const;

/** Most payload bytes of a ping, pong or close frame [rfc6455 5.5]. */
export const MAX_CONTROL_BYTES = 125;

/** Most bytes of one message; since messages are not gathered, it only stops an endless one. */
export const MAX_MESSAGE_BYTES: number = 134_217_728;

/** Most frames of one message; twice those of a message of full size in pieces of 4 KiB. */
export const MAX_FRAGMENTS: number = 65_536;

// Room for some eighty small frames.
const SLAB_BYTES = 16_384;

// Room behind a large frame, so that the rest of a split message leaves with it.
const TAIL_BYTES = 2_048;

/**
 * Encodes frames into as few pieces as possible.
 *
 * Payloads are copied, and masking happens in the copy; but a block that the caller gives away is used as it is.
 */
export class WebSocketFrameEncoder {
  readonly #keys: MaskKeys | undefined;
  readonly #key: Uint8Array | undefined;
  readonly #full: Uint8Array[] = [];
  #slab: Slab | undefined;
  #start = 0;
  #length = 0;

  /** With `keys` every frame is masked, as a client's must be; without, none is. */
  constructor(keys?: MaskKeys) {
    this.#keys = keys;
    if (keys !== undefined) this.#key = new Uint8Array(4);
  }

  /** The bytes that wait for {@linkcode WebSocketFrameEncoder.take}. */
  get length(): number {
    return this.#length;
  }

  /** Appends one final frame. */
  frame(opcode: number, payload: Uint8Array): void {
    const { length } = payload;
    const headBytes = this.#headBytes(length);
    const slab = this.#reserve(headBytes + length);
    const start = slab.end + headBytes;
    slab.bytes.set(payload, start);
    slab.end = start + length;
    this.#complete(opcode, slab.bytes, start, length);
  }

  /**
   * Appends the payload of frames of at most `most` bytes each, where it is: in a block, which is the encoder's from then on.
   *
   * False, and nothing done, if that is no lent block, or has no room for the headers around the payload.
   */
  block(opcode: number, payload: Uint8Array, most: number): boolean {
    const { byteOffset, length, buffer } = payload;
    const step = Math.min(length, most);
    const headBytes = this.#headBytes(step);
    const last = Math.ceil(length / step) - 1;
    if (length === 0 || byteOffset < headBytes || byteOffset + length + last * headBytes > buffer.byteLength) {
      return false;
    }
    const block = claimBlock(payload);
    if (block === undefined) return false;
    let end = 0;
    // The last one first, as each but the first moves to make room for headers.
    for (let i = last; i >= 0; i--) {
      const from = byteOffset + i * step;
      const bytes = Math.min(step, length - i * step);
      const start = i === 0 ? from : from + (i - 1) * headBytes + this.#headBytes(bytes);
      if (i === last) end = start + bytes;
      block.copyWithin(start, from, from + bytes);
      this.#complete(opcode, block, start, bytes);
    }
    const before = this.#seal();
    if (before !== undefined) this.#full.push(before);
    const piece = lend(block.subarray(byteOffset - headBytes, end));
    this.#full.push(piece);
    this.#length += piece.length;
    return true;
  }

  #headBytes(length: number): number {
    return 2 + lengthBytes(length) + (this.#key === undefined ? 0 : 4);
  }

  // Writes the header of a frame in front of its payload, which is masked.
  #complete(opcode: number, bytes: Uint8Array, start: number, length: number): void {
    const key = this.#key;
    const lengthLength = lengthBytes(length);
    let at = start - this.#headBytes(length);
    bytes[at++] = 0x80 | opcode;
    bytes[at++] = (key === undefined ? 0 : 0x80) | (lengthLength === 0 ? length : lengthLength === 2 ? 126 : 127);
    // By division: shifts count modulo 32, so `>>> 56` would repeat the low word.
    for (let i = lengthLength - 1; i >= 0; i--) bytes[at++] = Math.floor(length / 2 ** (8 * i)) & 0xff;
    if (key === undefined) return;
    this.#keys!.next(key);
    for (let i = 0; i < 4; i++) bytes[at++] = key[i]!;
    mask(bytes.subarray(start, start + length), key, 0);
  }

  /** Appends bytes other than a frame: the heads of the handshake. */
  raw(bytes: Uint8Array): void {
    const slab = this.#reserve(bytes.length);
    slab.bytes.set(bytes, slab.end);
    slab.end += bytes.length;
  }

  /** Returns the next piece, which consists of whole frames; undefined if there is none. */
  take(): Uint8Array | undefined {
    const piece = this.#full.shift() ?? this.#seal();
    if (piece !== undefined) this.#length -= piece.length;
    if (this.#length === 0) this.#release();
    return piece;
  }

  clear(): void {
    this.#full.length = 0;
    this.#length = 0;
    this.#release();
  }

  #reserve(size: number): Slab {
    this.#length += size;
    if (this.#slab !== undefined && roomOf(this.#slab) >= size) return this.#slab;
    const piece = this.#seal();
    if (piece !== undefined) this.#full.push(piece);
    const slab = takeSlab(size) ?? newSlab(size);
    this.#slab = slab;
    this.#start = slab.end;
    return slab;
  }

  // A piece that was taken may still be on its way to the socket, so the slab continues behind it. A block leaves with its
  // piece, and is returned to the pool once written.
  #seal(): Uint8Array | undefined {
    const slab = this.#slab;
    if (slab === undefined || slab.end === this.#start) return undefined;
    const piece = slab.bytes.subarray(this.#start, slab.end);
    this.#start = slab.end;
    if (!isBlock(slab.bytes)) return piece;
    this.#slab = undefined;
    return lend(piece);
  }

  #release(): void {
    if (this.#slab !== undefined) leaveSlab(this.#slab);
    this.#slab = undefined;
  }
}

// Bytes of a header that hold the length where its second byte does not.
function lengthBytes(length: number): number {
  return length < 126 ? 0 : length < 65_536 ? 2 : 8;
}

function newSlab(size: number): Slab {
  const bytes = size < MIN_BLOCK_BYTES ? new Uint8Array(Math.max(size, SLAB_BYTES)) : takeBlock(size + TAIL_BYTES);
  return { bytes, end: 0 };
}

/** A part of a binary message, delivered as soon as it arrives. */
export interface PayloadPiece {
  readonly kind: "bytes";
  /** The next bytes, a view of the received ones. */
  readonly bytes: Uint8Array;
  /** True for the end of the message. */
  readonly last: boolean;
}

/** A complete control frame. */
export interface ControlFrame {
  readonly kind: "control";
  readonly opcode: number;
  /** The payload, overwritten by the next control frame. */
  readonly payload: Uint8Array;
}

/** The limits of a {@linkcode WebSocketFrameDecoder}. */
export interface FrameLimits {
  /** Most bytes of one message. Default: {@linkcode MAX_MESSAGE_BYTES}. */
  maxMessageBytes?: number | undefined;
  /** Most frames of one message. Default: {@linkcode MAX_FRAGMENTS}. */
  maxFragments?: number | undefined;
}

/**
 * Decodes frames from bytes that arrive in any pieces.
 *
 * Every violation is a {@linkcode TransportError} whose `closeCode` is the one to fail the connection with.
 */
export class WebSocketFrameDecoder {
  readonly #masked: boolean;
  readonly #maxMessageBytes: number;
  readonly #maxFragments: number;
  #bytes: Uint8Array | undefined;
  #at = 0;

  // The current frame: a header of at most 14 bytes, of which `#headerLength` were read, then its payload.
  #headerLength = 0;
  #headerSize = 2;
  #first = 0;
  #opcode = 0;
  #final = false;
  #lengthSize = 0;
  #inPayload = false;
  #left = 0;
  readonly #key: Uint8Array | undefined;
  #phase = 0;
  // Made for the first control frame, which most connections never receive.
  #control: Uint8Array | undefined;
  #controlLength = 0;

  // The current message; control frames between its frames do not affect it.
  #inMessage = false;
  #messageBytes = 0;
  #fragments = 0;

  /** `masked` is true if the peer is a client, which must mask its frames. */
  constructor(masked: boolean, limits: FrameLimits = {}) {
    this.#masked = masked;
    if (masked) this.#key = new Uint8Array(4);
    this.#maxMessageBytes = limits.maxMessageBytes ?? MAX_MESSAGE_BYTES;
    this.#maxFragments = limits.maxFragments ?? MAX_FRAGMENTS;
  }

  /**
   * Takes ownership of bytes: masked payload is unmasked in place.
   *
   * @throws {TypeError} If {@linkcode WebSocketFrameDecoder.next} has not read the previous bytes to their end.
   */
  push(bytes: Uint8Array): void {
    if (this.#bytes !== undefined) throw new TypeError("Cannot take bytes: those before were not read");
    if (bytes.length === 0) return;
    this.#bytes = bytes;
    this.#at = 0;
  }

  /**
   * The next piece of a message or the next control frame; undefined when more bytes are needed.
   *
   * @throws {TransportError} With code `"protocol-violation"` and the `closeCode` to send.
   */
  next(): PayloadPiece | ControlFrame | undefined {
    for (;;) {
      if (!this.#inPayload && !this.#readHeader()) return undefined;
      const piece = this.#nextBytes();
      const complete = this.#left === 0;
      this.#inPayload = !complete;
      if (this.#opcode >= opcode.close) {
        const payload = this.#gatherControl(piece);
        if (complete) return { kind: "control", opcode: this.#opcode, payload };
      } else {
        if (this.#key !== undefined) this.#phase = mask(piece, this.#key, this.#phase);
        const last = complete && this.#final;
        if (last) this.#inMessage = false;
        if (last || piece.length > 0) return { kind: "bytes", bytes: piece, last };
      }
      if (!complete) return undefined;
    }
  }

  // Returns the payload available now. Bytes read to their end are released: a short view may keep a large buffer alive.
  #nextBytes(): Uint8Array {
    const bytes = this.#bytes;
    if (bytes === undefined) return new Uint8Array(0);
    const piece = bytes.subarray(this.#at, this.#at + this.#left);
    this.#left -= piece.length;
    this.#at += piece.length;
    if (this.#at === bytes.length) this.#bytes = undefined;
    return piece;
  }

  // Byte by byte, so that a header may be cut anywhere without a second code path.
  #readHeader(): boolean {
    const bytes = this.#bytes;
    while (this.#headerLength < this.#headerSize) {
      if (bytes === undefined || this.#at === bytes.length) {
        this.#bytes = undefined;
        return false;
      }
      this.#headerByte(this.#headerLength++, bytes[this.#at++]!);
    }
    if (this.#at === bytes!.length) this.#bytes = undefined;
    this.#checkLength();
    this.#phase = 0;
    this.#controlLength = 0;
    this.#headerLength = 0;
    this.#headerSize = 2;
    this.#inPayload = true;
    if (this.#opcode < opcode.close) this.#countFragment();
    return true;
  }

  #headerByte(at: number, byte: number): void {
    if (at === 0) this.#first = byte;
    else if (at === 1) this.#firstTwoBytes(this.#first, byte);
    else if (at >= 2 + this.#lengthSize) this.#key![at - 2 - this.#lengthSize] = byte;
    else if (at === 2 && this.#lengthSize === 8 && byte >= 0x80) throw violation("length has its top bit set");
    else this.#left = this.#left * 256 + byte;
  }

  #firstTwoBytes(first: number, second: number): void {
    this.#final = first >= 0x80;
    this.#opcode = first & 0x0f;
    const length = second & 0x7f;
    if ((first & 0x70) !== 0) throw violation("a reserved bit is set though no extension was agreed");
    if (second >= 0x80 !== this.#masked) throw violation(this.#masked ? "frame is not masked" : "frame is masked");
    switch (this.#opcode) {
      case opcode.continuation:
        if (!this.#inMessage) throw violation("continuation of no message");
        break;
      case opcode.text:
        // AMQP uses binary messages only [wsb 2.4].
        throw violation("text message", closeCode.unsupportedData);
      case opcode.binary:
        if (this.#inMessage) throw violation("new message within another");
        break;
      case opcode.close:
      case opcode.ping:
      case opcode.pong:
        if (!this.#final) throw violation("control frame is fragmented");
        if (length > MAX_CONTROL_BYTES) throw violation(`control frame is longer than ${MAX_CONTROL_BYTES} bytes`);
        break;
      default:
        throw violation(`opcode 0x${this.#opcode.toString(16)} is reserved`);
    }
    this.#lengthSize = length === 126 ? 2 : length === 127 ? 8 : 0;
    this.#left = this.#lengthSize === 0 ? length : 0;
    this.#headerSize = 2 + this.#lengthSize + (this.#masked ? 4 : 0);
  }

  #checkLength(): void {
    const shortest = this.#lengthSize === 0 ? 0 : this.#lengthSize === 2 ? 126 : 65_536;
    if (this.#left < shortest) throw violation("length is not in its shortest form");
    if (this.#left > Number.MAX_SAFE_INTEGER) throw violation("length is beyond 2^53", closeCode.tooBig);
  }

  #countFragment(): void {
    if (this.#opcode === opcode.binary) {
      this.#inMessage = true;
      this.#messageBytes = 0;
      this.#fragments = 0;
    }
    this.#messageBytes += this.#left;
    if (this.#messageBytes > this.#maxMessageBytes) {
      throw violation(`message is longer than ${this.#maxMessageBytes} bytes`, closeCode.tooBig);
    }
    if (++this.#fragments > this.#maxFragments) {
      throw violation(`message has more than ${this.#maxFragments} fragments`, closeCode.policyViolation);
    }
  }

  #gatherControl(piece: Uint8Array): Uint8Array {
    const control = this.#control ??= new Uint8Array(MAX_CONTROL_BYTES);
    control.set(piece, this.#controlLength);
    const added = control.subarray(this.#controlLength, this.#controlLength + piece.length);
    if (this.#key !== undefined) this.#phase = mask(added, this.#key, this.#phase);
    this.#controlLength += piece.length;
    return control.subarray(0, this.#controlLength);
  }
}

/** The decoded payload of a close frame. */
export interface CloseStatus {
  /** The code; {@linkcode closeCode}`.noStatus` for an empty payload. */
  readonly code: number;
  /** The reason; untrusted. */
  readonly reason: string;
}

/**
 * Decodes the payload of a close frame.
 *
 * @throws {TransportError} With code `"protocol-violation"` and the `closeCode` to send.
 */
export function decodeClose(payload: Uint8Array): CloseStatus {
  if (payload.length === 0) return { code: closeCode.noStatus, reason: "" };
  if (payload.length === 1) throw violation("close code is cut");
  const code = payload[0]! * 256 + payload[1]!;
  if (!isCloseCode(code)) throw violation(`close code ${code} may not be sent`);
  try {
    const reason = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload.subarray(2));
    return { code, reason };
  } catch (cause) {
    throw violation("close reason is not UTF-8", closeCode.invalidPayload, cause);
  }
}

/** Encodes the payload of a close frame; a long reason is cut between two characters, `noStatus` gives an empty payload. */
export function encodeClose(status: CloseStatus): Uint8Array {
  if (status.code === closeCode.noStatus) return new Uint8Array(0);
  const payload = new Uint8Array(MAX_CONTROL_BYTES);
  payload[0] = status.code >>> 8;
  payload[1] = status.code & 0xff;
  const { written } = new TextEncoder().encodeInto(status.reason, payload.subarray(2));
  return payload.subarray(0, 2 + written);
}

function violation(state: string, code: number = closeCode.protocolError, cause?: unknown): TransportError {
  return new TransportError("protocol-violation", `Cannot read WebSocket frame: ${state}`, { closeCode: code, cause });
}
