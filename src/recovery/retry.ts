/**
 * Whether and when to try again. Pure functions of the time and a random number.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, TransportError } from "../base/errors.ts";

/** How often and how far apart attempts are repeated. */
export interface RetryOptions {
  /** Upper bound of the first delay, in milliseconds; it doubles with each attempt. Default: 250. */
  initialDelayMs?: number | undefined;
  /**
   * Upper bound of every delay, in milliseconds; the `Retry-After` of the only server of a service, up to 5 minutes, is added.
   * Default: 30,000.
   */
  maxDelayMs?: number | undefined;
  /** Attempts in a row before the last error is final. Default: no limit. */
  maxAttempts?: number | undefined;
  /** Milliseconds after which the last error is final. Default: no limit. */
  timeoutMs?: number | undefined;
}

/** The default of {@linkcode RetryOptions.initialDelayMs}. */
export const INITIAL_DELAY_MS = 250;
/** The default of {@linkcode RetryOptions.maxDelayMs}. */
export const MAX_DELAY_MS = 30_000;

/** The most milliseconds that the `Retry-After` of a server adds to a delay. */
export const MAX_RETRY_AFTER_MS = 300_000;

// Without a bound the factor becomes Infinity, and NaN when the first delay is 0.
const MAX_DOUBLINGS = 64;

/** A row of attempts. */
export class Retry {
  readonly #options: RetryOptions;
  // Attempts that share one delay: each server of a list is tried before the delay grows.
  readonly #width: number;
  #attempts = 0;
  #since: number | undefined;

  /** Starts without an attempt; `width` is the number of servers tried in turn. */
  constructor(options: RetryOptions, width = 1) {
    this.#options = options;
    this.#width = width;
  }

  /** Attempts since the last lasting success. */
  get attempts(): number {
    return this.#attempts;
  }

  /**
   * Records a loss at `now`, after success since `heldSince`. A success shorter than the bound of the next delay counts as
   * another failure, so that a server that drops every connection at once is not called without a pause.
   */
  lost(now: number, heldSince: number | undefined): void {
    if (heldSince !== undefined && now - heldSince >= this.#bound) this.#attempts = 0;
    if (heldSince !== undefined || this.#attempts === 0) this.#since = now;
  }

  /**
   * Counts an attempt, and returns the milliseconds until it; undefined at the limit. `chance` is from 0 to 1. A server that
   * asked for time in `error`, and has no other beside it, gets that time as well.
   */
  next(now: number, chance: number, error?: unknown): number | undefined {
    const { maxAttempts = Infinity, timeoutMs = Infinity } = this.#options;
    this.#since ??= now;
    const left = this.#since + timeoutMs - now;
    if (this.#attempts >= maxAttempts || left <= 0) return undefined;
    const { retryAfterMs = 0 } = Object(error) as { retryAfterMs?: number };
    const asked = this.#width === 1 ? Math.min(retryAfterMs, MAX_RETRY_AFTER_MS) : 0;
    const delay = asked + chance * this.#bound;
    this.#attempts++;
    return Math.min(delay, left);
  }

  // Full jitter: any delay up to the bound, so that peers lost together do not return together.
  get #bound(): number {
    const { initialDelayMs = INITIAL_DELAY_MS, maxDelayMs = MAX_DELAY_MS } = this.#options;
    return Math.min(
      maxDelayMs,
      initialDelayMs * 2 ** Math.min(MAX_DOUBLINGS, Math.floor(this.#attempts / this.#width)),
    );
  }
}

/** Whether waiting may help, by the error's `retryable`; an error without it, such as a caller mistake, does not pass. */
export function isPassing(error: unknown): boolean {
  return (error as { retryable?: unknown } | undefined)?.retryable === true;
}

/** Whether the credentials were refused, so that new ones may help. */
export function isRefusedLogin(error: unknown): boolean {
  if (error instanceof TransportError) return error.status === 401 || error.status === 403;
  return error instanceof AmqpError && error.condition === condition.unauthorizedAccess;
}

/**
 * Whether a link that the peer ended with `error` may be attached again: a deleted node may be created again, and a message that
 * was on its way to it when it was deleted makes RabbitMQ 4 end the session, as it has no such link any more.
 */
export function mayReturn(error: unknown): boolean {
  if (isPassing(error)) return true;
  const symbol = error instanceof AmqpError ? error.condition : undefined;
  return symbol === condition.resourceDeleted || symbol === condition.unattachedHandle;
}
