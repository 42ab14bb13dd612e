/**
 * Keeps a client's connection alive: dials, dials again when the connection is lost, and attaches a link again that the peer
 * ends for a passing reason.
 *
 * @module
 */

import { listenOnline, randomFraction } from "../base/environment.ts";
import { Deferred, ignore, part, within } from "../base/wait.ts";
import type { DialTarget, Redirects } from "../recovery/redirects.ts";
import { isPassing, isRefusedLogin, mayReturn, Retry, type RetryOptions } from "../recovery/retry.ts";
import { asksAgain, attempt, CallbackFailure, failureAt } from "./attempt.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionHooks } from "./connection_base.ts";
import { located } from "./lifetime.ts";
import type { Link } from "./link.ts";

/** How a lost connection is dialled again, and a lost link attached again. */
export interface ReconnectOptions extends RetryOptions {
  /** True tries the servers of a list in random order. Default: false, in the order of the list. */
  shuffle?: boolean | undefined;
  /**
   * True retries the first connection too, and a link that is refused for a passing reason at its first attach; otherwise
   * each server, and each link, is tried once. Default: false.
   */
  initial?: boolean | undefined;
  /** Messages that may wait while the connection is interrupted; sending more fails. Default: 10,000. */
  maxPending?: number | undefined;
  /** Bytes of these messages. Default: 16,777,216. */
  maxPendingBytes?: number | undefined;
}

/** The default of {@linkcode ReconnectOptions.maxPending}. */
export const MAX_PENDING = 10_000;
/** The default of {@linkcode ReconnectOptions.maxPendingBytes}. */
export const MAX_PENDING_BYTES = 16_777_216;

/** Dials one connection, again and again. */
export class Reconnector {
  readonly hooks: ConnectionHooks;
  readonly #urls: readonly URL[];
  readonly #options: Parameters<typeof attempt>[1];
  readonly #policy: ReconnectOptions | undefined;
  readonly #retry: Retry;
  readonly #stopped = new AbortController();
  readonly #links = new WeakMap<Link, Retry>();
  readonly #timers = new Set<unknown>();
  #connection!: Connection;
  // For the present attempt: resolves when the peer has opened, rejects when the channel is lost before.
  #opening: Deferred<void> | undefined;
  #openedAt: number | undefined;
  // Ends the pause before the next attempt.
  #wake: (() => void) | undefined;
  #turn = 0;
  #askedAgain = false;
  // The last error of each host since a connection was open.
  readonly #failures = new Map<string, Error>();
  // Undefined where no redirects are followed.
  readonly #redirects: Redirects | undefined;
  // The target of the last redirect.
  #redirected: DialTarget | undefined;
  #url: URL;

  /** Prepares to dial `urls` in turn; without a policy each is tried once, and a later loss is final. */
  constructor(
    urls: readonly URL[],
    options: Parameters<typeof attempt>[1],
    policy: ReconnectOptions | undefined,
    redirects: Redirects | undefined,
  ) {
    this.#urls = urls;
    this.#url = urls[0]!;
    this.#options = options;
    this.#policy = policy;
    this.#redirects = redirects;
    this.#retry = new Retry(policy ?? redirects ?? {}, urls.length);
    this.hooks = {
      onopen: () => this.#onopen(),
      onlost: (_, error) => this.#onlost(error),
      reattaches: policy !== undefined,
      onlinklost: (_, link, error) => this.#onlinklost(link, error),
      onclosed: () => this.#stop(),
    };
  }

  /** Opens `connection` for the first time; on failure it ends with the error of the last attempt. */
  async open(connection: Connection): Promise<void> {
    this.#connection = connection;
    if (this.#policy?.initial) {
      this.#retry.lost(connection.environment.now(), undefined);
      await this.#reconnect(undefined);
      return;
    }
    for (const url of this.#urls) {
      let error = await this.#try({ url });
      // A token may have expired before it was used.
      if (error !== undefined && this.#asksAgain(error)) error = await this.#try({ url });
      this.#turn++;
      if (connection.state === "closed") return;
      if (error === undefined) return;
      const failure = failureAt(url, plain(error), this.#failures);
      if (url === this.#urls.at(-1) || !this.#mayPass(error, true)) return connection.finish(failure);
    }
  }

  #onopen(): void {
    this.#openedAt = this.#connection.environment.now();
    this.#askedAgain = false;
    this.#failures.clear();
    this.#opening?.resolve();
    // Loaded while there is a network.
    logTexts().then(({ warnOfUrl }) => warnOfUrl(this.#connection, this.#url)).catch(ignore);
  }

  #onlost(error: Error): boolean {
    const opening = this.#opening;
    if (opening !== undefined && !opening.settled) {
      opening.reject(error);
      return true;
    }
    const heldSince = this.#openedAt;
    if (heldSince === undefined) return false;
    this.#retry.lost(this.#connection.environment.now(), heldSince);
    // A connection that lasted ends the row of redirects.
    if (this.#retry.attempts === 0) this.#redirects?.lasted();
    // The peer may have opened only to redirect.
    const sent = this.#follows(error);
    if (!sent && (this.#policy === undefined || !this.#mayPass(error, false))) return false;
    this.#openedAt = undefined;
    // After the connection has counted its losses.
    Promise.resolve().then(() => this.#reconnect(error)).catch(ignore);
    return true;
  }

  // The only loop: it ends when the peer has opened, or the connection has ended.
  async #reconnect(last: Error | undefined): Promise<void> {
    const connection = this.#connection;
    const { environment } = connection;
    for (;;) {
      const delayMs = this.#retry.next(environment.now(), randomFraction(environment), last);
      if (delayMs === undefined) return connection.finish(last);
      const to = this.#redirected ?? { url: this.#urls[this.#turn++ % this.#urls.length]! };
      const { url } = to;
      const { protocol, host, pathname } = url;
      const attempt = this.#retry.attempts;
      connection.emit({ kind: "reconnecting", attempt, delayMs, url: `${protocol}//${host}${pathname}` });
      if (last !== undefined) this.#logAttempt(delayMs, last);
      await this.#sleep(this.#redirected === undefined ? delayMs : 0);
      if (connection.state === "closed") return;
      const error = await this.#try(to);
      if (error === undefined || connection.state as string === "closed") return;
      last = failureAt(url, plain(error), this.#failures);
      if (!this.#mayPass(error, false)) return connection.finish(last);
    }
  }

  #logAttempt(delayMs: number, error: Error): void {
    const connection = this.#connection;
    const { host } = this.#url;
    logTexts().then(({ reconnecting, writeLog }) =>
      writeLog(connection, reconnecting(connection.host ?? host, delayMs, error))
    )
      .catch(ignore);
  }

  // Dials, follows redirects, and returns the error that prevented the open, if any.
  async #try(to: DialTarget): Promise<Error | undefined> {
    let error = await this.#dial(to);
    while (error !== undefined && this.#follows(error)) error = await this.#dial(this.#redirected!);
    return error;
  }

  // Whether the error is a redirect that is followed.
  #follows(error: Error): boolean {
    this.#redirected = undefined;
    try {
      this.#redirected = this.#redirects?.next(error, this.#url);
    } catch (thrown) {
      // A callback's error has no caller to reach.
      this.#connection.finish(thrown as Error);
    }
    return this.#redirected !== undefined;
  }

  async #dial({ url, hostname = this.#options.hostname }: DialTarget): Promise<Error | undefined> {
    this.#url = url;
    this.#redirected = undefined;
    const connection = this.#connection;
    const opening = this.#opening = new Deferred<void>();
    try {
      const { signal } = this.#stopped;
      const { channel, login } = await attempt(url, { ...this.#options, hostname }, signal);
      // The connection ended while the channel opened.
      if (connection.state === "closed") return void channel.close();
      connection.attach(channel, login);
      await opening.promise;
      return undefined;
    } catch (error) {
      return error as Error;
    } finally {
      this.#opening = undefined;
    }
  }

  // Whether another attempt may succeed.
  #mayPass(error: Error, first: boolean): boolean {
    // Errors of the program's callbacks count as passing, like those of the network that they ask, unless marked otherwise.
    if (error instanceof CallbackFailure) {
      return !first && (error.cause as { retryable?: unknown })?.retryable !== false;
    }
    if (isPassing(error)) return true;
    return this.#asksAgain(error);
  }

  // The token may have expired: a new one is worth one more attempt.
  #asksAgain(error: Error): boolean {
    if (this.#askedAgain || !isRefusedLogin(error) || !asksAgain(this.#options)) return false;
    return this.#askedAgain = true;
  }

  #onlinklost(link: Link, error: Error): boolean | Error {
    const { environment } = this.#connection;
    const address = this.#redirects?.addressOf(error, this.#connection.host!);
    if (address !== undefined) link.redirect(address);
    else if (this.#policy === undefined || !mayReturn(error) && !this.#mayRenew(link, error)) return false;
    // A link's first attach fails with the reason, so that the program may decide to try again.
    else if (!link.attachedBefore && !this.#policy.initial) {
      return located(error, "at its first attach; try again, or have reconnect: { initial: true } do so");
    }
    let retry = this.#links.get(link);
    if (retry === undefined) this.#links.set(link, retry = new Retry(this.#policy ?? this.#redirects ?? {}));
    retry.lost(environment.now(), link.attachedAt);
    const delayMs = retry.next(environment.now(), randomFraction(environment));
    if (delayMs === undefined) return false;
    const timer = environment.setTimer(() => {
      this.#timers.delete(timer);
      this.#connection.attachAgain(link);
    }, delayMs);
    this.#timers.add(timer);
    return true;
  }

  // Whether a fresh token may bring back a link that was attached before.
  #mayRenew(link: Link, error: Error): boolean {
    return link.attachedBefore && (this.#connection.claims?.mayReturn(link, error) ?? false);
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    const woken = new Deferred<void>();
    const wake = (): void => woken.resolve();
    this.#wake = wake;
    // Ends the pause when the network is back.
    const leave = listenOnline(wake);
    await within(woken.promise, ms, this.#connection.environment);
    leave();
  }

  #stop(): void {
    this.#stopped.abort();
    this.#wake?.();
    this.#opening?.reject(new Error("closed"));
    for (const timer of this.#timers) this.#connection.environment.clearTimer(timer);
    this.#timers.clear();
  }
}

function plain(error: Error): Error {
  return error instanceof CallbackFailure ? error.cause as Error : error;
}

function logTexts(): Promise<typeof import("./log_texts.ts")> {
  return part("logTexts", () => import("./log_texts.ts"));
}
