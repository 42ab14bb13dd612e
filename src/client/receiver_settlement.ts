/**
 * The unsettled deliveries of a receiver: their count, notification of their loss, and the sender's settlements.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, unref } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { Facts } from "./log_texts.ts";
import { Delivery, type DeliverySettlement } from "./delivery.ts";
import { WARNING_DELAY_MS } from "./lifetime.ts";
import type { ReceiverRecovery } from "./recovery.ts";

export interface SettlingReceiver {
  readonly connection: { readonly environment: Environment; wake(): void };
  readonly recovery: ReceiverRecovery | undefined;
  readonly over: boolean;
  readonly usable: boolean;
  readonly endpoint: ReceiverEndpoint | undefined;
  readonly where: string;
  writeLog(kind: "notSettled", facts: Facts): void;
}

/** The receiver's credit: each settled delivery frees a part of the window. */
export interface SettlingCredit {
  /** Grants the free part of the window. */
  topUp(): void;
  /** Grants it after the present events. */
  topUpLater(): void;
}

/** The unsettled deliveries of one receiver, over all its endpoints. */
export class ReceiverSettlement implements DeliverySettlement {
  /** Deliveries that hold credit: those whose `context` is set. */
  unsettled = 0;
  readonly #receiver: SettlingReceiver;
  readonly #credit: SettlingCredit;
  // Deliveries with an outcome sent, which the sender is to settle [transport 2.6.12].
  #outcomesSent = 0;
  // Deliveries that the sender has settled after their outcome.
  #settledBySender = 0;
  readonly #watched: Set<Delivery> = new Set();
  // True once all deliveries of this endpoint are lost, and count no more.
  #cleared = false;
  #warningTimer: unknown;

  constructor(receiver: SettlingReceiver, credit: SettlingCredit) {
    this.#receiver = receiver;
    this.#credit = credit;
  }

  add(incoming: IncomingDelivery, delivery: Delivery): void {
    incoming.context = delivery;
    this.#cleared = false;
    this.unsettled++;
  }

  // False if the delivery does not count.
  #remove(incoming: IncomingDelivery): boolean {
    if (incoming.context === undefined || this.#cleared || incoming.link !== this.#receiver.endpoint) return false;
    incoming.context = undefined;
    this.unsettled--;
    return true;
  }

  /** Stops counting all deliveries and returns their number: the link is interrupted, and the sender delivers them again. */
  clear(): number {
    const { unsettled } = this;
    this.unsettled = this.#outcomesSent = 0;
    this.#cleared = true;
    return unsettled;
  }

  /** Stops counting a delivery that the peer did not keep, and returns it: the sender delivers its message again. */
  lose(incoming: IncomingDelivery): Delivery | undefined {
    const delivery = incoming.context;
    if (!(delivery instanceof Delivery)) return undefined;
    incoming.context = undefined;
    this.unsettled--;
    if (hasOutcome(incoming)) this.#outcomesSent--;
    delivery.handleLost(this.#lost(condition.illegalState, "is another link now"));
    return delivery;
  }

  holds(incoming: IncomingDelivery): boolean {
    const { over, recovery, usable, endpoint } = this.#receiver;
    if (!over && recovery?.holds(incoming)) return true;
    return usable && incoming.link === endpoint;
  }

  watch(delivery: Delivery, watched: boolean): void {
    if (watched) this.#watched.add(delivery);
    else this.#watched.delete(delivery);
  }

  /** Notifies the watched deliveries of their loss. */
  abort(error: Error): void {
    for (const delivery of [...this.#watched]) delivery.handleLost(error);
  }

  handleEnded(): void {
    this.#receiver.connection.environment.clearTimer(this.#warningTimer);
  }

  handleOutcomeSent(incoming: IncomingDelivery): void {
    if (incoming.settled || incoming.remoteSettled) this.handleDone(incoming);
    else if (hasOutcome(incoming)) this.#awaitSettlement();
    this.#receiver.connection.wake();
  }

  handleDone(incoming: IncomingDelivery): void {
    if (this.#remove(incoming)) this.#credit.topUp();
  }

  handleSettled(incoming: IncomingDelivery): void {
    this.#receiver.recovery?.settled(incoming);
    // With two-step settlement the delivery is over when the sender has settled after the outcome.
    if (hasOutcome(incoming)) {
      if (!this.#remove(incoming)) return;
      this.#outcomesSent--;
      this.#settledBySender++;
      this.#credit.topUpLater();
    } else if (incoming.context instanceof Delivery) {
      // The sender settled first, as brokers do when a consumer takes too long.
      const delivery = incoming.context;
      delivery.handleLost(this.#lost(condition.detachForced, "has settled it by itself", true));
      // Loops and handlers still finish with the delivery; a caller who settles may never call again.
      if (delivery.byHand && this.#remove(incoming)) this.#credit.topUpLater();
    }
  }

  // A peer that agreed to settle second and does not holds back the credit of every message [transport 2.6.12].
  #awaitSettlement(): void {
    this.#outcomesSent++;
    if (this.#warningTimer === undefined) this.#watch();
  }

  #watch(): void {
    const settledBefore = this.#settledBySender;
    const look = (): void => {
      this.#warningTimer = undefined;
      if (this.#outcomesSent === 0) return;
      // A sender that settles now and then makes progress, and one that is disconnected cannot.
      if (this.#settledBySender !== settledBefore || !this.#receiver.usable) this.#watch();
      else this.#receiver.writeLog("notSettled", { unsettled: this.#outcomesSent });
    };
    // Only the log needs this timer, so it must not keep a process alive, also while the connection is lost.
    this.#warningTimer = unref(this.#receiver.connection.environment.setTimer(look, WARNING_DELAY_MS));
  }

  #lost(symbol: string, why: string, remote?: true): AmqpError {
    return new AmqpError(symbol, `Cannot settle delivery: ${this.#receiver.where} ${why}`, {
      scope: "delivery",
      remote,
    });
  }
}

// Whether an outcome was sent, or is queued to be sent.
function hasOutcome({ state }: IncomingDelivery): boolean {
  return state !== undefined && state.kind !== "received";
}
