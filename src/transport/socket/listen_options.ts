/**
 * The settings of `listen`, with the bounds of what clients can cost.
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

/** A protocol that a client may speak: WebSocket or AMQP, without or with TLS. */
export type ListenScheme = "ws" | "wss" | "amqp" | "amqps";

/** The facts about a client that has connected. */
export interface ListenInfo extends PeerInfo {
  /** The protocol that the client speaks. */
  readonly scheme: ListenScheme;
  /** Whether this process terminates TLS. */
  readonly secure: boolean;
  /** The upgrade request, for a WebSocket. */
  readonly request?: RequestHead | undefined;
}

/** Bounds of what clients can cost; each has a default. */
export interface ListenLimits extends WebSocketLimits {
  /** Most open connections; further ones are dropped. Default: 1,000. */
  maxConnections?: number | undefined;
  /** Most open connections of one address. Default: `maxConnections`, since a reverse proxy has one address. */
  maxConnectionsPerAddress?: number | undefined;
  /** Most handshakes at once; further connections wait, unread. Default: 100. */
  maxHandshakes?: number | undefined;
  /** Most connections that wait for a handshake; further ones are dropped. Default: 1,000. */
  maxWaiting?: number | undefined;
  /**
   * Milliseconds to wait for a handshake. After them, a client that speaks HTTP in clear is answered with 503 and
   * `Retry-After`, others are dropped. Default: 5,000.
   */
  waitTimeoutMs?: number | undefined;
  /**
   * Milliseconds for the handshake, TLS and WebSocket together. While others wait, a handshake that waits for its client's
   * bytes ends after 2,000. Default: 10,000.
   */
  handshakeTimeoutMs?: number | undefined;
}

/**
 * The reason why a connection ended without a channel: too many connections, too many of its address, or too many waiting;
 * its waiting or handshake time ran out; it spoke no protocol that is served; it was answered as HTTP; or it was closed.
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

/** A connection that ended without a channel. */
export interface ListenRefusal {
  /** The reason. */
  readonly reason: RefusalReason;
  /** The client's address, which may be that of a front end. */
  readonly remoteAddress: string | undefined;
}

/** The settings of {@linkcode listen}. */
export interface ListenOptions extends HttpServiceOptions {
  /** The port; 0 takes a free one. */
  port: number;
  /** The address to listen at. Default: all of the machine. */
  host?: string | undefined;
  /** Accepts every channel: an acceptor or a broker. */
  acceptor?: { accept(channel: Channel, info: PeerInfo): unknown } | undefined;
  /** Accepts every channel, instead of `acceptor`; sets `onbytes` and `onclose` before it returns. */
  accept?: ((channel: PausableChannel, info: ListenInfo) => void) | undefined;
  /** Called for each connection that ends without a channel, such as one refused by a limit. */
  onRefused?: ((refusal: ListenRefusal) => void) | undefined;
  /**
   * Receives failures of callbacks and, without `onRefused`, refusals by limits, each reason once a minute. Default: prints
   * warnings and errors; null for nobody.
   */
  log?: LogOption | undefined;
  /** The server's certificate, and whether clients need one. Default: no TLS. */
  tls?: TlsServerOptions | undefined;
  /** The protocols to serve. Default: all, those with TLS if `tls` is given; `["amqps", "wss"]` allows nothing in clear. */
  schemes?: readonly ListenScheme[] | undefined;
  /** Bounds of what clients can cost. */
  limits?: ListenLimits | undefined;
}

export const LIMIT_KINDS: OptionKinds<Omit<ListenLimits, keyof WebSocketLimits>> = {
  maxConnections: "number from 1",
  maxConnectionsPerAddress: "number from 1",
  maxHandshakes: "number from 1",
  maxWaiting: "number from 1",
  waitTimeoutMs: "number from 1",
};
const TLS_KINDS: OptionKinds<TlsServerOptions> = {
  cert: "string",
  key: "string",
  ca: "string or array of string",
  clientCertificate: '"none", "request" or "require"',
};
export const LISTEN_KINDS: OptionKinds<Omit<ListenOptions, "limits" | keyof UpgradeOptions>> = {
  port: "whole number from 0 to 65535",
  host: "string",
  acceptor: "object with accept",
  onRefused: "function",
  log: "function or null",
  accept: "function",
  tls: TLS_KINDS,
  schemes: 'array of "ws", "wss", "amqp" or "amqps"',
  paths: "function or array of string",
  authenticate: "function",
  health: "string",
};

/**
 * Checks that a client could speak one of the protocols to serve.
 *
 * @throws {TypeError} If none could.
 */
export function checkSchemes({ schemes, tls }: ListenOptions): void {
  if (schemes?.length === 0) throw new TypeError('Cannot listen: option "schemes" is empty, leave it out to serve all');
  if (schemes === undefined || tls !== undefined || schemes.some((scheme) => scheme === "ws" || scheme === "amqp")) {
    return;
  }
  throw new TypeError(
    'Cannot listen: option "schemes" names only those over TLS, give "tls" with a certificate and key',
  );
}
