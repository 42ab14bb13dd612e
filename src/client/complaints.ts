/**
 * What a link tells the log. A file of its own, which loads when there is something to tell.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { type LogEntry, type LogHolder, logOf } from "../base/log.ts";

/** What is known of what happened; each text takes what it needs. */
export interface Facts {
  /** The node. */
  readonly where?: string;
  /** Whether messages are settled for the program. */
  readonly automatic?: boolean;
  /** Handlers that run. */
  readonly running?: number;
  /** Messages whose outcome was told. */
  readonly told?: number;
  /** The credit that the receiver was given. */
  readonly credit?: number;
  /** Messages of a sender that wait. */
  readonly pending?: number;
  /** What was thrown. */
  readonly error?: unknown;
}

/** Tells the log of a connection. */
export function tell(connection: { logging: LogHolder; environment: Environment }, entry: LogEntry): void {
  logOf(connection.logging, connection.environment).tell(entry);
}

/** A handler failed, and nobody takes care of it. */
export function handlerFailed({ where, automatic, error }: Facts): LogEntry {
  const becomes = automatic ? "goes back as a failed attempt" : "is not settled";
  return {
    level: "error",
    code: "handler-failed",
    message:
      `Cannot handle message of ${where}: handler failed, the message ${becomes}; give "onerror" to take care of it`,
    error,
  };
}

/** A close waits for handlers, one of which may wait for the close. */
export function closeWaits({ where, running }: Facts): LogEntry {
  return {
    level: "warning",
    code: "close-in-handler",
    message:
      `Cannot close receiver of ${where} yet: ${running} of its handlers run; one that waits for this close waits for itself, call stop() there`,
  };
}

/** A peer does not settle what it agreed to settle second [transport 2.6.12]. */
export function notSettled({ where, told }: Facts): LogEntry {
  return {
    level: "warning",
    code: "not-settled",
    message:
      `Cannot go on with ${told} messages of ${where}: their outcome was told, and the peer, which agreed to rcvSettleMode "second", has not settled them; use "first"`,
  };
}

/** Somebody waits for messages that cannot come. */
export function noCredit({ where, credit }: Facts): LogEntry {
  const state = credit === 0
    ? "the sender has no credit, call grant() or leave out the credit that the receiver was given"
    : `all ${credit} messages of the receiver's credit are taken and not settled, call accept() or another outcome`;
  return { level: "warning", code: "no-credit", message: `Cannot receive messages of ${where}: ${state}` };
}

/** A message waits for credit that does not come. */
export function sendWaits({ where, pending }: Facts): LogEntry {
  return {
    level: "warning",
    code: "send-waits",
    message:
      `Cannot send to ${where} yet: the receiver gives no credit, ${pending} messages wait; is the queue full, does anybody receive? A signal bounds the wait`,
  };
}
