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
  /** The name that the peer wants in `open` and SASL there, which goes before option `hostname` [transport 2.8.16]; undefined for none. */
  readonly hostname: string | undefined;
}

/** Where to dial. */
export interface DialTarget {
  /** The URL, with its user info. */
  readonly url: URL;
  /** The name to put in `open` and SASL there, if not the one of the options. */
  readonly hostname?: string | undefined;
}

/** Where one message goes. */
export interface MessageTarget extends DialTarget {
  /** The address of the node. */
  readonly address: string;
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
  readonly #option: RedirectOption;
  #inRow = 0;
  #moves = 0;

  constructor(option: RedirectOption) {
    this.#option = option;
  }

  /**
   * Where `error` redirects a connection to `from`; undefined for no redirect, one not allowed, or one too many.
   *
   * @throws {unknown} The error of the program's function.
   */
  next(error: unknown, from: URL): DialTarget | undefined {
    const earlier = this.#inRow;
    this.#inRow = 0;
    const target = earlier < MAX_REDIRECTS ? redirectOf(error, from, this.#option) : undefined;
    if (target !== undefined) this.#inRow = earlier + 1;
    return target;
  }

  /** Notes a connection that lasted, which ends the row. */
  lasted(): void {
    this.#inRow = 0;
  }

  /**
   * The address on the same peer, connected to at `host`, to which `error` redirects a link; undefined for no redirect, or one
   * not allowed.
   */
  addressOf(error: unknown, host: string): string | undefined {
    return linkRedirectOf(error, host, this.#option);
  }

  /**
   * Where a message goes that `error` kept from `target`; undefined for no redirect, one not allowed, or one too many.
   *
   * @throws {unknown} The error of the program's function.
   */
  moved(error: unknown, target: MessageTarget, host: string): MessageTarget | undefined {
    const { address } = target;
    const to = this.next(error, target.url);
    if (to !== undefined) return { ...to, address };
    const other = this.addressOf(error, host);
    return other === undefined || this.#moves++ === MAX_REDIRECTS ? undefined : { ...target, address: other };
  }
}

/** Where `error` redirects a connection to `from`; undefined for no redirect, or one not allowed. */
export function redirectOf(error: unknown, from: URL, option: RedirectOption): DialTarget | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.connectionRedirect) {
    return undefined;
  }
  const { "network-host": host, port, scheme, path, hostname: name } = error.info ?? {};
  if (typeof host !== "string" || host === "") return undefined;
  // Of any integer type; the URL refuses what is beyond a port.
  const number = Number(port ?? undefined);
  if (port !== undefined && port !== null && !(Number.isInteger(number) && number > 0)) return undefined;
  let target: URL;
  try {
    target = new URL(from);
    // The URL setters ignore a change from a special scheme to another, so the text is assembled.
    const protocol = typeof scheme === "string" ? `${scheme}:` : from.protocol;
    const at = Number.isNaN(number) ? "" : `:${number}`;
    target = new URL(
      `${protocol}//${bracketed(host)}${at}${
        typeof path === "string" ? `/${path.replace(/^\/+/, "")}` : from.pathname
      }`,
    );
  } catch {
    return undefined;
  }
  const { protocol } = target;
  if (!["ws:", "wss:", "amqp:", "amqps:"].includes(protocol)) return undefined;
  if (["wss:", "amqps:"].includes(from.protocol) && !["wss:", "amqps:"].includes(protocol)) return undefined;
  const sameHost = target.hostname === from.hostname;
  const hostname = typeof name === "string" && name !== "" ? name : undefined;
  if (option === "same-host" ? !sameHost : option({ url: target.href, sameHost, hostname }) !== true) return undefined;
  target.username = from.username;
  target.password = from.password;
  return { url: target, hostname };
}

/**
 * The address on the same peer, connected to at `host` (name and port), to which `error` redirects a link; undefined for no
 * redirect, or one not allowed. Another port is another peer: the node of that address here is not the one meant.
 */
export function linkRedirectOf(error: unknown, host: string, option: RedirectOption): string | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.linkRedirect) {
    return undefined;
  }
  const at = host.lastIndexOf(":");
  const { "network-host": other, port, address } = error.info ?? {};
  const there = `${bracketed(String(other ?? host.slice(0, at)))}:${Number(port ?? host.slice(at + 1))}`;
  if (there !== host) return undefined;
  return typeof address === "string" && address !== "" ? address : undefined;
}

// A host's name as a URL has it.
function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}
