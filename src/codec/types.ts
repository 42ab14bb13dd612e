/**
 * The composites of the specification as object types, derived from the table: a field that is added there is
 * typed here.
 *
 * @module
 */

import type { definitions, enumerations } from "./definitions.ts";
import type { Fields, Typed, Value } from "./values.ts";

export * from "./values.ts";

/** The table as a type. */
export type Definitions = typeof definitions;

/** The key of a composite in the table, such as `"open"`. */
export type Kind = keyof Definitions;

/** The names that a restricted type with named values may take. */
export type Enumeration<E extends keyof typeof enumerations> = (typeof enumerations)[E]["values"][number];

/** Which end of a link. */
export type Role = Enumeration<"role">;
/** Whether a sender settles what it sends. */
export type SenderSettleMode = Enumeration<"senderSettleMode">;
/** Whether a receiver settles at once, or only after the sender did. */
export type ReceiverSettleMode = Enumeration<"receiverSettleMode">;
/** What a terminus keeps through a failure of its container. */
export type TerminusDurability = Enumeration<"terminusDurability">;
/** What starts the timer of a terminus. */
export type TerminusExpiryPolicy = Enumeration<"terminusExpiryPolicy">;
/** How a SASL exchange ended. */
export type SaslCode = Enumeration<"saslCode">;

/** What identifies a message: text, a ulong as `bigint`, bytes, or a uuid. */
export type MessageId = string | bigint | Uint8Array | Typed<"uuid">;

/** Unsettled deliveries by their tag, with the state that this end last knew. */
export type Unsettled = Map<Uint8Array, DeliveryState | null>;

/** What each type name of the table is in TypeScript. */
export interface FieldTypes {
  /** True or false. */
  boolean: boolean;
  /** 8 bits, unsigned. */
  ubyte: number;
  /** 16 bits, unsigned. */
  ushort: number;
  /** 32 bits, unsigned. */
  uint: number;
  /** 64 bits, unsigned. */
  ulong: bigint;
  /** Unicode text. */
  string: string;
  /** ASCII text. */
  symbol: string;
  /** Bytes. */
  binary: Uint8Array;
  /** A point in time; wrapped where a `Date` cannot reach. */
  timestamp: Date | Typed<"timestamp">;
  /** A map keyed by symbols. */
  fields: Fields;
  /** The map of unsettled deliveries, the only field that is a plain map. */
  map: Unsettled;
  /** An error. */
  error: ErrorFields;
  /** Which end of a link. */
  role: Role;
  /** Whether a sender settles what it sends. */
  senderSettleMode: SenderSettleMode;
  /** Whether a receiver settles at once, or only after the sender did. */
  receiverSettleMode: ReceiverSettleMode;
  /** What a terminus keeps through a failure of its container. */
  terminusDurability: TerminusDurability;
  /** What starts the timer of a terminus. */
  terminusExpiryPolicy: TerminusExpiryPolicy;
  /** How a SASL exchange ended. */
  saslCode: SaslCode;
  /** Where messages come from. */
  "*source": Source;
  /** Where messages go to, or the coordinator of transactions. */
  "*target": Target | Coordinator;
  /** What became of a delivery so far. */
  "*deliveryState": DeliveryState;
  /** What became of a delivery in the end. */
  "*outcome": Outcome;
  /** What identifies a message. */
  "*messageId": MessageId;
  /** The name of a node; the specification has no other kind of address. */
  "*address": string;
  /** What identifies a transaction. */
  "*txnId": Uint8Array;
  /** What identifies a distributed transaction; the specification defines none. */
  "*globalTxId": Value;
}

/** The type name inside a field of the table, without its marks. */
export type BaseType<Field> = Field extends `${infer Base}!` ? BaseType<Base>
  : Field extends `${infer Base}=${string}` ? Base
  : Field extends `${infer Base}[]` ? Base
  : Field;

/** What a field of the table is in TypeScript. */
export type FieldType<Field, Base = BaseType<Field>> = Base extends keyof FieldTypes
  ? Field extends `${string}[]` | `${string}[]!` ? FieldTypes[Base][] : FieldTypes[Base]
  : never;

/** The names of the fields that are marked so. */
export type MarkedFields<Table, Mark extends string> = {
  [F in keyof Table]: Table[F] extends Mark ? F : never;
}[keyof Table];

/** A kind's fields: mandatory ones required, the others optional. */
export type FieldsOf<K extends Kind, Table = Definitions[K]["fields"]> =
  & { -readonly [F in MarkedFields<Table, `${string}!`>]: FieldType<Table[F]> }
  & { -readonly [F in Exclude<keyof Table, MarkedFields<Table, `${string}!`>>]?: FieldType<Table[F]> | undefined };

/** The kinds that are only found where their kind is known, and so carry no `kind`. */
export type PlainKind = "error" | "header" | "properties";

/** The object type of a kind. */
export type CompositeOf<K extends Kind> = K extends PlainKind ? { [F in keyof FieldsOf<K>]: FieldsOf<K>[F] }
  : { [F in keyof (FieldsOf<K> & { kind: K })]: (FieldsOf<K> & { kind: K })[F] };

/** The kinds that provide an archetype [types 1.4]. */
export type Provider<Archetype extends string> = {
  [K in Kind]: Archetype extends Definitions[K]["provides"][number] ? K : never;
}[Kind];

/** Any composite that tells its kind. */
export type Composite = CompositeOf<Exclude<Kind, PlainKind>>;

/** The fields of a table that have a default, set. */
export type DefaultedFields<Table> = {
  -readonly [F in MarkedFields<Table, `${string}=${string}`>]: FieldType<Table[F]>;
};

/** An object of the kind given in which every field that has a default is set. */
export type FilledOf<T, K extends Kind> =
  & Omit<T, keyof DefaultedFields<Definitions[K]["fields"]>>
  & DefaultedFields<Definitions[K]["fields"]>;

/** A composite in which every field that has a default is set; see `withDefaults`. */
export type WithDefaults<T extends Composite> = T extends { kind: infer K extends Kind } ? FilledOf<T, K> : never;

/** Begins a connection [transport 2.7.1]. */
export type Open = CompositeOf<"open">;
/** Begins a session [transport 2.7.2]. */
export type Begin = CompositeOf<"begin">;
/** Begins a link, or takes it up again [transport 2.7.3]. */
export type Attach = CompositeOf<"attach">;
/** Tells windows and credit [transport 2.7.4]. */
export type Flow = CompositeOf<"flow">;
/** Carries a message or a part of one [transport 2.7.5]. */
export type Transfer = CompositeOf<"transfer">;
/** Tells what became of a range of deliveries [transport 2.7.6]. */
export type Disposition = CompositeOf<"disposition">;
/** Suspends or ends a link [transport 2.7.7]. */
export type Detach = CompositeOf<"detach">;
/** Ends a session [transport 2.7.8]. */
export type End = CompositeOf<"end">;
/** Ends a connection [transport 2.7.9]. */
export type Close = CompositeOf<"close">;
/** What went wrong: the wire form of an error [transport 2.8.14]. */
export type ErrorFields = CompositeOf<"error">;
/** Where a link's messages come from [messaging 3.5.3]. */
export type Source = CompositeOf<"source">;
/** Where a link's messages go to [messaging 3.5.4]. */
export type Target = CompositeOf<"target">;
/** The target of a link that controls transactions [transactions 4.5.1]. */
export type Coordinator = CompositeOf<"coordinator">;
/** How much of a message has arrived [messaging 3.4.1]. */
export type Received = CompositeOf<"received">;
/** The message was processed [messaging 3.4.2]. */
export type Accepted = CompositeOf<"accepted">;
/** The message is invalid and cannot be processed [messaging 3.4.3]. */
export type Rejected = CompositeOf<"rejected">;
/** The message was not processed and may be delivered again [messaging 3.4.4]. */
export type Released = CompositeOf<"released">;
/** The message was not processed and is changed before it is delivered again [messaging 3.4.5]. */
export type Modified = CompositeOf<"modified">;
/** Asks for a new transaction [transactions 4.5.2]. */
export type Declare = CompositeOf<"declare">;
/** Ends a transaction [transactions 4.5.3]. */
export type Discharge = CompositeOf<"discharge">;
/** The outcome that names a new transaction [transactions 4.5.5]. */
export type Declared = CompositeOf<"declared">;
/** A delivery state that takes part in a transaction [transactions 4.5.8]. */
export type TransactionalState = CompositeOf<"transactionalState">;
/** Which SASL mechanisms the server has [security 5.3.3.1]. */
export type SaslMechanisms = CompositeOf<"saslMechanisms">;
/** Which mechanism the client takes, and its first response [security 5.3.3.2]. */
export type SaslInit = CompositeOf<"saslInit">;
/** What the server wants answered [security 5.3.3.3]. */
export type SaslChallenge = CompositeOf<"saslChallenge">;
/** The client's answer to a challenge [security 5.3.3.4]. */
export type SaslResponse = CompositeOf<"saslResponse">;
/** How the exchange ended [security 5.3.3.5]. */
export type SaslOutcome = CompositeOf<"saslOutcome">;
/** How a message is to be delivered [messaging 3.2.1]. */
export type Header = CompositeOf<"header">;
/** The standard properties of a message [messaging 3.2.4]. */
export type Properties = CompositeOf<"properties">;

/** The nine frame bodies of AMQP proper. */
export type Performative = CompositeOf<Provider<"frame">>;
/** The five frame bodies of the SASL layer. */
export type SaslFrameBody = CompositeOf<Provider<"saslFrame">>;
/** What became of a delivery in the end. */
export type Outcome = CompositeOf<Provider<"outcome">>;
/** What became of a delivery, so far or in the end. */
export type DeliveryState = CompositeOf<Provider<"deliveryState">>;
/** When a dynamic node goes away. */
export type LifetimePolicy = CompositeOf<Provider<"lifetimePolicy">>;
/** An end of a link. */
export type Terminus = Source | Target | Coordinator;
