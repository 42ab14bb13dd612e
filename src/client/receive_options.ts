/**
 * Options of receiving, and the check of the filters among them [messaging 3.5.3].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { checkFunction, checkOptions, type OptionKinds } from "../base/options.ts";
import { quote } from "../base/text.ts";
import type { WaitOptions } from "../base/wait.ts";
import type { Attach, Open } from "../codec/types.ts";
import { Described, type Fields, type Value } from "../codec/values.ts";
import { wireTypesOf } from "../codec/wire_types.ts";
import { Writer } from "../codec/writer.ts";
import type { Delivery } from "./delivery.ts";
import type { Facts } from "./log_texts.ts";
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
  if (credit === undefined || credit === "manual" || credit === credit >>> 0) return;
  throw new RangeError(`Cannot grant credit: ${credit} is not a whole number from 0 to 2^32-1`);
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

/** The error if the peer's attach leaves out or changes a requested filter; undefined when all are in force. */
export function filterDifference(local: Attach | undefined, remote: Attach | undefined): AmqpError | undefined {
  const asked = local?.source?.filter;
  // A peer without a source is about to refuse the link.
  if (asked == null || remote?.source === undefined) return undefined;
  const inForce = remote.source.filter ?? {};
  const dropped = Object.keys(asked).filter((name) => !isInForce(name, asked[name]!, inForce));
  if (dropped.length === 0) return undefined;
  const names = dropped.map((name) => quote(name)).join(", ");
  return new AmqpError(
    condition.notImplemented,
    `Cannot receive from ${quote(local!.source!.address ?? "a dynamic node")}: peer does not apply filter ${names}; ` +
      'with filterMismatch "ignore" unfiltered messages are taken',
    { scope: "link", retryable: false },
  );
}

/** A receiver that the peer has attached, as its subscription is checked. */
export interface SubscribedReceiver {
  readonly endpoint: { readonly local?: Attach; readonly remote?: Attach } | undefined;
  readonly connection: { readonly isNamed: boolean; readonly remote: Readonly<Open> | undefined };
  writeLog(kind: "notShared" | "notDurable", facts: Facts): void;
}

/**
 * Warns of a subscription that the peer nowhere offers to share among receivers, and of a durable one that nobody will find again,
 * since its container has a random name.
 */
export function checkSubscription(receiver: SubscribedReceiver): void {
  const { local, remote } = receiver.endpoint!;
  const { isNamed, remote: peer } = receiver.connection;
  const isOffered = isShared(remote) || peer?.offeredCapabilities?.includes("SHARED-SUBS");
  if (isShared(local) && !isOffered) receiver.writeLog("notShared", {});
  const { durable = "none", capabilities } = local?.source ?? {};
  // A global subscription is that of all containers.
  if (durable !== "none" && !isNamed && !capabilities?.includes("global")) receiver.writeLog("notDurable", {});
}

function isShared(attach: Attach | undefined): boolean {
  return attach?.source?.capabilities?.includes("shared") === true;
}

function isInForce(name: string, asked: Value, inForce: Fields): boolean {
  // Null requests no filter.
  if (asked === null) return true;
  const same = bytesOf(asked);
  if (Object.hasOwn(inForce, name)) return bytesOf(inForce[name]!) === same;
  // The peer may know the filter by another name, but not by another descriptor.
  return Object.values(inForce).some((value) =>
    value instanceof Described && asked instanceof Described && value.descriptor === asked.descriptor &&
    bytesOf(value) === same
  );
}

// Without the descriptor: the peer may return the other of its two forms, symbolic or numeric.
function bytesOf(value: Value): string {
  const writer = new Writer(64);
  if (value instanceof Described) writer.valueAs(wireTypesOf(value)?.get("value"), value.value);
  else writer.value(value);
  return String(writer.take());
}
