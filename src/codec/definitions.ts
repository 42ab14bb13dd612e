/**
 * The definitions of AMQP 1.0: composites, sections and enumerations. Types, encoding, decoding and printing are derived from
 * them.
 *
 * @module
 */

/**
 * Every composite type of the specification: key, numeric descriptor, the archetypes that it provides, and its fields in wire
 * order [transport 2.7, messaging 3, transactions 4, security 5]. The symbolic descriptor follows from the key: that of
 * `saslInit` is `amqp:sasl-init:list`.
 *
 * A field reads `type`, then `[]` where several values are allowed, `!` where it is mandatory, `=x` for its default. A type is
 * a primitive, a key of {@linkcode enumerations}, `fields` (a map keyed by symbols), `error`, or `*x`: any type that provides
 * the archetype `x`. Restricted types that only rename a primitive are written as that primitive.
 */
export const definitions = {
  open: {
    code: 0x10,
    provides: ["frame"],
    fields: {
      containerId: "string!",
      hostname: "string",
      maxFrameSize: "uint=4294967295",
      channelMax: "ushort=65535",
      idleTimeOut: "uint",
      outgoingLocales: "symbol[]",
      incomingLocales: "symbol[]",
      offeredCapabilities: "symbol[]",
      desiredCapabilities: "symbol[]",
      properties: "fields",
    },
  },
  begin: {
    code: 0x11,
    provides: ["frame"],
    fields: {
      remoteChannel: "ushort",
      nextOutgoingId: "uint!",
      incomingWindow: "uint!",
      outgoingWindow: "uint!",
      handleMax: "uint=4294967295",
      offeredCapabilities: "symbol[]",
      desiredCapabilities: "symbol[]",
      properties: "fields",
    },
  },
  attach: {
    code: 0x12,
    provides: ["frame"],
    fields: {
      name: "string!",
      handle: "uint!",
      role: "role!",
      sndSettleMode: "senderSettleMode=mixed",
      rcvSettleMode: "receiverSettleMode=first",
      source: "*source",
      target: "*target",
      unsettled: "map",
      incompleteUnsettled: "boolean=false",
      initialDeliveryCount: "uint",
      maxMessageSize: "ulong",
      offeredCapabilities: "symbol[]",
      desiredCapabilities: "symbol[]",
      properties: "fields",
    },
  },
  flow: {
    code: 0x13,
    provides: ["frame"],
    fields: {
      nextIncomingId: "uint",
      incomingWindow: "uint!",
      nextOutgoingId: "uint!",
      outgoingWindow: "uint!",
      handle: "uint",
      deliveryCount: "uint",
      linkCredit: "uint",
      available: "uint",
      drain: "boolean=false",
      echo: "boolean=false",
      properties: "fields",
    },
  },
  transfer: {
    code: 0x14,
    provides: ["frame"],
    fields: {
      handle: "uint!",
      deliveryId: "uint",
      deliveryTag: "binary",
      messageFormat: "uint",
      settled: "boolean",
      more: "boolean=false",
      rcvSettleMode: "receiverSettleMode",
      state: "*deliveryState",
      resume: "boolean=false",
      aborted: "boolean=false",
      batchable: "boolean=false",
    },
  },
  disposition: {
    code: 0x15,
    provides: ["frame"],
    fields: {
      role: "role!",
      first: "uint!",
      last: "uint",
      settled: "boolean=false",
      state: "*deliveryState",
      batchable: "boolean=false",
    },
  },
  detach: {
    code: 0x16,
    provides: ["frame"],
    fields: { handle: "uint!", closed: "boolean=false", error: "error" },
  },
  end: { code: 0x17, provides: ["frame"], fields: { error: "error" } },
  close: { code: 0x18, provides: ["frame"], fields: { error: "error" } },
  error: {
    code: 0x1d,
    provides: [],
    fields: { condition: "symbol!", description: "string", info: "fields" },
  },
  received: {
    code: 0x23,
    provides: ["deliveryState"],
    fields: { sectionNumber: "uint!", sectionOffset: "ulong!" },
  },
  accepted: { code: 0x24, provides: ["deliveryState", "outcome"], fields: {} },
  rejected: {
    code: 0x25,
    provides: ["deliveryState", "outcome"],
    fields: { error: "error" },
  },
  released: { code: 0x26, provides: ["deliveryState", "outcome"], fields: {} },
  modified: {
    code: 0x27,
    provides: ["deliveryState", "outcome"],
    fields: { deliveryFailed: "boolean", undeliverableHere: "boolean", messageAnnotations: "fields" },
  },
  source: {
    code: 0x28,
    provides: ["source"],
    fields: {
      address: "*address",
      durable: "terminusDurability=none",
      expiryPolicy: "terminusExpiryPolicy=session-end",
      timeout: "uint=0",
      dynamic: "boolean=false",
      dynamicNodeProperties: "fields",
      distributionMode: "symbol",
      filter: "fields",
      defaultOutcome: "*outcome",
      outcomes: "symbol[]",
      capabilities: "symbol[]",
    },
  },
  target: {
    code: 0x29,
    provides: ["target"],
    fields: {
      address: "*address",
      durable: "terminusDurability=none",
      expiryPolicy: "terminusExpiryPolicy=session-end",
      timeout: "uint=0",
      dynamic: "boolean=false",
      dynamicNodeProperties: "fields",
      capabilities: "symbol[]",
    },
  },
  deleteOnClose: { code: 0x2b, provides: ["lifetimePolicy"], fields: {} },
  deleteOnNoLinks: { code: 0x2c, provides: ["lifetimePolicy"], fields: {} },
  deleteOnNoMessages: {
    code: 0x2d,
    provides: ["lifetimePolicy"],
    fields: {},
  },
  deleteOnNoLinksOrMessages: {
    code: 0x2e,
    provides: ["lifetimePolicy"],
    fields: {},
  },
  coordinator: {
    code: 0x30,
    provides: ["target"],
    fields: { capabilities: "symbol[]" },
  },
  declare: { code: 0x31, provides: [], fields: { globalId: "*globalTxId" } },
  discharge: { code: 0x32, provides: [], fields: { txnId: "*txnId!", fail: "boolean" } },
  declared: {
    code: 0x33,
    provides: ["deliveryState", "outcome"],
    fields: { txnId: "*txnId!" },
  },
  transactionalState: {
    code: 0x34,
    provides: ["deliveryState"],
    fields: { txnId: "*txnId!", outcome: "*outcome" },
  },
  saslMechanisms: {
    code: 0x40,
    provides: ["saslFrame"],
    fields: { saslServerMechanisms: "symbol[]!" },
  },
  saslInit: {
    code: 0x41,
    provides: ["saslFrame"],
    fields: { mechanism: "symbol!", initialResponse: "binary", hostname: "string" },
  },
  saslChallenge: {
    code: 0x42,
    provides: ["saslFrame"],
    fields: { challenge: "binary!" },
  },
  saslResponse: {
    code: 0x43,
    provides: ["saslFrame"],
    fields: { response: "binary!" },
  },
  saslOutcome: {
    code: 0x44,
    provides: ["saslFrame"],
    fields: { code: "saslCode!", additionalData: "binary" },
  },
  header: {
    code: 0x70,
    provides: ["section"],
    fields: {
      durable: "boolean=false",
      priority: "ubyte=4",
      ttl: "uint",
      firstAcquirer: "boolean=false",
      deliveryCount: "uint=0",
    },
  },
  properties: {
    code: 0x73,
    provides: ["section"],
    fields: {
      messageId: "*messageId",
      userId: "binary",
      to: "*address",
      subject: "string",
      replyTo: "*address",
      correlationId: "*messageId",
      contentType: "symbol",
      contentEncoding: "symbol",
      absoluteExpiryTime: "timestamp",
      creationTime: "timestamp",
      groupId: "string",
      groupSequence: "uint",
      replyToGroupId: "string",
    },
  },
} as const;

/** The message sections that are not composites: a descriptor over one primitive value [messaging 3.2]. */
export const sections = {
  deliveryAnnotations: { code: 0x71, name: "amqp:delivery-annotations:map" },
  messageAnnotations: { code: 0x72, name: "amqp:message-annotations:map" },
  applicationProperties: { code: 0x74, name: "amqp:application-properties:map" },
  data: { code: 0x75, name: "amqp:data:binary" },
  sequence: { code: 0x76, name: "amqp:amqp-sequence:list" },
  value: { code: 0x77, name: "amqp:amqp-value:*" },
  footer: { code: 0x78, name: "amqp:footer:map" },
} as const;

/**
 * Restricted types with named values: the wire type, and the names in the order of their wire values.
 *
 * A boolean counts as 0 and 1; a symbol is its own name on the wire [transport 2.8, messaging 3.5, security 5.3.3].
 */
export const enumerations = {
  role: { type: "boolean", values: ["sender", "receiver"] },
  senderSettleMode: { type: "ubyte", values: ["unsettled", "settled", "mixed"] },
  receiverSettleMode: { type: "ubyte", values: ["first", "second"] },
  terminusDurability: { type: "uint", values: ["none", "configuration", "unsettled-state"] },
  terminusExpiryPolicy: { type: "symbol", values: ["link-detach", "session-end", "connection-close", "never"] },
  saslCode: { type: "ubyte", values: ["ok", "auth", "sys", "sys-perm", "sys-temp"] },
} as const;
