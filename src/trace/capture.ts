/**
 * Reads frames out of captures: TCP streams in pcap and pcapng files, hexadecimal text, bare bytes.
 *
 * A stream may hold AMQP, or a WebSocket upgrade and AMQP in its frames. Encrypted and compressed streams are only reported.
 *
 * @module
 */

import { concat } from "@std/bytes";
import type { FrameTrace } from "../engine/events.ts";
import { WebSocketFrameDecoder } from "../transport/websocket/frames.ts";
import { FrameTracer } from "./frame_tracer.ts";
import { hexBytes } from "./json.ts";
import { readPackets, type Segment } from "./pcap.ts";
import type { Direction } from "./tracked.ts";
import { jsonLines, type TraceWriter } from "./writer.ts";

/** Receives the contents of a capture, in order. */
export interface CaptureListener {
  /** A frame of a connection, seen at `time`, in milliseconds since 1970, or counted from 0 where the capture has no times. */
  onframe(frame: FrameTrace, connection: number, time: number): void;
  /** An event of a connection. */
  onevent(event: string, detail: string, connection: number, time: number): void;
}

/**
 * Writes a capture as a trace, with its events in the order of their times.
 *
 * @throws {TypeError} If the bytes are no capture.
 */
export function traceCapture(
  bytes: Uint8Array<ArrayBuffer>,
  write: (line: string) => void,
  options: { title: string },
): void {
  const events: { time: number; write: (writer: TraceWriter) => void }[] = [];
  readCapture(bytes, {
    onframe: (frame, connection, time) =>
      void events.push({ time, write: (writer) => writer({ ...frame, connection }) }),
    onevent: (event, detail, connection, time) =>
      void events.push({ time, write: (writer) => writer.transport({ event, connection, detail }) }),
  });
  events.sort((a, b) => a.time - b.time);
  let now = events[0]?.time ?? 0;
  const writer = jsonLines(write, { ...options, vantage: "network", now: () => now, start: new Date(now) });
  for (const { time, write } of events) {
    now = time;
    write(writer);
  }
}

/**
 * Reads a capture.
 *
 * @throws {TypeError} If the bytes are none.
 */
function readCapture(bytes: Uint8Array<ArrayBuffer>, listener: CaptureListener): void {
  const packets = readPackets(bytes);
  if (packets !== undefined) return readStreams(packets, listener);
  const stream = new CapturedStream(1, listener);
  if (startsWith(bytes, "AMQP") || startsWith(bytes, "GET ")) return stream.push("out", bytes, 0);
  let time = 0;
  for (const { direction, bytes: piece } of hexLines(new TextDecoder().decode(bytes))) {
    stream.push(direction, piece, time++);
  }
}

/** The most that a packed file may hold, in bytes: a few megabytes of gzip can hold any number. */
export const MAX_UNPACKED_BYTES = 536_870_912;

/**
 * The bytes of a file, decompressed if it is gzip; of a truncated file, the part that is there.
 *
 * @throws {RangeError} If there are more than `most`.
 */
export async function unpacked(
  bytes: Uint8Array<ArrayBuffer>,
  most: number = MAX_UNPACKED_BYTES,
): Promise<Uint8Array<ArrayBuffer>> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done && size <= most; next = await reader.read()) {
      pieces.push(new Uint8Array(next.value));
      size += next.value.length;
    }
  } catch {
    // The end is missing, as in a file that is still being written.
  }
  if (size > most) {
    reader.cancel().catch(() => {});
    throw new RangeError(`Cannot read file: unpacked it has more than ${most} bytes, cut it into parts`);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

// Hexadecimal text: the bytes of one side, or of both with `>` and `<` (or `out` and `in`) before each line. Offsets as in
// `xxd` and text behind `#` or `|` are ignored.
function hexLines(text: string): { direction: Direction; bytes: Uint8Array<ArrayBuffer> }[] {
  const found: { direction: Direction; bytes: Uint8Array<ArrayBuffer> }[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*(?:(>|<|out\b|in\b)\s*:?)?\s*(?:[\da-f]{4,8}:\s)?([^#|]*)/i.exec(line)!;
    // The text column of xxd and hexdump stands behind two spaces. A run of them is tried from its begin only, which keeps
    // long runs linear.
    const digits = match[2]!.split(/(?<!\s)\s{2,}(?=\S*[^\s\da-f]|\S+\s*$)/i)[0]!;
    if (digits.trim() === "") continue;
    const direction = match[1] === "<" || match[1]?.toLowerCase() === "in" ? "in" : "out";
    if (!/^[\s\da-f]*$/i.test(digits)) throw notCapture();
    found.push({ direction, bytes: hexBytes(digits) });
  }
  if (found.length === 0) throw notCapture();
  return found;
}

function notCapture(): TypeError {
  return new TypeError("Cannot read capture: it is neither pcap, pcapng, hexadecimal nor AMQP");
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder("latin1").decode(bytes.subarray(0, text.length)) === text;
}

/** The bytes of one connection: detects their protocol, and passes the frames on. */
class CapturedStream {
  readonly #number: number;
  readonly #listener: CaptureListener;
  readonly #tracer: FrameTracer;
  readonly #kinds: Record<Direction, "unknown" | "amqp" | "head" | "websocket" | "other"> = {
    in: "unknown",
    out: "unknown",
  };
  readonly #heads: Record<Direction, Uint8Array<ArrayBuffer>> = { in: new Uint8Array(0), out: new Uint8Array(0) };
  readonly #sockets: Partial<Record<Direction, WebSocketFrameDecoder>> = {};
  #time = 0;

  constructor(number: number, listener: CaptureListener) {
    this.#number = number;
    this.#listener = listener;
    this.#tracer = new FrameTracer(
      (frame) => listener.onframe(frame, number, this.#time),
      (direction, error) => this.#note("not AMQP", `${direction}: ${error.message}`),
    );
  }

  push(direction: Direction, bytes: Uint8Array<ArrayBuffer>, time: number): void {
    this.#time = time;
    switch (this.#kinds[direction]) {
      case "amqp":
        return this.#tracer.read(direction, bytes);
      case "websocket":
        return this.#unwrap(direction, bytes);
      case "other":
        return;
      default:
        return this.#begin(direction, concat([this.#heads[direction], bytes]), time);
    }
  }

  gap(direction: Direction, missing: number, time: number): void {
    this.#time = time;
    this.#kinds[direction] = "other";
    this.#note("gap", `${direction}: ${missing} bytes were not captured, what follows cannot be read`);
  }

  #begin(direction: Direction, bytes: Uint8Array<ArrayBuffer>, time: number): void {
    this.#heads[direction] = bytes;
    if (bytes.length < 4) return;
    if (startsWith(bytes, "AMQP")) return this.#setProtocol(direction, "amqp", bytes, time);
    if (!startsWith(bytes, "GET ") && !startsWith(bytes, "HTTP")) {
      const isTls = bytes[0] === 0x16 && bytes[1] === 0x03;
      this.#setProtocol(direction, "other", bytes, time);
      return this.#note(
        isTls ? "encrypted" : "not AMQP",
        `${direction}: ${isTls ? "TLS" : "begins with neither AMQP nor HTTP"}`,
      );
    }
    const end = new TextDecoder("latin1").decode(bytes).indexOf("\r\n\r\n");
    if (end < 0 && bytes.length <= MAX_HEAD_BYTES) return;
    if (end < 0) {
      this.#setProtocol(direction, "other", bytes, time);
      return this.#note("not readable", `${direction}: a head of HTTP has no end in ${MAX_HEAD_BYTES} bytes`);
    }
    const head = new TextDecoder("latin1").decode(bytes.subarray(0, end));
    this.#note(direction === "out" ? "upgrade asked" : "upgrade answered", head.split("\r\n")[0]!.replace(/\?\S*/, ""));
    this.#setProtocol(direction, "websocket", bytes.subarray(end + 4), time);
  }

  #setProtocol(
    direction: Direction,
    kind: "amqp" | "websocket" | "other",
    rest: Uint8Array<ArrayBuffer>,
    time: number,
  ): void {
    this.#kinds[direction] = kind;
    this.#heads[direction] = new Uint8Array(0);
    this.push(direction, rest, time);
  }

  #unwrap(direction: Direction, bytes: Uint8Array<ArrayBuffer>): void {
    const decoder = this.#sockets[direction] ??= new WebSocketFrameDecoder(direction === "out");
    try {
      // Bytes are unmasked in place.
      decoder.push(bytes.slice());
      for (let piece = decoder.next(); piece !== undefined; piece = decoder.next()) {
        if (piece.kind === "bytes") this.#tracer.read(direction, piece.bytes.slice());
      }
    } catch (error) {
      this.#kinds[direction] = "other";
      this.#note("not readable", `${direction}: ${(error as Error).message}`);
    }
  }

  #note(event: string, detail: string): void {
    this.#listener.onevent(event, detail, this.#number, this.#time);
  }
}

// Bounds the head, as each segment is appended to those before it until the head is complete.
const MAX_HEAD_BYTES = 65_536;

// The bytes of one side, in order.
interface Half {
  next: number | undefined;
  readonly waiting: Map<number, Uint8Array<ArrayBuffer>>;
}

interface TcpStream {
  readonly client: string;
  readonly stream: CapturedStream;
  readonly halves: Record<Direction, Half>;
}

// Segments that may wait for an earlier one; when there are more, the capture has lost that one.
const MAX_WAITING = 1_000;

function readStreams(segments: Iterable<Segment>, listener: CaptureListener): void {
  const streams = new Map<string, TcpStream>();
  let count = 0;
  let last = 0;
  for (const segment of segments) {
    const key = segment.from < segment.to ? `${segment.from} ${segment.to}` : `${segment.to} ${segment.from}`;
    let tcp = streams.get(key);
    last = segment.time;
    // A port that is used again begins a new connection.
    if (tcp === undefined || segment.syn && !segment.ack && tcp.halves.out.next !== (segment.sequence + 1) >>> 0) {
      if (!segment.syn && segment.bytes.length === 0) continue;
      const client = segment.syn && segment.ack ? segment.to : clientOf(segment);
      tcp = { client, stream: new CapturedStream(++count, listener), halves: { in: half(), out: half() } };
      streams.set(key, tcp);
      listener.onevent(
        "connection",
        `${client} to ${client === segment.from ? segment.to : segment.from}`,
        count,
        last,
      );
    }
    const direction = segment.from === tcp.client ? "out" : "in";
    takeSegment(tcp, direction, segment);
  }
  for (const tcp of streams.values()) {
    for (const direction of ["out", "in"] as const) skipGap(tcp, direction, last);
  }
}

function half(): Half {
  return { next: undefined, waiting: new Map() };
}

// The end with the higher port, where the beginning was not captured and the bytes do not tell.
function clientOf({ from, to, bytes, syn }: Segment): string {
  if (syn || startsWith(bytes, "GET ")) return from;
  const port = (end: string): number => Number(end.slice(end.lastIndexOf(":") + 1));
  return port(from) > port(to) ? from : to;
}

function takeSegment(tcp: TcpStream, direction: Direction, { sequence, bytes, syn, time }: Segment): void {
  const own = tcp.halves[direction];
  if (syn) own.next = (sequence + 1) >>> 0;
  if (bytes.length === 0) return;
  own.next ??= sequence;
  const ahead = (sequence - own.next) | 0;
  if (ahead > 0) {
    own.waiting.set(sequence, bytes);
    if (own.waiting.size > MAX_WAITING) skipGap(tcp, direction, time);
    return;
  }
  if (-ahead >= bytes.length) return;
  deliver(tcp, direction, bytes.subarray(-ahead), time);
  for (let found = true; found;) {
    found = false;
    for (const [start, piece] of own.waiting) {
      const offset = (own.next! - start) | 0;
      if (offset < 0) continue;
      own.waiting.delete(start);
      if (offset < piece.length) deliver(tcp, direction, piece.subarray(offset), time);
      found = true;
    }
  }
}

function deliver(tcp: TcpStream, direction: Direction, bytes: Uint8Array<ArrayBuffer>, time: number): void {
  const own = tcp.halves[direction];
  own.next = (own.next! + bytes.length) >>> 0;
  tcp.stream.push(direction, bytes, time);
}

function skipGap(tcp: TcpStream, direction: Direction, time: number): void {
  const own = tcp.halves[direction];
  if (own.waiting.size === 0) return;
  const missing = Math.min(...[...own.waiting.keys()].map((start) => (start - own.next!) >>> 0));
  own.waiting.clear();
  tcp.stream.gap(direction, missing, time);
}
