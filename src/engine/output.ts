/**
 * Outgoing frames: their size limits, and which of them wait for the peer's open.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { encodeComposite } from "../codec/composite.ts";
import { kept, MAX_TRANSFER_HEAD_BYTES, writeTransfer } from "../codec/fast_path.ts";
import { beginFrame, endFrame } from "../codec/frame.ts";
import { MIN_MAX_FRAME_SIZE } from "../codec/limits.ts";
import type { Performative, Transfer } from "../codec/types.ts";
import type { Writer } from "../codec/writer.ts";
import type { FrameTrace } from "./events.ts";
import { type FrameEndpoint, shortened } from "./fault.ts";
import { DEFAULT_FLUSH_BYTES } from "./options.ts";

interface HeldFrame {
  readonly channel: number;
  readonly body: Performative;
  readonly endpoint: FrameEndpoint;
}

export class Output {
  readonly writer: Writer;
  /** Bytes of a flush. */
  flushBytes: number = DEFAULT_FLUSH_BYTES;

  readonly #transferLimit: number;
  readonly #trace: ((frame: FrameTrace) => void) | undefined;
  #limit = MIN_MAX_FRAME_SIZE;
  #opened = false;
  #closed = false;
  #held: HeldFrame[] | undefined;
  #untraced: FrameTrace[] | undefined;

  /** Starts with the frame size that every peer accepts; transfers never exceed `transferLimit`. */
  constructor(transferLimit: number, trace: ((frame: FrameTrace) => void) | undefined, writer: Writer) {
    this.writer = writer;
    this.#transferLimit = transferLimit;
    this.#trace = trace;
  }

  /**
   * True when the next transfer does not fit the flush; the first frame of a flush always does.
   *
   * A flush leaves as one WebSocket message, so the peer need not put frames together again.
   */
  full(payloadBytes: number): boolean {
    const { length } = this.writer;
    const frameBytes = Math.min(payloadBytes + MAX_TRANSFER_HEAD_BYTES, this.#limit, this.#transferLimit);
    return length > 0 && length + frameBytes > this.flushBytes;
  }

  /** Writes an open of at most `atLeast` bytes, or more if the peer is known to accept more. */
  open(body: Performative, atLeast: number): void {
    if (this.#write(0, body, Math.max(atLeast, this.#limit))) return;
    throw new AmqpError(
      condition.frameSizeTooSmall,
      `Cannot open connection: open is larger than ${atLeast} bytes, shorten its properties`,
    );
  }

  /** Writes a close, the last frame of all [transport 2.4.3]. */
  close(body: Performative): void {
    this.#write(0, body, this.#limit);
    this.#closed = true;
    this.#held = undefined;
  }

  /** Writes an empty frame, which keeps the connection alive [transport 2.4.5]. */
  keepAlive(): void {
    endFrame(this.writer, beginFrame(this.writer, 0, 0));
    this.#note(0, undefined, 0);
  }

  /**
   * Writes a frame of `endpoint`. Before the peer's open only frames that every peer accepts go out; the first other frame
   * waits, and all behind it.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the frame is larger than the peer accepts.
   */
  write(channel: number, body: Performative, endpoint: FrameEndpoint): void {
    if (this.#closed) return;
    if (this.#held === undefined && (this.#opened || channel === 0) && this.#write(channel, body, this.#limit)) return;
    if (this.#opened) throw this.#tooLarge(body);
    this.checkHeld(body);
    (this.#held ??= []).push({ channel, body, endpoint });
  }

  /**
   * Checks that a frame which is to wait can be encoded: later there is no caller whose mistake it would be. What an error
   * carries is cut to what can.
   *
   * @throws {TypeError | RangeError} If the body holds a value that AMQP cannot express.
   */
  checkHeld(body: Performative): void {
    if (!("error" in body)) this.#measure(body);
  }

  /** Writes the frames that have waited, now that the peer's limits are known. */
  peerOpened(maxFrameSize: number, channelMax: number): void {
    this.#limit = maxFrameSize;
    this.#opened = true;
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const { channel, body, endpoint } of held) {
      // Abandoned because of an earlier frame.
      if (endpoint.state === "ended" || endpoint.state === "detached") continue;
      if (channel > channelMax) {
        endpoint.abandon(
          new AmqpError(condition.resourceLimitExceeded, `Cannot begin session: peer takes only ${channelMax + 1}`, {
            scope: "session",
          }),
        );
      } else if (!this.#write(channel, body, this.#limit)) {
        endpoint.abandon(this.#tooLarge(body));
      }
    }
  }

  /**
   * Checks that the peer accepts a frame with this body.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if it does not.
   * @throws {TypeError | RangeError} If the body holds a value that AMQP cannot express.
   */
  check(body: Performative): void {
    if (this.#measure(body) > this.#limit) throw this.#tooLarge(body);
  }

  /**
   * Writes one transfer with as much of `payload` as fits, and returns the bytes of it that were written.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if not a byte of payload fits.
   */
  transfer(channel: number, transfer: Transfer, payload: Uint8Array): number {
    const { writer } = this;
    const limit = Math.min(this.#limit, this.#transferLimit);
    if (payload.length >= limit) transfer.more = true;
    let start = this.#begin(channel, transfer);
    let room = limit - (writer.length - start);
    if (payload.length > room && !transfer.more) {
      writer.truncate(start);
      transfer.more = true;
      start = this.#begin(channel, transfer);
      room = limit - (writer.length - start);
    }
    if (room < 0 || (room === 0 && payload.length > 0)) {
      writer.truncate(start);
      throw this.#tooLarge(transfer);
    }
    const part = payload.length > room ? payload.subarray(0, room) : payload;
    writer.append(part);
    endFrame(writer, start);
    this.#note(channel, transfer, part.length);
    return part.length;
  }

  /** Traces the frames that leave now: those that waited for SASL leave after the frames of SASL. */
  trace(): void {
    const untraced = this.#untraced;
    if (untraced === undefined) return;
    this.#untraced = undefined;
    for (const frame of untraced) this.#trace?.(frame);
  }

  #write(channel: number, body: Performative, limit: number): boolean {
    const { writer } = this;
    const start = writer.length;
    let sent = body;
    while (!this.#fits(channel, sent, limit)) {
      // A frame that carries an error must go out, if need be with less of an explanation.
      if (!("error" in sent) || sent.error === undefined) return false;
      sent = { ...sent, error: shortened(sent.error) };
    }
    endFrame(writer, start);
    this.#note(channel, sent, 0);
    return true;
  }

  #fits(channel: number, body: Performative, limit: number): boolean {
    let start: number;
    try {
      start = this.#begin(channel, body);
    } catch (error) {
      // An error's `info` is whatever its thrower put there.
      if ("error" in body && body.error !== undefined) return false;
      throw error;
    }
    if (this.writer.length - start <= limit) return true;
    this.writer.truncate(start);
    return false;
  }

  #note(channel: number, body: Performative | undefined, payloadBytes: number): void {
    if (this.#trace === undefined) return;
    (this.#untraced ??= []).push({ direction: "out", channel, body: kept(body), payloadBytes });
  }

  #measure(body: Performative): number {
    const start = this.#begin(0, body);
    const size = this.writer.length - start;
    this.writer.truncate(start);
    return size;
  }

  #begin(channel: number, body: Performative): number {
    const start = beginFrame(this.writer, 0, channel);
    try {
      if (body.kind !== "transfer" || !writeTransfer(this.writer, body)) encodeComposite(this.writer, body);
    } catch (error) {
      // Half a frame would garble all that follows.
      this.writer.truncate(start);
      throw error;
    }
    return start;
  }

  #tooLarge(body: Performative): AmqpError {
    const limit = body.kind === "transfer" ? Math.min(this.#limit, this.#transferLimit) : this.#limit;
    return new AmqpError(
      condition.frameSizeTooSmall,
      `Cannot send ${body.kind}: it does not fit the peer's max-frame-size of ${limit}`,
      { scope: body.kind === "disposition" ? "delivery" : "link" },
    );
  }
}
