import { TransportError } from "../../base/errors.ts";
import type { OptionKinds } from "../../base/options.ts";
import { type HeaderField, headerHasToken, type RequestHead, requestParser } from "../http/head.ts";
import { CLOSE_TIMEOUT_MS, guard, type PeerInfo } from "../channel.ts";
import { WebSocketEndpoint, type WebSocketLimits } from "../websocket/rfc6455.ts";
import type { PausableChannel, Socket } from "./socket.ts";
import { SocketWebSocket } from "../websocket/own.ts";
import { acceptKey } from "../websocket/handshake.ts";
import { acceptedSubprotocols, encodeRefusal, ServerUpgrade, type UpgradeOptions } from "../websocket/upgrade.ts";

/** The answer that refuses a WebSocket. */
export interface UpgradeRefusal {
  /** The HTTP status, 400 to 599. */
  readonly status: number;
  /** Further header fields, such as `WWW-Authenticate`. */
  readonly headers?: readonly HeaderField[];
}

/** The answers to HTTP requests, and the WebSockets to open. */
export interface HttpServiceOptions extends UpgradeOptions {
  /** The paths at which WebSockets are accepted; others are answered with 404. Default: any. */
  paths?: (readonly string[] | ((path: string) => boolean)) | undefined;
  /**
   * Decides on a WebSocket before it is opened: undefined accepts it, any other value is the answer, such as 401 with
   * `WWW-Authenticate`. An error is logged and answered with 500. Default: accepts everybody; SASL comes later.
   */
  authenticate?: (
    request: RequestHead,
    info: PeerInfo,
  ) => UpgradeRefusal | undefined | Promise<UpgradeRefusal | undefined>;
  /** The text that answers an ordinary GET, for health checks. Default: `"ok\\n"`. */
  health?: string | undefined;
  /** Bounds of the cost of a request and its WebSocket. */
  limits?: WebSocketLimits | undefined;
}

/** The results of a request: one of them is called, unless its client leaves before. */
export interface HttpResults {
  /** Receives a channel whose WebSocket is open. */
  onupgraded(channel: PausableChannel, request: RequestHead, protocol: string): void;
  /** Called when any other answer was written: only the client's end of the connection is still to come. */
  onanswered?(): void;
}

export const WEB_SOCKET_LIMIT_KINDS: OptionKinds<WebSocketLimits> = {
  handshakeTimeoutMs: "number from 1",
  closeTimeoutMs: "number from 1",
  maxSentMessageBytes: "number from 1",
  maxControlRate: "number from 1",
  maxMessageBytes: "number from 1",
  maxFragments: "number from 1",
  maxHeadBytes: "number from 1",
  maxLineBytes: "number from 1",
  maxHeaderFields: "number from 0",
};

export class HttpExchange {
  readonly #socket: Socket;
  readonly #options: HttpServiceOptions;
  readonly #peer: PeerInfo;
  readonly #results: HttpResults;
  readonly #parser: ReturnType<typeof requestParser>;
  #reading = true;

  constructor(socket: Socket, options: HttpServiceOptions, peer: PeerInfo, results: HttpResults) {
    this.#socket = socket;
    this.#options = options;
    this.#peer = peer;
    this.#results = results;
    this.#parser = requestParser(options.limits);
    socket.on("data", this.#ondata);
    socket.on("end", this.#onend);
    socket.resume();
  }

  /** Whether the request is still incomplete. */
  get reading(): boolean {
    return this.#reading;
  }

  /** Ends the exchange at its time-out: an incomplete request is answered with 408, others are dropped. */
  expire(): void {
    if (!this.#reading) return void this.#socket.destroy();
    this.#read();
    this.#socket.write(encodeRefusal(408, "Cannot answer: request took too long\n"));
    this.#end();
  }

  readonly #onend = (): void => void this.#socket.destroy();

  readonly #ondata = (bytes: Uint8Array): void => {
    let head: RequestHead | undefined;
    try {
      head = this.#parser.receive(bytes);
      if (head === undefined) return;
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#read();
      this.#socket.write(encodeRefusal(400, `${error.message}\n`));
      return this.#end();
    }
    this.#read();
    if (!headerHasToken(head.headers, "upgrade", "websocket")) return this.#answer(head);
    this.#upgrade(head);
  };

  // Ends reading: the request is complete, or failed.
  #read(): void {
    this.#reading = false;
    this.#socket.off("data", this.#ondata);
    this.#socket.off("end", this.#onend);
  }

  // Answers a plain HTTP request, such as a health check.
  #answer({ method, target }: RequestHead): void {
    const { health = "ok\n" } = this.#options;
    const response = method !== "GET" && method !== "HEAD"
      ? encodeRefusal(405, "Cannot answer: method is not GET\n", [["Allow", "GET"]])
      : this.#isServed(target)
      ? encodeRefusal(200, health)
      : encodeRefusal(404, "Cannot answer: no such path\n");
    const body = method === "HEAD" ? bodyLength(response) : 0;
    this.#socket.write(response.subarray(0, response.length - body));
    this.#end();
  }

  #upgrade(head: RequestHead): void {
    openUpgrade(this.#socket, head, this.#parser.surplus, {
      options: this.#options,
      peer: this.#peer,
      results: this.#results,
    });
  }

  #isServed(target: string): boolean {
    return isServed(this.#options, target);
  }

  // The peer closes last, so that it reads the answer whatever it still sends.
  #end(): void {
    const socket = this.#socket;
    const timer = guard(this.#options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS, () => socket.destroy());
    socket.on("close", () => clearTimeout(timer));
    socket.on("data", () => {});
    socket.resume();
    socket.end();
    this.#results.onanswered?.();
  }
}

/** Answers an upgrade request that has been read; `surplus` are the bytes behind it. */
export function openUpgrade(
  socket: Socket,
  request: RequestHead,
  surplus: Uint8Array,
  { options, peer, results }: { options: HttpServiceOptions; peer: PeerInfo; results: HttpResults },
): void {
  const { subprotocols, origins = [], limits, maxMessageBytes, closeTimeoutMs } = options;
  const policy = { subprotocols: acceptedSubprotocols(subprotocols), origins };
  const endpoint = new WebSocketEndpoint({
    role: "server",
    upgrade: new ServerUpgrade(policy, limits),
    now: performance.now(),
    limits: { closeTimeoutMs, maxSentMessageBytes: maxMessageBytes, ...limits },
  });
  const refuse = (status: number, headers?: readonly HeaderField[]): void => {
    channel.refuse(status, headers);
    results.onanswered?.();
  };
  const channel = new SocketWebSocket(socket, endpoint, {
    closeTimeoutMs,
    onrequest: async ({ request: { head, key, subprotocol } }) => {
      if (!isServed(options, head.target)) return refuse(404);
      const refusal = await options.authenticate?.(head, peer);
      if (refusal !== undefined) return refuse(refusal.status, refusal.headers);
      const accept = await acceptKey(key, crypto.subtle);
      channel.accept(accept);
      if (endpoint.state === "open") results.onupgraded(channel, head, subprotocol);
    },
  });
  channel.receiveRequest(request, surplus);
  if (endpoint.state === "ending") results.onanswered?.();
}

export function isServed({ paths }: HttpServiceOptions, target: string): boolean {
  // A request as to a proxy counts as one to this host [rfc9112 3.2.2].
  const [path] = target.replace(/^https?:\/\/[^/?]*\/?/i, "/").split("?", 1) as [string];
  return paths === undefined || (typeof paths === "function" ? paths(path) : paths.includes(path));
}

// The length of the body behind the head.
function bodyLength(response: Uint8Array): number {
  const text = new TextDecoder("latin1").decode(response);
  return response.length - (text.indexOf("\r\n\r\n") + 4);
}
