/**
 * This module's WebSocket over a socket, as a {@linkcode Channel}.
 *
 * @module
 */

import { closeCode, type PayloadPiece } from "./frames.ts";
import { TransportError } from "../../base/errors.ts";
import { MIN_BLOCK_BYTES } from "../../base/pool.ts";
import type { HeaderField, RequestHead } from "../http/head.ts";
import type { EndpointEvent, OpenEvent, RequestEvent, WebSocketEndpoint } from "./rfc6455.ts";
import { reasonOf, type Socket, SocketChannel, type SocketChannelOptions } from "../socket/socket.ts";
import { guard, isCloseCode } from "../channel.ts";

/** Callbacks of the handshake. */
export interface HandshakeHooks {
  /** Called on a client when the WebSocket is open. */
  onopen?: (event: OpenEvent) => void;
  /** Called on a server for an upgrade request; answer with `accept` or `refuse`. */
  onrequest?: (event: RequestEvent) => void;
}

/** Runs a {@linkcode WebSocketEndpoint} over a socket. */
export class SocketWebSocket extends SocketChannel {
  readonly #endpoint: WebSocketEndpoint;
  // Released with the handshake, with all that only it needs.
  #hooks: HandshakeHooks | undefined;
  #scheduled = false;
  #outputEnded = false;
  #closing: { code: number; reason: string } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due: number | undefined;

  /** Takes over a connected socket and starts the handshake. */
  constructor(socket: Socket, endpoint: WebSocketEndpoint, options: SocketChannelOptions & HandshakeHooks = {}) {
    super(socket, options);
    this.#endpoint = endpoint;
    this.#hooks = options;
    this.#handleAndFlush([]);
  }

  /** Bytes that wait for the operating system, frame headers included. */
  get bufferedAmount(): number {
    return this.socket.destroyed ? 0 : this.#endpoint.bufferedAmount + this.socket.writableLength;
  }

  /** Writes a block at once, so that the peer has work while the next one is made; all other bytes of a turn together. */
  send(bytes: Uint8Array): void {
    if (this.#closing !== undefined || this.socket.destroyed) return;
    this.#endpoint.sendBinary(bytes);
    if (bytes.length >= MIN_BLOCK_BYTES) {
      this.#flush();
      return this.wake();
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    Promise.resolve().then(() => {
      this.#scheduled = false;
      this.#flush();
      // No drain event follows bytes that the system takes at once.
      this.wake();
    });
  }

  /** Starts the closing handshake once everything sent has left; drops bytes received from now on. */
  close(code: number = closeCode.normal, reason = "", timeoutMs?: number): void {
    this.limit(timeoutMs);
    if (this.#closing !== undefined) return;
    this.#closing = { code: isCloseCode(code) ? code : closeCode.normal, reason };
    this.drain();
    this.#flush();
    if (!this.#closeWhenEmpty()) this.watch();
  }

  /** A WebSocket has no halves: a side that closes will read no more. */
  endHalf(): boolean {
    return false;
  }

  /** Accepts the request, see {@linkcode WebSocketEndpoint.accept}. */
  accept(accept: string): void {
    this.#endpoint.accept(accept);
    this.#hooks = undefined;
    this.#handleAndFlush([]);
  }

  /** Refuses the request with an HTTP status. */
  refuse(status: number, headers: readonly HeaderField[] = []): void {
    this.record({ code: closeCode.abnormal, reason: "" });
    this.#endpoint.refuse(now(), status, headers);
    this.#handleAndFlush([]);
  }

  /** Takes a request that was read before this channel existed, and the bytes behind it. */
  receiveRequest(head: RequestHead, surplus: Uint8Array): void {
    this.#handleAndFlush(this.#endpoint.receiveRequest(head, surplus, now()));
  }

  /** Takes bytes that were read before this channel existed. */
  receive(bytes: Uint8Array): void {
    this.received(bytes);
  }

  protected received(bytes: Uint8Array): void {
    this.#handleAndFlush(this.#endpoint.receive(bytes, now()));
  }

  protected ended(): void {
    this.#handleAndFlush(this.#endpoint.end());
  }

  protected override broken(error: Error): void {
    this.#handleAndFlush(this.#endpoint.end(new Error(reasonOf(error), { cause: error })));
  }

  protected drained(): void {
    this.#flush();
    this.#closeWhenEmpty();
  }

  protected override left(): void {
    this.#closeWhenEmpty();
  }

  protected override gone(): void {
    clearTimeout(this.#timer);
    this.#handle(this.#endpoint.end());
  }

  #handleAndFlush(events: readonly EndpointEvent[]): void {
    this.#handle(events);
    this.#flush();
  }

  #handle(events: readonly EndpointEvent[]): void {
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!;
      if (event.kind === "bytes") {
        const end = payloadEnd(events, i);
        this.deliver(end === i + 1 ? event.bytes : adjoined(events, i, end));
        i = end - 1;
      } else if (event.kind === "open") {
        const hooks = this.#hooks;
        this.#hooks = undefined;
        hooks?.onopen?.(event);
      } else if (event.kind === "request") this.#hooks?.onrequest?.(event);
      else if (event.kind === "close") {
        const { code, reason, error } = event;
        this.record({ code: error?.closeCode ?? code, reason, ...(error === undefined ? {} : { cause: error }) });
      }
    }
  }

  #flush(): void {
    // No more than the socket takes: the endpoint holds at most one pong, whatever number of pings came.
    while (this.writable && !this.socket.destroyed) {
      const bytes = this.#endpoint.transmit();
      if (bytes === undefined) break;
      this.write(bytes);
    }
    if (this.#endpoint.outputEnded && this.#endpoint.bufferedAmount === 0 && !this.#outputEnded) {
      this.#outputEnded = true;
      this.socket.end();
    }
    if (this.#endpoint.state === "closed") this.socket.destroy();
    this.#arm();
  }

  #closeWhenEmpty(): boolean {
    if (this.#closing === undefined || this.#endpoint.bufferedAmount > 0 || this.socket.writableLength > 0) {
      return false;
    }
    const { code, reason } = this.#closing;
    if (this.#endpoint.state === "connecting") {
      const cause = new TransportError("connection-lost", "Connection lost: given up during the handshake");
      this.record({ code: closeCode.abnormal, reason: "", cause });
    }
    this.#endpoint.close(now(), code, reason);
    this.#flush();
    return true;
  }

  #arm(): void {
    const due = this.socket.destroyed ? undefined : this.#endpoint.nextTimeout();
    if (due === this.#due) return;
    this.#due = due;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (due === undefined) return;
    this.#timer = guard(Math.max(0, due - now()), () => {
      this.#due = undefined;
      this.#handleAndFlush(this.#endpoint.tick(now()));
    });
  }
}

// Payloads up to this size move to the end of the one before them; that costs less than to handle them apart.
const MAX_MOVED_BYTES = 8_192;

// Where the payloads end that follow each other from the one at `first`, and are short enough to move.
function payloadEnd(events: readonly EndpointEvent[], first: number): number {
  for (let i = first + 1;; i++) {
    const event = events[i];
    if (event?.kind !== "bytes" || event.bytes.length > MAX_MOVED_BYTES) return i;
  }
}

// One array of the payloads from `first` to `end`, which are parts of one read, in order: the headers between them are
// overwritten. So messages that come together cost one reading of frames, and a frame of two messages is not put together.
function adjoined(events: readonly EndpointEvent[], first: number, end: number): Uint8Array {
  const { buffer, byteOffset, length } = (events[first] as PayloadPiece).bytes;
  const read = new Uint8Array(buffer);
  let at = byteOffset + length;
  for (let i = first + 1; i < end; i++) {
    const { byteOffset, length } = (events[i] as PayloadPiece).bytes;
    read.copyWithin(at, byteOffset, byteOffset + length);
    at += length;
  }
  return read.subarray(byteOffset, at);
}

function now(): number {
  return performance.now();
}
