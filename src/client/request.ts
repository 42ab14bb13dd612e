/**
 * Requests and answers. Loaded when it is first used: few programs ask or answer, and who does waits anyway.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type Environment, randomName } from "../base/environment.ts";
import { type LogHolder, logOf } from "../base/log.ts";
import { hex, quote } from "../base/text.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import { checkMessage } from "../codec/mistakes.ts";
import type { MessageId } from "../codec/types.ts";
import type { Delivery } from "./delivery.ts";
import type { Receiver } from "./receiver.ts";
import type { ServeOptions } from "./receive_options.ts";
import type { Sender } from "./sender.ts";
import type { ReceiverOptions } from "./link_options.ts";
import { abortable, Deferred, ignore, type WaitOptions } from "../base/wait.ts";

/**
 * Senders that are kept for the next request or answer to their address; one for every address ever asked would be too many.
 * It refuses nothing, so it is no option: who asks more addresses in turn attaches again, which is a round trip more.
 */
export const MAX_IDLE_REQUEST_SENDERS = 32;

// Answers are taken at once, so this bounds only how many travel together.
const REPLY_CREDIT = 100;
// How long an answer may take before the log is told, in milliseconds. Not that of lifetime.ts: a late file that shares it costs
// the first load 80 bytes.
const PATIENCE_MS = 10_000;

/** How a request is made. */
export interface RequestOptions extends WaitOptions {
  /**
   * The address that the answer is sent to, a node of the peer that nobody else receives from. Default: `replyTo` of the
   * message's properties, otherwise a dynamic node of this connection.
   */
  replyTo?: string | undefined;
  /** How answers are received, where that is not at the address `replyTo` itself, as for `$cbs` and `$management`. */
  receiver?: ReceiverOptions | undefined;
}

export interface RequestConnection {
  /** Where it runs. */
  readonly environment: Environment;
  /** Whom it is with. */
  readonly host: string | undefined;
  /** Told of what no call fails for. */
  readonly logging: LogHolder;
  sender(address: string): Sender;
  receiver(options: ReceiverOptions): Receiver;
}

/** Answers one request: with a message, or without one for a request that wants none. */
export type Responding = (
  request: DecodedMessage,
  delivery: Delivery,
) => Message | undefined | void | Promise<Message | undefined | void>;

// A request that waits for its answer.
interface Waiting {
  readonly replies: Receiver;
  readonly answer: Deferred<DecodedMessage>;
  /** Sends the request to the address that answers are received at now. */
  send(): void;
}

/** Senders by their address, those that were used last. */
class Senders {
  readonly #connection: RequestConnection;
  readonly #senders: Map<string, Sender> = new Map();

  constructor(connection: RequestConnection) {
    this.#connection = connection;
  }

  to(address: string): Sender {
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
}

/** The requests of one connection: a reply node for all, and one for each address that was chosen; a sender for each address. */
export class Requester {
  readonly #connection: RequestConnection;
  readonly #senders: Senders;
  // By the ids that an answer may name.
  readonly #waiting: Map<string, Waiting> = new Map();
  // By the address that was chosen, undefined for the dynamic node.
  readonly #replies: Map<string | undefined, Receiver> = new Map();

  constructor(connection: RequestConnection) {
    this.#connection = connection;
    this.#senders = new Senders(connection);
  }

  /** Sends one request and waits for the answer that names it. */
  async request(address: string, message: Message, options: RequestOptions): Promise<DecodedMessage> {
    const { signal } = options;
    signal?.throwIfAborted();
    // Before it is copied, which would make an object of anything.
    checkMessage(message);
    const chosen = options.replyTo ?? message.properties?.replyTo ?? undefined;
    const replies = this.#receiver(chosen, options.receiver);
    await replies.ready({ signal });
    // Nobody else can guess it, so nobody else can answer.
    const messageId: MessageId = message.properties?.messageId ?? randomName(this.#connection.environment);
    const correlationId: MessageId = message.properties?.correlationId ?? messageId;
    // Some answer with the id of the request, others with its correlation-id where it has one.
    const keys = new Set([keyOf(messageId), keyOf(correlationId)]);
    if (this.#waiting.has(keyOf(messageId))) {
      throw new AmqpError(
        condition.illegalState,
        `Cannot send request to ${quote(address)}: another one with the same messageId waits for its answer`,
        { scope: "link" },
      );
    }
    const answer = new Deferred<DecodedMessage>();
    let sending: AbortController | undefined;
    const waiting: Waiting = {
      replies,
      answer,
      send: () => {
        // What was sent to a reply node that is gone is not to be sent again.
        sending?.abort();
        const mine = sending = new AbortController();
        const replyTo = chosen ?? replies.address;
        if (replyTo === undefined || !replies.open) return answer.reject(replyError(replies));
        // An answer says all; a peer that never settles the request keeps nobody waiting.
        this.#senders.to(address).send(
          { ...message, properties: { ...message.properties, messageId, correlationId, replyTo } },
          { signal: mine.signal },
        ).catch((error) => {
          if (sending === mine) answer.reject(error);
        });
      },
    };
    for (const key of keys) if (!this.#waiting.has(key)) this.#waiting.set(key, waiting);
    const { environment, host, logging } = this.#connection;
    const patience = environment.setTimer(() => {
      logOf(logging, environment).tell({
        level: "warning",
        code: "request-unanswered",
        message: `Cannot tell the answer of ${quote(address)}${
          host === undefined ? "" : ` at ${host}`
        } yet: none came in ${PATIENCE_MS / 1000} s; is there who answers? A signal bounds the wait`,
        address,
        host,
      });
    }, PATIENCE_MS);
    try {
      waiting.send();
      return await abortable(answer.promise, signal);
    } finally {
      environment.clearTimer(patience);
      sending?.abort();
      sending = undefined;
      for (const key of keys) if (this.#waiting.get(key) === waiting) this.#waiting.delete(key);
    }
  }

  /** Answers the requests that come to an address, see {@linkcode Connection.respond}. */
  respond(receiver: Receiver, handler: Responding, options: ServeOptions): Promise<void> {
    return receiver.serve((delivery) => this.#answer(handler, delivery), options);
  }

  async #answer(handler: Responding, delivery: Delivery): Promise<void> {
    const { message } = delivery;
    const answer = await handler(message, delivery);
    const { replyTo, correlationId, messageId } = message.properties ?? {};
    if (answer === undefined || replyTo === undefined) return;
    try {
      checkMessage(answer);
      const properties = { correlationId: correlationId ?? messageId, ...answer.properties };
      await this.#senders.to(replyTo).send({ ...answer, properties }, { signal: delivery.signal });
    } catch (error) {
      // Nobody is there to be answered, or the answer is none: to do the work once more would help nobody.
      const fault = error instanceof TypeError
        ? new AmqpError(condition.internalError, error.message, { retryable: false })
        : error;
      if (fault instanceof AmqpError && !fault.retryable && delivery.usable) delivery.reject(fault);
      throw error;
    }
  }

  #receiver(chosen: string | undefined, options: ReceiverOptions | undefined): Receiver {
    const known = this.#replies.get(chosen);
    if (known?.open) return known;
    const node = options ?? (chosen === undefined ? { dynamic: true } : { address: chosen });
    const replies = this.#connection.receiver({ credit: REPLY_CREDIT, ...node });
    this.#replies.set(chosen, replies);
    // Its node is another one when the connection was lost: what waits is to be answered there.
    if (chosen === undefined) {
      replies.onreattached = () => {
        for (const waiting of new Set(this.#waiting.values())) if (waiting.replies === replies) waiting.send();
      };
    }
    replies.serve(({ message }) => {
      const id = message.properties?.correlationId;
      if (id !== undefined) this.#waiting.get(keyOf(id))?.answer.resolve(message);
    }).catch(ignore);
    replies.closed.then(() => {
      if (this.#replies.get(chosen) === replies) this.#replies.delete(chosen);
      const error = replyError(replies);
      for (const waiting of this.#waiting.values()) if (waiting.replies === replies) waiting.answer.reject(error);
    });
    return replies;
  }
}

// Ids of different types are different, whatever they look like [messaging 3.2.11].
function keyOf(id: MessageId): string {
  if (typeof id === "string" || typeof id === "bigint") return `${typeof id} ${id}`;
  return id instanceof Uint8Array ? `binary ${hex(id)}` : `uuid ${id}`;
}

function replyError(replies: Receiver): Error {
  if (replies.error !== undefined) return replies.error;
  const state = replies.open ? "the peer gave the reply node no address" : "the reply link is closed";
  return new AmqpError(condition.illegalState, `Cannot wait for an answer: ${state}`, { scope: "link" });
}
