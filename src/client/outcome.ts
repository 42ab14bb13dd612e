/**
 * How a message is sent, what becomes of it, and how the sender's program hears of it.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, OutcomeError, TransportError } from "../base/errors.ts";
import type { OptionKinds } from "../base/options.ts";
import { ignore, type WaitOptions } from "../base/wait.ts";
import type { Accepted, DeliveryState, Outcome, TransactionalState } from "../codec/types.ts";
import { fromErrorFields } from "../engine/fault.ts";
import type { OutgoingDelivery } from "../engine/outgoing.ts";

/** How a message is sent. */
export interface SendOptions extends WaitOptions {
  /** True sends it settled: at most once, no outcome. Default: false. */
  settled?: boolean | undefined;
  /** The format of a message that is given as bytes. Default: 0, AMQP's. */
  messageFormat?: number | undefined;
  /** The delivery tag, 1 to 32 bytes, which no other message has that waits for its outcome. Default: a counted one. */
  tag?: Uint8Array | undefined;
  /**
   * Called with the outcome that the receiver asks for where it leaves settling to this side (`rcvSettleMode: "second"`), and
   * gives what the message is settled with, such as `rejected` for a lock that was lost; nothing for the one asked for. It must not throw.
   */
  decide?: (asked: Outcome) => Outcome | undefined;
  /** The delivery state that the message arrives with, such as that of a transaction. Default: none. */
  state?: DeliveryState | undefined;
}

/** What {@linkcode SendOptions} are. */
export const SEND_KINDS: OptionKinds<SendOptions> = {
  signal: "object",
  settled: "boolean",
  messageFormat: "number",
  tag: "object",
  decide: "function",
  state: "object",
};

/** What `send` of a sender gives for a message that was accepted. */
export interface SendOutcome extends Accepted {
  /** True if the message was sent again because the connection was lost; the receiver may have it twice. */
  readonly resent?: true;
  /** True if the connection was lost before there was an outcome, and the message was taken up where it was; it came once. */
  readonly resumed?: true;
}

/** Learns what becomes of one message. */
export interface SendListener {
  /** The receiver's word on it; undefined if it settled without one. */
  onoutcome(state: DeliveryState | undefined, delivery: OutgoingDelivery): void;
  /** It was sent settled, and its last frame is written: there will be no outcome. */
  onsent(delivery: OutgoingDelivery): void;
  /** There will be no outcome. `left` is false when nothing of the message was written. */
  onlost(error: unknown, left: boolean, delivery?: OutgoingDelivery): void;
  /**
   * The receiver's word under a transaction, which is no outcome before the transaction ends; the delivery is settled by
   * the listener unless the receiver has. Default: the outcome is told at once.
   */
  onprovisional?(state: TransactionalState, settled: boolean, delivery: OutgoingDelivery): void;
}

/**
 * The outcome of a delivery that was settled with `state`: it may be settled while it is still being received, or without
 * a state, and then the default of the source counts [messaging 3.4.1].
 */
export function outcomeOf(state: DeliveryState | undefined, byDefault: Outcome | undefined): Outcome | undefined {
  const outcome = state?.kind === "transactionalState" ? state.outcome : state;
  return outcome === undefined || outcome.kind === "received" ? byDefault : outcome as Outcome;
}

/**
 * Why a message was not sent or has no outcome any more: the signal that its send was given.
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
  /** True if the message, or a part of it, had left; whether the receiver takes it is not known then. */
  readonly sent: boolean;

  /** Tells `reason`, which is also the cause, and whether the message had left. */
  constructor(reason: unknown, sent: boolean) {
    const { name = "AbortError", message = reason } = Object(reason);
    super(`Cannot send: aborted ${sent ? "after" : "before"} the message left, ${message}`, { cause: reason });
    this.name = name;
    this.sent = sent;
  }
}

/** The sender of a message, as its listener sees it. */
export interface SendingSender {
  /** The node, and whom the connection is with. */
  readonly where: string;
  /** The peer's attach, once it came. */
  readonly remote: { readonly source?: { readonly defaultOutcome?: Outcome } } | undefined;
}

/** Settles the promise of one send. A class and not three closures, for there is one of it for each message. */
export class PromisedOutcome implements SendListener {
  readonly promise: Promise<SendOutcome | undefined>;
  /** Aborts the send. */
  readonly signal: AbortSignal | undefined;
  /** What the message is settled with instead of the outcome that the receiver asks for. */
  readonly decide: ((asked: Outcome) => Outcome | undefined) | undefined;
  /** Calls off that the signal aborts it. */
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

  onoutcome(state: DeliveryState | undefined, { resent, resumed }: OutgoingDelivery): void {
    const outcome = outcomeOf(state, this.#sender.remote?.source?.defaultOutcome);
    if (outcome?.kind === "accepted") {
      this.#resolve(resent ? { ...outcome, resent } : resumed ? { ...outcome, resumed } : outcome);
    } else this.#reject(failure(outcome, this.#sender.where));
  }

  onsent(): void {
    this.#resolve(undefined);
  }

  onlost(error: unknown, left: boolean): void {
    this.#reject(left ? lost(error, this.#sender.where) : error);
  }

  /** Gives up the wait. */
  abort(sent: boolean): void {
    this.#reject(new SendAbortedError(this.signal!.reason, sent));
  }

  // Whoever waits gets the error. That nobody does must not end the process, as an unhandled rejection would.
  #reject(error: unknown): void {
    this.promise.catch(ignore);
    this.#rejected(error);
  }
}

/** The error of a message whose outcome will never be known because of `error`. */
export function lost(error: unknown, where: string): OutcomeError {
  const told = error instanceof AmqpError || error instanceof TransportError;
  return new OutcomeError(
    "lost",
    error instanceof AmqpError ? error.condition : condition.connectionForced,
    `Cannot tell the outcome of a message to ${where}: ${(error as Error).message}`,
    { cause: error, retryable: told && error.retryable },
  );
}

/** The error of a message that was not accepted. */
export function failure(outcome: Outcome | undefined, where: string): OutcomeError {
  const what = `Cannot send to ${where}: message was`;
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
