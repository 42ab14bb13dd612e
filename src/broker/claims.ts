/**
 * The node `$cbs`, where peers put tokens [cbs].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import type { Environment } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { isDate } from "../base/kinds.ts";
import type { Message } from "../codec/message.ts";
import { int } from "../codec/types.ts";
import type { Connection } from "../client/connection.ts";
import type { Delivery } from "../client/delivery.ts";
import type { Sender } from "../client/sender.ts";
import { ignore } from "../base/wait.ts";
import { asAmqpError, type ReceiverRequest, type SenderRequest } from "../server/link_requests.ts";

/** The address of the node. */
export const CLAIMS_NODE = "$cbs";

/** A token that a peer has put. */
export interface PutToken {
  /** The type of the token, such as `"jwt"` or `"servicebus.windows.net:sastoken"`. */
  readonly type: string;
  /** The audience that the peer names; empty for a token that names its own. */
  readonly audience: string;
  /** The token, a secret. */
  readonly token: string;
  /** The identity that the peer authenticated as; undefined for an anonymous peer. */
  readonly identity: string | undefined;
}

/** Verifies a token: returns false, true, or the time at which the token expires. */
export type VerifyPutToken = (token: PutToken) => boolean | Date | Promise<boolean | Date>;

// The most valid audiences of a connection.
const MAX_CLAIMS = 1_000;
const MAX_TOKEN_BYTES = 262_144n;
// Longer than any URL: each attach compares its address with all audiences.
const MAX_AUDIENCE_LENGTH = 2_048;
// The most links on which a connection puts tokens, and the tokens of one link under verification at a time.
const MAX_LINKS = 8;
const CREDIT = 20;
// Answers that wait for credit on one link.
const MAX_ANSWERS = 1_000;

class Claims {
  readonly #environment: Environment;
  readonly #onexpired: () => void;
  // The expiry time of each audience's token.
  readonly #audiences = new Map<string, number>();
  // The last request for each audience, while it is pending.
  readonly #asked = new Map<string, Promise<void>>();
  // One timer for all tokens, set no later than the last of them expires.
  #timer: unknown;
  #due = Infinity;
  #ended = false;

  /** Starts without tokens; `onexpired` is called in a turn of its own when none is left. */
  constructor(environment: Environment, onexpired: () => void) {
    this.#environment = environment;
    this.#onexpired = onexpired;
  }

  put(audience: string, expires: number): boolean {
    if (!this.#audiences.has(audience) && this.#audiences.size >= MAX_CLAIMS && this.valid().length >= MAX_CLAIMS) {
      return false;
    }
    this.#audiences.set(audience, expires);
    if (expires < this.#due) this.#arm(expires);
    return true;
  }

  delete(audience: string): void {
    if (this.#audiences.delete(audience)) this.#arm(this.#last());
  }

  /** Runs the requests for an audience in order, however long a callback takes. */
  async inOrder(audience: string, task: () => Promise<void> | void): Promise<void> {
    const done = (this.#asked.get(audience) ?? Promise.resolve()).catch(ignore).then(task);
    this.#asked.set(audience, done);
    try {
      await done;
    } finally {
      if (this.#asked.get(audience) === done) this.#asked.delete(audience);
    }
  }

  valid(): string[] {
    const now = this.#environment.now();
    for (const [audience, expires] of this.#audiences) if (expires <= now) this.#audiences.delete(audience);
    return [...this.#audiences.keys()];
  }

  end(): void {
    this.#ended = true;
    this.#environment.clearTimer(this.#timer);
  }

  #last(): number {
    let last = 0;
    for (const expires of this.#audiences.values()) last = Math.max(last, expires);
    return last;
  }

  #arm(due: number): void {
    this.#environment.clearTimer(this.#timer);
    this.#due = due;
    if (due === Infinity || this.#ended) return;
    const expire = (): void => {
      this.#due = Infinity;
      if (this.valid().length > 0) this.#arm(this.#last());
      else this.#onexpired();
    };
    // For a token that outlasts the longest timer, the timer fires early and is set again.
    this.#timer = this.#environment.setTimer(expire, Math.max(0, due - this.#environment.now()));
  }
}

/** The node that takes tokens. */
export class ClaimsNode {
  readonly #verify: VerifyPutToken;
  readonly #environment: Environment;
  readonly #claims = new WeakMap<Connection, Claims>();
  // The number of links of each connection on which tokens come.
  readonly #links = new WeakMap<Connection, number>();
  // Links for answers of each connection, by the address that requests name.
  readonly #answers = new WeakMap<Connection, Map<string, Sender>>();

  /** Verifies each token by `verify`. */
  constructor(verify: VerifyPutToken, environment: Environment) {
    this.#verify = verify;
    this.#environment = environment;
  }

  /** The audiences for which a connection has valid tokens. */
  audiences(connection: Connection): string[] {
    return this.#claims.get(connection)?.valid() ?? [];
  }

  covers(connection: Connection, address: string): boolean {
    return this.audiences(connection).some((audience) => {
      // Azure's audiences are URLs whose path is the address.
      const path = audience.replace(/^[a-z+]+:\/\/[^/]*\//i, "");
      return path === "" || path === address || address.startsWith(path + "/");
    });
  }

  /** Accepts a link for tokens, or one for answers. */
  attach(request: SenderRequest | ReceiverRequest): void {
    const { connection } = request;
    if (request.role === "sender") {
      // Answers go out settled: some clients never settle them, even those that ask for unsettled ones. Those of Go end the link
      // if it is not "settled" as they ask.
      const answers = request.accept({
        sndSettleMode: request.attach.sndSettleMode === "settled" ? "settled" : "mixed",
      });
      const address = answers.remote?.target?.kind === "target" ? answers.remote.target.address : undefined;
      const links = this.#answers.get(connection) ?? new Map<string, Sender>();
      this.#answers.set(connection, links);
      for (const name of [address, answers.name]) if (name !== undefined) links.set(name, answers);
      answers.closed.then(() => {
        for (const [name, link] of links) if (link === answers) links.delete(name);
      });
      return;
    }
    const links = this.#links.get(connection) ?? 0;
    if (links >= MAX_LINKS) {
      const problem = `${links} of the connection are there, which are the most`;
      throw new AmqpError(condition.resourceLimitExceeded, `Cannot attach link to ${CLAIMS_NODE}: ${problem}`);
    }
    const receiver = request.accept({ credit: CREDIT, settle: "manual", maxMessageSize: MAX_TOKEN_BYTES });
    this.#links.set(connection, links + 1);
    receiver.closed.then(() => this.#links.set(connection, this.#links.get(connection)! - 1));
    const take = (delivery: Delivery): void => {
      // Grants credit for the next token, even if this one came settled.
      this.#take(connection, delivery).catch(ignore).finally(() => delivery.handleTaken());
    };
    receiver.ondelivery = take;
  }

  async #take(connection: Connection, delivery: Delivery): Promise<void> {
    let failure: { status: number; error: AmqpError } | undefined;
    try {
      await this.#handle(connection, delivery);
    } catch (error) {
      failure = error instanceof AmqpError
        ? { status: error.condition === condition.unauthorizedAccess ? 401 : 400, error }
        // The peer learns that the callback failed, not why.
        : { status: 500, error: asAmqpError(connection, error, "take token") };
    }
    const link = this.#answerTo(connection, delivery);
    if (!delivery.remoteSettled && delivery.usable) {
      // A failure is in the answer; without a link for answers, the outcome carries it.
      if (failure === undefined || link !== undefined) delivery.accept();
      else delivery.reject(failure.error);
    }
    if (link === undefined) return;
    if (link.pending >= MAX_ANSWERS) {
      const error = new AmqpError(
        condition.resourceLimitExceeded,
        `Cannot keep link from ${CLAIMS_NODE}: ${link.pending} answers wait for its credit`,
        { scope: "link" },
      );
      return await link.close({ error, timeoutMs: 0 });
    }
    const answer: Message = {
      properties: { correlationId: delivery.message.properties?.messageId },
      applicationProperties: {
        "status-code": int(failure?.status ?? 200),
        "status-description": failure?.error.message ?? "OK",
        ...failure && { "error-condition": failure.error.condition },
      },
      body: null,
    };
    await link.send(answer, { settled: true });
  }

  #answerTo(connection: Connection, delivery: Delivery): Sender | undefined {
    const links = this.#answers.get(connection);
    if (links === undefined) return undefined;
    try {
      const replyTo = delivery.message.properties?.replyTo;
      if (replyTo !== undefined) return links.get(replyTo);
      // Clients with one link for answers may omit its name, as pyamqp does.
      const [only, ...others] = new Set(links.values());
      return others.length === 0 ? only : undefined;
    } catch {
      // Without a readable message there is no reply-to.
      return undefined;
    }
  }

  async #handle(connection: Connection, delivery: Delivery): Promise<void> {
    const { properties = {}, applicationProperties = {}, body } = delivery.message;
    const operation = properties.subject === "set-token" ? "set-token" : applicationProperties.operation;
    const audience = operation === "set-token" ? "" : applicationProperties.name;
    if (typeof audience !== "string") throw invalid('property "name" is not a string');
    if (audience.length > MAX_AUDIENCE_LENGTH) {
      throw invalid(`property "name" has ${audience.length} characters, ${MAX_AUDIENCE_LENGTH} are the most`);
    }
    const claims = this.#claimsOf(connection);
    if (operation === "delete-token") return await claims.inOrder(audience, () => claims.delete(audience));
    if (operation !== "put-token" && operation !== "set-token") throw invalid("its operation is not known");
    const type = applicationProperties[operation === "set-token" ? "token-type" : "type"];
    if (typeof type !== "string" || typeof body !== "string") throw invalid("its type or body is not a string");
    const looked = (async () => await this.#verify({ type, audience, token: body, identity: connection.identity }))();
    looked.catch(ignore);
    await claims.inOrder(audience, async () => {
      const good = await looked;
      // Anything but true or a date is a refusal.
      if (good !== true && !isDate(good)) {
        throw new AmqpError(condition.unauthorizedAccess, "Cannot take token: it is not good");
      }
      const lasts = good === true ? Infinity : good.getTime() - Date.now();
      if (!(lasts > 0)) throw new AmqpError(condition.unauthorizedAccess, "Cannot take token: it has expired");
      if (!claims.put(audience, this.#environment.now() + lasts)) throw invalid("there are too many");
    });
  }

  #claimsOf(connection: Connection): Claims {
    const known = this.#claims.get(connection);
    if (known !== undefined) return known;
    const claims = new Claims(this.#environment, () => {
      if (!connection.open) return;
      // A connection whose last token expires loses its links [CBS-6], except those on which it may put another.
      const problem = "Cannot keep link: the last token has expired, or was deleted";
      const error = new AmqpError(condition.unauthorizedAccess, problem, { scope: "link" });
      for (const link of connection.linksOf()) {
        if (link.address !== CLAIMS_NODE) link.close({ error, timeoutMs: 0 }).catch(ignore);
      }
    });
    this.#claims.set(connection, claims);
    connection.closed.then(() => claims.end());
    return claims;
  }
}

function invalid(problem: string): AmqpError {
  return new AmqpError(condition.invalidField, `Cannot take token: ${problem}`);
}
