/**
 * Standard WebSockets as {@linkcode Channel}s.
 *
 * @module
 */

import { userAgent } from "../../base/environment.ts";
import { TransportError } from "../../base/errors.ts";
import { quote } from "../../base/text.ts";
import { abortReason, onAbort, part, throwIfAborted } from "../../base/wait.ts";
import { type Channel, guard, HANDSHAKE_TIMEOUT_MS, positive } from "../channel.ts";
import { checkSubprotocols, isChosen, readUrl, type RemoteUrl, urlLabel } from "../url.ts";
import {
  type Carrier,
  channelLimits,
  closeCarrier,
  WebSocketChannel,
  type WebSocketChannelOptions,
} from "./web_socket_channel.ts";
import type { TurnPieces } from "./turn_pieces.ts";

export type { WebSocketChannelOptions } from "./web_socket_channel.ts";

/**
 * The part of a WebSocket that this module uses, common to browsers, Deno, Bun, Node, Workers and the npm package `ws`.
 *
 * Events are read by their fields, since not every runtime has a class for each of them.
 */
export interface WebSocketLike {
  /** Set to `"arraybuffer"` at once. */
  binaryType: string;
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** The subprotocol that the server chose; null for none on some runtimes. */
  readonly protocol?: string | null;
  /** Bytes sent that have not left yet. */
  readonly bufferedAmount?: number;
  /** Sends one binary message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(
    type: "open" | "message" | "error" | "close",
    listener: (event: WebSocketEvent) => void,
    options?: { once: boolean },
  ): void;
  /** Drops the connection without a closing handshake; only some implementations have it. */
  terminate?(): void;
}

/** The fields of open, message, error and close events that are read here, each optional. */
export interface WebSocketEvent {
  /** The type of the event. */
  readonly type: string;
  /** The payload of a message. */
  readonly data?: unknown;
  /** The description of an error, in the runtime's words. */
  readonly message?: string;
  /** The cause of an error. */
  readonly error?: unknown;
  /** The status code of a close. */
  readonly code?: number;
  /** The peer's reason of a close. */
  readonly reason?: string;
}

/** A class of WebSockets that connect when constructed. */
export type WebSocketConstructor = new (url: string, subprotocols: string[]) => WebSocketLike;

/** The settings of {@linkcode dial}. */
export interface DialOptions extends WebSocketChannelOptions {
  /** The subprotocols to offer, exactly one of which the server must choose. Default: `["amqp"]` [wsb 2.1]. */
  subprotocols?: readonly string[] | undefined;
  /** Aborts the attempt. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for the handshake. Default: 20,000. */
  handshakeTimeoutMs?: number | undefined;
  /** The WebSocket class. Default: the global WebSocket. */
  webSocket?: WebSocketConstructor | undefined;
}

/** A {@linkcode Channel} over an open WebSocket. */
export interface DialedChannel extends Channel {
  /** The subprotocol that the server chose. */
  readonly protocol: string;
}

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

/**
 * Wraps a standard WebSocket, open or still connecting, as a {@linkcode Channel} that owns it from then on.
 *
 * Call it in the turn in which the socket was made or accepted, before a message can arrive. A text message ends the
 * channel with code 1003. On runtimes where a program may not send the codes 1001 to 1014, the peer gets the code plus
 * 3000.
 *
 * @example
 * ```ts
 * import { webSocketChannel } from "./standard.ts";
 *
 * const channel = webSocketChannel(new WebSocket("ws://127.0.0.1:5673", "amqp"));
 * channel.onbytes = (bytes) => channel.send(bytes);
 * ```
 *
 * @throws {RangeError} If an option is not a positive number.
 */
export function webSocketChannel(socket: WebSocketLike, options: WebSocketChannelOptions = {}): Channel {
  return channelOver(socket, options, false);
}

/**
 * As {@linkcode webSocketChannel}; `copies` is true if the socket copies bytes on `send`, as the platform's do. With `Pieces`
 * messages come in Bun's own arrays, which it makes in less time, and are joined.
 */
export function channelOver(
  socket: WebSocketLike,
  options: WebSocketChannelOptions,
  copies: boolean,
  Pieces?: typeof TurnPieces,
): Channel {
  const channel = new WebSocketChannel(new SocketCarrier(socket, copies), options, Pieces);
  socket.binaryType = Pieces === undefined ? "arraybuffer" : "nodebuffer";
  // One function for all events, and none for an open event that is over: each takes some hundred bytes as long as the socket.
  const listener = (event: WebSocketEvent): void => handle(channel, socket, event);
  socket.addEventListener("open", listener, { once: true });
  // These stay: a socket may report an error after its end, and `ws` throws errors without a listener.
  socket.addEventListener("message", listener);
  socket.addEventListener("error", listener);
  socket.addEventListener("close", listener);
  if (socket.readyState === OPEN) channel.opened();
  else if (socket.readyState === CLOSED) channel.closed();
  return channel;
}

function handle(channel: WebSocketChannel, socket: WebSocketLike, event: WebSocketEvent): void {
  switch (event.type) {
    case "message":
      return channel.received(event.data);
    case "open":
      return channel.opened();
    case "error":
      return channel.failed(connectionLost(event), socket.readyState === CLOSED);
    case "close":
      // Workers leave the answer to the peer's close frame to the program.
      if (socket.readyState !== CLOSED) closeCarrier(socket, event.code ?? 1000, "");
      channel.closed(event.code, event.reason);
  }
}

class SocketCarrier implements Carrier {
  readonly copies: boolean;
  readonly #socket: WebSocketLike;

  constructor(socket: WebSocketLike, copies: boolean) {
    this.copies = copies;
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount ?? 0;
  }

  send(message: Uint8Array<ArrayBuffer>): boolean {
    this.#socket.send(message);
    return true;
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate?.();
  }
}

/**
 * Opens a WebSocket, and resolves with a {@linkcode Channel} once the server has chosen one of the subprotocols.
 *
 * User info in the URL is not sent. Errors name the URL without user info and query. Most runtimes hide why an attempt
 * failed: only Deno, Bun and Workers report the HTTP status, browsers and Node nothing at all.
 *
 * @example
 * ```ts
 * import { dial } from "./standard.ts";
 *
 * async function main() {
 *   const channel = await dial("wss://broker.example/amqp", { signal: AbortSignal.timeout(5_000) });
 *   channel.close();
 * }
 * ```
 *
 * @throws {TypeError} If the URL is not a WebSocket URL, has a fragment, or a subprotocol is not a token.
 * @throws {RangeError} If a numeric option is not positive.
 * @throws {TransportError} With code `"handshake-failed"` and the HTTP status, `"connect-failed"` if the runtime reports no
 * status, `"subprotocol-mismatch"`, `"timeout"`, or `"not-supported"` without a global WebSocket.
 * @throws The abort reason of `signal`.
 */
export async function dial(url: string | URL, options: DialOptions = {}): Promise<DialedChannel> {
  const target = readUrl(url, ["ws:", "wss:"]);
  const subprotocols = checkSubprotocols(options.subprotocols);
  const timeoutMs = positive("handshakeTimeoutMs", options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS);
  channelLimits(options);
  const WebSocket = options.webSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (WebSocket === undefined) {
    throw new TransportError(
      "not-supported",
      "Cannot open WebSocket: runtime has none, Node needs version 22 or later",
    );
  }
  const special = userAgent().startsWith("Bun/") && isPlatforms(WebSocket)
    ? await part("turnPieces", () => import("./turn_pieces.ts"))
    : undefined;
  throwIfAborted(options.signal);
  let socket: WebSocketLike;
  try {
    socket = new WebSocket(target.url.href, special?.withoutCompression(subprotocols) ?? [...subprotocols]);
  } catch (error) {
    throw openingFailed({ type: "error", error }, target);
  }
  const channel = channelOver(
    socket,
    options,
    options.webSocket === undefined && isPlatforms(WebSocket),
    special?.TurnPieces,
  );
  return await handshake(socket, channel, target, { ...options, subprotocols, handshakeTimeoutMs: timeoutMs });
}

function handshake(
  socket: WebSocketLike,
  channel: Channel,
  target: RemoteUrl,
  options: DialOptions & Required<Pick<DialOptions, "subprotocols" | "handshakeTimeoutMs">>,
): Promise<DialedChannel> {
  const { signal, subprotocols, handshakeTimeoutMs } = options;
  return new Promise((resolve, reject) => {
    let pending = true;
    let failure: WebSocketEvent | undefined;
    const settle = (): void => {
      pending = false;
      clearTimeout(timer);
      callOff?.();
      channel.onclose = undefined;
    };
    const fail = (reason: unknown): void => {
      if (!pending) return;
      settle();
      channel.close(1002);
      // The channel's own close waits for an open event, which a server's WebSocket is about to get.
      if (socket.readyState === CONNECTING) closeCarrier(socket, 1000, "");
      reject(reason);
    };
    const timer = guard(handshakeTimeoutMs, () => {
      fail(new TransportError("timeout", `${cannotOpen(target.url)}: no answer within ${handshakeTimeoutMs} ms`));
    });
    const callOff = signal && onAbort(signal, () => fail(abortReason(signal)));
    socket.addEventListener("error", (event) => failure = event);
    socket.addEventListener("open", () => {
      if (!pending) return;
      // Deno and Workers accept any subprotocol that the server chose [wsb 2.1].
      const protocol = socket.protocol ?? "";
      if (!isChosen(protocol, subprotocols)) return fail(subprotocolMismatch(target.url, protocol, subprotocols));
      settle();
      resolve(Object.assign(channel, { protocol }));
    });
    const closed = (): void => {
      settle();
      reject(openingFailed(failure, target));
    };
    channel.onclose = closed;
  });
}

// A replaced WebSocket may keep the bytes, and send them later.
function isPlatforms(constructor: unknown): boolean {
  return Function.prototype.toString.call(constructor).includes("[native code]");
}

export function cannotOpen(url: URL): string {
  return `Cannot open WebSocket to "${urlLabel(url)}"`;
}

export function subprotocolMismatch(url: URL, protocol: string, offered: readonly string[]): TransportError {
  const chosen = protocol === "" ? "none" : quote(protocol, 64);
  const message = `${cannotOpen(url)}: server chose subprotocol ${chosen} of "${offered.join(", ")}"`;
  return new TransportError("subprotocol-mismatch", message);
}

function openingFailed(event: WebSocketEvent | undefined, target: RemoteUrl): TransportError {
  const { reason, cause } = describe(event);
  // The texts of Deno and Bun, of Workers, and of the npm package `ws`.
  const status = /(?:status code: |received |server response: )([1-5]\d\d)\b/.exec(reason)?.[1];
  if (status !== undefined) {
    const message = `${cannotOpen(target.url)}: status is ${status}`;
    return new TransportError("handshake-failed", message, { status: Number(status), cause });
  }
  const code = /\b(?:client protocol|subprotocol)\b/i.test(reason) ? "subprotocol-mismatch" : "connect-failed";
  return new TransportError(code, `${cannotOpen(target.url)}: ${reason}`, { cause });
}

function connectionLost(event: WebSocketEvent): TransportError {
  const { reason, cause } = describe(event);
  return new TransportError("connection-lost", `Connection lost: ${reason}`, { cause });
}

// The runtime's description of an error, without URLs: tokens and passwords travel there, and Bun's texts and error objects
// hold the whole URL.
function describe(event: WebSocketEvent | undefined): { reason: string; cause: unknown } {
  const error = event?.error;
  const [message, stack] = error instanceof Error ? [error.message, error.stack] : ["", ""];
  const reason = (event?.message || message)
    .replace(
      /^(?:Uncaught )?(?:\w*Error: )?(?:failed to connect to WebSocket: |WebSocket connection to \S+ failed: )?/,
      "",
    )
    .replace(/\bwss?:\/\/\S+/gi, "(URL)");
  return {
    // Bun's text for refused, unknown and untrusted alike; browsers and Node report none.
    reason: /^failed to connect$|^$/i.test(reason)
      ? `${reason || "runtime does not tell why"}; does something listen there, and does it take this path, origin ` +
        'and protocol? Is its certificate trusted? A browser\'s console tells, elsewhere transport "socket"'
      : reason,
    cause: /\bwss?:\/\//i.test(message + stack) ? undefined : error,
  };
}
