/**
 * The answers of other peers to the questions of the conformance sheet, as `tests/conformance/ask.ts` has written them
 * down.
 *
 * @module
 */

import { read } from "../source.ts";

/** The answers of one peer: by requirement and question, `"yes"` or the text of another answer. */
export interface PeerAnswers {
  readonly peer: string;
  readonly answers: Readonly<Record<string, string>>;
}

export function peerAnswers(): PeerAnswers[] {
  return JSON.parse(read("tests/conformance/peers.json"));
}
