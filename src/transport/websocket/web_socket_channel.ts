import { TransportError } from "../../base/errors.ts";
import { isBytes } from "../../base/kinds.ts";
import { Deferred } from "../../base/wait.ts";
import {
  type Channel,
  type ChannelClose,
  CLOSE_TIMEOUT_MS,
  guard,
  Inbound,
  isCloseCode,
  later,
  LOW_WATER_BYTES,
  MAX_SENT_MESSAGE_BYTES,
  positive,
} from "../channel.ts";
import type { TurnPieces } from "./turn_pieces.ts";

/** The settings of a channel over a WebSocket. */
export interface WebSocketChannelOptions {
  /** Most bytes of a sent message; more are sent as several messages. Default: 65,535. */
  maxMessageBytes?: number | undefined;
  /** Milliseconds without progress after which a closing channel is dropped. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
}

/** The WebSocket under a {@linkcode WebSocketChannel}. */
export interface Carrier {
  /** Bytes sent that have not left yet. */
  readonly bufferedAmount: number;
  /** Whether `send` copies its bytes. */
  readonly copies?: boolean;
  /** Sends one message; false asks to hold the next ones until {@linkcode WebSocketChannel.drained} is called. */
  send(message: Uint8Array): boolean;
  /** Starts the closing handshake; throws for a code that the runtime does not let a program send. */
  close(code?: number, reason?: string): void;
  /** Drops the connection, where the runtime can. */
  terminate(): void;
}

// Nothing reports that bufferedAmount fell: poll often at first, then rarely enough to cost nothing.
const MAX_POLL_MS = 32;

/**
 * A {@linkcode Channel} over anything that sends WebSocket messages; its adapter reports the events.
 *
 * The channel starts connecting: messages are queued until {@linkcode WebSocketChannel.opened} is called.
 */
export class WebSocketChannel extends Inbound implements Channel {
  readonly #carrier: Carrier;
  readonly #pieces: TurnPieces | undefined;
  readonly #maxMessageBytes: number;
  readonly #closeTimeoutMs: number;
  #state: "open" | "closing" | "closed" = "open";
  #connected = false;
  #writable = false;
  // Messages that wait, if any.
  #queue: Uint8Array[] | undefined;
  #queuedBytes = 0;
  #closing: { code: number; reason: string } | undefined;
  #failure: { code: number; cause: unknown } | undefined;
  #closeTimer: Timer | undefined;
  #limitTimer: Timer | undefined;
  #waiting: Deferred<void> | undefined;
  #cancelPoll: (() => void) | undefined;
  #cancelEnd: (() => void) | undefined;

  /** With `Pieces`, messages that come in one turn are joined. */
  constructor(carrier: Carrier, options: WebSocketChannelOptions = {}, Pieces?: typeof TurnPieces) {
    super();
    this.#carrier = carrier;
    if (Pieces !== undefined) this.#pieces = new Pieces((bytes) => this.deliver(bytes));
    const { maxMessageBytes, closeTimeoutMs } = channelLimits(options);
    this.#maxMessageBytes = maxMessageBytes;
    this.#closeTimeoutMs = closeTimeoutMs;
  }

  get bufferedAmount(): number {
    return this.#state === "closed" ? 0 : this.#queuedBytes + this.#carrier.bufferedAmount;
  }

  /** Queues bytes for sending, in messages of at most `maxMessageBytes`, and owns them. */
  send(bytes: Uint8Array): void {
    const step = this.#maxMessageBytes;
    if (bytes.length <= step) {
      if (bytes.length > 0) this.#write(bytes);
      return;
    }
    for (let start = 0; start < bytes.length; start += step) this.#write(bytes.subarray(start, start + step));
  }

  /** Whether no message is queued here, and the carrier copies. */
  get copied(): boolean {
    return this.#writable && this.#carrier.copies === true;
  }

  /**
   * Starts the closing handshake once everything sent has left; drops bytes received from now on.
   *
   * A reason longer than 123 bytes of UTF-8 is cut.
   */
  close(code = 1000, reason = "", timeoutMs?: number): void {
    this.discard();
    this.mute();
    if (timeoutMs !== undefined && this.#state !== "closed") {
      clearTimeout(this.#limitTimer);
      this.#limitTimer = guard(timeoutMs, () => this.#timeOut(timeoutMs));
    }
    if (this.#state !== "open") return;
    this.#state = "closing";
    this.#closing = { code, reason };
    this.#awaitClose();
    this.#poll(0);
  }

  /** Resolves when at most 256 KiB wait, or the channel has ended. */
  ready(): Promise<void> {
    if (this.bufferedAmount <= LOW_WATER_BYTES) return Promise.resolve();
    if (this.#waiting === undefined) {
      this.#waiting = new Deferred();
      this.#poll(0);
    }
    return this.#waiting.promise;
  }

  /** Called by the adapter when messages can be sent. */
  opened(): void {
    if (this.#connected || this.#state === "closed") return;
    this.#connected = true;
    this.drained();
  }

  /** Called by the adapter when more can be sent after `send` returned false. */
  drained(): void {
    this.#writable = true;
    const queue = this.#queue ?? [];
    let sent = 0;
    while (sent < queue.length && this.#writable) {
      const message = queue[sent++];
      this.#queuedBytes -= message.length;
      this.#sendNow(message);
    }
    queue.splice(0, sent);
    if (queue.length === 0) this.#queue = undefined;
    this.#poll(0);
  }

  /** Called by the adapter for each message. */
  received(data: unknown): void {
    if (this.#state === "closed") return;
    if (this.#pieces !== undefined && isBytes(data)) return this.#pieces.take(data);
    this.#pieces?.flush();
    const bytes = bytesOf(data);
    if (bytes !== undefined) return this.deliver(bytes);
    if (this.#state !== "open") return;
    const type = typeof data === "string" ? "text" : Object.prototype.toString.call(data).slice(8, -1);
    const message = `Cannot receive WebSocket message: type is ${type}`;
    this.#failure ??= { code: 1003, cause: new TransportError("protocol-violation", message, { closeCode: 1003 }) };
    this.mute();
    this.#state = "closing";
    this.#dropQueue();
    this.#sendClose({ code: 1003, reason: "Only binary messages are allowed" });
    this.#awaitClose();
  }

  /** Called by the adapter for an error; `ended` if at most a close event follows, at once. */
  failed(cause: unknown, ended: boolean): void {
    if (this.#state === "closed") return;
    this.#failure ??= { code: 1006, cause };
    this.#state = "closing";
    // Node 22 reports no close after a handshake that failed, and seems to connect forever. Otherwise a close event
    // follows, in a turn of its own, with a code worth waiting for.
    if (!ended && this.#connected) return this.#awaitClose();
    clearTimeout(this.#closeTimer);
    this.#cancelEnd = later(() => this.closed());
  }

  /** Called by the adapter when the WebSocket has ended. Deno reports code 0 where others report 1006. */
  closed(code = 0, reason = ""): void {
    if (this.#state === "closed") return;
    const broken = code === 0 || code === 1006;
    if (broken) {
      const message = "Connection lost: WebSocket ended without a close frame";
      this.#failure ??= { code: 1006, cause: new TransportError("connection-lost", message, { closeCode: 1006 }) };
    }
    this.#finish({ code, reason, ...this.#failure });
  }

  #write(message: Uint8Array): void {
    if (this.#state !== "open") return;
    if (this.#writable) return this.#sendNow(message);
    (this.#queue ??= []).push(message);
    this.#queuedBytes += message.length;
  }

  #sendNow(message: Uint8Array): void {
    try {
      this.#writable = this.#carrier.send(message);
    } catch (cause) {
      this.#writable = false;
      this.#dropQueue();
      closeCarrier(this.#carrier, 1011, "");
      this.failed(new TransportError("connection-lost", "Connection lost: runtime refuses to send", { cause }), true);
    }
  }

  #dropQueue(): void {
    this.#queue = undefined;
    this.#queuedBytes = 0;
  }

  #sendClose(closing: { code: number; reason: string }): void {
    this.#closing = undefined;
    closeCarrier(this.#carrier, closing.code, closing.reason);
  }

  #awaitClose(): void {
    const buffered = this.bufferedAmount;
    clearTimeout(this.#closeTimer);
    this.#closeTimer = guard(this.#closeTimeoutMs, () => {
      // While bytes leave, the peer is slow and not gone.
      if (this.#failure === undefined && this.bufferedAmount < buffered) this.#awaitClose();
      else this.#timeOut(this.#closeTimeoutMs);
    });
  }

  #timeOut(timeoutMs: number): void {
    const message = `Cannot close WebSocket: no answer within ${timeoutMs} ms`;
    this.#failure ??= { code: 1006, cause: new TransportError("timeout", message, { closeCode: 1006 }) };
    if (this.#closing !== undefined) this.#sendClose(this.#closing);
    this.#carrier.terminate();
    this.#finish({ reason: "", ...this.#failure });
  }

  // Resolves `ready` or sends the close frame if enough bytes have left, and polls while one of them waits.
  #poll(delay: number): void {
    this.#cancelPoll?.();
    const buffered = this.bufferedAmount;
    if (this.#waiting !== undefined && buffered <= LOW_WATER_BYTES) {
      this.#waiting.resolve(undefined);
      this.#waiting = undefined;
    }
    // Not before the open event: Deno never sends the close frame of a server socket closed before it. Not before all has
    // left: Deno then reports that nothing waits, which hides whether a slow peer makes progress.
    if (this.#closing !== undefined && this.#connected && buffered === 0) this.#sendClose(this.#closing);
    if ((this.#waiting === undefined && this.#closing === undefined) || !this.#writable) return;
    this.#cancelPoll = later(() => this.#poll(Math.min(MAX_POLL_MS, delay * 2 || 1)), delay);
  }

  #finish(close: ChannelClose): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#pieces?.flush();
    this.#dropQueue();
    clearTimeout(this.#closeTimer);
    clearTimeout(this.#limitTimer);
    this.#cancelEnd?.();
    this.#closing = undefined;
    this.#poll(0);
    this.end(close);
  }
}

/**
 * Closes with `code`, or the nearest that the runtime lets a program send.
 *
 * Browsers, Deno and Node refuse 1001 to 1014. Adding 3000 leads to codes for private use, where adding 2000 would lead to
 * registered ones of another meaning: 3003 is "forbidden" [rfc6455 7.4.2].
 */
export function closeCarrier(carrier: Pick<Carrier, "close">, code: number, reason: string): void {
  const cut = cutReason(reason);
  const attempts: [number?, string?][] = [[code, cut], [code + 3000, cut], []];
  for (const attempt of isCloseCode(code) ? attempts : attempts.slice(2)) {
    try {
      return carrier.close(...attempt);
    } catch {
      // A refused code leaves the socket as it was. If even a bare close is refused, nothing is left to close.
    }
  }
}

// A control frame holds 125 bytes, two of them the code [rfc6455 5.5].
const MAX_REASON_BYTES = 123;

function cutReason(reason: string): string {
  // No UTF-16 unit takes more than three bytes.
  if (reason.length * 3 <= MAX_REASON_BYTES) return reason;
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(MAX_REASON_BYTES));
  return reason.slice(0, read);
}

// By fields, not by class: test runners with a realm per file have several ArrayBuffers.
function bytesOf(data: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (typeof data !== "object" || data === null || !("byteLength" in data)) return undefined;
  return new Uint8Array(data as ArrayBuffer);
}

type Timer = ReturnType<typeof setTimeout>;

export function channelLimits(options: WebSocketChannelOptions): Required<WebSocketChannelOptions> {
  return {
    maxMessageBytes: Math.floor(positive("maxMessageBytes", options.maxMessageBytes ?? MAX_SENT_MESSAGE_BYTES)),
    closeTimeoutMs: positive("closeTimeoutMs", options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS),
  };
}
