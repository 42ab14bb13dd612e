/**
 * What others answer to the questions of the conformance sheet, as `tests/conformance/ask.ts` has written it down.
 *
 * @module
 */

import { read } from "../source.ts";

/** The answers of one peer: by requirement and question, `"yes"` or what came instead. */
export interface PeerAnswers {
  /** The peer and its version. */
  readonly peer: string;
  /** Its answers. */
  readonly answers: Readonly<Record<string, string>>;
}

/** All of them. */
export function peerAnswers(): PeerAnswers[] {
  return JSON.parse(read("tests/conformance/peers.json"));
}
