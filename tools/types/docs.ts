/**
 * Docstrings of the composites of the specification and of their fields, in one line with unit and default; one of a composite
 * ends with its place in the specification. The table of definitions has all else of the types.
 *
 * @module
 */

/** The docstrings of one composite and its fields. */
export interface CompositeDoc {
  /** The name of its type, where it is not its key. */
  readonly name?: string;
  /** The docstring of the composite. */
  readonly is: string;
  /** The docstring of each field, by name. */
  readonly fields: Readonly<Record<string, string>>;
}

const offered = "Extensions that the writer supports.";
const desired = "Extensions that the writer may use if the other side supports them.";
const windows = {
  incomingWindow: "Transfer frames that the writer accepts now.",
  outgoingWindow: "Transfer frames that the writer may still send.",
};
const terminus = {
  address: "The address of the node; absent where the other side is to create the node, see `dynamic`.",
  durable: 'State that survives a failure of the container. Default: `"none"`.',
  expiryPolicy: 'The event that starts the timeout. Default: `"session-end"`.',
  timeout: "Seconds for which the terminus is kept after that event. Default: 0.",
  dynamic: "Whether the other side is to create a node, and to name it in its answer. Default: false.",
  dynamicNodeProperties: "Properties of the node that is created, such as `lifetime-policy`.",
};
const batchable = "Whether the other side may delay its answer, to answer many at once. Default: false.";
const txnId = "The id that the coordinator gave the transaction.";

/** By the key of the table. */
export const docs: Readonly<Record<string, CompositeDoc>> = {
  open: {
    is: "Begins a connection [transport 2.7.1].",
    fields: {
      containerId: "The name of the writer's container.",
      hostname: "The host that the client asks for, such as a virtual host.",
      maxFrameSize: "Largest frame that the writer accepts, in bytes, at least 512. Default: 4,294,967,295.",
      channelMax: "Highest channel that the writer accepts, one less than its sessions. Default: 65,535.",
      idleTimeOut: "Milliseconds of silence after which the writer may close the connection; absent or 0 for never.",
      outgoingLocales: "Languages of the texts that the writer sends, in order of preference.",
      incomingLocales: "Languages of the texts that the writer asks for, in order of preference.",
      offeredCapabilities: offered,
      desiredCapabilities: desired,
      properties: "Properties of the connection and the writer, such as `product` and `version`.",
    },
  },
  begin: {
    is: "Begins a session [transport 2.7.2].",
    fields: {
      remoteChannel: "In an answer, the channel of the begin that is answered.",
      nextOutgoingId: "The transfer-id of the writer's next transfer frame, a serial number.",
      ...windows,
      handleMax: "Highest handle that the writer accepts, one less than its links. Default: 4,294,967,295.",
      offeredCapabilities: offered,
      desiredCapabilities: desired,
      properties: "Properties of the session.",
    },
  },
  attach: {
    is: "Begins a link, or resumes it [transport 2.7.3].",
    fields: {
      name: "The name of the link, unique in its direction between the two containers.",
      handle: "The writer's number for the link on its session.",
      role: "The writer's end of the link.",
      sndSettleMode: 'Whether the sender sends deliveries settled. Default: `"mixed"`.',
      rcvSettleMode: 'Whether the receiver settles first, or second, after the sender. Default: `"first"`.',
      source: "The source of the messages; absent if there is none, as in an answer that refuses the link.",
      target: "The target of the messages; absent if there is none, as in an answer that refuses the link.",
      unsettled: "Unsettled deliveries of an earlier attachment that the writer holds, by tag.",
      incompleteUnsettled: "Whether `unsettled` leaves some of them out. Default: false.",
      initialDeliveryCount: "The sender's first delivery-count, a serial number; mandatory from the sender.",
      maxMessageSize: "Largest message that the writer accepts, in bytes; absent or 0 for no limit.",
      offeredCapabilities: offered,
      desiredCapabilities: desired,
      properties: "Properties of the link.",
    },
  },
  flow: {
    is: "Announces windows and credit [transport 2.7.4].",
    fields: {
      nextIncomingId:
        "The transfer-id that the writer expects next, a serial number; absent before the other side's begin.",
      incomingWindow: windows.incomingWindow,
      nextOutgoingId: "The transfer-id of the writer's next transfer frame, a serial number.",
      outgoingWindow: windows.outgoingWindow,
      handle: "The writer's handle of the link; absent in a flow of the session alone.",
      deliveryCount: "The sender's delivery-count as the writer knows it, a serial number.",
      linkCredit: "Deliveries that the receiver accepts from `deliveryCount` on.",
      available: "Deliveries that the sender has ready.",
      drain: "Whether the sender is to use up its credit at once and hand back the rest. Default: false.",
      echo: "Whether the writer asks for a flow in answer. Default: false.",
      properties: "Properties of the link's state, such as `txn-id`.",
    },
  },
  transfer: {
    is: "Carries a message or a part of one [transport 2.7.5].",
    fields: {
      handle: "The writer's handle of the link.",
      deliveryId: "The number of the delivery on its session, a serial number; mandatory in the first frame.",
      deliveryTag: "The sender's tag of the delivery, 1 to 32 bytes; mandatory in the first frame.",
      messageFormat: "The format of the payload: 0 for an AMQP message; mandatory in the first frame.",
      settled: "Whether the delivery is settled and needs no outcome. Absent in the first frame means false.",
      more: "Whether more frames of the delivery follow. Default: false.",
      rcvSettleMode: "Whether the receiver settles this delivery first or second. Default: the mode of the link.",
      state: "The state of the delivery at the sender, such as that of a transaction.",
      resume: "Whether the transfer resumes a delivery of an earlier attachment. Default: false.",
      aborted: "Whether the sender aborts the delivery; parts that have arrived are dropped. Default: false.",
      batchable,
    },
  },
  disposition: {
    is: "Reports the state of a range of deliveries [transport 2.7.6].",
    fields: {
      role: "The writer's end of the links.",
      first: "The first delivery-id, a serial number.",
      last: "The last delivery-id, a serial number. Default: `first`.",
      settled: "Whether the writer has settled the deliveries. Default: false.",
      state: "The state of the deliveries at the writer.",
      batchable,
    },
  },
  detach: {
    is: "Suspends or ends a link [transport 2.7.7].",
    fields: {
      handle: "The writer's handle of the link.",
      closed: "Whether the link ends; otherwise it is suspended, and its terminus is kept. Default: false.",
      error: "The error that is the reason, if any.",
    },
  },
  end: { is: "Ends a session [transport 2.7.8].", fields: { error: "The error that is the reason, if any." } },
  close: { is: "Ends a connection [transport 2.7.9].", fields: { error: "The error that is the reason, if any." } },
  error: {
    name: "ErrorFields",
    is: "The wire form of an error [transport 2.8.14].",
    fields: {
      condition: "The symbol of the error, such as `amqp:not-found`.",
      description: "Details of the error for people.",
      info: "Details of the error for programs.",
    },
  },
  received: {
    is: "The part of a message that has arrived [messaging 3.4.1].",
    fields: {
      sectionNumber: "The section up to which the message has arrived, counted from 0.",
      sectionOffset: "Bytes of that section that have arrived.",
    },
  },
  accepted: { is: "The message was processed [messaging 3.4.2].", fields: {} },
  rejected: {
    is: "The message is invalid and cannot be processed [messaging 3.4.3].",
    fields: { error: "The reason of the rejection." },
  },
  released: { is: "The message was not processed and may be delivered again [messaging 3.4.4].", fields: {} },
  modified: {
    is: "The message was not processed and is changed before it is delivered again [messaging 3.4.5].",
    fields: {
      deliveryFailed: "Whether this is a failed attempt, and raises the header's `deliveryCount`. Absent means false.",
      undeliverableHere: "Whether the message must not be delivered to this link again. Absent means false.",
      messageAnnotations: "Entries for the message annotations; each replaces one with the same key.",
    },
  },
  source: {
    is: "The source of a link's messages [messaging 3.5.3].",
    fields: {
      ...terminus,
      distributionMode: "Whether messages are taken from the node (`move`) or stay there for others (`copy`).",
      filter: "Filters of the messages, by name; each is a described value or null.",
      defaultOutcome: "The outcome of deliveries that are settled without one.",
      outcomes: "Outcomes that the link supports, by symbol, such as `amqp:accepted:list`. Default: all.",
      capabilities: "Capabilities of the node, such as `queue` or `topic`.",
    },
  },
  target: {
    is: "The target of a link's messages [messaging 3.5.4].",
    fields: { ...terminus, capabilities: "Capabilities of the node, such as `queue` or `topic`." },
  },
  deleteOnClose: { is: "A dynamic node is deleted with the link that created it [messaging 3.5.10].", fields: {} },
  deleteOnNoLinks: { is: "A dynamic node is deleted when no link uses it [messaging 3.5.11].", fields: {} },
  deleteOnNoMessages: {
    is: "A dynamic node is deleted when the link that created it has ended and it is empty [messaging 3.5.12].",
    fields: {},
  },
  deleteOnNoLinksOrMessages: {
    is: "A dynamic node is deleted when no link uses it and it is empty [messaging 3.5.13].",
    fields: {},
  },
  coordinator: {
    is: "The target of a link that controls transactions [transactions 4.5.1].",
    fields: { capabilities: "Capabilities of its transactions, such as `amqp:local-transactions`." },
  },
  declare: {
    is: "Asks for a new transaction [transactions 4.5.2].",
    fields: { globalId: "The id of the distributed transaction that it is part of; the specification defines none." },
  },
  discharge: {
    is: "Ends a transaction [transactions 4.5.3].",
    fields: { txnId, fail: "Whether the transaction is rolled back and not committed. Absent means false." },
  },
  declared: { is: "The outcome that names a new transaction [transactions 4.5.5].", fields: { txnId } },
  transactionalState: {
    is: "A delivery state that takes part in a transaction [transactions 4.5.6].",
    fields: { txnId, outcome: "The outcome of the delivery once the transaction is committed." },
  },
  saslMechanisms: {
    is: "The SASL mechanisms of the server [security 5.3.3.1].",
    fields: { saslServerMechanisms: "The names of the mechanisms, in order of the server's preference." },
  },
  saslInit: {
    is: "The client's choice of a mechanism, and its first response [security 5.3.3.2].",
    fields: {
      mechanism: "The name of the mechanism.",
      initialResponse: "The first response of the mechanism; absent if it has none.",
      hostname: "The host that the client asks for.",
    },
  },
  saslChallenge: {
    is: "The server's challenge [security 5.3.3.3].",
    fields: { challenge: "The bytes of the challenge, by the mechanism." },
  },
  saslResponse: {
    is: "The client's answer to a challenge [security 5.3.3.4].",
    fields: { response: "The bytes of the response, by the mechanism; they may hold a secret." },
  },
  saslOutcome: {
    is: "The outcome of a SASL exchange [security 5.3.3.5].",
    fields: {
      code: "The result of the exchange.",
      additionalData: "The last data of the mechanism; absent if it has none.",
    },
  },
  header: {
    is: "The delivery header of a message [messaging 3.2.1].",
    fields: {
      durable: "Whether the message must survive a failure of the nodes that keep it. Default: false.",
      priority: "The priority, 0 to 255; higher ones go first. Default: 4.",
      ttl: "Time to live in milliseconds, from the arrival at a node; 0 is no time. Default: no limit.",
      firstAcquirer: "Whether no other link has acquired the message before. Default: false.",
      deliveryCount: "Earlier delivery attempts that failed. Default: 0.",
    },
  },
  properties: {
    is: "The standard properties of a message [messaging 3.2.4].",
    fields: {
      messageId: "The unique id of the message, set by its first sender.",
      userId: "The user that created the message, by the name that it authenticated with, in bytes.",
      to: "The address of the node that the message is destined for.",
      subject: "The subject, such as a routing key.",
      replyTo: "The address of the node for answers.",
      correlationId: "The id of a related message: in an answer, mostly the request's `messageId`.",
      contentType: "The media type of a body of data, such as `application/json`.",
      contentEncoding: "A further encoding of a body of data, such as `gzip`; this module does not decode it.",
      absoluteExpiryTime: "The time at which the message expires.",
      creationTime: "The time at which the message was created.",
      groupId: "The group of the message, such as a session of Azure Service Bus.",
      groupSequence: "The position in the group, a serial number of 32 bits.",
      replyToGroupId: "The group for answers.",
    },
  },
};

/** The docstring of each restricted type with named values. */
export const enumerationDocs: Readonly<Record<string, string>> = {
  role: "An end of a link.",
  senderSettleMode: "Whether a sender sends deliveries settled: none, all, or as each one says.",
  receiverSettleMode: "Whether a receiver settles first, or second, after the sender.",
  terminusDurability: "State of a terminus that survives a failure of its container.",
  terminusExpiryPolicy: "The event that starts the timeout of a terminus.",
  saslCode: "The result of a SASL exchange: `auth` for wrong credentials, `sys…` for faults of the server.",
};
