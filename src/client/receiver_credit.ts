/**
 * The credit of a receiver: grants, top-ups and drains.
 *
 * @module
 */

import { type Environment, unref } from "../base/environment.ts";
import { abortable, Deferred } from "../base/wait.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { Facts } from "./log_texts.ts";
import { WARNING_DELAY_MS } from "./lifetime.ts";

export interface CreditedReceiver {
  readonly connection: { readonly environment: Environment; wake(): void; hurry(): void };
  /** The engine's endpoint, once attached. */
  readonly endpoint: ReceiverEndpoint | undefined;
  readonly open: boolean;
  readonly usable: boolean;
  readonly unsettled: number;
  /** Messages that have arrived, and nobody has taken. */
  readonly buffered: number;
  readonly waiting: number;
  /** Takes each delivery in a call, so that none is buffered. */
  readonly ondelivery: unknown;
  /** Called when the sender has settled a delivery after its outcome. */
  readonly onsettled: (() => void) | undefined;
  requireOpen(doing: string): void;
  writeLog(kind: "noCredit" | "receiveWaits" | "unread", facts: Facts): void;
}

/** The credit of one receiver, over all its endpoints. */
export class ReceiverCredit {
  /** The most unsettled messages, those on their way included; 0 if only the program grants credit. */
  window: number;
  /** Whether the program set the window. */
  readonly isGiven: boolean;
  /** True while no credit may be granted. */
  withheld = false;
  readonly #receiver: CreditedReceiver;
  // Credit to grant once the link is attached, or attached again.
  #pending: number;
  #drained: Deferred<void> | undefined;
  // Callers that wait for the drain.
  #draining = 0;
  // True after a drain, and when nobody takes messages any more: no credit until a caller waits.
  #paused = false;
  #toppingUp = false;
  #warningTimer: unknown;
  #unreadTimer: unknown;
  // Single messages that callers were given.
  #read = 0;

  constructor(receiver: CreditedReceiver, credit: number | "manual" | undefined) {
    this.#receiver = receiver;
    this.isGiven = credit !== undefined;
    this.window = this.#pending = typeof credit === "number" ? credit : 0;
  }

  /** Messages that the sender may still send. */
  get left(): number {
    return this.#receiver.endpoint?.linkCredit ?? 0;
  }

  /** Resolves at the end of the present drain, if there is one. */
  get drained(): Promise<void> | undefined {
    return this.#drained?.promise;
  }

  /** Grants `credit`, at once or when the link is attached. */
  grant(credit: number): void {
    const { endpoint, connection } = this.#receiver;
    // A grant does not cancel a drain whose end is awaited.
    if (endpoint !== undefined && endpoint.state !== "detached" && !this.withheld) {
      endpoint.flow({ linkCredit: credit, drain: this.#drained !== undefined });
    } else {
      this.#receiver.requireOpen("grant credit");
      this.#pending = credit;
    }
    connection.hurry();
  }

  /** Grants the credit that waited for the attach. */
  grantPending(): void {
    const pending = this.#pending;
    this.#pending = 0;
    if (pending > 0) this.grant(pending);
  }

  /** Widens the window to `credit`, unless the program set it. */
  raise(credit: number): void {
    const { open, endpoint } = this.#receiver;
    if (this.isGiven || credit <= this.window || !open) return;
    const more = credit - this.window;
    this.window = credit;
    if (endpoint === undefined || endpoint.state === "detached") this.#pending = credit;
    else if (!this.#paused) this.grant(this.left + more);
  }

  handleWaiting(): void {
    if (this.#paused) {
      this.#paused = false;
      this.topUp();
    }
    if (this.#warningTimer === undefined && (this.left === 0 || !this.#receiver.usable)) this.#watch();
  }

  /** Called when the peer has attached the link and resumes `resumed` deliveries. */
  handleAttached(resumed: number): void {
    // After a drain the next caller that waits asks for credit.
    const isPaused = this.#paused && this.#receiver.waiting === 0 || !this.#receiver.open;
    if (isPaused) this.#pending = 0;
    // Transfers of resumed deliveries use credit, and their outcomes reach the sender only after them.
    if (resumed > 0 && (isPaused || this.window === 0)) this.#pending += this.left + resumed;
    this.grantPending();
    // Of a program that set the credit and has not asked for a message yet, perhaps none ever comes.
    if (this.isGiven && this.window > 0 && this.#receiver.ondelivery === undefined && this.#receiver.waiting === 0) {
      this.#watchUnread();
    }
  }

  handleInterrupted(): void {
    this.#pending = this.window > 0 ? this.window : this.#pending || this.left;
    this.handleDrained();
  }

  handleDrained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  handleEnded(error: Error): void {
    this.#drained?.reject(error);
    const { environment } = this.#receiver.connection;
    environment.clearTimer(this.#warningTimer);
    environment.clearTimer(this.#unreadTimer);
  }

  /** Asks the sender to drain; {@linkcode drained} resolves at its end. */
  startDrain(): Deferred<void> {
    this.#drained ??= new Deferred<void>();
    this.#receiver.endpoint!.flow({ drain: true });
    this.#receiver.connection.wake();
    return this.#drained;
  }

  async drain(signal: AbortSignal | undefined): Promise<void> {
    this.#paused = true;
    if (this.left === 0 && !this.#receiver.endpoint!.receiving) return;
    const drained = this.startDrain();
    this.#draining++;
    if (this.#warningTimer === undefined) this.#watch();
    try {
      await abortable(drained.promise, signal);
    } finally {
      // With every caller aborted the drain is cancelled: credit granted from now on is no part of it.
      if (--this.#draining === 0 && this.#drained === drained && this.#receiver.open) this.#callOffDrain();
    }
  }

  #callOffDrain(): void {
    const { usable, endpoint, connection } = this.#receiver;
    this.#drained = undefined;
    this.#paused = false;
    if (usable) endpoint!.flow({ drain: false });
    connection.wake();
    this.topUpLater();
  }

  /** Revokes unused credit when nobody takes messages any more. */
  pause(): void {
    this.#paused = true;
    if (this.#receiver.usable && this.left > 0 && this.#drained === undefined) this.grant(0);
    this.#pending = 0;
  }

  /** Tops up after the present events: messages among them have used link-credit, but reach the receiver only now. */
  topUpLater(): void {
    if (this.#toppingUp) return;
    this.#toppingUp = true;
    Promise.resolve().then(() => {
      this.#toppingUp = false;
      this.topUp();
      this.#receiver.onsettled?.();
    });
  }

  /** Grants the free part of the window, where that is worth a flow. */
  topUp(): void {
    if (this.window === 0 || this.#drained !== undefined) return;
    const { usable, open, waiting, unsettled, endpoint } = this.#receiver;
    if (!usable || !open) return;
    // After a drain a waiting caller has asked already.
    if (this.#paused && waiting === 0) return;
    const granted = this.left;
    const arriving = endpoint!.receiving ? 1 : 0;
    const free = this.window - unsettled - granted - arriving;
    // At half the window one flow serves many messages; without credit no other message can trigger the flow.
    if (free * 2 < this.window && (granted > 0 || free <= 0)) return;
    this.grant(granted + free);
  }

  /**
   * Called for each message that a caller took by itself. A program that takes one and forgets the receiver keeps those that came
   * ahead from all others.
   */
  handleRead(): void {
    this.#read++;
    this.#watchUnread();
  }

  #watchUnread(): void {
    if (this.#unreadTimer === undefined && this.#receiver.open) this.#awaitRead();
  }

  #awaitRead(): void {
    const read = this.#read;
    const look = (): void => {
      this.#unreadTimer = undefined;
      const { buffered, unsettled, waiting } = this.#receiver;
      // A program that has a message in hand may come back for the next.
      if (buffered === 0 || unsettled > buffered || waiting > 0) return;
      if (read === this.#read) this.#receiver.writeLog("unread", { queued: buffered });
      else this.#awaitRead();
    };
    // A warning keeps no process alive.
    this.#unreadTimer = unref(this.#receiver.connection.environment.setTimer(look, WARNING_DELAY_MS));
  }

  // Without credit nothing comes, and only the program can grant it; nor does anything before the peer has attached the link.
  #watch(): void {
    const { environment } = this.#receiver.connection;
    this.#warningTimer = environment.setTimer(() => {
      this.#warningTimer = undefined;
      const { waiting, usable, endpoint } = this.#receiver;
      if (this.#drained !== undefined) {
        if (this.#draining > 0) this.#receiver.writeLog("receiveWaits", { draining: true });
        return;
      }
      if (waiting === 0) return;
      if (usable && this.left === 0) this.#receiver.writeLog("noCredit", { credit: this.window });
      if (endpoint?.state === "attachSent") this.#receiver.writeLog("receiveWaits", {});
    }, WARNING_DELAY_MS);
  }
}
