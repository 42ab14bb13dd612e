/**
 * WebSocket over any ordered stream of bytes, without I/O and for both roles [rfc6455].
 *
 * A {@linkcode WebSocketEndpoint} connects a socket and a channel:
 *
 * ```
 *   socket bytes ─ receive(bytes, now) ─▶ events      sendBinary, ping, close ─▶ transmit() ─ socket bytes
 *   socket end ─── end() ───────────────▶ events      nextTimeout() ─ tick(now) ─▶ events
 * ```
 *
 * After each of these calls, write the results of `transmit()` until it returns undefined; then, if `outputEnded`, end the
 * socket's sending half, and if the state is `"closed"`, destroy the socket.
 *
 * @module
 */

import { TransportError, type TransportErrorCode } from "../../base/errors.ts";
import { giveBlock } from "../../base/pool.ts";
import type { HeaderField, HeadLimits, RequestHead } from "../http/head.ts";
import { CLOSE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS, isCloseCode, MAX_SENT_MESSAGE_BYTES } from "../channel.ts";
import {
  closeCode,
  decodeClose,
  encodeClose,
  type FrameLimits,
  MAX_CONTROL_BYTES,
  opcode,
  type PayloadPiece,
  WebSocketFrameDecoder,
  WebSocketFrameEncoder,
} from "./frames.ts";
import { MaskKeys, type RandomSource } from "./mask.ts";
import { ClientUpgrade, type PreparedUpgrade } from "./handshake.ts";
import type { ServerUpgrade, UpgradeRequest } from "./upgrade.ts";

/** Most control frames and empty messages per second; a peer that sends more is not measuring round trips. */
const MAX_CONTROL_RATE = 1_000;

/**
 * Most milliseconds that a client waits for its server to end the socket once both have sent a close frame: nothing more can come,
 * and the program may wait for this end.
 */
const SOCKET_END_MS = 1_000;

/** Most milliseconds that a client waits for the rest of a refusal: its status is known, and its text may have no end. */
export const REFUSAL_BODY_MS: number = 2_000;

/** The limits of a peer's cost and time. */
export interface WebSocketLimits extends HeadLimits, FrameLimits {
  /** Most milliseconds for the handshake. Default: {@linkcode HANDSHAKE_TIMEOUT_MS}. */
  handshakeTimeoutMs?: number | undefined;
  /**
   * Most milliseconds from `close`, and again from both close frames, to the end; a client waits at most {@linkcode
   * SOCKET_END_MS} for the latter. Default: {@linkcode CLOSE_TIMEOUT_MS}.
   */
  closeTimeoutMs?: number | undefined;
  /** Most bytes of a sent message; more are split. Default: {@linkcode MAX_SENT_MESSAGE_BYTES}. */
  maxSentMessageBytes?: number | undefined;
  /** Most control frames and empty messages per second. Default: {@linkcode MAX_CONTROL_RATE}. */
  maxControlRate?: number | undefined;
}

/** The settings of a client's endpoint. */
export interface ClientEndpointOptions {
  role: "client";
  /** The request to send, see {@linkcode prepareUpgrade}. */
  handshake: PreparedUpgrade;
  /** The source of mask keys: the runtime's `crypto`. */
  random: RandomSource;
  /** The time in milliseconds, on the clock of all later calls. */
  now: number;
  limits?: WebSocketLimits | undefined;
}

/** The settings of a server's endpoint. */
export interface ServerEndpointOptions {
  role: "server";
  /** The policy, made by the caller, so that a client does not load it. */
  upgrade: ServerUpgrade;
  /** The time in milliseconds, on the clock of all later calls. */
  now: number;
  limits?: WebSocketLimits | undefined;
}

/**
 * The state of a WebSocket: `"closing"` has sent a close frame and waits for the peer's, `"ending"` waits for the end of
 * the socket, `"closed"` has nothing more to do.
 */
export type WebSocketState = "connecting" | "open" | "closing" | "ending" | "closed";

/** The WebSocket of a client is open. */
export interface OpenEvent {
  readonly kind: "open";
  readonly subprotocol: string;
  readonly headers: readonly HeaderField[];
}

/** A server has received an upgrade request; answer with `accept` or `refuse`. */
export interface RequestEvent {
  readonly kind: "request";
  /** The request, already checked against the policy. */
  readonly request: UpgradeRequest;
}

export interface PongEvent {
  readonly kind: "pong";
  /** The payload of the ping. */
  readonly bytes: Uint8Array;
}

/** The WebSocket has ended; the last event, and the only one of its kind. */
export interface CloseEvent {
  readonly kind: "close";
  /** The peer's code; 1005 if it sent none, 1006 without a close frame. */
  readonly code: number;
  readonly reason: string;
  /** The error, if any; its `closeCode` was sent to the peer. */
  readonly error?: TransportError;
}

export type EndpointEvent = OpenEvent | RequestEvent | PayloadPiece | PongEvent | CloseEvent;

type Input = "upgraded" | "refused" | "closeSent" | "closeReceived" | "failed" | "ended" | "expired";

// Every legal transition. The roles differ only in the order in which they close the socket.
const transitions: { readonly [state in WebSocketState]: { readonly [input in Input]?: WebSocketState } } = {
  connecting: { upgraded: "open", refused: "ending", failed: "closed", ended: "closed", expired: "closed" },
  open: { closeSent: "closing", closeReceived: "ending", failed: "ending", ended: "closed" },
  closing: { closeReceived: "ending", failed: "ending", ended: "closed", expired: "closed" },
  ending: { ended: "closed", expired: "closed" },
  closed: {},
};

/** One end of a WebSocket: a state machine that never reads a clock and never touches a socket. */
export class WebSocketEndpoint {
  readonly #role: "client" | "server";
  // Released when the WebSocket is open.
  #client: ClientUpgrade | undefined;
  #server: ServerUpgrade | undefined;
  readonly #limits: WebSocketLimits;
  readonly #encoder: WebSocketFrameEncoder;
  readonly #decoder: WebSocketFrameDecoder;
  #state: WebSocketState = "connecting";
  #outputEnded = false;
  #deadline: number | undefined;
  #pong: Uint8Array | undefined;
  // Whether a part of the present message has come.
  #inMessage = false;
  #controlSecond = -Infinity;
  #controlCount = 0;

  /** Begins the handshake: a client has its request to transmit, a server waits for one. */
  constructor(options: ClientEndpointOptions | ServerEndpointOptions) {
    const limits = options.limits ?? {};
    this.#role = options.role;
    this.#limits = limits;
    this.#decoder = new WebSocketFrameDecoder(options.role === "server", limits);
    if (options.role === "client") {
      this.#encoder = new WebSocketFrameEncoder(new MaskKeys(options.random));
      this.#client = new ClientUpgrade(options.handshake, limits);
      this.#encoder.raw(options.handshake.request);
    } else {
      this.#encoder = new WebSocketFrameEncoder();
      this.#server = options.upgrade;
    }
    this.#deadline = options.now + (limits.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS);
  }

  get state(): WebSocketState {
    return this.#state;
  }

  /** Whether nothing more will be sent: once `transmit()` returns undefined, end the socket's sending half. */
  get outputEnded(): boolean {
    return this.#outputEnded;
  }

  /** The bytes that wait for `transmit`. */
  get bufferedAmount(): number {
    return this.#encoder.length;
  }

  /**
   * Accepts the request of a `request` event.
   *
   * `accept` comes from {@linkcode acceptKey}; `headers` go into the response. Does nothing if the client is gone.
   *
   * @throws {TypeError} Without a request, or if a header field may not be sent.
   */
  accept(accept: string, headers: readonly HeaderField[] = []): void {
    if (this.#state !== "connecting") return;
    this.#encoder.raw(this.#requireServer("accept").accept(accept, headers));
    this.#move("upgraded");
  }

  /**
   * Refuses the request of a `request` event with an HTTP status, such as 401 with `WWW-Authenticate`; no `close` event
   * follows.
   *
   * Does nothing if the client is gone.
   *
   * @throws {TypeError} Without a request, or if the status or a header field may not be sent.
   */
  refuse(now: number, status: number, headers: readonly HeaderField[] = []): void {
    if (this.#state !== "connecting") return;
    this.#encoder.raw(this.#requireServer("refuse").refuse(status, headers));
    this.#move("refused", now);
  }

  /**
   * Queues bytes, as one message or as several if they are too many for one. A lent block is the WebSocket's from then on, other
   * bytes are copied.
   *
   * Does nothing once the WebSocket is closing.
   *
   * @throws {TypeError} Before the WebSocket is open.
   */
  sendBinary(bytes: Uint8Array): void {
    if (this.#state === "connecting") throw new TypeError("Cannot send: WebSocket is not open yet");
    if (this.#state !== "open") return;
    const most = this.#limits.maxSentMessageBytes ?? MAX_SENT_MESSAGE_BYTES;
    if (this.#encoder.block(opcode.binary, bytes, most)) return;
    for (let at = 0; at < bytes.length; at += most) {
      this.#encoder.frame(opcode.binary, bytes.subarray(at, at + most));
    }
    giveBlock(bytes);
  }

  /**
   * Queues a ping; a `pong` event with the same payload follows.
   *
   * Does nothing once the WebSocket is closing.
   *
   * @throws {TypeError} Before the WebSocket is open.
   * @throws {RangeError} If the payload is longer than 125 bytes.
   */
  ping(payload: Uint8Array = new Uint8Array(0)): void {
    if (payload.length > MAX_CONTROL_BYTES) {
      throw new RangeError(`Cannot ping: ${payload.length} bytes are more than ${MAX_CONTROL_BYTES}`);
    }
    if (this.#state === "connecting") throw new TypeError("Cannot ping: WebSocket is not open yet");
    if (this.#state === "open") this.#encoder.frame(opcode.ping, payload);
  }

  /**
   * Begins to close: queued bytes still go out, and bytes still come in until the peer has answered.
   *
   * A `reason` of more than 123 bytes is cut. Before the WebSocket is open, the state becomes `"closed"` without a `close`
   * event. Does nothing once the WebSocket is closing.
   *
   * @throws {RangeError} If `code` may not be sent.
   */
  close(now: number, code: number = closeCode.normal, reason: string = ""): void {
    if (!Number.isInteger(code) || !isCloseCode(code)) {
      throw new RangeError(`Cannot close: code ${code} may not be sent`);
    }
    if (this.#state === "connecting") this.#move("failed", now);
    if (this.#state !== "open") return;
    this.#encoder.frame(opcode.close, encodeClose({ code, reason }));
    this.#move("closeSent", now);
  }

  /** Takes an upgrade request that the caller has read, and the bytes behind it. */
  receiveRequest(head: RequestHead, surplus: Uint8Array, now: number): EndpointEvent[] {
    const events: EndpointEvent[] = [];
    try {
      const request = this.#server?.take(head, surplus);
      if (request !== undefined) events.push({ kind: "request", request });
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#fail(error, now, events);
    }
    return events;
  }

  /** Takes the socket's bytes and owns them: masked payload is unmasked in place. */
  receive(bytes: Uint8Array, now: number): EndpointEvent[] {
    const events: EndpointEvent[] = [];
    try {
      const frames = this.#state === "connecting" ? this.#receiveHandshake(bytes, now, events) : bytes;
      if (this.#receiving) this.#decoder.push(frames);
      while (this.#receiving && this.#receivePiece(now, events));
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#fail(error, now, events);
    }
    return events;
  }

  /** Reports that the socket has ended or broken, and why. */
  end(cause?: unknown): EndpointEvent[] {
    const events: EndpointEvent[] = [];
    if (this.#state === "closed") return events;
    if (this.#state !== "ending") {
      const state = this.#state === "connecting" ? "during the handshake" : "without a close frame";
      const reason = cause instanceof Error ? `: ${cause.message}` : "";
      this.#report(this.#broken("connection-lost", `connection ended ${state}${reason}`, cause), events);
    }
    this.#move("ended");
    return events;
  }

  /** The next bytes for the socket, small frames in one piece; undefined if there are none. */
  transmit(): Uint8Array | undefined {
    // Encoded here, so that one pong answers all pings since the last write [rfc6455 5.5.3]: a flood of pings to a peer
    // that does not read costs one payload.
    if (this.#pong !== undefined) {
      this.#encoder.frame(opcode.pong, this.#pong);
      this.#pong = undefined;
    }
    return this.#encoder.take();
  }

  /** The time to call `tick` at the latest; undefined without a deadline. */
  nextTimeout(): number | undefined {
    return this.#deadline;
  }

  /** Applies the deadlines that have passed at `now`. */
  tick(now: number): EndpointEvent[] {
    const events: EndpointEvent[] = [];
    if (this.#deadline === undefined || now < this.#deadline) return events;
    if (this.#state !== "ending") {
      const waited = this.#state === "connecting"
        ? "peer sent no whole handshake"
        : "peer has not answered the close frame";
      this.#report(this.#broken("timeout", `${waited} in time`), events);
    }
    this.#move("expired");
    return events;
  }

  // The server's refusal, if it has begun, says more.
  #broken(code: TransportErrorCode, state: string, cause?: unknown): TransportError {
    const doing = this.#client?.doing ?? (this.#state === "connecting" ? "accept WebSocket" : "read WebSocket");
    return this.#client?.refusal ?? new TransportError(code, `Cannot ${doing}: ${state}`, { cause });
  }

  #requireServer(doing: string): ServerUpgrade {
    if (this.#server?.request === undefined) throw new TypeError(`Cannot ${doing}: there is no request`);
    return this.#server;
  }

  get #receiving(): boolean {
    return this.#state === "open" || this.#state === "closing";
  }

  // Returns the bytes behind the handshake.
  #receiveHandshake(bytes: Uint8Array, now: number, events: EndpointEvent[]): Uint8Array {
    const request = this.#server?.receive(bytes);
    if (request !== undefined) events.push({ kind: "request", request });
    const upgraded = this.#client?.receive(bytes);
    if (this.#client?.isRefused) this.#deadline = Math.min(this.#deadline!, now + REFUSAL_BODY_MS);
    if (upgraded === undefined) return bytes;
    this.#move("upgraded");
    events.push({ kind: "open", subprotocol: upgraded.subprotocol, headers: upgraded.headers });
    return upgraded.surplus;
  }

  // Reads a piece of a message or a control frame; false when more bytes are needed.
  #receivePiece(now: number, events: EndpointEvent[]): boolean {
    const piece = this.#decoder.next();
    if (piece === undefined) return false;
    if (piece.kind === "bytes") {
      // An empty message says as little as a control frame.
      if (piece.bytes.length === 0 && !this.#inMessage) this.#countControl(now);
      this.#inMessage = !piece.last;
      events.push(piece);
      return true;
    }
    this.#countControl(now);
    // Copied, since the decoder reuses the payload's memory.
    if (piece.opcode === opcode.close) this.#receiveClose(piece.payload, now, events);
    else if (piece.opcode === opcode.pong) events.push({ kind: "pong", bytes: new Uint8Array(piece.payload) });
    else if (this.#state === "open") this.#pong = new Uint8Array(piece.payload);
    return true;
  }

  #countControl(now: number): void {
    if (now - this.#controlSecond >= 1_000) {
      this.#controlSecond = now;
      this.#controlCount = 0;
    }
    const most = this.#limits.maxControlRate ?? MAX_CONTROL_RATE;
    if (++this.#controlCount <= most) return;
    const message = `Cannot read WebSocket: more than ${most} control frames or empty messages within a second`;
    throw new TransportError("protocol-violation", message, { closeCode: closeCode.policyViolation });
  }

  #receiveClose(payload: Uint8Array, now: number, events: EndpointEvent[]): void {
    const { code, reason } = decodeClose(payload);
    if (this.#state === "open") this.#lastFrame(code);
    this.#move("closeReceived", now);
    // The server closes the socket first, so that TCP's TIME_WAIT is not the client's [rfc6455 7.1.1].
    this.#outputEnded = this.#role === "server";
    if (this.#role === "client") this.#deadline = Math.min(this.#deadline!, now + SOCKET_END_MS);
    events.push({ kind: "close", code, reason });
  }

  #fail(error: TransportError, now: number, events: EndpointEvent[]): void {
    this.#report(error, events);
    if (this.#server !== undefined && this.#state === "connecting") {
      this.#encoder.raw(this.#server.answer(error));
      this.#move("refused", now);
    } else {
      if (this.#state === "open") this.#lastFrame(error.closeCode ?? closeCode.protocolError);
      this.#move("failed", now);
    }
  }

  // A close frame instead of what is queued: the peer would not read that [rfc6455 5.5.1].
  #lastFrame(code: number): void {
    this.#encoder.clear();
    this.#encoder.frame(opcode.close, encodeClose({ code, reason: "" }));
  }

  #report(error: TransportError, events: EndpointEvent[]): void {
    events.push({ kind: "close", code: closeCode.abnormal, reason: "", error });
  }

  #move(input: Input, now?: number): void {
    const next = transitions[this.#state][input];
    if (next === undefined) throw new TypeError(`Cannot go on: "${input}" in state "${this.#state}"`);
    this.#state = next;
    if (next === "open") this.#client = this.#server = undefined;
    this.#pong = undefined;
    this.#outputEnded = next === "ending" || next === "closed";
    // In both states the peer has to act.
    const waits = now !== undefined && (next === "closing" || next === "ending");
    this.#deadline = waits ? now + (this.#limits.closeTimeoutMs ?? CLOSE_TIMEOUT_MS) : undefined;
  }
}
