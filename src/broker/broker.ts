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

import type { Trace } from "../client/attempt.ts";
import { type Environment, systemEnvironment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import * as condition from "../base/condition.ts";
import { Log, type LogOption } from "../base/log.ts";
import { quote } from "../base/text.ts";
import { checkFunction, checkOptions, checkText, type OptionKinds } from "../base/options.ts";
import type { Fields, ReceiverSettleMode } from "../codec/types.ts";
import { type Channel, checkChannel, type PeerInfo } from "../transport/channel.ts";
import { channelPair } from "../transport/pair.ts";
import { openOver } from "../client/connect.ts";
import type { Connection } from "../client/connection.ts";
import { showFacts } from "../client/inspect.ts";
import { CLOSE_KINDS, type CloseOptions } from "../client/lifetime.ts";
import {
  type Acceptor,
  acceptor,
  type AcceptorOptions,
  type ReceiverRequest,
  type SenderRequest,
} from "../server/acceptor.ts";
import { ACCEPTOR_KINDS } from "../server/kinds.ts";
import { abortable } from "../base/wait.ts";
import { attachConsumer, type AttachContext, attachProducer } from "./attach.ts";
import { RoomBudget } from "./budget.ts";
import { CLAIMS_NODE, ClaimsNode, type VerifyPutToken } from "./claims.ts";
import { BrokerFaults } from "./faults.ts";
import { matches, Nodes } from "./nodes.ts";
import { Queue } from "./queue.ts";
import type { QueueOptions, QueueStatus } from "./queue_options.ts";
import { Relay } from "./relay.ts";
import { type Authorize, Rights } from "./rights.ts";
import { KeptBytes } from "./kept_bytes.ts";

export type { PutToken, VerifyPutToken } from "./claims.ts";
export type { BrokerFaults, RestartOptions } from "./faults.ts";
export type { Faults } from "./faulty_channel.ts";
export type { LossCount } from "./consumer.ts";
export type { QueueOptions, QueueStatus } from "./queue_options.ts";
export type { Authorize, BrokerAction, BrokerPeer } from "./rights.ts";
export type { LogCode, LogEntry, LogOption } from "../base/log.ts";
export type { AcceptorOptions, ReceiverRequest, SaslServerOptions, SenderRequest } from "../server/acceptor.ts";

/**
 * Accepts or refuses a link that a peer attaches at a node of the program's own; throwing refuses it with the error. Returning
 * false, before either, leaves the link to the queue or topic of that address.
 */
export type NodeHandler = (link: SenderRequest | ReceiverRequest) => void | false | Promise<void | false>;

/** The settings of a {@linkcode Broker}. */
export interface BrokerOptions extends Omit<AcceptorOptions, "onSender" | "onReceiver"> {
  /** The queues that exist from the start, each with its own settings. */
  queues?: Readonly<Record<string, QueueOptions>> | undefined;
  /** Settings of all other queues, and of the queues of subscribers. */
  queue?: QueueOptions | undefined;
  /** Whether a queue is made for any address that is used. Default: true; false refuses unknown addresses. */
  autoCreate?: boolean | undefined;
  /** The addresses of topics; a trailing `*` matches any ending. Default: `["topic/*"]`. */
  topics?: readonly string[] | undefined;
  /**
   * Nodes of the program's own, by address, where a trailing `*` matches any ending: each link attached there is handed to
   * the handler once `authorize` allows it. This is where a test double adds parts of a service that are not queues.
   */
  nodes?: Readonly<Record<string, NodeHandler>> | undefined;
  /**
   * Decides whether a peer may do something; `identity` is undefined for an anonymous peer. Called for each link, for each
   * message on a link without a fixed target, and for each dynamic node. Default: everybody may do anything.
   */
  authorize?: Authorize | undefined;
  /**
   * Verifies the tokens that peers put at the node `$cbs`. With it, a link needs a valid token whose audience is the link's
   * address or a URL with that path, unless `authorize` is given, which then decides by `peer.audiences`. A connection
   * loses its links when its last token expires or is deleted. Default: there is no such node.
   */
  verifyToken?: VerifyPutToken | undefined;
  /**
   * The settle modes that the broker agrees to. Default: a peer that receives gets the mode that it asks for; a peer that
   * sends gets `"first"`, since some ask for `"second"` and never take the second step. `["first"]` settles both in one
   * step, `["first", "second"]` both as they ask.
   */
  settleModes?: readonly ReceiverSettleMode[] | undefined;
  /**
   * The treatment of durable messages, which nothing here keeps over a restart; most clients mark all their messages as
   * durable. Default: `"accept"` treats them like others; `"reject"` is what the specification demands.
   */
  durable?: "accept" | "reject" | undefined;
  /**
   * The treatment of batches, messages of format 0x80013700 that hold many messages: `"split"` puts all of them into the
   * queue or none, `"keep"` passes the batch on as it came. Default: `"split"`.
   */
  batches?: "split" | "keep" | undefined;
  /** The largest message that is accepted, in bytes. Default: 16 MiB. */
  maxMessageSize?: number | undefined;
  /** The most queues and topics, and also the most subscriptions that outlive their links. Default: 10,000. */
  maxQueues?: number | undefined;
  /** Milliseconds for which an unused queue or topic that was made on demand is kept. Default: 300,000. */
  idleQueueMs?: number | undefined;
  /**
   * The longest time, in milliseconds, for which the broker keeps a lost link at a queue or topic whose peer asks for that
   * by the expiry of its terminus; 0 keeps none. Unsettled deliveries stay with the link, and the peer resumes them when it
   * attaches the link again. Default: 600,000.
   */
  maxSuspendMs?: number | undefined;
  /** The most open transactions of one connection. Default: 100. */
  maxTransactions?: number | undefined;
  /** Milliseconds after which a transaction is rolled back. Default: 60,000. */
  transactionTimeoutMs?: number | undefined;
  /** The most messages in all queues together. Default: 1,000,000. */
  maxMessages?: number | undefined;
  /** The most bytes in all queues together. Default: 256 MiB. */
  maxBytes?: number | undefined;
}

const QUEUE_KINDS: OptionKinds<QueueOptions> = {
  deadLetter: "string",
  maxDeliveries: "number",
  lossCount: '"oldest", "all" or "none"',
  maxMessages: "number",
  maxBytes: "number",
};
const IN_PROCESS_KINDS: OptionKinds<InProcessOptions> = {
  identity: "string",
  containerId: "string",
  hostname: "string",
  properties: "object",
  desiredCapabilities: "array of string",
  log: "function or null",
  trace: "function",
  signal: "object",
};

const BROKER_KINDS: OptionKinds<Omit<BrokerOptions, keyof AcceptorOptions>> = {
  queues: "object",
  queue: QUEUE_KINDS,
  autoCreate: "boolean",
  topics: "array of string",
  nodes: "object",
  authorize: "function",
  verifyToken: "function",
  settleModes: 'array of "first" or "second"',
  durable: '"accept" or "reject"',
  batches: '"split" or "keep"',
  maxMessageSize: "number",
  maxQueues: "number",
  idleQueueMs: "number",
  maxSuspendMs: "number",
  maxTransactions: "number",
  transactionTimeoutMs: "number",
  maxMessages: "number",
  maxBytes: "number",
};

const MAX_MESSAGE_SIZE = 16 * 1_024 * 1_024;
const MAX_QUEUES = 10_000;
const MAX_MESSAGES = 1_000_000;
const MAX_BYTES = 256 * 1_024 * 1_024;
const IDLE_QUEUE_MS = 300_000;
const MAX_SUSPEND_MS = 600_000;
const MAX_TRANSACTIONS = 100;
const TRANSACTION_TIMEOUT_MS = 60_000;
// Queues that `console.log` shows.
const MAX_SHOWN_QUEUES = 20;

/** The settings of {@linkcode Broker.connect}. */
export interface InProcessOptions {
  /** The client's identity, which the broker takes on trust. Default: anonymous. */
  identity?: string | undefined;
  /** The client's container id. Default: a random name. */
  containerId?: string | undefined;
  /** The virtual host. Default: none. */
  hostname?: string | undefined;
  /** Connection properties. */
  properties?: Fields | undefined;
  /** The capabilities that the client wants of the broker. */
  desiredCapabilities?: string[] | undefined;
  /** Receives what the client would otherwise print; null for nobody. Default: prints warnings and errors. */
  log?: LogOption | undefined;
  /** Receives the client's frames, for example the function that `jsonLines` of `@webamqp/amqp/trace` makes. */
  trace?: Trace | undefined;
  /** Ends the wait for the connection. */
  signal?: AbortSignal | undefined;
}

/**
 * A broker that keeps everything in memory.
 *
 * - A queue hands each message to one of its consumers, by priority and in order, in turns among those that have credit.
 *   `accepted` ends a message; `released` puts it back at its place; `modified` does so changed; `rejected` moves it to the
 *   dead-letter queue or drops it. Messages that a consumer holds when its link ends come back, and count as failed attempts
 *   only as far as `lossCount` says. Distribution mode `copy` shows the messages and leaves them in the queue.
 * - A topic copies each message to its subscriptions; without any, the message is accepted and dropped. The capabilities
 *   `topic` and `queue` of a terminus say what an address is to be. A subscription whose terminus expires `never` outlives
 *   its link; it is found again by container and link name. With the capability `shared` several links take turns, `global`
 *   also those of other containers; the subscription's name is the part of the link's name before a bar.
 * - A dynamic node is a queue, or with the capability `temporary-topic` a topic, with an unguessable address, from which
 *   only the connection that made it receives; it is deleted with the link that made it.
 * - A sender without a target address names the destination of each message in its property `to`.
 * - A full queue stops its producers by giving them no credit; a message that can never fit is rejected.
 * - Messages expire by the `ttl` in their header, at once if it is 0, or their `absolute-expiry-time`, whichever is
 *   earlier, and wait for the time that the annotations `x-opt-delivery-time` or `x-opt-delivery-delay`, those of Service Bus
 *   (`x-opt-scheduled-enqueue-time`) or of Broker-J (`x-qpid-not-valid-before`) say. Those of one `group-id` go to one consumer
 *   while it is there.
 * - Transactions cover sends and outcomes on all links of their connection: uncommitted messages have their place, and
 *   nobody gets them before the commit. A rollback returns messages as failed attempts.
 * - Filters are JMS selectors and no-local. Anything else that a link asks for is refused, or left out of the answer.
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
  readonly #acceptor: Acceptor;
  readonly #budget: RoomBudget;
  readonly #nodes: Nodes;
  readonly #claims: ClaimsNode | undefined;
  readonly #context: AttachContext;
  readonly #handlers: Readonly<Record<string, NodeHandler>>;
  /** The faults of this broker, for tests. Default: none. */
  readonly faults: BrokerFaults;

  /** Makes the queues that `options` names; the broker does not listen, see {@linkcode Broker.accept}. */
  constructor(options: BrokerOptions = {}) {
    showFacts(Broker.prototype, "Broker");
    checkBroker(options);
    const { environment = systemEnvironment, maxMessages = MAX_MESSAGES, maxBytes = MAX_BYTES, verifyToken } = options;
    this.#budget = new RoomBudget(maxMessages, maxBytes);
    this.#claims = verifyToken && new ClaimsNode(verifyToken, environment);
    this.#handlers = options.nodes ?? {};
    const keptBytes = new KeptBytes();
    this.#nodes = this.#makeNodes(options, environment, keptBytes);
    this.#context = this.#makeContext(options, environment, keptBytes);
    this.faults = new BrokerFaults({
      environment,
      connections: () => this.connections,
      forget: () => {
        this.#context.subscriptions.clear();
        this.#nodes.reset();
      },
    });
    this.#acceptor = acceptor({
      ...Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(ACCEPTOR_KINDS, name))),
      offeredCapabilities: ["ANONYMOUS-RELAY", "DELAYED_DELIVERY", "SHARED-SUBS", ...options.offeredCapabilities ?? []],
      properties: { product: "webamqp", storage: "memory", ...options.properties },
      onSender: async (request) => {
        this.faults.check(request.address ?? "");
        if (!await this.#isHandled(request, "receive")) await attachConsumer(this.#context, request);
      },
      onReceiver: async (request) => {
        this.faults.check(request.address ?? "");
        if (!await this.#isHandled(request, "send")) await attachProducer(this.#context, request);
      },
    });
  }

  #makeNodes(options: BrokerOptions, environment: Environment, keptBytes: KeptBytes): Nodes {
    const { maxMessages = MAX_MESSAGES, maxBytes = MAX_BYTES, maxMessageSize = MAX_MESSAGE_SIZE } = options;
    return new Nodes({
      queues: options.queues ?? {},
      queue: options.queue ?? {},
      autoCreate: options.autoCreate ?? true,
      topics: options.topics ?? ["topic/*"],
      maxQueues: options.maxQueues ?? MAX_QUEUES,
      idleQueueMs: options.idleQueueMs ?? IDLE_QUEUE_MS,
    }, {
      budget: this.#budget,
      // Room for messages that were on their way when a queue became full: a quarter more at most, but always one message.
      waiting: new RoomBudget(maxMessages, Math.max(maxMessageSize, maxBytes / 4)),
      keptBytes,
      environment,
      log: new Log(options.log, environment),
    });
  }

  #makeContext(options: BrokerOptions, environment: Environment, keptBytes: KeptBytes): AttachContext {
    const { sasl } = options;
    return {
      nodes: this.#nodes,
      relay: new Relay(this.#nodes),
      rights: new Rights({
        claims: this.#claims,
        authorize: options.authorize,
        hasUsers: sasl !== undefined && Object.keys(sasl).some((one) => one !== "anonymous"),
        refusesDurable: options.durable === "reject",
      }),
      check: (address) => this.faults.check(address),
      keptBytes,
      splits: (options.batches ?? "split") === "split",
      environment,
      maxMessageSize: options.maxMessageSize ?? MAX_MESSAGE_SIZE,
      settleModes: options.settleModes,
      budget: this.#budget,
      subscriptions: new Map(),
      ending: new WeakMap(),
      maxSubscriptions: options.maxQueues ?? MAX_QUEUES,
      transactions: new WeakMap(),
      maxSuspendMs: options.maxSuspendMs ?? MAX_SUSPEND_MS,
      consumers: new WeakMap(),
      producers: new WeakMap(),
      transactionBounds: {
        max: options.maxTransactions ?? MAX_TRANSACTIONS,
        timeoutMs: options.transactionTimeoutMs ?? TRANSACTION_TIMEOUT_MS,
        environment,
      },
    };
  }

  // True if the link is for `$cbs` or a node of the program's own, which then has handled it.
  async #isHandled(request: SenderRequest | ReceiverRequest, action: "send" | "receive"): Promise<boolean> {
    const { address = "", connection } = request;
    if (this.#claims !== undefined && address === CLAIMS_NODE) {
      this.#claims.attach(request);
      return true;
    }
    const handled = Object.hasOwn(this.#handlers, address)
      ? address
      : Object.keys(this.#handlers).find((pattern) => matches(pattern, address));
    if (handled === undefined) return false;
    await this.#context.rights.authorize(connection, action, address);
    return await this.#handlers[handled]!(request) !== false;
  }

  /** Accepts a channel whose peer is about to speak AMQP; undefined if the broker has closed the channel. */
  accept(channel: Channel, info?: PeerInfo): Connection | undefined {
    checkChannel("accept connection", channel);
    const carrier = this.faults.carry(channel);
    return carrier && this.#acceptor.accept(carrier, info);
  }

  /** The connections that have not ended. */
  get connections(): ReadonlySet<Connection> {
    return this.#acceptor.connections;
  }

  /**
   * Connects a client in this process: no port, no permission, no credentials.
   *
   * @throws {AmqpError} If the broker is closed or has no room for a connection.
   *
   * @example
   * ```ts
   * import { Broker } from "@webamqp/amqp/broker";
   *
   * await using broker = new Broker();
   * await using connection = await broker.connect();
   * await connection.sender("orders").send({ body: "one coffee" });
   * console.assert(broker.queue("orders")?.messages === 1);
   * ```
   */
  async connect(given: InProcessOptions = {}): Promise<Connection> {
    checkOptions("connect to broker", given, IN_PROCESS_KINDS);
    const { identity, signal, ...options } = given;
    // A test with a fake clock must see everything happen in its microtasks.
    const { preload } = await import("../client/preload.ts");
    await preload();
    const [client, accepted] = channelPair();
    const carrier = this.faults.carry(accepted);
    if (carrier === undefined || this.#acceptor.accept(carrier, undefined, { identity }) === undefined) {
      client.close(1000);
      throw new AmqpError(condition.connectionForced, "Cannot connect to broker: it takes no more connections");
    }
    const connection = openOver(client, undefined, { ...options, environment: this.#context.environment });
    try {
      await connection.ready({ signal });
    } catch (error) {
      connection.destroy(error as Error);
      throw error;
    }
    return connection;
  }

  /** Messages in all queues together, those with consumers included. */
  get messages(): number {
    return this.#budget.messages;
  }

  /** Bytes in all queues together, and 256 for each message; a message in several subscriptions of a topic counts once. */
  get bytes(): number {
    return this.#budget.bytes;
  }

  /** The status of a queue; undefined if there is none at that address. */
  queue(address: string): QueueStatus | undefined {
    const node = this.#nodes.get(address);
    return node instanceof Queue ? node.status : undefined;
  }

  /** The status of each queue, except the queues of subscriptions. */
  queues(): QueueStatus[] {
    return [...this.#nodes.all()].filter((node) => node instanceof Queue).map((queue) => queue.status);
  }

  /** @ignore The broker's facts by name, for `console.log` and `JSON.stringify`. */
  facts(): Record<string, unknown> {
    const { connections, messages, bytes } = this;
    const counts = this.queues().map(({ address, messages }) => [address, messages] as const);
    const others = counts.splice(MAX_SHOWN_QUEUES).length || undefined;
    return { connections: connections.size, messages, bytes, queues: Object.fromEntries(counts), others };
  }

  /**
   * Makes a queue that lasts until it is deleted; false if there is a queue or topic at that address, which stays as it is.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if there are `maxQueues`.
   *
   * @example
   * ```ts
   * import { Broker } from "@webamqp/amqp/broker";
   *
   * await using broker = new Broker({ autoCreate: false });
   * console.assert(broker.declare("orders", { maxMessages: 1_000 }));
   * ```
   */
  declare(address: string, options: QueueOptions = {}): boolean {
    checkText("make queue", "its address", address);
    checkOptions(`make queue ${quote(address)}`, options, QUEUE_KINDS);
    return this.#nodes.declare(address, options);
  }

  /** Drops the messages of a queue that no consumer holds, and returns their number. */
  purge(address: string): number {
    const node = this.#nodes.get(address);
    return node instanceof Queue ? node.purge() : 0;
  }

  /** Deletes a queue or topic with its messages, and ends its links; false if there is none. */
  delete(address: string): boolean {
    return this.#nodes.delete(address);
  }

  /** Closes all connections, accepts no more, and drops all messages. Waits for no outcome unless `timeoutMs` is given. */
  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions("close broker", options, CLOSE_KINDS);
    const { signal, ...rest } = options;
    const closing = this.#acceptor.close({ timeoutMs: 0, ...rest }).then(() => this.#nodes.clear());
    await abortable(closing, signal);
  }

  /** Closes the broker. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function checkBroker(options: BrokerOptions): void {
  if (Array.isArray(options?.queues)) {
    throw new TypeError('Cannot make broker: option "queues" is an array, give an object such as { orders: {} }');
  }
  checkOptions("make broker", options, { ...ACCEPTOR_KINDS, ...BROKER_KINDS });
  for (const [address, settings] of Object.entries(options.queues ?? {})) {
    checkOptions(`make queue ${quote(address)}`, settings, QUEUE_KINDS);
  }
  for (const [address, handler] of Object.entries(options.nodes ?? {})) {
    checkFunction("make broker", `what answers at ${quote(address)}`, handler);
  }
}
