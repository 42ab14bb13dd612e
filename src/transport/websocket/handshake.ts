/**
 * The client's side of WebSocket's opening handshake, without I/O [rfc6455 4.1].
 *
 * Runtimes offer the digest only as a promise. Both roles compute it early, the client with its request, the server while
 * it authenticates, so that reading bytes stays synchronous.
 *
 * @module
 */

import { checkSubprotocols, urlLabel } from "../url.ts";
import { encodeBase64 } from "@std/encoding";
import { TransportError } from "../../base/errors.ts";
import { quote } from "../../base/text.ts";
import { BodyReader } from "../http/body.ts";
import {
  encodeRequestHead,
  type HeaderField,
  headerHasToken,
  headerList,
  headerValues,
  type HeadLimits,
  type HeadParser,
  MAX_INTERIM_RESPONSES,
  type ResponseHead,
  responseParser,
} from "../http/head.ts";
import type { RandomSource } from "./mask.ts";

/** The part of the runtime's `crypto.subtle` for the digest. */
export interface DigestSource {
  digest(algorithm: "SHA-1", data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
}

/** The part of the runtime's `crypto` for a client's handshake. */
export interface CryptoSource extends RandomSource {
  readonly subtle: DigestSource;
}

/** The settings of {@linkcode prepareUpgrade}. */
export interface PrepareUpgradeOptions {
  /** The target; only host, path and query are used, whatever the scheme. User info is never sent. */
  url: URL;
  crypto: CryptoSource;
  /** Subprotocols to offer, most preferred first; the server must choose exactly one of them. Default: none. */
  subprotocols?: readonly string[] | undefined;
  /** The `Host` field. Default: the host and port of `url`. */
  host?: string | undefined;
  /** Further header fields, such as `Authorization` or `Origin`; those of the handshake itself are refused. */
  headers?: readonly HeaderField[] | undefined;
}

/** A request, and what its response must hold. */
export interface PreparedUpgrade {
  /** The encoded head. */
  readonly request: Uint8Array;
  /** The expected `Sec-WebSocket-Accept`. */
  readonly accept: string;
  /** The offered subprotocols. */
  readonly subprotocols: readonly string[];
  /** The URL for errors, without user info and query. */
  readonly label: string;
}

/**
 * Makes the request that opens a WebSocket.
 *
 * @throws {TypeError} If a subprotocol, the host or a header field may not be sent.
 */
export async function prepareUpgrade(options: PrepareUpgradeOptions): Promise<PreparedUpgrade> {
  const { url, crypto, subprotocols = [], host = url.host, headers = [] } = options;
  if (subprotocols.length > 0) checkSubprotocols(subprotocols);
  checkExtraHeaders(headers);
  // Empty, or with a blank or a path in it, no server could route by it [rfc9110 7.2].
  if (!/^[^\s/?#@]+$/.test(host)) {
    throw new TypeError('Cannot set header "Host": it is no host, such as "broker.example:443"');
  }
  const nonce = new Uint8Array(16);
  crypto.getRandomValues(nonce);
  const key = encodeBase64(nonce);
  const offer: HeaderField[] = subprotocols.length > 0 ? [["Sec-WebSocket-Protocol", subprotocols.join(", ")]] : [];
  const request = encodeRequestHead({
    method: "GET",
    target: `${url.pathname}${url.search}`,
    headers: [
      ["Host", host],
      ["Upgrade", "websocket"],
      ["Connection", "Upgrade"],
      ["Sec-WebSocket-Key", key],
      ["Sec-WebSocket-Version", "13"],
      ...offer,
      ...headers,
    ],
  });
  return { request, accept: await acceptKey(key, crypto.subtle), subprotocols, label: urlLabel(url) };
}

/** The `Sec-WebSocket-Accept` for `key` [rfc6455 4.2.2]. */
export async function acceptKey(key: string, subtle: DigestSource): Promise<string> {
  const text = new TextEncoder().encode(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
  return encodeBase64(new Uint8Array(await subtle.digest("SHA-1", text)));
}

/** The result of a client's handshake. */
export interface Upgraded {
  /** The subprotocol that the server chose; `""` if none was offered. */
  readonly subprotocol: string;
  readonly headers: readonly HeaderField[];
  /** The bytes behind the response: the first frames. */
  readonly surplus: Uint8Array;
}

/** Reads and checks the response to a {@linkcode PreparedUpgrade}. */
export class ClientUpgrade {
  readonly #handshake: PreparedUpgrade;
  readonly #limits: HeadLimits;
  #parser: HeadParser<ResponseHead>;
  #interim = 0;
  #refusal: ResponseHead | undefined;
  #body: BodyReader | undefined;

  constructor(handshake: PreparedUpgrade, limits: HeadLimits = {}) {
    this.#handshake = handshake;
    this.#limits = limits;
    this.#parser = responseParser(limits);
  }

  /**
   * Takes bytes and returns the result once the WebSocket is open.
   *
   * @throws {TransportError} With code `"handshake-failed"`, `"subprotocol-mismatch"`, or `"protocol-violation"` for
   * invalid HTTP. A refusal carries its status, headers and the start of its body.
   */
  receive(bytes: Uint8Array): Upgraded | undefined {
    let rest = bytes;
    while (this.#refusal === undefined) {
      const head = this.#readHead(rest);
      if (head === undefined) return undefined;
      rest = this.#parser.surplus;
      if (head.status === 101) {
        return { subprotocol: checkUpgraded(head, this.#handshake), headers: head.headers, surplus: rest };
      }
      // Other interim responses announce a final one [rfc9110 15.2].
      if (head.status >= 200) this.#refusal = head;
      else if (++this.#interim > MAX_INTERIM_RESPONSES) {
        throw failed("too many interim responses", this.#handshake.label);
      } else this.#parser = responseParser(this.#limits);
    }
    this.#readBody(this.#refusal, rest);
    return undefined;
  }

  /** The handshake in words, for errors. */
  get doing(): string {
    return `open WebSocket to "${this.#handshake.label}"`;
  }

  /** Whether the head of a refusal was read. */
  get isRefused(): boolean {
    return this.#refusal !== undefined;
  }

  /** The refusal as far as it was read, if the connection or the time ends before its body does. */
  get refusal(): TransportError | undefined {
    return this.#refusal && refusal(this.#handshake, this.#refusal, this.#body);
  }

  #readHead(bytes: Uint8Array): ResponseHead | undefined {
    try {
      return this.#parser.receive(bytes);
    } catch (cause) {
      const { code, message } = cause as TransportError;
      const other = speaker(bytes);
      // The same port speaks the same protocol later.
      const retryable = other === "" ? undefined : false;
      throw new TransportError(code, `Cannot ${this.doing}: ${message}${other}`, { cause, retryable });
    }
  }

  // An invalid body must not hide the status, so it only ends early.
  #readBody(head: ResponseHead, bytes: Uint8Array): void {
    try {
      this.#body ??= new BodyReader(head);
      if (this.#body.state === "reading") this.#body.receive(bytes);
    } catch (cause) {
      throw refusal(this.#handshake, head, this.#body, cause);
    }
    if (this.#body.state !== "reading") throw refusal(this.#handshake, head, this.#body);
  }
}

// The protocol of a wrong port, by its first bytes.
function speaker([first, second]: Uint8Array): string {
  if (first === 0x41 && second === 0x4d) return ', server speaks AMQP without WebSocket, "amqp:" is meant';
  return first === 0x15 && second === 3 ? ', server speaks TLS, "wss:" is meant' : "";
}

// Checks a 101 and returns the chosen subprotocol [rfc6455 4.1].
function checkUpgraded(head: ResponseHead, handshake: PreparedUpgrade): string {
  const { headers } = head;
  const { subprotocols } = handshake;
  if (head.version !== "HTTP/1.1") throw failed("version of the response is not HTTP/1.1", handshake.label);
  const upgrades = headerValues(headers, "upgrade");
  if (upgrades.length !== 1 || upgrades[0]!.toLowerCase() !== "websocket") {
    throw failed("upgrade field is not websocket", handshake.label);
  }
  if (!headerHasToken(headers, "connection", "upgrade")) {
    throw failed("connection field does not name upgrade", handshake.label);
  }
  const accepts = headerValues(headers, "sec-websocket-accept");
  if (accepts.length !== 1 || accepts[0] !== handshake.accept) {
    throw failed("sec-websocket-accept does not fit the key", handshake.label);
  }
  if (headerList(headers, "sec-websocket-extensions").length > 0) {
    throw failed("an extension was chosen, none was offered", handshake.label);
  }
  const chosen = headerList(headers, "sec-websocket-protocol");
  const [subprotocol = ""] = chosen;
  const offered = chosen.length === 0 ? subprotocols.length === 0 : subprotocols.includes(subprotocol);
  if (!offered || chosen.length > 1) {
    throw new TransportError(
      "subprotocol-mismatch",
      `Cannot open WebSocket to "${handshake.label}": server chose subprotocol ${listNames(chosen)}, offered was ${
        listNames(subprotocols)
      }`,
    );
  }
  return subprotocol;
}

/**
 * Refuses header fields that could hide a second message behind the first.
 *
 * @throws {TypeError} For such a field.
 */
export function checkFraming(headers: readonly HeaderField[]): void {
  forbid(headers, (name) => name === "connection" || name === "content-length" || name === "transfer-encoding");
}

/**
 * Refuses header fields that would change the handshake.
 *
 * @throws {TypeError} For such a field.
 */
export function checkExtraHeaders(headers: readonly HeaderField[]): void {
  checkFraming(headers);
  forbid(headers, (name) => name === "host" || name === "upgrade" || name.startsWith("sec-websocket-"));
}

function forbid(headers: readonly HeaderField[], isOurs: (name: string) => boolean): void {
  for (const [name] of headers) {
    if (isOurs(name.toLowerCase())) {
      const remedy = name.toLowerCase() === "host" ? ', option "hostHeader" sets it' : "";
      throw new TypeError(`Cannot set header ${JSON.stringify(name)}: it belongs to the handshake${remedy}`);
    }
  }
}

/** Names that the peer wrote, for an error: escaped and cut. */
export function listNames(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.slice(0, 5).map((name) => quote(name, 40)).join(", ");
}

function refusal(
  { label }: PreparedUpgrade,
  head: ResponseHead,
  reader: BodyReader | undefined,
  cause?: unknown,
): TransportError {
  const { status, headers } = head;
  const body = reader?.body.length ? reader.body : undefined;
  const message = `Cannot open WebSocket to "${label}": status is ${status}${answerOf(headers, body)}`;
  return new TransportError("handshake-failed", message, { status, headers, body, cause });
}

// The server's explanation, if it is plain text or JSON, or the redirect's target.
function answerOf(headers: readonly HeaderField[], body: Uint8Array | undefined): string {
  const type = headerValues(headers, "content-type")[0] ?? "text/plain";
  const location = headerValues(headers, "location")[0];
  if (location !== undefined) return `, elsewhere: ${quote(location.replace(/\?.*$/s, ""), 200)}`;
  if (body === undefined || !/^text\/plain|json/i.test(type)) return "";
  return `, server says ${quote(new TextDecoder().decode(body).trim().replace(/\s+/g, " "), 200)}`;
}

function failed(state: string, label?: string): TransportError {
  const where = label === undefined ? "" : ` to "${label}"`;
  return new TransportError("handshake-failed", `Cannot open WebSocket${where}: ${state}`);
}
