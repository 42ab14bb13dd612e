/**
 * A link on which a peer sends to the broker.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { Delivery } from "../client/delivery.ts";
import type { Receiver } from "../client/receiver.ts";
import { ignore } from "../base/wait.ts";
import { deliveryError, EncodedMessage } from "./encoded_message.ts";

/** Where messages go: a queue, a topic, or what picks one of them for each message. */
export interface Sink {
  /** Takes a message, now or later, or refuses it. */
  publish(arrival: Arrival): void;
  /** How many messages a producer may send now, of the number that it would like to. */
  allow(producer: Producer, wanted: number): number;
  /** Adds a link that sends here. */
  addProducer(producer: Producer): void;
  /** Forgets a link that has ended. */
  removeProducer(producer: Producer): void;
}

/** Where messages wait for room. */
export interface Waitlist {
  /** Drops those whose producer has gone. */
  forgetGone(): void;
}

/** What a message must fulfil before it goes anywhere; throws an AmqpError if it does not. */
export type Inspection = (encoded: EncodedMessage, producer: Producer) => void | Promise<void>;

/** Messages that may be on their way on one link. */
const WINDOW = 1_000;
/** The same before the first has told how large they are. */
const FIRST_WINDOW = 10;
/** Short messages cost memory, too. */
const MIN_BYTES = 256;

/** One incoming link. */
export class Producer {
  /** The link. */
  readonly receiver: Receiver;
  /** Bytes of the largest message so far. */
  largest: number = MIN_BYTES;
  /** Messages of this link that no queue has room for yet, and where each of them waits. */
  readonly waiting: Map<Arrival, Waitlist> = new Map();

  #window = FIRST_WINDOW;
  readonly #sink: Sink;
  readonly #inspect: Inspection;

  /** Starts to take messages. */
  constructor(receiver: Receiver, sink: Sink, inspect: Inspection) {
    this.receiver = receiver;
    this.#sink = sink;
    this.#inspect = inspect;
    sink.addProducer(this);
    void this.#run();
  }

  /** Grants what the sink has room for, as soon as it is worth a frame. */
  topUp(): void {
    if (!this.receiver.usable || !this.receiver.open) return;
    const { credit, buffered } = this.receiver;
    const wanted = this.#sink.allow(this, Math.max(0, this.#window - this.waiting.size - buffered));
    if (wanted === 0 ? credit > 0 : credit * 2 <= wanted) this.receiver.grant(wanted);
  }

  /** Whether the peer hears of a rejection; otherwise the link has to end [anonterm 2.2.2]. */
  get rejectable(): boolean {
    const source = this.receiver.remote?.source;
    return source?.outcomes === undefined || source.outcomes.includes("amqp:rejected:list");
  }

  /** Ends the link because of `error`. */
  end(error: AmqpError): void {
    this.receiver.close({ error, timeoutMs: 0 }).catch(ignore);
  }

  async #run(): Promise<void> {
    this.topUp();
    try {
      for await (const delivery of this.receiver) {
        await this.#take(delivery);
        this.topUp();
      }
    } catch {
      // The peer ended the link, or all of the connection is over: there is nobody to tell.
    }
    await this.receiver.closed;
    this.#sink.removeProducer(this);
    for (const waitlist of new Set(this.waiting.values())) waitlist.forgetGone();
  }

  async #take(delivery: Delivery): Promise<void> {
    const { payload, messageFormat, tag } = delivery;
    if (payload.length > this.largest) this.largest = payload.length;
    this.#window = WINDOW;
    let encoded: EncodedMessage;
    try {
      encoded = new EncodedMessage(payload, messageFormat, this.receiver.connection.limits);
      const inspected = this.#inspect(encoded, this);
      if (inspected !== undefined) await inspected;
    } catch (error) {
      const { condition: symbol, message } = error instanceof AmqpError
        ? error
        : new AmqpError(condition.internalError, "Cannot take message: internal error");
      return refuse(this, delivery, deliveryError(symbol, message, tag, error));
    }
    this.#sink.publish(new Arrival(this, delivery, encoded));
  }
}

/** A message that has arrived on a link and is not taken yet. */
export class Arrival {
  /** The message. */
  readonly encoded: EncodedMessage;
  /** The link that it came on. */
  readonly producer: Producer;

  readonly #delivery: Delivery;

  /** Made by its link. */
  constructor(producer: Producer, delivery: Delivery, encoded: EncodedMessage) {
    this.producer = producer;
    this.encoded = encoded;
    this.#delivery = delivery;
  }

  /** What it counts for. */
  get bytes(): number {
    return this.encoded.payload.length;
  }

  /** Names the delivery on its link. */
  get tag(): Uint8Array {
    return this.#delivery.tag;
  }

  /** True when its producer will send it again, for it cannot learn any more that it has arrived. */
  get gone(): boolean {
    return !this.#delivery.remoteSettled && !this.producer.receiver.usable;
  }

  /** It has to wait. */
  wait(waitlist: Waitlist): void {
    this.producer.waiting.set(this, waitlist);
  }

  /** It waits no longer. */
  stopWaiting(): void {
    this.producer.waiting.delete(this);
  }

  /** Tells the producer that it is taken. */
  accept(): void {
    if (!this.#delivery.remoteSettled && this.producer.receiver.usable) this.#delivery.accept();
  }

  /** Tells the producer that it is not. */
  refuse(error: AmqpError): void {
    refuse(this.producer, this.#delivery, error);
  }
}

function refuse(producer: Producer, delivery: Delivery, error: AmqpError): void {
  if (!producer.receiver.usable) return;
  if (delivery.remoteSettled || !producer.rejectable) producer.end(error);
  else delivery.reject(error);
}
