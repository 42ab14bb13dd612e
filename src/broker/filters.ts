/**
 * The filters of a source that this broker knows: selectors, and no messages of one's own.
 *
 * @module
 */

import { encodeHex } from "@std/encoding";
import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { Described, type Fields, type MessageId, Typed, type Value } from "../codec/types.ts";
import type { MessageFilter } from "./consumer.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { type Effort, noEffort } from "./like.ts";
import { type Lookup, parseSelector, type SelectorValue } from "./selector_parser.ts";

const SELECTOR_CODE = 0x468C00000004n;
const SELECTOR_NAME = "apache.org:selector-filter:string";
const NO_LOCAL_CODE = 0x468C00000003n;
const NO_LOCAL_NAMES = ["apache.org:no-local-filter:list", "apache.org:jms-no-local-filter:list"];

/** The filters of a source. */
export interface Filters {
  /** Lets through what passes all of them; undefined for everything. */
  readonly filter: MessageFilter | undefined;
  /** Those in force, as they were asked for. */
  readonly inForce: Fields | undefined;
  /** What it takes to ask them. */
  readonly effort: Effort;
  /** What tells them from others, as text. */
  readonly key: string;
}

/**
 * Reads the filters that a peer asks for; `origin` is what messages of its own come from.
 *
 * @throws {AmqpError} With `amqp:not-implemented` for a filter that is not known, `amqp:invalid-field` for one that is not
 * right: to leave one out would give the peer what it does not want.
 */
export function readFilters(asked: Fields | undefined, origin: string): Filters {
  const filters: MessageFilter[] = [];
  const effort = noEffort();
  let inForce: Fields | undefined;
  let key = "";
  for (const [name, value] of Object.entries(asked ?? {})) {
    // Null is the same as not there [messaging 3.5.8].
    if (value === null) continue;
    const { descriptor, value: argument } = value instanceof Described ? value : { descriptor: undefined, value };
    const isSelector = descriptor === SELECTOR_CODE || descriptor === SELECTOR_NAME ||
      (descriptor === undefined && name === "jms-selector");
    const isNoLocal = descriptor === NO_LOCAL_CODE || NO_LOCAL_NAMES.includes(descriptor as string);
    if (isSelector) {
      if (typeof argument !== "string") throw invalid(name, "its value is not a string");
      if (argument.trim() !== "") filters.push(selectorFilter(argument, effort));
      key += `selector ${argument}\n`;
    } else if (isNoLocal) {
      filters.push((message) => message.origin !== origin);
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
  return { filter, effort, inForce, key };
}

/**
 * Lets through the messages that a selector is true of, not those of which that is unknown; adds what it takes to `effort`.
 *
 * @throws {AmqpError} With `amqp:invalid-field` if it is no selector.
 */
export function selectorFilter(selector: string, effort: Effort = noEffort()): MessageFilter {
  const expression = parseSelector(selector, effort);
  return (message) => {
    if (message.messageFormat !== 0) return false;
    try {
      return expression(lookupOf(message)) === true;
    } catch {
      // A message whose properties cannot be read has none that a selector could ask for.
      return false;
    }
  };
}

// Sections are decoded when a selector asks for something in them.
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

// As JMS clients write identifiers that are no text.
function idText(id: MessageId | undefined): SelectorValue {
  if (id === undefined || typeof id === "string") return id;
  if (typeof id === "bigint") return `ID:AMQP_ULONG:${id}`;
  if (id instanceof Typed) return `ID:AMQP_UUID:${id.value}`;
  return `ID:AMQP_BINARY:${encodeHex(id).toUpperCase()}`;
}

function simple(value: Value | undefined): SelectorValue {
  if (value instanceof Date) return BigInt(value.getTime());
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
