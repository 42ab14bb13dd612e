/**
 * A topic: copies each message to all its subscriptions.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { unref } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Waiter } from "./budget.ts";
import type { Consumer } from "./consumer.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { deliveryError } from "./encoded_message.ts";
import { type Arrival, type Producer, type Reservation, type Sink, tooLarge, type Waitlist } from "./producer.ts";
import { type NodeHost, Queue } from "./queue.ts";
import type { QueueOptions } from "./queue_options.ts";
import { MESSAGE_BYTES } from "./queued_message.ts";
import { Subscription, type SubscriptionSettings } from "./subscription.ts";
import { WaitingMessages } from "./waiting_messages.ts";

// The share of the broker's room from which on a subscription is held responsible when the broker is full.
const SHARE_OF_LARGEST = 1 / 4;

const TOO_MANY = 'too many messages wait; consume faster, or raise "maxMessages" or "maxBytes"';
const TOO_SLOW = "the selectors there take too long; give them shorter patterns, or LIKE shorter texts";

// The steps that the patterns of all lasting subscriptions, and those of all others, may take for one message: 0.1 s.
const MAX_STEPS = 65_536;

export class Topic implements Sink, Waitlist, Waiter {
  readonly address: string;
  /** The only connection that may subscribe. */
  readonly owner: object | undefined;

  readonly #host: NodeHost;
  readonly #options: QueueOptions;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #producers = new Set<Producer>();
  readonly #wantingCredit = new Set<Producer>();
  readonly #waiting: WaitingMessages;
  // Subscription queues take whatever the topic takes.
  readonly #largest: number;
  readonly #most: number;
  #closed = false;

  constructor(host: NodeHost, address: string, options: QueueOptions, owner?: object) {
    this.#host = host;
    this.address = address;
    this.#options = options;
    this.owner = owner;
    this.#waiting = new WaitingMessages(host.waiting);
    const { largest, most } = this.#queue();
    this.#largest = largest;
    this.#most = most;
  }

  /** True when nobody would miss the topic. */
  get unused(): boolean {
    return this.#subscriptions.size + this.#producers.size + this.#waiting.size === 0;
  }

  /** The largest message that the topic can ever take, in bytes. */
  get largest(): number {
    return this.#largest;
  }

  /** The most messages that the topic can ever take together. */
  get most(): number {
    return this.#most;
  }

  subscription(name: string): Subscription | undefined {
    return this.#subscriptions.get(name);
  }

  /** Copies a message to every subscription that wants it, now or when there is room for it. */
  publish(arrival: Arrival): void {
    if (this.#closed) return arrival.refuse(this.#gone());
    const reason = tooLarge(arrival, this);
    if (reason !== undefined) return arrival.refuse(reason);
    if (this.#waiting.size === 0 && this.#copy(arrival)) return;
    if (this.#waiting.add(arrival, this)) return this.#awaitRoom(arrival.bytes, arrival.messages.length);
    arrival.refuse(deliveryError(condition.resourceLimitExceeded, this.#full(), arrival.tag));
  }

  reserve(encoded: EncodedMessage): Reservation | undefined {
    const reservations: Reservation[] = [];
    const wanting = this.#wanting(encoded);
    if (wanting === undefined) return undefined;
    for (const { queue } of wanting) {
      const reservation = queue.reserve(encoded);
      if (reservation !== undefined) {
        reservations.push(reservation);
        continue;
      }
      for (const other of reservations) other.rollback();
      return undefined;
    }
    return {
      commit: () => reservations.forEach((reservation) => reservation.commit()),
      rollback: () => reservations.forEach((reservation) => reservation.rollback()),
    };
  }

  allow(producer: Producer, wanted: number): number {
    const bytes = MESSAGE_BYTES + producer.largest;
    let room = this.#waiting.size > 0 ? 0 : this.#host.budget.room(bytes);
    for (const { lasting, queue } of this.#subscriptions.values()) {
      if (lasting) room = Math.min(room, queue.room(producer.largest));
    }
    if (room >= wanted) return wanted;
    this.#wantingCredit.add(producer);
    this.#awaitRoom(bytes);
    return room;
  }

  addProducer(producer: Producer): void {
    this.#producers.add(producer);
  }

  removeProducer(producer: Producer): void {
    this.#producers.delete(producer);
    this.#wantingCredit.delete(producer);
    this.#noteUnused();
  }

  subscribe(options: SubscriptionSettings): Subscription {
    const subscription = new Subscription(options, this.#queue(options.shared));
    this.#subscriptions.set(options.name, subscription);
    return subscription;
  }

  listen(subscription: Subscription, consumer: Consumer): void {
    this.#host.environment.clearTimer(subscription.timer);
    subscription.consumers.add(consumer);
    subscription.queue.addConsumer(consumer);
  }

  /** Removes a link that has ended; its messages have come back by then. */
  leave(subscription: Subscription, consumer: Consumer, forGood: boolean): void {
    subscription.consumers.delete(consumer);
    subscription.queue.removeConsumer(consumer);
    if (subscription.consumers.size > 0 || this.#subscriptions.get(subscription.options.name) !== subscription) return;
    const { policy, timeoutMs } = subscription.options.expiry;
    if (forGood || (policy === "link-detach" && timeoutMs === 0)) return this.unsubscribe(subscription);
    // `connection-close` is handled where the link is attached.
    if (policy !== "link-detach") return;
    const { environment } = this.#host;
    // The timer does not keep the process alive.
    subscription.timer = unref(environment.setTimer(() => this.unsubscribe(subscription), timeoutMs));
  }

  /** Ends a subscription, and drops its messages. */
  unsubscribe(subscription: Subscription): void {
    const message = `Cannot keep link: subscription to ${quote(this.address)} has ended`;
    if (!this.#end(subscription, new AmqpError(condition.resourceDeleted, message, { scope: "link" }))) return;
    this.handleRoom();
  }

  /** Ends the links with `error`. */
  close(error: AmqpError): void {
    this.#closed = true;
    for (const subscription of this.#subscriptions.values()) this.#end(subscription, error);
    for (const producer of this.#producers) producer.end(error);
    this.handleRoom();
    this.#host.budget.forget(this);
  }

  handleRoom(): void {
    for (let arrival = this.#waiting.first; arrival !== undefined; arrival = this.#waiting.first) {
      if (this.#closed) this.#waiting.shift()!.refuse(this.#gone());
      else if (arrival.gone || this.#copy(arrival)) this.#waiting.shift();
      else break;
    }
    const { first } = this.#waiting;
    if (first !== undefined) this.#awaitRoom(first.bytes, first.messages.length);
    const wanting = [...this.#wantingCredit];
    this.#wantingCredit.clear();
    for (const producer of wanting) producer.topUp();
    this.#noteUnused();
  }

  forgetGone(): void {
    this.#waiting.forgetGone();
    this.handleRoom();
  }

  // Copies a message to the subscriptions that want it; false if it has to wait. A subscription that is full is dropped
  // unless it is lasting; when the whole broker is full, only the largest subscription is dropped.
  #copy(arrival: Arrival): boolean {
    const wanting = this.#sharesOf(arrival.messages);
    if (wanting === undefined) {
      return this.#refuse(arrival, `Cannot take message for ${quote(this.address)}: ${TOO_SLOW}`);
    }
    const { budget } = this.#host;
    for (const [{ lasting, queue }, share] of wanting) {
      if (lasting && !queue.takes(bytesOf(share), share.length)) return false;
    }
    // Subscriptions share the bytes of a message.
    const lengths = arrival.bytes - MESSAGE_BYTES * arrival.messages.length;
    const bytes = () => [...wanting.values()].reduce((sum, share) => sum + MESSAGE_BYTES * share.length, lengths);
    while (wanting.size > 0 && !budget.fitsHere(bytes(), arrival.messages.length)) {
      const largest = this.#largestSubscription();
      if (largest === undefined) return false;
      this.#drop(largest, TOO_MANY);
      wanting.delete(largest);
      if (wanting.size === 0) return this.#refuse(arrival);
    }
    let copies = 0;
    for (const [subscription, share] of wanting) {
      if (share.every((encoded) => subscription.queue.copy(encoded))) copies++;
      else this.#drop(subscription, TOO_MANY);
    }
    // The sender must not see an accepted message that nobody got.
    if (copies === 0 && wanting.size > 0) return this.#refuse(arrival);
    arrival.accept();
    return true;
  }

  // The messages that each subscription wants, for those that want any; undefined if the filters take too long.
  #sharesOf(messages: readonly EncodedMessage[]): Map<Subscription, EncodedMessage[]> | undefined {
    const shares = new Map<Subscription, EncodedMessage[]>();
    for (const encoded of messages) {
      const wanting = this.#wanting(encoded);
      if (wanting === undefined) return undefined;
      for (const subscription of wanting) {
        const share = shares.get(subscription);
        if (share === undefined) shares.set(subscription, [encoded]);
        else share.push(encoded);
      }
    }
    return shares;
  }

  // Subscriptions with patterns are dropped when those before them have used up the steps, unless they are lasting:
  // undefined if the lasting ones take too long, and the message is refused.
  #wanting(encoded: EncodedMessage): Subscription[] | undefined {
    const wanting: Subscription[] = [];
    let steps = 0;
    let lastingSteps = 0;
    for (const subscription of this.#subscriptions.values()) {
      const { lasting, options } = subscription;
      const { filter, cost } = options.filters;
      if (cost.words > 0 && (lasting ? lastingSteps : steps) > MAX_STEPS) {
        if (lasting) return undefined;
        this.#drop(subscription, TOO_SLOW);
        continue;
      }
      cost.steps = 0;
      if (filter === undefined || filter(encoded)) wanting.push(subscription);
      if (lasting) lastingSteps += cost.steps;
      else steps += cost.steps;
    }
    return wanting;
  }

  #largestSubscription(): Subscription | undefined {
    const { maxBytes, maxMessages } = this.#host.budget;
    let largest: Subscription | undefined;
    for (const subscription of this.#subscriptions.values()) {
      const { bytes, size } = subscription.queue;
      if (bytes < maxBytes * SHARE_OF_LARGEST && size < maxMessages * SHARE_OF_LARGEST) continue;
      if (subscription.lasting || bytes < (largest?.queue.bytes ?? 0)) continue;
      largest = subscription;
    }
    return largest;
  }

  // Ends a subscription that costs too much; `reason` says, behind a semicolon, what to do.
  #drop(subscription: Subscription, reason: string): void {
    const message = `Cannot keep subscription to ${quote(this.address)}: ${reason}`;
    const error = new AmqpError(condition.resourceLimitExceeded, message, { scope: "link" });
    if (!this.#end(subscription, error)) return;
    // Nobody else would report it: the message may come by the relay, which is no producer of the topic.
    this.#noteUnused();
    this.#host.log.write({ level: "warning", code: "refused", message, address: this.address });
  }

  // False if the subscription has already ended, for example for another message of the batch.
  #end(subscription: Subscription, error: AmqpError): boolean {
    const { name } = subscription.options;
    if (this.#subscriptions.get(name) !== subscription) return false;
    this.#host.environment.clearTimer(subscription.timer);
    this.#subscriptions.delete(name);
    subscription.onended?.();
    subscription.queue.close(error);
    return true;
  }

  #refuse(arrival: Arrival, reason = this.#full()): true {
    arrival.refuse(deliveryError(condition.resourceLimitExceeded, reason, arrival.tag));
    return true;
  }

  #awaitRoom(bytes: number, messages = 1): void {
    const { log, budget } = this.#host;
    for (const { lasting, queue } of this.#subscriptions.values()) if (lasting) queue.whenRoom(this, bytes, messages);
    budget.whenRoom(this, bytes, messages);
    if (this.#waiting.size === 0 && budget.fitsHere(bytes, messages)) return;
    log.write({ level: "warning", code: "producer-held", message: this.#full(), address: this.address });
  }

  #full(): string {
    const { messages, bytes } = this.#host.budget;
    return `Cannot take more messages for ${
      quote(this.address)
    }: a lasting subscription or the broker is full, which holds ` +
      `${messages} messages of ${bytes} bytes; consume them, or raise "maxMessages" or "maxBytes"`;
  }

  // A message undeliverable to the only consumer is so for everybody, unless links share the subscription.
  #queue(shared = false): Queue {
    return new Queue(this.#host, this.address, this.#options, { single: !shared });
  }

  #noteUnused(): void {
    if (this.unused && !this.#closed) this.#host.noteUnused(this);
  }

  #gone(): AmqpError {
    return new AmqpError(condition.resourceDeleted, `Cannot send to ${quote(this.address)}: it was deleted`, {
      scope: "delivery",
    });
  }
}

function bytesOf(messages: readonly EncodedMessage[]): number {
  return messages.reduce((bytes, { length }) => bytes + MESSAGE_BYTES + length, 0);
}
