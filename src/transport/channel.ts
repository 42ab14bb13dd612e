/**
 * The seam between AMQP and whatever carries its bytes.
 *
 * @module
 */

import { MAX_TIMER_MS, unref } from "../base/environment.ts";
import { describeKind } from "../base/options.ts";

/** Default bound of the bytes that wait in a channel. */
export const MAX_BUFFERED_BYTES = 1_048_576;

/** The close code that asks a client to come back later [rfc6455 11.7]. */
export const TRY_AGAIN_LATER = 1013;

/** Bytes that may wait when `ready` resolves: enough for a fast link, and little for each of many slow ones. */
export const LOW_WATER_BYTES = 262_144;

/** Most bytes of one sent WebSocket message: the smallest common frame limit of brokers [wsb 2.4]. */
export const MAX_SENT_MESSAGE_BYTES: number = 65_535;

/** Most milliseconds for each step of dialling: DNS, TCP, TLS, HTTP, each with a retransmission or two. */
export const HANDSHAKE_TIMEOUT_MS: number = 20_000;

/** Most milliseconds to wait for a peer that was told to close; a peer that does not read never answers. */
export const CLOSE_TIMEOUT_MS: number = 5_000;

/** Whether `code` may stand in a close frame [rfc6455 7.4]. */
export function isCloseCode(code: number): boolean {
  if (code >= 3000) return code <= 4999;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/** The end of a {@linkcode Channel}. */
export interface ChannelClose {
  /** The WebSocket close code; 1006 for a connection lost without one, 1005 if the peer gave none. */
  readonly code: number;
  /** The peer's reason text; untrusted. */
  readonly reason: string;
  /** The error that broke the connection, if the runtime reports one. */
  readonly cause?: unknown;
}

/**
 * An ordered, reliable stream of bytes in each direction; boundaries between pieces have no meaning [wsb 2.4].
 *
 * `onbytes` and `onclose` are set once, before the first turn of the event loop after the channel was handed over; bytes
 * that arrived earlier are kept for them. `onclose` is called exactly once, after the last `onbytes`.
 */
export interface Channel {
  /**
   * Queues bytes for sending. The channel owns them from then on: the caller must not write to them again, unless `copied`
   * is true. Does nothing once the channel is closed.
   */
  send(bytes: Uint8Array): void;
  /** True if `send` copies its bytes, so that the caller may reuse them at once. Default: false. */
  readonly copied?: boolean;
  /**
   * Ends the channel in order: bytes sent before still go out. Further calls only apply their `timeoutMs`.
   *
   * With `timeoutMs` the channel has ended after that many milliseconds at the latest, in order or not; without, it waits
   * as long as bytes leave, and then for the time that it was made with.
   */
  close(code?: number, reason?: string, timeoutMs?: number): void;
  /**
   * As `close`, for an owner whose peer has said goodbye, too, so that nothing comes any more: TCP then waits for no end of the
   * peer's. Absent where that is no gain.
   */
  closeNow?(code?: number, reason?: string, timeoutMs?: number): void;
  /** Bytes accepted by `send` that have not left yet. */
  readonly bufferedAmount: number;
  /** Resolves when `bufferedAmount` has fallen to where sending more makes sense, or the channel ended. */
  ready(): Promise<void>;
  /** Receives the bytes that arrive, in order, and owns them. */
  onbytes: ((bytes: Uint8Array) => void) | undefined;
  /** Called once when the channel has ended, whichever side ended it. */
  onclose: ((close: ChannelClose) => void) | undefined;
}

/** An event below AMQP, while a channel is opened or on it. It holds no secrets. */
export interface TransportEvent {
  /**
   * The kind: `"connecting"`, `"tcp"`, `"tls"`, `"proxy"`, `"upgraded"`, `"connected"`, `"failed"`, `"accepted"`,
   * `"closed"`, …
   */
  readonly event: string;
  /** The number of the connection, where there are several. */
  readonly connection?: number;
  /** Details of the event. */
  readonly [detail: string]: string | number | boolean | undefined;
}

/** A verified client certificate. */
export interface PeerCertificate {
  /** The subject, such as `{ O: "Example", CN: "alice" }`; the values of a repeated attribute are joined by newlines. */
  readonly subject: Readonly<Record<string, string>>;
  /** The alternative names, such as `DNS:a.example, email:b@c.example`. */
  readonly subjectAltName: string | undefined;
  /** The SHA-256 digest, as hex with colons. */
  readonly fingerprint: string;
}

/** The facts about a peer below AMQP; those that the transport does not know are absent. */
export interface PeerInfo {
  /** The negotiated WebSocket subprotocol; absent without a WebSocket. */
  readonly protocol?: string | undefined;
  /** Whether this process terminates TLS. */
  readonly secure?: boolean | undefined;
  /** The peer's address, which may be that of a front end. */
  readonly remoteAddress?: string | undefined;
  /** The client's certificate, of which the client has proved to hold the key. */
  readonly certificate?: PeerCertificate | undefined;
}

/**
 * The receiving half of every {@linkcode Channel} of this module: keeps bytes that come before `onbytes` is set, and calls
 * `onclose` once, after the last byte, in a turn of its own.
 */
export abstract class Inbound {
  #onbytes: ((bytes: Uint8Array) => void) | undefined;
  #onclose: ((close: ChannelClose) => void) | undefined;
  // Undefined for none.
  #held: Uint8Array[] | undefined;
  #close: ChannelClose | undefined;
  #muted = false;
  #scheduled = false;

  get onbytes(): ((bytes: Uint8Array) => void) | undefined {
    return this.#onbytes;
  }
  set onbytes(listener: ((bytes: Uint8Array) => void) | undefined) {
    this.#onbytes = listener;
    this.#schedule();
  }

  get onclose(): ((close: ChannelClose) => void) | undefined {
    return this.#onclose;
  }
  set onclose(listener: ((close: ChannelClose) => void) | undefined) {
    this.#onclose = listener;
    this.#schedule();
  }

  /** Passes bytes to `onbytes`, or keeps them for it. */
  protected deliver(bytes: Uint8Array): void {
    if (this.#muted || this.#close !== undefined || bytes.length === 0) return;
    // Bytes kept earlier go first, even while their turn is still to come.
    if (this.#onbytes !== undefined && this.#held === undefined) this.#onbytes(bytes);
    else (this.#held ??= []).push(bytes);
  }

  /** Drops all bytes that come from now on. */
  protected mute(): void {
    this.#muted = true;
  }

  /** Drops the kept bytes. */
  protected discard(): void {
    this.#held = undefined;
  }

  /** Records the end of the channel; the first call counts. */
  protected end(close: ChannelClose): void {
    if (this.#close !== undefined) return;
    this.#close = close;
    this.#schedule();
  }

  // Never synchronously: a runtime may report the end from inside our own call of `close` or `send`, and a listener should
  // not be called from inside the assignment that sets it.
  #schedule(): void {
    if (this.#scheduled || !(this.#hasBytesToDeliver() || this.#hasEndToReport())) return;
    this.#scheduled = true;
    Promise.resolve().then(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    try {
      while (this.#hasBytesToDeliver()) {
        const bytes = this.#held!.shift()!;
        if (this.#held!.length === 0) this.#held = undefined;
        this.#onbytes!(bytes);
      }
      if (!this.#hasEndToReport()) return;
      const onclose = this.#onclose!;
      // A runtime may hold the socket, and so this channel, for a while yet; not the whole connection.
      this.#onbytes = this.#onclose = undefined;
      onclose(this.#close!);
    } finally {
      // A listener that throws does not prevent the next call.
      this.#schedule();
    }
  }

  #hasBytesToDeliver(): boolean {
    return this.#onbytes !== undefined && this.#held !== undefined;
  }

  #hasEndToReport(): boolean {
    return this.#close !== undefined && this.#onclose !== undefined && this.#held === undefined;
  }
}

/**
 * Starts a timer that guards a live connection. The connection keeps the process alive while there is something to guard;
 * the timer itself does not, where the runtime can be told so.
 */
export function guard(ms: number, fire: () => void): ReturnType<typeof setTimeout> {
  return unref(setTimeout(fire, Math.min(ms, MAX_TIMER_MS)));
}

/**
 * Calls `call` in a later turn of the event loop, after about `ms` milliseconds; under a fake clock, which must not hold
 * back bytes, in the next turn. Returns a function that cancels the call.
 */
export function later(call: () => void, ms = 0): () => void {
  // All fake timers leave one of these two marks.
  if (setTimeout.name === "setTimeout" && !Object.hasOwn(setTimeout, "clock")) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  }
  const { port1, port2 } = new MessageChannel();
  const close = (): void => port1.close();
  const come = (): void => {
    close();
    call();
  };
  port1.onmessage = come;
  port2.postMessage(0);
  return close;
}

/**
 * Checks that an option is a number of at least 1.
 *
 * @throws {RangeError} If it is not.
 */
export function positive(name: string, value: number): number {
  if (value >= 1) return value;
  throw new RangeError(`Cannot open channel: option "${name}" is ${value}`);
}

/** Whether a value is a channel, rather than what is to be dialled. */
export function isChannel(value: unknown): value is Channel {
  const { send, ready } = Object(value) as Partial<Channel>;
  return typeof send === "function" && typeof ready === "function";
}

/**
 * Checks that what is to be accepted is a channel.
 *
 * @throws {TypeError} If it is none.
 */
export function checkChannel(doing: string, value: unknown): void {
  if (!isChannel(value)) throw new TypeError(`Cannot ${doing}: channel is ${describeKind(value)}, not a Channel`);
}
