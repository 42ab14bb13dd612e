/**
 * The warning of a sender that waits: for the peer to accept the link, for credit, or for outcomes.
 *
 * @module
 */

import { type Environment, unref } from "../base/environment.ts";
import type { OutgoingLink } from "../engine/outgoing.ts";
import type { Facts } from "./log_texts.ts";
import { WARNING_DELAY_MS } from "./lifetime.ts";

/** The sender, as its watch uses it. */
export interface WatchedSender {
  readonly connection: { readonly environment: Environment };
  readonly endpoint: { readonly deliveryCount: number } | undefined;
  readonly usable: boolean;
  readonly over: boolean;
  writeLog(kind: "sendWaits", facts: Facts): void;
}

/** Watches what waits on one sender. One timer for all: a link whose delivery-count moves, or that gets outcomes, makes progress. */
export class SendWatch {
  /** Messages with an outcome so far. */
  concluded = 0;
  readonly #sender: WatchedSender;
  readonly #outgoing: OutgoingLink;
  #timer: unknown;

  constructor(sender: WatchedSender, outgoing: OutgoingLink) {
    this.#sender = sender;
    this.#outgoing = outgoing;
  }

  /** Begins to watch, unless it has begun. */
  begin(): void {
    if (this.#timer !== undefined) return;
    const { endpoint, connection: { environment } } = this.#sender;
    const sent = endpoint?.deliveryCount;
    const { concluded } = this;
    const look = (): void => {
      this.#timer = undefined;
      const { queued, size } = this.#outgoing;
      if (size === 0) return;
      const moves = sent !== this.#sender.endpoint?.deliveryCount || concluded !== this.concluded;
      const unsettled = moves || queued > 0 ? 0 : this.#left();
      // What streams has begun and is not sent.
      if (queued + unsettled === 0 || moves) return this.begin();
      this.#sender.writeLog("sendWaits", { queued, unsettled, attached: this.#sender.usable });
    };
    // A warning keeps no process alive.
    this.#timer = unref(environment.setTimer(look, WARNING_DELAY_MS));
    // Deno's first timer may run microtasks, in which the link can end.
    if (this.#sender.over) this.end();
  }

  /** Ends the watch with the link. */
  end(): void {
    this.#sender.connection.environment.clearTimer(this.#timer);
  }

  // Messages that have left, and for whose outcome somebody waits.
  #left(): number {
    let left = 0;
    for (const { sent, context } of this.#outgoing) if (sent && context !== undefined) left++;
    return left;
  }
}
