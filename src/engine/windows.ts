/**
 * Transfer ids and windows of a session, both directions [transport 2.5.6].
 *
 * @module
 */

import { add, difference } from "../base/collections.ts";
import { MAX_UINT } from "../codec/codes.ts";
import type { Begin, Flow } from "../codec/types.ts";

/** Counts the transfers of one session and how many more each side accepts. */
export class Windows {
  /** Transfers that we still accept without a new flow. */
  incomingWindow: number;
  /** Transfers that the peer still accepts. */
  remoteIncomingWindow = 0;
  /** Our first transfer id. */
  readonly initialOutgoingId: number;

  /** Transfers that may be in flight or held at a time. */
  window: number;
  /** Transfers that have arrived and are unread; they narrow the window. */
  held = 0;
  /** Transfers that the peer may send beyond the window, as its last flow was written before the window shrank. */
  beyond = 0;
  #nextOutgoingId: number;
  #nextIncomingId: number | undefined;
  // True once the peer has answered our begin.
  #answered = false;

  constructor(window: number, initialOutgoingId: number) {
    this.window = this.incomingWindow = window;
    this.initialOutgoingId = this.#nextOutgoingId = initialOutgoingId;
  }

  /** True when a flow is due: at half, so that the peer need not wait and not every transfer costs a flow. */
  get low(): boolean {
    return this.window - this.held - this.incomingWindow >= this.window / 2;
  }

  /** True when the peer may send no more transfers. */
  get spent(): boolean {
    return this.incomingWindow + this.beyond <= 0;
  }

  begun(begin: Begin): void {
    this.#nextIncomingId = begin.nextOutgoingId;
    this.remoteIncomingWindow = begin.incomingWindow;
    this.#answered = begin.remoteChannel !== undefined;
  }

  sent(): void {
    this.#nextOutgoingId = add(this.#nextOutgoingId, 1);
    this.remoteIncomingWindow--;
  }

  received(): void {
    this.#nextIncomingId = add(this.#nextIncomingId!, 1);
    this.incomingWindow--;
  }

  /** Takes the session's part of the peer's flow. */
  receiveFlow(flow: Flow): void {
    // The peer reports next-incoming-id as it stood when it wrote the flow; transfers of ours still in flight are not in it.
    // Subtracting the transfers sent since accounts for them.
    const { nextIncomingId, incomingWindow } = flow;
    const behind = difference(this.#nextOutgoingId, nextIncomingId ?? this.initialOutgoingId);
    const room = Math.max(0, Math.min(MAX_UINT, incomingWindow - behind));
    // A peer that has our begin and still leaves the id out, such as Azure's IoT Hub, keeps no count: its window would never
    // open again.
    this.remoteIncomingWindow = room === 0 && nextIncomingId === undefined && this.#answered ? incomingWindow : room;
  }

  /** The window fields of a begin or flow of ours, which opens the window again, but for held transfers. */
  fields(): Pick<Flow, "nextIncomingId" | "incomingWindow" | "nextOutgoingId" | "outgoingWindow"> {
    this.incomingWindow = Math.max(0, this.window - this.held);
    return {
      nextIncomingId: this.#nextIncomingId,
      incomingWindow: this.incomingWindow,
      nextOutgoingId: this.#nextOutgoingId,
      // Links report what they have ready; we never hold back for want of a window of our own.
      outgoingWindow: MAX_UINT,
    };
  }
}
