/**
 * A schedule of names to check again.
 *
 * @module
 */

import { SortedMessages } from "./sorted_messages.ts";

// The names that are due in one millisecond.
interface Entry {
  readonly rank: number;
  readonly names: Set<string>;
}

/** A schedule that has each name once, at its earliest time; no operation walks through all names. */
export class CheckSchedule {
  readonly #entries = new SortedMessages<Entry>();
  readonly #byTime = new Map<number, Entry>();
  readonly #times = new Map<string, number>();

  /** Schedules a name for `time`; does nothing for Infinity. */
  add(name: string, time: number): void {
    const rank = Math.ceil(time);
    const before = this.#times.get(name) ?? Infinity;
    if (rank >= before) return;
    this.delete(name);
    this.#times.set(name, rank);
    let entry = this.#byTime.get(rank);
    if (entry === undefined) {
      entry = { rank, names: new Set() };
      this.#byTime.set(rank, entry);
      this.#entries.insert(entry);
    }
    entry.names.add(name);
  }

  delete(name: string): void {
    const entry = this.#byTime.get(this.#times.get(name) ?? Infinity);
    if (entry === undefined) return;
    this.#times.delete(name);
    entry.names.delete(name);
    if (entry.names.size > 0) return;
    this.#byTime.delete(entry.rank);
    this.#entries.delete(entry.rank);
  }

  /** Removes and returns the names that are due at `now`, the earliest first. */
  take(now: number): string[] {
    const due: string[] = [];
    for (let entry = this.#entries.first; entry !== undefined && entry.rank <= now; entry = this.#entries.first) {
      this.#entries.shift();
      this.#byTime.delete(entry.rank);
      for (const name of entry.names) {
        this.#times.delete(name);
        due.push(name);
      }
    }
    return due;
  }
}
