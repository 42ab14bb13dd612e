/**
 * Transfer ids and windows of a session, both directions [transport 2.5.6].
 *
 * @module
 */

import { MAX_UINT } from "../codec/checks.ts";
import type { Begin, Flow } from "../codec/types.ts";
import { add, difference } from "./serial.ts";

/** Counts the transfers of one session and how many more each side takes. */
export class Windows {
  /** Transfers that we still take without a new flow. */
  incoming: number;
  /** Transfers that the peer still takes. */
  outgoing = 0;
  /** Where our transfer ids start. */
  readonly initialOutgoingId: number;

  readonly #window: number;
  #nextOutgoingId: number;
  #nextIncomingId: number | undefined;

  /** Starts with the terms of our end. */
  constructor(window: number, initialOutgoingId: number) {
    this.#window = this.incoming = window;
    this.initialOutgoingId = this.#nextOutgoingId = initialOutgoingId;
  }

  /** True when the peer should be told anew: at half, so that it need not wait and not every transfer costs a flow. */
  get low(): boolean {
    return this.incoming <= this.#window >>> 1;
  }

  /** Takes what the peer's begin says. */
  begun(begin: Begin): void {
    this.#nextIncomingId = begin.nextOutgoingId;
    this.outgoing = begin.incomingWindow;
  }

  /** Counts a transfer that we sent. */
  sent(): void {
    this.#nextOutgoingId = add(this.#nextOutgoingId, 1);
    this.outgoing--;
  }

  /** Counts a transfer that arrived. */
  received(): void {
    this.#nextIncomingId = add(this.#nextIncomingId!, 1);
    this.incoming--;
  }

  /** Takes what a flow of the peer says. */
  heard(flow: Flow): void {
    // The peer reports next-incoming-id as it stood when it wrote the flow; transfers of ours still in flight are not
    // in it. Subtracting what we have sent since is what accounts for them.
    const behind = difference(this.#nextOutgoingId, flow.nextIncomingId ?? this.initialOutgoingId);
    this.outgoing = Math.max(0, Math.min(MAX_UINT, flow.incomingWindow - behind));
  }

  /** What a begin or flow of ours tells; the window is open again with it. */
  tell(): Pick<Flow, "nextIncomingId" | "incomingWindow" | "nextOutgoingId" | "outgoingWindow"> {
    this.incoming = this.#window;
    return {
      nextIncomingId: this.#nextIncomingId,
      incomingWindow: this.#window,
      nextOutgoingId: this.#nextOutgoingId,
      // What we have ready is for links to tell; we never hold back for want of a window of our own.
      outgoingWindow: MAX_UINT,
    };
  }
}
