/**
 * Attaching peers' links to the nodes of a broker, and answering for their termini.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, randomName } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { toDescribed } from "../codec/composite.ts";
import { Described, type Fields, type ReceiverSettleMode, type Source, type Target } from "../codec/types.ts";
import type { Connection } from "../client/connection.ts";
import { OUTCOMES } from "../client/link_options.ts";
import type { Receiver } from "../client/receiver.ts";
import type { Sender } from "../client/sender.ts";
import { containerKey } from "../server/containers.ts";
import type { LinkRequest, ReceiverRequest, SenderRequest } from "../server/link_requests.ts";
import type { RoomBudget } from "./budget.ts";
import { attachCoordinator } from "./coordinator.ts";
import { Consumer, failed } from "./consumer.ts";
import { type Filters, readFilters } from "./filters.ts";
import { DYNAMIC, type Nodes, type NodeType, refusal } from "./nodes.ts";
import { Producer, type Sink } from "./producer.ts";
import { Queue } from "./queue.ts";
import type { Relay } from "./relay.ts";
import type { Rights } from "./rights.ts";
import type { KeptBytes } from "./kept_bytes.ts";
import type { Expiry, Subscription } from "./subscription.ts";
import { Topic } from "./topic.ts";
import { Transactions, type TransactionsOptions } from "./transactions.ts";

/** State shared by the links of a broker. */
export interface AttachContext {
  readonly nodes: Nodes;
  readonly relay: Relay;
  readonly rights: Rights;
  /** Throws if a test refuses links to the address. */
  readonly check: (address: string) => void;
  readonly keptBytes: KeptBytes;
  /** True if batches are split into their messages. */
  readonly splits: boolean;
  readonly environment: Environment;
  readonly maxMessageSize: number;
  /** Settle modes to agree to; undefined for whatever a receiving peer asks for. */
  readonly settleModes: readonly ReceiverSettleMode[] | undefined;
  /** The room of all queues, in which names count, too. */
  readonly budget: RoomBudget;
  /** The topics of lasting and shared subscriptions by the subscription's name, which is unique in the broker. */
  readonly subscriptions: Map<string, Topic>;
  readonly ending: WeakMap<Connection, Map<Subscription, Topic>>;
  readonly maxSubscriptions: number;
  readonly transactions: WeakMap<Connection, Transactions>;
  readonly transactionBounds: TransactionsOptions;
  /** The longest time for which a lost link is kept, in milliseconds. */
  readonly maxSuspendMs: number;
  /**
   * The consumers of links, to find them when a link is attached again. Deleted when a link ends: V8 keeps the values of a
   * WeakMap, and all that they reach, until the next full collection.
   */
  readonly consumers: WeakMap<Sender, Consumer>;
  /** The producers of links, likewise. */
  readonly producers: WeakMap<Receiver, Producer>;
}

/** The node types that capabilities of a terminus stand for. */
const CAPABILITIES: Readonly<Record<string, NodeType>> = {
  "queue": "queue",
  "topic": "topic",
  "temporary-queue": "queue",
  "temporary-topic": "topic",
};

// The prefix of the names of subscriptions that end with their links.
const UNNAMED = "link\n";
// The longest time of a timer.
const MAX_TIMEOUT_SECONDS = 2_147_483;
const DELAYED_DELIVERY = "DELAYED_DELIVERY";
const DELETE_ON_CLOSE = ["amqp:delete-on-close:list", 0x2bn];

/** Attaches a link on which a peer sends. */
export async function attachProducer(context: AttachContext, request: ReceiverRequest): Promise<void> {
  const { nodes, relay, rights, environment } = context;
  const { connection, attach, dynamic } = request;
  const requested = attach.target;
  if (requested === undefined) throw refusal(condition.invalidField, "it has no target");
  if (requested.kind === "coordinator") return attachCoordinator(transactionsOf(context, connection), request);
  const type = typeOf(requested);
  checkLifetime(requested.dynamicNodeProperties);
  const address = dynamic ? DYNAMIC + randomName(environment) : request.address ?? "";
  const relayed = address === "";
  if (!relayed) await rights.authorize(connection, dynamic ? "create" : "send", address);
  const sink: Sink & { readonly largest?: number } = relayed
    ? relay
    : dynamic
    ? nodes.makeDynamic(address, connection, type ?? "queue")
    : nodes.find(address, type);
  const suspendMs = dynamic ? 0 : suspensionOf(requested, context);
  const target: Target = {
    kind: "target",
    address: relayed ? undefined : address,
    ...expirySettings(requested, suspendMs),
    ...dynamicSettings(dynamic),
    capabilities: inForce(requested, sink),
  };
  const receiver = accept(context, request, {
    target,
    suspendMs,
    credit: "manual" as const,
    settle: "manual" as const,
    maxMessageSize: BigInt(Math.min(context.maxMessageSize, sink.largest ?? Infinity)),
    offeredCapabilities: attach.desiredCapabilities?.filter((one) => one === DELAYED_DELIVERY),
  });
  const transactions = transactionsOf(context, connection);
  const before = context.producers.get(receiver);
  if (before !== undefined) return before.resume(transactions);
  const producer = new Producer(receiver, sink, {
    // A resumed link may be on another connection, which has tokens of its own.
    inspect: (encoded) => rights.inspect(encoded, receiver.connection as Connection, relayed),
    source: { limits: connection.limits, container: containerKey(connection, connection.remote?.containerId) },
    keptBytes: context.keptBytes,
    splits: context.splits,
    transactions,
  });
  context.producers.set(receiver, producer);
  receiver.closed.then(() => {
    context.producers.delete(receiver);
    if (dynamic) nodes.delete(address);
  });
}

/** Attaches a link on which a peer receives. */
export async function attachConsumer(context: AttachContext, request: SenderRequest): Promise<void> {
  const { nodes, rights, environment } = context;
  const { connection, attach, dynamic } = request;
  const requested = attach.source;
  if (requested === undefined) return lookUpSubscription(context, request);
  const type = typeOf(requested);
  checkLifetime(requested.dynamicNodeProperties);
  const filters = readFilters(requested.filter, containerKey(connection, connection.remote?.containerId));
  const address = dynamic ? DYNAMIC + randomName(environment) : request.address ?? "";
  if (address === "") throw refusal(condition.notFound, "its source names no address");
  await rights.authorize(connection, dynamic ? "create" : "receive", address);
  const node = dynamic ? nodes.makeDynamic(address, connection, type ?? "queue") : nodes.find(address, type);
  checkOwner(node, connection);
  if (node instanceof Queue) attachToQueue(context, request, { node, requested, filters, address });
  else await attachToTopic(context, request, { node, requested, filters, address });
}

function checkOwner(node: Queue | Topic, connection: Connection): void {
  const owner = node instanceof Queue ? node.kind.owner : node.owner;
  if ((owner ?? connection) === connection) return;
  throw refusal(condition.unauthorizedAccess, `${quote(node.address)} belongs to another connection`);
}

function transactionsOf({ transactions, transactionBounds }: AttachContext, connection: Connection): Transactions {
  let found = transactions.get(connection);
  if (found === undefined) transactions.set(connection, found = new Transactions(transactionBounds));
  return found;
}

interface Wanted<Node> {
  readonly node: Node;
  readonly requested: Readonly<Source>;
  readonly filters: Filters;
  readonly address: string;
}

function attachToQueue(context: AttachContext, request: SenderRequest, wanted: Wanted<Queue>): void {
  const { node, requested, filters, address } = wanted;
  const mode = requested.distributionMode ?? "move";
  if (mode !== "move" && mode !== "copy") throw unknownMode(mode);
  if (requested.capabilities?.includes("shared")) {
    throw refusal(condition.notImplemented, "a queue has no subscriptions");
  }
  const suspendMs = request.dynamic || mode === "copy" ? 0 : suspensionOf(requested, context);
  const source: Source = {
    ...sourceSettings(request, requested, filters, node),
    ...expirySettings(requested, suspendMs),
    distributionMode: mode,
  };
  const sender = accept(context, request, { source, suspendMs });
  const before = context.consumers.get(sender);
  if (before !== undefined) return before.resume(transactionsOf(context, request.connection));
  const consumer = new Consumer(sender, node, {
    browses: mode === "copy",
    filter: filters.filter,
    cost: filters.cost,
    lossCount: node.lossCount,
    transactions: transactionsOf(context, request.connection),
    clock: context.environment,
  });
  context.consumers.set(sender, consumer);
  node.addConsumer(consumer);
  sender.closed.then(() => {
    context.consumers.delete(sender);
    node.removeConsumer(consumer);
    if (request.dynamic) context.nodes.delete(address);
  });
}

async function attachToTopic(
  context: AttachContext,
  request: SenderRequest,
  { node, requested, filters, address }: Wanted<Topic>,
): Promise<void> {
  const mode = requested.distributionMode ?? "copy";
  // To move a message out of a topic is to take it out of one's own subscription.
  if (mode !== "move" && mode !== "copy") throw unknownMode(mode);
  const shared = requested.capabilities?.includes("shared") ?? false;
  const expiry = expiryOf(requested);
  const name = subscriptionName(request, shared, expiry);
  const old = findSubscription(context, name);
  if (old !== undefined && old.topic !== node) {
    // Attaching ends the old subscription, so it needs the right to that, too: anybody may name a global one.
    await context.rights.authorize(request.connection, "receive", old.topic.address);
    const now = findSubscription(context, name);
    if ((now !== undefined && now.subscription !== old.subscription) || context.nodes.get(address) !== node) {
      throw refusal(condition.detachForced, "its subscription has changed in the meantime");
    }
  }
  const subscription = subscribe(context, node, { name, filters, shared, expiry });
  const source: Source = {
    ...sourceSettings(request, requested, filters, node),
    durable: lasts(expiry) ? requested.durable : undefined,
    ...lifetimeSettings(expiry),
    distributionMode: "copy",
  };
  listen(context, request, { topic: node, subscription, source });
}

function listen(
  context: AttachContext,
  request: SenderRequest,
  { topic, subscription, source }: { topic: Topic; subscription: Subscription; source: Source },
): void {
  let sender: Sender;
  try {
    sender = accept(context, request, { source });
  } catch (error) {
    if (subscription.isNew && !subscription.lasting) topic.unsubscribe(subscription);
    throw error;
  }
  const { queue } = subscription;
  const { connection } = request;
  // The subscription has no filter here: the topic applies it to what enters the queue.
  const consumer = new Consumer(sender, queue, {
    lossCount: queue.lossCount,
    transactions: transactionsOf(context, connection),
    clock: context.environment,
  });
  topic.listen(subscription, consumer);
  sender.closed.then(() => {
    topic.leave(subscription, consumer, wasClosed(sender));
    if (request.dynamic) context.nodes.delete(topic.address);
    endWith(context, connection, topic, subscription);
  });
}

// Finds the subscription of a link, or makes it.
function subscribe(
  context: AttachContext,
  topic: Topic,
  options: { name: string; filters: Filters; shared: boolean; expiry: Expiry },
): Subscription {
  const { name, filters, shared } = options;
  const old = findSubscription(context, name);
  if (old !== undefined) {
    const { subscription } = old;
    const same = old.topic === topic && subscription.options.shared === shared &&
      subscription.options.filters.key === filters.key;
    if (subscription.busy && !(same && shared)) {
      throw refusal(condition.resourceLocked, "its subscription has a link already");
    }
    if (same) return subscription;
    // As in JMS, asking for other settings under an old name replaces the old subscription.
    old.topic.unsubscribe(subscription);
  }
  if (name.startsWith(UNNAMED)) return topic.subscribe(options);
  const { subscriptions, budget, maxSubscriptions } = context;
  const bytes = 2 * name.length;
  const isFull = subscriptions.size >= maxSubscriptions;
  if (isFull || !budget.reserve(bytes)) {
    const why = isFull
      ? `${maxSubscriptions}, as many as "maxQueues" allows`
      : "their names fill the memory of the broker";
    throw refusal(condition.resourceLimitExceeded, `there are too many subscriptions: ${why}`);
  }
  const subscription = topic.subscribe(options);
  subscriptions.set(name, topic);
  const onended = (): void => {
    subscriptions.delete(name);
    subscription.ending?.delete(subscription);
    budget.reserved -= bytes;
  };
  subscription.onended = onended;
  return subscription;
}

// A peer that names no source asks for the source that its link had before [transport 2.6.3].
async function lookUpSubscription(context: AttachContext, request: SenderRequest): Promise<void> {
  const { attach, connection } = request;
  const name = lastingName(request, attach.name.endsWith("|global"), attach.name.includes("|"));
  const found = findSubscription(context, name);
  if (found === undefined) throw noSubscription();
  const { topic, subscription } = found;
  context.check(topic.address);
  await context.rights.authorize(connection, "receive", topic.address);
  // While the peer was authorized, the subscription may have ended, and its name gone to one at another topic.
  if (findSubscription(context, name)?.subscription !== subscription) throw noSubscription();
  checkOwner(topic, connection);
  if (subscription.busy) throw refusal(condition.resourceLocked, "its subscription has a link already");
  const { filters, expiry } = subscription.options;
  const source: Source = {
    ...sourceSettings(request, { kind: "source" }, filters, topic),
    durable: "unsettled-state",
    ...lifetimeSettings(expiry),
    distributionMode: "copy",
    capabilities: ["topic"],
  };
  listen(context, request, { topic, subscription, source });
}

function noSubscription(): AmqpError {
  return refusal(condition.notFound, "there is no subscription of its name");
}

// Ends a `connection-close` subscription with the connection of its last link; one watcher a connection serves all of them.
function endWith({ ending }: AttachContext, connection: Connection, topic: Topic, subscription: Subscription): void {
  const { name, expiry } = subscription.options;
  if (expiry.policy !== "connection-close" || topic.subscription(name) !== subscription) return;
  let own = ending.get(connection);
  if (own === undefined) {
    const all = own = new Map<Subscription, Topic>();
    ending.set(connection, all);
    connection.closed.then(() => {
      for (const [one, itsTopic] of all) if (one.consumers.size === 0) itsTopic.unsubscribe(one);
    });
  }
  subscription.ending?.delete(subscription);
  subscription.ending = own;
  own.set(subscription, topic);
}

// Whether the peer has ended a link for good: a link that was lost, suspended or stolen is attached again.
function wasClosed({ endedForGood, error }: Sender): boolean {
  return endedForGood && (error === undefined || (error instanceof AmqpError && error.remote));
}

function findSubscription(
  { subscriptions }: AttachContext,
  name: string,
): { topic: Topic; subscription: Subscription } | undefined {
  const topic = subscriptions.get(name);
  const subscription = topic?.subscription(name);
  return topic === undefined || subscription === undefined ? undefined : { topic, subscription };
}

// The name of a subscription that lasts or is shared comes from its link; any other gets a name that no link can name.
function subscriptionName(request: SenderRequest, shared: boolean, expiry: Expiry): string {
  const { source, name } = request.attach;
  if (!shared && !lasts(expiry)) return UNNAMED + randomName();
  return lastingName(request, source?.capabilities?.includes("global") ?? false, shared, name);
}

// The links of a shared subscription carry its name, with a suffix behind a bar.
function lastingName(request: SenderRequest, global: boolean, shared: boolean, name = request.attach.name): string {
  const own = shared ? name.split("|")[0]! : name;
  return global
    ? `global\n${own}`
    : `container\n${containerKey(request.connection, request.connection.remote?.containerId)}\n${own}`;
}

function expiryOf({ expiryPolicy, timeout = 0 }: Source): Expiry {
  // `connection-close` and `never` take no timeout. The answer names what is in force: for a terminus, a session ends when
  // its link does, so `session-end` is `link-detach`.
  if (expiryPolicy === "never" || expiryPolicy === "connection-close") return { policy: expiryPolicy, timeoutMs: 0 };
  return { policy: "link-detach", timeoutMs: Math.min(timeout, MAX_TIMEOUT_SECONDS) * 1_000 };
}

function lifetimeSettings({ policy, timeoutMs }: Expiry): Pick<Source, "expiryPolicy" | "timeout"> {
  return { expiryPolicy: policy, timeout: timeoutMs / 1_000 };
}

function lasts({ policy, timeoutMs }: Expiry): boolean {
  return policy !== "link-detach" || timeoutMs > 0;
}

// Milliseconds for which a lost link is kept: in this broker all expiry events but `never` happen when the connection ends.
function suspensionOf({ expiryPolicy, timeout = 0 }: Source | Target, { maxSuspendMs }: AttachContext): number {
  const wanted = timeout === 0 && expiryPolicy === "never"
    ? MAX_TIMEOUT_SECONDS
    : Math.min(timeout, MAX_TIMEOUT_SECONDS);
  return Math.min(wanted * 1_000, maxSuspendMs);
}

function expirySettings(
  { durable, expiryPolicy }: Source | Target,
  suspendMs: number,
): Pick<Source, "durable" | "expiryPolicy" | "timeout"> {
  if (suspendMs === 0) return { expiryPolicy: "link-detach" };
  return { durable, expiryPolicy, timeout: Math.ceil(suspendMs / 1_000) };
}

function sourceSettings(request: SenderRequest, requested: Source, filters: Filters, node: Queue | Topic): Source {
  return {
    kind: "source",
    address: node.address,
    ...dynamicSettings(request.dynamic),
    filter: filters.inForce,
    defaultOutcome: requested.defaultOutcome ?? failed(),
    outcomes: OUTCOMES,
    capabilities: inForce(requested, node),
  };
}

function accept<Link, Settings>(
  { nodes, settleModes }: AttachContext,
  request: LinkRequest<"sender" | "receiver", Link, Settings>,
  settings: Settings & { source?: Source; target?: Target; suspendMs?: number },
): Link {
  const { rcvSettleMode = "first" } = request.attach;
  // Resuming a link needs the peer to settle in two steps.
  const agreed = (settings.suspendMs ?? 0) > 0 || (settleModes?.includes(rcvSettleMode) ?? request.role === "sender");
  try {
    return request.accept({ ...settings, rcvSettleMode: agreed ? rcvSettleMode : "first" });
  } catch (error) {
    // The peer has gone in the meantime.
    if (request.dynamic) nodes.delete((settings.source ?? settings.target)!.address!);
    throw error;
  }
}

function typeOf(terminus: Source | Target): NodeType | undefined {
  const types = (terminus.capabilities ?? []).map((capability) => CAPABILITIES[capability]);
  return types.find((type) => type !== undefined);
}

// The capabilities in force. Leaving out the others tells the peer that they are not [messaging 3.5.3].
function inForce({ kind, capabilities }: Source | Target, node: Sink): string[] | undefined {
  const type = node instanceof Queue ? "queue" : node instanceof Topic ? "topic" : undefined;
  const subscribes = kind === "source" && type === "topic";
  const found = capabilities?.filter((one) =>
    Object.hasOwn(CAPABILITIES, one) ? CAPABILITIES[one] === type : subscribes && (one === "shared" || one === "global")
  );
  return found === undefined || found.length === 0 ? undefined : found;
}

function dynamicSettings(dynamic: boolean): { dynamic?: boolean; dynamicNodeProperties?: Fields } {
  if (!dynamic) return {};
  return { dynamic, dynamicNodeProperties: { "lifetime-policy": toDescribed({ kind: "deleteOnClose" }) } };
}

function checkLifetime(properties: Fields | undefined): void {
  const policy = properties?.["lifetime-policy"];
  if (policy === undefined || policy === null) return;
  if (policy instanceof Described && DELETE_ON_CLOSE.includes(policy.descriptor as string | bigint)) return;
  throw refusal(
    condition.notImplemented,
    "a dynamic node lives as long as its link, and no other lifetime-policy is known",
  );
}

function unknownMode(mode: string): AmqpError {
  return refusal(condition.notImplemented, `distribution mode ${quote(mode)} is not known`);
}
