/**
 * Deliveries that have arrived and nobody has taken, the callers that wait for the next, and the loop over them.
 *
 * @module
 */

import { Fifo } from "../base/collections.ts";
import { abortReason, Deferred, onAbort, throwIfAborted } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import { DEFAULT_CREDIT, type ValuesOptions } from "./receive_options.ts";

// Aborted waits that may be kept, beside as many as there are live ones, before they are removed.
const MIN_ABORTED_WAITS = 64;

/** A pair of queues, one of which is always empty: items that wait to be taken, and callers that wait for an item. */
export class Arrivals<T> {
  readonly #items = new Fifo<T>();
  readonly #waits = new Fifo<Deferred<T | undefined>>();
  #waiting = 0;

  /** Items that wait to be taken. */
  get length(): number {
    return this.#items.length;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Gives an item to the longest-waiting caller; false if nobody waits, and the item is stored. */
  push(item: T): boolean {
    for (;;) {
      const waiting = this.#waits.shift();
      if (waiting?.settled) continue;
      if (waiting === undefined) {
        this.keep(item);
        return false;
      }
      this.#waiting--;
      waiting.resolve(item);
      return true;
    }
  }

  /** Stores an item for a later caller. */
  keep(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    return this.#items.shift();
  }

  /** Removes an item, if nobody has taken it. */
  remove(item: T): void {
    this.#items.remove(item);
  }

  clear(): T[] {
    return this.#items.clear();
  }

  /** Adds a waiting caller; resolves with undefined when there will be no more items. */
  join(): Deferred<T | undefined> {
    const waiting = new Deferred<T | undefined>();
    this.#waits.push(waiting);
    this.#waiting++;
    return waiting;
  }

  /** Ends a wait by `end`, unless the caller has its item. Amortized cost does not depend on the number of waiting callers. */
  leave(waiting: Deferred<T | undefined>, end: () => void): void {
    if (waiting.settled) return;
    end();
    this.#waiting--;
    if (this.#waits.length <= 2 * this.#waiting + MIN_ABORTED_WAITS) return;
    for (const one of this.#waits.clear()) if (!one.settled) this.#waits.push(one);
  }

  end(end: (waiting: Deferred<T | undefined>) => void): void {
    this.#waiting = 0;
    for (const waiting of this.#waits.clear()) if (!waiting.settled) end(waiting);
  }
}

export interface QueueReceiver {
  readonly open: boolean;
  readonly over: boolean;
  readonly error: Error | undefined;
}

/** The credit of the receiver: a caller that waits for a message needs some. */
export interface QueueCredit {
  /** The most unsettled messages, those on their way included. */
  readonly window: number;
  /** Widens the window, unless the program set it. */
  raise(credit: number): void;
  handleWaiting(): void;
}

/** The deliveries of one receiver that nobody has taken. */
export class DeliveryQueue extends Arrivals<Delivery> {
  /** True while the receiver closes and still takes messages sent settled, which the sender does not keep. */
  finishing = false;
  // Whether a close of this side has ended the waits: a loss of the connection meanwhile is no failure to its callers.
  #finished = false;
  readonly #receiver: QueueReceiver;
  readonly #credit: QueueCredit;

  constructor(receiver: QueueReceiver, credit: QueueCredit) {
    super();
    this.#receiver = receiver;
    this.#credit = credit;
  }

  /**
   * Resolves with the next delivery; undefined when there will be none. `loop` is given the wait. Throws if the link ended with
   * an error, or the signal is aborted already.
   */
  take(signal: AbortSignal | undefined, loop?: LoopWait): Promise<Delivery | undefined> {
    throwIfAborted(signal);
    const ready = this.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    if (this.#credit.window === 0) this.#credit.raise(DEFAULT_CREDIT);
    const waiting = this.wait();
    if (loop !== undefined) loop.waiting = waiting;
    if (waiting === undefined) return Promise.resolve(undefined);
    return signal === undefined ? waiting.promise : this.#until(waiting, signal);
  }

  async #until(waiting: Deferred<Delivery | undefined>, signal: AbortSignal): Promise<Delivery | undefined> {
    // The wait may be resolved although its promise's reactions have not run yet.
    const callOff = onAbort(signal, () => this.leave(waiting, () => waiting.reject(abortReason(signal))));
    try {
      return await waiting.promise;
    } finally {
      callOff();
    }
  }

  /** Waits for the next delivery; undefined if none can come. Throws if the link ended with an error. */
  wait(): Deferred<Delivery | undefined> | undefined {
    const { open, over, error } = this.#receiver;
    if (over && error !== undefined && !this.#finished) throw error;
    if (over || !open && !this.finishing) return undefined;
    const waiting = this.join();
    this.#credit.handleWaiting();
    return waiting;
  }

  /** Adds a delivery: for a waiting caller, or else for a later one. */
  add(delivery: Delivery): void {
    // The delivery was on its way when the receiver began to close.
    if (!this.push(delivery) && !this.#receiver.open) this.release();
  }

  /** Releases the deliveries that nobody has taken, except those that the sender sent settled. */
  release(): void {
    for (const delivery of this.clear()) {
      if (delivery.remoteSettled) this.keep(delivery);
      else if (delivery.usable) delivery.release();
    }
  }

  /** Drops the deliveries that the sender will deliver again; complete ones that it sent settled stay. */
  drop(): void {
    for (const delivery of this.clear()) if (delivery.remoteSettled && delivery.isWhole) this.keep(delivery);
  }

  /** Ends all waits: there will be no more deliveries. */
  finish(): void {
    this.finishing = false;
    this.#finished = true;
    this.end((waiting) => waiting.resolve(undefined));
  }
}

export interface LoopSource {
  /** Whether asking for the next message settles the previous one. */
  readonly automatic: boolean;
  /** The next message, if one has arrived. */
  shift(): Delivery | undefined;
  /** Waits for the next message, which `loop` can call off; undefined when there will be none. */
  take(signal: AbortSignal | undefined, loop: LoopWait): Promise<Delivery | undefined>;
  /** Ends a wait with undefined, unless it has its message. */
  leave(waiting: Deferred<Delivery | undefined>): void;
  /** Called when the loop is left. */
  close(): Promise<void> | undefined;
}

/** The wait for a message of who may leave before it comes. */
export interface LoopWait {
  waiting: Deferred<Delivery | undefined> | undefined;
}

/**
 * Behaves as this async generator, which would take two more turns of the microtask queue and three more promises per
 * message, a tenth of the total cost of a message of 200 bytes:
 *
 *     try {
 *       while ((delivery = shift() ?? await take(signal)) !== undefined) {
 *         let processed = false;
 *         try { yield delivery; processed = true; } finally { settle(processed); }
 *       }
 *     } catch or return { await close(); }
 *
 * except that a generator lets `return` and `throw` wait for the next message, if `next` does, perhaps for ever.
 */
export class DeliveryLoop implements AsyncGenerator<Delivery, void, void>, LoopWait {
  waiting: Deferred<Delivery | undefined> | undefined;
  readonly #source: LoopSource;
  readonly #options: ValuesOptions;
  #inHand: Delivery | undefined;
  #state: "new" | "begun" | "over" = "new";
  // True once the program leaves the loop: no call waits for a message any more.
  #leaving = false;
  // The last unfinished call; each call waits for the one before it.
  #busy: Promise<unknown> | undefined;
  // Calls that waited, for a message or for a call before them.
  #calls = 0;

  constructor(source: LoopSource, options: ValuesOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Settles the current message as processed, and resolves with the next. */
  next(): Promise<IteratorResult<Delivery, void>> {
    if (this.#busy !== undefined || this.#state === "over") return this.#after(() => this.#turn());
    this.#state = "begun";
    try {
      this.#finishLast();
    } catch (error) {
      return this.#after(() => this.#fail(error));
    }
    // A message that has arrived needs no wait.
    const delivery = this.#source.shift();
    if (delivery !== undefined) return Promise.resolve(this.#hand(delivery));
    const waiting = this.#wait(++this.#calls);
    this.#busy = waiting;
    return waiting;
  }

  return(value?: void | PromiseLike<void>): Promise<IteratorResult<Delivery, void>> {
    this.#callOff();
    return this.#after(async () => {
      await value;
      await this.#leave();
      return { done: true, value: undefined };
    });
  }

  throw(error: unknown): Promise<IteratorResult<Delivery, void>> {
    this.#callOff();
    return this.#after(() => this.#fail(error));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** The tag of an async generator. */
  get [Symbol.toStringTag](): string {
    return "AsyncGenerator";
  }

  #callOff(): void {
    this.#leaving = true;
    if (this.waiting !== undefined) this.#source.leave(this.waiting);
  }

  #after<T>(call: () => Promise<T>): Promise<T> {
    const made = this.#busy === undefined ? call() : this.#busy.then(call, call);
    const number = ++this.#calls;
    const done = (): void => this.#finish(number);
    this.#busy = made;
    made.then(done, done);
    return made;
  }

  // Lets the next call begin at once, unless another waits for this one.
  #finish(call: number): void {
    if (this.#calls === call) this.#busy = undefined;
  }

  async #turn(): Promise<IteratorResult<Delivery, void>> {
    if (this.#state === "over") return { done: true, value: undefined };
    this.#state = "begun";
    try {
      this.#finishLast();
      const delivery = this.#source.shift();
      if (delivery !== undefined) return this.#hand(delivery);
    } catch (error) {
      return this.#fail(error);
    }
    return await this.#wait(0);
  }

  // Waits for a message; `call` is the number of a call that is not finished by `#after`.
  async #wait(call: number): Promise<IteratorResult<Delivery, void>> {
    try {
      const delivery = await this.#take();
      if (delivery !== undefined) return this.#hand(delivery);
    } catch (error) {
      return await this.#fail(error);
    } finally {
      this.#finish(call);
    }
    if (!this.#leaving) this.#state = "over";
    return { done: true, value: undefined };
  }

  #take(): Promise<Delivery | undefined> | undefined {
    return this.#leaving ? undefined : this.#source.take(this.#options.signal, this);
  }

  async #fail(error: unknown): Promise<never> {
    await this.#leave();
    throw error;
  }

  async #leave(): Promise<void> {
    const began = this.#state === "begun";
    this.#state = "over";
    try {
      this.#settle(false);
    } finally {
      if (began && !this.#options.preventCancel) await this.#source.close();
    }
  }

  #hand(delivery: Delivery): IteratorResult<Delivery, void> {
    if (this.#source.automatic) this.#inHand = delivery;
    else delivery.handleTaken();
    return { done: false, value: delivery };
  }

  // Settles the message before; throws if no other is to follow, also where some have arrived.
  #finishLast(): void {
    this.#settle(true);
    throwIfAborted(this.#options.signal);
  }

  #settle(processed: boolean): void {
    const delivery = this.#inHand;
    this.#inHand = undefined;
    delivery?.settleByDefault(processed);
  }
}
