/**
 * What a connection and its links tell the log. A file of its own, which loads when there is something to tell.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { type LogEntry, type LogHolder, logOf } from "../base/log.ts";

/** What is known of what happened to a link; each text takes what it needs. */
export interface Facts {
  /** Whether messages are settled for the program. */
  readonly automatic?: boolean;
  /** Handlers that run. */
  readonly running?: number;
  /** Messages whose outcome was told. */
  readonly told?: number;
  /** The credit that the receiver was given. */
  readonly credit?: number;
  /** Messages that wait to be sent. */
  readonly queued?: number;
  /** Whether the peer has accepted the link. */
  readonly attached?: boolean;
  /** The name of a callback of the program. */
  readonly callback?: string;
  /** What was thrown. */
  readonly error?: unknown;
}

/** What a link may tell. */
export type LinkComplaint =
  | "handlerFailed"
  | "closeWaits"
  | "notSettled"
  | "noCredit"
  | "sendWaits"
  | "callbackFailed"
  | "sharesSession";

// `where` is the node and whom the connection is with.
const complaints: Record<LinkComplaint, (where: string, facts: Facts) => LogEntry> = {
  // A handler failed, and nobody takes care of it.
  handlerFailed(where, { automatic, error }) {
    const becomes = automatic ? "goes back as a failed attempt" : "is not settled";
    return {
      level: "error",
      code: "handler-failed",
      message:
        `Cannot handle message of ${where}: handler failed, the message ${becomes}; give "onerror" to take care of it`,
      error,
    };
  },
  // A close waits for handlers, one of which may wait for the close.
  closeWaits(where, { running }) {
    return {
      level: "warning",
      code: "close-in-handler",
      message:
        `Cannot close receiver of ${where} yet: ${running} of its handlers run; one that waits for this close waits for itself, call stop() there`,
    };
  },
  // A peer does not settle what it agreed to settle second [transport 2.6.12].
  notSettled(where, { told }) {
    return {
      level: "warning",
      code: "not-settled",
      message:
        `Cannot go on with ${told} messages of ${where}: their outcome was told, and the peer, which agreed to rcvSettleMode "second", has not settled them; use "first"`,
    };
  },
  // Somebody waits for messages that cannot come.
  noCredit(where, { credit }) {
    const state = credit === 0
      ? "the sender has no credit, call grant() or leave out the credit that the receiver was given"
      : `all ${credit} messages of the receiver's credit are taken and not settled, call accept() or another outcome`;
    return { level: "warning", code: "no-credit", message: `Cannot receive messages of ${where}: ${state}` };
  },
  // A callback threw where nobody can be told.
  callbackFailed(where, { callback, error }) {
    const message = `Cannot take the word of "${callback}" for a message of ${where}: it threw; mend it`;
    return { level: "error", code: "callback-failed", message, error };
  },
  // A link for streams was to have a session of its own.
  sharesSession(where, { error }) {
    const message =
      `Cannot begin a session of its own for the streams of ${where}: ${(error as Error).message}; one that is ` +
      'read slowly now keeps other links waiting, raise "channelMax" of both sides';
    return { level: "warning", code: "shares-session", message, error };
  },
  // Messages wait to be sent, and nothing has come for a while that lets them.
  sendWaits(where, { queued, attached }) {
    const state = attached
      ? "wait for credit; is the queue full, does anybody receive?"
      : "wait for the peer to accept the link.";
    return {
      level: "warning",
      code: "send-waits",
      message: `Cannot send ${queued} messages to ${where} yet: they ${state} A signal bounds the wait`,
    };
  },
};

/** Tells the log of the connection of `link`. */
export function complain(
  link: { connection: Parameters<typeof tell>[0] & { host: string | undefined }; where: string; address?: string },
  about: LinkComplaint,
  facts: Facts,
): void {
  const { connection, where, address } = link;
  tell(connection, { ...complaints[about](where, facts), address, host: connection.host });
}

/** A connection is lost, and is made anew in `delayMs`. */
export function reconnecting(host: string | undefined, delayMs: number, error: Error): LogEntry {
  return {
    level: "warning",
    code: "reconnecting",
    message: `Cannot keep connection to ${host}: ${error.message}; the next attempt is in ${
      Math.ceil(delayMs)
    } ms, events() tells of each`,
    host,
    error,
  };
}

/** The option `trace` threw. */
export function traceFailed(error: unknown): LogEntry {
  return { level: "error", code: "callback-failed", message: 'Cannot trace: option "trace" threw; mend it', error };
}

/** Tells the log of a connection. */
export function tell(connection: { logging: LogHolder; environment: Environment }, entry: LogEntry): void {
  logOf(connection.logging, connection.environment).tell(entry);
}
