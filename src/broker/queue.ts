/**
 * A queue: keeps messages in order until a consumer has settled them.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { quote } from "../base/text.ts";
import type { DeliveryState } from "../codec/types.ts";
import { RoomBudget, type Waiter } from "./budget.ts";
import type { Consumer, LossCount } from "./consumer.ts";
import { DelayedMessages } from "./delayed_messages.ts";
import { Dispatcher, type DispatchQueue } from "./dispatcher.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { type Arrival, type Producer, type Reservation, type Sink, tooLarge, type Waitlist } from "./producer.ts";
import { type DeadLetterReason, HeldMessages, MESSAGE_BYTES, QueuedMessage } from "./queued_message.ts";
import type { QueueKind, QueueOptions, QueueStatus } from "./queue_options.ts";
import { deliverAt, expiresAt, groupOf } from "./schedule.ts";
import type { KeptBytes } from "./kept_bytes.ts";
import { WaitingMessages } from "./waiting_messages.ts";

/** The part of its broker that a node uses. */
export interface NodeHost {
  /** The room of all queues together. */
  readonly budget: RoomBudget;
  /** The room of messages that wait for room in a queue, of all queues together. */
  readonly waiting: RoomBudget;
  readonly keptBytes: KeptBytes;
  readonly environment: Environment;
  /** Receives a warning when producers have to wait. */
  readonly log: Log;
  /** Moves a message to another queue; false if that queue cannot take it. */
  deadLetter(message: QueuedMessage, address: string): boolean;
  /** A node has become unused. */
  noteUnused(node: { readonly address: string }): void;
  /** A queue without links is kept for messages that expire: the host calls `unused` again at its `nextCheck`. */
  noteExpiring(queue: Queue): void;
}

const MAX_MESSAGES = 100_000;
const MAX_BYTES = 64 * 1_024 * 1_024;
// Searching for expired messages walks through all of them.
const MIN_SWEEP_MS = 50;

export class Queue implements Sink, Waitlist, Waiter, DispatchQueue {
  /** The queue's address, or the topic's for the queue of a subscription. */
  readonly address: string;
  readonly kind: QueueKind;
  /** Which messages count as failed when a consumer's connection is lost. */
  readonly lossCount: LossCount | undefined;

  readonly #host: NodeHost;
  readonly #options: QueueOptions;
  readonly #budget: RoomBudget;
  readonly #dispatcher = new Dispatcher(this);
  readonly #delayed: DelayedMessages;
  readonly #producers = new Set<Producer>();
  // Producers that have credit, and producers that want more.
  readonly #granted = new Set<Producer>();
  readonly #wantingCredit = new Set<Producer>();
  readonly #waiting: WaitingMessages;
  readonly #held = new HeldMessages();
  #lastPlace = 0;
  #dropped = 0;
  #nextExpiry = Infinity;
  #sweepTimer: unknown;
  #closed = false;

  constructor(host: NodeHost, address: string, options: QueueOptions, kind: QueueKind = {}) {
    this.#host = host;
    this.address = address;
    this.#options = options;
    this.kind = kind;
    this.lossCount = options.lossCount;
    this.#budget = new RoomBudget(options.maxMessages ?? MAX_MESSAGES, options.maxBytes ?? MAX_BYTES, host.budget);
    this.#waiting = new WaitingMessages(host.waiting);
    this.#delayed = new DelayedMessages(host.environment, (messages) => {
      for (const message of messages) this.#enqueue(message);
      this.#dispatcher.run();
    });
  }

  get status(): QueueStatus {
    this.#sweep();
    return {
      address: this.address,
      messages: this.#dispatcher.size + this.#delayed.size,
      unsettled: this.#held.size,
      bytes: this.#budget.bytes,
      waiting: this.#waiting.size,
      consumers: this.#dispatcher.linkCount,
      producers: this.#producers.size,
      dropped: this.#dropped,
    };
  }

  get size(): number {
    return this.#budget.messages;
  }

  get bytes(): number {
    return this.#budget.bytes;
  }

  /** True when the queue has no links and no messages, so that nobody would miss it. */
  get unused(): boolean {
    if (this.#inUse) return false;
    this.#sweep();
    return this.#budget.messages === 0;
  }

  /** The time of the next expiry, to ask then whether the queue is unused; Infinity for never. */
  get nextCheck(): number {
    if (this.#inUse || this.#nextExpiry === Infinity) return Infinity;
    return Math.max(this.#nextExpiry, this.#host.environment.now() + MIN_SWEEP_MS);
  }

  /** The largest message that the queue can ever take, in bytes. */
  get largest(): number {
    return Math.max(0, this.#budget.largest - MESSAGE_BYTES);
  }

  /** The number of messages of that length that the queue has room for, apart from the room of the broker. */
  room(length: number): number {
    return this.#budget.room(MESSAGE_BYTES + length);
  }

  /** The most messages that the queue can ever take together. */
  get most(): number {
    return this.#budget.most;
  }

  /** Whether the queue has room for messages of so many bytes together, apart from the room of the broker. */
  takes(bytes: number, messages: number): boolean {
    return this.#budget.fitsHere(bytes, messages);
  }

  /** Calls `waiter` once when something has left this queue, if the queue lacks that room now. */
  whenRoom(waiter: Waiter, bytes: number, messages: number): void {
    if (!this.#budget.fitsHere(bytes, messages)) this.#budget.whenRoom(waiter, bytes, messages);
  }

  /** Takes a producer's message, now or when there is room for it. */
  publish(arrival: Arrival): void {
    const { bytes, messages } = arrival;
    if (this.#closed) return arrival.refuse(this.#gone());
    const reason = tooLarge(arrival, this);
    if (reason !== undefined) return arrival.refuse(reason);
    if (this.#waiting.size === 0 && this.#budget.fits(bytes, messages.length)) return this.#admit(arrival);
    if (!this.#waiting.add(arrival, this)) return arrival.refuse(full(this.address, arrival.tag));
    this.#awaitRoom(bytes, messages.length);
  }

  allow(producer: Producer, wanted: number): number {
    // Producers share the room, so that together they send little more than fits.
    const bytes = MESSAGE_BYTES + producer.largest;
    const share = Math.ceil(this.#budget.room(bytes) / Math.max(1, this.#producers.size));
    const room = Math.min(wanted, Math.max(0, share - this.#waiting.size));
    if (room < wanted) {
      this.#wantingCredit.add(producer);
      this.#awaitRoom(bytes);
    }
    if (room > 0) this.#granted.add(producer);
    else this.#granted.delete(producer);
    return room;
  }

  /** Takes a message without a producer to answer, such as a dead letter; false if there is no room for it. */
  push(message: QueuedMessage): boolean {
    if (this.#closed || !this.#budget.fits(message.bytes)) return false;
    this.#append(message);
    this.#dispatcher.run();
    return true;
  }

  /** Takes a copy of a message published to a topic; false if this queue is full, whatever room the broker has. */
  copy(encoded: EncodedMessage): boolean {
    if (this.#closed || !this.#budget.fitsHere(MESSAGE_BYTES + encoded.length)) return false;
    this.#append(this.#messageOf(encoded));
    this.#dispatcher.run();
    return true;
  }

  reserve(encoded: EncodedMessage): Reservation | undefined {
    const message = this.#messageOf(encoded);
    if (this.#closed || !this.#budget.fits(message.bytes)) return undefined;
    this.#count(message);
    return {
      commit: () => {
        // What a queue deleted meanwhile holds no more is to count no more, either.
        if (this.#closed) return this.#discount(message);
        this.#enqueueWhenDue(message);
        this.#dispatcher.run();
      },
      rollback: () => {
        this.#discount(message);
        this.#noteUnused();
      },
    };
  }

  addProducer(producer: Producer): void {
    this.#producers.add(producer);
  }

  removeProducer(producer: Producer): void {
    this.#producers.delete(producer);
    this.#granted.delete(producer);
    this.#wantingCredit.delete(producer);
    this.#cancelSweep();
    this.#noteUnused();
  }

  addConsumer(consumer: Consumer): void {
    this.#dispatcher.add(consumer);
  }

  /** Removes a link that has ended; its messages have come back by then. */
  removeConsumer(consumer: Consumer): void {
    this.#dispatcher.remove(consumer);
    this.#noteUnused();
  }

  serve(consumer: Consumer): void {
    this.#dispatcher.serve(consumer);
  }

  settle(message: QueuedMessage, consumer: Consumer, outcome: DeliveryState): void {
    if (!this.#held.delete(message)) return;
    switch (outcome.kind) {
      case "accepted":
        this.#discount(message);
        return this.#noteUnused();
      case "rejected":
        message.fail();
        return this.#discard(message, outcome.error ?? "rejected");
      case "modified":
        this.#discount(message);
        message.modify(outcome, this.#host.keptBytes, this.#budget.largest);
        this.#count(message);
        if (outcome.deliveryFailed && message.deliveryCount >= (this.#options.maxDeliveries ?? Infinity)) {
          return this.#discard(message, "max-deliveries");
        }
        if (outcome.undeliverableHere && this.kind.single) return this.#discard(message, "undeliverable-here");
        if (outcome.undeliverableHere) this.#dispatcher.refuse(message, consumer);
    }
    this.#dispatcher.insert(message, false);
    this.#noteExpiry(message);
    this.#dispatcher.run();
  }

  handleFault(message: QueuedMessage, consumer: Consumer, error: unknown): void {
    const { address } = this;
    const moves = this.#movesTo !== undefined;
    this.#host.log.write({
      level: "error",
      code: "not-delivered",
      message: `Cannot deliver message from ${quote(address)}: it cannot be encoded; ` +
        (consumer.browses
          ? "it stays in the queue"
          : moves
          ? `it goes to ${quote(this.#movesTo!)}`
          : "it is kept from this consumer"),
      address,
      error,
    });
    if (consumer.browses) return;
    const description = error instanceof AmqpError ? error.message : "Cannot encode message";
    this.settle(
      message,
      consumer,
      moves
        ? { kind: "rejected", error: { condition: condition.internalError, description } }
        : { kind: "modified", undeliverableHere: true },
    );
  }

  /** Drops the messages that no consumer holds, and returns their number. */
  purge(): number {
    const messages = [...this.#dispatcher.extract(() => true), ...this.#delayed.extract()];
    for (const message of messages) this.#discount(message);
    this.#noteUnused();
    return messages.length;
  }

  /** Drops everything, and ends the links with `error`. */
  close(error: AmqpError): void {
    if (this.#closed) return;
    this.purge();
    this.#closed = true;
    for (let message = this.#held.any; message !== undefined; message = this.#held.any) {
      this.#held.delete(message);
      this.#discount(message);
    }
    this.#delayed.close();
    this.handleRoom();
    this.#budget.forget(this);
    for (const link of [...this.#dispatcher.links, ...this.#producers]) link.end(error);
  }

  handleRoom(): void {
    const waiting = this.#waiting;
    for (let arrival = waiting.first; arrival !== undefined; arrival = waiting.first) {
      if (!arrival.gone && !this.#closed && !this.#budget.fits(arrival.bytes, arrival.messages.length)) break;
      waiting.shift();
      if (this.#closed) arrival.refuse(this.#gone());
      else if (!arrival.gone) this.#admit(arrival);
    }
    const first = waiting.first;
    if (first !== undefined) this.#awaitRoom(first.bytes, first.messages.length);
    const wanting = [...this.#wantingCredit];
    this.#wantingCredit.clear();
    for (const producer of wanting) producer.topUp();
    this.#cancelSweep();
    this.#noteUnused();
  }

  forgetGone(): void {
    this.#waiting.forgetGone();
    this.handleRoom();
  }

  isExpired(message: QueuedMessage): boolean {
    return message.expires !== Infinity && message.expires <= this.#host.environment.now();
  }

  dropExpired(message: QueuedMessage): boolean {
    const expired = this.isExpired(message);
    if (expired) this.#discard(message, "expired");
    return expired;
  }

  acquired(message: QueuedMessage): void {
    this.#held.add(message);
  }

  later(call: () => void): void {
    const { environment } = this.#host;
    if (!environment.endOfTurn(call)) environment.setTimer(call, 0);
  }

  #admit(arrival: Arrival): void {
    for (const message of arrival.messages.map((encoded) => this.#messageOf(encoded))) this.#append(message);
    arrival.accept();
    this.#dispatcher.run();
    // A producer's messages may still be on their way, but it shall send no more.
    if (this.#granted.size === 0 || this.#budget.fits(MESSAGE_BYTES + 1)) return;
    const granted = [...this.#granted];
    this.#granted.clear();
    for (const producer of granted) producer.topUp();
  }

  // Reads all that the queue will ask of a message, which may fail, before it counts for anything.
  #messageOf(encoded: EncodedMessage): QueuedMessage {
    const message = new QueuedMessage(encoded, expiresAt(encoded, this.#host.environment));
    message.group = groupOf(encoded);
    return message;
  }

  #append(message: QueuedMessage): void {
    this.#count(message);
    this.#enqueueWhenDue(message);
  }

  // Puts a message that is counted already at the end of the queue, or keeps it until it is due.
  #enqueueWhenDue(message: QueuedMessage): void {
    const { environment } = this.#host;
    const due = deliverAt(message.encoded, environment);
    if (due !== undefined && due > environment.now()) return this.#delayed.add(message, due);
    this.#enqueue(message);
  }

  #enqueue(message: QueuedMessage): void {
    message.assignRank(++this.#lastPlace);
    this.#dispatcher.insert(message, true);
    this.#noteExpiry(message);
  }

  #noteExpiry({ expires }: QueuedMessage): void {
    if (expires >= this.#nextExpiry) return;
    this.#nextExpiry = expires;
    this.#noteUnused();
  }

  // Subscriptions of a topic share the bytes of a message.
  #count({ bytes, overhead, encoded }: QueuedMessage): void {
    this.#budget.add(bytes, encoded.holders++ === 0 ? bytes : overhead);
  }

  #discount({ bytes, overhead, encoded }: QueuedMessage): void {
    this.#budget.remove(bytes, --encoded.holders === 0 ? bytes : overhead);
  }

  #awaitRoom(bytes: number, messages = 1): void {
    const { environment } = this.#host;
    if (!this.#budget.fits(bytes, messages)) this.#warnFull(bytes, messages);
    this.#budget.whenRoom(this, bytes, messages);
    // Expired messages are dropped when their turn comes, or earlier if a producer waits for their room.
    if (this.#nextExpiry === Infinity || this.#sweepTimer !== undefined) return;
    const delay = Math.max(MIN_SWEEP_MS, this.#nextExpiry - environment.now());
    this.#sweepTimer = environment.setTimer(() => {
      this.#sweepTimer = undefined;
      this.#sweep();
      this.handleRoom();
    }, delay);
  }

  #warnFull(bytes: number, messages: number): void {
    const { address } = this;
    const own = !this.#budget.fitsHere(bytes, messages);
    const budget = own ? this.#budget : this.#host.budget;
    const holds = `${own ? "it" : "the broker"} holds ${budget.messages} messages of ${budget.bytes} bytes`;
    this.#host.log.write({
      level: "warning",
      code: "producer-held",
      message: `Cannot take more messages for ${quote(address)}: ${holds}; its producers wait; ` +
        'consume them, or raise "maxMessages" or "maxBytes"',
      address,
    });
  }

  #cancelSweep(): void {
    if (this.#sweepTimer === undefined || this.#waiting.size + this.#wantingCredit.size > 0) return;
    this.#host.environment.clearTimer(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }

  #sweep(): void {
    const now = this.#host.environment.now();
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = Infinity;
    const expired = this.#dispatcher.extract((kept) => {
      if (!(kept instanceof QueuedMessage)) return false;
      if (kept.expires > now) this.#nextExpiry = Math.min(this.#nextExpiry, kept.expires);
      return kept.expires <= now;
    });
    for (const message of expired) this.#discard(message, "expired");
  }

  // The dead-letter queue, if this is not that queue itself.
  get #movesTo(): string | undefined {
    const { deadLetter } = this.#options;
    return deadLetter === this.address ? undefined : deadLetter;
  }

  #discard(message: QueuedMessage, reason: DeadLetterReason): void {
    this.#discount(message);
    const moved = this.#movesTo !== undefined && this.#host.deadLetter(message.deadLetter(reason), this.#movesTo);
    if (!moved) this.#dropped++;
    this.#noteUnused();
  }

  get #inUse(): boolean {
    return this.#dispatcher.linkCount + this.#producers.size + this.#waiting.size > 0;
  }

  // Reports the queue when nobody would miss it, now or once its messages have expired.
  #noteUnused(): void {
    if (this.#inUse || this.#closed) return;
    if (this.#budget.messages === 0) this.#host.noteUnused(this);
    else if (this.#nextExpiry !== Infinity) this.#host.noteExpiring(this);
  }

  #gone(): AmqpError {
    return new AmqpError(condition.resourceDeleted, `Cannot send to ${quote(this.address)}: it was deleted`, {
      scope: "delivery",
    });
  }
}

function full(address: string, tag: Uint8Array): AmqpError {
  return new AmqpError(condition.resourceLimitExceeded, `Cannot send to ${quote(address)}: it is full`, {
    scope: "delivery",
    info: { "delivery-tag": new Uint8Array(tag) },
  });
}
