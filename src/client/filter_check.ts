/**
 * Compares the filters in force at a source with the requested ones [messaging 3.5.3].
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Attach } from "../codec/types.ts";
import { Described, type Fields, type Value } from "../codec/values.ts";
import { Writer } from "../codec/writer.ts";

/** The error if the peer's attach leaves out or changes a requested filter; undefined when all are in force. */
export function filterDifference(local: Attach | undefined, remote: Attach | undefined): AmqpError | undefined {
  const asked = local?.source?.filter;
  // A peer without a source is about to refuse the link.
  if (asked == null || remote?.source === undefined) return undefined;
  const inForce = remote.source.filter ?? {};
  const dropped = Object.keys(asked).filter((name) => !isInForce(name, asked[name]!, inForce));
  if (dropped.length === 0) return undefined;
  const names = dropped.map((name) => quote(name)).join(", ");
  return new AmqpError(
    condition.notImplemented,
    `Cannot receive from ${quote(local!.source!.address ?? "a dynamic node")}: peer does not apply filter ${names}; ` +
      'with filterMismatch "ignore" unfiltered messages are taken',
    { scope: "link", retryable: false },
  );
}

function isInForce(name: string, asked: Value, inForce: Fields): boolean {
  // Null requests no filter.
  if (asked === null) return true;
  const same = bytesOf(asked);
  if (Object.hasOwn(inForce, name)) return bytesOf(inForce[name]!) === same;
  // The peer may know the filter by another name, but not by another descriptor.
  return Object.values(inForce).some((value) =>
    value instanceof Described && asked instanceof Described && value.descriptor === asked.descriptor &&
    bytesOf(value) === same
  );
}

// Without the descriptor: the peer may return the other of its two forms, symbolic or numeric.
function bytesOf(value: Value): string {
  const writer = new Writer(64);
  writer.value(value instanceof Described ? value.value : value);
  return String(writer.take());
}
