/**
 * Events of the engine, in the order in which the peer caused them.
 *
 * @module
 */

import type { Open, Performative, SaslFrameBody } from "../codec/types.ts";
import type { SessionEvent } from "./session.ts";

/** An event, reported by `receive`, `tick` or `disconnect` of a connection endpoint. */
export type EngineEvent =
  /**
   * A SASL frame: the server's mechanisms and challenges, and the client's init and responses, are to be answered; an outcome
   * is reported only on success, and the caller may still refuse it by closing.
   */
  | SaslFrameBody
  /** The peer's open arrived and ours has been sent. */
  | { readonly kind: "opened"; readonly open: Open }
  /**
   * The connection, its sessions and its links have ended; reported once, as the last event. `error` is absent after an orderly
   * close.
   */
  | { readonly kind: "closed"; readonly error: Error | undefined }
  /** An event of a session or link. */
  | SessionEvent;

/** One frame, as passed to the `trace` option. */
export interface FrameTrace {
  /** `"in"` from the peer, `"out"` to the peer. */
  readonly direction: "in" | "out";
  /** The channel of the frame; 0 for SASL. */
  readonly channel: number;
  /** The performative, absent in an empty (keep-alive) frame; SASL frames come without their secrets. */
  readonly body: Performative | SaslFrameBody | undefined;
  /** Bytes of payload after the performative; only a transfer has any. */
  readonly payloadBytes: number;
}
