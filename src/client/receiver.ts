/**
 * The receiving end of a link.
 *
 * @module
 */

import { checkOptions, WAIT_KINDS } from "../base/options.ts";
import { abortable, Deferred, ignore, loadedPart, part, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import type { AmqpError } from "../base/errors.ts";
import { DecodedMessage, readMessage } from "../codec/message.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { ReceiverEndpoint, ReceiverEvent } from "../engine/receiver.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type { Delivery, DeliveryReceiver } from "./delivery.ts";
import type { Handlers } from "./handlers.ts";
import { showFacts } from "./inspect.ts";
import { closeFor, type CloseOptions, type Interruption, Link, type LinkConnection } from "./link.ts";
import {
  checkGrant,
  checkServe,
  type ReceiveBatchOptions,
  type ReceiveSettings,
  type ServeOptions,
  type ValuesOptions,
} from "./receive_options.ts";
import type { Receiving } from "./receiving.ts";
import type * as Subscribed from "./subscription.ts";
import type { ReceiverRecovery } from "./recovery.ts";

// What a receiver has while its receiving is loaded, which the first receiver of a program waits for.
interface Beginning {
  readonly receiving: Deferred<Receiving>;
  loading: Promise<void> | undefined;
  /** Credit to grant. */
  credit: number | undefined;
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
  /** @ignore {@inheritDoc Link.endpoint} */
  declare endpoint: ReceiverEndpoint | undefined;
  /** @ignore {@inheritDoc Link.recovery} */
  declare recovery: ReceiverRecovery | undefined;
  /** @ignore The handlers of `serve`, once it was called. */
  declare handlers: Handlers | undefined;
  readonly #settings: ReceiveSettings;
  // Undefined until it is loaded; an attach waits for it.
  #receiving: Receiving | undefined;
  #beginning: Beginning | undefined;
  // The sum of the concurrency of all `serve` calls.
  #concurrency = 0;

  /** Made by the connection or session; a link that the peer attached needs its receiving at once. */
  constructor(
    connection: LinkConnection,
    from: AttachOptions | ReceiverEndpoint,
    settings: ReceiveSettings,
    Made: typeof Receiving | undefined = loadedPart<typeof Subscribed>("receiving")?.SubscribedReceiving,
  ) {
    super(connection, from);
    this.#settings = settings;
    const { recovery = "resend", stream } = settings;
    // Parts of a message that were read cannot be read again, which resuming would require.
    if (stream && recovery !== "resend") {
      throw new TypeError('Cannot attach receiver: streams need recovery "resend"');
    }
    if (Made !== undefined) this.#receive(Made);
    else {
      this.#beginning = { receiving: new Deferred(), loading: undefined, credit: undefined };
      this.prepare()?.catch(ignore);
    }
    if (recovery === "resume") {
      this.recoverBy(part("resumeLinks", () => import("./resume_links.ts")).then((links) => links.forReceiver(this)));
    } else if (typeof recovery === "object") this.recoverBy(recovery.forReceiver(this));
    if ("role" in from) this.#receiving!.credit.grantPending();
  }

  /** @ignore {@inheritDoc Link.prepare} */
  override prepare(): Promise<unknown> | undefined {
    const beginning = this.#beginning;
    if (beginning === undefined) return super.prepare();
    const load = async (): Promise<void> => {
      const { SubscribedReceiving } = await part("receiving", () => import("./subscription.ts"));
      if (this.over) return;
      const receiving = this.#receive(SubscribedReceiving);
      if (beginning.credit !== undefined) receiving.credit.grant(beginning.credit);
      this.#beginning = undefined;
      beginning.receiving.resolve(receiving);
    };
    // A network that is down for the connection is down for the part, too: the next attachment tries again.
    const retry = (): void => {
      beginning.loading = undefined;
    };
    if (beginning.loading === undefined) (beginning.loading = load()).catch(retry);
    return beginning.loading.then(() => super.prepare());
  }

  #receive(Made: typeof Receiving): Receiving {
    const receiving = this.#receiving = new Made(this, this.#settings);
    showFacts(receiving.shown, "Delivery");
    return receiving;
  }

  // Waits for the receiving; undefined if the receiver was closed meanwhile.
  async #loaded(doing: string, signal?: AbortSignal): Promise<Receiving | undefined> {
    if (this.over) throw this.error ?? this.endError(doing);
    await abortable(Promise.race([this.#beginning!.receiving.promise, this.closed]), signal);
    if (this.#receiving === undefined && this.error !== undefined) throw this.error;
    return this.#receiving;
  }

  /** @ignore For a broker: takes each delivery in a call, so that none is buffered or waited for. */
  ondelivery: ((delivery: Delivery) => void) | undefined;

  /** @ignore Called when the sender has settled a delivery after its outcome. */
  onsettled: (() => void) | undefined;

  /** @ignore Called when the link is attached again after an interruption. */
  onreattached: (() => void) | undefined;

  /** Messages that the sender may still send. */
  get credit(): number {
    return this.endpoint?.linkCredit ?? 0;
  }

  /** Messages that have arrived and wait to be taken. */
  get buffered(): number {
    return this.#receiving?.queue.length ?? 0;
  }

  /** Messages that have arrived and are not settled, including those that wait to be taken. */
  get unsettled(): number {
    return this.#receiving?.settlement.unsettled ?? 0;
  }

  /** Messages that the sender reports as available; 0 if it does not report. */
  get available(): number {
    return this.endpoint?.available ?? 0;
  }

  /** @ignore Callers that wait for a message. */
  get waiting(): number {
    return this.#receiving?.queue.waiting ?? 0;
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
    checkGrant(credit);
    if (this.#receiving !== undefined) return this.#receiving.credit.grant(credit);
    this.requireOpen("grant credit");
    this.#beginning!.credit = credit;
  }

  /**
   * Waits for the next message, which the caller settles. After {@linkcode close} it still returns messages that the sender
   * sent settled and nobody has taken.
   *
   * @throws {AmqpError} If the link, session or connection ends first.
   */
  async receive(options?: WaitOptions): Promise<Delivery> {
    checkOptions("receive", options, WAIT_KINDS);
    const signal = options?.signal;
    const receiving = this.#receiving ?? await this.#loaded("receive", signal);
    const delivery = await receiving?.queue.take(signal);
    if (delivery === undefined) throw this.endError("receive");
    delivery.handleTaken();
    receiving!.credit.handleRead();
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
    const receiving = this.#receiving ?? await this.#loaded("receive", options.signal);
    if (receiving === undefined) throw this.endError("receive");
    return await receiveBatch(this, max, options, receiving.credit, receiving.queue);
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
    const ended = this.#ended ? this.endError("receive") : undefined;
    if (this.#receiving !== undefined) return this.#receiving.loop(options, ended);
    return new LateLoop(this.#loaded("receive").then((receiving) => receiving?.loop(options, ended) ?? noDeliveries()));
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
    const { credit } = this.#settings;
    if (typeof credit === "number" && credit > 0 && total > credit) {
      throw new RangeError(
        `Cannot serve ${this.where}: concurrency ${total} is above the receiver's credit ${credit}, raise or leave out the credit`,
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
      const receiving = this.#receiving ?? await this.#loaded("serve");
      await receiving?.serve(handler, options, () => this.#concurrency);
    } finally {
      this.#concurrency -= concurrency;
      this.#receiving?.handleServed(this.#concurrency);
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
    const receiving = this.#receiving ?? await this.#loaded("drain", signal);
    if (!await receiving?.drain(signal)) throw this.endError("drain");
  }

  /** @ignore Whether only the program grants credit. */
  get isManual(): boolean {
    const { credit } = this.#settings;
    return credit === "manual" || credit === 0;
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
    return (this.#receiving as Subscribed.SubscribedReceiving).attach(settings, session);
  }

  /** {@inheritDoc Link.onattached} */
  protected override onattached(): void {
    this.#receiving!.handleAttached();
  }

  /** @ignore {@inheritDoc Link.resumeEndpoint} */
  protected override resumeEndpoint(): void {
    this.onreattached?.();
  }

  /** {@inheritDoc Link.oninterrupted} */
  protected override oninterrupted(error: Error): Interruption {
    return this.#receiving?.handleInterrupted(error) ?? {};
  }

  /** {@inheritDoc Link.inFlight} */
  protected override get inFlight(): boolean {
    return this.recovery !== undefined && this.unsettled > 0;
  }

  /** {@inheritDoc Link.idle} */
  protected override async idle(): Promise<void> {
    await this.#receiving?.idle();
  }

  /** {@inheritDoc Link.onclosing} */
  protected override onclosing(): void {
    this.#receiving?.handleClosing();
  }

  /** {@inheritDoc Link.checkAttached} */
  protected override checkAttached(): AmqpError | undefined {
    return this.#receiving!.checkAttached();
  }

  /** {@inheritDoc Link.onended} */
  protected override onended(ending: () => Error): void {
    const error = ending();
    this.recovery?.ended(this.endpoint);
    this.#receiving?.handleEnded(error);
  }

  /** @ignore {@inheritDoc Link.handleEvent} */
  override handleEvent(event: ReceiverEvent): void {
    this.#receiving!.handleEvent(event);
  }

  // Here and not in what is loaded later: a program that publishes would have it, too, since bundlers know only whole files.
  /** @ignore {@inheritDoc DeliveryReceiver.decode} */
  decode(bytes: Uint8Array, messageFormat: number): DecodedMessage {
    return messageFormat === 0 ? readMessage(bytes, this.connection.limits) : rawMessage(bytes);
  }

  /** @ignore The next message, or undefined when there will be none. */
  async take(signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    const receiving = this.#receiving ?? await this.#loaded("receive", signal);
    return await receiving?.queue.take(signal);
  }
}

// The meaning of the bytes depends on the message format [messaging 3.2.16].
function rawMessage(payload: Uint8Array): DecodedMessage {
  const message = new DecodedMessage(new Uint8Array(0));
  message.body = payload;
  return message;
}

async function* noDeliveries(): AsyncGenerator<Delivery, void, void> {}

/** A loop that may begin before what it takes its messages from is loaded. */
class LateLoop implements AsyncGenerator<Delivery, void, void> {
  readonly #loading: Promise<AsyncGenerator<Delivery, void, void>>;
  #loop: AsyncGenerator<Delivery, void, void> | undefined;

  constructor(loading: Promise<AsyncGenerator<Delivery, void, void>>) {
    this.#loading = loading;
    loading.then((loop) => this.#loop = loop, ignore);
  }

  next(): Promise<IteratorResult<Delivery, void>> {
    return this.#loop?.next() ?? this.#loading.then((loop) => loop.next());
  }

  return(value?: void | PromiseLike<void>): Promise<IteratorResult<Delivery, void>> {
    return this.#loop?.return(value) ?? this.#loading.then((loop) => loop.return(value));
  }

  throw(error: unknown): Promise<IteratorResult<Delivery, void>> {
    return this.#loop?.throw(error) ?? this.#loading.then((loop) => loop.throw(error));
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
}
