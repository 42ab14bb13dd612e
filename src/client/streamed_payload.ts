/**
 * The payload of a received delivery, read as it arrives. A file of its own, which loads when a receiver asks for streams.
 *
 * @module
 */

import { concat } from "@std/bytes";
import { Fifo } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError } from "../base/errors.ts";
import { sections } from "../codec/definitions.ts";
import type { Message } from "../codec/message.ts";
import { sectionAt, undecodable } from "../codec/section_bounds.ts";
import type { DeliveryState, ErrorFields } from "../codec/types.ts";
import { DEFAULT_MAX_MESSAGE_SIZE } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import { DeliveryStreams, type HeldTransfers, type PayloadSink } from "../engine/transfer_streams.ts";

/** Most bytes of a streamed message that stand before its body, and most behind it: they are held and decoded as a whole. */
export const MAX_MESSAGE_HEAD_BYTES = 1_048_576;

/** The receiver of streams: what one of them asks of it. */
export interface StreamingReceiver {
  /** Told that the window may have grown. */
  readonly connection: { wake(): void };
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
  /** The message, as far as it is known. */
  readonly message: Message;
  decode(bytes: Uint8Array): Message;
  /** The whole body as bytes. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
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

// The beginning of a section, or of several, in the parts in which it came. They are put together when as much is there as
// a section is known to need, so that many small parts cost no more than their bytes.
class Begun {
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  #needed = 0;

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#size += part.length;
  }

  /** How many bytes there are. */
  get size(): number {
    return this.#size;
  }

  /** All bytes, once there may be enough. */
  get enough(): Uint8Array | undefined {
    return this.#size < this.#needed ? undefined : this.all;
  }

  /** All bytes. */
  get all(): Uint8Array {
    if (this.#parts.length > 1) this.#parts.splice(0, this.#parts.length, concat(this.#parts));
    return this.#parts[0]!;
  }

  need(bytes: number): void {
    this.#needed = Math.max(this.#size + 1, bytes);
  }
}

/** The payload of one delivery. */
export class StreamedPayload implements PayloadSink {
  /** True once the last frame has come. */
  ended = false;

  readonly #format: number;
  readonly #held: HeldTransfers;
  readonly #receiver: StreamingReceiver;
  readonly #most: number;
  readonly #pieces = new Fifo<Piece>();

  // The sections before the body, as long as they are not all there, and how far they were looked at.
  #begunHead: Begun | undefined;
  #headAt = 0;
  #headHeld = 0;
  #head: Uint8Array | undefined;
  #fault: Error | undefined;
  #isValue = false;

  // What is read now, and what is released with its end.
  #rest: Uint8Array = new Uint8Array(0);
  #restPiece: Piece | undefined;
  // Bytes left of the data section that is read now.
  #left = 0;
  // A section of which the beginning is there, and those that were read behind the body.
  #begun: Begun | undefined;
  readonly #after: Uint8Array[] = [];
  #afterBytes = 0;

  #reading = false;
  #dropped = false;
  #aborted = false;
  #collecting: Promise<Uint8Array> | undefined;
  #onbegun: (() => void) | undefined;
  #onaborted: ((error: Error) => void) | undefined;
  #onchange: (() => void) | undefined;

  /** Starts before the first frame. */
  constructor(format: number, held: HeldTransfers, receiver: StreamingReceiver, most: number) {
    this.#format = format;
    this.#held = held;
    this.#receiver = receiver;
    this.#most = most;
    // Only its format tells what the bytes mean [messaging 3.2.16].
    if (format !== 0) this.#begin(new Uint8Array(0));
  }

  /** The sections before the body, encoded. */
  get head(): Uint8Array {
    if (this.#head === undefined) throw this.#fault!;
    return this.#head;
  }

  /** Why the bytes are no message that this side takes, if so. */
  get undecodable(): AmqpError | undefined {
    const fault = this.#fault;
    const isSenders = fault instanceof AmqpError && !(fault instanceof OutcomeError);
    return isSenders && fault.condition !== condition.messageSizeExceeded ? fault : undefined;
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
      pull: (controller) => this.#pull(controller, delivery),
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
   * The whole message, encoded, as an ordinary delivery has it at once.
   *
   * @throws {AmqpError} With `amqp:link:message-size-exceeded` if it is larger than what is taken of a message.
   */
  collect(): Promise<Uint8Array> {
    if (this.#collecting === undefined) this.#take();
    return this.#collecting ??= this.#collect();
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
    // A delivery whose head is not there yet is handed to nobody.
    this.#onbegun = undefined;
    this.#fail(
      new OutcomeError(
        "lost",
        cause instanceof AmqpError ? cause.condition : condition.illegalState,
        `Cannot read delivery of ${this.#receiver.where}: ${cause.message}; the sender hands the message out again`,
        { cause, retryable: false },
      ),
    );
  }

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

  end(): void {
    this.ended = true;
    if (!this.#hasBegun()) {
      // The message has no body, or ends in the middle.
      this.#begin(this.#begunHead === undefined ? new Uint8Array(0) : this.#begunHead.all);
      this.#held.release(0, this.#headHeld);
    }
    this.#changed();
  }

  abort(): void {
    const text = `Cannot read delivery of ${this.#receiver.where}: its sender has aborted it`;
    const error = new OutcomeError("lost", condition.illegalState, text, { remote: true, retryable: false });
    this.#aborted = true;
    // A delivery whose head is not there yet is handed to nobody.
    this.#onbegun = undefined;
    this.#fail(error);
    this.#onaborted?.(error);
  }

  #hasBegun(): boolean {
    return this.#head !== undefined || this.#fault !== undefined;
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
    this.#head = head.slice();
    this.#tellBegun();
  }

  #tellBegun(): void {
    this.#onbegun?.();
    this.#onbegun = undefined;
  }

  #writeHead(payload: Uint8Array): void {
    // Nearly always they are all in the first frame.
    this.#begunHead?.add(payload);
    const bytes = this.#begunHead === undefined ? payload : this.#begunHead.enough;
    let needed = 0;
    while (bytes !== undefined) {
      const at = this.#headAt;
      const found = at < bytes.length ? sectionAt(bytes, at) : undefined;
      if (found !== undefined && found.section >= sections.data.code && found.section <= sections.value.code) {
        this.#isValue = found.section !== sections.data.code;
        this.#begin(bytes.subarray(0, at));
        this.#pieces.push({ bytes: bytes.subarray(at), transfers: 1, held: this.#headHeld + payload.length });
        this.#headHeld = 0;
        this.#begunHead = undefined;
        return;
      }
      if (found === undefined || found.end > bytes.length) {
        needed = found?.end ?? 0;
        break;
      }
      this.#headAt = found.end;
    }
    if (this.#begunHead === undefined) (this.#begunHead = new Begun()).add(payload);
    if (bytes !== undefined) this.#begunHead.need(needed);
    if (Math.max(needed, this.#begunHead.size) > MAX_MESSAGE_HEAD_BYTES) throw this.#tooLarge("before");
    // The window goes on, or a head of many small frames would wait for itself.
    this.#headHeld += payload.length;
    this.#held.release(1, 0);
  }

  async #pull(
    controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
    delivery: StreamedDelivery,
  ): Promise<void> {
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#isValue) {
        // Only as a whole a value or a sequence has bytes, if it has.
        this.#collecting ??= this.#collect();
        const bytes = await delivery.bytes();
        if (bytes.length > 0) controller.enqueue(bytes);
        return controller.close();
      }
      let chunk: Uint8Array | undefined;
      try {
        chunk = this.#next();
        if (chunk === undefined && this.ended) {
          this.#finish(delivery);
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
    const begun = this.#begun;
    let bytes: Uint8Array | undefined = this.#rest;
    if (begun !== undefined) {
      begun.add(bytes);
      this.#advance(bytes.length);
      bytes = begun.enough;
      if (bytes === undefined) return;
    }
    const found = sectionAt(bytes, 0);
    const isData = found?.section === sections.data.code;
    if (found?.end === Infinity) throw undecodable("the body is of two kinds");
    if (isData && this.#after.length > 0) throw undecodable("a section occurs twice");
    if (found === undefined || !isData && found.end > bytes.length) {
      const needed = found?.end ?? 0;
      if (Math.max(needed, bytes.length) > MAX_MESSAGE_HEAD_BYTES) throw this.#tooLarge("behind");
      if (begun === undefined) {
        (this.#begun = new Begun()).add(bytes);
        this.#advance(bytes.length);
      }
      return this.#begun!.need(needed);
    }
    if (isData) this.#left = found.end - found.start;
    else this.#keepAfter(bytes.subarray(0, found.end));
    const read = isData ? found.start : found.end;
    if (begun === undefined) return this.#advance(read);
    // What it was put together from is released.
    this.#begun = undefined;
    this.#rest = bytes.subarray(read);
    this.#restPiece = { bytes: this.#rest, transfers: 0, held: 0 };
    this.#advance(0);
  }

  #keepAfter(section: Uint8Array): void {
    this.#after.push(section);
    this.#afterBytes += section.length;
    if (this.#afterBytes > MAX_MESSAGE_HEAD_BYTES) throw this.#tooLarge("behind");
  }

  // What stands behind the body, such as the footer.
  #finish(delivery: StreamedDelivery): void {
    if (this.#left > 0 || this.#begun !== undefined) {
      throw undecodable("it ends in the middle of a section");
    }
    if (this.#after.length === 0) return;
    const { message } = delivery;
    const { body: _, ...after } = delivery.decode(concat(this.#after));
    for (const [name, section] of Object.entries(after)) {
      if (section === undefined) continue;
      if (message[name as keyof Message] !== undefined) throw undecodable("a section occurs twice");
      Object.assign(message, { [name]: section });
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

  async #collect(): Promise<Uint8Array> {
    const parts = [this.#head ?? new Uint8Array(0)];
    let size = parts[0]!.length;
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault;
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        parts.push(piece.bytes);
        size += piece.bytes.length;
        this.#release(piece);
        if (size > this.#most) {
          const text =
            `Cannot collect message of ${this.#receiver.where}: it has more than ${this.#most} bytes, read delivery.stream()`;
          this.#fail(new AmqpError(condition.messageSizeExceeded, text, { scope: "delivery" }));
        }
      } else if (this.ended) return concat(parts);
      else await this.#change();
    }
  }

  #tooLarge(where: string): AmqpError {
    return new AmqpError(
      condition.resourceLimitExceeded,
      `Cannot take message: sections ${where} the body have more than ${MAX_MESSAGE_HEAD_BYTES} bytes`,
      { scope: "delivery" },
    );
  }

  #fail(error: Error): void {
    if (this.#fault !== undefined) return;
    this.#fault = error;
    this.#held.release(0, this.#headHeld);
    this.#headHeld = 0;
    this.#begunHead = this.#begun = undefined;
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
