/**
 * Who may connect to an acceptor, as options, and the SASL mechanisms that follow from them.
 *
 * @module
 */

import type { OptionKinds } from "../base/options.ts";
import type { SaslServerMechanism } from "../sasl/mechanism.ts";
import {
  anonymousServer,
  type CheckPassword,
  externalServer,
  type IdentifyExternal,
  plainServer,
} from "../sasl/server_mechanisms.ts";
import type { PeerInfo } from "../transport/info.ts";

/** Who may connect, and how they prove it. */
export interface SaslServerOptions {
  /** Lets in those who give no identity. Default: true unless another option says who may connect. */
  anonymous?: boolean;
  /** Passwords by user name, or a function that says whether a user name and password belong together. */
  users?: Readonly<Record<string, string>> | CheckPassword;
  /**
   * Gives the identity that the layer below has proved, or undefined to refuse. It gets the identity that the client asks to
   * act as, empty for its own, and what the carrier knows, such as a TLS client certificate.
   */
  external?: IdentifyExternal<PeerInfo>;
  /** Further mechanisms, offered before the others. */
  mechanisms?: readonly SaslServerMechanism<PeerInfo>[];
}

/** Kinds of these options. */
export const SASL_KINDS: OptionKinds<SaslServerOptions> = {
  anonymous: "boolean",
  users: "object or function",
  external: "function",
  mechanisms: "array",
};

/** The mechanisms that are offered to all clients, the one to prefer first. */
export function saslMechanisms(options: SaslServerOptions = {}): SaslServerMechanism<PeerInfo>[] {
  const { anonymous, users, external, mechanisms = [] } = options;
  const offered = [...mechanisms];
  if (external !== undefined) offered.push(externalServer(external));
  if (users !== undefined) offered.push(plainServer(typeof users === "function" ? users : passwordsOf(users)));
  if (anonymous ?? offered.length === 0) offered.push(anonymousServer());
  return offered;
}

function passwordsOf(users: Readonly<Record<string, string>>): CheckPassword {
  return (username, password) => {
    const known = Object.hasOwn(users, username);
    // The work is the same for a name that is not there.
    const same = equalTexts(password, known ? users[username]! : username);
    return known && same;
  };
}

// Time does not tell how many characters were right.
function equalTexts(given: string, wanted: string): boolean {
  let different = given.length ^ wanted.length;
  for (let i = 0; i < given.length; i++) different |= given.charCodeAt(i) ^ wanted.charCodeAt(i % (wanted.length || 1));
  return different === 0;
}
