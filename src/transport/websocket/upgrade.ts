/**
 * The accepting side of WebSocket's opening handshake: the rules by which every adapter, and this module's server over
 * sockets, accepts a request [rfc6455 4.2].
 *
 * @module
 */

import { checkOptions, describeKind, type OptionKinds } from "../../base/options.ts";
import { checkSubprotocols } from "../url.ts";
import { concat } from "@std/bytes";
import { TransportError } from "../../base/errors.ts";
import type { Channel } from "../channel.ts";
import {
  encodeResponseHead,
  type HeaderField,
  headerValues,
  type HeadLimits,
  type HeadParser,
  type RequestHead,
  requestParser,
} from "../http/head.ts";
import { hasToken, tokensOf } from "../http/tokens.ts";
import { checkExtraHeaders, checkFraming, listNames } from "./handshake.ts";
import type { WebSocketChannelOptions } from "./web_socket_channel.ts";

/**
 * Which web pages may connect, by their `Origin`: any, a list such as `["https://app.example"]`, a test, or `"same-host"`.
 *
 * `"same-host"` is for a service on one's own machine or at an address: it allows an `Origin` whose host is that of the
 * request, and is `localhost` or an IP address. No other name is safe, since its owner can point it to this machine after
 * the page was loaded (DNS rebinding).
 */
export type OriginPolicy = "any" | "same-host" | readonly string[] | ((origin: string) => boolean);

/** Which upgrade requests are accepted, and the settings of their channels. */
export interface UpgradeOptions extends WebSocketChannelOptions {
  /** The accepted subprotocols, most preferred first. Default: `["amqp"]` [wsb 2.1]. */
  subprotocols?: readonly string[] | undefined;
  /**
   * Which web pages may connect. Default: none. Most programs send no `Origin` and always pass; some send the host that
   * they dial, such as Python's websocket-client and qpid-jms, and have to be named here.
   */
  origins?: OriginPolicy | undefined;
}

export const UPGRADE_KINDS: OptionKinds<UpgradeOptions> = {
  subprotocols: "array of string",
  origins: '"any", "same-host", function or array of string',
  maxMessageBytes: "number from 1",
  closeTimeoutMs: "number from 1",
};

/**
 * Checks the arguments of a runtime's `handler`.
 *
 * @throws {TypeError} If `accept` is not a function, an option does not exist or is of another kind, or a subprotocol
 * cannot be used.
 */
export function checkHandler(accept: unknown, options: UpgradeOptions): void {
  if (typeof accept !== "function") {
    const remedy = "give a function such as (channel) => broker.accept(channel)";
    throw new TypeError(`Cannot make handler: accept is ${describeKind(accept)}, ${remedy}`);
  }
  checkOptions("make handler", options, UPGRADE_KINDS);
  // Otherwise each request would throw.
  acceptedSubprotocols(options.subprotocols);
}

/** The facts about an accepted WebSocket. */
export interface UpgradeInfo {
  /** The negotiated subprotocol. */
  readonly protocol: string;
  /** The upgrade request. */
  readonly request: Request;
}

/** Receives each accepted channel; sets `onbytes` and `onclose` before it returns. */
export type Accept = (channel: Channel, info: UpgradeInfo) => void;

/** The part of a `Request` that is checked. */
export interface RequestLike {
  readonly method: string;
  /** The header fields; those of one name are joined by a comma. */
  readonly headers: { get(name: string): string | null };
}

/** The rules of a server. */
export interface UpgradePolicy {
  /** The accepted subprotocols, most preferred first. If empty, none is chosen; else a client must offer one. */
  subprotocols: readonly string[];
  /** The pages that may connect. A request without `Origin` does not come from a page and always passes. Default: none. */
  origins?: OriginPolicy | undefined;
}

/**
 * Checks a request to open a WebSocket and returns the chosen subprotocol, `""` if the policy names none.
 *
 * The first accepted name that the request offers is chosen; case matters. `Sec-WebSocket-Key` is left to the server that
 * answers it; a front end may have read `Connection` and `Sec-WebSocket-Version` and hide them from the program.
 *
 * @throws {TransportError} With code `"handshake-failed"` or `"subprotocol-mismatch"`, and with the status and headers to
 * answer. Nothing of the request is repeated: it may have come through a page of another origin.
 */
function chooseSubprotocol(request: RequestLike, policy: UpgradePolicy): string {
  const { method, headers } = request;
  if (method !== "GET") throw refused("method is not GET", 405, [["Allow", "GET"]]);
  const upgrade: HeaderField = ["Upgrade", "websocket"];
  if (!hasToken(headers.get("upgrade") ?? "", "websocket")) throw refused("a WebSocket is required", 426, [upgrade]);
  const connection = headers.get("connection");
  if (connection !== null && !hasToken(connection, "upgrade")) throw refused('Connection does not name "upgrade"');
  const version = headers.get("sec-websocket-version");
  if (version !== null && version !== "13") {
    throw refused("WebSocket version is not 13", 426, [upgrade, ["Sec-WebSocket-Version", "13"]]);
  }
  const origin = headers.get("origin");
  if (origin !== null && !isAllowedOrigin(origin, policy.origins, headers.get("host"))) {
    // The text is also for programs, which may not know that they send an Origin.
    throw refused('its Origin is not allowed; pages and programs that send one have to be named in "origins"', 403);
  }
  const offered = tokensOf(headers.get("sec-websocket-protocol") ?? "");
  if (offered === undefined) throw refused("Sec-WebSocket-Protocol is not a list of tokens");
  if (policy.subprotocols.length === 0) return "";
  const chosen = policy.subprotocols.find((name) => offered.includes(name));
  if (chosen !== undefined) return chosen;
  // Without a subprotocol nothing says that the peer speaks AMQP [wsb 2.1].
  const state = `subprotocol is not ${listNames(policy.subprotocols)}`;
  throw new TransportError("subprotocol-mismatch", `Cannot accept WebSocket: ${state}`, { status: 400 });
}

// By default no page may connect: any page in a browser could otherwise reach a service on its user's network, with the
// user's cookies and client certificate.
function isAllowedOrigin(origin: string, origins: OriginPolicy = [], host: string | null): boolean {
  // A promise counts as false.
  if (typeof origins === "function") return origins(origin) === true;
  // Any other string, possible without types, allows no page: `includes` would match its parts.
  if (typeof origins === "string") return origins === "any" || (origins === "same-host" && isSameHost(origin, host));
  return origins.includes(origin);
}

// Ports do not matter: a page comes from a port of its own.
function isSameHost(origin: string, host: string | null): boolean {
  try {
    const { hostname } = new URL(origin);
    // URL normalizes IPv4 addresses to four decimal numbers, and the last label of a name is never a number.
    const isOurs = hostname === "localhost" || hostname.startsWith("[") || /^\d+(?:\.\d+){3}$/.test(hostname);
    return isOurs && host !== null && new URL(`http://${host}`).hostname === hostname;
  } catch {
    return false;
  }
}

/**
 * Returns the subprotocol to accept, or the response that refuses; for adapters whose runtime upgrades.
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
export function admit(request: RequestLike, { subprotocols, origins }: UpgradeOptions = {}): string | Response {
  const policy = { subprotocols: acceptedSubprotocols(subprotocols), origins };
  try {
    return chooseSubprotocol(request, policy);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    const { message, status = 400, headers = [] } = error;
    const response = new Response(`${message}\n`, {
      status,
      headers: headers.map(([name, value]): [string, string] => [name, value]),
    });
    // A sender of Upgrade must name it in Connection [rfc9110 7.8].
    if (response.headers.has("upgrade")) response.headers.set("connection", "Upgrade");
    return response;
  }
}

/**
 * Checks the subprotocols to accept.
 *
 * @throws {TypeError} If one is not a token or comes twice, or there is none: nothing then says that a client speaks AMQP.
 */
export function acceptedSubprotocols(names: readonly string[] | undefined): readonly string[] {
  if (names?.length === 0) throw new TypeError("Cannot use subprotocols: list is empty");
  return checkSubprotocols(names);
}

/** The response to a request that the runtime did not upgrade. */
export function refuseMalformed(): Response {
  return new Response("Cannot accept WebSocket: request is no WebSocket handshake\n", { status: 400 });
}

/** An acceptable upgrade request. */
export interface UpgradeRequest {
  /** The head as sent. */
  readonly head: RequestHead;
  /** The key for {@linkcode acceptKey}. */
  readonly key: string;
  /** The subprotocol to choose; `""` if the policy names none. */
  readonly subprotocol: string;
}

/**
 * Checks a request to open a WebSocket over a socket, where every field must be present.
 *
 * @throws {TransportError} As {@linkcode chooseSubprotocol} does.
 */
export function checkUpgrade(head: RequestHead, policy: UpgradePolicy): UpgradeRequest {
  const { headers, method } = head;
  const values = (name: string): string[] => headerValues(headers, name);
  const joined = { get: (name: string) => values(name).length === 0 ? null : values(name).join(", ") };
  const subprotocol = chooseSubprotocol({ method, headers: joined }, policy);
  if (head.version !== "HTTP/1.1") throw refused("version is not HTTP/1.1");
  for (const name of ["Host", "Sec-WebSocket-Version"]) {
    if (values(name).length !== 1) throw refused(`request has not one ${name} field`);
  }
  if (values("connection").length === 0) throw refused('Connection does not name "upgrade"');
  const hasBody = values("transfer-encoding").length > 0 || values("content-length").some((length) => length !== "0");
  if (hasBody) throw refused("request has a body");
  const keys = values("sec-websocket-key");
  // 22 digits and their padding are 16 bytes.
  if (keys.length !== 1 || !/^[A-Za-z0-9+/]{22}==$/.test(keys[0]!)) {
    throw refused("request has not one key of 16 bytes");
  }
  return { head, key: keys[0]!, subprotocol };
}

/** Reads an upgrade request, and checks that nothing follows it. */
export class ServerUpgrade {
  readonly #parser: HeadParser<RequestHead>;
  readonly #policy: UpgradePolicy;
  #request: UpgradeRequest | undefined;

  constructor(policy: UpgradePolicy, limits: HeadLimits = {}) {
    this.#parser = requestParser(limits);
    this.#policy = policy;
  }

  /** The request, once it is complete. */
  get request(): UpgradeRequest | undefined {
    return this.#request;
  }

  /**
   * Takes bytes and returns the request once it is complete.
   *
   * @throws {TransportError} As {@linkcode checkUpgrade} does, with code `"protocol-violation"` for invalid HTTP.
   */
  receive(bytes: Uint8Array): UpgradeRequest | undefined {
    const head = this.#request === undefined ? this.#parser.receive(bytes) : undefined;
    return this.take(head, this.#request === undefined ? this.#parser.surplus : bytes);
  }

  /**
   * Takes a head that the caller has read, and the bytes behind it.
   *
   * @throws {TransportError} As {@linkcode checkUpgrade} does.
   */
  take(head: RequestHead | undefined, early: Uint8Array): UpgradeRequest | undefined {
    // A client must wait for the answer [rfc6455 4.1]; one that does not may be hiding a second request.
    if (early.length > 0) throw refused("bytes before the answer");
    if (head !== undefined) this.#request = checkUpgrade(head, this.#policy);
    return head && this.#request;
  }

  /**
   * The response that opens the WebSocket.
   *
   * @throws {TypeError} If a header field may not be sent.
   */
  accept(accept: string, headers: readonly HeaderField[]): Uint8Array {
    return encodeUpgraded(accept, this.#request!.subprotocol, headers);
  }

  /**
   * The response that refuses.
   *
   * @throws {TypeError} If the status or a header field may not be sent.
   */
  refuse(status: number, headers: readonly HeaderField[]): Uint8Array {
    return encodeRefusal(status, `Refused with status ${status}\n`, headers);
  }

  /** The response to an invalid or unacceptable request. */
  answer({ status = 400, message, headers }: TransportError): Uint8Array {
    return encodeRefusal(status, `${message}\n`, headers);
  }
}

/**
 * Encodes the response that opens the WebSocket.
 *
 * @throws {TypeError} If a header field may not be sent.
 */
export function encodeUpgraded(
  accept: string,
  subprotocol: string,
  headers: readonly HeaderField[] = [],
): Uint8Array {
  checkExtraHeaders(headers);
  const chosen: HeaderField[] = subprotocol === "" ? [] : [["Sec-WebSocket-Protocol", subprotocol]];
  return encodeResponseHead({
    status: 101,
    // HTTP ignores the reason, but some clients compare it.
    reason: "Switching Protocols",
    headers: [
      ["Upgrade", "websocket"],
      ["Connection", "Upgrade"],
      ["Sec-WebSocket-Accept", accept],
      ...chosen,
      ...headers,
    ],
  });
}

/**
 * Encodes a response that refuses, with `text` as its body; the connection ends behind it.
 *
 * @throws {TypeError} If the status or a header field may not be sent.
 */
export function encodeRefusal(status: number, text: string, headers: readonly HeaderField[] = []): Uint8Array {
  checkFraming(headers);
  const body = new TextEncoder().encode(text);
  const head = encodeResponseHead({
    status,
    reason: "",
    headers: [
      ["Connection", headerValues(headers, "upgrade").length > 0 ? "close, Upgrade" : "close"],
      ["Content-Type", "text/plain; charset=utf-8"],
      ["Content-Length", `${body.length}`],
      ...headers,
    ],
  });
  return concat([head, body]);
}

function refused(state: string, status: number = 400, headers: readonly HeaderField[] = []): TransportError {
  return new TransportError("handshake-failed", `Cannot accept WebSocket: ${state}`, { status, headers });
}
