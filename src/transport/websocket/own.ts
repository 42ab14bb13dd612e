/**
 * A WebSocket of our own over a socket, as a {@linkcode Channel}.
 *
 * @module
 */

import { closeCode } from "./frames.ts";
import { TransportError } from "../../base/errors.ts";
import type { HeaderField, RequestHead } from "../http/head.ts";
import type { EndpointEvent, OpenEvent, RequestEvent, WebSocketEndpoint } from "./rfc6455.ts";
import { reasonOf, type Socket, SocketChannel, type SocketChannelOptions } from "../socket/socket.ts";
import { guard, isCloseCode } from "../channel.ts";

/** What happens before a WebSocket is open. */
export interface HandshakeHooks {
  /** A client is connected. */
  onopen?: (event: OpenEvent) => void;
  /** A server was asked to connect; answer with `accept` or `refuse`. */
  onrequest?: (event: RequestEvent) => void;
}

/** Pumps a {@linkcode WebSocketEndpoint} over a socket. */
export class SocketWebSocket extends SocketChannel {
  /** Always true. */
  readonly copied = true;
  readonly #endpoint: WebSocketEndpoint;
  // Let go with the handshake, and all that only it needed.
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
    this.#turn([]);
  }

  /** Bytes that wait for the operating system, with their frames. */
  get bufferedAmount(): number {
    return this.socket.destroyed ? 0 : this.#endpoint.bufferedAmount + this.socket.writableLength;
  }

  /** Queues a copy of bytes for sending; all of one turn leave together. */
  send(bytes: Uint8Array): void {
    if (this.#closing !== undefined || this.socket.destroyed) return;
    this.#endpoint.sendBinary(bytes);
    if (this.#scheduled) return;
    this.#scheduled = true;
    Promise.resolve().then(() => {
      this.#scheduled = false;
      this.#flush();
      // Whatever the system takes at once is followed by no event.
      this.wake();
    });
  }

  /** Starts the closing handshake once everything sent has left; nothing is received from now on. */
  close(code: number = closeCode.normal, reason = "", timeoutMs?: number): void {
    this.limit(timeoutMs);
    if (this.#closing !== undefined) return;
    this.#closing = { code: isCloseCode(code) ? code : closeCode.normal, reason };
    this.drain();
    this.#flush();
    if (!this.#closeWhenEmpty()) this.watch();
  }

  /** A WebSocket has no halves: whoever closes it says that it will read no more. */
  endHalf(): boolean {
    return false;
  }

  /** Opens the WebSocket that was asked for, see {@linkcode WebSocketEndpoint.accept}. */
  accept(accept: string): void {
    this.#endpoint.accept(accept);
    this.#hooks = undefined;
    this.#turn([]);
  }

  /** Answers what was asked for with an HTTP error. */
  refuse(status: number, headers: readonly HeaderField[] = []): void {
    this.record({ code: closeCode.abnormal, reason: "" });
    this.#endpoint.refuse(now(), status, headers);
    this.#turn([]);
  }

  /** Takes a request that was read before this channel took over, and the bytes behind it. */
  receiveRequest(head: RequestHead, surplus: Uint8Array): void {
    this.#turn(this.#endpoint.receiveRequest(head, surplus, now()));
  }

  /** Takes bytes that were read before this channel took over. */
  receive(bytes: Uint8Array): void {
    this.received(bytes);
  }

  /** Reads what has come. */
  protected received(bytes: Uint8Array): void {
    this.#turn(this.#endpoint.receive(bytes, now()));
  }

  /** Reads that there is no more. */
  protected ended(): void {
    this.#turn(this.#endpoint.end());
  }

  /** Reads that there is no more, and why. */
  protected override broken(error: Error): void {
    this.#turn(this.#endpoint.end(new Error(reasonOf(error), { cause: error })));
  }

  /** Writes on. */
  protected drained(): void {
    this.#flush();
    this.#closeWhenEmpty();
  }

  /** Lets go of what the socket leaves behind. */
  protected override gone(): void {
    clearTimeout(this.#timer);
    this.#heed(this.#endpoint.end());
  }

  #turn(events: readonly EndpointEvent[]): void {
    this.#heed(events);
    this.#flush();
  }

  #heed(events: readonly EndpointEvent[]): void {
    for (const event of events) {
      if (event.kind === "bytes") this.deliver(event.bytes);
      else if (event.kind === "open") {
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
    // No further than the socket takes: what waits in the endpoint instead is one pong for any number of pings.
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
      this.#turn(this.#endpoint.tick(now()));
    });
  }
}

function now(): number {
  return performance.now();
}
