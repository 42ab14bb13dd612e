/**
 * The part common to senders and receivers.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, unref } from "../base/environment.ts";
import { AmqpError, type ErrorScope } from "../base/errors.ts";
import type { LogHolder } from "../base/log.ts";
import { quote } from "../base/text.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Attach, Open, Role } from "../codec/types.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";
import type { ReceiverEndpoint, ReceiverEvent } from "../engine/receiver.ts";
import type { SenderEndpoint, SenderEvent } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type * as LogTexts from "./log_texts.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, type Dropping, Lifetime, WARNING_DELAY_MS } from "./lifetime.ts";
import { addresseeOf } from "./outcome.ts";
import type { LinkRecovery, RecoveringConnection, RecoveringLink } from "./recovery.ts";
import type { StreamSender } from "./stream.ts";
import { ignore, part, rejected, type WaitOptions, within } from "../base/wait.ts";

export type { CloseOptions };

/** The connection of a link. */
export interface LinkConnection extends Lifetime, RecoveringConnection {
  /** The name of this container. */
  readonly containerId: string;
  /** The identity that the peer authenticated as, on the accepting side; undefined for an anonymous one. */
  readonly identity: string | undefined;
  /** The peer's open, once received. */
  readonly remote: Readonly<Open> | undefined;
  /** Clock, timers and randomness. */
  readonly environment: Environment;
  /** The limits of decoding. */
  readonly limits: CodecLimits | undefined;
  /** @ignore Throws when too many messages wait for the connection to come back. */
  admit(bytes: number): void;
  /** The peer's host and port, or the container-id of a peer that connected to us; undefined before it is known. */
  readonly host: string | undefined;
  /** @ignore The default of the milliseconds to wait for the peer's answer to a detach or an end. */
  readonly closeTimeoutMs: number;
  /** @ignore The log. */
  readonly logging: LogHolder;
  /** @ignore Messages that found no credit when sent. */
  creditWaits: number;
  /** @ignore Called when there is something to write. */
  wake(): void;
  /** @ignore Called when there is something to write that the peer can go on with. */
  hurry(): void;
  /** @ignore A further sender with the settings of `link`, for a streamed message. */
  senderForStream?(link: Link): StreamSender;
  /** @ignore Removes and ends a link. */
  endLink(link: Link, error?: Error): void;
}

/** Handlers that the end of a link waits for. */
export interface LinkHandlers {
  /** Resolves when only handlers that wait for a close run. */
  othersIdle(): Promise<void>;
  /** See {@linkcode closeFor}. */
  closeFor(close: () => Promise<void>, links: readonly Closing[], options: WaitOptions): Promise<void>;
}

/** An object whose close waits for handlers. */
export interface Closing {
  readonly handlers: LinkHandlers | undefined;
  readonly closed: Promise<void>;
}

/**
 * Calls `close`, which ends `links` and waits for their handlers. Within one of these handlers the returned promise does not
 * wait for that handler: it resolves when all else is done.
 */
export function closeFor(close: () => Promise<void>, links: readonly Closing[], options: WaitOptions): Promise<void> {
  const handlers = links.find(({ handlers }) => handlers !== undefined)?.handlers;
  return handlers === undefined ? close() : handlers.closeFor(close, links, options);
}

/** The fate of a link's messages when its connection is interrupted. */
export interface Interruption {
  /** Messages without an outcome that are sent again. */
  readonly resent?: number;
  /** Messages without an outcome that are not sent again. */
  readonly lost?: number;
  /** Messages received and not settled, which the sender delivers again. */
  readonly redelivered?: number;
}

/**
 * One end of a link, sending or receiving.
 *
 * @example
 * ```ts
 * import type { Link } from "@webamqp/amqp";
 *
 * async function attached(link: Link) {
 *   await link.ready({ signal: AbortSignal.timeout(5_000) });
 *   console.log(link.name, link.address, link.remote?.maxMessageSize);
 * }
 * ```
 */
export abstract class Link extends Lifetime implements RecoveringLink {
  /** The link's connection; when the peer attaches the link again, that may be another. */
  connection: LinkConnection;

  // Undefined for a link that the peer attached: only the peer can attach it again.
  readonly #settings: AttachOptions | undefined;
  /** @ignore The engine's endpoint: undefined until attached; the last one stays while the connection is interrupted. */
  endpoint: SenderEndpoint | ReceiverEndpoint | undefined;
  // Whether a close has finished waiting for deliveries in flight.
  #isLeaving = false;
  #attachTimer: unknown;
  /** @ignore The time of the peer's attach on the present endpoint, if it has come. */
  attachedAt: number | undefined;
  /** @ignore Whether the peer has ever attached it. */
  attachedBefore = false;
  /** @ignore How often in a row it was attached again because its session ended over another link. */
  spared = 0;
  /** @ignore The recovery of unsettled deliveries, if any. */
  recovery: LinkRecovery | undefined;
  /** @ignore The wait before the first attach. */
  prepared: Promise<unknown> | undefined;

  /** Made by the connection or session: from settings to attach with, or around an endpoint that the peer attached. */
  constructor(connection: LinkConnection, from: AttachOptions | SenderEndpoint | ReceiverEndpoint) {
    super();
    this.connection = connection;
    if ("role" in from) this.endpoint = from;
    else this.#settings = from;
    if (this.endpoint?.state === "attached") this.begin();
  }

  /** The link's name, unique in its direction between the two containers. */
  get name(): string {
    return (this.#settings ?? this.endpoint!).name;
  }

  /** The peer's attach, once received. */
  get remote(): Readonly<Attach> | undefined {
    return this.endpoint?.remote;
  }

  /** The node's address: the one asked for, or the one that the peer assigned to a dynamic node. */
  get address(): string | undefined {
    const { local, remote } = this.endpoint ?? {};
    const accepted = this.#settings === undefined;
    // The node is at the side that accepted the link, whose attach names the actual address.
    const attach = accepted ? local : remote ?? local ?? this.#settings;
    const terminus = (this.role === "sender") === accepted ? attach?.source : attach?.target;
    const named = terminus && "address" in terminus ? terminus.address : undefined;
    // A peer that refuses the link attaches without a terminus.
    return named ?? (accepted || attach === this.#settings ? undefined : this.#asked);
  }

  // The address asked for; undefined where the peer assigns it.
  get #asked(): string | undefined {
    const terminus = this.role === "sender" ? this.#settings?.target : this.#settings?.source;
    return terminus && "address" in terminus ? terminus.address : undefined;
  }

  /**
   * Ends the link once deliveries in flight are done, or the time is up. Never fails because the link has ended already.
   *
   * In flight are sends without an outcome, and the running handlers of {@linkcode Receiver.serve}.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(true, options), options, this.#dropping());
  }

  /** Suspends the link: both sides keep the terminus and the unsettled deliveries, as far as they can. */
  detach(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(false, options), options, this.#dropping());
  }

  #dropping(): Dropping {
    const { environment } = this.connection;
    const drop = (): void => {
      if (!this.#isLeaving) this.endpoint?.detach({ closed: true });
      this.connection.wake();
      this.connection.endLink(this);
    };
    return { environment, drop };
  }

  /** @ignore True once the link was closed, rather than suspended or lost. */
  get endedForGood(): boolean {
    return this.endpoint?.closed ?? false;
  }

  /** The role of this end. */
  protected abstract readonly role: Role;
  /** @ignore Attaches the link to `session`. */
  protected abstract attachAs(settings: AttachOptions, session: SessionEndpoint): SenderEndpoint | ReceiverEndpoint;
  /** @ignore Continues the link on `endpoint`, which the peer attached again. */
  protected abstract resumeEndpoint(endpoint: SenderEndpoint | ReceiverEndpoint): void;
  /** @ignore Handles the endpoint events of one role. */
  abstract handleEvent(event: SenderEvent | ReceiverEvent): void;
  /** Resolves when nothing is in flight. */
  protected abstract idle(): Promise<void>;
  /** Called once, when the link has ended. */
  protected abstract onended(ending: () => Error): void;
  /** Called when the connection is interrupted, while the link lives on. */
  protected abstract oninterrupted(error: Error): Interruption;
  /** Called when the link begins to close, before it waits. */
  protected onclosing(): void {}
  /** Called when the peer has attached the link. */
  protected onattached(): void {}
  /** The error if the peer attached the link with unacceptable settings. */
  protected checkAttached(): AmqpError | undefined {
    return undefined;
  }

  /** @ignore The facts that `console.log` prints. */
  facts(): Record<string, unknown> {
    const state = !this.open ? this.over ? "closed" : "closing" : this.usable ? "attached" : "attaching";
    return { address: this.address, host: this.connection.host, state, error: this.error?.message };
  }

  /** @ignore */
  get usable(): boolean {
    return !this.over && this.endpoint?.state === "attached";
  }

  /** @ignore The node, for errors and the log: its address and the connection's host. */
  get where(): string {
    return this.whereOf(undefined);
  }

  /** @ignore As `where`; on a sender without an address the node that a message names itself. */
  whereOf(delivery: OutgoingDelivery | undefined): string {
    const { host } = this.connection;
    const node = quote(this.address ?? addresseeOf(delivery) ?? this.name);
    return host === undefined ? node : `${node} at ${host}`;
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    return { label: `${this.role} of ${this.where}`, scope: "link" };
  }

  /** @ignore The handlers of a receiver, which its end waits for. */
  readonly handlers: LinkHandlers | undefined;

  /** @ignore Whether the link is to be attached again: it is this side's, and open or closing with deliveries in flight. */
  get returns(): boolean {
    return this.#settings !== undefined && !this.over && (this.open || !this.#isLeaving && this.inFlight);
  }

  /** Whether deliveries are in flight for which a close waits, even if the link must be attached again for them. */
  protected get inFlight(): boolean {
    return false;
  }

  /** @ignore Whether the link is attached or attaching; not if it was detached to be attached again. */
  get carried(): boolean {
    const state = this.endpoint?.state;
    return state === "attachSent" || state === "attached";
  }

  /** @ignore Attaches the link, for the first time or again. */
  attachOn(session: SessionEndpoint): SenderEndpoint | ReceiverEndpoint {
    this.attachedAt = undefined;
    const settings = this.#settings!;
    // The peer may still hold the link elsewhere.
    const flowAfterAttach = settings.flowAfterAttach || this.attachedBefore;
    const full = { ...settings, flowAfterAttach };
    return this.endpoint = this.attachAs(this.recovery?.settings(full) ?? full, session);
  }

  /** @ignore What the next attach waits for, if anything. */
  prepare(): Promise<unknown> | undefined {
    return this.prepared;
  }

  /** @ignore Uses `recovery` for unsettled deliveries; the first attach waits until it is prepared. */
  protected recoverBy(recovery: LinkRecovery | Promise<LinkRecovery>): void {
    const use = (made: LinkRecovery): Promise<unknown> | undefined => (this.recovery = made).prepared;
    const ready = recovery instanceof Promise ? recovery.then(use) : use(recovery);
    this.prepared = ready?.then(() => this.prepared = undefined);
    // Also while there is no attachment: the next one must not attach the link unprepared.
    this.prepared?.catch((error) => this.connection.endLink(this, error));
  }

  /** @ignore Detaches the link, to attach it again. */
  suspend(): SenderEndpoint | ReceiverEndpoint {
    const endpoint = this.endpoint!;
    endpoint.detach({ closed: false });
    this.handleInterrupted(this.endingOf(undefined)!);
    return endpoint;
  }

  /** @ignore The settings to attach with; undefined for a link that the peer attached. */
  get settings(): AttachOptions | undefined {
    return this.#settings;
  }

  /** @ignore Continues the link on an endpoint that the peer attached again. */
  resumeOn(endpoint: SenderEndpoint | ReceiverEndpoint): void {
    this.endpoint = endpoint;
    this.resumeEndpoint(endpoint);
    this.begin();
  }

  /** @ignore Moves the link to another address of the same peer. */
  redirect(address: string): void {
    const { source, target } = this.#settings!;
    const terminus = this.role === "sender" ? target : source;
    if (terminus && "address" in terminus) terminus.address = address;
  }

  /** @ignore Interrupts the link, which is to be attached again. */
  handleInterrupted(error: Error): Interruption {
    // What fails before the next attach is no loss of a link that has lasted.
    this.attachedAt = undefined;
    this.interrupt();
    return this.oninterrupted(error);
  }

  /**
   * @ignore The error of an end with `error`. The peer's ending a link of ours without an error is a failure to its callers;
   * a link that the peer attached is the peer's to end.
   */
  endingOf(error: Error | undefined): Error | undefined {
    if (error !== undefined || !this.open || !this.connection.open || this.#settings === undefined) return error;
    return new AmqpError(condition.detachForced, `Link of ${this.where} detached by peer without an error`, {
      scope: "link",
      remote: true,
    });
  }

  /** @ignore Called when the peer has attached the link. */
  handleAttached(): void {
    const error = this.checkAttached();
    if (error !== undefined) {
      this.endpoint?.detach({ closed: true, error });
      return this.connection.endLink(this, error);
    }
    this.attachedAt = this.connection.environment.now();
    this.attachedBefore = true;
    this.spared = 0;
    this.begin();
    this.onattached();
  }

  /** @ignore Called by the connection when the link, its session or the connection ended. */
  handleEnded(error: Error | undefined): void {
    this.connection.environment.clearTimer(this.#attachTimer);
    if (!this.over) this.onended(this.end(this.endingOf(error)));
  }

  /** @ignore Writes to the log. The texts load on demand, since few programs need them; a failure to load loses a warning. */
  writeLog(kind: LogTexts.LinkLogKind, facts: LogTexts.Facts): void {
    part("logTexts", () => import("./log_texts.ts")).then(({ writeLinkLog }) => writeLinkLog(this, kind, facts))
      .catch(ignore);
  }

  /** {@inheritDoc Lifetime.ready} */
  override ready(options: WaitOptions = {}): Promise<void> {
    if (this.open && this.endpoint?.state !== "attached" && this.#attachTimer === undefined) this.#watchAttach();
    return super.ready(options);
  }

  #watchAttach(): void {
    const look = (): void => {
      this.#attachTimer = undefined;
      if (this.endpoint?.state !== "attachSent") return;
      this.writeLog(this.role === "sender" ? "sendWaits" : "receiveWaits", {});
    };
    // A warning keeps no process alive.
    this.#attachTimer = unref(this.connection.environment.setTimer(look, WARNING_DELAY_MS));
  }

  /** @ignore See {@linkcode refused}. */
  refused(error: unknown, message: unknown): Promise<never> {
    return refused(error, message);
  }

  async #close(closed: boolean, options: CloseOptions): Promise<void> {
    if (this.over) return;
    const timeoutMs = options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
    const { environment } = this.connection;
    const answerMs = answerWait(this.connection, options);
    this.onclosing();
    const inTime = await within(Promise.race([this.idle(), this.closed]), timeoutMs, environment);
    this.#isLeaving = true;
    if (this.over) return;
    const endpoint = this.endpoint;
    endpoint?.detach({ closed, error: options.error });
    this.connection.wake();
    // If the link is not attached, no answer of the peer's can come; nor from one that has not taken it again in all the time.
    const answers = endpoint !== undefined && endpoint.state !== "detached" &&
      (inTime || !this.attachedBefore || this.attachedAt !== undefined);
    if (answers && await within(this.closed, answerMs, environment)) return;
    this.connection.endLink(this);
  }
}

/** Milliseconds to wait for the peer's answer to a detach or an end. */
export function answerWait({ closeTimeoutMs }: LinkConnection, { timeoutMs = Infinity }: CloseOptions): number {
  return timeoutMs === Infinity ? closeTimeoutMs : timeoutMs;
}

/** Rejects with `error`; an encoding error is explained in detail if the module that does so can be loaded. */
export function refused(error: unknown, message: unknown): Promise<never> {
  if (!String((error as Error)?.message).startsWith("Cannot encode ")) return rejected(error);
  const explained = part("mistakes", () => import("../codec/mistakes.ts")).then(
    ({ explainMessage }) => explainMessage(error, message),
    () => error,
  );
  const promise = explained.then((explained) => {
    throw explained;
  });
  promise.catch(ignore);
  return promise;
}
