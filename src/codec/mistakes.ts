/**
 * Errors of messages that nobody can have meant: unknown fields, values without a wire type. Each error says what was meant;
 * nothing of a message is dropped silently.
 *
 * @module
 */

import { DataBody } from "./body.ts";
import { describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { definitions, sections } from "./definitions.ts";
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
  content: "body",
  payload: "body",
  data: "body",
  value: "body",
};

/**
 * Checks that all fields of a message are sections.
 *
 * @throws {TypeError} If they are not, or it is no object; the error says where the first other field belongs.
 */
export function checkMessage(message: unknown): void {
  if (typeof message !== "object" || message === null) {
    throw new TypeError(
      `Cannot encode message: it is ${describeKind(message)}, not an object such as { body: "text" }`,
    );
  }
  for (const key in message) {
    switch (key) {
      case "body":
      case "properties":
      case "applicationProperties":
      case "header":
      case "messageAnnotations":
      case "deliveryAnnotations":
      case "footer":
        break;
      default:
        throw new TypeError(`Cannot encode message: ${placeOf(key)}`);
    }
  }
}

/**
 * Checks the names of the fields of a header or of properties.
 *
 * @throws {TypeError} If a name is unknown; the error says where the field belongs.
 */
export function checkFields(section: "header" | "properties", given: object): void {
  for (const key in given) {
    if (!Object.hasOwn(definitions[section].fields, key)) {
      throw new TypeError(`Cannot encode ${section}: ${placeOf(key, section)}`);
    }
  }
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

/** Adds to an error the path of the value that has no wire type, such as `body.items[2].fn`, and a remedy. */
export function explained(error: unknown, body: unknown): unknown {
  if (!(error instanceof TypeError || error instanceof RangeError)) return error;
  const found = locate(body, "body", []);
  if (found === undefined) return error;
  const Class = error instanceof TypeError ? TypeError : RangeError;
  const { path, value, cyclic } = found;
  if (cyclic) return new TypeError(`Cannot encode body: ${path} holds itself`, { cause: error });
  const remedy = remedyFor(value);
  if (path === "body" && remedy === "") return error;
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
  const entries = value instanceof Map ? [...value] : isRecord(value) ? Object.entries(value) : [];
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

function remedyFor(value: unknown): string {
  if (typeof value === "bigint") return ": ulong(n) reaches to 2^64-1";
  if (typeof value !== "object" || value === null) return "";
  if (value instanceof ArrayBuffer) return ": write new Uint8Array(buffer)";
  if (ArrayBuffer.isView(value)) {
    return ': write new Uint8Array(view.buffer, view.byteOffset, view.byteLength), or array("double", [...view])';
  }
  if (value instanceof Promise) return ": await it first";
  if (value instanceof Set) return ": write [...set]";
  if (value instanceof URL) return ": write String(url)";
  // Forms, search parameters and headers, which are empty in JSON.
  if ("entries" in value && !isRecord(value)) return ": write new Map(value)";
  if (value instanceof Blob) return ": write new Uint8Array(await blob.arrayBuffer())";
  if (value instanceof ReadableStream) return ": stream() of a sender takes it";
  return isRecord(value) || value instanceof DataBody ? "" : ": json(value) sends it as JSON";
}
