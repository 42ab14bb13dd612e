/**
 * Working messages off by a handler, several at a time. A file of its own, which loads when it is first used.
 *
 * @module
 */

import type { Deferred } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import type { Handler, Handlers } from "./handlers.ts";
import type { ServeOptions } from "./receive_options.ts";

/** The longest that a failed message is held back, in milliseconds. */
export const MAX_RETRY_DELAY_MS = 30_000;

/** Where messages come from, and who is told of failures. */
export interface ServeSource {
  /** The handlers of the receiver. */
  readonly handlers: Handlers;
  /** Whether messages are settled by what the handler does. */
  readonly automatic: boolean;
  /** The messages that have arrived. */
  readonly queue: {
    /** The next message that is there. */
    shift(): Delivery | undefined;
    /** Waits for the next message, which is undefined at the end; nothing to wait for is undefined. */
    wait(): Deferred<Delivery | undefined> | undefined;
    /** Ends a wait, unless it has its message. */
    leave(waiting: Deferred<Delivery | undefined>, end: () => void): void;
  };
  /** Nobody else hears of this failure. */
  report(error: unknown, delivery: Delivery): void;
}

/** Hands each message of `source` to `handler`, until there are no more or `options.signal` is aborted. */
export async function serveEach(
  source: ServeSource,
  handler: (delivery: Delivery) => unknown,
  options: ServeOptions,
): Promise<void> {
  const { concurrency = 1, signal, onerror, retryDelay } = options;
  const idle = new Set<Deferred<Delivery | undefined>>();
  let stopped = signal?.aborted ?? false;
  let failure: { readonly error: unknown } | undefined;
  let failures = 0;
  const stop = (): void => {
    stopped = true;
    for (const waiting of idle) source.queue.leave(waiting, () => waiting.resolve(undefined));
  };
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop();
  };
  const tell = (error: unknown, delivery: Delivery): void => {
    if (onerror === undefined) return source.report(error, delivery);
    try {
      const told = onerror(error, delivery);
      if (told instanceof Promise) told.catch(fail);
    } catch (error) {
      fail(error);
    }
  };
  const handBack = (delivery: Delivery): void => {
    const before = retryDelay === undefined ? 0 : Math.max(failures++, delivery.failedAttempts);
    const delay = typeof retryDelay === "function" ? retryDelay(before) : (retryDelay ?? 0) * 2 ** before;
    if (delay > 0 && !stopped) source.handlers.handBackLater(delivery, Math.min(MAX_RETRY_DELAY_MS, delay));
    else delivery.settleByDefault(false);
  };
  const next = async (): Promise<Delivery | undefined> => {
    const waiting = source.queue.wait();
    if (waiting === undefined) return undefined;
    idle.add(waiting);
    const delivery = await waiting.promise;
    idle.delete(waiting);
    return delivery;
  };
  const work = async (running: Handler): Promise<void> => {
    while (!stopped) {
      // A message that is there already is not waited for.
      const delivery = source.queue.shift() ?? await next();
      if (delivery === undefined) return;
      if (!source.automatic) delivery.handleTaken();
      try {
        const handling = running.call(handler, delivery);
        // A handler that has nothing to wait for is not waited for.
        if (handling !== undefined) await handling;
        if (source.automatic) delivery.settleByDefault(true);
        failures = 0;
      } catch (error) {
        if (source.automatic) handBack(delivery);
        tell(error, delivery);
      } finally {
        running.end();
      }
    }
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const ends = await Promise.allSettled(Array.from({ length: concurrency }, () => {
      const running = source.handlers.handler();
      return running.within(() =>
        work(running).catch((error) => {
          // The link has failed; the others hear of it by themselves, or take no more.
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
