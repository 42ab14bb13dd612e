/**
 * Collections for entries that come and go by the thousand, and the arithmetic of the serial numbers by which some are kept.
 *
 * @module
 */

// Items taken before the rest moves to the front: the move then costs less than the takes before it. An empty queue keeps as
// many places.
const MIN_TAKEN = 64;

/** First in, first out. `Array.shift` moves all items behind the first, in some engines each time. */
export class Fifo<T> {
  // The items from head to tail; all other places are undefined.
  #items: (T | undefined)[] = [];
  #head = 0;
  #tail = 0;

  get length(): number {
    return this.#tail - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items[this.#tail++] = item;
  }

  shift(): T | undefined {
    const items = this.#items;
    if (this.#head === this.#tail) return undefined;
    const item = items[this.#head];
    // Lets the garbage collector free the item.
    items[this.#head++] = undefined;
    if (this.#head === this.#tail) {
      if (items.length > MIN_TAKEN) this.#items = [];
      this.#head = this.#tail = 0;
    } else if (this.#head >= MIN_TAKEN && 2 * this.#head >= this.#tail) {
      items.splice(0, this.#head);
      this.#tail -= this.#head;
      this.#head = 0;
    }
    return item;
  }

  /** Removes an item, wherever it is in the queue; false when it is absent. */
  remove(item: T): boolean {
    const items = this.#items;
    if (this.#head === this.#tail) return false;
    // Most items are removed at the front or at the back.
    if (items[this.#head] === item) return this.shift() !== undefined;
    const at = items[this.#tail - 1] === item ? this.#tail - 1 : items.indexOf(item, this.#head);
    if (at < this.#head) return false;
    items.splice(at, 1);
    this.#tail--;
    return true;
  }

  /** Removes all items, and returns them in order. */
  clear(): T[] {
    const items = this.#items.slice(this.#head, this.#tail) as T[];
    this.#items = [];
    this.#head = this.#tail = 0;
    return items;
  }
}

// Deletions before a fresh Map: few enough that little garbage is kept, enough that they cost more than the copy.
const MIN_DELETIONS = 1_024;

/**
 * A map whose entries come and go; it allocates nothing before the first entry.
 *
 * A Map replaces its table now and then, and in V8 the old table points to the new one. An old table that has survived a few
 * collections thus keeps every later table, and every entry that was ever in them, until the next full collection. This class
 * starts a new Map before that.
 */
export class ChurnMap<K, V> {
  #map: Map<K, V> | undefined;
  #deletions = 0;

  get size(): number {
    return this.#map === undefined ? 0 : this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map?.get(key);
  }

  has(key: K): boolean {
    return this.#map !== undefined && this.#map.has(key);
  }

  set(key: K, value: V): void {
    (this.#map ??= new Map()).set(key, value);
  }

  delete(key: K): boolean {
    if (this.#map === undefined || !this.#map.delete(key)) return false;
    if (++this.#deletions >= MIN_DELETIONS && this.#deletions >= 2 * this.#map.size) {
      this.#map = new Map(this.#map);
      this.#deletions = 0;
    }
    return true;
  }

  clear(): void {
    this.#map = undefined;
    this.#deletions = 0;
  }

  /** Keys, in insertion order. */
  keys(): Iterable<K> {
    return this.#map?.keys() ?? [];
  }

  /** Values, in insertion order of their keys. */
  values(): Iterable<V> {
    return this.#map?.values() ?? [];
  }

  /** Entries, in insertion order. */
  [Symbol.iterator](): Iterator<[K, V]> {
    return (this.#map ?? [])[Symbol.iterator]();
  }
}

const MIN_SLOTS = 16;
// A table with fewer than one slot in so many taken does not grow.
const SPARSE = 4;
// A table of more slots than MANY_SLOTS shrinks when fewer than one in EMPTY is taken: a session that had a hundred thousand
// deliveries may have ten from now on, and `values` walks every slot.
const MANY_SLOTS = 4_096;
const EMPTY = 32;

/**
 * A map whose keys are mostly consecutive 32-bit integers: the low bits of a key are its slot in a table, without hashing.
 * Other keys, and the few entries that stay while thousands pass, are kept aside, so that memory follows the number of entries
 * and not the distance between keys.
 */
export class SerialMap<K extends number | string, V> {
  // Both arrays have one length, a power of two, so that slots follow each other also where ids wrap.
  #keys: K[] = [];
  #values: (V | undefined)[] = [];
  readonly #aside = new ChurnMap<K, V>();
  #placed = 0;

  get size(): number {
    return this.#placed + this.#aside.size;
  }

  protected get slots(): number {
    return this.#keys.length;
  }

  get(key: K): V | undefined {
    const at = this.#placeOf(key);
    return this.#keys[at] === key && this.#values[at] !== undefined ? this.#values[at] : this.#aside.get(key);
  }

  /** Adds an entry; the key must be absent. */
  set(key: K, value: V): void {
    if (typeof key === "string") return this.#aside.set(key, value);
    const { length } = this.#keys;
    const at = this.#placeOf(key);
    const other = this.#values[at];
    if (length === 0 || (other !== undefined && length <= SPARSE * this.size)) {
      this.#resize(2 * length || MIN_SLOTS);
      return this.set(key, value);
    }
    if (other === undefined) this.#placed++;
    else this.#aside.set(this.#keys[at]!, other);
    this.#keys[at] = key;
    this.#values[at] = value;
  }

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

  /** Values, in no order. */
  values(): V[] {
    return [...this.#values, ...this.#aside.values()].filter((value) => value !== undefined);
  }

  // A string has slot 0, where it is never found.
  #placeOf(key: K): number {
    return typeof key === "number" ? key & (this.#keys.length - 1) : 0;
  }

  // Slots that differ in a table differ in one of twice the size; in a smaller table some collide.
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

/** The serial number `n` after [rfc1982] `a`; `n` may be negative. */
export function add(a: number, n: number): number {
  return (a + n) >>> 0;
}

/**
 * How far `a` lies after `b`: negative when `a` comes first.
 *
 * At a distance of 2^31 the order is undefined [rfc1982 3.2]; the answer there is -2^31 both ways round, so a caller that
 * asks for "not negative" refuses it.
 */
export function difference(a: number, b: number): number {
  return (a - b) | 0;
}
