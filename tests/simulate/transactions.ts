/**
 * A transaction of a simulated program.
 *
 * @module
 */

import { TransactionError } from "../../src/base/errors.ts";
import type { ProgramContext } from "./context.ts";
import type { Unit } from "./ledger.ts";
import { bodyOf, type ProgramReceivers } from "./receivers.ts";
import type { ProgramSenders } from "./senders.ts";

/** Sends and accepts in a transaction, and commits or rolls back, unless it fails before. */
export async function transact(
  context: ProgramContext,
  senders: ProgramSenders,
  receivers: ProgramReceivers,
  address: string,
): Promise<void> {
  const { connection, ledger, random, time } = context;
  const unit: Unit = { outcome: "rolled-back", members: [] };
  const signal = context.maybeSignal(8, 500);
  let transaction, receiver;
  try {
    transaction = await ledger.wait("begin of a transaction", connection.transaction({ signal }));
    unit.outcome = "in-doubt";
    for (let i = random.int(4); i >= 0; i--) {
      if (!connection.open) break;
      const { sender, link, once } = senders.pick(address);
      const sent = ledger.add(address, { by: "transaction.send", link, once, unit });
      try {
        ledger.follow(sent, transaction.send(sender, context.message(sent)));
      } catch (error) {
        ledger.failed(sent, error);
        throw error;
      }
      if (context.chance(3)) await time.sleep(random.int(100));
    }
    const accepted: string[] = [];
    receiver = context.chance(2) ? receivers.create(address, 3) : undefined;
    if (receiver !== undefined) {
      for (const delivery of await ledger.wait("batch", receiver.receiveBatch(3, { waitMs: 100 }))) {
        receivers.arrive(delivery);
        transaction.accept(delivery);
        receivers.settleInTransaction(delivery);
        accepted.push(bodyOf(delivery));
      }
    }
    if (context.chance(2)) await time.sleep(random.int(200));
    const choice = random.int(5);
    if (choice < 3) {
      const { reconnects } = connection.stats();
      await ledger.wait("commit", transaction.commit());
      unit.outcome = "committed";
      for (const body of accepted) receivers.settled(body, undefined, reconnects);
    } else if (choice === 3) {
      await ledger.wait("rollback", transaction.rollback());
      unit.outcome = "rolled-back";
    } else {
      await ledger.wait("end of a transaction", transaction[Symbol.asyncDispose]());
      unit.outcome = "rolled-back";
    }
  } catch (error) {
    if (error instanceof TransactionError) unit.outcome = error.outcome;
  } finally {
    // Also after a failure: it would keep messages that nobody reads, and with them the room of a full queue.
    if (receiver !== undefined) ledger.wait("close after transaction", receiver.close()).catch(ledger.fault);
  }
}
