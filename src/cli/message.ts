/**
 * Conversion of messages from and to text and JSON.
 *
 * @module
 */

import { decodeBase64, encodeBase64 } from "@std/encoding";
import { isBytes, isDate } from "../base/kinds.ts";
import {
  type Body,
  data,
  DataBody,
  type DecodedMessage,
  type Message,
  sequence,
  SequenceBody,
  type SimpleValue,
  value,
  ValueBody,
} from "../../mod.ts";
import { fromJson, type Json, toJson } from "../trace/json.ts";
import type { Flags } from "./context.ts";
import { fieldsFromText } from "./fields.ts";
import { oneLine, UsageError } from "./terminal.ts";

/** The sections from `--set` and `--property`, common to all messages of a command. */
export function sectionsOf(flags: Flags): Message {
  const { header, properties } = fieldsFromText(flags.pairs("set"));
  const own = flags.pairs("property");
  return {
    ...(Object.keys(header).length > 0 && { header }),
    ...(Object.keys(properties).length > 0 && { properties }),
    ...(own.length > 0 && { applicationProperties: Object.fromEntries(own.map(([key, text]) => [key, simple(text)])) }),
  };
}

// `true`, `5` and `1.5` become booleans and numbers; any other value is text.
function simple(text: string): SimpleValue {
  if (text === "true" || text === "false") return text === "true";
  return /^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(text) ? Number(text) : text;
}

const SECTIONS = [
  "header",
  "deliveryAnnotations",
  "messageAnnotations",
  "properties",
  "applicationProperties",
  "body",
  "data",
  "sequence",
  "footer",
];

/**
 * The message of a line of JSON: an object whose keys are sections, or any value as a body. `data` is base64; `text` beside
 * it is for readers and ignored.
 *
 * @throws {UsageError} If it is not JSON, or a section is malformed.
 */
export function messageOfJson(line: string): Message {
  let json: Json;
  try {
    json = JSON.parse(line);
  } catch (error) {
    throw new UsageError(`the line is not JSON: ${(error as Error).message}`);
  }
  if (json === null || typeof json !== "object" || Array.isArray(json) || !isMessage(json)) {
    return { body: fromJson(json) };
  }
  const message: Record<string, unknown> = {};
  for (const name of ["header", "deliveryAnnotations", "messageAnnotations", "applicationProperties", "footer"]) {
    if (json[name] !== undefined) message[name] = fromJson(json[name]);
  }
  if (json.properties !== undefined) message.properties = propertiesOf(json.properties);
  return { ...message, body: bodyOf(json) } as Message;
}

function isMessage(json: { [key: string]: Json }): boolean {
  const keys = Object.keys(json).filter((key) => key !== "text");
  return keys.length > 0 && keys.every((key) => SECTIONS.includes(key));
}

function propertiesOf(json: Json): unknown {
  const properties = Object(fromJson(json)) as Record<string, unknown>;
  for (const name of ["absoluteExpiryTime", "creationTime"]) {
    const text = properties[name];
    if (typeof text === "string") properties[name] = new Date(text);
  }
  return properties;
}

function bodyOf(json: { [key: string]: Json }): Body {
  if (json.data !== undefined) {
    const chunks = (Array.isArray(json.data) ? json.data : [json.data]).map((text) => ofBase64(String(text)));
    return chunks.length === 1 ? chunks[0]! : data(chunks);
  }
  if (json.sequence !== undefined) return sequence(fromJson(json.sequence) as []);
  const body = json.body === undefined ? null : fromJson(json.body);
  // A bare binary would become a data section.
  return isBytes(body) ? value(body) : body;
}

/** A message as the JSON that {@linkcode messageOfJson} reads. */
export function messageToJson(message: DecodedMessage): Json {
  const { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, footer } = message;
  const sections = { header, deliveryAnnotations, messageAnnotations, applicationProperties, footer };
  const json = toJson(sections) as { [key: string]: Json };
  if (properties !== undefined) json.properties = propertiesToJson(properties as Record<string, unknown>);
  return { ...json, ...bodyToJson(message.body) };
}

function propertiesToJson(properties: Record<string, unknown>): Json {
  const json: { [key: string]: Json } = {};
  for (const [name, field] of Object.entries(properties)) {
    if (field === undefined || field === null) continue;
    // An integer id is always a ulong [messaging 3.2.11].
    if (typeof field === "bigint") json[name] = { $ulong: String(field) };
    else json[name] = isDate(field) ? field.toISOString() : toJson(field);
  }
  return json;
}

function bodyToJson(body: Body): { [key: string]: Json } {
  if (isBytes(body)) return { data: encodeBase64(body), ...readable(body) };
  if (body instanceof DataBody) {
    return { data: body.chunks.map((chunk) => encodeBase64(chunk)), ...readable(...body.chunks) };
  }
  if (body instanceof SequenceBody) return { sequence: toJson(body.lists) };
  return { body: toJson(body instanceof ValueBody ? body.value : body) };
}

function readable(...chunks: Uint8Array[]): { text?: string } {
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    return { text: chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode() };
  } catch {
    return {};
  }
}

/**
 * The body of a message for people: text and UTF-8 as they are, values as JSON, other bytes in base64 with their number.
 */
export function bodyText({ body }: DecodedMessage): string {
  if (typeof body === "string") return body;
  const json = bodyToJson(body);
  if (typeof json.text === "string") return json.text;
  if (json.data !== undefined) {
    const bytes = body instanceof DataBody ? body.chunks : [body as Uint8Array];
    return `(${bytes.reduce((sum, { length }) => sum + length, 0)} bytes) ${json.data}`;
  }
  return JSON.stringify(json.body ?? json.sequence ?? null);
}

/** All sections of a message for people, as lines. */
export function describe(message: DecodedMessage): string {
  const { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, footer } = message;
  const lines: string[] = [];
  const sections = { header, deliveryAnnotations, messageAnnotations, properties, applicationProperties, footer };
  for (const [section, fields] of Object.entries(sections)) {
    if (fields === undefined) continue;
    for (const [name, content] of Object.entries(toJson(fields, { exact: false }) as { [key: string]: Json })) {
      const shown = typeof content === "string" ? content : JSON.stringify(content);
      // A line each, whatever a name or a text has in it.
      lines.push(oneLine(`${section}.${name}: ${shown}`));
    }
  }
  return [...lines, bodyText(message), ""].join("\n");
}

function ofBase64(text: string): Uint8Array {
  try {
    return decodeBase64(text);
  } catch {
    throw new UsageError(`data "${text.slice(0, 20)}" is not base64`);
  }
}
