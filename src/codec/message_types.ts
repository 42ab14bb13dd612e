/**
 * Object types for messages, links and transactions. Written by tools/types/build.ts, from the table of definitions.
 *
 * @module
 */

import type { Fields, Typed, Value } from "./values.ts";

/** An end of a link. */
export type Role = "sender" | "receiver";
/** Whether a sender sends deliveries settled: none, all, or as each one says. */
export type SenderSettleMode = "unsettled" | "settled" | "mixed";
/** Whether a receiver settles first, or second, after the sender. */
export type ReceiverSettleMode = "first" | "second";
/** State of a terminus that survives a failure of its container. */
export type TerminusDurability = "none" | "configuration" | "unsettled-state";
/** The event that starts the timeout of a terminus. */
export type TerminusExpiryPolicy = "link-detach" | "session-end" | "connection-close" | "never";
/** The result of a SASL exchange: `auth` for wrong credentials, `sys…` for faults of the server. */
export type SaslCode = "ok" | "auth" | "sys" | "sys-perm" | "sys-temp";

/** The id of a message: text, a ulong as `bigint`, bytes, or a uuid. */
export type MessageId = string | bigint | Uint8Array | Typed<"uuid">;

/** Unsettled deliveries by tag, with the state that this end last knew. */
export type Unsettled = Map<Uint8Array, DeliveryState | null>;

/** The wire form of an error [transport 2.8.14]. */
export interface ErrorFields {
  /** The symbol of the error, such as `amqp:not-found`. */
  condition: string;
  /** Details of the error for people. */
  description?: string | undefined;
  /** Details of the error for programs. */
  info?: Fields | undefined;
}

/** The part of a message that has arrived [messaging 3.4.1]. */
export interface Received {
  /** The kind of the composite. */
  kind: "received";
  /** The section up to which the message has arrived, counted from 0. */
  sectionNumber: number;
  /** Bytes of that section that have arrived. */
  sectionOffset: bigint;
}

/** The message was processed [messaging 3.4.2]. */
export interface Accepted {
  /** The kind of the composite. */
  kind: "accepted";
}

/** The message is invalid and cannot be processed [messaging 3.4.3]. */
export interface Rejected {
  /** The kind of the composite. */
  kind: "rejected";
  /** The reason of the rejection. */
  error?: ErrorFields | undefined;
}

/** The message was not processed and may be delivered again [messaging 3.4.4]. */
export interface Released {
  /** The kind of the composite. */
  kind: "released";
}

/** The message was not processed and is changed before it is delivered again [messaging 3.4.5]. */
export interface Modified {
  /** The kind of the composite. */
  kind: "modified";
  /** Whether this is a failed attempt, and raises the header's `deliveryCount`. Absent means false. */
  deliveryFailed?: boolean | undefined;
  /** Whether the message must not be delivered to this link again. Absent means false. */
  undeliverableHere?: boolean | undefined;
  /** Entries for the message annotations; each replaces one with the same key. */
  messageAnnotations?: Fields | undefined;
}

/** The source of a link's messages [messaging 3.5.3]. */
export interface Source {
  /** The kind of the composite. */
  kind: "source";
  /** The address of the node; absent where the other side is to create the node, see `dynamic`. */
  address?: string | undefined;
  /** State that survives a failure of the container. Default: `"none"`. */
  durable?: TerminusDurability | undefined;
  /** The event that starts the timeout. Default: `"session-end"`. */
  expiryPolicy?: TerminusExpiryPolicy | undefined;
  /** Seconds for which the terminus is kept after that event. Default: 0. */
  timeout?: number | undefined;
  /** Whether the other side is to create a node, and to name it in its answer. Default: false. */
  dynamic?: boolean | undefined;
  /** Properties of the node that is created, such as `lifetime-policy`. */
  dynamicNodeProperties?: Fields | undefined;
  /** Whether messages are taken from the node (`move`) or stay there for others (`copy`). */
  distributionMode?: string | undefined;
  /** Filters of the messages, by name; each is a described value or null. */
  filter?: Fields | undefined;
  /** The outcome of deliveries that are settled without one. */
  defaultOutcome?: Outcome | undefined;
  /** Outcomes that the link supports, by symbol, such as `amqp:accepted:list`. Default: all. */
  outcomes?: string[] | undefined;
  /** Capabilities of the node, such as `queue` or `topic`. */
  capabilities?: string[] | undefined;
}

/** The target of a link's messages [messaging 3.5.4]. */
export interface Target {
  /** The kind of the composite. */
  kind: "target";
  /** The address of the node; absent where the other side is to create the node, see `dynamic`. */
  address?: string | undefined;
  /** State that survives a failure of the container. Default: `"none"`. */
  durable?: TerminusDurability | undefined;
  /** The event that starts the timeout. Default: `"session-end"`. */
  expiryPolicy?: TerminusExpiryPolicy | undefined;
  /** Seconds for which the terminus is kept after that event. Default: 0. */
  timeout?: number | undefined;
  /** Whether the other side is to create a node, and to name it in its answer. Default: false. */
  dynamic?: boolean | undefined;
  /** Properties of the node that is created, such as `lifetime-policy`. */
  dynamicNodeProperties?: Fields | undefined;
  /** Capabilities of the node, such as `queue` or `topic`. */
  capabilities?: string[] | undefined;
}

/** A dynamic node is deleted with the link that created it [messaging 3.5.10]. */
export interface DeleteOnClose {
  /** The kind of the composite. */
  kind: "deleteOnClose";
}

/** A dynamic node is deleted when no link uses it [messaging 3.5.11]. */
export interface DeleteOnNoLinks {
  /** The kind of the composite. */
  kind: "deleteOnNoLinks";
}

/** A dynamic node is deleted when the link that created it has ended and it is empty [messaging 3.5.12]. */
export interface DeleteOnNoMessages {
  /** The kind of the composite. */
  kind: "deleteOnNoMessages";
}

/** A dynamic node is deleted when no link uses it and it is empty [messaging 3.5.13]. */
export interface DeleteOnNoLinksOrMessages {
  /** The kind of the composite. */
  kind: "deleteOnNoLinksOrMessages";
}

/** The target of a link that controls transactions [transactions 4.5.1]. */
export interface Coordinator {
  /** The kind of the composite. */
  kind: "coordinator";
  /** Capabilities of its transactions, such as `amqp:local-transactions`. */
  capabilities?: string[] | undefined;
}

/** Asks for a new transaction [transactions 4.5.2]. */
export interface Declare {
  /** The kind of the composite. */
  kind: "declare";
  /** The id of the distributed transaction that it is part of; the specification defines none. */
  globalId?: Value | undefined;
}

/** Ends a transaction [transactions 4.5.3]. */
export interface Discharge {
  /** The kind of the composite. */
  kind: "discharge";
  /** The id that the coordinator gave the transaction. */
  txnId: Uint8Array;
  /** Whether the transaction is rolled back and not committed. Absent means false. */
  fail?: boolean | undefined;
}

/** The outcome that names a new transaction [transactions 4.5.5]. */
export interface Declared {
  /** The kind of the composite. */
  kind: "declared";
  /** The id that the coordinator gave the transaction. */
  txnId: Uint8Array;
}

/** A delivery state that takes part in a transaction [transactions 4.5.6]. */
export interface TransactionalState {
  /** The kind of the composite. */
  kind: "transactionalState";
  /** The id that the coordinator gave the transaction. */
  txnId: Uint8Array;
  /** The outcome of the delivery once the transaction is committed. */
  outcome?: Outcome | undefined;
}

/** The delivery header of a message [messaging 3.2.1]. */
export interface Header {
  /** Whether the message must survive a failure of the nodes that keep it. Default: false. */
  durable?: boolean | undefined;
  /** The priority, 0 to 255; higher ones go first. Default: 4. */
  priority?: number | undefined;
  /** Time to live in milliseconds, from the arrival at a node; 0 is no time. Default: no limit. */
  ttl?: number | undefined;
  /** Whether no other link has acquired the message before. Default: false. */
  firstAcquirer?: boolean | undefined;
  /** Earlier delivery attempts that failed. Default: 0. */
  deliveryCount?: number | undefined;
}

/** The standard properties of a message [messaging 3.2.4]. */
export interface Properties {
  /** The unique id of the message, set by its first sender. */
  messageId?: MessageId | undefined;
  /** The user that created the message, by the name that it authenticated with, in bytes. */
  userId?: Uint8Array | undefined;
  /** The address of the node that the message is destined for. */
  to?: string | undefined;
  /** The subject, such as a routing key. */
  subject?: string | undefined;
  /** The address of the node for answers. */
  replyTo?: string | undefined;
  /** The id of a related message: in an answer, mostly the request's `messageId`. */
  correlationId?: MessageId | undefined;
  /** The media type of a body of data, such as `application/json`. */
  contentType?: string | undefined;
  /** A further encoding of a body of data, such as `gzip`; this module does not decode it. */
  contentEncoding?: string | undefined;
  /** The time at which the message expires. */
  absoluteExpiryTime?: Date | Typed<"timestamp"> | undefined;
  /** The time at which the message was created. */
  creationTime?: Date | Typed<"timestamp"> | undefined;
  /** The group of the message, such as a session of Azure Service Bus. */
  groupId?: string | undefined;
  /** The position in the group, a serial number of 32 bits. */
  groupSequence?: number | undefined;
  /** The group for answers. */
  replyToGroupId?: string | undefined;
}

/** The final state of a delivery. */
export type Outcome = Accepted | Rejected | Released | Modified | Declared;
/** A delivery state of the peer that cannot be read: of a type that this side does not know, or malformed. */
export interface UnknownState {
  /** The kind of the state, which is no composite and cannot be sent. */
  kind: "unknown";
  /** What is wrong with it: `amqp:not-implemented` for a type that is not known, otherwise mostly `amqp:decode-error`. */
  error: ErrorFields;
}
/** The state of a delivery, final or not. */
export type DeliveryState =
  | Received
  | Accepted
  | Rejected
  | Released
  | Modified
  | Declared
  | TransactionalState
  | UnknownState;
/** The condition on which a dynamic node is deleted. */
export type LifetimePolicy = DeleteOnClose | DeleteOnNoLinks | DeleteOnNoMessages | DeleteOnNoLinksOrMessages;
/** An end of a link. */
export type Terminus = Source | Target | Coordinator;
