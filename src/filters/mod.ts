/**
 * What a receiver may want of its source: filters in the wire forms of JMS, RabbitMQ, Event Hubs, Service Bus and AMQP Filter
 * Expressions, subscriptions that outlive their link, browsing, properties of dynamic nodes, and delayed delivery.
 *
 * Filters in force are compared with those asked for when the link is attached; the difference is an error unless
 * `filterMismatch` of the receiver says otherwise.
 *
 * @module
 */

export type { Properties, Source } from "../codec/types.ts";
export type { Fields, Value } from "../codec/values.ts";
export * from "./filters.ts";
export * from "./sources.ts";
