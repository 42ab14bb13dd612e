/**
 * Sending one message that is larger than memory. A file of its own, so that it loads at first use.
 *
 * @module
 */

import { describeKind } from "../base/options.ts";
import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { abortReason, Deferred, ignore, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import { encodeData, encodeFooter, encodeHead, type Message } from "../codec/message.ts";
import { Writer } from "../codec/writer.ts";
import type { OutgoingDelivery, PayloadSource } from "../engine/outgoing.ts";
import {
  PromisedOutcome,
  SendAbortedError,
  type SendingSender,
  type SendListener,
  type SendOutcome,
} from "./outcome.ts";

// Bytes read ahead of the link: a few frames.
const READ_AHEAD_BYTES = 131_072;

/** A message whose body is sent as it is read. */
export interface StreamedMessage extends Omit<Message, "body"> {
  /** The body: each chunk becomes a data section. For a broker that does not keep several sections give one chunk. */
  readonly body: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;
}

export interface StreamSender extends SendingSender {
  readonly remote: SendingSender["remote"] & { readonly maxMessageSize?: bigint } | undefined;
  readonly connection: { wake(): void };
  readonly over: boolean;
  requireOpen(doing: string): void;
  ready(options: WaitOptions): Promise<void>;
  push(source: PayloadSource, options: object, listener: SendListener): OutgoingDelivery;
  abandon(listener: SendListener): void;
  close(): Promise<void>;
}

/** Implements `stream` of a sender; `isOwn` for a link that exists only for this message, and ends with it. */
export async function sendStream(
  sender: StreamSender,
  isOwn: boolean,
  message: StreamedMessage,
  { signal }: WaitOptions,
): Promise<SendOutcome | undefined> {
  const listener = new PromisedOutcome(sender, undefined, undefined);
  const source = new Pieces();
  let body: AsyncIterator<Uint8Array> | undefined;
  let delivery: OutgoingDelivery | undefined;
  const abort = (): void => {
    if (delivery === undefined) return;
    // A message accepted early has its outcome, but its body stops.
    if (delivery.context === undefined) return abortDelivery();
    sender.abandon(listener);
    listener.onlost(new SendAbortedError(abortReason(signal), delivery.id !== undefined, sender.where), false);
    source.stop();
  };
  const wake = (): void => {
    delivery!.link.wake();
    sender.connection.wake();
  };
  // A receiver that accepts may still read; one that refuses, or is gone, gets no more.
  const abortDelivery = (): void => {
    delivery!.abort();
    source.stop();
    wake();
  };
  signal?.addEventListener("abort", abort, { once: true });
  try {
    body = piecesOf(message?.body);
    await sender.ready({ signal });
    // In the turn that attached the link, the abort came before there was a delivery to stop.
    throwIfAborted(signal);
    // The link may have ended in the turn that attached it, and would never report on the message.
    if (sender.over) sender.requireOpen("send");
    delivery = sender.push(source, {}, listener);
    listener.promise.catch(abortDelivery);
    await write(message, body, source, sender, wake);
    const outcome = await listener.promise;
    await source.over;
    if (signal?.aborted && delivery.aborted) throw new SendAbortedError(abortReason(signal), true, sender.where);
    return outcome;
  } catch (error) {
    if (delivery?.context !== undefined) sender.abandon(listener);
    // A message accepted early has its outcome; its receiver learns that no more comes.
    else if (delivery !== undefined) abortDelivery();
    return await sender.refused(error, { ...message, body: undefined });
  } finally {
    // Only stops the source: not awaited.
    if (!source.ended) (async () => await body?.return?.())().catch(ignore);
    signal?.removeEventListener("abort", abort);
    if (isOwn) void sender.close();
  }
}

async function write(
  { body: _, ...sections }: StreamedMessage,
  body: AsyncIterator<Uint8Array>,
  source: Pieces,
  { remote, where }: StreamSender,
  wake: () => void,
): Promise<void> {
  const writer = new Writer();
  const most = Number(remote?.maxMessageSize || Infinity);
  const add = (encode: () => void): void => {
    encode();
    source.add(writer.take());
    if (source.size > most) {
      const problem = `message has more bytes, receiver takes ${most} bytes`;
      throw new AmqpError(condition.messageSizeExceeded, `Cannot send to ${where}: ${problem}`, { scope: "delivery" });
    }
    wake();
  };
  add(() => encodeHead(sections, writer));
  let empty = true;
  for (;;) {
    const next = await source.unlessStopped(body.next());
    if (next === undefined) return;
    if (next.done) break;
    add(() => encodeData(next.value, writer));
    empty = false;
    await source.room();
  }
  // Every message has a body [messaging 3.2].
  if (empty) add(() => encodeData(new Uint8Array(0), writer));
  // RabbitMQ 3 ends the session over an empty last transfer, and Proton keeps only the last data section.
  const footer = sections.footer ?? (source.empty ? {} : undefined);
  add(() => encodeFooter({ footer }, writer));
  source.end();
  wake();
}

/** Encoded chunks that wait to be written. */
class Pieces implements PayloadSource {
  ended = false;
  /** Bytes of the message so far. */
  size = 0;
  readonly #pieces: Uint8Array[] = [];
  #waiting = 0;
  #last = false;
  #stopped = false;
  readonly #over = new Deferred<void>();
  // Resumes the wait for room or for a chunk.
  #resume: (() => void) | undefined;

  /** Resolves when nothing is read any more. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** Whether all added chunks have been read. */
  get empty(): boolean {
    return this.#pieces.length === 0;
  }

  read(max: number): Uint8Array | undefined {
    const first = this.#pieces[0];
    if (first === undefined) return undefined;
    const piece = first.subarray(0, max);
    if (piece.length < first.length) this.#pieces[0] = first.subarray(max);
    else this.#pieces.shift();
    this.#waiting -= piece.length;
    this.ended = this.#last && this.#pieces.length === 0;
    if (this.#waiting < READ_AHEAD_BYTES) this.#resume?.();
    return piece;
  }

  done(): void {
    this.stop();
  }

  add(piece: Uint8Array): void {
    this.size += piece.length;
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#waiting += piece.length;
  }

  /** Waits until more may be read. */
  async room(): Promise<void> {
    if (this.#waiting < READ_AHEAD_BYTES || this.#stopped) return;
    await new Promise<void>((resolve) => this.#resume = resolve);
  }

  /** Resolves with the value of `coming`, or with undefined once the stream is stopped. */
  unlessStopped<T>(coming: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const resume = (): void => {
        if (this.#stopped) resolve(undefined);
      };
      this.#resume = resume;
      resume();
      coming.then(resolve, reject);
    });
  }

  /** Marks the end of the message. */
  end(): void {
    this.#last = true;
    this.ended = this.#pieces.length === 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#over.resolve();
    this.#resume?.();
  }
}

// Some runtimes lack async iteration of streams.
function piecesOf(body: StreamedMessage["body"]): AsyncIterator<Uint8Array> {
  if (typeof body !== "object" || body === null || !(Symbol.asyncIterator in body || "getReader" in body)) {
    const given = `body is ${describeKind(body)}`;
    throw new TypeError(
      `Cannot stream: ${given}, give a ReadableStream or an async iterable of bytes; send() takes it whole`,
    );
  }
  if (Symbol.asyncIterator in body) return body[Symbol.asyncIterator]();
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  return {
    next: () => reader.read() as Promise<IteratorResult<Uint8Array>>,
    return: async () => {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}
