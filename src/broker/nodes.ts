/**
 * The nodes of a broker by their addresses.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { CheckSchedule } from "./check_schedule.ts";
import type { QueuedMessage } from "./queued_message.ts";
import { type NodeHost, Queue } from "./queue.ts";
import type { QueueOptions } from "./queue_options.ts";
import { Topic } from "./topic.ts";

export type NodeType = "queue" | "topic";

export interface NodesOptions {
  /** Queues that exist from the start. */
  readonly queues: Readonly<Record<string, QueueOptions>>;
  /** Settings of all other queues. */
  readonly queue: QueueOptions;
  /** Whether a node is made for any address that is used. */
  readonly autoCreate: boolean;
  readonly topics: readonly string[];
  readonly maxQueues: number;
  /** Milliseconds for which an unused node that was made on demand is kept. */
  readonly idleQueueMs: number;
}

/** The prefix of the addresses of dynamic nodes. */
export const DYNAMIC = "dynamic/";

/** The queues and topics of a broker. */
export class Nodes {
  readonly #options: NodesOptions;
  readonly #host: NodeHost;
  readonly #nodes = new Map<string, Queue | Topic>();
  // Nodes that were unused when last checked, with the time since when; the longest first.
  readonly #unused = new Map<string, number>();
  // Queues without links that hold expiring messages. An expiry raises no event, so they are checked again.
  readonly #expiring = new CheckSchedule();

  /** Makes the queues of `options.queues`. */
  constructor(options: NodesOptions, host: Omit<NodeHost, "deadLetter" | "noteUnused" | "noteExpiring">) {
    this.#options = options;
    this.#host = {
      ...host,
      deadLetter: (message, address) => this.#deadLetter(message, address),
      noteUnused: (node) => this.#noteUnused(node),
      noteExpiring: (queue) => this.#noteExpiring(queue),
    };
    this.#begin();
  }

  #begin(): void {
    for (const [address, settings] of Object.entries(this.#options.queues)) {
      this.#nodes.set(address, new Queue(this.#host, address, settings));
      // Counted even without room: the program has named them.
      this.#host.budget.reserved += cost(address);
    }
  }

  get(address: string): Queue | Topic | undefined {
    this.#sweep();
    return this.#nodes.get(address);
  }

  all(): Iterable<Queue | Topic> {
    this.#sweep();
    return this.#nodes.values();
  }

  /**
   * The node of an address, made if necessary.
   *
   * @throws {AmqpError} With scope `"link"` if there is none and none may be made, or it is of another type than `wanted`.
   */
  find(address: string, wanted?: NodeType): Queue | Topic {
    const node = this.get(address);
    if (node !== undefined) {
      const type = node instanceof Queue ? "queue" : "topic";
      if (wanted === undefined || wanted === type) return node;
      throw refusal(condition.notAllowed, `${quote(address)} is a ${type}, not a ${wanted}`);
    }
    const { topics, autoCreate, queue } = this.#options;
    const named = topics.some((topic) => matches(topic, address));
    if (named && wanted !== "queue") return this.#add(new Topic(this.#host, address, queue));
    if (!autoCreate || address.startsWith(DYNAMIC)) throw refusal(condition.notFound, `there is no ${quote(address)}`);
    if (named) throw refusal(condition.notAllowed, `${quote(address)} is a topic, not a queue`);
    return this.#add(
      wanted === "topic"
        ? new Topic(this.#host, address, queue)
        : new Queue(this.#host, address, queue, { passing: true }),
    );
  }

  /**
   * Makes a queue that lasts until it is deleted; false if there is a node already.
   *
   * @throws {AmqpError} With scope `"link"` if there are too many nodes.
   */
  declare(address: string, settings: QueueOptions): boolean {
    if (this.get(address) !== undefined) return false;
    this.#add(new Queue(this.#host, address, settings));
    return true;
  }

  /**
   * Makes a dynamic node for the connection `owner`.
   *
   * @throws {AmqpError} With scope `"link"` if there are too many nodes.
   */
  makeDynamic(address: string, owner: object, type: NodeType): Queue | Topic {
    const { queue } = this.#options;
    return this.#add(
      type === "topic"
        ? new Topic(this.#host, address, queue, owner)
        : new Queue(this.#host, address, queue, { owner }),
    );
  }

  /** Deletes a node with its messages, and ends its links; false if there is none. */
  delete(address: string): boolean {
    const node = this.#nodes.get(address);
    if (node === undefined) return false;
    this.#remove(address);
    node.close(
      new AmqpError(condition.resourceDeleted, `Cannot keep link: ${quote(address)} was deleted`, { scope: "link" }),
    );
    return true;
  }

  clear(): void {
    for (const address of [...this.#nodes.keys()]) this.delete(address);
  }

  /** Deletes all nodes, and makes the initial ones again. */
  reset(): void {
    this.clear();
    this.#begin();
  }

  // Puts a message into a dead-letter queue; false if there is no such queue and no place for one.
  #deadLetter(message: QueuedMessage, address: string): boolean {
    const node = this.#nodes.get(address);
    if (node !== undefined) return node instanceof Queue && node.push(message);
    if (!this.#makePlace(address)) return false;
    return this.#insert(new Queue(this.#host, address, this.#options.queue, { passing: true })).push(message);
  }

  #add<Node extends Queue | Topic>(node: Node): Node {
    const { address } = node;
    if (this.#makePlace(address)) return this.#insert(node);
    const state = `there are too many queues, ${this.#nodes.size}`;
    const message = `Cannot make ${quote(address)}: ${state}; raise "maxQueues", or set "autoCreate" to false`;
    this.#host.log.write({ level: "warning", code: "refused", message }, "queues");
    throw refusal(condition.resourceLimitExceeded, state);
  }

  #insert<Node extends Queue | Topic>(node: Node): Node {
    this.#nodes.set(node.address, node);
    this.#noteUnused(node);
    return node;
  }

  #remove(address: string): void {
    this.#unused.delete(address);
    this.#expiring.delete(address);
    if (this.#nodes.delete(address)) this.#host.budget.reserved -= cost(address);
  }

  #noteUnused({ address }: { readonly address: string }): void {
    // Moves it behind the nodes that have been unused for longer.
    this.#unused.delete(address);
    if (this.#isPassing(this.#nodes.get(address))) this.#unused.set(address, this.#host.environment.now());
  }

  // A subscription queue, which has the address of its topic, lasts as long as its subscription.
  #noteExpiring(queue: Queue): void {
    if (queue.kind.passing && this.#nodes.get(queue.address) === queue) {
      this.#expiring.add(queue.address, queue.nextCheck);
    }
  }

  // `unused` drops expired messages, and a queue that becomes unused by that reports itself.
  #checkExpiring(): void {
    for (const address of this.#expiring.take(this.#host.environment.now())) {
      const node = this.#nodes.get(address);
      if (node instanceof Queue && !node.unused) this.#noteExpiring(node);
    }
  }

  // An unused node that was made on demand can be deleted: it would be made again.
  #isPassing(node: Queue | Topic | undefined): boolean {
    return node instanceof Queue ? node.kind.passing === true : node !== undefined && node.owner === undefined;
  }

  // Makes room for a node, if necessary by deleting an unused one.
  #makePlace(address: string): boolean {
    this.#checkExpiring();
    const { budget } = this.#host;
    const takes = () => this.#nodes.size < this.#options.maxQueues && budget.reserve(cost(address));
    for (const [unused] of this.#unused) {
      if (takes()) return true;
      this.#forget(unused);
    }
    return takes();
  }

  // Deletes nodes that have been unused for long. Runs on lookups, so that no timer is needed.
  #sweep(): void {
    this.#checkExpiring();
    const before = this.#host.environment.now() - this.#options.idleQueueMs;
    for (const [address, since] of this.#unused) {
      if (since > before) return;
      this.#forget(address);
    }
  }

  // A node in use again is skipped; it is noted anew when it becomes unused.
  #forget(address: string): void {
    this.#unused.delete(address);
    const node = this.#nodes.get(address);
    if (node?.unused) this.#remove(address);
    else if (node instanceof Queue) this.#noteExpiring(node);
  }
}

/** The error for a link that cannot be attached. */
export function refusal(symbol: string, state: string): AmqpError {
  return new AmqpError(symbol, `Cannot attach link: ${state}`, { scope: "link" });
}

function cost(address: string): number {
  return 2 * address.length;
}

/** True for the address of which `pattern` is the beginning, before a trailing `*`, or the whole. */
export function matches(pattern: string, address: string): boolean {
  return pattern.endsWith("*") ? address.startsWith(pattern.slice(0, -1)) : address === pattern;
}
