/**
 * A map for what comes and goes by the thousand.
 *
 * @module
 */

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
