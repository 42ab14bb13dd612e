/**
 * Links: the part that senders and receivers have in common [transport 2.6].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { fieldsOf } from "../codec/composite.ts";
import { quote } from "../base/text.ts";
import type {
  Attach,
  Begin,
  Coordinator,
  DeliveryState,
  Detach,
  ErrorFields,
  Fields,
  Flow,
  Performative,
  ReceiverSettleMode,
  Role,
  SenderSettleMode,
  Source,
  Target,
  Transfer,
} from "../codec/types.ts";
import { type Endpoint, Fault, type FrameEndpoint, fromErrorFields, toErrorFields } from "./fault.ts";
import { DEFAULT_MAX_MESSAGE_SIZE } from "../codec/limits.ts";
import type { Settlement } from "./settlement.ts";
import { type LinkState, type LinkStep, linkTransitions, type SessionEndpointState } from "./states.ts";

/** The settings of our end of a link. */
export interface LinkOptions {
  /** The source of messages; null or absent for none, which in an answer refuses the link. */
  source?: Source | null;
  /** The target of messages; null or absent for none, which in an answer refuses the link. */
  target?: Target | Coordinator | null;
  /** Which deliveries are sent settled. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode;
  /** Whether the receiver settles at once or after the sender. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode;
  /**
   * Largest message that this end accepts, in bytes, 0 for no limit. Default: {@linkcode DEFAULT_MAX_MESSAGE_SIZE} for a
   * receiver, none for a sender.
   */
  maxMessageSize?: bigint;
  /** The sender's initial delivery count. Default: 0. */
  initialDeliveryCount?: number;
  /** Unsettled deliveries by tag, when a suspended link is attached again. */
  unsettled?: Map<Uint8Array, DeliveryState | null>;
  /** True when `unsettled` is incomplete. */
  incompleteUnsettled?: boolean;
  /** Capabilities that this end wants to use. */
  desiredCapabilities?: string[];
  /** Capabilities that this end offers. */
  offeredCapabilities?: string[];
  /** Link properties. */
  properties?: Fields;
}

export interface AttachOptions extends LinkOptions {
  /**
   * True holds flows back until the peer has attached: a peer that still has a link of this name attached to another session
   * takes a flow before its answer for a violation. Default: false.
   */
  flowAfterAttach?: boolean;
  /** The link's name, unique in each direction between two containers. */
  name: string;
}

export type LinkEvent =
  /** The peer answered our attach, and accepted it. */
  | { readonly kind: "attached"; readonly link: LinkEndpoint }
  /** The link has ended; reported once. `closed` is false for a suspended link, whose terminus lives on. */
  | {
    readonly kind: "detached";
    readonly link: LinkEndpoint;
    readonly closed: boolean;
    readonly error: AmqpError | undefined;
  };

/** The part of a session's output that links use. */
export interface LinkOutput {
  /** Queues a flow of a link whose credit or counts have changed. */
  queueFlow(link: LinkEndpoint): void;
  /** Drops the queued writes of a link. */
  forget(link: LinkEndpoint): void;
}

export interface LinkSession extends Endpoint {
  readonly state: SessionEndpointState;
  /** The peer's begin, once received. */
  readonly remote: Begin | undefined;
  /** The unsettled deliveries of the session. */
  readonly settlement: Settlement;
  readonly output: LinkOutput;
  /** Transfers that the peer still accepts. */
  readonly remoteIncomingWindow: number;
  /** Transfers that this side still accepts without a new flow. */
  readonly incomingWindow: number;
  /** Unsettled deliveries, both ways. */
  readonly unsettledCount: number;
  /** Links that are attached, or on their way in or out. */
  readonly linkCount: number;
  /** Ends the session, with an error or without. */
  end(error?: AmqpError): void;
  emit(event: LinkEvent): void;
  /** Writes a frame of `link`, after the dispositions that wait. */
  write(body: Performative, link: LinkEndpoint): void;
  /** Drops a link that is detached both ways. */
  forgetLink(link: LinkEndpoint): void;
  /** Notes that `link` ends with an error. */
  blame(link: LinkEndpoint): void;
  /** Expects the peer's attach for a link that attaches again in order to close; false if its name is in use by then. */
  expectAgain(link: LinkEndpoint): boolean;
  /** Confirms the link after a while, unless the peer has detached it by then. */
  awaitConfirmation(link: LinkEndpoint): void;
  /** Notes that there are deferred writes. */
  markDirty(): void;
  /** Counts a delivery that begins on a link that takes no more. */
  skipDelivery(id: number | undefined): void;
}

/** One end of a link, in either role. */
export abstract class LinkEndpoint implements FrameEndpoint {
  abstract readonly role: Role;
  readonly session: LinkSession;
  readonly name: string;
  readonly handle: number;
  /** The peer's handle, once its attach arrived. */
  remoteHandle: number | undefined;
  state: LinkState = "unattached";
  /** Our attach, once sent. */
  local: Attach | undefined;
  /** The peer's attach, once received. */
  remote: Attach | undefined;
  /** Memory of the peer's attach, in bytes; for sessions. */
  kept = 0;
  /** True once the link is closed, rather than suspended or lost. */
  closed = false;

  #flowAfterAttach = false;
  #closing = false;
  #attachPending = false;
  #reported = false;

  constructor(session: LinkSession, name: string, handle: number) {
    this.session = session;
    this.name = name;
    this.handle = handle;
  }

  /** The node's name in errors: its address, where it has one, otherwise the link's name. */
  get node(): string {
    const attach = this.local ?? this.remote;
    const terminus = this.role === "sender" ? attach?.target : attach?.source;
    return quote((terminus && "address" in terminus ? terminus.address : undefined) ?? this.name);
  }

  /** The agreed mode: the sender decides [transport 2.6.6]. */
  get sndSettleMode(): SenderSettleMode {
    return (this.role === "sender" ? this.local : this.remote)?.sndSettleMode ?? "mixed";
  }

  /**
   * The agreed mode: `"second"` only if both sides said so, or one would wait for the other for ever [transport 2.6.6].
   */
  get rcvSettleMode(): ReceiverSettleMode {
    const { local, remote } = this;
    const both = local?.rcvSettleMode === "second" && (remote === undefined || remote.rcvSettleMode === "second");
    return both ? "second" : "first";
  }

  /** Whether this link handles incoming transfers and flows, rather than drops them. */
  get takes(): boolean {
    return this.state === "attached" || this.state === "attachReceived";
  }

  /** Whether flows of the link go out now. */
  get flows(): boolean {
    return this.state !== "attachReceived" && !(this.#flowAfterAttach && this.state === "attachSent");
  }

  /** Writes our attach, first or as the answer. */
  sendAttach(options: LinkOptions & { readonly flowAfterAttach?: boolean }): void {
    this.#flowAfterAttach = options.flowAfterAttach ?? false;
    const sends = this.role === "sender";
    const attach: Attach = {
      ...fieldsOf("attach", options),
      kind: "attach",
      name: this.name,
      handle: this.handle,
      role: this.role,
      initialDeliveryCount: sends ? options.initialDeliveryCount ?? 0 : undefined,
      maxMessageSize: options.maxMessageSize ?? (sends ? undefined : DEFAULT_MAX_MESSAGE_SIZE),
    };
    const next = this.#next("sendAttach");
    this.session.write(attach, this);
    this.local = attach;
    this.state = next;
    this.onLocalAttach(attach);
  }

  /** Goes on once this side has accepted the peer's attach. */
  accepted(): void {
    // Credit may have been granted ahead of our answer.
    this.session.markDirty();
  }

  /**
   * Refuses the peer's attach: answers without the terminus that was asked for, then detaches with `error` [transport 2.6.3].
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the link awaits no answer.
   */
  refuse(error: AmqpError): void {
    this.awaitsAnswer("refuse");
    this.#reported = true;
    this.detach({ closed: true, error });
  }

  /**
   * Detaches: `closed` ends the link, otherwise it is suspended. Does nothing if the link is detached already.
   *
   * Unsettled deliveries of a suspended link live on.
   */
  detach(options: { closed: boolean; error?: AmqpError | ErrorFields }): void {
    if (this.state === "attachReceived") this.#answerWithoutTerminus();
    if (this.state !== "attached" && this.state !== "attachSent") return;
    this.#closing = options.closed;
    this.#sendDetach(options.error);
    this.#stop();
  }

  /** Ends the link because of `error`, found on this side. */
  fail(error: AmqpError): void {
    if (this.state === "detached") return;
    this.detach({ closed: true, error });
    this.forgetUnsettled();
    this.report(true, error);
  }

  abandon(error: AmqpError): void {
    this.drop();
    this.session.forgetLink(this);
    this.report(true, error);
  }

  /** Ends the link along with its session. */
  drop(): void {
    this.state = "detached";
    this.#stop();
  }

  /** Takes the peer's attach, first or as the answer. */
  receiveAttach(attach: Attach): void {
    this.state = this.#next("receiveAttach");
    this.remote = attach;
    this.remoteHandle = attach.handle;
    this.onRemoteAttach(attach);
    if (this.state !== "attached") return;
    if (this.#flowAfterAttach) this.session.markDirty();
    this.#attachPending = true;
    // A terminus that is missing from the answer announces the detach that refuses the link [transport 2.6.3].
    const refused = this.role === "sender" ? attach.target === undefined : attach.source === undefined;
    if (refused) this.session.awaitConfirmation(this);
    else this.confirm();
  }

  /**
   * The peer's attach, which awaits our answer.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it awaits none.
   */
  awaitsAnswer(doing: string): Attach {
    if (this.state !== "attachReceived" || this.remote === undefined) throw this.illegal(doing);
    return this.remote;
  }

  /** Takes the peer's detach, and answers it. */
  receiveDetach(detach: Detach): void {
    const closed = detach.closed ?? false;
    const error = detach.error && fromErrorFields(detach.error, `Link of ${this.node} detached`, "link");
    // The peer detached before our answer, which is owed all the same.
    if (this.state === "attachReceived") this.#answerWithoutTerminus();
    if (this.state === "detached") return;
    const crossed = this.state === "detachSent" && closed && !this.#closing;
    if (crossed && this.#closeAgain()) {
      this.forgetUnsettled();
      return this.report(true, error);
    }
    this.state = this.#next("receiveDetach");
    if (this.state === "detachReceived") {
      this.#closing = closed;
      this.#sendDetach();
      this.#stop();
    }
    if (error !== undefined) this.session.blame(this);
    if (closed || this.#closing) this.forgetUnsettled();
    this.session.forgetLink(this);
    this.report(closed || this.#closing, error);
  }

  /** Takes one transfer; on a link that takes no more it is only counted. */
  receiveTransfer(transfer: Transfer, _payload: Uint8Array): void {
    this.session.skipDelivery(transfer.deliveryId);
  }

  abstract receiveFlow(flow: Flow): void;
  /** Fills in this link's part of a flow. */
  abstract describe(flow: Flow): void;
  protected abstract onLocalAttach(attach: Attach): void;
  protected abstract onRemoteAttach(attach: Attach): void;
  /** Drops the deliveries of a link that is closed; those of a suspended one live on. */
  protected abstract forgetUnsettled(): void;
  /** Called when nothing more is sent or taken. */
  protected abstract onStop(): void;

  /**
   * Reports, once, that the peer accepted our attach: by its answer, by using the link, or by not detaching it for a while.
   * Peers built on rhea answer without a terminus unless their application names one.
   */
  confirm(): void {
    if (!this.#attachPending || this.state !== "attached") return;
    this.#attachPending = false;
    this.session.emit({ kind: "attached", link: this });
  }

  /** Reports the link's end, once. */
  protected report(closed: boolean, error: AmqpError | undefined): void {
    if (this.#reported) return;
    this.#reported = true;
    this.closed = closed;
    this.session.emit({ kind: "detached", link: this, closed, error });
  }

  /** Blames the peer for something that ends this link. */
  protected fault(symbol: string, message: string): Fault {
    return new Fault(this, new AmqpError(symbol, `${message} (link ${quote(this.name)})`, { scope: "link" }));
  }

  /** The error of a call that comes too early or too late. */
  protected illegal(doing: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot ${doing} link ${quote(this.name)}: state is ${this.state}`, {
      scope: "link",
    });
  }

  #answerWithoutTerminus(): void {
    const { sndSettleMode, rcvSettleMode } = this.remote!;
    try {
      // Neither terminus: go-amqp before 1.7 takes a link without only its own for attached.
      this.sendAttach({ sndSettleMode, rcvSettleMode });
    } catch (error) {
      // The link's name does not fit the peer's own frames, so no answer does.
      const { condition, message } = error as AmqpError;
      this.session.fail(new AmqpError(condition, message, { scope: "session" }));
    }
  }

  #sendDetach(error?: AmqpError | ErrorFields): void {
    const detach: Detach = { kind: "detach", handle: this.handle };
    if (this.#closing) detach.closed = true;
    if (error !== undefined) {
      detach.error = toErrorFields(error);
      this.session.blame(this);
    }
    const next = this.#next("sendDetach");
    this.session.write(detach, this);
    this.state = next;
  }

  // Our suspending detach crossed the peer's close: the link is attached again, to be closed [transport 2.6.6].
  #closeAgain(): boolean {
    if (!this.session.expectAgain(this)) return false;
    this.#closing = true;
    this.state = "unattached";
    this.session.write(this.local!, this);
    this.state = this.#next("sendAttach");
    this.#sendDetach();
    return true;
  }

  #stop(): void {
    this.session.output.forget(this);
    this.onStop();
  }

  #next(step: LinkStep): LinkState {
    const next = linkTransitions[this.state][step];
    if (next === undefined) throw this.illegal(step);
    return next;
  }
}

/** A link of the peer that is refused at once; later frames for it are dropped. */
export class RefusedEndpoint extends LinkEndpoint {
  override readonly role: Role;
  readonly #error: AmqpError;

  constructor(session: LinkSession, attach: Attach, handle: number, error: AmqpError) {
    super(session, attach.name, handle);
    this.role = attach.role === "sender" ? "receiver" : "sender";
    this.#error = error;
  }

  override receiveFlow(): void {}

  override describe(): void {}

  protected override onLocalAttach(): void {}

  protected override onRemoteAttach(): void {
    this.refuse(this.#error);
  }

  protected override forgetUnsettled(): void {}

  protected override onStop(): void {}
}
