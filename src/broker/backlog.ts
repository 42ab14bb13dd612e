/**
 * Messages that wait, in the order of their places.
 *
 * @module
 */

import type { Consumer } from "./consumer.ts";
import type { QueuedMessage } from "./queued_message.ts";

// Removing from the front of a long array moves all of it: taken entries are dropped in bulk.
const MIN_TAKEN = 1_024;

/** The messages of a queue that nobody holds. */
export class Backlog {
  // Those that nobody has held yet, from #head on; all of them are behind all of those that came back.
  #fresh: QueuedMessage[] = [];
  #head = 0;
  #returned: QueuedMessage[] = [];

  /** How many there are. */
  get size(): number {
    return this.#returned.length + this.#fresh.length - this.#head;
  }

  /** Adds one at the end. */
  push(message: QueuedMessage): void {
    this.#fresh.push(message);
  }

  /** Puts one back at its place. */
  restore(message: QueuedMessage): void {
    const returned = this.#returned;
    const at = indexAfter(returned, 0, message.place);
    if (at === returned.length) returned.push(message);
    else returned.splice(at, 0, message);
  }

  /** Takes the first that a consumer may have. */
  take(consumer: Consumer): QueuedMessage | undefined {
    const returned = this.#returned;
    for (let i = 0; i < returned.length; i++) {
      const message = returned[i]!;
      if (!message.suits(consumer)) continue;
      if (i === 0) returned.shift();
      else returned.splice(i, 1);
      return message;
    }
    const message = this.#fresh[this.#head];
    if (message === undefined) return undefined;
    if (++this.#head >= MIN_TAKEN && this.#head * 2 >= this.#fresh.length) {
      this.#fresh.splice(0, this.#head);
      this.#head = 0;
    }
    return message;
  }

  /** The first that is behind `place`, which stays where it is. */
  after(place: number): QueuedMessage | undefined {
    const returned = this.#returned[indexAfter(this.#returned, 0, place)];
    return returned ?? this.#fresh[indexAfter(this.#fresh, this.#head, place)];
  }

  /** Takes out all that `which` picks, in order. */
  extract(which: (message: QueuedMessage) => boolean): QueuedMessage[] {
    const out: QueuedMessage[] = [];
    const stays = (message: QueuedMessage): boolean => {
      const picked = which(message);
      if (picked) out.push(message);
      return !picked;
    };
    this.#returned = this.#returned.filter(stays);
    this.#fresh = this.#fresh.slice(this.#head).filter(stays);
    this.#head = 0;
    return out;
  }
}

// Where in an ascending list the first message behind `place` stands, or would stand.
function indexAfter(messages: readonly QueuedMessage[], from: number, place: number): number {
  let low = from;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (messages[middle]!.place <= place) low = middle + 1;
    else high = middle;
  }
  return low;
}
