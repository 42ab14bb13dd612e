/**
 * What must not show in a trace.
 *
 * @module
 */

import type { SaslFrameBody } from "../codec/types.ts";

/** The frame as it may be shown: its binaries, which are credentials and proofs, are empty. */
export function withoutSecrets(body: SaslFrameBody): SaslFrameBody {
  const shown = Object.entries(body).map((
    [key, value],
  ) => [key, value instanceof Uint8Array ? new Uint8Array(0) : value]);
  return Object.fromEntries(shown);
}
