/**
 * Links that peers want to attach, which the program accepts or refuses.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Attach } from "../codec/types.ts";
import { accept as acceptLink } from "../engine/accept.ts";
import type { LinkOptions } from "../engine/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";
import type { Connection } from "../client/connection.ts";
import { checkCredit, type ReceiveSettings } from "../client/receive_options.ts";
import type { Receiver } from "../client/receiver.ts";
import type { Recovery } from "../client/recovery.ts";
import { ReceiverResumption } from "../client/resume_receiver.ts";
import { SenderResumption } from "../client/resume_sender.ts";
import type { Sender, SendSettings } from "../client/sender.ts";
import type { Containers } from "./containers.ts";

/** A link that a peer wants to attach, to be accepted or refused. */
export interface LinkRequest<Role extends "sender" | "receiver", Link, Settings> {
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
  /** Accepts; what `settings` leaves out is as the peer wished. */
  accept(settings?: Settings): Link;
  /** Refuses, with the reason. */
  refuse(error: AmqpError): void;
}

/** What this side attaches its end with, over the peer's wishes. */
export interface AcceptSettings extends LinkOptions {
  /** The address of the node that was made for a dynamic terminus. */
  address?: string | undefined;
  /**
   * Milliseconds for which the link is kept, with what is not settled, when it is lost or suspended: a peer of the same
   * container that attaches it again by then, and lists what it has not settled, takes it up where it was, on whatever
   * connection. Default: 0, it ends.
   */
  suspendMs?: number | undefined;
}

/** A peer that wants to receive: this side sends. */
export type SenderRequest = LinkRequest<"sender", Sender, AcceptSettings & SendSettings>;
/** A peer that wants to send: this side receives. */
export type ReceiverRequest = LinkRequest<"receiver", Receiver, AcceptSettings & ReceiveSettings>;

export interface LinkHooks {
  /** Of a peer that wants to receive. */
  readonly onSender?: ((request: SenderRequest) => void | Promise<void>) | undefined;
  /** Of a peer that wants to send. */
  readonly onReceiver?: ((request: ReceiverRequest) => void | Promise<void>) | undefined;
}

/** Has the program decide of a link that a peer attaches. */
export function decide(
  connection: Connection,
  link: SenderEndpoint | ReceiverEndpoint,
  { onSender, onReceiver }: LinkHooks,
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
  const hook = (link.role === "sender" ? onSender : onReceiver) as
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
  guardHook(() => hook(request), fail);
}

/** Calls a hook, which may fail at once or later. */
export function guardHook(hook: () => void | Promise<void>, fail: (error: unknown) => void): void {
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
    accept: ({ address, ...settings } = {}) => {
      const options = { source: settings.source ?? (source && { ...source, address: address ?? source.address }) };
      const adopt = (recovery?: Recovery) => connection.adopt(link, { ...settings, recovery });
      return attached(connection, link, containers, { ...settings, ...options }, adopt);
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
    accept: ({ address, ...settings } = {}) => {
      checkCredit(settings.credit);
      const options = {
        maxMessageSize: settings.maxMessageSize ?? (settings.stream ? 0n : undefined),
        target: settings.target ?? (target && { ...target, address: address ?? target.address }),
      };
      const adopt = (recovery?: Recovery) => connection.adopt(link, { ...settings, recovery });
      return attached(connection, link, containers, { ...settings, ...options }, adopt);
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
  { suspendMs = 0, ...options }: AcceptSettings,
  adopt: (recovery?: Recovery) => L,
): L {
  endpoint.awaitsAnswer("accept");
  const kept = containers.take(connection, endpoint, suspendMs);
  try {
    acceptLink(endpoint, {
      ...options,
      ...kept?.recovery?.answer(endpoint),
      // A receiver settles as it says [transport 2.7.3]. A sender that asks for two steps may never take the second.
      rcvSettleMode: options.rcvSettleMode ?? (endpoint.role === "receiver" ? "first" : undefined),
    });
    const link = kept as L | undefined ?? adopt(suspendMs > 0 ? resuming : undefined);
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

/** What a hook throws that is no AmqpError is this side's own affair: the peer learns that it failed, not why. */
export function asAmqpError(error: unknown, doing: string): AmqpError {
  if (error instanceof AmqpError) return error;
  return new AmqpError(condition.internalError, `Cannot ${doing}: internal error`, { cause: error });
}
