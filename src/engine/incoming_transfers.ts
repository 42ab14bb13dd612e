/**
 * Incoming deliveries, assembled from their transfers.
 *
 * @module
 */

import { MAX_DELIVERY_TAG_BYTES } from "../codec/limits.ts";
import { joined } from "../codec/primitives.ts";
import type { DeliveryState, Transfer } from "../codec/types.ts";
import type { Budget } from "./budgets.ts";
import { type TagKey, tagKey } from "./tags.ts";

const FIRST_BUFFER_BYTES = 1_024;
// Payloads of this size in a delivery of many frames are kept as they came until all are there, unless they are less than half
// of their chunk: appending each to those before it would copy them all twice more.
const LARGE_PART_BYTES = 16_384;

/** Takes the transfers of a link as they arrive, and has each delivery reported at its first one. */
export interface TransferStreams {
  begin(transfers: IncomingTransfers): TransferSink;
  /** Ends all deliveries, as the link takes no more transfers. */
  stop(): void;
}

export interface TransferSink {
  /** Takes the payload of one transfer; false if too much is partly received. */
  take(payload: Uint8Array): boolean;
  /** No more payload comes: the last transfer has arrived, or the sender has aborted the delivery. */
  end(aborted: boolean): void;
}

/** The transfers that have arrived of one delivery, of several frames or on a link with streams. */
export class IncomingTransfers {
  /** The delivery id on its session. */
  readonly id: number;
  /** The tag as a map key. */
  readonly key: TagKey;
  /** 0 for an AMQP message. */
  readonly messageFormat: number;
  /** True if this delivery resumes one of an earlier attachment. */
  readonly resume: boolean;
  /** True once one of the transfers was settled, which stays so [transport 2.7.5]. */
  settled = false;
  /** The last state that the sender reported. */
  state: DeliveryState | undefined;
  /** Consecutive transfers without payload. */
  emptyFrames = 0;
  /** Bytes of payload so far. */
  size = 0;
  /** Takes the payloads of a delivery that is reported at its first transfer. */
  sink: TransferSink | undefined;
  readonly #budget: Budget;
  #taken = 0;
  // Large payloads, and buffers of the small ones between them.
  #parts: Uint8Array[] | undefined;
  // Small payloads behind the last large one, in one buffer.
  #bytes: Uint8Array | undefined;
  #filled = 0;

  constructor(budget: Budget, key: TagKey, transfer: Transfer) {
    this.#budget = budget;
    this.id = transfer.deliveryId!;
    this.key = key;
    this.messageFormat = transfer.messageFormat ?? 0;
    this.resume = transfer.resume ?? false;
  }

  /** Whether `transfer` may continue this delivery: fields that it repeats must be the same [transport 2.7.5]. */
  isContinuedBy(transfer: Transfer): boolean {
    const { deliveryId, deliveryTag, messageFormat } = transfer;
    return (deliveryId === undefined || deliveryId === this.id) &&
      (deliveryTag === undefined ||
        (deliveryTag.length <= MAX_DELIVERY_TAG_BYTES && tagKey(deliveryTag) === this.key)) &&
      (messageFormat === undefined || messageFormat === this.messageFormat);
  }

  /** Adds the payload of one transfer; false if too much is partly received. */
  take(payload: Uint8Array, more: boolean): boolean {
    if (this.sink !== undefined) {
      this.size += payload.length;
      return this.sink.take(payload);
    }
    // A delivery of a single frame is never partly received.
    if (more) {
      if (!this.#budget.take(payload.length)) return false;
      this.#taken += payload.length;
    }
    this.#append(payload, more);
    return true;
  }

  /** The payload so far. */
  bytes(): Uint8Array {
    const rest = this.#bytes === undefined
      ? new Uint8Array(0)
      : this.#bytes.length === this.#filled
      ? this.#bytes
      : this.#bytes.subarray(0, this.#filled);
    return this.#parts === undefined ? rest : joined([...this.#parts, rest]);
  }

  /** No more payload comes: the last transfer has arrived, the sender has aborted the delivery, or the link has ended. */
  end(aborted: boolean): void {
    this.sink?.end(aborted);
    this.#budget.give(this.#taken);
    this.#taken = 0;
  }

  // Small payloads go into one growing buffer, so that many cost no more than their bytes. The last one makes it exactly as
  // large as the payload.
  #append(payload: Uint8Array, more: boolean): void {
    const { length } = payload;
    this.size += length;
    if (this.size === length && !more) {
      this.#bytes = payload;
      this.#filled = length;
      return;
    }
    if (length >= LARGE_PART_BYTES && 2 * length >= payload.buffer.byteLength) {
      if (this.#filled > 0) (this.#parts ??= []).push(this.#bytes!.subarray(0, this.#filled));
      (this.#parts ??= []).push(payload);
      this.#bytes = undefined;
      this.#filled = 0;
      return;
    }
    const needed = this.#filled + length;
    if (this.#bytes === undefined || this.#bytes.length < needed) {
      const grown = new Uint8Array(more ? Math.max(needed, this.#filled * 2, FIRST_BUFFER_BYTES) : needed);
      if (this.#bytes !== undefined) grown.set(this.#bytes.subarray(0, this.#filled));
      this.#bytes = grown;
    }
    this.#bytes.set(payload, this.#filled);
    this.#filled = needed;
  }
}
