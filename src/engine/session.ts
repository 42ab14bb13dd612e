/**
 * Sessions: windows, links by handle, deliveries by id [transport 2.5].
 *
 * @module
 */

import { add } from "../base/collections.ts";
import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { MAX_UINT } from "../codec/codes.ts";
import { fieldsOf } from "../codec/composite.ts";
import { quote } from "../base/text.ts";
import type { Attach, Begin, Detach, End, Fields, Flow, Performative, Role, Transfer } from "../codec/types.ts";
import type { Budget } from "./budgets.ts";
import {
  type Endpoint,
  Fault,
  faultOf,
  faultOfAttach,
  type FrameEndpoint,
  fromErrorFields,
  toErrorFields,
} from "./fault.ts";
import { Handles } from "./handles.ts";
import type { AttachOptions, LinkEndpoint } from "./link.ts";
import type { ReceiverEndpoint, ReceiverEvent, ReceiverSession } from "./receiver.ts";
import type { SenderEndpoint, SenderEvent, SenderSession } from "./sender.ts";
import { type OutputConnection, SessionOutput } from "./session_output.ts";
import { Settlement } from "./settlement.ts";
import { inWords, type SessionEndpointState, type SessionStep, sessionTransitions } from "./states.ts";

/** Default incoming window: transfers that the peer may have in flight on a session. */
export const DEFAULT_INCOMING_WINDOW = 2_048;
/** Highest handle by default: 1,024 links on a session in each direction. */
export const DEFAULT_HANDLE_MAX = 1_023;

// Work that a begin or an attach counts for, as it changes nothing until deliveries come.
const SETUP_WORK = 5;

/** The settings of our end of a session. */
export interface SessionOptions {
  /** Transfers that the peer may have in flight. Default: {@linkcode DEFAULT_INCOMING_WINDOW}. */
  incomingWindow?: number;
  /** Highest link handle that the peer may use. Default: {@linkcode DEFAULT_HANDLE_MAX}. */
  handleMax?: number;
  /** Our first transfer and delivery id. Default: 0. */
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

export type TakeLink = (
  session: SessionEndpoint,
  attach: Attach,
  handle: number,
) => SenderEndpoint | ReceiverEndpoint;

/** Events of a session and its links. */
export type SessionEvent =
  | SenderEvent
  | ReceiverEvent
  /** A session is usable in both directions; `remote` when the peer began it. */
  | { readonly kind: "begun"; readonly session: SessionEndpoint; readonly remote: boolean }
  /** The session and its links have ended; reported once, as their last event. */
  | { readonly kind: "ended"; readonly session: SessionEndpoint; readonly error: AmqpError | undefined }
  /** The peer wants to attach a link: answer with `accept` or `refuse`, now or later. */
  | { readonly kind: "attachRequested"; readonly link: SenderEndpoint | ReceiverEndpoint };

export interface SessionEndpointConnection extends Endpoint, OutputConnection {
  /** True when no more frames of ours go out. */
  readonly closing: boolean;
  /** Turns an error into the end of what it concerns. */
  handleError(error: unknown): void;
  sessions(): Iterable<SessionEndpoint>;
  emit(event: SessionEvent): void;
  /** Confirms the link after a while, unless the peer has detached it by then. */
  awaitConfirmation(link: LinkEndpoint): void;
  /** Notes that a session has deferred writes. */
  markDirty(): void;
  /** Drops a session that has ended both ways. */
  forgetSession(session: SessionEndpoint): void;
  /** Makes our end of a link; `fault` is the reason to refuse it, if any. */
  takeLink(session: SessionEndpoint, attach: Attach, handle: number, fault: AmqpError | undefined): LinkEndpoint;
}

export class SessionEndpoint implements FrameEndpoint, SenderSession, ReceiverSession {
  readonly connection: SessionEndpointConnection;
  readonly channel: number;
  /** The peer's channel, once its begin arrived. */
  remoteChannel: number | undefined;
  state: SessionEndpointState = "unmapped";
  remote: Begin | undefined;
  /** The unsettled deliveries of the session. */
  readonly settlement: Settlement = new Settlement(this);
  /** True while flows or dispositions of this session wait to be written. */
  dirty = false;

  readonly options: SessionOptions;
  readonly #handleMax: number;
  /** Deferred writes of the session. */
  readonly output: SessionOutput;
  readonly #handles = new Handles();
  // Memory of the peer's frames that are kept, in bytes.
  #kept = 0;
  #nextIncomingDeliveryId: number | undefined;
  #reported = false;

  /**
   * Built by the connection. Links with a handle above `knownHandleMax`, the highest that the peer is known to accept, await
   * its begin.
   */
  constructor(connection: SessionEndpointConnection, channel: number, options: SessionOptions, knownHandleMax: number) {
    this.connection = connection;
    this.channel = channel;
    this.options = options;
    this.#handleMax = options.handleMax ?? DEFAULT_HANDLE_MAX;
    this.output = new SessionOutput(
      this,
      options.incomingWindow ?? DEFAULT_INCOMING_WINDOW,
      options.initialOutgoingId ?? 0,
      knownHandleMax,
    );
  }

  get remoteIncomingWindow(): number {
    return this.output.windows.remoteIncomingWindow;
  }

  get incomingWindow(): number {
    return this.output.windows.incomingWindow;
  }

  get unsettledCount(): number {
    return this.settlement.size;
  }

  get linkCount(): number {
    return this.#handles.size;
  }

  links(): IterableIterator<LinkEndpoint> {
    return this.#handles.links();
  }

  /** The links of that name and of our role. */
  linksNamed(name: string, role: Role): readonly LinkEndpoint[] {
    return this.#handles.named(name, role);
  }

  /** Writes our begin, first or as the answer. */
  sendBegin(): void {
    const next = this.#next("sendBegin");
    const { nextOutgoingId, incomingWindow, outgoingWindow } = this.output.windows.fields();
    this.write({
      ...fieldsOf("begin", this.options),
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
    this.connection.costs.spend(SETUP_WORK);
    this.#kept = this.connection.costs.keep();
    this.remote = begin;
    this.remoteChannel = channel;
    this.output.windows.begun(begin);
    const remote = this.state === "beginReceived";
    if (remote) this.sendBegin();
    if (this.state !== "mapped") return;
    const fault = faultOf(begin, "session");
    if (fault !== undefined) throw new Fault(this, fault);
    this.output.release(begin.handleMax ?? MAX_UINT);
    this.connection.emit({ kind: "begun", session: this, remote });
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
    const handle = this.freeHandle(name);
    const link = new Link(this, name, handle);
    for (const { state } of this.#handles.named(name, link.role)) {
      if (state === "detachSent") continue;
      throw new AmqpError(condition.illegalState, `Cannot attach link ${quote(name)}: the name is in use`, {
        scope: "link",
      });
    }
    // The link is added once its attach is written, which may fail.
    link.sendAttach(options);
    this.#handles.add(link);
    this.#handles.expect(link);
    return link;
  }

  /** The handle that the next link gets; throws if there are too many links. */
  freeHandle(name: string): number {
    return this.#handles.free(name, Math.min(this.remote?.handleMax ?? MAX_UINT, this.#handleMax));
  }

  /** Ends the session, with an error or without. Does nothing when it has ended already. */
  end(error?: AmqpError | End["error"]): void {
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
    // Frames that were on their way fit a window; more of them change nothing.
    if (this.state === "discarding" || this.state === "endSent") return this.connection.costs.spend(1);
    switch (body.kind) {
      case "transfer":
        return this.#receiveTransfer(body, payload!);
      case "disposition":
        return this.connection.costs.spend(this.settlement.receive(body));
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

  write(body: Performative, endpoint: FrameEndpoint): void {
    this.output.write(body, endpoint);
  }

  /** Writes what was deferred. */
  flush(): void {
    this.output.drain();
    this.dirty = false;
    if (this.#writable) this.output.flush();
  }

  get unfinished(): Budget {
    return this.connection.costs.unfinished;
  }

  markDirty(): void {
    this.dirty = true;
    this.connection.markDirty();
  }

  emit(event: SenderEvent | ReceiverEvent): void {
    this.connection.emit(event);
  }

  check(body: Performative): void {
    this.connection.output.check(body);
  }

  countDelivery(id: number): void {
    if (this.#nextIncomingDeliveryId !== undefined && id !== this.#nextIncomingDeliveryId) {
      throw this.#fault(
        condition.invalidField,
        `Cannot take transfer: delivery-id is ${id}, not ${this.#nextIncomingDeliveryId}`,
      );
    }
    this.#nextIncomingDeliveryId = add(id, 1);
  }

  skipDelivery(id: number | undefined): void {
    if (id !== undefined && id === this.#nextIncomingDeliveryId) this.#nextIncomingDeliveryId = add(id, 1);
  }

  forgetLink(link: LinkEndpoint): void {
    this.#handles.delete(link);
    this.#kept -= link.kept;
    this.connection.costs.release(link.kept);
  }

  awaitConfirmation(link: LinkEndpoint): void {
    this.connection.awaitConfirmation(link);
  }

  blame(link: LinkEndpoint): void {
    this.#handles.blame(link);
  }

  expectAgain(link: LinkEndpoint): boolean {
    if (this.linksNamed(link.name, "sender").length + this.linksNamed(link.name, "receiver").length > 1) return false;
    this.#handles.unbind(link);
    this.#handles.expect(link);
    return true;
  }

  #receiveEnd(end: End): void {
    const answer = sessionTransitions[this.state].receiveEnd === "endReceived";
    this.state = this.#next("receiveEnd");
    this.#clear();
    if (answer) {
      this.connection.output.write(this.channel, { kind: "end" }, this);
      this.state = this.#next("sendEnd");
    }
    this.connection.forgetSession(this);
    this.#report(end.error && fromErrorFields(end.error, "Session ended", "session"));
  }

  #receiveAttach(attach: Attach): void {
    const { handle, name } = attach;
    this.connection.costs.spend(SETUP_WORK);
    if (handle > this.#handleMax) {
      throw this.#connectionFault(condition.framingError, `handle is ${handle}, above ${this.#handleMax}`);
    }
    const before = this.#handles.get(handle);
    if (before !== undefined) {
      if (before.state !== "detachSent") {
        throw this.#connectionFault(condition.handleInUse, `handle ${handle} is in use`);
      }
      // go-amqp attaches on the handle of a link that we have ended, and its answer to our detach may come behind.
      before.receiveDetach({ kind: "detach", handle });
      this.#handles.overtaken.add(handle);
    }
    const fault = faultOfAttach(attach);
    const role = attach.role === "sender" ? "receiver" : "sender";
    const answered = this.#handles.answered(name, role);
    const kept = this.connection.costs.keep();
    this.#kept += kept;
    if (answered !== undefined) {
      answered.kept = kept;
      this.#handles.bind(handle, answered);
      answered.receiveAttach(attach);
      if (fault !== undefined) throw new Fault(answered, fault);
      return;
    }
    const ours = this.#handleForPeer(name);
    const link = this.connection.takeLink(this, attach, ours, fault);
    link.kept = kept;
    this.#handles.add(link);
    this.#handles.bind(handle, link);
    link.receiveAttach(attach);
    if (link.state !== "attachReceived") return;
    this.connection.emit({ kind: "attachRequested", link: link as SenderEndpoint | ReceiverEndpoint });
  }

  #receiveDetach(detach: Detach): void {
    if (detach.error === undefined && this.#handles.overtaken.delete(detach.handle)) {
      return this.connection.costs.spend(1);
    }
    const link = this.#handles.get(detach.handle) ?? this.#handles.refused(detach.handle);
    if (link !== undefined) return link.receiveDetach(detach);
    // One detach may still come for an errant link; more of them change nothing.
    if (!this.#handles.isErrant(detach.handle)) throw this.#unattached(detach.handle, "detach");
    this.connection.costs.spend(1);
  }

  #receiveTransfer(transfer: Transfer, payload: Uint8Array): void {
    if (this.output.windows.spent) {
      throw this.#fault(condition.windowViolation, "Cannot take transfer: incoming window is 0");
    }
    this.output.received();
    const link = this.#handles.get(transfer.handle);
    if (link === undefined) throw this.#unattached(transfer.handle, "transfer");
    if (link.role === "sender") {
      throw this.#fault(condition.notAllowed, `Cannot take transfer: we are the sender on link ${quote(link.name)}`);
    }
    const fault = link.takes ? faultOf(transfer, "link") : undefined;
    if (fault !== undefined) {
      this.skipDelivery(transfer.deliveryId);
      throw new Fault(link, fault);
    }
    // A transfer that is aborted or dropped changes nothing.
    if (transfer.aborted || !link.takes) this.connection.costs.spend(1);
    else this.connection.costs.refund(!transfer.more);
    link.receiveTransfer(transfer, payload);
  }

  #receiveFlow(flow: Flow): void {
    this.connection.costs.spend(1);
    this.output.receiveFlow(flow);
    if (flow.handle === undefined) {
      const fault = faultOf(flow, "session");
      if (fault !== undefined) throw new Fault(this, fault);
      return;
    }
    const link = this.#handles.get(flow.handle);
    if (link === undefined) throw this.#unattached(flow.handle, "flow");
    // A receiver may give credit without waiting for our attach.
    if (!link.takes) return;
    const fault = faultOf(flow, "link");
    if (fault !== undefined) throw new Fault(link, fault);
    link.receiveFlow(flow);
    if (flow.echo) this.output.queueFlow(link);
  }

  // The peer's own handles bound its links. A peer that attaches more than it accepts leaves us no handle to answer with.
  #handleForPeer(name: string): number {
    try {
      return this.#handles.free(name, this.remote!.handleMax ?? MAX_UINT);
    } catch (error) {
      throw error instanceof AmqpError ? this.#fault(error.condition, error.message) : error;
    }
  }

  #clear(): void {
    for (const link of this.links()) link.drop();
    this.#handles.clear();
    this.connection.costs.release(this.#kept);
    this.#kept = 0;
    this.settlement.clear();
    this.output.clear();
  }

  get #writable(): boolean {
    return this.state === "mapped" || this.state === "beginSent";
  }

  #report(error: AmqpError | undefined): void {
    if (this.#reported) return;
    this.#reported = true;
    this.connection.emit({ kind: "ended", session: this, error });
  }

  #next(step: SessionStep): SessionEndpointState {
    const next = sessionTransitions[this.state][step];
    if (next !== undefined) return next;
    const error = this.#illegal(inWords(step));
    throw step.startsWith("receive") ? new Fault(this.connection, error) : error;
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
