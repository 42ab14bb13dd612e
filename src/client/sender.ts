/**
 * The sending end of a link.
 *
 * @module
 */

import { giveBlock } from "../base/pool.ts";
import * as condition from "../base/condition.ts";
import { AmqpError, type FailedOutcome, OutcomeError } from "../base/errors.ts";
import { encodeMessage, type Message } from "../codec/message.ts";
import { quote } from "../base/text.ts";
import type { Accepted, DeliveryState, TransactionalState } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { OutgoingDelivery } from "../engine/deliveries.ts";
import { Fifo } from "../base/collections.ts";
import { fromErrorFields } from "../engine/fault.ts";
import type { AttachOptions } from "../engine/link.ts";
import { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type { Flight, FlightSink } from "./send_all.ts";
import { type Interruption, Link, type LinkConnection } from "./link.ts";
import { Deferred, ignore, rejected, type WaitOptions } from "../base/wait.ts";

// Some dozens of small messages; one that is kept for long keeps no more memory alive than that.
const BLOCK_BYTES = 16_384;

/** How a sender sends many messages side by side. */
export interface SendTerms {
  /**
   * Messages of one `sendAll` or `writable` that may wait for their outcome at a time, whatever the credit. All of them are
   * kept in memory until then, and a round trip brings no more than as many. Default: 2,048.
   */
  maxInFlight?: number;
}

/** How a message is sent. */
export interface SendOptions extends WaitOptions {
  /** True sends it settled: at most once, no outcome. Default: false. */
  settled?: boolean;
  /** The format of a message that is given as bytes. Default: 0, AMQP's. */
  messageFormat?: number;
  /** The delivery state that the message arrives with, such as that of a transaction. Default: none. */
  state?: DeliveryState;
}

/** Learns what becomes of one message; for a broker, which does without a promise for each. */
export interface SendListener {
  /** The receiver's word on it; undefined if it settled without one. */
  onoutcome(state: DeliveryState | undefined): void;
  /** What the receiver wants to come of it with the commit of a transaction; not told, it is an outcome. */
  onprovisional?(state: TransactionalState, settled: boolean, delivery: OutgoingDelivery): void;
  /** It was sent settled, and its last frame is written: there will be no outcome. */
  onsent(): void;
  /** There will be no outcome. `left` is false when nothing of the message was written. */
  onlost(error: unknown, left: boolean): void;
}

// A class, so that there is one shape of it for each of many messages.
class Send {
  readonly payload: Uint8Array;
  readonly options: SendOptions;
  readonly listener: SendListener;
  abort: (() => void) | undefined;
  delivery: OutgoingDelivery | undefined;
  // Whether the payload was encoded here, so that nobody else has it.
  own = false;
  // Its neighbours among those that wait for their outcome.
  before: Send | undefined;
  after: Send | undefined;

  constructor(payload: Uint8Array, options: SendOptions, listener: SendListener) {
    this.payload = payload;
    this.options = options;
    this.listener = listener;
  }
}

// What waits for an outcome, in the order of sending. Deliveries know their place in it, so nothing is looked up.
class InFlight {
  size = 0;
  #first: Send | undefined;
  #last: Send | undefined;

  add(send: Send, delivery: OutgoingDelivery): void {
    send.delivery = delivery;
    delivery.context = send;
    send.before = this.#last;
    if (this.#last === undefined) this.#first = send;
    else this.#last.after = send;
    this.#last = send;
    this.size++;
  }

  take(delivery: OutgoingDelivery): Send | undefined {
    const send = delivery.context as Send | undefined;
    if (send === undefined) return undefined;
    delivery.context = undefined;
    const { before, after } = send;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    send.before = send.after = undefined;
    this.size--;
    return send;
  }

  clear(): Send[] {
    const sends: Send[] = [];
    while (this.#first !== undefined) sends.push(this.take(this.#first.delivery!)!);
    return sends;
  }
}

/** Sends messages to one address; made by `sender` of a connection or session. */
export class Sender extends Link {
  /** Always `"sender"`. */
  protected override readonly role = "sender";
  #endpoint: SenderEndpoint | undefined;
  readonly #writer = new Writer(BLOCK_BYTES);
  readonly #inFlight = new InFlight();
  readonly #queue = new Fifo<Send>();
  #nextTag = 0;
  #changed: Deferred<void> | undefined;
  /** @ignore Sends that run side by side, for which it is a fault when the link ends while they have nothing to send. */
  readonly flights: Set<Flight> = new Set();
  /** @ignore What it was made with, for flights. */
  readonly maxInFlight: number | undefined;

  /** Built by the connection or session. */
  constructor(connection: LinkConnection, from: AttachOptions | SenderEndpoint, terms: SendTerms = {}) {
    super(connection, from);
    if ("role" in from) this.#endpoint = from;
    this.maxInFlight = terms.maxInFlight;
  }

  /**
   * Called when the receiver may take more messages, or wants what there is and the rest of its credit back; what is sent
   * in the call goes out before the credit is handed back.
   */
  oncredit: (() => void) | undefined;

  /** Messages that the receiver takes now, beyond those that wait here. */
  get credit(): number {
    return Math.max(0, (this.#endpoint?.sendable ?? 0) - this.#queue.length);
  }

  /** @ignore True while the receiver waits for what there is, and for the rest of its credit. */
  get draining(): boolean {
    return this.#endpoint?.draining ?? false;
  }

  /** Messages that wait for credit or for their outcome. */
  get pending(): number {
    return this.#queue.length + this.#inFlight.size;
  }

  /**
   * Sends one message: waits for credit, then for the outcome. Messages arrive in the order of the calls.
   *
   * Bytes are taken for an encoded message and go out unchanged. Aborting a message that has left already gives up the
   * wait, not the message. A failure that nobody waits for is told nowhere else.
   *
   * @returns The outcome, or undefined for a message that was sent settled.
   * @throws {OutcomeError} If the message was rejected, released, modified, or its outcome was lost with the link.
   * @throws {AmqpError} If the link ended before the message left, or the message is larger than the receiver takes.
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
  send(message: Message | Uint8Array, options: SendOptions = {}): Promise<Accepted | undefined> {
    const { signal } = options;
    if (signal?.aborted) return rejected(signal.reason);
    if (!this.open) return rejected(this.endError("send"));
    let payload: Uint8Array;
    try {
      payload = this.#encode(message);
    } catch (error) {
      return rejected(error);
    }
    const listener = new Promised(this);
    const send = new Send(payload, options, listener);
    send.own = payload !== message;
    if (signal !== undefined) {
      send.abort = () => this.#abort(send);
      signal.addEventListener("abort", send.abort, { once: true });
    }
    this.#queue.push(send);
    this.#pump();
    return listener.promise;
  }

  /** @ignore For a broker: sends an encoded message, and tells the listener in calls what becomes of it. */
  forward(payload: Uint8Array, options: SendOptions, listener: SendListener): void {
    if (!this.open) return listener.onlost(this.endError("send"), false);
    this.#queue.push(new Send(payload, options, listener));
    this.#pump();
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
    const { sendEach } = await import("./send_all.ts");
    return await sendEach(this, messages, options);
  }

  /**
   * A stream that sends what is written to it, with the link's credit as its back-pressure.
   *
   * It errors with the first message that is not accepted. Closing it waits for all outcomes; the link stays open.
   */
  get writable(): WritableStream<Message | Uint8Array> {
    let sink: FlightSink | undefined;
    return new WritableStream({
      start: async (controller) => {
        const { FlightSink } = await import("./send_all.ts");
        sink = new FlightSink(this, controller);
      },
      write: (message, controller) => sink!.write(message, controller),
      close: () => sink!.close(),
      // It never came to one if the link ended while it was loaded.
      abort: () => sink?.abort(),
    });
  }

  /** @ignore Messages that have not left the queue. */
  get queued(): number {
    return this.#queue.length;
  }

  /** @ignore Waits until one more has left the queue, has its outcome, or has none to expect. */
  change(): Promise<void> {
    return (this.#changed ??= new Deferred<void>()).promise;
  }

  /** @ignore {@inheritDoc Link.attachAs} */
  protected override attachAs(terms: AttachOptions, session: SessionEndpoint): SenderEndpoint {
    return this.#endpoint = session.attach(SenderEndpoint, terms);
  }

  /** {@inheritDoc Link.oninterrupted} */
  protected override oninterrupted(error: Error): Interruption {
    const lost = this.#inFlight.clear();
    for (const send of lost) {
      this.#forget(send);
      send.listener.onlost(error, send.delivery?.id !== undefined);
    }
    this.#notify();
    return { lost: lost.length };
  }

  /** {@inheritDoc Link.idle} */
  protected override async idle(): Promise<void> {
    while (this.pending > 0) await this.change();
  }

  /** {@inheritDoc Link.onattached} */
  protected override onattached(): void {
    this.#pump();
  }

  /** {@inheritDoc Link.onended} */
  protected override onended(error: Error): void {
    for (const send of [...this.#inFlight.clear(), ...this.#queue.clear()]) {
      this.#forget(send);
      send.listener.onlost(error, send.delivery?.id !== undefined);
    }
    // The others hear of it by their sends.
    for (const flight of this.flights) if (flight.size === 0) flight.fail(error);
    this.#notify();
  }

  /** @ignore Told by the connection: credit came, or the channel takes more. */
  handleCredit(): void {
    this.oncredit?.();
    this.#pump();
  }

  /** @ignore Settles a message of which the receiver told something provisional. */
  conclude(delivery: OutgoingDelivery, state: DeliveryState): void {
    delivery.settle(state);
    this.#settled(delivery);
    this.connection.wake();
  }

  /** @ignore Told by the connection: the last frame of a settled message was written. */
  handleSent(delivery: OutgoingDelivery): void {
    this.#settled(delivery)?.onsent();
  }

  /** @ignore Told by the connection. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void {
    const listener = (delivery.context as Send | undefined)?.listener;
    if (state?.kind === "transactionalState" && listener?.onprovisional !== undefined) {
      if (settled) this.#settled(delivery);
      return listener.onprovisional(state, settled, delivery);
    }
    const outcome = state?.kind === "transactionalState" ? state.outcome : state;
    if (!settled && (outcome === undefined || outcome.kind === "received")) return;
    // The receiver that tells an outcome without settling waits for us to settle [transport 2.6.12].
    if (!settled) {
      delivery.settle(state);
      this.connection.wake();
    }
    this.#settled(delivery)?.onoutcome(outcome);
  }

  #encode(message: Message | Uint8Array): Uint8Array {
    if (message instanceof Uint8Array) return message;
    encodeMessage(message, this.#writer);
    return this.#writer.take();
  }

  #pump(): void {
    const queue = this.#queue;
    let refused: [SendListener, unknown][] | undefined;
    const waiting = queue.length;
    const endpoint = this.#endpoint;
    while (endpoint !== undefined && queue.length > 0 && endpoint.sendable > 0 && !this.connection.congested) {
      const send = queue.shift()!;
      try {
        this.#inFlight.add(send, endpoint.send(this.#tag(), send.payload, send.options));
      } catch (error) {
        this.#forget(send);
        (refused ??= []).push([send.listener, error]);
      }
    }
    if (queue.length < waiting) {
      this.connection.wake();
      this.#notify();
      // Only now: a listener may send again at once.
      if (refused !== undefined) { for (const [listener, error] of refused) listener.onlost(error, false); }
    }
    if (queue.length > 0 && this.connection.congested) this.connection.awaitReady(this);
  }

  #tag(): Uint8Array {
    const n = this.#nextTag;
    this.#nextTag = (n + 1) >>> 0;
    // Written one by one: `of` would take several times as long.
    const tag = new Uint8Array(4);
    tag[0] = n >>> 24;
    tag[1] = n >>> 16;
    tag[2] = n >>> 8;
    tag[3] = n;
    return tag;
  }

  #abort(send: Send): void {
    if (send.delivery === undefined) this.#queue.remove(send);
    else {
      send.delivery.abort();
      this.#inFlight.take(send.delivery);
      this.connection.wake();
    }
    this.#forget(send);
    send.listener.onlost(send.options.signal!.reason, false);
    this.#notify();
  }

  // Who waits for the outcome of a delivery that is settled now: nobody, if the wait was aborted.
  #settled(delivery: OutgoingDelivery): SendListener | undefined {
    const send = this.#inFlight.take(delivery);
    if (send === undefined) return undefined;
    this.#forget(send);
    this.#notify();
    // A peer may settle what it has not seen to its end.
    if (send.own && delivery.sent) giveBlock(send.payload);
    return send.listener;
  }

  #forget(send: Send): void {
    if (send.abort !== undefined) send.options.signal!.removeEventListener("abort", send.abort);
  }

  #notify(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }
}

/** Settles the promise of one send. A class and not three closures, for there is one of it for each message. */
class Promised implements SendListener {
  readonly promise: Promise<Accepted | undefined>;
  readonly #sender: Sender;
  #resolve!: (outcome: Accepted | undefined) => void;
  #rejected!: (error: unknown) => void;

  constructor(sender: Sender) {
    this.#sender = sender;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#rejected = reject;
    });
  }

  onoutcome(state: DeliveryState | undefined): void {
    const final = state ?? this.#sender.remote?.source?.defaultOutcome;
    if (final?.kind === "accepted") this.#resolve(final);
    else this.#reject(failure(final, this.#sender.name));
  }

  onsent(): void {
    this.#resolve(undefined);
  }

  onlost(error: unknown, left: boolean): void {
    this.#reject(left ? lost(error, this.#sender.name) : error);
  }

  // Whoever waits gets the error. That nobody does must not end the process, as an unhandled rejection would.
  #reject(error: unknown): void {
    this.promise.catch(ignore);
    this.#rejected(error);
  }
}

function lost(error: unknown, link: string): OutcomeError {
  return new OutcomeError(
    "lost",
    error instanceof AmqpError ? error.condition : condition.connectionForced,
    `Cannot tell the outcome of a message on link ${quote(link)}: ${(error as Error).message}`,
    { cause: error, retryable: true },
  );
}

function failure(outcome: DeliveryState | undefined, link: string): OutcomeError {
  const what = `Cannot send on link ${quote(link)}: message was`;
  const fail = (kind: FailedOutcome, symbol: string, message: string, retryable: boolean): OutcomeError =>
    new OutcomeError(kind, symbol, message, { remote: true, retryable });
  switch (outcome?.kind) {
    case "rejected": {
      if (outcome.error === undefined) return fail("rejected", "amqp:rejected:list", `${what} rejected`, false);
      const error = fromErrorFields(outcome.error, `${what} rejected`, "delivery");
      return new OutcomeError("rejected", error.condition, error.message, { ...error, retryable: error.retryable });
    }
    case "released":
      return fail("released", "amqp:released:list", `${what} released`, true);
    case "modified":
      return fail("modified", "amqp:modified:list", `${what} handed back modified`, !outcome.undeliverableHere);
    default:
      return fail("lost", condition.illegalState, `${what} settled without an outcome`, true);
  }
}
