/**
 * The receiving end of a link.
 *
 * @module
 */

import type { AmqpError } from "../base/errors.ts";
import type { DeliveryState } from "../codec/types.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import { Fifo } from "../base/collections.ts";
import type { AttachOptions } from "../engine/link.ts";
import { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import { Delivery, type DeliveryReceiver } from "./delivery.ts";
import { filterDifference } from "./filter_check.ts";
import { type Interruption, Link, type LinkConnection } from "./link.ts";
import { abortable, Deferred, ignore, type WaitOptions } from "../base/wait.ts";

/** Messages that a receiver holds or has asked for by default. */
export const DEFAULT_CREDIT = 100;

/** How a receiver works its messages off. */
export interface ReceiveTerms {
  /**
   * How many messages may be on their way, waiting, or in work at a time; credit goes back to the sender when a message is
   * settled. `"manual"` asks for none by itself: see {@linkcode Receiver.grant}. Default: {@linkcode DEFAULT_CREDIT}.
   */
  credit?: number | "manual";
  /**
   * `"auto"`: iterating accepts a message when the loop turns to the next, and releases it when the loop is left;
   * {@linkcode Receiver.serve} accepts it when the handler returns, and releases it when the handler throws.
   * `"manual"`: every message is settled by a call of its own. Default: `"auto"`.
   */
  settle?: "auto" | "manual";
  /**
   * What happens when the peer does not apply a filter that was asked for: the link ends with an error, or unfiltered messages
   * are taken. Default: `"error"`.
   */
  filterMismatch?: "error" | "ignore";
}

/**
 * Checks a receiver's credit, before its link is attached.
 *
 * @throws {RangeError} If it is neither `"manual"` nor a whole number from 0 to 2^32-1.
 */
export function checkCredit(credit: number | "manual" | undefined): void {
  if (credit === undefined || credit === "manual" || credit === credit >>> 0) return;
  throw new RangeError(`Cannot grant credit: ${credit} is not a whole number from 0 to 2^32-1`);
}

/** How {@linkcode Receiver.serve} works. */
export interface ServeOptions {
  /** How many messages are handled at a time. Default: 1. */
  concurrency?: number;
  /** Ends it: no further message is taken, and `serve` returns when the handlers that run are done. */
  signal?: AbortSignal;
  /** Told when a handler failed, after its message was released. Default: not told. */
  onerror?: (error: unknown, delivery: Delivery) => void;
}

/** Receives messages from one address; made by `receiver` of a connection or session. */
export class Receiver extends Link implements AsyncIterable<Delivery>, DeliveryReceiver {
  /** Always `"receiver"`. */
  protected override readonly role = "receiver";
  #endpoint: ReceiverEndpoint | undefined;
  // What is granted once the link is attached again.
  #owed: number;
  readonly #credit: number;
  readonly #automatic: boolean;
  readonly #filterMismatch: "error" | "ignore";
  // Deliveries that have come and are not done, each of which knows that it is one of them.
  #unsettled = 0;
  readonly #buffer = new Fifo<Delivery>();
  readonly #waiting = new Fifo<Deferred<Delivery | undefined>>();
  #drained: Deferred<void> | undefined;
  #paused = false;
  #serving = 0;
  #served: Deferred<void> | undefined;
  #ended: Error | undefined;

  /** Built by the connection or session. */
  constructor(connection: LinkConnection, from: AttachOptions | ReceiverEndpoint, terms: ReceiveTerms) {
    super(connection, from);
    this.#credit = terms.credit === "manual" ? 0 : terms.credit ?? DEFAULT_CREDIT;
    this.#automatic = (terms.settle ?? "auto") === "auto";
    this.#filterMismatch = terms.filterMismatch ?? "error";
    this.#owed = this.#credit;
    if ("role" in from) this.#carry(from);
  }

  /** @ignore For a broker: takes each delivery in a call, so that none is buffered or waited for. */
  ondelivery: ((delivery: Delivery) => void) | undefined;

  /** Messages that the sender may still send. */
  get credit(): number {
    return this.#endpoint?.linkCredit ?? 0;
  }

  /** Messages that have arrived and wait to be taken. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /** Messages that the sender says it has ready; 0 when it does not say. */
  get available(): number {
    return this.#endpoint?.available ?? 0;
  }

  /** True while deliveries can be settled. */
  get usable(): boolean {
    return this.#ended === undefined && this.#endpoint?.state === "attached";
  }

  /**
   * Lets the sender send `credit` more messages on this link.
   *
   * Credit replaces, it does not add up: granting 10 twice allows 10, not 20. Call it only when the receiver was attached
   * with `credit: "manual"`; otherwise the link tops itself up at half its window.
   *
   * @throws {AmqpError} With scope `"link"` if the link has ended.
   * @throws {RangeError} If `credit` is not a whole number from 0 to 2^32-1.
   */
  grant(credit: number): void {
    checkCredit(credit);
    const endpoint = this.#endpoint;
    if (this.open && (endpoint === undefined || endpoint.state === "detached")) this.#owed = credit;
    // A drain that is under way is not called off: its end is waited for.
    else endpoint!.flow({ linkCredit: credit, drain: this.#drained !== undefined });
    this.connection.wake();
  }

  /**
   * Waits for the next message, which is then settled by a call on it.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async receive(options: WaitOptions = {}): Promise<Delivery> {
    const delivery = await this.#take(options.signal);
    if (delivery === undefined) throw this.endError("receive");
    delivery.handleTaken();
    return delivery;
  }

  /**
   * The messages one by one, until the receiver is closed on this side.
   *
   * Turning to the next message accepts the last one, leaving the loop by `break` or a throw releases it, unless it was
   * settled in the loop. Closing the receiver ends the loop without waiting for it: a message that is in hand then and not
   * settled goes back to the sender. So a signal ends the loop by closing the receiver; to keep that, use
   * {@linkcode receive}, which takes one.
   *
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Delivery, void, void> {
    for (;;) {
      // One that is there already is not waited for.
      const delivery = this.#buffer.shift() ?? await this.#take(undefined);
      if (delivery === undefined) return;
      if (!this.#automatic) delivery.handleTaken();
      let processed = false;
      try {
        yield delivery;
        processed = true;
      } finally {
        if (this.#automatic) delivery.settleByDefault(processed);
      }
    }
  }

  /** The messages as a stream; each is settled by a call on it. Cancelling the stream closes the link. */
  get readable(): ReadableStream<Delivery> {
    return new ReadableStream<Delivery>({
      pull: async (controller) => {
        const delivery = await this.#take(undefined);
        if (delivery === undefined) return controller.close();
        delivery.handleTaken();
        controller.enqueue(delivery);
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  /**
   * Hands each message to `handler`, several at a time if so asked: accepted when the handler returns, released when it
   * throws, unless the handler settled it or the receiver was attached with `settle: "manual"`.
   *
   * Returns when the receiver is closed on this side or `signal` is aborted, after the handlers that run are done.
   *
   * The promise need not be looked at: that nobody does is no unhandled rejection, so a peer that goes away ends no server.
   *
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails.
   * @throws {RangeError} If `concurrency` is not a whole number from 1.
   * @throws What `onerror` throws, which ends it as an abort does.
   */
  serve(handler: (delivery: Delivery) => unknown, options: ServeOptions = {}): Promise<void> {
    const serving = this.#serve(handler, options);
    serving.catch(ignore);
    return serving;
  }

  async #serve(handler: (delivery: Delivery) => unknown, options: ServeOptions): Promise<void> {
    const { concurrency = 1, signal } = options;
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new RangeError(`Cannot serve: concurrency ${concurrency} is not a whole number from 1`);
    }
    let stopped = signal?.aborted ?? false;
    const idle = new Set<Deferred<Delivery | undefined>>();
    const stop = (): void => {
      stopped = true;
      for (const waiting of idle) if (this.#waiting.remove(waiting)) waiting.resolve(undefined);
    };
    signal?.addEventListener("abort", stop, { once: true });
    const next = async (): Promise<Delivery | undefined> => {
      if (this.#over()) return undefined;
      const waiting = this.#wait();
      idle.add(waiting);
      const delivery = await waiting.promise;
      idle.delete(waiting);
      return delivery;
    };
    const work = async () => {
      while (!stopped) {
        const delivery = this.#buffer.shift() ?? await next();
        if (delivery === undefined) return;
        this.#serving++;
        try {
          if (!this.#automatic) delivery.handleTaken();
          const handling = handler(delivery);
          // A handler that has nothing to wait for is not waited for.
          if (handling !== undefined) await handling;
          if (this.#automatic) delivery.settleByDefault(true);
        } catch (error) {
          if (this.#automatic) delivery.settleByDefault(false);
          options.onerror?.(error, delivery);
        } finally {
          if (--this.#serving === 0) this.#served?.resolve();
        }
      }
    };
    try {
      // No handler is called before `serve` has returned.
      await undefined;
      await Promise.all(Array.from({ length: concurrency }, work));
    } finally {
      // When one has failed, the others take no more.
      stop();
      signal?.removeEventListener("abort", stop);
    }
  }

  /**
   * Has the sender send what it has ready, up to the credit it holds, and hand back the rest. Afterwards no more comes
   * until the buffer is empty and somebody waits for a message.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async drain(options: WaitOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    // Not once the link is accepted: a peer that does not say so may still drain.
    if (!this.open) throw this.endError("drain");
    this.#paused = true;
    const endpoint = this.#endpoint;
    // Nothing is on its way.
    if (endpoint === undefined || endpoint.state === "detached") return;
    if (endpoint.linkCredit === 0 && !endpoint.receiving) return;
    this.#drained ??= new Deferred<void>();
    endpoint.flow({ drain: true });
    this.connection.wake();
    await abortable(this.#drained.promise, options.signal);
  }

  /** @ignore For transactions: has messages acquired in one, and gives those that came. */
  async acquire(txnId: Uint8Array, count: number, options: WaitOptions): Promise<Delivery[]> {
    if (this.#credit !== 0) {
      throw new TypeError(
        'Cannot acquire in transaction: the receiver gives credit by itself, attach it with credit "manual"',
      );
    }
    checkCredit(count);
    await this.ready(options);
    this.#endpoint!.flow({ linkCredit: count, properties: { "txn-id": txnId } });
    await this.drain(options);
    if (this.usable) this.#endpoint!.flow({ properties: {} });
    const acquired: Delivery[] = [];
    while (this.buffered > 0) acquired.push(await this.receive(options));
    return acquired;
  }

  /** @ignore {@inheritDoc Link.attachAs} */
  protected override attachAs(terms: AttachOptions, session: SessionEndpoint): ReceiverEndpoint {
    const again = this.#endpoint !== undefined;
    const endpoint = session.attach(ReceiverEndpoint, terms);
    // The flow of one that is attached again waits for the peer's attach: the peer may hold the former link still, and would
    // end the session over a flow for a handle that it does not know yet.
    if (again) this.#endpoint = endpoint;
    else this.#carry(endpoint);
    return endpoint;
  }

  /** {@inheritDoc Link.onattached} */
  protected override onattached(): void {
    // After a drain whoever waits next asks for it.
    if (this.#owed > 0 && !(this.#paused && this.#waiting.length === 0)) this.grant(this.#owed);
    this.#owed = 0;
  }

  /** {@inheritDoc Link.oninterrupted} */
  protected override oninterrupted(): Interruption {
    this.#owed = this.#credit > 0 ? this.#credit : this.#owed || this.credit;
    const arrived = this.#unsettled;
    // What has come counts no more: the sender hands it out again, but for what it has sent settled.
    this.#unsettled = 0;
    for (const delivery of this.#buffer.clear()) if (delivery.remoteSettled) this.#buffer.push(delivery);
    this.#drained?.resolve();
    this.#drained = undefined;
    return { redelivered: arrived - this.#buffer.length };
  }

  #carry(endpoint: ReceiverEndpoint): void {
    this.#endpoint = endpoint;
    if (this.#owed > 0) this.grant(this.#owed);
    this.#owed = 0;
  }

  /** {@inheritDoc Link.idle} */
  protected override idle(): Promise<void> {
    if (this.#serving === 0) return Promise.resolve();
    return (this.#served ??= new Deferred<void>()).promise;
  }

  /** {@inheritDoc Link.onclosing} */
  protected override onclosing(): void {
    // What nobody has taken goes back as if it had never been sent.
    for (const delivery of this.#buffer.clear()) if (delivery.usable) delivery.release();
    // Nor is more to come while handlers are at work, only to go back.
    if (this.usable && this.credit > 0 && this.#drained === undefined) this.grant(0);
    this.#finishWaiting((waiting) => waiting.resolve(undefined));
  }

  /** {@inheritDoc Link.checkAttached} */
  protected override checkAttached(): AmqpError | undefined {
    if (this.#filterMismatch === "ignore") return undefined;
    return filterDifference(this.#endpoint?.local, this.remote);
  }

  /** {@inheritDoc Link.onended} */
  protected override onended(error: Error): void {
    this.#ended = error;
    // The others cannot be settled any more: the sender hands them out again, and working on them would be for nothing.
    for (const delivery of this.#buffer.clear()) if (delivery.remoteSettled) this.#buffer.push(delivery);
    this.#finishWaiting((waiting) => this.error === undefined ? waiting.resolve(undefined) : waiting.reject(error));
    this.#drained?.reject(error);
  }

  /** @ignore Told by the connection. */
  handleDelivery(incoming: IncomingDelivery): void {
    const delivery = new Delivery(this, incoming, this.connection.limits);
    incoming.context = this;
    this.#unsettled++;
    if (this.ondelivery !== undefined && this.open) return this.ondelivery(delivery);
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting.resolve(delivery);
    this.#buffer.push(delivery);
    // One that was on its way when the receiver began to close.
    if (!this.open) this.onclosing();
  }

  /** @ignore Told by the connection: a delivery that had begun came to nothing, but used its credit. */
  handleAborted(): void {
    this.#topUpLater();
  }

  /** @ignore Told by the connection. */
  handleDrained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
    this.#topUpLater();
  }

  /** @ignore Told by the connection: the sender spoke of a delivery. */
  handleDisposition(incoming: IncomingDelivery, _state: DeliveryState | undefined, settled: boolean): void {
    // In two steps the delivery is done when the sender has settled what we told.
    if (settled && incoming.state !== undefined && this.#done(incoming)) this.#topUpLater();
  }

  /** @ignore Asked by a delivery: whether it can still be settled. */
  holds(incoming: IncomingDelivery): boolean {
    return this.usable && incoming.link === this.#endpoint;
  }

  /** @ignore Told by a delivery: its outcome is on its way. */
  handleTold(incoming: IncomingDelivery): void {
    if (incoming.settled || incoming.remoteSettled) this.handleDone(incoming);
    this.connection.wake();
  }

  /** @ignore Told by a delivery: nothing more is to be done for it. */
  handleDone(incoming: IncomingDelivery): void {
    if (this.#done(incoming)) this.#topUp();
  }

  #done(incoming: IncomingDelivery): boolean {
    if (incoming.context === undefined || incoming.link !== this.#endpoint) return false;
    incoming.context = undefined;
    this.#unsettled--;
    return true;
  }

  async #take(signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    signal?.throwIfAborted();
    const ready = this.#buffer.shift();
    if (ready !== undefined) return ready;
    if (this.#over()) return undefined;
    const waiting = this.#wait();
    if (signal === undefined) return waiting.promise;
    // It may have its delivery already, the news is just not there yet.
    const abort = () => this.#waiting.remove(waiting) && waiting.reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await waiting.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  // Whether it would be in vain to wait for a message; a link that did not end in order says why.
  #over(): boolean {
    if (this.#ended === undefined) return !this.open;
    if (this.error !== undefined) throw this.#ended;
    return true;
  }

  #wait(): Deferred<Delivery | undefined> {
    const waiting = new Deferred<Delivery | undefined>();
    this.#waiting.push(waiting);
    if (this.#paused) {
      this.#paused = false;
      this.#topUp();
    }
    return waiting;
  }

  // For events: messages that arrived with them are off the link's credit, but come to us only after them.
  #topUpLater(): void {
    Promise.resolve().then(() => this.#topUp());
  }

  #topUp(): void {
    if (this.#credit === 0 || this.#drained !== undefined || !this.usable || !this.open) return;
    // After a drain whoever waits has asked already.
    if (this.#paused && this.#waiting.length === 0) return;
    const granted = this.credit;
    const arriving = this.#endpoint!.receiving ? 1 : 0;
    const free = this.#credit - this.#unsettled - granted - arriving;
    // At half the window one flow serves many messages; with none left a message can come no other way.
    if (free * 2 < this.#credit && (granted > 0 || free <= 0)) return;
    this.grant(granted + free);
  }

  #finishWaiting(finish: (waiting: Deferred<Delivery | undefined>) => void): void {
    for (const waiting of this.#waiting.clear()) finish(waiting);
  }
}
