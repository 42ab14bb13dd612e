/**
 * The sending end of a link.
 *
 * @module
 */

import { isBytes } from "../base/kinds.ts";
import { checkOptions, WAIT_KINDS } from "../base/options.ts";
import { giveBlock } from "../base/pool.ts";
import { abortReason, Deferred, onAbort, part, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import { type Message, writeMessage } from "../codec/message.ts";
import { checkEncoded } from "../codec/message_checks.ts";
import type { DeliveryState, Outcome, TransactionalState } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { AttachOptions } from "../engine/link.ts";
import {
  type DeliveryOptions,
  type OutgoingDelivery,
  OutgoingLink,
  type PayloadSource,
  type SenderState,
} from "../engine/outgoing.ts";
import { SenderEndpoint, type SenderEvent } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import { type Interruption, Link, type LinkConnection } from "./link.ts";
import type { SendSettings } from "./link_options.ts";
import {
  NO_OPTIONS,
  outcomeOf,
  PromisedOutcome,
  SEND_KINDS,
  SendAbortedError,
  type SendListener,
  type SendOptions,
  type SendOutcome,
} from "./outcome.ts";
import type { SenderRecovery } from "./recovery.ts";
import type { ParallelSends, ParallelSink } from "./send_all.ts";
import { SendWatch } from "./send_watch.ts";
import type { StreamedMessage } from "./stream.ts";

// Room for some dozens of small messages; a message that is held for long keeps no more memory alive than one block.
export const BLOCK_BYTES = 16_384;

/**
 * Sends messages to one address; made by `sender` of a connection or session.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 *
 * async function main(connection: Connection) {
 *   await using orders = connection.sender("orders");
 *   await orders.send({ body: "one coffee" });
 *   await orders.sendAll(["two teas", "a cake"].map((body) => ({ body })));
 * }
 * ```
 */
export class Sender extends Link {
  /** Always `"sender"`. */
  protected override readonly role = "sender";
  /** @ignore {@inheritDoc Link.endpoint} */
  declare endpoint: SenderEndpoint | undefined;
  readonly #writer = new Writer(BLOCK_BYTES);
  readonly #outgoing = new OutgoingLink();
  readonly #watch: SendWatch = new SendWatch(this, this.#outgoing);
  // Messages with a listener.
  #pending = 0;
  #changed: Deferred<void> | undefined;
  /** @ignore Runs of `sendAll` and `writable`, which fail when the link ends even while they have nothing to send. */
  readonly parallel: Set<ParallelSends> = new Set();
  /** @ignore Called when no message is under way any more. */
  onidle: (() => void) | undefined;
  /** @ignore See {@linkcode SendSettings.maxInFlight}; undefined for the default. */
  readonly maxInFlight: number | undefined;

  readonly #resends: boolean;
  /** @ignore {@inheritDoc Link.recovery} */
  declare recovery: SenderRecovery | undefined;

  /** Made by the connection or session. */
  constructor(connection: LinkConnection, from: AttachOptions | SenderEndpoint, settings: SendSettings = {}) {
    super(connection, from);
    this.maxInFlight = settings.maxInFlight;
    const { recovery } = settings;
    this.#resends = recovery !== "fail";
    if (recovery === "resume") {
      this.recoverBy(
        part("resumeLinks", () => import("./resume_links.ts")).then((links) => links.forSender(this, this.#outgoing)),
      );
    } else if (typeof recovery === "object") this.recoverBy(recovery.forSender(this, this.#outgoing));
    if ("role" in from) this.#useOutgoing(from);
  }

  /** Called when the receiver grants credit, or drains: messages sent in the call precede the return of unused credit. */
  oncredit: (() => void) | undefined;

  /** Messages that the receiver accepts now, beyond those that wait here. */
  get credit(): number {
    return this.endpoint?.sendable ?? 0;
  }

  /** @ignore True while the receiver drains. */
  get draining(): boolean {
    return this.endpoint?.draining ?? false;
  }

  /** @ignore Holds back the answer to a drain while `searching` for messages to send. */
  setSearching(searching: boolean): void {
    if (this.endpoint === undefined) return;
    this.endpoint.searching = searching;
    if (searching) return;
    this.endpoint.wake();
    this.connection.wake();
  }

  /** @ignore {@inheritDoc Link.facts} */
  override facts(): Record<string, unknown> {
    return { ...super.facts(), credit: this.credit, pending: this.pending };
  }

  /** Messages that wait for credit or for their outcome. */
  get pending(): number {
    return this.#pending;
  }

  /**
   * Sends one message: waits for credit, then for the outcome. Messages arrive in the order of the calls.
   *
   * Bytes are taken for an encoded message and sent unchanged; do not write to them before the outcome. Aborting `signal`
   * after the message has left abandons the wait, not the message. A failure that nobody awaits is reported nowhere else.
   *
   * @returns The outcome; undefined for a sender attached with `sndSettleMode: "settled"`, which the type cannot express.
   * @throws {OutcomeError} If the message was rejected, released, modified, or its outcome was lost with the link.
   * @throws {SendAbortedError} If `signal` was aborted; the error says whether the message had left.
   * @throws {AmqpError} If the link ended before the message left, or the message is larger than the receiver accepts.
   * @throws {RangeError} If `tag` or `messageFormat` is out of range.
   *
   * @example
   * ```ts
   * import type { Sender } from "@webamqp/amqp";
   *
   * async function order(orders: Sender) {
   *   const outcome = await orders.send({ body: "one coffee", properties: { messageId: "1" } });
   *   console.assert(outcome?.kind === "accepted");
   * }
   * ```
   */
  send(message: Message | Uint8Array, options?: SendOptions & { settled?: false | undefined }): Promise<SendOutcome>;
  /** Sends one message settled: at most once, and without an outcome. Resolves when its last frame is written. */
  send(message: Message | Uint8Array, options: SendOptions & { settled: true }): Promise<undefined>;
  /** Sends one message, settled or not as `options` say at run time. */
  send(message: Message | Uint8Array, options?: SendOptions): Promise<SendOutcome | undefined>;
  send(message: Message | Uint8Array, options: SendOptions = NO_OPTIONS): Promise<SendOutcome | undefined> {
    try {
      checkOptions("send", options, SEND_KINDS);
      const { signal } = options;
      if (signal?.aborted) throw new SendAbortedError(abortReason(signal), false, this.where);
      if (!this.open) throw this.endError("send");
      const listener = new PromisedOutcome(this, signal, options.decide);
      const delivery = this.push(message, options, listener);
      if (signal !== undefined) this.#abortBy(signal, delivery, listener);
      return listener.promise;
    } catch (error) {
      return this.refused(error, message);
    }
  }

  /** @ignore For a broker: sends an encoded message, and reports to the listener in calls. */
  forward(payload: Uint8Array, options: DeliveryOptions, listener: SendListener): OutgoingDelivery | undefined {
    if (this.open) return this.push(payload, options, listener);
    listener.onlost(this.endError("send"), false);
    return undefined;
  }

  /** @ignore Queues one message. */
  push(
    message: Message | Uint8Array | PayloadSource,
    options: DeliveryOptions,
    listener: SendListener,
  ): OutgoingDelivery {
    const payload = typeof message === "object" && message !== null && "read" in message
      ? message
      : this.#encode(message, options.messageFormat);
    this.connection.admit("length" in payload ? payload.length : 0);
    const waits = this.credit === 0;
    if (waits) this.connection.creditWaits++;
    const delivery = this.#outgoing.push(payload, options);
    delivery.context = listener;
    this.recovery?.pushed(delivery);
    this.#pending++;
    this.connection.wake();
    // A server may hold what it sends as long as it likes: whoever consumes it takes the time that work takes.
    if (waits || this.settings !== undefined) this.#watch.begin();
    return delivery;
  }

  /**
   * Sends many messages and keeps the link full: takes the next from `messages` as soon as there is credit for it.
   *
   * While `messages` has nothing to give, the end of the link or of `signal` ends it too, and abandons `messages`.
   *
   * @returns How many messages there were, all of them accepted.
   * @throws {OutcomeError | AmqpError} The first failure, once every message that was taken has an outcome.
   * @throws The error of `messages`, or the reason of an aborted `signal`.
   */
  async sendAll(
    messages: Iterable<Message | Uint8Array> | AsyncIterable<Message | Uint8Array>,
    options: SendOptions = {},
  ): Promise<number> {
    checkOptions("send all", options, SEND_KINDS);
    const { sendEach } = await part("sendAll", () => import("./send_all.ts"));
    return await sendEach(this, messages, options);
  }

  /**
   * Sends one message that is larger than memory, on a link and a session of its own, so that a slow receiver stops nothing
   * else: its body is read as the receiver, the session and the channel take more, a few frames ahead. A link that the peer
   * has attached sends it itself, and later messages of that link wait.
   *
   * A streamed message is never sent again: if the connection is lost, its outcome is lost.
   *
   * @returns The outcome.
   * @throws {OutcomeError | AmqpError} As {@linkcode send} does.
   * @throws The error of the body; the message is aborted then, and the receiver drops it.
   *
   * @example
   * ```ts
   * import type { Sender } from "@webamqp/amqp";
   *
   * async function upload(files: Sender, file: Blob) {
   *   await files.stream({ properties: { subject: "backup" }, body: file.stream() });
   * }
   * ```
   */
  async stream(message: StreamedMessage, options: WaitOptions = {}): Promise<SendOutcome | undefined> {
    checkOptions("stream", options, WAIT_KINDS);
    throwIfAborted(options.signal);
    this.requireOpen("send");
    const { sendStream } = await part("stream", () => import("./stream.ts"));
    // A link that ended while the module loaded would never report on the message.
    this.requireOpen("send");
    // Only the peer can attach a further link like one that it attached.
    const sender = this.returns ? this.connection.senderForStream!(this) : this;
    return await sendStream(sender, sender !== this, message, options);
  }

  /**
   * A stream that sends the messages written to it, with the link's credit as back-pressure.
   *
   * The stream errors with the first message that is not accepted. Closing it waits for all outcomes; the link stays open.
   */
  get writable(): WritableStream<Message | Uint8Array> {
    let sink: ParallelSink | undefined;
    return new WritableStream({
      start: async (controller) => {
        const { ParallelSink } = await part("sendAll", () => import("./send_all.ts"));
        sink = new ParallelSink(this, controller);
      },
      write: (message) => sink!.write(message),
      close: () => sink!.close(),
      // There is no sink if the link ended while the module loaded.
      abort: (reason) => sink?.abort(reason),
    });
  }

  /** @ignore Messages that wait for credit or for their outcome, and their bytes. */
  waiting(): { messages: number; bytes: number } {
    let bytes = 0;
    for (const { payload } of this.#outgoing) bytes += payload.length;
    return { messages: this.#pending, bytes };
  }

  /** @ignore Resolves when credit comes, or when one message less waits. */
  change(): Promise<void> {
    return (this.#changed ??= new Deferred<void>()).promise;
  }

  /** @ignore Abandons all messages of `listener`; the outcomes of those that have left are ignored. */
  abandon(listener: SendListener): void {
    for (const delivery of this.#outgoing) if (delivery.context === listener) this.#abandon(delivery);
    this.#notify();
    this.connection.wake();
  }

  /** @ignore {@inheritDoc Link.attachAs} */
  protected override attachAs(settings: AttachOptions, session: SessionEndpoint): SenderEndpoint {
    return this.#useOutgoing(session.attach(SenderEndpoint, settings));
  }

  /** @ignore {@inheritDoc Link.resumeEndpoint} */
  protected override resumeEndpoint(endpoint: SenderEndpoint): void {
    this.#useOutgoing(endpoint);
  }

  /** {@inheritDoc Link.oninterrupted} */
  protected override oninterrupted(error: Error): Interruption {
    const begun = this.#outgoing.size - this.#outgoing.queued;
    const over = this.#outgoing.rewind(this.#resends, this.recovery !== undefined);
    for (const delivery of over) this.recovery?.dropped(delivery);
    const lost = over.map((delivery) => ({ delivery, listener: this.#done(delivery) }))
      .filter(({ listener }) => listener !== undefined);
    for (const { delivery, listener } of lost) listener!.onlost(error, true, delivery);
    this.#notify();
    return { resent: this.recovery === undefined ? begun - over.length : 0, lost: lost.length };
  }

  /** {@inheritDoc Link.inFlight} */
  protected override get inFlight(): boolean {
    return this.#pending > 0;
  }

  /** {@inheritDoc Link.idle} */
  protected override async idle(): Promise<void> {
    while (this.pending > 0) await this.change();
  }

  /** {@inheritDoc Link.onclosing} */
  protected override onclosing(): void {
    for (const sends of this.parallel) sends.fail(this.endError("send"));
    this.#notify();
  }

  /** {@inheritDoc Link.onended} */
  protected override onended(ending: () => Error): void {
    this.#watch.end();
    this.#writer.release();
    // Listeners come last: they may send again at once.
    const ended = this.#outgoing.clear().map((delivery) => ({ left: hasLeft(delivery), delivery }));
    // Recovery keeps a message that has left: a later process may learn its outcome.
    for (const { left, delivery } of ended) if (!left) this.recovery?.dropped(delivery);
    this.recovery?.ended();
    for (const { left, delivery } of ended) this.#done(delivery)?.onlost(ending(), left, delivery);
    for (const sends of this.parallel) sends.fail(ending());
    this.#notify();
  }

  /** @ignore {@inheritDoc Link.handleEvent} */
  override handleEvent(event: SenderEvent): void {
    switch (event.kind) {
      case "disposition":
        return this.handleDisposition(event.delivery, event.state, event.settled);
      case "credit":
        return this.handleCredit();
      case "sent":
        return this.#settled(event.delivery)?.onsent(event.delivery);
      case "refused":
        return this.#settled(event.delivery)?.onlost(event.error, false, event.delivery);
    }
  }

  /** @ignore Called by the connection when credit comes. */
  handleCredit(): void {
    try {
      this.oncredit?.();
    } catch (error) {
      this.writeLog("callbackFailed", { callback: "oncredit", error });
    }
    this.#notify();
  }

  /** @ignore Settles a message for which the receiver sent a provisional outcome. */
  conclude(delivery: OutgoingDelivery, { txnId, outcome }: TransactionalState): void {
    // The kind suffices, as outside transactions.
    delivery.settle({ kind: "transactionalState", txnId, outcome: outcome && { kind: outcome.kind } as Outcome });
    this.#settled(delivery);
    this.connection.wake();
  }

  /** @ignore The receiver sent a state; see {@linkcode RecoveringSender.handleDisposition}. */
  handleDisposition(
    delivery: OutgoingDelivery,
    state: DeliveryState | undefined,
    settled: boolean,
    kept?: false,
  ): void {
    const listener = delivery.context as SendListener | undefined;
    if (state?.kind === "transactionalState" && listener?.onprovisional !== undefined) {
      if (settled) this.#settled(delivery);
      return listener.onprovisional(state, settled, delivery);
    }
    let outcome = outcomeOf(state, undefined);
    // The receiver waits for this side to settle in mode `second` alone; otherwise an unknown state may be progress.
    const isOutcome = outcome !== undefined &&
      (outcome.kind !== "unknown" || this.endpoint?.rcvSettleMode === "second");
    if (!settled && !isOutcome) return;
    if (kept === undefined && this.recovery?.outcome(delivery, state, settled)) return;
    if (!settled) {
      const known = outcome!.kind === "unknown" ? undefined : outcome as Outcome;
      const decided = known && this.#decide(listener, known);
      // A receiver that sends an outcome unsettled waits for this side to settle [transport 2.6.12]. The kind suffices: the
      // rest need not fit into a frame of ours, and some peers take the returned error for one of their own.
      delivery.settle(decided ?? (known && { kind: known.kind } as SenderState));
      outcome = decided ?? outcome;
      this.connection.wake();
    }
    this.recovery?.concluded(delivery);
    this.#settled(delivery)?.onoutcome(outcome, delivery);
  }

  // The outcome that the option `decide` settles with instead of `asked`, if any.
  #decide(listener: SendListener | undefined, asked: Outcome): Outcome | undefined {
    try {
      return (listener as PromisedOutcome | undefined)?.decide?.(asked);
    } catch (error) {
      this.writeLog("callbackFailed", { callback: "decide", error });
    }
  }

  /** @ignore {@inheritDoc RecoveringSender.lose} */
  lose(delivery: OutgoingDelivery, error: unknown, left: boolean): void {
    if (!left) this.#outgoing.drop(delivery);
    this.#settled(delivery)?.onlost(error, left);
  }

  /** @ignore {@inheritDoc RecoveringSender.restore} */
  restore(payload: Uint8Array, tag: Uint8Array, messageFormat: number, listener: SendListener): OutgoingDelivery {
    const options = { tag, messageFormat, resume: true, ready: false };
    const delivery = this.#outgoing.push(payload, options, true);
    delivery.context = listener;
    this.#pending++;
    return delivery;
  }

  /** {@inheritDoc Link.onattached} */
  protected override onattached(): void {
    this.recovery?.attached(this.remote!);
  }

  #useOutgoing(endpoint: SenderEndpoint): SenderEndpoint {
    endpoint.useOutgoing(this.#outgoing);
    return this.endpoint = endpoint;
  }

  #encode(message: Message | Uint8Array, messageFormat: number | undefined): Uint8Array {
    if (isBytes(message)) {
      if (!messageFormat) checkEncoded(message);
      return message;
    }
    writeMessage(message, this.#writer);
    return this.#writer.take();
  }

  // A closure in the method that sends would cost every message memory for what it refers to.
  #abortBy(signal: AbortSignal, delivery: OutgoingDelivery, listener: PromisedOutcome): void {
    listener.callOff = onAbort(signal, () => {
      this.#abandon(delivery);
      listener.abort(hasLeft(delivery), delivery);
      this.#notify();
      this.connection.wake();
    });
  }

  #abandon(delivery: OutgoingDelivery): void {
    // The outcome of a delivery whose last frame has left is still to come.
    if (delivery.abort()) this.recovery?.dropped(delivery);
    this.#done(delivery);
  }

  // The listener of a delivery that is settled now; undefined if the wait was aborted.
  #settled(delivery: OutgoingDelivery): SendListener | undefined {
    // A peer may settle before the last frame is sent: the payload is still in use. Payloads of the caller are in no block.
    if (delivery.sent) giveBlock(delivery.payload);
    this.recovery?.dropped(delivery);
    const listener = this.#done(delivery);
    if (listener !== undefined || delivery.resume) this.#notify();
    return listener;
  }

  #done(delivery: OutgoingDelivery): SendListener | undefined {
    const listener = delivery.context as SendListener | undefined;
    if (listener === undefined) return undefined;
    delivery.context = undefined;
    this.#watch.concluded++;
    if (--this.#pending === 0) this.onidle?.();
    (listener as { callOff?: () => void }).callOff?.();
    return listener;
  }

  #notify(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }
}

function hasLeft({ id, resent, resume }: OutgoingDelivery): boolean {
  return id !== undefined || resent || resume === true;
}
