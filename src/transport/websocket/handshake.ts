/**
 * The opening handshake of WebSocket without I/O: [rfc6455 4] for both roles.
 *
 * The digest in it is the one step that runtimes offer only as a promise. Both roles take it before they need it, the
 * client when it makes its request, the server while it authenticates, so that all that reads bytes stays synchronous.
 *
 * @module
 */

import { TransportError } from "../../base/errors.ts";
import { BodyReader } from "../http/body.ts";
import {
  encodeRequestHead,
  encodeResponseHead,
  hasToken,
  type HeaderField,
  headerList,
  headerValues,
  type HeadLimits,
  type HeadParser,
  type RequestHead,
  requestParser,
  type ResponseHead,
  responseParser,
} from "../http/head.ts";
import { isAllowedOrigin, type OriginPolicy } from "./origins.ts";
import { checkSubprotocols } from "./subprotocols.ts";
import { isToken } from "../http/token.ts";
import type { RandomSource } from "./frames.ts";

/** What the digest needs of the runtime's `crypto.subtle`. */
export interface DigestSource {
  /** The digest of `data`. */
  digest(algorithm: "SHA-1", data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
}

/** What a client's handshake needs of the runtime's `crypto`. */
export interface CryptoSource extends RandomSource {
  /** Where digests come from. */
  readonly subtle: DigestSource;
}

/** What a client asks for. */
export interface ClientHandshakeOptions {
  /** Where to; only host, path and query are used, whatever the scheme. User info never goes on the wire. */
  url: URL;
  /** The runtime's `crypto`. */
  crypto: CryptoSource;
  /** The subprotocols to offer, best first; exactly one of them has to be chosen, unless none is offered. Default: none. */
  subprotocols?: readonly string[];
  /** Further header fields, such as `Authorization` or `Origin`; those of the handshake itself are refused. */
  headers?: readonly HeaderField[];
}

/** A request that is ready to be sent, and what its answer must be. */
export interface ClientHandshake {
  /** The head to send. */
  readonly request: Uint8Array;
  /** The only right `Sec-WebSocket-Accept`. */
  readonly accept: string;
  /** What was offered. */
  readonly subprotocols: readonly string[];
}

/**
 * Makes the request that opens a WebSocket.
 *
 * @throws {TypeError} If a subprotocol or a header field may not be sent.
 */
export async function clientHandshake(options: ClientHandshakeOptions): Promise<ClientHandshake> {
  const { url, crypto, subprotocols = [], headers = [] } = options;
  if (subprotocols.length > 0) checkSubprotocols(subprotocols);
  checkExtraHeaders(headers);
  const nonce = new Uint8Array(16);
  crypto.getRandomValues(nonce);
  const key = base64(nonce);
  const offer: HeaderField[] = subprotocols.length > 0 ? [["Sec-WebSocket-Protocol", subprotocols.join(", ")]] : [];
  const request = encodeRequestHead({
    method: "GET",
    target: `${url.pathname}${url.search}`,
    headers: [
      ["Host", url.host],
      ["Upgrade", "websocket"],
      ["Connection", "Upgrade"],
      ["Sec-WebSocket-Key", key],
      ["Sec-WebSocket-Version", "13"],
      ...offer,
      ...headers,
    ],
  });
  return { request, accept: await acceptKey(key, crypto.subtle), subprotocols };
}

/** The `Sec-WebSocket-Accept` that answers `key` [rfc6455 4.2.2]. */
export async function acceptKey(key: string, subtle: DigestSource): Promise<string> {
  const text = new TextEncoder().encode(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
  return base64(new Uint8Array(await subtle.digest("SHA-1", text)));
}

/** What a client's handshake came to. */
export interface Upgraded {
  /** The subprotocol that the server chose, `""` if none was offered. */
  readonly subprotocol: string;
  /** The header fields of the response. */
  readonly headers: readonly HeaderField[];
  /** The bytes behind the response: the first frames. */
  readonly surplus: Uint8Array;
}

// A server has no reason to send more than one, so it is no option.
const MAX_INTERIM_RESPONSES = 8;

/** Reads and checks the response to a {@linkcode ClientHandshake}. */
export class ClientUpgrade {
  readonly #handshake: ClientHandshake;
  readonly #limits: HeadLimits;
  #parser: HeadParser<ResponseHead>;
  #interim = 0;
  #refusal: ResponseHead | undefined;
  #body: BodyReader | undefined;

  /** Waits for the response to `handshake`. */
  constructor(handshake: ClientHandshake, limits: HeadLimits = {}) {
    this.#handshake = handshake;
    this.#limits = limits;
    this.#parser = responseParser(limits);
  }

  /**
   * Takes bytes and tells when the WebSocket is open.
   *
   * @throws {TransportError} With code `"handshake-failed"`, `"subprotocol-mismatch"`, or `"protocol-violation"` for
   * what is not HTTP. A refusal carries its status, headers and the start of its body.
   */
  receive(bytes: Uint8Array): Upgraded | undefined {
    let rest = bytes;
    while (this.#refusal === undefined) {
      const head = this.#parser.receive(rest);
      if (head === undefined) return undefined;
      rest = this.#parser.surplus;
      if (head.status === 101) {
        return { subprotocol: checkUpgraded(head, this.#handshake), headers: head.headers, surplus: rest };
      }
      // Other interim responses announce a final one [rfc9110 15.2].
      if (head.status >= 200) this.#refusal = head;
      else if (++this.#interim > MAX_INTERIM_RESPONSES) throw failed("too many interim responses");
      else this.#parser = responseParser(this.#limits);
    }
    this.#readBody(this.#refusal, rest);
    return undefined;
  }

  /** The refusal as far as it was read, for when the connection or the patience ends before its body does. */
  get refusal(): TransportError | undefined {
    return this.#refusal && refusal(this.#refusal, this.#body);
  }

  // A body that cannot be read must not hide the status, so its violations only end it.
  #readBody(head: ResponseHead, bytes: Uint8Array): void {
    try {
      this.#body ??= new BodyReader(head);
      if (this.#body.state === "reading") this.#body.receive(bytes);
    } catch (cause) {
      throw refusal(head, this.#body, cause);
    }
    if (this.#body.state !== "reading") throw refusal(head, this.#body);
  }
}

/** What a server lets in. */
export interface UpgradePolicy {
  /** The subprotocols that are spoken here, best first. If empty, none is chosen; else a client must offer one. */
  subprotocols: readonly string[];
  /** The pages that may connect. A request without `Origin` does not come from a page and always passes. */
  origins: OriginPolicy;
}

/** A request that may be accepted. */
export interface UpgradeRequest {
  /** The head as it was sent. */
  readonly head: RequestHead;
  /** The key to answer, see {@linkcode acceptKey}. */
  readonly key: string;
  /** The subprotocol to choose, `""` if the policy names none. */
  readonly subprotocol: string;
}

/**
 * Checks a request to open a WebSocket.
 *
 * @throws {TransportError} With code `"handshake-failed"` or `"subprotocol-mismatch"`, and with the status and headers
 * to answer.
 */
export function checkUpgrade(head: RequestHead, policy: UpgradePolicy): UpgradeRequest {
  const { headers } = head;
  if (head.method !== "GET") throw refused("method is not GET");
  if (head.version !== "HTTP/1.1") throw refused("version is not HTTP/1.1");
  if (headerValues(headers, "host").length !== 1) throw refused("not one host field");
  if (!hasToken(headers, "upgrade", "websocket")) throw refused("upgrade field does not name websocket");
  if (!hasToken(headers, "connection", "upgrade")) throw refused("connection field does not name upgrade");
  if (headerValues(headers, "transfer-encoding").length > 0) throw refused("request has a body");
  if (headerValues(headers, "content-length").some((length) => length !== "0")) throw refused("request has a body");
  const versions = headerValues(headers, "sec-websocket-version");
  if (versions.length !== 1) throw refused("not one sec-websocket-version field");
  if (versions[0] !== "13") throw refused("version is not 13", 426, [["Sec-WebSocket-Version", "13"]]);
  const keys = headerValues(headers, "sec-websocket-key");
  // 22 digits and their padding are 16 bytes.
  if (keys.length !== 1 || !/^[A-Za-z0-9+/]{22}==$/.test(keys[0]!)) throw refused("not one key of 16 bytes");
  const origins = headerValues(headers, "origin");
  if (!origins.every((origin) => isAllowedOrigin(origin, policy.origins))) throw refused("origin is not allowed", 403);
  return { head, key: keys[0]!, subprotocol: chooseSubprotocol(headers, policy.subprotocols) };
}

/** Reads a request to open a WebSocket, and checks that nothing follows it. */
export class ServerUpgrade {
  readonly #parser: HeadParser<RequestHead>;
  readonly #policy: UpgradePolicy;
  #request: UpgradeRequest | undefined;

  /** Waits for a request that `policy` lets in. */
  constructor(policy: UpgradePolicy, limits: HeadLimits = {}) {
    this.#parser = requestParser(limits);
    this.#policy = policy;
  }

  /** The request, once it is there. */
  get request(): UpgradeRequest | undefined {
    return this.#request;
  }

  /**
   * Takes bytes and returns the request once it is there.
   *
   * @throws {TransportError} As {@linkcode checkUpgrade} does, with code `"protocol-violation"` for what is not HTTP.
   */
  receive(bytes: Uint8Array): UpgradeRequest | undefined {
    const head = this.#request === undefined ? this.#parser.receive(bytes) : undefined;
    return this.take(head, this.#request === undefined ? this.#parser.surplus : bytes);
  }

  /**
   * Takes a head that was read already, and the bytes behind it.
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

  /** The response to what is no request to open a WebSocket, or none that may be accepted. */
  answer({ status = 400, message, headers }: TransportError): Uint8Array {
    return encodeRefusal(status, `${message}\n`, headers);
  }
}

/**
 * Writes the response that opens the WebSocket.
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
    // Without meaning in HTTP, but clients in the field compare it.
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
 * Writes a response that refuses, with `text` as its body; the connection ends behind it.
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
      ["Connection", "close"],
      ["Content-Type", "text/plain; charset=utf-8"],
      ["Content-Length", `${body.length}`],
      ...headers,
    ],
  });
  const response = new Uint8Array(head.length + body.length);
  response.set(head);
  response.set(body, head.length);
  return response;
}

// Checks a 101 and returns the chosen subprotocol [rfc6455 4.1].
function checkUpgraded(head: ResponseHead, handshake: ClientHandshake): string {
  const { headers } = head;
  const { subprotocols } = handshake;
  if (head.version !== "HTTP/1.1") throw failed("version of the response is not HTTP/1.1");
  const upgrades = headerValues(headers, "upgrade");
  if (upgrades.length !== 1 || upgrades[0]!.toLowerCase() !== "websocket") {
    throw failed("upgrade field is not websocket");
  }
  if (!hasToken(headers, "connection", "upgrade")) throw failed("connection field does not name upgrade");
  const accepts = headerValues(headers, "sec-websocket-accept");
  if (accepts.length !== 1 || accepts[0] !== handshake.accept) {
    throw failed("sec-websocket-accept does not fit the key");
  }
  if (headerList(headers, "sec-websocket-extensions").length > 0) {
    throw failed("an extension was chosen, none was offered");
  }
  const chosen = headerList(headers, "sec-websocket-protocol");
  const [subprotocol = ""] = chosen;
  const offered = chosen.length === 0 ? subprotocols.length === 0 : subprotocols.includes(subprotocol);
  if (!offered || chosen.length > 1) {
    throw new TransportError(
      "subprotocol-mismatch",
      `Cannot open WebSocket: server chose subprotocol ${list(chosen)}, offered was ${list(subprotocols)}`,
    );
  }
  return subprotocol;
}

function chooseSubprotocol(headers: readonly HeaderField[], spoken: readonly string[]): string {
  const offered = headerList(headers, "sec-websocket-protocol");
  if (!offered.every(isToken)) throw refused("sec-websocket-protocol is not a list of tokens");
  if (spoken.length === 0) return "";
  const chosen = spoken.find((name) => offered.includes(name));
  if (chosen !== undefined) return chosen;
  throw new TransportError("subprotocol-mismatch", `Cannot accept WebSocket: subprotocol is not ${list(spoken)}`, {
    status: 400,
  });
}

// Whoever sets these could hide a second message behind the first.
function checkFraming(headers: readonly HeaderField[]): void {
  forbid(headers, (name) => name === "connection" || name === "content-length" || name === "transfer-encoding");
}

// Nor may anybody change what the handshake means.
function checkExtraHeaders(headers: readonly HeaderField[]): void {
  checkFraming(headers);
  forbid(headers, (name) => name === "host" || name === "upgrade" || name.startsWith("sec-websocket-"));
}

function forbid(headers: readonly HeaderField[], isOurs: (name: string) => boolean): void {
  for (const [name] of headers) {
    if (isOurs(name.toLowerCase())) {
      throw new TypeError(`Cannot set header ${JSON.stringify(name)}: it belongs to the handshake`);
    }
  }
}

// What the peer wrote goes into an error only escaped and cut.
function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.map((name) => JSON.stringify(name)).join(", ").slice(0, 100);
}

function refusal(head: ResponseHead, reader: BodyReader | undefined, cause?: unknown): TransportError {
  const { status, headers } = head;
  return new TransportError("handshake-failed", `Cannot open WebSocket: status is ${status}`, {
    status,
    headers,
    body: reader?.body.length ? reader.body : undefined,
    cause,
  });
}

function failed(state: string): TransportError {
  return new TransportError("handshake-failed", `Cannot open WebSocket: ${state}`);
}

function refused(state: string, status: number = 400, headers: readonly HeaderField[] = []): TransportError {
  return new TransportError("handshake-failed", `Cannot accept WebSocket: ${state}`, { status, headers });
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
