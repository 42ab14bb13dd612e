/**
 * Deliveries of a session by their id, of one direction.
 *
 * @module
 */

import { add, difference } from "./windows.ts";

const LEAST_SLOTS = 16;
// A table that is emptier than one in so many does not grow.
const SPARSE = 4;

/**
 * Deliveries by id. Ids follow each other, so that the last bits of an id are its place in a table, without hashing; the few
 * that stay unsettled while thousands pass by are kept aside, so that memory follows their number and not the distance.
 */
export class DeliveriesById<D extends { readonly id: number | undefined }> {
  /** How many there are. */
  size = 0;
  // A power of two, so that places follow each other also where ids wrap.
  #slots: (D | undefined)[] = [];
  #aside: Map<number, D> | undefined;

  /** The delivery of an id, if it is held. */
  get(id: number): D | undefined {
    const delivery = this.#slots[id & (this.#slots.length - 1)];
    return delivery !== undefined && delivery.id === id ? delivery : this.#aside?.get(id);
  }

  /** Adds one, whose id no other has. */
  set(id: number, delivery: D): void {
    const slots = this.#slots;
    const { length } = slots;
    const at = id & (length - 1);
    const other = slots[at];
    if (length === 0 || (other !== undefined && length <= SPARSE * this.size)) {
      // Places that differ in a table differ in one of twice the size.
      this.#slots = new Array<D | undefined>(2 * length || LEAST_SLOTS).fill(undefined);
      for (const held of slots) if (held !== undefined) this.#slots[held.id! & (this.#slots.length - 1)] = held;
      return this.set(id, delivery);
    }
    if (other !== undefined) (this.#aside ??= new Map()).set(other.id!, other);
    slots[at] = delivery;
    this.size++;
  }

  /** Removes one; false when it is not held. */
  delete(delivery: D): boolean {
    const { id } = delivery;
    if (id === undefined || this.get(id) !== delivery) return false;
    const at = id & (this.#slots.length - 1);
    if (this.#slots[at] === delivery) this.#slots[at] = undefined;
    else this.#aside!.delete(id);
    this.size--;
    return true;
  }

  /** Removes all. */
  clear(): void {
    this.size = 0;
    this.#slots = [];
    this.#aside = undefined;
  }

  /** Those that are held of the range `first` to `last`, both included, in order. */
  range(first: number, last: number): D[] {
    // A range backwards, or of undefined order, names nothing [rfc1982 3.2].
    const span = difference(last, first);
    // Work follows what is held: a range may span 2^31 ids, of which we hold but a few.
    if (span >= this.#slots.length) {
      return [...this.#slots, ...this.#aside?.values() ?? []]
        .filter((held): held is D => held !== undefined && add(held.id!, -first) <= span)
        .sort((a, b) => difference(a.id!, b.id!));
    }
    const found: D[] = [];
    for (let i = 0; i <= span; i++) {
      const held = this.get(add(first, i));
      if (held !== undefined) found.push(held);
    }
    return found;
  }
}
