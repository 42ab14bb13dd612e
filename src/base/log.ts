/**
 * What a program should know of although no call of its own fails for it.
 *
 * @module
 */

/** What a {@linkcode LogEntry} is about: stable, unlike its text. */
export type LogCode =
  /** A handler of `serve` or `respond` failed, and no `onerror` was given. */
  | "handler-failed"
  /** A callback of the program that must not throw has thrown. */
  | "callback-failed"
  /** A handler waits for the end of what waits for the handler. */
  | "close-in-handler"
  /** A send has waited for credit for a while. */
  | "send-waits"
  /** A receiver waits for messages, but has granted no credit. */
  | "no-credit"
  /** A peer does not settle what it has agreed to settle. */
  | "not-settled"
  /** A link for streams has no session of its own, as the peer takes no more. */
  | "shares-session"
  /** A request has waited for its answer for a while. */
  | "request-unanswered"
  /** A producer of the broker waits, because a queue or the broker is full. */
  | "producer-held"
  /** Somebody was refused or dropped by a limit or a rule. */
  | "refused"
  /** A message of the broker cannot be encoded for a consumer. */
  | "not-delivered"
  /** A link could not take up what was not settled, or a message of an earlier process was not accepted. */
  | "not-resumed"
  /** A store of deliveries that are not settled has failed. */
  | "store-failed"
  /** Bytes that pass a gateway are not AMQP, so its trace tells no more of them. */
  | "not-traced"
  /** A connection was lost and is made anew. */
  | "reconnecting";

/** One thing that a program should know of. */
export interface LogEntry {
  /** `"error"`: work is lost or undone; `"warning"`: something waits, or is not as one would expect. */
  readonly level: "warning" | "error";
  /** What it is about; stable, unlike the text. */
  readonly code: LogCode;
  /** What happened, where, and what to do, in one line. */
  readonly message: string;
  /** The address of the node that it is about, where there is one. */
  readonly address?: string | undefined;
  /** Whom the connection is with: the host and port, or the peer's container. */
  readonly host?: string | undefined;
  /** What was thrown, where something was. */
  readonly error?: unknown;
  /** How often the same happened since it was last told, without having been told. */
  readonly repeated?: number | undefined;
}

/**
 * Where entries go: a function that is called with each, or null for nowhere. Left out, warnings and errors are printed to
 * the console.
 */
export type LogOption = ((entry: LogEntry) => void) | null;

/** Where the log of something is kept: it is made when there is something to tell, and loaded with this file. */
export interface LogHolder {
  /** Where entries go. */
  readonly option: LogOption | undefined;
  /** The log, once it was needed. */
  log?: Log | undefined;
}

/** The log that `holder` keeps; `clock` gives the time in milliseconds. */
export function logOf(holder: LogHolder, clock: { now(): number }): Log {
  return holder.log ??= new Log(holder.option, clock);
}

/** How long the same cause at the same address is not told again, in milliseconds. */
export const LOG_INTERVAL_MS = 60_000;
/** How many different causes are told in that time: what a peer can make up must not flood a log, or memory. */
export const MAX_LOG_CAUSES = 100;

/** Tells entries to one `log` option, each cause once a minute. */
export class Log {
  readonly #option: LogOption;
  readonly #clock: { now(): number };
  // Of each cause that was told, when, and how often it was kept back since.
  readonly #told: Map<string, { at: number; kept: number }> = new Map();

  /** Tells to `option`; `clock` gives the time in milliseconds. */
  constructor(option: LogOption | undefined, clock: { now(): number }) {
    this.#option = option === undefined ? print : option;
    this.#clock = clock;
  }

  /** Tells `entry`, unless the same was told less than a minute ago; `cause` tells apart what happens at one place. */
  tell(entry: LogEntry, cause: string = ""): void {
    if (this.#option === null) return;
    const { code, address = "", host = "", error } = entry;
    const key = `${code}\n${address}\n${host}\n${error instanceof Error ? error.message : cause}`;
    const now = this.#clock.now();
    const last = this.#told.get(key);
    if (last !== undefined && now - last.at < LOG_INTERVAL_MS) return void last.kept++;
    if (last === undefined && this.#told.size >= MAX_LOG_CAUSES) {
      for (const [key, { at }] of this.#told) if (now - at >= LOG_INTERVAL_MS) this.#told.delete(key);
      if (this.#told.size >= MAX_LOG_CAUSES) return;
    }
    this.#told.set(key, { at: now, kept: 0 });
    // What tells of faults must not be one itself.
    const failed = (error: unknown): void =>
      print({ level: "error", code: "callback-failed", message: 'Cannot log: option "log" threw', error });
    try {
      const told: unknown = this.#option(
        last === undefined || last.kept === 0 ? entry : { ...entry, repeated: last.kept },
      );
      if (told instanceof Promise) told.catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

// The one place that writes to the console without being asked to, as runtimes do for a handler that throws.
function print({ level, message, error, repeated }: LogEntry): void {
  const text = `webamqp: ${message}${repeated === undefined ? "" : ` (and ${repeated} times before)`}`;
  console[level === "error" ? "error" : "warn"](
    ...(error === undefined || level === "warning" ? [text] : [text, error]),
  );
}
