/**
 * Dispatch of a queue's messages to its consumers.
 *
 * @module
 */

import { Fifo } from "../base/collections.ts";
import type { Consumer } from "./consumer.ts";
import { partsOfMessage, type QueuedMessage } from "./queued_message.ts";
import type { MessageBlock } from "./kept_bytes.ts";
import { SortedMessages } from "./sorted_messages.ts";

/** The part of its queue that a dispatcher uses. */
export interface DispatchQueue {
  /** Drops a message if it has expired; false if it has not. */
  dropExpired(message: QueuedMessage): boolean;
  isExpired(message: QueuedMessage): boolean;
  /** A message is about to go to a consumer. */
  acquired(message: QueuedMessage): void;
  /** Calls `call` after other tasks have run. */
  later(call: () => void): void;
}

/**
 * The number of groups that a queue tells apart, a bound on memory. Group ids with the same index share a consumer, which
 * keeps their order all the same.
 */
export const GROUPS = 1_024;

// Messages looked at or handed out in one turn, some milliseconds, whoever asks.
const MAX_STEPS = 4_096;
// The part of the steps that browsers leave to consumers.
const TAKERS_STEPS = MAX_STEPS / 2;

/** The messages of a queue that no consumer holds, and the links that want them. */
export class Dispatcher {
  readonly #queue: DispatchQueue;
  readonly #available = new SortedMessages(partsOfMessage);
  readonly #consumers = new Set<Consumer>();
  readonly #browsers = new Set<Consumer>();
  // Consumers that search, and must learn of messages before their cursor; the last served is last.
  readonly #selective = new Set<Consumer>();
  // Consumers that may have credit and find something, in round-robin order. Not a Set: the first entry of one that many have
  // left is slow to find.
  readonly #ready = new Fifo<Consumer>();
  // Browsers that may find a message, in round-robin order.
  readonly #readyBrowsers = new Set<Consumer>();
  // The consumer of each group, by the group's index.
  #groups: (Consumer | undefined)[] | undefined;
  // Draining links that have not yet seen all messages there are.
  readonly #searching = new Set<Consumer>();
  #steps = MAX_STEPS;
  #running = false;
  // True when the steps of this turn are used up.
  #later = false;

  constructor(queue: DispatchQueue) {
    this.#queue = queue;
  }

  get size(): number {
    return this.#available.size;
  }

  /** Consumers and browsers. */
  get links(): Iterable<Consumer> {
    return [...this.#consumers, ...this.#browsers];
  }

  get linkCount(): number {
    return this.#consumers.size + this.#browsers.size;
  }

  /** Adds a link, and serves its credit at once: a drain may have come ahead of the broker's attach. */
  add(consumer: Consumer): void {
    (consumer.browses ? this.#browsers : this.#consumers).add(consumer);
    if (!consumer.browses && (consumer.selective || this.#groups !== undefined)) this.#selective.add(consumer);
    this.serve(consumer);
  }

  /** Removes a link that has ended; its messages have come back by then. */
  remove(consumer: Consumer): void {
    this.#consumers.delete(consumer);
    this.#browsers.delete(consumer);
    this.#selective.delete(consumer);
    if (consumer.queued) this.#ready.remove(consumer);
    consumer.queued = false;
    this.#readyBrowsers.delete(consumer);
    this.#searching.delete(consumer);
    if (this.#groups?.includes(consumer) !== true) return;
    this.#groups = this.#groups.map((other) => other === consumer ? undefined : other);
    for (const other of this.#consumers) {
      other.rewind();
      this.#join(other);
    }
    this.run();
  }

  serve(consumer: Consumer): void {
    if (this.#consumers.has(consumer)) this.#join(consumer);
    if (this.#browsers.has(consumer)) this.#readyBrowsers.add(consumer);
    this.run();
    if (this.#later) this.#beginSearch(consumer);
  }

  /** Adds a message at its place, new or returned. */
  insert(message: QueuedMessage, isNew: boolean): void {
    this.#available.insert(message);
    if (message.group >= 0 && this.#groups === undefined) {
      this.#groups = [];
      for (const consumer of this.#consumers) this.#selective.add(consumer);
    }
    for (const consumer of this.#selective) {
      this.#note(consumer, message);
      this.#join(consumer);
    }
    for (const browser of this.#browsers) {
      // The browser has seen a returned message from before its cursor already.
      if (isNew) this.#note(browser, message);
      this.#readyBrowsers.add(browser);
    }
  }

  /** Excludes a message from a consumer. */
  refuse(message: QueuedMessage, consumer: Consumer): void {
    consumer.refuse(message);
    if (this.#consumers.has(consumer)) this.#selective.add(consumer);
  }

  /** Removes the messages that `which` picks by what is kept of them, and returns them in order. */
  extract(which: (kept: QueuedMessage | MessageBlock) => boolean): QueuedMessage[] {
    return this.#available.extract(which);
  }

  /** Hands messages to the consumers in turn, as long as there are both. */
  run(): void {
    // A message that fails to encode returns during the run; the next iteration sees it.
    if (this.#running || this.#later) return;
    this.#running = true;
    let shown: boolean;
    try {
      shown = this.#readyBrowsers.size === 0 || this.#showAll();
      this.#distribute();
    } finally {
      this.#running = false;
    }
    if (!shown || this.#steps < 0) this.#runLater();
  }

  #distribute(): void {
    let handed = 0;
    while (this.#steps >= 0 && this.#available.size > 0 && this.#ready.length > 0) {
      const consumer = this.#ready.shift()!;
      consumer.queued = false;
      if (!consumer.wants) {
        this.#endSearch(consumer);
        continue;
      }
      const message = this.#take(consumer);
      // A searching consumer that has seen all messages is added again by `insert`.
      if (message !== undefined || this.#steps < 0 || !this.#selective.has(consumer)) this.#join(consumer);
      if (message === undefined) {
        if (this.#steps >= 0) this.#endSearch(consumer);
        continue;
      }
      if (this.#selective.delete(consumer)) this.#selective.add(consumer);
      handed++;
      this.#queue.acquired(message);
      consumer.deliver(message);
    }
    if (this.#steps < 0) return;
    // Messages handed out cost no steps, since nobody looks at them again: plain traffic needs no `later`, which a fake
    // clock may never call.
    this.#steps += handed;
    for (const consumer of this.#searching) if (!consumer.browses) this.#endSearch(consumer);
  }

  #runLater(): void {
    this.#later = true;
    // Consumers that have seen all messages do not wait for the others.
    if (this.#steps < 0) { for (const consumer of this.#consumers) if (consumer.queued) this.#beginSearch(consumer); }
    this.#queue.later(() => {
      this.#later = false;
      this.#steps = MAX_STEPS;
      this.run();
    });
  }

  // Puts a consumer at the end of the queue, unless it is there.
  #join(consumer: Consumer): void {
    if (consumer.queued) return;
    consumer.queued = true;
    this.#ready.push(consumer);
  }

  // A drain is answered when the link has seen all messages there are.
  #beginSearch(consumer: Consumer): void {
    const { sender } = consumer;
    if (!sender.draining || !consumer.wants) return;
    this.#searching.add(consumer);
    sender.setSearching(true);
  }

  #endSearch(consumer: Consumer): void {
    if (this.#searching.delete(consumer)) consumer.sender.setSearching(false);
  }

  #take(consumer: Consumer): QueuedMessage | undefined {
    const searches = this.#selective.has(consumer);
    while (--this.#steps >= 0) {
      const message = searches ? this.#nextFor(consumer) : this.#available.shift();
      if (message === undefined) return undefined;
      if (searches) {
        if (!this.#matches(consumer, message)) continue;
        this.#available.delete(message.rank);
      }
      if (this.#queue.dropExpired(message)) continue;
      if (message.group >= 0) this.#groups![message.group] = consumer;
      return message;
    }
    return undefined;
  }

  // Shows each browser the messages that it has not seen; false if there may be more.
  #showAll(): boolean {
    let shown = true;
    for (const browser of [...this.#readyBrowsers]) {
      const hasSteps = this.#steps > TAKERS_STEPS;
      if (this.#show(browser)) continue;
      shown = false;
      this.#beginSearch(browser);
      if (!hasSteps) continue;
      // The next turn begins with the others.
      this.#readyBrowsers.delete(browser);
      this.#readyBrowsers.add(browser);
    }
    return shown;
  }

  #show(browser: Consumer): boolean {
    while (browser.wants) {
      if (this.#steps <= TAKERS_STEPS) return false;
      this.#steps--;
      const message = this.#nextFor(browser);
      if (message === undefined) {
        this.#readyBrowsers.delete(browser);
        break;
      }
      if (this.#matches(browser, message) && !this.#queue.isExpired(message)) {
        browser.deliver(message);
      }
    }
    this.#endSearch(browser);
    return true;
  }

  // The next message that a consumer has not seen, or not since the message returned.
  #nextFor(consumer: Consumer): QueuedMessage | undefined {
    for (let rank = consumer.takeNoted(); rank !== undefined; rank = consumer.takeNoted()) {
      const noted = this.#available.get(rank);
      if (noted !== undefined) return noted;
    }
    const message = this.#available.after(consumer.cursor);
    if (message !== undefined) consumer.cursor = message.rank;
    return message;
  }

  // Notes a message before a consumer's cursor. Without steps left, the filter is asked later.
  #note(consumer: Consumer, message: QueuedMessage): void {
    if (message.rank > consumer.cursor) return;
    if (this.#steps < 0 || this.#matches(consumer, message)) consumer.note(message.rank);
  }

  #matches(consumer: Consumer, message: QueuedMessage): boolean {
    // A browser takes no message from the consumer of its group.
    const owner = message.group < 0 || consumer.browses ? undefined : this.#groups?.[message.group];
    if (owner !== undefined && owner !== consumer) return false;
    const matches = consumer.matches(message);
    this.#steps -= consumer.takeSteps();
    return matches;
  }
}
