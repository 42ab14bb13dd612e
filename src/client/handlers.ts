/**
 * The handlers that a receiver runs: with what options, who waits for them, and which of them waits for the end of what waits for it.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { checkFunction, checkOptions, type OptionKinds } from "../base/options.ts";
import type { Delivery } from "./delivery.ts";
import type { LinkHandlers } from "./link.ts";
import { userAgent } from "../transport/runtime/detect.ts";
import { abortable, Deferred, type WaitOptions } from "../base/wait.ts";

/** A message that can be handed back. */
export interface Held {
  /** Settles it by whether it was processed. */
  settleByDefault(processed: boolean): void;
}

/** What is closed with others: a link, whose handlers are waited for. */
export interface Closing {
  /** Its handlers, if it runs any. */
  readonly handlers: LinkHandlers | undefined;
  /** Resolves when it has ended. */
  readonly closed: Promise<void>;
}

/** How {@linkcode Receiver.serve} works. */
export interface ServeOptions {
  /** How many messages are handled at a time. Default: 1. */
  concurrency?: number | undefined;
  /** Ends it: no further message is taken, and `serve` returns when the handlers that run are done. */
  signal?: AbortSignal | undefined;
  /** Told when a handler failed. What it throws ends `serve`. Default: the option `log` of the connection is told. */
  onerror?: ((error: unknown, delivery: Delivery) => unknown) | undefined;
  /**
   * Milliseconds that a message whose handler failed is held back before it is handed back, so that it is not tried again
   * at once: doubled with each failure in a row, of this receiver or of this message by its delivery-count, up to 30,000. Or
   * a function that gives them for a number of earlier failures. A message that is held back counts as one of the credit.
   * Default: 0.
   */
  retryDelay?: number | ((failures: number) => number) | undefined;
}

const SERVE_KINDS: OptionKinds<ServeOptions> = {
  concurrency: "number",
  signal: "object",
  onerror: "function",
  retryDelay: "number or function",
};

/**
 * Checks what `serve` is called with, and gives the concurrency.
 *
 * @throws {TypeError} If the handler is no function, or an option does not exist or is of the wrong kind.
 * @throws {RangeError} If `concurrency` is not a whole number from 1.
 */
export function checkServe(doing: string, handler: unknown, options: ServeOptions): number {
  checkFunction(doing, "handler", handler);
  checkOptions(doing, options, SERVE_KINDS);
  const { concurrency = 1 } = options;
  if (Number.isSafeInteger(concurrency) && concurrency >= 1) return concurrency;
  throw new RangeError(`Cannot ${doing}: concurrency ${concurrency} is not a whole number from 1`);
}

/** What keeps a value along a chain of asynchronous calls, where the runtime has it. */
export interface AsyncStorage<T> {
  /** The value of the chain that is running. */
  getStore(): T | undefined;
  /** Calls `work`, in whose chain the value is `store`. */
  run<R>(store: T | undefined, work: () => R): R;
}

// The handler whose synchronous part is running.
let current: Handler | undefined;
// Undefined until it was looked for, null where there is none.
let storage: AsyncStorage<Handler> | null | undefined;

/** Whether a handler is recognised after its first `await`, too. */
export function hasAsyncStorage(): boolean {
  return !!storage;
}

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

/** All handlers of one receiver. */
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
    else storage = (await import("../transport/socket/dial.ts")).asyncStorage<Handler>() ?? null;
  }

  /** One that takes a message at a time. */
  handler(): Handler {
    return new Handler(this);
  }

  /** Waits until none runs. */
  async idle(): Promise<void> {
    while (this.running > 0) await this.#change();
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
