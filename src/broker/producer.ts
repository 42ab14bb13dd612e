/**
 * A link on which a peer sends to the broker.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import type { Delivery } from "../client/delivery.ts";
import type { Receiver } from "../client/receiver.ts";
import { BATCH_FORMAT } from "../codec/batch.ts";
import { DataBody, DecodedMessage } from "../codec/message.ts";
import { ignore } from "../base/wait.ts";
import { Fifo } from "../base/collections.ts";
import { deliveryError, EncodedMessage } from "./encoded_message.ts";
import { MESSAGE_BYTES } from "./queued_message.ts";
import type { KeptBytes } from "./kept_bytes.ts";
import type { Transactions } from "./transactions.ts";

/** Where messages go: a queue, a topic, or what picks one of them for each message. */
export interface Sink {
  /** Takes a message, now or later, or refuses it. */
  publish(arrival: Arrival): void;
  /** Keeps a place for a message of a transaction; undefined if there is none. */
  reserve(encoded: EncodedMessage): Reservation | undefined;
  /** How many messages a producer may send now, of the number that it would like to. */
  allow(producer: Producer, wanted: number): number;
  /** Adds a link that sends here. */
  addProducer(producer: Producer): void;
  /** Forgets a link that has ended. */
  removeProducer(producer: Producer): void;
}

/** A place that is kept for a message of a transaction. */
export interface Reservation {
  /** Puts the message there. */
  commit(): void;
  /** Gives the place back. */
  rollback(): void;
}

/** Where messages wait for room. */
export interface Waitlist {
  /** Drops those whose producer has gone. */
  forgetGone(): void;
}

/** What a message must fulfil before it goes anywhere; throws an AmqpError if it does not. */
export type Inspection = (encoded: EncodedMessage, producer: Producer) => void | Promise<void>;

/** What is kept of an incoming link. */
export interface ProducerOptions {
  /** Looks at each message first. */
  readonly inspect: Inspection;
  /** Memory for short messages. */
  readonly slab: KeptBytes;
  transactions: Transactions;
  /** True if batches are taken apart. */
  readonly splits: boolean;
}

/** Messages that may be on their way on one link. */
const WINDOW = 1_000;
/** Deliveries of one link whose outcome its peer has not settled, where it has asked for two steps. */
const MAX_UNSETTLED = 2_000;
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
  /** Messages of this link that wait for room. */
  waiting = 0;

  #window = FIRST_WINDOW;
  readonly #sink: Sink;
  readonly #options: ProducerOptions;
  readonly #waitlists = new Set<Waitlist>();
  // Deliveries behind one that is still looked at.
  readonly #behind = new Fifo<Delivery>();
  #inspecting = false;

  /** Starts to take messages. */
  constructor(receiver: Receiver, sink: Sink, options: ProducerOptions) {
    this.receiver = receiver;
    this.#sink = sink;
    this.#options = options;
    sink.addProducer(this);
    receiver.ondelivery = (delivery) => {
      if (this.#inspecting) this.#behind.push(delivery);
      else this.#take(delivery);
    };
    receiver.closed.then(() => {
      sink.removeProducer(this);
      for (const waitlist of this.#waitlists) waitlist.forgetGone();
    });
    receiver.onsettled = () => this.topUp();
    this.topUp();
  }

  /** Its peer has attached the link again, maybe on another connection. */
  goOn(transactions: Transactions): void {
    this.#options.transactions = transactions;
    this.topUp();
  }

  /** Grants what the sink has room for, as soon as it is worth a frame. */
  topUp(): void {
    if (!this.receiver.usable || !this.receiver.open) return;
    const { credit } = this.receiver;
    // Outcomes that the peer does not settle take memory, too.
    const told = MAX_UNSETTLED - this.receiver.unsettled;
    const wanted = this.#sink.allow(
      this,
      Math.max(0, Math.min(told, this.#window - this.waiting - this.#behind.length)),
    );
    if (wanted === 0 ? credit > 0 : credit * 2 <= wanted) this.receiver.grant(wanted);
  }

  /** Whether the peer hears of a rejection; otherwise the link has to end [anonterm 2.2.2]. */
  get rejectable(): boolean {
    const source = this.receiver.remote?.source;
    return source?.outcomes === undefined || source.outcomes.includes("amqp:rejected:list");
  }

  /** One of its messages waits for room. */
  handleWaiting(waitlist: Waitlist): void {
    this.waiting++;
    this.#waitlists.add(waitlist);
  }

  /** Ends the link because of `error`. */
  end(error: AmqpError): void {
    this.receiver.close({ error, timeoutMs: 0 }).catch(ignore);
  }

  #take(delivery: Delivery): void {
    delivery.handleTaken();
    const { payload, messageFormat } = delivery;
    if (payload.length > this.largest) this.largest = payload.length;
    this.#window = WINDOW;
    try {
      const chunks = this.#options.splits ? chunksOf(payload, messageFormat) : undefined;
      if (chunks !== undefined) this.#takeAll(delivery, chunks.map((chunk) => this.#encoded(chunk, 0)));
      else {
        const encoded = this.#encoded(payload, messageFormat);
        const inspected = this.#options.inspect(encoded, this);
        if (inspected === undefined) this.#publish(delivery, [encoded]);
        else this.#await(inspected, delivery, () => this.#publish(delivery, [encoded]));
      }
    } catch (error) {
      this.#refuse(delivery, error);
    }
    this.topUp();
  }

  #encoded(payload: Uint8Array, messageFormat: number): EncodedMessage {
    return new EncodedMessage(payload, messageFormat, this.receiver.connection.limits, this.#options.slab);
  }

  // The messages of a batch, all of which are taken, or none.
  #takeAll(delivery: Delivery, messages: readonly EncodedMessage[]): void {
    const inspected = messages.map((encoded) => this.#options.inspect(encoded, this)).filter((one) =>
      one !== undefined
    );
    if (inspected.length === 0) return this.#publish(delivery, messages);
    this.#await(Promise.all(inspected), delivery, () => this.#publish(delivery, messages));
  }

  // What waits for room would keep its transaction waiting: in one, messages are taken at once or refused.
  #publish(delivery: Delivery, messages: readonly EncodedMessage[]): void {
    const state = delivery.remoteState;
    if (state?.kind !== "transactionalState") return this.#sink.publish(new Arrival(this, delivery, messages));
    const { txnId } = state;
    const transaction = this.#options.transactions.get(txnId);
    for (const reservation of reserveAll(this.#sink, messages)) transaction.add(reservation);
    if (delivery.remoteSettled || !delivery.usable) return;
    delivery.update({ kind: "transactionalState", txnId, outcome: { kind: "accepted" } });
  }

  #await(inspected: Promise<unknown>, delivery: Delivery, publish: () => void): void {
    this.#inspecting = true;
    inspected.then(publish)
      .catch((error) => this.#refuse(delivery, error))
      .then(() => {
        this.#inspecting = false;
        for (let next; !this.#inspecting && (next = this.#behind.shift()) !== undefined;) this.#take(next);
        this.topUp();
      });
  }

  #refuse(delivery: Delivery, error: unknown): void {
    const { condition: symbol, message } = error instanceof AmqpError
      ? error
      : new AmqpError(condition.internalError, "Cannot take message: internal error");
    refuse(this, delivery, deliveryError(symbol, message, delivery.tag, error));
  }
}

/** A message that has arrived on a link and is not taken yet, or a batch of them, all of which are taken together. */
export class Arrival {
  /** The message, or the messages of the batch in order. */
  readonly messages: readonly EncodedMessage[];
  /** What they count for. */
  readonly bytes: number;
  /** The link that it came on. */
  readonly producer: Producer;

  readonly #delivery: Delivery;

  constructor(producer: Producer, delivery: Delivery, messages: readonly EncodedMessage[]) {
    this.producer = producer;
    this.messages = messages;
    this.bytes = 0;
    for (const { length } of messages) this.bytes += MESSAGE_BYTES + length;
    this.#delivery = delivery;
  }

  /** Names the delivery on its link. */
  get tag(): Uint8Array {
    return this.#delivery.tag;
  }

  /** True when its producer will send it again, for it cannot learn any more that it has arrived. */
  get gone(): boolean {
    return !this.#delivery.remoteSettled && !this.#delivery.usable;
  }

  /** Tells the producer that it is taken. */
  accept(): void {
    if (!this.#delivery.remoteSettled && this.#delivery.usable) this.#delivery.accept();
  }

  /** Tells the producer that it is not. */
  refuse(error: AmqpError): void {
    refuse(this.producer, this.#delivery, error);
  }
}

/**
 * Keeps places for all of these messages.
 *
 * @throws {AmqpError} With `amqp:resource-limit-exceeded` if there is no room for one of them; then none has a place.
 */
export function reserveAll(sink: Pick<Sink, "reserve">, messages: readonly EncodedMessage[]): Reservation[] {
  const reservations: Reservation[] = [];
  try {
    for (const encoded of messages) {
      const reservation = sink.reserve(encoded);
      if (reservation === undefined) throw noRoom();
      reservations.push(reservation);
    }
  } catch (error) {
    for (const reservation of reservations) reservation.rollback();
    throw error;
  }
  return reservations;
}

/** The error for what a node could never hold, a message or a batch; undefined for all else. */
export function tooLarge(
  arrival: Arrival,
  { largest, most }: { readonly largest: number; readonly most: number },
): AmqpError | undefined {
  const { messages, bytes } = arrival;
  const length = bytes - MESSAGE_BYTES;
  const isBatch = messages.length > 1;
  if (length <= largest && (!isBatch || messages.length <= most)) return undefined;
  const text = isBatch
    ? `Cannot keep batch: it has ${messages.length} messages of ${bytes} bytes together, ` +
      `${most} messages and ${largest + MESSAGE_BYTES} bytes are the most`
    : `Cannot keep message: it has ${length} bytes, ${largest} are the most`;
  return deliveryError(condition.resourceLimitExceeded, text, arrival.tag);
}

function refuse(producer: Producer, delivery: Delivery, error: AmqpError): void {
  if (!(delivery.remoteSettled ? producer.receiver.usable : delivery.usable)) return;
  if (delivery.remoteSettled || !producer.rejectable) producer.end(error);
  else delivery.reject(error);
}

// The messages of a batch; undefined for what is none, as far as can be told.
function chunksOf(payload: Uint8Array, messageFormat: number): readonly Uint8Array[] | undefined {
  // The lowest byte is the version [transport 2.8.11].
  if (messageFormat >>> 8 !== BATCH_FORMAT >>> 8) return undefined;
  try {
    const { body } = new DecodedMessage(payload);
    return body instanceof DataBody ? body.chunks : body instanceof Uint8Array ? [body] : undefined;
  } catch {
    return undefined;
  }
}

function noRoom(): AmqpError {
  return new AmqpError(
    condition.resourceLimitExceeded,
    "Cannot take messages together: there is no room for all of them",
  );
}
