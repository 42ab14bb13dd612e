/**
 * Transactions on the nodes of a broker [transactions 4].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { hex } from "../base/text.ts";

/** A step of a transaction. */
export interface Operation {
  commit(): void;
  rollback(): void;
}

/** Bounds of the transactions of one connection. */
export interface TransactionsOptions {
  /** The most open transactions. */
  readonly max: number;
  /** Milliseconds after which a transaction is rolled back. */
  readonly timeoutMs: number;
  readonly environment: Environment;
}

// Long enough that nobody guesses an id [ATK-30].
const ID_BYTES = 16;

export class BrokerTransaction {
  readonly id: Uint8Array;
  /** The reason of a rollback that the controller did not ask for. */
  failure: AmqpError | undefined;

  #operations: Operation[] = [];

  constructor(id: Uint8Array) {
    this.id = id;
  }

  /**
   * Adds a step to the transaction.
   *
   * @throws {AmqpError} If the transaction has been rolled back; the step is then, too.
   */
  add(operation: Operation): void {
    if (this.failure === undefined) return void this.#operations.push(operation);
    operation.rollback();
    throw this.failure;
  }

  /** Commits all steps, or rolls all of them back. */
  end(fail: boolean): void {
    const operations = this.#operations;
    this.#operations = [];
    for (const operation of operations) {
      if (fail) operation.rollback();
      else operation.commit();
    }
  }
}

/** The open transactions of one connection; no other connection can use them. */
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
   * @throws {AmqpError} With `amqp:transaction:unknown-id` if this connection has none, or the reason of its rollback.
   */
  get(id: Uint8Array): BrokerTransaction {
    const { transaction } = this.#find(id);
    if (transaction.failure !== undefined) throw transaction.failure;
    return transaction;
  }

  /**
   * Ends a transaction.
   *
   * @throws {AmqpError} If there is none of that id, or if a commit comes after a rollback.
   */
  discharge(id: Uint8Array, fail: boolean): void {
    const { transaction, timer } = this.#find(id);
    this.#open.delete(hex(id));
    this.#options.environment.clearTimer(timer);
    transaction.end(fail);
    if (!fail && transaction.failure !== undefined) throw transaction.failure;
  }

  /** Rolls back the transactions that `owner` has begun. */
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
