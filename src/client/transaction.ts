/**
 * Local transactions of a client [transactions 4]. Loaded at first use.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, TransactionError } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { checkOptions, describeKind, type OptionKinds, WAIT_KINDS } from "../base/options.ts";
import { abortable, abortReason, abortWith, ignore, onAbort, rejected, type WaitOptions } from "../base/wait.ts";
import { type Message, value, writeMessage } from "../codec/message.ts";
import type { DeliveryState, ErrorFields, Modified, Outcome } from "../codec/types.ts";
import { Described, type Value } from "../codec/values.ts";
import { Writer } from "../codec/writer.ts";
import { MODIFY_KINDS, rejection } from "./outcome.ts";
import { checkGrant } from "./receive_options.ts";
import type { Delivery } from "./delivery.ts";
import type { Link } from "./link.ts";
import type { SendOptions, SendOutcome } from "./outcome.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import type { SenderOptions } from "./link_options.ts";

/** The state of a transaction. */
export type TransactionState = "open" | "committed" | "rolled-back" | "in-doubt";

export interface TransactionConnection {
  sender(options: SenderOptions): Sender;
}

/** The control link to the peer's coordinator, which all transactions of a connection share. */
export class TransactionController {
  readonly #connection: TransactionConnection;
  #control: Sender | undefined;
  // Transactions that nobody ends yet. A promise of the link's end would keep every one until then.
  readonly #open = new Set<Transaction>();

  constructor(connection: TransactionConnection) {
    this.#connection = connection;
  }

  async begin(options: WaitOptions): Promise<Transaction> {
    const control = this.#link();
    await control.ready(options);
    checkCoordinator(control);
    const state = await this.#ask(control, new Described(DECLARE, []), options).catch((error) => {
      throw error instanceof Unanswered ? error.cause : error;
    });
    if (state?.kind !== "declared") throw refusal("Cannot begin transaction", state);
    const transaction = new Transaction(this, control, state.txnId);
    if (control.over) transaction.handleLost(control);
    else this.#open.add(transaction);
    return transaction;
  }

  /** Forgets a transaction that is about to end. */
  ending(transaction: Transaction): void {
    this.#open.delete(transaction);
  }

  /** Ends a transaction; resolves with the peer's refusal, if any. */
  async discharge(
    control: Sender,
    txnId: Uint8Array,
    fail: boolean,
    options: WaitOptions,
  ): Promise<AmqpError | undefined> {
    const state = await this.#ask(control, new Described(DISCHARGE, [txnId, fail]), options);
    if (state?.kind === "accepted") return undefined;
    return refusal(`Cannot ${fail ? "roll back" : "commit"} transaction`, state);
  }

  #link(): Sender {
    if (this.#control?.open) return this.#control;
    const control = this.#connection.sender({
      // A request of a lost connection must not be repeated on the next.
      recovery: "fail",
      target: { kind: "coordinator", capabilities: [LOCAL, "amqp:multi-txns-per-ssn", "amqp:multi-ssns-per-txn"] },
      source: { outcomes: ["amqp:accepted:list", "amqp:rejected:list", "amqp:declared:list"] },
    });
    control.closed.then(() => {
      for (const transaction of this.#open) transaction.handleLost(control);
    });
    return this.#control = control;
  }

  // Resolves with the raw state: a declaration has its own outcome, `declared`.
  #ask(control: Sender, body: Value, { signal }: WaitOptions): Promise<DeliveryState | undefined> {
    const writer = new Writer(64);
    writeMessage({ body: value(body) }, writer);
    const answer = new Promise<DeliveryState | undefined>((resolve, reject) => {
      control.forward(writer.take(), {}, {
        onoutcome: resolve,
        onsent: () => resolve(undefined),
        onlost: (error, left) => reject(left ? new Unanswered(error) : error),
      });
    });
    answer.catch(ignore);
    return abortable(answer, signal);
  }
}

// `settled` and `state` are set by the transaction.
const SEND_KINDS: OptionKinds<Omit<SendOptions, "settled" | "state">> = {
  signal: "object",
  messageFormat: "number",
  tag: "Uint8Array",
  decide: "function",
};

/**
 * A local transaction: its messages and outcomes take effect together on commit, or not at all.
 *
 * Made by `transaction()` of a connection. Leaving its scope, or losing the connection, rolls it back.
 *
 * @example
 * ```ts
 * import type { Delivery, Sender, Transaction } from "@webamqp/amqp";
 *
 * async function bill(transaction: Transaction, order: Delivery, bills: Sender) {
 *   transaction.send(bills, { body: "a bill" });
 *   transaction.accept(order);
 *   await transaction.commit();
 * }
 * ```
 */
export class Transaction implements AsyncDisposable {
  readonly #coordinator: TransactionController;
  readonly #control: Sender;
  readonly #id: Uint8Array;
  // The control link as it was attached when the transaction began.
  readonly #endpoint: Sender["endpoint"];
  // Sends without an outcome, each with the controller that aborts it.
  readonly #sends = new Map<Promise<unknown>, AbortController>();
  #failure: unknown;
  #state: TransactionState = "open";
  #ending: Promise<void> | undefined;
  #committing: Promise<void> | undefined;

  /** @ignore Made by the controller. */
  constructor(coordinator: TransactionController, control: Sender, id: Uint8Array) {
    this.#coordinator = coordinator;
    this.#control = control;
    this.#endpoint = control.endpoint;
    this.#id = id;
  }

  /** @ignore The end of its control link rolls an open transaction back [transactions 4.3]. */
  handleLost(control: Sender): void {
    if (control !== this.#control) return;
    this.#coordinator.ending(this);
    this.#state = "rolled-back";
    this.#abortSends();
  }

  /** The transaction-id, at most 32 bytes. */
  get id(): Uint8Array {
    return this.#id;
  }

  /** The transaction's state. */
  get state(): TransactionState {
    if (this.#ending === undefined) this.#noteLoss();
    return this.#state;
  }

  /**
   * Sends a message in the transaction: it becomes visible to others with the commit.
   *
   * @returns The outcome that takes effect with the commit.
   * @throws {OutcomeError} If the message was refused; the transaction can then only be rolled back.
   * @throws {SendAbortedError} If the transaction was rolled back before the message had an outcome.
   * @throws {TransactionError} If the transaction has ended.
   */
  send(
    sender: Sender,
    message: Message | Uint8Array,
    options: Omit<SendOptions, "settled" | "state"> = {},
  ): Promise<SendOutcome | undefined> {
    try {
      this.#requireOpen("send in");
      this.#checkLink("send in", "sender", sender, "send");
      checkOptions("send in transaction", options, SEND_KINDS);
    } catch (error) {
      return rejected(error);
    }
    const controller = new AbortController();
    const { signal: given } = options;
    const callOff = given && onAbort(given, () => abortWith(controller, abortReason(given)));
    const signal = given?.aborted ? given : controller.signal;
    const sent = sender.send(message, { ...options, signal, state: { kind: "transactionalState", txnId: this.#id } });
    this.#sends.set(sent, controller);
    sent.catch((error) => this.#failure ??= error).finally(() => {
      this.#sends.delete(sent);
      callOff?.();
    });
    return sent;
  }

  /** Accepts a message with the commit; a rollback returns it. */
  accept(delivery: Delivery): void {
    this.#settle(delivery, { kind: "accepted" });
  }

  /** Rejects a message with the commit. */
  reject(delivery: Delivery, error?: AmqpError | ErrorFields): void {
    this.#settle(delivery, rejection(error));
  }

  /** Releases a message with the commit. */
  release(delivery: Delivery): void {
    this.#settle(delivery, { kind: "released" });
  }

  /** Modifies a message with the commit. */
  modify(delivery: Delivery, changes: Omit<Modified, "kind"> = {}): void {
    checkOptions("modify delivery", changes, MODIFY_KINDS);
    this.#settle(delivery, { kind: "modified", ...changes });
  }

  /**
   * Acquires up to `count` messages in the transaction: waits until they have come or the sender has no more. A rollback
   * returns them. The receiver must be attached with `credit: "manual"`.
   *
   * Few brokers support this; others send the messages as if outside a transaction.
   *
   * @throws {TransactionError} If the transaction has ended.
   */
  async acquire(receiver: Receiver, count: number, options: WaitOptions = {}): Promise<Delivery[]> {
    checkOptions("acquire in transaction", options, WAIT_KINDS);
    this.#requireOpen("acquire in");
    this.#checkLink("acquire in", "receiver", receiver, "drain");
    if (!receiver.isManual) {
      throw new TypeError(
        'Cannot acquire in transaction: the receiver gives credit by itself, attach it with credit "manual"',
      );
    }
    checkGrant(count);
    await receiver.ready(options);
    const endpoint = receiver.endpoint!;
    endpoint.flow({ linkCredit: count, properties: { "txn-id": this.#id } });
    try {
      await receiver.drain(options);
    } finally {
      // Flows keep their properties, and a cancelled drain leaves its credit: later messages are not part of the transaction.
      if (receiver.usable && receiver.endpoint === endpoint) {
        const { draining } = endpoint;
        endpoint.flow({ linkCredit: draining ? endpoint.linkCredit : 0, drain: draining, properties: {} });
        receiver.connection.wake();
      }
    }
    const acquired: Delivery[] = [];
    while (receiver.buffered > 0) acquired.push(await receiver.receive());
    return acquired;
  }

  /**
   * Commits. Waits first for the outcomes of all sends, and rolls back as soon as one was refused, or `signal` is aborted before.
   *
   * @throws {TransactionError} If the transaction was rolled back, or is in doubt because the connection was lost meanwhile.
   */
  async commit(options: WaitOptions = {}): Promise<void> {
    checkOptions("commit transaction", options, WAIT_KINDS);
    if (this.#committing === undefined) {
      if (this.#ending === undefined) this.#noteLoss();
      if (this.#state !== "open" || this.#ending !== undefined) throw this.#ended("commit");
      this.#coordinator.ending(this);
      this.#ending = this.#committing = this.#commit(options);
    }
    await abortable(this.#committing, options.signal);
  }

  /** Rolls back. Does nothing if that is done already. */
  async rollback(options: WaitOptions = {}): Promise<void> {
    checkOptions("roll back transaction", options, WAIT_KINDS);
    if (this.#state === "rolled-back") return;
    if (this.#state === "committed" || this.#state === "in-doubt") throw this.#ended("roll back");
    this.#coordinator.ending(this);
    await abortable(this.#ending = this.#rollBack(this.#ending, options), options.signal);
  }

  /** Rolls back unless the transaction has ended; never fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending === undefined) await this.rollback().catch(ignore);
    else await this.#ending.catch(ignore);
  }

  async #commit(options: WaitOptions): Promise<void> {
    try {
      // Other sends may wait for credit for ever once one was refused.
      if (this.#failure === undefined) await abortable(Promise.all(this.#sends.keys()), options.signal);
    } catch (error) {
      // The peer has not been asked to commit yet.
      this.#failure ??= error;
    }
    this.#noteLoss();
    if (this.#state !== "open") throw this.#ended("commit");
    if (this.#failure !== undefined) {
      await this.#rollBack(undefined, {});
      const why = this.#failure instanceof Error ? this.#failure.message : String(this.#failure);
      throw new TransactionError("rolled-back", condition.transactionRollback, `Cannot commit transaction: ${why}`, {
        cause: this.#failure,
      });
    }
    let refused: AmqpError | undefined;
    try {
      refused = await this.#coordinator.discharge(this.#control, this.#id, false, options);
    } catch (error) {
      throw this.#lost(error);
    }
    if (refused === undefined) return void (this.#state = "committed");
    this.#state = "rolled-back";
    throw new TransactionError("rolled-back", refused.condition, refused.message, {
      remote: true,
      info: refused.info,
      retryable: true,
    });
  }

  async #rollBack(before: Promise<void> | undefined, options: WaitOptions): Promise<void> {
    await before?.catch(ignore);
    this.#noteLoss();
    if (this.#state !== "open") return;
    this.#abortSends();
    // An error too leaves nothing: the peer rolls back what it cannot end.
    await this.#coordinator.discharge(this.#control, this.#id, true, options).catch(ignore);
    this.#state = "rolled-back";
  }

  // A transaction ends with the connection that it began on. The control link may come back on the next one, whose peer may
  // have begun another transaction of the same id.
  #noteLoss(): void {
    if (this.#state !== "open" || !this.#isLost) return;
    this.#coordinator.ending(this);
    this.#state = "rolled-back";
    this.#abortSends();
  }

  get #isLost(): boolean {
    return this.#control.endpoint !== this.#endpoint || !this.#control.usable;
  }

  // A peer may end the link over a message of an unknown transaction.
  #abortSends(): void {
    for (const controller of this.#sends.values()) abortWith(controller, this.#ended("send in"));
  }

  // In doubt if the commit had left without an answer; otherwise the end of the control link rolled back.
  #lost(error: unknown): TransactionError {
    const doubt = error instanceof Unanswered || !(error instanceof AmqpError);
    this.#state = doubt ? "in-doubt" : "rolled-back";
    const cause = error instanceof Unanswered ? error.cause : error;
    const symbol = cause instanceof AmqpError ? cause.condition : condition.connectionForced;
    const what = doubt
      ? "its answer was lost, so whether it took effect is not known"
      : "its link had ended, so it was rolled back";
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `Cannot commit transaction: ${what}; ${why}`;
    return new TransactionError(this.#state, symbol, message, { cause, retryable: !doubt });
  }

  #settle(delivery: Delivery, outcome: Outcome): void {
    this.#requireOpen("settle in");
    if (typeof delivery?.update !== "function") {
      throw new TypeError(
        `Cannot settle in transaction: delivery is ${describeKind(delivery)}, give what a receiver gave`,
      );
    }
    this.#checkLink("settle in", "receiver", delivery.receiver, "close");
    delivery.update({ kind: "transactionalState", txnId: this.#id, outcome });
  }

  // A transaction exists on its own connection only, and a peer need not report an unknown one.
  #checkLink<K extends string>(
    doing: string,
    role: string,
    link: Link & { readonly [M in K]: unknown },
    call: K,
  ): void {
    if (typeof link?.[call] !== "function") {
      const given = `${role} is ${describeKind(link)}`;
      throw new TypeError(`Cannot ${doing} transaction: ${given}, give what "${role}" of the connection returns`);
    }
    if (link.connection !== this.#control.connection) {
      const state = `${role} of ${link.where} belongs to another connection`;
      throw new TypeError(`Cannot ${doing} transaction: ${state}, begin the transaction on that one`);
    }
  }

  #requireOpen(doing: string): void {
    if (this.#ending === undefined) this.#noteLoss();
    if (this.#state !== "open" || this.#ending !== undefined) throw this.#ended(doing);
  }

  #ended(doing: string): TransactionError {
    const { error } = this.#control;
    const state = this.#state === "open" ? "ending" : this.#state;
    const isLost = error === undefined && this.#state === "rolled-back" && this.#isLost;
    const why = isLost ? ", its connection was lost" : error === undefined ? "" : `, ${error.message}`;
    const byDefault = isLost ? condition.transactionRollback : condition.illegalState;
    const symbol = error instanceof AmqpError ? error.condition : byDefault;
    const ending = this.#committing === undefined ? "rolled-back" : "in-doubt";
    const outcome = this.#state === "open" ? ending : this.#state;
    return new TransactionError(outcome, symbol, `Cannot ${doing} transaction: it is ${state}${why}`, {
      cause: error,
      ...isLost && { retryable: true },
    });
  }
}

const DECLARE = 0x31n;
const DISCHARGE = 0x32n;
const LOCAL = "amqp:local-transactions";

// The error of a control message that had left when its link ended.
class Unanswered extends Error {
  override readonly cause: unknown;

  constructor(cause: unknown) {
    super();
    this.cause = cause;
  }
}

// The coordinator's attach lists its capabilities; one that lists none is taken to support local transactions.
function checkCoordinator({ remote }: Sender): void {
  const target = remote?.target;
  const listed = target?.kind === "coordinator" ? target.capabilities ?? [] : undefined;
  if (listed !== undefined && (listed.length === 0 || listed.includes(LOCAL))) return;
  throw new AmqpError(condition.notImplemented, "Cannot begin transaction: peer has no coordinator of local ones", {
    scope: "link",
  });
}

function refusal(doing: string, state: DeliveryState | undefined): AmqpError {
  const error = state?.kind === "rejected" || state?.kind === "unknown" ? state.error : undefined;
  const description = error?.description === undefined ? "" : `: ${printable(error.description)}`;
  const what = error === undefined ? `peer answered with ${state?.kind ?? "nothing"}` : printable(error.condition);
  return new AmqpError(error?.condition ?? condition.transactionRollback, `${doing}: ${what}${description}`, {
    scope: "link",
    remote: true,
    ...error?.info === undefined ? {} : { info: error.info },
  });
}
