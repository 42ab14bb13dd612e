/**
 * The expiry, delivery time and group of a message.
 *
 * @module
 */

import type { Environment } from "../base/environment.ts";
import { isDate } from "../base/kinds.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { GROUPS } from "./dispatcher.ts";

// Reading the time is a call of the runtime, which most messages need not cost.
type Clock = Pick<Environment, "now">;

// The indices of these standard properties [messaging 3.2.4].
const ABSOLUTE_EXPIRY_TIME = 8;
const GROUP_ID = 10;

/** The time at which a message expires, the earlier one of a message that names two [messaging 3.2.1]; Infinity for never. */
export function expiresAt(message: EncodedMessage, clock: Clock): number {
  const byTtl = message.expires ? clock.now() + message.header!.ttl! : Infinity;
  if (message.propertyCount <= ABSOLUTE_EXPIRY_TIME) return byTtl;
  const time = milliseconds(message.properties.absoluteExpiryTime);
  return time === undefined ? byTtl : Math.min(byTtl, clock.now() + time - Date.now());
}

// The annotations that say when a message may be delivered: of JMS clients, of Service Bus and of Broker-J.
const DELIVERY_TIMES = ["x-opt-delivery-time", "x-opt-scheduled-enqueue-time", "x-qpid-not-valid-before"] as const;
// What they begin with, which few other messages contain.
const DELIVERY_MARKS = ["x-opt-delivery-", "x-opt-scheduled-", "x-qpid-not-valid-"] as const;

/** The earliest time at which a message may be delivered; undefined for any. A time takes precedence over a delay. */
export function deliverAt(message: EncodedMessage, clock: Clock): number | undefined {
  // As most messages: without any annotations.
  if (message.annotationsAt === message.bareAt) return undefined;
  if (!DELIVERY_MARKS.some((mark) => message.annotationsMention(mark))) return undefined;
  const annotations = message.messageAnnotations();
  for (const name of DELIVERY_TIMES) {
    const time = milliseconds(annotations[name]);
    if (time !== undefined) return clock.now() + time - Date.now();
  }
  const delay = milliseconds(annotations["x-opt-delivery-delay"]);
  return delay === undefined ? undefined : clock.now() + delay;
}

/** The index of a message's group in its queue; -1 for none. */
export function groupOf(message: EncodedMessage): number {
  if (message.propertyCount <= GROUP_ID) return -1;
  const { groupId } = message.properties;
  if (groupId === undefined) return -1;
  let hash = 0;
  for (let i = 0; i < groupId.length; i++) hash = (Math.imul(hash, 31) + groupId.charCodeAt(i)) | 0;
  return (hash >>> 0) % GROUPS;
}

/**
 * Reads what the functions above read beside the annotations, which were read when the message came.
 *
 * @throws {AmqpError} With `amqp:decode-error` if it is malformed.
 */
export function checkSchedule(message: EncodedMessage): void {
  if (message.propertyCount > ABSOLUTE_EXPIRY_TIME) void message.properties;
}

function milliseconds(value: unknown): number | undefined {
  if (isDate(value)) return value.getTime();
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "number") return value;
  const inner = (value as { value?: unknown } | undefined)?.value;
  return inner === undefined ? undefined : milliseconds(inner);
}
