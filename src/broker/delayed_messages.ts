/**
 * Messages of a queue that may not be delivered yet, by their delivery time.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import type { QueuedMessage } from "./queued_message.ts";
import { SortedMessages } from "./sorted_messages.ts";

// The messages that come due in one millisecond, in the order in which they came.
interface Entry {
  readonly rank: number;
  readonly messages: QueuedMessage[];
}

export class DelayedMessages {
  readonly #environment: Environment;
  readonly #ondue: (messages: QueuedMessage[]) => void;
  readonly #entries = new SortedMessages<Entry>();
  #size = 0;
  #timer: unknown;
  #due = Infinity;

  /** Calls `ondue` with the messages whose time has come, the earliest first. */
  constructor(environment: Environment, ondue: (messages: QueuedMessage[]) => void) {
    this.#environment = environment;
    this.#ondue = ondue;
  }

  get size(): number {
    return this.#size;
  }

  add(message: QueuedMessage, due: number): void {
    const rank = Math.ceil(due);
    const entry = this.#entries.get(rank);
    if (entry === undefined) this.#entries.insert({ rank, messages: [message] });
    else entry.messages.push(message);
    this.#size++;
    if (rank < this.#due) this.#wait(rank);
  }

  extract(): QueuedMessage[] {
    this.#size = 0;
    return this.#entries.extract(() => true).flatMap(({ messages }) => messages);
  }

  /** Cancels the timer. */
  close(): void {
    this.#environment.clearTimer(this.#timer);
  }

  #wait(due: number): void {
    this.#environment.clearTimer(this.#timer);
    this.#due = due;
    this.#timer = this.#environment.setTimer(() => this.#take(), due - this.#environment.now());
  }

  #take(): void {
    const now = this.#environment.now();
    const taken: QueuedMessage[][] = [];
    this.#due = Infinity;
    for (let next = this.#entries.first; next !== undefined; next = this.#entries.first) {
      if (next.rank > now) {
        this.#wait(next.rank);
        break;
      }
      taken.push(this.#entries.shift()!.messages);
    }
    const messages = taken.flat();
    this.#size -= messages.length;
    this.#ondue(messages);
  }
}
