/**
 * A received message and its settlement.
 *
 * @module
 */

import { checkOptions, describeKind } from "../base/options.ts";
import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError } from "../base/errors.ts";
import { abortWith } from "../base/wait.ts";
import type { DecodedMessage } from "../codec/message.ts";
import type { DeliveryState, ErrorFields, Modified } from "../codec/types.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import { MODIFY_KINDS, rejection } from "./outcome.ts";
import type { Link } from "./link.ts";
import type { ReceiverRecovery } from "./recovery.ts";

/** The receiver of a delivery. */
export interface DeliveryReceiver extends Link {
  /** True while deliveries can be settled. */
  readonly usable: boolean;
  /** @ignore The node, for errors. */
  readonly where: string;
  /** @ignore The recovery of unsettled deliveries, if any. */
  readonly recovery: ReceiverRecovery | undefined;
  /** @ignore Decodes a message of a format, or some of its sections. */
  decode(bytes: Uint8Array, messageFormat: number): DecodedMessage;
}

/** The settlement of a receiver's deliveries, as a delivery uses it. */
export interface DeliverySettlement {
  /** Whether the delivery can still be settled. */
  holds(incoming: IncomingDelivery): boolean;
  /** Begins or ends notifying `delivery` of its loss. */
  watch(delivery: Delivery, watched: boolean): void;
  /** Called when the outcome of a delivery was sent. */
  handleOutcomeSent(incoming: IncomingDelivery): void;
  /** Called when a delivery is over: its credit is free. */
  handleDone(incoming: IncomingDelivery): void;
}

/** The reader of a payload that arrives in parts. */
export interface DeliveryPayload {
  /** Whether the last frame has arrived. */
  readonly ended: boolean;
  /** The sections before the body, encoded. */
  readonly head: Uint8Array;
  /** The error if the bytes are not a message that this side accepts. */
  readonly undecodable: AmqpError | undefined;
  /** Returns the body as a stream. */
  stream(delivery: Delivery): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Resolves with the whole encoded message. */
  collect(): Promise<Uint8Array>;
  settled(): void;
}

/**
 * One received message, from its arrival until it is settled.
 *
 * A delivery ends in one of four outcomes, sent by {@linkcode accept}, {@linkcode reject}, {@linkcode release} or
 * {@linkcode modify}; the first call counts, and returns the delivery's credit to the sender. Where the source names the
 * outcomes that it takes, and this one is not among them, the nearest of those is sent: `modified` for a rejection, otherwise
 * `released`, or none, for which the sender applies its default.
 *
 * @example
 * ```ts
 * import type { Delivery } from "@webamqp/amqp";
 *
 * function decide(delivery: Delivery, known: Set<string>) {
 *   if (known.has(delivery.message.text())) delivery.accept();
 *   else delivery.modify({ deliveryFailed: true, undeliverableHere: true });
 * }
 * ```
 */
export class Delivery {
  /** The receiver of the delivery. */
  readonly receiver: DeliveryReceiver;

  readonly #settlement: DeliverySettlement;
  readonly #incoming: IncomingDelivery;
  readonly #streamed: DeliveryPayload | undefined;
  // True while only the sections before the body are there.
  #isPart: boolean;
  /** @ignore Whether the caller settles, rather than a loop or handler. */
  byHand = false;
  #message: DecodedMessage | undefined;
  #undecodable: AmqpError | undefined;
  #outcome: DeliveryState | undefined;
  #lost: Error | undefined;
  #controller: AbortController | undefined;

  /** Made by its receiver. */
  constructor(
    receiver: DeliveryReceiver,
    settlement: DeliverySettlement,
    incoming: IncomingDelivery,
    streamed?: DeliveryPayload,
  ) {
    this.receiver = receiver;
    this.#settlement = settlement;
    this.#incoming = incoming;
    this.#streamed = streamed;
    this.#isPart = streamed !== undefined;
  }

  /**
   * The message, decoded at first access. A message format other than AMQP's gives the raw bytes as the body.
   *
   * On a receiver with `stream: true` it has only the sections before the body, and `body` is undefined; the footer comes at
   * the end of {@linkcode stream}. After {@linkcode text}, {@linkcode json} or {@linkcode bytes} it is complete.
   *
   * A delivery whose message cannot be decoded is rejected with the error, not released, where a loop or handler settles it.
   *
   * @throws {AmqpError} With `amqp:decode-error` and scope `"delivery"` if the bytes are no AMQP message.
   */
  get message(): DecodedMessage {
    if (this.#message === undefined) {
      if (this.#undecodable !== undefined) throw this.#undecodable;
      try {
        this.#message = this.decode(this.#isPart ? this.#streamed!.head : this.payload);
        // Null would be the body of a message without one.
        if (this.#isPart) this.#message.body = undefined as never;
      } catch (error) {
        if (error instanceof AmqpError) this.#undecodable = error;
        throw error;
      }
    }
    return this.#message;
  }

  /**
   * The encoded message, for forwarding it unchanged.
   *
   * @throws {TypeError} If the message is streamed and not collected yet.
   */
  get payload(): Uint8Array {
    if (!this.#isPart) return this.#incoming.payload;
    throw new TypeError("Cannot hand out payload: the message is streamed, await bytes() of the delivery before");
  }

  /**
   * The bytes of the body. On a receiver with `stream: true` they come as they arrive, and the window of the session, which
   * is that receiver's alone, follows the reading: a slow reader has a few frames in memory, and the sender waits.
   *
   * The delivery can be settled before the end is read. Cancelling the stream drops the rest, and releases the delivery if
   * the caller settles it, or rejects it if the reason is an {@linkcode AmqpError}. The stream errors with an
   * {@linkcode OutcomeError} `"lost"` when the sender aborts the message or the link is lost, and with an
   * {@linkcode AmqpError} when the bytes are no AMQP message. A body that is not data comes in one piece.
   *
   * @throws {TypeError} If the body has been read already.
   *
   * @example
   * ```ts
   * import type { Connection } from "@webamqp/amqp";
   *
   * async function download(connection: Connection, file: WritableStream<Uint8Array>) {
   *   await using files = connection.receiver("files", { stream: true });
   *   const delivery = await files.receive();
   *   await delivery.stream().pipeTo(file);
   *   delivery.accept();
   * }
   * ```
   */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    // Throws if the bytes that are there are no message.
    const { message } = this;
    return this.#streamed?.stream(this) ?? new Response(message.bytes()).body!;
  }

  /** Resolves with the body as text, once all of it has arrived; see {@linkcode DecodedMessage.text}. */
  async text(): Promise<string> {
    return (await this.#whole()).text();
  }

  /** Resolves with the body as plain values, once all of it has arrived; see {@linkcode DecodedMessage.json}. */
  async json(): Promise<unknown> {
    return (await this.#whole()).json();
  }

  /** Resolves with the body as bytes, once all of it has arrived; see {@linkcode DecodedMessage.bytes}. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.#whole()).bytes();
  }

  /** 0 for an AMQP message; the upper three bytes name the format, the lowest its version. */
  get messageFormat(): number {
    return this.#incoming.messageFormat;
  }

  /** The delivery-tag: 1 to 32 bytes of the sender's choice, unique on its link among unsettled deliveries. */
  get tag(): Uint8Array {
    return this.#incoming.tag;
  }

  /** True when the sender sent the message settled, or has settled it since: an outcome then has no effect on the sender. */
  get remoteSettled(): boolean {
    return this.#incoming.remoteSettled;
  }

  /** @ignore True while the delivery can be settled. */
  get usable(): boolean {
    return this.#lost === undefined && this.#settlement.holds(this.#incoming);
  }

  /**
   * Aborted when an outcome can no longer reach the sender, which delivers the message again: the link is lost, or the sender
   * has settled the delivery itself. Work on the message can stop then.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.usable) this.#settlement.watch(this, true);
      else if (this.#outcome === undefined) abortWith(this.#controller, this.#lostError());
    }
    return this.#controller.signal;
  }

  /** The last state that the sender sent, such as that the delivery belongs to a transaction. */
  get remoteState(): DeliveryState | undefined {
    return this.#incoming.remoteState;
  }

  /** The outcome or state that this side sent, if any. */
  get outcome(): DeliveryState | undefined {
    return this.#outcome;
  }

  /** Settles the message as processed. */
  accept(): void {
    this.#settle({ kind: "accepted" });
  }

  /** Settles the message as invalid, with the reason: a broker moves it to a dead-letter queue or drops it. */
  reject(error?: AmqpError | ErrorFields): void {
    this.#settle(rejection(error));
  }

  /** Returns the message as if it had never been delivered. */
  release(): void {
    this.#settle({ kind: "released" });
  }

  /** Returns the message changed: `deliveryFailed` counts the attempt, `undeliverableHere` keeps it from coming again. */
  modify(changes: Omit<Modified, "kind"> = {}): void {
    checkOptions("modify delivery", changes, MODIFY_KINDS);
    this.#settle({ kind: "modified", ...changes });
  }

  /**
   * Sends an intermediate or transactional state; a `received` state does not settle.
   *
   * @throws {OutcomeError} With outcome `"lost"` if the link has ended.
   * @throws {AmqpError} With `amqp:illegal-state` if an outcome was sent already.
   * @throws {TypeError} If it is no delivery state.
   */
  update(state: DeliveryState): void {
    if (typeof state?.kind !== "string") {
      throw new TypeError(
        `Cannot settle delivery: state is ${describeKind(state)}, give { kind: "accepted" } or another`,
      );
    }
    this.#settle(state.kind === "rejected" ? { ...state, ...rejection(state.error) } : state);
  }

  /** @ignore The facts that `console.log` prints. */
  facts(): Record<string, unknown> {
    let message: unknown;
    try {
      message = this.message;
    } catch (error) {
      message = (error as Error).message;
    }
    const state = this.#outcome?.kind ?? (this.remoteSettled ? "settled" : this.usable ? "unsettled" : "lost");
    return { from: this.receiver.where, state, bytes: this.#incoming.payload.length, message };
  }

  /** @ignore Given to a caller who settles: a delivery that came settled needs no outcome, and returns its credit now. */
  handleTaken(): void {
    this.byHand = true;
    if (this.#incoming.remoteSettled) this.#settlement.handleDone(this.#incoming);
  }

  /** @ignore Settles for a loop or handler, unless the program did; a link that ended meanwhile is no error. */
  settleByDefault(processed: boolean): void {
    if (this.#outcome !== undefined) return;
    if (!this.usable) {
      this.#unwatch();
      return this.#settlement.handleDone(this.#incoming);
    }
    const undecodable = this.#undecodable ?? this.#streamed?.undecodable;
    if (undecodable !== undefined) this.reject(undecodable);
    else if (processed) this.accept();
    else this.modify({ deliveryFailed: true });
  }

  /** @ignore Whether the message can be read to its end even if the link ends. */
  get isWhole(): boolean {
    return this.#streamed?.ended !== false;
  }

  /** @ignore Failed attempts before this one, by the sender's count; 0 if the message cannot be decoded. */
  get failedAttempts(): number {
    try {
      return this.message.header?.deliveryCount ?? 0;
    } catch {
      return 0;
    }
  }

  /** @ignore Called by the receiver when outcomes no longer reach the sender. */
  handleLost(cause: Error): void {
    if (this.#outcome !== undefined) return;
    this.#lost = cause;
    this.#unwatch();
    if (this.#controller !== undefined) abortWith(this.#controller, this.#lostError());
  }

  /** @ignore Decodes a message, or some of its sections. */
  decode(bytes: Uint8Array): DecodedMessage {
    return this.receiver.decode(bytes, this.messageFormat);
  }

  async #whole(): Promise<DecodedMessage> {
    if (this.#isPart) {
      const payload = await this.#streamed!.collect();
      if (this.#isPart) {
        this.#incoming.payload = payload;
        this.#isPart = false;
        this.#message = undefined;
      }
    }
    return this.message;
  }

  #unwatch(): void {
    if (this.#controller !== undefined) this.#settlement.watch(this, false);
  }

  #lostError(): OutcomeError {
    const cause = this.#lost ?? this.receiver.error;
    const because = cause === undefined ? "its link has ended" : cause.message;
    return new OutcomeError(
      "lost",
      cause instanceof AmqpError ? cause.condition : condition.illegalState,
      `Cannot settle delivery of ${this.receiver.where}: ${because}; the sender hands the message out again`,
      { cause, retryable: false },
    );
  }

  #settle(state: DeliveryState): void {
    if (this.#outcome !== undefined) {
      throw new AmqpError(
        condition.illegalState,
        `Cannot settle delivery of ${this.receiver.where}: it is ${this.#outcome.kind} already`,
        {
          scope: "delivery",
        },
      );
    }
    if (!this.usable) throw this.#lostError();
    if (state.kind === "received") this.#incoming.update(state, false);
    else {
      const keeps = this.receiver.recovery?.keep(this.#incoming, state, () => this.#sendState(state));
      // Throws for a state that cannot be encoded; the caller may then send another.
      if (!keeps) this.#incoming.update(state);
      this.#outcome = keeps ? state : this.#incoming.state ?? state;
      this.#unwatch();
      this.#streamed?.settled();
      if (keeps) return;
    }
    this.#settlement.handleOutcomeSent(this.#incoming);
  }

  // Sends an outcome that recovery has stored; the link may have ended meanwhile.
  #sendState(state: DeliveryState): void {
    if (!this.#settlement.holds(this.#incoming)) return;
    this.#incoming.update(state);
    this.#settlement.handleOutcomeSent(this.#incoming);
  }
}
