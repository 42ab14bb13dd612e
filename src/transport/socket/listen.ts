/**
 * Accepting on a socket: WebSocket and AMQP, each with and without TLS, all on one port.
 *
 * @module
 */

import { abortable, type WaitOptions } from "../../base/wait.ts";
import { type Channel, guard, type PeerInfo, positive } from "../channel.ts";
import type { RequestHead } from "../http/head.ts";
import { hasSockets, listenTcp, noSockets, type OnSecure, tlsAcceptor } from "../runtime/node.ts";
import { HttpExchange, type HttpServiceOptions } from "./listen_http.ts";
import type { WebSocketLimits } from "../websocket/rfc6455.ts";
import { WebSocketSniffer } from "./sniff.ts";
import { type PausableChannel, type Socket, StreamChannel } from "./socket.ts";
import { checkSubprotocols } from "../http/tokens.ts";
import { checkOptions, type OptionKinds } from "../../base/options.ts";
import { checkTls, type TlsServerOptions } from "./tls.ts";

export type { HttpServiceOptions, UpgradeRefusal } from "./listen_http.ts";
export type { TlsServerOptions } from "./tls.ts";

/** What a client can come with. */
export type ListenScheme = "ws" | "wss" | "amqp" | "amqps";

/** What is known of whoever has connected. */
export interface ListenInfo extends PeerInfo {
  /** What the client came with. */
  readonly scheme: ListenScheme;
  /** Whether TLS ends here. */
  readonly secure: boolean;
  /** The request that was upgraded, for a WebSocket. */
  readonly request?: RequestHead | undefined;
}

/** Bounds of what clients can cost; each has a default. */
export interface ListenLimits extends WebSocketLimits {
  /** Connections at once; those above it are dropped. Default: 1,000. */
  maxConnections?: number;
  /** Those of them from one address. Default: as many, for behind a reverse proxy all come from its address. */
  maxConnectionsPerAddress?: number;
  /** Connections at once that have not shown what they want; above it the oldest of them is dropped. Default: 100. */
  maxHandshakes?: number;
  /** Milliseconds from the first byte to a channel, with TLS and the WebSocket handshake. Default: 10,000. */
  handshakeTimeoutMs?: number;
}

/** How {@linkcode listen} accepts. */
export interface ListenOptions extends HttpServiceOptions {
  /** The port; 0 takes any that is free. */
  port: number;
  /** The address to listen at. Default: all of this machine. */
  host?: string;
  /** Takes over every channel: an acceptor or a broker. */
  acceptor?: { accept(channel: Channel, info: PeerInfo): unknown };
  /** Takes over every channel, instead of `acceptor`; sets `onbytes` and `onclose` before it returns. */
  accept?: (channel: PausableChannel, info: ListenInfo) => void;
  /** Our certificate, and which clients have to show theirs. Default: no TLS. */
  tls?: TlsServerOptions;
  /** What is spoken. Default: everything, TLS included where `tls` is given; `["amqps", "wss"]` leaves nothing in clear. */
  schemes?: readonly ListenScheme[];
  /** Bounds of what clients can cost. */
  limits?: ListenLimits;
}

const LIMIT_KINDS: OptionKinds<ListenLimits> = {
  maxConnections: "number",
  maxConnectionsPerAddress: "number",
  maxHandshakes: "number",
  handshakeTimeoutMs: "number",
  closeTimeoutMs: "number",
  maxSentMessageBytes: "number",
  maxControlRate: "number",
  maxMessageBytes: "number",
  maxFragments: "number",
  maxHeadBytes: "number",
  maxLineBytes: "number",
  maxHeaderFields: "number",
};
const TLS_KINDS: OptionKinds<TlsServerOptions> = {
  cert: "string",
  key: "string",
  ca: "string or array",
  clientCertificate: '"none", "request" or "require"',
};
const LISTEN_KINDS: OptionKinds<ListenOptions> = {
  port: "number",
  host: "string",
  acceptor: "object",
  accept: "function",
  tls: TLS_KINDS,
  schemes: "array",
  subprotocols: "array",
  paths: "array or function",
  authenticate: "function",
  origins: "",
  health: "string",
  maxMessageBytes: "number",
  closeTimeoutMs: "number",
  limits: LIMIT_KINDS,
};

/** What came of connections so far. */
export interface ListenCounters {
  /** Connections that are there now. */
  readonly connections: number;
  /** Channels handed over since the start. */
  readonly accepted: number;
  /** Connections that ended before that: refused, given up, or answered as plain HTTP. */
  readonly refused: number;
}

/** A port that is listened to; made by {@linkcode listen}. */
export interface Listener extends AsyncDisposable {
  /** The port. */
  readonly port: number;
  /** The address. */
  readonly host: string;
  /** What came of connections so far. */
  readonly counters: ListenCounters;
  /** Listens no longer; whoever is connected stays. */
  stop(): void;
  /**
   * Listens no longer, drops handshakes, and ends the channels with code 1001; resolves when all are gone. For AMQP's own
   * goodbye close the acceptor first.
   */
  close(options?: WaitOptions): Promise<void>;
}

// A thousand connections with their default windows are about what one process serves well.
const MAX_CONNECTIONS = 1_000;

// Each costs a socket and a head at most; whoever floods only drops those that are as slow.
const MAX_HANDSHAKES = 100;

// Half of what clients wait for.
const ACCEPT_TIMEOUT_MS = 10_000;

/**
 * Listens on one port for WebSocket and AMQP, in clear and over TLS, told apart by their first bytes.
 *
 * @example
 * ```ts ignore
 * import { Broker } from "@webamqp/amqp/broker";
 * import { listen } from "@webamqp/amqp/node";
 *
 * const broker = new Broker();
 * const listener = await listen({ port: 5672, acceptor: broker });
 * ```
 *
 * @throws {TypeError} If neither or both of `acceptor` and `accept` are given, or another option cannot be used.
 * @throws {TransportError} With code `"not-supported"` where there are no sockets.
 * @throws What the system says if it does not give the port.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  checkOptions("listen", options, LISTEN_KINDS);
  if ((options.acceptor === undefined) === (options.accept === undefined)) {
    throw new TypeError('Cannot listen: give one of "acceptor" and "accept"');
  }
  checkSubprotocols(options.subprotocols);
  checkTls(options.tls ?? {});
  const { ca, clientCertificate = "none" } = options.tls ?? {};
  if (clientCertificate !== "none" && ca === undefined) {
    // The runtime's own authorities certify anybody.
    throw new TypeError("Cannot listen: client certificates need the authority that they come from, in tls.ca");
  }
  for (const name of ["maxConnections", "maxConnectionsPerAddress", "maxHandshakes", "handshakeTimeoutMs"] as const) {
    positive(name, options.limits?.[name] ?? 1);
  }
  if (!hasSockets()) throw noSockets("listen");
  const incoming = new IncomingConnections(options);
  const listener = await listenTcp(options, (socket) => incoming.receive(socket));
  let closed: Promise<void> | undefined;
  const stop = (): void => void (closed ??= listener.close());
  const close = ({ signal }: WaitOptions = {}): Promise<void> => {
    stop();
    incoming.close();
    return abortable(closed!, signal);
  };
  return {
    port: listener.port,
    host: listener.host,
    get counters(): ListenCounters {
      return incoming.counters;
    },
    stop,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

// Where connections are until it is known what they want.
class IncomingConnections {
  readonly #options: ListenOptions;
  readonly #schemes: readonly ListenScheme[];
  readonly #acceptTls: ((socket: Socket, onsecure: OnSecure) => void) | undefined;
  // Each with its channel, once it has one.
  readonly #sockets = new Map<Socket, Channel | undefined>();
  readonly #addresses = new Map<string, number>();
  // In the order in which they came.
  readonly #handshakes = new Map<Socket, ReturnType<typeof setTimeout>>();
  #accepted = 0;
  #refused = 0;
  #closed = false;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.#schemes = options.schemes ?? ["ws", "wss", "amqp", "amqps"];
    this.#acceptTls = options.tls === undefined ? undefined : tlsAcceptor(options.tls);
  }

  get counters(): ListenCounters {
    return { connections: this.#sockets.size, accepted: this.#accepted, refused: this.#refused };
  }

  receive(socket: Socket): void {
    const {
      maxConnections = MAX_CONNECTIONS,
      maxConnectionsPerAddress = maxConnections,
      maxHandshakes = MAX_HANDSHAKES,
      handshakeTimeoutMs = ACCEPT_TIMEOUT_MS,
    } = this.#options.limits ?? {};
    // Unknown when it has gone already.
    const { remoteAddress = "" } = socket;
    const neighbours = this.#addresses.get(remoteAddress) ?? 0;
    if (this.#closed || this.#sockets.size >= maxConnections || neighbours >= maxConnectionsPerAddress) {
      this.#refused++;
      return void socket.destroy();
    }
    if (this.#handshakes.size >= maxHandshakes) {
      for (const [oldest] of this.#handshakes) {
        this.#settle(oldest);
        this.#refused++;
        oldest.destroy();
        break;
      }
    }
    const connection: Connection = { socket, secure: false };
    this.#sockets.set(socket, undefined);
    this.#addresses.set(remoteAddress, neighbours + 1);
    const late = (): void => void (connection.http === undefined ? socket.destroy() : connection.http.expire());
    this.#handshakes.set(socket, guard(handshakeTimeoutMs, late));
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#vacate(remoteAddress);
      if (this.#settle(socket)) this.#refused++;
    });
    this.#sniff(socket, connection);
  }

  close(): void {
    this.#closed = true;
    for (const channel of this.#sockets.values()) channel?.close(1001);
    for (const socket of this.#handshakes.keys()) socket.destroy();
  }

  #vacate(address: string): void {
    const left = this.#addresses.get(address)! - 1;
    if (left > 0) this.#addresses.set(address, left);
    else this.#addresses.delete(address);
  }

  #settle(socket: Socket): boolean {
    clearTimeout(this.#handshakes.get(socket));
    return this.#handshakes.delete(socket);
  }

  #sniff(socket: Socket, connection: Connection): void {
    const sniffer = new WebSocketSniffer();
    const pieces: Uint8Array[] = [];
    const onend = (): void => void socket.destroy();
    const ondata = (bytes: Uint8Array): void => {
      pieces.push(bytes);
      const opening = sniffer.receive(bytes);
      if (opening === undefined) return;
      socket.pause();
      socket.off("data", ondata);
      socket.off("end", onend);
      for (const piece of pieces.reverse()) socket.unshift(piece);
      if (opening === "tls" && !connection.secure && this.#acceptTls !== undefined) {
        this.#acceptTls(socket, (secured, certificate) => {
          this.#sniff(secured, Object.assign(connection, { secure: true, certificate }));
        });
      } else if (opening === "http" && this.#speaks(connection.secure ? "wss" : "ws")) {
        const { secure, certificate } = connection;
        const peer: PeerInfo = { secure, certificate, remoteAddress: socket.remoteAddress };
        connection.http = new HttpExchange(socket, this.#options, peer, (channel, request, protocol) => {
          // Nothing that a channel at rest would keep.
          connection.http = undefined;
          this.#hand(channel, connection, { scheme: connection.secure ? "wss" : "ws", request, protocol });
        });
      } else if ((opening === "amqp" || opening === "sasl") && this.#speaks(connection.secure ? "amqps" : "amqp")) {
        const channel = new StreamChannel(socket, this.#options);
        this.#hand(channel, connection, { scheme: connection.secure ? "amqps" : "amqp" });
      } else {
        socket.destroy();
      }
    };
    socket.on("data", ondata);
    socket.on("end", onend);
    socket.resume();
  }

  #speaks(scheme: ListenScheme): boolean {
    return this.#schemes.includes(scheme);
  }

  #hand(
    channel: PausableChannel,
    { socket, secure, certificate }: Connection,
    info: Pick<ListenInfo, "scheme" | "request" | "protocol">,
  ): void {
    if (!this.#settle(socket) || this.#closed) return channel.close(1001);
    this.#accepted++;
    this.#sockets.set(socket, channel);
    const { remoteAddress } = socket;
    const whole: ListenInfo = { ...info, secure, remoteAddress, certificate };
    try {
      if (this.#options.accept !== undefined) this.#options.accept(channel, whole);
      else this.#options.acceptor?.accept(channel, whole);
    } catch {
      // It has told nobody of this channel.
      channel.close(1011);
    }
  }
}

// A connection, whose socket may carry TLS, and what has turned out about it.
interface Connection {
  readonly socket: Socket;
  secure: boolean;
  certificate?: PeerInfo["certificate"];
  http?: HttpExchange;
}
