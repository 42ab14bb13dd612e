/**
 * A broker in memory: queues, topics, dynamic nodes, an anonymous relay.
 *
 * Meant for tests, for development, and for programs whose messages need not outlive them: nothing is written to disk,
 * and what it has accepted is gone when it is closed or its process ends.
 *
 * @example A broker for anybody on this machine
 * ```ts
 * import { Broker } from "@webamqp/amqp/broker";
 * import { handler } from "@webamqp/amqp/deno";
 *
 * function start() {
 *   const broker = new Broker({ queue: { deadLetter: "dead-letters" } });
 *   Deno.serve({ hostname: "127.0.0.1", port: 5672 }, handler((channel, info) => broker.accept(channel, info)));
 *   return broker;
 * }
 * ```
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { toDescribed } from "../codec/composite.ts";
import type { Fields, Source, Target } from "../codec/types.ts";
import type { Channel, PeerInfo } from "../transport/channel.ts";
import { Budget } from "./budget.ts";
import { Consumer, failed } from "./consumer.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { Producer } from "./producer.ts";
import { type NodeHost, Queue, type QueueOptions, type QueueStatus } from "./queue.ts";
import { destination, Relay } from "./relay.ts";
import { Topic } from "./topic.ts";
import type { Connection } from "../client/connection.ts";
import type { CloseOptions } from "../client/link.ts";
import {
  type Acceptor,
  acceptor,
  type AcceptorOptions,
  type LinkRequest,
  type ReceiverRequest,
  type SenderRequest,
} from "../server/acceptor.ts";
import { ACCEPTOR_KINDS } from "../server/kinds.ts";
import { randomName } from "../base/environment.ts";
import { quote } from "../base/text.ts";
import { abortable } from "../base/wait.ts";

export type { QueueOptions, QueueStatus } from "./queue.ts";
export type { AcceptorOptions, SaslServerOptions } from "../server/acceptor.ts";

/** What a peer wants to do at an address; `"create"` is a dynamic node, whose address the broker has made up. */
export type BrokerAction = "send" | "receive" | "create";

/** How a {@linkcode Broker} is set up. */
export interface BrokerOptions extends Omit<AcceptorOptions, "onSender" | "onReceiver"> {
  /** Queues that are there from the start, with terms of their own. */
  queues?: Readonly<Record<string, QueueOptions>>;
  /** Terms of all other queues, and of the queues of subscribers. */
  queue?: QueueOptions;
  /** Makes a queue for any address that is used. Default: true; false refuses unknown addresses. */
  autoCreate?: boolean;
  /** Addresses that are topics; one that ends in `*` stands for all that begin so. Default: `["topic/*"]`. */
  topics?: readonly string[];
  /**
   * Decides what a peer may do; the identity is undefined for an anonymous one. Asked for each link, for each message on a
   * link without a fixed target, and for each dynamic node. Default: everybody may do anything.
   */
  authorize?: (identity: string | undefined, action: BrokerAction, address: string) => boolean | Promise<boolean>;
  /**
   * What to do with messages whose header says that they must survive a restart, which nothing here does. Most clients
   * mark all their messages so. Default: `"accept"` treats them like others; `"reject"` is what the specification demands.
   */
  durable?: "accept" | "reject";
  /** Largest message that is taken, in bytes. Default: 16 MiB. */
  maxMessageSize?: number;
  /** Most queues and topics. Default: 10,000. */
  maxQueues?: number;
  /** Most messages in all queues together. Default: 1,000,000. */
  maxMessages?: number;
  /** Most bytes in all queues together. Default: 256 MiB. */
  maxBytes?: number;
}

const QUEUE_KINDS: OptionKinds<QueueOptions> = {
  deadLetter: "string",
  maxDeliveries: "number",
  maxMessages: "number",
  maxBytes: "number",
};
const BROKER_KINDS: OptionKinds<Omit<BrokerOptions, keyof AcceptorOptions>> = {
  queues: "object",
  queue: QUEUE_KINDS,
  autoCreate: "boolean",
  topics: "array",
  authorize: "function",
  durable: '"accept" or "reject"',
  maxMessageSize: "number",
  maxQueues: "number",
  maxMessages: "number",
  maxBytes: "number",
};

const DYNAMIC = "dynamic/";
const MAX_MESSAGE_SIZE = 16 * 1_024 * 1_024;
const MAX_QUEUES = 10_000;
const MAX_MESSAGES = 1_000_000;
const MAX_BYTES = 256 * 1_024 * 1_024;
const OUTCOMES = ["amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list"];

/**
 * A broker that keeps everything in memory.
 *
 * - A queue hands each message to one of its consumers, in order, in turns among those that have credit. `accepted` ends a
 *   message; `released` puts it back at its place; `modified` does so changed; `rejected` moves it to the dead-letter
 *   queue or drops it. What a consumer holds when it goes away comes back as an attempt that failed, unless its source
 *   asked for another default outcome. Distribution mode `copy` looks at the messages and leaves them.
 * - A topic copies each message to those who listen at the time, each of whom has a queue of its own.
 * - A dynamic node is a queue with an unguessable address, from which only its maker's connection receives; it goes away
 *   with the link that made it.
 * - A sender without a target address names the destination of each message in its property `to`.
 * - A full queue stops its producers by giving them no credit; a message that can never fit is rejected.
 * - Messages expire by the `ttl` in their header. Priorities and filters are not looked at.
 *
 * With `sasl.users` or `sasl.external`, a message whose property `user-id` is not that of its sender is rejected.
 *
 * @example
 * ```ts
 * import type { Channel } from "@webamqp/amqp";
 * import { Broker } from "@webamqp/amqp/broker";
 *
 * const broker = new Broker({
 *   sasl: { users: { shop: "secret" } },
 *   queues: { orders: { deadLetter: "failed", maxMessages: 1_000 } },
 *   topics: ["news/*"],
 *   authorize: (identity) => identity === "shop",
 * });
 * const accept = (channel: Channel) => broker.accept(channel);
 * console.assert(typeof accept === "function" && broker.queue("orders")?.messages === 0);
 * await broker.close();
 * ```
 */
export class Broker implements AsyncDisposable {
  readonly #options: BrokerOptions;
  readonly #acceptor: Acceptor;
  readonly #host: NodeHost;
  readonly #nodes = new Map<string, Queue | Topic>();
  readonly #relay = new Relay((address) => this.#find(address));

  /** Makes the queues that `options` names; nothing listens yet. */
  constructor(options: BrokerOptions = {}) {
    checkOptions("make broker", options, { ...ACCEPTOR_KINDS, ...BROKER_KINDS });
    for (const [address, terms] of Object.entries(options.queues ?? {})) {
      checkOptions(`make queue ${quote(address)}`, terms, QUEUE_KINDS);
    }
    this.#options = options;
    const { maxMessages = MAX_MESSAGES, maxBytes = MAX_BYTES } = options;
    this.#host = {
      budget: new Budget(maxMessages, maxBytes),
      // Messages that were on their way when a queue became full; a quarter more at most, but always some message.
      waiting: new Budget(maxMessages, Math.max(this.#maxMessageSize, maxBytes / 4)),
      deadLetter: (message, address) => this.#deadLetterQueue(address)?.push(message) ?? false,
    };
    for (const [address, terms] of Object.entries(options.queues ?? {})) {
      this.#nodes.set(address, new Queue(this.#host, address, terms));
    }
    this.#acceptor = acceptor({
      ...Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(ACCEPTOR_KINDS, name))),
      offeredCapabilities: ["ANONYMOUS-RELAY", ...options.offeredCapabilities ?? []],
      properties: { product: "webamqp", storage: "memory", ...options.properties },
      onSender: (request) => this.#handleSender(request),
      onReceiver: (request) => this.#handleReceiver(request),
    });
  }

  /** Takes over a channel whose peer is about to speak AMQP; undefined if it has closed it, as an acceptor does. */
  accept(channel: Channel, info?: PeerInfo): Connection | undefined {
    return this.#acceptor.accept(channel, info);
  }

  /** The connections that have not ended. */
  get connections(): ReadonlySet<Connection> {
    return this.#acceptor.connections;
  }

  /** Messages in all queues together, those with consumers included. */
  get messages(): number {
    return this.#host.budget.messages;
  }

  /** Bytes in all queues together. */
  get bytes(): number {
    return this.#host.budget.bytes;
  }

  /** What is in a queue; undefined if there is none of that address. */
  queue(address: string): QueueStatus | undefined {
    const node = this.#nodes.get(address);
    return node instanceof Queue ? node.status : undefined;
  }

  /** What is in the queues, those of subscribers left out. */
  queues(): QueueStatus[] {
    const queues = [...this.#nodes.values()].filter((node) => node instanceof Queue);
    return queues.map((queue) => queue.status);
  }

  /** Drops the messages of a queue that no consumer holds; gives how many those were. */
  purge(address: string): number {
    const node = this.#nodes.get(address);
    return node instanceof Queue ? node.purge() : 0;
  }

  /** Deletes a queue or topic with all that is in it, and ends its links; false if there is none. */
  delete(address: string): boolean {
    const node = this.#nodes.get(address);
    if (node === undefined) return false;
    this.#nodes.delete(address);
    node.close(
      new AmqpError(condition.resourceDeleted, `Cannot keep link: "${address}" was deleted`, { scope: "link" }),
    );
    return true;
  }

  /** Closes all connections, accepts no more, and forgets all messages. Waits for no outcome unless a time is given. */
  close({ signal, ...options }: CloseOptions = {}): Promise<void> {
    const closing = this.#acceptor.close({ timeoutMs: 0, ...options }).then(() => {
      for (const address of [...this.#nodes.keys()]) this.delete(address);
    });
    return abortable(closing, signal);
  }

  /** Closes the broker. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #maxMessageSize(): number {
    return this.#options.maxMessageSize ?? MAX_MESSAGE_SIZE;
  }

  async #handleReceiver(request: ReceiverRequest): Promise<void> {
    const { connection, attach, dynamic } = request;
    if (attach.target?.kind === "coordinator") throw refusal(condition.notImplemented, "there are no transactions");
    if (attach.target === undefined) throw refusal(condition.invalidField, "it has no target");
    const address = dynamic ? DYNAMIC + randomName() : request.address ?? "";
    if (address !== "") await this.#authorize(connection, dynamic ? "create" : "send", address);
    const anonymous = address === "";
    const sink = dynamic ? this.#makeDynamic(connection, address) : anonymous ? this.#relay : this.#find(address);
    const target: Target = { kind: "target", expiryPolicy: "link-detach", ...dynamicTerms(dynamic) };
    if (!anonymous) target.address = address;
    const largest = sink instanceof Relay ? Infinity : sink.largest;
    const receiver = this.#accept(request, {
      target,
      credit: "manual",
      settle: "manual",
      maxMessageSize: BigInt(Math.min(this.#maxMessageSize, largest)),
    });
    const inspect = (encoded: EncodedMessage) => this.#inspect(encoded, connection, anonymous);
    new Producer(receiver, sink, inspect);
    if (dynamic) receiver.closed.then(() => this.delete(address));
  }

  async #handleSender(request: SenderRequest): Promise<void> {
    const { connection, attach, dynamic } = request;
    const wish = attach.source;
    if (wish === undefined) throw refusal(condition.invalidField, "it has no source");
    const address = dynamic ? DYNAMIC + randomName() : request.address ?? "";
    if (address === "") throw refusal(condition.notFound, "its source names no address");
    await this.#authorize(connection, dynamic ? "create" : "receive", address);
    const node = dynamic ? this.#makeDynamic(connection, address) : this.#find(address);
    if (node instanceof Queue && (node.kind.owner ?? connection) !== connection) {
      throw refusal(condition.unauthorizedAccess, `"${address}" belongs to another connection`);
    }
    const queue = node instanceof Queue ? node : node.queue();
    const browses = node instanceof Queue && wish.distributionMode === "copy";
    // Filters are left out of the answer, which says that none is in force [messaging 3.5.3].
    const source: Source = {
      kind: "source",
      address,
      expiryPolicy: "link-detach",
      ...dynamicTerms(dynamic),
      distributionMode: browses || node instanceof Topic ? "copy" : "move",
      defaultOutcome: wish.defaultOutcome ?? failed(),
      outcomes: OUTCOMES,
    };
    const sender = this.#accept(request, { source });
    const consumer = new Consumer(sender, queue, browses);
    if (node instanceof Topic) node.subscribe(consumer, queue);
    else queue.addConsumer(consumer);
    sender.closed.then(() => {
      if (node instanceof Topic) node.unsubscribe(consumer);
      else queue.removeConsumer(consumer);
      if (dynamic) this.delete(address);
    });
  }

  #accept<Link, Terms>(request: LinkRequest<Link, Terms>, terms: Terms & { source?: Source; target?: Target }): Link {
    try {
      return request.accept(terms);
    } catch (error) {
      // The peer has gone in the meantime.
      if (request.dynamic) this.delete((terms.source ?? terms.target)!.address!);
      throw error;
    }
  }

  #authorize(connection: Connection, action: BrokerAction, address: string): void | Promise<void> {
    const check = (allowed: boolean): void => {
      if (allowed) return;
      const who = connection.identity === undefined ? "anonymous" : `"${connection.identity}"`;
      throw new AmqpError(condition.unauthorizedAccess, `Cannot ${action} at "${address}": ${who} may not`, {
        scope: "link",
      });
    };
    const allowed = this.#options.authorize?.(connection.identity, action, address) ?? true;
    return typeof allowed === "boolean" ? check(allowed) : allowed.then(check);
  }

  #inspect(encoded: EncodedMessage, connection: Connection, anonymous: boolean): void | Promise<void> {
    const { durable, sasl } = this.#options;
    if (durable === "reject" && encoded.header?.durable) {
      throw new AmqpError(
        condition.preconditionFailed,
        "Cannot keep durable message: messages are kept in memory only",
      );
    }
    if (sasl?.users !== undefined || sasl?.external !== undefined) {
      const { userId } = encoded.properties;
      if (userId !== undefined && new TextDecoder().decode(userId) !== connection.identity) {
        throw new AmqpError(
          condition.unauthorizedAccess,
          'Cannot take message: its "user-id" is not that of its sender',
        );
      }
    }
    if (anonymous) return this.#authorize(connection, "send", destination(encoded.properties.to));
  }

  #find(address: string): Queue | Topic {
    const node = this.#nodes.get(address);
    if (node !== undefined) return node;
    const { topics = ["topic/*"], autoCreate = true, queue = {} } = this.#options;
    if (topics.some((topic) => matches(topic, address))) {
      return this.#add(address, new Topic(this.#host, address, queue));
    }
    if (autoCreate && !address.startsWith(DYNAMIC)) {
      return this.#add(address, new Queue(this.#host, address, queue, { passing: true }));
    }
    throw refusal(condition.notFound, `there is no "${address}"`);
  }

  // Where dead letters go, unless there is no such queue and no place for one.
  #deadLetterQueue(address: string): Queue | undefined {
    const node = this.#nodes.get(address);
    if (node !== undefined) return node instanceof Queue ? node : undefined;
    if (!this.#hasPlace()) return undefined;
    return this.#add(address, new Queue(this.#host, address, this.#options.queue ?? {}, { passing: true }));
  }

  #makeDynamic(owner: Connection, address: string): Queue {
    return this.#add(address, new Queue(this.#host, address, this.#options.queue ?? {}, { owner }));
  }

  #add<Node extends Queue | Topic>(address: string, node: Node): Node {
    if (!this.#hasPlace()) throw refusal(condition.resourceLimitExceeded, "there are too many queues");
    this.#nodes.set(address, node);
    return node;
  }

  // Nobody misses a queue that was made by the way and is not in use: it would be made again.
  #hasPlace(): boolean {
    const { maxQueues = MAX_QUEUES } = this.#options;
    for (const [address, node] of this.#nodes) {
      if (this.#nodes.size < maxQueues) break;
      if (node.unused && (node instanceof Topic || node.kind.passing)) this.#nodes.delete(address);
    }
    return this.#nodes.size < maxQueues;
  }
}

function dynamicTerms(dynamic: boolean): { dynamic?: boolean; dynamicNodeProperties?: Fields } {
  if (!dynamic) return {};
  return { dynamic, dynamicNodeProperties: { "lifetime-policy": toDescribed({ kind: "deleteOnClose" }) } };
}

function matches(topic: string, address: string): boolean {
  return topic.endsWith("*") ? address.startsWith(topic.slice(0, -1)) : address === topic;
}

function refusal(symbol: string, state: string): AmqpError {
  return new AmqpError(symbol, `Cannot attach link: ${state}`, { scope: "link" });
}
