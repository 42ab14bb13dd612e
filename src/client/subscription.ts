/**
 * Receiving on a link that this side attaches, and what the peer has made of its source: the filters in force [messaging 3.5.3],
 * and how its subscription is kept.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Attach, Open } from "../codec/types.ts";
import { Described, type Fields, type Value } from "../codec/values.ts";
import { wireTypesOf } from "../codec/wire_types.ts";
import { Writer } from "../codec/writer.ts";
import type { AttachOptions } from "../engine/link.ts";
import { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SessionEndpoint } from "../engine/session.ts";
import type { Facts } from "./log_texts.ts";
import type { ReceiveSettings } from "./receive_options.ts";
import { Receiving, type ReceivingOwner } from "./receiving.ts";

/** The receiving of one receiver that this side attaches, each time to another endpoint. */
export class SubscribedReceiving extends Receiving {
  readonly #filterMismatch: "error" | "ignore";

  constructor(receiver: ReceivingOwner, settings: ReceiveSettings) {
    super(receiver, settings);
    this.#filterMismatch = settings.filterMismatch ?? "error";
  }

  attach(settings: AttachOptions, session: SessionEndpoint): ReceiverEndpoint {
    const { receiver } = this;
    const again = receiver.endpoint !== undefined;
    const endpoint = receiver.endpoint = session.attach(ReceiverEndpoint, settings);
    this.begin(endpoint);
    // The flow of a link that is attached again waits for the peer's attach: the peer may still hold the former link, and
    // would end the session over a flow for an unknown handle.
    if (!again) this.credit.grantPending();
    return endpoint;
  }

  /** The error if the peer does not apply the filters that were asked for. */
  override checkAttached(): AmqpError | undefined {
    if (this.#filterMismatch === "ignore") return undefined;
    return filterDifference(this.receiver.endpoint?.local, this.receiver.remote);
  }

  override handleAttached(): void {
    super.handleAttached();
    if (this.receiver.returns) checkSubscription(this.receiver);
  }
}

/** The error if the peer's attach leaves out or changes a requested filter; undefined when all are in force. */
function filterDifference(local: Attach | undefined, remote: Attach | undefined): AmqpError | undefined {
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

/** A receiver that the peer has attached, as its subscription is checked. */
interface SubscribedReceiver {
  readonly endpoint: { readonly local?: Attach; readonly remote?: Attach } | undefined;
  readonly connection: { readonly isNamed: boolean; readonly remote: Readonly<Open> | undefined };
  writeLog(kind: "notShared" | "notDurable" | "sharedAlone", facts: Facts): void;
}

/**
 * Warns of a subscription that the peer nowhere offers to share among receivers, and of a durable one that nobody will find again,
 * since its container has a random name.
 */
function checkSubscription(receiver: SubscribedReceiver): void {
  const { local, remote } = receiver.endpoint!;
  const { isNamed, remote: peer } = receiver.connection;
  const isOffered = isShared(remote) || peer?.offeredCapabilities?.includes("SHARED-SUBS");
  if (isShared(local) && !isOffered) receiver.writeLog("notShared", {});
  const { durable = "none", capabilities } = local?.source ?? {};
  // A global subscription is that of all containers.
  if (isNamed || capabilities?.includes("global")) return;
  if (durable !== "none") receiver.writeLog("notDurable", {});
  else if (isShared(local) && isOffered) receiver.writeLog("sharedAlone", {});
}

function isShared(attach: Attach | undefined): boolean {
  return attach?.source?.capabilities?.includes("shared") === true;
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
  if (value instanceof Described) writer.valueAs(wireTypesOf(value)?.get("value"), value.value);
  else writer.value(value);
  return String(writer.take());
}
