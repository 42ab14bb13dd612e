/**
 * A link on which a peer receives from the broker.
 *
 * @module
 */

import type { AmqpError } from "../base/errors.ts";
import type { DeliveryState, Modified, Outcome } from "../codec/types.ts";
import type { Sender, SendListener } from "../client/sender.ts";
import { ignore } from "../base/wait.ts";
import type { Stored } from "./stored.ts";

/** What a consumer takes messages from. */
export interface Supply {
  /** A consumer may have credit. */
  serve(consumer: Consumer): void;
  /** A consumer has settled a message. */
  settle(message: Stored, consumer: Consumer, outcome: DeliveryState): void;
}

/** One outgoing link. */
export class Consumer {
  /** The link. */
  readonly sender: Sender;
  /** True if it looks at messages without taking them. */
  readonly browses: boolean;
  /** How far it has looked. */
  place = 0;

  readonly #supply: Supply;

  /** Starts to take messages as the peer gives credit. */
  constructor(sender: Sender, supply: Supply, browses: boolean) {
    this.sender = sender;
    this.browses = browses;
    this.#supply = supply;
    sender.oncredit = () => supply.serve(this);
  }

  /** Whether it takes a message now. */
  get wants(): boolean {
    // When all of a connection ends, its links hear of it one after the other.
    return this.sender.open && this.sender.connection.open && this.sender.credit > 0;
  }

  /** Sends it a message. */
  deliver(message: Stored): void {
    const handover = this.browses ? new Glance() : new Handover(message, this, this.#supply);
    this.place = message.place;
    const { messageFormat } = message.envelope;
    this.sender.forward(message.encoded(performance.now()), { messageFormat }, handover);
  }

  /** What becomes of messages whose outcome the peer does not tell. */
  get defaultOutcome(): Outcome {
    return this.sender.remote?.source?.defaultOutcome ?? failed();
  }

  /** Ends the link because of `error`. */
  end(error: AmqpError): void {
    this.sender.close({ error, timeoutMs: 0 }).catch(ignore);
  }
}

/** The outcome of messages that a consumer held when it went away, unless it asked for another. */
export function failed(): Modified {
  return { kind: "modified", deliveryFailed: true };
}

/** One message with one consumer. */
class Handover implements SendListener {
  readonly #message: Stored;
  readonly #consumer: Consumer;
  readonly #supply: Supply;

  constructor(message: Stored, consumer: Consumer, supply: Supply) {
    this.#message = message;
    this.#consumer = consumer;
    this.#supply = supply;
  }

  onoutcome(state: DeliveryState | undefined): void {
    // It may be settled while it is still being received, too [messaging 3.4.1].
    this.#settle(state === undefined || state.kind === "received" ? this.#consumer.defaultOutcome : state);
  }

  onsent(): void {
    this.#settle({ kind: "accepted" });
  }

  onlost(_error: unknown, left: boolean): void {
    // It may have been worked on, and it may be what the consumer failed over.
    if (left) this.#settle(this.#consumer.defaultOutcome);
    // The link goes on, but not with this message: it is larger than the peer takes.
    else if (this.#consumer.sender.open) this.#settle({ kind: "modified", undeliverableHere: true });
    else this.#settle({ kind: "released" });
  }

  #settle(outcome: DeliveryState): void {
    this.#supply.settle(this.#message, this.#consumer, outcome);
  }
}

/** One message that a consumer looks at: what it says of it changes nothing. */
class Glance implements SendListener {
  onoutcome(): void {}
  onsent(): void {}
  onlost(): void {}
}
