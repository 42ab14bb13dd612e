/**
 * Errors on their way between the wire and the endpoint that they end.
 *
 * @module
 */

import { AmqpError, type ErrorScope } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import type { ErrorFields } from "../codec/types.ts";

/** What a violation by the peer ends: a connection, a session or a link. */
export interface Endpoint {
  /** Ends the endpoint with the performative of its scope, which carries `error`. */
  fail(error: AmqpError): void;
}

/** What writes frames: a session or a link. */
export interface FrameEndpoint extends Endpoint {
  /** Where the endpoint stands; `"ended"` and `"detached"` when nothing more is to be written. */
  readonly state: string;
  /** Ends an endpoint whose begin or attach could not be written. */
  abandon(error: AmqpError): void;
}

/** A violation by the peer, found while its bytes were handled; `receive` turns it into close, end or detach. */
export class Fault extends Error {
  /** What ends. */
  readonly endpoint: Endpoint;
  /** What it ends with. */
  readonly error: AmqpError;

  /** Blames the peer for `error`, which ends `endpoint`. */
  constructor(endpoint: Endpoint, error: AmqpError) {
    super(error.message);
    this.endpoint = endpoint;
    this.error = error;
  }
}

// What an endpoint ends with should fit the 512 bytes that every peer takes [transport 2.4.1].
const MAX_DESCRIPTION_LENGTH = 200;

/** The `error` field of close, end, detach and rejected. */
export function toErrorFields(error: AmqpError): ErrorFields {
  const fields: ErrorFields = {
    condition: error.condition,
    // Cut in the middle of a character, a text is none that can be encoded.
    description: error.message.slice(0, MAX_DESCRIPTION_LENGTH).toWellFormed(),
  };
  if (error.info !== undefined) fields.info = error.info as ErrorFields["info"];
  return fields;
}

/** The error with less of an explanation, for where all of it does not fit; undefined when there is none to leave out. */
export function shortened({ condition, description, info }: ErrorFields): ErrorFields | undefined {
  return info !== undefined ? { condition, description } : description !== undefined ? { condition } : undefined;
}

/** The error that the peer reported for `what`, such as `Link "orders" detached`. */
export function fromErrorFields(fields: ErrorFields, what: string, scope: ErrorScope): AmqpError {
  const description = fields.description === undefined ? "" : `: ${printable(fields.description)}`;
  return new AmqpError(fields.condition, `${what} by peer with ${printable(fields.condition)}${description}`, {
    scope,
    remote: true,
    info: fields.info,
  });
}
