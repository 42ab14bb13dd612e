/**
 * Where a peer sends those whom it does not serve itself [transport 2.8.16, 2.8.18]: what may be followed, and with what.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";

/** Where a peer sends a connection to. */
export interface RedirectTarget {
  /** Where to, without user info and query. */
  readonly url: string;
  /** True when that is the host, though maybe another port, that was connected to. */
  readonly sameHost: boolean;
}

/**
 * Which redirects are followed: none, those to the same host, or those for which a function returns true; then the credentials
 * go to the other host, too. Never from TLS to none.
 */
export type RedirectOption = "same-host" | ((target: RedirectTarget) => boolean) | undefined;

/** Redirects in a row that are followed. */
export const MAX_REDIRECTS = 5;

/** Where `error` sends a connection to `from`, if it does and may. */
export function redirectOf(error: unknown, from: URL, option: RedirectOption): URL | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.connectionRedirect) {
    return undefined;
  }
  const { "network-host": host, port, scheme, path } = error.info ?? {};
  if (typeof host !== "string" || host === "") return undefined;
  let target: URL;
  try {
    target = new URL(from);
    // URL ignores a change between schemes that it knows and others, so the text is put together.
    const protocol = typeof scheme === "string" ? `${scheme}:` : from.protocol;
    const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    const at = port === undefined ? "" : `:${Number(port)}`;
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

/** The address at this very peer that `error` sends a link to, if it does and may; `host` is what was connected to. */
export function linkRedirectOf(error: unknown, host: string, option: RedirectOption): string | undefined {
  if (option === undefined || !(error instanceof AmqpError) || error.condition !== condition.linkRedirect) {
    return undefined;
  }
  const { "network-host": other = host, address } = error.info ?? {};
  return other === host && typeof address === "string" && address !== "" ? address : undefined;
}
