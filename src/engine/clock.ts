/**
 * Deadlines of a connection: the peer's open, keep-alives, the idle time-out, the answer to a close.
 *
 * @module
 */

export type Due = "open" | "idle" | "keepAlive" | "close";

// A time-out fires only if a second check, so much later, confirms it: where a program was busy, a machine slept or a page was
// frozen, timers run before the bytes that arrived meanwhile.
const RECHECK_MS = 1_000;
// A peer that refuses a link detaches it right behind its answer; a peer that has not by then has accepted it.
const CONFIRM_AFTER_MS = 1_000;

/** A link that counts as accepted once the peer has had time to detach it. */
export interface Unconfirmed {
  confirm(): void;
}

/** The deadlines of one connection, by the time of the last `set`. */
export class Clock {
  #phase: "opening" | "opened" | "closing" | "over" = "opening";
  #now: number;
  #lastReceived: number;
  #lastSent: number;
  // When the peer was first found silent for too long.
  #suspectedAt: number | undefined;
  // The deadline of the peer's open, later of its close; undefined between our close and the next `set`.
  #deadline: number | undefined;
  #localIdleTimeOut = 0;
  #remoteIdleTimeOut = 0;
  readonly #closeTimeoutMs: number;
  // Links whose attach was answered without a terminus, in the order of their times.
  #unconfirmed: { readonly link: Unconfirmed; readonly at: number }[] | undefined;

  constructor(now: number, openTimeoutMs: number, closeTimeoutMs: number) {
    this.#now = this.#lastReceived = this.#lastSent = now;
    this.#deadline = now + openTimeoutMs;
    this.#closeTimeoutMs = closeTimeoutMs;
  }

  get now(): number {
    return this.#now;
  }

  set(now: number): void {
    this.#now = now;
    if (this.#phase === "closing") this.#deadline ??= now + this.#closeTimeoutMs;
  }

  received(): void {
    this.#lastReceived = this.#now;
    this.#suspectedAt = undefined;
  }

  sent(): void {
    this.#lastSent = this.#now;
  }

  /** Starts the idle time-outs that the two sides announced, in milliseconds, 0 or absent for none. */
  opened(local: number | undefined, remote: number | undefined): void {
    if (this.#phase !== "opening") return;
    this.#phase = "opened";
    this.#localIdleTimeOut = local ?? 0;
    this.#remoteIdleTimeOut = remote ?? 0;
  }

  /** Starts the deadline of the peer's close at the next `set`, as commands carry no time. */
  closing(): void {
    if (this.#phase === "closing" || this.#phase === "over") return;
    this.#phase = "closing";
    this.#deadline = undefined;
  }

  over(): void {
    this.#phase = "over";
    this.#unconfirmed = undefined;
  }

  /** Confirms the link after `CONFIRM_AFTER_MS`, unless it is detached by then. */
  awaitConfirmation(link: Unconfirmed): void {
    (this.#unconfirmed ??= []).push({ link, at: this.#now + CONFIRM_AFTER_MS });
  }

  confirm(): void {
    while (this.#unconfirmed !== undefined && this.#unconfirmed[0]!.at <= this.#now) {
      this.#unconfirmed.shift()!.link.confirm();
      if (this.#unconfirmed?.length === 0) this.#unconfirmed = undefined;
    }
  }

  /**
   * The latest time for `confirm` and `due`; `pending` when bytes wait to be sent, which makes a keep-alive needless.
   */
  next(pending: boolean): number | undefined {
    const deadline = this.#nextDeadline(pending);
    return this.#unconfirmed === undefined ? deadline : Math.min(this.#unconfirmed[0]!.at, deadline ?? Infinity);
  }

  /** The deadline that has passed, if any. */
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

  // The announced time-out is half of the enforced one, to leave the peer time [transport 2.4.5].
  get #idleDeadline(): number {
    if (this.#localIdleTimeOut === 0) return Infinity;
    if (this.#suspectedAt !== undefined) return this.#suspectedAt + Math.min(RECHECK_MS, this.#localIdleTimeOut);
    return this.#lastReceived + 2 * this.#localIdleTimeOut;
  }

  get #keepAliveDue(): number {
    return this.#remoteIdleTimeOut === 0 ? Infinity : this.#lastSent + this.#remoteIdleTimeOut / 2;
  }
}
