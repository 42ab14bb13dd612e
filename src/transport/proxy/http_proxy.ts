/**
 * An HTTP proxy: its address, its credentials, and its last challenge.
 *
 * @module
 */

import { joinAuthority } from "../url.ts";
import { encodeHex } from "@std/encoding";
import {
  basicAuthorization,
  type Challenge,
  checkCredentials,
  parseChallenges,
  parseParams,
  type ProxyCredentials,
  type ProxyScheme,
  rankChallenges,
  type UsableChallenge,
} from "./challenge.ts";
import { DigestSession, type Hash } from "./digest.ts";
import { encodeRequestHead, type HeaderField } from "../http/head.ts";

/** The argument of a callback for credentials. */
export interface ProxyCredentialsRequest {
  /** The proxy that asks, as `host:port`. */
  readonly proxy: string;
  /** The scheme that will be used; with `"basic"` the proxy learns the password. */
  readonly scheme: ProxyScheme;
  /** The protection space that the proxy names; untrusted text. */
  readonly realm: string | undefined;
  /** Aborted when the attempt is called off; absent where nothing can call it off. */
  readonly signal?: AbortSignal | undefined;
}

/** Supplies credentials when a proxy asks for them; undefined ends the attempt. */
export type ProxyCredentialsCallback = (
  request: ProxyCredentialsRequest,
) => ProxyCredentials | undefined | Promise<ProxyCredentials | undefined>;

/** The argument of an authenticator: a proxy's answer with status 407. */
export interface ProxyChallenge {
  /** The proxy that asks, as `host:port`. */
  readonly proxy: string;
  /** The tunnel's target, as `host:port`. */
  readonly target: string;
  /** The proxy's challenges, of every scheme that it names; untrusted. */
  readonly challenges: readonly Challenge[];
  /** The number of challenges for this tunnel so far, from 1. */
  readonly round: number;
  /** Aborted when the attempt is called off; absent where nothing can call it off. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Answers a proxy by any scheme, such as Negotiate, NTLM or Bearer: returns the value of `Proxy-Authorization`, over as
 * many rounds as the scheme takes, on one connection if the proxy keeps it; undefined ends the attempt.
 */
export type ProxyAuthenticator = (challenge: ProxyChallenge) => string | undefined | Promise<string | undefined>;

/** The address of a proxy, and its credentials. */
export interface ProxyOptions {
  /**
   * `http://host:port` or, for TLS to the proxy itself, `https://host:port`; `socks5://host:port` for SOCKS 5, which sends
   * user name and password in clear [rfc1929]. May hold user info.
   */
  url: string | URL;
  /** The user's name. Default: the URL's. */
  username?: string | undefined;
  /** The password. Default: the URL's. */
  password?: string | undefined;
  /** Called whenever the proxy asks, instead of a fixed name and password. */
  credentials?: ProxyCredentialsCallback | undefined;
  /** Answers an HTTP proxy by a scheme of the program's own, instead of name and password. */
  authenticate?: ProxyAuthenticator | undefined;
  /**
   * The schemes that may be answered. Default: `["digest"]`, and `"basic"` for an `https:` proxy, since Basic shows the
   * password to everybody on the way. Naming `"basic"` allows it on an `http:` proxy as well.
   */
  schemes?: readonly ProxyScheme[] | undefined;
  /** Whether Basic is sent with the first request, which saves a round trip. Default: false. */
  preemptive?: boolean | undefined;
  /** Further header fields for the proxy, for example `User-Agent`. */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** The answer to a challenge: the field's value for Basic, a session that makes the values for Digest. */
export type ProxyAnswer = DigestSession | string;

/** Hash functions and randomness of the runtime. */
export interface ProxyPowers {
  readonly hash: Hash;
  /** Cryptographically strong random bytes. */
  readonly random: (length: number) => Uint8Array;
}

/**
 * A proxy's address and rules, and the answer to its last challenge.
 *
 * Share one among all connections through a proxy: the answer to the last challenge is sent with the next request, which
 * saves a round trip and keeps Digest's nonce count. Credentials, user-supplied header fields and values derived from them
 * stay private: inspecting, printing or serialising it shows only the address.
 *
 * @example
 * ```ts
 * import { HttpProxy } from "./http_proxy.ts";
 *
 * const powers = { hash: () => undefined, random: (length: number) => crypto.getRandomValues(new Uint8Array(length)) };
 * const proxy = new HttpProxy({ url: "http://user:secret@proxy.example:3128", schemes: ["digest", "basic"] }, powers);
 * console.assert(proxy.authority === "proxy.example:3128" && `${proxy}` === "http://proxy.example:3128");
 * ```
 */
export class HttpProxy {
  /** The proxy's name or address, IPv6 without brackets. */
  readonly hostname: string;
  readonly port: number;
  /** Whether the connection to the proxy itself is TLS. */
  readonly secure: boolean;
  /** `host:port`, the only form in which errors name the proxy. */
  readonly authority: string;
  /** The schemes that may be answered. */
  readonly schemes: readonly ProxyScheme[];
  /** Supplies credentials when the proxy asks, unless they are fixed. */
  readonly ask: ProxyCredentialsCallback | undefined;
  /** Answers by a scheme of its own, instead of Basic and Digest. */
  readonly authenticator: ProxyAuthenticator | undefined;

  readonly #powers: ProxyPowers;
  readonly #fixed: ProxyCredentials | undefined;
  readonly #headers: readonly HeaderField[];
  #last: ProxyCredentials | undefined;
  #answer: ProxyAnswer | undefined;

  /**
   * Checks everything that needs no connection.
   *
   * @throws {TypeError} If the URL, the credentials, the schemes or a header field cannot be used.
   */
  constructor(input: string | URL | ProxyOptions, powers: ProxyPowers) {
    const options: ProxyOptions = typeof input === "string" || input instanceof URL ? { url: input } : input;
    const { url, hostname, port } = readProxyUrl(options.url, HTTP_PROXY_PORTS);
    this.hostname = hostname;
    this.secure = url.protocol === "https:";
    this.port = port;
    this.authority = formatAuthority(this.hostname, this.port);
    this.schemes = readSchemes(options.schemes ?? (this.secure ? ["digest", "basic"] : ["digest"]));
    this.ask = options.credentials;
    this.authenticator = options.authenticate;
    this.#powers = powers;
    this.#fixed = fixedCredentials(url, options);
    this.#headers = readHeaders(options.headers ?? {});
    if (this.#fixed !== undefined) checkCredentials(this.#fixed, this.schemes);
    if (this.authenticator !== undefined && (this.#fixed ?? this.ask) !== undefined) {
      throw new TypeError("Cannot use proxy: credentials are both set and left to authenticate");
    }
    if (options.preemptive) this.#answer = this.#preemptive();
  }

  /** Whether an answer can be given without a callback; the last credentials serve again for a stale nonce. */
  knowsCredentials(stale: boolean): boolean {
    return this.#fixed !== undefined || (stale && this.#last !== undefined);
  }

  /** The challenges in values of `Proxy-Authenticate` that can and may be answered, best first. */
  rank(values: readonly string[]): UsableChallenge[] {
    return rankChallenges(parseChallenges(values), { schemes: this.schemes, hash: this.#powers.hash });
  }

  /**
   * The answer to a challenge.
   *
   * @throws {TypeError} If the challenge's scheme cannot carry the credentials.
   */
  answer(challenge: UsableChallenge, credentials?: ProxyCredentials): ProxyAnswer {
    const used = credentials ?? this.#fixed ?? this.#last;
    if (used === undefined) throw new TypeError("Cannot answer the proxy: no credentials are known");
    checkCredentials(used, [challenge.scheme]);
    this.#last = used;
    if (challenge.scheme === "basic") return basicAuthorization(used);
    return new DigestSession(challenge.digest, {
      username: used.username,
      password: used.password,
      cnonce: encodeHex(this.#powers.random(16)),
      hash: this.#powers.hash,
    });
  }

  /** Records an answer that the proxy has accepted, for the first requests from now on. */
  remember(answer: ProxyAnswer): void {
    this.#answer = answer;
  }

  /** The scheme of the recorded answer, if any. */
  get answering(): ProxyScheme | undefined {
    return this.#answer === undefined ? undefined : typeof this.#answer === "string" ? "basic" : "digest";
  }

  /** Drops the recorded answer and credentials. */
  forget(): void {
    this.#answer = undefined;
    this.#last = undefined;
  }

  /** Takes the next nonce from values of `Proxy-Authentication-Info` [rfc7616 3.5]. */
  renew(values: readonly string[]): void {
    if (!(this.#answer instanceof DigestSession)) return;
    for (const value of values) {
      const nonce = parseParams(value).get("nextnonce");
      if (nonce !== undefined) this.#answer.renew(nonce);
    }
  }

  /**
   * Encodes a CONNECT request for `target`, a `host:port`, with `answer`, by default the recorded one; each call counts as
   * one use of its nonce.
   */
  request(target: string, answer: ProxyAnswer | undefined = this.#answer): Uint8Array {
    const headers: HeaderField[] = [["Host", target], ...this.#headers];
    if (answer !== undefined) {
      const value = typeof answer === "string" ? answer : answer.authorization({ method: "CONNECT", uri: target });
      headers.push(["Proxy-Authorization", value]);
    }
    return encodeRequestHead({ method: "CONNECT", target, headers });
  }

  /** The proxy's URL without user info. */
  toString(): string {
    return `${this.secure ? "https" : "http"}://${this.authority}`;
  }

  /** The proxy's URL without user info. */
  toJSON(): string {
    return this.toString();
  }

  #preemptive(): string {
    if (this.#fixed === undefined || !this.schemes.includes("basic")) {
      throw new TypeError('Cannot use proxy: preemptive needs a user name, a password and "basic" among the schemes');
    }
    return basicAuthorization(this.#fixed);
  }
}

// No name in DNS is longer, and SOCKS gives its length in one byte [rfc1928 5].
const MAX_HOST_LENGTH = 255;

/**
 * `host:port` as a request target: an IPv6 address in brackets, always with the port [rfc9110 9.3.6].
 *
 * @throws {TypeError} If the name is too long or holds anything but the characters of a name in ASCII, or the port is out
 * of range.
 */
export function formatAuthority(hostname: string, port: number): string {
  const bare = hostname.replace(/^\[(.*)\]$/, "$1");
  const isIpv6 = bare.includes(":");
  // Deliberately narrower than a URL's host; a zone id means nothing to another machine.
  if (!(isIpv6 ? /^[0-9A-Fa-f:.]+$/ : /^[0-9A-Za-z._~-]+$/).test(bare)) {
    throw new TypeError("Cannot open tunnel: host is neither an address nor a name in ASCII");
  }
  if (bare.length > MAX_HOST_LENGTH) {
    throw new TypeError(`Cannot open tunnel: host has ${bare.length} characters, ${MAX_HOST_LENGTH} are the most`);
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new TypeError(`Cannot open tunnel: port ${port} is not within 1 to 65535`);
  }
  return joinAuthority(bare, port);
}

/** The schemes of HTTP proxies with their default ports. */
export const HTTP_PROXY_PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };

/**
 * Parses the URL of a proxy: IPv6 without brackets, the port by default that of the scheme; `ports` names the allowed
 * schemes.
 *
 * @throws {TypeError} If it is not a URL or has another scheme. Neither its text nor the runtime's error, which quotes it,
 * is in the error: it may hold a password.
 */
export function readProxyUrl(
  input: string | URL,
  ports: Readonly<Record<string, number>>,
): { url: URL; hostname: string; port: number } {
  const url = parseProxyUrl(input);
  const { protocol } = url;
  const port = ports[protocol];
  if (port === undefined) {
    const schemes = Object.keys(ports).map((scheme) => `"${scheme}"`).join(" or ");
    const remedy = protocol.startsWith("socks")
      ? 'of SOCKS only "socks5:" is known'
      : 'write "http://" before a host and a port';
    throw new TypeError(`Cannot use proxy: url starts with "${protocol}" and not with ${schemes}; ${remedy}`);
  }
  // URL does not normalize the host of a scheme that it does not know.
  const { hostname } = parseProxyUrl(`http://${url.hostname}`);
  return { url, hostname: hostname.replace(/^\[|\]$/g, ""), port: url.port === "" ? port : Number(url.port) };
}

function parseProxyUrl(input: string | URL): URL {
  try {
    return new URL(input);
  } catch {
    throw new TypeError('Cannot use proxy: url cannot be parsed; write one such as "http://proxy.example:3128"');
  }
}

/**
 * The user name and password in the options or the URL; undefined without any.
 *
 * @throws {TypeError} If they cannot be decoded or do not go together.
 */
export function fixedCredentials(
  url: URL,
  options: Pick<ProxyOptions, "username" | "password" | "credentials">,
): ProxyCredentials | undefined {
  const username = options.username ?? decodeUserInfo(url.username);
  const password = options.password ?? decodeUserInfo(url.password);
  if (username === undefined && password === undefined) return undefined;
  if (username === undefined) throw new TypeError("Cannot use proxy: a password is set but no user name");
  if (options.credentials !== undefined) {
    throw new TypeError("Cannot use proxy: credentials are both set and left to a callback");
  }
  return { username, password: password ?? "" };
}

function decodeUserInfo(text: string): string | undefined {
  if (text === "") return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TypeError("Cannot use proxy: user info in url is not percent-encoded UTF-8");
  }
}

function readSchemes(schemes: readonly ProxyScheme[]): readonly ProxyScheme[] {
  for (const scheme of schemes) {
    if (scheme !== "basic" && scheme !== "digest") {
      throw new TypeError(`Cannot use proxy: scheme "${scheme}" is neither "basic" nor "digest"`);
    }
  }
  return [...schemes];
}

// Fields that this module sets, that describe a body, which CONNECT lacks, or that are meant for the target.
const RESERVED_HEADERS: readonly string[] = [
  "authorization",
  "connection",
  "content-length",
  "expect",
  "host",
  "proxy-authorization",
  "transfer-encoding",
  "upgrade",
];

function readHeaders(headers: Readonly<Record<string, string>>): readonly HeaderField[] {
  const fields = Object.entries(headers);
  for (const [name] of fields) {
    if (RESERVED_HEADERS.includes(name.toLowerCase())) {
      throw new TypeError(`Cannot use proxy: header "${name}" cannot be set`);
    }
  }
  // Encoded once for its checks, so that a bad field fails before a connection is made.
  encodeRequestHead({ method: "CONNECT", target: "x:1", headers: fields });
  return fields;
}
