/**
 * What a message carries: the three kinds of body, and how they are asked for.
 *
 * @module
 */

import { concat } from "@std/bytes";
import { utf8 } from "../base/text.ts";
import type { Value } from "./values.ts";

/** A body of data sections: bytes, in one or more chunks that mean the same as one. */
export class DataBody {
  /** The sections. */
  readonly chunks: readonly Uint8Array[];
  /** The content type of the message, if its properties have none. */
  readonly contentType: string | undefined;

  /** Makes a body of these sections. */
  constructor(chunks: readonly Uint8Array[], contentType?: string) {
    this.chunks = chunks;
    this.contentType = contentType;
  }
}

/** A body of sequence sections: lists, in one or more parts that mean the same as one. */
export class SequenceBody {
  /** The sections. */
  readonly lists: readonly Value[][];

  /** Makes a body of these sections. */
  constructor(lists: readonly Value[][]) {
    this.lists = lists;
  }
}

/** A body that is one AMQP value. */
export class ValueBody {
  /** The value. */
  readonly value: Value;

  /** Makes a body of this value. */
  constructor(value: Value) {
    this.value = value;
  }
}

/**
 * What a message may carry.
 *
 * A bare `Uint8Array` is one data section, any other bare value an AMQP value; {@linkcode data},
 * {@linkcode sequence} and {@linkcode value} ask for the exact kind.
 */
export type Body = Value | DataBody | SequenceBody | ValueBody;

/** A body of data sections. */
export function data(chunks: Uint8Array | readonly Uint8Array[]): DataBody {
  return new DataBody(chunks instanceof Uint8Array ? [chunks] : chunks);
}

/** A body of sequence sections. */
export function sequence(lists: readonly Value[][]): SequenceBody {
  return new SequenceBody(lists);
}

/** A body that is one AMQP value; needed only for a binary, which would be a data section otherwise. */
export function value(value: Value): ValueBody {
  return new ValueBody(value);
}

/**
 * A body of one data section that holds a value as JSON. The message's content type becomes `application/json` if
 * its properties have none.
 *
 * @throws {TypeError} If JSON has no form of the value.
 */
export function json(value: unknown): DataBody {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`Cannot encode body: JSON has no form of ${typeof value}`);
  return new DataBody([utf8(text)], "application/json");
}

/** The bytes of a body that is data, a binary, or text; no body has none. */
export function bytesOf(body: Body): Uint8Array {
  const plain = body instanceof ValueBody ? body.value : body;
  if (plain instanceof Uint8Array) return plain;
  if (plain instanceof DataBody) return plain.chunks.length === 1 ? plain.chunks[0] : concat(plain.chunks);
  if (plain === null) return new Uint8Array(0);
  if (typeof plain === "string") return utf8(plain);
  throw new TypeError("Cannot read body as bytes: it is neither data nor text");
}

/** The text of a body that is text, or bytes that are taken as UTF-8. */
export function textOf(body: Body): string {
  const plain = body instanceof ValueBody ? body.value : body;
  // Not the decoder for strings on the wire: like that of a Response, this one forgives.
  return typeof plain === "string" ? plain : new TextDecoder().decode(bytesOf(plain));
}
