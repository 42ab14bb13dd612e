/**
 * Links: the sending and the receiving end [transport 2.6].
 *
 * @module
 */

import { AmqpError, condition } from "../errors.ts";
import type {
  Attach,
  Coordinator,
  DeliveryState,
  Detach,
  Fields,
  Flow,
  ReceiverSettleMode,
  Role,
  SenderSettleMode,
  Source,
  Target,
  Transfer,
} from "../codec/types.ts";
import { IncomingDelivery, OutgoingDelivery, type SendOptions } from "./deliveries.ts";
import { type Endpoint, Fault, fromErrorFields, toErrorFields } from "./fault.ts";
import { add, difference } from "./serial.ts";
import type { SessionEndpoint } from "./session.ts";
import { type LinkState, type LinkStep, linkTransitions } from "./states.ts";

/** Longest delivery tag [transport 2.8.7]. */
export const MAX_DELIVERY_TAG_BYTES = 32;
/** Frames without payload that a delivery may have in a row; more is a peer that only burns our time. */
export const MAX_EMPTY_TRANSFERS = 100;
// A payload is handed on as a view of what the transport delivered. When it is a small part of something large it is
// copied, or a peer could make us keep 16 MiB alive with one byte of message.
const KEEP_VIEW_BYTES = 262_144;

/** The terms of our end of a link. */
export interface LinkOptions {
  /** Where messages come from; null refuses. */
  source?: Source | null;
  /** Where messages go to; null refuses. */
  target?: Target | Coordinator | null;
  /** Which deliveries are sent settled. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode;
  /** Whether the receiver settles at once or after the sender. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode;
  /** Largest message that this end takes, in bytes; 0 or absent for no limit. */
  maxMessageSize?: bigint;
  /** Where the sender's delivery count starts. Default: 0. */
  initialDeliveryCount?: number;
  /** Unsettled deliveries by tag, when a suspended link is attached again. */
  unsettled?: Map<Uint8Array, DeliveryState | null>;
  /** True when `unsettled` is not all of them. */
  incompleteUnsettled?: boolean;
  /** Capabilities that this end wants to use. */
  desiredCapabilities?: string[];
  /** Capabilities that this end offers. */
  offeredCapabilities?: string[];
  /** Link properties. */
  properties?: Fields;
}

/** How a link is attached from this side. */
export interface AttachOptions extends LinkOptions {
  /** Names the link between the two containers. */
  name: string;
  /** Which end ours is. */
  role: Role;
}

/** What both ends have in common. */
export abstract class LinkEndpoint implements Endpoint {
  /** Which end ours is. */
  abstract readonly role: Role;
  /** The session it is attached to. */
  readonly session: SessionEndpoint;
  /** Names the link between the two containers. */
  readonly name: string;
  /** Our number for it. */
  readonly handle: number;
  /** The peer's number for it, once its attach arrived. */
  remoteHandle: number | undefined;
  /** Where it stands. */
  state: LinkState = "unattached";
  /** Our attach, once sent. */
  local: Attach | undefined;
  /** The peer's attach, once received. */
  remote: Attach | undefined;
  /** Changes of credit or counts that the peer does not know yet; the session writes the flow. */
  flowDue = false;
  /** Deliveries that are not settled on both sides, by tag. */
  readonly unsettled: Map<string, OutgoingDelivery | IncomingDelivery> = new Map();

  #closing = false;
  #reported = false;

  /** Built by the session. */
  constructor(session: SessionEndpoint, name: string, handle: number) {
    this.session = session;
    this.name = name;
    this.handle = handle;
  }

  /** In force once attached: the sender's word counts [transport 2.6.6]. */
  get sndSettleMode(): SenderSettleMode {
    return (this.role === "sender" ? this.local : this.remote)?.sndSettleMode ?? "mixed";
  }

  /** In force once attached: the receiver's word counts [transport 2.6.6]. */
  get rcvSettleMode(): ReceiverSettleMode {
    return (this.role === "receiver" ? this.local : this.remote)?.rcvSettleMode ?? "first";
  }

  /** Writes our attach, first or as the answer. */
  sendAttach(options: LinkOptions): void {
    const attach: Attach = {
      kind: "attach",
      name: this.name,
      handle: this.handle,
      role: this.role,
      sndSettleMode: options.sndSettleMode,
      rcvSettleMode: options.rcvSettleMode,
      source: options.source ?? undefined,
      target: options.target ?? undefined,
      unsettled: options.unsettled,
      incompleteUnsettled: options.incompleteUnsettled,
      initialDeliveryCount: this.role === "sender" ? options.initialDeliveryCount ?? 0 : undefined,
      maxMessageSize: options.maxMessageSize,
      offeredCapabilities: options.offeredCapabilities,
      desiredCapabilities: options.desiredCapabilities,
      properties: options.properties,
    };
    const next = this.#next("sendAttach");
    this.session.write(attach, this);
    this.local = attach;
    this.state = next;
    this.onLocalAttach(attach);
  }

  /**
   * Accepts the peer's attach. What `options` leaves out is as the peer wished: its source, target and settle modes.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the link no longer waits for an answer.
   */
  accept(options: LinkOptions = {}): void {
    const remote = this.#awaitsAnswer("accept");
    this.sendAttach({
      ...options,
      source: options.source ?? remote.source,
      target: options.target ?? remote.target,
      sndSettleMode: options.sndSettleMode ?? remote.sndSettleMode,
      rcvSettleMode: options.rcvSettleMode ?? remote.rcvSettleMode,
    });
    if (this.role === "sender") {
      this.session.connection.emit({ kind: "credit", link: this as unknown as SenderEndpoint });
    }
  }

  /**
   * Refuses the peer's attach: an answer without the terminus that was asked for, then a detach with `error`
   * [transport 2.6.3].
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the link no longer waits for an answer.
   */
  refuse(error: AmqpError): void {
    const remote = this.#awaitsAnswer("refuse");
    // Only the terminus at our end is ours to withhold.
    const ours = this.role === "sender" ? { target: remote.target } : { source: remote.source };
    this.sendAttach({ ...ours, sndSettleMode: remote.sndSettleMode, rcvSettleMode: remote.rcvSettleMode });
    this.#reported = true;
    this.detach({ closed: true, error });
  }

  /** Detaches: `closed` ends the link, otherwise it is suspended. Does nothing when it is detached already. */
  detach(options: { closed: boolean; error?: AmqpError }): void {
    if (this.state !== "attached" && this.state !== "attachSent") return;
    if (options.closed) this.#closing = true;
    this.#sendDetach(options.error);
    this.session.forgetOutput(this);
    if (this.#closing) this.session.forgetDeliveries(this);
  }

  /** Ends the link because of `error`, found on this side. */
  fail(error: AmqpError): void {
    this.detach({ closed: true, error });
    this.report(true, error);
  }

  /** Ends a link whose attach could not be written. */
  abandon(error: AmqpError): void {
    this.state = "detached";
    this.session.forgetLink(this);
    this.report(true, error);
  }

  /** Takes the peer's attach, first or as the answer. */
  receiveAttach(attach: Attach): void {
    this.state = this.#next("receiveAttach");
    this.remote = attach;
    this.remoteHandle = attach.handle;
    this.onRemoteAttach(attach);
    if (this.state !== "attached") return;
    // A terminus that is missing from the answer announces the detach that refuses the link [transport 2.6.3].
    const refused = this.role === "sender" ? attach.target === undefined : attach.source === undefined;
    if (!refused) this.session.connection.emit({ kind: "attached", link: this.self() });
  }

  /** Takes the peer's detach, and answers it. */
  receiveDetach(detach: Detach): void {
    const closed = detach.closed ?? false;
    const error = detach.error && fromErrorFields(detach.error, `Link "${this.name}" detached`, "link");
    if (this.state === "attachReceived") {
      // Gone before we answered: the answer is owed all the same, without any terminus.
      this.sendAttach({});
    }
    if (this.state === "detachSent" && closed && !this.#closing) {
      // Our suspend crossed the peer's close: attach again, then close [transport 2.6.5].
      this.#reattachToClose();
      this.report(true, error);
      return;
    }
    this.state = this.#next("receiveDetach");
    if (this.state === "detachReceived") {
      this.#closing = closed;
      this.session.forgetOutput(this);
      this.#sendDetach();
    }
    if (closed || this.#closing) this.session.forgetDeliveries(this);
    this.session.forgetLink(this, error !== undefined);
    this.report(closed || this.#closing, error);
  }

  /** Takes the peer's flow. */
  abstract receiveFlow(flow: Flow): void;
  /** Fills in the part of a flow that describes this link. */
  abstract describe(flow: Flow): void;
  /** This endpoint with its role in its type. */
  abstract self(): SenderEndpoint | ReceiverEndpoint;

  /** Called when our attach was written. */
  protected onLocalAttach(_attach: Attach): void {}
  /** Called when the peer's attach arrived. */
  protected onRemoteAttach(_attach: Attach): void {}

  /** Reports the link's end, once. */
  protected report(closed: boolean, error: AmqpError | undefined): void {
    if (this.#reported) return;
    this.#reported = true;
    this.session.connection.emit({ kind: "detached", link: this.self(), closed, error });
  }

  /** Blames the peer for something that ends this link. */
  protected fault(symbol: string, message: string): Fault {
    return new Fault(this, new AmqpError(symbol, `${message} (link "${this.name}")`, { scope: "link" }));
  }

  #sendDetach(error?: AmqpError): void {
    const detach: Detach = { kind: "detach", handle: this.handle };
    if (this.#closing) detach.closed = true;
    if (error !== undefined) {
      detach.error = toErrorFields(error);
      this.session.noteErrant(this);
    }
    const next = this.#next("sendDetach");
    this.session.write(detach, this);
    this.state = next;
  }

  #reattachToClose(): void {
    const attach = this.local!;
    this.state = "unattached";
    this.session.awaitAnswer(this);
    this.#closing = true;
    this.session.write(attach, this);
    this.state = this.#next("sendAttach");
    this.#sendDetach();
  }

  #awaitsAnswer(doing: string): Attach {
    if (this.state !== "attachReceived" || this.remote === undefined) {
      throw new AmqpError(condition.illegalState, `Cannot ${doing} link "${this.name}": state is ${this.state}`, {
        scope: "link",
      });
    }
    return this.remote;
  }

  #next(step: LinkStep): LinkState {
    const next = linkTransitions[this.state][step];
    if (next !== undefined) return next;
    const error = new AmqpError(condition.illegalState, `Cannot ${step} link "${this.name}": state is ${this.state}`, {
      scope: "session",
    });
    throw step.startsWith("receive") ? new Fault(this.session, error) : error;
  }
}

/** Our end of a link on which we send. */
export class SenderEndpoint extends LinkEndpoint {
  /** Always `"sender"`. */
  override readonly role = "sender";
  /** Deliveries begun so far, as a serial number. */
  deliveryCount = 0;
  /** Deliveries that the receiver lets us begin, those in the queue not subtracted. */
  linkCredit = 0;
  /** True when the receiver wants its credit used up or handed back. */
  draining = false;

  #queue: OutgoingDelivery[] = [];
  #incomplete = false;

  /** How many deliveries may be sent now. */
  get sendable(): number {
    if (this.state !== "attached" || this.#incomplete) return 0;
    const begun = this.#queue.length > 0 && this.#queue[0]!.id !== undefined ? 1 : 0;
    return Math.max(0, this.linkCredit - this.#queue.length + begun);
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
   * @throws {RangeError} If the tag is empty or longer than 32 bytes.
   * @throws {AmqpError} With `amqp:link:transfer-limit-exceeded` without credit, `amqp:link:message-size-exceeded` if the
   * receiver does not take that much, `amqp:illegal-state` if the link is not attached or the tag is in use,
   * `amqp:not-allowed` if the link's settle mode forbids it.
   */
  send(tag: Uint8Array, payload: Uint8Array, options: SendOptions = {}): OutgoingDelivery {
    this.#checkSend(tag, payload, options);
    const delivery = new OutgoingDelivery(this, tag, payload, options);
    if (this.sndSettleMode === "settled") delivery.settled = true;
    if (!delivery.settled) this.unsettled.set(tagKey(tag), delivery);
    this.#queue.push(delivery);
    this.session.queueOutput(this);
    return delivery;
  }

  /** Gives up a delivery that is not written in full; false when it is too late. */
  abort(delivery: OutgoingDelivery): boolean {
    const at = this.#queue.indexOf(delivery);
    if (at < 0 || delivery.aborted) return false;
    delivery.aborted = true;
    delivery.settled = true;
    this.unsettled.delete(tagKey(delivery.tag));
    // One that has begun needs a last frame that says so; the rest was never seen.
    if (delivery.id === undefined) this.#queue.splice(at, 1);
    else this.session.queueOutput(this);
    return true;
  }

  /** Tells the receiver at once how many deliveries wait here. */
  offer(available: number): void {
    this.#available = available;
    this.session.queueFlow(this);
  }
  #available = 0;

  /** Hands back credit that a drain asked for, when nothing is left to send. */
  drained(): void {
    if (!this.draining || this.#queue.length > 0) return;
    this.deliveryCount = add(this.deliveryCount, this.linkCredit);
    this.linkCredit = 0;
    this.draining = false;
    this.session.queueFlow(this);
  }

  /** The next delivery that may have a frame written, if any. */
  next(): OutgoingDelivery | undefined {
    const delivery = this.#queue[0];
    if (delivery === undefined || (delivery.id === undefined && this.linkCredit === 0)) return undefined;
    return delivery;
  }

  /** Counts the delivery that begins now [transport 2.6.7]. */
  begin(): void {
    this.deliveryCount = add(this.deliveryCount, 1);
    this.linkCredit--;
  }

  /** Takes the delivery whose last frame was written off the queue. */
  finish(): void {
    const delivery = this.#queue.shift()!;
    delivery.sent = true;
    if (delivery.settled) this.session.connection.emit({ kind: "sent", delivery });
  }

  /** Drops what is queued. */
  clearQueue(): void {
    this.#queue = [];
  }

  /** {@inheritDoc LinkEndpoint.receiveFlow} */
  override receiveFlow(flow: Flow): void {
    if (flow.linkCredit === undefined) return;
    // What the receiver has not seen when it wrote the flow is already counted by us [transport 2.6.7].
    const from = flow.deliveryCount ?? this.local?.initialDeliveryCount ?? 0;
    const behind = difference(this.deliveryCount, from);
    this.linkCredit = Math.max(0, flow.linkCredit - behind);
    this.draining = flow.drain ?? false;
    this.session.queueOutput(this);
    this.session.connection.emit({ kind: "credit", link: this });
  }

  /** {@inheritDoc LinkEndpoint.describe} */
  override describe(flow: Flow): void {
    flow.deliveryCount = this.deliveryCount;
    flow.linkCredit = this.linkCredit;
    flow.available = this.#available + this.#queue.length;
    if (this.draining) flow.drain = true;
  }

  /** {@inheritDoc LinkEndpoint.self} */
  override self(): SenderEndpoint {
    return this;
  }

  /** {@inheritDoc LinkEndpoint.onLocalAttach} */
  protected override onLocalAttach(attach: Attach): void {
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
  }

  /** {@inheritDoc LinkEndpoint.onRemoteAttach} */
  protected override onRemoteAttach(attach: Attach): void {
    // The receiver could not list all it holds: nothing new until the rest is known [transport 2.7.3].
    this.#incomplete = attach.incompleteUnsettled ?? false;
  }

  #checkSend(tag: Uint8Array, payload: Uint8Array, options: SendOptions): void {
    if (tag.length === 0 || tag.length > MAX_DELIVERY_TAG_BYTES) {
      throw new RangeError(`Cannot send on link "${this.name}": delivery tag has ${tag.length} bytes, not 1 to 32`);
    }
    const refuse = (symbol: string, state: string): AmqpError =>
      new AmqpError(symbol, `Cannot send on link "${this.name}": ${state}`, { scope: "delivery" });
    if (this.state !== "attached") throw refuse(condition.illegalState, `state is ${this.state}`);
    if (this.sendable === 0) throw refuse(condition.transferLimitExceeded, "no credit");
    const limit = this.maxMessageSize;
    if (limit !== undefined && BigInt(payload.length) > limit) {
      throw refuse(condition.messageSizeExceeded, `message has ${payload.length} bytes, receiver takes ${limit}`);
    }
    if (options.settled === true && this.sndSettleMode === "unsettled") {
      throw refuse(condition.notAllowed, 'settle mode is "unsettled"');
    }
    if (this.unsettled.has(tagKey(tag))) throw refuse(condition.illegalState, "delivery tag is in use");
  }
}

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

  // The furthest delivery count that any flow of ours allowed; withdrawing credit does not call back what is on its way.
  #limit: number | undefined;
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
   * @throws {AmqpError} With `amqp:illegal-state` if the link is not attached.
   */
  flow(options: { linkCredit?: number; drain?: boolean; echo?: boolean }): void {
    if (this.state !== "attached" && this.state !== "attachSent") {
      throw new AmqpError(
        condition.illegalState,
        `Cannot grant credit on link "${this.name}": state is ${this.state}`,
        {
          scope: "link",
        },
      );
    }
    if (options.linkCredit !== undefined) this.linkCredit = options.linkCredit;
    this.draining = options.drain ?? false;
    if (options.echo) this.#echo = true;
    this.session.queueFlow(this);
  }

  /** Takes one transfer of this link [transport 2.7.5]. */
  receiveTransfer(transfer: Transfer, payload: Uint8Array): void {
    if (this.state !== "attached") return this.session.skipDelivery(transfer.deliveryId);
    const partial = this.#partial ?? this.#begin(transfer);
    if (partial === this.#partial) this.#checkContinuation(partial, transfer);
    this.#take(partial, transfer, payload);
    if (transfer.aborted) {
      this.#partial = undefined;
      if (!partial.ignored) this.session.connection.emit({ kind: "aborted", link: this });
      return this.#checkDrained();
    }
    if (transfer.more) {
      this.#partial = partial;
      return;
    }
    this.#partial = undefined;
    this.#complete(partial);
    this.#checkDrained();
  }

  /** {@inheritDoc LinkEndpoint.receiveFlow} */
  override receiveFlow(flow: Flow): void {
    this.available = flow.available ?? 0;
    if (flow.deliveryCount === undefined || this.deliveryCount === undefined) return;
    const ahead = difference(flow.deliveryCount, this.deliveryCount);
    // A sender moves its count on without deliveries only to hand back credit in a drain.
    if (ahead < 0 || ahead > this.linkCredit) {
      throw this.fault(
        condition.invalidField,
        `Cannot take flow: delivery-count ${flow.deliveryCount} is out of range`,
      );
    }
    this.deliveryCount = flow.deliveryCount;
    this.linkCredit -= ahead;
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
    // Without the sender's count the credit counts from its initial one, and cannot be checked before it is known.
    if (this.deliveryCount === undefined) return;
    const limit = add(this.deliveryCount, this.linkCredit);
    if (this.#limit === undefined || difference(limit, this.#limit) > 0) this.#limit = limit;
  }

  /** {@inheritDoc LinkEndpoint.self} */
  override self(): ReceiverEndpoint {
    return this;
  }

  /** {@inheritDoc LinkEndpoint.onRemoteAttach} */
  protected override onRemoteAttach(attach: Attach): void {
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
    this.#limit = add(this.deliveryCount, this.linkCredit);
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
    if (this.#limit === undefined || difference(this.#limit, this.deliveryCount!) <= 0) {
      throw this.fault(condition.transferLimitExceeded, "Cannot take transfer: no credit was left");
    }
    if (this.local?.incompleteUnsettled && !transfer.resume) {
      throw this.fault(condition.notAllowed, "Cannot take new delivery: unsettled deliveries are not all known yet");
    }
    this.deliveryCount = add(this.deliveryCount!, 1);
    if (this.linkCredit > 0) this.linkCredit--;
    const known = this.unsettled.has(tagKey(deliveryTag));
    if (known && !transfer.resume) {
      throw this.fault(condition.notAllowed, "Cannot take transfer: delivery-tag is that of an unsettled delivery");
    }
    return new PartialDelivery(
      deliveryId,
      deliveryTag,
      transfer.messageFormat ?? 0,
      transfer.resume === true && !known,
    );
  }

  #checkContinuation(partial: PartialDelivery, transfer: Transfer): void {
    if (
      (transfer.deliveryId !== undefined && transfer.deliveryId !== partial.id) ||
      (transfer.deliveryTag !== undefined && tagKey(transfer.deliveryTag) !== tagKey(partial.tag)) ||
      (transfer.messageFormat !== undefined && transfer.messageFormat !== partial.messageFormat)
    ) {
      throw this.fault(condition.notAllowed, "Cannot take transfer: it differs from the delivery that has begun");
    }
  }

  #take(partial: PartialDelivery, transfer: Transfer, payload: Uint8Array): void {
    // Once said, "settled" stays [transport 2.7.5].
    if (transfer.settled) partial.settled = true;
    if (transfer.state !== undefined) partial.state = transfer.state;
    if (transfer.aborted) return;
    if (this.sndSettleMode === "unsettled" && transfer.settled) {
      throw this.fault(condition.notAllowed, 'Cannot take transfer: settled on a link of mode "unsettled"');
    }
    partial.emptyFrames = payload.length === 0 ? partial.emptyFrames + 1 : 0;
    if (partial.emptyFrames > MAX_EMPTY_TRANSFERS) {
      throw this.fault(condition.resourceLimitExceeded, "Cannot take transfer: too many in a row carry nothing");
    }
    const limit = this.local?.maxMessageSize;
    if (limit !== undefined && limit !== 0n && BigInt(partial.size + payload.length) > limit) {
      throw this.fault(condition.messageSizeExceeded, `Cannot take delivery: it has more than ${limit} bytes`);
    }
    if (!partial.ignored) partial.append(payload, transfer.more ?? false);
  }

  #complete(partial: PartialDelivery): void {
    if (this.sndSettleMode === "settled" && !partial.settled) {
      throw this.fault(condition.notAllowed, 'Cannot take delivery: not settled on a link of mode "settled"');
    }
    // What we do not hold cannot be resumed [transport 2.6.13].
    if (partial.ignored) return;
    const delivery = new IncomingDelivery(this, partial.id, partial.tag, partial.messageFormat, partial.bytes());
    delivery.remoteState = partial.state;
    if (partial.settled) {
      delivery.remoteSettled = true;
    } else {
      this.session.addIncoming(delivery);
      this.unsettled.set(tagKey(delivery.tag), delivery);
    }
    this.session.connection.emit({ kind: "delivery", link: this, delivery });
  }

  #checkDrained(): void {
    if (!this.draining || this.linkCredit > 0 || this.#partial !== undefined) return;
    this.draining = false;
    this.session.connection.emit({ kind: "drained", link: this });
  }
}

/** What has arrived of a delivery in several transfers. */
class PartialDelivery {
  readonly id: number;
  readonly tag: Uint8Array;
  readonly messageFormat: number;
  readonly ignored: boolean;
  settled = false;
  state: DeliveryState | undefined;
  emptyFrames = 0;
  size = 0;
  #bytes: Uint8Array | undefined;

  constructor(id: number, tag: Uint8Array, messageFormat: number, ignored: boolean) {
    this.id = id;
    // The tag outlives the frame.
    this.tag = new Uint8Array(tag);
    this.messageFormat = messageFormat;
    this.ignored = ignored;
  }

  /** Adds a payload; one growing buffer, so that many small frames cost no more than their bytes. */
  append(payload: Uint8Array, more: boolean): void {
    if (this.#bytes === undefined && !more) {
      const small = payload.length < payload.buffer.byteLength / 4 && payload.buffer.byteLength > KEEP_VIEW_BYTES;
      this.#bytes = small ? new Uint8Array(payload) : payload;
    } else {
      const needed = this.size + payload.length;
      if (this.#bytes === undefined || this.#bytes.length < needed) {
        const grown = new Uint8Array(Math.max(needed, this.size * 2, more ? 1_024 : 0));
        if (this.#bytes !== undefined) grown.set(this.#bytes.subarray(0, this.size));
        this.#bytes = grown;
      }
      this.#bytes.set(payload, this.size);
    }
    this.size += payload.length;
  }

  bytes(): Uint8Array {
    return this.#bytes === undefined ? new Uint8Array(0) : this.#bytes.subarray(0, this.size);
  }
}

/** A delivery tag as a map key: one character a byte. */
export function tagKey(tag: Uint8Array): string {
  let key = "";
  for (let i = 0; i < tag.length; i++) key += String.fromCharCode(tag[i]!);
  return key;
}
