/**
 * Collections for what comes and goes by the thousand.
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
    const items = this.#items;
    // Most go in order, or as they came.
    if (items[this.#head] === item && this.length > 0) return this.shift() !== undefined;
    const at = items.at(-1) === item ? items.length - 1 : items.indexOf(item, this.#head);
    if (at >= this.#head) items.splice(at, 1);
    return at >= this.#head;
  }

  /** Removes all, and hands them out in their order. */
  clear(): T[] {
    const items = this.#items.slice(this.#head) as T[];
    this.#items = [];
    this.#head = 0;
    return items;
  }
}

// Often enough that little is kept, rarely enough that starting afresh costs less than the deletions before it.
const LEAST_DELETIONS = 1_024;

/**
 * A map that entries pass through; it costs next to nothing before there is one.
 *
 * A Map makes itself a new table now and then, and in V8 the old one points to the new. An old table that has outlived a
 * few collections thus keeps all that come after it, and all that ever was in them, until the next full collection. This
 * one starts with another Map before that.
 */
export class ChurnMap<K, V> {
  #map: Map<K, V> | undefined;
  #deletions = 0;

  /** How many entries there are. */
  get size(): number {
    return this.#map === undefined ? 0 : this.#map.size;
  }

  /** The value of a key. */
  get(key: K): V | undefined {
    return this.#map?.get(key);
  }

  /** Whether there is an entry of the key. */
  has(key: K): boolean {
    return this.#map !== undefined && this.#map.has(key);
  }

  /** Adds an entry, or replaces the value of the one there is. */
  set(key: K, value: V): void {
    (this.#map ??= new Map()).set(key, value);
  }

  /** Removes an entry; false when there was none. */
  delete(key: K): boolean {
    if (this.#map === undefined || !this.#map.delete(key)) return false;
    if (++this.#deletions >= LEAST_DELETIONS && this.#deletions >= 2 * this.#map.size) {
      this.#map = new Map(this.#map);
      this.#deletions = 0;
    }
    return true;
  }

  /** Removes all. */
  clear(): void {
    this.#map = undefined;
    this.#deletions = 0;
  }

  /** The keys, in the order in which they were added. */
  keys(): Iterable<K> {
    return this.#map?.keys() ?? [];
  }

  /** The values, in the order in which their keys were added. */
  values(): Iterable<V> {
    return this.#map?.values() ?? [];
  }

  /** The entries, in the order in which they were added. */
  [Symbol.iterator](): Iterator<[K, V]> {
    return (this.#map ?? [])[Symbol.iterator]();
  }
}
