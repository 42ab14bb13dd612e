/**
 * How much may be kept, for one queue and for all together.
 *
 * @module
 */

/** Waits until there is room again. */
export interface Waiter {
  /** There may be room now; a waiter that needs more asks again. */
  handleRoom(): void;
}

// Waiters in a row that get nothing out of new room before the others have to wait for more.
const MAX_DISAPPOINTED = 16;

/** Counts messages and bytes against their limits, its own and those of the whole that it is a part of. */
export class RoomBudget {
  /** Messages that are kept. */
  messages = 0;
  /** Their bytes. */
  bytes = 0;
  /** Bytes of other things that are kept beside messages, such as the addresses of nodes. */
  reserved = 0;
  /** Most messages that are kept. */
  readonly maxMessages: number;
  /** Most bytes that are kept. */
  readonly maxBytes: number;

  readonly #whole: RoomBudget | undefined;
  readonly #waiting = new Set<Waiter>();
  #waking = false;

  constructor(maxMessages: number, maxBytes: number, whole?: RoomBudget) {
    this.maxMessages = maxMessages;
    this.maxBytes = maxBytes;
    this.#whole = whole;
  }

  /** Whether a message of that many bytes fits now, or several that have so many together. */
  fits(bytes: number, messages = 1): boolean {
    return this.fitsHere(bytes, messages) && (this.#whole === undefined || this.#whole.fitsHere(bytes, messages));
  }

  /** The same, whatever the whole has room for. */
  fitsHere(bytes: number, messages = 1): boolean {
    return this.messages + messages <= this.maxMessages && this.bytes + this.reserved + bytes <= this.maxBytes;
  }

  /** Keeps bytes of something else than messages; false if there are too many. */
  reserve(bytes: number): boolean {
    if (this.bytes + this.reserved + bytes > this.maxBytes) return false;
    this.reserved += bytes;
    return true;
  }

  /** The largest message that fits when nothing else is kept. */
  get largest(): number {
    return Math.min(this.maxBytes, this.#whole?.largest ?? Infinity);
  }

  /** The most messages that fit when nothing else is kept. */
  get most(): number {
    return Math.min(this.maxMessages, this.#whole?.most ?? Infinity);
  }

  /** How many messages of that many bytes fit now. */
  room(bytes: number): number {
    const own = Math.min(
      this.maxMessages - this.messages,
      Math.floor((this.maxBytes - this.bytes - this.reserved) / Math.max(1, bytes)),
    );
    return Math.max(0, Math.min(own, this.#whole?.room(bytes) ?? Infinity));
  }

  /** Counts one more message, or several; what is shared with other parts of the whole counts there once. */
  add(bytes: number, bytesOfWhole: number = bytes, messages = 1): void {
    this.messages += messages;
    this.bytes += bytes;
    this.#whole?.add(bytesOfWhole, bytesOfWhole, messages);
  }

  /** Counts one message less, or several, and wakes whoever waits for room. */
  remove(bytes: number, bytesOfWhole: number = bytes, messages = 1): void {
    this.messages -= messages;
    this.bytes -= bytes;
    this.#wake();
    this.#whole?.remove(bytesOfWhole, bytesOfWhole, messages);
  }

  /** Calls `waiter` once, when something was removed from what has no room for so much. */
  whenRoom(waiter: Waiter, bytes: number, messages = 1): void {
    if (this.#whole === undefined || !this.fitsHere(bytes, messages)) this.#waiting.add(waiter);
    else this.#whole.whenRoom(waiter, bytes, messages);
  }

  /** Calls `waiter` no more. */
  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
    this.#whole?.forget(waiter);
  }

  // One disposition settles many messages: the waiting hear of all of them at once.
  #wake(): void {
    if (this.#waking || this.#waiting.size === 0) return;
    this.#waking = true;
    // Not `queueMicrotask`, which some fake timers replace.
    Promise.resolve().then(() => {
      this.#waking = false;
      this.#serve();
    });
  }

  // In turns, as long as there is something to give: a thousand queues shall not all look at room for one message.
  #serve(): void {
    let disappointed = 0;
    for (let turns = this.#waiting.size; turns > 0 && disappointed < MAX_DISAPPOINTED && this.fitsHere(1); turns--) {
      const waiter = this.#waiting.values().next().value;
      if (waiter === undefined) return;
      this.#waiting.delete(waiter);
      const { messages } = this;
      waiter.handleRoom();
      if (this.#waiting.has(waiter) && messages === this.messages) disappointed++;
    }
  }
}
