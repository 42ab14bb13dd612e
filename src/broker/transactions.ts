/**
 * Transactions on the nodes of a broker [transactions 4].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { hex } from "../base/text.ts";

/** One thing that is done in a transaction. */
export interface Operation {
  /** Has it take effect. */
  commit(): void;
  /** Undoes it. */
  rollback(): void;
}

/** Bounds of the transactions of one connection. */
export interface TransactionsOptions {
  /** Most that are open at a time. */
  readonly max: number;
  /** Milliseconds after which one is rolled back. */
  readonly timeoutMs: number;
  /** Time and randomness. */
  readonly environment: Environment;
}

// Nobody guesses it [ATK-30].
const ID_BYTES = 16;

export class BrokerTransaction {
  /** Names it. */
  readonly id: Uint8Array;
  /** Why it has been rolled back before its controller said so. */
  failure: AmqpError | undefined;

  #operations: Operation[] = [];

  constructor(id: Uint8Array) {
    this.id = id;
  }

  /**
   * Adds something to it, which it ends in one way or the other.
   *
   * @throws {AmqpError} If it has been rolled back meanwhile; the operation then is, too.
   */
  add(operation: Operation): void {
    if (this.failure === undefined) return void this.#operations.push(operation);
    operation.rollback();
    throw this.failure;
  }

  /** Ends it: all that was done takes effect, or none of it. */
  end(fail: boolean): void {
    const operations = this.#operations;
    this.#operations = [];
    for (const operation of operations) {
      if (fail) operation.rollback();
      else operation.commit();
    }
  }
}

/** The transactions that one connection has open: nobody else may use them. */
export class Transactions {
  readonly #options: TransactionsOptions;
  readonly #open = new Map<
    string,
    { readonly transaction: BrokerTransaction; readonly timer: unknown; readonly owner: object }
  >();

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /**
   * Begins a transaction for `owner`, the control link that may end it.
   *
   * @throws {AmqpError} With `amqp:resource-limit-exceeded` if too many are open.
   */
  declare(owner: object): BrokerTransaction {
    const { max, timeoutMs, environment } = this.#options;
    if (this.#open.size >= max) {
      throw new AmqpError(condition.resourceLimitExceeded, `Cannot begin transaction: ${max} are open`);
    }
    const id = new Uint8Array(ID_BYTES);
    environment.random(id);
    const transaction = new BrokerTransaction(id);
    const timer = environment.setTimer(() => {
      transaction.failure = new AmqpError(
        condition.transactionTimeout,
        `Cannot go on with transaction: it was open for more than ${timeoutMs} ms and is rolled back`,
      );
      transaction.end(true);
    }, timeoutMs);
    this.#open.set(hex(id), { transaction, timer, owner });
    return transaction;
  }

  /**
   * The transaction of an id.
   *
   * @throws {AmqpError} With `amqp:transaction:unknown-id` if this connection has none, with why it failed if it has.
   */
  get(id: Uint8Array): BrokerTransaction {
    const { transaction } = this.#find(id);
    if (transaction.failure !== undefined) throw transaction.failure;
    return transaction;
  }

  /**
   * Ends a transaction.
   *
   * @throws {AmqpError} If there is none of that id, or it cannot be committed since it was rolled back.
   */
  discharge(id: Uint8Array, fail: boolean): void {
    const { transaction, timer } = this.#find(id);
    this.#open.delete(hex(id));
    this.#options.environment.clearTimer(timer);
    transaction.end(fail);
    if (!fail && transaction.failure !== undefined) throw transaction.failure;
  }

  /** Rolls back what `owner` has begun. */
  abandon(owner: object): void {
    for (const [key, { transaction, timer, owner: other }] of this.#open) {
      if (other !== owner) continue;
      this.#open.delete(key);
      this.#options.environment.clearTimer(timer);
      transaction.failure = new AmqpError(
        condition.transactionUnknownId,
        "Cannot go on with transaction: its control link has ended",
      );
      transaction.end(true);
    }
  }

  #find(id: Uint8Array): { transaction: BrokerTransaction; timer: unknown } {
    const found = this.#open.get(hex(id));
    if (found !== undefined) return found;
    throw new AmqpError(
      condition.transactionUnknownId,
      "Cannot find transaction: its id is unknown on this connection",
    );
  }
}
