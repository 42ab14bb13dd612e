/**
 * What a receiver may want of its source: filters in the wire forms of JMS, RabbitMQ, Event Hubs, Service Bus and AMQP Filter
 * Expressions, subscriptions that outlive their link, browsing, properties of dynamic nodes, and delayed delivery.
 *
 * Filters in force are compared with those asked for when the link is attached; the difference is an error unless
 * `filterMismatch` of the receiver says otherwise.
 *
 * Each function for a filter gives an entry of a receiver's option `filter`; several are spread into one object, and a message
 * must pass all of them. Each of the others gives options to spread into those of the receiver. What is none of what they take is
 * a `TypeError` at once.
 *
 * @module
 */

import { checkText, describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import type { Properties } from "../codec/types.ts";
import type { Fields, Typed, Value } from "../codec/values.ts";
import { checkFields } from "../codec/mistakes.ts";
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
 * Leaves out messages that were sent on the connection that receives.
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
 * Messages of an AMQP 0-9-1 exchange of kind "direct" with this routing key.
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
 * Messages of an AMQP 0-9-1 exchange of kind "topic" whose routing key fits: `*` is one word, `#` any number.
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
 * Messages of an AMQP 0-9-1 exchange of kind "headers" that have all, or with `"any"` one, of these headers.
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
  checkRecord("headers", headers);
  if (match !== "all" && match !== "any") refuse("match", match, '"all" or "any"');
  const map = new Map<Value, Value>(Object.entries({ "x-match": match, ...headers }));
  return { "apache.org:legacy-amqp-headers-binding:map": described(0x0000468c00000002n, map) };
}

/**
 * Messages whose XML body an XQuery expression finds something in.
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
 * An expression of SQL over all sections, of AMQP Filter Expressions. RabbitMQ streams take it from version 4.2 on.
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
 * Messages whose properties are these, of AMQP Filter Expressions. A string may begin with `&p:` for a prefix, `&s:` for a
 * suffix, and `&&` for an `&` of its own.
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
  checkRecord("properties", properties);
  checkFields("properties", properties);
  const map = new Map<Value, Value>();
  for (const [field, value] of Object.entries(properties) as [keyof Properties, Value][]) {
    const name = field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    map.set(symbol(name), PROPERTY_TYPES[field]?.(value as never) ?? value);
  }
  return { "amqp:properties-filter": described(0x173n, map) };
}

/**
 * Messages whose application properties are these, of AMQP Filter Expressions; strings as in {@linkcode propertiesFilter}.
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
  checkRecord("application properties", properties);
  return { "amqp:application-properties-filter": described(0x174n, new Map<Value, Value>(Object.entries(properties))) };
}

/**
 * Where a stream of RabbitMQ is read from: an end, an offset, or a time. Default of the broker: `"next"`.
 *
 * An offset is that of the annotation `x-stream-offset`.
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
  if (!isEnd && !(from instanceof Date) && typeof from !== "number" && typeof from !== "bigint") {
    refuse("offset", from, '"first", "last", "next", a number or a Date');
  }
  const value = isEnd ? from : from instanceof Date ? timestamp(from) : ulong(from);
  return { "rabbitmq:stream-offset-spec": described("rabbitmq:stream-offset-spec", value) };
}

/**
 * Messages of a RabbitMQ stream with one of these filter values; with `matchUnfiltered` also those without any.
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
  if (typeof values !== "string" && !Array.isArray(values)) refuse("values", values, "a string or an array of strings");
  const value = typeof values === "string" ? values : [...values];
  const filter: Fields = { "rabbitmq:stream-filter": described("rabbitmq:stream-filter", value) };
  if (matchUnfiltered) {
    filter["rabbitmq:stream-match-unfiltered"] = described("rabbitmq:stream-match-unfiltered", true);
  }
  return filter;
}

/** Where a partition of Event Hubs is read from. */
export type EventPosition =
  /** After the event of this offset, with `inclusive` from it on; `"@latest"` for what comes from now on, `"-1"` for all. */
  | { offset: string; inclusive?: boolean }
  /** After the event of this number, with `inclusive` from it on. */
  | { sequenceNumber: bigint | number; inclusive?: boolean }
  /** From what was enqueued after this moment on. */
  | { enqueuedTime: Date };

/**
 * Events of Event Hubs from a position on.
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
 * Messages of one session of Service Bus, null for the next that is free; the answer to the attach then names it.
 *
 * It is not described, as Service Bus wants it.
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

function checkPosition(position: EventPosition): void {
  checkRecord("position", position);
  if ("offset" in position) checkText("make filter", "offset", position.offset);
  else if ("sequenceNumber" in position) {
    const { sequenceNumber } = position;
    if (typeof sequenceNumber !== "number" && typeof sequenceNumber !== "bigint") {
      refuse("sequenceNumber", sequenceNumber, "a number or bigint");
    }
  } else if (!("enqueuedTime" in position)) {
    refuse("position", position, "one with offset, sequenceNumber or enqueuedTime");
  } else if (!(position.enqueuedTime instanceof Date)) refuse("enqueuedTime", position.enqueuedTime, "a Date");
}

function checkRecord(what: string, value: unknown): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) refuse(what, value, "an object");
}

function refuse(what: string, value: unknown, wanted: string): never {
  const given = typeof value === "string" ? quote(value) : describeKind(value);
  throw new TypeError(`Cannot make filter: ${what} is ${given}, not ${wanted}`);
}

const SELECTOR = 0x0000468c00000004n;

// Wire types of properties that a bare value would not get.
const PROPERTY_TYPES: { readonly [F in keyof Properties]?: (value: never) => Typed } = {
  contentType: symbol,
  contentEncoding: symbol,
  absoluteExpiryTime: timestamp,
  creationTime: timestamp,
  groupSequence: uint,
};
