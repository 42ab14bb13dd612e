/**
 * Accepting AMQP connections over any channel.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, randomName, systemEnvironment } from "../base/environment.ts";
import { AmqpError, TransportError } from "../base/errors.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { FastPathReader } from "../codec/fast_path.ts";
import type { CodecLimits } from "../codec/limits.ts";
import { type LogEntry, type LogHolder, logOf, type LogOption } from "../base/log.ts";
import { quote } from "../base/text.ts";
import type { Attach, Fields, Open } from "../codec/types.ts";
import type { FrameTrace } from "../engine/events.ts";
import { accept as acceptLink, takeLink } from "../engine/accept.ts";
import { Budget, type CostLimits } from "../engine/budgets.ts";
import type { LinkOptions } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import { ServerHandshake } from "../engine/server_handshake.ts";
import type { SessionOptions } from "../engine/session.ts";
import type { Channel, PeerInfo } from "../transport/channel.ts";
import { Connection } from "../client/connection.ts";
import type { ConnectionHooks, ConnectionTerms } from "../client/connection_base.ts";
import type { CloseOptions } from "../client/link.ts";
import { checkCredit, type Receiver, type ReceiveTerms } from "../client/receiver.ts";
import type { Recovery } from "../client/recovery.ts";
import { ReceiverResumption } from "../client/resume_receiver.ts";
import { SenderResumption } from "../client/resume_sender.ts";
import { Containers } from "./containers.ts";
import { ACCEPTOR_KINDS } from "./kinds.ts";
import { SaslServer } from "../sasl/server.ts";
import { SASL_KINDS, saslMechanisms, type SaslServerOptions } from "./sasl.ts";
import type { Sender, SendTerms } from "../client/sender.ts";
import { CODEC_LIMIT_KINDS, codecLimits, SESSION_KINDS } from "../client/terms.ts";
import { abortable, ignore } from "../base/wait.ts";

export type { CostLimits } from "../engine/budgets.ts";
export type { LogCode, LogEntry, LogOption } from "../base/log.ts";
export type { LinkOptions } from "../engine/link.ts";
export type { PeerCertificate, PeerInfo } from "../transport/channel.ts";
export type { SaslServerOptions, UserTable } from "./sasl.ts";
export type { ScramHash, ScramKeys } from "../sasl/scram_keys.ts";
export type { FindScramKeys } from "../sasl/scram_server.ts";
export type { SaslIdentity, SaslServerExchange, SaslServerMechanism } from "../sasl/mechanism.ts";
export type { CheckPassword, IdentifyExternal } from "../sasl/server_mechanisms.ts";

/** A link that a peer wants to attach, to be accepted or refused. */
export interface LinkRequest<Role extends "sender" | "receiver", Link, Terms> {
  /** What this side would be: `"sender"` for a peer that wants to receive. */
  readonly role: Role;
  /** The connection it comes on. */
  readonly connection: Connection;
  /** The peer's attach. */
  readonly attach: Readonly<Attach>;
  /** The node's address; undefined for a dynamic node, or a target that each message names for itself. */
  readonly address: string | undefined;
  /** True when the peer wants a node made for it: accept with its address. */
  readonly dynamic: boolean;
  /** Accepts; what `terms` leaves out is as the peer wished. */
  accept(terms?: Terms): Link;
  /** Refuses, with the reason. */
  refuse(error: AmqpError): void;
}

/** What this side attaches its end with, over the peer's wishes. */
export interface AcceptTerms extends LinkOptions {
  /** The address of the node that was made for a dynamic terminus. */
  address?: string;
  /**
   * Milliseconds for which the link is kept, with what is not settled, when it is lost or suspended: a peer of the same
   * container that attaches it again by then, and lists what it has not settled, takes it up where it was, on whatever
   * connection. Default: 0, it ends.
   */
  suspendMs?: number;
}

/** A peer that wants to receive: this side sends. */
export type SenderRequest = LinkRequest<"sender", Sender, AcceptTerms & SendTerms>;
/** A peer that wants to send: this side receives. */
export type ReceiverRequest = LinkRequest<"receiver", Receiver, AcceptTerms & ReceiveTerms>;

/** How an {@linkcode Acceptor} treats those who connect. */
export interface AcceptorOptions extends CostLimits {
  /** Names this container to its peers. Default: a random name. */
  containerId?: string;
  /** Who may connect. Default: anybody, anonymously. */
  sasl?: SaslServerOptions;
  /** Called when a peer has opened its connection, before its links are; throwing closes it with the error. */
  onConnection?: (connection: Connection) => void | Promise<void>;
  /** Called when a peer wants to receive; throwing refuses with the error. Default: refused. */
  onSender?: (request: SenderRequest) => void | Promise<void>;
  /** Called when a peer wants to send; throwing refuses with the error. Default: refused. */
  onReceiver?: (request: ReceiverRequest) => void | Promise<void>;
  /** Largest frame taken, in bytes, at least 512. Default: 131,072. */
  maxFrameSize?: number;
  /** Highest channel that either side may use. Default: 255. */
  channelMax?: number;
  /** Connections at a time; the channels of more are closed at once with code 1013, try again later. Default: 10,000. */
  maxConnections?: number;
  /**
   * Links at a time on all sessions of a connection. More are refused with `amqp:resource-limit-exceeded`, and a peer that
   * leaves as many refused ones attached is closed. Default: 4,096.
   */
  maxLinks?: number;
  /**
   * Links at a time that are kept for peers that have lost them (`suspendMs`). For one more the oldest of the peer that has
   * most ends, or that one if no other peer has more. Default: 1,000.
   */
  maxSuspendedLinks?: number;
  /**
   * Bytes of messages that have arrived in part, on all connections at a time; the link of one that passes it ends. Default:
   * 268,435,456.
   */
  maxUnfinishedBytes?: number;
  /** Idle time-out announced to peers, in milliseconds; 0 for none. Default: 60,000. */
  idleTimeOut?: number;
  /** Connection properties. */
  properties?: Fields;
  /** Capabilities offered. */
  offeredCapabilities?: string[];
  /** What to answer to an open, over the other options. */
  answerOpen?: (open: Open) => Partial<Omit<Open, "kind">>;
  /** Terms of the sessions that peers begin. */
  session?: SessionOptions;
  /** Largest SASL frame taken, in bytes. Default: 65,536. */
  saslFrameSize?: number;
  /** Bytes that a client may send ahead while its credentials are looked at. Default: 65,536. */
  maxPipelinedBytes?: number;
  /**
   * Bytes that may wait in the channel of a connection before sends pause; fewer than 262,144 count as those. A peer that
   * goes on without reading its answers is dropped when four times as many wait. Default: 1,048,576.
   */
  maxBufferedBytes?: number;
  /** Milliseconds for SASL and open. Default: 30,000. */
  openTimeoutMs?: number;
  /** Milliseconds that a close may go unanswered. Default: 5,000. */
  closeTimeoutMs?: number;
  /** Bounds of what is decoded. */
  limits?: Partial<CodecLimits>;
  /** Where it runs; another one makes time and chance repeatable in tests. Default: the runtime's clock, timers and randomness. */
  environment?: Environment;
  /**
   * Told what no call fails for: a handler that failed, a peer that was refused by a limit, a wait that may last for ever.
   * Default: warnings and errors go to the console; null silences them.
   */
  log?: LogOption | undefined;
  /** Told of every frame of every connection, secrets left out. What it throws goes to `log`. */
  trace?: AcceptorTracer;
}

/** A frame of one of an acceptor's connections. */
export interface AcceptorTrace extends FrameTrace {
  /** Numbers the connection, from 1 in the order of coming. */
  readonly connection: number;
}

/** Is told of every frame, secrets left out; what `jsonLines` of `./trace` makes also of how channels come and end. */
export interface AcceptorTracer {
  /** Takes a frame. */
  (frame: AcceptorTrace): void;
  /** Makes of the channel of a connection what tells of its end too; what goes wrong with telling goes to `log`. */
  accepted?(channel: Channel, info: PeerInfo | undefined, connection: number, log?: LogOption): Channel;
}

/** A peer that need not prove who it is, as one in this process. */
export interface TrustedPeer {
  /** Who it is; undefined for nobody in particular. */
  readonly identity?: string | undefined;
}

/** Accepts connections; made by {@linkcode acceptor}. */
export interface Acceptor {
  /**
   * Takes over a channel whose peer is about to speak AMQP; `info` is for SASL EXTERNAL.
   *
   * @returns Undefined for a channel that it has closed, since it has no room for a connection or was closed itself.
   */
  accept(channel: Channel, info?: PeerInfo, trusted?: TrustedPeer): Connection | undefined;
  /** The connections that have not ended. */
  readonly connections: ReadonlySet<Connection>;
  /** Closes all connections and accepts no more. */
  close(options?: CloseOptions): Promise<void>;
  /** Closes all connections and accepts no more. */
  [Symbol.asyncDispose](): Promise<void>;
}

// Some hundreds of megabytes at rest, on the runtime that needs most for each.
const MAX_CONNECTIONS = 10_000;

const MAX_SUSPENDED_LINKS = 1_000;

// Four of the largest messages that are taken by default.
const MAX_UNFINISHED_BYTES = 268_435_456;

// WebSocket close codes [rfc6455 7.4.1, 11.7].
const GOING_AWAY = 1001;
const TRY_AGAIN_LATER = 1013;

/**
 * Makes an acceptor: the server's side of AMQP, over whatever carries it.
 *
 * @throws {TypeError} If an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { acceptor } from "@webamqp/amqp/server";
 *
 * const echo = acceptor({
 *   onReceiver: (request) => {
 *     void request.accept({ credit: 10 }).serve((delivery) => console.log(delivery.message.body));
 *   },
 * });
 * await echo.close();
 * ```
 */
export function acceptor(options: AcceptorOptions = {}): Acceptor {
  const kinds: OptionKinds<AcceptorOptions> = {
    ...ACCEPTOR_KINDS,
    onSender: "function",
    onReceiver: "function",
    sasl: SASL_KINDS,
    session: SESSION_KINDS,
    limits: CODEC_LIMIT_KINDS,
  };
  checkOptions("make acceptor", options, kinds);
  const { maxConnections = MAX_CONNECTIONS } = options;
  const connections = new Set<Connection>();
  // Until they are open; what is known of a peer is not kept any longer.
  const authenticating = new Map<Connection, SaslServer<PeerInfo>>();
  const mechanisms = saslMechanisms(options.sasl);
  const names = mechanisms.map(({ name }) => name);
  const offer = { mechanisms: names, required: !names.includes("ANONYMOUS") };
  const logging: LogHolder = { option: options.log };
  const complain = (message: string, cause: string, entry: Partial<LogEntry> = {}): void =>
    logOf(logging, options.environment ?? systemEnvironment).tell({
      level: "warning",
      code: "refused",
      message,
      ...entry,
    }, cause);
  let engineOptions: ConnectionTerms | undefined;
  const containers = new Containers(
    options.environment ?? systemEnvironment,
    options.maxSuspendedLinks ?? MAX_SUSPENDED_LINKS,
    (message) => complain(message, "suspended"),
  );
  let accepted = 0;
  let closing: Promise<void> | undefined;

  const hooks: ConnectionHooks = {
    onopen: (connection: Connection) => {
      authenticating.delete(connection);
      const refused = containers.refusal(connection);
      if (refused !== undefined) return void connection.close({ error: refused }).catch(ignore);
      const fail = (error: unknown): void => {
        if (connection.open) connection.close({ error: asAmqpError(error, "open connection") }).catch(ignore);
      };
      guard(() => options.onConnection?.(connection), fail);
    },
    onsasl: async (frame, endpoint, connection: Connection) => {
      const sasl = authenticating.get(connection);
      const answer = await sasl?.handle(frame);
      // The transport may have ended while the credentials were looked at.
      if (sasl === undefined || answer === undefined || endpoint.finished) return;
      connection.identity = sasl.identity;
      endpoint.sasl(answer);
      if (sasl.error !== undefined) throw sasl.error;
    },
    onattach: (link, connection: Connection) => decide(connection, link, options, containers),
    onsuspended: (_, link) => closing === undefined && containers.suspend(link),
    onclosed: (connection: Connection) => {
      authenticating.delete(connection);
      connections.delete(connection);
      const { error, host } = connection;
      if (isExcess(error)) {
        complain(`Cannot keep connection with ${host ?? "a peer that has not opened it"}`, "limit", { host, error });
      }
    },
  };

  function accept(channel: Channel, info?: PeerInfo, trusted?: TrustedPeer): Connection | undefined {
    // Before anything is made for it.
    if (closing !== undefined) return void channel.close(GOING_AWAY);
    if (connections.size >= maxConnections) {
      complain(
        `Cannot accept connection: ${connections.size} are there, as many as "maxConnections" allows; raise it`,
        "connections",
      );
      return void channel.close(TRY_AGAIN_LATER, "Too many connections");
    }
    engineOptions ??= {
      ...options,
      trace: undefined,
      handshake: () => new ServerHandshake(offer, options.maxPipelinedBytes),
      takeLink,
      maxUnfinishedBytes: undefined,
      unfinished: new Budget(options.maxUnfinishedBytes ?? MAX_UNFINISHED_BYTES),
      saslMaxFrameSize: options.saslFrameSize,
      limits: codecLimits(options.limits),
      fastPath: FastPathReader,
      // Not before: Workers have no randomness until a request comes.
      containerId: options.containerId ?? randomName(options.environment),
      logging,
    };
    const { trace } = options;
    const number = ++accepted;
    let terms: ConnectionTerms = {
      ...engineOptions,
      answerOpen: (open) => {
        const { offeredCapabilities = [], properties, ...answer } = options.answerOpen?.(open) ?? {};
        const sole = containers.open(connection, open);
        return {
          ...answer,
          offeredCapabilities: [
            ...options.offeredCapabilities ?? [],
            ...offeredCapabilities,
            ...sole.offeredCapabilities ?? [],
          ],
          properties: { ...options.properties, ...properties, ...sole.properties },
        };
      },
    };
    let carrier = channel;
    if (trace !== undefined) {
      terms = { ...terms, trace: (frame) => trace({ ...frame, connection: number }) };
      carrier = trace.accepted?.(channel, info, number, options.log) ?? channel;
    }
    if (trusted !== undefined) terms = { ...terms, handshake: () => new ServerHandshake() };
    const connection = new Connection(terms, hooks);
    connection.attach(carrier);
    connections.add(connection);
    if (trusted === undefined) authenticating.set(connection, new SaslServer(mechanisms, info ?? {}));
    else connection.identity = trusted.identity;
    return connection;
  }

  function close({ signal, ...closeOptions }: CloseOptions = {}): Promise<void> {
    // The signal ends this wait, not that of who closes again.
    closing ??= Promise.all(
      [...connections].map((connection) => connection.close({ error: goingAway(), ...closeOptions })),
    ).then(() => {});
    // Their timers would keep the process from ending.
    containers.close(goingAway());
    return abortable(closing, signal);
  }

  return { accept, connections, close, [Symbol.asyncDispose]: () => close() };
}

function decide(
  connection: Connection,
  link: SenderEndpoint | ReceiverEndpoint,
  options: AcceptorOptions,
  containers: Containers,
): void {
  // Its peer has given it up in the same breath, and has its answer.
  if (link.state !== "attachReceived") return;
  // For a reason that passes: on the next connection it may be attached.
  if (!connection.open) return link.refuse(refusal(link.name, condition.detachForced, "the connection is closing"));
  containers.takeOver(connection, link);
  const request = link.role === "sender"
    ? senderRequest(connection, link, containers)
    : receiverRequest(connection, link, containers);
  const hook = (link.role === "sender" ? options.onSender : options.onReceiver) as
    | ((request: SenderRequest | ReceiverRequest) => void | Promise<void>)
    | undefined;
  if (hook === undefined) {
    return link.refuse(refusal(link.name, condition.notImplemented, "no link of its direction is taken"));
  }
  const fail = (error: unknown): void => {
    // The hook may fail after it has accepted, or after the peer has gone.
    if (link.state === "attachReceived") return request.refuse(asAmqpError(error, `attach link ${quote(link.name)}`));
    const ending = asAmqpError(error, `keep link ${quote(link.name)}`);
    link.detach({ closed: true, error: ending });
    connection.dropLink(link, ending);
    connection.wake();
  };
  guard(() => hook(request), fail);
}

// A hook may fail at once or later.
function guard(hook: () => void | Promise<void>, fail: (error: unknown) => void): void {
  try {
    const done = hook();
    if (done instanceof Promise) done.catch(fail);
  } catch (error) {
    fail(error);
  }
}

function senderRequest(
  connection: Connection,
  link: SenderEndpoint,
  containers: Containers,
): SenderRequest {
  const attach = link.remote!;
  const { source } = attach;
  return {
    role: "sender",
    connection,
    attach,
    address: source?.address,
    dynamic: source?.dynamic ?? false,
    accept: ({ address, suspendMs = 0, ...terms } = {}) => {
      link.awaitsAnswer("accept");
      const kept = containers.take(connection, link, suspendMs) as Sender | undefined;
      const recovery = suspendMs > 0 ? resuming : undefined;
      return attached(connection, link, containers, suspendMs, kept, () => {
        acceptLink(link, {
          ...terms,
          ...kept?.recovery?.answer(link),
          // Who asks for two steps may wait for ever for the second [TRM-10].
          rcvSettleMode: terms.rcvSettleMode ?? "first",
          source: terms.source ?? (source && { ...source, address: address ?? source.address }),
        });
        return kept ?? connection.adopt(link, { ...terms, recovery });
      });
    },
    refuse: (error) => refuse(connection, link, error),
  };
}

function receiverRequest(
  connection: Connection,
  link: ReceiverEndpoint,
  containers: Containers,
): ReceiverRequest {
  const attach = link.remote!;
  const target = attach.target?.kind === "target" ? attach.target : undefined;
  return {
    role: "receiver",
    connection,
    attach,
    address: target?.address,
    dynamic: target?.dynamic ?? false,
    accept: ({ address, suspendMs = 0, ...terms } = {}) => {
      checkCredit(terms.credit);
      link.awaitsAnswer("accept");
      const kept = containers.take(connection, link, suspendMs) as Receiver | undefined;
      const recovery = suspendMs > 0 ? resuming : undefined;
      return attached(connection, link, containers, suspendMs, kept, () => {
        acceptLink(link, {
          ...terms,
          ...kept?.recovery?.answer(link),
          maxMessageSize: terms.maxMessageSize ?? (terms.stream ? 0n : undefined),
          rcvSettleMode: terms.rcvSettleMode ?? "first",
          target: terms.target ?? (target && { ...target, address: address ?? target.address }),
        });
        return kept ?? connection.adopt(link, { ...terms, recovery });
      });
    },
    refuse: (error) => refuse(connection, link, error),
  };
}

// What takes up deliveries on the accepting side, which is attached to, and says what it keeps.
const resuming: Recovery = {
  forSender: (sender, outgoing) => new SenderResumption(sender, outgoing, {}),
  forReceiver: (receiver) => new ReceiverResumption(receiver, {}),
};

// A link that is accepted: a new one, or one that was kept, which ends if it cannot be taken up.
function attached<L extends Sender | Receiver>(
  connection: Connection,
  endpoint: SenderEndpoint | ReceiverEndpoint,
  containers: Containers,
  suspendMs: number,
  kept: L | undefined,
  accept: () => L,
): L {
  try {
    const link = accept();
    if (kept !== undefined) connection.takeOver(endpoint, kept);
    containers.remember(connection, endpoint, link, suspendMs);
    return link;
  } catch (error) {
    kept?.handleEnded(error as Error);
    throw error;
  }
}

function refuse(connection: Connection, link: SenderEndpoint | ReceiverEndpoint, error: AmqpError): void {
  link.refuse(error);
  connection.wake();
}

function refusal(name: string, symbol: string, why: string): AmqpError {
  return new AmqpError(symbol, `Cannot attach link ${quote(name)}: ${why}`, { scope: "link" });
}

// Ended by this side for what the peer would cost, rather than for its silence.
function isExcess(error: unknown): boolean {
  return error instanceof AmqpError && !error.remote && error.condition === condition.resourceLimitExceeded &&
    !(error.cause instanceof TransportError);
}

function goingAway(): AmqpError {
  return new AmqpError(condition.connectionForced, "Cannot keep connection: this side is going away");
}

// What a hook throws that is no AmqpError is this side's own affair: the peer learns that it failed, not why.
function asAmqpError(error: unknown, doing: string): AmqpError {
  if (error instanceof AmqpError) return error;
  return new AmqpError(condition.internalError, `Cannot ${doing}: internal error`, { cause: error });
}
