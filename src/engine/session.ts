/**
 * Sessions: windows, links by handle, deliveries by id [transport 2.5].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { MAX_UINT } from "../codec/checks.ts";
import { fieldsOf } from "../codec/composite.ts";
import { quote } from "../base/text.ts";
import type { Attach, Begin, Detach, Disposition, End, Fields, Flow, Performative, Transfer } from "../codec/types.ts";
import type { ConnectionEndpoint } from "./connection.ts";
import type { OutgoingDelivery } from "./deliveries.ts";
import { type Endpoint, Fault, fromErrorFields, toErrorFields } from "./fault.ts";
import { Handles } from "./handles.ts";
import type { AttachOptions, LinkEndpoint } from "./link.ts";
import type { ReceiverEndpoint } from "./receiver.ts";
import { RefusedEndpoint } from "./refused.ts";
import type { SenderEndpoint } from "./sender.ts";
import { add } from "./serial.ts";
import { Settlement } from "./settlement.ts";
import { type SessionState, type SessionStep, sessionTransitions } from "./states.ts";
import { Windows } from "./windows.ts";

/** Transfers that the peer may have in flight on a session before it hears of more. */
export const DEFAULT_INCOMING_WINDOW = 2_048;
/** Highest handle by default: 1,024 links on a session in each direction. */
export const DEFAULT_HANDLE_MAX = 1_023;

/** The terms of our end of a session. */
export interface SessionOptions {
  /** Transfers that the peer may have in flight. Default: {@linkcode DEFAULT_INCOMING_WINDOW}. */
  incomingWindow?: number;
  /** Highest link handle that the peer may use. Default: {@linkcode DEFAULT_HANDLE_MAX}. */
  handleMax?: number;
  /** Where our transfer and delivery ids start. Default: 0. */
  initialOutgoingId?: number;
  /** Capabilities that this end wants to use. */
  desiredCapabilities?: string[];
  /** Capabilities that this end offers. */
  offeredCapabilities?: string[];
  /** Session properties. */
  properties?: Fields;
}

/** A kind of link: `SenderEndpoint` or `ReceiverEndpoint`. */
export type LinkClass<L extends LinkEndpoint> = new (session: SessionEndpoint, name: string, handle: number) => L;

/** Makes our end of a link that the peer attaches. */
export type TakeLink = (
  session: SessionEndpoint,
  attach: Attach,
  handle: number,
) => SenderEndpoint | ReceiverEndpoint;

/** One end of a session. */
export class SessionEndpoint implements Endpoint {
  /** The connection that it is multiplexed on. */
  readonly connection: ConnectionEndpoint;
  /** Our number for it. */
  readonly channel: number;
  /** The peer's number for it, once its begin arrived. */
  remoteChannel: number | undefined;
  /** Where it stands. */
  state: SessionState = "unmapped";
  /** The peer's begin, once received. */
  remote: Begin | undefined;
  /** What is not settled on it. */
  readonly settlement: Settlement = new Settlement(this);
  /** True while a flow or dispositions of this session wait to be written. */
  dirty = false;

  readonly #options: SessionOptions;
  readonly #handleMax: number;
  readonly #windows: Windows;
  #nextDeliveryId: number;
  #nextIncomingDeliveryId: number | undefined;
  #askedForWindow = false;
  #flowDue = false;
  #reported = false;

  readonly #handles = new Handles();
  readonly #output = new Set<SenderEndpoint>();
  readonly #draining = new Set<SenderEndpoint>();
  readonly #flowLinks = new Set<LinkEndpoint>();

  /** Built by the connection. */
  constructor(connection: ConnectionEndpoint, channel: number, options: SessionOptions) {
    this.connection = connection;
    this.channel = channel;
    this.#options = options;
    this.#windows = new Windows(options.incomingWindow ?? DEFAULT_INCOMING_WINDOW, options.initialOutgoingId ?? 0);
    this.#handleMax = options.handleMax ?? DEFAULT_HANDLE_MAX;
    this.#nextDeliveryId = this.#windows.initialOutgoingId;
  }

  /** Transfers that the peer still takes. */
  get remoteIncomingWindow(): number {
    return this.#windows.outgoing;
  }

  /** Transfers that we still take without a new flow. */
  get incomingWindow(): number {
    return this.#windows.incoming;
  }

  /** Deliveries, both ways, that are not settled. */
  get unsettledCount(): number {
    return this.settlement.size;
  }

  /** Links that are attached, or on their way in or out. */
  get linkCount(): number {
    return this.#handles.size;
  }

  /** The links of this session. */
  links(): IterableIterator<LinkEndpoint> {
    return this.#handles.links();
  }

  /** Writes our begin, first or as the answer. */
  sendBegin(): void {
    const next = this.#next("sendBegin");
    const { nextOutgoingId, incomingWindow, outgoingWindow } = this.#windows.tell();
    this.write({
      ...fieldsOf("begin", this.#options),
      kind: "begin",
      remoteChannel: this.remoteChannel,
      nextOutgoingId,
      incomingWindow,
      outgoingWindow,
      handleMax: this.#handleMax,
    }, this);
    this.state = next;
  }

  /** Takes the peer's begin, first or as the answer. */
  receiveBegin(begin: Begin, channel: number): void {
    this.state = this.#next("receiveBegin");
    this.remote = begin;
    this.remoteChannel = channel;
    this.#windows.begun(begin);
    const remote = this.state === "beginReceived";
    if (remote) this.sendBegin();
    if (this.state === "mapped") this.connection.emit({ kind: "begun", session: this, remote });
  }

  /**
   * Attaches a link.
   *
   * A link that was detached on this side may be attached again without waiting for the peer's answer.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the session has ended or a link of this name and role is attached,
   * `amqp:resource-limit-exceeded` if the peer takes no more links, `amqp:frame-size-too-small` if the attach is too large.
   */
  attach<L extends LinkEndpoint>(Link: LinkClass<L>, options: AttachOptions): L {
    const { name } = options;
    if (!this.#writable || this.connection.closing) throw this.#illegal(`attach link ${quote(name)}`);
    const handle = this.#freeHandle(name, Math.min(this.remote?.handleMax ?? MAX_UINT, this.#handleMax));
    const link = new Link(this, name, handle);
    for (const other of this.links()) {
      if (other.name !== name || other.role !== link.role || other.state === "detachSent") continue;
      throw new AmqpError(condition.illegalState, `Cannot attach link ${quote(name)}: the name is in use`, {
        scope: "link",
      });
    }
    // Not before it is written, which may fail.
    link.sendAttach(options);
    this.#handles.add(link);
    this.#handles.expect(link);
    return link;
  }

  /** Ends the session, with an error or without. Does nothing when it has ended already. */
  end(error?: AmqpError): void {
    if (!this.#writable) return;
    const next = this.#next("sendEnd");
    this.write({ kind: "end", error: error && toErrorFields(error) }, this);
    this.state = next;
    this.#clear();
  }

  /**
   * Ends the session because of `error`, found on this side; what still arrives is dropped [transport 2.5.4]. Does nothing
   * when it has ended already.
   */
  fail(error: AmqpError): void {
    const next = sessionTransitions[this.state].fail;
    if (next === undefined) return;
    if (this.state !== next) this.write({ kind: "end", error: toErrorFields(error) }, this);
    this.state = next;
    this.#clear();
    this.#report(error);
  }

  /** Ends a session whose begin could not be written. */
  abandon(error: AmqpError): void {
    this.drop();
    this.connection.forgetSession(this);
    this.#report(error);
  }

  /** Ends the session along with its connection. */
  drop(): void {
    this.state = "ended";
    this.#clear();
  }

  /** Takes one frame of this session. */
  receive(body: Performative, payload: Uint8Array | undefined): void {
    if (body.kind === "end") return this.#receiveEnd(body);
    if (this.state === "discarding" || this.state === "endSent") return;
    switch (body.kind) {
      case "transfer":
        return this.#receiveTransfer(body, payload!);
      case "disposition":
        return this.settlement.receive(body);
      case "flow":
        return this.#receiveFlow(body);
      case "attach":
        return this.#receiveAttach(body);
      case "detach":
        return this.#receiveDetach(body);
      default:
        throw new Fault(this.connection, this.#illegal(`take ${body.kind}`));
    }
  }

  /** Writes a frame, after the dispositions that were told before it. */
  write(body: Performative, endpoint: SessionEndpoint | LinkEndpoint): void {
    this.#writeDispositions();
    this.connection.write(this.channel, body, endpoint);
  }

  /** Writes what has been put off: dispositions, then one flow for each link whose credit changed. */
  flush(): void {
    for (const link of this.#draining) link.drained();
    this.#draining.clear();
    this.dirty = false;
    if (!this.#writable) return;
    this.#writeDispositions();
    for (const link of this.#flowLinks) {
      // An answer that waits for our attach.
      if (link.state === "attachReceived") continue;
      this.#flowLinks.delete(link);
      this.#writeFlow(link);
    }
    if (this.#flowDue) this.#writeFlow(undefined);
  }

  /** Writes transfers while the peer's window, the links' credit and `full` allow, one link after the other. */
  transmitTransfers(full: (payloadBytes: number) => boolean): void {
    for (const link of this.#output) {
      let delivery = link.next();
      const begun = delivery !== undefined;
      while (delivery !== undefined) {
        if (this.#windows.outgoing === 0) return this.#askForWindow();
        if (full(delivery.payload.length - delivery.offset)) return;
        this.#writeTransfer(link, delivery);
        delivery = link.next();
        // While it is the only one nobody waits for its turn.
        if (this.#output.size > 1) break;
      }
      // One that cannot go on now is queued again by the flow that brings credit.
      this.#output.delete(link);
      if (delivery !== undefined) this.#output.add(link);
      else if (begun) link.drained();
    }
  }

  /** Called by a sender that has something to write, or may now. */
  queueOutput(link: SenderEndpoint): void {
    if (link.next() !== undefined) this.#output.add(link);
    else if (link.draining) {
      // Only with the next flush, so that whoever hears of the credit can use it before it is handed back.
      this.#draining.add(link);
      this.markDirty();
    }
  }

  /** Called by a link whose credit or counts the peer must hear of. */
  queueFlow(link: LinkEndpoint): void {
    this.#flowLinks.add(link);
    this.markDirty();
  }

  /** Notes that something was put off. */
  markDirty(): void {
    this.dirty = true;
    this.connection.markDirty();
  }

  /** Counts a delivery that begins to arrive; ids are consecutive on a session [transport 2.7.5]. */
  countDelivery(id: number): void {
    if (this.#nextIncomingDeliveryId !== undefined && id !== this.#nextIncomingDeliveryId) {
      throw this.#fault(
        condition.invalidField,
        `Cannot take transfer: delivery-id is ${id}, not ${this.#nextIncomingDeliveryId}`,
      );
    }
    this.#nextIncomingDeliveryId = add(id, 1);
  }

  /** Counts a delivery that begins to arrive on a link that takes no more. */
  skipDelivery(id: number | undefined): void {
    if (id !== undefined && id === this.#nextIncomingDeliveryId) this.#nextIncomingDeliveryId = add(id, 1);
  }

  /** Drops the flow that a link has queued. */
  forgetFlow(link: LinkEndpoint): void {
    this.#flowLinks.delete(link);
  }

  /** Drops what a sender has queued. */
  forgetOutput(link: SenderEndpoint): void {
    this.#output.delete(link);
    this.#draining.delete(link);
  }

  /** Drops a link that is detached both ways. */
  forgetLink(link: LinkEndpoint): void {
    this.#handles.delete(link);
  }

  /** Notes that a link ends with an error. */
  blame(link: LinkEndpoint): void {
    this.#handles.blame(link);
  }

  /** Expects the peer's attach for a link that attaches again in order to close; false when its name is taken by then. */
  expectAgain(link: LinkEndpoint): boolean {
    for (const other of this.links()) if (other !== link && other.name === link.name) return false;
    this.#handles.unbind(link);
    this.#handles.expect(link);
    return true;
  }

  #receiveEnd(end: End): void {
    const answer = sessionTransitions[this.state].receiveEnd === "endReceived";
    this.state = this.#next("receiveEnd");
    this.#clear();
    if (answer) {
      this.connection.write(this.channel, { kind: "end" }, this);
      this.state = this.#next("sendEnd");
    }
    this.connection.forgetSession(this);
    this.#report(end.error && fromErrorFields(end.error, "Session ended", "session"));
  }

  #receiveAttach(attach: Attach): void {
    const { handle, name } = attach;
    if (handle > this.#handleMax) {
      throw this.#connectionFault(condition.framingError, `handle is ${handle}, above ${this.#handleMax}`);
    }
    if (this.#handles.get(handle) !== undefined) {
      throw this.#connectionFault(condition.handleInUse, `handle ${handle} is in use`);
    }
    if (attach.role === "sender" && attach.initialDeliveryCount === undefined) {
      throw this.#fault(condition.invalidField, "Cannot take attach: initial-delivery-count is absent");
    }
    const role = attach.role === "sender" ? "receiver" : "sender";
    const answered = this.#handles.answered(name, role);
    if (answered !== undefined) {
      this.#handles.bind(handle, answered);
      return answered.receiveAttach(attach);
    }
    const ours = this.#handleForPeer(name);
    const taken = this.connection.takeLink(this, attach, ours);
    const link = taken instanceof AmqpError ? new RefusedEndpoint(this, name, ours, role, taken) : taken;
    this.#handles.add(link);
    this.#handles.bind(handle, link);
    link.receiveAttach(attach);
    if (link === taken) this.connection.emit({ kind: "attachRequested", link: taken });
  }

  #receiveDetach(detach: Detach): void {
    const link = this.#handles.get(detach.handle);
    if (link !== undefined) return link.receiveDetach(detach);
    // The one frame that may still come for it.
    if (!this.#handles.isErrant(detach.handle)) throw this.#unattached(detach.handle, "detach");
  }

  #receiveTransfer(transfer: Transfer, payload: Uint8Array): void {
    if (this.#windows.incoming === 0) {
      throw this.#fault(condition.windowViolation, "Cannot take transfer: incoming window is 0");
    }
    this.#windows.received();
    if (this.#windows.low) {
      this.#flowDue = true;
      this.markDirty();
    }
    const link = this.#handles.get(transfer.handle);
    if (link === undefined) throw this.#unattached(transfer.handle, "transfer");
    if (link.role === "sender") {
      throw this.#fault(condition.notAllowed, `Cannot take transfer: we are the sender on link ${quote(link.name)}`);
    }
    link.receiveTransfer(transfer, payload);
  }

  #receiveFlow(flow: Flow): void {
    this.#windows.heard(flow);
    if (this.#windows.outgoing > 0) this.#askedForWindow = false;
    if (flow.handle === undefined) {
      if (flow.echo) {
        this.#flowDue = true;
        this.markDirty();
      }
      return;
    }
    const link = this.#handles.get(flow.handle);
    if (link === undefined) throw this.#unattached(flow.handle, "flow");
    // A receiver may give credit without waiting for our attach.
    if (link.state !== "attached" && link.state !== "attachReceived") return;
    link.receiveFlow(flow);
    if (flow.echo) this.queueFlow(link);
  }

  // Peers built on rhea look at their window only when a delivery is complete or a flow comes: one delivery of more
  // transfers than the window takes would wait for ever. Asked once for each time that the window was found shut.
  #askForWindow(): void {
    if (this.#askedForWindow) return;
    this.#askedForWindow = true;
    this.#writeFlow(undefined, true);
  }

  #writeFlow(link: LinkEndpoint | undefined, echo?: true): void {
    this.#flowDue = false;
    const flow: Flow = {
      kind: "flow",
      ...this.#windows.tell(),
      echo,
    };
    if (link !== undefined) {
      flow.handle = link.handle;
      link.describe(flow);
    }
    this.connection.write(this.channel, flow, this);
  }

  #writeTransfer(link: SenderEndpoint, delivery: OutgoingDelivery): void {
    const { payload, offset, aborted } = delivery;
    const transfer: Transfer = { kind: "transfer", handle: link.handle };
    const first = delivery.id === undefined;
    if (first) {
      transfer.deliveryId = this.#nextDeliveryId;
      transfer.deliveryTag = delivery.tag;
      transfer.messageFormat = delivery.messageFormat;
      transfer.settled = delivery.sentSettled || undefined;
      transfer.state = delivery.state;
      transfer.resume = delivery.resume || undefined;
    }
    if (aborted) transfer.aborted = true;
    const rest = offset === 0 && !aborted ? payload : payload.subarray(aborted ? payload.length : offset);
    let written: number;
    try {
      written = this.connection.writeTransfer(this.channel, transfer, rest);
    } catch (error) {
      // Nothing was counted yet, so the ids stay without a gap.
      throw error instanceof AmqpError ? new Fault(link, error) : error;
    }
    this.#windows.sent();
    if (first) {
      delivery.id = this.#nextDeliveryId;
      this.#nextDeliveryId = add(this.#nextDeliveryId, 1);
      link.begin();
      if (!delivery.sentSettled && !aborted) this.settlement.sent(delivery);
    }
    delivery.offset += written;
    if (written < rest.length) return;
    link.finish();
    if (delivery.settled) this.settlement.settle(delivery);
  }

  #writeDispositions(): void {
    if (this.state === "mapped") this.settlement.write(this.#writeDisposition);
  }
  readonly #writeDisposition = (body: Disposition): void => this.connection.write(this.channel, body, this);

  #freeHandle(name: string, most: number): number {
    const handle = this.#handles.free();
    if (handle <= most) return handle;
    throw new AmqpError(
      condition.resourceLimitExceeded,
      `Cannot attach link ${quote(name)}: ${handle} links are attached`,
      { scope: "link" },
    );
  }

  // The links of the peer are bounded by its own handles. One that attaches more than it takes leaves us none to answer.
  #handleForPeer(name: string): number {
    try {
      return this.#freeHandle(name, this.remote!.handleMax ?? MAX_UINT);
    } catch (error) {
      throw error instanceof AmqpError ? this.#fault(error.condition, error.message) : error;
    }
  }

  #clear(): void {
    for (const link of this.links()) link.drop();
    this.#handles.clear();
    this.settlement.clear();
    this.#output.clear();
    this.#draining.clear();
    this.#flowLinks.clear();
  }

  get #writable(): boolean {
    return this.state === "mapped" || this.state === "beginSent";
  }

  #report(error: AmqpError | undefined): void {
    if (this.#reported) return;
    this.#reported = true;
    this.connection.emit({ kind: "ended", session: this, error });
  }

  #next(step: SessionStep): SessionState {
    const next = sessionTransitions[this.state][step];
    if (next !== undefined) return next;
    throw step.startsWith("receive") ? new Fault(this.connection, this.#illegal(step)) : this.#illegal(step);
  }

  #illegal(doing: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot ${doing}: state of the session is ${this.state}`, {
      scope: "session",
    });
  }

  #fault(symbol: string, message: string): Fault {
    return new Fault(this, new AmqpError(symbol, `${message} (channel ${this.remoteChannel})`, { scope: "session" }));
  }

  #connectionFault(symbol: string, state: string): Fault {
    return new Fault(
      this.connection,
      new AmqpError(symbol, `Cannot take attach: ${state} (channel ${this.remoteChannel})`),
    );
  }

  #unattached(handle: number, body: string): Fault {
    return this.#handles.isErrant(handle)
      ? this.#fault(condition.errantLink, `Cannot take ${body}: link of handle ${handle} ended with an error`)
      : this.#fault(condition.unattachedHandle, `Cannot take ${body}: handle ${handle} is not attached`);
  }
}
