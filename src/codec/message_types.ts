/**
 * What messages, links and transactions are told with, as object types. Written by tools/types/build.ts, out of the table of definitions.
 *
 * @module
 */

import type { Fields, Typed, Value } from "./values.ts";

/** Which end of a link. */
export type Role = "sender" | "receiver";
/** Whether a sender settles what it sends: nothing of it, all of it, or as it says for each. */
export type SenderSettleMode = "unsettled" | "settled" | "mixed";
/** Whether a receiver settles at once, or only after the sender did. */
export type ReceiverSettleMode = "first" | "second";
/** What a terminus keeps through a failure of its container. */
export type TerminusDurability = "none" | "configuration" | "unsettled-state";
/** What starts the time of a terminus. */
export type TerminusExpiryPolicy = "link-detach" | "session-end" | "connection-close" | "never";
/** How a SASL exchange ended: `auth` for wrong credentials, the others for faults of the server. */
export type SaslCode = "ok" | "auth" | "sys" | "sys-perm" | "sys-temp";

/** What identifies a message: text, a ulong as `bigint`, bytes, or a uuid. */
export type MessageId = string | bigint | Uint8Array | Typed<"uuid">;

/** Unsettled deliveries by their tag, with the state that this end last knew. */
export type Unsettled = Map<Uint8Array, DeliveryState | null>;

/** What went wrong: the wire form of an error [transport 2.8.14]. */
export interface ErrorFields {
  /** What kind of error it is, such as `amqp:not-found`. */
  condition: string;
  /** More about it, for people. */
  description?: string | undefined;
  /** More about it, for programs. */
  info?: Fields | undefined;
}

/** How much of a message has arrived [messaging 3.4.1]. */
export interface Received {
  /** Tells it from others. */
  kind: "received";
  /** The section up to which it has arrived, counted from 0. */
  sectionNumber: number;
  /** How much of that section has arrived, in bytes. */
  sectionOffset: bigint;
}

/** The message was processed [messaging 3.4.2]. */
export interface Accepted {
  /** Tells it from others. */
  kind: "accepted";
}

/** The message is invalid and cannot be processed [messaging 3.4.3]. */
export interface Rejected {
  /** Tells it from others. */
  kind: "rejected";
  /** What is wrong with it. */
  error?: ErrorFields | undefined;
}

/** The message was not processed and may be delivered again [messaging 3.4.4]. */
export interface Released {
  /** Tells it from others. */
  kind: "released";
}

/** The message was not processed and is changed before it is delivered again [messaging 3.4.5]. */
export interface Modified {
  /** Tells it from others. */
  kind: "modified";
  /** Whether it counts as a failed attempt: the header's `deliveryCount` rises. Absent means false. */
  deliveryFailed?: boolean | undefined;
  /** Whether it is not to be delivered to this link again. Absent means false. */
  undeliverableHere?: boolean | undefined;
  /** What is added to the message annotations; an entry takes the place of one with its key. */
  messageAnnotations?: Fields | undefined;
}

/** Where a link's messages come from [messaging 3.5.3]. */
export interface Source {
  /** Tells it from others. */
  kind: "source";
  /** The node; absent for one that the other side is to make up, see `dynamic`. */
  address?: string | undefined;
  /** What is kept through a failure of the container. Default: `"none"`. */
  durable?: TerminusDurability | undefined;
  /** When its time begins to run. Default: `"session-end"`. */
  expiryPolicy?: TerminusExpiryPolicy | undefined;
  /** How long it is kept after that, in seconds. Default: 0. */
  timeout?: number | undefined;
  /** Whether the other side is to make up a node, and names it in its answer. Default: false. */
  dynamic?: boolean | undefined;
  /** What the node that is made up is to be like, such as `lifetime-policy`. */
  dynamicNodeProperties?: Fields | undefined;
  /** Whether messages are taken from the node (`move`) or stay there for others (`copy`). */
  distributionMode?: string | undefined;
  /** Which messages come, by the name of the filter; each is a described value or null. */
  filter?: Fields | undefined;
  /** The outcome of deliveries that are settled without one. */
  defaultOutcome?: Outcome | undefined;
  /** Outcomes that the link takes, by symbol, such as `amqp:accepted:list`; absent, all of them. */
  outcomes?: string[] | undefined;
  /** What the node can do or is to be, such as `queue` or `topic`. */
  capabilities?: string[] | undefined;
}

/** Where a link's messages go to [messaging 3.5.4]. */
export interface Target {
  /** Tells it from others. */
  kind: "target";
  /** The node; absent for one that the other side is to make up, see `dynamic`. */
  address?: string | undefined;
  /** What is kept through a failure of the container. Default: `"none"`. */
  durable?: TerminusDurability | undefined;
  /** When its time begins to run. Default: `"session-end"`. */
  expiryPolicy?: TerminusExpiryPolicy | undefined;
  /** How long it is kept after that, in seconds. Default: 0. */
  timeout?: number | undefined;
  /** Whether the other side is to make up a node, and names it in its answer. Default: false. */
  dynamic?: boolean | undefined;
  /** What the node that is made up is to be like, such as `lifetime-policy`. */
  dynamicNodeProperties?: Fields | undefined;
  /** What the node can do or is to be, such as `queue` or `topic`. */
  capabilities?: string[] | undefined;
}

/** A dynamic node goes with the link that made it [messaging 3.5.10]. */
export interface DeleteOnClose {
  /** Tells it from others. */
  kind: "deleteOnClose";
}

/** A dynamic node goes when no link uses it [messaging 3.5.11]. */
export interface DeleteOnNoLinks {
  /** Tells it from others. */
  kind: "deleteOnNoLinks";
}

/** A dynamic node goes when the link that made it is gone and it is empty [messaging 3.5.12]. */
export interface DeleteOnNoMessages {
  /** Tells it from others. */
  kind: "deleteOnNoMessages";
}

/** A dynamic node goes when no link uses it and it is empty [messaging 3.5.13]. */
export interface DeleteOnNoLinksOrMessages {
  /** Tells it from others. */
  kind: "deleteOnNoLinksOrMessages";
}

/** The target of a link that controls transactions [transactions 4.5.1]. */
export interface Coordinator {
  /** Tells it from others. */
  kind: "coordinator";
  /** What its transactions can do, such as `amqp:local-transactions`. */
  capabilities?: string[] | undefined;
}

/** Asks for a new transaction [transactions 4.5.2]. */
export interface Declare {
  /** Tells it from others. */
  kind: "declare";
  /** The distributed transaction that it is part of; the specification defines none. */
  globalId?: Value | undefined;
}

/** Ends a transaction [transactions 4.5.3]. */
export interface Discharge {
  /** Tells it from others. */
  kind: "discharge";
  /** The transaction, as its coordinator named it. */
  txnId: Uint8Array;
  /** Whether it is rolled back and not committed. Absent means false. */
  fail?: boolean | undefined;
}

/** The outcome that names a new transaction [transactions 4.5.5]. */
export interface Declared {
  /** Tells it from others. */
  kind: "declared";
  /** The transaction, as its coordinator named it. */
  txnId: Uint8Array;
}

/** A delivery state that takes part in a transaction [transactions 4.5.8]. */
export interface TransactionalState {
  /** Tells it from others. */
  kind: "transactionalState";
  /** The transaction, as its coordinator named it. */
  txnId: Uint8Array;
  /** What becomes of the delivery when the transaction is committed. */
  outcome?: Outcome | undefined;
}

/** How a message is to be delivered [messaging 3.2.1]. */
export interface Header {
  /** Whether it must survive a failure of those who keep it. Default: false. */
  durable?: boolean | undefined;
  /** 0 to 255, the higher the sooner. Default: 4. */
  priority?: number | undefined;
  /** How long it is worth something, in milliseconds from its arrival at the node; absent for as long as it takes. */
  ttl?: number | undefined;
  /** Whether nobody else has had it before. Default: false. */
  firstAcquirer?: boolean | undefined;
  /** How often it was delivered before without success. Default: 0. */
  deliveryCount?: number | undefined;
}

/** The standard properties of a message [messaging 3.2.4]. */
export interface Properties {
  /** What tells the message from all others, made up by who sent it first. */
  messageId?: MessageId | undefined;
  /** Who made the message, as the name that it authenticated with, in bytes. */
  userId?: Uint8Array | undefined;
  /** The node that the message is for in the end. */
  to?: string | undefined;
  /** What it is about, such as a routing key. */
  subject?: string | undefined;
  /** The node that answers are to go to. */
  replyTo?: string | undefined;
  /** What it belongs to: in an answer, mostly the request's `messageId`. */
  correlationId?: MessageId | undefined;
  /** The media type of a body of data, such as `application/json`. */
  contentType?: string | undefined;
  /** How a body of data is encoded besides, such as `gzip`; nothing decodes it by itself. */
  contentEncoding?: string | undefined;
  /** When it is not worth anything any more. */
  absoluteExpiryTime?: Date | Typed<"timestamp"> | undefined;
  /** When it was made. */
  creationTime?: Date | Typed<"timestamp"> | undefined;
  /** The group that it belongs to, such as a session of Azure Service Bus. */
  groupId?: string | undefined;
  /** Its place in the group, a serial number of 32 bits. */
  groupSequence?: number | undefined;
  /** The group that answers are to belong to. */
  replyToGroupId?: string | undefined;
}

/** What became of a delivery in the end. */
export type Outcome = Accepted | Rejected | Released | Modified | Declared;
/** What became of a delivery, so far or in the end. */
export type DeliveryState = Received | Accepted | Rejected | Released | Modified | Declared | TransactionalState;
/** When a dynamic node goes away. */
export type LifetimePolicy = DeleteOnClose | DeleteOnNoLinks | DeleteOnNoMessages | DeleteOnNoLinksOrMessages;
/** An end of a link. */
export type Terminus = Source | Target | Coordinator;
