/**
 * Who may connect to an acceptor, as options, and the SASL mechanisms that follow from them.
 *
 * @module
 */

import { encodeHex } from "@std/encoding";
import { randomName } from "../base/environment.ts";
import type { OptionKinds } from "../base/options.ts";
import { utf8 } from "../base/text.ts";
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

/** Passwords by user name, or the keys that `scramKeys` of `./sasl` makes of them. */
export type UserTable = Readonly<Record<string, string | ScramKeys>>;

/** Who may connect, and how they prove it. */
export interface SaslServerOptions {
  /** Lets in those who give no identity. Default: true unless another option says who may connect. */
  anonymous?: boolean | undefined;
  /**
   * Passwords or their SCRAM keys by user name, for PLAIN and SCRAM; or a function that says whether a user name and password
   * belong together, for PLAIN alone.
   */
  users?: UserTable | CheckPassword | undefined;
  /** Gives the SCRAM keys of a user, undefined for none: for SCRAM-SHA-256, and for PLAIN unless `users` has it. */
  scram?: FindScramKeys | undefined;
  /**
   * Gives the identity that the layer below has proved, or undefined to refuse. It gets the identity that the client asks to
   * act as, empty for its own, and what the carrier knows, such as a TLS client certificate.
   */
  external?: IdentifyExternal<PeerInfo> | undefined;
  /** Further mechanisms, offered before the others. */
  mechanisms?: readonly SaslServerMechanism<PeerInfo>[] | undefined;
}

export const SASL_KINDS: OptionKinds<SaslServerOptions> = {
  anonymous: "boolean",
  users: "object or function",
  scram: "function",
  external: "function",
  mechanisms: "array",
};

// SHA-1 only where there are keys of it.
const HASHES = ["SHA-512", "SHA-256", "SHA-1"] as const;

/** The mechanisms that are offered to all clients, the one to prefer first. */
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

/** A table of users; a stranger is treated like one of them, like the same one each time. */
class Users {
  readonly #table: UserTable;
  #secret: string | undefined;

  constructor(table: UserTable) {
    this.#table = table;
  }

  /** What is kept of a user, undefined for a stranger, and of whom to treat a stranger like, among those who are of use. */
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

  /** Bytes that nobody can guess, the same for one text each time; up to 64 of them. */
  async secretOf(text: string, length: number): Promise<Uint8Array> {
    return (await hmac("SHA-512", utf8(this.#secret ??= randomName()), text)).subarray(0, length);
  }
}

// Keys are made of passwords as often as they are asked for. A stranger is asked what a user is asked, after the same work.
function keysOf(users: Users): FindScramKeys {
  return async (username, hash) => {
    const isOfUse = (kept: string | ScramKeys): boolean => typeof kept === "string" || kept.hash === hash;
    const { kept, model } = await users.find(username, isOfUse);
    const like = typeof model === "object" ? model.salt.length : SALT_LENGTH;
    const salt = await users.secretOf(`salt ${username}`, typeof kept === "string" ? SALT_LENGTH : like);
    const nobodys = await users.secretOf(`key ${username}`, 64);
    if (typeof kept === "object") return kept;
    if (kept === undefined && typeof model === "object") {
      return { ...model, salt, storedKey: nobodys.subarray(0, model.storedKey.length), serverKey: nobodys };
    }
    const options = { hash, iterations: MIN_ITERATIONS, salt };
    // A password that SCRAM does not allow is nobody's; PLAIN takes it.
    return await scramKeys(kept ?? encodeHex(nobodys), options).catch(() => scramKeys(encodeHex(nobodys), options));
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

// Time does not tell how many characters were right.
function equalTexts(given: string, wanted: string): boolean {
  return equalBytes(utf8(given), utf8(wanted));
}
