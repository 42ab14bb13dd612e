/**
 * Sockets of Node, Deno and Bun: a listener for WebSocket and AMQP on one port, and dialling without AMQP.
 *
 * @example
 * ```ts
 * import { Broker } from "@webamqp/amqp/broker";
 * import { listen } from "@webamqp/amqp/node";
 *
 * await using broker = new Broker({ sasl: { users: { user: "secret" } } });
 * await using listener = await listen({ host: "127.0.0.1", port: 0, acceptor: broker });
 * console.assert(listener.port > 0);
 * ```
 *
 * @module
 */

export {
  type HttpServiceOptions,
  listen,
  type ListenCounters,
  type Listener,
  type ListenInfo,
  type ListenLimits,
  type ListenOptions,
  type ListenRefusal,
  type ListenScheme,
  type RefusalReason,
  type TlsServerOptions,
  type UpgradeRefusal,
} from "./socket/listen.ts";
export { type IncomingRequest, upgradeListener, type UpgradeListenerOptions } from "./socket/http_server.ts";
export {
  type DialedSocket,
  dialSocket,
  type SocketDialOptions,
  type SocketProxyOptions,
  type TlsOptions,
} from "./socket/dial.ts";

export type { LogCode, LogEntry, LogOption } from "../base/log.ts";
export type { WaitOptions } from "../base/wait.ts";
export type { Challenge, ProxyCredentials, ProxyScheme } from "./proxy/challenge.ts";
export type { Channel, ChannelClose } from "./channel.ts";
export type { HeaderField, HeadLimits, HttpVersion, RequestHead } from "./http/head.ts";
export type {
  ProxyAuthenticator,
  ProxyChallenge,
  ProxyCredentialsCallback,
  ProxyCredentialsRequest,
  ProxyOptions,
} from "./proxy/http_proxy.ts";
export type { PeerCertificate, PeerInfo } from "./channel.ts";
export type { OriginPolicy, UpgradeOptions } from "./websocket/upgrade.ts";
export type { WebSocketLimits } from "./websocket/rfc6455.ts";
export type { PausableChannel } from "./socket/socket.ts";
export type { WebSocketChannelOptions } from "./websocket/web_socket_channel.ts";
export type { FrameLimits } from "./websocket/frames.ts";
