/**
 * Messages of a queue that may not be delivered yet, by their delivery time.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import type { QueuedMessage } from "./queued_message.ts";
import { SortedMessages } from "./sorted_messages.ts";

// Messages that come due within the same millisecond keep their order.
const DELAYED_PER_MS = 65_536;

interface Delayed {
  readonly rank: number;
  readonly message: QueuedMessage;
}

export class DelayedMessages {
  readonly #environment: Environment;
  readonly #ondue: (messages: QueuedMessage[]) => void;
  readonly #messages = new SortedMessages<Delayed>();
  #lastPlace = 0;
  #timer: unknown;
  #due = Infinity;

  /** Calls `ondue` with the messages whose time has come, the earliest first. */
  constructor(environment: Environment, ondue: (messages: QueuedMessage[]) => void) {
    this.#environment = environment;
    this.#ondue = ondue;
  }

  get size(): number {
    return this.#messages.size;
  }

  add(message: QueuedMessage, due: number): void {
    const rank = Math.ceil(due) * DELAYED_PER_MS + ++this.#lastPlace % DELAYED_PER_MS;
    this.#messages.insert({ rank, message });
    if (due < this.#due) this.#wait(due);
  }

  extract(): QueuedMessage[] {
    return this.#messages.extract(() => true).map(({ message }) => message);
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
    const messages: QueuedMessage[] = [];
    this.#due = Infinity;
    for (let next = this.#messages.first; next !== undefined; next = this.#messages.first) {
      const due = Math.floor(next.rank / DELAYED_PER_MS);
      if (due > now) {
        this.#wait(due);
        break;
      }
      messages.push(this.#messages.shift()!.message);
    }
    this.#ondue(messages);
  }
}
