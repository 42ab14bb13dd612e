/**
 * The payload of a received delivery, read as it arrives. A file of its own, which loads when a receiver asks for streams.
 *
 * @module
 */

import { Fifo } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError } from "../base/errors.ts";
import { sections } from "../codec/definitions.ts";
import { isBody } from "../codec/generous.ts";
import { DecodedMessage, decodeMessage } from "../codec/message.ts";
import type { CodecLimits } from "../codec/reader.ts";
import { SectionScanner } from "../codec/section_scanner.ts";
import type { DeliveryState, ErrorFields } from "../codec/types.ts";
import { GrowingBytes } from "../engine/incoming_transfers.ts";
import { DEFAULT_MAX_MESSAGE_SIZE } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import { DeliveryStreams, type HeldTransfers, type PayloadSink } from "../engine/transfer_streams.ts";

/** Most bytes of a streamed message that stand before its body, and most behind it: they are held and decoded as a whole. */
export const MAX_HEAD_BYTES = 1_048_576;

/** The receiver of streams: what one of them asks of it. */
export interface StreamingReceiver {
  /** What is decoded, at most, and who is told that the window may be told. */
  readonly connection: { readonly limits: CodecLimits | undefined; wake(): void };
  /** The node for errors. */
  readonly where: string;
}

/** The delivery of a stream: what the stream asks of it when its reader has had enough. */
export interface StreamedDelivery {
  /** Whether it is settled by calls, rather than by what a loop or handler does. */
  readonly byHand: boolean;
  /** True while it can be settled. */
  readonly usable: boolean;
  /** What was told about it. */
  readonly outcome: DeliveryState | undefined;
  /** Hands the message back. */
  release(): void;
  /** Tells the sender that the message is invalid. */
  reject(error?: AmqpError | ErrorFields): void;
}

/** Has the deliveries that come on `endpoint` read as they arrive. */
export function takeStreams(endpoint: ReceiverEndpoint, receiver: StreamingReceiver): void {
  const most = Number(endpoint.local?.maxMessageSize || DEFAULT_MAX_MESSAGE_SIZE);
  endpoint.streams = new DeliveryStreams(endpoint, (incoming, held) => {
    const payload = new StreamedPayload(incoming.messageFormat, held, receiver, most);
    incoming.context = payload;
    return payload;
  });
}

// A frame, or what is left of it, and what is released once it is read.
interface Piece {
  readonly bytes: Uint8Array;
  readonly transfers: number;
  readonly held: number;
}

/** The sections before the body, of a message whose body comes later. */
class MessageHead extends DecodedMessage {
  constructor(bytes: Uint8Array, limits: CodecLimits | undefined) {
    super(bytes, limits);
    // Null would be the body of a message without one.
    this.body = undefined as never;
  }

  override text(): never {
    throw early("text()");
  }

  override json(): never {
    throw early("json()");
  }

  override bytes(): never {
    throw early("bytes()");
  }
}

function early(call: string): TypeError {
  return new TypeError(
    `Cannot read body at once: the message is streamed, await delivery.${call} or read delivery.stream()`,
  );
}

/** The payload of one delivery. */
export class StreamedPayload implements PayloadSink {
  /** True once the last frame has come. */
  ended = false;

  readonly #format: number;
  readonly #held: HeldTransfers;
  readonly #receiver: StreamingReceiver;
  readonly #limits: CodecLimits | undefined;
  readonly #most: number;
  readonly #scanner: SectionScanner;
  readonly #pieces = new Fifo<Piece>();

  // The sections before the body, as long as they are not all there, and how far they were looked at.
  #head: GrowingBytes | undefined;
  #headAt = 0;
  #headHeld = 0;
  #headBytes: Uint8Array | undefined;
  #message: DecodedMessage | undefined;
  #whole: Uint8Array | undefined;
  #fault: Error | undefined;
  #isValue = false;

  // What is read now, and what is released with its end.
  #rest: Uint8Array = new Uint8Array(0);
  #restPiece: Piece | undefined;
  // Bytes left of the data section that is read now.
  #left = 0;
  // A section of which the beginning is there, and those that were read behind the body.
  #begun: GrowingBytes | undefined;
  readonly #after = new GrowingBytes();

  #reading = false;
  #dropped = false;
  #aborted = false;
  #collecting: Promise<DecodedMessage> | undefined;
  #onbegun: (() => void) | undefined;
  #onaborted: ((error: Error) => void) | undefined;
  #onchange: (() => void) | undefined;

  /** Starts before the first frame. */
  constructor(format: number, held: HeldTransfers, receiver: StreamingReceiver, most: number) {
    this.#format = format;
    this.#held = held;
    this.#receiver = receiver;
    this.#limits = receiver.connection.limits;
    this.#most = most;
    this.#scanner = new SectionScanner(this.#limits);
    // Only its format tells what the bytes mean [messaging 3.2.16].
    if (format !== 0) this.#begin(new Uint8Array(0));
  }

  /** The sections before the body; once it was collected, and once a stream was read to its end, also those behind it. */
  get message(): DecodedMessage {
    if (this.#message === undefined) throw this.#fault!;
    return this.#message;
  }

  /** Why the bytes are no message that this side takes, if so. */
  get undecodable(): AmqpError | undefined {
    const fault = this.#fault;
    const isSenders = fault instanceof AmqpError && !(fault instanceof OutcomeError);
    return isSenders && fault.condition !== condition.messageSizeExceeded ? fault : undefined;
  }

  /** The encoded message, once it was collected. */
  get bytes(): Uint8Array {
    if (this.#whole !== undefined) return this.#whole;
    throw new TypeError("Cannot hand out payload: the message is streamed, await delivery.bytes() before");
  }

  /** Tells when the sections before the body are there, and when the sender gives the delivery up. */
  listen(onbegun: () => void, onaborted: (error: Error) => void): void {
    if (this.#aborted) return onaborted(this.#fault!);
    this.#onaborted = onaborted;
    if (this.#hasBegun()) onbegun();
    else this.#onbegun = onbegun;
  }

  /** The bytes of the body, for one reader. */
  stream(delivery: StreamedDelivery): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#take();
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (controller) => this.#pull(controller),
      cancel: (reason) => {
        this.drop();
        // What a loop or handler does tells its outcome.
        if (!delivery.byHand || delivery.outcome !== undefined || !delivery.usable) return;
        if (reason instanceof AmqpError) delivery.reject(reason);
        else delivery.release();
      },
    }, { highWaterMark: 0 });
    return Symbol.asyncIterator in stream ? stream : iterable(stream);
  }

  /**
   * The whole message, as an ordinary delivery has it at once.
   *
   * @throws {AmqpError} With `amqp:link:message-size-exceeded` if it is larger than what is taken of a message.
   */
  collect(): Promise<DecodedMessage> {
    if (this.#collecting === undefined) {
      this.#take();
      this.#collecting = this.#collect();
    }
    return this.#collecting;
  }

  /** Nobody reads any more: what is held is released, what still comes is dropped. */
  drop(): void {
    this.#dropped = true;
    if (this.#restPiece !== undefined) this.#release(this.#restPiece);
    this.#restPiece = undefined;
    this.#rest = new Uint8Array(0);
    for (const piece of this.#pieces.clear()) this.#release(piece);
  }

  /** The delivery is settled: a reader goes on, but where there is none there will be none. */
  settled(): void {
    if (!this.#reading) this.drop();
  }

  /** Nothing more comes, because of `cause`; what is whole can still be read. */
  fail(cause: Error): void {
    if (this.ended) return;
    this.#fail(
      new OutcomeError(
        "lost",
        cause instanceof AmqpError ? cause.condition : condition.illegalState,
        `Cannot read delivery of ${this.#receiver.where}: ${cause.message}; the sender hands the message out again`,
        { cause, retryable: false },
      ),
    );
  }

  /** {@inheritDoc PayloadSink.write} */
  write(payload: Uint8Array): void {
    const piece = { bytes: payload, transfers: 1, held: payload.length };
    if (this.#dropped) return this.#release(piece);
    try {
      if (this.#hasBegun()) this.#pieces.push(piece);
      else this.#writeHead(payload);
    } catch (error) {
      this.#release(piece);
      this.#fail(error as Error);
    }
    this.#changed();
  }

  /** {@inheritDoc PayloadSink.end} */
  end(): void {
    this.ended = true;
    if (!this.#hasBegun()) {
      // It has no body, or ends in the middle.
      try {
        this.#begin(this.#head?.bytes() ?? new Uint8Array(0));
      } catch (error) {
        this.#fail(error as Error);
      }
      this.#held.release(0, this.#headHeld);
    }
    this.#changed();
  }

  /** {@inheritDoc PayloadSink.abort} */
  abort(): void {
    const text = `Cannot read delivery of ${this.#receiver.where}: its sender has aborted it`;
    const error = new OutcomeError("lost", condition.illegalState, text, { remote: true, retryable: false });
    this.#aborted = true;
    this.#fail(error);
    this.#onbegun = undefined;
    this.#onaborted?.(error);
  }

  #hasBegun(): boolean {
    return this.#message !== undefined || this.#fault !== undefined;
  }

  #take(): void {
    if (this.#reading) throw new TypeError("Cannot read body: it is read already");
    if (this.#dropped && this.#fault === undefined) {
      throw new TypeError("Cannot read body: the delivery was settled before, and the message dropped");
    }
    this.#reading = true;
  }

  // Sections before the body in bytes of their own, so that they keep no frame alive.
  #begin(head: Uint8Array): void {
    this.#headBytes = head.slice();
    this.#message = new MessageHead(this.#headBytes, this.#limits);
    this.#tellBegun();
  }

  #tellBegun(): void {
    this.#onbegun?.();
    this.#onbegun = undefined;
  }

  #writeHead(payload: Uint8Array): void {
    // Nearly always they are all in the first frame.
    let bytes = payload;
    if (this.#head !== undefined) {
      this.#head.append(payload, true);
      bytes = this.#head.bytes();
    }
    for (;;) {
      const found = this.#headAt < bytes.length ? this.#scanner.scan(bytes, this.#headAt) : undefined;
      if (found !== undefined && isBody(found.section)) {
        const at = this.#headAt;
        this.#isValue = found.section !== sections.data.code;
        // Its own section is passed when it is read.
        this.#begin(bytes.subarray(0, at));
        this.#pieces.push({ bytes: bytes.subarray(at), transfers: 1, held: this.#headHeld + payload.length });
        this.#headHeld = 0;
        this.#head = undefined;
        return;
      }
      if (found === undefined || found.end > bytes.length) break;
      this.#scanner.pass(found);
      this.#headAt = found.end;
    }
    if (bytes.length > MAX_HEAD_BYTES) throw this.#tooLarge("before");
    if (this.#head === undefined) (this.#head = new GrowingBytes()).append(payload, true);
    // The window goes on, or a head of many small frames would wait for itself.
    this.#headHeld += payload.length;
    this.#held.release(1, 0);
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#isValue) return await this.#pullValue(controller);
      let chunk: Uint8Array | undefined;
      try {
        chunk = this.#next();
        if (chunk === undefined && this.ended) {
          this.#finish();
          return controller.close();
        }
      } catch (error) {
        this.#fail(error as Error);
        throw error;
      }
      if (chunk !== undefined) return controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
      await this.#change();
    }
  }

  // Only as a whole a value or a sequence has bytes, if it has.
  async #pullValue(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    const bytes = (await (this.#collecting ??= this.#collect())).bytes();
    if (bytes.length > 0) controller.enqueue(bytes);
    controller.close();
  }

  // The next bytes of the body that are there.
  #next(): Uint8Array | undefined {
    while (this.#fill()) {
      const isRaw = this.#format !== 0;
      if (isRaw || this.#left > 0) {
        const chunk = isRaw ? this.#rest : this.#rest.subarray(0, this.#left);
        if (!isRaw) this.#left -= chunk.length;
        this.#advance(chunk.length);
        return chunk;
      }
      this.#readSection();
    }
    return undefined;
  }

  #readSection(): void {
    let bytes = this.#rest;
    const begun = this.#begun;
    if (begun !== undefined) {
      begun.append(bytes, true);
      bytes = begun.bytes();
      this.#advance(this.#rest.length);
    }
    const found = this.#scanner.scan(bytes, 0);
    const isData = found?.section === sections.data.code;
    if (found === undefined || !isData && found.end > bytes.length) {
      if (bytes.length > MAX_HEAD_BYTES) throw this.#tooLarge("behind");
      if (begun !== undefined) return;
      (this.#begun = new GrowingBytes()).append(bytes, true);
      return this.#advance(bytes.length);
    }
    this.#scanner.pass(found);
    if (isData) this.#left = found.end - found.start;
    else this.#after.append(bytes.subarray(0, found.end), true);
    if (this.#after.size > MAX_HEAD_BYTES) throw this.#tooLarge("behind");
    const read = isData ? found.start : found.end;
    if (begun === undefined) return this.#advance(read);
    // What it was put together from is released.
    this.#begun = undefined;
    this.#rest = bytes.subarray(read);
    this.#restPiece = { bytes: this.#rest, transfers: 0, held: 0 };
    this.#advance(0);
  }

  // What stands behind the body, such as the footer.
  #finish(): void {
    if (this.#left > 0 || this.#begun !== undefined) {
      throw new AmqpError(condition.decodeError, "Cannot decode message: it ends in the middle of a section", {
        scope: "delivery",
      });
    }
    if (this.#after.size === 0) return;
    const { body: _, ...after } = decodeMessage(this.#after.bytes(), this.#limits);
    for (const [name, section] of Object.entries(after)) {
      if (section !== undefined) Object.assign(this.#message!, { [name]: section });
    }
  }

  #fill(): boolean {
    if (this.#restPiece !== undefined) return true;
    const piece = this.#pieces.shift();
    if (piece === undefined) return false;
    this.#restPiece = piece;
    this.#rest = piece.bytes;
    this.#advance(0);
    return this.#restPiece !== undefined || this.#fill();
  }

  #advance(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    if (this.#rest.length > 0 || this.#restPiece === undefined) return;
    this.#release(this.#restPiece);
    this.#restPiece = undefined;
  }

  async #collect(): Promise<DecodedMessage> {
    const all = new GrowingBytes();
    if (this.#headBytes !== undefined) all.append(this.#headBytes, true);
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault;
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#release(piece);
        if (all.size + piece.bytes.length > this.#most) {
          const error = new AmqpError(
            condition.messageSizeExceeded,
            `Cannot collect message of ${this.#receiver.where}: it has more than ${this.#most} bytes, read delivery.stream()`,
            { scope: "delivery" },
          );
          this.#fail(error);
          throw error;
        }
        all.append(piece.bytes, !this.ended || this.#pieces.length > 0);
      } else if (this.ended) break;
      else await this.#change();
    }
    this.#whole = all.bytes();
    try {
      this.#message = this.#format === 0 ? decodeMessage(this.#whole, this.#limits) : rawMessage(this.#whole);
      return this.#message;
    } catch (error) {
      this.#fault = error as Error;
      this.#message = undefined;
      throw error;
    }
  }

  #tooLarge(where: string): AmqpError {
    return new AmqpError(
      condition.resourceLimitExceeded,
      `Cannot take message: sections ${where} the body have more than ${MAX_HEAD_BYTES} bytes`,
      { scope: "delivery" },
    );
  }

  #fail(error: Error): void {
    if (this.#fault !== undefined) return;
    this.#fault = error;
    this.#held.release(0, this.#headHeld);
    this.#headHeld = 0;
    this.#head = this.#begun = undefined;
    this.drop();
    this.#tellBegun();
    this.#changed();
  }

  #release({ transfers, held }: Piece): void {
    this.#held.release(transfers, held);
    this.#receiver.connection.wake();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#onchange = resolve);
  }

  #changed(): void {
    this.#onchange?.();
    this.#onchange = undefined;
  }
}

function rawMessage(payload: Uint8Array): DecodedMessage {
  const message = new DecodedMessage(new Uint8Array(0));
  message.body = payload;
  return message;
}

// Not all runtimes can iterate over a stream.
function iterable<T>(stream: ReadableStream<T>): ReadableStream<T> {
  async function* values(): AsyncGenerator<T, void, void> {
    const reader = stream.getReader();
    let done = false;
    try {
      for (;;) {
        const next = await reader.read();
        if (next.done) return void (done = true);
        yield next.value;
      }
    } finally {
      if (!done) await reader.cancel();
    }
  }
  return Object.defineProperty(stream, Symbol.asyncIterator, { value: values, configurable: true });
}
