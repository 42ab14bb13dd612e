/**
 * What is due when on a connection: the peer's open, keep-alives, the idle time-out, the answer to a close.
 *
 * @module
 */

export type Due = "open" | "idle" | "keepAlive" | "close";

// A time-out is looked at twice, so far apart: timers come before what has arrived meanwhile, where a program was busy, a
// machine slept or a page was frozen.
const SECOND_LOOK_MS = 1_000;
// A peer that refuses a link detaches it right behind its answer; one that has not by then has accepted it.
const CONFIRM_AFTER_MS = 1_000;

/** What the clock confirms when the peer has had time to take it back: a link. */
export interface Unconfirmed {
  /** Takes it for accepted. */
  confirm(): void;
}

/** The deadlines of one connection. It is told the time with every call that may move one. */
export class Clock {
  #phase: "opening" | "opened" | "closing" | "over" = "opening";
  #now: number;
  #lastReceived: number;
  #lastSent: number;
  // When the peer was found silent for too long.
  #suspectedAt: number | undefined;
  // Of the peer's open, later of its close; unknown until the time of our close is told.
  #deadline: number | undefined;
  #localIdleTimeOut = 0;
  #remoteIdleTimeOut = 0;
  readonly #closeTimeoutMs: number;
  // Links whose attach was answered without a terminus, in the order of their times.
  #unconfirmed: { readonly link: Unconfirmed; readonly at: number }[] | undefined;

  /** Starts with the time that the peer has for its open. */
  constructor(now: number, openTimeoutMs: number, closeTimeoutMs: number) {
    this.#now = this.#lastReceived = this.#lastSent = now;
    this.#deadline = now + openTimeoutMs;
    this.#closeTimeoutMs = closeTimeoutMs;
  }

  /** The time that was told last. */
  get now(): number {
    return this.#now;
  }

  /** Tells the time. */
  set(now: number): void {
    this.#now = now;
    if (this.#phase === "closing") this.#deadline ??= now + this.#closeTimeoutMs;
  }

  /** Notes that a frame arrived. */
  received(): void {
    this.#lastReceived = this.#now;
    this.#suspectedAt = undefined;
  }

  /** Notes that something was sent. */
  sent(): void {
    this.#lastSent = this.#now;
  }

  /** Notes that both opens were exchanged, with the idle time-out that each side announced, 0 or absent for none. */
  opened(local: number | undefined, remote: number | undefined): void {
    if (this.#phase !== "opening") return;
    this.#phase = "opened";
    this.#localIdleTimeOut = local ?? 0;
    this.#remoteIdleTimeOut = remote ?? 0;
  }

  /** Notes that a close was written. Commands are not told the time, so it counts from the next call that is. */
  closing(): void {
    if (this.#phase === "closing" || this.#phase === "over") return;
    this.#phase = "closing";
    this.#deadline = undefined;
  }

  /** Notes that nothing is waited for any more. */
  over(): void {
    this.#phase = "over";
    this.#unconfirmed = undefined;
  }

  /** Confirms the link in a while, unless it is detached by then. */
  awaitConfirmation(link: Unconfirmed): void {
    (this.#unconfirmed ??= []).push({ link, at: this.#now + CONFIRM_AFTER_MS });
  }

  /** Confirms the links whose time has come. */
  confirm(): void {
    while (this.#unconfirmed !== undefined && this.#unconfirmed[0]!.at <= this.#now) {
      this.#unconfirmed.shift()!.link.confirm();
      if (this.#unconfirmed?.length === 0) this.#unconfirmed = undefined;
    }
  }

  /**
   * When `confirm` and `due` must be called at the latest; `pending` when something waits to be sent, which keeps alive as
   * well.
   */
  next(pending: boolean): number | undefined {
    const deadline = this.#nextDeadline(pending);
    return this.#unconfirmed === undefined ? deadline : Math.min(this.#unconfirmed[0]!.at, deadline ?? Infinity);
  }

  /** What is due now, if anything. */
  due(pending: boolean): Due | undefined {
    switch (this.#phase) {
      case "opened":
        if (this.#now >= this.#idleDeadline) {
          if (this.#suspectedAt !== undefined) return "idle";
          this.#suspectedAt = this.#now;
        }
        return !pending && this.#now >= this.#keepAliveDue ? "keepAlive" : undefined;
      case "over":
        return undefined;
      default:
        if (this.#now < this.#deadline!) return undefined;
        return this.#phase === "opening" ? "open" : "close";
    }
  }

  #nextDeadline(pending: boolean): number | undefined {
    switch (this.#phase) {
      case "opened": {
        const next = Math.min(this.#idleDeadline, pending ? Infinity : this.#keepAliveDue);
        return next === Infinity ? undefined : next;
      }
      case "over":
        return undefined;
      default:
        return this.#deadline ?? this.#now;
    }
  }

  // What is announced is half of what is kept, so that the peer has time [transport 2.4.5].
  get #idleDeadline(): number {
    if (this.#localIdleTimeOut === 0) return Infinity;
    if (this.#suspectedAt !== undefined) return this.#suspectedAt + Math.min(SECOND_LOOK_MS, this.#localIdleTimeOut);
    return this.#lastReceived + 2 * this.#localIdleTimeOut;
  }

  get #keepAliveDue(): number {
    return this.#remoteIdleTimeOut === 0 ? Infinity : this.#lastSent + this.#remoteIdleTimeOut / 2;
  }
}
