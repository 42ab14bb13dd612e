/**
 * A topic: hands each message to all who listen at the time.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { Consumer } from "./consumer.ts";
import type { Arrival, Producer, Sink } from "./producer.ts";
import { type NodeHost, Queue, type QueueOptions } from "./queue.ts";
import { QueuedMessage } from "./queued_message.ts";

/** A topic of one broker. */
export class Topic implements Sink {
  /** Its address. */
  readonly address: string;

  readonly #host: NodeHost;
  readonly #options: QueueOptions;
  readonly #subscribers = new Map<Consumer, Queue>();
  readonly #producers = new Set<Producer>();

  /** Made by the broker; `options` are the terms of each subscriber's queue. */
  constructor(host: NodeHost, address: string, options: QueueOptions) {
    this.#host = host;
    this.address = address;
    this.#options = options;
  }

  /** True when nothing would be missing without it. */
  get unused(): boolean {
    return this.#subscribers.size + this.#producers.size === 0;
  }

  /** The largest message that it ever takes. */
  get largest(): number {
    return this.queue().largest;
  }

  /** A queue for one subscriber. */
  queue(): Queue {
    return new Queue(this.#host, this.address, this.#options, { single: true });
  }

  /** Copies a message to every subscriber; one that has fallen too far behind is dropped instead. */
  publish(arrival: Arrival): void {
    const now = performance.now();
    for (const [consumer, queue] of this.#subscribers) {
      if (!queue.push(new QueuedMessage(arrival.encoded, now))) this.#drop(consumer, queue);
    }
    arrival.accept();
  }

  /** {@inheritDoc Sink.allow} */
  allow(_producer: Producer, wanted: number): number {
    return wanted;
  }

  /** {@inheritDoc Sink.addProducer} */
  addProducer(producer: Producer): void {
    this.#producers.add(producer);
  }

  /** {@inheritDoc Sink.removeProducer} */
  removeProducer(producer: Producer): void {
    this.#producers.delete(producer);
  }

  /** Adds a link with the queue that was made for it. */
  subscribe(consumer: Consumer, queue: Queue): void {
    this.#subscribers.set(consumer, queue);
    queue.addConsumer(consumer);
  }

  /** Forgets a link that has ended, and what waited for it. */
  unsubscribe(consumer: Consumer): void {
    const queue = this.#subscribers.get(consumer);
    this.#subscribers.delete(consumer);
    queue?.close(new AmqpError(condition.resourceDeleted, "Subscription ended"));
  }

  /** Ends the links with `error`. */
  close(error: AmqpError): void {
    for (const queue of this.#subscribers.values()) queue.close(error);
    for (const producer of this.#producers) producer.end(error);
    this.#subscribers.clear();
  }

  #drop(consumer: Consumer, queue: Queue): void {
    this.#subscribers.delete(consumer);
    queue.close(
      new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot keep subscription to "${this.address}": too many messages wait`,
        { scope: "link" },
      ),
    );
  }
}
