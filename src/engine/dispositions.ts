/**
 * Dispositions on their way out, many deliveries to a frame.
 *
 * @module
 */

import type { DeliveryState, Disposition, Role } from "../codec/types.ts";
import { add, difference } from "./windows.ts";

interface DispositionRange {
  first: number;
  last: number;
  readonly settled: boolean;
  readonly state: DeliveryState | undefined;
}

/** Dispositions of one role that wait to be written, joined to ranges. */
export class DispositionBatch {
  readonly #role: Role;
  #ranges: DispositionRange[] = [];
  // What is told of a delivery twice keeps its order.
  #ordered = false;

  /** Gathers dispositions told by `role`. */
  constructor(role: Role) {
    this.#role = role;
  }

  /** Adds one delivery's; `again` if something was told of the delivery before. */
  add(id: number, state: DeliveryState | undefined, settled: boolean, again: boolean): void {
    if (again) this.#ordered = true;
    const last = this.#ranges[this.#ranges.length - 1];
    if (last !== undefined && id === add(last.last, 1) && alike(last, settled, state)) last.last = id;
    else this.#ranges.push({ first: id, last: id, settled, state });
  }

  /** Forgets what waits. */
  clear(): void {
    this.#ranges = [];
    this.#ordered = false;
  }

  /** Hands out the performatives and forgets them. */
  drain(write: (disposition: Disposition) => void): void {
    const ranges = this.#ranges;
    if (ranges.length === 0) return;
    this.#ranges = [];
    if (ranges.length > 1 && !this.#ordered) {
      const base = ranges[0]!.first;
      ranges.sort((a, b) => difference(a.first, base) - difference(b.first, base));
    }
    this.#ordered = false;
    let current = ranges[0]!;
    for (let i = 1; i < ranges.length; i++) {
      const next = ranges[i]!;
      if (next.first === add(current.last, 1) && alike(current, next.settled, next.state)) {
        current.last = next.last;
        continue;
      }
      write(this.#performative(current));
      current = next;
    }
    write(this.#performative(current));
  }

  #performative(range: DispositionRange): Disposition {
    return {
      kind: "disposition",
      role: this.#role,
      first: range.first,
      last: range.last === range.first ? undefined : range.last,
      settled: range.settled || undefined,
      state: range.state,
    };
  }
}

function alike(range: DispositionRange, settled: boolean, state: DeliveryState | undefined): boolean {
  if (range.settled !== settled) return false;
  if (range.state === state) return true;
  // Outcomes without fields are equal when their kinds are.
  return range.state?.kind === state?.kind && (state?.kind === "accepted" || state?.kind === "released");
}
