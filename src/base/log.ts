/**
 * The log: events that a program should know of although no call of its own fails for them.
 *
 * @module
 */

import { isPromise } from "./kinds.ts";

/** The kind of a {@linkcode LogEntry}: stable, unlike its message. */
export type LogCode =
  /** A handler of `serve` or `respond` failed, and no `onerror` was given. */
  | "handler-failed"
  /** A callback of the program threw where it must not. */
  | "callback-failed"
  /** A handler waits for a close that waits for the handler. */
  | "close-in-handler"
  /** A send has waited for a while: for the link, for credit or for its outcome. */
  | "send-waits"
  /** A receiver waits, and the peer has not attached its link, or answers no drain. */
  | "receive-waits"
  /** A receiver waits for messages, but has granted no credit. */
  | "no-credit"
  /** A peer does not settle deliveries as agreed. */
  | "not-settled"
  /** A link for streams has no session of its own, as the peer takes no more sessions. */
  | "shares-session"
  /** A peer gives each receiver of a shared subscription all messages. */
  | "not-shared"
  /** A durable subscription cannot be found again, as the connection's `containerId` is random. */
  | "not-durable"
  /** A receiver holds messages that nobody asks it for. */
  | "unread"
  /** A request has waited for its answer for a while. */
  | "request-unanswered"
  /** A producer of the broker waits, because a queue or the broker is full. */
  | "producer-held"
  /** A client was refused or dropped by a limit or a rule. */
  | "refused"
  /** A message of the broker cannot be encoded for a consumer. */
  | "not-delivered"
  /** A link could not resume an unsettled delivery, or a message of an earlier process was not accepted. */
  | "not-resumed"
  /** A store of unsettled deliveries has failed. */
  | "store-failed"
  /** Bytes that pass a gateway are not AMQP, so its trace ends. */
  | "not-traced"
  /** A part of the URL has no place in the protocol, such as the path of an `amqp:` URL. */
  | "url-ignored"
  /** The peer ended a session over one link or message, and its other links are attached again. */
  | "session-lost"
  /** A connection was lost and is being reopened. */
  | "reconnecting";

/** One entry of the log. */
export interface LogEntry {
  /** `"error"`: work is lost or undone; `"warning"`: something waits or is unexpected. */
  readonly level: "warning" | "error";
  /** The kind of the event; stable, unlike the message. */
  readonly code: LogCode;
  /** One line that says what happened, where, and what to do. */
  readonly message: string;
  /** The address of the node concerned, where there is one. */
  readonly address?: string | undefined;
  /** The peer of the connection: its host and port, or its container. */
  readonly host?: string | undefined;
  /** The error that was thrown, where there was one. */
  readonly error?: unknown;
  /** Entries of the same kind that were suppressed since the last one. */
  readonly repeated?: number | undefined;
}

/** The receiver of all entries: a function, or null for none. Default: warnings and errors are printed to the console. */
export type LogOption = ((entry: LogEntry) => void) | null;

/** The owner of a log, which is created with the first entry, when this file is loaded. */
export interface LogHolder {
  readonly option: LogOption | undefined;
  log?: Log | undefined;
}

/** The log of `holder`, created at need; `clock` gives the time in milliseconds. */
export function logOf(holder: LogHolder, clock: { now(): number }): Log {
  return holder.log ??= new Log(holder.option, clock);
}

/** Milliseconds in which the same cause at the same address is logged once. */
export const LOG_INTERVAL_MS = 60_000;
/** Causes logged in that time, at most: a peer that invents causes must flood neither the log nor memory. */
export const MAX_LOG_CAUSES = 100;

/** Passes entries to one `log` option, each cause once a minute. */
export class Log {
  readonly #option: LogOption;
  readonly #clock: { now(): number };
  // By cause: the time of its last entry, and the entries suppressed since.
  readonly #logged: Map<string, { at: number; kept: number }> = new Map();

  constructor(option: LogOption | undefined, clock: { now(): number }) {
    this.#option = option === undefined ? print : option;
    this.#clock = clock;
  }

  /** Logs `entry`, unless the same was logged less than a minute ago; `cause` distinguishes entries without an error. */
  write(entry: LogEntry, cause: string = ""): void {
    if (this.#option === null) return;
    const { code, address = "", host = "", error } = entry;
    const key = `${code}\n${address}\n${host}\n${error instanceof Error ? error.message : cause}`;
    const now = this.#clock.now();
    const last = this.#logged.get(key);
    if (last !== undefined && now - last.at < LOG_INTERVAL_MS) return void last.kept++;
    if (last === undefined && this.#logged.size >= MAX_LOG_CAUSES) {
      for (const [key, { at }] of this.#logged) if (now - at >= LOG_INTERVAL_MS) this.#logged.delete(key);
      if (this.#logged.size >= MAX_LOG_CAUSES) return;
    }
    this.#logged.set(key, { at: now, kept: 0 });
    // A `log` option that throws must not fail the caller.
    const failed = (error: unknown): void =>
      print({ level: "error", code: "callback-failed", message: 'Cannot log: option "log" threw', error });
    try {
      const returned: unknown = this.#option(
        last === undefined || last.kept === 0 ? entry : { ...entry, repeated: last.kept },
      );
      if (isPromise(returned)) returned.then(undefined, failed);
    } catch (error) {
      failed(error);
    }
  }
}

// The only unsolicited output to the console, as runtimes print the error of a handler that throws.
function print({ level, message, error, repeated }: LogEntry): void {
  const text = `webamqp: ${message}${repeated === undefined ? "" : ` (and ${repeated} times before)`}`;
  console[level === "error" ? "error" : "warn"](
    ...(error === undefined || level === "warning" ? [text] : [text, error]),
  );
}
