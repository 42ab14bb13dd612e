/**
 * The running handlers of a receiver: closes that wait for them, and handlers that wait for such a close.
 *
 * @module
 */

import { type Environment, userAgent } from "../base/environment.ts";
import type { Closing, LinkHandlers } from "./link.ts";
import type { AsyncStorage } from "../transport/socket/dial.ts";
import { abortable, Deferred, ignore, type WaitOptions } from "../base/wait.ts";

// Milliseconds that a close waits for handlers before a warning is logged.
const CLOSE_WARNING_MS = 1_000;

/** A message that can be returned to the sender. */
export interface Returnable {
  settleByDefault(processed: boolean): void;
}

// The handler whose synchronous part runs now.
let current: Handler | undefined;
// Undefined until looked up, null where the runtime has none.
let storage: AsyncStorage<Handler> | null | undefined;

// The handler within which the present call is made, if any.
function currentHandler(): Handler | undefined {
  const handler = current ?? storage?.getStore();
  return handler?.running ? handler : undefined;
}

// Calls `work` as if outside all handlers.
function outsideHandlers<R>(work: () => R): R {
  const outer = current;
  current = undefined;
  try {
    return storage ? storage.run(undefined, work) : work();
  } finally {
    current = outer;
  }
}

export class Handlers implements LinkHandlers {
  /** Handlers that have a message. */
  running = 0;
  /** Running handlers that wait for a close. */
  waiting = 0;
  readonly #environment: Environment;
  readonly #delayed: Map<Returnable, unknown> = new Map();
  #changed: Deferred<void> | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /**
   * Looks up the async storage that recognises a handler after its first `await`, in what `load` gives; to be called before a
   * handler runs.
   */
  async prepare(load: () => Promise<{ asyncStorage<T>(): AsyncStorage<T> | undefined }>): Promise<void> {
    if (storage !== undefined) return;
    if (userAgent().startsWith("Mozilla/")) storage = null;
    else storage = (await load()).asyncStorage<Handler>() ?? null;
  }

  closeFor(close: () => Promise<void>, links: readonly Closing[], options: WaitOptions): Promise<void> {
    const handler = currentHandler();
    if (handler === undefined || !links.some(({ handlers }) => handlers === handler.all)) return close();
    const closing = outsideHandlers(close);
    handler.wait();
    const others = links.map(({ handlers, closed }) =>
      handlers === undefined ? closed : Promise.race([handlers.othersIdle(), closed])
    );
    return abortable(Promise.race([closing, Promise.all(others).then(() => {})]), options.signal);
  }

  /** Calls `close` as if outside all handlers. */
  stop(close: () => Promise<void>): Promise<void> {
    return outsideHandlers(close);
  }

  handler(): Handler {
    return new Handler(this);
  }

  /**
   * Resolves after `before`, when no handler runs. Calls `onwait` if that takes long where a handler waiting for itself
   * cannot be recognised.
   */
  async idle(before: Promise<void> | undefined, onwait: () => void): Promise<void> {
    const timer = storage || this.running === 0 ? undefined : this.#environment.setTimer(onwait, CLOSE_WARNING_MS);
    try {
      await before?.catch(ignore);
      while (this.running > 0) await this.#change();
    } finally {
      this.#environment.clearTimer(timer);
    }
  }

  /** Resolves when only handlers that wait for a close run. */
  async othersIdle(): Promise<void> {
    while (this.running > this.waiting) await this.#change();
  }

  /** Called when `running` or `waiting` changed. */
  notify(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }

  /** Returns a message as a failed attempt after `ms` milliseconds. */
  returnLater(delivery: Returnable, ms: number): void {
    const timer = this.#environment.setTimer(() => {
      this.#delayed.delete(delivery);
      delivery.settleByDefault(false);
    }, ms);
    this.#delayed.set(delivery, timer);
  }

  /** Returns all delayed messages now. */
  returnDelayed(): void {
    for (const [delivery, timer] of this.#delayed) {
      this.#environment.clearTimer(timer);
      delivery.settleByDefault(false);
    }
    this.#delayed.clear();
  }

  #change(): Promise<void> {
    return (this.#changed ??= new Deferred<void>()).promise;
  }
}

/** One of several concurrent handlers. */
export class Handler {
  /** True while the handler has a message. */
  running = false;
  /** The handlers of the same receiver. */
  readonly all: Handlers;
  #waits = false;

  constructor(all: Handlers) {
    this.all = all;
  }

  /** Calls `loop`, within which all calls to {@linkcode call} are recognised. */
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

  /** Called when the program's handler is done. */
  end(): void {
    this.running = false;
    this.all.running--;
    if (this.#waits) {
      this.#waits = false;
      this.all.waiting--;
    }
    this.all.notify();
  }

  /** Called when the program's handler waits for a close, which must not wait for it in turn. */
  wait(): void {
    if (this.#waits) return;
    this.#waits = true;
    this.all.waiting++;
    this.all.notify();
  }
}
