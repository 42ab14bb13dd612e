/**
 * What each composite of the specification and each of its fields means, in one line with its unit: the part of their types
 * that the table of definitions does not tell. A composite begins with where the specification has it.
 *
 * @module
 */

/** What is said of one composite, and of its fields by name. */
export interface CompositeDoc {
  /** The name of its type, where it is not its key. */
  readonly name?: string;
  /** What it is. */
  readonly is: string;
  /** What each field is. */
  readonly fields: Readonly<Record<string, string>>;
}

const offered = "Extensions that the writer supports.";
const desired = "Extensions that the writer may use if the other side supports them.";
const windows = {
  incomingWindow: "Transfer frames that the writer takes now, a number of frames.",
  outgoingWindow: "Transfer frames that the writer may still send, a number of frames.",
};
const terminus = {
  address: "The node; absent for one that the other side is to make up, see `dynamic`.",
  durable: 'What is kept through a failure of the container. Default: `"none"`.',
  expiryPolicy: 'When its time begins to run. Default: `"session-end"`.',
  timeout: "How long it is kept after that, in seconds. Default: 0.",
  dynamic: "Whether the other side is to make up a node, and names it in its answer. Default: false.",
  dynamicNodeProperties: "What the node that is made up is to be like, such as `lifetime-policy`.",
};
const batchable = "Whether the other side may wait with its answer, to answer many at once. Default: false.";
const txnId = "The transaction, as its coordinator named it.";

/** By the key of the table. */
export const docs: Readonly<Record<string, CompositeDoc>> = {
  open: {
    is: "Begins a connection [transport 2.7.1].",
    fields: {
      containerId: "The name of the container that writes it.",
      hostname: "The host that the client wants, such as a virtual host.",
      maxFrameSize: "Largest frame that the writer takes, in bytes, at least 512. Default: 4,294,967,295.",
      channelMax: "Highest channel that the writer takes, one less than its sessions. Default: 65,535.",
      idleTimeOut: "Milliseconds of silence after which the writer gives the connection up; absent or 0 for never.",
      outgoingLocales: "Languages of the texts that the writer sends, as it prefers them.",
      incomingLocales: "Languages of the texts that the writer wants, as it prefers them.",
      offeredCapabilities: offered,
      desiredCapabilities: desired,
      properties: "What the writer tells of itself, such as `product` and `version`.",
    },
  },
  begin: {
    is: "Begins a session [transport 2.7.2].",
    fields: {
      remoteChannel: "In an answer, the channel of the begin that is answered.",
      nextOutgoingId: "The transfer-id of the writer's next transfer frame, a serial number.",
      ...windows,
      handleMax: "Highest handle that the writer takes, one less than its links. Default: 4,294,967,295.",
      offeredCapabilities: offered,
      desiredCapabilities: desired,
      properties: "What the writer tells of the session.",
    },
  },
  attach: {
    is: "Begins a link, or takes it up again [transport 2.7.3].",
    fields: {
      name: "Tells the link from others of the same direction between the two containers.",
      handle: "The number of the link on its session, as the writer counts.",
      role: "Which end of the link the writer is.",
      sndSettleMode: 'Whether the sender settles what it sends. Default: `"mixed"`.',
      rcvSettleMode: 'Whether the receiver settles first, or second, after the sender. Default: `"first"`.',
      source: "Where the messages come from; absent, there is none and the link is refused.",
      target: "Where the messages go to; absent, there is none and the link is refused.",
      unsettled: "Deliveries that the writer holds without an outcome, from when it was attached before, by tag.",
      incompleteUnsettled: "Whether `unsettled` does not name all of them. Default: false.",
      initialDeliveryCount: "From the sender, the delivery-count from which it starts, a serial number.",
      maxMessageSize: "Largest message that the writer takes, in bytes; absent or 0 for any.",
      offeredCapabilities: offered,
      desiredCapabilities: desired,
      properties: "What the writer tells of the link.",
    },
  },
  flow: {
    is: "Tells windows and credit [transport 2.7.4].",
    fields: {
      nextIncomingId:
        "The transfer-id that the writer expects next, a serial number; absent before the other side's begin.",
      incomingWindow: windows.incomingWindow,
      nextOutgoingId: "The transfer-id of the writer's next transfer frame, a serial number.",
      outgoingWindow: windows.outgoingWindow,
      handle: "The link that it is about, as the writer counts; absent, it is about the session alone.",
      deliveryCount: "The sender's count of deliveries as the writer knows it, a serial number.",
      linkCredit: "Deliveries that the receiver takes from `deliveryCount` on.",
      available: "Messages that the sender has ready.",
      drain: "Whether the sender is to use up its credit at once and hand back the rest. Default: false.",
      echo: "Whether the writer wants a flow in answer. Default: false.",
      properties: "What the writer tells of the link's state, such as `txn-id`.",
    },
  },
  transfer: {
    is: "Carries a message or a part of one [transport 2.7.5].",
    fields: {
      handle: "The link, as the writer counts.",
      deliveryId: "The number of the delivery on its session, a serial number; mandatory in its first frame.",
      deliveryTag: "What the sender calls the delivery, 1 to 32 bytes; mandatory in its first frame.",
      messageFormat: "The format of the payload: 0 for an AMQP message; mandatory in the first frame.",
      settled: "Whether the sender has settled it: it wants no outcome. Absent in a first frame it means false.",
      more: "Whether more frames of the delivery follow. Default: false.",
      rcvSettleMode: "Whether the receiver is to settle this delivery first or second; absent, as the link has it.",
      state: "The state of the delivery at the sender, such as that of a transaction.",
      resume: "Whether it takes up a delivery from before the link was attached. Default: false.",
      aborted: "Whether the sender gives the delivery up; what has come of it is dropped. Default: false.",
      batchable,
    },
  },
  disposition: {
    is: "Tells what became of a range of deliveries [transport 2.7.6].",
    fields: {
      role: "Which end of their links the writer is.",
      first: "The first delivery-id, a serial number.",
      last: "The last delivery-id, a serial number; absent, it is `first`.",
      settled: "Whether the writer has settled them. Default: false.",
      state: "The state of the deliveries at the writer.",
      batchable,
    },
  },
  detach: {
    is: "Suspends or ends a link [transport 2.7.7].",
    fields: {
      handle: "The link, as the writer counts.",
      closed: "Whether the link ends; otherwise it is suspended, and its terminus is kept. Default: false.",
      error: "Why, if it is for an error.",
    },
  },
  end: { is: "Ends a session [transport 2.7.8].", fields: { error: "Why, if it is for an error." } },
  close: { is: "Ends a connection [transport 2.7.9].", fields: { error: "Why, if it is for an error." } },
  error: {
    name: "ErrorFields",
    is: "What went wrong: the wire form of an error [transport 2.8.14].",
    fields: {
      condition: "What kind of error it is, such as `amqp:not-found`.",
      description: "More about it, for people.",
      info: "More about it, for programs.",
    },
  },
  received: {
    is: "How much of a message has arrived [messaging 3.4.1].",
    fields: {
      sectionNumber: "The section up to which it has arrived, counted from 0.",
      sectionOffset: "How much of that section has arrived, in bytes.",
    },
  },
  accepted: { is: "The message was processed [messaging 3.4.2].", fields: {} },
  rejected: {
    is: "The message is invalid and cannot be processed [messaging 3.4.3].",
    fields: { error: "What is wrong with it." },
  },
  released: { is: "The message was not processed and may be delivered again [messaging 3.4.4].", fields: {} },
  modified: {
    is: "The message was not processed and is changed before it is delivered again [messaging 3.4.5].",
    fields: {
      deliveryFailed: "Whether it counts as a failed attempt: the header's `deliveryCount` rises. Absent means false.",
      undeliverableHere: "Whether it is not to be delivered to this link again. Absent means false.",
      messageAnnotations: "What is added to the message annotations; an entry takes the place of one with its key.",
    },
  },
  source: {
    is: "Where a link's messages come from [messaging 3.5.3].",
    fields: {
      ...terminus,
      distributionMode: "Whether messages are taken from the node (`move`) or stay there for others (`copy`).",
      filter: "Which messages come, by the name of the filter; each is a described value or null.",
      defaultOutcome: "The outcome of deliveries that are settled without one.",
      outcomes: "Outcomes that the link takes, by symbol, such as `amqp:accepted:list`; absent, all of them.",
      capabilities: "What the node can do or is to be, such as `queue` or `topic`.",
    },
  },
  target: {
    is: "Where a link's messages go to [messaging 3.5.4].",
    fields: { ...terminus, capabilities: "What the node can do or is to be, such as `queue` or `topic`." },
  },
  deleteOnClose: { is: "A dynamic node goes with the link that made it [messaging 3.5.10].", fields: {} },
  deleteOnNoLinks: { is: "A dynamic node goes when no link uses it [messaging 3.5.11].", fields: {} },
  deleteOnNoMessages: {
    is: "A dynamic node goes when the link that made it is gone and it is empty [messaging 3.5.12].",
    fields: {},
  },
  deleteOnNoLinksOrMessages: {
    is: "A dynamic node goes when no link uses it and it is empty [messaging 3.5.13].",
    fields: {},
  },
  coordinator: {
    is: "The target of a link that controls transactions [transactions 4.5.1].",
    fields: { capabilities: "What its transactions can do, such as `amqp:local-transactions`." },
  },
  declare: {
    is: "Asks for a new transaction [transactions 4.5.2].",
    fields: { globalId: "The distributed transaction that it is part of; the specification defines none." },
  },
  discharge: {
    is: "Ends a transaction [transactions 4.5.3].",
    fields: { txnId, fail: "Whether it is rolled back and not committed. Absent means false." },
  },
  declared: { is: "The outcome that names a new transaction [transactions 4.5.5].", fields: { txnId } },
  transactionalState: {
    is: "A delivery state that takes part in a transaction [transactions 4.5.8].",
    fields: { txnId, outcome: "What becomes of the delivery when the transaction is committed." },
  },
  saslMechanisms: {
    is: "Which SASL mechanisms the server has [security 5.3.3.1].",
    fields: { saslServerMechanisms: "Their names, as the server prefers them." },
  },
  saslInit: {
    is: "Which mechanism the client takes, and its first response [security 5.3.3.2].",
    fields: {
      mechanism: "The name of the mechanism.",
      initialResponse: "What the mechanism says first, if it does.",
      hostname: "The host that the client wants.",
    },
  },
  saslChallenge: {
    is: "What the server wants answered [security 5.3.3.3].",
    fields: { challenge: "What it is depends on the mechanism." },
  },
  saslResponse: {
    is: "The client's answer to a challenge [security 5.3.3.4].",
    fields: { response: "What it is depends on the mechanism; it may hold a secret." },
  },
  saslOutcome: {
    is: "How a SASL exchange ended [security 5.3.3.5].",
    fields: { code: "Whether the client is who it says.", additionalData: "What the mechanism says last, if it does." },
  },
  header: {
    is: "How a message is to be delivered [messaging 3.2.1].",
    fields: {
      durable: "Whether it must survive a failure of those who keep it. Default: false.",
      priority: "0 to 255, the higher the sooner. Default: 4.",
      ttl:
        "How long it is worth something, in milliseconds from its arrival at the node; absent for as long as it takes.",
      firstAcquirer: "Whether nobody else has had it before. Default: false.",
      deliveryCount: "How often it was delivered before without success. Default: 0.",
    },
  },
  properties: {
    is: "The standard properties of a message [messaging 3.2.4].",
    fields: {
      messageId: "What tells the message from all others, made up by who sent it first.",
      userId: "Who made the message, as the name that it authenticated with, in bytes.",
      to: "The node that the message is for in the end.",
      subject: "What it is about, such as a routing key.",
      replyTo: "The node that answers are to go to.",
      correlationId: "What it belongs to: in an answer, mostly the request's `messageId`.",
      contentType: "The media type of a body of data, such as `application/json`.",
      contentEncoding: "How a body of data is encoded besides, such as `gzip`; nothing decodes it by itself.",
      absoluteExpiryTime: "When it is not worth anything any more.",
      creationTime: "When it was made.",
      groupId: "The group that it belongs to, such as a session of Azure Service Bus.",
      groupSequence: "Its place in the group, a serial number of 32 bits.",
      replyToGroupId: "The group that answers are to belong to.",
    },
  },
};

/** What each restricted type with named values means. */
export const enumerationDocs: Readonly<Record<string, string>> = {
  role: "Which end of a link.",
  senderSettleMode: "Whether a sender settles what it sends: nothing of it, all of it, or as it says for each.",
  receiverSettleMode: "Whether a receiver settles at once, or only after the sender did.",
  terminusDurability: "What a terminus keeps through a failure of its container.",
  terminusExpiryPolicy: "What starts the time of a terminus.",
  saslCode: "How a SASL exchange ended: `auth` for wrong credentials, the others for faults of the server.",
};
