/**
 * Room for messages, in one queue and in all together.
 *
 * @module
 */

/** A queue or topic that waits for room. */
export interface Waiter {
  /** There may be room now; a waiter that needs more calls `whenRoom` again. */
  handleRoom(): void;
}

// Waiters served in a row without effect before the others wait for more room.
const MAX_FAILED_TURNS = 16;

/** Counts messages and bytes against its own limits and those of the whole that it is a part of. */
export class RoomBudget {
  messages = 0;
  bytes = 0;
  /** Bytes beside the messages, such as the addresses of nodes. */
  reserved = 0;
  readonly maxMessages: number;
  readonly maxBytes: number;

  readonly #whole: RoomBudget | undefined;
  readonly #waiting = new Set<Waiter>();
  #waking = false;

  constructor(maxMessages: number, maxBytes: number, whole?: RoomBudget) {
    this.maxMessages = maxMessages;
    this.maxBytes = maxBytes;
    this.#whole = whole;
  }

  /** Whether messages of that many bytes together fit now. */
  fits(bytes: number, messages = 1): boolean {
    return this.fitsHere(bytes, messages) && (this.#whole === undefined || this.#whole.fitsHere(bytes, messages));
  }

  /** The same, apart from the room of the whole. */
  fitsHere(bytes: number, messages = 1): boolean {
    return this.messages + messages <= this.maxMessages && this.bytes + this.reserved + bytes <= this.maxBytes;
  }

  /** Counts bytes beside the messages; false if there are too many. */
  reserve(bytes: number): boolean {
    if (this.bytes + this.reserved + bytes > this.maxBytes) return false;
    this.reserved += bytes;
    return true;
  }

  /** The largest message that fits into an empty budget, in bytes. */
  get largest(): number {
    return Math.min(this.maxBytes, this.#whole?.largest ?? Infinity);
  }

  /** The most messages that fit into an empty budget. */
  get most(): number {
    return Math.min(this.maxMessages, this.#whole?.most ?? Infinity);
  }

  /** The number of messages of that many bytes that fit now. */
  room(bytes: number): number {
    const own = Math.min(
      this.maxMessages - this.messages,
      Math.floor((this.maxBytes - this.bytes - this.reserved) / Math.max(1, bytes)),
    );
    return Math.max(0, Math.min(own, this.#whole?.room(bytes) ?? Infinity));
  }

  /** Counts messages; `bytesOfWhole` leaves out bytes that another part of the whole counts. */
  add(bytes: number, bytesOfWhole: number = bytes, messages = 1): void {
    this.messages += messages;
    this.bytes += bytes;
    this.#whole?.add(bytesOfWhole, bytesOfWhole, messages);
  }

  /** Stops counting messages, and wakes those that wait for room. */
  remove(bytes: number, bytesOfWhole: number = bytes, messages = 1): void {
    this.messages -= messages;
    this.bytes -= bytes;
    this.#wake();
    this.#whole?.remove(bytesOfWhole, bytesOfWhole, messages);
  }

  /** Calls `waiter` once something was removed from the budget that lacks this room. */
  whenRoom(waiter: Waiter, bytes: number, messages = 1): void {
    if (this.#whole === undefined || !this.fitsHere(bytes, messages)) this.#waiting.add(waiter);
    else this.#whole.whenRoom(waiter, bytes, messages);
  }

  /** Stops calling `waiter`. */
  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
    this.#whole?.forget(waiter);
  }

  // Waiters are called once for all messages that one disposition settles.
  #wake(): void {
    if (this.#waking || this.#waiting.size === 0) return;
    this.#waking = true;
    // Not `queueMicrotask`, which some fake timers replace.
    Promise.resolve().then(() => {
      this.#waking = false;
      this.#serve();
    });
  }

  // Serves waiters in turn while there is room: a thousand queues shall not all look at room for one message.
  #serve(): void {
    let failed = 0;
    for (let turns = this.#waiting.size; turns > 0 && failed < MAX_FAILED_TURNS && this.fitsHere(1); turns--) {
      const waiter = this.#waiting.values().next().value;
      if (waiter === undefined) return;
      this.#waiting.delete(waiter);
      const { messages } = this;
      waiter.handleRoom();
      if (this.#waiting.has(waiter) && messages === this.messages) failed++;
    }
  }
}
