/**
 * Protocol headers and frames, cut out of a stream that arrives in arbitrary pieces.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { joined, leastView, noBytes, uint32At } from "./primitives.ts";
import { decodeProvider } from "./composite.ts";
import type { Frame } from "./fast_path.ts";
import { archetypes } from "./plans.ts";
import { type CodecLimits, DEFAULT_MAX_FRAME_SIZE, MAX_DEPTH, MAX_ELEMENTS, MAX_FRAME_VALUES } from "./limits.ts";
import { Reader } from "./reader.ts";
import { hex, hexByte } from "../base/text.ts";
import type { Performative, SaslFrameBody } from "./types.ts";
import type { Writer } from "./writer.ts";

export type { Frame };

/** The protocol that follows a header: AMQP, TLS or SASL [transport 2.2]. */
export type ProtocolId = 0 | 2 | 3;

/** A protocol header as the peer sent it; only its four letters were checked. */
export interface ProtocolHeader {
  /** A {@linkcode ProtocolId}, if the peer keeps to the specification. */
  readonly id: number;
  readonly major: number;
  readonly minor: number;
  readonly revision: number;
}

/** Creates a reader of usual frames in one array of bytes, which leaves the others; see fast_path.ts. */
export type FastPath = new (bytes: Uint8Array) => { frame(start: number, size: number): Frame | undefined };

/** Options of a {@linkcode FrameDecoder}. */
export interface FrameDecoderOptions {
  /** The largest frame to accept, in bytes. */
  readonly maxFrameSize: number;
  /** Limits on the cost of decoding one frame. */
  readonly limits?: CodecLimits | undefined;
  /** The reader of the frames that come with every message. Default: none, the table reads all. */
  readonly fastPath?: FastPath | undefined;
  /** True if the memory of pushed bytes is the decoder's, who may move them. Default: false. */
  readonly owned?: boolean;
}

/** The smallest frame is its header alone [transport 2.3.1]. */
const FRAME_HEADER_SIZE = 8;

/** The eight bytes that begin a protocol. */
export function protocolHeader(id: ProtocolId): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(0x41, 0x4d, 0x51, 0x50, id, 1, 0, 0);
}

/** Begins a frame of type 0 (AMQP) or 1 (SASL), and returns its position for {@linkcode endFrame}. */
export function beginFrame(writer: Writer, type: 0 | 1, channel: number): number {
  const start = writer.length;
  writer.u32(0);
  writer.u32(0x02000000 | type << 16 | channel);
  return start;
}

/** Ends the frame that began at `start`: all bytes written since are its body. */
export function endFrame(writer: Writer, start: number): void {
  writer.overwrite32(writer.length - start, start);
}

// A piece of one byte takes some 200 bytes of memory.
const MAX_PIECES = 64;

// Pieces that are worth moving instead of copying: messages of a WebSocket, of which one holds most of a large frame.
const MIN_MOVED_BYTES = 16_384;

/**
 * Cuts a stream of bytes into protocol headers and frames.
 *
 * A frame that arrives in one piece is not copied; one that arrives in several is gathered in memory of its own, which grows
 * with the bytes that have arrived, and never beyond `maxFrameSize`. Either way payloads and binaries are views of that memory.
 *
 * @example
 * ```ts
 * import { FrameDecoder } from "./frame.ts";
 *
 * const decoder = new FrameDecoder({ maxFrameSize: 512 });
 * decoder.push(Uint8Array.of(0, 0, 0, 8, 2, 0, 0, 0));
 * console.assert(decoder.frame()?.size === 8 && decoder.frame() === undefined);
 * ```
 */
export class FrameDecoder {
  /** The largest frame to accept, in bytes; may be changed between frames. */
  maxFrameSize: number;
  readonly #limits: CodecLimits | undefined;
  readonly #fastPath: FastPath | undefined;
  readonly #owned: boolean;
  /** Pieces as they were pushed; `#position` is the first unused byte of the first one. */
  readonly #pieces: Uint8Array[] = [];
  #position = 0;
  /** Readers of the first piece; absent until a frame in it needs them. */
  #fastReader: InstanceType<FastPath> | undefined;
  #reader: Reader | undefined;
  /** Bytes gathered from several pieces, and how many of them are filled. */
  #gathered: Uint8Array = noBytes();
  #filled = 0;
  #buffered = 0;

  constructor(options: FrameDecoderOptions) {
    this.maxFrameSize = options.maxFrameSize;
    this.#fastPath = options.fastPath;
    this.#owned = options.owned === true;
    this.#limits = options.limits;
  }

  /** Memory of the body of the last frame, in units of about 32 bytes, for a user that keeps it. */
  weight = 0;

  /** Bytes that were pushed and are not part of a returned header or frame. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Takes the next bytes of the stream; read headers or frames until there are none before the next push. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.#buffered += bytes.length;
    // Only while nobody reads, as while credentials are verified: bytes that come one by one must cost no more than they weigh.
    if (this.#pieces.length > MAX_PIECES + (this.#buffered >> 6)) this.#join();
  }

  // Joins all but the first piece, which readers may be bound to.
  #join(): void {
    this.#pieces.push(joined(this.#pieces.splice(1)));
  }

  /**
   * The next protocol header; undefined while it is incomplete.
   *
   * @throws {AmqpError} With condition `amqp:connection:framing-error` as soon as the bytes cannot become one.
   */
  header(): ProtocolHeader | undefined {
    const isComplete = this.#gather(8);
    const bytes = this.#gathered;
    for (let i = 0; i < this.#filled && i < 4; i++) {
      if (bytes[i] === "AMQP".charCodeAt(i)) continue;
      const found = bytes.subarray(0, this.#filled);
      throw framingError("protocol header", `0x${hex(found)} does not begin with "AMQP"${speaker(found)}`);
    }
    if (!isComplete) return undefined;
    this.#release();
    return { id: bytes[4], major: bytes[5], minor: bytes[6], revision: bytes[7] };
  }

  /**
   * The next frame, valid until the next call; undefined while it is incomplete.
   *
   * @throws {AmqpError} With condition `amqp:connection:framing-error` if the size or the frame's header is wrong;
   * no frame can be found after that. With another condition if the body is wrong; the next call goes on after
   * that frame.
   */
  frame(): Frame | undefined {
    const piece = this.#filled === 0 ? this.#pieces[0] : undefined;
    if (piece !== undefined && piece.length - this.#position >= 4) {
      const start = this.#position;
      const size = this.#sizeAt(piece, start);
      if (piece.length - start >= size) {
        this.weight = 0;
        if (this.#fastPath !== undefined) this.#fastReader ??= new this.#fastPath(piece);
        const fast = this.#fastReader?.frame(start, size);
        const reader = fast === undefined ? this.#reader ??= frameReader(piece, this.#limits) : undefined;
        this.#buffered -= size;
        this.#skip(piece, size);
        return fast ?? this.#decode(piece, start, size, reader!);
      }
      if (start === 0 && this.#owned) this.#move(piece, size);
    }
    if (!this.#gather(4) || !this.#gather(this.#sizeAt(this.#gathered, 0))) return undefined;
    const frame = this.#release();
    return this.#decode(frame, 0, frame.length, frameReader(frame, this.#limits));
  }

  #decode(bytes: Uint8Array, start: number, size: number, reader: Reader): Frame {
    const frame = decodeFrame(bytes, start, size, reader);
    this.weight = frame.body === undefined ? 0 : reader.weight;
    return frame;
  }

  // Checked before anything is gathered for the frame.
  #sizeAt(bytes: Uint8Array, at: number): number {
    const size = uint32At(bytes, at);
    if (size < FRAME_HEADER_SIZE) throw framingError("frame", `a size of ${size} is below ${FRAME_HEADER_SIZE}`);
    if (size > this.maxFrameSize) {
      throw framingError("frame", `a size of ${size} is above the maximum of ${this.maxFrameSize}`);
    }
    return size;
  }

  // Makes the memory of the first piece that of the frame which begins with it and ends behind it. The old memory is free at once,
  // where a copy would leave it to the garbage collector, which array buffers keep busy.
  #move(piece: Uint8Array, size: number): void {
    const { length, buffer } = piece;
    if (length < MIN_MOVED_BYTES || length < buffer.byteLength || size > 2 * length) return;
    try {
      this.#gathered = new Uint8Array((buffer as ArrayBuffer).transfer(size));
    } catch {
      // Shared memory, and what Node's sockets read into, cannot be moved.
      return;
    }
    this.#filled = length;
    this.#pieces.shift();
  }

  // Gathers up to `count` bytes of those that have arrived; true when they are complete.
  #gather(count: number): boolean {
    while (this.#filled < count && this.#pieces.length > 0) {
      const [piece] = this.#pieces;
      const part = piece.subarray(this.#position, this.#position + count - this.#filled);
      this.#makeRoom(this.#filled + part.length, count);
      this.#gathered.set(part, this.#filled);
      this.#filled += part.length;
      this.#skip(piece, part.length);
    }
    return this.#filled >= count;
  }

  // Doubles the memory, so that a trickle is not copied over and over; the announced size alone takes no memory. A frame that
  // any peer may send by default, of which enough has arrived, has all of its memory at once, and is copied once.
  #makeRoom(least: number, most: number): void {
    if (least <= this.#gathered.length) return;
    const isUsual = least >= MIN_MOVED_BYTES && most <= DEFAULT_MAX_FRAME_SIZE;
    const room = new Uint8Array(isUsual ? most : Math.min(2 * least, most));
    room.set(this.#gathered.subarray(0, this.#filled));
    this.#gathered = room;
  }

  // Hands over the gathered bytes with their memory.
  #release(): Uint8Array {
    const bytes = this.#gathered.subarray(0, this.#filled);
    this.#buffered -= this.#filled;
    this.#gathered = noBytes();
    this.#filled = 0;
    return bytes;
  }

  #skip(piece: Uint8Array, count: number): void {
    this.#position += count;
    if (this.#position < piece.length) return;
    this.#pieces.shift();
    this.#position = 0;
    this.#fastReader = undefined;
    this.#reader = undefined;
  }
}

function frameReader(bytes: Uint8Array, limits: CodecLimits | undefined): Reader {
  const { maxDepth = MAX_DEPTH, maxElements = MAX_ELEMENTS, maxFrameValues = MAX_FRAME_VALUES } = limits ?? {};
  return new Reader(bytes, { maxDepth, maxElements, maxValues: maxFrameValues });
}

function decodeFrame(bytes: Uint8Array, start: number, size: number, reader: Reader): Frame {
  const offset = bytes[start + 4] * 4;
  const type = bytes[start + 5];
  if (offset < FRAME_HEADER_SIZE || offset > size) {
    throw framingError("frame", `a data offset of ${offset} does not fit into a size of ${size}`);
  }
  if (type !== 0 && type !== 1) throw framingError("frame", `0x${hexByte(type)} is not a type of frame`);
  // SASL has no channels, and the bytes in their place are ignored [security 5.3.1].
  const channel = type === 0 ? bytes[start + 6] << 8 | bytes[start + 7] : 0;
  if (offset === size) return { type, channel, body: undefined, payload: undefined, size };
  reader.window(start + offset, start + size);
  reader.skips = true;
  const body = decodeProvider(reader, type === 0 ? archetypes.frame : archetypes.saslFrame);
  if (body.kind !== "transfer" && reader.remaining > 0) {
    throw reader.fail(`${reader.remaining} bytes follow the ${body.kind}`);
  }
  const rest = body.kind === "transfer" ? reader.rest() : undefined;
  const payload = rest !== undefined && rest.length < leastView(bytes.buffer.byteLength) ? new Uint8Array(rest) : rest;
  return { type, channel, body: body as Performative | SaslFrameBody, payload, size };
}

// The protocol of a wrong port, by its first bytes.
function speaker([first, second, , , fifth]: Uint8Array): string {
  if (first === 0x48 && second === 0x54) return ", it is HTTP";
  if (second === 3) return ", it is TLS";
  return fifth === 1 ? ", it is OpenWire" : "";
}

function framingError(subject: string, problem: string): AmqpError {
  return new AmqpError(condition.framingError, `Cannot decode ${subject}: ${problem}`);
}
