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

  get size(): number {
    return this.#map === undefined ? 0 : this.#map.size;
  }

  /** The value of a key. */
  get(key: K): V | undefined {
    return this.#map?.get(key);
  }

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

const LEAST_SLOTS = 16;
// A table that is emptier than one in so many does not grow.
const SPARSE = 4;
// A table of more than so many places shrinks when it is emptier than one in so many: whoever had a hundred thousand may have
// ten from now on, and looks at every place where many are asked for.
const MANY_SLOTS = 4_096;
const EMPTY = 32;

/**
 * A map whose keys mostly are whole numbers of 32 bits that follow each other: the last bits of one are its place in a table,
 * without hashing. Others, and the few that stay while thousands pass by, are kept aside, so that memory follows their number
 * and not the distance.
 */
export class SerialMap<K extends number | string, V> {
  // As long as each other, a power of two, so that places follow each other also where numbers wrap.
  #keys: K[] = [];
  #values: (V | undefined)[] = [];
  readonly #aside = new ChurnMap<K, V>();
  #placed = 0;

  /** How many entries there are. */
  get size(): number {
    return this.#placed + this.#aside.size;
  }

  /** How many places there are. */
  protected get slots(): number {
    return this.#keys.length;
  }

  /** The value of a key, if it is held. */
  get(key: K): V | undefined {
    const at = this.#placeOf(key);
    return this.#keys[at] === key && this.#values[at] !== undefined ? this.#values[at] : this.#aside.get(key);
  }

  /** Adds an entry, of a key that is not there. */
  set(key: K, value: V): void {
    if (typeof key === "string") return this.#aside.set(key, value);
    const { length } = this.#keys;
    const at = this.#placeOf(key);
    const other = this.#values[at];
    if (length === 0 || (other !== undefined && length <= SPARSE * this.size)) {
      this.#resize(2 * length || LEAST_SLOTS);
      return this.set(key, value);
    }
    if (other === undefined) this.#placed++;
    else this.#aside.set(this.#keys[at]!, other);
    this.#keys[at] = key;
    this.#values[at] = value;
  }

  /** Removes an entry; false when there was none. */
  delete(key: K): boolean {
    const at = this.#placeOf(key);
    if (this.#keys[at] === key && this.#values[at] !== undefined) {
      this.#values[at] = undefined;
      this.#placed--;
    } else if (!this.#aside.delete(key)) return false;
    const { length } = this.#keys;
    if (length > MANY_SLOTS && EMPTY * this.size < length) this.#resize(length / 4);
    return true;
  }

  clear(): void {
    this.#keys = [];
    this.#values = [];
    this.#aside.clear();
    this.#placed = 0;
  }

  /** The values, in no order. */
  values(): V[] {
    return [...this.#values, ...this.#aside.values()].filter((value) => value !== undefined);
  }

  // Of a text the first, where it is not found.
  #placeOf(key: K): number {
    return typeof key === "number" ? key & (this.#keys.length - 1) : 0;
  }

  // Places that differ in a table differ in one of twice the size; in a smaller one some are the same.
  #resize(length: number): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = new Array<K>(length).fill(0 as K);
    this.#values = new Array<V | undefined>(length).fill(undefined);
    this.#placed = 0;
    values.forEach((value, i) => {
      if (value !== undefined) this.set(keys[i]!, value);
    });
  }
}
