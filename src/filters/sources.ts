/**
 * Options of a receiver's source beside filters: durable and shared subscriptions, browsing, dynamic nodes.
 *
 * Functions return options to spread into those of a receiver; {@linkcode delayed} returns message annotations.
 *
 * @module
 */

import { isDate } from "../base/kinds.ts";
import { checkOptions, describeKind, type Kinds } from "../base/options.ts";
import { quote } from "../base/text.ts";
import type { Source } from "../codec/types.ts";
import type { Fields } from "../codec/values.ts";
import { array, described, long, timestamp } from "../codec/wrappers.ts";

/** Options of a receiver that describe its source. */
export interface SourceSettings {
  /** The link's name, which identifies a subscription. */
  name?: string | undefined;
  /** Fields of the source. */
  source: Partial<Omit<Source, "kind">>;
}

/** Options of a subscription. */
export interface SubscriptionOptions {
  /** Several receivers share the subscription, each message going to one of them. Default: false. */
  shared?: boolean | undefined;
  /** Also shares it between connections of other container-ids. Default: false. */
  global?: boolean | undefined;
  /** The number of this receiver among those of one connection that share the subscription, from 1. Default: 1. */
  instance?: number | undefined;
}

const SHARING_KINDS: Kinds = { global: "boolean", instance: "whole number from 1" };

// The name of the subscription, not of the topic, which the receiver gets.
function checkSubscription(name: unknown, kinds: Kinds, options: SubscriptionOptions): void {
  if (typeof name !== "string" || name === "") {
    throw new TypeError(
      `Cannot subscribe: name is ${name === "" ? "empty" : describeKind(name)}, give it a name of your own`,
    );
  }
  checkOptions("subscribe", options, kinds);
}

/**
 * A durable subscription to a topic: messages wait for it while nobody receives.
 *
 * A subscription is identified by its name and the connection's `containerId`, which must be the same every time. `detach()`
 * of the receiver keeps it, `close()` deletes it. Write a filter beside it as `filter`, for another `source` would replace this one.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { durableSubscription } from "@webamqp/amqp/filters";
 *
 * async function main() {
 *   await using connection = await connect("wss://broker.example/amqp", { containerId: "billing" });
 *   const prices = connection.receiver("prices", durableSubscription("billing-prices"));
 *   const delivery = await prices.receive();
 *   delivery.accept();
 *   await prices.detach();
 * }
 * ```
 */
export function durableSubscription(name: string, options: SubscriptionOptions = {}): SourceSettings {
  checkSubscription(name, { shared: "boolean", ...SHARING_KINDS }, options);
  const { shared, global, instance } = options;
  const alone = shared === true
    ? undefined
    : global === true
    ? "global"
    : instance !== undefined
    ? "instance"
    : undefined;
  if (alone !== undefined) {
    throw new TypeError(`Cannot subscribe: option "${alone}" is for those that are shared, give shared: true`);
  }
  return {
    name: options.shared === true ? linkName(name, options, "") : name,
    source: { ...capabilities(options), durable: "unsettled-state", expiryPolicy: "never" },
  };
}

/**
 * A subscription to a topic shared by several receivers, while at least one of them is attached.
 *
 * Without `global` those of one container share it: connections without the same `containerId` get all messages each.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { sharedSubscription } from "@webamqp/amqp/filters";
 *
 * function receive(connection: Connection) {
 *   return connection.receiver("prices", sharedSubscription("billing", { global: true }));
 * }
 * ```
 */
export function sharedSubscription(name: string, options: Omit<SubscriptionOptions, "shared"> = {}): SourceSettings {
  checkSubscription(name, SHARING_KINDS, options);
  return { name: linkName(name, options, "volatile"), source: capabilities({ ...options, shared: true }) };
}

/**
 * Browses: messages are copied, and stay for others.
 *
 * Write a filter beside it as `{ ...browse(), filter: selector("…") }`: another `source` would replace this one, and a receiver
 * without it takes messages away.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { browse } from "@webamqp/amqp/filters";
 *
 * async function look(connection: Connection) {
 *   await using orders = connection.receiver("orders", browse());
 *   for (const { message } of await orders.receiveBatch(10, { waitMs: 500 })) console.log(message.body);
 * }
 * ```
 */
export function browse(): SourceSettings {
  return { source: { distributionMode: "copy" } };
}

/** When the peer deletes a dynamic node: with its link, or once it has no links, no messages, or neither. */
export type NodeLifetime = "close" | "no-links" | "no-messages" | "no-links-or-messages";

/**
 * Properties of a dynamic node, for the source or target of a link with `dynamic: true` [messaging 3.5.10].
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { nodeProperties } from "@webamqp/amqp/filters";
 *
 * function inbox(connection: Connection) {
 *   return connection.receiver({ dynamic: true, source: { dynamicNodeProperties: nodeProperties("no-links") } });
 * }
 * ```
 */
export function nodeProperties(lifetime: NodeLifetime, supportedDistModes?: readonly ("move" | "copy")[]): Fields {
  const codes = { close: 0x2bn, "no-links": 0x2cn, "no-messages": 0x2dn, "no-links-or-messages": 0x2en };
  if (!Object.hasOwn(codes, lifetime)) {
    const given = typeof lifetime === "string" ? quote(lifetime) : describeKind(lifetime);
    throw new TypeError(`Cannot describe node: lifetime is ${given}, not one of ${Object.keys(codes).join(", ")}`);
  }
  const properties: Fields = { "lifetime-policy": described(codes[lifetime], []) };
  if (supportedDistModes !== undefined) properties["supported-dist-modes"] = array("symbol", supportedDistModes);
  return properties;
}

/**
 * Message annotations that delay delivery: until a time, or for some milliseconds after the broker receives the message.
 *
 * For brokers with the capability `DELAYED_DELIVERY`, such as Artemis and that of `./broker`; `serviceBus: true` gives the
 * annotation of Service Bus.
 *
 * @example
 * ```ts
 * import type { Connection } from "@webamqp/amqp";
 * import { delayed } from "@webamqp/amqp/filters";
 *
 * async function remind(connection: Connection) {
 *   await connection.sender("reminders").send({ messageAnnotations: delayed(60_000), body: "tea is ready" });
 * }
 * ```
 */
export function delayed(when: Date | number, options: { serviceBus?: boolean | undefined } = {}): Fields {
  checkOptions("delay message", options, { serviceBus: "boolean" });
  if (!isDate(when) && !(typeof when === "number" && when >= 0)) {
    const given = typeof when === "number" ? when : describeKind(when);
    throw new TypeError(`Cannot delay message: time is ${given}, not a Date or a number of milliseconds from 0 on`);
  }
  if (options.serviceBus === true) {
    const at = typeof when === "number" ? new Date(Date.now() + when) : when;
    return { "x-opt-scheduled-enqueue-time": timestamp(at) };
  }
  if (typeof when === "number") return { "x-opt-delivery-delay": long(when) };
  return { "x-opt-delivery-time": long(when.getTime()) };
}

function capabilities({ shared, global }: SubscriptionOptions): Partial<Omit<Source, "kind">> {
  return shared === true ? { capabilities: global === true ? ["shared", "global"] : ["shared"] } : {};
}

// The names that qpid-jms gives such links, in which brokers find the subscription's name.
function linkName(name: string, { global, instance = 1 }: SubscriptionOptions, kind: "" | "volatile"): string {
  const number = kind === "" && instance === 1 ? "" : String(instance);
  const suffix = [global === true ? "global" : "", kind].filter((part) => part !== "").join("-") + number;
  return suffix === "" ? name : `${name}|${suffix}`;
}
