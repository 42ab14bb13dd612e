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
  if (scheme === undefined) {
    throw new TypeError(`Cannot connect: URL scheme is not ${schemes.map((name) => `"${name}"`).join(" or ")}`);
  }
  if (url.href.includes("#")) throw new TypeError("Cannot connect: URL has a fragment");
  if (url.hostname === "") throw new TypeError("Cannot connect: URL has no host");
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

/** The target's URL for people and errors: tokens travel in the query, and are left out. */
export function labelOf({ url }: RemoteUrl): string {
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
