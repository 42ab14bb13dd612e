/**
 * How a receiver takes messages, as its user says.
 *
 * @module
 */

import { checkFunction, checkOptions, type OptionKinds } from "../base/options.ts";
import type { WaitOptions } from "../base/wait.ts";
import type { Delivery } from "./delivery.ts";
import type { Recovery } from "./recovery.ts";

/** Messages that a receiver holds or has asked for, where nobody says how many and it is not {@linkcode Receiver.serve} that asks. */
export const DEFAULT_CREDIT = 32;

/** How a receiver works its messages off. */
export interface ReceiveSettings {
  /**
   * How many messages may be on their way, waiting, or in work at a time; credit goes back to the sender when a message is
   * settled. `"manual"` asks for none by itself: see {@linkcode Receiver.grant}. Default: taken when the first message is
   * asked for, by {@linkcode Receiver.serve} from its concurrency and half as much, otherwise {@linkcode DEFAULT_CREDIT}.
   */
  credit?: number | "manual" | undefined;
  /**
   * `"auto"`: iterating accepts a message when the loop turns to the next; {@linkcode Receiver.serve} accepts it when the
   * handler returns. A loop that is left and a handler that throws are a failed attempt: `modified` with `deliveryFailed`.
   * `"manual"`: every message is settled by a call of its own. Default: `"auto"`.
   */
  settle?: "auto" | "manual" | undefined;
  /**
   * What happens when the peer does not apply a filter that was asked for: the link ends with an error, or unfiltered messages
   * are taken. Default: `"error"`.
   */
  filterMismatch?: "error" | "ignore" | undefined;
  /**
   * What becomes of messages that are not settled when the connection is lost: `"resend"` has the peer hand them out again;
   * `"resume"` takes them up where the peer can do so, so that they can still be settled, and do not come twice, see
   * {@linkcode resume}, whose result has more options. Default: `"resend"`.
   */
  recovery?: "resend" | "resume" | Recovery | undefined;
  /**
   * True hands each message over when the sections before its body are there, so that one larger than memory can be read by
   * {@linkcode Delivery.stream}. One that is not read keeps those behind it waiting: give each its own receiver to read several
   * side by side. Default: false.
   */
  stream?: boolean | undefined;
}

/** How {@linkcode Receiver.receiveBatch} waits. */
export interface ReceiveBatchOptions extends WaitOptions {
  /** Milliseconds to wait for the first message. Default: 0, for what the sender has now. */
  waitMs?: number | undefined;
}

/** How {@linkcode Receiver.values} goes through messages. */
export interface ValuesOptions extends WaitOptions {
  /** True keeps the receiver when the loop is left. Default: false, which closes it. */
  preventCancel?: boolean | undefined;
}

/**
 * Checks a receiver's credit, before its link is attached.
 *
 * @throws {RangeError} If it is neither `"manual"` nor a whole number from 0 to 2^32-1.
 */
export function checkCredit(credit: number | "manual" | undefined): void {
  if (credit === undefined || credit === "manual" || credit === credit >>> 0) return;
  throw new RangeError(`Cannot grant credit: ${credit} is not a whole number from 0 to 2^32-1`);
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
