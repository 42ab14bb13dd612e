/**
 * Polling a queue in one call. A file of its own, so that it loads at first use.
 *
 * @module
 */

import { describeKind } from "../base/options.ts";
import type { Environment } from "../base/environment.ts";
import { onAbort, throwIfAborted, type WaitOptions } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import type { ReceiveBatchOptions } from "./receive_options.ts";

export interface BatchReceiver {
  readonly open: boolean;
  readonly buffered: number;
  readonly connection: { readonly environment: Environment };
  ready(options: WaitOptions): Promise<void>;
  /** The next message, or undefined when there will be none. */
  take(signal: AbortSignal | undefined): Promise<Delivery | undefined>;
  drain(options: WaitOptions): Promise<void>;
}

export interface BatchCredit {
  /** Whether the program set the window. */
  readonly isGiven: boolean;
  readonly window: number;
  readonly left: number;
  raise(credit: number): void;
  grant(credit: number): void;
}

export interface BatchQueue {
  add(delivery: Delivery): void;
  clear(): Delivery[];
}

/** The default of {@linkcode ReceiveBatchOptions.drainMs}. Some senders never answer a drain. */
export const DRAIN_MS = 2_000;

export async function receiveBatch(
  receiver: BatchReceiver,
  max: number,
  options: ReceiveBatchOptions,
  credit: BatchCredit,
  queue: BatchQueue,
): Promise<Delivery[]> {
  if (!Number.isSafeInteger(max) || max < 1) {
    const given = typeof max === "number" ? max : describeKind(max);
    throw new RangeError(`Cannot receive batch: ${given} is not a whole number from 1`);
  }
  const batch: Delivery[] = [];
  try {
    await take(receiver, max, options, credit, batch);
  } catch (error) {
    // Messages that the caller does not get go back to the queue, in order.
    for (const delivery of [...batch, ...queue.clear()]) {
      if (delivery.usable || delivery.remoteSettled) queue.add(delivery);
    }
    throw error;
  }
  for (const delivery of batch) delivery.handleTaken();
  return batch;
}

async function take(
  receiver: BatchReceiver,
  max: number,
  { signal, waitMs = 0, drainMs = DRAIN_MS }: ReceiveBatchOptions,
  credit: BatchCredit,
  batch: Delivery[],
): Promise<void> {
  const takeReady = async (): Promise<void> => {
    while (batch.length < max && receiver.buffered > 0) batch.push((await receiver.take(undefined))!);
  };
  await receiver.ready({ signal });
  await takeReady();
  if (batch.length < max && receiver.open) {
    const missing = max - batch.length;
    if (!credit.isGiven) credit.raise(missing);
    // No more than requested: other receivers of the node would miss the rest.
    else if (credit.window === 0 && credit.left < missing) credit.grant(missing);
    if (batch.length === 0 && receiver.buffered === 0 && waitMs > 0) {
      const first = await upTo(receiver, waitMs, signal, (late) => receiver.take(late));
      if (first !== undefined) batch.push(first);
    }
    await takeReady();
    if (batch.length < max && receiver.open) {
      await upTo(receiver, drainMs, signal, (late) => receiver.drain({ signal: late }));
    }
    await takeReady();
  }
}

// Waits no longer than `ms`; undefined when nothing came.
async function upTo<T>(
  receiver: BatchReceiver,
  ms: number,
  signal: AbortSignal | undefined,
  wait: (late: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const { environment } = receiver.connection;
  const late = new AbortController();
  const timer = environment.setTimer(() => late.abort(), ms);
  const callOff = signal && onAbort(signal, () => late.abort());
  try {
    return await wait(late.signal);
  } catch (error) {
    throwIfAborted(signal);
    if (!late.signal.aborted) throw error;
    return undefined;
  } finally {
    environment.clearTimer(timer);
    callOff?.();
  }
}
