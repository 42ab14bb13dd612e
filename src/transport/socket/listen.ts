/**
 * The listener on sockets: WebSocket and AMQP, each with and without TLS, all on one port.
 *
 * @module
 */

import * as condition from "../../base/condition.ts";
import { AmqpError } from "../../base/errors.ts";
import { systemEnvironment } from "../../base/environment.ts";
import { Log } from "../../base/log.ts";
import { abortable, type WaitOptions } from "../../base/wait.ts";
import { type Channel, guard, type PeerInfo } from "../channel.ts";
import type { HeaderField } from "../http/head.ts";
import { acceptedSubprotocols, encodeRefusal, UPGRADE_KINDS } from "../websocket/upgrade.ts";
import { allowListening } from "../runtime/deno_rights.ts";
import { hasSockets, listenTcp, noSockets, type OnSecure, tlsAcceptor } from "../runtime/node.ts";
import { Callbacks } from "./callbacks.ts";
import { HttpExchange, type HttpServiceOptions, WEB_SOCKET_LIMIT_KINDS } from "./listen_http.ts";
import {
  checkSchemes,
  LIMIT_KINDS,
  LISTEN_KINDS,
  type ListenInfo,
  type ListenLimits,
  type ListenOptions,
  type ListenScheme,
  type RefusalReason,
} from "./listen_options.ts";
import { Sniffer } from "./sniff.ts";
import { type PausableChannel, type Socket, StreamChannel } from "./socket.ts";
import { checkOptions, WAIT_KINDS } from "../../base/options.ts";
import { checkServerTls } from "./tls.ts";

export type { LogCode, LogEntry, LogOption } from "../../base/log.ts";
export type { HttpServiceOptions, UpgradeRefusal } from "./listen_http.ts";
export type {
  ListenInfo,
  ListenLimits,
  ListenOptions,
  ListenRefusal,
  ListenScheme,
  RefusalReason,
} from "./listen_options.ts";
export type { TlsServerOptions } from "./tls.ts";

/** The counters of a {@linkcode Listener}. */
export interface ListenCounters {
  /** Connections that are open now, handshakes and those that wait for one included. */
  readonly connections: number;
  /** Channels accepted since the start. */
  readonly accepted: number;
  /** Connections that ended without a channel: refused, timed out, or answered as plain HTTP. */
  readonly refused: number;
}

/** A listener on a port, made by {@linkcode listen}. */
export interface Listener extends AsyncDisposable {
  /** The port. */
  readonly port: number;
  /** The address. */
  readonly host: string;
  /** The numbers of connections so far. */
  readonly counters: ListenCounters;
  /** Stops listening; open connections stay. */
  stop(): void;
  /**
   * Stops listening, drops handshakes, and closes the channels with code 1001, connections of an `acceptor` with an AMQP
   * close before; resolves when all are gone. The acceptor may be closed before or after.
   */
  close(options?: WaitOptions): Promise<void>;
}

// About the connections with default windows that one process serves well.
const MAX_CONNECTIONS = 1_000;

// Each costs a head at most, or a TLS handshake.
const MAX_HANDSHAKES = 100;

// Each costs a socket that nobody reads.
const MAX_WAITING = 1_000;

// About as long as a person waits for a page.
const WAIT_TIMEOUT_MS = 5_000;

// Enough time to read one answer.
const REFUSAL_TIMEOUT_MS = 1_000;

// Most milliseconds of a slow handshake while others wait: a distant client's round trips for TLS and its request.
const SLOW_TIMEOUT_MS = 2_000;

// Milliseconds to read the first bytes of a client that has waited as long in line: they are there, if it has sent any.
const SILENT_TIMEOUT_MS = 200;

const REFUSED_BY_LIMIT: Partial<Record<RefusalReason, string>> = {
  "connections": 'as many as "limits.maxConnections" allows are there; raise it, or end those that are idle',
  "connections-per-address":
    'as many as "limits.maxConnectionsPerAddress" allows are there from this address; raise it where it is that of a front end',
  "waiting": 'as many as "limits.maxWaiting" allows wait for their handshake; raise it, or "limits.maxHandshakes"',
  "waited": 'its handshake did not begin within "limits.waitTimeoutMs"; raise it, or "limits.maxHandshakes"',
};

// Half of what clients wait for.
const ACCEPT_TIMEOUT_MS = 10_000;

/**
 * Listens on one port for WebSocket and AMQP, in clear and over TLS, distinguished by their first bytes.
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
 * @throws {Error} With the `code` of the system, such as `EADDRINUSE`, if the port is not available.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const limits = { ...LIMIT_KINDS, ...WEB_SOCKET_LIMIT_KINDS };
  checkOptions("listen", options ?? null, { ...LISTEN_KINDS, ...UPGRADE_KINDS, limits });
  if ((options.acceptor === undefined) === (options.accept === undefined)) {
    throw new TypeError('Cannot listen: give one of "acceptor" and "accept"');
  }
  const { port, host } = options;
  if (port === undefined) throw new TypeError('Cannot listen: "port" is missing; 0 takes a free one');
  if (host === "") {
    throw new TypeError('Cannot listen: option "host" is empty, leave it out to listen on all addresses');
  }
  acceptedSubprotocols(options.subprotocols);
  if (options.tls !== undefined) checkServerTls(options.tls);
  checkSchemes(options);
  if (!hasSockets()) throw noSockets("listen");
  const incoming = new IncomingConnections(options);
  const listener = await listenTcp(options, (socket) => incoming.receive(socket), allowListening).catch((error) => {
    throw refusedPort(error, options);
  });
  incoming.port = listener.port;
  let closed: Promise<void> | undefined;
  const stop = (): void => void (closed ??= listener.close());
  const close = async (options: WaitOptions = {}): Promise<void> => {
    checkOptions("close listener", options, WAIT_KINDS);
    stop();
    incoming.close();
    await abortable(closed!, options.signal);
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

// Adds a remedy to the system's error code.
function refusedPort(error: Error & { code?: string }, { host, port }: ListenOptions): Error {
  const { code = error.name } = error;
  const remedy = code === "EADDRINUSE"
    ? "another program listens there; port 0 takes a free one"
    : code === "EACCES"
    ? "ports below 1024 need the right of the system's administrator"
    : code === "NotCapable" || code === "PermissionDenied" || code === "EPERM"
    ? `this process may not; on Deno run with --allow-net=${host ?? "[::]"}:${port}`
    : code === "ENOTFOUND" || code === "EADDRNOTAVAIL"
    ? "the host is an address of this machine, such as 127.0.0.1"
    : error.message;
  const message = `Cannot listen on ${host === undefined ? "" : `"${host}" `}port ${port}: ${code}, ${remedy}`;
  return Object.assign(new Error(message, { cause: error }), { code });
}

// Connections, from accepting them to their channel and its end.
class IncomingConnections {
  port = 0;
  readonly #options: ListenOptions;
  readonly #schemes: readonly ListenScheme[];
  readonly #acceptTls: ((socket: Socket, onsecure: OnSecure) => void) | undefined;
  // The sockets, each with how to close its channel in order, once it has one.
  readonly #sockets = new Map<Socket, Ending | undefined>();
  readonly #log: Log;
  readonly #callbacks: Callbacks;
  readonly #http: HttpServiceOptions;
  readonly #addresses = new Map<string, number>();
  // Sockets in a handshake, and sockets that wait for one, each in the order of arrival.
  readonly #handshakes = new Map<Socket, Connection>();
  readonly #waiting = new Map<Socket, { readonly timer: ReturnType<typeof setTimeout>; readonly arrived: number }>();
  #slowTimer: ReturnType<typeof setTimeout> | undefined;
  #accepted = 0;
  #refused = 0;
  #closed = false;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.#log = new Log(options.log, systemEnvironment);
    this.#callbacks = new Callbacks(this.#log, () => `listen on port ${this.port}`);
    this.#http = this.#callbacks.guard(options);
    this.#schemes = options.schemes ?? ["ws", "wss", "amqp", "amqps"];
    this.#acceptTls = options.tls === undefined ? undefined : tlsAcceptor(options.tls);
  }

  get counters(): ListenCounters {
    return { connections: this.#sockets.size, accepted: this.#accepted, refused: this.#refused };
  }

  receive(socket: Socket): void {
    const { maxConnections = MAX_CONNECTIONS, maxConnectionsPerAddress = maxConnections } = this.#limits;
    // The address of a socket that is gone already is unknown.
    const { remoteAddress = "" } = socket;
    const sameAddress = this.#addresses.get(remoteAddress) ?? 0;
    const tooMany = this.#closed
      ? "closed"
      : this.#sockets.size >= maxConnections
      ? "connections"
      : sameAddress >= maxConnectionsPerAddress
      ? "connections-per-address"
      : this.#isFull && this.#waiting.size >= (this.#limits.maxWaiting ?? MAX_WAITING)
      ? "waiting"
      : undefined;
    if (tooMany !== undefined) {
      this.#refuse(tooMany, socket);
      return void socket.destroy();
    }
    this.#sockets.set(socket, undefined);
    this.#addresses.set(remoteAddress, sameAddress + 1);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#leaveAddress(remoteAddress);
      clearTimeout(this.#waiting.get(socket)?.timer);
      const connection = this.#handshakes.get(socket);
      if (this.#waiting.delete(socket)) this.#refuse("closed", socket);
      else if (connection !== undefined) this.#endRefused(connection);
    });
    const arrived = performance.now();
    if (!this.#isFull) return this.#begin(socket, arrived);
    // A paused socket costs next to nothing: its bytes stay with the system.
    socket.pause();
    const { waitTimeoutMs = WAIT_TIMEOUT_MS } = this.#limits;
    const timer = guard(waitTimeoutMs, () => this.#refuseWaiting(socket, waitTimeoutMs));
    this.#waiting.set(socket, { timer, arrived });
    this.#limitSlow();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#slowTimer);
    // Those without a channel are in their handshake, wait for it, or were answered.
    for (const [socket, end] of this.#sockets) {
      if (end === undefined) socket.destroy();
      else end();
    }
  }

  get #limits(): ListenLimits {
    return this.#options.limits ?? {};
  }

  get #isFull(): boolean {
    return this.#handshakes.size >= (this.#limits.maxHandshakes ?? MAX_HANDSHAKES);
  }

  #begin(socket: Socket, arrived: number): void {
    const since = performance.now();
    const connection: Connection = { socket, secure: false, arrived, since, silent: true, reason: "closed" };
    connection.timer = guard(this.#limits.handshakeTimeoutMs ?? ACCEPT_TIMEOUT_MS, () => this.#expire(connection));
    this.#handshakes.set(socket, connection);
    this.#sniff(socket, connection);
  }

  #expire(connection: Connection): void {
    connection.reason = "handshake-timeout";
    if (connection.http === undefined) connection.socket.destroy();
    else connection.http.expire();
  }

  // While sockets wait, a handshake that waits for its client's bytes ends early.
  #limitSlow(): void {
    clearTimeout(this.#slowTimer);
    if (this.#waiting.size === 0 || this.#closed) return;
    const slow = this.#handshakes.values().filter(isSlow).reduce<Connection | undefined>(
      (first, next) => first !== undefined && dueOf(first) <= dueOf(next) ? first : next,
      undefined,
    );
    if (slow === undefined) return;
    this.#slowTimer = guard(Math.max(0, dueOf(slow) - performance.now()), () => {
      const isHere = this.#handshakes.has(slow.socket) && isSlow(slow);
      if (this.#waiting.size > 0 && isHere && performance.now() >= dueOf(slow) - 1) {
        slow.ended = true;
        this.#expire(slow);
      }
      this.#limitSlow();
    });
  }

  // Refuses a socket that has waited too long. A client that speaks HTTP learns when to retry.
  #refuseWaiting(socket: Socket, waitedMs: number): void {
    this.#waiting.delete(socket);
    this.#refuse("waited", socket);
    if (!this.#speaks("ws")) return void socket.destroy();
    const timer = guard(REFUSAL_TIMEOUT_MS, () => socket.destroy());
    socket.on("close", () => clearTimeout(timer));
    const sniffer = new Sniffer();
    let answered = false;
    socket.on("data", (bytes) => {
      const opening = answered ? undefined : sniffer.receive(bytes);
      if (opening === undefined) return;
      if (opening !== "http") return void socket.destroy();
      answered = true;
      const retryAfter: HeaderField = ["Retry-After", `${Math.ceil(waitedMs / 1_000)}`];
      socket.write(encodeRefusal(503, "Cannot accept connection: too many wait for their handshake\n", [retryAfter]));
      socket.end();
    });
    socket.resume();
  }

  #refuse(reason: RefusalReason, { remoteAddress }: Socket): void {
    this.#refused++;
    const { onRefused } = this.#options;
    if (onRefused === undefined) return this.#logRefusal(reason, remoteAddress);
    try {
      onRefused({ reason, remoteAddress });
    } catch (error) {
      this.#callbacks.report("onRefused", error);
    }
  }

  // Logs refusals by limits, which are this side's; a client's faults are not logged.
  #logRefusal(reason: RefusalReason, remoteAddress: string | undefined): void {
    const why = REFUSED_BY_LIMIT[reason];
    if (why === undefined || this.#closed) return;
    const from = remoteAddress ?? "unknown address";
    const message = `Cannot accept connection from ${from} on port ${this.port}: ${why}`;
    this.#log.write({ level: "warning", code: "refused", message }, reason);
  }

  #leaveAddress(address: string): void {
    const left = this.#addresses.get(address)! - 1;
    if (left > 0) this.#addresses.set(address, left);
    else this.#addresses.delete(address);
  }

  // Ends a handshake, and begins the next; false if it had ended before.
  #endHandshake(socket: Socket): boolean {
    const connection = this.#handshakes.get(socket);
    if (connection === undefined) return false;
    clearTimeout(connection.timer);
    this.#handshakes.delete(socket);
    for (const [next, { timer, arrived }] of this.#waiting) {
      if (this.#closed || this.#isFull) break;
      this.#waiting.delete(next);
      clearTimeout(timer);
      this.#begin(next, arrived);
    }
    this.#limitSlow();
    return true;
  }

  // Ends the handshake of a socket that has closed without a channel, or was answered; the latter's own timer ends it.
  #endRefused(connection: Connection): void {
    const { socket, reason, http } = connection;
    if (!this.#endHandshake(socket)) return;
    this.#refuse(reason === "closed" && http?.reading === false ? "answered" : reason, socket);
  }

  #sniff(socket: Socket, connection: Connection): void {
    const sniffer = new Sniffer();
    const pieces: Uint8Array[] = [];
    const onend = (): void => void socket.destroy();
    const ondata = (bytes: Uint8Array): void => {
      connection.silent = false;
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
        connection.http = new HttpExchange(socket, this.#http, peer, {
          onupgraded: (channel, request, protocol) => {
            // An idle channel keeps no exchange alive.
            connection.http = undefined;
            this.#accept(channel, connection, { scheme: connection.secure ? "wss" : "ws", request, protocol });
          },
          onanswered: () => this.#endRefused(connection),
        });
      } else if ((opening === "amqp" || opening === "sasl") && this.#speaks(connection.secure ? "amqps" : "amqp")) {
        const channel = new StreamChannel(socket, this.#options);
        this.#accept(channel, connection, { scheme: connection.secure ? "amqps" : "amqp" });
      } else {
        connection.reason = "unknown-protocol";
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

  #accept(
    channel: PausableChannel,
    { socket, secure, certificate }: Connection,
    info: Pick<ListenInfo, "scheme" | "request" | "protocol">,
  ): void {
    if (!this.#endHandshake(socket) || this.#closed) return channel.close(1001);
    this.#accepted++;
    this.#sockets.set(socket, () => channel.close(1001));
    const { remoteAddress } = socket;
    const whole: ListenInfo = { ...info, secure, remoteAddress, certificate };
    const { accept, acceptor } = this.#options;
    const taken = accept === undefined
      ? this.#callbacks.hand(channel, "acceptor", () => acceptor?.accept(channel, whole))
      : this.#callbacks.hand(channel, "accept", () => accept(channel, whole));
    if (accept === undefined && isClosable(taken)) this.#sockets.set(socket, () => void endOf(taken, channel));
  }
}

type Ending = () => void;

interface Closable {
  close(options: { error: AmqpError }): Promise<unknown>;
}

// An acceptor returns its connection, which sends an AMQP close before its channel ends.
function isClosable(value: unknown): value is Closable {
  return typeof (value as Partial<Closable> | undefined)?.close === "function";
}

async function endOf(connection: Closable, channel: Channel): Promise<void> {
  const error = new AmqpError(condition.connectionForced, "Cannot go on: the server is shutting down");
  try {
    await connection.close({ error });
  } catch {
    // The channel is closed all the same.
  }
  channel.close(1001);
}

// A connection in its handshake; `socket` is the one below TLS.
interface Connection {
  readonly socket: Socket;
  secure: boolean;
  certificate?: PeerInfo["certificate"];
  http?: HttpExchange;
  timer?: ReturnType<typeof setTimeout>;
  // The times by `performance.now()` at which the socket came, and at which its handshake began.
  readonly arrived: number;
  readonly since: number;
  // Whether no byte was read yet.
  silent: boolean;
  // Whether the handshake was ended early for others.
  ended?: boolean;
  // The reason if the connection ends without a channel.
  reason: RefusalReason;
}

// Whether a handshake waits for its client, and not for this side.
function isSlow({ http, ended }: Connection): boolean {
  return !ended && http?.reading !== false;
}

// The time at which a slow handshake may end while others wait.
function dueOf({ arrived, since, silent }: Connection): number {
  return silent ? Math.max(arrived + SLOW_TIMEOUT_MS, since + SILENT_TIMEOUT_MS) : since + SLOW_TIMEOUT_MS;
}
