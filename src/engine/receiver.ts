/**
 * The receiving end of a link [transport 2.6].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { MAX_UINT } from "../codec/checks.ts";
import type { Attach, Flow, Transfer } from "../codec/types.ts";
import { IncomingDelivery } from "./deliveries.ts";
import { LinkEndpoint } from "./link.ts";
import { PartialDelivery } from "./incoming_transfers.ts";
import { MAX_DELIVERY_TAG_BYTES } from "./sender.ts";
import { add } from "./serial.ts";

/**
 * Frames without payload that a delivery may have in a row. Nobody has a reason for more than one, so it is no option: more is
 * a peer that only burns our time.
 */
export const MAX_EMPTY_TRANSFERS = 100;

/** Our end of a link on which we receive. */
export class ReceiverEndpoint extends LinkEndpoint {
  /** Always `"receiver"`. */
  override readonly role = "receiver";
  /** Deliveries begun so far, by the sender's count; undefined until its attach arrived. */
  deliveryCount: number | undefined;
  /** Deliveries that the sender may still begin. */
  linkCredit = 0;
  /** Deliveries that the sender has ready, as it said last. */
  available = 0;
  /** True while a drain is under way. */
  draining = false;

  // Deliveries that the sender may begin by the most generous flow that it may have seen: withdrawing credit does not
  // call back what is on its way [transport 2.6.10].
  #allowed = 0;
  // The most that was ever granted at once. Brokers that renew credit without counting what is already on its way to the
  // wire, as RabbitMQ before 4.0 does, go over by as much; whoever goes further is out of bounds.
  #largestGrant = 0;
  #maxMessageSize = Infinity;
  #partial: PartialDelivery | undefined;
  #echo = false;

  /** True while a delivery has arrived in part. */
  get receiving(): boolean {
    return this.#partial !== undefined;
  }

  /**
   * Lets the sender begin `linkCredit` more deliveries; replaces what was granted before.
   *
   * With `drain` the sender must use the credit at once or hand it back, told by the event `drained`.
   *
   * @throws {RangeError} If `linkCredit` is not a whole number from 0 to 2^32-1.
   * @throws {AmqpError} With `amqp:illegal-state` if the link is not attached.
   */
  flow(options: { linkCredit?: number; drain?: boolean; echo?: boolean }): void {
    const { linkCredit = this.linkCredit, drain = false, echo = false } = options;
    if (linkCredit !== linkCredit >>> 0) {
      throw new RangeError(`Cannot grant credit: ${linkCredit} is not a whole number from 0 to ${MAX_UINT}`);
    }
    if (this.state !== "attached" && this.state !== "attachSent") throw this.illegal("grant credit on");
    this.linkCredit = linkCredit;
    this.draining = drain;
    if (echo) this.#echo = true;
    this.session.queueFlow(this);
  }

  /** Takes one transfer of this link [transport 2.7.5]; for sessions. */
  override receiveTransfer(transfer: Transfer, payload: Uint8Array): void {
    if (this.state !== "attached" && this.state !== "attachReceived") {
      return super.receiveTransfer(transfer, payload);
    }
    this.confirm();
    const begun = this.#partial;
    if (begun !== undefined && !begun.goesOn(transfer)) {
      throw this.fault(condition.notAllowed, "Cannot take transfer: it differs from the delivery that has begun");
    }
    const partial = begun ?? this.#begin(transfer);
    // What we do not hold cannot be resumed [transport 2.6.13].
    const ignored = partial.resume && !this.resumable(partial.key);
    if (!transfer.aborted) {
      this.#check(partial, transfer, payload.length);
      if (!ignored) partial.append(payload, transfer.more ?? false);
    }
    this.#partial = transfer.more && !transfer.aborted ? partial : undefined;
    if (this.#partial !== undefined) return;
    if (transfer.aborted || ignored) this.session.connection.emit({ kind: "aborted", link: this });
    else this.#complete(partial);
    this.#checkDrained();
  }

  /** {@inheritDoc LinkEndpoint.receiveFlow} */
  override receiveFlow(flow: Flow): void {
    this.confirm();
    this.available = flow.available ?? 0;
    if (flow.deliveryCount === undefined || this.deliveryCount === undefined) return;
    // Unsigned, so that a count that went back is far too much. A sender moves its count on without deliveries only to
    // hand back credit in a drain.
    const ahead = add(flow.deliveryCount, -this.deliveryCount);
    if (ahead > Math.max(0, this.#allowed)) {
      throw this.fault(
        condition.invalidField,
        `Cannot take flow: delivery-count ${flow.deliveryCount} is out of range`,
      );
    }
    this.#count(ahead);
    // Also when the drain was called off meanwhile: the credit is gone.
    if (ahead > 0 && this.linkCredit === 0) this.draining = true;
    this.#checkDrained();
  }

  /** {@inheritDoc LinkEndpoint.describe} */
  override describe(flow: Flow): void {
    flow.deliveryCount = this.deliveryCount;
    flow.linkCredit = this.linkCredit;
    if (this.draining) flow.drain = true;
    if (this.#echo) {
      flow.echo = true;
      this.#echo = false;
    }
    this.#allowed = Math.max(this.#allowed, this.linkCredit);
    this.#largestGrant = Math.max(this.#largestGrant, this.linkCredit);
  }

  /** {@inheritDoc LinkEndpoint.onLocalAttach} */
  protected override onLocalAttach(attach: Attach): void {
    this.#maxMessageSize = Number(attach.maxMessageSize ?? 0n) || Infinity;
  }

  /** {@inheritDoc LinkEndpoint.onRemoteAttach} */
  protected override onRemoteAttach(attach: Attach): void {
    this.deliveryCount = attach.initialDeliveryCount;
  }

  /** {@inheritDoc LinkEndpoint.onStop} */
  protected override onStop(): void {
    this.#partial = undefined;
  }

  #begin(transfer: Transfer): PartialDelivery {
    const { deliveryId, deliveryTag } = transfer;
    if (deliveryId === undefined || deliveryTag === undefined) {
      throw this.fault(
        condition.invalidField,
        "Cannot take transfer: first of a delivery needs delivery-id and delivery-tag",
      );
    }
    this.session.countDelivery(deliveryId);
    if (deliveryTag.length > MAX_DELIVERY_TAG_BYTES) {
      throw this.fault(condition.invalidField, `Cannot take transfer: delivery-tag has ${deliveryTag.length} bytes`);
    }
    if (transfer.rcvSettleMode === "second" && this.rcvSettleMode === "first" && !transfer.settled) {
      throw this.fault(
        condition.invalidField,
        'Cannot take transfer: rcv-settle-mode "second" on a link of mode "first"',
      );
    }
    if (this.#allowed <= -this.#largestGrant) {
      throw this.fault(condition.transferLimitExceeded, "Cannot take transfer: no credit left");
    }
    if (this.local?.incompleteUnsettled && !transfer.resume) {
      throw this.fault(condition.notAllowed, "Cannot take new delivery: unsettled deliveries are not all known yet");
    }
    this.#count(1);
    const partial = new PartialDelivery(deliveryId, deliveryTag, transfer);
    if (this.unsettled.has(partial.key)) {
      throw this.fault(condition.notAllowed, "Cannot take transfer: delivery-tag is that of an unsettled delivery");
    }
    return partial;
  }

  #check(partial: PartialDelivery, transfer: Transfer, length: number): void {
    if (transfer.settled) partial.settled = true;
    if (transfer.state !== undefined) partial.state = transfer.state;
    if (transfer.settled && this.sndSettleMode === "unsettled") {
      throw this.fault(condition.notAllowed, 'Cannot take transfer: settled on a link of mode "unsettled"');
    }
    if (!partial.settled && !transfer.more && this.sndSettleMode === "settled") {
      throw this.fault(condition.notAllowed, 'Cannot take delivery: not settled on a link of mode "settled"');
    }
    partial.emptyFrames = length === 0 ? partial.emptyFrames + 1 : 0;
    if (partial.emptyFrames > MAX_EMPTY_TRANSFERS) {
      throw this.fault(condition.resourceLimitExceeded, "Cannot take transfer: too many in a row carry nothing");
    }
    if (partial.size + length > this.#maxMessageSize) {
      throw this.fault(
        condition.messageSizeExceeded,
        `Cannot take delivery: it has more than ${this.#maxMessageSize} bytes`,
      );
    }
  }

  #complete(partial: PartialDelivery): void {
    const delivery = new IncomingDelivery(this, partial);
    if (!partial.settled) this.session.settlement.arrived(delivery);
    this.session.connection.emit({ kind: "delivery", link: this, delivery });
  }

  #count(deliveries: number): void {
    this.deliveryCount = add(this.deliveryCount!, deliveries);
    this.#allowed -= deliveries;
    this.linkCredit = Math.max(0, this.linkCredit - deliveries);
  }

  #checkDrained(): void {
    if (!this.draining || this.linkCredit > 0 || this.#partial !== undefined) return;
    this.draining = false;
    this.session.connection.emit({ kind: "drained", link: this });
  }
}
