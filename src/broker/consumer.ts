/**
 * A link on which a peer receives from the broker.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { isBytes } from "../base/kinds.ts";
import type { DeliveryState, Modified, Outcome, TransactionalState } from "../codec/types.ts";
import { outcomeOf, type SendListener } from "../client/outcome.ts";
import type { Sender } from "../client/sender.ts";
import { ignore } from "../base/wait.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import type { FilterCost } from "./like.ts";
import type { QueuedMessage } from "./queued_message.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";
import { type Ranked, SortedMessages } from "./sorted_messages.ts";
import type { Transactions } from "./transactions.ts";

/** The queue that a consumer takes messages from. */
export interface ConsumerSource {
  /** A consumer may have credit. */
  serve(consumer: Consumer): void;
  settle(message: QueuedMessage, consumer: Consumer, outcome: DeliveryState): void;
  /** A message cannot be encoded for delivery. */
  handleFault(message: QueuedMessage, consumer: Consumer, error: unknown): void;
}

/** Whether a consumer gets a message; a filter of its link [messaging 3.5.8]. */
export type MessageFilter = (message: EncodedMessage) => boolean;

/**
 * Which messages of a consumer count as failed attempts when its connection is lost. One of them may have crashed the
 * consumer, most likely the oldest; the others it has probably never handled.
 */
export type LossCount = "oldest" | "all" | "none";

export interface ConsumerOptions {
  /** True if the consumer looks at messages without taking them. */
  readonly browses?: boolean | undefined;
  /** The link's filter; undefined for all messages. */
  readonly filter?: MessageFilter | undefined;
  /** The cost of `filter` so far. */
  readonly cost?: FilterCost | undefined;
  /** Default: `"oldest"`. */
  readonly lossCount?: LossCount | undefined;
  /** The transactions of the link's connection. */
  readonly transactions: Transactions;
  readonly clock: Pick<Environment, "now">;
}

// Returned messages noted behind a consumer's cursor; with more of them, the consumer starts from the beginning.
const MAX_BEHIND = 1_024;

export class Consumer {
  readonly sender: Sender;
  /** True if the consumer looks at messages without taking them. */
  readonly browses: boolean;
  /** True while the consumer is in its dispatcher's queue. */
  queued = false;
  /** True if some messages are not for this consumer, so that it has to search. */
  selective: boolean;
  /** The rank of the last message that the consumer has looked at. */
  cursor: number = -Infinity;

  readonly #source: ConsumerSource;
  readonly #filter: MessageFilter | undefined;
  readonly #cost: FilterCost | undefined;
  readonly #lossCount: LossCount;
  readonly #clock: Pick<Environment, "now">;
  transactions: Transactions;
  #behind: SortedMessages<Ranked> | undefined;
  #countedLoss = false;

  constructor(sender: Sender, source: ConsumerSource, options: ConsumerOptions) {
    this.sender = sender;
    this.browses = options.browses ?? false;
    this.#source = source;
    this.#filter = options.filter;
    this.#cost = options.cost;
    this.selective = options.filter !== undefined;
    this.#lossCount = options.lossCount ?? "oldest";
    this.#clock = options.clock;
    this.transactions = options.transactions;
    const serve = (): void => source.serve(this);
    sender.oncredit = serve;
  }

  /** Continues with a link that the peer has attached again, maybe on another connection. */
  resume(transactions: Transactions): void {
    this.transactions = transactions;
    this.#source.serve(this);
  }

  get wants(): boolean {
    // When a connection ends, its links learn of it one after the other.
    return this.sender.open && this.sender.connection.open && this.sender.credit > 0;
  }

  matches(message: QueuedMessage): boolean {
    return !message.excludes(this) && (this.#filter === undefined || this.#filter(message.encoded));
  }

  /** Returns the filter's steps since the last call, and sets them to 0. */
  takeSteps(): number {
    const cost = this.#cost;
    if (cost === undefined) return 0;
    const { steps } = cost;
    cost.steps = 0;
    return steps;
  }

  /** Excludes a message from this consumer. */
  refuse(message: QueuedMessage): void {
    message.exclude(this);
    this.selective = true;
  }

  /** Notes the rank of a message at or before the cursor that the consumer may get. */
  note(rank: number): void {
    this.#behind ??= new SortedMessages();
    if (this.#behind.size >= MAX_BEHIND) return this.rewind();
    this.#behind.insert({ rank });
  }

  /** Removes and returns the first noted rank, if any; its message may have gone since. */
  takeNoted(): number | undefined {
    return this.#behind?.shift()?.rank;
  }

  /** Moves the cursor to the beginning. */
  rewind(): void {
    this.cursor = -Infinity;
    this.#behind = undefined;
  }

  /** Sends a message to the peer. */
  deliver(message: QueuedMessage): void {
    let payload: Uint8Array;
    try {
      payload = message.toSend(this.#clock);
      if (!this.browses) message.acquire();
    } catch (error) {
      // The queue and its consumers go on without this message.
      return this.#source.handleFault(message, this, error);
    }
    const listener = this.browses ? new BrowsedDelivery() : new ConsumedDelivery(message, this, this.#source);
    const { messageFormat } = message.encoded;
    const txnId = this.browses ? undefined : acquiring(this.sender);
    if (txnId === undefined) this.sender.forward(payload, { messageFormat }, listener);
    else this.#deliverIn(txnId, payload, messageFormat, listener as ConsumedDelivery);
  }

  // A message acquired in a transaction returns on rollback, settled or not.
  #deliverIn(txnId: Uint8Array, payload: Uint8Array, messageFormat: number, listener: ConsumedDelivery): void {
    let transaction;
    try {
      transaction = this.transactions.get(txnId);
    } catch (error) {
      listener.onfault({ kind: "released" });
      return this.end(error as AmqpError);
    }
    const state = { kind: "transactionalState", txnId } as const;
    const delivery = this.sender.forward(payload, { messageFormat, state }, listener);
    transaction.add({
      commit: () => {},
      rollback: () => {
        if (delivery !== undefined && !delivery.settled && this.sender.open) this.sender.conclude(delivery, state);
        listener.onrollback();
      },
    });
  }

  /** The outcome of messages that the peer settles without one. */
  get defaultOutcome(): Outcome {
    return this.sender.remote?.source?.defaultOutcome ?? failed();
  }

  /** The outcome of the next message, oldest first, that the peer held when its link ended. */
  outcomeOfEnd(): Outcome {
    const outcome = this.defaultOutcome;
    // The peer's default outcome is meant for failed attempts, and an orderly end reports none.
    if (outcome.kind !== "modified" || !outcome.deliveryFailed) return outcome;
    const counts = this.#isLost && (this.#lossCount === "all" || (this.#lossCount === "oldest" && !this.#countedLoss));
    this.#countedLoss = true;
    return counts ? outcome : { ...outcome, deliveryFailed: false };
  }

  end(error: AmqpError): void {
    this.sender.close({ error, timeoutMs: 0 }).catch(ignore);
  }

  // True if the connection ended without a word from the peer.
  get #isLost(): boolean {
    const { error } = this.sender;
    return error !== undefined && !(error instanceof AmqpError && error.remote);
  }
}

/** The outcome of a consumer's messages when it ends, unless its source names another. */
export function failed(): Modified {
  return { kind: "modified", deliveryFailed: true };
}

class ConsumedDelivery implements SendListener {
  readonly #message: QueuedMessage;
  readonly #consumer: Consumer;
  readonly #source: ConsumerSource;
  #done = false;
  #isTried = false;

  constructor(message: QueuedMessage, consumer: Consumer, source: ConsumerSource) {
    this.#message = message;
    this.#consumer = consumer;
    this.#source = source;
  }

  onoutcome(state: DeliveryState | undefined): void {
    const outcome = outcomeOf(state, this.#consumer.defaultOutcome);
    // What the consumer did with the message is not known here, and would be done again.
    this.#settle(outcome.kind === "unknown" ? { ...failed(), undeliverableHere: true } : outcome);
  }

  onprovisional(state: TransactionalState, settled: boolean, delivery: OutgoingDelivery): void {
    const { outcome = this.#consumer.defaultOutcome, txnId } = state;
    const { sender, transactions } = this.#consumer;
    this.#isTried = true;
    if (!settled) sender.conclude(delivery, state);
    try {
      transactions.get(txnId).add({
        commit: () => this.#settle(outcome),
        // The message was delivered, so its next consumer must see a failed attempt.
        rollback: () => this.#settle(failed()),
      });
    } catch (error) {
      this.#settle(failed());
      this.#consumer.end(error as AmqpError);
    }
  }

  onsent(): void {
    this.#settle({ kind: "accepted" });
  }

  onlost(_error: unknown, left: boolean): void {
    if (left) this.#settle(this.#consumer.outcomeOfEnd());
    // The link stays open, but the message is larger than the peer's maximum.
    else if (this.#consumer.sender.open) this.#settle({ kind: "modified", undeliverableHere: true });
    else this.#settle({ kind: "released" });
  }

  /** The transaction that the message was acquired in is rolled back; one that was settled in it was tried in vain. */
  onrollback(): void {
    this.#settle(this.#isTried ? failed() : { kind: "released" });
  }

  /** The message was never sent. */
  onfault(outcome: Outcome): void {
    this.#settle(outcome);
  }

  // Only once: a transaction may roll back a message that was settled otherwise in the meantime.
  #settle(outcome: DeliveryState): void {
    if (this.#done) return;
    this.#done = true;
    this.#source.settle(this.#message, this.#consumer, outcome);
  }
}

/** A message with a browsing consumer, whose outcome changes nothing. */
class BrowsedDelivery implements SendListener {
  onoutcome(): void {}
  onsent(): void {}
  onlost(): void {}
}

// The transaction that the receiver acquires messages in.
function acquiring({ endpoint }: Sender): Uint8Array | undefined {
  const txnId = endpoint?.flowProperties?.["txn-id"];
  return isBytes(txnId) ? txnId : undefined;
}
