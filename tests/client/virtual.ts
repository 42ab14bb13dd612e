/**
 * Virtual time and an in-memory network whose servers come and go, for tests that would take minutes or real sockets.
 *
 * @module
 */

import { type Environment, systemEnvironment } from "../../src/base/environment.ts";
import { TransportError } from "../../src/base/errors.ts";
// Loaded here, as loading it at first use takes real time, for which a virtual clock does not wait.
import "../../src/client/preload.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { random } from "../harness.ts";

/** A jump so short, in milliseconds, that nothing waits for it but what was waiting in virtual time. */
const SHORT_MS = 100;

/** A clock that jumps to the next timer when nothing else is pending. */
export class VirtualTime implements Environment {
  #now = 1_000;
  readonly #timers = new Map<object, { at: number; call: () => void }>();
  readonly #random;

  /** Starts at one second; `seed` determines the randomness. */
  constructor(seed = 1) {
    this.#random = random(seed);
  }

  /** The number of pending timers. */
  get pending(): number {
    return this.#timers.size;
  }

  readonly now = (): number => this.#now;

  setTimer(call: () => void, ms: number): unknown {
    const timer = {};
    this.#timers.set(timer, { at: this.#now + Math.max(0, ms), call });
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.#timers.delete(timer as object);
  }

  endOfTurn(): boolean {
    return false;
  }

  random(bytes: Uint8Array<ArrayBuffer>): void {
    bytes.set(this.#random.bytes(bytes.length));
  }

  /** Waits for `promise`, advancing time as needed. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    promise.then(() => settled = true, () => settled = true);
    await turn();
    while (!settled) await this.#advance(Infinity);
    return await promise;
  }

  /** Advances time by `ms` milliseconds. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await turn();
    while (await this.#advance(end));
    this.#now = end;
  }

  async #advance(end: number): Promise<boolean> {
    const from = this.#now;
    if (!this.#jump(end)) return false;
    await (this.#now - from < SHORT_MS ? shortTurn() : turn());
    return true;
  }

  #jump(end: number): boolean {
    let first: [object, { at: number; call: () => void }] | undefined;
    for (const entry of this.#timers) if (first === undefined || entry[1].at < first[1].at) first = entry;
    if (first === undefined || first[1].at > end) {
      if (end === Infinity) throw new Error("Cannot wait: nothing will ever happen");
      return false;
    }
    this.#timers.delete(first[0]);
    this.#now = Math.max(this.#now, first[1].at);
    first[1].call();
    return true;
  }
}

/** Runs everything that waits for no timer, and gives real time to what the runtime does meanwhile, such as cryptography. */
export async function turn(): Promise<void> {
  await shortTurn();
  for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => systemEnvironment.setTimer(resolve, 0));
}

async function shortTurn(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await new Promise<void>((resolve) => {
      if (!systemEnvironment.endOfTurn(resolve)) systemEnvironment.setTimer(resolve, 0);
    });
  }
}

/** Servers by host, which can be taken down and put up. */
export class VirtualNetwork {
  /** The dialled hosts, in order. */
  readonly dialled: string[] = [];
  readonly #servers = new Map<string, (channel: Channel) => unknown>();
  readonly #channels = new Map<string, Set<Channel>>();

  /** Puts up the server of a host. */
  up(host: string, accept: (channel: Channel) => unknown): void {
    this.#servers.set(host, accept);
  }

  /** Takes a server down: refuses and cuts connections. */
  down(host: string): void {
    this.#servers.delete(host);
    this.cut(host);
  }

  /** Cuts the connections to a host. */
  cut(host: string): void {
    for (const channel of this.#channels.get(host) ?? []) channel.close(1006);
    this.#channels.delete(host);
  }

  /** Opens a channel to a server, or fails as a network does. */
  readonly dial = (url: URL): Channel => {
    this.dialled.push(url.host);
    const accept = this.#servers.get(url.host);
    if (accept === undefined) throw new TransportError("connect-failed", `Cannot connect to "${url.host}": refused`);
    const [near, far] = channelPair();
    const channels = this.#channels.get(url.host) ?? new Set();
    this.#channels.set(url.host, channels.add(near));
    accept(far);
    return near;
  };
}
