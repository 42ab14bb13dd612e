/**
 * Helpers to make endpoints, of either role, with or without SASL, with links accepted on both sides; and short commands.
 *
 * @module
 */

import { assert } from "@std/assert";
import { AmqpError, condition } from "../../src/base/errors.ts";
import type { Role, SaslOutcome } from "../../src/codec/types.ts";
import { takeLink } from "../../src/engine/accept.ts";
import { ClientHandshake } from "../../src/engine/handshake.ts";
import { ConnectionEndpoint, type ConnectionOptions, type EndpointOwner } from "../../src/engine/connection.ts";
import type { EngineEvent } from "../../src/engine/events.ts";
import type { AttachOptions } from "../../src/engine/link.ts";
import { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import type { DeliveryOptions, OutgoingDelivery } from "../../src/engine/outgoing.ts";
import { SenderEndpoint } from "../../src/engine/sender.ts";
import { type SaslOffer, ServerHandshake } from "../../src/engine/server_handshake.ts";
import type { SessionEndpoint } from "../../src/engine/session.ts";

export interface EndpointOptions extends Partial<Omit<ConnectionOptions, "handshake">> {
  /** The client sends first. */
  role: "client" | "server";
  /** The client's or the server's SASL. Default: none. */
  sasl?: boolean | "pipelined" | SaslOffer | undefined;
  /** The server's answer to an open. Default: its settings. */
  answerOpen?: EndpointOwner["answerOpen"];
}

/** Makes an endpoint at time 0. */
export function endpointOf({ role, sasl, answerOpen, ...options }: EndpointOptions): ConnectionEndpoint {
  const offer = typeof sasl === "object" ? sasl : undefined;
  const handshake = () =>
    role === "client" ? new ClientHandshake(offer === undefined && sasl as boolean) : new ServerHandshake(offer);
  return new ConnectionEndpoint(
    { containerId: "tested", takeLink, ...options, handshake },
    0,
    answerOpen && { answerOpen },
  );
}

/** Attaches a link of the given role. */
export function attachLink(session: SessionEndpoint, options: AttachOptions & { role: "sender" }): SenderEndpoint;
/** Attaches a link of the given role. */
export function attachLink(session: SessionEndpoint, options: AttachOptions & { role: "receiver" }): ReceiverEndpoint;
/** Attaches a link of the given role. */
export function attachLink(session: SessionEndpoint, { role, ...options }: AttachOptions & { role: Role }) {
  return role === "sender" ? session.attach(SenderEndpoint, options) : session.attach(ReceiverEndpoint, options);
}

/** Sends the client's choice of a mechanism. */
export function saslInit(
  endpoint: ConnectionEndpoint,
  mechanism: string,
  initialResponse: Uint8Array | undefined,
  hostname?: string,
): void {
  endpoint.sasl({ kind: "saslInit", mechanism, initialResponse, hostname });
}

/** Sends the client's answer to a challenge. */
export function saslResponse(endpoint: ConnectionEndpoint, response: Uint8Array): void {
  endpoint.sasl({ kind: "saslResponse", response });
}

/** Sends a challenge of the server. */
export function saslChallenge(endpoint: ConnectionEndpoint, challenge: Uint8Array): void {
  endpoint.sasl({ kind: "saslChallenge", challenge });
}

/** Sends the server's outcome. */
export function saslOutcome(
  endpoint: ConnectionEndpoint,
  code: SaslOutcome["code"],
  additionalData?: Uint8Array,
): void {
  endpoint.sasl({ kind: "saslOutcome", code, additionalData });
}

/** The links of a session, all of which are senders or receivers where links of the peer are accepted. */
export function linksOf(session: SessionEndpoint): (SenderEndpoint | ReceiverEndpoint)[] {
  return [...session.links()] as (SenderEndpoint | ReceiverEndpoint)[];
}

/** The number of a link's unsettled deliveries. */
export function unsettledOf(link: SenderEndpoint | ReceiverEndpoint): number {
  return link.role === "sender" ? link.outgoing.size : link.unsettled.size;
}

/** Sends a delivery that has credit. */
export function sendOn(
  sender: SenderEndpoint,
  tag: Uint8Array,
  payload: Uint8Array,
  options: DeliveryOptions = {},
): OutgoingDelivery {
  assert(sender.sendable > 0 || options.resume, `${sender.sendable} credit, state is ${sender.state}`);
  const delivery = sender.outgoing.push(payload, { ...options, tag });
  // A delivery without a context is not sent again.
  delivery.context = tag;
  return delivery;
}

/** The error of a link to a node that does not exist. */
export function notFound(): AmqpError {
  return new AmqpError(condition.notFound, 'Cannot attach link "link": no such node', { scope: "link" });
}

/** Refuses each link that the peer attaches. */
export function refuseLinks(event: EngineEvent): void {
  if (event.kind === "attachRequested") event.link.refuse(notFound());
}
