/**
 * Where to go if the peer redirects. A file of its own, which a connection loads that is to follow redirects.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";

/** The target of a redirect. */
export interface RedirectTarget {
  /** The URL, without user info and query. */
  readonly url: string;
  /** True if the host is the one connected to; the port may differ. */
  readonly sameHost: boolean;
}

/**
 * Which redirects are followed: none, those to the same host, or those for which a function returns true, in which case the
 * other host gets the credentials. Never from TLS to cleartext.
 */
export type RedirectOption = "same-host" | ((target: RedirectTarget) => boolean) | undefined;

/** The most redirects followed in a row. */
export const MAX_REDIRECTS = 5;

/** The redirects that one connection follows. */
export class Redirects {
  /** The bound of attempts where redirects are followed and nothing else is tried again. */
  readonly maxAttempts: number = MAX_REDIRECTS;
  /** The virtual host of the last target; undefined for that of its URL [transport 2.8.16]. */
  hostname: string | undefined;
  readonly #option: RedirectOption;
  #inRow = 0;

  constructor(option: RedirectOption) {
    this.#option = option;
  }

  /**
   * The URL to which `error` redirects a connection to `from`; undefined for no redirect, one not allowed, or one too many.
   *
   * @throws {unknown} The error of the program's function.
   */
  next(error: unknown, from: URL): URL | undefined {
    const earlier = this.#inRow;
    this.#inRow = 0;
    const target = earlier < MAX_REDIRECTS ? redirectOf(error, from, this.#option) : undefined;
    if (target === undefined) return undefined;
    this.#inRow = earlier + 1;
    const { hostname } = (error as AmqpError).info ?? {};
    this.hostname = typeof hostname === "string" && hostname !== "" ? hostname : undefined;
    return target;
  }

  /** Notes a connection that lasted, which ends the row. */
  lasted(): void {
    this.#inRow = 0;
  }

  /** The address on the same peer to which `error` redirects a link; undefined for no redirect, or one not allowed. */
  addressOf(error: unknown, host: string): string | undefined {
    return linkRedirectOf(error, host, this.#option);
  }
}

/** The URL to which `error` redirects a connection to `from`; undefined for no redirect, or one not allowed. */
export function redirectOf(error: unknown, from: URL, option: RedirectOption): URL | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.connectionRedirect) {
    return undefined;
  }
  const { "network-host": host, port, scheme, path } = error.info ?? {};
  if (typeof host !== "string" || host === "") return undefined;
  // Of any integer type; the URL refuses what is beyond a port.
  const number = Number(port ?? undefined);
  if (port !== undefined && port !== null && !(Number.isInteger(number) && number > 0)) return undefined;
  let target: URL;
  try {
    target = new URL(from);
    // The URL setters ignore a change from a special scheme to another, so the text is assembled.
    const protocol = typeof scheme === "string" ? `${scheme}:` : from.protocol;
    const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    const at = Number.isNaN(number) ? "" : `:${number}`;
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

/** The address on the same peer to which `error` redirects a link; undefined for no redirect, or one not allowed. */
export function linkRedirectOf(error: unknown, host: string, option: RedirectOption): string | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.linkRedirect) {
    return undefined;
  }
  const { "network-host": other = host, address } = error.info ?? {};
  return other === host && typeof address === "string" && address !== "" ? address : undefined;
}
