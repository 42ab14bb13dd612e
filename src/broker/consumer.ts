/**
 * A link on which a peer receives from the broker.
 *
 * @module
 */

import { AmqpError } from "../base/errors.ts";
import type { DeliveryState, Modified, Outcome, TransactionalState } from "../codec/types.ts";
import { outcomeOf, type SendListener } from "../client/outcome.ts";
import type { Sender } from "../client/sender.ts";
import { ignore } from "../base/wait.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import type { Effort } from "./like.ts";
import type { QueuedMessage } from "./queued_message.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";
import { SortedMessages } from "./sorted_messages.ts";
import type { Transactions } from "./transactions.ts";

/** What a consumer takes messages from. */
export interface ConsumerSource {
  /** A consumer may have credit. */
  serve(consumer: Consumer): void;
  settle(message: QueuedMessage, consumer: Consumer, outcome: DeliveryState): void;
  /** A message that was to go to a consumer cannot be encoded. */
  handleFault(message: QueuedMessage, consumer: Consumer, error: unknown): void;
}

/** Which messages a consumer is to get; a filter of its link [messaging 3.5.8]. */
export type MessageFilter = (message: EncodedMessage) => boolean;

/**
 * Which of the messages that a consumer held count as failed attempts when its connection is lost. One of them may be why
 * its process ended, most likely the oldest; the others it has probably never looked at.
 */
export type LossCount = "oldest" | "all" | "none";

export interface ConsumerOptions {
  /** True if it looks at messages without taking them. */
  readonly browses?: boolean | undefined;
  /** Which messages it wants; undefined for all. */
  readonly filter?: MessageFilter | undefined;
  /** What it takes to ask that. */
  readonly effort?: Effort | undefined;
  /** What counts as failed when its connection is lost. */
  readonly lossCount?: LossCount | undefined;
  /** The transactions of its connection. */
  readonly transactions: Transactions;
  /** Tells the time. */
  now(): number;
}

// Messages that came back behind the place up to which a consumer has looked; with more of them it looks at all again.
const MAX_BEHIND = 1_024;

/** One outgoing link. */
export class Consumer {
  /** The link. */
  readonly sender: Sender;
  /** True if it looks at messages without taking them. */
  readonly browses: boolean;
  /** True if there are messages that it does not get, so that it has to look for those that it does. */
  selective: boolean;
  /** The rank up to which it has looked for messages. */
  cursor: number = -Infinity;

  readonly #source: ConsumerSource;
  readonly #filter: MessageFilter | undefined;
  readonly #effort: Effort | undefined;
  readonly #lossCount: LossCount;
  readonly #now: () => number;
  transactions: Transactions;
  #behind: SortedMessages<QueuedMessage> | undefined;
  #countedLoss = false;

  /** Starts to take messages as the peer gives credit. */
  constructor(sender: Sender, source: ConsumerSource, options: ConsumerOptions) {
    this.sender = sender;
    this.browses = options.browses ?? false;
    this.#source = source;
    this.#filter = options.filter;
    this.#effort = options.effort;
    this.selective = options.filter !== undefined;
    this.#lossCount = options.lossCount ?? "oldest";
    this.#now = options.now;
    this.transactions = options.transactions;
    sender.oncredit = () => source.serve(this);
  }

  /** Its peer has attached the link again, maybe on another connection. */
  goOn(transactions: Transactions): void {
    this.transactions = transactions;
    this.#source.serve(this);
  }

  get wants(): boolean {
    // When all of a connection ends, its links hear of it one after the other.
    return this.sender.open && this.sender.connection.open && this.sender.credit > 0;
  }

  /** Whether it gets this message at all. */
  suits(message: QueuedMessage): boolean {
    return !message.isKeptFrom(this) && (this.#filter === undefined || this.#filter(message.encoded));
  }

  /** Takes the steps that it took to ask whether it gets messages, since they were taken last. */
  takeSteps(): number {
    const effort = this.#effort;
    if (effort === undefined) return 0;
    const { steps } = effort;
    effort.steps = 0;
    return steps;
  }

  /** Keeps a message from it from now on. */
  refuse(message: QueuedMessage): void {
    message.keepFrom(this);
    this.selective = true;
  }

  /** Notes a message that it may get, behind the place up to which it has looked. */
  note(message: QueuedMessage): void {
    this.#behind ??= new SortedMessages();
    if (this.#behind.size >= MAX_BEHIND) return this.lookAgain();
    this.#behind.insert(message);
  }

  /** The first message that was noted, which is forgotten by that; undefined if there is none. */
  takeNoted(): QueuedMessage | undefined {
    return this.#behind?.shift();
  }

  /** Looks at all messages once more. */
  lookAgain(): void {
    this.cursor = -Infinity;
    this.#behind = undefined;
  }

  /** Sends it a message. */
  deliver(message: QueuedMessage): void {
    let payload: Uint8Array;
    try {
      payload = message.toSend(this.#now());
    } catch (error) {
      // Whatever is wrong with it: the queue and its consumers go on without this message.
      return this.#source.handleFault(message, this, error);
    }
    const listener = this.browses ? new BrowsedDelivery() : new ConsumedDelivery(message, this, this.#source);
    const { messageFormat } = message.encoded;
    const txnId = this.browses ? undefined : this.sender.acquiring;
    if (txnId === undefined) this.sender.forward(payload, { messageFormat }, listener);
    else this.#deliverIn(txnId, payload, messageFormat, listener as ConsumedDelivery);
  }

  // A message that is acquired in a transaction goes back if that is rolled back, settled or not.
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
        listener.onfault({ kind: "released" });
      },
    });
  }

  /** What becomes of messages that the peer settles without an outcome. */
  get defaultOutcome(): Outcome {
    return this.sender.remote?.source?.defaultOutcome ?? failed();
  }

  /** What becomes of the next message, oldest first, that it held when its link ended. */
  outcomeOfEnd(): Outcome {
    const outcome = this.defaultOutcome;
    // A peer that asks for this means attempts that have failed, and a link that ends in order says of none that it has.
    if (outcome.kind !== "modified" || !outcome.deliveryFailed) return outcome;
    const counts = this.#isLost && (this.#lossCount === "all" || (this.#lossCount === "oldest" && !this.#countedLoss));
    this.#countedLoss = true;
    return counts ? outcome : { ...outcome, deliveryFailed: false };
  }

  /** Ends the link because of `error`. */
  end(error: AmqpError): void {
    this.sender.close({ error, timeoutMs: 0 }).catch(ignore);
  }

  // True when the peer has not said that it goes.
  get #isLost(): boolean {
    const { error } = this.sender;
    return error !== undefined && !(error instanceof AmqpError && error.remote);
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
  #done = false;

  constructor(message: QueuedMessage, consumer: Consumer, source: ConsumerSource) {
    this.#message = message;
    this.#consumer = consumer;
    this.#source = source;
  }

  onoutcome(state: DeliveryState | undefined): void {
    this.#settle(outcomeOf(state, this.#consumer.defaultOutcome)!);
  }

  onprovisional(state: TransactionalState, settled: boolean, delivery: OutgoingDelivery): void {
    const { outcome = this.#consumer.defaultOutcome, txnId } = state;
    const { sender, transactions } = this.#consumer;
    if (!settled) sender.conclude(delivery, state);
    try {
      transactions.get(txnId).add({
        commit: () => this.#settle(outcome),
        // The message was delivered, so that the consumer that gets it next is told that it is not the first.
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
    // The link goes on, but not with this message: it is larger than the peer takes.
    else if (this.#consumer.sender.open) this.#settle({ kind: "modified", undeliverableHere: true });
    else this.#settle({ kind: "released" });
  }

  /** It was never sent, or is taken back. */
  onfault(outcome: Outcome): void {
    this.#settle(outcome);
  }

  // Once: a transaction may take back what was settled otherwise in the meantime.
  #settle(outcome: DeliveryState): void {
    if (this.#done) return;
    this.#done = true;
    this.#source.settle(this.#message, this.#consumer, outcome);
  }
}

/** One message that a consumer looks at: what it says of it changes nothing. */
class BrowsedDelivery implements SendListener {
  onoutcome(): void {}
  onsent(): void {}
  onlost(): void {}
}
