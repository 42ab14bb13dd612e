/**
 * Sessions: windows, links by handle, deliveries by id [transport 2.5].
 *
 * @module
 */

import { AmqpError, condition } from "../errors.ts";
import type {
  Attach,
  Begin,
  DeliveryState,
  Detach,
  Disposition,
  End,
  Fields,
  Flow,
  Performative,
  Transfer,
} from "../codec/types.ts";
import type { ConnectionEndpoint } from "./connection.ts";
import { DispositionBatch, type IncomingDelivery, type OutgoingDelivery, Unsettled } from "./deliveries.ts";
import { type Endpoint, Fault, fromErrorFields, toErrorFields } from "./fault.ts";
import { type AttachOptions, type LinkEndpoint, ReceiverEndpoint, SenderEndpoint, tagKey } from "./link.ts";
import { add, difference } from "./serial.ts";
import { type SessionState, type SessionStep, sessionTransitions } from "./states.ts";

/** Transfers that the peer may have in flight on a session before it hears of more. */
export const DEFAULT_INCOMING_WINDOW = 2_048;
/** Highest handle by default: 1,024 links on a session in each direction. */
export const DEFAULT_HANDLE_MAX = 1_023;
const MAX_UINT = 0xffffffff;

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
  /** True while a flow or dispositions of this session wait to be written. */
  dirty = false;

  readonly #options: SessionOptions;
  readonly #window: number;
  readonly #initialOutgoingId: number;
  #nextOutgoingId: number;
  #nextDeliveryId: number;
  #nextIncomingId: number | undefined;
  #nextIncomingDeliveryId: number | undefined;
  #incomingWindow: number;
  #remoteIncomingWindow = 0;
  #flowDue = false;
  #reported = false;

  readonly #byHandle = new Map<number, LinkEndpoint>();
  readonly #byRemoteHandle = new Map<number, LinkEndpoint>();
  readonly #awaiting = new Map<string, LinkEndpoint>();
  // Handles of links that ended with an error: input for them is blamed differently. Bounded by handle-max.
  readonly #errant = new Set<number>();
  readonly #outgoing = new Unsettled<OutgoingDelivery>();
  readonly #incoming = new Unsettled<IncomingDelivery>();
  readonly #asSender = new DispositionBatch("sender");
  readonly #asReceiver = new DispositionBatch("receiver");
  readonly #output = new Set<SenderEndpoint>();
  readonly #flowLinks = new Set<LinkEndpoint>();

  /** Built by the connection. */
  constructor(connection: ConnectionEndpoint, channel: number, options: SessionOptions) {
    this.connection = connection;
    this.channel = channel;
    this.#options = options;
    this.#window = options.incomingWindow ?? DEFAULT_INCOMING_WINDOW;
    this.#incomingWindow = this.#window;
    this.#initialOutgoingId = options.initialOutgoingId ?? 0;
    this.#nextOutgoingId = this.#initialOutgoingId;
    this.#nextDeliveryId = this.#initialOutgoingId;
  }

  /** Transfers that the peer still takes. */
  get remoteIncomingWindow(): number {
    return this.#remoteIncomingWindow;
  }

  /** Transfers that we still take without a new flow. */
  get incomingWindow(): number {
    return this.#incomingWindow;
  }

  /** Deliveries, both ways, that are not settled. */
  get unsettledCount(): number {
    return this.#outgoing.size + this.#incoming.size;
  }

  /** Links that are attached, or on their way in or out. */
  get linkCount(): number {
    return this.#byHandle.size;
  }

  /** The links of this session. */
  links(): IterableIterator<LinkEndpoint> {
    return this.#byHandle.values();
  }

  /** Writes our begin, first or as the answer. */
  sendBegin(): void {
    const next = this.#next("sendBegin");
    const options = this.#options;
    this.write({
      kind: "begin",
      remoteChannel: this.remoteChannel,
      nextOutgoingId: this.#nextOutgoingId,
      incomingWindow: this.#window,
      outgoingWindow: MAX_UINT,
      handleMax: options.handleMax ?? DEFAULT_HANDLE_MAX,
      offeredCapabilities: options.offeredCapabilities,
      desiredCapabilities: options.desiredCapabilities,
      properties: options.properties,
    }, this);
    this.state = next;
  }

  /** Takes the peer's begin, first or as the answer. */
  receiveBegin(begin: Begin, channel: number): void {
    this.state = this.#next("receiveBegin");
    this.remote = begin;
    this.remoteChannel = channel;
    this.#nextIncomingId = begin.nextOutgoingId;
    this.#remoteIncomingWindow = begin.incomingWindow;
    const remote = this.state === "beginReceived";
    if (remote) this.sendBegin();
    if (this.state === "mapped") this.connection.emit({ kind: "begun", session: this, remote });
  }

  /**
   * Attaches a link.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the session has ended or the name is being attached already,
   * `amqp:resource-limit-exceeded` if the peer takes no more links, `amqp:frame-size-too-small` if the attach is too large.
   */
  attach(options: AttachOptions & { role: "sender" }): SenderEndpoint;
  /** Attaches a link. */
  attach(options: AttachOptions & { role: "receiver" }): ReceiverEndpoint;
  /** Attaches a link. */
  attach(options: AttachOptions): SenderEndpoint | ReceiverEndpoint {
    if (this.state !== "mapped" && this.state !== "beginSent") {
      throw this.#illegal(`attach link "${options.name}"`);
    }
    const key = linkKey(options.name, options.role);
    for (const link of this.#byHandle.values()) {
      if (linkKey(link.name, link.role) !== key) continue;
      throw new AmqpError(condition.illegalState, `Cannot attach link "${options.name}": the name is in use`, {
        scope: "link",
      });
    }
    const link = this.#create(options.name, options.role);
    this.#byHandle.set(link.handle, link);
    this.#awaiting.set(key, link);
    try {
      link.sendAttach(options);
    } catch (error) {
      this.forgetLink(link);
      throw error;
    }
    return link;
  }

  /** Ends the session, with an error or without. Does nothing when it has ended already. */
  end(error?: AmqpError): void {
    if (this.state !== "mapped" && this.state !== "beginSent") return;
    const end: End = { kind: "end" };
    if (error !== undefined) end.error = toErrorFields(error);
    const next = this.#next("sendEnd");
    this.write(end, this);
    this.state = next;
    this.#clear();
  }

  /** Ends the session because of `error`, found on this side; what still arrives is dropped [transport 2.5.4]. */
  fail(error: AmqpError): void {
    if (sessionTransitions[this.state].fail === undefined) return this.connection.fail(error);
    if (this.state === "mapped") this.write({ kind: "end", error: toErrorFields(error) }, this);
    this.state = "discarding";
    this.#clear();
    this.#report(error);
  }

  /** Ends a session whose begin could not be written. */
  abandon(error: AmqpError): void {
    this.state = "ended";
    this.#clear();
    this.connection.forgetSession(this);
    this.#report(error);
  }

  /** Takes one frame of this session. */
  receive(body: Performative, payload: Uint8Array | undefined): void {
    if (body.kind === "end") return this.#receiveEnd(body);
    if (this.state !== "mapped") {
      if (this.state === "discarding" || this.state === "endSent") return;
      throw new Fault(this.connection, this.#illegal(`take ${body.kind}`));
    }
    switch (body.kind) {
      case "transfer":
        return this.#receiveTransfer(body, payload!);
      case "disposition":
        return this.#receiveDisposition(body);
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
    this.dirty = false;
    if (this.state !== "mapped") return;
    this.#writeDispositions();
    for (const link of this.#flowLinks) {
      // Credit given before our peer's begin or attach was seen waits for it: a flow needs its ids [transport 2.7.4].
      if (link.state === "attached") this.#writeFlow(link);
    }
    this.#flowLinks.clear();
    if (this.#flowDue) this.#writeFlow(undefined);
  }

  /** Writes transfers while the peer's window, the links' credit and `full` allow, one link after the other. */
  transmitTransfers(full: () => boolean): void {
    for (const link of this.#output) {
      if (this.#remoteIncomingWindow === 0 || full()) return;
      const delivery = link.next();
      // One that cannot go on now is queued again by the flow that brings credit.
      this.#output.delete(link);
      if (delivery === undefined) continue;
      this.#writeTransfer(link, delivery);
      if (link.next() !== undefined) this.#output.add(link);
      else link.drained();
    }
  }

  /** Called by a sender that has something to write, or may now. */
  queueOutput(link: SenderEndpoint): void {
    if (link.next() !== undefined) this.#output.add(link);
    else link.drained();
  }

  /** Called by a link whose credit or counts the peer must hear of. */
  queueFlow(link: LinkEndpoint): void {
    this.#flowLinks.add(link);
    this.#markDirty();
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

  /** Keeps a delivery that arrived unsettled. */
  addIncoming(delivery: IncomingDelivery): void {
    this.#incoming.set(delivery.id, delivery);
  }

  /** Tells the sender the state of a delivery that we received. */
  updateIncoming(delivery: IncomingDelivery): void {
    if (delivery.settled) {
      this.#incoming.delete(delivery.id);
      delivery.link.unsettled.delete(tagKey(delivery.tag));
    }
    this.#asReceiver.add(delivery.id, delivery.state, delivery.settled);
    this.#markDirty();
  }

  /** Tells the receiver that we settled a delivery that we sent. */
  settleOutgoing(delivery: OutgoingDelivery, state: DeliveryState | undefined): void {
    delivery.link.unsettled.delete(tagKey(delivery.tag));
    if (delivery.id === undefined) return;
    this.#outgoing.delete(delivery.id);
    this.#asSender.add(delivery.id, state, true);
    this.#markDirty();
  }

  /** Drops what a link has queued. */
  forgetOutput(link: LinkEndpoint): void {
    this.#flowLinks.delete(link);
    if (!(link instanceof SenderEndpoint)) return;
    this.#output.delete(link);
    link.clearQueue();
  }

  /** Drops the unsettled deliveries of a link that is closed; those of a suspended one live on. */
  forgetDeliveries(link: LinkEndpoint): void {
    for (const delivery of link.unsettled.values()) {
      if (delivery.id === undefined) continue;
      (link.role === "sender" ? this.#outgoing : this.#incoming).delete(delivery.id);
    }
    link.unsettled.clear();
  }

  /** Drops a link that is detached both ways. */
  forgetLink(link: LinkEndpoint, errant = false): void {
    this.#byHandle.delete(link.handle);
    if (this.#awaiting.get(linkKey(link.name, link.role)) === link) {
      this.#awaiting.delete(linkKey(link.name, link.role));
    }
    if (link.remoteHandle === undefined) return;
    this.#byRemoteHandle.delete(link.remoteHandle);
    if (errant) this.#errant.add(link.remoteHandle);
  }

  /** Notes that a link ends with an error of ours. */
  noteErrant(link: LinkEndpoint): void {
    if (link.remoteHandle !== undefined) this.#errant.add(link.remoteHandle);
  }

  /** Expects the peer's attach for a link that attaches again in order to close. */
  awaitAnswer(link: LinkEndpoint): void {
    if (link.remoteHandle !== undefined) this.#byRemoteHandle.delete(link.remoteHandle);
    link.remoteHandle = undefined;
    this.#awaiting.set(linkKey(link.name, link.role), link);
  }

  /** Detaches the link that the peer attaches anew, if there is one [transport 2.6.1]. */
  steal(attach: Attach): void {
    for (const link of this.#byHandle.values()) {
      if (link.name !== attach.name || link.role === attach.role || link.state !== "attached") continue;
      link.fail(
        new AmqpError(condition.stolen, `Cannot keep link "${link.name}": it was attached again`, { scope: "link" }),
      );
    }
  }

  #receiveEnd(end: End): void {
    const next = sessionTransitions[this.state].receiveEnd;
    if (next === undefined) throw new Fault(this.connection, this.#illegal("take end"));
    this.state = next;
    if (next === "endReceived") {
      this.state = "ended";
      this.#clear();
      this.connection.write(this.channel, { kind: "end" }, this);
    }
    this.connection.forgetSession(this);
    this.#report(end.error && fromErrorFields(end.error, "Session ended", "session"));
  }

  #receiveAttach(attach: Attach): void {
    const handleMax = this.#options.handleMax ?? DEFAULT_HANDLE_MAX;
    if (attach.handle > handleMax) {
      throw this.#connectionFault(condition.framingError, `handle is ${attach.handle}, above ${handleMax}`, "attach");
    }
    if (this.#byRemoteHandle.has(attach.handle)) {
      throw this.#connectionFault(condition.handleInUse, `handle ${attach.handle} is in use`, "attach");
    }
    const role = attach.role === "sender" ? "receiver" : "sender";
    if (attach.role === "sender" && attach.initialDeliveryCount === undefined) {
      throw this.#fault(condition.invalidField, `Cannot take attach: initial-delivery-count is absent`);
    }
    this.#errant.delete(attach.handle);
    const key = linkKey(attach.name, role);
    const waiting = this.#awaiting.get(key);
    if (waiting !== undefined) {
      this.#awaiting.delete(key);
      this.#byRemoteHandle.set(attach.handle, waiting);
      waiting.receiveAttach(attach);
      if (waiting.state === "attached" && this.#flowLinks.has(waiting)) this.#markDirty();
      return;
    }
    this.connection.steal(attach);
    const link = this.#create(attach.name, role);
    this.#byHandle.set(link.handle, link);
    this.#byRemoteHandle.set(attach.handle, link);
    link.receiveAttach(attach);
    this.connection.emit({ kind: "attachRequested", link });
  }

  #receiveDetach(detach: Detach): void {
    const link = this.#byRemoteHandle.get(detach.handle);
    if (link !== undefined) return link.receiveDetach(detach);
    if (this.#errant.has(detach.handle)) return;
    throw this.#unattached(detach.handle, "detach");
  }

  #receiveTransfer(transfer: Transfer, payload: Uint8Array): void {
    if (this.#incomingWindow === 0) {
      throw this.#fault(condition.windowViolation, "Cannot take transfer: incoming window is 0");
    }
    this.#nextIncomingId = add(this.#nextIncomingId!, 1);
    this.#incomingWindow--;
    if (this.#incomingWindow <= this.#window >>> 1) {
      this.#flowDue = true;
      this.#markDirty();
    }
    const link = this.#byRemoteHandle.get(transfer.handle);
    if (link === undefined) throw this.#unattached(transfer.handle, "transfer");
    if (!(link instanceof ReceiverEndpoint)) {
      throw this.#fault(condition.notAllowed, `Cannot take transfer: we are the sender on link "${link.name}"`);
    }
    link.receiveTransfer(transfer, payload);
  }

  #receiveDisposition(disposition: Disposition): void {
    const last = disposition.last ?? disposition.first;
    const settled = disposition.settled ?? false;
    const deliveries = disposition.role === "receiver" ? this.#outgoing : this.#incoming;
    for (
      const delivery of (deliveries as Unsettled<OutgoingDelivery | IncomingDelivery>).range(disposition.first, last)
    ) {
      if (disposition.state !== undefined) delivery.remoteState = disposition.state;
      if (settled) {
        deliveries.delete(delivery.id!);
        delivery.link.unsettled.delete(tagKey(delivery.tag));
        if (disposition.role === "receiver") delivery.settled = true;
        else (delivery as IncomingDelivery).remoteSettled = true;
      }
      this.connection.emit({ kind: "disposition", delivery, state: disposition.state, settled });
    }
  }

  #receiveFlow(flow: Flow): void {
    // The peer reports next-incoming-id as it stood when it wrote the flow; transfers of ours still in flight are not
    // in it. Subtracting what we have sent since is what accounts for them [transport 2.5.6].
    const base = flow.nextIncomingId ?? this.#initialOutgoingId;
    const behind = difference(this.#nextOutgoingId, base);
    this.#remoteIncomingWindow = Math.max(0, Math.min(MAX_UINT, flow.incomingWindow - behind));
    if (flow.handle === undefined) {
      if (flow.echo) this.#flowDue = true;
    } else {
      const link = this.#byRemoteHandle.get(flow.handle);
      if (link === undefined) throw this.#unattached(flow.handle, "flow");
      if (link.state === "attached") {
        link.receiveFlow(flow);
        if (flow.echo) this.queueFlow(link);
      }
    }
    if (this.#flowDue) this.#markDirty();
  }

  #writeFlow(link: LinkEndpoint | undefined): void {
    this.#flowDue = false;
    this.#incomingWindow = this.#window;
    const flow: Flow = {
      kind: "flow",
      nextIncomingId: this.#nextIncomingId,
      incomingWindow: this.#incomingWindow,
      nextOutgoingId: this.#nextOutgoingId,
      outgoingWindow: MAX_UINT,
    };
    if (link !== undefined) {
      flow.handle = link.handle;
      link.describe(flow);
    }
    this.connection.write(this.channel, flow, this);
  }

  #writeTransfer(link: SenderEndpoint, delivery: OutgoingDelivery): void {
    const transfer: Transfer = { kind: "transfer", handle: link.handle };
    if (delivery.id === undefined) {
      delivery.id = this.#nextDeliveryId;
      this.#nextDeliveryId = add(this.#nextDeliveryId, 1);
      link.begin();
      if (!delivery.settled) this.#outgoing.set(delivery.id, delivery);
      transfer.deliveryId = delivery.id;
      transfer.deliveryTag = delivery.tag;
      transfer.messageFormat = delivery.messageFormat;
      transfer.settled = delivery.settled || undefined;
      transfer.state = delivery.state;
    }
    if (delivery.aborted) {
      transfer.aborted = true;
      this.#outgoing.delete(delivery.id);
      this.connection.writeTransfer(this.channel, transfer, delivery.payload.subarray(0, 0), link);
      link.finish();
    } else {
      const rest = delivery.offset === 0 ? delivery.payload : delivery.payload.subarray(delivery.offset);
      delivery.offset += this.connection.writeTransfer(this.channel, transfer, rest, link);
      if (delivery.offset === delivery.payload.length) link.finish();
    }
    this.#nextOutgoingId = add(this.#nextOutgoingId, 1);
    this.#remoteIncomingWindow--;
  }

  #writeDispositions(): void {
    if (this.state !== "mapped") return;
    if (!this.#asReceiver.empty) this.#asReceiver.drain((body) => this.connection.write(this.channel, body, this));
    if (!this.#asSender.empty) this.#asSender.drain((body) => this.connection.write(this.channel, body, this));
  }

  #create(name: string, role: "sender" | "receiver"): SenderEndpoint | ReceiverEndpoint {
    const max = Math.min(this.remote?.handleMax ?? MAX_UINT, this.#options.handleMax ?? DEFAULT_HANDLE_MAX);
    let handle = 0;
    while (this.#byHandle.has(handle)) handle++;
    if (handle > max) {
      throw new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot attach link "${name}": ${handle} links are attached`,
        {
          scope: "link",
        },
      );
    }
    return role === "sender" ? new SenderEndpoint(this, name, handle) : new ReceiverEndpoint(this, name, handle);
  }

  #clear(): void {
    for (const link of this.#byHandle.values()) {
      link.state = "detached";
      link.unsettled.clear();
      this.forgetOutput(link);
    }
    this.#byHandle.clear();
    this.#byRemoteHandle.clear();
    this.#awaiting.clear();
    this.#errant.clear();
    this.#outgoing.clear();
    this.#incoming.clear();
  }

  #report(error: AmqpError | undefined): void {
    if (this.#reported) return;
    this.#reported = true;
    this.connection.emit({ kind: "ended", session: this, error });
  }

  #markDirty(): void {
    this.dirty = true;
    this.connection.markDirty();
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

  #connectionFault(symbol: string, state: string, body: string): Fault {
    return new Fault(
      this.connection,
      new AmqpError(symbol, `Cannot take ${body}: ${state} (channel ${this.remoteChannel})`),
    );
  }

  #unattached(handle: number, body: string): Fault {
    return this.#errant.has(handle)
      ? this.#fault(condition.errantLink, `Cannot take ${body}: link of handle ${handle} ended with an error`)
      : this.#fault(condition.unattachedHandle, `Cannot take ${body}: handle ${handle} is not attached`);
  }
}

// One container may have a sender and a receiver of the same name.
function linkKey(name: string, role: "sender" | "receiver"): string {
  return `${role}:${name}`;
}
