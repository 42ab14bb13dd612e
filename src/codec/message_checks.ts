/**
 * Checks of a message that is about to be written: nothing that a program gives is dropped in silence.
 *
 * @module
 */

import { isBytes, isDate, isMap } from "../base/kinds.ts";
import { describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { definitions } from "./definitions.ts";
import { isRecord } from "./writer.ts";
import { Described, type SimpleValue, Typed } from "./values.ts";

const SECTIONS = [
  "body",
  "properties",
  "applicationProperties",
  "header",
  "messageAnnotations",
  "deliveryAnnotations",
  "footer",
];

/** Throws a TypeError if a message is no object, or has a field that is no section: nothing is dropped in silence. */
export function checkMessage(message: unknown): void {
  if (typeof message !== "object" || message === null) {
    const given = describeKind(message);
    throw new TypeError(`Cannot encode message: it is ${given}, not an object such as { body: "text" }`);
  }
  let isEmpty = true;
  for (const key in message) {
    isEmpty = false;
    // The sections of most messages are compared one by one, which costs each 50 ns less than the list.
    const isUsual = key === "body" || key === "properties" || key === "applicationProperties" || key === "header";
    if (!isUsual && !SECTIONS.includes(key)) throw absent("message", key, SECTIONS);
  }
  // An error, a promise or a map would be sent as a message without a body.
  if (isEmpty && !isRecord(message) && !("body" in message)) {
    throw new TypeError(
      `Cannot encode message: it is ${describeKind(message)}, not an object such as { body: "text" }`,
    );
  }
}

/**
 * Throws a TypeError if bytes that are to be sent as an encoded message are text: a program that gives them means a body. Any other
 * bytes that are no message are the program's affair; every section begins with 0x00 [types 1.1.2].
 */
export function checkEncoded(bytes: Uint8Array): void {
  if (bytes[0]! >= 0x20 && bytes[0]! < 0x7f) {
    throw new TypeError("Cannot encode message: the bytes are text and no encoded message, write { body: bytes }");
  }
}

/** Throws a TypeError if a header or properties have a field that does not exist. */
export function checkFields(section: "header" | "properties", given: object): void {
  const { fields } = definitions[section];
  if (typeof given !== "object" || given === null || isMap(given)) {
    throw new TypeError(`Cannot encode ${section}: it is ${describeKind(given)}`);
  }
  for (const key in given) if (!Object.hasOwn(fields, key)) throw absent(section, key, Object.keys(fields));
}

function absent(what: string, key: string, names: string[]): TypeError {
  return new TypeError(`Cannot encode ${what}: there is no field ${quote(key)}, but ${names.join(", ")}`);
}

/** Whether a value may be an application property by the letter: those route and filter, and are not compound [messaging 3.2.5]. */
export function isSimple(value: unknown): boolean {
  if (typeof value !== "object" || value === null || isDate(value) || isBytes(value)) return true;
  return value instanceof Typed && value.type !== "list" && value.type !== "map" && value.type !== "array";
}

/** Throws a TypeError if a value is no application property; a described one, as .NET writes times and URIs, is. */
export function checkSimple(key: string, value: SimpleValue | undefined): void {
  if (isSimple(value) || value instanceof Described) return;
  throw new TypeError(`Cannot encode application properties: ${quote(key)} is not a simple value`);
}
