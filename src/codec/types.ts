/**
 * Everything that has a type in AMQP; here the frame bodies. Written by tools/types/build.ts, out of the table of definitions.
 *
 * @module
 */

import type {
  Accepted,
  Coordinator,
  Declare,
  Declared,
  DeleteOnClose,
  DeleteOnNoLinks,
  DeleteOnNoLinksOrMessages,
  DeleteOnNoMessages,
  DeliveryState,
  Discharge,
  ErrorFields,
  Header,
  Modified,
  Properties,
  Received,
  ReceiverSettleMode,
  Rejected,
  Released,
  Role,
  SaslCode,
  SenderSettleMode,
  Source,
  Target,
  TransactionalState,
  Unsettled,
} from "./message_types.ts";
import type { Fields } from "./values.ts";

export * from "./wrappers.ts";
export * from "./values.ts";
export * from "./message_types.ts";

/** Begins a connection [transport 2.7.1]. */
export interface Open {
  /** Tells it from others. */
  kind: "open";
  /** The name of the container that writes it. */
  containerId: string;
  /** The host that the client wants, such as a virtual host. */
  hostname?: string | undefined;
  /** Largest frame that the writer takes, in bytes, at least 512. Default: 4,294,967,295. */
  maxFrameSize?: number | undefined;
  /** Highest channel that the writer takes, one less than its sessions. Default: 65,535. */
  channelMax?: number | undefined;
  /** Milliseconds of silence after which the writer gives the connection up; absent or 0 for never. */
  idleTimeOut?: number | undefined;
  /** Languages of the texts that the writer sends, as it prefers them. */
  outgoingLocales?: string[] | undefined;
  /** Languages of the texts that the writer wants, as it prefers them. */
  incomingLocales?: string[] | undefined;
  /** Extensions that the writer supports. */
  offeredCapabilities?: string[] | undefined;
  /** Extensions that the writer may use if the other side supports them. */
  desiredCapabilities?: string[] | undefined;
  /** What the writer tells of itself, such as `product` and `version`. */
  properties?: Fields | undefined;
}

/** Begins a session [transport 2.7.2]. */
export interface Begin {
  /** Tells it from others. */
  kind: "begin";
  /** In an answer, the channel of the begin that is answered. */
  remoteChannel?: number | undefined;
  /** The transfer-id of the writer's next transfer frame, a serial number. */
  nextOutgoingId: number;
  /** Transfer frames that the writer takes now, a number of frames. */
  incomingWindow: number;
  /** Transfer frames that the writer may still send, a number of frames. */
  outgoingWindow: number;
  /** Highest handle that the writer takes, one less than its links. Default: 4,294,967,295. */
  handleMax?: number | undefined;
  /** Extensions that the writer supports. */
  offeredCapabilities?: string[] | undefined;
  /** Extensions that the writer may use if the other side supports them. */
  desiredCapabilities?: string[] | undefined;
  /** What the writer tells of the session. */
  properties?: Fields | undefined;
}

/** Begins a link, or takes it up again [transport 2.7.3]. */
export interface Attach {
  /** Tells it from others. */
  kind: "attach";
  /** Tells the link from others of the same direction between the two containers. */
  name: string;
  /** The number of the link on its session, as the writer counts. */
  handle: number;
  /** Which end of the link the writer is. */
  role: Role;
  /** Whether the sender settles what it sends. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode | undefined;
  /** Whether the receiver settles first, or second, after the sender. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode | undefined;
  /** Where the messages come from; absent, there is none and the link is refused. */
  source?: Source | undefined;
  /** Where the messages go to; absent, there is none and the link is refused. */
  target?: Target | Coordinator | undefined;
  /** Deliveries that the writer holds without an outcome, from when it was attached before, by tag. */
  unsettled?: Unsettled | undefined;
  /** Whether `unsettled` does not name all of them. Default: false. */
  incompleteUnsettled?: boolean | undefined;
  /** From the sender, the delivery-count from which it starts, a serial number. */
  initialDeliveryCount?: number | undefined;
  /** Largest message that the writer takes, in bytes; absent or 0 for any. */
  maxMessageSize?: bigint | undefined;
  /** Extensions that the writer supports. */
  offeredCapabilities?: string[] | undefined;
  /** Extensions that the writer may use if the other side supports them. */
  desiredCapabilities?: string[] | undefined;
  /** What the writer tells of the link. */
  properties?: Fields | undefined;
}

/** Tells windows and credit [transport 2.7.4]. */
export interface Flow {
  /** Tells it from others. */
  kind: "flow";
  /** The transfer-id that the writer expects next, a serial number; absent before the other side's begin. */
  nextIncomingId?: number | undefined;
  /** Transfer frames that the writer takes now, a number of frames. */
  incomingWindow: number;
  /** The transfer-id of the writer's next transfer frame, a serial number. */
  nextOutgoingId: number;
  /** Transfer frames that the writer may still send, a number of frames. */
  outgoingWindow: number;
  /** The link that it is about, as the writer counts; absent, it is about the session alone. */
  handle?: number | undefined;
  /** The sender's count of deliveries as the writer knows it, a serial number. */
  deliveryCount?: number | undefined;
  /** Deliveries that the receiver takes from `deliveryCount` on. */
  linkCredit?: number | undefined;
  /** Messages that the sender has ready. */
  available?: number | undefined;
  /** Whether the sender is to use up its credit at once and hand back the rest. Default: false. */
  drain?: boolean | undefined;
  /** Whether the writer wants a flow in answer. Default: false. */
  echo?: boolean | undefined;
  /** What the writer tells of the link's state, such as `txn-id`. */
  properties?: Fields | undefined;
}

/** Carries a message or a part of one [transport 2.7.5]. */
export interface Transfer {
  /** Tells it from others. */
  kind: "transfer";
  /** The link, as the writer counts. */
  handle: number;
  /** The number of the delivery on its session, a serial number; mandatory in its first frame. */
  deliveryId?: number | undefined;
  /** What the sender calls the delivery, 1 to 32 bytes; mandatory in its first frame. */
  deliveryTag?: Uint8Array | undefined;
  /** The format of the payload: 0 for an AMQP message; mandatory in the first frame. */
  messageFormat?: number | undefined;
  /** Whether the sender has settled it: it wants no outcome. Absent in a first frame it means false. */
  settled?: boolean | undefined;
  /** Whether more frames of the delivery follow. Default: false. */
  more?: boolean | undefined;
  /** Whether the receiver is to settle this delivery first or second; absent, as the link has it. */
  rcvSettleMode?: ReceiverSettleMode | undefined;
  /** The state of the delivery at the sender, such as that of a transaction. */
  state?: DeliveryState | undefined;
  /** Whether it takes up a delivery from before the link was attached. Default: false. */
  resume?: boolean | undefined;
  /** Whether the sender gives the delivery up; what has come of it is dropped. Default: false. */
  aborted?: boolean | undefined;
  /** Whether the other side may wait with its answer, to answer many at once. Default: false. */
  batchable?: boolean | undefined;
}

/** Tells what became of a range of deliveries [transport 2.7.6]. */
export interface Disposition {
  /** Tells it from others. */
  kind: "disposition";
  /** Which end of their links the writer is. */
  role: Role;
  /** The first delivery-id, a serial number. */
  first: number;
  /** The last delivery-id, a serial number; absent, it is `first`. */
  last?: number | undefined;
  /** Whether the writer has settled them. Default: false. */
  settled?: boolean | undefined;
  /** The state of the deliveries at the writer. */
  state?: DeliveryState | undefined;
  /** Whether the other side may wait with its answer, to answer many at once. Default: false. */
  batchable?: boolean | undefined;
}

/** Suspends or ends a link [transport 2.7.7]. */
export interface Detach {
  /** Tells it from others. */
  kind: "detach";
  /** The link, as the writer counts. */
  handle: number;
  /** Whether the link ends; otherwise it is suspended, and its terminus is kept. Default: false. */
  closed?: boolean | undefined;
  /** Why, if it is for an error. */
  error?: ErrorFields | undefined;
}

/** Ends a session [transport 2.7.8]. */
export interface End {
  /** Tells it from others. */
  kind: "end";
  /** Why, if it is for an error. */
  error?: ErrorFields | undefined;
}

/** Ends a connection [transport 2.7.9]. */
export interface Close {
  /** Tells it from others. */
  kind: "close";
  /** Why, if it is for an error. */
  error?: ErrorFields | undefined;
}

/** Which SASL mechanisms the server has [security 5.3.3.1]. */
export interface SaslMechanisms {
  /** Tells it from others. */
  kind: "saslMechanisms";
  /** Their names, as the server prefers them. */
  saslServerMechanisms: string[];
}

/** Which mechanism the client takes, and its first response [security 5.3.3.2]. */
export interface SaslInit {
  /** Tells it from others. */
  kind: "saslInit";
  /** The name of the mechanism. */
  mechanism: string;
  /** What the mechanism says first, if it does. */
  initialResponse?: Uint8Array | undefined;
  /** The host that the client wants. */
  hostname?: string | undefined;
}

/** What the server wants answered [security 5.3.3.3]. */
export interface SaslChallenge {
  /** Tells it from others. */
  kind: "saslChallenge";
  /** What it is depends on the mechanism. */
  challenge: Uint8Array;
}

/** The client's answer to a challenge [security 5.3.3.4]. */
export interface SaslResponse {
  /** Tells it from others. */
  kind: "saslResponse";
  /** What it is depends on the mechanism; it may hold a secret. */
  response: Uint8Array;
}

/** How a SASL exchange ended [security 5.3.3.5]. */
export interface SaslOutcome {
  /** Tells it from others. */
  kind: "saslOutcome";
  /** Whether the client is who it says. */
  code: SaslCode;
  /** What the mechanism says last, if it does. */
  additionalData?: Uint8Array | undefined;
}

/** The nine frame bodies of AMQP proper. */
export type Performative = Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close;
/** The five frame bodies of the SASL layer. */
export type SaslFrameBody = SaslMechanisms | SaslInit | SaslChallenge | SaslResponse | SaslOutcome;

/** The object type of each composite, by its key in the table. */
export interface Composites {
  /** Begins a connection [transport 2.7.1]. */
  open: Open;
  /** Begins a session [transport 2.7.2]. */
  begin: Begin;
  /** Begins a link, or takes it up again [transport 2.7.3]. */
  attach: Attach;
  /** Tells windows and credit [transport 2.7.4]. */
  flow: Flow;
  /** Carries a message or a part of one [transport 2.7.5]. */
  transfer: Transfer;
  /** Tells what became of a range of deliveries [transport 2.7.6]. */
  disposition: Disposition;
  /** Suspends or ends a link [transport 2.7.7]. */
  detach: Detach;
  /** Ends a session [transport 2.7.8]. */
  end: End;
  /** Ends a connection [transport 2.7.9]. */
  close: Close;
  /** What went wrong: the wire form of an error [transport 2.8.14]. */
  error: ErrorFields;
  /** How much of a message has arrived [messaging 3.4.1]. */
  received: Received;
  /** The message was processed [messaging 3.4.2]. */
  accepted: Accepted;
  /** The message is invalid and cannot be processed [messaging 3.4.3]. */
  rejected: Rejected;
  /** The message was not processed and may be delivered again [messaging 3.4.4]. */
  released: Released;
  /** The message was not processed and is changed before it is delivered again [messaging 3.4.5]. */
  modified: Modified;
  /** Where a link's messages come from [messaging 3.5.3]. */
  source: Source;
  /** Where a link's messages go to [messaging 3.5.4]. */
  target: Target;
  /** A dynamic node goes with the link that made it [messaging 3.5.10]. */
  deleteOnClose: DeleteOnClose;
  /** A dynamic node goes when no link uses it [messaging 3.5.11]. */
  deleteOnNoLinks: DeleteOnNoLinks;
  /** A dynamic node goes when the link that made it is gone and it is empty [messaging 3.5.12]. */
  deleteOnNoMessages: DeleteOnNoMessages;
  /** A dynamic node goes when no link uses it and it is empty [messaging 3.5.13]. */
  deleteOnNoLinksOrMessages: DeleteOnNoLinksOrMessages;
  /** The target of a link that controls transactions [transactions 4.5.1]. */
  coordinator: Coordinator;
  /** Asks for a new transaction [transactions 4.5.2]. */
  declare: Declare;
  /** Ends a transaction [transactions 4.5.3]. */
  discharge: Discharge;
  /** The outcome that names a new transaction [transactions 4.5.5]. */
  declared: Declared;
  /** A delivery state that takes part in a transaction [transactions 4.5.8]. */
  transactionalState: TransactionalState;
  /** Which SASL mechanisms the server has [security 5.3.3.1]. */
  saslMechanisms: SaslMechanisms;
  /** Which mechanism the client takes, and its first response [security 5.3.3.2]. */
  saslInit: SaslInit;
  /** What the server wants answered [security 5.3.3.3]. */
  saslChallenge: SaslChallenge;
  /** The client's answer to a challenge [security 5.3.3.4]. */
  saslResponse: SaslResponse;
  /** How a SASL exchange ended [security 5.3.3.5]. */
  saslOutcome: SaslOutcome;
  /** How a message is to be delivered [messaging 3.2.1]. */
  header: Header;
  /** The standard properties of a message [messaging 3.2.4]. */
  properties: Properties;
}

/** The key of a composite in the table of definitions, such as `"open"`. */
export type Kind = keyof Composites;

/** The object type of a kind. */
export type CompositeOf<K extends Kind> = Composites[K];

/** Any composite that tells its kind. */
export type Composite = Extract<Composites[Kind], { kind: Kind }>;

/** The names of the fields of each composite that have a default. */
export interface DefaultedFields {
  /** Those of {@linkcode Open}. */
  open: "maxFrameSize" | "channelMax";
  /** Those of {@linkcode Begin}. */
  begin: "handleMax";
  /** Those of {@linkcode Attach}. */
  attach: "sndSettleMode" | "rcvSettleMode" | "incompleteUnsettled";
  /** Those of {@linkcode Flow}. */
  flow: "drain" | "echo";
  /** Those of {@linkcode Transfer}. */
  transfer: "more" | "resume" | "aborted" | "batchable";
  /** Those of {@linkcode Disposition}. */
  disposition: "settled" | "batchable";
  /** Those of {@linkcode Detach}. */
  detach: "closed";
  /** Those of {@linkcode End}. */
  end: never;
  /** Those of {@linkcode Close}. */
  close: never;
  /** Those of {@linkcode ErrorFields}. */
  error: never;
  /** Those of {@linkcode Received}. */
  received: never;
  /** Those of {@linkcode Accepted}. */
  accepted: never;
  /** Those of {@linkcode Rejected}. */
  rejected: never;
  /** Those of {@linkcode Released}. */
  released: never;
  /** Those of {@linkcode Modified}. */
  modified: never;
  /** Those of {@linkcode Source}. */
  source: "durable" | "expiryPolicy" | "timeout" | "dynamic";
  /** Those of {@linkcode Target}. */
  target: "durable" | "expiryPolicy" | "timeout" | "dynamic";
  /** Those of {@linkcode DeleteOnClose}. */
  deleteOnClose: never;
  /** Those of {@linkcode DeleteOnNoLinks}. */
  deleteOnNoLinks: never;
  /** Those of {@linkcode DeleteOnNoMessages}. */
  deleteOnNoMessages: never;
  /** Those of {@linkcode DeleteOnNoLinksOrMessages}. */
  deleteOnNoLinksOrMessages: never;
  /** Those of {@linkcode Coordinator}. */
  coordinator: never;
  /** Those of {@linkcode Declare}. */
  declare: never;
  /** Those of {@linkcode Discharge}. */
  discharge: never;
  /** Those of {@linkcode Declared}. */
  declared: never;
  /** Those of {@linkcode TransactionalState}. */
  transactionalState: never;
  /** Those of {@linkcode SaslMechanisms}. */
  saslMechanisms: never;
  /** Those of {@linkcode SaslInit}. */
  saslInit: never;
  /** Those of {@linkcode SaslChallenge}. */
  saslChallenge: never;
  /** Those of {@linkcode SaslResponse}. */
  saslResponse: never;
  /** Those of {@linkcode SaslOutcome}. */
  saslOutcome: never;
  /** Those of {@linkcode Header}. */
  header: "durable" | "priority" | "firstAcquirer" | "deliveryCount";
  /** Those of {@linkcode Properties}. */
  properties: never;
}
