/**
 * What becomes of deliveries that were not settled when their link was lost: each side lists its own as it attaches the link
 * again, and what the two lists say decides [transport 2.6.13]. Decisions only; whoever attaches the link carries them out.
 *
 * @module
 */

import { encodeComposite } from "../codec/composite.ts";
import type { DeliveryState, Outcome, Received } from "../codec/types.ts";
import { sectionEnds } from "../codec/value_end.ts";
import { Writer } from "../codec/writer.ts";

/** What one side says of a delivery: its state, null for none, undefined for a delivery that it does not list. */
export type ListedState = DeliveryState | null | undefined;

/** What a sender does with a delivery that it has not settled. */
export type SenderDecision =
  /** The receiver has nothing of it: it is sent as a new one. */
  | { readonly kind: "send" }
  /** The receiver has a part: the rest is sent, as the same delivery. */
  | { readonly kind: "resume"; readonly from: Received }
  /** Its outcome is known: it is settled, and the receiver is told so if it still holds the delivery. */
  | { readonly kind: "settle"; readonly state: DeliveryState; readonly told: boolean }
  /** Both have an outcome, and not the same: the sender states its own again, and the receiver settles. */
  | { readonly kind: "restate"; readonly state: DeliveryState }
  /** What the receiver has of it is of no use: the receiver drops it. */
  | { readonly kind: "abort" };

/** What a receiver does with a delivery that it has not settled. */
export type ReceiverDecision =
  /** The sender goes on with it. */
  | "wait"
  | "settle"
  /** The sender has not listed all that it holds, so nothing is known yet. */
  | "keep";

/** How much of a delivery the sender has left behind; null for one of which it still has everything. */
const NOTHING: Received = { kind: "received", sectionNumber: 0, sectionOffset: 0n };

/**
 * What the sender does with a delivery that it lists as `local` and the receiver as `remote`; undefined for a receiver that
 * does not list it.
 */
export function decideAsSender(local: DeliveryState | null, remote: ListedState): SenderDecision {
  if (isOutcome(local)) {
    if (remote === undefined) return { kind: "settle", state: local, told: true };
    if (!isOutcome(remote)) return { kind: "abort" };
    return remote.kind === local.kind
      ? { kind: "settle", state: local, told: false }
      : { kind: "restate", state: local };
  }
  if (remote === undefined) return { kind: "send" };
  if (isOutcome(remote)) return { kind: "settle", state: remote, told: false };
  // A transaction has ended with the connection, and with it what was provisional.
  if (remote !== null && remote.kind !== "received") return { kind: "abort" };
  const from = remote ?? NOTHING;
  // What was sent before is not there any more.
  if (local !== null && (local.kind !== "received" || isBefore(from, local))) return { kind: "abort" };
  return { kind: "resume", from };
}

/** What the receiver does with a delivery that the sender lists as `remote`, in a list that may be incomplete. */
export function decideAsReceiver(remote: ListedState, incomplete: boolean): ReceiverDecision {
  if (remote !== undefined) return "wait";
  return incomplete ? "keep" : "settle";
}

export function isOutcome(state: ListedState): state is Outcome {
  return state !== null && state !== undefined && state.kind !== "received" && state.kind !== "transactionalState" &&
    state.kind !== "declared";
}

/**
 * Where in a payload the rest of a delivery begins, and the state that says so to the receiver. The beginning of the message
 * always will do, where the bytes are no sections or have none of that number.
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

/** The state of a delivery that has arrived as a whole and has no outcome yet; null where it is no AMQP message. */
export function arrivedState(payload: Uint8Array, messageFormat: number): Received | null {
  const ends = messageFormat === 0 ? sectionEnds(payload) : undefined;
  return ends && { kind: "received", sectionNumber: ends.length, sectionOffset: 0n } || null;
}

/** What of an attach is its list of unsettled deliveries. */
export interface UnsettledList {
  /** By tag, what this side says of each. */
  readonly unsettled: Map<Uint8Array, DeliveryState | null>;
  readonly incompleteUnsettled?: true;
}

/** Lists deliveries, as many as fit into `maxBytes`. */
export function listUnsettled(
  deliveries: Iterable<readonly [Uint8Array, DeliveryState | null]>,
  maxBytes: number,
): UnsettledList {
  const unsettled = new Map<Uint8Array, DeliveryState | null>();
  const writer = new Writer(64);
  let bytes = 0;
  for (const [tag, state] of deliveries) {
    writer.truncate(0);
    if (state !== null) encodeComposite(writer, state);
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
