/**
 * The texts that a connection and its links write to the log. A file of its own, so that it loads only when one is written.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { type LogEntry, type LogHolder, logOf } from "../base/log.ts";

/** Details of an event of a link; each text uses those that it needs. */
export interface Facts {
  /** Whether messages are settled automatically. */
  readonly automatic?: boolean;
  readonly running?: number;
  /** Messages that have left, or whose outcome was sent. */
  readonly unsettled?: number;
  /** The credit that the receiver was attached with. */
  readonly credit?: number;
  readonly queued?: number;
  readonly attached?: boolean;
  /** Whether a drain is waited for. */
  readonly draining?: boolean;
  /** The option or callback that threw. */
  readonly callback?: string;
  readonly error?: unknown;
}

/** The kinds of entry that a link writes to the log. */
export type LinkLogKind =
  | "handlerFailed"
  | "closeWaits"
  | "notSettled"
  | "noCredit"
  | "sendWaits"
  | "receiveWaits"
  | "callbackFailed"
  | "sharesSession"
  | "notShared"
  | "notDurable"
  | "sharedAlone"
  | "unread";

// `where` is the node's address and the connection's host.
const texts: Record<LinkLogKind, (where: string, facts: Facts) => LogEntry> = {
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
  // A close waits for handlers, one of which may itself wait for the close.
  closeWaits(where, { running }) {
    return {
      level: "warning",
      code: "close-in-handler",
      message:
        `Cannot close receiver of ${where} yet: ${running} of its handlers run; one that waits for this close waits for itself, call stop() there`,
    };
  },
  // The peer does not settle although it agreed to settle second [transport 2.6.12].
  notSettled(where, { unsettled }) {
    return {
      level: "warning",
      code: "not-settled",
      message:
        `Cannot go on with ${unsettled} messages of ${where}: their outcome was sent, and the peer, which agreed to rcvSettleMode "second", has not settled them; use "first"`,
    };
  },
  // A caller waits for messages that cannot come.
  noCredit(where, { credit }) {
    const state = credit === 0
      ? "the sender has no credit, call grant() or leave out the credit that the receiver was given"
      : `all ${credit} messages of the receiver's credit are taken and not settled, call accept() or another outcome`;
    return { level: "warning", code: "no-credit", message: `Cannot receive messages of ${where}: ${state}` };
  },
  // A callback threw, and there is no caller to throw to.
  callbackFailed(where, { callback, error }) {
    const message = `Cannot call "${callback}" for a message of ${where}: it threw; mend it`;
    return { level: "error", code: "callback-failed", message, error };
  },
  // A link for streams was to get its own session.
  sharesSession(where, { error }) {
    const message =
      `Cannot begin a session of its own for the streams of ${where}: ${(error as Error).message}; one that is ` +
      'read slowly now keeps other links waiting, raise "channelMax" of both sides';
    return { level: "warning", code: "shares-session", message, error };
  },
  // The peer has attached the link, and says nowhere that it shares messages among the receivers of a subscription.
  notShared(where) {
    const message =
      `Cannot share messages of ${where}: the peer does not offer SHARED-SUBS, so each receiver may get ` +
      "all of them; receive from a queue instead";
    return { level: "warning", code: "not-shared", message };
  },
  // The peer knows a durable subscription by the names of container and link, of which the former is random.
  notDurable(where) {
    const message = `Cannot find the subscription to ${where} again from another connection: the peer knows it by ` +
      'the "containerId" of connect, which is random here and must be given, and the "name" of the receiver';
    return { level: "warning", code: "not-durable", message };
  },
  // The peer shares among the receivers of one container, and the name of this one is random.
  sharedAlone(where) {
    const message =
      `Cannot share messages of ${where} with other connections: the peer knows the subscription by the ` +
      '"containerId" of connect, which is random here, so each connection gets all of them; share it with "global: true"';
    return { level: "warning", code: "not-shared", message };
  },
  // A receiver was asked for single messages, and then for none.
  unread(where, { queued }) {
    const message = `Cannot give ${queued} messages of ${where} to others: they came ahead to a receiver that was ` +
      'asked for none for a while; close it, or keep it for the next call; credit "manual" with receiveBatch() takes none ahead';
    return { level: "warning", code: "unread", message };
  },
  // A caller waits for a link that the peer does not attach, or for a drain that it does not answer.
  receiveWaits(where, { draining }) {
    const state = draining
      ? `drain ${where} yet: the peer has not answered.`
      : `receive messages of ${where} yet: they wait for the peer to accept the link.`;
    return { level: "warning", code: "receive-waits", message: `Cannot ${state} A signal bounds the wait` };
  },
  // Messages wait to be sent or for their outcome, or a caller for the link, and nothing has moved for a while.
  sendWaits(where, { queued = 0, unsettled, attached }) {
    const state = queued > 0
      ? `send ${queued} messages to ${where} yet: they ${
        attached ? "wait for credit; is the queue full, does anybody receive?" : "wait for the peer to accept the link."
      }`
      : unsettled
      ? `tell the outcome of ${unsettled} messages to ${where} yet: they have left, and the peer settles none; ` +
        "does it wait for somebody who accepts them?"
      : `send to ${where} yet: the peer has not accepted the link.`;
    return { level: "warning", code: "send-waits", message: `Cannot ${state} A signal bounds the wait` };
  },
};

/** Writes to the log of the connection of `link`. */
export function writeLinkLog(
  link: { connection: Parameters<typeof writeLog>[0] & { host: string | undefined }; where: string; address?: string },
  kind: LinkLogKind,
  facts: Facts,
): void {
  const { connection, where, address } = link;
  writeLog(connection, { ...texts[kind](where, facts), address, host: connection.host });
}

/** The entry for a lost connection that is dialled again in `delayMs`. */
export function reconnecting(host: string, delayMs: number, error: Error): LogEntry {
  // A callback of the program may have thrown anything.
  const cause = error instanceof Error ? error.message : String(error);
  return {
    level: "warning",
    code: "reconnecting",
    message: `Cannot keep connection to ${host}: ${cause}; the next attempt is in ${
      Math.ceil(delayMs)
    } ms, events() tells of each`,
    host,
    error,
  };
}

/** The entry for a session that ended over one of its links, and the `links` others that begin another. */
export function sessionLost(host: string | undefined, links: number, error: Error): LogEntry {
  return {
    level: "warning",
    code: "session-lost",
    message:
      `Cannot keep session with ${host}: ${error.message}; ${links} other links of it begin another, and messages ` +
      "without an outcome may come twice; give a link that may be refused a session of its own",
    host,
    error,
  };
}

/** Writes to the log what of the URL has no place in the protocol: over `amqp:` nothing carries a path or a query. */
export function warnOfUrl(connection: Parameters<typeof writeLog>[0], url: URL): void {
  const { protocol, host, pathname, search } = url;
  if (!protocol.startsWith("amqp") || pathname.length < 2 && search === "") return;
  const message = `Cannot tell ${host} the ${search === "" ? "path" : "query"} of the URL: ${protocol} carries none; ` +
    'a virtual host is option "hostname", all settings are options';
  writeLog(connection, { level: "warning", code: "url-ignored", message, host });
}

export function traceFailed(error: unknown): LogEntry {
  return { level: "error", code: "callback-failed", message: 'Cannot trace: option "trace" threw; mend it', error };
}

/** Writes `entry` to the log of a connection. */
export function writeLog(connection: { logging: LogHolder; environment: Environment }, entry: LogEntry): void {
  logOf(connection.logging, connection.environment).write(entry);
}
