/**
 * Sockets of Node, Deno and Bun: listening on one port for WebSocket and AMQP, and dialling without AMQP.
 *
 * @example
 * ```ts ignore
 * import { Broker } from "@webamqp/amqp/broker";
 * import { listen } from "@webamqp/amqp/node";
 *
 * const broker = new Broker({ sasl: { users: { user: "secret" } } });
 * await using listener = await listen({ port: 5672, acceptor: broker });
 * ```
 *
 * @module
 */

export {
  listen,
  type ListenCounters,
  type Listener,
  type ListenInfo,
  type ListenLimits,
  type ListenOptions,
  type ListenScheme,
  type TlsServerOptions,
  type UpgradeRefusal,
} from "./transport/listen.ts";
export {
  type DialedSocket,
  dialSocket,
  type SocketDialOptions,
  type SocketProxyOptions,
  type TlsOptions,
} from "./transport/socket_dial.ts";

export type { WaitOptions } from "./transport/wait.ts";
export type { ProxyCredentials, ProxyScheme } from "./transport/challenge.ts";
export type { Channel, ChannelClose } from "./transport/channel.ts";
export type { HeaderField, HeadLimits, HttpVersion, RequestHead } from "./transport/http.ts";
export type { ProxyCredentialsCallback, ProxyCredentialsRequest, ProxyOptions } from "./transport/http_proxy.ts";
export type { PeerCertificate, PeerInfo } from "./transport/info.ts";
export type { OriginPolicy } from "./transport/origins.ts";
export type { WebSocketLimits } from "./transport/rfc6455.ts";
export type { PausableChannel } from "./transport/socket.ts";
export type { WebSocketChannelOptions } from "./transport/web_socket_channel.ts";
export type { FrameLimits } from "./transport/ws_frames.ts";
