/**
 * Serving messages with concurrent handlers. A file of its own, so that it loads at first use.
 *
 * @module
 */

import { isPromise } from "../base/kinds.ts";
import type { Deferred } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import { type Handler, Handlers } from "./handlers.ts";
import type { ServeOptions } from "./receive_options.ts";

export { Handlers };

/** The longest delay of a failed message's return, in milliseconds. */
const MAX_RETRY_DELAY_MS = 30_000;

/** The receiver of the messages. */
export interface ServeSource {
  readonly handlers: Handlers;
  /** Whether the handler's result settles the message. */
  readonly automatic: boolean;
  readonly queue: {
    /** The next message, if one has arrived. */
    shift(): Delivery | undefined;
    /** Waits for the next message, or for undefined at the end; undefined if none can come. */
    wait(): Deferred<Delivery | undefined> | undefined;
    leave(waiting: Deferred<Delivery | undefined>, end: () => void): void;
  };
  /** Logs a failure for which there is no `onerror`. */
  report(error: unknown, delivery: Delivery): void;
}

/** Calls `handler` with each message of `source`, until there are no more or `options.signal` is aborted. */
export async function serveEach(
  source: ServeSource,
  handler: (delivery: Delivery) => unknown,
  options: ServeOptions,
): Promise<void> {
  const { signal } = options;
  const serving = new Serving(source, handler, options);
  const stop = (): void => serving.stop();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await serving.run();
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** One call of `serve`: as many loops side by side as its concurrency. */
class Serving {
  readonly #source: ServeSource;
  readonly #handler: (delivery: Delivery) => unknown;
  readonly #options: ServeOptions;
  // The message that each loop waits for.
  readonly #waits: (Deferred<Delivery | undefined> | undefined)[];
  #stopped: boolean;
  // What `onerror` or `retryDelay` threw.
  #failure: { readonly error: unknown } | undefined;
  // Handlers in a row that have failed.
  #failures = 0;

  constructor(source: ServeSource, handler: (delivery: Delivery) => unknown, options: ServeOptions) {
    this.#source = source;
    this.#handler = handler;
    this.#options = options;
    this.#waits = new Array<undefined>(options.concurrency ?? 1).fill(undefined);
    this.#stopped = options.signal?.aborted ?? false;
  }

  /** Resolves when all loops have ended; rejects with what `onerror` or `retryDelay` threw, or with the failure of the link. */
  async run(): Promise<void> {
    const ends = await Promise.allSettled(this.#waits.map((_, place) => {
      const running = this.#source.handlers.handler();
      return running.within(() =>
        this.#loop(running, place).catch((error) => {
          // The link has failed; the other handlers see that too, or take no more messages.
          this.stop();
          throw error;
        })
      );
    }));
    if (this.#failure !== undefined) throw this.#failure.error;
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  /** Takes no more messages. */
  stop(): void {
    this.#stopped = true;
    for (const waiting of this.#waits) {
      if (waiting !== undefined) this.#source.queue.leave(waiting, () => waiting.resolve(undefined));
    }
  }

  async #loop(running: Handler, place: number): Promise<void> {
    const { queue, automatic } = this.#source;
    while (!this.#stopped) {
      let delivery = queue.shift();
      // A message that has arrived needs no wait.
      if (delivery === undefined) {
        delivery = await (this.#waits[place] = queue.wait())?.promise;
        this.#waits[place] = undefined;
        if (delivery === undefined) return;
      }
      if (!automatic) delivery.handleTaken();
      try {
        const handling = running.call(this.#handler, delivery);
        // A synchronous handler needs no wait.
        if (handling !== undefined) await handling;
        if (automatic) delivery.settleByDefault(true);
        this.#failures = 0;
      } catch (error) {
        if (automatic) this.#returnFailed(delivery);
        this.#report(error, delivery);
      } finally {
        running.end();
      }
    }
  }

  #returnFailed(delivery: Delivery): void {
    const { retryDelay } = this.#options;
    const before = retryDelay === undefined ? 0 : Math.max(this.#failures++, delivery.failedAttempts);
    let delay = 0;
    try {
      delay = typeof retryDelay === "function" ? retryDelay(before) : (retryDelay ?? 0) * 2 ** before;
    } catch (error) {
      this.#fail(error);
    }
    if (delay > 0 && !this.#stopped) {
      this.#source.handlers.returnLater(delivery, Math.min(MAX_RETRY_DELAY_MS, delay));
    } else delivery.settleByDefault(false);
  }

  #report(error: unknown, delivery: Delivery): void {
    const { onerror } = this.#options;
    if (onerror === undefined) return this.#source.report(error, delivery);
    try {
      const returned = onerror(error, delivery);
      if (isPromise(returned)) returned.then(undefined, (error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.stop();
  }
}
