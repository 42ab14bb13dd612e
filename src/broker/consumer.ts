/**
 * A link on which a peer receives from the broker.
 *
 * @module
 */

import type { AmqpError } from "../base/errors.ts";
import type { DeliveryState, Modified, Outcome } from "../codec/types.ts";
import type { Sender, SendListener } from "../client/sender.ts";
import { ignore } from "../base/wait.ts";
import type { QueuedMessage } from "./queued_message.ts";

/** What a consumer takes messages from. */
export interface ConsumerSource {
  /** A consumer may have credit. */
  serve(consumer: Consumer): void;
  /** A consumer has settled a message. */
  settle(message: QueuedMessage, consumer: Consumer, outcome: DeliveryState): void;
}

/** One outgoing link. */
export class Consumer {
  /** The link. */
  readonly sender: Sender;
  /** True if it looks at messages without taking them. */
  readonly browses: boolean;
  /** How far it has looked. */
  place = 0;

  readonly #source: ConsumerSource;

  /** Starts to take messages as the peer gives credit. */
  constructor(sender: Sender, source: ConsumerSource, browses: boolean) {
    this.sender = sender;
    this.browses = browses;
    this.#source = source;
    sender.oncredit = () => source.serve(this);
  }

  /** Whether it takes a message now. */
  get wants(): boolean {
    // When all of a connection ends, its links hear of it one after the other.
    return this.sender.open && this.sender.connection.open && this.sender.credit > 0;
  }

  /** Sends it a message. */
  deliver(message: QueuedMessage): void {
    const listener = this.browses ? new BrowsedDelivery() : new ConsumedDelivery(message, this, this.#source);
    this.place = message.place;
    const { messageFormat } = message.encoded;
    this.sender.forward(message.toSend(performance.now()), { messageFormat }, listener);
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
class ConsumedDelivery implements SendListener {
  readonly #message: QueuedMessage;
  readonly #consumer: Consumer;
  readonly #source: ConsumerSource;

  constructor(message: QueuedMessage, consumer: Consumer, source: ConsumerSource) {
    this.#message = message;
    this.#consumer = consumer;
    this.#source = source;
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
    this.#source.settle(this.#message, this.#consumer, outcome);
  }
}

/** One message that a consumer looks at: what it says of it changes nothing. */
class BrowsedDelivery implements SendListener {
  onoutcome(): void {}
  onsent(): void {}
  onlost(): void {}
}
