/**
 * Where to connect to, and as what: URLs of brokers, and the names of WebSocket subprotocols. What a token is stands here too,
 * since a client loads this first and no more of HTTP.
 *
 * @module
 */

/** The schemes of what AMQP rides on, and the ports that they stand for [transport 2.1, wsb 2.1]. */
const DEFAULT_PORTS = { "ws:": 80, "wss:": 443, "amqp:": 5672, "amqps:": 5671 } as const;

/** A scheme of a URL that can be connected to. */
export type Scheme = keyof typeof DEFAULT_PORTS;

const SCHEMES: readonly Scheme[] = ["ws:", "wss:", "amqp:", "amqps:"];

/** Where to connect to, without any secret. */
export interface RemoteUrl {
  /** The URL without user info. */
  readonly url: URL;
  /** The scheme with its colon. */
  readonly scheme: Scheme;
  /** Whether it is reached over TLS. */
  readonly secure: boolean;
  /** Name or address, IPv6 without brackets. */
  readonly hostname: string;
  /** The port, also where the URL names none. */
  readonly port: number;
}

/**
 * Reads a URL.
 *
 * @throws {TypeError} If it is not a URL, has another scheme than those given, a fragment or no host. Its text stays out of
 * the error, since it may hold a password.
 */
export function readUrl(input: string | URL, schemes: readonly Scheme[] = SCHEMES): RemoteUrl {
  const url = parseUrl(input);
  const scheme = schemes.find((scheme) => scheme === url.protocol);
  // A "/", "?" or "#" in a password ends the host for a URL: "Root:12/c=@localhost" would dial "root".
  const misread = url.username === "" && url.port !== "" && `${url.pathname}${url.search}`.includes("@");
  if (scheme === undefined || url.hostname === "" || url.href.includes("#") || misread) {
    throw new TypeError(`Cannot connect: URL is not ${schemes.join(" or ")} and a host, without "#" and "@" behind it`);
  }
  url.username = "";
  url.password = "";
  return {
    url,
    scheme,
    secure: scheme === "wss:" || scheme === "amqps:",
    // Of a scheme that URL does not know, it leaves the host as it was written.
    hostname: parseUrl(`ws://${url.hostname}`).hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? DEFAULT_PORTS[scheme] : Number(url.port),
  };
}

/**
 * The user name and password in a URL, decoded; undefined where there is no user name.
 *
 * @throws {TypeError} If they are not percent-encoded UTF-8.
 */
export function userInfoOf({ username, password }: URL): { username: string; password: string } | undefined {
  if (username === "") return undefined;
  try {
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    throw new TypeError('Cannot connect: user info in URL is not percent-encoded UTF-8; write "%" as "%25"');
  }
}

/** What is wrong with a URL that cannot be used, in more words; the error itself where they cannot be had. */
export async function explainedUrl(input: unknown, error: unknown): Promise<unknown> {
  return await import("./url_mistakes.ts").then(({ explain }) => explain(input) ?? error, () => error);
}

/** The target's URL for people and errors: tokens travel in the query, and are left out. */
export function urlLabel(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/**
 * Parses a URL.
 *
 * @throws {TypeError} Without the text of the URL, which may hold a password.
 */
export function parseUrl(input: string | URL): URL {
  try {
    return new URL(input);
  } catch {
    // Without the runtime's error: it quotes the URL.
    throw new TypeError("Cannot connect: URL is not valid");
  }
}

/** Whether the text is a token: what a method, a field name and a subprotocol are made of [rfc9110 5.6.2]. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** The registered name of AMQP 1.0 over WebSocket [wsb 2.1]. */
const DEFAULT_SUBPROTOCOL = "amqp";

/**
 * The names to offer or accept, in order of preference, when the caller gave these. None may be offered, for relays that choose
 * none; who accepts has to name one, since without it nothing says that the peer speaks AMQP.
 *
 * @throws {TypeError} If a name is not a token or comes twice.
 */
export function checkSubprotocols(names: readonly string[] = [DEFAULT_SUBPROTOCOL]): readonly string[] {
  for (const [index, name] of names.entries()) {
    if (!isToken(name)) throw new TypeError(`Cannot use subprotocol ${JSON.stringify(name)}: it is not a token`);
    if (names.indexOf(name) < index) throw new TypeError(`Cannot use subprotocol "${name}": it is listed twice`);
  }
  return names;
}

/** Whether a server's choice is one of those that were offered, or none of none. */
export function isChosen(name: string, offered: readonly string[]): boolean {
  return offered.length === 0 ? name === "" : offered.includes(name);
}
