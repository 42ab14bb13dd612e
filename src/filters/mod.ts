/**
 * Options of a receiver's source: filters in the wire forms of JMS, RabbitMQ, Event Hubs, Service Bus and AMQP Filter
 * Expressions, durable and shared subscriptions, browsing, properties of dynamic nodes; and delayed delivery.
 *
 * The filters in force are compared with the requested ones when the link is attached; a difference is an error unless
 * `filterMismatch` of the receiver is `"ignore"`.
 *
 * A filter function returns an entry of a receiver's option `filter`; several can be spread into one object, and a message
 * must pass all of them. The other functions return options to spread into the receiver's, or annotations for a message. A
 * wrong argument is a `TypeError` at once.
 *
 * @example The red ones
 * ```ts
 * import { Broker } from "@webamqp/amqp/broker";
 * import { selector } from "@webamqp/amqp/filters";
 *
 * const broker = new Broker();
 * const connection = await broker.connect();
 * await connection.send("orders", { applicationProperties: { colour: "blue" }, body: 1 });
 * await connection.send("orders", { applicationProperties: { colour: "red" }, body: 2 });
 * const delivery = await connection.receiver("orders", { filter: selector("colour = 'red'") }).receive();
 * console.assert(delivery.message.body === 2);
 * await broker.close();
 * ```
 *
 * @module
 */

import { isDate } from "../base/kinds.ts";
import { checkText, describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import type { Properties } from "../codec/types.ts";
import type { Fields, Typed, Value } from "../codec/values.ts";
import { checkFields } from "../codec/message_checks.ts";
import { explainMessage } from "../codec/mistakes.ts";
import { described, symbol, timestamp, uint, ulong } from "../codec/wrappers.ts";

export type { Properties, Source } from "../codec/types.ts";
export type { Fields, Value } from "../codec/values.ts";
export * from "./sources.ts";

/**
 * A selector of JMS: SQL-92 over headers and application properties.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { noLocal, selector } from "@webamqp/amqp/filters";
 *
 * async function main(connection: Connection) {
 *   const filter = { ...selector("colour = 'red' AND weight > 10"), ...noLocal() };
 *   for await (const delivery of connection.receiver("orders", { filter })) console.log(delivery.message.body);
 * }
 * ```
 */
export function selector(expression: string): Fields {
  checkText("make filter", "selector", expression);
  return { "jms-selector": described(SELECTOR, expression) };
}

/**
 * Excludes messages sent on the receiving connection.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { noLocal } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("prices", { filter: noLocal() });
 * }
 * ```
 */
export function noLocal(): Fields {
  return { "no-local": described(0x0000468c00000003n, []) };
}

/**
 * Messages of an AMQP 0-9-1 direct exchange with this routing key.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { directBinding } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: directBinding("orders.coffee") });
 * }
 * ```
 */
export function directBinding(routingKey: string): Fields {
  checkText("make filter", "routing key", routingKey);
  return { "apache.org:legacy-amqp-direct-binding:string": described(0x0000468c00000000n, routingKey) };
}

/**
 * Messages of an AMQP 0-9-1 topic exchange whose routing key matches: `*` is one word, `#` any number of words.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { topicBinding } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: topicBinding("orders.*.urgent") });
 * }
 * ```
 */
export function topicBinding(pattern: string): Fields {
  checkText("make filter", "pattern", pattern);
  return { "apache.org:legacy-amqp-topic-binding:string": described(0x0000468c00000001n, pattern) };
}

/**
 * Messages of an AMQP 0-9-1 headers exchange that have all of these headers, or one of them with `"any"`.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { headersBinding } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: headersBinding({ colour: "red", size: 5 }, "any") });
 * }
 * ```
 */
export function headersBinding(headers: Readonly<Record<string, Value>>, match: "all" | "any" = "all"): Fields {
  checkConditions("headers", headers);
  if (match !== "all" && match !== "any") refuse("match", match, '"all" or "any"');
  const map = new Map<Value, Value>(Object.entries({ "x-match": match, ...headers }));
  return { "apache.org:legacy-amqp-headers-binding:map": described(0x0000468c00000002n, map) };
}

/**
 * Messages whose XML body matches an XQuery expression.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { xquery } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: xquery("/order[@urgent='yes']") });
 * }
 * ```
 */
export function xquery(expression: string): Fields {
  checkText("make filter", "XQuery expression", expression);
  return { "apache.org:xquery-filter:string": described(0x0000468c00000005n, expression) };
}

/**
 * Messages that match an SQL expression over all sections, by AMQP Filter Expressions. RabbitMQ streams support it from 4.2.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { sqlFilter } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: sqlFilter("properties.subject LIKE 'order%' AND colour = 'red'") });
 * }
 * ```
 */
export function sqlFilter(expression: string): Fields {
  checkText("make filter", "SQL expression", expression);
  return { "sql-filter": described(0x120n, expression) };
}

/**
 * Messages with these properties, by AMQP Filter Expressions. A string may begin with `&p:` for a prefix, `&s:` for a suffix,
 * and `&&` for a literal `&`.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { propertiesFilter } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: propertiesFilter({ subject: "&p:order", contentType: "text/plain" }) });
 * }
 * ```
 */
export function propertiesFilter(properties: Partial<Properties>): Fields {
  checkConditions("properties", properties);
  try {
    checkFields("properties", properties);
  } catch (error) {
    throw explainMessage(error, { properties });
  }
  const map = new Map<Value, Value>();
  for (const [field, value] of Object.entries(properties) as [keyof Properties, Value][]) {
    const name = field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    map.set(symbol(name), PROPERTY_TYPES[field]?.(value as never) ?? value);
  }
  return { "amqp:properties-filter": described(0x173n, map) };
}

/**
 * Messages with these application properties, by AMQP Filter Expressions; strings as in {@linkcode propertiesFilter}.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { applicationPropertiesFilter } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: applicationPropertiesFilter({ colour: "red" }) });
 * }
 * ```
 */
export function applicationPropertiesFilter(properties: Readonly<Record<string, Value>>): Fields {
  checkConditions("application properties", properties);
  return { "amqp:application-properties-filter": described(0x174n, new Map<Value, Value>(Object.entries(properties))) };
}

/**
 * The position from which a RabbitMQ stream is read: an end, an offset, or a time. Default of the broker: `"next"`.
 *
 * Offsets are those of the message annotation `x-stream-offset`.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { streamOffset } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("events", { filter: streamOffset("first") });
 * }
 * ```
 */
export function streamOffset(from: "first" | "last" | "next" | bigint | number | Date): Fields {
  const isEnd = from === "first" || from === "last" || from === "next";
  if (!isEnd && !isDate(from) && typeof from !== "number" && typeof from !== "bigint") {
    refuse("offset", from, '"first", "last", "next", a number or a Date');
  }
  const value = isEnd ? from : isDate(from) ? timestamp(from) : ulong(from);
  return { "rabbitmq:stream-offset-spec": described("rabbitmq:stream-offset-spec", value) };
}

/**
 * Messages of a RabbitMQ stream with one of these filter values; with `matchUnfiltered` also those without one.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { streamFilter } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("events", { filter: streamFilter(["red", "green"], true) });
 * }
 * ```
 */
export function streamFilter(values: string | readonly string[], matchUnfiltered = false): Fields {
  for (const value of typeof values === "string" ? [] : Array.isArray(values) ? values : [values]) {
    if (typeof value !== "string") refuse("values", value, "a string or an array of strings");
  }
  const value = typeof values === "string" ? values : [...values];
  const filter: Fields = { "rabbitmq:stream-filter": described("rabbitmq:stream-filter", value) };
  if (matchUnfiltered) {
    filter["rabbitmq:stream-match-unfiltered"] = described("rabbitmq:stream-match-unfiltered", true);
  }
  return filter;
}

/** The position from which an Event Hubs partition is read. */
export type EventPosition =
  /** After the event of this offset, or from it if `inclusive`; `"@latest"` for new events only, `"-1"` for all. */
  | { offset: string; inclusive?: boolean }
  /** After the event of this sequence number, or from it if `inclusive`. */
  | { sequenceNumber: bigint | number; inclusive?: boolean }
  /** Events enqueued after this time. */
  | { enqueuedTime: Date };

/**
 * Events of an Event Hubs partition from a position on.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { eventPosition } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("hub/ConsumerGroups/$Default/Partitions/0", { filter: eventPosition({ offset: "@latest" }) });
 * }
 * ```
 */
export function eventPosition(position: EventPosition): Fields {
  checkPosition(position);
  const than = "inclusive" in position && position.inclusive === true ? ">=" : ">";
  const [name, value] = "offset" in position
    ? ["offset", position.offset.replaceAll("'", "''")]
    : "sequenceNumber" in position
    ? ["sequence-number", position.sequenceNumber]
    : ["enqueued-time", position.enqueuedTime.getTime()];
  const key = "apache.org:selector-filter:string";
  return { [key]: described(SELECTOR, `amqp.annotation.x-opt-${name} ${than} '${value}'`) };
}

/**
 * Messages of one Service Bus session; null for the next free one, which the peer's attach then names.
 *
 * The value is not described, as Service Bus requires.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { sessionFilter } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("orders", { filter: sessionFilter("customer-1") });
 * }
 * ```
 */
export function sessionFilter(sessionId: string | null): Fields {
  if (sessionId !== null) checkText("make filter", "session id", sessionId);
  return { "com.microsoft:session-filter": sessionId };
}

// Each position by the name of its field, with what its value has to be.
const POSITIONS: Readonly<Record<string, readonly [wanted: string, fits: (value: unknown) => boolean]>> = {
  offset: ["a string", (value) => typeof value === "string"],
  sequenceNumber: ["a whole number or bigint", (value) => typeof value === "bigint" || Number.isSafeInteger(value)],
  enqueuedTime: ["a valid Date", (value) => isDate(value) && !Number.isNaN(value.getTime())],
};

function checkPosition(position: EventPosition): void {
  checkRecord("position", position);
  const given = Object.entries(position).filter(([, value]) => value !== undefined);
  const [first, ...others] = given.filter(([name]) => Object.hasOwn(POSITIONS, name));
  if (first === undefined || others.length > 0) {
    refuse("position", position, "one with offset, sequenceNumber or enqueuedTime");
  }
  const [name, value] = first;
  const [wanted, fits] = POSITIONS[name]!;
  if (!fits(value)) refuse(name, value, wanted);
  for (const [other, value] of given) {
    if (other === name) continue;
    if (other !== "inclusive") throw new TypeError(`Cannot make filter: position has no ${quote(other)}`);
    if (name === "enqueuedTime") throw new TypeError("Cannot make filter: only an offset or a number is inclusive");
    if (typeof value !== "boolean") refuse(other, value, "a boolean");
  }
}

function checkRecord(what: string, value: unknown): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) refuse(what, value, "an object");
}

// A value that is missing would be null, which a filter takes for another condition.
function checkConditions(what: string, value: object): void {
  checkRecord(what, value);
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined) throw new TypeError(`Cannot make filter: ${quote(name)} is undefined, leave it out`);
  }
}

function refuse(what: string, value: unknown, wanted: string): never {
  const given = typeof value === "string" ? quote(value) : describeKind(value);
  throw new TypeError(`Cannot make filter: ${what} is ${given}, not ${wanted}`);
}

const SELECTOR = 0x0000468c00000004n;

// Wire types of properties that a plain value would not get.
const PROPERTY_TYPES: { readonly [F in keyof Properties]?: (value: never) => Typed } = {
  contentType: symbol,
  contentEncoding: symbol,
  absoluteExpiryTime: timestamp,
  creationTime: timestamp,
  groupSequence: uint,
};
