/**
 * The decisions on deliveries left unsettled when their link was lost: each side lists its own in the attach, and the two
 * lists decide [transport 2.6.13]. The link that attaches carries the decisions out.
 *
 * @module
 */

import { encodeComposite } from "../codec/composite.ts";
import type { Composite, DeliveryState, Outcome, Received } from "../codec/types.ts";
import { sectionEnds } from "../codec/primitives.ts";
import { Writer } from "../codec/writer.ts";

/** One side's state of a delivery: null for none, undefined for an unlisted delivery. */
export type ListedState = DeliveryState | null | undefined;

/** The sender's decision on an unsettled delivery. */
export type SenderDecision =
  /** The receiver has nothing of it: it is sent as a new delivery. */
  | { readonly kind: "send" }
  /** The receiver has a part: the rest is sent, as the same delivery. */
  | { readonly kind: "resume"; readonly from: Received }
  /** The outcome is known: the sender settles, and informs the receiver unless `reported`. */
  | { readonly kind: "settle"; readonly state: DeliveryState; readonly reported: boolean }
  /** Both sides have different outcomes: the sender sends its own again, and the receiver settles. */
  | { readonly kind: "restate"; readonly state: DeliveryState }
  /** The part at the receiver is useless: the receiver drops it. */
  | { readonly kind: "abort" };

/** The position of nothing received. */
const NOTHING: Received = { kind: "received", sectionNumber: 0, sectionOffset: 0n };

/** The sender's decision on a delivery that it lists as `local` and the receiver as `remote`, undefined if unlisted. */
export function decideAsSender(local: DeliveryState | null, remote: ListedState): SenderDecision {
  if (isOutcome(local)) {
    if (remote === undefined) return { kind: "settle", state: local, reported: true };
    if (!isOutcome(remote)) return { kind: "abort" };
    return remote.kind === local.kind
      ? { kind: "settle", state: local, reported: false }
      : { kind: "restate", state: local };
  }
  if (remote === undefined) return { kind: "send" };
  if (isOutcome(remote)) return { kind: "settle", state: remote, reported: false };
  // A transaction ended with the connection, and its provisional states with it.
  if (remote !== null && remote.kind !== "received") return { kind: "abort" };
  const from = remote ?? NOTHING;
  // The part sent before is no longer available.
  if (local !== null && (local.kind !== "received" || isBefore(from, local))) return { kind: "abort" };
  return { kind: "resume", from };
}

export function isOutcome(state: ListedState): state is Outcome {
  switch (state?.kind) {
    case "accepted":
    case "rejected":
    case "released":
    case "modified":
      return true;
  }
  return false;
}

/**
 * The offset of a delivery's rest in its payload, and the state with which it is resumed: the beginning, if the bytes
 * are no sections or have none of that number.
 */
export function restOf(
  payload: Uint8Array,
  messageFormat: number,
  { sectionNumber, sectionOffset }: Received,
): { readonly offset: number; readonly state: Received } {
  const ends = messageFormat === 0 && (sectionNumber > 0 || sectionOffset > 0n) ? sectionEnds(payload) : undefined;
  if (ends === undefined || sectionNumber > ends.length) return { offset: 0, state: NOTHING };
  const start = sectionNumber === 0 ? 0 : ends[sectionNumber - 1]!;
  const offset = start + Number(sectionOffset);
  if (offset > (ends[sectionNumber] ?? start)) return { offset: 0, state: NOTHING };
  return { offset, state: { kind: "received", sectionNumber, sectionOffset } };
}

/** The state of a completely received delivery without an outcome; null if it is no AMQP message. */
export function arrivedState(payload: Uint8Array, messageFormat: number): Received | null {
  const ends = messageFormat === 0 ? sectionEnds(payload) : undefined;
  return ends && { kind: "received", sectionNumber: ends.length, sectionOffset: 0n } || null;
}

/** The fields of an attach that list unsettled deliveries. */
export interface UnsettledList {
  /** The state of each delivery by its tag. */
  readonly unsettled: Map<Uint8Array, DeliveryState | null>;
  readonly incompleteUnsettled?: true;
}

/** Lists as many deliveries as fit into `maxBytes`. */
export function listUnsettled(
  deliveries: Iterable<readonly [Uint8Array, DeliveryState | null]>,
  maxBytes: number,
): UnsettledList {
  const unsettled = new Map<Uint8Array, DeliveryState | null>();
  const writer = new Writer(64);
  let bytes = 0;
  for (const [tag, state] of deliveries) {
    writer.truncate(0);
    if (state !== null) encodeComposite(writer, state as Composite);
    bytes += 2 + tag.length + Math.max(1, writer.length);
    if (bytes > maxBytes) return { unsettled, incompleteUnsettled: true };
    unsettled.set(tag, state);
  }
  return { unsettled };
}

function isBefore(a: Received, b: Received): boolean {
  return a.sectionNumber < b.sectionNumber ||
    (a.sectionNumber === b.sectionNumber && a.sectionOffset < b.sectionOffset);
}
