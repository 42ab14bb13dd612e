/**
 * The test certificates by name, see fixtures/pki.
 *
 * @module
 */

import { read } from "./source.ts";

/** A certificate with its key, both PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** The authority that tests trust, PEM. */
export const ca: string = read("tests/fixtures/pki/ca.pem");

/** One of the certificates. */
export function keyPair(
  name: "server" | "client" | "wrong_host" | "expired" | "rogue" | "rogue_client",
): KeyPair {
  return { cert: read(`tests/fixtures/pki/${name}.pem`), key: read(`tests/fixtures/pki/${name}.key`) };
}
