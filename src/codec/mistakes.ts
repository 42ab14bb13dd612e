/**
 * Explains errors of messages that nobody can have meant: unknown fields, values without a wire type. A program loads this file
 * when it has made such a mistake.
 *
 * @module
 */

import { isDate, isMap, isPromise } from "../base/kinds.ts";
import { describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { definitions, sections } from "./definitions.ts";
import { DataBody, type Message, SequenceBody, ValueBody } from "./message.ts";
import { AmqpArray, Described, Typed } from "./values.ts";
import { isRecord, Writer } from "./writer.ts";

// Fields of other libraries; names of the specification are found without this table.
const ELSEWHERE: { readonly [name: string]: string } = {
  id: "properties.messageId",
  sessionId: "properties.groupId",
  replyToSessionId: "properties.replyToGroupId",
  timeToLive: "header.ttl",
  partitionKey: 'messageAnnotations["x-opt-partition-key"]',
  scheduledEnqueueTimeUtc: 'messageAnnotations["x-opt-scheduled-enqueue-time"]',
  headers: "applicationProperties",
  persistent: "header.durable",
  expiration: "header.ttl",
  type: "properties.subject",
  routingKey: "the address",
  content: "body",
  payload: "body",
  data: "body",
  value: "body",
};

// The sections that are maps of names.
const FIELDS = [
  "header",
  "deliveryAnnotations",
  "messageAnnotations",
  "properties",
  "applicationProperties",
  "footer",
] as const;

/**
 * Returns the error of a message that cannot be written in more words: the section of a misplaced field, or the path of a value
 * without a wire type, such as `body.items[2].fn`, and a remedy. Any other error is returned unchanged.
 */
export function explainMessage(error: unknown, message: unknown): unknown {
  const isMistake = error instanceof TypeError || error instanceof RangeError;
  if (!isMistake || typeof message !== "object" || message === null) return error;
  if (Array.isArray(message)) {
    return new TypeError("Cannot encode message: it is an array, sendAll() of a sender takes several messages");
  }
  if (isPromise(message)) return new TypeError("Cannot encode message: it is a promise, await it first");
  if (message instanceof DataBody || message instanceof ValueBody || message instanceof SequenceBody) {
    return new TypeError(
      "Cannot encode message: it is a body, write { body: json(value) }, and likewise for data, value and sequence",
    );
  }
  if ("message" in message && "accept" in message) {
    return new TypeError('Cannot encode message: it is a delivery, give its "message"');
  }
  if ("payload" in message && "messageFormat" in message) {
    return new TypeError(
      "Cannot encode message: it is a batch, write send(batch.payload, { messageFormat: BATCH_FORMAT })",
    );
  }
  for (const section of FIELDS) {
    const fields: unknown = (message as Message)[section];
    const isInstance = describeKind(fields).startsWith("an object of class ") && !isMap(fields);
    // Fields of header and properties are looked up by their names, so an instance of a class does as well.
    if (fields === undefined || isRecord(fields) || isInstance && (section === "header" || section === "properties")) {
      continue;
    }
    const remedy = isMap(fields) ? "write Object.fromEntries(map)" : "give an object such as { name: value }";
    return new TypeError(`Cannot encode message: ${section} is ${describeKind(fields)}, ${remedy}`);
  }
  const { header, properties, body } = message as Message;
  for (const [what, given] of Object.entries({ message, header, properties })) {
    const within = what === "message" ? undefined : what;
    for (const key in given) {
      if (error.message.startsWith(`Cannot encode ${what}: there is no field ${quote(key)},`)) {
        return new TypeError(`Cannot encode ${what}: ${placeOf(key, within)}`);
      }
    }
  }
  if (error.message.endsWith("is not a simple value")) {
    const values = Object.values((message as Message).applicationProperties ?? {});
    if (values.some(isOfAnotherCopy)) return new TypeError(`${error.message}${OTHER_COPY}`);
    return new TypeError(
      `${error.message}; give a string, number, boolean, date or bytes, nested values belong in body`,
    );
  }
  for (const section of ["applicationProperties", "messageAnnotations", "deliveryAnnotations", "footer"] as const) {
    const found = located(error, (message as Message)[section], section);
    if (found !== error) return found;
  }
  return located(
    error,
    body instanceof ValueBody ? body.value : body instanceof SequenceBody ? body.lists : body,
    "body",
  );
}

function placeOf(key: string, within?: string): string {
  // In the spelling of rhea and Python.
  const name = key.replace(/[_-](.)/g, (_, first: string) => first.toUpperCase());
  const section = (["properties", "header"] as const).find((section) =>
    Object.hasOwn(definitions[section].fields, name)
  );
  if (section !== undefined) {
    const rename = name === key ? "" : ` as "${name}"`;
    return section === within ? `${quote(key)} is "${name}" here` : `${quote(key)} belongs in ${section}${rename}`;
  }
  if (Object.hasOwn(sections, name)) return `${quote(key)} is ${ELSEWHERE[name] ?? name} here`;
  const place = Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name] : undefined;
  if (place !== undefined) return `${quote(key)} belongs in ${place}`;
  if (within !== undefined) {
    return `there is no field ${quote(key)}, fields of your own belong in applicationProperties`;
  }
  return `there is no field ${quote(key)}, what the message carries belongs in body`;
}

function located(error: TypeError | RangeError, content: unknown, section: string): unknown {
  const found = locate(content, section, []);
  if (found === undefined) return error;
  const Class = error instanceof TypeError ? TypeError : RangeError;
  const { path, value, cyclic } = found;
  if (cyclic) return new TypeError(`Cannot encode ${section}: ${path} holds itself`, { cause: error });
  const remedy = remedyFor(value, section);
  if (path === section && remedy === "") return error;
  return new Class(`${error.message} (${path}${remedy})`, { cause: error });
}

interface Found {
  path: string;
  value: unknown;
  cyclic: boolean;
}

// Runs only when encoding has failed: finds the innermost value that fails by itself.
function locate(value: unknown, path: string, above: unknown[]): Found | undefined {
  if (above.includes(value)) return { path, value, cyclic: true };
  if (encodes(value)) return undefined;
  if (typeof value === "object" && value !== null && above.length < 100) {
    const within = [...above, value];
    for (const [part, child] of childrenOf(value)) {
      const found = locate(child, path + part, within);
      if (found !== undefined) return found;
    }
  }
  return { path, value, cyclic: false };
}

function childrenOf(value: object): Iterable<[string, unknown]> {
  if (Array.isArray(value)) return value.map((child, i): [string, unknown] => [`[${i}]`, child]);
  const entries = isMap(value) ? [...value] : isRecord(value) ? Object.entries(value) : [];
  return entries.map(([key, child]): [string, unknown] => {
    return [typeof key === "string" && /^[\w$]{1,64}$/.test(key) ? `.${key}` : `[${quote(String(key))}]`, child];
  });
}

function encodes(value: unknown): boolean {
  try {
    new Writer(64).value(value as null);
    return true;
  } catch {
    return false;
  }
}

const OTHER_COPY = ": it is of another copy or version of this package, load one alone";

// Whether a value is of a class that has the name of one of this package, and is none of them.
function isOfAnotherCopy(value: unknown): boolean {
  const own = [Typed, Described, AmqpArray, DataBody, SequenceBody, ValueBody];
  const name: unknown = Object(value).constructor?.name;
  return own.some((Class) => Class.name === name) && !own.some((Class) => value instanceof Class);
}

function remedyFor(value: unknown, section: string): string {
  if (typeof value === "bigint") return ": ulong(n) reaches to 2^64-1";
  if (typeof value !== "object" || value === null) return "";
  if (isOfAnotherCopy(value)) return OTHER_COPY;
  if (value instanceof ArrayBuffer) return ": write new Uint8Array(buffer)";
  if (ArrayBuffer.isView(value)) {
    return ': write new Uint8Array(view.buffer, view.byteOffset, view.byteLength), or array("double", [...view])';
  }
  if (isPromise(value)) return ": await it first";
  if (value instanceof Error) return ": write String(error)";
  if (value instanceof RegExp) return ": write value.source";
  if (value instanceof Response || value instanceof Request) return ": write new Uint8Array(await value.arrayBuffer())";
  // A form may have files, for which JSON and maps have no place.
  if (value instanceof FormData) return ": write new Map(value) if it has no files";
  if (value instanceof Set) return ": write [...set]";
  if (value instanceof URL) return ": write String(url)";
  // Forms, search parameters and headers, which are empty in JSON.
  if ("entries" in value && !isRecord(value)) return ": write new Map(value)";
  if (value instanceof Blob) return ": write new Uint8Array(await blob.arrayBuffer())";
  if (value instanceof ReadableStream) return ": stream() of a sender takes it";
  if (isRecord(value) || value instanceof DataBody || section !== "body") return "";
  return isDate(value) ? ": it is no valid date" : ": json(value) sends it as JSON";
}
