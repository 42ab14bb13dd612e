/**
 * Options of receiving, and their checks.
 *
 * @module
 */

import { checkFunction, checkOptions, describeKind, type OptionKinds } from "../base/options.ts";
import type { WaitOptions } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import type { Recovery } from "./recovery.ts";

/** The default window of a receiver outside {@linkcode Receiver.serve}, in messages. */
export const DEFAULT_CREDIT = 32;

/** Options of a receiver's credit, settlement and recovery. */
export interface ReceiveSettings {
  /**
   * The most messages on their way, waiting, or unsettled at a time; credit returns to the sender when a message is settled.
   * `"manual"` grants none: see {@linkcode Receiver.grant}. Default: set when the first message is asked for: by
   * {@linkcode Receiver.serve} to its concurrency and half as much, otherwise to {@linkcode DEFAULT_CREDIT}.
   */
  credit?: number | "manual" | undefined;
  /**
   * `"auto"`: a loop accepts a message when it asks for the next; {@linkcode Receiver.serve} accepts it when the handler
   * returns. Leaving the loop and a handler that throws are failed attempts: `modified` with `deliveryFailed`. `"manual"`:
   * the program settles every message. Default: `"auto"`.
   */
  settle?: "auto" | "manual" | undefined;
  /**
   * The reaction to a peer that does not apply a requested filter: `"error"` ends the link, `"ignore"` accepts unfiltered
   * messages. Default: `"error"`.
   */
  filterMismatch?: "error" | "ignore" | undefined;
  /**
   * What happens to unsettled messages when the connection is lost: `"resend"` has the peer deliver them again; `"resume"`
   * resumes them where the peer supports it, so that they can still be settled and do not come twice, see {@linkcode resume},
   * whose result has more options. Default: `"resend"`.
   */
  recovery?: "resend" | "resume" | Recovery | undefined;
  /**
   * True makes each message available once the sections before its body have arrived, so that {@linkcode Delivery.stream} can
   * read one larger than memory. An unread message holds back those behind it: give each its own receiver to read several at
   * a time. Default: false.
   */
  stream?: boolean | undefined;
}

/** Options of {@linkcode Receiver.receiveBatch}. */
export interface ReceiveBatchOptions extends WaitOptions {
  /** Milliseconds to wait for the first message. Default: 0, only messages available now. */
  waitMs?: number | undefined;
  /**
   * Milliseconds to wait for the sender to hand back unused credit, at the end of a batch that is not full; what a sender that
   * does not answer sends later is for the next call. Default: 2,000.
   */
  drainMs?: number | undefined;
}

/** Options of {@linkcode Receiver.values}. */
export interface ValuesOptions extends WaitOptions {
  /** True keeps the receiver open when the loop is left. Default: false. */
  preventCancel?: boolean | undefined;
}

/**
 * Checks a receiver's credit, before the link is attached.
 *
 * @throws {RangeError} If `credit` is neither `"manual"` nor a whole number from 0 to 2^32-1.
 */
export function checkCredit(credit: number | "manual" | undefined): void {
  if (credit !== undefined && credit !== "manual") checkGrant(credit);
}

/**
 * Checks the credit of a call that grants it.
 *
 * @throws {RangeError} If `credit` is not a whole number from 0 to 2^32-1.
 */
export function checkGrant(credit: number): void {
  if (typeof credit === "number" && credit === credit >>> 0) return;
  const given = typeof credit === "number" ? credit : describeKind(credit);
  throw new RangeError(`Cannot grant credit: ${given} is not a whole number from 0 to 2^32-1`);
}

/** Options of {@linkcode Receiver.serve}. */
export interface ServeOptions {
  /** Messages handled at a time. Default: 1. */
  concurrency?: number | undefined;
  /** Ends `serve`: no further message is taken, and it resolves after the running handlers. */
  signal?: AbortSignal | undefined;
  /** Called when a handler failed; an error that it throws ends `serve`. Default: failures go to the connection's `log`. */
  onerror?: ((error: unknown, delivery: Delivery) => unknown) | undefined;
  /**
   * Milliseconds before a message whose handler failed is returned, so that it is not tried again at once: doubled with each
   * failure in a row, of this receiver or of this message by its delivery-count, up to 30,000; or a function of the number of
   * earlier failures that returns them. A delayed message counts against the credit. Default: 0.
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
 * Checks the arguments of `serve`, and returns the concurrency.
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
