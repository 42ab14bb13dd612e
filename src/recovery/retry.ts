/**
 * Whether to try again, when, and where, if the peer says where. Nothing in here waits: it is told the time and a random number, and answers.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, TransportError } from "../base/errors.ts";

/** How often, how long and how far apart what was lost is tried again. */
export interface RetryOptions {
  /** Upper bound of the first delay, in milliseconds; it doubles with each attempt. Default: 250. */
  initialDelayMs?: number | undefined;
  /** Upper bound of every delay, in milliseconds. Default: 30,000. */
  maxDelayMs?: number | undefined;
  /** Attempts in a row before it is given up. Default: no end. */
  maxAttempts?: number | undefined;
  /** Milliseconds after which it is given up. Default: no end. */
  timeoutMs?: number | undefined;
}

/** Upper bound of the first delay by default, in milliseconds. */
export const INITIAL_DELAY_MS = 250;
/** Upper bound of every delay by default, in milliseconds. */
export const MAX_DELAY_MS = 30_000;

/** The attempts at one thing. */
export class Retry {
  readonly #options: RetryOptions;
  // Attempts that share one delay: each server of a list is tried before the delay grows.
  readonly #width: number;
  #attempts = 0;
  #since: number | undefined;

  /** Starts without an attempt; `width` is the number of servers that are tried in turn. */
  constructor(options: RetryOptions, width = 1) {
    this.#options = options;
    this.#width = width;
  }

  /** Attempts since it last held. */
  get attempts(): number {
    return this.#attempts;
  }

  /**
   * Notes that it was lost at `now`, after it had held since `heldSince`. What held for a shorter time than the next delay
   * may last counts as one more failure, so that a server that takes everybody and drops them at once is not called without
   * a pause.
   */
  lost(now: number, heldSince: number | undefined): void {
    if (heldSince !== undefined && now - heldSince >= this.#bound) this.#attempts = 0;
    if (heldSince !== undefined || this.#attempts === 0) this.#since = now;
  }

  /** Milliseconds until the next attempt, which counts from now on; undefined to give up. `chance` is from 0 to 1. */
  next(now: number, chance: number): number | undefined {
    const { maxAttempts = Infinity, timeoutMs = Infinity } = this.#options;
    this.#since ??= now;
    const left = this.#since + timeoutMs - now;
    if (this.#attempts >= maxAttempts || left <= 0) return undefined;
    const delay = chance * this.#bound;
    this.#attempts++;
    return Math.min(delay, left);
  }

  // Full jitter: any delay up to the bound, so that those that were lost together do not come back together.
  get #bound(): number {
    const { initialDelayMs = INITIAL_DELAY_MS, maxDelayMs = MAX_DELAY_MS } = this.#options;
    return Math.min(maxDelayMs, initialDelayMs * 2 ** Math.floor(this.#attempts / this.#width));
  }
}

/**
 * Checks the numbers among `options`.
 *
 * @throws {RangeError} If one is negative or no number.
 */
export function checkRetry(options: RetryOptions): void {
  for (const name of ["initialDelayMs", "maxDelayMs", "maxAttempts", "timeoutMs"] as const) {
    const value = options[name];
    if (value !== undefined && !(value >= 0)) throw new RangeError(`Cannot reconnect: option "${name}" is ${value}`);
  }
}

/** Whether waiting may help: the error says so itself. One that does not know, such as a mistake in a call, will not pass. */
export function isPassing(error: unknown): boolean {
  return (error as { retryable?: unknown } | undefined)?.retryable === true;
}

/** Whether the credentials were refused, so that asking for them again may help. */
export function isRefusedLogin(error: unknown): boolean {
  if (error instanceof TransportError) return error.status === 401 || error.status === 403;
  return error instanceof AmqpError && error.condition === condition.unauthorizedAccess;
}

/** Whether a link that the peer ended with `error` may be attached again; a node that was deleted may be made again. */
export function mayReturn(error: unknown): boolean {
  return isPassing(error) || error instanceof AmqpError && error.condition === condition.resourceDeleted;
}

/** Where a peer sends a connection to. */
export interface RedirectTarget {
  /** Where to, without user info and query. */
  readonly url: string;
  /** True when that is the host, though maybe another port, that was connected to. */
  readonly sameHost: boolean;
}

/**
 * Which redirects are followed: none, those to the same host, or those for which a function returns true; then the credentials
 * go to the other host, too. Never from TLS to none.
 */
export type RedirectOption = "same-host" | ((target: RedirectTarget) => boolean) | undefined;

/** Redirects in a row that are followed. */
export const MAX_REDIRECTS = 5;

/** Where `error` sends a connection to `from`, if it does and may. */
export function redirectOf(error: unknown, from: URL, option: RedirectOption): URL | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.connectionRedirect) {
    return undefined;
  }
  const { "network-host": host, port, scheme, path } = error.info ?? {};
  if (typeof host !== "string" || host === "") return undefined;
  let target: URL;
  try {
    target = new URL(from);
    // URL ignores a change between schemes that it knows and others, so the text is put together.
    const protocol = typeof scheme === "string" ? `${scheme}:` : from.protocol;
    const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    const at = port === undefined ? "" : `:${Number(port)}`;
    target = new URL(
      `${protocol}//${name}${at}${typeof path === "string" ? `/${path.replace(/^\/+/, "")}` : from.pathname}`,
    );
  } catch {
    return undefined;
  }
  const { protocol } = target;
  if (!["ws:", "wss:", "amqp:", "amqps:"].includes(protocol)) return undefined;
  if (["wss:", "amqps:"].includes(from.protocol) && !["wss:", "amqps:"].includes(protocol)) return undefined;
  const sameHost = target.hostname === from.hostname;
  if (option === "same-host" ? !sameHost : option({ url: target.href, sameHost }) !== true) return undefined;
  target.username = from.username;
  target.password = from.password;
  return target;
}

/** The address at this very peer that `error` sends a link to, if it does and may; `host` is what was connected to. */
export function linkRedirectOf(error: unknown, host: string, option: RedirectOption): string | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.linkRedirect) {
    return undefined;
  }
  const { "network-host": other = host, address } = error.info ?? {};
  return other === host && typeof address === "string" && address !== "" ? address : undefined;
}
