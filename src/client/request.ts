/**
 * Requests and responses. Loaded at first use: few programs need it, and a caller waits for the response anyway.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { type Environment, randomName } from "../base/environment.ts";
import { isBytes } from "../base/kinds.ts";
import { type LogHolder, logOf } from "../base/log.ts";
import { hex, quote } from "../base/text.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import { checkMessage } from "../codec/message_checks.ts";
import type { MessageId } from "../codec/types.ts";
import type { Delivery } from "./delivery.ts";
import type { Receiver } from "./receiver.ts";
import type { ServeOptions } from "./receive_options.ts";
import type { Sender } from "./sender.ts";
import type { ReceiverOptions } from "./link_options.ts";
import { abortable, Deferred, ignore, throwIfAborted, type WaitOptions } from "../base/wait.ts";

/**
 * Idle senders cached for the next request or response to their address. Beyond it nothing is refused, so it is no option:
 * another address costs a further attach, one round trip.
 */
export const MAX_IDLE_REQUEST_SENDERS = 32;

// Responses are taken at once, so this bounds only how many travel together.
const REPLY_CREDIT = 100;
// Milliseconds that a response may take before a warning is logged. Not that of lifetime.ts: a lazily loaded file that shares
// it costs the first load 80 bytes.
const WARNING_DELAY_MS = 10_000;

/** Options of a request. */
export interface RequestOptions extends WaitOptions {
  /**
   * The address for the response, a node of the peer from which nobody else receives. Default: `replyTo` of the message's
   * properties, otherwise a dynamic node of this connection.
   */
  replyTo?: string | undefined;
  /** Options of the receiver of responses, where its source is not the address `replyTo`, as for `$cbs` and `$management`. */
  receiver?: ReceiverOptions | undefined;
}

export interface RequestConnection {
  readonly environment: Environment;
  readonly host: string | undefined;
  readonly logging: LogHolder;
  sender(address: string): Sender;
  receiver(options: ReceiverOptions): Receiver;
}

/** Responds to a request: returns the response, or nothing for a request without one. */
export type Responding = (
  request: DecodedMessage,
  delivery: Delivery,
) => Message | undefined | void | Promise<Message | undefined | void>;

// A request that waits for its response.
interface Waiting {
  readonly replies: Receiver;
  readonly answer: Deferred<DecodedMessage>;
  /** Sends the request with the present address for responses. */
  send(): void;
}

/** The senders of recent requests, by address. */
class Senders {
  readonly #connection: RequestConnection;
  readonly #senders: Map<string, Sender> = new Map();

  constructor(connection: RequestConnection) {
    this.#connection = connection;
  }

  to(address: string): Sender {
    let sender = this.#senders.get(address);
    // Moved to the end of the insertion order, which is that of use.
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

/** The requests of one connection: one receiver for responses, one more per explicit address, and a sender for each address. */
export class Requester {
  readonly #connection: RequestConnection;
  readonly #senders: Senders;
  // By each id that a response may carry.
  readonly #waiting: Map<string, Waiting> = new Map();
  // By the explicit address, undefined for the dynamic node.
  readonly #replies: Map<string | undefined, Receiver> = new Map();

  constructor(connection: RequestConnection) {
    this.#connection = connection;
    this.#senders = new Senders(connection);
  }

  /** Sends a request and waits for the response with its id. */
  async request(address: string, message: Message, options: RequestOptions): Promise<DecodedMessage> {
    const { signal } = options;
    throwIfAborted(signal);
    const chosen = options.replyTo ?? message.properties?.replyTo ?? options.receiver?.address ?? undefined;
    const replies = this.#receiver(chosen, options.receiver);
    await replies.ready({ signal });
    // An unguessable id, so that nobody else can respond.
    const messageId: MessageId = message.properties?.messageId ?? randomName(this.#connection.environment);
    const correlationId: MessageId = message.properties?.correlationId ?? messageId;
    // Some responders copy the message-id, others the correlation-id if there is one.
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
        // A request sent with the address of a lost reply node must not be sent again.
        sending?.abort();
        const mine = sending = new AbortController();
        const replyTo = chosen ?? replies.address;
        if (replyTo === undefined || !replies.open) return answer.reject(replyError(replies));
        // The response settles the call, even if the peer never settles the request.
        this.#senders.to(address).send(
          { ...message, properties: { ...message.properties, messageId, correlationId, replyTo } },
          { signal: mine.signal },
        ).catch((error) => {
          if (sending === mine) answer.reject(error);
        });
      },
    };
    for (const key of keys) if (!this.#waiting.has(key)) this.#waiting.set(key, waiting);
    const warningTimer = this.#watch(address);
    try {
      waiting.send();
      return await abortable(answer.promise, signal);
    } finally {
      this.#connection.environment.clearTimer(warningTimer);
      sending?.abort();
      sending = undefined;
      for (const key of keys) if (this.#waiting.get(key) === waiting) this.#waiting.delete(key);
    }
  }

  // Warns when an answer is late; returns the timer.
  #watch(address: string): unknown {
    const { environment, host, logging } = this.#connection;
    return environment.setTimer(() => {
      const node = host === undefined ? quote(address) : `${quote(address)} at ${host}`;
      const message = `Cannot tell the answer of ${node} yet: none came in ${WARNING_DELAY_MS / 1000} s; ` +
        "does anybody answer there? A signal bounds the wait";
      logOf(logging, environment).write({ level: "warning", code: "request-unanswered", message, address, host });
    }, WARNING_DELAY_MS);
  }

  /** Responds to the requests of a receiver, see {@linkcode Connection.respond}. */
  respond(receiver: Receiver, handler: Responding, options: ServeOptions): Promise<void> {
    return receiver.serve((delivery) => this.#answer(handler, delivery), options);
  }

  async #answer(handler: Responding, delivery: Delivery): Promise<void> {
    const { message } = delivery;
    const answer = await handler(message, delivery);
    const { replyTo, correlationId, messageId } = message.properties ?? {};
    if (answer === undefined || replyTo === undefined) return;
    try {
      const sender = this.#senders.to(replyTo);
      await check(answer, sender);
      const properties = { correlationId: correlationId ?? messageId, ...answer.properties };
      await sender.send({ ...answer, properties }, { signal: delivery.signal });
    } catch (error) {
      // The requester is gone, or the response is invalid: doing the work again would not help.
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
    // The dynamic node is a new one after a reconnect: pending requests are sent again with its address.
    if (chosen === undefined) {
      const resend = (): void => {
        for (const waiting of new Set(this.#waiting.values())) if (waiting.replies === replies) waiting.send();
      };
      replies.onreattached = resend;
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

// Ids of different types are different, even if they look alike [messaging 3.2.11].
function keyOf(id: MessageId): string {
  if (typeof id === "string" || typeof id === "bigint") return `${typeof id} ${id}`;
  return isBytes(id) ? `binary ${hex(id)}` : `uuid ${id}`;
}

function replyError(replies: Receiver): Error {
  if (replies.error !== undefined) return replies.error;
  const state = replies.open ? "the peer gave the reply node no address" : "the reply link is closed";
  return new AmqpError(condition.illegalState, `Cannot wait for an answer: ${state}`, { scope: "link" });
}

// Checked before the spread, which accepts anything.
async function check(answer: Message, sender: Sender): Promise<void> {
  try {
    checkMessage(answer);
  } catch (error) {
    await sender.refused(error, answer);
  }
}
