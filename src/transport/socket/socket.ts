/**
 * A {@linkcode Channel} over a socket: TCP, TLS, or either through a tunnel.
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

/** The part of a socket of `node:net` or `node:tls` that is used; only `node.ts` may name those. */
export interface Socket {
  /** Bytes written that the operating system has not taken yet. */
  readonly writableLength: number;
  readonly destroyed: boolean;
  /** Whether this side's half stays open when the peer's has ended. */
  allowHalfOpen: boolean;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  /** The TLS version; null or undefined without TLS. */
  getProtocol?(): string | null;
  /** Queues bytes; false asks to wait for `drain`. `written` is called when they have left, or with why they have not. */
  write(bytes: Uint8Array, written?: (error?: Error | null) => void): boolean;
  /** Ends this side's half after the queued bytes. */
  end(): unknown;
  destroy(): unknown;
  /** Stops reading, so that the peer has to wait. */
  pause(): unknown;
  resume(): unknown;
  /** Puts bytes back in front of those to be read. */
  unshift(bytes: Uint8Array): void;
  on(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "connect" | "secureConnect" | "end" | "drain" | "close", listener: () => void): unknown;
  off(event: string, listener: unknown): unknown;
}

/** A {@linkcode Channel} that can hold its peer back. */
export interface PausableChannel extends Channel {
  /** Stops reading until `resume`, which in time blocks the peer's writes. */
  pause(): void;
  /** Reads again. */
  resume(): void;
  /**
   * Called when the peer will send nothing more but may still read; the listener has to call `close`, or `endHalf` to end
   * both halves. Without a listener the channel closes by itself, one turn later. Never called for a WebSocket.
   */
  onend: (() => void) | undefined;
  /** Ends this side's half after the bytes sent, and keeps reading; false if there are no halves, as in a WebSocket. */
  endHalf(): boolean;
}

export interface SocketChannelOptions {
  /** Milliseconds without progress after which a closing channel is dropped. Default: 5,000. */
  closeTimeoutMs?: number | undefined;
}

/** The common part of channels over sockets: reading, waiting for room, and an end that is certain. */
export abstract class SocketChannel extends Inbound implements PausableChannel {
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

  /** Takes over a connected socket without other listeners. */
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
    // The socket may have been paused, and it may have broken before it came here.
    socket.resume();
    if (socket.destroyed) Promise.resolve().then(() => this.#finish());
  }

  abstract get bufferedAmount(): number;
  abstract send(bytes: Uint8Array): void;
  /** Ends the channel in order, see {@linkcode Channel.close}. */
  abstract close(code?: number, reason?: string, timeoutMs?: number): void;
  abstract endHalf(): boolean;
  protected abstract received(bytes: Uint8Array): void;
  protected abstract ended(): void;
  protected abstract drained(): void;

  /** Resolves when at most 256 KiB wait, or the channel has ended. */
  ready(): Promise<void> {
    if (this.#gone || this.bufferedAmount <= LOW_WATER_BYTES) return Promise.resolve();
    if (this.#waiting === undefined) {
      let resolve = (): void => {};
      const promise = new Promise<void>((settle) => resolve = settle);
      this.#waiting = { promise, resolve };
    }
    return this.#waiting.promise;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  protected broken(error: Error): void {
    this.record(lostChannel(error));
  }

  /** Writes, notes whether there is room for more, and returns a block to the pool once it has left. */
  protected write(bytes: Uint8Array): void {
    const isBlock = isLent(bytes);
    this.writable = this.socket.write(bytes, (error) => {
      // After a failed write, the system may still read the block.
      if (error) return;
      if (isBlock) giveBlock(bytes);
      this.left();
    });
  }

  /** A write has left; the socket tells of room only where it had none. */
  protected left(): void {}

  /** Records the end, which is reported when the socket is gone; the first call counts. */
  protected record(close: ChannelClose): void {
    this.#close ??= close;
  }

  /** Drops further bytes of the peer, and waits for its end. */
  protected drain(): void {
    this.mute();
    this.discard();
    this.socket.resume();
  }

  /** Drops the socket when no byte has left for `closeTimeoutMs`. */
  protected watch(): void {
    if (this.#gone) return;
    const buffered = this.bufferedAmount;
    clearTimeout(this.#timer);
    this.#timer = guard(this.#closeTimeoutMs, () => {
      // While bytes leave, the peer is slow and not gone.
      if (this.bufferedAmount < buffered) this.watch();
      else this.#timeOut(this.#closeTimeoutMs);
    });
  }

  /** Drops the socket after `timeoutMs`, whatever happens; undefined sets no limit. */
  protected limit(timeoutMs: number | undefined): void {
    if (this.#gone || timeoutMs === undefined) return;
    clearTimeout(this.#limit);
    this.#limit = guard(timeoutMs, () => this.#timeOut(timeoutMs));
  }

  #timeOut(timeoutMs: number): void {
    const message = `Cannot close connection: no answer within ${timeoutMs} ms`;
    this.record({ code: 1006, reason: "", cause: new TransportError("timeout", message, { closeCode: 1006 }) });
    this.socket.destroy();
  }

  /** Resolves `ready` if there is room, or the channel has ended. */
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

  /** The socket is gone; `onclose` is called next. */
  protected gone(): void {}
}

/** A byte stream over a socket: AMQP over TCP or TLS. */
export class StreamChannel extends SocketChannel {
  #state: "open" | "ending" | "closing" = "open";
  #halfEnded = false;
  #code: number | undefined;
  #closesLater: (() => void) | undefined;
  readonly #bare: boolean;

  /** `bare` for TCP without TLS on the way: TLS ends in order, as its peer could not tell another end from an attack. */
  constructor(socket: Socket, options: SocketChannelOptions = {}, bare = false) {
    super(socket, options);
    this.#bare = bare;
  }

  get bufferedAmount(): number {
    return this.socket.destroyed ? 0 : this.socket.writableLength;
  }

  send(bytes: Uint8Array): void {
    if (this.#state === "closing" || this.#halfEnded || bytes.length === 0 || this.socket.destroyed) return;
    this.write(bytes);
  }

  /** Ends this side's half after the bytes sent, and waits for the peer's; code and reason do not reach the peer. */
  close(code = 1000, _reason = "", timeoutMs?: number): void {
    this.limit(timeoutMs);
    if (this.#state === "closing") return;
    this.#code ??= code;
    this.#state = "closing";
    this.drain();
    this.socket.end();
    this.watch();
  }

  /** Ends both halves at once, where TCP is bare and all bytes have left. */
  closeNow(code = 1000, reason = "", timeoutMs?: number): void {
    if (!this.#bare || this.#state !== "open" || this.bufferedAmount > 0) return this.close(code, reason, timeoutMs);
    this.#code = code;
    this.#state = "closing";
    this.mute();
    this.discard();
    this.socket.destroy();
  }

  endHalf(): boolean {
    this.#halfEnded = true;
    this.socket.end();
    return true;
  }

  protected received(bytes: Uint8Array): void {
    this.deliver(bytes);
  }

  protected ended(): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    this.#code = 1005;
    if (this.onend !== undefined) return this.onend();
    // The last bytes received may still be answered: a peer that sends a close and ends its half waits for the reply.
    this.#closesLater = later(() => this.close());
  }

  protected drained(): void {}

  /** Both halves have ended in order, unless another end was recorded before. */
  protected override gone(): void {
    this.#closesLater?.();
    if (this.#code !== undefined) this.record({ code: this.#code, reason: "" });
  }
}

/** The end of a channel whose socket broke, with the system's reason. */
function lostChannel(error?: Error): ChannelClose {
  const message = `Connection lost: ${error === undefined ? "socket ended" : reasonOf(error)}`;
  return {
    code: 1006,
    reason: "",
    cause: new TransportError("connection-lost", message, { cause: error, closeCode: 1006 }),
  };
}

/** Whose TLS an error is about: the option that has its settings. */
export type TlsOption = "tls" | "proxy.tls";

/** The system's reason in short: the error's code, or its message. */
export function reasonOf(error: unknown, option: TlsOption = "tls"): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const reason = typeof code === "string" && code !== ""
    ? code
    : typeof message === "string" && message !== ""
    ? message
    : "runtime does not tell why";
  // With TLS 1.3 this comes only after the handshake.
  const refused = /alert.*certificate/i.test(`${reason} ${message}`);
  if (!refused) return reason;
  return `${reason}; the peer wants a certificate that it knows, see ${option}.cert and ${option}.key`;
}

// Not a Buffer: subarrays of one cost more, and decoded values should not be Buffers.
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
