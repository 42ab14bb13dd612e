/**
 * Links that peers attach, for the program to accept or refuse.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, TransportError } from "../base/errors.ts";
import { isPromise } from "../base/kinds.ts";
import { logOf } from "../base/log.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { quote } from "../base/text.ts";
import type { Attach } from "../codec/types.ts";
import { accept as acceptLink } from "../engine/accept.ts";
import type { LinkOptions } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { Connection } from "../client/connection.ts";
import { checkCredit, type ReceiveSettings } from "../client/receive_options.ts";
import { Receiver } from "../client/receiver.ts";
import { Receiving } from "../client/receiving.ts";
import type { Recovery } from "../client/recovery.ts";
import { ReceiverResumption } from "../client/resume_receiver.ts";
import { SenderResumption } from "../client/resume_sender.ts";
import type { SendSettings } from "../client/link_options.ts";
import { Sender } from "../client/sender.ts";
import type { Containers } from "./containers.ts";

/** A link that a peer attaches, to be accepted or refused. */
export interface LinkRequest<Role extends "sender" | "receiver", Link, Settings> {
  /** The role of this side: `"sender"` for a peer that receives. */
  readonly role: Role;
  /** The link's connection. */
  readonly connection: Connection;
  /** The peer's attach. */
  readonly attach: Readonly<Attach>;
  /** The node's address; undefined for a dynamic node, or a target without a fixed address. */
  readonly address: string | undefined;
  /** True when the peer asks for a dynamic node: accept with its address. */
  readonly dynamic: boolean;
  /** Accepts the link; the peer's wishes stand where `settings` has no field. */
  accept(settings?: Settings): Link;
  /** Refuses the link with `error`. */
  refuse(error: AmqpError): void;
}

/** Settings of this side's attach, over the peer's wishes. */
export interface AcceptSettings extends LinkOptions {
  /** The address of the node created for a dynamic terminus. */
  address?: string | undefined;
  /**
   * Milliseconds for which a lost or suspended link is kept with its unsettled deliveries. A peer of the same container that
   * attaches it again in time, on any connection, and lists its unsettled deliveries, resumes it. Default: 0, the link ends.
   */
  suspendMs?: number | undefined;
}

const ACCEPT_KINDS: OptionKinds<AcceptSettings> = {
  address: "string",
  suspendMs: "number",
  source: "object or null",
  target: "object or null",
  sndSettleMode: '"mixed", "settled" or "unsettled"',
  rcvSettleMode: '"first" or "second"',
  maxMessageSize: "whole number or bigint",
  initialDeliveryCount: "number",
  unsettled: "object",
  incompleteUnsettled: "boolean",
  desiredCapabilities: "array of string",
  offeredCapabilities: "array of string",
  properties: "object",
};

/** A peer attaches to receive: this side sends. */
export type SenderRequest = LinkRequest<"sender", Sender, AcceptSettings & SendSettings>;
/** A peer attaches to send: this side receives. */
export type ReceiverRequest = LinkRequest<"receiver", Receiver, AcceptSettings & ReceiveSettings>;

export interface LinkHooks {
  readonly onSender?: ((request: SenderRequest) => void | Promise<void>) | undefined;
  readonly onReceiver?: ((request: ReceiverRequest) => void | Promise<void>) | undefined;
}

/** Lets the program decide on a link that a peer attaches. */
export function decide(
  connection: Connection,
  link: SenderEndpoint | ReceiverEndpoint,
  { onSender, onReceiver }: LinkHooks,
  containers: Containers,
): void {
  // The peer has detached in the same flight, and has its answer.
  if (link.state !== "attachReceived") return;
  // The close of the connection is the answer: a refusal would tell the peer that this link cannot be had.
  if (!connection.open) return;
  containers.takeOver(connection, link);
  const request = link.role === "sender"
    ? senderRequest(connection, link, containers)
    : receiverRequest(connection, link, containers);
  const hook = (link.role === "sender" ? onSender : onReceiver) as
    | ((request: SenderRequest | ReceiverRequest) => void | Promise<void>)
    | undefined;
  if (hook === undefined) {
    return link.refuse(refusal(link.name, condition.notImplemented, "no link of its direction is taken"));
  }
  const fail = (error: unknown): void => {
    // The hook may fail after accepting, or after the peer has detached.
    if (link.state === "attachReceived") {
      return request.refuse(asAmqpError(connection, error, `attach link ${quote(link.name)}`, request.address));
    }
    // No fault of the program: its link, for which the hook waited, has ended with the connection.
    if (!connection.open && error instanceof TransportError) return;
    const ending = asAmqpError(connection, error, `keep link ${quote(link.name)}`, request.address);
    link.detach({ closed: true, error: ending });
    connection.dropLink(link, ending);
    connection.wake();
  };
  guardHook(() => hook(request), fail);
}

/** Calls a hook, and `fail` if it throws or rejects. */
export function guardHook(hook: () => void | Promise<void>, fail: (error: unknown) => void): void {
  try {
    const done = hook();
    if (isPromise(done)) done.then(undefined, fail);
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
    accept: (given = {}) => {
      checkOptions("accept link of a receiver", given, { ...ACCEPT_KINDS, maxInFlight: "number from 1", recovery: "" });
      const { address, ...settings } = given;
      const options = { source: settings.source ?? (source && { ...source, address: address ?? source.address }) };
      const make = (recovery?: Recovery) => adoptSender(connection, link, { ...settings, recovery });
      return attached(connection, link, containers, { ...settings, ...options }, make);
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
    accept: (given = {}) => {
      checkOptions("accept link of a sender", given, {
        ...ACCEPT_KINDS,
        credit: 'number or "manual"',
        settle: '"auto" or "manual"',
        filterMismatch: "",
        recovery: "",
        stream: "boolean",
      });
      const { address, ...settings } = given;
      checkCredit(settings.credit);
      const options = {
        maxMessageSize: settings.maxMessageSize ?? (settings.stream ? 0n : undefined),
        target: settings.target ?? (target && { ...target, address: address ?? target.address }),
      };
      const make = (recovery?: Recovery) => adoptReceiver(connection, link, { ...settings, recovery });
      return attached(connection, link, containers, { ...settings, ...options }, make);
    },
    refuse: (error) => refuse(connection, link, error),
  };
}

// The recovery of links on the accepting side.
const resuming: Recovery = {
  forSender: (sender, outgoing) => new SenderResumption(sender, outgoing, {}),
  forReceiver: (receiver) => new ReceiverResumption(receiver, {}),
};

// Attaches an accepted link: a new one, or a suspended one, which ends if it cannot be resumed.
function attached<L extends Sender | Receiver>(
  connection: Connection,
  endpoint: SenderEndpoint | ReceiverEndpoint,
  containers: Containers,
  { suspendMs = 0, ...options }: AcceptSettings,
  make: (recovery?: Recovery) => L,
): L {
  endpoint.awaitsAnswer("accept");
  const kept = containers.take(connection, endpoint, suspendMs);
  try {
    acceptLink(endpoint, {
      ...options,
      ...kept?.recovery?.answer(endpoint),
      // The receiver's choice of settle mode prevails [transport 2.7.3]. A sender that asks for two steps may never take the
      // second.
      rcvSettleMode: options.rcvSettleMode ?? (endpoint.role === "receiver" ? "first" : undefined),
    });
    const link = kept as L | undefined ?? make(suspendMs > 0 ? resuming : undefined);
    if (kept !== undefined) {
      connection.addAttached(endpoint, kept);
      kept.resumeOn(endpoint);
    }
    containers.register(connection, endpoint, link, suspendMs);
    return link;
  } catch (error) {
    kept?.handleEnded(error as Error);
    throw error;
  }
}

function refuse(connection: Connection, link: SenderEndpoint | ReceiverEndpoint, error: AmqpError): void {
  checkOptions("refuse link", { error }, { error: "object with condition" });
  link.refuse(error);
  connection.wake();
}

function refusal(name: string, symbol: string, why: string): AmqpError {
  return new AmqpError(symbol, `Cannot attach link ${quote(name)}: ${why}`, { scope: "link" });
}

/**
 * The error that a peer is told when a callback of the program failed. Of one that is no AmqpError the peer learns only that
 * there was an error; it goes to the log, as no caller waits for it.
 */
export function asAmqpError(
  { host, logging, environment }: Pick<Connection, "host" | "logging" | "environment">,
  error: unknown,
  doing: string,
  address?: string,
): AmqpError {
  if (error instanceof AmqpError) return error;
  const where = `${address === undefined ? "" : ` at ${quote(address)}`}${host === undefined ? "" : ` for ${host}`}`;
  const message =
    `Cannot ${doing}${where}: a callback of the program threw, the peer is told "internal error"; mend it`;
  logOf(logging, environment).write({ level: "error", code: "callback-failed", message, address, host, error });
  return new AmqpError(condition.internalError, `Cannot ${doing}: internal error`, { cause: error });
}

/** Makes a sender of a server's program from the engine's. */
function adoptSender(connection: Connection, endpoint: SenderEndpoint, settings: SendSettings): Sender {
  const link = new Sender(connection, endpoint, settings);
  connection.addAttached(endpoint, link);
  return link;
}

/** Makes a receiver of a server's program from the engine's. */
export function adoptReceiver(connection: Connection, endpoint: ReceiverEndpoint, settings: ReceiveSettings): Receiver {
  const link = new Receiver(connection, endpoint, settings, Receiving);
  connection.addAttached(endpoint, link);
  return link;
}
