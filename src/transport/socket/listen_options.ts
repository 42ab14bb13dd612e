/**
 * How `listen` is told what to serve, and the bounds of what clients can cost.
 *
 * @module
 */

import type { LogOption } from "../../base/log.ts";
import type { OptionKinds } from "../../base/options.ts";
import type { Channel, PeerInfo } from "../channel.ts";
import type { RequestHead } from "../http/head.ts";
import type { WebSocketLimits } from "../websocket/rfc6455.ts";
import type { UpgradeOptions } from "../websocket/upgrade.ts";
import type { HttpServiceOptions } from "./listen_http.ts";
import type { PausableChannel } from "./socket.ts";
import type { TlsServerOptions } from "./tls.ts";

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
  maxConnections?: number | undefined;
  /** Those of them from one address. Default: as many, for behind a reverse proxy all come from its address. */
  maxConnectionsPerAddress?: number | undefined;
  /** Handshakes at once; who comes above it waits in line, unread, until one of them is over. Default: 100. */
  maxHandshakes?: number | undefined;
  /** Connections that wait in line; those above it are dropped. Default: 1,000. */
  maxWaiting?: number | undefined;
  /**
   * Milliseconds to wait in line. After it, who speaks HTTP in clear is answered with 503 and `Retry-After`, others are dropped.
   * Default: 5,000.
   */
  waitTimeoutMs?: number | undefined;
  /**
   * Milliseconds for the handshake, TLS and WebSocket together. While others wait in line, who keeps a handshake waiting for
   * its own bytes has 2,000 at most. Default: 10,000.
   */
  handshakeTimeoutMs?: number | undefined;
}

/**
 * Why a connection ended before it was a channel: too many at once, from one address, or in line; its time in line or for its
 * handshake was over; it spoke nothing that is served; or it was answered as HTTP.
 */
export type RefusalReason =
  | "connections"
  | "connections-per-address"
  | "waiting"
  | "waited"
  | "handshake-timeout"
  | "unknown-protocol"
  | "answered"
  | "closed";

/** A connection that never became a channel. */
export interface ListenRefusal {
  /** Why. */
  readonly reason: RefusalReason;
  /** Where it came from, which may be a front end's address. */
  readonly remoteAddress: string | undefined;
}

/** How {@linkcode listen} accepts. */
export interface ListenOptions extends HttpServiceOptions {
  /** The port; 0 takes any that is free. */
  port: number;
  /** The address to listen at. Default: all of this machine. */
  host?: string | undefined;
  /** Takes over every channel: an acceptor or a broker. */
  acceptor?: { accept(channel: Channel, info: PeerInfo): unknown } | undefined;
  /** Takes over every channel, instead of `acceptor`; sets `onbytes` and `onclose` before it returns. */
  accept?: ((channel: PausableChannel, info: ListenInfo) => void) | undefined;
  /** Told of each connection that ends before it is a channel, such as one that a limit turned away. */
  onRefused?: ((refusal: ListenRefusal) => void) | undefined;
  /**
   * Told of those that a limit turned away, each cause once a minute, unless there is `onRefused`, and of a callback that failed.
   * Default: warnings and errors go to the console; null silences them.
   */
  log?: LogOption | undefined;
  /** Our certificate, and which clients have to show theirs. Default: no TLS. */
  tls?: TlsServerOptions | undefined;
  /** What is spoken. Default: everything, TLS included where `tls` is given; `["amqps", "wss"]` leaves nothing in clear. */
  schemes?: readonly ListenScheme[] | undefined;
  /** Bounds of what clients can cost. */
  limits?: ListenLimits | undefined;
}

const LIMIT_KINDS: OptionKinds<ListenLimits> = {
  maxConnections: "number",
  maxConnectionsPerAddress: "number",
  maxHandshakes: "number",
  maxWaiting: "number",
  waitTimeoutMs: "number",
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
export const LISTEN_KINDS: OptionKinds<Omit<ListenOptions, keyof UpgradeOptions>> = {
  port: "number",
  host: "string",
  acceptor: "object",
  onRefused: "function",
  log: "function or null",
  accept: "function",
  tls: TLS_KINDS,
  schemes: "array",
  paths: "array or function",
  authenticate: "function",
  health: "string",
  limits: LIMIT_KINDS,
};
