/**
 * AMQP 1.0 over WebSocket for Deno, Bun, Node, Cloudflare Workers and browsers.
 *
 * This entry has the client and the parts common to both sides. The server side is in `./server`, an in-memory broker in
 * `./broker`, and the adapters that accept WebSockets in `./deno`, `./bun` and `./workers`.
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
  type Telemetry,
  type TelemetryServer,
} from "./src/client/connect.ts";
export type { Asked, AttemptOptions, Dial, Trace } from "./src/client/attempt.ts";
export type { ReconnectOptions } from "./src/client/reconnect.ts";
export type { RedirectOption, RedirectTarget } from "./src/recovery/redirects.ts";
export type { RetryOptions } from "./src/recovery/retry.ts";
export { anonymous, external, plain } from "./src/sasl/client.ts";
export type { SaslAuth, SaslExchange, SaslMechanism, SaslTarget } from "./src/sasl/mechanism.ts";
export type { Connection, ConnectionEvent, ConnectionState, ConnectionStats } from "./src/client/connection.ts";
export type { ConnectionBase } from "./src/client/connection_base.ts";
export type { LastingConnection } from "./src/client/lasting_connection.ts";
export type { ClaimsOptions, ClaimsToken } from "./src/client/claims.ts";
export type { Transaction, TransactionState } from "./src/client/transaction.ts";
export type { Session, SessionConnection, SessionOptions, SharedSession } from "./src/client/session.ts";
export type { Interruption, Link, LinkConnection } from "./src/client/link.ts";
export type { CloseOptions, Lifetime } from "./src/client/lifetime.ts";
export type {
  LinkResumed,
  RecoveringConnection,
  RecoveringLink,
  Recovery,
  ResumeOptions,
  UnsettledDelivery,
  UnsettledStore,
} from "./src/client/recovery.ts";
export { resume } from "./src/client/resume.ts";
export { SendAbortedError, type SendOptions, type SendOutcome } from "./src/client/outcome.ts";
export type { StreamedMessage } from "./src/client/stream.ts";
export type { Sender } from "./src/client/sender.ts";
export type { Receiver } from "./src/client/receiver.ts";
export type {
  ReceiveBatchOptions,
  ReceiveSettings,
  ServeOptions,
  ValuesOptions,
} from "./src/client/receive_options.ts";
export type { RequestOptions, Responding } from "./src/client/request.ts";
export type { Delivery, DeliveryReceiver } from "./src/client/delivery.ts";
export type { LinkSettings, ReceiverOptions, SenderOptions, SendSettings } from "./src/client/link_options.ts";

export * from "./src/base/errors.ts";
export type { LogCode, LogEntry, LogOption } from "./src/base/log.ts";
export * from "./src/codec/types.ts";
export {
  type Body,
  data,
  DataBody,
  DecodedMessage,
  decodeMessage,
  encodeMessage,
  json,
  type Message,
  type PlainObject,
  type SendableValue,
  sequence,
  SequenceBody,
  value,
  ValueBody,
} from "./src/codec/message.ts";
export { type Batch, batch, BATCH_FORMAT, type BatchOptions, unbatch } from "./src/codec/batch.ts";
export { print } from "./src/codec/composite.ts";
export type { CodecLimits } from "./src/codec/limits.ts";
export type { CostLimits } from "./src/engine/budgets.ts";
export type { FrameTrace } from "./src/engine/events.ts";

export { type Environment, systemEnvironment } from "./src/base/environment.ts";
export type { WaitOptions } from "./src/base/wait.ts";
export type { Channel, ChannelClose } from "./src/transport/channel.ts";
export type { DialAnyOptions, HeaderFields, TransportOptions } from "./src/transport/dial.ts";
export type { SocketProxyOptions, TlsOptions } from "./src/transport/socket/dial.ts";
export type {
  ProxyAuthenticator,
  ProxyChallenge,
  ProxyCredentialsCallback,
  ProxyCredentialsRequest,
  ProxyOptions,
} from "./src/transport/proxy/http_proxy.ts";
export type { Challenge, ProxyCredentials, ProxyScheme } from "./src/transport/proxy/challenge.ts";
