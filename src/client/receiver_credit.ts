/**
 * The credit of a receiver: how many messages the sender may send, when it is told of more, and how it hands the rest back.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { abortable, Deferred } from "../base/wait.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { Facts } from "./complaints.ts";
import { PATIENCE_MS } from "./lifetime.ts";

/** What the credit asks of its receiver. */
export interface CreditedReceiver {
  /** Where it runs, and who is told that a flow waits to be written. */
  readonly connection: { readonly environment: Environment; wake(): void };
  /** The engine's end of the link, once there is one. */
  readonly endpoint: ReceiverEndpoint | undefined;
  /** True until it has ended or begins to close. */
  readonly open: boolean;
  /** True while it is attached. */
  readonly usable: boolean;
  /** Messages that have arrived and are not settled. */
  readonly unsettled: number;
  /** Callers that wait for a message. */
  readonly waiting: number;
  /** Told when the sender has settled what was told of a delivery. */
  readonly onsettled: (() => void) | undefined;
  /** Fails if the receiver has ended or begins to close. */
  requireOpen(doing: string): void;
  /** Tells the log. */
  complain(about: "noCredit", facts: Facts): void;
}

/** The credit of one receiver, over all endpoints that carry it. */
export class ReceiverCredit {
  /** Messages that may be held or on their way; 0 for a receiver whose user grants them. */
  window: number;
  /** Whether the program has said how many. */
  readonly isGiven: boolean;
  /** While true no credit goes out. */
  withheld = false;
  readonly #receiver: CreditedReceiver;
  // What is granted once the link is attached, or attached again.
  #owed: number;
  #drained: Deferred<void> | undefined;
  // Callers that wait for the drain.
  #draining = 0;
  // After a drain, and when nobody takes messages any more: no credit until somebody waits.
  #paused = false;
  #toppingUp = false;
  #patience: unknown;

  /** Starts with what the program has said, if it has. */
  constructor(receiver: CreditedReceiver, credit: number | "manual" | undefined) {
    this.#receiver = receiver;
    this.isGiven = credit !== undefined;
    this.window = this.#owed = typeof credit === "number" ? credit : 0;
  }

  /** Messages that the sender may still send. */
  get left(): number {
    return this.#receiver.endpoint?.linkCredit ?? 0;
  }

  /** The end of the drain that is under way. */
  get drained(): Promise<void> | undefined {
    return this.#drained?.promise;
  }

  /** Lets the sender send so many messages, at once or when the link is attached. */
  grant(credit: number): void {
    const { endpoint, connection } = this.#receiver;
    // A drain that is under way is not called off: its end is waited for.
    if (endpoint !== undefined && endpoint.state !== "detached" && !this.withheld) {
      endpoint.flow({ linkCredit: credit, drain: this.#drained !== undefined });
    } else {
      this.#receiver.requireOpen("grant credit");
      this.#owed = credit;
    }
    connection.wake();
  }

  /** Grants what is owed to a link that is attached. */
  grantOwed(): void {
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.grant(owed);
  }

  /** Widens the window to `credit`, unless the program has said how wide it is: it is known now what the credit is for. */
  raise(credit: number): void {
    const { open, endpoint } = this.#receiver;
    if (this.isGiven || credit <= this.window || !open) return;
    const more = credit - this.window;
    this.window = credit;
    if (endpoint === undefined || endpoint.state === "detached") this.#owed = credit;
    else if (!this.#paused) this.grant(this.left + more);
  }

  /** Sees to credit for `credit` messages: of a window of the program's own nothing is changed. */
  allow(credit: number): void {
    if (!this.isGiven) this.raise(credit);
    // Not more than were asked for: the others that receive from there would miss them.
    else if (this.window === 0 && this.left < credit) this.grant(credit);
  }

  /** Told that somebody waits for a message. */
  handleWaiting(): void {
    if (this.#paused) {
      this.#paused = false;
      this.topUp();
    }
    if (this.#patience === undefined && this.left === 0) this.#watch();
  }

  /** Told that the peer has attached the link, with `resumed` deliveries that it takes up. */
  handleAttached(resumed: number): void {
    // After a drain whoever waits next asks for it.
    const isPaused = this.#paused && this.#receiver.waiting === 0 || !this.#receiver.open;
    if (isPaused) this.#owed = 0;
    // What is taken up uses credit that somebody has to give, and its outcome is heard only then.
    if (resumed > 0 && (isPaused || this.window === 0)) this.#owed += this.left + resumed;
    this.grantOwed();
  }

  /** Told that nothing carries the link any more. */
  handleInterrupted(): void {
    this.#owed = this.window > 0 ? this.window : this.#owed || this.left;
    this.handleDrained();
  }

  /** Told that the sender has nothing more, and has handed back the rest. */
  handleDrained(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  /** Told that the link has ended. */
  handleEnded(error: Error): void {
    this.#drained?.reject(error);
    this.#receiver.connection.environment.clearTimer(this.#patience);
  }

  /** Has the sender send what it has ready; its end is {@linkcode drained}. */
  startDrain(): Deferred<void> {
    this.#drained ??= new Deferred<void>();
    this.#receiver.endpoint!.flow({ drain: true });
    this.#receiver.connection.wake();
    return this.#drained;
  }

  /** Has the sender send what it has ready, and waits for it. */
  async drain(signal: AbortSignal | undefined): Promise<void> {
    this.#paused = true;
    if (this.left === 0 && !this.#receiver.endpoint!.receiving) return;
    const drained = this.startDrain();
    this.#draining++;
    try {
      await abortable(drained.promise, signal);
    } finally {
      // Who gave up does not want it any more: what is granted from now on is no part of it.
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

  /** Takes back what the sender has not used: nobody takes messages any more. */
  pause(): void {
    this.#paused = true;
    if (this.#receiver.usable && this.left > 0 && this.#drained === undefined) this.grant(0);
    this.#owed = 0;
  }

  /** Tops up for events: messages that arrived with them are off the link's credit, but come to the receiver only after them. */
  topUpLater(): void {
    if (this.#toppingUp) return;
    this.#toppingUp = true;
    Promise.resolve().then(() => {
      this.#toppingUp = false;
      this.topUp();
      this.#receiver.onsettled?.();
    });
  }

  /** Grants what is free of the window, where that is worth a flow. */
  topUp(): void {
    if (this.window === 0 || this.#drained !== undefined) return;
    const { usable, open, waiting, unsettled, endpoint } = this.#receiver;
    if (!usable || !open) return;
    // After a drain whoever waits has asked already.
    if (this.#paused && waiting === 0) return;
    const granted = this.left;
    const arriving = endpoint!.receiving ? 1 : 0;
    const free = this.window - unsettled - granted - arriving;
    // At half the window one flow serves many messages; with none left a message can come no other way.
    if (free * 2 < this.window && (granted > 0 || free <= 0)) return;
    this.grant(granted + free);
  }

  // Nothing comes without credit, and nobody but the program can give it.
  #watch(): void {
    const { environment } = this.#receiver.connection;
    this.#patience = environment.setTimer(() => {
      this.#patience = undefined;
      const { waiting, usable } = this.#receiver;
      if (waiting === 0 || this.left > 0 || !usable || this.#drained !== undefined) return;
      this.#receiver.complain("noCredit", { credit: this.window });
    }, PATIENCE_MS);
  }
}
