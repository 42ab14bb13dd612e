/**
 * Links: what the sending and the receiving end have in common [transport 2.6].
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
import type { Settlement } from "./settlement.ts";
import { type LinkState, type LinkStep, linkTransitions, type SessionEndpointState } from "./states.ts";

/** Largest message that a receiver takes by default, in bytes; without a limit one delivery could fill the memory. */
export const DEFAULT_MAX_MESSAGE_SIZE = 67_108_864n;

/** The settings of our end of a link. */
export interface LinkOptions {
  /** Where messages come from; null or absent for none, which in an answer refuses. */
  source?: Source | null;
  /** Where messages go to; null or absent for none, which in an answer refuses. */
  target?: Target | Coordinator | null;
  /** Which deliveries are sent settled. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode;
  /** Whether the receiver settles at once or after the sender. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode;
  /**
   * Largest message that this end takes, in bytes, 0 for no limit. Default: {@linkcode DEFAULT_MAX_MESSAGE_SIZE} for a
   * receiver, none for a sender.
   */
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

export interface AttachOptions extends LinkOptions {
  /**
   * True keeps flows back until the peer has attached: one whose link of this name is still attached to another session takes
   * a flow before its answer for a violation. Default: false.
   */
  flowAfterAttach?: boolean;
  /** Names the link between the two containers. */
  name: string;
}

/** What a link of either kind reports. */
export type LinkEvent =
  /** The peer answered our attach, and accepted it. */
  | { readonly kind: "attached"; readonly link: LinkEndpoint }
  /** The link is of no more use; comes once. `closed` false means suspended: the terminus lives on. */
  | {
    readonly kind: "detached";
    readonly link: LinkEndpoint;
    readonly closed: boolean;
    readonly error: AmqpError | undefined;
  };

/** What a link asks of the output of its session. */
export interface LinkOutput {
  /** Queues a flow for a link whose credit or counts the peer must hear of. */
  queueFlow(link: LinkEndpoint): void;
  /** Drops what a link has queued. */
  forget(link: LinkEndpoint): void;
}

export interface LinkSession extends Endpoint {
  /** Where the session stands. */
  readonly state: SessionEndpointState;
  /** The peer's begin, once received. */
  readonly remote: Begin | undefined;
  /** What is not settled on the session. */
  readonly settlement: Settlement;
  /** What the session is to write. */
  readonly output: LinkOutput;
  /** Transfers that the peer still takes. */
  readonly remoteIncomingWindow: number;
  /** Transfers that this side still takes without a new flow. */
  readonly incomingWindow: number;
  /** Deliveries, both ways, that are not settled. */
  readonly unsettledCount: number;
  /** Links that are attached, or on their way in or out. */
  readonly linkCount: number;
  /** Ends the session, with an error or without. */
  end(error?: AmqpError): void;
  /** Reports something. */
  emit(event: LinkEvent): void;
  /** Writes a frame of `link`, after the dispositions that were told before it. */
  write(body: Performative, link: LinkEndpoint): void;
  /** Drops a link that is detached both ways. */
  forgetLink(link: LinkEndpoint): void;
  /** Notes that `link` ends with an error. */
  blame(link: LinkEndpoint): void;
  /** Expects the peer's attach for a link that attaches again in order to close; false when its name is taken by then. */
  expectAgain(link: LinkEndpoint): boolean;
  /** Confirms the link in a while, unless the peer has detached it by then. */
  awaitConfirmation(link: LinkEndpoint): void;
  /** Notes that something was put off. */
  markDirty(): void;
  /** Counts a delivery that begins to arrive on a link that takes no more. */
  skipDelivery(id: number | undefined): void;
}

/** What both ends have in common. */
export abstract class LinkEndpoint implements FrameEndpoint {
  /** Which end ours is. */
  abstract readonly role: Role;
  /** The session it is attached to. */
  readonly session: LinkSession;
  /** Names the link between the two containers. */
  readonly name: string;
  readonly handle: number;
  /** The peer's number for it, once its attach arrived. */
  remoteHandle: number | undefined;
  /** Where it stands. */
  state: LinkState = "unattached";
  /** Our attach, once sent. */
  local: Attach | undefined;
  /** The peer's attach, once received. */
  remote: Attach | undefined;
  /** Bytes of the peer's attach, which is kept; for sessions. */
  kept = 0;
  /** True once the link has ended for good, rather than was suspended or lost. */
  closed = false;

  #patient = false;
  #closing = false;
  #attachPending = false;
  #reported = false;

  constructor(session: LinkSession, name: string, handle: number) {
    this.session = session;
    this.name = name;
    this.handle = handle;
  }

  /** The node in an error: its address, where it has one, otherwise the link's name. */
  get node(): string {
    const attach = this.local ?? this.remote;
    const terminus = this.role === "sender" ? attach?.target : attach?.source;
    return quote((terminus && "address" in terminus ? terminus.address : undefined) ?? this.name);
  }

  /** In force once attached: the sender's word counts [transport 2.6.6]. */
  get sndSettleMode(): SenderSettleMode {
    return (this.role === "sender" ? this.local : this.remote)?.sndSettleMode ?? "mixed";
  }

  /**
   * What was agreed: in two steps only if both sides said so, or the one would wait for the other for ever
   * [transport 2.6.6].
   */
  get rcvSettleMode(): ReceiverSettleMode {
    const { local, remote } = this;
    const both = local?.rcvSettleMode === "second" && (remote === undefined || remote.rcvSettleMode === "second");
    return both ? "second" : "first";
  }

  /** Whether deliveries and flows of the peer are for this link, rather than to be dropped. */
  get takes(): boolean {
    return this.state === "attached" || this.state === "attachReceived";
  }

  /** Whether flows of the link go out now. */
  get flows(): boolean {
    return this.state !== "attachReceived" && !(this.#patient && this.state === "attachSent");
  }

  /** Writes our attach, first or as the answer. */
  sendAttach(options: LinkOptions & { readonly flowAfterAttach?: boolean }): void {
    this.#patient = options.flowAfterAttach ?? false;
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
    // Something may have been asked for ahead of our answer.
    this.session.markDirty();
  }

  /**
   * Refuses the peer's attach: an answer without the terminus that was asked for, then a detach with `error`
   * [transport 2.6.3].
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the link no longer waits for an answer.
   */
  refuse(error: AmqpError): void {
    this.awaitsAnswer("refuse");
    this.#reported = true;
    this.detach({ closed: true, error });
  }

  /**
   * Detaches: `closed` ends the link, otherwise it is suspended. Does nothing when it is detached already.
   *
   * What is queued and not begun is dropped; what is not settled stays in `unsettled`.
   */
  detach(options: { closed: boolean; error?: AmqpError }): void {
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

  /** Ends a link whose attach could not be written. */
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
    if (this.#patient) this.session.markDirty();
    this.#attachPending = true;
    // A terminus that is missing from the answer announces the detach that refuses the link [transport 2.6.3].
    const refused = this.role === "sender" ? attach.target === undefined : attach.source === undefined;
    if (refused) this.session.awaitConfirmation(this);
    else this.confirm();
  }

  /**
   * The peer's attach, which waits for our answer.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if it does not, or no longer.
   */
  awaitsAnswer(doing: string): Attach {
    if (this.state !== "attachReceived" || this.remote === undefined) throw this.illegal(doing);
    return this.remote;
  }

  /** Takes the peer's detach, and answers it. */
  receiveDetach(detach: Detach): void {
    const closed = detach.closed ?? false;
    const error = detach.error && fromErrorFields(detach.error, `Link of ${this.node} detached`, "link");
    // Gone before we answered: the answer is owed all the same.
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

  /** Takes one transfer; one that comes for a link that takes no more is only counted. */
  receiveTransfer(transfer: Transfer, _payload: Uint8Array): void {
    this.session.skipDelivery(transfer.deliveryId);
  }

  /** Takes the peer's flow. */
  abstract receiveFlow(flow: Flow): void;
  /** Fills in the part of a flow that describes this link. */
  abstract describe(flow: Flow): void;
  /** Called when our attach was written. */
  protected abstract onLocalAttach(attach: Attach): void;
  /** Called when the peer's attach arrived. */
  protected abstract onRemoteAttach(attach: Attach): void;
  /** Drops the deliveries of a link that is closed; those of a suspended one live on. */
  protected abstract forgetUnsettled(): void;
  /** Called when nothing more is sent or taken. */
  protected abstract onStop(): void;

  /**
   * Reports, once, that the peer accepted our attach: by its answer, by using the link after all, or by not detaching it for a
   * while. Peers built on rhea answer without a terminus unless they are told to name one.
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

  /** What a call that comes too early or too late is answered with. */
  protected illegal(doing: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot ${doing} link ${quote(this.name)}: state is ${this.state}`, {
      scope: "link",
    });
  }

  #answerWithoutTerminus(): void {
    const remote = this.remote!;
    // Only the terminus at our end is ours to withhold.
    const theirs = this.role === "sender" ? { target: remote.target } : { source: remote.source };
    try {
      this.sendAttach({ ...theirs, sndSettleMode: remote.sndSettleMode, rcvSettleMode: remote.rcvSettleMode });
    } catch {
      this.#answerWithLeast();
    }
  }

  #answerWithLeast(): void {
    try {
      this.sendAttach({});
    } catch (error) {
      // A name that the peer's own frames cannot hold: there is no way to say even that.
      const { condition, message } = error as AmqpError;
      this.session.fail(new AmqpError(condition, message, { scope: "session" }));
    }
  }

  #sendDetach(error?: AmqpError): void {
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

  // Our suspend crossed the peer's close: it is attached again, to be closed [transport 2.6.6].
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

/** A link of the peer that is refused without asking anybody; what still comes for it is dropped. */
export class RefusedEndpoint extends LinkEndpoint {
  /** Which end ours would be. */
  override readonly role: Role;
  readonly #error: AmqpError;

  /** Made when the peer's attach arrives. */
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
