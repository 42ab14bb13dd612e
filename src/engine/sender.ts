/**
 * The sending end of a link [transport 2.6].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { MAX_UINT } from "../codec/checks.ts";
import type { Attach, DeliveryState, Fields, Flow } from "../codec/types.ts";
import { LinkEndpoint, type LinkEvent, type LinkOutput, type LinkSession } from "./link.ts";
import { type OutgoingDelivery, type OutgoingEndpoint, OutgoingLink } from "./outgoing.ts";
import { add, difference } from "./windows.ts";

/** What a sender reports. */
export type SenderEvent =
  | LinkEvent
  /**
   * The receiver granted, withdrew or wants drained: look at `sendable` and `draining`. When it drains, credit that is not
   * used by the next `transmit` is handed back.
   */
  | { readonly kind: "credit"; readonly link: SenderEndpoint }
  /** A delivery cannot go out on this link, such as one that is larger than the receiver takes; the link goes on. */
  | {
    readonly kind: "refused";
    readonly link: SenderEndpoint;
    readonly delivery: OutgoingDelivery;
    readonly error: AmqpError;
  }
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
  /** What the session is to write. */
  readonly output: LinkOutput & {
    /** Queues a sender that has something to write, or may now. */
    queueOutput(link: SenderEndpoint): void;
  };
}

/** Our end of a link on which we send. */
export class SenderEndpoint extends LinkEndpoint implements OutgoingEndpoint {
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
  /** True while what is to be sent is looked for: until then a drain waits for its answer. */
  looking = false;
  /** The link state properties that the receiver told last, such as the transaction in which it acquires. */
  flowProperties: Fields | undefined;
  /** True once the receiver has told how many deliveries it knows of, which it cannot before it has our attach. */
  counted = false;

  #outgoing: OutgoingLink | undefined;
  #drain = false;
  #maxMessageSize = Infinity;
  #incomplete = false;

  get outgoing(): OutgoingLink {
    if (this.#outgoing === undefined) this.carry(new OutgoingLink());
    return this.#outgoing!;
  }

  /** How many deliveries may be sent now, beyond those that wait. */
  get sendable(): number {
    if (this.#incomplete || this.state !== "attached") return 0;
    return Math.max(0, this.linkCredit - (this.#outgoing?.queued ?? 0));
  }

  /** Deliveries that are queued or partly written. */
  get queued(): number {
    return this.outgoing.queued + (this.outgoing.next?.id === undefined ? 0 : 1);
  }

  /** Carries `outgoing` from now on, which nothing else carries any more. */
  carry(outgoing: OutgoingLink): void {
    this.#outgoing = outgoing;
    outgoing.attachment = this;
    this.wake();
  }

  /** Notes that there may be something to write; for what the link carries. */
  wake(): void {
    this.session.output.queueOutput(this);
  }

  /** Reports what the receiver told of a delivery; for deliveries. */
  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void {
    this.session.emit({ kind: "disposition", link: this, delivery, state, settled });
  }

  /**
   * Hands back credit that a drain asked for, when nothing is left to send.
   *
   * It is called with each `transmit`, so a caller that is told of the credit has until then to use it.
   */
  drained(): void {
    if (!this.draining || this.looking || this.state !== "attached" || this.next() !== undefined) return;
    // The last frames of what has begun are still to come.
    if (this.#outgoing?.next?.id !== undefined) return;
    this.deliveryCount = add(this.deliveryCount, this.linkCredit);
    this.linkCredit = 0;
    this.draining = false;
    this.session.output.queueFlow(this);
  }

  /** Goes on once this side has accepted the peer's attach. */
  override accepted(): void {
    super.accepted();
    this.wake();
    this.session.emit({ kind: "credit", link: this });
  }

  /** The next delivery that may have a frame written, if any; for sessions. */
  next(): OutgoingDelivery | undefined {
    const outgoing = this.#outgoing;
    if (outgoing === undefined || this.state !== "attached") return undefined;
    for (;;) {
      const delivery = outgoing.next;
      if (delivery === undefined) return undefined;
      if (delivery.id === undefined) {
        if (this.linkCredit === 0 || !delivery.ready || (this.#incomplete && !delivery.resume)) return undefined;
        const error = delivery.aborted ? undefined : this.#check(delivery);
        if (error !== undefined) {
          outgoing.remove(delivery);
          delivery.settled = true;
          this.session.emit({ kind: "refused", link: this, delivery, error });
          continue;
        }
      }
      return delivery.fill() ? delivery : undefined;
    }
  }

  /** Counts the delivery that begins now [transport 2.6.7]; for sessions. */
  begin(delivery: OutgoingDelivery, id: number): void {
    this.#outgoing!.begin(delivery, id);
    this.deliveryCount = add(this.deliveryCount, 1);
    this.linkCredit--;
  }

  /** Notes that the last frame of a delivery was written; for sessions. */
  finish(delivery: OutgoingDelivery): void {
    this.#outgoing!.finish(delivery);
    // Whoever takes deliveries up waits for the last frame of what is done with them.
    if (delivery.resume ? delivery.settled : delivery.sentSettled && !delivery.aborted) {
      this.session.emit({ kind: "sent", link: this, delivery });
    }
  }

  override receiveFlow(flow: Flow): void {
    this.confirm();
    if (flow.properties !== undefined) this.flowProperties = flow.properties;
    if (flow.deliveryCount !== undefined) this.counted = true;
    if (flow.linkCredit === undefined) return;
    // What the receiver has not seen when it wrote the flow is already counted by us [transport 2.6.7].
    const from = flow.deliveryCount ?? this.local?.initialDeliveryCount ?? this.deliveryCount;
    const behind = difference(this.deliveryCount, from);
    this.linkCredit = Math.max(0, Math.min(MAX_UINT, flow.linkCredit - behind));
    this.draining = this.#drain = flow.drain ?? false;
    this.wake();
    if (this.state === "attached") this.session.emit({ kind: "credit", link: this });
  }

  override describe(flow: Flow): void {
    flow.deliveryCount = this.deliveryCount;
    flow.linkCredit = this.linkCredit;
    flow.available = Math.min(MAX_UINT, this.queued);
    // Not ours to change: the answer to a drain repeats the flag, and rhea takes none without it [transport 2.6.7].
    if (this.#drain) flow.drain = true;
  }

  protected override onLocalAttach(attach: Attach): void {
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
    if (attach.incompleteUnsettled) this.#incomplete = true;
  }

  protected override onRemoteAttach(attach: Attach): void {
    // One side could not list all it holds: nothing new until the rest is known [transport 2.7.3].
    if (attach.incompleteUnsettled) this.#incomplete = true;
    this.#maxMessageSize = Number(attach.maxMessageSize ?? 0n) || Infinity;
  }

  protected override forgetUnsettled(): void {
    for (const delivery of this.#outgoing ?? []) this.session.settlement.forget(delivery);
  }

  protected override onStop(): void {}

  // What is wrong with a delivery that is to begin, if anything.
  #check(delivery: OutgoingDelivery): AmqpError | undefined {
    const { payload, state } = delivery;
    if (payload.length > this.#maxMessageSize) {
      return this.#refusal(
        condition.messageSizeExceeded,
        `message has ${payload.length} bytes, receiver takes ${this.#maxMessageSize}`,
      );
    }
    if (this.sndSettleMode !== "mixed") {
      if (this.sndSettleMode === "settled") this.#outgoing!.sendSettled(delivery);
      else if (delivery.sentSettled) return this.#refusal(condition.notAllowed, 'settle mode is "unsettled"');
    }
    try {
      if (state !== undefined) this.session.settlement.check(state);
      return undefined;
    } catch (error) {
      return error as AmqpError;
    }
  }

  #refusal(symbol: string, state: string): AmqpError {
    return new AmqpError(symbol, `Cannot send to ${this.node}: ${state}`, { scope: "delivery" });
  }
}
