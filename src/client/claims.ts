/**
 * Claims-based security: tokens sent to a peer's `$cbs` node before links attach, and again before the tokens expire.
 *
 * Loaded only by connections with the option `claims`.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, randomFraction, randomName } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { isDate } from "../base/kinds.ts";
import { type LogHolder, logOf } from "../base/log.ts";
import { printable, quote } from "../base/text.ts";
import { abortable, abortWith, Deferred, ignore, throwIfAborted } from "../base/wait.ts";
import type { DecodedMessage, Message } from "../codec/message.ts";
import type { Open } from "../codec/types.ts";
import type { Receiver } from "./receiver.ts";
import type { Sender } from "./sender.ts";
import type { ReceiverOptions } from "./link_options.ts";

/** A token that proves the program's rights at one audience. */
export interface ClaimsToken {
  /** The token's text. */
  readonly token: string;
  /** The token's type, such as `"jwt"` or `"servicebus.windows.net:sastoken"`. */
  readonly type: string;
  /** When the token expires; a new one is put before. Default: never. */
  readonly expiresAt?: Date;
}

/** The source of a connection's tokens. */
export interface ClaimsOptions {
  /** Returns a token for an audience; called before its first link attaches, before a token expires, and after a reconnect. */
  token: (audience: string) => ClaimsToken | Promise<ClaimsToken>;
  /** The audience of an address; undefined where no token is needed. Default: the address. */
  audience?: (address: string) => string | undefined;
  /**
   * How tokens are put: `"put-token"` is Azure's request and response, `"set-token"` the message of the OASIS draft, whose
   * outcome is the answer; `"auto"` waits for the peer's open, and sets where it offers `AMQP_CBS_V1_0`. Default: `"auto"`.
   */
  variant?: "put-token" | "set-token" | "auto" | undefined;
  /**
   * Called when a token could not be renewed, which is tried again until the old token expires, or not be had for a link that is
   * attached again. Default: none.
   */
  onerror?: ((error: unknown, audience: string) => void) | undefined;
}

export interface ClaimsLink {
  readonly address: string | undefined;
  /** False once the link ends. */
  readonly open: boolean;
  /** The time of the peer's attach, if the link is attached. */
  readonly attachedAt: number | undefined;
  /** Whether the peer has ever attached it. */
  readonly attachedBefore: boolean;
}

/** The part of a connection that {@linkcode Claims} uses. */
export interface ClaimsConnection {
  readonly environment: Environment;
  readonly logging: LogHolder;
  /** The peer's open, once received. */
  readonly remote: Readonly<Open> | undefined;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  ready(): Promise<void>;
  sender(address: string): Sender;
  receiver(address: string, options: ReceiverOptions): Receiver;
}

/** The share of a token's life after which a new one is put, at the latest; up to 0.1 less at random. */
const RENEW_AT = 0.85;

/** The least milliseconds before a renewal, and the most before the first retry of a failed one. */
const MIN_RENEW_MS = 1_000;

/** The least milliseconds for which a link has held that the peer did not refuse for want of rights. */
const MIN_HELD_MS = 1_000;

/** The most milliseconds between retries of a failed renewal. */
const MAX_RETRY_MS = 30_000;

/** Milliseconds within which the peer must answer. */
export const ANSWER_MS = 30_000;

const NODE = "$cbs";

// The state of one audience.
interface Grant {
  readonly links: Set<ClaimsLink>;
  // The attachment on which the token was put.
  attachment: unknown;
  put: Promise<void>;
  timer: unknown;
  failures: number;
  // Counts the puts: the result of an older put is ignored.
  turn: number;
  // When the last token is to be renewed, by the connection's clock.
  due: number;
}

/** The tokens of one connection. */
export class Claims {
  readonly #connection: ClaimsConnection;
  readonly #options: ClaimsOptions;
  readonly #grants = new Map<string, Grant>();
  readonly #waiting = new Map<string, Deferred<DecodedMessage>>();
  // What the option "token" threw, unless it says that waiting does not help.
  readonly #passing = new WeakSet<object>();
  #sender: Sender | undefined;
  #receiver: Receiver | undefined;

  constructor(connection: ClaimsConnection, options: ClaimsOptions) {
    this.#connection = connection;
    this.#options = options;
    connection.closed.then(() => {
      for (const { timer } of this.#grants.values()) connection.environment.clearTimer(timer);
      this.#grants.clear();
    });
  }

  /**
   * The wait of a link before it attaches; undefined for none. `attachment` identifies the connection's present channel: on
   * another one the peer knows no tokens.
   */
  beforeAttach(link: ClaimsLink, attachment: unknown): Promise<void> | undefined {
    const { address } = link;
    if (address === undefined || address === NODE || address === this.#nodeName) return undefined;
    const audience = (this.#options.audience ?? same)(address);
    if (audience === undefined) return undefined;
    let grant = this.#grants.get(audience);
    if (grant === undefined) {
      grant = {
        links: new Set(),
        attachment: undefined,
        put: Promise.resolve(),
        timer: undefined,
        failures: 0,
        turn: 0,
        due: Infinity,
      };
      this.#grants.set(audience, grant);
    }
    for (const other of grant.links) if (!other.open) grant.links.delete(other);
    grant.links.add(link);
    if (grant.attachment !== attachment) {
      grant.attachment = attachment;
      const put = grant.put = this.#put(audience, grant);
      // A failure reaches the links that wait now; the next link puts a token again.
      put.catch((error) => {
        if (grant.put === put) grant.attachment = undefined;
        if (link.attachedBefore) this.#report(error, audience);
      });
    }
    return grant.put;
  }

  /**
   * Whether a link that was attached before and ended with `error` may be attached again with a fresh token: none could be
   * had, or its token has not been renewed in time. When it has expired the peer's clock tells, not ours, so that an earlier
   * end is worth a new token, too, unless it comes as soon as the link is attached.
   */
  mayReturn(link: ClaimsLink, error: Error): boolean {
    if (this.#passing.has(error)) return true;
    const { address = "" } = link;
    const grant = this.#grants.get((this.#options.audience ?? same)(address) ?? "");
    const isRefused = error instanceof AmqpError && error.condition === condition.unauthorizedAccess;
    if (!isRefused || grant === undefined) return false;
    const now = this.#connection.environment.now();
    const heldMs = now - (link.attachedAt ?? now);
    if (now < grant.due && heldMs < MIN_HELD_MS) return false;
    grant.attachment = undefined;
    return true;
  }

  async #ask(audience: string): Promise<ClaimsToken> {
    try {
      return await this.#options.token(audience);
    } catch (error) {
      if (error instanceof Error && (error as { retryable?: unknown }).retryable !== false) this.#passing.add(error);
      throw error;
    }
  }

  async #put(audience: string, grant: Grant): Promise<void> {
    const turn = ++grant.turn;
    this.#connection.environment.clearTimer(grant.timer);
    const given = await this.#ask(audience);
    checkToken(audience, given);
    const lifeMs = given.expiresAt === undefined ? Infinity : given.expiresAt.getTime() - Date.now();
    if (!(lifeMs > 0)) {
      throw new AmqpError(
        condition.unauthorizedAccess,
        `Cannot put token for ${quote(audience)}: it has expired already`,
        {
          scope: "link",
        },
      );
    }
    const { environment } = this.#connection;
    const isSet = await this.#variant() === "set-token";
    const late = new AbortController();
    const timer = environment.setTimer(
      () => abortWith(late, refusal(audience, condition.illegalState, `no answer in ${ANSWER_MS} ms`, true)),
      ANSWER_MS,
    );
    try {
      if (isSet) await this.#setToken(audience, given, late.signal);
      else await this.#putToken(audience, given, late.signal);
    } finally {
      environment.clearTimer(timer);
    }
    if (turn !== grant.turn) return;
    grant.failures = 0;
    grant.due = Infinity;
    if (lifeMs === Infinity) return;
    const share = RENEW_AT - 0.1 * randomFraction(this.#connection.environment);
    const delayMs = Math.max(MIN_RENEW_MS, lifeMs * share);
    grant.due = environment.now() + delayMs;
    this.#renewAfter(delayMs, audience, grant);
  }

  #renewAfter(ms: number, audience: string, grant: Grant): void {
    grant.timer = this.#connection.environment.setTimer(() => this.#renew(audience, grant), ms);
  }

  #renew(audience: string, grant: Grant): void {
    if (this.#grants.get(audience) !== grant) return;
    // No open link needs the token: the next one that does puts it again.
    if (![...grant.links].some(({ open }) => open)) return void this.#grants.delete(audience);
    const turn = grant.turn + 1;
    this.#put(audience, grant).catch((error) => {
      if (this.#grants.get(audience) !== grant || turn !== grant.turn) return;
      this.#report(error, audience);
      const most = Math.min(MAX_RETRY_MS, MIN_RENEW_MS * 2 ** grant.failures++);
      this.#renewAfter(most * (0.5 + 0.5 * randomFraction(this.#connection.environment)), audience, grant);
    });
  }

  #report(error: unknown, audience: string): void {
    const { logging, environment } = this.#connection;
    const call = async (): Promise<void> => await this.#options.onerror?.(error, audience);
    call().catch((error) => {
      const message = `Cannot call "onerror" of claims for ${quote(audience)}: it threw; mend it`;
      logOf(logging, environment).write({ level: "error", code: "callback-failed", message, error });
    });
  }

  async #variant(): Promise<"put-token" | "set-token"> {
    const { variant = "auto" } = this.#options;
    if (variant !== "auto") return variant;
    await this.#connection.ready();
    const offered = this.#connection.remote?.offeredCapabilities ?? [];
    return offered.includes("AMQP_CBS_V1_0") ? "set-token" : "put-token";
  }

  // [cbs CSD01]: the outcome of the message is the answer.
  async #setToken(audience: string, { token, type }: ClaimsToken, signal: AbortSignal): Promise<void> {
    const applicationProperties = { "token-type": type };
    try {
      await this.#node().send({ properties: { subject: "set-token" }, applicationProperties, body: token }, { signal });
    } catch (error) {
      throwIfAborted(signal);
      const cause = error as AmqpError;
      throw new AmqpError(cause.condition, `Cannot set token for ${quote(audience)}: ${cause.message}`, {
        scope: "link",
        remote: cause.remote,
        retryable: cause.retryable,
        cause,
      });
    }
  }

  async #putToken(audience: string, { token, type, expiresAt }: ClaimsToken, signal: AbortSignal): Promise<void> {
    const sender = this.#node();
    const receiver = this.#answers();
    const messageId = randomName(this.#connection.environment);
    const answer = new Deferred<DecodedMessage>();
    this.#waiting.set(messageId, answer);
    try {
      const message: Message = {
        properties: { messageId, replyTo: receiver.name },
        applicationProperties: {
          operation: "put-token",
          type,
          name: audience,
          ...(expiresAt !== undefined && { expiration: expiresAt }),
        },
        body: token,
      };
      // A refused request gets no answer.
      sender.send(message, { signal }).catch((error) => answer.reject(error));
      checkAnswer(audience, await abortable(answer.promise, signal));
    } finally {
      this.#waiting.delete(messageId);
    }
  }

  get #nodeName(): string {
    const named = this.#connection.remote?.properties?.["cbs-node"];
    return typeof named === "string" ? named : NODE;
  }

  #node(): Sender {
    if (this.#sender?.open) return this.#sender;
    return this.#sender = this.#connection.sender(this.#nodeName);
  }

  #answers(): Receiver {
    if (this.#receiver?.open) return this.#receiver;
    // The link's name doubles as the reply-to address.
    const name = randomName(this.#connection.environment);
    const receiver = this.#connection.receiver(NODE, { name, target: { address: name } });
    this.#receiver = receiver;
    receiver.serve(({ message }) => {
      const id = message.properties?.correlationId;
      if (typeof id === "string") this.#waiting.get(id)?.resolve(message);
    }).catch(ignore);
    receiver.closed.then(() => {
      const error = receiver.error ??
        refusal("its audience", condition.illegalState, "the link for answers was closed", true);
      for (const waiting of this.#waiting.values()) waiting.reject(error);
    });
    return receiver;
  }
}

function same(address: string): string {
  return address;
}

// Another type than a string would be encoded as such, and the peer would find no token in it.
function checkToken(audience: string, given: ClaimsToken): void {
  const { token, type, expiresAt } = Object(given);
  const isTime = expiresAt === undefined || isDate(expiresAt);
  if (typeof token === "string" && token !== "" && typeof type === "string" && isTime) return;
  throw new TypeError(
    `Cannot put token for ${quote(audience)}: option "token" of claims returned something else than ` +
      "{ token, type } of strings, with a Date as expiresAt if it expires",
  );
}

function checkAnswer(audience: string, { applicationProperties = {} }: DecodedMessage): void {
  const read = (name: string, other: string): unknown => applicationProperties[name] ?? applicationProperties[other];
  const status = Number(read("status-code", "statusCode"));
  if (status >= 200 && status < 300) return;
  const named = read("error-condition", "errorCondition");
  const symbol = named === undefined ? conditionOfStatus(status) : String(named);
  const description = String(read("status-description", "statusDescription") ?? "");
  const why = `${describeStatus(status, applicationProperties)}${
    description === "" ? "" : `, ${printable(description, 500)}`
  }`;
  throw refusal(audience, symbol, why, status >= 500, true);
}

/** The status of a failed answer, in words; for an answer without one, what it has instead. */
export function describeStatus(status: number, given: object): string {
  if (!Number.isNaN(status)) return `status is ${status}`;
  const names = Object.keys(given).slice(0, 8).map((name) => quote(name, 40)).join(", ");
  return `the answer has no status ${names === "" ? "and no application properties" : `but ${names}`}`;
}

/** The condition of a failed answer of a management node, by its status code. */
export function conditionOfStatus(status: number): string {
  if (status === 401 || status === 403) return condition.unauthorizedAccess;
  if (status === 404) return condition.notFound;
  if (status === 501) return condition.notImplemented;
  return status >= 500 ? condition.internalError : condition.notAllowed;
}

function refusal(audience: string, symbol: string, why: string, retryable: boolean, remote = false): AmqpError {
  const message = `Cannot put token for ${quote(audience)}: ${why}`;
  return new AmqpError(symbol, message, { scope: "link", remote, retryable });
}
