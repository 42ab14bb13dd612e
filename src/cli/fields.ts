/**
 * Fields of a message's header and properties, as `--set` takes them. Help and errors of arguments load this file, so it loads
 * nothing of AMQP.
 *
 * @module
 */

import { UsageError } from "./terminal.ts";

const HEADER: Readonly<Record<string, "boolean" | "number">> = {
  durable: "boolean",
  priority: "number",
  ttl: "number",
  firstAcquirer: "boolean",
  deliveryCount: "number",
};
const PROPERTIES: Readonly<Record<string, "string" | "symbol" | "binary" | "number" | "date">> = {
  messageId: "string",
  userId: "binary",
  to: "string",
  subject: "string",
  replyTo: "string",
  correlationId: "string",
  contentType: "symbol",
  contentEncoding: "symbol",
  absoluteExpiryTime: "date",
  creationTime: "date",
  groupId: "string",
  groupSequence: "number",
  replyToGroupId: "string",
};

/** Whether `--set` knows a field of this name. */
export function isField(given: string): boolean {
  const name = camelCased(given);
  return Object.hasOwn(HEADER, name) || Object.hasOwn(PROPERTIES, name);
}

/**
 * The fields of all `--set NAME=VALUE`.
 *
 * @throws {UsageError} If there is no such field, or the value is not of its kind.
 */
export function fieldsFromText(
  pairs: readonly (readonly [name: string, text: string])[],
): { header: Record<string, unknown>; properties: Record<string, unknown> } {
  const header: Record<string, unknown> = {}, properties: Record<string, unknown> = {};
  for (const [given, text] of pairs) {
    const name = camelCased(given);
    if (Object.hasOwn(HEADER, name)) header[name] = field(given, HEADER[name]!, text);
    else if (Object.hasOwn(PROPERTIES, name)) properties[name] = field(given, PROPERTIES[name]!, text);
    else {
      const known = [...Object.keys(HEADER), ...Object.keys(PROPERTIES)].join(", ");
      throw new UsageError(`--set "${given}" is not one of ${known}`);
    }
  }
  return { header, properties };
}

function camelCased(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function field(name: string, type: string, text: string): unknown {
  switch (type) {
    case "boolean":
      if (text === "true" || text === "false") return text === "true";
      throw new UsageError(`--set ${name} "${text}" is not true or false`);
    case "number": {
      const number = Number(text);
      if (text !== "" && number === number >>> 0) return number;
      throw new UsageError(`--set ${name} "${text}" is not a whole number from 0 to 2^32-1`);
    }
    case "date": {
      const date = new Date(text);
      if (!Number.isNaN(date.getTime())) return date;
      throw new UsageError(`--set ${name} "${text}" is not a date`);
    }
    case "binary":
      return new TextEncoder().encode(text);
    default:
      return text;
  }
}
