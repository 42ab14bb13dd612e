/**
 * URLs of brokers, and the names of WebSocket subprotocols. `isToken` is here too, since a client loads this first and no
 * more of HTTP.
 *
 * @module
 */

/** The schemes with their default ports [transport 2.1, wsb 2.1]. */
const DEFAULT_PORTS = { "ws:": 80, "wss:": 443, "amqp:": 5672, "amqps:": 5671 } as const;

export type Scheme = keyof typeof DEFAULT_PORTS;

const SCHEMES: readonly Scheme[] = ["ws:", "wss:", "amqp:", "amqps:"];

/** The address of a broker, without any secret. */
export interface RemoteUrl {
  /** The URL without user info; the one that was read, if it has none. */
  readonly url: URL;
  readonly scheme: Scheme;
  /** Whether the scheme implies TLS. */
  readonly secure: boolean;
  /** The host name or address, IPv6 without brackets. */
  readonly hostname: string;
  /** The port, by default that of the scheme. */
  readonly port: number;
}

/**
 * Parses the URL of a broker.
 *
 * @throws {TypeError} If it is not a URL, has another scheme than those given, a fragment or no host. The error does not
 * quote the URL, which may hold a password.
 */
export function readUrl(input: string | URL, schemes: readonly Scheme[] = SCHEMES): RemoteUrl {
  let url = input instanceof URL ? input : parseUrl(input);
  const scheme = schemes.find((scheme) => scheme === url.protocol);
  // A "/", "?" or "#" in a password ends the host for a URL: "Root:12/c=@localhost" would dial "root".
  const misread = url.username === "" && url.port !== "" && `${url.pathname}${url.search}`.includes("@");
  if (scheme === undefined || url.hostname === "" || url.href.includes("#") || misread) {
    throw new TypeError(`Cannot connect: URL is not ${schemes.join(" or ")} and a host, without "#" and "@" behind it`);
  }
  if (url.username + url.password !== "") {
    url = parseUrl(url);
    url.username = url.password = "";
  }
  // URL does not normalize the host of a scheme that it does not know. Most hosts are normal, and a URL more costs time.
  const isKnown = scheme.startsWith("ws") || isNormal(url.hostname);
  return {
    url,
    scheme,
    secure: scheme === "wss:" || scheme === "amqps:",
    hostname: (isKnown ? url : parseUrl(`ws://${url.hostname}`)).hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? DEFAULT_PORTS[scheme] : Number(url.port),
  };
}

// Whether URL leaves a host as it is: a name whose last label is no number, not in Punycode, which it checks; or an address of
// four decimals.
function isNormal(host: string): boolean {
  return /^(?!.*xn--)(?:[a-z\d-]+\.)*[a-z][a-z\d-]*$|^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.?\b){4}$/.test(host);
}

/**
 * The user name and password in a URL, decoded; undefined without a user name.
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

/** An error that explains what is wrong with a URL; `error` itself if the explanation cannot be loaded. */
export async function explainedUrl(input: unknown, error: unknown): Promise<unknown> {
  return await import("./url_mistakes.ts").then(({ explain }) => explain(input) ?? error, () => error);
}

/** The URL for errors and logs, without its query, in which tokens travel. */
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
    // The runtime's error would quote the URL.
    throw new TypeError("Cannot connect: URL is not valid");
  }
}

/** Whether the text is a token, as methods, field names and subprotocols are [rfc9110 5.6.2]. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** The registered name of AMQP 1.0 over WebSocket [wsb 2.1]. */
const DEFAULT_SUBPROTOCOL = "amqp";

/**
 * Checks the subprotocols to offer or accept, in order of preference. A client may offer none, for relays that choose none;
 * a server has to name one, since without it nothing says that the peer speaks AMQP.
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

/** Whether a server's choice is one of the offered names, or empty if none was offered. */
export function isChosen(name: string, offered: readonly string[]): boolean {
  return offered.length === 0 ? name === "" : offered.includes(name);
}

/** Host and port as one text, an IPv6 address in brackets. */
export function joinAuthority(hostname: string, port: number): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}
