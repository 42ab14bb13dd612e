/**
 * The CONNECT exchange with an HTTP proxy, without I/O: takes bytes and the time, gives bytes and events.
 *
 * One exchange opens one tunnel, by at most three requests: without an answer (or with the last one that worked), with the
 * answer to the proxy's challenge, and once more when only the nonce was stale. Where the proxy does not keep its
 * connection, the next request goes out on a new one.
 *
 * @module
 */

import { TransportError, type TransportErrorCode } from "../../base/errors.ts";
import { checkText } from "../../base/options.ts";
import {
  type Challenge,
  parseChallenges,
  type ProxyCredentials,
  type ProxyScheme,
  type UsableChallenge,
} from "./challenge.ts";
import {
  headerHasToken,
  headerValues,
  type HeadLimits,
  type HeadParser,
  latin1Bytes,
  MAX_INTERIM_RESPONSES,
  type ResponseHead,
  responseParser,
} from "../http/head.ts";
import { BodyReader } from "../http/body.ts";
import {
  formatAuthority,
  type HttpProxy,
  type ProxyAnswer,
  type ProxyChallenge,
  type ProxyCredentialsRequest,
} from "./http_proxy.ts";

/** Most bytes of a challenge's body that are read to keep the connection; for more, a new connection is cheaper. */
const MAX_CHALLENGE_BODY_BYTES = 65_536;

/** Milliseconds for the body of a challenge; for one that takes longer, or is shorter than it says, a new connection is made. */
export const CHALLENGE_BODY_TIMEOUT_MS: number = 1_000;

/** Most challenges of one tunnel for an authenticator; NTLM takes two, Negotiate seldom three. */
const MAX_AUTHENTICATION_ROUNDS = 8;

/** Milliseconds of one step; a proxy answers only after it has reached the target, or failed to. */
export const PROXY_STEP_TIMEOUT_MS: number = 30_000;

/** The limits of one exchange. */
export interface ProxyLimits extends HeadLimits {
  /** Most bytes of a challenge's body to read. Default: {@linkcode MAX_CHALLENGE_BODY_BYTES}. */
  maxBodyBytes?: number | undefined;
  /** Milliseconds for the body of a challenge. Default: {@linkcode CHALLENGE_BODY_TIMEOUT_MS}. */
  bodyTimeoutMs?: number | undefined;
  /** Most interim responses to one request. Default: {@linkcode MAX_INTERIM_RESPONSES}. */
  maxInterimResponses?: number | undefined;
  /** Milliseconds for each answer and each reconnection. Default: {@linkcode PROXY_STEP_TIMEOUT_MS}. */
  stepTimeoutMs?: number | undefined;
}

export interface ProxyTunnelOptions {
  /** The proxy; tunnels that share it share its last challenge. */
  readonly proxy: HttpProxy;
  /** The target's name or address, which the proxy resolves; IPv6 with or without brackets. */
  readonly hostname: string;
  readonly port: number;
  readonly limits?: ProxyLimits | undefined;
}

/**
 * An event that the owner of the connection has to handle.
 *
 * - `open`: the tunnel is open; `surplus` holds the target's first bytes.
 * - `reconnect`: drop the connection, make a new one to the proxy, then call `reconnected`.
 * - `credentials`: ask the proxy's callback, then call `authenticate`.
 * - `challenge`: ask the proxy's authenticator, then call `respond`.
 * - `failed`: drop the connection; `error` is the reason.
 */
export type ProxyEvent =
  | { readonly kind: "open"; readonly surplus: Uint8Array }
  | { readonly kind: "reconnect" }
  | { readonly kind: "credentials"; readonly request: ProxyCredentialsRequest }
  | { readonly kind: "challenge"; readonly challenge: ProxyChallenge }
  | { readonly kind: "failed"; readonly error: TransportError };

/**
 * One CONNECT exchange. Every method returns at most one event; `open` and `failed` are the last.
 *
 * @example
 * ```ts
 * import { HttpProxy } from "./http_proxy.ts";
 * import { ProxyTunnel } from "./connect.ts";
 *
 * const powers = { hash: () => undefined, random: (length: number) => crypto.getRandomValues(new Uint8Array(length)) };
 * const proxy = new HttpProxy("http://proxy.example:3128", powers);
 * const tunnel = new ProxyTunnel({ proxy, hostname: "broker.example", port: 443 }, 0);
 * console.assert(tunnel.transmit().length > 0); // to be written to a connection to the proxy
 * const event = tunnel.receive(new TextEncoder().encode("HTTP/1.1 200\r\n\r\n"), 1);
 * console.assert(event?.kind === "open");
 * ```
 */
export class ProxyTunnel {
  readonly #proxy: HttpProxy;
  readonly #target: string;
  readonly #limits: ProxyLimits;
  // answer → body → (credentials) → answer, or through reconnect to answer; done from anywhere.
  #state: "answer" | "body" | "credentials" | "reconnect" | "done" = "answer";
  #output: Uint8Array = new Uint8Array(0);
  #deadline: number | undefined;
  #parser: HeadParser<ResponseHead>;
  #interim = 0;
  #body: BodyReader | undefined;
  #challenge: UsableChallenge | undefined;
  #challenges: readonly Challenge[] = [];
  #rounds = 0;
  // The scheme of this tunnel's last request; the proxy object's answer may come from another tunnel meanwhile.
  #sent: ProxyScheme | undefined;
  // The answer to this tunnel's own challenge: an answer that a proxy accepts once, or on one connection, cannot be shared.
  #own: ProxyAnswer | undefined;
  // Whether the next request may use this connection, and whether this connection has carried an earlier one.
  #reusable = false;
  #reused = false;
  // Whether the proxy has sent anything since the last request.
  #hasAnswered = false;
  #answered = false;
  #renewed = false;

  /**
   * Prepares the first request for an open connection; `now` is in milliseconds, of any clock.
   *
   * @throws {TypeError} If the target's name or port cannot stand in a request.
   */
  constructor(options: ProxyTunnelOptions, now: number) {
    this.#proxy = options.proxy;
    this.#target = formatAuthority(options.hostname, options.port);
    this.#limits = options.limits ?? {};
    this.#parser = responseParser(this.#limits);
    this.#request(now);
  }

  /** The bytes to write to the proxy now; may be empty. */
  transmit(): Uint8Array {
    const output = this.#output;
    this.#output = new Uint8Array(0);
    return output;
  }

  /** Takes bytes from the proxy, in any pieces. Bytes after `open` belong to the tunnel. */
  receive(bytes: Uint8Array, now: number): ProxyEvent | undefined {
    if (bytes.length === 0) return undefined;
    switch (this.#state) {
      case "answer":
        return this.#guard(() => this.#readHead(bytes, now));
      case "body":
        return this.#guard(() => this.#readBody(bytes, now));
      case "credentials":
        // Unsolicited bytes would be taken for the reply to the answer.
        this.#reusable = false;
        return undefined;
      default:
        return undefined;
    }
  }

  /** Reports that the connection has ended, in order or not. */
  end(now: number): ProxyEvent | undefined {
    switch (this.#state) {
      case "answer":
        // A proxy may close a kept connection at any time, without having seen the request [rfc9112 9.3.1].
        if (this.#reused && !this.#hasAnswered) return this.#reconnect(now);
        return this.#fail(this.#error("proxy-failed", this.#closedState()));
      case "body":
        this.#reusable = false;
        return this.#guard(() => this.#handleChallenge(now));
      case "credentials":
        this.#reusable = false;
        return undefined;
      default:
        return undefined;
    }
  }

  /**
   * Answers `credentials`; undefined or null ends the attempt.
   *
   * @throws {TypeError} Without such an event.
   */
  authenticate(credentials: ProxyCredentials | null | undefined, now: number): ProxyEvent | undefined {
    if (this.#state !== "credentials") throw new TypeError("Cannot authenticate: no credentials were asked for");
    return this.#guard(() => {
      if (credentials == null) {
        throw this.#error("proxy-authentication-failed", "status is 407, no credentials were given", { status: 407 });
      }
      return this.#answer(now, credentials);
    });
  }

  /**
   * Answers `challenge` with the value of `Proxy-Authorization`; undefined or null ends the attempt.
   *
   * @throws {TypeError} Without such an event, or if the value is no string.
   */
  respond(value: string | null | undefined, now: number): ProxyEvent | undefined {
    if (this.#state !== "credentials") throw new TypeError("Cannot authenticate: no challenge is open");
    return this.#guard(() => {
      if (value == null) {
        throw this.#error("proxy-authentication-failed", "status is 407, no answer was given", { status: 407 });
      }
      checkText("authenticate at proxy", 'what option "authenticate" gave', value);
      this.#own = value;
      return this.#requestAgain(now);
    });
  }

  /**
   * Continues after `reconnect`, on a new connection.
   *
   * @throws {TypeError} Without such an event.
   */
  reconnected(now: number): void {
    if (this.#state !== "reconnect") throw new TypeError("Cannot go on: no new connection was asked for");
    this.#reused = false;
    this.#request(now);
  }

  /** The time to call `tick` at the latest; undefined without a deadline. */
  nextTimeout(): number | undefined {
    return this.#deadline;
  }

  /** Ends the attempt if the current step has taken too long; a body that does not end is given up for a new connection. */
  tick(now: number): ProxyEvent | undefined {
    if (this.#deadline === undefined || now < this.#deadline) return undefined;
    if (this.#state === "body") return this.end(now);
    const what = this.#state === "reconnect" ? "no new connection" : "no answer";
    return this.#fail(this.#error("timeout", `${what} within ${this.#stepTimeoutMs} ms`));
  }

  get #stepTimeoutMs(): number {
    return this.#limits.stepTimeoutMs ?? PROXY_STEP_TIMEOUT_MS;
  }

  #request(now: number): void {
    this.#sent = this.#own === undefined ? this.#proxy.answering : this.#challenge?.scheme;
    this.#output = this.#proxy.request(this.#target, this.#own);
    this.#parser = responseParser(this.#limits);
    this.#interim = 0;
    this.#hasAnswered = false;
    this.#state = "answer";
    this.#deadline = now + this.#stepTimeoutMs;
  }

  // A server that expects TLS answers a request with an alert, or just closes.
  #closedState(): string {
    const hint = this.#hasAnswered || this.#proxy.secure ? "" : "; does it expect TLS? Then its URL begins with https:";
    return `the proxy closed the connection before it answered${hint}`;
  }

  #readHead(bytes: Uint8Array, now: number): ProxyEvent | undefined {
    if (!this.#hasAnswered && !this.#proxy.secure && bytes[0] === 0x15 && bytes[1] === 3) {
      throw this.#error("proxy-failed", "the proxy speaks TLS, its URL begins with https:");
    }
    this.#hasAnswered = true;
    let rest = bytes;
    for (let head = this.#parser.receive(rest); head !== undefined; head = this.#parser.receive(rest)) {
      rest = this.#parser.surplus;
      if (head.status >= 200 || head.status === 101) return this.#handleHead(head, rest, now);
      if (++this.#interim > (this.#limits.maxInterimResponses ?? MAX_INTERIM_RESPONSES)) {
        throw this.#error("proxy-failed", "too many interim responses", head);
      }
      this.#parser = responseParser(this.#limits);
    }
    return undefined;
  }

  #handleHead(head: ResponseHead, rest: Uint8Array, now: number): ProxyEvent | undefined {
    if (head.status >= 200 && head.status < 300) {
      // An authenticator's value is for one connection.
      if (this.#own !== undefined && this.#proxy.authenticator === undefined) this.#proxy.remember(this.#own);
      this.#proxy.renew(headerValues(head.headers, "proxy-authentication-info"));
      this.#finish();
      return { kind: "open", surplus: rest };
    }
    // Some proxies ask with the status for origin servers, and refuse a wrong password with it.
    const { status } = head;
    if (status === 407 || status === 401 && this.#sent === undefined && this.#proxy.authenticator === undefined) {
      if (this.#proxy.authenticator === undefined) this.#challenge = this.#choose(head);
      else this.#takeChallenges(head);
      this.#reusable = keepsConnection(head);
      if (!this.#reusable) return this.#handleChallenge(now);
      this.#body = new BodyReader(head, {
        method: "CONNECT",
        maxBodyBytes: this.#limits.maxBodyBytes ?? MAX_CHALLENGE_BODY_BYTES,
      });
      this.#state = "body";
      this.#deadline = Math.min(this.#deadline!, now + (this.#limits.bodyTimeoutMs ?? CHALLENGE_BODY_TIMEOUT_MS));
      return this.#readBody(rest, now);
    }
    if (status === 401) throw this.#refused(head);
    throw this.#error("proxy-failed", `status is ${status}`, head);
  }

  // Decides whether to answer: at most once for each challenge, and once more for a stale nonce.
  #choose(head: ResponseHead): UsableChallenge {
    const values = headerValues(head.headers, "proxy-authenticate");
    const [best = this.#unnamed(values)] = this.#proxy.rank(values);
    const sent = this.#sent;
    const stale = sent === "digest" && best?.scheme === "digest" && best.digest.stale;
    const known = this.#proxy.knowsCredentials(stale);
    // The same Basic answer would be refused again.
    const repeated = sent === "basic" && best?.scheme === "basic" && known;
    if (stale ? this.#renewed : this.#answered || repeated) throw this.#refused(head);
    if (best === undefined) throw this.#unanswerable(head, values);
    if (!known && this.#proxy.ask === undefined) {
      throw this.#error(
        "proxy-authentication-failed",
        `status is ${head.status}, no credentials are set; give its username and password`,
        head,
      );
    }
    this.#answered = true;
    this.#renewed = stale;
    return best;
  }

  // A proxy that names no scheme, against the rule [rfc9110 15.5.8], knows Basic: its other clients send that unasked.
  #unnamed(values: readonly string[]): UsableChallenge | undefined {
    const isUnnamed = values.length === 0 && !this.#answered && this.#proxy.schemes.includes("basic");
    return isUnnamed ? { scheme: "basic", realm: undefined } : undefined;
  }

  #takeChallenges(head: ResponseHead): void {
    if (++this.#rounds > MAX_AUTHENTICATION_ROUNDS) {
      const state = `status is 407, credentials were refused ${MAX_AUTHENTICATION_ROUNDS} times`;
      throw this.#error("proxy-authentication-failed", state, head);
    }
    this.#challenges = parseChallenges(headerValues(head.headers, "proxy-authenticate"));
  }

  #readBody(bytes: Uint8Array, now: number): ProxyEvent | undefined {
    const body = this.#body!;
    const surplus = body.state === "complete" ? bytes : undefined;
    if (surplus === undefined && body.receive(bytes) === "reading") return undefined;
    // Bytes behind the body answer no request: the connection is out of step.
    this.#reusable = body.state === "complete" && (surplus ?? body.surplus).length === 0;
    return this.#handleChallenge(now);
  }

  #handleChallenge(now: number): ProxyEvent | undefined {
    this.#body = undefined;
    if (this.#proxy.authenticator !== undefined) {
      this.#state = "credentials";
      this.#deadline = undefined;
      const { authority: proxy } = this.#proxy;
      const challenge = { proxy, target: this.#target, challenges: this.#challenges, round: this.#rounds };
      return { kind: "challenge", challenge };
    }
    const challenge = this.#challenge!;
    if (this.#proxy.knowsCredentials(this.#renewed)) return this.#answer(now);
    this.#state = "credentials";
    // A person may have to type them.
    this.#deadline = undefined;
    const realm = challenge.scheme === "basic" ? challenge.realm : challenge.digest.realm;
    return {
      kind: "credentials",
      request: { proxy: this.#proxy.authority, scheme: challenge.scheme, realm: realm && decodeText(realm) },
    };
  }

  #answer(now: number, credentials?: ProxyCredentials): ProxyEvent | undefined {
    try {
      this.#own = this.#proxy.answer(this.#challenge!, credentials);
    } catch (cause) {
      const state = "status is 407, the credentials cannot be used";
      throw this.#error("proxy-authentication-failed", state, { status: 407 }, cause);
    }
    return this.#requestAgain(now);
  }

  #requestAgain(now: number): ProxyEvent | undefined {
    if (!this.#reusable) return this.#reconnect(now);
    this.#reused = true;
    this.#request(now);
    return undefined;
  }

  #reconnect(now: number): ProxyEvent {
    this.#state = "reconnect";
    this.#output = new Uint8Array(0);
    this.#deadline = now + this.#stepTimeoutMs;
    return { kind: "reconnect" };
  }

  #finish(): void {
    this.#state = "done";
    this.#output = new Uint8Array(0);
    this.#deadline = undefined;
  }

  #fail(error: TransportError): ProxyEvent {
    this.#finish();
    return { kind: "failed", error };
  }

  // Converts an error into the event that carries it.
  #guard(step: () => ProxyEvent | undefined): ProxyEvent | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      if (error.code !== "protocol-violation") return this.#fail(error);
      return this.#fail(this.#error("proxy-failed", "the answer is not valid HTTP", undefined, error));
    }
  }

  #refused(head: ResponseHead): TransportError {
    this.#proxy.forget();
    const what = this.#sent === undefined ? "no credentials were sent" : "credentials were refused";
    const state = `status is ${head.status}, ${what}`;
    return this.#error("proxy-authentication-failed", state, head);
  }

  #unanswerable(head: ResponseHead, values: readonly string[]): TransportError {
    const offered = [...new Set(parseChallenges(values).map(({ scheme }) => scheme))];
    const state = offered.includes("basic") && !this.#proxy.schemes.includes("basic")
      ? 'Basic would show the password on an unencrypted link and is not allowed by "schemes"'
      // The names are tokens and safe to print, but of any length.
      : values.length === 0
      ? 'no challenge came; "basic" among the schemes answers that'
      : `no challenge can be answered (${JSON.stringify(offered.join(", ").slice(0, 60))})`;
    return this.#error("proxy-authentication-failed", `status is ${head.status}, ${state}`, head);
  }

  #error(
    code: TransportErrorCode,
    state: string,
    head?: { status: number; headers?: ResponseHead["headers"] },
    cause?: unknown,
  ): TransportError {
    const message = `Cannot open tunnel through "${this.#proxy.authority}": ${state}`;
    return new TransportError(code, message, { status: head?.status, headers: head?.headers, cause });
  }
}

// Without a length the body ends with the connection, whatever the head says.
function keepsConnection({ version, headers }: ResponseHead): boolean {
  const says = (token: string): boolean =>
    headerHasToken(headers, "connection", token) || headerHasToken(headers, "proxy-connection", token);
  const hasLength = headerValues(headers, "content-length").length > 0 ||
    headerValues(headers, "transfer-encoding").length > 0;
  return hasLength && !says("close") && (version === "HTTP/1.1" || says("keep-alive"));
}

// Header text has one character per byte; for display it is most likely UTF-8.
function decodeText(text: string): string {
  return new TextDecoder().decode(latin1Bytes(text));
}
