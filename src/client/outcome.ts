/**
 * The options, the outcome and the listener of a sent message.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError, TransportError } from "../base/errors.ts";
import { describeKind, type Kinds, type OptionKinds } from "../base/options.ts";
import { abortReason, ignore, type WaitOptions } from "../base/wait.ts";
import { decodeAs, readDescriptor } from "../codec/composite.ts";
import { definitions } from "../codec/definitions.ts";
import { Reader } from "../codec/reader.ts";
import type {
  Accepted,
  DeliveryState,
  ErrorFields,
  Outcome,
  Rejected,
  TransactionalState,
  UnknownState,
} from "../codec/types.ts";
import { fromErrorFields, toErrorFields } from "../engine/fault.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";

/** Options of sending a message. */
export interface SendOptions extends WaitOptions {
  /** True sends the message settled: at most once, without an outcome. Default: false. */
  settled?: boolean | undefined;
  /** The format of a message given as bytes. Default: 0, AMQP's. */
  messageFormat?: number | undefined;
  /** The delivery-tag, 1 to 32 bytes, unique among the link's unsettled messages. Default: a counter. */
  tag?: Uint8Array | undefined;
  /**
   * Called with the outcome that the receiver proposes where it leaves settling to this side (`rcvSettleMode: "second"`).
   * Returns the one to settle with, such as `rejected` for a lost lock, or undefined for the proposed one. Must not throw.
   */
  decide?: (asked: Outcome) => Outcome | undefined;
  /** The delivery state to send with the message, such as that of a transaction. Default: none. */
  state?: DeliveryState | undefined;
}

/** The kinds of {@linkcode SendOptions}. */
export const SEND_KINDS: OptionKinds<SendOptions> = {
  signal: "object",
  settled: "boolean",
  messageFormat: "number",
  tag: "Uint8Array",
  decide: "function",
  state: "object",
};

/** The options of a message that is sent without any. */
export const NO_OPTIONS: SendOptions = {};

/** The outcome of an accepted message. */
export interface SendOutcome extends Accepted {
  /** True if the message was sent again after a loss of the connection; the receiver may have it twice. */
  readonly resent?: true;
  /** True if the delivery was resumed after a loss of the connection; the message arrived once. */
  readonly resumed?: true;
}

/** Receives the outcome of one message. */
export interface SendListener {
  /** Called with the receiver's state; undefined if it settled without one. */
  onoutcome(state: DeliveryState | undefined, delivery: OutgoingDelivery): void;
  /** Called when the last frame of a settled message was written: there will be no outcome. */
  onsent(delivery: OutgoingDelivery): void;
  /** Called when there will be no outcome. `left` is false if nothing of the message was written. */
  onlost(error: unknown, left: boolean, delivery?: OutgoingDelivery): void;
  /**
   * Called with the receiver's state under a transaction, which is provisional until the transaction ends; the listener
   * settles unless the receiver has. Default: `onoutcome` is called at once.
   */
  onprovisional?(state: TransactionalState, settled: boolean, delivery: OutgoingDelivery): void;
}

/**
 * The outcome of a delivery settled with `state`: a delivery may be settled while it is still being received, or without a
 * state, in which cases the default outcome of the source applies [messaging 3.4.1].
 */
export function outcomeOf<T extends Outcome | undefined>(
  state: DeliveryState | undefined,
  byDefault: T,
): Outcome | UnknownState | T {
  const outcome = state?.kind === "transactionalState" ? state.outcome : state;
  return outcome === undefined || outcome.kind === "received" ? byDefault : outcome as Outcome | UnknownState;
}

/**
 * The error of a message whose send was aborted by its signal.
 *
 * @example
 * ```ts
 * import { SendAbortedError, type Sender } from "@webamqp/amqp";
 *
 * async function order(orders: Sender) {
 *   try {
 *     await orders.send({ body: "one coffee" }, { signal: AbortSignal.timeout(1_000) });
 *   } catch (error) {
 *     if (!(error instanceof SendAbortedError)) throw error;
 *     console.log(error.sent ? "it may arrive" : "it has not left");
 *   }
 * }
 * ```
 */
export class SendAbortedError extends Error {
  /** The name of the signal's reason, such as `"AbortError"` or `"TimeoutError"`. */
  override name: string;
  /** True if the message, or a part of it, had left; whether the receiver accepts it is then unknown. */
  readonly sent: boolean;
  /** Whether the message can be sent again without arriving twice: the opposite of `sent`. */
  readonly retryable: boolean;

  /** Made from the signal's reason, which is also the cause; `where` is the node's address and host, for the text. */
  constructor(reason: unknown, sent: boolean, where = "peer") {
    const { name = "AbortError", message = reason } = Object(reason);
    super(`Cannot send to ${where}: aborted ${sent ? "after" : "before"} the message left, ${message}`, {
      cause: reason,
    });
    this.name = name;
    this.sent = sent;
    this.retryable = !sent;
  }
}

/** The sender of a message, as its listener uses it. */
export interface SendingSender {
  /** The node's address and the connection's host. */
  readonly where: string;
  /** As `where`, but the address of the message on a link without one. */
  whereOf(delivery: OutgoingDelivery | undefined): string;
  readonly remote: { readonly source?: { readonly defaultOutcome?: Outcome } } | undefined;
  /** Rejects with `error`; if that is of a message that cannot be written, in more words, where they can be loaded. */
  refused(error: unknown, message: unknown): Promise<never>;
}

/** Settles the promise of one send. A class rather than three closures, since there is one per message. */
export class PromisedOutcome implements SendListener {
  readonly promise: Promise<SendOutcome | undefined>;
  readonly signal: AbortSignal | undefined;
  /** See {@linkcode SendOptions.decide}. */
  readonly decide: ((asked: Outcome) => Outcome | undefined) | undefined;
  /** Removes the signal's listener. */
  callOff: (() => void) | undefined;
  readonly #sender: SendingSender;
  #resolve!: (outcome: SendOutcome | undefined) => void;
  #rejected!: (error: unknown) => void;

  constructor(sender: SendingSender, signal: AbortSignal | undefined, decide: PromisedOutcome["decide"]) {
    this.#sender = sender;
    this.signal = signal;
    this.decide = decide;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#rejected = reject;
    });
  }

  onoutcome(state: DeliveryState | undefined, delivery: OutgoingDelivery): void {
    const { resent, resumed } = delivery;
    const outcome = outcomeOf(state, this.#sender.remote?.source?.defaultOutcome);
    if (outcome?.kind === "accepted") {
      this.#resolve(resent ? { ...outcome, resent } : resumed ? { ...outcome, resumed } : outcome);
    } else this.#reject(failure(outcome, this.#sender.whereOf(delivery)));
  }

  onsent(): void {
    this.#resolve(undefined);
  }

  onlost(error: unknown, left: boolean, delivery?: OutgoingDelivery): void {
    this.#reject(left ? lost(error, this.#sender.whereOf(delivery)) : error);
  }

  /** Rejects with a `SendAbortedError`. */
  abort(sent: boolean, delivery: OutgoingDelivery): void {
    this.#reject(new SendAbortedError(abortReason(this.signal), sent, this.#sender.whereOf(delivery)));
  }

  // A rejection that nobody awaits must not end the process as an unhandled one.
  #reject(error: unknown): void {
    this.promise.catch(ignore);
    this.#rejected(error);
  }
}

/** The node that a message names itself, as those of an anonymous terminus do, for errors; undefined if it names none. */
export function addresseeOf(delivery: OutgoingDelivery | undefined): string | undefined {
  if (delivery === undefined || delivery.source !== undefined) return undefined;
  try {
    const reader = new Reader(delivery.payload);
    while (reader.remaining > 0 && reader.code() === 0) {
      if (readDescriptor(reader) === definitions.properties.code) {
        const { to } = decodeAs(reader, "properties");
        return to === undefined || to === null ? undefined : String(to);
      }
      reader.value();
    }
  } catch {
    // Bytes that are no message have no addressee.
  }
}

/** The error of a message whose outcome will never be known because of `error`. */
export function lost(error: unknown, where: string): OutcomeError {
  const isKnown = error instanceof AmqpError || error instanceof TransportError;
  return new OutcomeError(
    "lost",
    error instanceof AmqpError ? error.condition : condition.connectionForced,
    `Cannot tell the outcome of a message to ${where}: ${(error as Error).message}`,
    { cause: error, retryable: isKnown && error.retryable },
  );
}

/** The error of a message that was not accepted. */
export function failure(outcome: Outcome | UnknownState | undefined, where: string): OutcomeError {
  const what = `Cannot send to ${where}: message was`;
  if (outcome?.kind === "unknown") {
    const { condition, description } = outcome.error;
    return new OutcomeError("lost", condition, `${what} settled with an outcome that is not known: ${description}`);
  }
  if (outcome === undefined || outcome.kind === "accepted" || outcome.kind === "declared") {
    return new OutcomeError("lost", condition.illegalState, `${what} settled without an outcome`);
  }
  const { kind } = outcome;
  if (kind === "rejected" && outcome.error !== undefined) {
    const error = fromErrorFields(outcome.error, `${what} rejected`, "delivery");
    return new OutcomeError(kind, error.condition, error.message, { ...error, retryable: error.retryable });
  }
  const retryable = kind === "released" || (kind === "modified" && !outcome.undeliverableHere);
  return new OutcomeError(kind, `amqp:${kind}:list`, `${what} ${kind}`, { ...outcome, remote: true, retryable });
}

/** The kinds of the changes to a message that goes back modified. */
export const MODIFY_KINDS: Kinds = {
  deliveryFailed: "boolean",
  undeliverableHere: "boolean",
  messageAnnotations: "object",
};

/**
 * The outcome of a message that the program rejects with `error`.
 *
 * @throws {TypeError} If the error has no condition.
 */
export function rejection(error: AmqpError | ErrorFields | undefined): Rejected {
  if (error !== undefined && typeof error?.condition !== "string") {
    throw new TypeError(`Cannot reject delivery: error is ${describeKind(error)}, give { condition, description }`);
  }
  return { kind: "rejected", error: error && toErrorFields(error) };
}
