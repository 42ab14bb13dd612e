/**
 * Many timers on one timer of the runtime.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";

interface Timer {
  readonly due: number;
  readonly call: () => void;
  /** The timer's place in the heap; -1 once it is not there. */
  place: number;
}

/**
 * An environment whose timers share one of another. Each connection of an acceptor has a time-out running at all times, for
 * which a timer of Deno's own takes 1.4 KB.
 */
export class SharedTimers implements Environment {
  readonly #environment: Environment;
  // A binary heap: no timer is due before the one at half its place.
  readonly #heap: Timer[] = [];
  #timer: unknown;
  #timerDue = Infinity;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  now(): number {
    return this.#environment.now();
  }

  endOfTurn(call: () => void): boolean {
    return this.#environment.endOfTurn(call);
  }

  random(bytes: Uint8Array<ArrayBuffer>): void {
    this.#environment.random(bytes);
  }

  setTimer(call: () => void, ms: number): unknown {
    const timer: Timer = { due: this.now() + Math.max(0, ms), call, place: -1 };
    this.#place(timer, this.#heap.length);
    this.#arm();
    return timer;
  }

  clearTimer(timer: unknown): void {
    if (timer === undefined || (timer as Timer).place < 0) return;
    this.#remove(timer as Timer);
    // With none left, the runtime's timer would keep the process alive; otherwise it may run early, and looks for the next.
    if (this.#heap.length === 0) this.#disarm();
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined || first.due >= this.#timerDue) return;
    this.#disarm();
    this.#timerDue = first.due;
    this.#timer = this.#environment.setTimer(() => this.#run(), first.due - this.now());
  }

  #disarm(): void {
    this.#environment.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#timerDue = Infinity;
  }

  #run(): void {
    this.#disarm();
    const now = this.now();
    try {
      // Not more than there are: a call may set a timer that is due at once.
      for (let left = this.#heap.length; left > 0; left--) {
        const first = this.#heap[0];
        if (first === undefined || first.due > now) break;
        this.#remove(first);
        first.call();
      }
    } finally {
      this.#arm();
    }
  }

  #remove(timer: Timer): void {
    const last = this.#heap.pop()!;
    const { place } = timer;
    timer.place = -1;
    if (last !== timer) this.#place(last, place);
  }

  // Puts a timer at a free place, or where it belongs above or below that.
  #place(timer: Timer, place: number): void {
    const heap = this.#heap;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (heap[above]!.due <= timer.due) break;
      this.#put(heap[above]!, place);
      place = above;
    }
    for (;;) {
      let below = 2 * place + 1;
      if (below + 1 < heap.length && heap[below + 1]!.due < heap[below]!.due) below++;
      if (below >= heap.length || heap[below]!.due >= timer.due) break;
      this.#put(heap[below]!, place);
      place = below;
    }
    this.#put(timer, place);
  }

  #put(timer: Timer, place: number): void {
    this.#heap[place] = timer;
    timer.place = place;
  }
}
