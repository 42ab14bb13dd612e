/**
 * HTTP/1.x heads without I/O, as far as a WebSocket upgrade and a proxy's CONNECT need them.
 *
 * Strict on purpose: whatever two parsers could read differently (a bare LF, a folded field, a space before the colon) is
 * refused rather than repaired, because ambiguous heads allow request smuggling.
 *
 * @module
 */

import { hexByte, quote } from "../../base/text.ts";
import { isToken } from "../url.ts";
import { TransportError } from "../../base/errors.ts";
import { elementsOf, hasToken, isControl, trimBlanks } from "./tokens.ts";

/** Most bytes of a head, its blank line included; far more than cookies and tokens need. */
export const MAX_HEAD_BYTES: number = 16_384;

/** Most bytes of one line of a head; enough for a bearer token of several KiB. */
export const MAX_LINE_BYTES: number = 8_192;

/** Most header fields of a head; real handshakes carry fewer than thirty. */
export const MAX_HEADER_FIELDS: number = 100;

/** Most interim responses before the final one; real servers send one at most. */
export const MAX_INTERIM_RESPONSES: number = 8;

/** The limits of a head. */
export interface HeadLimits {
  /** Most bytes of the head. Default: {@linkcode MAX_HEAD_BYTES}. */
  maxHeadBytes?: number | undefined;
  /** Most bytes of one line. Default: {@linkcode MAX_LINE_BYTES}. */
  maxLineBytes?: number | undefined;
  /** Most header fields. Default: {@linkcode MAX_HEADER_FIELDS}. */
  maxHeaderFields?: number | undefined;
}

/** A header field as sent; each code unit of the value is one byte. */
export type HeaderField = readonly [name: string, value: string];

/** The supported HTTP versions. */
export type HttpVersion = "HTTP/1.0" | "HTTP/1.1";

/** The head of a request. */
export interface RequestHead {
  /** The method, case kept. */
  readonly method: string;
  /** The request target as sent: `/path?query`, or `host:port` of a CONNECT. */
  readonly target: string;
  /** The version that the client speaks. */
  readonly version: HttpVersion;
  /** The header fields in the order sent. */
  readonly headers: readonly HeaderField[];
}

export interface ResponseHead {
  readonly version: HttpVersion;
  readonly status: number;
  /** The reason phrase, often empty; untrusted and without meaning [rfc9112 4]. */
  readonly reason: string;
  /** The header fields in the order sent. */
  readonly headers: readonly HeaderField[];
}

/**
 * Reads one head from bytes that arrive in any pieces, and holds at most the bytes that the limits allow.
 *
 * Made by {@linkcode requestParser} and {@linkcode responseParser}.
 */
export class HeadParser<Head> {
  readonly #parse: (startLine: string, headers: readonly HeaderField[]) => Head;
  readonly #lines: LineReader;
  readonly #maxHeaderFields: number;
  readonly #headers: HeaderField[] = [];
  #head: Head | undefined;
  #surplus: Uint8Array = new Uint8Array(0);

  constructor(parse: (startLine: string, headers: readonly HeaderField[]) => Head, limits: HeadLimits = {}) {
    this.#parse = parse;
    this.#lines = new LineReader(limits.maxLineBytes ?? MAX_LINE_BYTES, limits.maxHeadBytes ?? MAX_HEAD_BYTES);
    this.#maxHeaderFields = limits.maxHeaderFields ?? MAX_HEADER_FIELDS;
  }

  /** The bytes behind the blank line, once the head is complete; they belong to whatever follows. */
  get surplus(): Uint8Array {
    return this.#surplus;
  }

  /**
   * Takes bytes and returns the head once its blank line has come; must not be called after that.
   *
   * @throws {TransportError} With code `"protocol-violation"`.
   */
  receive(bytes: Uint8Array): Head | undefined {
    const input: LineInput = { bytes, at: 0 };
    for (let line = this.#lines.next(input); line !== undefined; line = this.#lines.next(input)) {
      if (this.#head === undefined) {
        // Parsed at once, so that input other than HTTP fails early; the fields are added as they come.
        this.#head = this.#parse(line, this.#headers);
      } else if (line === "") {
        this.#surplus = bytes.subarray(input.at);
        return this.#head;
      } else if (this.#headers.length === this.#maxHeaderFields) {
        throw httpViolation(`more than ${this.#maxHeaderFields} header fields`);
      } else {
        this.#headers.push(parseField(line));
      }
    }
    return undefined;
  }
}

export function requestParser(limits?: HeadLimits): HeadParser<RequestHead> {
  return new HeadParser(parseRequest, limits);
}

export function responseParser(limits?: HeadLimits): HeadParser<ResponseHead> {
  return new HeadParser(parseResponse, limits);
}

/** The values of every field `name`, in the order sent; the case of the name does not matter. */
export function headerValues(headers: readonly HeaderField[], name: string): string[] {
  const wanted = name.toLowerCase();
  const values: string[] = [];
  for (const [field, value] of headers) {
    if (field.length === wanted.length && field.toLowerCase() === wanted) values.push(value);
  }
  return values;
}

/**
 * The elements of the comma-separated list in all fields `name`; empty elements are left out.
 *
 * Only for lists of tokens: a comma inside a quoted string would count as a separator.
 */
export function headerList(headers: readonly HeaderField[], name: string): string[] {
  return headerValues(headers, name).flatMap(elementsOf);
}

/** Whether the list in the fields `name` has `token`, in any case. */
export function headerHasToken(headers: readonly HeaderField[], name: string, token: string): boolean {
  return headerValues(headers, name).some((value) => hasToken(value, token));
}

/**
 * Encodes the head of an HTTP/1.1 request.
 *
 * @throws {TypeError} If the method, the target or a field could end its line or be read as something else.
 */
export function encodeRequestHead(head: Omit<RequestHead, "version">): Uint8Array {
  if (!isToken(head.method)) throw new TypeError(`Cannot write request: method ${quote(head.method)} is no token`);
  if (!isTarget(head.target)) {
    throw new TypeError("Cannot write request: target is empty or holds a space, a control or a non-ASCII character");
  }
  return encodeHead(`${head.method} ${head.target} HTTP/1.1`, head.headers);
}

/**
 * Encodes the head of an HTTP/1.1 response.
 *
 * @throws {TypeError} If the status, the reason or a field could end its line or be read as something else.
 */
export function encodeResponseHead(head: Omit<ResponseHead, "version">): Uint8Array {
  if (!(Number.isInteger(head.status) && head.status >= 100 && head.status <= 999)) {
    throw new TypeError(`Cannot write response: status ${head.status} is not within 100 to 999`);
  }
  if (!isFieldValue(head.reason)) throw new TypeError("Cannot write response: reason holds a control character");
  return encodeHead(`HTTP/1.1 ${head.status} ${head.reason}`, head.headers);
}

/** A read position in bytes. */
export interface LineInput {
  readonly bytes: Uint8Array;
  /** Index of the first unread byte. */
  at: number;
}

// The number of arguments that any engine takes.
const MAX_RUN_BYTES = 1_024;

/** Splits bytes into lines that end in CRLF, over any number of pieces; holds at most one line. */
export class LineReader {
  readonly #maxLineBytes: number;
  #remaining: number;
  // A buffer, since a string that grows byte by byte costs much more.
  #line: Uint8Array<ArrayBuffer> = new Uint8Array(256);
  #length = 0;
  #endsInCr = false;

  /** Takes the limits of one line, without its ending, and of all lines together, with their endings. */
  constructor(maxLineBytes: number, maxBytes: number) {
    this.#maxLineBytes = maxLineBytes;
    this.#remaining = maxBytes;
  }

  /**
   * The next line without its ending, one code unit per byte; undefined if `input` ends before.
   *
   * @throws {TransportError} With code `"protocol-violation"`.
   */
  next(input: LineInput): string | undefined {
    while (input.at < input.bytes.length) {
      if (this.#readText(input)) continue;
      if (this.#remaining-- === 0) throw httpViolation("too many bytes");
      const byte = input.bytes[input.at++]!;
      if (this.#endsInCr !== (byte === 0x0a)) {
        throw httpViolation("CR and LF stand only together, at the end of a line");
      }
      if (byte === 0x0a) {
        this.#endsInCr = false;
        return this.#takeLine();
      }
      if (byte === 0x0d) {
        this.#endsInCr = true;
        continue;
      }
      if (isForbidden(byte)) throw httpViolation(`control character 0x${hexByte(byte)}`);
      throw httpViolation(`a line is longer than ${this.#maxLineBytes} bytes`);
    }
    return undefined;
  }

  // Reads plain text within the limits, many bytes at a time; false if the next byte needs a check of its own.
  #readText(input: LineInput): boolean {
    if (this.#endsInCr) return false;
    const { bytes, at } = input;
    const most = Math.min(this.#remaining, this.#maxLineBytes - this.#length, bytes.length - at);
    let length = 0;
    while (length < most && !isForbidden(bytes[at + length]!)) length++;
    if (length === 0) return false;
    if (this.#length + length > this.#line.length) {
      const line = new Uint8Array(2 * (this.#length + length));
      line.set(this.#line.subarray(0, this.#length));
      this.#line = line;
    }
    this.#line.set(bytes.subarray(at, at + length), this.#length);
    this.#length += length;
    this.#remaining -= length;
    input.at += length;
    return true;
  }

  #takeLine(): string {
    let text = "";
    for (let at = 0; at < this.#length; at += MAX_RUN_BYTES) {
      const run = this.#line.subarray(at, Math.min(this.#length, at + MAX_RUN_BYTES));
      // `apply`, since spreading would make an iterator result for each byte.
      text += String.fromCharCode.apply(undefined, run as unknown as number[]);
    }
    this.#length = 0;
    return text;
  }
}

/** Parses a header field, or one of a chunked body's trailer. */
export function parseField(line: string): HeaderField {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(colon, 0));
  // One check refuses a fold (the line starts with a space), a space before the colon and a line without a colon. The error
  // does not quote the line, which may hold a secret.
  if (!isToken(name)) throw httpViolation("a header field does not start with a name and a colon");
  return [name, trimBlanks(line.slice(colon + 1))];
}

/** The error for invalid HTTP, or for input over a limit. */
export function httpViolation(state: string): TransportError {
  return new TransportError("protocol-violation", `Cannot read HTTP: ${state}`);
}

function parseRequest(line: string, headers: readonly HeaderField[]): RequestHead {
  const [method = "", target = "", version = "", ...more] = line.split(" ");
  if (!isToken(method) || !isTarget(target) || !isVersion(version) || more.length > 0) {
    // Not quoted: the query may carry a token.
    throw httpViolation("request line is not method, target and HTTP/1.0 or 1.1");
  }
  return { method, target, version, headers };
}

function parseResponse(line: string, headers: readonly HeaderField[]): ResponseHead {
  const version = line.slice(0, 8);
  const status = line.slice(9, 12);
  // Some servers omit the reason, and even the space before it [rfc9112 4].
  const separated = line[8] === " " && (line.length === 12 || line[12] === " ");
  if (!isVersion(version) || !separated || !/^[1-9][0-9][0-9]$/.test(status)) {
    throw httpViolation(`status line is ${quote(line, 40)}`);
  }
  return { version, status: Number(status), reason: line.slice(13), headers };
}

function encodeHead(startLine: string, headers: readonly HeaderField[]): Uint8Array {
  let text = `${startLine}\r\n`;
  for (const [name, value] of headers) {
    if (!isToken(name)) throw new TypeError(`Cannot write header ${quote(name)}: name is no token`);
    // The error names the field only, whose value may be a secret.
    if (!isFieldValue(value)) {
      throw new TypeError(`Cannot write header "${name}": value holds a control character or one above 0xff`);
    }
    text += `${name}: ${value}\r\n`;
  }
  text += "\r\n";
  return latin1Bytes(text);
}

/** The bytes of a text with one code unit for each byte. */
export function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function isVersion(text: string): text is HttpVersion {
  return text === "HTTP/1.1" || text === "HTTP/1.0";
}

function isTarget(text: string): boolean {
  return /^[!-~]+$/.test(text);
}

/** Whether a text may stand in a field: no control character but tab, and no code unit above `highest`. */
export function isFieldValue(text: string, highest = 0xff): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > highest || isForbidden(unit)) return false;
  }
  return true;
}

function isForbidden(byte: number): boolean {
  return isControl(byte) && byte !== 0x09;
}
