/**
 * The coordinator: links on which peers declare and discharge transactions [transactions 4.2].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { fromDescribed } from "../codec/composite.ts";
import type { Delivery } from "../client/delivery.ts";
import type { ReceiverRequest } from "../server/link_requests.ts";
import type { Transactions } from "./transactions.ts";

// A transaction may span links and sessions of its connection, and a session several transactions.
const CAPABILITIES = ["amqp:local-transactions", "amqp:multi-txns-per-ssn", "amqp:multi-ssns-per-txn"];
const CREDIT = 100;
// Enough for the ids of any client.
const MAX_MESSAGE_SIZE = 65_536n;

/** Accepts a control link. */
export function attachCoordinator(transactions: Transactions, request: ReceiverRequest): void {
  const receiver = request.accept({
    target: { kind: "coordinator", capabilities: CAPABILITIES },
    credit: CREDIT,
    settle: "manual",
    maxMessageSize: MAX_MESSAGE_SIZE,
    rcvSettleMode: "first",
  });
  const outcomes = request.attach.source?.outcomes;
  const rejectable = outcomes === undefined || outcomes.includes("amqp:rejected:list");
  const ondelivery = (delivery: Delivery): void => {
    const settled = delivery.remoteSettled;
    delivery.handleTaken();
    if (!receiver.usable) return;
    try {
      // The outcome is the answer [transactions 4.2], and a settled message gets none.
      if (settled) throw new AmqpError(condition.notAllowed, "Cannot take control message: it is settled already");
      answer(transactions, receiver, delivery);
    } catch (error) {
      const failure = error instanceof AmqpError
        ? error
        : new AmqpError(condition.internalError, "Cannot take control message: internal error", { cause: error });
      if (rejectable && !settled) delivery.reject(failure);
      else receiver.close({ error: failure, timeoutMs: 0 }).catch(() => {});
    }
  };
  receiver.ondelivery = ondelivery;
  receiver.closed.then(() => transactions.abandon(receiver));
}

function answer(transactions: Transactions, owner: object, delivery: Delivery): void {
  const request = fromDescribed(delivery.message.body);
  switch (request?.kind) {
    case "declare":
      if (request.globalId !== undefined && request.globalId !== null) {
        throw new AmqpError(condition.notImplemented, "Cannot begin transaction: there are no distributed ones");
      }
      return delivery.update({ kind: "declared", txnId: transactions.declare(owner).id });
    case "discharge":
      transactions.discharge(request.txnId, request.fail ?? false);
      return delivery.accept();
    default:
      throw new AmqpError(condition.invalidField, "Cannot take control message: it neither declares nor discharges");
  }
}
