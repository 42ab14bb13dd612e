/**
 * The handlers that a receiver runs: who waits for them, and which of them waits for the end of what waits for it.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import type { LinkHandlers } from "./link.ts";
import { userAgent } from "../transport/runtime/detect.ts";
import type { AsyncStorage } from "../transport/socket/dial.ts";
import { abortable, Deferred, ignore, part, type WaitOptions } from "../base/wait.ts";

// How long a close waits for handlers before the log is told, in milliseconds.
const CLOSE_PATIENCE_MS = 1_000;

/** A message that can be handed back. */
export interface Held {
  settleByDefault(processed: boolean): void;
}

/** What is closed with others: a link, whose handlers are waited for. */
export interface Closing {
  /** Its handlers, if it runs any. */
  readonly handlers: LinkHandlers | undefined;
  /** Resolves when it has ended. */
  readonly closed: Promise<void>;
}

// The handler whose synchronous part is running.
let current: Handler | undefined;
// Undefined until it was looked for, null where there is none.
let storage: AsyncStorage<Handler> | null | undefined;

/** The handler that makes the present call, if one does. */
export function currentHandler(): Handler | undefined {
  const handler = current ?? storage?.getStore();
  return handler?.running ? handler : undefined;
}

/** Calls `work` as if no handler did. */
export function outsideHandlers<R>(work: () => R): R {
  const outer = current;
  current = undefined;
  try {
    return storage ? storage.run(undefined, work) : work();
  } finally {
    current = outer;
  }
}

/**
 * Calls `close`, which ends `links`. It waits for their handlers; if one of those is who calls, it is not to wait for itself:
 * what it gets resolves when all else is done.
 */
export function closeFor(close: () => Promise<void>, links: readonly Closing[], options: WaitOptions): Promise<void> {
  const handler = currentHandler();
  if (handler === undefined || !links.some(({ handlers }) => handlers === handler.all)) return close();
  const closing = outsideHandlers(close);
  handler.wait();
  const others = links.map(({ handlers, closed }) =>
    handlers === undefined ? closed : Promise.race([handlers.othersIdle(), closed])
  );
  return abortable(Promise.race([closing, Promise.all(others).then(() => {})]), options.signal);
}

export class Handlers implements LinkHandlers {
  /** How many run. */
  running = 0;
  /** How many of those wait for a close that waits for them. */
  waiting = 0;
  readonly #environment: Environment;
  readonly #held: Map<Held, unknown> = new Map();
  #changed: Deferred<void> | undefined;

  /** None runs yet. */
  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** Finds how to recognise a handler after its first `await`; before a handler is run. */
  async prepare(): Promise<void> {
    if (storage !== undefined) return;
    if (userAgent().startsWith("Mozilla/")) storage = null;
    else storage = (await part("sockets", () => import("../transport/socket/dial.ts"))).asyncStorage<Handler>() ?? null;
  }

  /** One that takes a message at a time. */
  handler(): Handler {
    return new Handler(this);
  }

  /**
   * Waits for `before`, and until no handler runs; `onwait` is told if that takes a while, and one may wait for itself without
   * being recognised.
   */
  async idle(before: Promise<void> | undefined, onwait: () => void): Promise<void> {
    const timer = storage || this.running === 0 ? undefined : this.#environment.setTimer(onwait, CLOSE_PATIENCE_MS);
    try {
      await before?.catch(ignore);
      while (this.running > 0) await this.#change();
    } finally {
      this.#environment.clearTimer(timer);
    }
  }

  /** Waits until none runs but those that wait for a close. */
  async othersIdle(): Promise<void> {
    while (this.running > this.waiting) await this.#change();
  }

  /** Told that `running` or `waiting` is another. */
  notify(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }

  /** Hands a message back as a failed attempt, `ms` milliseconds from now. */
  handBackLater(delivery: Held, ms: number): void {
    const timer = this.#environment.setTimer(() => {
      this.#held.delete(delivery);
      delivery.settleByDefault(false);
    }, ms);
    this.#held.set(delivery, timer);
  }

  /** Hands back now what was to be later. */
  handBack(): void {
    for (const [delivery, timer] of this.#held) {
      this.#environment.clearTimer(timer);
      delivery.settleByDefault(false);
    }
    this.#held.clear();
  }

  #change(): Promise<void> {
    return (this.#changed ??= new Deferred<void>()).promise;
  }
}

/** One of the handlers that run side by side: a message at a time. */
export class Handler {
  /** True while it has a message. */
  running = false;
  /** Those of the same receiver. */
  readonly all: Handlers;
  #waits = false;

  /** Has no message yet. */
  constructor(all: Handlers) {
    this.all = all;
  }

  /** Calls `loop`, all of whose calls to {@linkcode call} are recognised. */
  within<R>(loop: () => R): R {
    return storage ? storage.run(this, loop) : loop();
  }

  /** Calls the program's handler; {@linkcode end} is to follow when it is done. */
  call<D>(handler: (delivery: D) => unknown, delivery: D): unknown {
    this.running = true;
    this.all.running++;
    const outer = current;
    current = this;
    try {
      return handler(delivery);
    } finally {
      current = outer;
    }
  }

  /** Notes that the program's handler is done. */
  end(): void {
    this.running = false;
    this.all.running--;
    if (this.#waits) {
      this.#waits = false;
      this.all.waiting--;
    }
    this.all.notify();
  }

  /** Notes that the program's handler waits for a close, which must not wait for it. */
  wait(): void {
    if (this.#waits) return;
    this.#waits = true;
    this.all.waiting++;
    this.all.notify();
  }
}
