/**
 * A queue: keeps messages in order until a consumer has settled them.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { DeliveryState, ErrorFields } from "../codec/types.ts";
import type { Connection } from "../client/connection.ts";
import { MAX_TIMER_MS } from "../base/wait.ts";
import { Backlog } from "./backlog.ts";
import { Budget, type Waiter } from "./budget.ts";
import type { Consumer } from "./consumer.ts";
import { tooLarge } from "./encoded_message.ts";
import type { Arrival, Producer, Sink, Waitlist } from "./producer.ts";
import { QueuedMessage } from "./queued_message.ts";

/** The terms of one queue. */
export interface QueueOptions {
  /**
   * Where rejected and expired messages go: the address of a queue, made when first needed. Without it, and in that queue
   * itself, they are dropped.
   */
  deadLetter?: string;
  /** Failed attempts after which a message is treated as rejected. Default: no limit. */
  maxDeliveries?: number;
  /** Most messages that the queue keeps, those with consumers included. Default: 100,000. */
  maxMessages?: number;
  /** Most bytes that the queue keeps, those with consumers included. Default: 64 MiB. */
  maxBytes?: number;
}

/** What is in a queue at the moment. */
export interface QueueStatus {
  /** The queue's address. */
  readonly address: string;
  /** Messages that wait for a consumer. */
  readonly messages: number;
  /** Messages that consumers hold and have not settled. */
  readonly unsettled: number;
  /** Bytes of both. */
  readonly bytes: number;
  /** Messages of producers that the queue has no room for; they are not accepted yet. */
  readonly waiting: number;
  /** Links that receive, browsers included. */
  readonly consumers: number;
  /** Links that send to this address; those without a fixed target are not counted. */
  readonly producers: number;
  /** Messages that were dropped so far: rejected or expired ones, for which there was no other place. */
  readonly dropped: number;
}

/** What a queue was made for. */
export interface QueueKind {
  /** It goes away when it is unused and its place is needed. */
  readonly passing?: boolean;
  /** It has this one consumer for all its life: what is not for that one is for nobody. */
  readonly single?: boolean;
  /** The only connection that may receive from it. */
  readonly owner?: Connection;
}

/** What a queue needs of its broker. */
export interface NodeHost {
  /** What all queues keep together. */
  readonly budget: Budget;
  /** Messages that no queue has room for yet, of all queues together. */
  readonly waiting: Budget;
  /** Moves a message to another queue; false if that cannot take it. */
  deadLetter(message: QueuedMessage, address: string): boolean;
}

const MAX_MESSAGES = 100_000;
const MAX_BYTES = 64 * 1_024 * 1_024;
// Looking for expired messages costs a walk through all of them.
const MIN_SWEEP_MS = 50;

/** A queue of one broker. */
export class Queue implements Sink, Waitlist, Waiter {
  /** Its address; that of the topic for the queue of a subscriber. */
  readonly address: string;
  /** What it was made for. */
  readonly kind: QueueKind;

  readonly #host: NodeHost;
  readonly #options: QueueOptions;
  readonly #budget: Budget;
  readonly #backlog = new Backlog();
  readonly #consumers = new Set<Consumer>();
  readonly #browsers = new Set<Consumer>();
  // Those that may have credit, the one whose turn is next first.
  readonly #ready = new Set<Consumer>();
  readonly #producers = new Set<Producer>();
  readonly #starved = new Set<Producer>();
  #waiting: Arrival[] = [];
  #lastPlace = 0;
  #unsettled = 0;
  #dropped = 0;
  #nextExpiry = Infinity;
  #sweepTimer: ReturnType<typeof setTimeout> | undefined;
  #dispatching = false;
  #closed = false;

  /** Made by the broker. */
  constructor(host: NodeHost, address: string, options: QueueOptions, kind: QueueKind = {}) {
    this.#host = host;
    this.address = address;
    this.#options = options;
    this.kind = kind;
    this.#budget = new Budget(options.maxMessages ?? MAX_MESSAGES, options.maxBytes ?? MAX_BYTES, host.budget);
  }

  /** What is in it. */
  get status(): QueueStatus {
    this.#sweep();
    return {
      address: this.address,
      messages: this.#backlog.size,
      unsettled: this.#unsettled,
      bytes: this.#budget.bytes,
      waiting: this.#waiting.length,
      consumers: this.#consumers.size + this.#browsers.size,
      producers: this.#producers.size,
      dropped: this.#dropped,
    };
  }

  /** True when nothing would be missing without it. */
  get unused(): boolean {
    this.#sweep();
    const links = this.#consumers.size + this.#browsers.size + this.#producers.size;
    return links === 0 && this.#budget.messages === 0 && this.#waiting.length === 0;
  }

  /** The largest message that it ever takes. */
  get largest(): number {
    return this.#budget.largest;
  }

  /** Takes a message of a producer, now or when there is room for it. */
  publish(arrival: Arrival): void {
    const { bytes } = arrival;
    if (this.#closed) return arrival.refuse(this.#gone());
    if (bytes > this.largest) return arrival.refuse(tooLarge(bytes, this.largest, arrival.tag));
    if (this.#waiting.length === 0 && this.#budget.fits(bytes)) return this.#admit(arrival);
    if (!this.#host.waiting.fits(bytes)) return arrival.refuse(full(this.address, arrival.tag));
    this.#host.waiting.add(bytes);
    this.#waiting.push(arrival);
    arrival.wait(this);
    this.#awaitRoom();
  }

  /** How many messages a producer may send now, of the number that it would like to. */
  allow(producer: Producer, wanted: number): number {
    // All of them at once shall not send much more than there is room for.
    const share = Math.ceil(this.#budget.room(producer.largest) / Math.max(1, this.#producers.size));
    const room = Math.max(0, share - this.#waiting.length);
    if (room < wanted) {
      this.#starved.add(producer);
      this.#awaitRoom();
    }
    return Math.min(wanted, room);
  }

  /** Adds a message at the end; false if it does not fit. */
  push(message: QueuedMessage): boolean {
    if (this.#closed || !this.#budget.fits(message.bytes)) return false;
    this.#append(message);
    this.#dispatch();
    return true;
  }

  /** Adds a link that sends here. */
  addProducer(producer: Producer): void {
    this.#producers.add(producer);
  }

  /** {@inheritDoc Sink.removeProducer} */
  removeProducer(producer: Producer): void {
    this.#producers.delete(producer);
    this.#starved.delete(producer);
    this.#restSweep();
  }

  /** {@inheritDoc Waitlist.forgetGone} */
  forgetGone(): void {
    this.#waiting = this.#waiting.filter((arrival) => {
      if (!arrival.gone) return true;
      this.#leaveWaitlist(arrival);
      return false;
    });
    this.#restSweep();
  }

  /** Adds a link that receives. */
  addConsumer(consumer: Consumer): void {
    (consumer.browses ? this.#browsers : this.#consumers).add(consumer);
  }

  /** Forgets a link that has ended; what it held has come back by then. */
  removeConsumer(consumer: Consumer): void {
    this.#consumers.delete(consumer);
    this.#browsers.delete(consumer);
    this.#ready.delete(consumer);
  }

  /** A consumer may have credit. */
  serve(consumer: Consumer): void {
    if (consumer.browses) return this.#show(consumer);
    if (this.#consumers.has(consumer)) this.#ready.add(consumer);
    this.#dispatch();
  }

  /** A consumer has settled a message. */
  settle(message: QueuedMessage, consumer: Consumer, outcome: DeliveryState): void {
    if (this.#closed) return;
    this.#unsettled--;
    switch (outcome.kind) {
      case "accepted":
        this.#budget.remove(message.bytes);
        return;
      case "rejected":
        message.fail();
        return this.#discard(message, outcome.error);
      case "modified":
        message.modify(outcome);
        if (outcome.deliveryFailed && message.deliveryCount >= (this.#options.maxDeliveries ?? Infinity)) {
          return this.#discard(message);
        }
        if (outcome.undeliverableHere && this.kind.single) return this.#discard(message);
        if (outcome.undeliverableHere) message.keepFrom(consumer);
    }
    this.#backlog.restore(message);
    this.#nextExpiry = Math.min(this.#nextExpiry, message.expires);
    this.#dispatch();
  }

  /** Drops what waits for a consumer; gives how many messages those were. */
  purge(): number {
    const messages = this.#backlog.extract(() => true);
    for (const { bytes } of messages) this.#budget.remove(bytes);
    return messages.length;
  }

  /** Drops everything, and ends the links with `error`. */
  close(error: AmqpError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.purge();
    this.#budget.remove(this.#budget.bytes, this.#budget.messages);
    this.#unsettled = 0;
    this.handleRoom();
    for (const link of [...this.#consumers, ...this.#browsers, ...this.#producers]) link.end(error);
  }

  /** {@inheritDoc Waiter.handleRoom} */
  handleRoom(): void {
    const waiting = this.#waiting;
    let admitted = 0;
    for (const arrival of waiting) {
      if (!arrival.gone && !this.#closed && !this.#budget.fits(arrival.bytes)) break;
      admitted++;
      this.#leaveWaitlist(arrival);
      if (this.#closed) arrival.refuse(this.#gone());
      else if (!arrival.gone) this.#admit(arrival);
    }
    waiting.splice(0, admitted);
    if (waiting.length > 0) this.#awaitRoom();
    this.#topUpStarved();
    this.#restSweep();
  }

  #leaveWaitlist(arrival: Arrival): void {
    this.#host.waiting.remove(arrival.bytes);
    arrival.stopWaiting();
  }

  #topUpStarved(): void {
    const starved = [...this.#starved];
    this.#starved.clear();
    for (const producer of starved) producer.topUp();
  }

  #admit(arrival: Arrival): void {
    this.#append(new QueuedMessage(arrival.encoded, performance.now()));
    arrival.accept();
    this.#dispatch();
    // Messages on their way may still wait; no more of them shall be sent.
    if (!this.#budget.fits(1)) { for (const producer of this.#producers) producer.topUp(); }
  }

  #append(message: QueuedMessage): void {
    message.place = ++this.#lastPlace;
    this.#budget.add(message.bytes);
    this.#backlog.push(message);
    this.#nextExpiry = Math.min(this.#nextExpiry, message.expires);
  }

  // One message to each consumer in turn, as long as there are both.
  #dispatch(): void {
    // A message that a consumer cannot take comes back in the middle of it, and is seen by the next round.
    if (this.#dispatching) return;
    this.#dispatching = true;
    for (const browser of this.#browsers) this.#show(browser);
    let idle = 0;
    while (this.#backlog.size > 0 && idle < this.#ready.size) {
      const consumer = this.#ready.values().next().value!;
      this.#ready.delete(consumer);
      if (!consumer.wants) continue;
      this.#ready.add(consumer);
      const message = this.#take(consumer);
      idle = message === undefined ? idle + 1 : 0;
      if (message === undefined) continue;
      this.#unsettled++;
      consumer.deliver(message);
    }
    this.#dispatching = false;
  }

  #take(consumer: Consumer): QueuedMessage | undefined {
    for (;;) {
      const message = this.#backlog.take(consumer);
      if (message === undefined || !isExpired(message)) return message;
      this.#discard(message);
    }
  }

  #show(browser: Consumer): void {
    while (browser.wants) {
      const message = this.#backlog.after(browser.place);
      if (message === undefined) return;
      if (isExpired(message)) browser.place = message.place;
      else browser.deliver(message);
    }
  }

  // Expired messages are dropped when their turn comes. Earlier only if somebody waits for the room that they take.
  #awaitRoom(): void {
    this.#budget.whenRoom(this);
    if (this.#nextExpiry === Infinity || this.#sweepTimer !== undefined) return;
    const delay = Math.max(MIN_SWEEP_MS, this.#nextExpiry - performance.now());
    this.#sweepTimer = setTimeout(() => {
      this.#sweepTimer = undefined;
      this.#sweep();
      this.handleRoom();
    }, Math.min(MAX_TIMER_MS, delay));
  }

  #restSweep(): void {
    if (this.#waiting.length + this.#starved.size > 0) return;
    clearTimeout(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }

  #sweep(): void {
    const now = performance.now();
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = Infinity;
    const expired = this.#backlog.extract((message) => {
      if (message.expires > now) this.#nextExpiry = Math.min(this.#nextExpiry, message.expires);
      return message.expires <= now;
    });
    for (const message of expired) this.#discard(message);
  }

  #discard(message: QueuedMessage, error?: ErrorFields): void {
    this.#budget.remove(message.bytes);
    const { deadLetter } = this.#options;
    message.becomeDeadLetter(error);
    if (deadLetter !== undefined && deadLetter !== this.address && this.#host.deadLetter(message, deadLetter)) return;
    this.#dropped++;
  }

  #gone(): AmqpError {
    return new AmqpError(condition.resourceDeleted, `Cannot send to "${this.address}": it was deleted`, {
      scope: "delivery",
    });
  }
}

function isExpired(message: QueuedMessage): boolean {
  return message.expires !== Infinity && message.expires <= performance.now();
}

function full(address: string, tag: Uint8Array): AmqpError {
  return new AmqpError(condition.resourceLimitExceeded, `Cannot send to "${address}": it is full`, {
    scope: "delivery",
    info: { "delivery-tag": new Uint8Array(tag) },
  });
}
