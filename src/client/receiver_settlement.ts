/**
 * The deliveries of a receiver that are not settled: how many there are, which of them want to hear when they are lost, and
 * what the sender says of them.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, unref } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import type { IncomingDelivery } from "../engine/deliveries.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { Facts } from "./complaints.ts";
import { Delivery, type DeliverySettlement } from "./delivery.ts";
import { PATIENCE_MS } from "./lifetime.ts";
import type { ReceiverRecovery } from "./recovery.ts";

/** What the settlement asks of its receiver. */
export interface SettlingReceiver {
  /** Where it runs, and who is told that an outcome waits to be written. */
  readonly connection: { readonly environment: Environment; wake(): void };
  /** What takes up deliveries that were not settled, if anything does. */
  readonly recovery: ReceiverRecovery | undefined;
  /** True once it has ended. */
  readonly over: boolean;
  /** True while it is attached. */
  readonly usable: boolean;
  /** The engine's end of the link. */
  readonly endpoint: ReceiverEndpoint | undefined;
  /** The node for errors. */
  readonly where: string;
  /** Tells the log. */
  complain(about: "notSettled", facts: Facts): void;
}

/** The credit of that receiver: each delivery that is done makes room for another. */
export interface SettlingCredit {
  /** Grants what is free. */
  topUp(): void;
  /** The same, once the events that arrived together are told. */
  topUpLater(): void;
}

/** What is not settled on one receiver, over all endpoints that carry it. */
export class ReceiverSettlement implements DeliverySettlement {
  /** Deliveries that have come and are not done: those whose `context` is set. */
  unsettled = 0;
  readonly #receiver: SettlingReceiver;
  readonly #credit: SettlingCredit;
  // Deliveries whose outcome was told and that the sender is to settle [transport 2.6.12].
  #told = 0;
  // Deliveries that the sender has settled after their outcome was told.
  #heard = 0;
  readonly #watched: Set<Delivery> = new Set();
  // Whether all that has come on this endpoint is lost with it, and counts no more.
  #cleared = false;
  #patience: unknown;

  constructor(receiver: SettlingReceiver, credit: SettlingCredit) {
    this.#receiver = receiver;
    this.#credit = credit;
  }

  add(incoming: IncomingDelivery, delivery: Delivery): void {
    incoming.context = delivery;
    this.#cleared = false;
    this.unsettled++;
  }

  // False if the delivery was not there.
  #remove(incoming: IncomingDelivery): boolean {
    if (incoming.context === undefined || this.#cleared || incoming.link !== this.#receiver.endpoint) return false;
    incoming.context = undefined;
    this.unsettled--;
    return true;
  }

  /** Takes out all, and gives their number: nothing carries the link, and the sender hands them out again. */
  clear(): number {
    const { unsettled } = this;
    this.unsettled = this.#told = 0;
    this.#cleared = true;
    return unsettled;
  }

  /** Takes out a delivery of which the peer has kept nothing, and gives it: the sender hands its message out again. */
  lose(incoming: IncomingDelivery): Delivery | undefined {
    const delivery = incoming.context;
    if (!(delivery instanceof Delivery)) return undefined;
    incoming.context = undefined;
    this.unsettled--;
    if (isTold(incoming)) this.#told--;
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

  /** Tells the deliveries that want to hear it that they are lost. */
  abort(error: Error): void {
    for (const delivery of [...this.#watched]) delivery.handleLost(error);
  }

  /** Told that the link has ended. */
  handleEnded(): void {
    this.#receiver.connection.environment.clearTimer(this.#patience);
  }

  handleTold(incoming: IncomingDelivery): void {
    if (incoming.settled || incoming.remoteSettled) this.handleDone(incoming);
    else if (isTold(incoming)) this.#awaitSettlement();
    this.#receiver.connection.wake();
  }

  handleDone(incoming: IncomingDelivery): void {
    if (this.#remove(incoming)) this.#credit.topUp();
  }

  /** Told that the sender has settled a delivery. */
  handleSettled(incoming: IncomingDelivery): void {
    this.#receiver.recovery?.settled(incoming);
    // In two steps the delivery is done when the sender has settled what was told.
    if (isTold(incoming)) {
      if (!this.#remove(incoming)) return;
      this.#told--;
      this.#heard++;
      this.#credit.topUpLater();
    } else if (incoming.context instanceof Delivery) {
      // The sender has not waited, as brokers do whose consumers take too long.
      const delivery = incoming.context;
      delivery.handleLost(this.#lost(condition.detachForced, "has settled it by itself", true));
      // Loops and handlers come to their end; who settles by calls may never call again.
      if (delivery.byHand && this.#remove(incoming)) this.#credit.topUpLater();
    }
  }

  // A peer that has agreed to settle second and does not keeps the credit of every message [transport 2.6.12].
  #awaitSettlement(): void {
    this.#told++;
    if (this.#patience === undefined) this.#watch();
  }

  #watch(): void {
    const heard = this.#heard;
    const look = (): void => {
      this.#patience = undefined;
      if (this.#told === 0) return;
      // A sender that settles some now and then makes progress, and a sender that is not there cannot.
      if (this.#heard !== heard || !this.#receiver.usable) this.#watch();
      else this.#receiver.complain("notSettled", { told: this.#told });
    };
    // Only the log waits for this timer, also of a link whose connection is lost.
    this.#patience = unref(this.#receiver.connection.environment.setTimer(look, PATIENCE_MS));
  }

  #lost(symbol: string, why: string, remote?: true): AmqpError {
    return new AmqpError(symbol, `Cannot settle delivery: ${this.#receiver.where} ${why}`, {
      scope: "delivery",
      remote,
    });
  }
}

// Whether the sender was told an outcome, or will be.
function isTold({ state }: IncomingDelivery): boolean {
  return state !== undefined && state.kind !== "received";
}
