/**
 * What senders and receivers have in common.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError, type ErrorScope } from "../base/errors.ts";
import type { LogHolder } from "../base/log.ts";
import { quote } from "../base/text.ts";
import type { CodecLimits } from "../codec/limits.ts";
import type { Attach, Open, Role } from "../codec/types.ts";
import type { AttachOptions } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type * as Complaints from "./complaints.ts";
import { type CloseOptions, DEFAULT_CLOSE_WAIT_MS, Lifetime } from "./lifetime.ts";
import type { LinkRecovery, RecoveringConnection, RecoveringLink } from "./recovery.ts";
import type { StreamSender } from "./stream.ts";
import { ignore, part, within } from "../base/wait.ts";

export type { CloseOptions };

/** The connection of a link: what its user finds there, and what the link asks of it. */
export interface LinkConnection extends Lifetime, RecoveringConnection {
  /** The name of this container. */
  readonly containerId: string;
  /** Who the peer authenticated as, on the accepting side; undefined for nobody in particular. */
  readonly identity: string | undefined;
  /** What the peer said of itself when it opened the connection, once it has. */
  readonly remote: Readonly<Open> | undefined;
  /** Where it runs: time, timers, randomness. */
  readonly environment: Environment;
  /** What is decoded on it, at most. */
  readonly limits: CodecLimits | undefined;
  /** @ignore Refuses one more message, by throwing, when too much waits for the connection to come back. */
  admit(bytes: number): void;
  /** Whom it is with: the host and port, or the container of a peer that has connected; undefined before it is known. */
  readonly host: string | undefined;
  /** @ignore Told what no call fails for. */
  readonly logging: LogHolder;
  /** @ignore Messages that found no credit when they were sent. */
  creditWaits: number;
  /** @ignore Something waits to be written. */
  wake(): void;
  /** @ignore A further sender with the settings of `link`, for a message that is streamed. */
  twin?(link: Link): StreamSender;
  /** @ignore Forgets a link, which ends. */
  endLink(link: Link, error?: Error): void;
}

/** Handlers that the end of a link waits for. */
export interface LinkHandlers {
  /** Waits until none runs but those that wait for a close. */
  othersIdle(): Promise<void>;
}

/** What becomes of the messages of a link that nothing carries any more. */
export interface Interruption {
  /** Messages without an outcome that go out again. */
  readonly resent?: number;
  /** Messages without an outcome that do not. */
  readonly lost?: number;
  /** Messages that were received and not settled, and will come again. */
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
  /** The connection it belongs to; one that the peer attaches again may come on another. */
  connection: LinkConnection;

  // Absent for a link that the peer has attached: only the peer can attach it again.
  readonly #settings: AttachOptions | undefined;
  /** @ignore The engine's end: absent until it is attached; the last one stays while the connection is interrupted. */
  endpoint: SenderEndpoint | ReceiverEndpoint | undefined;
  // Whether a close has waited for what is in flight.
  #isLeaving = false;
  /** @ignore When the peer has accepted it, if it has since it was attached last. */
  attachedAt: number | undefined;
  /** @ignore Whether the peer has accepted it once. */
  attachedBefore = false;
  /** @ignore What takes up deliveries that were not settled, if anything does. */
  recovery: LinkRecovery | undefined;
  /** @ignore What it waits for before it is attached for the first time. */
  prepared: Promise<unknown> | undefined;

  /** Built by the connection or session: from how it is to be attached, or around what the peer has attached. */
  constructor(connection: LinkConnection, from: AttachOptions | SenderEndpoint | ReceiverEndpoint) {
    super();
    this.connection = connection;
    if ("role" in from) this.endpoint = from;
    else this.#settings = from;
    if (this.endpoint?.state === "attached") this.begin();
  }

  /** The link's name, which tells it from others between the same two containers. */
  get name(): string {
    return (this.#settings ?? this.endpoint!).name;
  }

  /** What the peer's attach said, once it came. */
  get remote(): Readonly<Attach> | undefined {
    return this.endpoint?.remote;
  }

  /** The node's address: the one asked for, or the one that was made up for a dynamic node. */
  get address(): string | undefined {
    const { local, remote } = this.endpoint ?? {};
    const accepted = this.#settings === undefined;
    // The node stands at the side that accepted the link, and that side's attach says which it is.
    const attach = accepted ? local : remote ?? local ?? this.#settings;
    const terminus = (this.role === "sender") === accepted ? attach?.source : attach?.target;
    const named = terminus && "address" in terminus ? terminus.address : undefined;
    // A peer that ends the link at once names none.
    return named ?? (accepted || attach === this.#settings ? undefined : this.#asked);
  }

  // What was asked for; nothing where the peer makes up the address.
  get #asked(): string | undefined {
    const terminus = this.role === "sender" ? this.#settings?.target : this.#settings?.source;
    return terminus && "address" in terminus ? terminus.address : undefined;
  }

  /**
   * Ends the link once what is in flight is done, or the time is up. Never fails because the link has ended already.
   *
   * It waits for the handlers of {@linkcode Receiver.serve}, so a handler must not wait for it.
   */
  override close(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(true, options), options);
  }

  /** Suspends the link: both sides keep the terminus and what is not settled, as far as they can. */
  detach(options: CloseOptions = {}): Promise<void> {
    return this.closeBy(() => this.#close(false, options), options);
  }

  /** @ignore True once the link has ended for good, rather than was suspended or lost. */
  get endedForGood(): boolean {
    return this.endpoint?.closed ?? false;
  }

  /** Which end of the link this is. */
  protected abstract readonly role: Role;
  /** @ignore Attaches it on `session`. */
  protected abstract attachAs(settings: AttachOptions, session: SessionEndpoint): SenderEndpoint | ReceiverEndpoint;
  /** @ignore Has `endpoint` carry it, which the peer has attached again. */
  protected abstract carryAgain(endpoint: SenderEndpoint | ReceiverEndpoint): void;
  /** Waits until nothing is in flight any more. */
  protected abstract idle(): Promise<void>;
  /** Called once, when the link has ended. */
  protected abstract onended(ending: () => Error): void;
  /** Called when what carried it is gone, while the link itself lives on. */
  protected abstract oninterrupted(error: Error): Interruption;
  /** Called when the link begins to close, before it waits. */
  protected onclosing(): void {}
  /** Called when the peer accepted the link. */
  protected onattached(): void {}
  /** What is wrong with the settings with which the peer accepted the link, if anything. */
  protected checkAttached(): AmqpError | undefined {
    return undefined;
  }

  /** @ignore What `console.log` shows. */
  facts(): Record<string, unknown> {
    const state = !this.open ? this.over ? "closed" : "closing" : this.usable ? "attached" : "attaching";
    return { address: this.address, host: this.connection.host, state, error: this.error?.message };
  }

  /** @ignore True while it is attached. */
  get usable(): boolean {
    return !this.over && this.endpoint?.state === "attached";
  }

  /** @ignore The node for errors and the log: its address and whom the connection is with. */
  get where(): string {
    const { host } = this.connection;
    const node = quote(this.address ?? this.name);
    return host === undefined ? node : `${node} at ${host}`;
  }

  /** {@inheritDoc Lifetime.describe} */
  protected override describe(): { label: string; scope: ErrorScope } {
    return { label: `${this.role} of ${this.where}`, scope: "link" };
  }

  /** @ignore The handlers of a receiver, which its end waits for. */
  readonly handlers: LinkHandlers | undefined;

  /** @ignore Whether it is to be attached again: it is ours and in use, or closes and waits for what is in flight. */
  get returns(): boolean {
    return this.#settings !== undefined && !this.over && (this.open || !this.#isLeaving && this.inFlight);
  }

  /** Whether anything is in flight that its close waits for, also where it has to be attached again for that. */
  protected get inFlight(): boolean {
    return false;
  }

  /** @ignore Whether it is attached, or about to be; not one that was detached in order to be attached again. */
  get carried(): boolean {
    const state = this.endpoint?.state;
    return state === "attachSent" || state === "attached";
  }

  /** @ignore Attaches it, for the first time or again. */
  attachOn(session: SessionEndpoint): SenderEndpoint | ReceiverEndpoint {
    this.attachedAt = undefined;
    const settings = this.#settings!;
    // The peer may still have it attached elsewhere.
    const flowAfterAttach = settings.flowAfterAttach || this.attachedBefore;
    const full = { ...settings, flowAfterAttach };
    return this.endpoint = this.attachAs(this.recovery?.settings(full) ?? full, session);
  }

  /** @ignore Has `recovery` take up what is not settled; the link waits for it before it is attached for the first time. */
  protected recoverBy(recovery: LinkRecovery | Promise<LinkRecovery>): void {
    const use = (made: LinkRecovery): Promise<unknown> | undefined => (this.recovery = made).prepared;
    const ready = recovery instanceof Promise ? recovery.then(use) : use(recovery);
    this.prepared = ready?.then(() => this.prepared = undefined);
    // Also while nothing carries the connection: the next attachment must not find it without what it waited for.
    this.prepared?.catch((error) => this.connection.endLink(this, error));
  }

  /** @ignore Detaches it, in order to attach it again. */
  suspend(): SenderEndpoint | ReceiverEndpoint {
    const endpoint = this.endpoint!;
    endpoint.detach({ closed: false });
    this.handleInterrupted(this.endingOf(undefined)!);
    return endpoint;
  }

  /** @ignore What it is attached with; undefined for a link that the peer has attached. */
  get settings(): AttachOptions | undefined {
    return this.#settings;
  }

  /** @ignore The peer has attached it again. */
  carryOn(endpoint: SenderEndpoint | ReceiverEndpoint): void {
    this.endpoint = endpoint;
    this.carryAgain(endpoint);
    this.begin();
  }

  /** @ignore The node is at another address of the same peer. */
  redirect(address: string): void {
    const { source, target } = this.#settings!;
    const terminus = this.role === "sender" ? target : source;
    if (terminus && "address" in terminus) terminus.address = address;
  }

  /** @ignore What carried it is gone, but is to come back. */
  handleInterrupted(error: Error): Interruption {
    this.interrupt();
    return this.oninterrupted(error);
  }

  /**
   * @ignore What its end with `error` means. A link of ours that the peer ended without a reason is an error to whoever waits
   * on it; its own link is its own.
   */
  endingOf(error: Error | undefined): Error | undefined {
    if (error !== undefined || !this.open || this.#settings === undefined) return error;
    return new AmqpError(condition.detachForced, `Link of ${this.where} detached by peer without an error`, {
      scope: "link",
      remote: true,
    });
  }

  /** @ignore Told by the connection. */
  handleAttached(): void {
    const error = this.checkAttached();
    if (error !== undefined) {
      this.endpoint?.detach({ closed: true, error });
      return this.connection.endLink(this, error);
    }
    this.attachedAt = this.connection.environment.now();
    this.attachedBefore = true;
    this.begin();
    this.onattached();
  }

  /** @ignore Told by the connection, when the link, its session or the connection ended. */
  handleEnded(error: Error | undefined): void {
    if (!this.over) this.onended(this.end(this.endingOf(error)));
  }

  /**
   * @ignore Tells the log. The texts are loaded by who needs them, which few do; where they cannot be, nothing is lost but a warning.
   */
  complain(about: Complaints.LinkComplaint, facts: Complaints.Facts): void {
    part("complaints", () => import("./complaints.ts")).then((complaints) => complaints.complain(this, about, facts))
      .catch(ignore);
  }

  async #close(closed: boolean, options: CloseOptions): Promise<void> {
    if (this.over) return;
    const timeoutMs = options.timeoutMs ?? DEFAULT_CLOSE_WAIT_MS;
    const { environment } = this.connection;
    this.onclosing();
    await within(Promise.race([this.idle(), this.closed]), timeoutMs, environment);
    this.#isLeaving = true;
    if (this.over) return;
    const endpoint = this.endpoint;
    const answerMs = timeoutMs === Infinity ? DEFAULT_CLOSE_WAIT_MS : timeoutMs;
    endpoint?.detach({ closed, error: options.error });
    this.connection.wake();
    // Of one that nothing carries at the moment the peer has lost sight.
    if (endpoint !== undefined && endpoint.state !== "detached" && await within(this.closed, answerMs, environment)) {
      return;
    }
    this.connection.endLink(this);
  }
}
