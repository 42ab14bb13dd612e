/**
 * A network and a clock for simulations: bytes take time, arrive in other pieces, stall, and connections break, by a seed.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type { Environment } from "../../src/base/environment.ts";
import { TransportError } from "../../src/base/errors.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { type Random, random } from "../harness.ts";

// Turns of the runtime that a loaded module may take to be available again.
const REAL_TURNS = 5;

type Clock = Pick<Environment, "now" | "setTimer">;

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
}

/** A clock that advances when nothing else is pending. */
export class SimulatedTime implements Environment {
  #now = 1_000;
  #order = 0;
  readonly #timers = new Set<Timer>();
  readonly #random: Random;

  /** Starts at one second; `seed` determines the randomness. */
  constructor(seed: number) {
    this.#random = random(seed);
  }

  /** The number of pending timers. */
  get pending(): number {
    return this.#timers.size;
  }

  readonly now = (): number => this.#now;

  setTimer(call: () => void, ms: number): unknown {
    const timer = { at: this.#now + Math.max(0, ms), order: this.#order++, call };
    this.#timers.add(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.#timers.delete(timer as Timer);
  }

  endOfTurn(): boolean {
    return false;
  }

  random(bytes: Uint8Array<ArrayBuffer>): void {
    bytes.set(this.#random.bytes(bytes.length));
  }

  /** Waits so many milliseconds. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.setTimer(resolve, ms));
  }

  /** The machine sleeps: `ms` milliseconds pass, and timers are late. */
  leap(ms: number): void {
    this.#now += ms;
  }

  /** Advances time until `done`, by `ms` milliseconds at most; false if they have passed. */
  async until(done: () => boolean, ms: number): Promise<boolean> {
    const end = this.#now + ms;
    for (;;) {
      await turn();
      if (done()) return true;
      if (this.#jump(end)) continue;
      // Modules loaded on first use take turns of the runtime, and no time.
      for (let i = 0; i < REAL_TURNS && !done(); i++) await turn();
      if (this.#jump(end)) continue;
      this.#now = Math.max(this.#now, end);
      return done();
    }
  }

  /** Advances time by `ms` milliseconds. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await turn();
    while (this.#jump(end)) await turn();
    this.#now = Math.max(this.#now, end);
  }

  #jump(end: number): boolean {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (first === undefined || timer.at < first.at || timer.at === first.at && timer.order < first.order) {
        first = timer;
      }
    }
    if (first === undefined || first.at > end) return false;
    this.#timers.delete(first);
    this.#now = Math.max(this.#now, first.at);
    first.call();
    return true;
  }
}

// All promises that can settle do so before it ends.
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

// One connection, as the network sees it.
interface Line {
  readonly program: number;
  /** Breaks the connection: both ends see it at once. */
  break(): void;
  /** Stops one direction without a close. */
  mute(direction: number): void;
  /** Closes one direction: one end sees it, the other `ms` later. */
  closeHalf(direction: number, ms: number): void;
}

/** The network between clients and their server. */
export class SimulatedNetwork {
  /** Accepts a connection; undefined while the server is down. */
  accept: ((channel: Channel) => unknown) | undefined;
  /** Unreachable hosts, of the several names of the server. */
  readonly unreachable: Set<string> = new Set();
  /** Whether connections break or stall; the end of a simulation turns it off. */
  faulty = true;
  /** The number of cut connections. */
  cuts = 0;

  readonly #time: Clock;
  readonly #random: Random;
  readonly #open = new Set<Line>();

  /** Takes its faults from `random`. */
  constructor(time: Clock, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  /** Cuts all connections. */
  cut(): void {
    for (const line of this.#open) line.break();
  }

  /** Ends the connections of one program as its killed process does; the server sees it later. */
  kill(program: number): void {
    for (const line of this.#open) if (line.program === program) line.closeHalf(0, this.#random.int(1_000));
  }

  /** Damages a random connection, if there is one. */
  damage(): void {
    const lines = [...this.#open];
    if (lines.length === 0) return;
    const line = this.#random.pick(lines);
    const direction = this.#random.int(2);
    const choice = this.#random.int(3);
    if (choice === 0) line.break();
    else if (choice === 1) line.mute(direction);
    else line.closeHalf(direction, this.#random.int(1_000));
  }

  /** Opens a connection of a program, or fails as a network does. */
  dial(program: number, { hostname }: URL): Channel {
    if (this.accept === undefined || this.unreachable.has(hostname)) {
      throw new TransportError("connect-failed", "Cannot connect: refused");
    }
    const [client, near] = channelPair();
    const [far, server] = channelPair();
    let alive = true;
    const muted = [false, false];
    const end = (): boolean => {
      if (!alive) return false;
      alive = false;
      this.cuts++;
      this.#open.delete(line);
      return true;
    };
    const line: Line = {
      program,
      break: () => {
        if (!end()) return;
        near.close(1006);
        far.close(1006);
      },
      mute: (direction) => {
        muted[direction] = true;
        this.cuts++;
      },
      closeHalf: (direction, ms) => {
        if (!end()) return;
        const [first, second] = direction === 0 ? [near, far] : [far, near];
        first.close(1000);
        this.#time.setTimer(() => second.close(1006), ms);
      },
    };
    this.#open.add(line);
    // About every second connection breaks by itself, at a random byte.
    let left = this.#random.int(2) === 0 ? 200 + this.#random.int(6_000) : Infinity;
    for (const [direction, [from, to]] of ([[near, far], [far, near]] as const).entries()) {
      const latency = this.#random.int(20);
      let free = 0;
      const later = (call: () => void): void => {
        const stall = this.faulty && this.#random.int(40) === 0 ? this.#random.int(3_000) : 0;
        free = Math.max(free, this.#time.now() + latency + stall);
        this.#time.setTimer(() => alive && call(), free - this.#time.now());
      };
      from.onbytes = (bytes) => {
        const copy = bytes.slice();
        later(() => {
          if (muted[direction]) return;
          for (const piece of this.#cutAnew(copy)) {
            left -= piece.length;
            if (left < 0 && this.faulty) return line.break();
            to.send(piece);
          }
        });
      };
      from.onclose = ({ code }) => {
        later(() => {
          if (muted[direction]) return;
          alive = false;
          this.#open.delete(line);
          to.close(code === 1006 ? 1006 : 1000);
        });
      };
    }
    this.accept(server);
    return client;
  }

  *#cutAnew(bytes: Uint8Array): Iterable<Uint8Array> {
    for (let at = 0; at < bytes.length;) {
      const size = this.#random.int(3) === 0 ? 1 + this.#random.int(40) : bytes.length;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }
}
