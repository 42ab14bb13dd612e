/**
 * Requests and answers over a dynamic reply node. Loaded when it is first used: few programs ask, and who does waits anyway.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type Environment, randomName } from "../base/environment.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import type { ReceiverOptions } from "./terms.ts";
import { abortable, Deferred, ignore, type WaitOptions } from "../base/wait.ts";

/**
 * Senders that are kept for the next request to their address; one for every address ever asked would be too many. It refuses
 * nothing, so it is no option: who asks more addresses in turn attaches again, which is a round trip more.
 */
export const MAX_IDLE_REQUEST_SENDERS = 32;

/** The connection of requests: what they ask of it. */
export interface RequestConnection {
  /** Where it runs. */
  readonly environment: Environment;
  /** Attaches a sender. */
  sender(address: string): Sender;
  /** Attaches a receiver. */
  receiver(options: ReceiverOptions): Receiver;
}

interface Waiting {
  readonly replies: Receiver;
  readonly answer: Deferred<DecodedMessage>;
}

/** The requests of one connection: one reply node for all, one sender for each address. */
export class Requester {
  readonly #connection: RequestConnection;
  readonly #waiting = new Map<string, Waiting>();
  readonly #senders = new Map<string, Sender>();
  #replies: Receiver | undefined;

  /** Built by its connection. */
  constructor(connection: RequestConnection) {
    this.#connection = connection;
  }

  /** Sends one request and waits for the answer that names it. */
  async request(address: string, message: Message, options: WaitOptions): Promise<DecodedMessage> {
    const { signal } = options;
    signal?.throwIfAborted();
    const replies = this.#receiver();
    await replies.ready({ signal });
    const replyTo = replies.address;
    if (replyTo === undefined || !replies.open) throw replyError(replies);
    // Nobody else can guess it, so nobody else can answer.
    const messageId = randomName(this.#connection.environment);
    const answer = new Deferred<DecodedMessage>();
    this.#waiting.set(messageId, { replies, answer });
    try {
      await this.#sender(address).send({
        ...message,
        // Some answer with the id of the request, others with its correlation-id where it has one.
        properties: { ...message.properties, messageId, correlationId: messageId, replyTo },
      }, { signal });
      return await abortable(answer.promise, signal);
    } finally {
      this.#waiting.delete(messageId);
    }
  }

  #sender(address: string): Sender {
    let sender = this.#senders.get(address);
    // Taken out and put back, the one that was used last stands last.
    this.#senders.delete(address);
    if (sender === undefined || !sender.open) {
      this.#dropIdle();
      sender = this.#connection.sender(address);
    }
    this.#senders.set(address, sender);
    return sender;
  }

  #dropIdle(): void {
    if (this.#senders.size < MAX_IDLE_REQUEST_SENDERS) return;
    for (const [address, sender] of this.#senders) {
      if (sender.open && sender.pending > 0) continue;
      this.#senders.delete(address);
      sender.close().catch(ignore);
      return;
    }
  }

  #receiver(): Receiver {
    if (this.#replies?.open) return this.#replies;
    const replies = this.#connection.receiver({ dynamic: true });
    this.#replies = replies;
    replies.serve((delivery) => {
      const id = delivery.message.properties?.correlationId;
      if (typeof id === "string") this.#waiting.get(id)?.answer.resolve(delivery.message);
    }).catch(ignore);
    replies.closed.then(() => this.#failAll(replies));
    return replies;
  }

  #failAll(replies: Receiver): void {
    const error = replyError(replies);
    for (const waiting of this.#waiting.values()) if (waiting.replies === replies) waiting.answer.reject(error);
  }
}

function replyError(replies: Receiver): Error {
  if (replies.error !== undefined) return replies.error;
  const state = replies.open ? "the peer gave the reply node no address" : "the reply link is closed";
  return new AmqpError(condition.illegalState, `Cannot wait for an answer: ${state}`, { scope: "link" });
}
