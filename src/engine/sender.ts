/**
 * The sending end of a link [transport 2.6].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { MAX_UINT } from "../codec/checks.ts";
import type { Attach, DeliveryState, Flow } from "../codec/types.ts";
import { type DeliveryOptions, MAX_DELIVERY_TAG_BYTES, OutgoingDelivery, type SendingLink } from "./deliveries.ts";
import { Fifo } from "../base/collections.ts";
import { LinkEndpoint, type LinkEvent, type LinkSession } from "./link.ts";
import { add, difference } from "./windows.ts";

/** What a sender reports. */
export type SenderEvent =
  | LinkEvent
  /**
   * The receiver granted, withdrew or wants drained: look at `sendable` and `draining`. When it drains, credit that is not
   * used by the next `transmit` is handed back.
   */
  | { readonly kind: "credit"; readonly link: SenderEndpoint }
  /** The last frame of a delivery that went out settled has been written. */
  | { readonly kind: "sent"; readonly link: SenderEndpoint; readonly delivery: OutgoingDelivery }
  /** The receiver told the state of a delivery, settled it, or both. */
  | {
    readonly kind: "disposition";
    readonly link: SenderEndpoint;
    readonly delivery: OutgoingDelivery;
    readonly state: DeliveryState | undefined;
    readonly settled: boolean;
  };

/** What a sender asks of its session. */
export interface SenderSession extends LinkSession {
  /** Reports something. */
  emit(event: SenderEvent): void;
  /** Notes that `link` has something to write, or may now. */
  queueOutput(link: SenderEndpoint): void;
  /** Drops what `link` has queued. */
  forgetOutput(link: SenderEndpoint): void;
}

/** Our end of a link on which we send. */
export class SenderEndpoint extends LinkEndpoint implements SendingLink {
  /** The session it is attached to. */
  declare readonly session: SenderSession;
  /** Always `"sender"`. */
  override readonly role = "sender";
  /** Deliveries begun so far, as a serial number. */
  deliveryCount = 0;
  /** Deliveries that the receiver lets us begin, those in the queue not subtracted. */
  linkCredit = 0;
  /** True when the receiver wants its credit used up or handed back. */
  draining = false;

  readonly #queue = new Fifo<OutgoingDelivery>();
  #drain = false;
  #maxMessageSize = Infinity;
  #available = 0;
  #incomplete = false;

  /** How many deliveries may be sent now. */
  get sendable(): number {
    return this.#incomplete ? 0 : this.#free;
  }

  /** Deliveries that are queued or partly written. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Largest message that the receiver takes, in bytes; undefined for no limit. */
  get maxMessageSize(): bigint | undefined {
    const size = this.remote?.maxMessageSize;
    return size === undefined || size === 0n ? undefined : size;
  }

  /**
   * Queues a delivery; its frames are written as the session's window allows.
   *
   * @throws {RangeError} If the tag is empty or longer than 32 bytes, or the message format is no uint.
   * @throws {AmqpError} With `amqp:link:transfer-limit-exceeded` without credit, `amqp:link:message-size-exceeded` if the
   * receiver does not take that much, `amqp:frame-size-too-small` if the peer does not take so large a state,
   * `amqp:illegal-state` if the link is not attached or the tag is in use, `amqp:not-allowed` if the link's settle mode
   * forbids it or there is no such delivery to resume.
   */
  send(tag: Uint8Array, payload: Uint8Array, options: DeliveryOptions = {}): OutgoingDelivery {
    const delivery = new OutgoingDelivery(this, tag, payload, options);
    this.#checkSend(delivery);
    if (!delivery.settled) this.unsettled.set(delivery.key, delivery);
    this.#queue.push(delivery);
    this.session.queueOutput(this);
    return delivery;
  }

  /** Tells the receiver that a delivery is settled; for deliveries. */
  settle(delivery: OutgoingDelivery): void {
    this.session.settlement.settle(delivery);
  }

  /** Reports what the receiver told of a delivery; for deliveries. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void {
    this.session.emit({ kind: "disposition", link: this, delivery, state, settled });
  }

  /** Gives up a delivery that is not written in full; false when it is too late. */
  abort(delivery: OutgoingDelivery): boolean {
    if (delivery.sent || delivery.aborted || this.state !== "attached") return false;
    delivery.aborted = true;
    delivery.settled = true;
    this.session.settlement.forget(delivery);
    // The peer must hear of one that it knows; the rest it never saw.
    if (delivery.id === undefined && !delivery.resume) this.#queue.remove(delivery);
    this.session.queueOutput(this);
    return true;
  }

  /**
   * Tells the receiver how many deliveries wait here, beside those in the queue.
   *
   * @throws {RangeError} If `available` is not a whole number from 0 to 2^32-1.
   */
  offer(available: number): void {
    if (available !== available >>> 0) {
      throw new RangeError(`Cannot offer deliveries: ${available} is not a whole number from 0 to ${MAX_UINT}`);
    }
    this.#available = available;
    if (this.state === "attached") this.session.queueFlow(this);
  }

  /**
   * Hands back credit that a drain asked for, when nothing is left to send.
   *
   * It is called with each `transmit`, so a caller that is told of the credit has until then to use it.
   */
  drained(): void {
    if (!this.draining || this.state !== "attached" || (this.#queue.length > 0 && this.linkCredit > 0)) return;
    this.deliveryCount = add(this.deliveryCount, this.linkCredit);
    this.linkCredit = 0;
    this.draining = false;
    this.session.queueFlow(this);
  }

  /** Goes on once this side has accepted the peer's attach. */
  override accepted(): void {
    super.accepted();
    this.session.queueOutput(this);
    this.session.emit({ kind: "credit", link: this });
  }

  /** The next delivery that may have a frame written, if any; for sessions. */
  next(): OutgoingDelivery | undefined {
    const delivery = this.#queue.first;
    if (delivery === undefined || this.state !== "attached") return undefined;
    return delivery.id === undefined && this.linkCredit === 0 ? undefined : delivery;
  }

  /** Counts the delivery that begins now [transport 2.6.7]; for sessions. */
  begin(): void {
    this.deliveryCount = add(this.deliveryCount, 1);
    this.linkCredit--;
  }

  /** Takes the delivery whose last frame was written off the queue; for sessions. */
  finish(): void {
    const delivery = this.#queue.shift()!;
    delivery.sent = true;
    if (delivery.sentSettled && !delivery.aborted) this.session.emit({ kind: "sent", link: this, delivery });
  }

  /** {@inheritDoc LinkEndpoint.receiveFlow} */
  override receiveFlow(flow: Flow): void {
    this.confirm();
    if (flow.linkCredit === undefined) return;
    // What the receiver has not seen when it wrote the flow is already counted by us [transport 2.6.7].
    const from = flow.deliveryCount ?? this.local?.initialDeliveryCount ?? this.deliveryCount;
    const behind = difference(this.deliveryCount, from);
    this.linkCredit = Math.max(0, Math.min(MAX_UINT, flow.linkCredit - behind));
    this.draining = this.#drain = flow.drain ?? false;
    this.session.queueOutput(this);
    if (this.state === "attached") this.session.emit({ kind: "credit", link: this });
  }

  /** {@inheritDoc LinkEndpoint.describe} */
  override describe(flow: Flow): void {
    flow.deliveryCount = this.deliveryCount;
    flow.linkCredit = this.linkCredit;
    flow.available = Math.min(MAX_UINT, this.#available + this.#queue.length);
    // Not ours to change: the answer to a drain repeats the flag, and rhea takes none without it [transport 2.6.7].
    if (this.#drain) flow.drain = true;
  }

  /** {@inheritDoc LinkEndpoint.onLocalAttach} */
  protected override onLocalAttach(attach: Attach): void {
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
    if (attach.incompleteUnsettled) this.#incomplete = true;
  }

  /** {@inheritDoc LinkEndpoint.onRemoteAttach} */
  protected override onRemoteAttach(attach: Attach): void {
    // One side could not list all it holds: nothing new until the rest is known [transport 2.7.3].
    if (attach.incompleteUnsettled) this.#incomplete = true;
    this.#maxMessageSize = Number(attach.maxMessageSize ?? 0n) || Infinity;
  }

  /** {@inheritDoc LinkEndpoint.onStop} */
  protected override onStop(): void {
    this.#queue.clear();
    this.session.forgetOutput(this);
  }

  // A delivery that has begun is still in the queue, but its credit is used already.
  get #free(): number {
    if (this.state !== "attached") return 0;
    const begun = this.#queue.first?.id === undefined ? 0 : 1;
    return Math.max(0, this.linkCredit - this.#queue.length + begun);
  }

  #checkSend(delivery: OutgoingDelivery): void {
    const { tag, payload, messageFormat, state } = delivery;
    if (tag.length === 0 || tag.length > MAX_DELIVERY_TAG_BYTES) {
      throw new RangeError(
        `Cannot send on link ${quote(this.name)}: delivery tag has ${tag.length} bytes, not 1 to 32`,
      );
    }
    if (messageFormat !== messageFormat >>> 0) {
      throw new RangeError(`Cannot send on link ${quote(this.name)}: message format ${messageFormat} is no uint`);
    }
    if (this.state !== "attached") throw this.#refusal(condition.illegalState, `state is ${this.state}`);
    if ((delivery.resume ? this.#free : this.sendable) === 0) {
      throw this.#refusal(condition.transferLimitExceeded, "no credit");
    }
    if (payload.length > this.#maxMessageSize) {
      throw this.#refusal(
        condition.messageSizeExceeded,
        `message has ${payload.length} bytes, receiver takes ${this.#maxMessageSize}`,
      );
    }
    if (delivery.settled && this.sndSettleMode === "unsettled") {
      throw this.#refusal(condition.notAllowed, 'settle mode is "unsettled"');
    }
    if (this.unsettled.has(delivery.key)) throw this.#refusal(condition.illegalState, "delivery tag is in use");
    if (delivery.resume && !this.resumable(delivery.key)) {
      throw this.#refusal(condition.notAllowed, "there is no such delivery to resume");
    }
    if (state === undefined) return;
    if (state.kind === "received" && !delivery.resume) {
      throw this.#refusal(condition.notAllowed, 'only a receiver tells "received"');
    }
    this.session.settlement.check(state);
  }

  #refusal(symbol: string, state: string): AmqpError {
    return new AmqpError(symbol, `Cannot send on link ${quote(this.name)}: ${state}`, { scope: "delivery" });
  }
}
