/**
 * How much may be kept, for one queue and for all together.
 *
 * @module
 */

/** Waits until there is room again. */
export interface Waiter {
  /** There may be room now; asked for once more if it does not do. */
  handleRoom(): void;
}

/** Counts messages and bytes against their limits, its own and those of the whole that it is a part of. */
export class Budget {
  /** Messages that are kept. */
  messages = 0;
  /** Their bytes. */
  bytes = 0;
  /** Most messages that are kept. */
  readonly maxMessages: number;
  /** Most bytes that are kept. */
  readonly maxBytes: number;

  readonly #whole: Budget | undefined;
  readonly #waiting = new Set<Waiter>();
  #waking = false;

  /** Starts empty. */
  constructor(maxMessages: number, maxBytes: number, whole?: Budget) {
    this.maxMessages = maxMessages;
    this.maxBytes = maxBytes;
    this.#whole = whole;
  }

  /** Whether a message of that many bytes fits now. */
  fits(bytes: number): boolean {
    if (this.messages >= this.maxMessages || this.bytes + bytes > this.maxBytes) return false;
    return this.#whole === undefined || this.#whole.fits(bytes);
  }

  /** The largest message that fits when nothing else is kept. */
  get largest(): number {
    return Math.min(this.maxBytes, this.#whole?.largest ?? Infinity);
  }

  /** How many messages of that many bytes fit now. */
  room(bytes: number): number {
    const own = Math.min(
      this.maxMessages - this.messages,
      Math.floor((this.maxBytes - this.bytes) / Math.max(1, bytes)),
    );
    return Math.min(own, this.#whole?.room(bytes) ?? Infinity);
  }

  /** Counts one more message, or several. */
  add(bytes: number, messages = 1): void {
    this.messages += messages;
    this.bytes += bytes;
    this.#whole?.add(bytes, messages);
  }

  /** Counts one message less, or several, and wakes whoever waits for room. */
  remove(bytes: number, messages = 1): void {
    this.messages -= messages;
    this.bytes -= bytes;
    this.#wake();
    this.#whole?.remove(bytes, messages);
  }

  /** Calls `waiter` once, when something was removed here or from the whole. */
  whenRoom(waiter: Waiter): void {
    this.#waiting.add(waiter);
    this.#whole?.whenRoom(waiter);
  }

  // One disposition settles many messages: the waiting hear of all of them at once.
  #wake(): void {
    if (this.#waking || this.#waiting.size === 0) return;
    this.#waking = true;
    queueMicrotask(() => {
      this.#waking = false;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const waiter of waiting) waiter.handleRoom();
    });
  }
}
