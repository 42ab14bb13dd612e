/**
 * The payload of a received delivery, read as it arrives. A file of its own, loaded with the first streaming receiver.
 *
 * @module
 */

import { joined } from "../codec/primitives.ts";
import { Fifo } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError } from "../base/errors.ts";
import { sections } from "../codec/definitions.ts";
import type { Message } from "../codec/message.ts";
import { sectionAt, undecodable } from "../codec/section_bounds.ts";
import type { DeliveryState, ErrorFields } from "../codec/types.ts";
import { DEFAULT_MAX_MESSAGE_SIZE } from "../codec/limits.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import { DeliveryStreams, type HeldTransfers, type PayloadSink } from "../engine/transfer_streams.ts";

/** Most bytes of a streamed message before its body, and most behind it, which are held and decoded as a whole. */
const MAX_MESSAGE_HEAD_BYTES = 1_048_576;

export interface StreamingReceiver {
  /** Woken when the window may have grown. */
  readonly connection: { wake(): void };
  readonly where: string;
}

/** The delivery of a payload, settled when its reader cancels. */
export interface StreamedDelivery {
  /** Whether the caller settles, rather than a loop or handler. */
  readonly byHand: boolean;
  readonly usable: boolean;
  readonly outcome: DeliveryState | undefined;
  release(): void;
  reject(error?: AmqpError | ErrorFields): void;
  /** The message, as far as it has arrived. */
  readonly message: Message;
  decode(bytes: Uint8Array): Message;
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
}

/** Makes the deliveries of `endpoint` readable as they arrive. */
export function takeStreams(endpoint: ReceiverEndpoint, receiver: StreamingReceiver): void {
  const most = Number(endpoint.local?.maxMessageSize || DEFAULT_MAX_MESSAGE_SIZE);
  endpoint.streams = new DeliveryStreams(endpoint, (incoming, held) => {
    const payload = new StreamedPayload(incoming.messageFormat, held, receiver, most);
    incoming.context = payload;
    return payload;
  });
}

// A frame's payload, or the rest of it, with the counts to release once it is read.
interface Piece {
  readonly bytes: Uint8Array;
  readonly transfers: number;
  readonly held: number;
}

// The beginning of a section, or of several, in parts. They are joined once a section may be complete, so that many small
// parts cost no more than their bytes.
class IncompleteSection {
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  #needed = 0;

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#size += part.length;
  }

  get size(): number {
    return this.#size;
  }

  /** All bytes, once there may be enough. */
  get enough(): Uint8Array | undefined {
    return this.#size < this.#needed ? undefined : this.all;
  }

  get all(): Uint8Array {
    if (this.#parts.length > 1) this.#parts.splice(0, this.#parts.length, joined(this.#parts));
    return this.#parts[0]!;
  }

  need(bytes: number): void {
    this.#needed = Math.max(this.#size + 1, bytes);
  }
}

/** The payload of one delivery. */
export class StreamedPayload implements PayloadSink {
  /** True once the last frame has arrived. */
  ended = false;

  readonly #format: number;
  readonly #held: HeldTransfers;
  readonly #receiver: StreamingReceiver;
  readonly #most: number;
  readonly #pieces = new Fifo<Piece>();

  // The sections before the body, while incomplete, and the offset up to which they were examined.
  #incompleteHead: IncompleteSection | undefined;
  #headAt = 0;
  #headHeld = 0;
  #head: Uint8Array | undefined;
  #fault: Error | undefined;
  #isValue = false;

  // The unread rest of the current piece, and the piece to release at its end.
  #rest: Uint8Array = new Uint8Array(0);
  #restPiece: Piece | undefined;
  // Unread bytes of the current data section.
  #left = 0;
  // An incomplete section, and the sections behind the body.
  #incomplete: IncompleteSection | undefined;
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
    // The meaning of the bytes depends on the message format [messaging 3.2.16].
    if (format !== 0) this.#begin(new Uint8Array(0));
  }

  get head(): Uint8Array {
    if (this.#head === undefined) throw this.#fault!;
    return this.#head;
  }

  get undecodable(): AmqpError | undefined {
    const fault = this.#fault;
    const isSenders = fault instanceof AmqpError && !(fault instanceof OutcomeError);
    return isSenders && fault.condition !== condition.messageSizeExceeded ? fault : undefined;
  }

  /** Calls `onbegun` when the sections before the body are there, and `onaborted` when the sender aborts the delivery. */
  listen(onbegun: () => void, onaborted: (error: Error) => void): void {
    if (this.#aborted) return onaborted(this.#fault!);
    this.#onaborted = onaborted;
    if (this.#hasBegun()) onbegun();
    else this.#onbegun = onbegun;
  }

  /** The body as a stream, for one reader. */
  stream(delivery: StreamedDelivery): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#take();
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (controller) => this.#pull(controller, delivery),
      cancel: (reason) => {
        this.drop();
        // A loop or handler settles by itself.
        if (!delivery.byHand || delivery.outcome !== undefined || !delivery.usable) return;
        if (reason instanceof AmqpError) delivery.reject(reason);
        else delivery.release();
      },
    }, { highWaterMark: 0 });
    return Symbol.asyncIterator in stream ? stream : iterable(stream);
  }

  /**
   * The whole message, encoded, as on a receiver without streams.
   *
   * @throws {AmqpError} With `amqp:link:message-size-exceeded` if the message is larger than this side accepts.
   */
  collect(): Promise<Uint8Array> {
    if (this.#collecting === undefined) this.#take();
    return this.#collecting ??= this.#collect();
  }

  /** Releases the unread bytes, and drops those still to come. */
  drop(): void {
    this.#dropped = true;
    if (this.#restPiece !== undefined) this.#release(this.#restPiece);
    this.#restPiece = undefined;
    this.#rest = new Uint8Array(0);
    for (const piece of this.#pieces.clear()) this.#release(piece);
  }

  /** Called when the delivery is settled: a reader goes on; without one the payload is dropped. */
  settled(): void {
    if (!this.#reading) this.drop();
  }

  /** Ends an incomplete payload with an error because of `cause`; a complete one can still be read. */
  fail(cause: Error): void {
    if (this.ended) return;
    // A delivery whose head is incomplete has not reached the program.
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
      // The message has no body, or ends in the middle of a section.
      this.#begin(this.#incompleteHead === undefined ? new Uint8Array(0) : this.#incompleteHead.all);
      this.#held.release(0, this.#headHeld);
    }
    this.#changed();
  }

  abort(): void {
    const text = `Cannot read delivery of ${this.#receiver.where}: its sender has aborted it`;
    const error = new OutcomeError("lost", condition.illegalState, text, { remote: true, retryable: false });
    this.#aborted = true;
    // A delivery whose head is incomplete has not reached the program.
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

  // Copied, so that the head keeps no frame alive.
  #begin(head: Uint8Array): void {
    this.#head = head.slice();
    this.#tellBegun();
  }

  #tellBegun(): void {
    this.#onbegun?.();
    this.#onbegun = undefined;
  }

  #writeHead(payload: Uint8Array): void {
    // Nearly always the first frame has the whole head.
    this.#incompleteHead?.add(payload);
    const bytes = this.#incompleteHead === undefined ? payload : this.#incompleteHead.enough;
    let needed = 0;
    while (bytes !== undefined) {
      const at = this.#headAt;
      const found = at < bytes.length ? sectionAt(bytes, at) : undefined;
      if (found !== undefined && found.section >= sections.data.code && found.section <= sections.value.code) {
        this.#isValue = found.section !== sections.data.code;
        this.#begin(bytes.subarray(0, at));
        this.#pieces.push({ bytes: bytes.subarray(at), transfers: 1, held: this.#headHeld + payload.length });
        this.#headHeld = 0;
        this.#incompleteHead = undefined;
        return;
      }
      if (found === undefined || found.end > bytes.length) {
        needed = found?.end ?? 0;
        break;
      }
      this.#headAt = found.end;
    }
    if (this.#incompleteHead === undefined) (this.#incompleteHead = new IncompleteSection()).add(payload);
    if (bytes !== undefined) this.#incompleteHead.need(needed);
    if (Math.max(needed, this.#incompleteHead.size) > MAX_MESSAGE_HEAD_BYTES) throw this.#tooLarge("before");
    // Releases the window, or a head of many small frames would block itself.
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
        // A value or a sequence has bytes only as a whole, if at all.
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

  // The next bytes of the body that have arrived.
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
    const begun = this.#incomplete;
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
        (this.#incomplete = new IncompleteSection()).add(bytes);
        this.#advance(bytes.length);
      }
      return this.#incomplete!.need(needed);
    }
    if (isData) this.#left = found.end - found.start;
    else this.#keepAfter(bytes.subarray(0, found.end));
    const read = isData ? found.start : found.end;
    if (begun === undefined) return this.#advance(read);
    // The pieces it was joined from are released already.
    this.#incomplete = undefined;
    this.#rest = bytes.subarray(read);
    this.#restPiece = { bytes: this.#rest, transfers: 0, held: 0 };
    this.#advance(0);
  }

  #keepAfter(section: Uint8Array): void {
    this.#after.push(section);
    this.#afterBytes += section.length;
    if (this.#afterBytes > MAX_MESSAGE_HEAD_BYTES) throw this.#tooLarge("behind");
  }

  // Adds the sections behind the body, such as the footer.
  #finish(delivery: StreamedDelivery): void {
    if (this.#left > 0 || this.#incomplete !== undefined) {
      throw undecodable("it ends in the middle of a section");
    }
    if (this.#after.length === 0) return;
    const { message } = delivery;
    const { body: _, ...after } = delivery.decode(joined(this.#after));
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
      } else if (this.ended) return joined(parts);
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
    this.#incompleteHead = this.#incomplete = undefined;
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

// Some runtimes lack async iteration of streams.
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
