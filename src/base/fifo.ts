/**
 * A queue for what comes and goes by the thousand.
 *
 * @module
 */

// Moving the rest to the front now and then costs less than the taking before it.
const LEAST_TAKEN = 64;

/** First in, first out. An array's own `shift` moves all that is behind, in some engines each time. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  /** How many items wait. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** The item that is next, if any. */
  get first(): T | undefined {
    return this.#items[this.#head];
  }

  /** Adds an item at the back. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the item at the front, if any. */
  shift(): T | undefined {
    const items = this.#items;
    if (this.#head === items.length) return undefined;
    const item = items[this.#head];
    // What was taken is not to be kept alive from here.
    items[this.#head++] = undefined;
    if (this.#head === items.length || (this.#head >= LEAST_TAKEN && 2 * this.#head >= items.length)) {
      items.splice(0, this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Removes an item from wherever it is; false when it is not there. */
  remove(item: T): boolean {
    const at = this.#items.indexOf(item, this.#head);
    if (at >= 0) this.#items.splice(at, 1);
    return at >= 0;
  }

  /** Removes all, and hands them out in their order. */
  clear(): T[] {
    const items = this.#items.slice(this.#head) as T[];
    this.#items = [];
    this.#head = 0;
    return items;
  }
}
