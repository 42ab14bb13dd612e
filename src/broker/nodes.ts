/**
 * The nodes of a broker by their addresses.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { Agenda } from "./agenda.ts";
import type { QueuedMessage } from "./queued_message.ts";
import { type NodeHost, Queue } from "./queue.ts";
import type { QueueOptions } from "./queue_options.ts";
import { Topic } from "./topic.ts";

/** What kinds of nodes there are. */
export type NodeType = "queue" | "topic";

/** How nodes are made. */
export interface NodesOptions {
  /** Queues that are there from the start. */
  readonly queues: Readonly<Record<string, QueueOptions>>;
  /** Settings of all other queues. */
  readonly queue: QueueOptions;
  /** Whether a node is made for any address that is used. */
  readonly autoCreate: boolean;
  /** Addresses that are topics. */
  readonly topics: readonly string[];
  /** Most nodes. */
  readonly maxQueues: number;
  /** Milliseconds for which a node that was made by the way is kept unused. */
  readonly idleQueueMs: number;
}

/** What all dynamic nodes are called in front. */
export const DYNAMIC = "dynamic/";

/** Queues and topics. */
export class Nodes {
  readonly #options: NodesOptions;
  readonly #host: NodeHost;
  readonly #nodes = new Map<string, Queue | Topic>();
  // Nodes that were unused when last looked at, and since when; the longest first.
  readonly #unused = new Map<string, number>();
  // Queues without links whose messages expire. Nothing happens when they do, so that somebody has to look.
  readonly #expiring = new Agenda();

  /** Makes the queues that are there from the start. */
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
      // Whether or not there is room: the program has named them.
      this.#host.budget.reserved += cost(address);
    }
  }

  /** The node of an address; undefined if there is none. */
  get(address: string): Queue | Topic | undefined {
    this.#sweep();
    return this.#nodes.get(address);
  }

  all(): Iterable<Queue | Topic> {
    this.#sweep();
    return this.#nodes.values();
  }

  /**
   * The node of an address, which is made if need be.
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
   * Makes a node that belongs to one connection.
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

  /** Deletes a node with all that is in it, and ends its links; false if there is none. */
  delete(address: string): boolean {
    const node = this.#nodes.get(address);
    if (node === undefined) return false;
    this.#remove(address);
    node.close(
      new AmqpError(condition.resourceDeleted, `Cannot keep link: ${quote(address)} was deleted`, { scope: "link" }),
    );
    return true;
  }

  /** Deletes all nodes. */
  clear(): void {
    for (const address of [...this.#nodes.keys()]) this.delete(address);
  }

  /** Starts as it was made. */
  reset(): void {
    this.clear();
    this.#begin();
  }

  // Where dead letters go, unless there is no such queue and no place for one.
  #deadLetter(message: QueuedMessage, address: string): boolean {
    const node = this.#nodes.get(address);
    if (node !== undefined) return node instanceof Queue && node.push(message);
    if (!this.#makePlace(address)) return false;
    return this.#insert(new Queue(this.#host, address, this.#options.queue, { passing: true })).push(message);
  }

  #add<Node extends Queue | Topic>(node: Node): Node {
    if (this.#makePlace(node.address)) return this.#insert(node);
    throw refusal(condition.resourceLimitExceeded, "there are too many queues");
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
    // Later than those that have been unused for longer.
    this.#unused.delete(address);
    if (this.#isPassing(this.#nodes.get(address))) this.#unused.set(address, this.#host.environment.now());
  }

  // The queue of a subscriber, which has the address of its topic, is kept as long as that says.
  #noteExpiring(queue: Queue): void {
    if (queue.kind.passing && this.#nodes.get(queue.address) === queue) {
      this.#expiring.add(queue.address, queue.nextLook);
    }
  }

  // A node that has become unused by it notes that by itself.
  #lookAtExpiring(): void {
    for (const address of this.#expiring.take(this.#host.environment.now())) {
      const node = this.#nodes.get(address);
      if (node instanceof Queue && !node.unused) this.#noteExpiring(node);
    }
  }

  // Nobody misses a node that was made by the way and is not in use: it would be made again.
  #isPassing(node: Queue | Topic | undefined): boolean {
    return node instanceof Queue ? node.kind.passing === true : node !== undefined && node.owner === undefined;
  }

  // Takes a place for a node, if need be that of one that is not used.
  #makePlace(address: string): boolean {
    this.#lookAtExpiring();
    const { budget } = this.#host;
    const takes = () => this.#nodes.size < this.#options.maxQueues && budget.reserve(cost(address));
    for (const [unused] of this.#unused) {
      if (takes()) return true;
      this.#forget(unused);
    }
    return takes();
  }

  // Forgets nodes that have been unused for long. Whoever asks for a node looks, so that no timer is needed.
  #sweep(): void {
    this.#lookAtExpiring();
    const before = this.#host.environment.now() - this.#options.idleQueueMs;
    for (const [address, since] of this.#unused) {
      if (since > before) return;
      this.#forget(address);
    }
  }

  // A node that is in use again is noted anew when it no longer is.
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

function matches(topic: string, address: string): boolean {
  return topic.endsWith("*") ? address.startsWith(topic.slice(0, -1)) : address === topic;
}
