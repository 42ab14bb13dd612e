/**
 * A cache of senders by address, for programs that send to changing addresses.
 *
 * @module
 */

import { checkAddress } from "../base/options.ts";
import type { Environment } from "../base/environment.ts";
import { ignore } from "../base/wait.ts";
import type { Sender } from "./sender.ts";

/** The default size of the cache: a quarter of the links that most peers accept on a session. */
export const MAX_KEPT_SENDERS = 256;
/** Milliseconds that an idle sender is cached by default. */
export const KEPT_SENDER_IDLE_MS = 60_000;

/** The connection of cached senders. */
export interface KeepingConnection {
  readonly environment: Environment;
  /** The highest handle that the peer accepts on the session of the cached senders, if it has said so. */
  readonly peerHandleMax: number | undefined;
  sender(address: string): Sender;
}

/** The cached senders of one connection, by address. */
export class KeptSenders {
  readonly #connection: KeepingConnection;
  // In order of last use, the latest last.
  readonly #kept = new Map<string, { readonly sender: Sender; readonly usedAt: number }>();
  #timer: unknown;

  constructor(connection: KeepingConnection) {
    this.#connection = connection;
  }

  /** The sender to `address`, attached now unless cached. */
  get(address: string): Sender {
    const { environment } = this.#connection;
    const kept = this.#kept.get(address);
    this.#kept.delete(address);
    if (kept?.sender.open !== true) {
      checkAddress("send", address);
      this.#makeRoom();
    }
    const sender = kept?.sender.open ? kept.sender : this.#connection.sender(address);
    this.#kept.set(address, { sender, usedAt: environment.now() });
    this.#timer ??= environment.setTimer(() => this.#dropIdle(), KEPT_SENDER_IDLE_MS);
    return sender;
  }

  /** Empties the cache when the connection has ended. */
  clear(): void {
    this.#connection.environment.clearTimer(this.#timer);
    this.#kept.clear();
  }

  #makeRoom(): void {
    // Half of the peer's links are left to others, and to senders whose detach it has not answered.
    const { peerHandleMax = Infinity } = this.#connection;
    if (this.#kept.size < Math.min(MAX_KEPT_SENDERS, Math.ceil(peerHandleMax / 2))) return;
    // A sender that waits for an outcome stays; there are no more of these than waiting messages.
    for (const [address, { sender }] of this.#kept) if (this.#drop(address, sender)) return;
  }

  #dropIdle(): void {
    const { environment } = this.#connection;
    const before = environment.now() - KEPT_SENDER_IDLE_MS;
    for (const [address, { sender, usedAt }] of this.#kept) if (usedAt <= before) this.#drop(address, sender);
    const [oldest] = this.#kept.values();
    const delayMs = oldest && Math.max(1_000, oldest.usedAt - before);
    this.#timer = oldest && environment.setTimer(() => this.#dropIdle(), delayMs!);
  }

  #drop(address: string, sender: Sender): boolean {
    if (sender.open && sender.pending > 0) return false;
    sender.close().catch(ignore);
    return this.#kept.delete(address);
  }
}
