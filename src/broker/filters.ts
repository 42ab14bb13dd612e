/**
 * The filters of a source that this broker knows: JMS selectors and no-local.
 *
 * @module
 */

import { encodeHex } from "@std/encoding";
import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { isDate } from "../base/kinds.ts";
import { quote } from "../base/text.ts";
import { Described, type Fields, type MessageId, Typed, type Value } from "../codec/types.ts";
import type { MessageFilter } from "./consumer.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { type FilterCost, noCost } from "./like.ts";
import { type Lookup, parseSelector, type SelectorValue } from "./selector_parser.ts";

const SELECTOR_CODE = 0x468C00000004n;
const SELECTOR_NAME = "apache.org:selector-filter:string";
const NO_LOCAL_CODE = 0x468C00000003n;
const NO_LOCAL_NAMES = ["apache.org:no-local-filter:list", "apache.org:jms-no-local-filter:list"];

export interface Filters {
  /** Passes messages that pass all filters; undefined for all messages. */
  readonly filter: MessageFilter | undefined;
  /** The filters in force, as the peer asked for them. */
  readonly inForce: Fields | undefined;
  /** The cost of `filter`. */
  readonly cost: FilterCost;
  /** Equal for filters that do the same. */
  readonly key: string;
}

/**
 * Reads the filters that a peer asks for; `origin` is the origin of its own messages.
 *
 * @throws {AmqpError} With `amqp:not-implemented` for an unknown filter and `amqp:invalid-field` for an invalid one: to
 * ignore it would send the peer messages that it does not want.
 */
export function readFilters(asked: Fields | undefined, origin: string): Filters {
  const filters: MessageFilter[] = [];
  const cost = noCost();
  let inForce: Fields | undefined;
  let key = "";
  for (const [name, value] of Object.entries(asked ?? {})) {
    // A null value is as good as none [messaging 3.5.8].
    if (value === null) continue;
    const { descriptor, value: argument } = value instanceof Described ? value : { descriptor: undefined, value };
    const isSelector = descriptor === SELECTOR_CODE || descriptor === SELECTOR_NAME ||
      (descriptor === undefined && name === "jms-selector");
    const isNoLocal = descriptor === NO_LOCAL_CODE || NO_LOCAL_NAMES.includes(descriptor as string);
    if (isSelector) {
      if (typeof argument !== "string") throw invalid(name, "its value is not a string");
      if (argument.trim() !== "") filters.push(selectorFilter(argument, cost));
      key += `selector ${argument}\n`;
    } else if (isNoLocal) {
      filters.push((message) => message.source?.container !== origin);
      key += "no-local\n";
    } else {
      throw new AmqpError(
        condition.notImplemented,
        `Cannot attach link: filter ${quote(name)} is not one that this broker knows`,
        { scope: "link" },
      );
    }
    (inForce ??= Object.create(null) as Fields)[name] = value;
  }
  const filter = filters.length < 2 ? filters[0] : (message: EncodedMessage) => filters.every((one) => one(message));
  return { filter, cost, inForce, key };
}

/**
 * Passes the messages for which a selector is true, not those for which it is unknown; adds to `cost`.
 *
 * @throws {AmqpError} With `amqp:invalid-field` if `selector` is not a selector.
 */
export function selectorFilter(selector: string, cost: FilterCost = noCost()): MessageFilter {
  const expression = parseSelector(selector, cost);
  return (message) => {
    if (message.messageFormat !== 0) return false;
    try {
      return expression(lookupOf(message)) === true;
    } catch {
      // Properties that cannot be decoded match no selector.
      return false;
    }
  };
}

// Looks properties up, decoding a section only when the selector asks for it.
function lookupOf(message: EncodedMessage): Lookup {
  let application: Fields | undefined;
  return (name) => {
    if (name.startsWith("JMS")) return jmsProperty(message, name);
    application ??= message.applicationProperties();
    return simple(application[name]);
  };
}

function jmsProperty(message: EncodedMessage, name: string): SelectorValue {
  const { header = {} } = message;
  switch (name) {
    case "JMSPriority":
      return header.priority ?? 4;
    case "JMSDeliveryMode":
      return header.durable ? "PERSISTENT" : "NON_PERSISTENT";
    case "JMSRedelivered":
      return (header.deliveryCount ?? 0) > 0;
    case "JMSXDeliveryCount":
      return (header.deliveryCount ?? 0) + 1;
  }
  const { properties } = message;
  switch (name) {
    case "JMSMessageID":
      return idText(properties.messageId);
    case "JMSCorrelationID":
      return idText(properties.correlationId);
    case "JMSType":
      return properties.subject;
    case "JMSTimestamp":
      return simple(properties.creationTime);
    case "JMSExpiration":
      return simple(properties.absoluteExpiryTime) ?? 0;
    case "JMSDestination":
      return properties.to;
    case "JMSReplyTo":
      return properties.replyTo;
    case "JMSXGroupID":
      return properties.groupId;
    case "JMSXGroupSeq":
      return properties.groupSequence;
    case "JMSXUserID":
      return properties.userId && new TextDecoder().decode(properties.userId);
    default:
      return simple(message.applicationProperties()[name]);
  }
}

// Identifiers other than strings as JMS clients write them.
function idText(id: MessageId | undefined): SelectorValue {
  if (id === undefined || typeof id === "string") return id;
  if (typeof id === "bigint") return `ID:AMQP_ULONG:${id}`;
  if (id instanceof Typed) return `ID:AMQP_UUID:${id.value}`;
  return `ID:AMQP_BINARY:${encodeHex(id).toUpperCase()}`;
}

function simple(value: Value | undefined): SelectorValue {
  if (isDate(value)) return BigInt(value.getTime());
  if (value instanceof Typed) return simple(value.value as Value);
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
    case "boolean":
      return value;
    default:
      return undefined;
  }
}

function invalid(name: string, problem: string): AmqpError {
  return new AmqpError(condition.invalidField, `Cannot attach link: filter ${quote(name)} is not right: ${problem}`, {
    scope: "link",
  });
}
