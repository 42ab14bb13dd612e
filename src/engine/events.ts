/**
 * What the engine reports, in the order in which the peer caused it.
 *
 * @module
 */

import type { Open, Performative, SaslFrameBody } from "../codec/types.ts";
import type { SessionEvent } from "./session.ts";

/** One thing that happened, reported by `receive`, `tick` or `disconnect` of a connection endpoint. */
export type EngineEvent =
  /**
   * A frame of SASL: the server's mechanisms and challenges, the client's init and responses are each to be answered; an
   * outcome comes only in success, and the caller may still refuse by closing.
   */
  | SaslFrameBody
  /** The peer's open arrived and ours has been sent. */
  | { readonly kind: "opened"; readonly open: Open }
  /**
   * The connection, its sessions and links are of no more use; comes once, and nothing comes after it. `error` is absent
   * after an orderly close.
   */
  | { readonly kind: "closed"; readonly error: Error | undefined }
  /** Something happened to a session or link. */
  | SessionEvent;

/** One frame on the wire, as given to the `trace` option. */
export interface FrameTrace {
  /** `"in"` from the peer, `"out"` to it. */
  readonly direction: "in" | "out";
  /** The channel of the frame; 0 for SASL. */
  readonly channel: number;
  /** The performative, absent in an empty (keep-alive) frame; secrets of SASL are left out. */
  readonly body: Performative | SaslFrameBody | undefined;
  /** Bytes of payload after the performative; only a transfer has any. */
  readonly payloadBytes: number;
}

/** The frame as it may be shown: its binaries, which are credentials and proofs, are empty. */
export function withoutSaslSecrets(body: SaslFrameBody): SaslFrameBody {
  const shown = Object.entries(body).map((
    [key, value],
  ) => [key, value instanceof Uint8Array ? new Uint8Array(0) : value]);
  return Object.fromEntries(shown);
}
