/**
 * The authentication options of an acceptor, and the SASL mechanisms made from them.
 *
 * @module
 */

import { encodeHex } from "@std/encoding";
import { randomName } from "../base/environment.ts";
import { isPromise } from "../base/kinds.ts";
import { describeKind, type OptionKinds } from "../base/options.ts";
import { quote, utf8 } from "../base/text.ts";
import type { SaslServerMechanism } from "../sasl/mechanism.ts";
import {
  equalBytes,
  hmac,
  MIN_ITERATIONS,
  SALT_LENGTH,
  type ScramHash,
  type ScramKeys,
  scramKeys,
} from "../sasl/scram_keys.ts";
import { type FindScramKeys, scramServer } from "../sasl/scram_server.ts";
import {
  anonymousServer,
  type CheckPassword,
  externalServer,
  type IdentifyExternal,
  plainServer,
} from "../sasl/server_mechanisms.ts";
import type { PeerInfo } from "../transport/channel.ts";

/** Passwords by user name, or keys made of them by `scramKeys` of `./sasl`. */
export type UserTable = Readonly<Record<string, string | ScramKeys>>;

/** Who may connect, and by which proof. */
export interface SaslServerOptions {
  /** Accepts clients without an identity. Default: true unless another option says who may connect. */
  anonymous?: boolean | undefined;
  /**
   * Passwords or SCRAM keys by user name, for PLAIN and SCRAM; or, for PLAIN only, a function that checks name and password.
   */
  users?: UserTable | CheckPassword | undefined;
  /** Returns the SCRAM keys of a known user: for SCRAM-SHA-256, and for PLAIN unless `users` is given. */
  scram?: FindScramKeys | undefined;
  /**
   * Returns the identity that the layer below has proved, or undefined to refuse. Called with the identity that the client
   * asks to act as, empty for its own, and the carrier's peer info, such as a TLS client certificate.
   */
  external?: IdentifyExternal<PeerInfo> | undefined;
  /** Further mechanisms, offered first. */
  mechanisms?: readonly SaslServerMechanism<PeerInfo>[] | undefined;
}

export const SASL_KINDS: OptionKinds<SaslServerOptions> = {
  anonymous: "boolean",
  users: "object or function",
  scram: "function",
  external: "function",
  mechanisms: "array of object",
};

// SHA-1 is offered only if there are keys of it.
const HASHES = ["SHA-512", "SHA-256", "SHA-1"] as const;

/** The mechanisms offered to clients, in order of preference. */
export function saslMechanisms(options: SaslServerOptions = {}): SaslServerMechanism<PeerInfo>[] {
  const { anonymous, users, external, mechanisms = [] } = options;
  const offered = [...mechanisms];
  if (external !== undefined) offered.push(externalServer(external));
  const table = typeof users === "object" ? users : undefined;
  const known = table && new Users(table);
  const find = options.scram ?? (known && keysOf(known));
  if (find !== undefined) {
    for (const hash of table === undefined ? ["SHA-256"] as const : hashesOf(table)) {
      offered.push(scramServer(hash, find));
    }
  }
  const check = typeof users === "function" ? users : known === undefined ? find && checkOf(find) : checkIn(known);
  if (check !== undefined) offered.push(plainServer(check));
  if (anonymous ?? offered.length === 0) offered.push(anonymousServer());
  return offered;
}

function hashesOf(users: UserTable): ScramHash[] {
  const all = Object.values(users);
  const ofPasswords = (hash: ScramHash) => hash !== "SHA-1" && all.some((user) => typeof user === "string");
  return HASHES.filter((hash) =>
    ofPasswords(hash) || all.some((user) => typeof user === "object" && user.hash === hash)
  );
}

/** A table of users, in which an unknown name is consistently handled like that of some known user. */
class Users {
  readonly #table: UserTable;
  #secret: string | undefined;

  constructor(table: UserTable) {
    for (const [name, kept] of Object.entries<unknown>(table)) {
      if (typeof kept === "string" || typeof kept === "object" && kept !== null && "hash" in kept) continue;
      const given = isPromise(kept) ? "a promise, await it" : `${describeKind(kept)}, give a password or scramKeys`;
      throw new TypeError(`Cannot use users: what is kept of ${quote(name)} is ${given}`);
    }
    this.#table = table;
  }

  /** The record of a user, if known, and a model for unknown ones, both among the records that `isOfUse` accepts. */
  async find(
    username: string,
    isOfUse: (kept: string | ScramKeys) => boolean,
  ): Promise<{ kept: string | ScramKeys | undefined; model: string | ScramKeys | undefined }> {
    const models = Object.values(this.#table).filter(isOfUse);
    const [byte, another] = await this.secretOf(username, 64);
    const model = models[(byte! * 256 + another!) % models.length];
    const kept = Object.hasOwn(this.#table, username) ? this.#table[username]! : undefined;
    return { kept: kept !== undefined && isOfUse(kept) ? kept : undefined, model };
  }

  /** Up to 64 secret bytes, the same for each call with the same text. */
  async secretOf(text: string, length: number): Promise<Uint8Array> {
    return (await hmac("SHA-512", utf8(this.#secret ??= randomName()), text)).subarray(0, length);
  }
}

// Keys are derived from passwords on every request. An unknown user gets the challenge of a known one, after the same work.
function keysOf(users: Users): FindScramKeys {
  return async (username, hash) => {
    const isOfUse = (kept: string | ScramKeys): boolean => typeof kept === "string" || kept.hash === hash;
    const { kept, model } = await users.find(username, isOfUse);
    const like = typeof model === "object" ? model.salt.length : SALT_LENGTH;
    const salt = await users.secretOf(`salt ${username}`, typeof kept === "string" ? SALT_LENGTH : like);
    const decoySecret = await users.secretOf(`key ${username}`, 64);
    if (typeof kept === "object") return kept;
    if (kept === undefined && typeof model === "object") {
      return { ...model, salt, storedKey: decoySecret.subarray(0, model.storedKey.length), serverKey: decoySecret };
    }
    const options = { hash, iterations: MIN_ITERATIONS, salt };
    // A password that SCRAM does not allow never matches; PLAIN accepts it.
    return await scramKeys(kept ?? encodeHex(decoySecret), options).catch(() =>
      scramKeys(encodeHex(decoySecret), options)
    );
  };
}

function checkIn(users: Users): CheckPassword {
  return async (username, password) => {
    const { kept, model = "" } = await users.find(username, () => true);
    const compared = kept ?? model;
    const same = typeof compared === "string" ? equalTexts(password, compared) : await hasPassword(compared, password);
    return kept !== undefined && same;
  };
}

function checkOf(find: FindScramKeys): CheckPassword {
  let decoy: Promise<ScramKeys> | undefined;
  return async (username, password) => {
    const found = await find(username, "SHA-256");
    const same = await hasPassword(found ?? await (decoy ??= scramKeys(randomName())), password);
    return found != null && same;
  };
}

async function hasPassword(keys: ScramKeys, password: string): Promise<boolean> {
  // A password that cannot be prepared is wrong.
  const { hash, iterations, salt } = keys;
  const given = await scramKeys(password, { hash, iterations, salt }).catch(() => undefined);
  return given !== undefined && equalBytes(given.storedKey, keys.storedKey);
}

// Constant time, so that timing does not reveal a common prefix.
function equalTexts(given: string, wanted: string): boolean {
  return equalBytes(utf8(given), utf8(wanted));
}
