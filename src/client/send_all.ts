/**
 * Parallel sends. A file of its own, so that it loads at first use: few programs need it.
 *
 * @module
 */

import { isBytes } from "../base/kinds.ts";
import { describeKind } from "../base/options.ts";
import { abortReason, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import type { Message } from "../codec/message.ts";
import type { DeliveryState } from "../codec/types.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";
import { failure, lost, outcomeOf, type SendingSender, type SendListener } from "./outcome.ts";

/** The default of `maxInFlight`: enough for a fast and distant peer. */
export const MAX_IN_FLIGHT = 2_048;

export interface ParallelOptions extends WaitOptions {
  settled?: boolean | undefined;
}

export interface ParallelSender extends SendingSender {
  readonly open: boolean;
  /** Messages that the receiver accepts now, beyond those that wait. */
  readonly credit: number;
  readonly maxInFlight: number | undefined;
  /** Runs that fail when the link ends. */
  readonly parallel: Set<ParallelSends>;
  requireOpen(doing: string): void;
  push(message: Message | Uint8Array, options: ParallelOptions, listener: SendListener): void;
  abandon(listener: SendListener): void;
  /** Resolves when credit comes, or when one message less waits. */
  change(): Promise<void>;
}

type Messages = Iterable<Message | Uint8Array> | AsyncIterable<Message | Uint8Array>;

function isIterable(messages: unknown): boolean {
  if (typeof messages !== "object" || messages === null || isBytes(messages)) return false;
  return Symbol.iterator in messages || Symbol.asyncIterator in messages;
}

/** Implements `sendAll` of a sender. */
export async function sendEach(sender: ParallelSender, messages: Messages, options: ParallelOptions): Promise<number> {
  const { signal } = options;
  throwIfAborted(signal);
  if (!isIterable(messages)) {
    throw new TypeError(
      `Cannot send all: messages are ${describeKind(messages)}, give an array of them; send() takes one`,
    );
  }
  const sends = new ParallelSends(sender);
  const abort = (): void => sends.abort(abortReason(signal));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await send(messages, options, sends);
  } finally {
    sends.leave();
    signal?.removeEventListener("abort", abort);
  }
}

/** The sink of `writable` of a sender. */
export class ParallelSink {
  readonly #sends: ParallelSends;

  /** Starts without messages; `controller` errors with the first failure. */
  constructor(sender: ParallelSender, controller: { readonly signal: AbortSignal; error(reason: unknown): void }) {
    this.#sends = new ParallelSends(sender);
    // The stream calls `abort` only after the present write.
    controller.signal.addEventListener("abort", () => this.abort(abortReason(controller.signal)), { once: true });
    const fail = (error: unknown): void => {
      this.#sends.leave();
      controller.error(error);
    };
    this.#sends.onfailed = fail;
  }

  /** Sends one message, and waits for room for the next. */
  async write(message: Message | Uint8Array): Promise<void> {
    this.#sends.send(message, {});
    await this.#sends.room();
    // Otherwise the stream would reject the next write with a TypeError before it reports the failure.
    this.#sends.check();
  }

  close(): Promise<void> {
    return this.#sends.finish(undefined);
  }

  abort(reason: unknown): void {
    this.#sends.leave();
    this.#sends.onfailed = undefined;
    this.#sends.abort(reason);
  }
}

async function send(messages: Messages, options: ParallelOptions, sends: ParallelSends): Promise<number> {
  let count = 0;
  const source = Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
  // Messages of a synchronous iterable need no wait while there is room.
  const ready = !(Symbol.asyncIterator in messages);
  try {
    while (!sends.failed) {
      const coming = source.next();
      const next = ready && sends.free
        ? coming as IteratorResult<Message | Uint8Array>
        : await sends.unlessFailed(coming);
      if (next?.done) return await sends.finish(count);
      if (next === undefined) break;
      count++;
      sends.send(next.value, options);
      if (!sends.free) await sends.room();
    }
  } catch (error) {
    sends.fail(error);
    return await sends.finish(count);
  }
  // Not awaited: a generator handles the return only after its present wait.
  (async () => await source.return?.())().catch(() => {});
  return await sends.finish(count);
}

/** A run of parallel sends, and its first failure. */
export class ParallelSends implements SendListener {
  /** Messages without an outcome. */
  size = 0;
  failed = false;
  onfailed: ((error: unknown) => void) | undefined;
  readonly #sender: ParallelSender;
  readonly #most: number;
  #error: unknown;
  #explained: Promise<void> | undefined;
  #finish: (() => void) | undefined;

  /**
   * Registers with the sender, whose link may have ended while this file was loaded.
   *
   * @throws {AmqpError} If the link has ended.
   */
  constructor(sender: ParallelSender) {
    sender.requireOpen("send");
    this.#sender = sender;
    this.#most = sender.maxInFlight ?? MAX_IN_FLIGHT;
    sender.parallel.add(this);
  }

  send(message: Message | Uint8Array, options: ParallelOptions): void {
    // A send may have failed during the wait for this message.
    if (this.failed) return;
    try {
      this.#sender.push(message, options, this);
      this.size++;
    } catch (error) {
      // No further message is sent; the failure is reported once it is explained.
      this.failed = true;
      this.#explained = this.#sender.refused(error, message).catch((explained) => {
        this.#error = explained;
        this.onfailed?.(explained);
      });
    }
  }

  /** Whether the next message can be sent at once. */
  get free(): boolean {
    const sender = this.#sender;
    return !this.failed && sender.open && sender.credit > 0 && this.size < this.#most;
  }

  /** Waits until the next message can be sent, or the run has failed. */
  async room(): Promise<void> {
    while (!this.free && !this.failed) await this.#sender.change();
    await this.#explained;
  }

  /** Unregisters from the sender. */
  leave(): void {
    this.#sender.parallel.delete(this);
  }

  /** Throws the first failure, if any. */
  check(): void {
    if (this.failed) throw this.#error;
  }

  fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.#error = error;
    this.onfailed?.(error);
  }

  /** Abandons the messages without an outcome. */
  abort(reason: unknown): void {
    this.fail(reason);
    this.#sender.abandon(this);
    this.#countDone(this.size);
  }

  /** Resolves with the value of `coming`, or with undefined once the run has failed. */
  unlessFailed<T>(coming: T | PromiseLike<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.failed) return resolve(undefined);
      const stop = (): void => resolve(undefined);
      this.onfailed = stop;
      Promise.resolve(coming).then(resolve, reject);
    });
  }

  /** Waits for all outcomes; to be called once. */
  async finish<T>(result: T): Promise<T> {
    // The link may close from now on.
    this.leave();
    if (this.size > 0) await new Promise<void>((resolve) => this.#finish = resolve);
    await this.#explained;
    this.check();
    return result;
  }

  onoutcome(state: DeliveryState | undefined, delivery: OutgoingDelivery): void {
    const outcome = outcomeOf(state, this.#sender.remote?.source?.defaultOutcome);
    if (outcome?.kind !== "accepted") this.fail(failure(outcome, this.#sender.whereOf(delivery)));
    this.#countDone(1);
  }

  onsent(): void {
    this.#countDone(1);
  }

  onlost(error: unknown, left: boolean, delivery?: OutgoingDelivery): void {
    this.fail(left ? lost(error, this.#sender.whereOf(delivery)) : error);
    this.#countDone(1);
  }

  #countDone(count: number): void {
    this.size -= count;
    if (this.size === 0) this.#finish?.();
  }
}
