/**
 * State shared by the parts of one simulated program: its connection, randomness, and watched signals.
 *
 * @module
 */

import type { Connection } from "../../src/client/connection.ts";
import type { Session } from "../../src/client/session.ts";
import type { Message } from "../../src/codec/message.ts";
import type { Random } from "../harness.ts";
import type { Ledger, Sent } from "./ledger.ts";
import { type Disk, ProcessStore } from "./process.ts";
import type { SimulatedTime } from "./world.ts";

/** The queues of messages. */
export const QUEUES: readonly string[] = ["q0", "q1"];
/** A queue with little room, so that senders wait for receivers. */
export const NARROW = "narrow";
/** The queue of requests. */
export const ASKED = "asked";
/** An address whose links are refused. */
export const FORBIDDEN = "forbidden";
/** A topic with subscriptions. */
export const TOPIC = "topic/news";

/** State shared by the programs of one simulation. */
export interface World {
  readonly random: Random;
  readonly time: SimulatedTime;
  readonly ledger: Ledger;
  /** The signals handed out. */
  readonly signals: WatchedSignal[];
  /** Data that outlives killed programs. */
  readonly disk: Disk;
}

/** An abort signal that counts its listeners. */
export class WatchedSignal {
  readonly controller: AbortController = new AbortController();
  listeners = 0;

  constructor() {
    const { signal } = this.controller;
    const { addEventListener, removeEventListener } = signal;
    const known = new Set<unknown>();
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      known.add(args[1]);
      this.listeners = known.size;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      known.delete(args[1]);
      this.listeners = known.size;
      removeEventListener.apply(signal, args);
    };
  }
}

/** State shared by the parts of one program. */
export class ProgramContext {
  readonly connection: Connection;
  readonly world: World;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly time: SimulatedTime;
  /** The store of links that outlive the program's process. */
  readonly store: ProcessStore;
  /** Links whose other side was lost. */
  readonly restarted: Set<unknown> = new Set();
  readonly #sessions: Session[] = [];

  constructor(connection: Connection, world: World) {
    this.connection = connection;
    this.world = world;
    this.random = world.random;
    this.ledger = world.ledger;
    this.time = world.time;
    this.store = new ProcessStore(world.disk, world.time, world.random);
  }

  /** True with a probability of 1 in `many`. */
  chance(many: number): boolean {
    return this.random.int(many) === 0;
  }

  /** A signal that is aborted within `ms`. */
  signal(ms: number): AbortSignal {
    const watched = new WatchedSignal();
    this.world.signals.push(watched);
    this.time.setTimer(() => watched.controller.abort(new Error("given up")), this.random.int(ms));
    return watched.controller.signal;
  }

  /** With a probability of 1 in `many`, a signal that is aborted within `ms`. */
  maybeSignal(many: number, ms: number): AbortSignal | undefined {
    return this.chance(many) ? this.signal(ms) : undefined;
  }

  /** Makes the next link: the connection, or a session of its own. */
  maker(): Connection | Session {
    if (this.chance(10)) {
      const session = this.connection.session(this.chance(2) ? { incomingWindow: 2 } : {});
      this.#sessions.push(session);
    }
    const open = this.#sessions.filter(({ open }) => open);
    return open.length > 0 && this.chance(3) ? this.random.pick(open) : this.connection;
  }

  /** The message to send; now and then one of several frames. */
  message(sent: Sent): Message {
    const padding = this.chance(8) ? "|".padEnd(1 + this.random.int(6_000), "x") : "";
    return { body: `${sent.body}${padding}` };
  }

  /** Closes the most recent session. */
  closeSession(): void {
    const session = this.#sessions.pop();
    if (session !== undefined) this.ledger.wait("close of a session", session.close()).catch(this.ledger.fault);
  }
}
