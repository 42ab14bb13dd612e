/**
 * The checks that every accepting adapter makes before it upgrades an HTTP request to a WebSocket.
 *
 * @module
 */

import type { Channel } from "../channel.ts";
import { isAllowedOrigin, type OriginPolicy } from "./origins.ts";
import { checkSubprotocols } from "./subprotocols.ts";
import { tokensOf } from "../http/tokens.ts";
import type { WebSocketChannelOptions } from "./web_socket_channel.ts";

export type { OriginPolicy } from "./origins.ts";

/** Which upgrade requests are accepted, and how their channels carry bytes. */
export interface UpgradeOptions extends WebSocketChannelOptions {
  /** The names accepted, most preferred first. Default: `["amqp"]` [wsb 2.1]. */
  subprotocols?: readonly string[];
  /** Which web pages may connect. Default: none; programs send no `Origin` and are not concerned. */
  origins?: OriginPolicy;
}

/** What is known of an accepted WebSocket besides its bytes. */
export interface UpgradeInfo {
  /** The subprotocol that was chosen. */
  readonly protocol: string;
  /** The request that was upgraded. */
  readonly request: Request;
}

/** Takes over each channel that an adapter has accepted; sets `onbytes` and `onclose` before it returns. */
export type Accept = (channel: Channel, info: UpgradeInfo) => void;

/** What is read of a request before it is admitted; a `Request` has it. */
export interface RequestLike {
  /** The HTTP method. */
  readonly method: string;
  /** The header fields; several of one name are joined by a comma. */
  readonly headers: { get(name: string): string | null };
}

/**
 * Gives the subprotocol to upgrade with, or the response to refuse with.
 *
 * Chosen is the first of the accepted names that the request offers, as a whole and in this case of letters. What only
 * concerns the WebSocket handshake (`Sec-WebSocket-Key`) is left to the runtime's own upgrade.
 *
 * @example
 * ```ts
 * import { admit } from "./upgrade.ts";
 *
 * const headers = new Headers({ "upgrade": "websocket", "sec-websocket-protocol": "mqtt, amqp" });
 * console.assert(admit({ method: "GET", headers }) === "amqp");
 * ```
 *
 * @throws {TypeError} If an accepted name is not a token.
 */
export function admit(request: RequestLike, options: UpgradeOptions = {}): string | Response {
  const accepted = checkSubprotocols(options.subprotocols);
  const { method, headers } = request;
  if (method !== "GET") return refuse(405, "method is not GET", { allow: "GET" });
  if (!hasToken(headers.get("upgrade"), "websocket")) {
    return refuse(426, "a WebSocket is required", { upgrade: "websocket", connection: "Upgrade" });
  }
  // A front end that hides the field from the program has read it.
  const connection = headers.get("connection");
  if (connection !== null && !hasToken(connection, "upgrade")) return refuse(400, 'Connection lacks "upgrade"');
  const version = headers.get("sec-websocket-version");
  if (version !== null && version !== "13") {
    return refuse(426, "WebSocket version is not 13", {
      "upgrade": "websocket",
      "connection": "Upgrade",
      "sec-websocket-version": "13",
    });
  }
  const origin = headers.get("origin");
  if (origin !== null && !isAllowedOrigin(origin, options.origins)) return refuse(403, "origin is not allowed");
  const offered = tokensOf(headers.get("sec-websocket-protocol") ?? "");
  if (offered === undefined) return refuse(400, "Sec-WebSocket-Protocol is not a list of tokens");
  // Without a subprotocol nothing says that the peer speaks AMQP [wsb 2.1].
  return accepted.find((name) => offered.includes(name)) ?? refuse(400, "no accepted subprotocol is offered");
}

/** The response to a request that the runtime itself would not upgrade. */
export function refuseMalformed(): Response {
  return refuse(400, "not a WebSocket handshake");
}

function hasToken(header: string | null, wanted: string): boolean {
  return tokensOf(header ?? "")?.some((token) => token.toLowerCase() === wanted) ?? false;
}

// Nothing of the request is repeated: it may have come through a page of another origin.
function refuse(status: number, why: string, headers: Record<string, string> = {}): Response {
  return new Response(`Cannot upgrade: ${why}\n`, { status, headers });
}
