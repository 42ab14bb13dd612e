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
import { asAmqpError } from "../server/link_requests.ts";
import { Fifo } from "../base/collections.ts";
import { isBytes } from "../base/kinds.ts";
import { deliveryError, type EncodedMessage, keepMessage } from "./encoded_message.ts";
import { MESSAGE_BYTES } from "./queued_message.ts";
import type { KeptBytes, MessageSource } from "./kept_bytes.ts";
import type { Transactions } from "./transactions.ts";

/** A destination of messages: a queue, a topic, or the relay that picks one of them for each message. */
export interface Sink {
  /** Takes a message, now or later, or refuses it. */
  publish(arrival: Arrival): void;
  /** Reserves room for a message of a transaction; undefined if there is none. */
  reserve(encoded: EncodedMessage): Reservation | undefined;
  /** The number of messages, up to `wanted`, that a producer may send now. */
  allow(producer: Producer, wanted: number): number;
  addProducer(producer: Producer): void;
  /** Removes a link that has ended. */
  removeProducer(producer: Producer): void;
}

/** Room reserved for a message of a transaction. */
export interface Reservation {
  /** Puts the message there. */
  commit(): void;
  rollback(): void;
}

/** A list of messages that wait for room. */
export interface Waitlist {
  /** Drops messages whose producer is gone. */
  forgetGone(): void;
}

/** Checks a message before it goes anywhere; throws an AmqpError to refuse it. */
export type Inspection = (encoded: EncodedMessage, producer: Producer) => void | Promise<void>;

export interface ProducerOptions {
  /** Runs on each message before it is published. */
  readonly inspect: Inspection;
  readonly source: MessageSource;
  readonly keptBytes: KeptBytes;
  transactions: Transactions;
  /** True if batches are split into their messages. */
  readonly splits: boolean;
}

/** Most credit of one link. */
const WINDOW = 1_000;
/** Most deliveries of one link that the peer has not settled in the second step, if it asked for two. */
const MAX_UNSETTLED = 2_000;
/** The credit before the first message has shown a size. */
const FIRST_WINDOW = 10;
/** Short messages cost memory, too; bytes. */
const MIN_BYTES = 256;

export class Producer {
  readonly receiver: Receiver;
  /** Bytes of the largest message so far. */
  largest: number = MIN_BYTES;
  /** Messages of this link that wait for room. */
  waiting = 0;

  #window = FIRST_WINDOW;
  readonly #sink: Sink;
  readonly #options: ProducerOptions;
  readonly #waitlists = new Set<Waitlist>();
  // Deliveries behind one whose inspection is pending.
  readonly #behind = new Fifo<Delivery>();
  #inspecting = false;

  constructor(receiver: Receiver, sink: Sink, options: ProducerOptions) {
    this.receiver = receiver;
    this.#sink = sink;
    this.#options = options;
    sink.addProducer(this);
    receiver.ondelivery = this.#ondelivery;
    receiver.onsettled = this.#onsettled;
    receiver.closed.then(() => {
      sink.removeProducer(this);
      for (const waitlist of this.#waitlists) waitlist.forgetGone();
    });
    this.topUp();
  }

  readonly #ondelivery = (delivery: Delivery): void => {
    if (this.#inspecting) this.#behind.push(delivery);
    else this.#take(delivery);
  };
  readonly #onsettled = (): void => this.topUp();

  /** Continues with a link that the peer has attached again, maybe on another connection. */
  resume(transactions: Transactions): void {
    this.#options.transactions = transactions;
    this.topUp();
  }

  /** Grants the credit that the sink has room for, once it is worth a frame. */
  topUp(): void {
    if (!this.receiver.usable || !this.receiver.open) return;
    const { credit } = this.receiver;
    // Outcomes that the peer has not settled cost memory, too.
    const free = MAX_UNSETTLED - this.receiver.unsettled;
    const wanted = this.#sink.allow(
      this,
      Math.max(0, Math.min(free, this.#window - this.waiting - this.#behind.length)),
    );
    if (wanted === 0 ? credit > 0 : credit * 2 <= wanted) this.receiver.grant(wanted);
  }

  /** Whether the peer's source takes the outcome `rejected`; otherwise the link has to end [anonterm 2.2.2]. */
  get rejectable(): boolean {
    const source = this.receiver.remote?.source;
    return source?.outcomes === undefined || source.outcomes.includes("amqp:rejected:list");
  }

  /** Counts a message of this link that waits for room. */
  handleWaiting(waitlist: Waitlist): void {
    this.waiting++;
    this.#waitlists.add(waitlist);
  }

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
    return keepMessage(payload, messageFormat, this.#options.source, this.#options.keptBytes);
  }

  // Publishes all messages of a batch, or none.
  #takeAll(delivery: Delivery, messages: readonly EncodedMessage[]): void {
    const inspected = messages.map((encoded) => this.#options.inspect(encoded, this)).filter((one) =>
      one !== undefined
    );
    if (inspected.length === 0) return this.#publish(delivery, messages);
    this.#await(Promise.all(inspected), delivery, () => this.#publish(delivery, messages));
  }

  // In a transaction, messages are taken at once or refused: waiting for room would block the transaction.
  #publish(delivery: Delivery, messages: readonly EncodedMessage[]): void {
    const state = delivery.remoteState;
    // The state may be that of a transaction, outside of which the message must not be published.
    if (state?.kind === "unknown") throw new AmqpError(state.error.condition, state.error.description!);
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
    const { connection, address } = this.receiver;
    const { condition: symbol, message } = asAmqpError(connection, error, "take message", address);
    refuse(this, delivery, deliveryError(symbol, message, delivery.tag, error));
  }
}

/** A message, or a batch to be taken as a whole, that has arrived and is not accepted yet. */
export class Arrival {
  /** The message, or the messages of the batch in order. */
  readonly messages: readonly EncodedMessage[];
  /** The bytes that the messages count for. */
  readonly bytes: number;
  readonly producer: Producer;

  readonly #delivery: Delivery;

  constructor(producer: Producer, delivery: Delivery, messages: readonly EncodedMessage[]) {
    this.producer = producer;
    this.messages = messages;
    this.bytes = 0;
    for (const { length } of messages) this.bytes += MESSAGE_BYTES + length;
    this.#delivery = delivery;
  }

  get tag(): Uint8Array {
    return this.#delivery.tag;
  }

  /** True when the producer cannot learn the outcome any more, and will send the message again. */
  get gone(): boolean {
    return !this.#delivery.remoteSettled && !this.#delivery.usable;
  }

  accept(): void {
    if (!this.#delivery.remoteSettled && this.#delivery.usable) this.#delivery.accept();
  }

  refuse(error: AmqpError): void {
    refuse(this.producer, this.#delivery, error);
  }
}

/**
 * Reserves room for all of these messages.
 *
 * @throws {AmqpError} With `amqp:resource-limit-exceeded` if there is no room for one of them; then none is reserved.
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

/** The error for a message or batch that a node could never hold; undefined if it could. */
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

// The messages of a batch; undefined for other messages, or a batch that cannot be decoded.
function chunksOf(payload: Uint8Array, messageFormat: number): readonly Uint8Array[] | undefined {
  // The lowest byte of the message format is its version [transport 2.8.11].
  if (messageFormat >>> 8 !== BATCH_FORMAT >>> 8) return undefined;
  try {
    const { body } = new DecodedMessage(payload);
    return body instanceof DataBody ? body.chunks : isBytes(body) ? [body] : undefined;
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
