/**
 * Transfer ids and windows of a session, both directions [transport 2.5.6], and the serial numbers that they are.
 *
 * @module
 */

import { MAX_UINT } from "../codec/checks.ts";
import type { Begin, Flow } from "../codec/types.ts";

/** Counts the transfers of one session and how many more each side takes. */
export class Windows {
  /** Transfers that we still take without a new flow. */
  incomingWindow: number;
  /** Transfers that the peer still takes. */
  remoteIncomingWindow = 0;
  /** Where our transfer ids start. */
  readonly initialOutgoingId: number;

  /** Transfers that may be on their way or held at a time. */
  window: number;
  /** Transfers that have arrived and are not read yet: the window is that much smaller. */
  held = 0;
  /** Transfers that the peer may send beyond the window, as it was told so before that became smaller. */
  beyond = 0;
  #nextOutgoingId: number;
  #nextIncomingId: number | undefined;

  /** Starts with the settings of our end. */
  constructor(window: number, initialOutgoingId: number) {
    this.window = this.incomingWindow = window;
    this.initialOutgoingId = this.#nextOutgoingId = initialOutgoingId;
  }

  /** True when the peer should be told anew: at half, so that it need not wait and not every transfer costs a flow. */
  get low(): boolean {
    return this.window - this.held - this.incomingWindow >= this.window / 2;
  }

  /** True when the peer may send no more. */
  get shut(): boolean {
    return this.incomingWindow + this.beyond <= 0;
  }

  /** Takes what the peer's begin says. */
  begun(begin: Begin): void {
    this.#nextIncomingId = begin.nextOutgoingId;
    this.remoteIncomingWindow = begin.incomingWindow;
  }

  /** Counts a transfer that we sent. */
  sent(): void {
    this.#nextOutgoingId = add(this.#nextOutgoingId, 1);
    this.remoteIncomingWindow--;
  }

  /** Counts a transfer that arrived. */
  received(): void {
    this.#nextIncomingId = add(this.#nextIncomingId!, 1);
    this.incomingWindow--;
  }

  /** Takes what a flow of the peer says. */
  heard(flow: Flow): void {
    // The peer reports next-incoming-id as it stood when it wrote the flow; transfers of ours still in flight are not
    // in it. Subtracting what we have sent since is what accounts for them.
    const behind = difference(this.#nextOutgoingId, flow.nextIncomingId ?? this.initialOutgoingId);
    this.remoteIncomingWindow = Math.max(0, Math.min(MAX_UINT, flow.incomingWindow - behind));
  }

  /** What a begin or flow of ours tells; the window is open again with it, but for what is held. */
  tell(): Pick<Flow, "nextIncomingId" | "incomingWindow" | "nextOutgoingId" | "outgoingWindow"> {
    this.incomingWindow = Math.max(0, this.window - this.held);
    return {
      nextIncomingId: this.#nextIncomingId,
      incomingWindow: this.incomingWindow,
      nextOutgoingId: this.#nextOutgoingId,
      // What we have ready is for links to tell; we never hold back for want of a window of our own.
      outgoingWindow: MAX_UINT,
    };
  }
}

/** The serial number `n` after [rfc1982] `a`; `n` may be negative. */
export function add(a: number, n: number): number {
  return (a + n) >>> 0;
}

/**
 * How far `a` lies after `b`: negative when `a` comes first.
 *
 * At a distance of 2^31 the order is undefined [rfc1982 3.2]; the answer there is -2^31 both ways round, so a caller that
 * asks for "not negative" refuses it.
 */
export function difference(a: number, b: number): number {
  return (a - b) | 0;
}
