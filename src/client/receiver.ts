/**
 * The receiving end of a link.
 *
 * @module
 */

import { checkOptions, WAIT_KINDS } from "../base/options.ts";
import { abortable, ignore, part, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import type { AmqpError } from "../base/errors.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { AttachOptions } from "../engine/link.ts";
import { ReceiverEndpoint, type ReceiverEvent } from "../engine/receiver.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import { Delivery, type DeliveryReceiver } from "./delivery.ts";
import { DeliveryLoop, DeliveryQueue } from "./delivery_queue.ts";
import type { Handlers } from "./handlers.ts";
import { closeFor, type CloseOptions, type Interruption, Link, type LinkConnection } from "./link.ts";
import {
  checkCredit,
  checkServe,
  checkSubscription,
  DEFAULT_CREDIT,
  filterDifference,
  type ReceiveBatchOptions,
  type ReceiveSettings,
  type ServeOptions,
  type ValuesOptions,
} from "./receive_options.ts";
import { ReceiverCredit } from "./receiver_credit.ts";
import { ReceiverSettlement } from "./receiver_settlement.ts";
import type { ReceiverRecovery } from "./recovery.ts";
import type * as Streams from "./streamed_payload.ts";

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
  /** @ignore {@inheritDoc Link.endpoint} */
  declare endpoint: ReceiverEndpoint | undefined;
  /** @ignore {@inheritDoc Link.recovery} */
  declare recovery: ReceiverRecovery | undefined;
  /** @ignore The handlers of `serve`, once it was called. */
  declare handlers: Handlers | undefined;
  readonly #credit: ReceiverCredit;
  readonly #settlement: ReceiverSettlement;
  readonly #queue: DeliveryQueue;
  readonly #automatic: boolean;
  readonly #filterMismatch: "error" | "ignore";
  // The sum of the concurrency of all `serve` calls.
  #concurrency = 0;
  #sawSettled = false;
  #interrupted = false;
  // Loads the module for streams; no credit is granted until it is there.
  #loading: Promise<void> | undefined;
  #streams: typeof Streams | undefined;
  // The payload whose last frame may still be to come.
  #arriving: Streams.StreamedPayload | undefined;

  /** Made by the connection or session. */
  constructor(connection: LinkConnection, from: AttachOptions | ReceiverEndpoint, settings: ReceiveSettings) {
    super(connection, from);
    this.#credit = new ReceiverCredit(this, settings.credit);
    this.#settlement = new ReceiverSettlement(this, this.#credit);
    this.#queue = new DeliveryQueue(this, this.#credit);
    this.#automatic = (settings.settle ?? "auto") === "auto";
    this.#filterMismatch = settings.filterMismatch ?? "error";
    const { recovery = "resend", stream } = settings;
    if (stream) {
      // Parts of a message that were read cannot be read again, which resuming would require.
      if (recovery !== "resend") throw new TypeError('Cannot attach receiver: streams need recovery "resend"');
      this.#credit.withheld = true;
      this.#loading = this.#load();
    }
    if (recovery === "resume") {
      this.recoverBy(part("resumeLinks", () => import("./resume_links.ts")).then((links) => links.forReceiver(this)));
    } else if (typeof recovery === "object") this.recoverBy(recovery.forReceiver(this));
    if ("role" in from) this.#credit.grantPending();
  }

  /** @ignore For a broker: takes each delivery in a call, so that none is buffered or waited for. */
  ondelivery: ((delivery: Delivery) => void) | undefined;

  /** @ignore Called when the sender has settled a delivery after its outcome. */
  onsettled: (() => void) | undefined;

  /** @ignore Called when the link is attached again after an interruption. */
  onreattached: (() => void) | undefined;

  /** Messages that the sender may still send. */
  get credit(): number {
    return this.#credit.left;
  }

  /** Messages that have arrived and wait to be taken. */
  get buffered(): number {
    return this.#queue.length;
  }

  /** Messages that have arrived and are not settled, including those that wait to be taken. */
  get unsettled(): number {
    return this.#settlement.unsettled;
  }

  /** Messages that the sender reports as available; 0 if it does not report. */
  get available(): number {
    return this.endpoint?.available ?? 0;
  }

  /** @ignore Callers that wait for a message. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** @ignore {@inheritDoc Link.facts} */
  override facts(): Record<string, unknown> {
    const { credit, buffered, unsettled } = this;
    return { ...super.facts(), credit, buffered, unsettled };
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
    this.#credit.grant(credit);
  }

  /**
   * Waits for the next message, which the caller settles. After {@linkcode close} it still returns messages that the sender
   * sent settled and nobody has taken.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async receive(options?: WaitOptions): Promise<Delivery> {
    checkOptions("receive", options, WAIT_KINDS);
    const delivery = await this.take(options?.signal);
    if (delivery === undefined) throw this.endError("receive");
    delivery.handleTaken();
    this.#credit.handleRead();
    return delivery;
  }

  /**
   * Waits for the first message, takes what else the sender has available, up to `max` and the receiver's credit, and leaves
   * the rest: one call to poll a queue. The caller settles each message.
   *
   * A receiver that was attached with `credit: "manual"`, or without `credit`, is granted credit for the call.
   *
   * @returns The messages; empty if none came within `waitMs`.
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
    checkOptions("receive batch", options, { signal: "object", waitMs: "number", drainMs: "number" });
    const { receiveBatch } = await part("batch", () => import("./receive_batch.ts"));
    return await receiveBatch(this, max, options, this.#credit, this.#queue);
  }

  /**
   * Iterates over the messages until the receiver is closed on this side.
   *
   * Asking for the next message accepts the previous one. Leaving the loop, by `break` or by a throw, which cannot be told
   * apart, returns the current message as a failed attempt (`modified` with `deliveryFailed`) unless the loop settled it,
   * releases messages not yet taken, and closes the receiver unless `preventCancel` is set. Call `accept()` before `break`.
   *
   * Closing the receiver ends the loop without waiting for it: an unsettled current message goes back to the sender.
   *
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails, or the receiver was closed before.
   */
  values(options: ValuesOptions = {}): AsyncGenerator<Delivery, void, void> {
    checkOptions("iterate", options, { signal: "object", preventCancel: "boolean" });
    return this.#values(options);
  }

  // A loop that begins then would end at once, silently, and a program that begins it again would never do anything else.
  get #ended(): boolean {
    return this.over && this.error === undefined && this.buffered === 0;
  }

  #values(options: ValuesOptions): AsyncGenerator<Delivery, void, void> {
    const ended = this.#ended;
    return new DeliveryLoop({
      automatic: this.#automatic,
      shift: () => this.#queue.shift(),
      take: (signal, loop) => {
        if (ended) throw this.endError("receive");
        return this.#queue.take(signal, loop);
      },
      leave: (waiting) => this.#queue.leave(waiting, () => waiting.resolve(undefined)),
      close: () => this.open ? this.close() : undefined,
    }, options);
  }

  /** Iterates over the messages, see {@linkcode values}. */
  [Symbol.asyncIterator](): AsyncGenerator<Delivery, void, void> {
    return this.#values({});
  }

  /** The messages as a stream, which fails where {@linkcode values} throws. The reader settles each; cancelling closes the link. */
  get readable(): ReadableStream<Delivery> {
    const ended = this.#ended;
    return new ReadableStream<Delivery>({
      pull: async (controller) => {
        if (ended) throw this.endError("receive");
        const delivery = await this.take(undefined);
        if (delivery === undefined) return controller.close();
        delivery.handleTaken();
        controller.enqueue(delivery);
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  /**
   * Calls `handler` with each message, up to `concurrency` at a time. The message is accepted when the handler returns, and
   * returned as a failed attempt (`modified` with `deliveryFailed`) when it throws, with the error going to `onerror` or the
   * log; unless the handler settled it or the receiver was attached with `settle: "manual"`.
   *
   * Resolves when the receiver is closed on this side or `signal` is aborted, after the running handlers. Messages fetched
   * ahead are released then, and no more are requested. Several calls share the messages, and their `concurrency` adds up.
   *
   * Nobody need await the promise: its rejection is never unhandled, so a peer that disconnects ends no server.
   *
   * @throws {AmqpError} If the link, session or connection is ended by the peer or fails, or the receiver was closed before.
   * @throws {TypeError} At once, if the handler is no function, or an option does not exist or is of the wrong kind.
   * @throws {RangeError} At once, if `concurrency` is not a whole number from 1, or above an explicit credit of the receiver.
   * @throws The error of `onerror` or `retryDelay`, once the running handlers are done.
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
    const { isGiven, window } = this.#credit;
    if (isGiven && window > 0 && total > window) {
      throw new RangeError(
        `Cannot serve ${this.where}: concurrency ${total} is above the receiver's credit ${window}, raise or leave out the credit`,
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
    if (this.#ended && !options.signal?.aborted) throw this.endError("serve");
    this.#concurrency += concurrency;
    try {
      // No handler is called before `serve` has returned.
      const { Handlers, serveEach } = await part("serve", () => import("./serve.ts"));
      const handlers = this.handlers ??= new Handlers(this.connection.environment);
      await handlers.prepare(() => part("sockets", () => import("../transport/socket/dial.ts")));
      this.#credit.raise(this.#concurrency + Math.max(1, this.#concurrency >> 1));
      const report = (error: unknown) => this.writeLog("handlerFailed", { automatic: this.#automatic, error });
      const source = { handlers, automatic: this.#automatic, queue: this.#queue, report };
      await serveEach(source, handler, options);
    } finally {
      this.#concurrency -= concurrency;
      this.handlers?.returnDelayed();
      if (this.open && this.#concurrency === 0 && this.waiting === 0) {
        // Messages fetched ahead go to other receivers.
        this.#queue.release();
        this.#credit.pause();
      }
    }
  }

  /**
   * Asks the sender to send what it has available, up to its credit, and to return the rest. Waits for the link to be
   * attached. No more messages come until the buffer is empty and a caller waits for one.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async drain(options: WaitOptions = {}): Promise<void> {
    checkOptions("drain", options, WAIT_KINDS);
    const { signal } = options;
    throwIfAborted(signal);
    if (!this.open) throw this.endError("drain");
    if (this.#credit.window === 0) this.#credit.raise(DEFAULT_CREDIT);
    await this.ready({ signal });
    if (this.#loading !== undefined) await abortable(Promise.race([this.#loading, this.closed]), signal);
    if (!this.open) throw this.endError("drain");
    await this.#credit.drain(signal);
  }

  /** @ignore Whether only the program grants credit. */
  get isManual(): boolean {
    return this.#credit.isGiven && this.#credit.window === 0;
  }

  /**
   * Takes no more messages, releases those that nobody has taken, and closes the link after the running handlers. Returns at
   * once, so a handler may call it.
   */
  stop(): void {
    const close = () => this.close();
    (this.handlers?.stop(close) ?? close()).catch(ignore);
  }

  /**
   * Ends the link after the running handlers of {@linkcode serve}, or when the time is up. Messages that nobody has taken are
   * released, except those that the sender sent settled, which it will not send again: {@linkcode receive} and loops still
   * return them, also after the end. Never fails because the link has ended already.
   *
   * A call within a handler of this connection does not wait for that handler, in browsers only before its first `await`; the
   * link then ends when the handler returns.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return closeFor(() => super.close(options), [this], options);
  }

  /** {@inheritDoc Link.detach} */
  override detach(options: CloseOptions = {}): Promise<void> {
    return closeFor(() => super.detach(options), [this], options);
  }

  /** @ignore {@inheritDoc Link.attachAs} */
  protected override attachAs(settings: AttachOptions, session: SessionEndpoint): ReceiverEndpoint {
    const again = this.endpoint !== undefined;
    const endpoint = this.endpoint = session.attach(ReceiverEndpoint, settings);
    this.recovery?.attaching(endpoint);
    this.#streams?.takeStreams(endpoint, this);
    // The flow of a link that is attached again waits for the peer's attach: the peer may still hold the former link, and
    // would end the session over a flow for an unknown handle.
    if (!again) this.#credit.grantPending();
    return endpoint;
  }

  /** {@inheritDoc Link.onattached} */
  protected override onattached(): void {
    for (const incoming of this.recovery?.attached(this.remote!) ?? []) {
      const lost = this.#settlement.lose(incoming);
      if (lost !== undefined) this.#queue.remove(lost);
    }
    this.#credit.handleAttached(this.recovery?.resumed ?? 0);
    if (this.#interrupted) this.onreattached?.();
    if (this.returns) checkSubscription(this);
  }

  /** @ignore {@inheritDoc Link.resumeEndpoint} */
  protected override resumeEndpoint(): void {
    this.onreattached?.();
  }

  /** {@inheritDoc Link.oninterrupted} */
  protected override oninterrupted(error: Error): Interruption {
    this.#credit.handleInterrupted();
    this.#interrupted = true;
    this.#arriving?.fail(error);
    // Resumable deliveries can still be settled, and their transfers on the next link use up credit.
    if (this.endpoint !== undefined && this.recovery?.interrupted(this.endpoint, this.unsettled)) return {};
    // The sender delivers unsettled deliveries again, so they no longer count; only those sent settled remain.
    const arrived = this.#settlement.clear();
    this.#queue.drop();
    this.#settlement.abort(error);
    return { redelivered: arrived - this.buffered };
  }

  async #load(): Promise<void> {
    try {
      this.#streams = await part("streams", () => import("./streamed_payload.ts"));
    } catch (error) {
      return this.connection.endLink(this, error as Error);
    }
    this.#loading = undefined;
    this.#credit.withheld = false;
    if (this.endpoint === undefined || !this.open) return;
    this.#streams.takeStreams(this.endpoint, this);
    this.#credit.grantPending();
  }

  /** {@inheritDoc Link.inFlight} */
  protected override get inFlight(): boolean {
    return this.recovery !== undefined && this.unsettled > 0;
  }

  /** {@inheritDoc Link.idle} */
  protected override async idle(): Promise<void> {
    const { handlers } = this;
    const { drained } = this.#credit;
    const warn = () => this.writeLog("closeWaits", { running: handlers!.running });
    await (handlers?.idle(drained, warn) ?? drained?.catch(ignore));
    await this.recovery?.idle();
  }

  /** {@inheritDoc Link.onclosing} */
  protected override onclosing(): void {
    this.handlers?.returnDelayed();
    this.#queue.release();
    if (this.usable && this.credit > 0 && this.#credit.drained === undefined) {
      this.#queue.finishing = this.#sawSettled || this.endpoint!.sndSettleMode === "settled";
      if (this.#queue.finishing) this.#credit.startDrain();
      // While handlers run, further messages would only be released.
      else this.grant(0);
    }
    if (!this.#queue.finishing) this.#queue.finish();
  }

  /** {@inheritDoc Link.checkAttached} */
  protected override checkAttached(): AmqpError | undefined {
    if (this.#filterMismatch === "ignore") return undefined;
    return filterDifference(this.endpoint?.local, this.remote);
  }

  /** {@inheritDoc Link.onended} */
  protected override onended(ending: () => Error): void {
    const error = ending();
    this.recovery?.ended(this.endpoint);
    this.#arriving?.fail(error);
    // Unsettled deliveries cannot be settled any more: the sender delivers them again, so work on them is wasted.
    this.#queue.drop();
    this.#settlement.abort(error);
    if (this.error === undefined) this.#queue.finish();
    else this.#queue.end((waiting) => waiting.reject(error));
    this.#credit.handleEnded(error);
    this.#settlement.handleEnded();
    this.handlers?.returnDelayed();
  }

  /** @ignore {@inheritDoc Link.handleEvent} */
  override handleEvent(event: ReceiverEvent): void {
    switch (event.kind) {
      case "delivery":
        return this.#handleDelivery(event.delivery);
      case "disposition":
        if (event.settled) this.#settlement.handleSettled(event.delivery);
        break;
      case "drained":
        this.#credit.handleDrained();
        if (this.#queue.finishing) this.#queue.finish();
        return this.#credit.topUpLater();
      case "aborted":
        // A delivery that the sender aborted has used its credit.
        return this.#credit.topUpLater();
    }
  }

  /** @ignore The next message, or undefined when there will be none. */
  take(signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    return this.#queue.take(signal);
  }

  #handleDelivery(incoming: IncomingDelivery): void {
    const payload = this.#arriving = incoming.context as Streams.StreamedPayload | undefined;
    const delivery = new Delivery(this, this.#settlement, incoming, payload);
    this.#settlement.add(incoming, delivery);
    if (incoming.remoteSettled) this.#sawSettled = true;
    if (this.ondelivery !== undefined && this.open) return this.ondelivery(delivery);
    // A program may settle only in large batches: credit withheld at its last settlement is granted when the rest is used up.
    if (this.#credit.left === 0) this.#credit.topUpLater();
    if (payload === undefined) return this.#queue.add(delivery);
    const aborted = (error: Error): void => {
      delivery.handleLost(error);
      this.#queue.remove(delivery);
      this.#settlement.handleDone(incoming);
    };
    payload.listen(() => this.#queue.add(delivery), aborted);
  }
}
