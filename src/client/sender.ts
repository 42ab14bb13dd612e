/**
 * The sending end of a link.
 *
 * @module
 */

import { checkOptions, WAIT_KINDS } from "../base/options.ts";
import { giveBlock } from "../base/pool.ts";
import { Deferred, onAbort, part, rejected, type WaitOptions } from "../base/wait.ts";
import { type Message, writeMessage } from "../codec/message.ts";
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
import { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import { type Interruption, Link, type LinkConnection } from "./link.ts";
import { PATIENCE_MS } from "./lifetime.ts";
import {
  outcomeOf,
  PromisedOutcome,
  SEND_KINDS,
  SendAbortedError,
  type SendListener,
  type SendOptions,
  type SendOutcome,
} from "./outcome.ts";
import type { Recovery, SenderRecovery } from "./recovery.ts";
import type { ParallelSends, ParallelSink } from "./send_all.ts";
import type { StreamedMessage } from "./stream.ts";

// Some dozens of small messages; one that is kept for long keeps no more memory alive than that.
const BLOCK_BYTES = 16_384;

/** How a sender sends many messages side by side. */
export interface SendSettings {
  /**
   * Messages of one `sendAll` or `writable` that may wait for their outcome at a time, whatever the credit. All of them are
   * kept in memory until then, and a round trip brings no more than as many. Default: 2,048.
   */
  maxInFlight?: number | undefined;
  /**
   * What becomes of messages whose outcome is not known when the connection is lost: `"resend"` sends them again, in order
   * and before all others, so that they arrive at least once; `"resume"` takes each up where it was, so that it arrives once
   * where the peer can do so, see {@linkcode resume}, whose result has more options; `"fail"` ends them as lost. Settled and
   * aborted ones, and those of a transaction, are never sent again. Default: `"resend"`.
   */
  recovery?: "resend" | "fail" | "resume" | Recovery | undefined;
}

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
  // Messages that somebody waits for.
  #pending = 0;
  #changed: Deferred<void> | undefined;
  #patience: unknown;
  /** @ignore Sends that run side by side, for which it is a fault when the link ends while they have nothing to send. */
  readonly parallel: Set<ParallelSends> = new Set();
  /** @ignore Messages that may wait for their outcome at a time; undefined for the default. */
  readonly maxInFlight: number | undefined;

  readonly #resends: boolean;
  /** @ignore {@inheritDoc Link.recovery} */
  declare recovery: SenderRecovery | undefined;

  /** Built by the connection or session. */
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
    if ("role" in from) this.#carry(from);
  }

  /**
   * Called when the receiver may take more messages, or wants what there is and the rest of its credit back; what is sent
   * in the call goes out before the credit is handed back.
   */
  oncredit: (() => void) | undefined;

  /** Messages that the receiver takes now, beyond those that wait here. */
  get credit(): number {
    return this.endpoint?.sendable ?? 0;
  }

  /** @ignore The transaction in which the receiver acquires messages [transactions 4.4.4]. */
  get acquiring(): Uint8Array | undefined {
    const txnId = this.endpoint?.flowProperties?.["txn-id"];
    return txnId instanceof Uint8Array ? txnId : undefined;
  }

  /** @ignore True while the receiver waits for what there is, and for the rest of its credit. */
  get draining(): boolean {
    return this.endpoint?.draining ?? false;
  }

  /** @ignore Has a drain wait while what is to be sent is looked for, or ends that. */
  look(looking: boolean): void {
    if (this.endpoint === undefined) return;
    this.endpoint.looking = looking;
    if (looking) return;
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
   * Bytes are taken for an encoded message and go out unchanged: they must not be written to before there is an outcome.
   * Aborting a message that has left already gives up the wait, not the message. A failure that nobody waits for is told
   * nowhere else.
   *
   * @returns The outcome; undefined where the sender was attached with `sndSettleMode: "settled"`, which its type cannot tell.
   * @throws {OutcomeError} If the message was rejected, released, modified, or its outcome was lost with the link.
   * @throws {SendAbortedError} If `signal` was aborted; it tells whether the message had left.
   * @throws {AmqpError} If the link ended before the message left, or the message is larger than the receiver takes.
   * @throws {RangeError} If `tag` or `messageFormat` are none.
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
  /** Sends one message as `options` say, which are known only when the program runs. */
  send(message: Message | Uint8Array, options?: SendOptions): Promise<SendOutcome | undefined>;
  send(message: Message | Uint8Array, given?: SendOptions): Promise<SendOutcome | undefined> {
    try {
      checkOptions("send", given, SEND_KINDS);
      const options = given ?? {};
      const { signal } = options;
      if (signal?.aborted) throw new SendAbortedError(signal.reason, false);
      if (!this.open) throw this.endError("send");
      const listener = new PromisedOutcome(this, signal, options.decide);
      const delivery = this.push(message, options, listener);
      listener.callOff = signal && onAbort(signal, () => {
        this.#abandon(delivery);
        listener.abort(hasLeft(delivery));
        this.#notify();
        this.connection.wake();
      });
      return listener.promise;
    } catch (error) {
      return rejected(error);
    }
  }

  /** @ignore For a broker: sends an encoded message, and tells the listener in calls what becomes of it. */
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
      : this.#encode(message);
    this.connection.admit("length" in payload ? payload.length : 0);
    if (this.credit === 0) {
      this.connection.creditWaits++;
      if (this.#patience === undefined) this.#watchCredit();
    }
    const delivery = this.#outgoing.push(payload, options);
    delivery.context = listener;
    this.recovery?.pushed(delivery);
    this.#pending++;
    this.connection.wake();
    return delivery;
  }

  /**
   * Sends many messages and keeps the link full: the next is taken from `messages` as soon as there is credit for it.
   *
   * It also ends when `messages` has nothing to give at the time and the link ends or `signal` is aborted, which gives up
   * `messages`.
   *
   * @returns How many messages there were, all of them accepted.
   * @throws {OutcomeError | AmqpError} The first failure, once every message that was taken has an outcome.
   * @throws What `messages` throws, or `signal` was aborted with.
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
   * Sends one message that is larger than memory, on a link and a session of its own, so that a receiver that reads slowly stops
   * nothing else: its body is read as the receiver, the session and the channel take more, a few frames ahead. A link that the
   * peer has attached sends it itself, and what is sent behind it waits.
   *
   * It is never sent again: what is lost with the connection ends as lost.
   *
   * @returns The outcome.
   * @throws {OutcomeError | AmqpError} As {@linkcode send} does.
   * @throws What the body throws; the message is given up then, and the receiver drops it.
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
    options.signal?.throwIfAborted();
    this.requireOpen("send");
    const { sendStream } = await part("stream", () => import("./stream.ts"));
    // Nobody would tell a message of a link that ended while this was loaded.
    this.requireOpen("send");
    // A link that the peer has attached is the one there is.
    const sender = this.returns ? this.connection.twin!(this) : this;
    return await sendStream(sender, sender !== this, message, options);
  }

  /**
   * A stream that sends what is written to it, with the link's credit as its back-pressure.
   *
   * It errors with the first message that is not accepted. Closing it waits for all outcomes; the link stays open.
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
      // There is no sink if the link ended while it was loaded.
      abort: (reason) => sink?.abort(reason),
    });
  }

  /** @ignore Messages that wait for credit or for their outcome, and their bytes. */
  waiting(): { messages: number; bytes: number } {
    let bytes = 0;
    for (const { payload } of this.#outgoing) bytes += payload.length;
    return { messages: this.#pending, bytes };
  }

  /** @ignore Waits until there is credit, or one more message has its outcome or none to expect. */
  change(): Promise<void> {
    return (this.#changed ??= new Deferred<void>()).promise;
  }

  /** @ignore Gives up all messages of `listener`; those that have left already are not waited for any more. */
  abandon(listener: SendListener): void {
    for (const delivery of this.#outgoing) if (delivery.context === listener) this.#abandon(delivery);
    this.#notify();
    this.connection.wake();
  }

  /** @ignore {@inheritDoc Link.attachAs} */
  protected override attachAs(settings: AttachOptions, session: SessionEndpoint): SenderEndpoint {
    return this.#carry(session.attach(SenderEndpoint, settings));
  }

  /** @ignore {@inheritDoc Link.carryAgain} */
  protected override carryAgain(endpoint: SenderEndpoint): void {
    this.#carry(endpoint);
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
    this.connection.environment.clearTimer(this.#patience);
    // Listeners are told last: they may send again at once.
    const ended = this.#outgoing.clear().map((delivery) => ({ left: hasLeft(delivery), delivery }));
    // What has left may have its outcome told to a process after this one.
    for (const { left, delivery } of ended) if (!left) this.recovery?.dropped(delivery);
    this.recovery?.ended();
    for (const { left, delivery } of ended) this.#done(delivery)?.onlost(ending(), left, delivery);
    for (const sends of this.parallel) sends.fail(ending());
    this.#notify();
  }

  /** @ignore Told by the connection: credit came. */
  handleCredit(): void {
    this.oncredit?.();
    this.#notify();
  }

  /** @ignore Settles a message of which the receiver told something provisional. */
  conclude(delivery: OutgoingDelivery, { txnId, outcome }: TransactionalState): void {
    // The kind will do, as where there is no transaction.
    delivery.settle({ kind: "transactionalState", txnId, outcome: outcome && { kind: outcome.kind } as Outcome });
    this.#settled(delivery);
    this.connection.wake();
  }

  /** @ignore Told by the connection: the last frame of a settled message was written. */
  handleSent(delivery: OutgoingDelivery): void {
    this.#settled(delivery)?.onsent(delivery);
  }

  /** @ignore Told by the connection: a message does not fit the link. */
  handleRefused(delivery: OutgoingDelivery, error: Error): void {
    this.#settled(delivery)?.onlost(error, false, delivery);
  }

  /** @ignore Told by the connection. */
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
    if (!settled && outcome === undefined) return;
    if (kept === undefined && this.recovery?.outcome(delivery, state, settled)) return;
    if (!settled) {
      const decided = this.#decide(listener, outcome!);
      // The receiver that tells an outcome without settling waits for us to settle [transport 2.6.12]. The kind will do:
      // the rest need not fit into a frame of ours, and some take an error that comes back for one of their own.
      delivery.settle(decided ?? { kind: outcome!.kind } as SenderState);
      outcome = decided ?? outcome;
      this.connection.wake();
    }
    this.recovery?.concluded(delivery);
    this.#settled(delivery)?.onoutcome(outcome, delivery);
  }

  // What this side settles with instead of `asked`, if it has a mind of its own.
  #decide(listener: SendListener | undefined, asked: Outcome): Outcome | undefined {
    try {
      return (listener as PromisedOutcome | undefined)?.decide?.(asked);
    } catch (error) {
      this.complain("callbackFailed", { callback: "decide", error });
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

  // One timer for all that wait: a link that takes some now and then makes progress.
  #watchCredit(): void {
    const sent = this.endpoint?.deliveryCount;
    this.#patience = this.connection.environment.setTimer(() => {
      this.#patience = undefined;
      const { queued } = this.#outgoing;
      if (queued === 0) return;
      if (sent !== this.endpoint?.deliveryCount) this.#watchCredit();
      else this.complain("sendWaits", { queued, attached: this.usable });
    }, PATIENCE_MS);
  }

  #carry(endpoint: SenderEndpoint): SenderEndpoint {
    endpoint.carry(this.#outgoing);
    return this.endpoint = endpoint;
  }

  #encode(message: Message | Uint8Array): Uint8Array {
    if (message instanceof Uint8Array) return message;
    writeMessage(message, this.#writer);
    return this.#writer.take();
  }

  #abandon(delivery: OutgoingDelivery): void {
    // A delivery that has left whole has its outcome to come.
    if (delivery.abort()) this.recovery?.dropped(delivery);
    this.#done(delivery);
  }

  // Who waits for the outcome of a delivery that is settled now: nobody, if the wait was aborted.
  #settled(delivery: OutgoingDelivery): SendListener | undefined {
    // A peer may settle what it has not seen to its end. A payload that the caller gave belongs to no block.
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
    this.#pending--;
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
