/**
 * The two kinds of failure that this module reports: errors of the AMQP protocol, and errors of the transport below it.
 *
 * A wrong call throws a plain `TypeError` or `RangeError`.
 *
 * @module
 */

import * as condition from "./condition.ts";

export { condition };

/** The scope of an {@linkcode AmqpError}: the connection, session, link or delivery that it ended. */
export type ErrorScope = "connection" | "session" | "link" | "delivery";

/** Options of the constructor of {@linkcode AmqpError}. */
export interface AmqpErrorOptions {
  /** The scope that the error ended. Default: `"connection"`. */
  scope?: ErrorScope | undefined;
  /** True when the peer sent the error, false when this side found it. Default: false. */
  remote?: boolean | undefined;
  /** The error's `info` map as the peer sent it. */
  info?: Readonly<Record<string, unknown>> | undefined;
  /** Whether the same call may succeed later without a change. Default: derived from the condition. */
  retryable?: boolean | undefined;
  /** The underlying error. */
  cause?: unknown | undefined;
}

/**
 * An error of the AMQP protocol: its condition, its scope, and the side that reported it.
 *
 * @example
 * ```ts
 * import { AmqpError, condition } from "@webamqp/amqp";
 *
 * const error = new AmqpError(condition.notFound, "Cannot attach: no queue named \"orders\"", { scope: "link" });
 * console.assert(error.condition === "amqp:not-found" && !error.retryable);
 * ```
 */
export class AmqpError extends Error {
  /** Always `"AmqpError"`, or the name of the subclass. */
  override name = "AmqpError";
  /** The symbol of the error: one of {@linkcode condition}, or another that the peer chose. */
  readonly condition: string;
  /** The scope that the error ended. */
  readonly scope: ErrorScope;
  /** True when the peer sent the error, false when this side found it. */
  readonly remote: boolean;
  /** The error's `info` map as the peer sent it. */
  readonly info: Readonly<Record<string, unknown>> | undefined;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;

  /** Builds an error from its condition and a message of the form "Cannot do this: state". */
  constructor(condition: string, message: string, options: AmqpErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.condition = condition;
    this.scope = options.scope ?? "connection";
    this.remote = options.remote ?? false;
    this.info = options.info;
    this.retryable = options.retryable ?? isRetryable(condition);
  }
}

/** Options of the constructor of {@linkcode OutcomeError}. */
export interface OutcomeErrorOptions extends AmqpErrorOptions {
  /** Whether a message with the outcome `"modified"` counts as a failed attempt. Default: false. */
  deliveryFailed?: boolean | undefined;
  /** Whether a message with the outcome `"modified"` must not be sent to this receiver again. Default: false. */
  undeliverableHere?: boolean | undefined;
  /** Annotations that the receiver asks to merge into a message with the outcome `"modified"`. */
  messageAnnotations?: Readonly<Record<string, unknown>> | undefined;
}

/** The outcome of a message that was not accepted; `"lost"` when the link ended before an outcome was known. */
export type FailedOutcome = "rejected" | "released" | "modified" | "lost";

/**
 * The error of a send that was not accepted.
 *
 * `condition` is the peer's error where a rejection carries one, otherwise the symbol of the outcome, such as
 * `amqp:released:list`. `retryable` is false for a rejection and for `undeliverableHere`, that of the cause for a lost message,
 * and true otherwise; sending a lost message again may deliver it twice.
 *
 * @example
 * ```ts
 * import { OutcomeError } from "@webamqp/amqp";
 *
 * const error = new OutcomeError("released", "amqp:released:list", "Cannot send: message was released", { retryable: true });
 * console.assert(error.outcome === "released" && error.scope === "delivery");
 * ```
 */
export class OutcomeError extends AmqpError {
  /** Always `"OutcomeError"`. */
  override name = "OutcomeError";
  /** The outcome of the message. */
  readonly outcome: FailedOutcome;
  /** Whether a message with the outcome `"modified"` counts as a failed attempt. */
  readonly deliveryFailed: boolean;
  /** Whether a message with the outcome `"modified"` must not be sent to this receiver again. */
  readonly undeliverableHere: boolean;
  /** Annotations that the receiver asks to merge into a message with the outcome `"modified"`. */
  readonly messageAnnotations: Readonly<Record<string, unknown>> | undefined;

  /** Builds an error from the outcome, its condition and a message of the form "Cannot do this: state". */
  constructor(outcome: FailedOutcome, condition: string, message: string, options: OutcomeErrorOptions = {}) {
    super(condition, message, { ...options, scope: "delivery" });
    this.outcome = outcome;
    this.deliveryFailed = options.deliveryFailed ?? false;
    this.undeliverableHere = options.undeliverableHere ?? false;
    this.messageAnnotations = options.messageAnnotations;
  }
}

/**
 * The error of a transaction that was not committed.
 *
 * `outcome` is `"rolled-back"` if nothing of the transaction took effect, `"in-doubt"` if the result is unknown: the connection
 * was lost during the commit, or the commit has no answer yet. It is `"committed"` for a call that came after the commit.
 *
 * @example
 * ```ts
 * import { condition, TransactionError } from "@webamqp/amqp";
 *
 * const error = new TransactionError("rolled-back", condition.transactionTimeout, "Cannot commit transaction: too late");
 * console.assert(error.outcome === "rolled-back" && error instanceof Error);
 * ```
 */
export class TransactionError extends AmqpError {
  /** Always `"TransactionError"`. */
  override name = "TransactionError";
  /** The outcome of the transaction. */
  readonly outcome: "rolled-back" | "in-doubt" | "committed";

  /** Builds an error from the outcome, its condition and a message of the form "Cannot do this: state". */
  constructor(
    outcome: "rolled-back" | "in-doubt" | "committed",
    condition: string,
    message: string,
    options: AmqpErrorOptions = {},
  ) {
    super(condition, message, { scope: "link", ...options });
    this.outcome = outcome;
  }
}

/** Why a transport could not be opened or broke; a stable string to branch on. */
export type TransportErrorCode =
  | "connect-failed"
  | "handshake-failed"
  | "subprotocol-mismatch"
  | "connection-lost"
  | "timeout"
  | "protocol-violation"
  | "not-supported"
  | "proxy-failed"
  | "proxy-authentication-failed";

/** Options of the constructor of {@linkcode TransportError}. */
export interface TransportErrorOptions {
  /** The HTTP status of the failed handshake, where the runtime exposes it. */
  status?: number | undefined;
  /** The WebSocket close code, where there was one. */
  closeCode?: number | undefined;
  /** Response headers of the failed handshake, where the runtime exposes them. */
  headers?: ReadonlyArray<readonly [string, string]> | undefined;
  /** The start of the failed handshake's response body, where it was read. */
  body?: Uint8Array | undefined;
  /** Whether the same call may succeed later without a change. Default: derived from the code and the status. */
  retryable?: boolean | undefined;
  /** The underlying error. */
  cause?: unknown | undefined;
}

/**
 * An error below AMQP: the socket, the WebSocket handshake, the proxy.
 *
 * @example
 * ```ts
 * import { TransportError } from "@webamqp/amqp";
 *
 * const error = new TransportError("handshake-failed", "Cannot open WebSocket: status is 401", { status: 401 });
 * console.assert(error.code === "handshake-failed" && error.status === 401);
 * ```
 */
export class TransportError extends Error {
  /** Always `"TransportError"`. */
  override name = "TransportError";
  /** The kind of failure; stable, unlike the message. */
  readonly code: TransportErrorCode;
  /** The HTTP status of the failed handshake, where the runtime exposes it. */
  readonly status: number | undefined;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
  /** The WebSocket close code, where there was one. */
  readonly closeCode: number | undefined;
  // Private, so that a printed error does not show what a server repeats of a request, such as a token in a redirect's URL.
  readonly #headers: ReadonlyArray<readonly [string, string]> | undefined;
  readonly #body: Uint8Array | undefined;

  /** Builds an error from its code and a message of the form "Cannot do this: state". */
  constructor(code: TransportErrorCode, message: string, options: TransportErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? mayPass(code, options.status);
    this.status = options.status;
    this.closeCode = options.closeCode;
    this.#headers = options.headers;
    this.#body = options.body;
  }

  /** Response headers of the failed handshake, where the runtime exposes them. */
  get headers(): ReadonlyArray<readonly [string, string]> | undefined {
    return this.#headers;
  }

  /** The start of the failed handshake's response body, at most 8,192 bytes, where it was read; untrusted. */
  get body(): Uint8Array | undefined {
    return this.#body;
  }

  /** Milliseconds that the server asks to wait before another attempt, by `Retry-After` in seconds or as a date. */
  get retryAfterMs(): number | undefined {
    const after = this.#header("retry-after");
    const seconds = Number(after);
    // A date counts from that of the response, which the same clock has given [rfc9110 10.2.3].
    const ms = Number.isNaN(seconds) ? Date.parse(after) - Date.parse(this.#header("date")) : seconds * 1_000;
    return ms >= 0 ? ms : undefined;
  }

  #header(wanted: string): string {
    return this.headers?.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? "none";
  }
}

// Network trouble passes, a refusal stands; a status passes where HTTP says so [rfc9110 15.5.9, 15.6, rfc6585 4].
function mayPass(code: TransportErrorCode, status: number | undefined): boolean {
  switch (code) {
    case "handshake-failed":
    case "proxy-failed":
      return status === undefined || status === 408 || status === 429 ||
        status >= 500 && status !== 501 && status !== 505;
    case "subprotocol-mismatch":
    case "not-supported":
    case "proxy-authentication-failed":
      return false;
    default:
      return true;
  }
}

// Conditions that describe the peer's passing state rather than the request [transport 2.8.15–2.8.18].
function isRetryable(symbol: string): boolean {
  switch (symbol) {
    case condition.internalError:
    case condition.resourceLimitExceeded:
    case condition.resourceLocked:
    case condition.connectionForced:
    case condition.detachForced:
    case condition.transactionTimeout:
    // Conditions of Azure's services that their own clients try again.
    case "com.microsoft:server-busy":
    case "com.microsoft:timeout":
    case "com.microsoft:operation-cancelled":
      return true;
    default:
      return false;
  }
}
