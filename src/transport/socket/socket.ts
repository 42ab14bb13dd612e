/**
 * A socket as a {@linkcode Channel}, whether it is TCP, TLS, or either through a tunnel.
 *
 * @module
 */

import { TransportError } from "../../base/errors.ts";
import { giveBlock, isLent } from "../../base/pool.ts";
import {
  type Channel,
  type ChannelClose,
  CLOSE_TIMEOUT_MS,
  guard,
  Inbound,
  later,
  LOW_WATER_BYTES,
} from "../channel.ts";

/** What is used of a socket of `node:net` or `node:tls`, which only `node.ts` may name. */
export interface Socket {
  /** Bytes that were written and that the operating system has not taken yet. */
  readonly writableLength: number;
  /** Whether it is gone. */
  readonly destroyed: boolean;
  /** Whether our half stays open when the peer's has ended. */
  allowHalfOpen: boolean;
  /** The peer's address. */
  readonly remoteAddress?: string | undefined;
  /** The peer's port. */
  readonly remotePort?: number | undefined;
  /** Our own address. */
  readonly localAddress?: string | undefined;
  /** The version of TLS that is spoken, if any is. */
  getProtocol?(): string | null;
  /** Queues bytes; false asks to wait for `drain`. `written` is told when they have left, or why they have not. */
  write(bytes: Uint8Array, written?: (error?: Error | null) => void): boolean;
  /** Ends our half, behind what was written. */
  end(): unknown;
  destroy(): unknown;
  /** Stops reading, so that the peer has to wait. */
  pause(): unknown;
  /** Reads on. */
  resume(): unknown;
  /** Gives bytes back that were read too far. */
  unshift(bytes: Uint8Array): void;
  on(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "connect" | "secureConnect" | "end" | "drain" | "close", listener: () => void): unknown;
  /** Removes a listener. */
  off(event: string, listener: unknown): unknown;
}

/** A {@linkcode Channel} that can hold its peer back. */
export interface PausableChannel extends Channel {
  /** Reads nothing more until `resume`: the peer's own writes then come to a halt. */
  pause(): void;
  /** Reads on. */
  resume(): void;
  /**
   * Told that the peer will send nothing more but may still be reading; whoever sets it has to call `close`, or `endHalf`
   * for both halves to have ended. Without it the channel ends by itself, one turn later. A WebSocket never tells.
   */
  onend: (() => void) | undefined;
  /** Ends our half, behind what was sent, and goes on reading; false where there are no halves, as in a WebSocket. */
  endHalf(): boolean;
}

export interface SocketChannelOptions {
  /** How long to wait for the peer's part of the end without any progress. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
}

/** What channels over sockets share: reading, waiting for room, and an end that is certain. */
export abstract class SocketChannel extends Inbound implements PausableChannel {
  /** Told when the peer's half has ended; see {@linkcode PausableChannel}. */
  onend: (() => void) | undefined;
  protected writable = true;
  /** The socket, which this channel owns. */
  protected readonly socket: Socket;
  readonly #closeTimeoutMs: number;
  #close: ChannelClose | undefined;
  #gone = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #limit: ReturnType<typeof setTimeout> | undefined;
  #waiting: { promise: Promise<void>; resolve: () => void } | undefined;

  /** Takes over a connected socket that nobody else listens to. */
  constructor(socket: Socket, options: SocketChannelOptions = {}) {
    super();
    this.socket = socket;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS;
    socket.on("data", (bytes) => this.received(plain(bytes)));
    socket.on("end", () => this.ended());
    socket.on("error", (error) => this.broken(error));
    socket.on("drain", () => {
      this.writable = true;
      this.drained();
      this.wake();
    });
    socket.on("close", () => this.#finish());
    // On its way here it may have been paused, and it may have broken.
    socket.resume();
    if (socket.destroyed) Promise.resolve().then(() => this.#finish());
  }

  /** Bytes accepted by `send` that have not left yet. */
  abstract get bufferedAmount(): number;
  /** Queues bytes for sending and takes them over. */
  abstract send(bytes: Uint8Array): void;
  /** Ends the channel in order, see {@linkcode Channel.close}. */
  abstract close(code?: number, reason?: string, timeoutMs?: number): void;
  /** Ends our half, if there are halves. */
  abstract endHalf(): boolean;
  /** Bytes have come. */
  protected abstract received(bytes: Uint8Array): void;
  /** The peer's half has ended. */
  protected abstract ended(): void;
  /** The socket takes more. */
  protected abstract drained(): void;

  /** Resolves when at most 256 KiB wait, or the channel ended. */
  ready(): Promise<void> {
    if (this.#gone || this.bufferedAmount <= LOW_WATER_BYTES) return Promise.resolve();
    if (this.#waiting === undefined) {
      let resolve = (): void => {};
      const promise = new Promise<void>((settle) => resolve = settle);
      this.#waiting = { promise, resolve };
    }
    return this.#waiting.promise;
  }

  /** Reads nothing more until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  /** Reads on. */
  resume(): void {
    this.socket.resume();
  }

  /** The socket has broken. */
  protected broken(error: Error): void {
    this.record(lostChannel(error));
  }

  /** Writes, takes note of whether there is room for more, and gives a block back once it has left. */
  protected write(bytes: Uint8Array): void {
    // A write that failed may be on its way all the same, where a system takes bytes in its own time.
    const written = isLent(bytes) ? (error?: Error | null) => void (error || giveBlock(bytes)) : undefined;
    this.writable = this.socket.write(bytes, written);
  }

  /** Remembers how the channel came to its end, which is told when the socket is gone; the first call counts. */
  protected record(close: ChannelClose): void {
    this.#close ??= close;
  }

  /** Takes nothing more from the peer, except its end. */
  protected drain(): void {
    this.mute();
    this.discard();
    this.socket.resume();
  }

  /** Drops the socket when no byte leaves, and nothing else ends it, for a while. */
  protected watch(): void {
    if (this.#gone) return;
    const buffered = this.bufferedAmount;
    clearTimeout(this.#timer);
    this.#timer = guard(this.#closeTimeoutMs, () => {
      // As long as bytes leave, the peer is slow and not gone.
      if (this.bufferedAmount < buffered) this.watch();
      else this.#giveUp(this.#closeTimeoutMs);
    });
  }

  /** Drops the socket after a time, whatever happens; undefined sets no limit. */
  protected limit(timeoutMs: number | undefined): void {
    if (this.#gone || timeoutMs === undefined) return;
    clearTimeout(this.#limit);
    this.#limit = guard(timeoutMs, () => this.#giveUp(timeoutMs));
  }

  #giveUp(timeoutMs: number): void {
    const message = `Cannot close connection: no answer within ${timeoutMs} ms`;
    this.record({ code: 1006, reason: "", cause: new TransportError("timeout", message, { closeCode: 1006 }) });
    this.socket.destroy();
  }

  /** Wakes whoever waits for `ready`, if it is time. */
  protected wake(): void {
    if (this.#waiting === undefined || (!this.#gone && this.bufferedAmount > LOW_WATER_BYTES)) return;
    this.#waiting.resolve();
    this.#waiting = undefined;
  }

  #finish(): void {
    if (this.#gone) return;
    this.#gone = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#limit);
    this.wake();
    this.gone();
    this.end(this.#close ?? lostChannel());
  }

  /** The socket is gone; the end is told next. */
  protected gone(): void {}
}

/** Bytes over a socket as they are: AMQP over TCP or TLS. */
export class StreamChannel extends SocketChannel {
  #state: "open" | "ending" | "closing" = "open";
  #halfEnded = false;
  #code: number | undefined;

  /** Bytes that the operating system has not taken yet. */
  get bufferedAmount(): number {
    return this.socket.destroyed ? 0 : this.socket.writableLength;
  }

  /** Queues bytes for sending and takes them over. */
  send(bytes: Uint8Array): void {
    if (this.#state === "closing" || this.#halfEnded || bytes.length === 0 || this.socket.destroyed) return;
    this.write(bytes);
  }

  /** Ends our half once everything sent has left, and waits for the peer's; code and reason cannot be told to it. */
  close(code = 1000, _reason = "", timeoutMs?: number): void {
    this.limit(timeoutMs);
    if (this.#state === "closing") return;
    this.#code ??= code;
    this.#state = "closing";
    this.drain();
    this.socket.end();
    this.watch();
  }

  /** Ends our half once everything sent has left; the peer's goes on. */
  endHalf(): boolean {
    this.#halfEnded = true;
    this.socket.end();
    return true;
  }

  /** Hands on what has come. */
  protected received(bytes: Uint8Array): void {
    this.deliver(bytes);
  }

  /** The peer has ended its half. */
  protected ended(): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#code = 1005;
    if (this.onend !== undefined) return this.onend();
    // What was received last may still be answered: a peer that says goodbye and ends its half waits for the reply.
    later(() => this.close());
  }

  /** Nothing waits here. */
  protected drained(): void {}

  /** Both halves have ended in order, unless something else was recorded before. */
  protected override gone(): void {
    if (this.#code !== undefined) this.record({ code: this.#code, reason: "" });
  }
}

/** The error for a socket that broke, with what the system says about it. */
export function lostChannel(error?: Error): ChannelClose {
  const message = `Connection lost: ${error === undefined ? "socket ended" : reasonOf(error)}`;
  return {
    code: 1006,
    reason: "",
    cause: new TransportError("connection-lost", message, { cause: error, closeCode: 1006 }),
  };
}

/** What the system says about an error, in short. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === "string" && code !== "") return code;
  return typeof message === "string" && message !== "" ? message : "runtime does not tell why";
}

// Not a subclass: cutting one of those costs more, and what is decoded should not show where it came from.
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
