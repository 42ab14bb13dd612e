/**
 * The receiving end of a link.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { Fifo } from "../base/collections.ts";
import { unref } from "../base/environment.ts";
import { checkOptions, WAIT_KINDS } from "../base/options.ts";
import type { DeliveryState } from "../codec/types.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { AttachOptions } from "../engine/link.ts";
import { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import { Delivery, type DeliveryReceiver } from "./delivery.ts";
import { DeliveryLoop, type ValuesOptions } from "./delivery_loop.ts";
import { filterDifference } from "./filter_check.ts";
import { checkServe, closeFor, Handlers, hasAsyncStorage, outsideHandlers, type ServeOptions } from "./handlers.ts";
import { type CloseOptions, type Interruption, Link, type LinkConnection } from "./link.ts";
import type { ReceiveBatchOptions } from "./receive_batch.ts";
import type { ReceiverRecovery, Recovery } from "./recovery.ts";
import type { ServeSource } from "./serve.ts";
import { Waiters } from "./waiters.ts";
import type * as Streams from "./streamed_payload.ts";
import { abortable, Deferred, ignore, onAbort, type WaitOptions } from "../base/wait.ts";

export type { ReceiveBatchOptions, ServeOptions, ValuesOptions };

/** Messages that a receiver holds or has asked for, where nobody says how many and it is not {@linkcode Receiver.serve} that asks. */
export const DEFAULT_CREDIT = 32;

// How long something waits that may wait for ever before the log is told, in milliseconds.
const PATIENCE_MS = 10_000;
const CLOSE_PATIENCE_MS = 1_000;

/** How a receiver works its messages off. */
export interface ReceiveTerms {
  /**
   * How many messages may be on their way, waiting, or in work at a time; credit goes back to the sender when a message is
   * settled. `"manual"` asks for none by itself: see {@linkcode Receiver.grant}. Default: taken when the first message is
   * asked for, by {@linkcode Receiver.serve} from its concurrency and half as much, otherwise {@linkcode DEFAULT_CREDIT}.
   */
  credit?: number | "manual" | undefined;
  /**
   * `"auto"`: iterating accepts a message when the loop turns to the next; {@linkcode Receiver.serve} accepts it when the
   * handler returns. A loop that is left and a handler that throws are a failed attempt: `modified` with `deliveryFailed`.
   * `"manual"`: every message is settled by a call of its own. Default: `"auto"`.
   */
  settle?: "auto" | "manual" | undefined;
  /**
   * What happens when the peer does not apply a filter that was asked for: the link ends with an error, or unfiltered messages
   * are taken. Default: `"error"`.
   */
  filterMismatch?: "error" | "ignore" | undefined;
  /**
   * What becomes of messages that are not settled when the connection is lost: `"resend"` has the peer hand them out again;
   * `"resume"` takes them up where the peer can do so, so that they can still be settled, and do not come twice, see
   * {@linkcode resume}, whose result has more options. Default: `"resend"`.
   */
  recovery?: "resend" | "resume" | Recovery | undefined;
  /**
   * True hands each message over when the sections before its body are there, so that one larger than memory can be read by
   * {@linkcode Delivery.stream}. One that is not read keeps those behind it waiting: give each its own receiver to read several
   * side by side. Default: false.
   */
  stream?: boolean | undefined;
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

/**
 * Receives messages from one address; made by `receiver` of a connection or session.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 *
 * async function main(connection: Connection) {
 *   await using orders = connection.receiver("orders", { credit: 10 });
 *   for await (const { message } of orders) console.log(message.text());
 * }
 * ```
 */
export class Receiver extends Link implements AsyncIterable<Delivery>, DeliveryReceiver {
  /** Always `"receiver"`. */
  protected override readonly role = "receiver";
  #endpoint: ReceiverEndpoint | undefined;
  // What is granted once the link is attached, or attached again.
  #owed: number;
  // Messages that may be held or on their way; 0 for a receiver whose user grants them.
  #credit: number;
  readonly #creditGiven: boolean;
  readonly #automatic: boolean;
  readonly #filterMismatch: "error" | "ignore";
  // Deliveries that have come and are not done, each of which knows that it is one of them.
  #unsettled = 0;
  // Those of them whose outcome was told and that the sender is to settle [transport 2.6.12].
  #told = 0;
  // How many it has settled so.
  #heard = 0;
  readonly #buffer = new Fifo<Delivery>();
  readonly #waiting = new Waiters<Delivery | undefined>();
  /** @ignore The handlers of `serve`. */
  override readonly handlers: Handlers;
  readonly #watched: Set<Delivery> = new Set();
  #concurrency = 0;
  #drained: Deferred<void> | undefined;
  #draining = 0;
  #paused = false;
  // What comes while it closes is still taken: the sender keeps nothing of what it has sent settled.
  #finishing = false;
  #sawSettled = false;
  #toppingUp = false;
  #patience: unknown;
  #settling: unknown;
  #interrupted = false;
  /** @ignore {@inheritDoc Link.recovery} */
  declare recovery: ReceiverRecovery | undefined;
  #ended: Error | undefined;
  // How deliveries are read as they arrive, if so; while it loads no credit is given.
  #loading: Promise<void> | undefined;
  #streams: typeof Streams | undefined;
  // The one whose last frame may be still to come.
  #arriving: Streams.StreamedPayload | undefined;

  /** Built by the connection or session. */
  constructor(connection: LinkConnection, from: AttachOptions | ReceiverEndpoint, terms: ReceiveTerms) {
    super(connection, from);
    this.handlers = new Handlers(connection.environment);
    this.#creditGiven = terms.credit !== undefined;
    this.#credit = typeof terms.credit === "number" ? terms.credit : 0;
    this.#automatic = (terms.settle ?? "auto") === "auto";
    this.#filterMismatch = terms.filterMismatch ?? "error";
    this.#owed = this.#credit;
    const { recovery = "resend", stream } = terms;
    if (stream) {
      // What has begun is not to be had again, as taking it up would need.
      if (recovery !== "resend") throw new TypeError('Cannot attach receiver: streams need recovery "resend"');
      this.#loading = this.#load();
    }
    if (recovery === "resume") this.#recover(import("./resume_links.ts").then((links) => links.forReceiver(this)));
    else if (typeof recovery === "object") this.#recover(recovery.forReceiver(this));
    if ("role" in from) this.#carry(from);
  }

  /** @ignore For a broker: takes each delivery in a call, so that none is buffered or waited for. */
  ondelivery: ((delivery: Delivery) => void) | undefined;

  /** @ignore Told when the sender has settled what was told of a delivery. */
  onsettled: (() => void) | undefined;

  /** @ignore Told when it is attached again, after an interruption. */
  onreattached: (() => void) | undefined;

  /** Messages that the sender may still send. */
  get credit(): number {
    return this.#endpoint?.linkCredit ?? 0;
  }

  /** Messages that have arrived and wait to be taken. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /** Messages that have arrived and are not settled, those that wait to be taken included. */
  get unsettled(): number {
    return this.#unsettled;
  }

  /** Messages that the sender says it has ready; 0 when it does not say. */
  get available(): number {
    return this.#endpoint?.available ?? 0;
  }

  /** @ignore {@inheritDoc Link.facts} */
  override facts(): Record<string, unknown> {
    const { credit, buffered, unsettled } = this;
    return { ...super.facts(), credit, buffered, unsettled };
  }

  /** True while deliveries can be settled. */
  override get usable(): boolean {
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
    // A drain that is under way is not called off: its end is waited for.
    if (endpoint !== undefined && endpoint.state !== "detached" && this.#loading === undefined) {
      endpoint.flow({ linkCredit: credit, drain: this.#drained !== undefined });
    } else {
      this.requireOpen("grant credit");
      this.#owed = credit;
    }
    this.connection.wake();
  }

  /**
   * Waits for the next message, which is then settled by a call on it. After {@linkcode close} it still gives what the sender
   * has sent settled and nobody has taken.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async receive(options?: WaitOptions): Promise<Delivery> {
    checkOptions("receive", options, WAIT_KINDS);
    const delivery = await this.take(options?.signal);
    if (delivery === undefined) throw this.endError("receive");
    delivery.handleTaken();
    return delivery;
  }

  /**
   * Waits for the first message, takes what else the sender has ready, up to `max` and the receiver's credit, and leaves the
   * rest there: one call to poll a queue. Each message is settled by a call on it.
   *
   * A receiver that was attached with `credit: "manual"`, or none, is granted what it takes.
   *
   * @returns The messages, none if there were none in `waitMs`.
   * @throws {AmqpError} If the link, session or connection ends first.
   * @throws {RangeError} If `max` is not a whole number from 1.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function poll(connection: Connection) {
   *   await using orders = connection.receiver("orders", { credit: "manual" });
   *   for (const delivery of await orders.receiveBatch(10, { waitMs: 1_000 })) delivery.accept();
   * }
   * ```
   */
  async receiveBatch(max: number, options: ReceiveBatchOptions = {}): Promise<Delivery[]> {
    checkOptions("receive batch", options, { signal: "object", waitMs: "number" });
    const { receiveBatch } = await import("./receive_batch.ts");
    return await receiveBatch(this, max, options, (credit) => {
      if (!this.#creditGiven) this.#raiseCredit(credit);
      // Not more than were asked for: the others that receive from there would miss them.
      else if (this.#credit === 0 && this.credit < credit) this.grant(credit);
    });
  }

  /**
   * The messages one by one, until the receiver is closed on this side.
   *
   * Turning to the next message accepts the last one. Leaving the loop, be it by `break` or by a throw, which look alike from
   * here, hands the one in hand back as a failed attempt (`modified` with `deliveryFailed`), unless it was settled in the
   * loop; what nobody has seen is released; and the receiver is closed, unless `preventCancel` is set. So call `accept()`
   * before `break`.
   *
   * Closing the receiver ends the loop without waiting for it: a message that is in hand then and not settled goes back to
   * the sender.
   *
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails.
   */
  values(options: ValuesOptions = {}): AsyncGenerator<Delivery, void, void> {
    checkOptions("iterate", options, { signal: "object", preventCancel: "boolean" });
    return this.#values(options);
  }

  #values(options: ValuesOptions): AsyncGenerator<Delivery, void, void> {
    return new DeliveryLoop({
      automatic: this.#automatic,
      shift: () => this.#buffer.shift(),
      take: (signal) => this.take(signal),
      close: () => this.open ? this.close() : undefined,
    }, options);
  }

  /** The messages one by one, see {@linkcode values}. */
  [Symbol.asyncIterator](): AsyncGenerator<Delivery, void, void> {
    return this.#values({});
  }

  /** The messages as a stream; each is settled by a call on it. Cancelling the stream closes the link. */
  get readable(): ReadableStream<Delivery> {
    return new ReadableStream<Delivery>({
      pull: async (controller) => {
        const delivery = await this.take(undefined);
        if (delivery === undefined) return controller.close();
        delivery.handleTaken();
        controller.enqueue(delivery);
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  /**
   * Hands each message to `handler`, several at a time if so asked: accepted when the handler returns; handed back as a failed
   * attempt (`modified` with `deliveryFailed`) when it throws, told to `onerror` or the log; unless the handler settled it or
   * the receiver was attached with `settle: "manual"`.
   *
   * Returns when the receiver is closed on this side or `signal` is aborted, after the handlers that run are done. What was
   * fetched ahead goes back then, and no more is asked for.
   *
   * The promise need not be looked at: that nobody does is no unhandled rejection, so a peer that goes away ends no server.
   *
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails.
   * @throws {TypeError} At once, if the handler is no function, or an option does not exist or is of the wrong kind.
   * @throws {RangeError} At once, if `concurrency` is not a whole number from 1, or above the credit that the receiver was
   * given.
   * @throws What `onerror` throws, once the handlers that run are done.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function work(connection: Connection, signal: AbortSignal) {
   *   await connection.receiver("jobs").serve(async (delivery) => {
   *     console.log(await delivery.message.json());
   *   }, { concurrency: 8, signal, retryDelay: 100 });
   * }
   * ```
   */
  serve(handler: (delivery: Delivery) => unknown, options: ServeOptions = {}): Promise<void> {
    const concurrency = checkServe("serve", handler, options);
    const total = this.#concurrency + concurrency;
    if (this.#credit > 0 && this.#creditGiven && total > this.#credit) {
      throw new RangeError(
        `Cannot serve ${this.where}: concurrency ${total} is above the receiver's credit ${this.#credit}, raise or leave out the credit`,
      );
    }
    const serving = this.#serve(handler, options, concurrency);
    serving.catch(ignore);
    return serving;
  }

  async #serve(
    handler: (delivery: Delivery) => unknown,
    options: ServeOptions,
    concurrency: number,
  ): Promise<void> {
    this.#concurrency += concurrency;
    try {
      // No handler is called before `serve` has returned.
      const [{ serveEach }] = await Promise.all([import("./serve.ts"), this.handlers.prepare()]);
      this.#raiseCredit(this.#concurrency + Math.max(1, this.#concurrency >> 1));
      await serveEach(this.#source(), handler, options);
    } finally {
      this.#concurrency -= concurrency;
      this.handlers.handBack();
      if (this.open && this.#concurrency === 0 && this.#waiting.length === 0) this.#pause();
    }
  }

  #source(): ServeSource {
    return {
      handlers: this.handlers,
      automatic: this.#automatic,
      shift: () => this.#buffer.shift(),
      wait: () => this.#over() ? undefined : this.#wait(),
      unwait: (waiting) => this.#waiting.leave(waiting, () => waiting.resolve(undefined)),
      report: (error) => this.complain("handlerFailed", { automatic: this.#automatic, error }),
    };
  }

  /**
   * Has the sender send what it has ready, up to the credit it holds, and hand back the rest. It waits for the link to be
   * attached. Afterwards no more comes until the buffer is empty and somebody waits for a message.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async drain(options: WaitOptions = {}): Promise<void> {
    checkOptions("drain", options, WAIT_KINDS);
    const { signal } = options;
    signal?.throwIfAborted();
    if (!this.open) throw this.endError("drain");
    if (this.#credit === 0) this.#raiseCredit(DEFAULT_CREDIT);
    await this.ready({ signal });
    if (this.#loading !== undefined) await abortable(Promise.race([this.#loading, this.closed]), signal);
    if (!this.open) throw this.endError("drain");
    this.#paused = true;
    if (this.credit === 0 && !this.#endpoint!.receiving) return;
    const drained = this.#drain();
    this.#draining++;
    try {
      await abortable(drained.promise, signal);
    } finally {
      // Who gave up does not want it any more: what is granted from now on is no part of it.
      if (--this.#draining === 0 && this.#drained === drained && this.open) this.#callOffDrain();
    }
  }

  /** @ignore For transactions: has messages acquired in one, and gives those that came. */
  async acquire(txnId: Uint8Array, count: number, options: WaitOptions): Promise<Delivery[]> {
    if (this.#credit !== 0 || !this.#creditGiven) {
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

  /**
   * Takes no more, hands back what nobody has taken, and closes the link when the handlers that run are done. It waits for
   * nothing, so a handler may call it.
   */
  stop(): void {
    outsideHandlers(() => this.close()).catch(ignore);
  }

  /**
   * Ends the link once the handlers of {@linkcode serve} that run are done, or the time is up. What nobody has taken goes
   * back, but for what the sender has sent settled, which it will not send again: that is waited for, and can be taken by
   * {@linkcode receive} and by loops, also when the link has ended. Never fails because the link has ended already.
   *
   * A handler of this connection that waits for it is not waited for: for that handler it resolves when all else is done, and
   * the link ends when the handler returns.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return closeFor(() => super.close(options), [this], options);
  }

  /** {@inheritDoc Link.detach} */
  override detach(options: CloseOptions = {}): Promise<void> {
    return closeFor(() => super.detach(options), [this], options);
  }

  /** @ignore {@inheritDoc Link.attachAs} */
  protected override attachAs(terms: AttachOptions, session: SessionEndpoint): ReceiverEndpoint {
    const again = this.#endpoint !== undefined;
    const endpoint = session.attach(ReceiverEndpoint, terms);
    this.recovery?.attaching(endpoint);
    this.#streams?.takeStreams(endpoint, this);
    // The flow of one that is attached again waits for the peer's attach: the peer may hold the former link still, and would
    // end the session over a flow for a handle that it does not know yet.
    if (again) this.#endpoint = endpoint;
    else this.#carry(endpoint);
    return endpoint;
  }

  /** {@inheritDoc Link.onattached} */
  protected override onattached(): void {
    for (const lost of this.recovery?.attached(this.remote!) ?? []) this.#lose(lost);
    // What is taken up uses credit of the program's, too.
    if (this.recovery !== undefined && this.#credit === 0) this.#owed += this.#unsettled;
    // After a drain whoever waits next asks for it.
    if (!(this.#paused && this.#waiting.length === 0)) this.#grantOwed();
    else this.#owed = 0;
    if (this.#interrupted) this.onreattached?.();
  }

  /** @ignore {@inheritDoc Link.carryAgain} */
  protected override carryAgain(endpoint: ReceiverEndpoint): void {
    this.#endpoint = endpoint;
    this.onreattached?.();
  }

  /** {@inheritDoc Link.oninterrupted} */
  protected override oninterrupted(error: Error): Interruption {
    this.#owed = this.#credit > 0 ? this.#credit : this.#owed || this.credit;
    this.#interrupted = true;
    this.#drained?.resolve();
    this.#drained = undefined;
    this.#arriving?.fail(error);
    // They can be settled still, and their transfers on the next link use up credit.
    if (this.#endpoint !== undefined && this.recovery?.interrupted(this.#endpoint, this.#unsettled)) return {};
    const arrived = this.#unsettled;
    // What has come counts no more: the sender hands it out again, but for what it has sent settled.
    this.#unsettled = this.#told = 0;
    for (const delivery of this.#buffer.clear()) {
      if (delivery.remoteSettled && delivery.isWhole) this.#buffer.push(delivery);
    }
    this.#abortWatched(error);
    return { redelivered: arrived - this.#buffer.length };
  }

  #recover(recovery: ReceiverRecovery | Promise<ReceiverRecovery>): void {
    const use = (made: ReceiverRecovery): Promise<unknown> | undefined => (this.recovery = made).prepared;
    this.prepare(recovery instanceof Promise ? recovery.then(use) : use(recovery));
  }

  // The peer has kept nothing of a delivery, and hands its message out again.
  #lose(incoming: IncomingDelivery): void {
    const delivery = incoming.context;
    if (!(delivery instanceof Delivery)) return;
    incoming.context = undefined;
    this.#unsettled--;
    if (isTold(incoming)) this.#told--;
    this.#buffer.remove(delivery);
    delivery.handleLost(
      new AmqpError(condition.illegalState, `Cannot settle delivery: ${this.where} is another link now`, {
        scope: "delivery",
      }),
    );
  }

  #carry(endpoint: ReceiverEndpoint): void {
    this.#endpoint = endpoint;
    this.#grantOwed();
  }

  #grantOwed(): void {
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.grant(owed);
  }

  async #load(): Promise<void> {
    try {
      this.#streams = await import("./streamed_payload.ts");
    } catch (error) {
      return this.connection.endLink(this, error as Error);
    }
    this.#loading = undefined;
    if (this.#endpoint === undefined || !this.open) return;
    this.#streams.takeStreams(this.#endpoint, this);
    this.#grantOwed();
  }

  /** {@inheritDoc Link.idle} */
  protected override async idle(): Promise<void> {
    const { environment } = this.connection;
    const timer = hasAsyncStorage() || this.handlers.running === 0
      ? undefined
      : environment.setTimer(() => this.complain("closeWaits", { running: this.handlers.running }), CLOSE_PATIENCE_MS);
    try {
      await this.#drained?.promise.catch(ignore);
      await this.handlers.idle();
      await this.recovery?.idle();
    } finally {
      environment.clearTimer(timer);
    }
  }

  /** {@inheritDoc Link.onclosing} */
  protected override onclosing(): void {
    this.handlers.handBack();
    this.#releaseBuffered();
    if (this.usable && this.credit > 0 && this.#drained === undefined) {
      this.#finishing = this.#sawSettled || this.#endpoint!.sndSettleMode === "settled";
      if (this.#finishing) this.#drain();
      // Nor is more to come while handlers are at work, only to go back.
      else this.grant(0);
    }
    if (!this.#finishing) this.#finishWaiting((waiting) => waiting.resolve(undefined));
  }

  /** {@inheritDoc Link.checkAttached} */
  protected override checkAttached(): AmqpError | undefined {
    if (this.#filterMismatch === "ignore") return undefined;
    return filterDifference(this.#endpoint?.local, this.remote);
  }

  /** {@inheritDoc Link.onended} */
  protected override onended(error: Error): void {
    this.#ended = error;
    this.recovery?.ended(this.#endpoint);
    this.#finishing = false;
    this.#arriving?.fail(error);
    // The others cannot be settled any more: the sender hands them out again, and working on them would be for nothing.
    for (const delivery of this.#buffer.clear()) {
      if (delivery.remoteSettled && delivery.isWhole) this.#buffer.push(delivery);
    }
    this.#abortWatched(error);
    this.#finishWaiting((waiting) => this.error === undefined ? waiting.resolve(undefined) : waiting.reject(error));
    this.#drained?.reject(error);
    const { environment } = this.connection;
    environment.clearTimer(this.#patience);
    environment.clearTimer(this.#settling);
    this.handlers.handBack();
  }

  /** @ignore Told by the connection. */
  handleDelivery(incoming: IncomingDelivery): void {
    const payload = this.#arriving = incoming.context as Streams.StreamedPayload | undefined;
    const delivery = new Delivery(this, incoming, this.connection.limits, payload);
    incoming.context = delivery;
    this.#unsettled++;
    if (incoming.remoteSettled) this.#sawSettled = true;
    if (this.ondelivery !== undefined && this.open) return this.ondelivery(delivery);
    // A program may settle only when it has many: what was withheld at its last settlement is granted when the credit is used.
    if (this.#endpoint!.linkCredit === 0) this.#topUpLater();
    if (payload === undefined) return this.#handOut(delivery);
    const aborted = (error: Error): void => {
      delivery.handleLost(error);
      this.#buffer.remove(delivery);
      this.handleDone(incoming);
    };
    payload.listen(() => this.#handOut(delivery), aborted);
  }

  #handOut(delivery: Delivery): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting.resolve(delivery);
    this.#buffer.push(delivery);
    // One that was on its way when the receiver began to close.
    if (!this.open) this.#releaseBuffered();
  }

  /** @ignore Told by the connection: a delivery that had begun came to nothing, but used its credit. */
  handleAborted(): void {
    this.#topUpLater();
  }

  /** @ignore Told by the connection. */
  handleDrained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
    if (this.#finishing) {
      this.#finishing = false;
      this.#finishWaiting((waiting) => waiting.resolve(undefined));
    }
    this.#topUpLater();
  }

  /** @ignore Told by the connection: the sender spoke of a delivery. */
  handleDisposition(incoming: IncomingDelivery, _state: DeliveryState | undefined, settled: boolean): void {
    if (!settled) return;
    this.recovery?.settled(incoming);
    // In two steps the delivery is done when the sender has settled what we told.
    if (incoming.state !== undefined) {
      if (this.#done(incoming)) {
        this.#told--;
        this.#heard++;
        this.#topUpLater();
      }
    } else if (incoming.context instanceof Delivery) {
      // The sender has not waited for us, as brokers do whose consumers take too long.
      incoming.context.handleLost(
        new AmqpError(condition.detachForced, `Cannot settle delivery: ${this.where} has settled it by itself`, {
          scope: "delivery",
          remote: true,
        }),
      );
    }
  }

  /** @ignore Asked by a delivery: whether it can still be settled. */
  holds(incoming: IncomingDelivery): boolean {
    if (this.#ended === undefined && this.recovery?.holds(incoming)) return true;
    return this.usable && incoming.link === this.#endpoint;
  }

  /** @ignore Told by a delivery: it wants to hear when it is lost, or no more. */
  watch(delivery: Delivery, watched: boolean): void {
    if (watched) this.#watched.add(delivery);
    else this.#watched.delete(delivery);
  }

  /** @ignore Told by a delivery: its outcome is on its way. */
  handleTold(incoming: IncomingDelivery): void {
    if (incoming.settled || incoming.remoteSettled) this.handleDone(incoming);
    else if (isTold(incoming)) this.#awaitSettlement();
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

  // A peer that has agreed to settle second and does not keeps the credit of every message [transport 2.6.12].
  #awaitSettlement(): void {
    this.#told++;
    if (this.#settling === undefined) this.#watchSettlement();
  }

  #watchSettlement(): void {
    const heard = this.#heard;
    const look = (): void => {
      this.#settling = undefined;
      if (this.#told === 0) return;
      // One that settles some now and then makes progress, and one that is not there cannot.
      if (this.#heard !== heard || !this.usable) this.#watchSettlement();
      else this.complain("notSettled", { told: this.#told });
    };
    // Only the log waits for it, also of a link whose connection is lost.
    this.#settling = unref(this.connection.environment.setTimer(look, PATIENCE_MS));
  }

  /** @ignore The next message, or undefined when there will be none. */
  async take(signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    signal?.throwIfAborted();
    const ready = this.#buffer.shift();
    if (ready !== undefined) return ready;
    if (this.#over()) return undefined;
    if (this.#credit === 0) this.#raiseCredit(DEFAULT_CREDIT);
    const waiting = this.#wait();
    if (signal === undefined) return waiting.promise;
    // It may have its delivery already, the news is just not there yet.
    const callOff = onAbort(signal, () => this.#waiting.leave(waiting, () => waiting.reject(signal.reason)));
    try {
      return await waiting.promise;
    } finally {
      callOff();
    }
  }

  // Whether it would be in vain to wait for a message; a link that did not end in order says why.
  #over(): boolean {
    if (this.#ended === undefined) return !this.open && !this.#finishing;
    if (this.error !== undefined) throw this.#ended;
    return true;
  }

  #wait(): Deferred<Delivery | undefined> {
    const waiting = this.#waiting.join();
    if (this.#paused) {
      this.#paused = false;
      this.#topUp();
    }
    if (this.#patience === undefined && this.credit === 0) this.#watchCredit();
    return waiting;
  }

  // Nothing comes without credit, and nobody but the program can give it.
  #watchCredit(): void {
    this.#patience = this.connection.environment.setTimer(() => {
      this.#patience = undefined;
      if (this.#waiting.length === 0 || this.credit > 0 || !this.usable || this.#drained !== undefined) return;
      this.complain("noCredit", { credit: this.#credit });
    }, PATIENCE_MS);
  }

  // Credit that nobody gave is asked for when it is known for what.
  #raiseCredit(credit: number): void {
    if (this.#creditGiven || credit <= this.#credit || !this.open) return;
    const more = credit - this.#credit;
    this.#credit = credit;
    if (this.#endpoint === undefined || this.#endpoint.state === "detached") this.#owed = credit;
    else if (!this.#paused) this.grant(this.credit + more);
  }

  #drain(): Deferred<void> {
    this.#drained ??= new Deferred<void>();
    this.#endpoint!.flow({ drain: true });
    this.connection.wake();
    return this.#drained;
  }

  #callOffDrain(): void {
    this.#drained = undefined;
    this.#paused = false;
    if (this.usable) this.#endpoint!.flow({ drain: false });
    this.connection.wake();
    this.#topUpLater();
  }

  // Nobody takes messages any more: those that were fetched ahead are for others.
  #pause(): void {
    this.#releaseBuffered();
    this.#paused = true;
    if (this.usable && this.credit > 0 && this.#drained === undefined) this.grant(0);
    this.#owed = 0;
  }

  #releaseBuffered(): void {
    for (const delivery of this.#buffer.clear()) {
      if (delivery.remoteSettled) this.#buffer.push(delivery);
      else if (delivery.usable) delivery.release();
    }
  }

  // For events: messages that arrived with them are off the link's credit, but come to us only after them.
  #topUpLater(): void {
    if (this.#toppingUp) return;
    this.#toppingUp = true;
    Promise.resolve().then(() => {
      this.#toppingUp = false;
      this.#topUp();
      this.onsettled?.();
    });
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

  #abortWatched(error: Error): void {
    for (const delivery of [...this.#watched]) delivery.handleLost(error);
  }
}

// Whether the sender was told an outcome, or will be.
function isTold({ state }: IncomingDelivery): boolean {
  return state !== undefined && state.kind !== "received";
}
