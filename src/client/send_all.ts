/**
 * Sending many messages side by side. A file of its own, which loads when it is first used: few programs do, and what is
 * sent so can wait for it.
 *
 * @module
 */

import { describeKind } from "../base/options.ts";
import type { WaitOptions } from "../base/wait.ts";
import type { Message } from "../codec/message.ts";
import type { DeliveryState } from "../codec/types.ts";
import { failure, lost, outcomeOf, type SendingSender, type SendListener } from "./outcome.ts";

/** Messages that may wait for their outcome at a time by default: enough for a fast peer that is far away. */
export const MAX_IN_FLIGHT = 2_048;

/** How each of them is sent. */
export interface ParallelOptions extends WaitOptions {
  /** True sends it settled. */
  settled?: boolean | undefined;
}

/** The sender of parallel sends: what they ask of it. */
export interface ParallelSender extends SendingSender {
  /** True until the link has ended or begins to close. */
  readonly open: boolean;
  /** Messages that the receiver takes now, beyond those that wait. */
  readonly credit: number;
  /** Messages that may wait for their outcome at a time. */
  readonly maxInFlight: number | undefined;
  /** Those who hear when the link ends. */
  readonly parallel: Set<ParallelSends>;
  /** Throws if the link has ended. */
  requireOpen(doing: string): void;
  push(message: Message | Uint8Array, options: ParallelOptions, listener: SendListener): void;
  /** Gives up all messages of `listener`. */
  abandon(listener: SendListener): void;
  /** Waits until something has changed. */
  change(): Promise<void>;
}

type Messages = Iterable<Message | Uint8Array> | AsyncIterable<Message | Uint8Array>;

function isIterable(messages: unknown): boolean {
  if (typeof messages !== "object" || messages === null || messages instanceof Uint8Array) return false;
  return Symbol.iterator in messages || Symbol.asyncIterator in messages;
}

/** What `sendAll` of a sender does. */
export async function sendEach(sender: ParallelSender, messages: Messages, options: ParallelOptions): Promise<number> {
  const { signal } = options;
  signal?.throwIfAborted();
  if (!isIterable(messages)) {
    throw new TypeError(
      `Cannot send all: messages are ${describeKind(messages)}, give an array of them; send() takes one`,
    );
  }
  const sends = new ParallelSends(sender);
  const abort = (): void => sends.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await send(messages, options, sends);
  } finally {
    sends.leave();
    signal?.removeEventListener("abort", abort);
  }
}

/** What `writable` of a sender writes to. */
export class ParallelSink {
  readonly #sends: ParallelSends;

  /** Starts with nothing under way; `controller` errors with the first failure. */
  constructor(sender: ParallelSender, controller: { readonly signal: AbortSignal; error(reason: unknown): void }) {
    this.#sends = new ParallelSends(sender);
    // The stream itself tells of it only when the write that is under way has ended.
    controller.signal.addEventListener("abort", () => this.abort(controller.signal.reason), { once: true });
    this.#sends.onfailed = (error) => {
      this.#sends.leave();
      controller.error(error);
    };
  }

  /** Sends one message, and waits until there is room for the next. */
  async write(message: Message | Uint8Array): Promise<void> {
    this.#sends.send(message, {});
    await this.#sends.room();
    // Otherwise the stream would refuse what its writer does next with a TypeError, before it tells of the failure.
    this.#sends.check();
  }

  /** Waits for all outcomes. */
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
  // What is there already is not waited for, as long as there is room for it.
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
  // Not waited for: a generator takes it only when what it waits for has come.
  (async () => await source.return?.())().catch(() => {});
  return await sends.finish(count);
}

/** Sends that run side by side, and the first that failed. */
export class ParallelSends implements SendListener {
  /** How many have no outcome yet. */
  size = 0;
  failed = false;
  /** Told of the first failure. */
  onfailed: ((error: unknown) => void) | undefined;
  readonly #sender: ParallelSender;
  readonly #most: number;
  #error: unknown;
  #finish: (() => void) | undefined;

  /**
   * Starts; the sender tells it when its link ends, which it may have done while this file was loaded.
   *
   * @throws {AmqpError} If the link has ended.
   * @throws {RangeError} If the sender's `maxInFlight` is below 1.
   */
  constructor(sender: ParallelSender) {
    sender.requireOpen("send");
    this.#sender = sender;
    this.#most = sender.maxInFlight ?? MAX_IN_FLIGHT;
    if (!(this.#most >= 1)) throw new RangeError(`Cannot send: option "maxInFlight" is ${this.#most}`);
    sender.parallel.add(this);
  }

  send(message: Message | Uint8Array, options: ParallelOptions): void {
    // A send may have failed while the message was waited for.
    if (this.failed) return;
    try {
      this.#sender.push(message, options, this);
      this.size++;
    } catch (error) {
      this.fail(error);
    }
  }

  /** Whether the next can be sent at once. */
  get free(): boolean {
    const sender = this.#sender;
    return !this.failed && sender.open && sender.credit > 0 && this.size < this.#most;
  }

  /** Waits until the next can be sent, or nothing can any more. */
  async room(): Promise<void> {
    while (!this.free && !this.failed) await this.#sender.change();
  }

  /** Wants to hear of nothing more. */
  leave(): void {
    this.#sender.parallel.delete(this);
  }

  /** Throws the first failure, if one has failed. */
  check(): void {
    if (this.failed) throw this.#error;
  }

  /** Notes a failure. */
  fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.#error = error;
    this.onfailed?.(error);
  }

  /** Gives up what is under way. */
  abort(reason: unknown): void {
    this.fail(reason);
    this.#sender.abandon(this);
    this.#land(this.size);
  }

  /** What `coming` brings, or undefined as soon as something has failed. */
  unlessFailed<T>(coming: T | PromiseLike<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.failed) return resolve(undefined);
      this.onfailed = () => resolve(undefined);
      Promise.resolve(coming).then(resolve, reject);
    });
  }

  /** Waits for what is under way; to be called once. */
  async finish<T>(result: T): Promise<T> {
    // That the link begins to close changes nothing any more.
    this.leave();
    if (this.size > 0) await new Promise<void>((resolve) => this.#finish = resolve);
    this.check();
    return result;
  }

  /** One has an outcome. */
  onoutcome(state: DeliveryState | undefined): void {
    const outcome = outcomeOf(state, this.#sender.remote?.source?.defaultOutcome);
    if (outcome?.kind !== "accepted") this.fail(failure(outcome, this.#sender.where));
    this.#land(1);
  }

  /** One was sent settled. */
  onsent(): void {
    this.#land(1);
  }

  /** One has no outcome to expect. */
  onlost(error: unknown, left: boolean): void {
    this.fail(left ? lost(error, this.#sender.where) : error);
    this.#land(1);
  }

  #land(count: number): void {
    this.size -= count;
    if (this.size === 0) this.#finish?.();
  }
}
