/**
 * Requests and answers over a dynamic reply node.
 *
 * @module
 */

import { AmqpError, condition } from "../errors.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import type { Connection } from "./connection.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import { randomName } from "./terms.ts";
import { abortable, Deferred, ignore, type WaitOptions } from "./wait.ts";

/** The requests of one connection: one reply node for all, one sender for each address. */
export class Requester {
  readonly #connection: Connection;
  readonly #waiting = new Map<string, Deferred<DecodedMessage>>();
  readonly #senders = new Map<string, Sender>();
  #replies: Receiver | undefined;

  /** Built by its connection. */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Sends one request and waits for the answer that names it. */
  async request(address: string, message: Message, options: WaitOptions): Promise<DecodedMessage> {
    const { signal } = options;
    signal?.throwIfAborted();
    const replies = this.#receiver();
    await replies.ready({ signal });
    // Nobody else can guess it, so nobody else can answer.
    const messageId = randomName();
    const answer = new Deferred<DecodedMessage>();
    this.#waiting.set(messageId, answer);
    try {
      await this.#sender(address).send({
        ...message,
        properties: { ...message.properties, messageId, replyTo: replies.address },
      }, { signal });
      return await abortable(answer.promise, signal);
    } finally {
      this.#waiting.delete(messageId);
    }
  }

  #sender(address: string): Sender {
    let sender = this.#senders.get(address);
    if (sender === undefined || !sender.open) {
      sender = this.#connection.sender(address);
      this.#senders.set(address, sender);
    }
    return sender;
  }

  #receiver(): Receiver {
    if (this.#replies?.open) return this.#replies;
    const replies = this.#connection.receiver({ dynamic: true });
    this.#replies = replies;
    replies.serve((delivery) => {
      const id = delivery.message.properties?.correlationId;
      const answer = typeof id === "string" ? this.#waiting.get(id) : undefined;
      answer?.resolve(delivery.message);
    }).catch(ignore);
    replies.closed.then(() => this.#failAll(replies));
    return replies;
  }

  #failAll(replies: Receiver): void {
    const error = replies.error ??
      new AmqpError(condition.illegalState, "Cannot wait for answers: the reply link is closed", { scope: "link" });
    for (const answer of this.#waiting.values()) answer.reject(error);
    this.#waiting.clear();
  }
}
