/**
 * AMQP 1.0 over WebSocket for Deno, Bun, Node, Cloudflare Workers and browsers.
 *
 * This entry is the client and what both sides share. The accepting side is in `./server`, an in-memory broker in
 * `./broker`, the adapters that accept WebSockets in `./deno`, `./bun` and `./workers`.
 *
 * @example Send and receive
 * ```ts
 * import { connect, plain } from "@webamqp/amqp";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp", { auth: plain("user", "secret") });
 *   await connection.sender("orders").send({ body: "one coffee" });
 *   for await (const delivery of connection.receiver("orders", { credit: 32 })) {
 *     console.log(delivery.message.text());
 *   }
 * }
 * ```
 *
 * @module
 */

export {
  connect,
  type ConnectionLimits,
  type ConnectOptions,
  publish,
  type PublishOptions,
} from "./src/peer/client.ts";
export { anonymous, external, plain, type SaslMechanism } from "./src/peer/auth.ts";
export type { Connection, ConnectionEvent } from "./src/peer/connection.ts";
export type { ConnectionBase } from "./src/peer/connection_base.ts";
export type { Session, SessionOptions } from "./src/peer/session.ts";
export type { Link } from "./src/peer/link.ts";
export type { CloseOptions, Lifetime } from "./src/peer/lifetime.ts";
export type { Sender, SendOptions, SendTerms } from "./src/peer/sender.ts";
export type { Receiver, ReceiveTerms, ServeOptions } from "./src/peer/receiver.ts";
export type { Delivery } from "./src/peer/delivery.ts";
export type { LinkTerms, ReceiverOptions, SenderOptions } from "./src/peer/terms.ts";

export * from "./src/errors.ts";
export * from "./src/codec/types.ts";
export type { definitions, enumerations } from "./src/codec/definitions.ts";
export {
  type Body,
  data,
  DataBody,
  DecodedMessage,
  json,
  type Message,
  sequence,
  SequenceBody,
  value,
  ValueBody,
} from "./src/codec/message.ts";
export { print } from "./src/codec/composite.ts";
export type { CodecLimits } from "./src/codec/reader.ts";
export type { FrameTrace } from "./src/engine/events.ts";

export type { WaitOptions } from "./src/transport/wait.ts";
export type { Channel, ChannelClose } from "./src/transport/channel.ts";
export type { TransportOptions } from "./src/transport/dial.ts";
export type { SocketProxyOptions, TlsOptions } from "./src/transport/socket_dial.ts";
export type { ProxyCredentialsCallback, ProxyCredentialsRequest, ProxyOptions } from "./src/transport/http_proxy.ts";
export type { ProxyCredentials, ProxyScheme } from "./src/transport/challenge.ts";
