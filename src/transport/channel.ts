/**
 * The seam between AMQP and whatever carries its bytes.
 *
 * @module
 */

import { MAX_TIMER_MS, unref } from "../base/environment.ts";

/** Bytes that may wait in a channel by default before nothing more is written to it. */
export const MAX_BUFFERED_BYTES = 1_048_576;

/** Bytes that may still wait when `ready` resolves: what keeps a fast link busy, and little to hold for each of many slow ones. */
export const LOW_WATER_BYTES = 262_144;

/** Most bytes of one WebSocket message that is sent: what the smallest common frame limit of brokers lets through [wsb 2.4]. */
export const MAX_SENT_MESSAGE_BYTES: number = 65_535;

/** Most milliseconds for each step of dialling: names, TCP, TLS, HTTP, each with a retransmission or two. */
export const HANDSHAKE_TIMEOUT_MS: number = 20_000;

/** Most milliseconds to wait for a peer that was told to close; one that does not read never answers. */
export const CLOSE_TIMEOUT_MS: number = 5_000;

/** Whether `code` may stand in a close frame [rfc6455 7.4]. */
export function isCloseCode(code: number): boolean {
  if (code >= 3000) return code <= 4999;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/** Why and how a {@linkcode Channel} ended. */
export interface ChannelClose {
  /** The WebSocket close code, 1006 when the carrier broke without one, 1005 when the peer gave none. */
  readonly code: number;
  /** The peer's reason text; untrusted. */
  readonly reason: string;
  /** What broke the carrier, where the runtime tells it. */
  readonly cause?: unknown;
}

/**
 * An ordered, reliable stream of bytes in each direction; how they are cut into pieces means nothing [wsb 2.4].
 *
 * `onbytes` and `onclose` are set once, before the first turn of the event loop after the channel was handed
 * over; what arrived earlier is kept for them. `onclose` is called exactly once, after the last `onbytes`.
 */
export interface Channel {
  /**
   * Queues bytes for sending and takes them over: the caller must not write to them again, unless `copied` tells that it may.
   * Ignored once closed.
   */
  send(bytes: Uint8Array): void;
  /** True when the channel has copied all that it was given to send, whose memory is the caller's again. Default: false. */
  readonly copied?: boolean;
  /**
   * Ends the channel in order: what was sent before still goes out. Calling it again does nothing, but for a `timeoutMs`.
   *
   * With `timeoutMs` it has ended after that many milliseconds at the latest, in order or not; without, it waits as long as
   * bytes leave, and then for the time that it was made with.
   */
  close(code?: number, reason?: string, timeoutMs?: number): void;
  /** Bytes accepted by `send` that have not left yet. */
  readonly bufferedAmount: number;
  /** Resolves when `bufferedAmount` has fallen to where sending more makes sense, or the channel ended. */
  ready(): Promise<void>;
  /** Takes the bytes that arrive, in order, and owns them. */
  onbytes: ((bytes: Uint8Array) => void) | undefined;
  /** Told once that the channel has ended, whoever ended it. */
  onclose: ((close: ChannelClose) => void) | undefined;
}

/** Something that happened below AMQP: on the way to a channel, or to it. Nothing of it is a secret. */
export interface TransportEvent {
  /** What: `"connecting"`, `"tcp"`, `"tls"`, `"proxy"`, `"upgraded"`, `"connected"`, `"failed"`, `"accepted"`, `"closed"`, or another word. */
  readonly event: string;
  /** The connection that it happened to, where there are several. */
  readonly connection?: number;
  /** More about it. */
  readonly [detail: string]: string | number | boolean | undefined;
}

/** A client's certificate whose authority was trusted. */
export interface PeerCertificate {
  /** Whom it was given to, such as `{ O: "Example", CN: "alice" }`; an attribute that repeats is joined by newlines. */
  readonly subject: Readonly<Record<string, string>>;
  /** Its further names, such as `DNS:a.example, email:b@c.example`. */
  readonly subjectAltName: string | undefined;
  /** Its SHA-256 digest, as hex with colons. */
  readonly fingerprint: string;
}

/** What is known of a peer below AMQP; what a carrier cannot tell is absent. */
export interface PeerInfo {
  /** The WebSocket subprotocol that was agreed; absent where there is no WebSocket. */
  readonly protocol?: string | undefined;
  /** Whether TLS ends here. */
  readonly secure?: boolean | undefined;
  /** The address that the connection comes from, which may be that of a front end. */
  readonly remoteAddress?: string | undefined;
  /** The certificate that the client has proved to hold the key of. */
  readonly certificate?: PeerCertificate | undefined;
}

/**
 * The receiving half that every {@linkcode Channel} of this module shares: it keeps what comes before `onbytes` is set,
 * and tells the end once, after the last byte, in a turn of its own.
 */
export abstract class Inbound {
  #onbytes: ((bytes: Uint8Array) => void) | undefined;
  #onclose: ((close: ChannelClose) => void) | undefined;
  #held: Uint8Array[] = [];
  #close: ChannelClose | undefined;
  #muted = false;
  #told = false;
  #scheduled = false;

  /** Takes the bytes that arrive, in order, and owns them. */
  get onbytes(): ((bytes: Uint8Array) => void) | undefined {
    return this.#onbytes;
  }
  set onbytes(listener: ((bytes: Uint8Array) => void) | undefined) {
    this.#onbytes = listener;
    this.#schedule();
  }

  /** Told once that the channel has ended, whoever ended it. */
  get onclose(): ((close: ChannelClose) => void) | undefined {
    return this.#onclose;
  }
  set onclose(listener: ((close: ChannelClose) => void) | undefined) {
    this.#onclose = listener;
    this.#schedule();
  }

  /** Hands bytes to `onbytes`, or keeps them for it. */
  protected deliver(bytes: Uint8Array): void {
    if (this.#muted || this.#close !== undefined || bytes.length === 0) return;
    // What was kept goes first, so nothing overtakes it while its turn is still to come.
    if (this.#onbytes === undefined || this.#held.length > 0) this.#held.push(bytes);
    else this.#onbytes(bytes);
  }

  /** Delivers nothing that comes from now on. */
  protected mute(): void {
    this.#muted = true;
  }

  /** Forgets what was kept. */
  protected discard(): void {
    this.#held = [];
  }

  /** Records how the channel ended; the first call counts. */
  protected end(close: ChannelClose): void {
    if (this.#close !== undefined) return;
    this.#close = close;
    this.#schedule();
  }

  // Never at once: a runtime may report the end from inside our own call of `close` or `send`, and a listener should
  // not be called from inside the assignment that sets it.
  #schedule(): void {
    if (this.#scheduled || !(this.#hasBytesToHand() || this.#hasEndToTell())) return;
    this.#scheduled = true;
    Promise.resolve().then(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    try {
      while (this.#hasBytesToHand()) this.#onbytes!(this.#held.shift()!);
      if (!this.#hasEndToTell()) return;
      this.#told = true;
      this.#onclose!(this.#close!);
    } finally {
      // A listener that throws does not lose what follows.
      this.#schedule();
    }
  }

  #hasBytesToHand(): boolean {
    return this.#onbytes !== undefined && this.#held.length > 0;
  }

  #hasEndToTell(): boolean {
    return this.#close !== undefined && this.#onclose !== undefined && !this.#told && this.#held.length === 0;
  }
}

/**
 * Starts a timer that guards a live connection. The connection keeps the process alive as long as there is something to
 * guard, so the timer itself does not, where the runtime can be told so.
 */
export function guard(ms: number, fire: () => void): ReturnType<typeof setTimeout> {
  return unref(setTimeout(fire, Math.min(ms, MAX_TIMER_MS)));
}

/**
 * Calls `call` in a later turn of the event loop, after about `ms` milliseconds. Nothing that carries bytes may wait for a
 * clock that a test holds, so where timers are replaced it is the next turn. Gives what keeps it from being called.
 */
export function later(call: () => void, ms = 0): () => void {
  // All that replace timers leave one of these two marks.
  if (setTimeout.name === "setTimeout" && !Object.hasOwn(setTimeout, "clock")) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  }
  const { port1, port2 } = new MessageChannel();
  const close = (): void => port1.close();
  port1.onmessage = () => {
    close();
    call();
  };
  port2.postMessage(0);
  return close;
}

/**
 * Checks an option that counts something.
 *
 * @throws {RangeError} If it is less than one, or no number.
 */
export function positive(name: string, value: number): number {
  if (value >= 1) return value;
  throw new RangeError(`Cannot open channel: option "${name}" is ${value}`);
}
