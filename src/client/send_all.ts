/**
 * Sending many messages side by side. A file of its own, which loads when it is first used: few programs do, and what is
 * sent so can wait for it.
 *
 * @module
 */

import type { Message } from "../codec/message.ts";
import type { WaitOptions } from "../base/wait.ts";

/** Messages that may wait for their outcome at a time by default: enough for a fast peer that is far away. */
export const MAX_IN_FLIGHT = 2_048;

/** How each of them is sent. */
export interface FlightOptions extends WaitOptions {
  /** True sends it settled. */
  settled?: boolean;
}

/** The sender of a flight: what the flight asks of it. */
export interface FlightSender {
  /** True until the link has ended or begins to close. */
  readonly open: boolean;
  /** Messages that have not left the queue. */
  readonly queued: number;
  /** Messages that may wait for their outcome at a time. */
  readonly maxInFlight: number | undefined;
  /** Those who hear when the link ends. */
  readonly flights: Set<Flight>;
  /** Throws if the link has ended. */
  requireOpen(doing: string): void;
  /** Sends one message. */
  send(message: Message | Uint8Array, options: FlightOptions): Promise<unknown>;
  /** Waits until something has changed. */
  change(): Promise<void>;
}

type Messages = Iterable<Message | Uint8Array> | AsyncIterable<Message | Uint8Array>;

/** What `sendAll` of a sender does. */
export async function sendEach(sender: FlightSender, messages: Messages, options: FlightOptions): Promise<number> {
  const { signal } = options;
  signal?.throwIfAborted();
  const flight = new Flight(sender);
  const abort = (): void => flight.fail(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await send(messages, options, flight);
  } finally {
    flight.leave();
    signal?.removeEventListener("abort", abort);
  }
}

/** What `writable` of a sender writes to. */
export class FlightSink {
  readonly #flight: Flight;

  /** Starts with nothing under way; `controller` errors with the first failure. */
  constructor(sender: FlightSender, controller: { error(reason: unknown): void }) {
    this.#flight = new Flight(sender);
    this.#flight.onfailed = (error) => {
      this.#flight.leave();
      controller.error(error);
    };
  }

  /** Sends one message, and waits until there is room for the next. */
  write(message: Message | Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#flight.send(message, { signal });
    return this.#flight.room();
  }

  /** Waits for all outcomes. */
  close(): Promise<void> {
    return this.#flight.finish(undefined).finally(() => this.#flight.leave());
  }

  /** Gives up. */
  abort(): void {
    this.#flight.leave();
  }
}

async function send(messages: Messages, options: FlightOptions, flight: Flight): Promise<number> {
  let count = 0;
  const source = Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
  // What is there already is not waited for, as long as there is room for it.
  const ready = !(Symbol.asyncIterator in messages);
  try {
    while (!flight.failed) {
      const coming = source.next();
      const next = ready && flight.free
        ? coming as IteratorResult<Message | Uint8Array>
        : await flight.unlessFailed(coming);
      if (next?.done) return await flight.finish(count);
      if (next === undefined) break;
      count++;
      flight.send(next.value, options);
      if (!flight.free) await flight.room();
    }
  } catch (error) {
    flight.fail(error);
    return await flight.finish(count);
  }
  // Not waited for: a generator takes it only when what it waits for has come.
  (async () => await source.return?.())().catch(() => {});
  return await flight.finish(count);
}

/** Sends that run side by side, and the first that failed. */
export class Flight {
  /** How many have no outcome yet. */
  size = 0;
  /** Whether one has failed. */
  failed = false;
  /** Told of the first failure. */
  onfailed: ((error: unknown) => void) | undefined;
  readonly #sender: FlightSender;
  readonly #most: number;
  #error: unknown;
  #landed: (() => void) | undefined;
  #finish: (() => void) | undefined;

  /**
   * Starts; the sender tells it when its link ends, which it may have done while this file was loaded.
   *
   * @throws {AmqpError} If the link has ended.
   * @throws {RangeError} If the sender's `maxInFlight` is below 1.
   */
  constructor(sender: FlightSender) {
    sender.requireOpen("send");
    this.#sender = sender;
    this.#most = sender.maxInFlight ?? MAX_IN_FLIGHT;
    if (!(this.#most >= 1)) throw new RangeError(`Cannot send: option "maxInFlight" is ${this.#most}`);
    sender.flights.add(this);
  }

  /** Sends one more. */
  send(message: Message | Uint8Array, options: FlightOptions): void {
    this.size++;
    this.#sender.send(message, options).then(this.#done, this.#lost);
  }

  /** Whether the next can be sent at once. */
  get free(): boolean {
    const sender = this.#sender;
    return !this.failed && sender.open && sender.queued === 0 && this.size < this.#most;
  }

  /** Waits until the next can be sent, or nothing can any more. */
  async room(): Promise<void> {
    const sender = this.#sender;
    while (!this.free && !this.failed && sender.open) {
      // The sender tells of an outcome before it is counted here.
      await (sender.queued > 0 ? sender.change() : new Promise<void>((resolve) => this.#landed = resolve));
    }
  }

  /** Wants to hear of nothing more. */
  leave(): void {
    this.#sender.flights.delete(this);
  }

  /** Notes a failure. */
  fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.#error = error;
    this.onfailed?.(error);
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
    if (this.size > 0) await new Promise<void>((resolve) => this.#finish = resolve);
    if (this.failed) throw this.#error;
    return result;
  }

  readonly #done = (): void => {
    this.#landed?.();
    if (--this.size === 0) this.#finish?.();
  };

  readonly #lost = (error: unknown): void => {
    this.fail(error);
    this.#done();
  };
}
