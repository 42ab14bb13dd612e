/**
 * Errors on their way between the wire and the endpoint that they end.
 *
 * @module
 */

import { AmqpError, type ErrorScope } from "../base/errors.ts";
import { printable, toWellFormed } from "../base/text.ts";
import { unreadOf } from "../codec/composite.ts";
import type { Attach, Coordinator, ErrorFields, Performative, Source, Target, UnknownState } from "../codec/types.ts";

/** An endpoint that a violation by the peer can end: a connection, a session or a link. */
export interface Endpoint {
  /** Ends the endpoint with the performative of its scope, which carries `error`. */
  fail(error: AmqpError): void;
}

/** An endpoint that writes frames: a session or a link. */
export interface FrameEndpoint extends Endpoint {
  /** The state; at `"ended"` and `"detached"` nothing more is written. */
  readonly state: string;
  /** Ends an endpoint whose begin or attach could not be written. */
  abandon(error: AmqpError): void;
}

/** A violation by the peer, found while its bytes were handled; `receive` turns it into close, end or detach. */
export class Fault extends Error {
  readonly endpoint: Endpoint;
  readonly error: AmqpError;

  constructor(endpoint: Endpoint, error: AmqpError) {
    super(error.message);
    this.endpoint = endpoint;
    this.error = error;
  }
}

// The frame that carries an error should fit the 512 bytes that every peer accepts [transport 2.4.1].
const MAX_DESCRIPTION_LENGTH = 200;

/** The `error` field of close, end, detach and rejected. */
export function toErrorFields(error: AmqpError | ErrorFields): ErrorFields {
  // Of this copy of the package or another: only an error has a message.
  if (!("message" in error)) return error;
  const fields: ErrorFields = {
    condition: error.condition,
    // A string that is cut inside a surrogate pair cannot be encoded.
    description: toWellFormed(error.message.slice(0, MAX_DESCRIPTION_LENGTH)),
  };
  if (error.info !== undefined) fields.info = error.info as ErrorFields["info"];
  return fields;
}

/** Drops the info, or else the description, of an error that does not fit; undefined when there is neither. */
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

/** The error of a performative of which a part could not be read. */
export function faultOf(body: Performative, scope: ErrorScope): AmqpError | undefined {
  const unread = unreadOf(body);
  return unread && faultOfUnknown(unread, scope);
}

/** The error of an attach of which a part could not be read; without its termini it is one that is refused. */
export function faultOfAttach(attach: Attach): AmqpError | undefined {
  const termini: (UnknownState | Source | Target | Coordinator | undefined)[] = [attach.source, attach.target];
  const unknown = termini.find((terminus) => terminus?.kind === "unknown") as UnknownState | undefined;
  const unread = unknown ?? unreadOf(attach);
  if (unread === undefined) return undefined;
  attach.source = attach.target = undefined;
  return faultOfUnknown(unread, "link");
}

function faultOfUnknown({ error: { condition, description } }: UnknownState, scope: ErrorScope): AmqpError {
  return new AmqpError(condition, description!, { scope });
}
