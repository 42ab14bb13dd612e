/**
 * Serving messages with concurrent handlers. A file of its own, so that it loads at first use.
 *
 * @module
 */

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
  const { concurrency = 1, signal, onerror, retryDelay } = options;
  // What each handler waits for.
  const waits = new Array<Deferred<Delivery | undefined> | undefined>(concurrency).fill(undefined);
  let stopped = signal?.aborted ?? false;
  let failure: { readonly error: unknown } | undefined;
  let failures = 0;
  const stop = (): void => {
    stopped = true;
    for (const waiting of waits) {
      if (waiting !== undefined) source.queue.leave(waiting, () => waiting.resolve(undefined));
    }
  };
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop();
  };
  const report = (error: unknown, delivery: Delivery): void => {
    if (onerror === undefined) return source.report(error, delivery);
    try {
      const returned = onerror(error, delivery);
      if (returned instanceof Promise) returned.catch(fail);
    } catch (error) {
      fail(error);
    }
  };
  const returnFailed = (delivery: Delivery): void => {
    const before = retryDelay === undefined ? 0 : Math.max(failures++, delivery.failedAttempts);
    const delay = typeof retryDelay === "function" ? retryDelay(before) : (retryDelay ?? 0) * 2 ** before;
    if (delay > 0 && !stopped) source.handlers.returnLater(delivery, Math.min(MAX_RETRY_DELAY_MS, delay));
    else delivery.settleByDefault(false);
  };
  const work = async (running: Handler, place: number): Promise<void> => {
    while (!stopped) {
      let delivery = source.queue.shift();
      // A message that has arrived needs no wait.
      if (delivery === undefined) {
        delivery = await (waits[place] = source.queue.wait())?.promise;
        waits[place] = undefined;
        if (delivery === undefined) return;
      }
      if (!source.automatic) delivery.handleTaken();
      try {
        const handling = running.call(handler, delivery);
        // A synchronous handler needs no wait.
        if (handling !== undefined) await handling;
        if (source.automatic) delivery.settleByDefault(true);
        failures = 0;
      } catch (error) {
        if (source.automatic) returnFailed(delivery);
        report(error, delivery);
      } finally {
        running.end();
      }
    }
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const ends = await Promise.allSettled(waits.map((_, place) => {
      const running = source.handlers.handler();
      return running.within(() =>
        work(running, place).catch((error) => {
          // The link has failed; the other handlers see that too, or take no more messages.
          stop();
          throw error;
        })
      );
    }));
    if (failure !== undefined) throw failure.error;
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
