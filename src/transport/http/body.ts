/**
 * The body of an HTTP/1.x response without I/O, to show why a handshake was refused, and to reuse a proxy's connection
 * after its challenge.
 *
 * @module
 */

import {
  headerList,
  headerValues,
  httpViolation,
  type LineInput,
  LineReader,
  MAX_HEAD_BYTES,
  MAX_LINE_BYTES,
  parseField,
  type ResponseHead,
} from "./head.ts";

/** Most bytes kept of a body: enough for an error page, and no other body is read. */
export const MAX_BODY_BYTES: number = 8_192;

export interface BodyOptions {
  /** The request's method; HEAD and CONNECT change what follows the head. Default: `"GET"`. */
  method?: string | undefined;
  /** Most bytes to keep. Default: {@linkcode MAX_BODY_BYTES}. */
  maxBodyBytes?: number | undefined;
}

/** The progress of a {@linkcode BodyReader}; `"truncated"` if the body is longer than `maxBodyBytes`. */
export type BodyState = "reading" | "complete" | "truncated";

// The part that comes next. Chunks repeat size, data and end.
type Part = "sized" | "until-close" | "chunk-size" | "chunk-data" | "chunk-end" | "trailer" | "none";

/** Reads one response body, by length, by chunks, or until the connection ends [rfc9112 6.3]. */
export class BodyReader {
  readonly #maxBodyBytes: number;
  #state: BodyState = "reading";
  #part: Part;
  #left = 0;
  #kept: Uint8Array = new Uint8Array(0);
  #length = 0;
  #lines: LineReader = lineReader();
  // Bytes of chunk extensions so far, which are not kept and count all the same.
  #extensions = 0;
  #surplus: Uint8Array = new Uint8Array(0);

  /**
   * Derives the framing of the body from the head.
   *
   * @throws {TransportError} With code `"protocol-violation"` if the head gives two lengths, or an invalid one.
   */
  constructor(head: ResponseHead, options: BodyOptions = {}) {
    this.#maxBodyBytes = options.maxBodyBytes ?? MAX_BODY_BYTES;
    const framing = bodyFraming(head, options.method ?? "GET");
    this.#part = framing.part;
    this.#left = framing.length;
    if (this.#part === "none") this.#state = "complete";
  }

  get state(): BodyState {
    return this.#state;
  }

  /** The body so far, a view that the next call may invalidate. */
  get body(): Uint8Array {
    return this.#kept.subarray(0, this.#length);
  }

  /** The bytes behind a complete body, which begin the next response. */
  get surplus(): Uint8Array {
    return this.#surplus;
  }

  /**
   * Takes bytes; must not be called once the state is no longer `"reading"`.
   *
   * @throws {TransportError} With code `"protocol-violation"` if the chunks are malformed.
   */
  receive(bytes: Uint8Array): BodyState {
    const input: LineInput = { bytes, at: 0 };
    while (this.#state === "reading" && this.#advance(input));
    if (this.#state === "complete") this.#surplus = bytes.subarray(input.at);
    return this.#state;
  }

  /**
   * Reports the end of the connection, which completes a body without another end.
   *
   * @throws {TransportError} With code `"protocol-violation"` if the body is incomplete.
   */
  end(): void {
    if (this.#state !== "reading") return;
    if (this.#part !== "until-close") throw httpViolation("connection ended before the body did");
    this.#state = "complete";
  }

  // Reads one part, or as much of it as there is; false when the input is used up.
  #advance(input: LineInput): boolean {
    switch (this.#part) {
      case "none":
        return false;
      case "until-close":
        return this.#keep(input, Infinity);
      case "sized":
        if (!this.#keep(input, this.#left)) return false;
        if (this.#left === 0 && this.#state === "reading") this.#state = "complete";
        return true;
      case "chunk-data":
        if (!this.#keep(input, this.#left)) return false;
        if (this.#left === 0) this.#part = "chunk-end";
        return true;
      default: {
        const line = this.#lines.next(input);
        if (line === undefined) return false;
        this.#chunkLine(line);
        return true;
      }
    }
  }

  #chunkLine(line: string): void {
    if (this.#part === "chunk-size") {
      const { size, extension } = readChunkLine(line);
      this.#extensions += extension;
      if (this.#extensions > MAX_HEAD_BYTES) throw httpViolation("too many bytes of chunk extensions");
      this.#left = size;
      this.#part = this.#left === 0 ? "trailer" : "chunk-data";
      this.#lines = lineReader();
    } else if (this.#part === "chunk-end") {
      if (line !== "") throw httpViolation("a chunk is longer than its size");
      this.#part = "chunk-size";
    } else if (line === "") {
      this.#state = "complete";
    } else {
      parseField(line);
    }
  }

  #keep(input: LineInput, most: number): boolean {
    const length = Math.min(input.bytes.length - input.at, most);
    if (length === 0) return false;
    const room = Math.min(length, this.#maxBodyBytes - this.#length);
    this.#reserve(this.#length + room);
    this.#kept.set(input.bytes.subarray(input.at, input.at + room), this.#length);
    this.#length += room;
    this.#left -= length;
    input.at += length;
    if (room < length) this.#state = "truncated";
    return true;
  }

  // Copied: views would keep every read buffer alive for a few bytes each.
  #reserve(size: number): void {
    if (size <= this.#kept.length) return;
    const grown = new Uint8Array(Math.min(Math.max(size, 2 * this.#kept.length), this.#maxBodyBytes));
    grown.set(this.#kept);
    this.#kept = grown;
  }
}

function bodyFraming(head: ResponseHead, method: string): { part: Part; length: number } {
  const tunnel = method === "CONNECT" && head.status >= 200 && head.status < 300;
  if (tunnel || method === "HEAD" || head.status < 200 || head.status === 204 || head.status === 304) {
    return { part: "none", length: 0 };
  }
  const lengths = headerValues(head.headers, "content-length");
  if (headerValues(head.headers, "transfer-encoding").length > 0) {
    // Two framings allow response smuggling; no trustworthy proxy sends both [rfc9112 6.3].
    if (lengths.length > 0) throw httpViolation("both content-length and transfer-encoding are present");
    const codings = headerList(head.headers, "transfer-encoding");
    if (codings.length !== 1 || codings[0]!.toLowerCase() !== "chunked") {
      throw httpViolation('transfer-encoding is not "chunked" alone');
    }
    return { part: "chunk-size", length: 0 };
  }
  if (lengths.length === 0) return { part: "until-close", length: 0 };
  // Fifteen digits stay an exact number.
  if (lengths.length > 1 || !/^[0-9]{1,15}$/.test(lengths[0]!)) throw httpViolation("content-length is not one number");
  const length = Number(lengths[0]);
  return { part: length === 0 ? "none" : "sized", length };
}

// The size of a chunk, and the length of what follows it in its line.
function readChunkLine(line: string): { size: number; extension: number } {
  // Thirteen digits stay an exact number. Trailing blanks are common, an extension is ignored [rfc9112 7.1.1].
  const digits = /^([0-9A-Fa-f]{1,13})[\t ]*(?:;|$)/.exec(line)?.[1];
  if (digits === undefined) throw httpViolation("a chunk does not start with its size");
  return { size: Number.parseInt(digits, 16), extension: line.length - digits.length };
}

// Fresh for each chunk: a long body is bounded by its cap, not by the number of its chunks.
function lineReader(): LineReader {
  return new LineReader(MAX_LINE_BYTES, MAX_HEAD_BYTES);
}
