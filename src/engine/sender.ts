/**
 * The sending end of a link [transport 2.6].
 *
 * @module
 */

import { add, difference } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { MAX_UINT } from "../codec/codes.ts";
import type { Attach, DeliveryState, Fields, Flow } from "../codec/types.ts";
import { LinkEndpoint, type LinkEvent, type LinkOutput, type LinkSession } from "./link.ts";
import { type OutgoingDelivery, type OutgoingEndpoint, OutgoingLink } from "./outgoing.ts";

export type SenderEvent =
  | LinkEvent
  /**
   * The receiver granted or withdrew credit, or drains the link: read `sendable` and `draining`. In a drain, credit that is not
   * used by the next `transmit` is handed back.
   */
  | { readonly kind: "credit"; readonly link: SenderEndpoint }
  /** A delivery cannot go out on this link, such as one that is larger than the receiver accepts; the link goes on. */
  | {
    readonly kind: "refused";
    readonly link: SenderEndpoint;
    readonly delivery: OutgoingDelivery;
    readonly error: AmqpError;
  }
  /** The last frame of a delivery that went out settled has been written. */
  | { readonly kind: "sent"; readonly link: SenderEndpoint; readonly delivery: OutgoingDelivery }
  /** The receiver reported the state of a delivery, settled it, or both. */
  | {
    readonly kind: "disposition";
    readonly link: SenderEndpoint;
    readonly delivery: OutgoingDelivery;
    readonly state: DeliveryState | undefined;
    readonly settled: boolean;
  };

/** The part of a session that senders use. */
export interface SenderSession extends LinkSession {
  emit(event: SenderEvent): void;
  readonly output: LinkOutput & {
    /** Queues a sender that has, or may have, something to write. */
    queueOutput(link: SenderEndpoint): void;
  };
}

export class SenderEndpoint extends LinkEndpoint implements OutgoingEndpoint {
  declare readonly session: SenderSession;
  override readonly role = "sender";
  /** Deliveries begun so far, as a serial number. */
  deliveryCount = 0;
  /** Deliveries that the receiver lets us begin, queued ones included. */
  linkCredit = 0;
  /** True when the receiver wants its credit used or handed back. */
  draining = false;
  /** True while the user searches for messages to send: until then a drain waits for its answer. */
  searching = false;
  /** The link state properties of the receiver's last flow, such as the transaction in which it acquires. */
  flowProperties: Fields | undefined;
  /** True once a flow held the receiver's delivery count, which it has only from our attach. */
  counted = false;

  #outgoing: OutgoingLink | undefined;
  #drain = false;
  #maxMessageSize = Infinity;
  #incomplete = false;

  get outgoing(): OutgoingLink {
    if (this.#outgoing === undefined) this.useOutgoing(new OutgoingLink());
    return this.#outgoing!;
  }

  /** Deliveries that may be sent now, beyond the queued ones. */
  get sendable(): number {
    if (this.#incomplete || this.state !== "attached") return 0;
    return Math.max(0, this.linkCredit - (this.#outgoing?.queued ?? 0));
  }

  /** Deliveries that are queued or partly written. */
  get queued(): number {
    return this.outgoing.queued + (this.outgoing.next?.id === undefined ? 0 : 1);
  }

  /** Sends the deliveries of `outgoing` from now on; no other sender may use it. */
  useOutgoing(outgoing: OutgoingLink): void {
    this.#outgoing = outgoing;
    outgoing.attachment = this;
    this.wake();
  }

  wake(): void {
    this.session.output.queueOutput(this);
  }

  handleDisposition(delivery: OutgoingDelivery, state: DeliveryState | undefined, settled: boolean): void {
    this.session.emit({ kind: "disposition", link: this, delivery, state, settled });
  }

  /**
   * Hands back credit that a drain asked for, when nothing is left to send.
   *
   * Called with each `transmit`, so a user that hears of the credit has until then to use it.
   */
  drained(): void {
    if (!this.draining || this.searching || this.state !== "attached" || this.next() !== undefined) return;
    // The last frames of a delivery that has begun are still to come.
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
    // A user that resumes deliveries waits for the last frame of those that are settled.
    if (delivery.resume ? delivery.settled : delivery.sentSettled && !delivery.aborted) {
      this.session.emit({ kind: "sent", link: this, delivery });
    }
  }

  override receiveFlow(flow: Flow): void {
    this.confirm();
    if (flow.properties !== undefined) this.flowProperties = flow.properties;
    if (flow.deliveryCount !== undefined) this.counted = true;
    if (flow.linkCredit === undefined) return;
    // Deliveries that the receiver had not seen when it wrote the flow use up the credit of it [transport 2.6.7].
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
    // The receiver's flag: the answer to a drain repeats it, and rhea accepts none without it [transport 2.6.7].
    if (this.#drain) flow.drain = true;
  }

  protected override onLocalAttach(attach: Attach): void {
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
    if (attach.incompleteUnsettled) this.#incomplete = true;
  }

  protected override onRemoteAttach(attach: Attach): void {
    // One side could not list all its deliveries: nothing new goes out until the rest is known [transport 2.7.3].
    if (attach.incompleteUnsettled) this.#incomplete = true;
    this.#maxMessageSize = Number(attach.maxMessageSize ?? 0n) || Infinity;
  }

  protected override forgetUnsettled(): void {
    for (const delivery of this.#outgoing ?? []) this.session.settlement.forget(delivery);
  }

  protected override onStop(): void {}

  // The reason why a delivery cannot begin, if any.
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
