/**
 * Message bodies: the three kinds, and their conversions.
 *
 * @module
 */

import { isBytes, isDate, isMap } from "../base/kinds.ts";
import { hex, utf8 } from "../base/text.ts";
import { decodeUtf8, joined } from "./primitives.ts";
import { AmqpArray, Described, Typed, type Value } from "./values.ts";

/**
 * A body of data sections: bytes, in one or more chunks that mean the same as one.
 *
 * @example
 * ```ts
 * import { DataBody, type DecodedMessage } from "@webamqp/amqp";
 *
 * function size({ body }: DecodedMessage): number {
 *   return body instanceof DataBody ? body.chunks.reduce((sum, chunk) => sum + chunk.length, 0) : 0;
 * }
 *
 * console.assert(new DataBody([new Uint8Array(3)], "text/plain").contentType === "text/plain");
 * ```
 */
export class DataBody {
  /** The data sections. */
  readonly chunks: readonly Uint8Array[];
  /** The content type for a message whose properties have none. */
  readonly contentType: string | undefined;

  /** Makes a body of these sections. */
  constructor(chunks: readonly Uint8Array[], contentType?: string) {
    this.chunks = chunks;
    this.contentType = contentType;
  }
}

/**
 * A body of sequence sections: lists, in one or more parts that mean the same as one.
 *
 * @example
 * ```ts
 * import { type DecodedMessage, SequenceBody } from "@webamqp/amqp";
 *
 * function rows({ body }: DecodedMessage): number {
 *   return body instanceof SequenceBody ? body.lists.length : 0;
 * }
 * ```
 */
export class SequenceBody {
  /** The sequence sections. */
  readonly lists: readonly Value[][];

  /** Makes a body of these sections. */
  constructor(lists: readonly Value[][]) {
    this.lists = lists;
  }
}

/**
 * A body of one AMQP value.
 *
 * @example
 * ```ts
 * import { type DecodedMessage, ValueBody } from "@webamqp/amqp";
 *
 * // Whether the body is a binary as a value, and not data.
 * function isBinary({ body }: DecodedMessage): boolean {
 *   return body instanceof ValueBody;
 * }
 * ```
 */
export class ValueBody {
  /** The value. */
  readonly value: Value;

  /** Makes a body of this value. */
  constructor(value: Value) {
    this.value = value;
  }
}

/**
 * Any body of a message.
 *
 * A bare `Uint8Array` is one data section, any other bare value an AMQP value; {@linkcode data}, {@linkcode sequence} and
 * {@linkcode value} choose the kind.
 */
export type Body = Value | DataBody | SequenceBody | ValueBody;

/**
 * An object of the program's own type, such as one that an interface describes: its fields become the entries of a map,
 * undefined ones null. Functions, promises, sets and buffers are excluded: use {@linkcode json} or a conversion for them.
 */
export type PlainObject = object & {
  readonly bind?: never;
  readonly then?: never;
  readonly [Symbol.iterator]?: never;
  readonly [Symbol.toStringTag]?: never;
};

/**
 * A value that can be sent as an AMQP value: wider than {@linkcode Value}, the type of received values. The contents of an
 * object are checked when it is sent.
 */
export type SendableValue =
  | Value
  | PlainObject
  | { readonly [key: string]: SendableValue | undefined }
  | readonly SendableValue[]
  | ReadonlyMap<SendableValue, SendableValue>;

/**
 * A body of data sections.
 *
 * @throws {TypeError} If `chunks` are neither bytes nor an array of them.
 *
 * @example
 * ```ts
 * import { data } from "@webamqp/amqp";
 *
 * console.assert(data([Uint8Array.of(1), Uint8Array.of(2, 3)]).chunks.length === 2);
 * ```
 */
export function data(chunks: Uint8Array | readonly Uint8Array[]): DataBody {
  const list = isBytes(chunks) ? [chunks] : chunks;
  if (!Array.isArray(list) || !list.every((chunk) => isBytes(chunk))) {
    throw new TypeError("Cannot make data: give bytes or an array of them, such as new TextEncoder().encode(text)");
  }
  return new DataBody(list);
}

/**
 * A body of sequence sections.
 *
 * @throws {TypeError} If `lists` is no array of arrays.
 *
 * @example
 * ```ts
 * import { sequence } from "@webamqp/amqp";
 *
 * console.assert(sequence([[1, "a"], [2, "b"]]).lists.length === 2);
 * ```
 */
export function sequence(lists: readonly (readonly SendableValue[])[]): SequenceBody {
  if (!Array.isArray(lists) || !lists.every(Array.isArray)) {
    throw new TypeError("Cannot make sequence: give an array of arrays, one for each section");
  }
  return new SequenceBody(lists as readonly Value[][]);
}

/**
 * A body of one AMQP value; needed only for a binary, which would be a data section otherwise.
 *
 * @example
 * ```ts
 * import { value } from "@webamqp/amqp";
 *
 * console.assert(value(Uint8Array.of(1, 2)).value instanceof Uint8Array);
 * ```
 */
export function value(value: SendableValue): ValueBody {
  return new ValueBody(value as Value);
}

/**
 * A body of one data section that holds a value as JSON. The content type becomes `application/json` if the message's
 * properties have none.
 *
 * @throws {TypeError} If the value has no form in JSON.
 *
 * @example
 * ```ts
 * import { json, type Sender } from "@webamqp/amqp";
 *
 * async function order(orders: Sender) {
 *   await orders.send({ body: json({ product: "coffee", price: 3.2 }) });
 * }
 * ```
 */
export function json(value: unknown): DataBody {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new TypeError(`Cannot encode body as JSON: ${(error as Error).message}`, { cause: error });
  }
  if (text === undefined) throw new TypeError(`Cannot encode body: JSON has no form of ${typeof value}`);
  return new DataBody([utf8(text)], "application/json");
}

/** The bytes of a body of data, a binary, or text; none for null. */
export function bytesOf(body: Body, what = "bytes"): Uint8Array {
  const plain = body instanceof ValueBody ? body.value : body;
  if (isBytes(plain)) return plain;
  if (plain instanceof DataBody) return plain.chunks.length === 1 ? plain.chunks[0] : joined(plain.chunks);
  if (plain === null) return new Uint8Array(0);
  if (typeof plain === "string") return utf8(plain);
  const [kind, call] = kindOf(plain);
  throw new TypeError(`Cannot read body as ${what}: it is ${kind}, ${call}`);
}

/** The text of a body of text, or of bytes in UTF-8. */
export function textOf(body: Body): string {
  const plain = body instanceof ValueBody ? body.value : body;
  // Unlike the decoder for strings on the wire, this one replaces invalid bytes, as that of a Response does.
  return typeof plain === "string" ? plain : new TextDecoder().decode(bytesOf(plain, "text"));
}

/** The plain JavaScript value of a body. */
export function jsonOf(body: Body): unknown {
  const plain = body instanceof ValueBody ? body.value : body;
  if (plain === undefined) return bytesOf(plain, "JSON");
  if (typeof plain !== "string" && !isBytes(plain) && !(plain instanceof DataBody)) {
    return plainOf(plain);
  }
  const text = textOf(plain);
  try {
    return JSON.parse(text);
  } catch (error) {
    const state = text === "" ? "it is empty" : (error as Error).message;
    throw new SyntaxError(`Cannot read body as JSON: ${state}, text() and bytes() give it as it is`, { cause: error });
  }
}

/** A body or section in a form that people can read and `JSON.stringify` accepts. */
export function shownBody(body: unknown): unknown {
  return JSON.parse(
    JSON.stringify(plainOf(body as Body), (_, value) => {
      if (typeof value === "bigint") return String(value);
      return value;
    }) ?? "null",
  );
}

function plainOf(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value !== "object" || value === null || isDate(value)) return value;
  if (isBytes(value)) return readable(value);
  if (value instanceof DataBody) return readable(bytesOf(value));
  if (value instanceof SequenceBody) return plainOf(value.lists.flat());
  if (value instanceof ValueBody || value instanceof Typed || value instanceof Described) return plainOf(value.value);
  if (value instanceof AmqpArray) return value.items.map(plainOf);
  if (Array.isArray(value)) return value.map(plainOf);
  const plain: Record<string, unknown> = {};
  for (const [key, entry] of isMap(value) ? value : Object.entries(value)) {
    // By definition instead of assignment: a key may be "__proto__".
    Object.defineProperty(plain, textKey(key), {
      value: plainOf(entry),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return plain;
}

function textKey(key: unknown): string {
  return isBytes(key) ? hex(key) : typeof key === "object" && key !== null ? JSON.stringify(plainOf(key)) : String(key);
}

function readable(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes);
  // Bytes of zeros are valid UTF-8, but no text.
  return text === undefined || text.includes("\0") ? hex(bytes) : text;
}

function kindOf(value: unknown): [kind: string, call: string] {
  if (value === undefined) return ["streamed", "await text(), json() or bytes() of the delivery, or read its stream()"];
  if (value instanceof SequenceBody) return ["a sequence", "json() gives it as an array"];
  if (isMap(value)) return ["a map", "json() gives it as an object"];
  if (Array.isArray(value) || value instanceof AmqpArray) return ["a list", "json() gives it as an array"];
  if (value instanceof Typed) return [`of type ${value.type}`, "body has the value"];
  if (value instanceof Described) return ["a described value", "body has it"];
  if (isDate(value)) return ["a timestamp", "body has the Date"];
  return typeof value === "object"
    ? ["a map", "json() gives it as an object"]
    : [`a ${typeof value}`, "body has the value"];
}

/** A body with one more data section; it is null before the first. */
export function joinedData(body: Body, chunk: Uint8Array): Body {
  if (body === null) return chunk;
  if (!(body instanceof DataBody)) return new DataBody([body as Uint8Array, chunk]);
  (body.chunks as Uint8Array[]).push(chunk);
  return body;
}

/** A body with one more sequence; it is null before the first. */
export function joinedSequence(body: Body, list: Value[]): Body {
  if (!(body instanceof SequenceBody)) return new SequenceBody([list]);
  (body.lists as Value[][]).push(list);
  return body;
}
