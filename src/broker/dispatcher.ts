/**
 * Handing the messages of a queue to its consumers.
 *
 * @module
 */

import type { Consumer } from "./consumer.ts";
import type { QueuedMessage } from "./queued_message.ts";
import { SortedMessages } from "./sorted_messages.ts";

/** What a dispatcher asks of its queue. */
export interface DispatchQueue {
  /** Drops a message whose time is over; false for all others. */
  dropExpired(message: QueuedMessage): boolean;
  /** Whether the time of a message is over. */
  isExpired(message: QueuedMessage): boolean;
  /** A message is about to go to a consumer. */
  acquired(message: QueuedMessage): void;
  /** Calls `call` when others have had their turn. */
  later(call: () => void): void;
}

/**
 * Groups of messages that a queue tells apart. Groups that share one of these share a consumer, which keeps their order all
 * the same; so that what is kept does not grow with the names that producers make up.
 */
export const GROUPS = 1_024;

// Messages that are looked at or handed out before others have their turn, whoever asks for that: some milliseconds.
const MAX_STEPS = 4_096;
// Messages that are left to who takes messages.
const TAKERS_STEPS = MAX_STEPS / 2;

/** The messages of a queue that nobody holds, and those who want them. */
export class Dispatcher {
  readonly #queue: DispatchQueue;
  readonly #available = new SortedMessages<QueuedMessage>();
  readonly #consumers = new Set<Consumer>();
  readonly #browsers = new Set<Consumer>();
  // Consumers that look for messages, so that they have to hear of those that come behind the place where they look; who has
  // had one last is last.
  readonly #selective = new Set<Consumer>();
  // Consumers that may have credit and find something, in round-robin order.
  readonly #ready = new Set<Consumer>();
  // Links that only look, and may find something.
  readonly #curious = new Set<Consumer>();
  // Which consumer has which group.
  #groups: (Consumer | undefined)[] | undefined;
  // Links that want what there is, which they have not looked at yet.
  readonly #looking = new Set<Consumer>();
  #steps = MAX_STEPS;
  #running = false;
  // True when all steps are taken, until others have had their turn.
  #later = false;

  /** Starts without messages and consumers. */
  constructor(queue: DispatchQueue) {
    this.#queue = queue;
  }

  /** Messages that wait. */
  get size(): number {
    return this.#available.size;
  }

  /** Links that take messages, and links that look at them. */
  get links(): Iterable<Consumer> {
    return [...this.#consumers, ...this.#browsers];
  }

  get linkCount(): number {
    return this.#consumers.size + this.#browsers.size;
  }

  /** Adds a link, and hands it at once what it has credit for: a drain may have come ahead of our answer. */
  add(consumer: Consumer): void {
    (consumer.browses ? this.#browsers : this.#consumers).add(consumer);
    if (!consumer.browses && (consumer.selective || this.#groups !== undefined)) this.#selective.add(consumer);
    this.serve(consumer);
  }

  /** Forgets a link that has ended; what it held has come back by then. */
  remove(consumer: Consumer): void {
    this.#consumers.delete(consumer);
    this.#browsers.delete(consumer);
    this.#selective.delete(consumer);
    this.#ready.delete(consumer);
    this.#curious.delete(consumer);
    this.#looking.delete(consumer);
    if (this.#groups?.includes(consumer) !== true) return;
    this.#groups = this.#groups.map((other) => other === consumer ? undefined : other);
    for (const other of this.#consumers) {
      other.lookAgain();
      this.#ready.add(other);
    }
    this.run();
  }

  /** A link may have credit. */
  serve(consumer: Consumer): void {
    if (this.#consumers.has(consumer)) this.#ready.add(consumer);
    if (this.#browsers.has(consumer)) this.#curious.add(consumer);
    this.run();
    if (this.#later) this.#awaitLook(consumer);
  }

  /** Adds a message at its place, a new one or one that came back. */
  insert(message: QueuedMessage, isNew: boolean): void {
    message.available = true;
    this.#available.insert(message);
    if (message.group >= 0 && this.#groups === undefined) {
      this.#groups = [];
      for (const consumer of this.#consumers) this.#selective.add(consumer);
    }
    for (const consumer of this.#selective) {
      this.#note(consumer, message);
      this.#ready.add(consumer);
    }
    for (const browser of this.#browsers) {
      // What came back from before the place where it looks was shown before it was taken.
      if (isNew) this.#note(browser, message);
      this.#curious.add(browser);
    }
  }

  /** Keeps a message from a consumer from now on. */
  refuse(message: QueuedMessage, consumer: Consumer): void {
    consumer.refuse(message);
    if (this.#consumers.has(consumer)) this.#selective.add(consumer);
  }

  /** Takes out all messages that `which` picks, in order. */
  extract(which: (message: QueuedMessage) => boolean): QueuedMessage[] {
    const messages = this.#available.extract(which);
    for (const message of messages) message.available = false;
    return messages;
  }

  /** Hands one message to each consumer in turn, as long as there are both. */
  run(): void {
    // A message that a consumer cannot take comes back in the middle of it, and is seen by the next round.
    if (this.#running || this.#later) return;
    this.#running = true;
    let shown: boolean;
    try {
      shown = this.#curious.size === 0 || this.#showAll();
      this.#handOut();
    } finally {
      this.#running = false;
    }
    if (!shown || this.#steps < 0) this.#goOnLater();
  }

  #handOut(): void {
    let handed = 0;
    while (this.#steps >= 0 && this.#available.size > 0 && this.#ready.size > 0) {
      const consumer = this.#ready.values().next().value!;
      this.#ready.delete(consumer);
      if (!consumer.wants) {
        this.#endLook(consumer);
        continue;
      }
      const message = this.#take(consumer);
      // Who has looked at all there is hears of what comes.
      if (message !== undefined || this.#steps < 0 || !this.#selective.has(consumer)) this.#ready.add(consumer);
      if (message === undefined) {
        if (this.#steps >= 0) this.#endLook(consumer);
        continue;
      }
      if (this.#selective.delete(consumer)) this.#selective.add(consumer);
      handed++;
      this.#queue.acquired(message);
      consumer.deliver(message);
    }
    if (this.#steps < 0) return;
    // What is taken is not looked at again. So traffic needs no turn of its own, which a fake clock may never give.
    this.#steps += handed;
    for (const consumer of this.#looking) if (!consumer.browses) this.#endLook(consumer);
  }

  #goOnLater(): void {
    this.#later = true;
    // Who has looked at all there is need not wait until others have.
    if (this.#steps < 0) { for (const consumer of this.#ready) this.#awaitLook(consumer); }
    this.#queue.later(() => {
      this.#later = false;
      this.#steps = MAX_STEPS;
      this.run();
    });
  }

  // A drain is answered when all there is has been looked at.
  #awaitLook(consumer: Consumer): void {
    const { sender } = consumer;
    if (!sender.draining || !consumer.wants) return;
    this.#looking.add(consumer);
    sender.look(true);
  }

  #endLook(consumer: Consumer): void {
    if (this.#looking.delete(consumer)) consumer.sender.look(false);
  }

  #take(consumer: Consumer): QueuedMessage | undefined {
    const looks = this.#selective.has(consumer);
    while (--this.#steps >= 0) {
      const message = looks ? this.#look(consumer) : this.#available.first;
      if (message === undefined) return undefined;
      if (looks && !(message.available && this.#suits(consumer, message))) continue;
      this.#available.delete(message);
      message.available = false;
      if (this.#queue.dropExpired(message)) continue;
      if (message.group >= 0) this.#groups![message.group] = consumer;
      return message;
    }
    return undefined;
  }

  // Shows each link that only looks what it has not seen; false if there may be more.
  #showAll(): boolean {
    let shown = true;
    for (const browser of [...this.#curious]) {
      const looks = this.#steps > TAKERS_STEPS;
      if (this.#show(browser)) continue;
      shown = false;
      this.#awaitLook(browser);
      if (!looks) continue;
      // The others are next.
      this.#curious.delete(browser);
      this.#curious.add(browser);
    }
    return shown;
  }

  #show(browser: Consumer): boolean {
    while (browser.wants) {
      if (this.#steps <= TAKERS_STEPS) return false;
      this.#steps--;
      const message = this.#look(browser);
      if (message === undefined) {
        this.#curious.delete(browser);
        break;
      }
      if (message.available && this.#suits(browser, message) && !this.#queue.isExpired(message)) {
        browser.deliver(message);
      }
    }
    this.#endLook(browser);
    return true;
  }

  // The next message that a consumer has not looked at, or not since it came back.
  #look(consumer: Consumer): QueuedMessage | undefined {
    const noted = consumer.takeNoted();
    if (noted !== undefined) return noted;
    const message = this.#available.after(consumer.cursor);
    if (message !== undefined) consumer.cursor = message.rank;
    return message;
  }

  // Notes a message for a consumer that has looked further than there already. Without steps left it looks at it later.
  #note(consumer: Consumer, message: QueuedMessage): void {
    if (message.rank > consumer.cursor) return;
    if (this.#steps < 0 || this.#suits(consumer, message)) consumer.note(message);
  }

  #suits(consumer: Consumer, message: QueuedMessage): boolean {
    // Who only looks takes no message from the consumer that has its group.
    const owner = message.group < 0 || consumer.browses ? undefined : this.#groups?.[message.group];
    if (owner !== undefined && owner !== consumer) return false;
    const suits = consumer.suits(message);
    this.#steps -= consumer.takeSteps();
    return suits;
  }
}
