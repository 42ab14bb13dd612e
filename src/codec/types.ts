/**
 * All object types of AMQP; this file has the frame bodies. Written by tools/types/build.ts, from the table of definitions.
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
export type * from "./message_types.ts";

/** Begins a connection [transport 2.7.1]. */
export interface Open {
  /** The kind of the composite. */
  kind: "open";
  /** The name of the writer's container. */
  containerId: string;
  /** The host that the client asks for, such as a virtual host. */
  hostname?: string | undefined;
  /** Largest frame that the writer accepts, in bytes, at least 512. Default: 4,294,967,295. */
  maxFrameSize?: number | undefined;
  /** Highest channel that the writer accepts, one less than its sessions. Default: 65,535. */
  channelMax?: number | undefined;
  /** Milliseconds of silence after which the writer may close the connection; absent or 0 for never. */
  idleTimeOut?: number | undefined;
  /** Languages of the texts that the writer sends, in order of preference. */
  outgoingLocales?: string[] | undefined;
  /** Languages of the texts that the writer asks for, in order of preference. */
  incomingLocales?: string[] | undefined;
  /** Extensions that the writer supports. */
  offeredCapabilities?: string[] | undefined;
  /** Extensions that the writer may use if the other side supports them. */
  desiredCapabilities?: string[] | undefined;
  /** Properties of the connection and the writer, such as `product` and `version`. */
  properties?: Fields | undefined;
}

/** Begins a session [transport 2.7.2]. */
export interface Begin {
  /** The kind of the composite. */
  kind: "begin";
  /** In an answer, the channel of the begin that is answered. */
  remoteChannel?: number | undefined;
  /** The transfer-id of the writer's next transfer frame, a serial number. */
  nextOutgoingId: number;
  /** Transfer frames that the writer accepts now. */
  incomingWindow: number;
  /** Transfer frames that the writer may still send. */
  outgoingWindow: number;
  /** Highest handle that the writer accepts, one less than its links. Default: 4,294,967,295. */
  handleMax?: number | undefined;
  /** Extensions that the writer supports. */
  offeredCapabilities?: string[] | undefined;
  /** Extensions that the writer may use if the other side supports them. */
  desiredCapabilities?: string[] | undefined;
  /** Properties of the session. */
  properties?: Fields | undefined;
}

/** Begins a link, or resumes it [transport 2.7.3]. */
export interface Attach {
  /** The kind of the composite. */
  kind: "attach";
  /** The name of the link, unique in its direction between the two containers. */
  name: string;
  /** The writer's number for the link on its session. */
  handle: number;
  /** The writer's end of the link. */
  role: Role;
  /** Whether the sender sends deliveries settled. Default: `"mixed"`. */
  sndSettleMode?: SenderSettleMode | undefined;
  /** Whether the receiver settles first, or second, after the sender. Default: `"first"`. */
  rcvSettleMode?: ReceiverSettleMode | undefined;
  /** The source of the messages; absent if there is none, as in an answer that refuses the link. */
  source?: Source | undefined;
  /** The target of the messages; absent if there is none, as in an answer that refuses the link. */
  target?: Target | Coordinator | undefined;
  /** Unsettled deliveries of an earlier attachment that the writer holds, by tag. */
  unsettled?: Unsettled | undefined;
  /** Whether `unsettled` leaves some of them out. Default: false. */
  incompleteUnsettled?: boolean | undefined;
  /** The sender's first delivery-count, a serial number; mandatory from the sender. */
  initialDeliveryCount?: number | undefined;
  /** Largest message that the writer accepts, in bytes; absent or 0 for no limit. */
  maxMessageSize?: bigint | undefined;
  /** Extensions that the writer supports. */
  offeredCapabilities?: string[] | undefined;
  /** Extensions that the writer may use if the other side supports them. */
  desiredCapabilities?: string[] | undefined;
  /** Properties of the link. */
  properties?: Fields | undefined;
}

/** Announces windows and credit [transport 2.7.4]. */
export interface Flow {
  /** The kind of the composite. */
  kind: "flow";
  /** The transfer-id that the writer expects next, a serial number; absent before the other side's begin. */
  nextIncomingId?: number | undefined;
  /** Transfer frames that the writer accepts now. */
  incomingWindow: number;
  /** The transfer-id of the writer's next transfer frame, a serial number. */
  nextOutgoingId: number;
  /** Transfer frames that the writer may still send. */
  outgoingWindow: number;
  /** The writer's handle of the link; absent in a flow of the session alone. */
  handle?: number | undefined;
  /** The sender's delivery-count as the writer knows it, a serial number. */
  deliveryCount?: number | undefined;
  /** Deliveries that the receiver accepts from `deliveryCount` on. */
  linkCredit?: number | undefined;
  /** Deliveries that the sender has ready. */
  available?: number | undefined;
  /** Whether the sender is to use up its credit at once and hand back the rest. Default: false. */
  drain?: boolean | undefined;
  /** Whether the writer asks for a flow in answer. Default: false. */
  echo?: boolean | undefined;
  /** Properties of the link's state, such as `txn-id`. */
  properties?: Fields | undefined;
}

/** Carries a message or a part of one [transport 2.7.5]. */
export interface Transfer {
  /** The kind of the composite. */
  kind: "transfer";
  /** The writer's handle of the link. */
  handle: number;
  /** The number of the delivery on its session, a serial number; mandatory in the first frame. */
  deliveryId?: number | undefined;
  /** The sender's tag of the delivery, 1 to 32 bytes; mandatory in the first frame. */
  deliveryTag?: Uint8Array | undefined;
  /** The format of the payload: 0 for an AMQP message; mandatory in the first frame. */
  messageFormat?: number | undefined;
  /** Whether the delivery is settled and needs no outcome. Absent in the first frame means false. */
  settled?: boolean | undefined;
  /** Whether more frames of the delivery follow. Default: false. */
  more?: boolean | undefined;
  /** Whether the receiver settles this delivery first or second. Default: the mode of the link. */
  rcvSettleMode?: ReceiverSettleMode | undefined;
  /** The state of the delivery at the sender, such as that of a transaction. */
  state?: DeliveryState | undefined;
  /** Whether the transfer resumes a delivery of an earlier attachment. Default: false. */
  resume?: boolean | undefined;
  /** Whether the sender aborts the delivery; parts that have arrived are dropped. Default: false. */
  aborted?: boolean | undefined;
  /** Whether the other side may delay its answer, to answer many at once. Default: false. */
  batchable?: boolean | undefined;
}

/** Reports the state of a range of deliveries [transport 2.7.6]. */
export interface Disposition {
  /** The kind of the composite. */
  kind: "disposition";
  /** The writer's end of the links. */
  role: Role;
  /** The first delivery-id, a serial number. */
  first: number;
  /** The last delivery-id, a serial number. Default: `first`. */
  last?: number | undefined;
  /** Whether the writer has settled the deliveries. Default: false. */
  settled?: boolean | undefined;
  /** The state of the deliveries at the writer. */
  state?: DeliveryState | undefined;
  /** Whether the other side may delay its answer, to answer many at once. Default: false. */
  batchable?: boolean | undefined;
}

/** Suspends or ends a link [transport 2.7.7]. */
export interface Detach {
  /** The kind of the composite. */
  kind: "detach";
  /** The writer's handle of the link. */
  handle: number;
  /** Whether the link ends; otherwise it is suspended, and its terminus is kept. Default: false. */
  closed?: boolean | undefined;
  /** The error that is the reason, if any. */
  error?: ErrorFields | undefined;
}

/** Ends a session [transport 2.7.8]. */
export interface End {
  /** The kind of the composite. */
  kind: "end";
  /** The error that is the reason, if any. */
  error?: ErrorFields | undefined;
}

/** Ends a connection [transport 2.7.9]. */
export interface Close {
  /** The kind of the composite. */
  kind: "close";
  /** The error that is the reason, if any. */
  error?: ErrorFields | undefined;
}

/** The SASL mechanisms of the server [security 5.3.3.1]. */
export interface SaslMechanisms {
  /** The kind of the composite. */
  kind: "saslMechanisms";
  /** The names of the mechanisms, in order of the server's preference. */
  saslServerMechanisms: string[];
}

/** The client's choice of a mechanism, and its first response [security 5.3.3.2]. */
export interface SaslInit {
  /** The kind of the composite. */
  kind: "saslInit";
  /** The name of the mechanism. */
  mechanism: string;
  /** The first response of the mechanism; absent if it has none. */
  initialResponse?: Uint8Array | undefined;
  /** The host that the client asks for. */
  hostname?: string | undefined;
}

/** The server's challenge [security 5.3.3.3]. */
export interface SaslChallenge {
  /** The kind of the composite. */
  kind: "saslChallenge";
  /** The bytes of the challenge, by the mechanism. */
  challenge: Uint8Array;
}

/** The client's answer to a challenge [security 5.3.3.4]. */
export interface SaslResponse {
  /** The kind of the composite. */
  kind: "saslResponse";
  /** The bytes of the response, by the mechanism; they may hold a secret. */
  response: Uint8Array;
}

/** The outcome of a SASL exchange [security 5.3.3.5]. */
export interface SaslOutcome {
  /** The kind of the composite. */
  kind: "saslOutcome";
  /** The result of the exchange. */
  code: SaslCode;
  /** The last data of the mechanism; absent if it has none. */
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
  /** Begins a link, or resumes it [transport 2.7.3]. */
  attach: Attach;
  /** Announces windows and credit [transport 2.7.4]. */
  flow: Flow;
  /** Carries a message or a part of one [transport 2.7.5]. */
  transfer: Transfer;
  /** Reports the state of a range of deliveries [transport 2.7.6]. */
  disposition: Disposition;
  /** Suspends or ends a link [transport 2.7.7]. */
  detach: Detach;
  /** Ends a session [transport 2.7.8]. */
  end: End;
  /** Ends a connection [transport 2.7.9]. */
  close: Close;
  /** The wire form of an error [transport 2.8.14]. */
  error: ErrorFields;
  /** The part of a message that has arrived [messaging 3.4.1]. */
  received: Received;
  /** The message was processed [messaging 3.4.2]. */
  accepted: Accepted;
  /** The message is invalid and cannot be processed [messaging 3.4.3]. */
  rejected: Rejected;
  /** The message was not processed and may be delivered again [messaging 3.4.4]. */
  released: Released;
  /** The message was not processed and is changed before it is delivered again [messaging 3.4.5]. */
  modified: Modified;
  /** The source of a link's messages [messaging 3.5.3]. */
  source: Source;
  /** The target of a link's messages [messaging 3.5.4]. */
  target: Target;
  /** A dynamic node is deleted with the link that created it [messaging 3.5.10]. */
  deleteOnClose: DeleteOnClose;
  /** A dynamic node is deleted when no link uses it [messaging 3.5.11]. */
  deleteOnNoLinks: DeleteOnNoLinks;
  /** A dynamic node is deleted when the link that created it has ended and it is empty [messaging 3.5.12]. */
  deleteOnNoMessages: DeleteOnNoMessages;
  /** A dynamic node is deleted when no link uses it and it is empty [messaging 3.5.13]. */
  deleteOnNoLinksOrMessages: DeleteOnNoLinksOrMessages;
  /** The target of a link that controls transactions [transactions 4.5.1]. */
  coordinator: Coordinator;
  /** Asks for a new transaction [transactions 4.5.2]. */
  declare: Declare;
  /** Ends a transaction [transactions 4.5.3]. */
  discharge: Discharge;
  /** The outcome that names a new transaction [transactions 4.5.5]. */
  declared: Declared;
  /** A delivery state that takes part in a transaction [transactions 4.5.6]. */
  transactionalState: TransactionalState;
  /** The SASL mechanisms of the server [security 5.3.3.1]. */
  saslMechanisms: SaslMechanisms;
  /** The client's choice of a mechanism, and its first response [security 5.3.3.2]. */
  saslInit: SaslInit;
  /** The server's challenge [security 5.3.3.3]. */
  saslChallenge: SaslChallenge;
  /** The client's answer to a challenge [security 5.3.3.4]. */
  saslResponse: SaslResponse;
  /** The outcome of a SASL exchange [security 5.3.3.5]. */
  saslOutcome: SaslOutcome;
  /** The delivery header of a message [messaging 3.2.1]. */
  header: Header;
  /** The standard properties of a message [messaging 3.2.4]. */
  properties: Properties;
}

/** The key of a composite in the table of definitions, such as `"open"`. */
export type Kind = keyof Composites;

/** The object type of a kind. */
export type CompositeOf<K extends Kind> = Composites[K];

/** Any composite with a `kind`. */
export type Composite = Extract<Composites[Kind], { kind: Kind }>;

/** The names of the fields of each composite that have a default. */
export interface DefaultedFields {
  /** Fields of {@linkcode Open}. */
  open: "maxFrameSize" | "channelMax";
  /** Fields of {@linkcode Begin}. */
  begin: "handleMax";
  /** Fields of {@linkcode Attach}. */
  attach: "sndSettleMode" | "rcvSettleMode" | "incompleteUnsettled";
  /** Fields of {@linkcode Flow}. */
  flow: "drain" | "echo";
  /** Fields of {@linkcode Transfer}. */
  transfer: "more" | "resume" | "aborted" | "batchable";
  /** Fields of {@linkcode Disposition}. */
  disposition: "settled" | "batchable";
  /** Fields of {@linkcode Detach}. */
  detach: "closed";
  /** Fields of {@linkcode End}. */
  end: never;
  /** Fields of {@linkcode Close}. */
  close: never;
  /** Fields of {@linkcode ErrorFields}. */
  error: never;
  /** Fields of {@linkcode Received}. */
  received: never;
  /** Fields of {@linkcode Accepted}. */
  accepted: never;
  /** Fields of {@linkcode Rejected}. */
  rejected: never;
  /** Fields of {@linkcode Released}. */
  released: never;
  /** Fields of {@linkcode Modified}. */
  modified: never;
  /** Fields of {@linkcode Source}. */
  source: "durable" | "expiryPolicy" | "timeout" | "dynamic";
  /** Fields of {@linkcode Target}. */
  target: "durable" | "expiryPolicy" | "timeout" | "dynamic";
  /** Fields of {@linkcode DeleteOnClose}. */
  deleteOnClose: never;
  /** Fields of {@linkcode DeleteOnNoLinks}. */
  deleteOnNoLinks: never;
  /** Fields of {@linkcode DeleteOnNoMessages}. */
  deleteOnNoMessages: never;
  /** Fields of {@linkcode DeleteOnNoLinksOrMessages}. */
  deleteOnNoLinksOrMessages: never;
  /** Fields of {@linkcode Coordinator}. */
  coordinator: never;
  /** Fields of {@linkcode Declare}. */
  declare: never;
  /** Fields of {@linkcode Discharge}. */
  discharge: never;
  /** Fields of {@linkcode Declared}. */
  declared: never;
  /** Fields of {@linkcode TransactionalState}. */
  transactionalState: never;
  /** Fields of {@linkcode SaslMechanisms}. */
  saslMechanisms: never;
  /** Fields of {@linkcode SaslInit}. */
  saslInit: never;
  /** Fields of {@linkcode SaslChallenge}. */
  saslChallenge: never;
  /** Fields of {@linkcode SaslResponse}. */
  saslResponse: never;
  /** Fields of {@linkcode SaslOutcome}. */
  saslOutcome: never;
  /** Fields of {@linkcode Header}. */
  header: "durable" | "priority" | "firstAcquirer" | "deliveryCount";
  /** Fields of {@linkcode Properties}. */
  properties: never;
}
