/**
 * The receiving end of a link [transport 2.6].
 *
 * @module
 */

import { add, SerialMap } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { MAX_DELIVERY_TAG_BYTES } from "../codec/limits.ts";
import { MAX_UINT } from "../codec/codes.ts";
import type { Attach, DeliveryState, Fields, Flow, Outcome, Transfer } from "../codec/types.ts";
import { IncomingDelivery, type ReceivingLink } from "./deliveries.ts";
import { type TagKey, tagKey } from "./tags.ts";
import type { Budget } from "./budgets.ts";
import { IncomingTransfers, type TransferStreams } from "./incoming_transfers.ts";
import { LinkEndpoint, type LinkEvent, type LinkOutput, type LinkSession } from "./link.ts";
import type { Windows } from "./windows.ts";

/**
 * Consecutive frames without payload that a delivery may have. Nobody needs more than one, so this is no option: a peer that
 * sends more only burns our time.
 */
const MAX_EMPTY_TRANSFERS = 100;

/**
 * Answers to earlier drains that a sender may still owe when it is asked to drain again. An answer follows the last delivery,
 * which makes two at the most; more are those of a sender that never answers a drain whose credit it has used up.
 */
const MAX_LATE_ANSWERS = 8;

export type ReceiverEvent =
  | LinkEvent
  /** The sender has used or handed back all credit in a drain. */
  | { readonly kind: "drained"; readonly link: ReceiverEndpoint }
  /** A whole delivery has arrived, or the first frame of one on a link with streams. */
  | { readonly kind: "delivery"; readonly link: ReceiverEndpoint; readonly delivery: IncomingDelivery }
  /**
   * The sender used up one credit without a new delivery: it aborted one, or resumed one, whether we hold that or not.
   */
  | { readonly kind: "aborted"; readonly link: ReceiverEndpoint }
  /** The sender reported the state of a delivery, settled it, or both. */
  | {
    readonly kind: "disposition";
    readonly link: ReceiverEndpoint;
    readonly delivery: IncomingDelivery;
    readonly state: DeliveryState | undefined;
    readonly settled: boolean;
  };

export interface ReceiverSession extends LinkSession {
  emit(event: ReceiverEvent): void;
  /** Bytes of partly received deliveries. */
  readonly unfinished: Budget;
  /** The settings of the session. */
  readonly options: { readonly incomingWindow?: number };
  readonly output: LinkOutput & { readonly windows: Windows; queueWindow(): void };
  /** Counts a delivery that begins; ids are consecutive on a session [transport 2.7.5]. */
  countDelivery(id: number): void;
}

/** Deliveries of an earlier attachment that the sender may resume [transport 2.6.13]. */
export interface Suspended {
  has(key: TagKey): boolean;
  /** Called with the sender's attach, which tells what it still holds. */
  compare(attach: Attach): void;
  /** The sender resumes a delivery, all of which has arrived already. */
  resume(arriving: IncomingTransfers, aborted: boolean): void;
  values(): Iterable<IncomingDelivery>;
}

export class ReceiverEndpoint extends LinkEndpoint implements ReceivingLink {
  declare readonly session: ReceiverSession;
  override readonly role = "receiver";
  /** Deliveries begun so far, by the sender's count; undefined until its attach arrived. */
  deliveryCount: number | undefined;
  /** Deliveries that the sender may still begin. */
  linkCredit = 0;
  /** Deliveries that the sender has ready, by its last flow. */
  available = 0;
  /** True while a drain is under way. */
  draining = false;
  /**
   * Takes payloads as they arrive, of deliveries reported at their first frame. Default: deliveries are reported when complete.
   */
  streams: TransferStreams | undefined;

  /** Deliveries that are not settled on both sides, by tag. */
  readonly unsettled: SerialMap<TagKey, IncomingDelivery> = new SerialMap();

  // Deliveries that the sender may begin by the most generous flow that it may have seen: withdrawing credit does not call back
  // deliveries on their way [transport 2.6.10].
  #allowed = 0;
  // Flows with a drain that the sender may still answer; some senders answer none whose credit they have used up.
  #asked = 0;
  // Of these, those up to the first of the present drain; 0 before it is written.
  #due = 0;
  // Whether the sender hands back credit by advancing its count.
  #advances = false;
  // The largest credit that was ever granted. Brokers that renew credit without counting deliveries on their way to the wire,
  // as RabbitMQ before 4.0 does, exceed it by as much; a peer that goes further breaks the rules.
  #largestGrant = 0;
  #maxMessageSize = Infinity;
  #arriving: IncomingTransfers | undefined;
  #echo = false;
  #properties: Fields | undefined;
  #resumable: Set<TagKey> | undefined;
  /** Deliveries of an earlier attachment that the sender may resume. */
  suspended: Suspended | undefined;

  /** True while a delivery has arrived in part and is not reported. */
  get receiving(): boolean {
    return this.#arriving !== undefined && this.#arriving.sink === undefined;
  }

  /**
   * Lets the sender begin `linkCredit` more deliveries; replaces the credit granted before.
   *
   * With `drain` the sender must use the credit at once or hand it back, after which the event `drained` comes. `properties` go
   * out with this flow and those after it, until others are given.
   *
   * @throws {RangeError} If `linkCredit` is not a whole number from 0 to 2^32-1.
   * @throws {AmqpError} With `amqp:illegal-state` if the link is not attached.
   */
  flow(options: { linkCredit?: number; drain?: boolean; echo?: boolean; properties?: Fields }): void {
    const { linkCredit = this.linkCredit, drain = false, echo = false } = options;
    if (linkCredit !== linkCredit >>> 0) {
      throw new RangeError(`Cannot grant credit: ${linkCredit} is not a whole number from 0 to ${MAX_UINT}`);
    }
    if (this.state !== "attached" && this.state !== "attachSent") throw this.illegal("grant credit on");
    this.linkCredit = linkCredit;
    this.draining = drain;
    this.#due = 0;
    if (echo) this.#echo = true;
    if (options.properties !== undefined) this.#properties = options.properties;
    this.session.output.queueFlow(this);
  }

  update(delivery: IncomingDelivery, again: boolean): void {
    if (delivery.settled) this.forget(delivery);
    this.session.settlement.update(delivery, again);
  }

  agreed(state: DeliveryState): DeliveryState | undefined {
    if (state.kind !== "transactionalState") return this.#nearest(state);
    // Without an outcome it stands for the source's default.
    return { ...state, outcome: state.outcome && this.#nearest(state.outcome) };
  }

  #nearest<S extends DeliveryState>(state: S): S | Outcome | undefined {
    const { outcomes, defaultOutcome } = this.remote?.source ?? {}, { kind } = state;
    if (outcomes === undefined || kind !== "rejected" && kind !== "released" && kind !== "modified") return state;
    // Broker-J takes its default outcome, modified, and does not list it.
    const takes = (outcome: string) => outcomes.includes(`amqp:${outcome}:list`) || outcome === defaultOutcome?.kind;
    // An outcome that was not agreed on may end the link [messaging 3.5.3].
    if (takes(kind)) return state;
    const failed = kind === "rejected";
    if (takes("modified")) return { kind: "modified", deliveryFailed: failed, undeliverableHere: failed };
    return takes("released") ? { kind: "released" } : undefined;
  }

  forget(delivery: IncomingDelivery): void {
    if (this.unsettled.get(delivery.key) === delivery) this.unsettled.delete(delivery.key);
  }

  handleDisposition(delivery: IncomingDelivery, state: DeliveryState | undefined, settled: boolean): void {
    this.session.emit({ kind: "disposition", link: this, delivery, state, settled });
  }

  /** Takes one transfer of this link [transport 2.7.5]; for sessions. */
  override receiveTransfer(transfer: Transfer, payload: Uint8Array): void {
    if (!this.takes) return super.receiveTransfer(transfer, payload);
    this.confirm();
    const begun = this.#arriving;
    const { more, aborted, resume } = transfer;
    if (begun === undefined && this.streams === undefined && !more && !aborted && !resume) {
      return this.#receiveWhole(transfer, payload);
    }
    if (begun !== undefined && !begun.isContinuedBy(transfer)) {
      throw this.fault(condition.notAllowed, "Cannot take transfer: it differs from the delivery that has begun");
    }
    const arriving = begun ?? this.#begin(transfer);
    // A delivery that we do not hold cannot be resumed [transport 2.6.13].
    const ignored = arriving.resume && !this.#isResumable(arriving.key);
    const held = arriving.resume && this.suspended?.has(arriving.key);
    if (!aborted) {
      if (transfer.settled) arriving.settled = true;
      if (transfer.state !== undefined) arriving.state = transfer.state;
      this.#check(transfer, arriving.settled, arriving.size + payload.length);
      arriving.emptyFrames = payload.length === 0 ? arriving.emptyFrames + 1 : 0;
      if (arriving.emptyFrames > MAX_EMPTY_TRANSFERS) {
        throw this.fault(condition.resourceLimitExceeded, "Cannot take transfer: too many in a row carry nothing");
      }
      if (!ignored && !held && !arriving.take(payload, more ?? false)) {
        throw this.fault(condition.resourceLimitExceeded, "Cannot take transfer: too much has arrived in part");
      }
    }
    this.#arriving = more && !aborted ? arriving : undefined;
    if (this.#arriving !== undefined) return;
    arriving.end(aborted ?? false);
    if (held) this.suspended!.resume(arriving, aborted ?? false);
    if (held || aborted || ignored) this.session.emit({ kind: "aborted", link: this });
    else if (arriving.sink === undefined) this.deliver(new IncomingDelivery(this, arriving, arriving.bytes()));
    this.#checkDrained();
  }

  /** Reports a delivery that has arrived, and keeps it until it is settled; for streams. */
  deliver(delivery: IncomingDelivery): IncomingDelivery {
    if (!delivery.remoteSettled) {
      this.unsettled.set(delivery.key, delivery);
      this.session.settlement.arrived(delivery);
    }
    this.session.emit({ kind: "delivery", link: this, delivery });
    return delivery;
  }

  override receiveFlow(flow: Flow): void {
    this.confirm();
    this.available = flow.available ?? 0;
    if (flow.deliveryCount === undefined || this.deliveryCount === undefined) return;
    // Unsigned, so that a count that went back is far too large. A sender advances its count without deliveries only to hand
    // back credit in a drain.
    let ahead = add(flow.deliveryCount, -this.deliveryCount);
    // Proton counts a delivery at its last frame, we and the specification at its first.
    if (ahead === MAX_UINT && this.#arriving !== undefined) ahead = 0;
    if (ahead > Math.max(0, this.#allowed)) {
      throw this.fault(
        condition.invalidField,
        `Cannot take flow: delivery-count ${flow.deliveryCount} is out of range`,
      );
    }
    this.#count(ahead);
    if (ahead > 0) this.#advances = true;
    // The credit is gone even if the drain was called off meanwhile.
    if (ahead > 0 && this.linkCredit === 0) this.draining = true;
    if (flow.drain === true) this.#receiveAnswer(flow.linkCredit === 0 && !this.#advances);
    this.#checkDrained();
  }

  // Some senders answer a drain without advancing their count, as those do that had used up all credit; the answer to an
  // earlier drain, which may come after its last delivery has ended it, is none to this one. Whether that is owed is not
  // known, so the drain is asked for again: of as many answers as may be due, the last is one to it.
  #receiveAnswer(keepsCount: boolean): void {
    const due = this.#due;
    if (this.#asked > 0) this.#asked--;
    if (due > 0) this.#due--;
    if (!keepsCount || !this.draining || due === 0) return;
    if (due === 1) this.linkCredit = 0;
    else this.session.output.queueFlow(this);
  }

  override describe(flow: Flow): void {
    flow.deliveryCount = this.deliveryCount;
    flow.linkCredit = this.linkCredit;
    if (this.draining) {
      flow.drain = true;
      this.#asked++;
      this.#due ||= Math.min(this.#asked, MAX_LATE_ANSWERS + 1);
    }
    if (this.#properties !== undefined) flow.properties = this.#properties;
    if (this.#echo) {
      flow.echo = true;
      this.#echo = false;
    }
    this.#allowed = Math.max(this.#allowed, this.linkCredit);
    this.#largestGrant = Math.max(this.#largestGrant, this.linkCredit);
  }

  protected override onLocalAttach(attach: Attach): void {
    this.#maxMessageSize = Number(attach.maxMessageSize ?? 0n) || Infinity;
  }

  protected override onRemoteAttach(attach: Attach): void {
    // Azure's services leave the count out on `$cbs` and `$management`, and where they refuse a link.
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
    this.suspended?.compare(attach);
  }

  protected override forgetUnsettled(): void {
    for (const delivery of this.unsettled.values()) this.session.settlement.forget(delivery);
    this.unsettled.clear();
  }

  protected override onStop(): void {
    if (this.receiving) this.#arriving!.end(true);
    this.#arriving = undefined;
    this.streams?.stop();
  }

  // Whether our attach lists a delivery as unsettled, so that it can be resumed [transport 2.6.13].
  #isResumable(key: TagKey): boolean {
    if (this.suspended !== undefined) return this.suspended.has(key);
    this.#resumable ??= new Set(Array.from(this.local?.unsettled?.keys() ?? [], tagKey));
    return this.#resumable.has(key);
  }

  // Takes a delivery of one frame, as most are, which is never kept in part.
  #receiveWhole(transfer: Transfer, payload: Uint8Array): void {
    const key = this.#start(transfer);
    const { deliveryId, messageFormat = 0, settled = false, state } = transfer;
    this.#check(transfer, settled, payload.length);
    const arrived = { id: deliveryId!, key, messageFormat, resume: false, settled, state };
    this.deliver(new IncomingDelivery(this, arrived, payload));
    this.#checkDrained();
  }

  #begin(transfer: Transfer): IncomingTransfers {
    const arriving = new IncomingTransfers(this.session.unfinished, this.#start(transfer), transfer);
    if (!arriving.resume) arriving.sink = this.streams?.begin(arriving);
    return arriving;
  }

  // Counts a delivery that begins, and returns its tag.
  #start(transfer: Transfer): TagKey {
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
    if (transfer.rcvSettleMode === "second" && this.local?.rcvSettleMode !== "second" && !transfer.settled) {
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
    const key = tagKey(deliveryTag);
    if (this.unsettled.get(key) !== undefined || !transfer.resume && this.suspended?.has(key)) {
      throw this.fault(condition.notAllowed, "Cannot take transfer: delivery-tag is that of an unsettled delivery");
    }
    return key;
  }

  // Checks a transfer of a delivery that is `settled` by now, and has `size` bytes.
  #check(transfer: Transfer, settled: boolean, size: number): void {
    if (transfer.settled && this.sndSettleMode === "unsettled") {
      throw this.fault(condition.notAllowed, 'Cannot take transfer: settled on a link of mode "unsettled"');
    }
    if (!settled && !transfer.more && this.sndSettleMode === "settled") {
      throw this.fault(condition.notAllowed, 'Cannot take delivery: not settled on a link of mode "settled"');
    }
    if (size > this.#maxMessageSize) {
      throw this.fault(
        condition.messageSizeExceeded,
        `Cannot take delivery: it has more than ${this.#maxMessageSize} bytes`,
      );
    }
  }

  #count(deliveries: number): void {
    this.deliveryCount = add(this.deliveryCount!, deliveries);
    this.#allowed -= deliveries;
    this.linkCredit = Math.max(0, this.linkCredit - deliveries);
  }

  #checkDrained(): void {
    if (!this.draining || this.linkCredit > 0 || this.receiving) return;
    this.draining = false;
    this.session.emit({ kind: "drained", link: this });
  }
}
