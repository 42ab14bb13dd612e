/**
 * Deliveries of a session by their id, of one direction.
 *
 * @module
 */

import { SerialMap } from "../base/collections.ts";
import { add, difference } from "./windows.ts";

// Of ids so far apart each is looked up in turn only where as many deliveries are held.
const SPARSE = 4;

/** Deliveries of a session by id, of one direction. */
export class DeliveriesById<D extends { readonly id: number | undefined }> extends SerialMap<number, D> {
  /** Removes one; false when it is not held. */
  remove(delivery: D): boolean {
    const { id } = delivery;
    return id !== undefined && this.get(id) === delivery && this.delete(id);
  }

  /** Those that are held of the range `first` to `last`, both included, in order. */
  range(first: number, last: number): D[] {
    // A range backwards, or of undefined order, names nothing [rfc1982 3.2].
    const span = difference(last, first);
    // Work follows what is held: a range may span 2^31 ids, of which we hold but a few.
    if (span > SPARSE * this.size) {
      return this.values().filter((held) => add(held.id!, -first) <= span).sort((a, b) => difference(a.id!, b.id!));
    }
    const found: D[] = [];
    for (let i = 0; i <= span; i++) {
      const held = this.get(add(first, i));
      if (held !== undefined) found.push(held);
    }
    return found;
  }
}
