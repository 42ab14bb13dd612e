/**
 * Senders that are kept for the next message to their address, for programs that send now here and now there.
 *
 * @module
 */

import { checkAddress } from "../base/options.ts";
import type { Environment } from "../base/environment.ts";
import { ignore } from "../base/wait.ts";
import type { Sender } from "./sender.ts";

/** Senders that are kept by default: a quarter of the links that most peers take on a session. */
export const MAX_KEPT_SENDERS = 256;
/** How long an idle one is kept by default, in milliseconds. */
export const KEPT_SENDER_IDLE_MS = 60_000;

/** The connection of kept senders: what they ask of it. */
export interface KeepingConnection {
  /** Where it runs. */
  readonly environment: Environment;
  /** Attaches a sender. */
  sender(address: string): Sender;
}

/** The senders of one connection, by address. */
export class KeptSenders {
  readonly #connection: KeepingConnection;
  // The sender that was used last stands last.
  readonly #kept = new Map<string, { readonly sender: Sender; readonly usedAt: number }>();
  #timer: unknown;

  constructor(connection: KeepingConnection) {
    this.#connection = connection;
  }

  /** The sender to `address`, attached now unless it is there. */
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

  /** Keeps none any longer, for the connection has ended. */
  clear(): void {
    this.#connection.environment.clearTimer(this.#timer);
    this.#kept.clear();
  }

  #makeRoom(): void {
    if (this.#kept.size < MAX_KEPT_SENDERS) return;
    // A sender that waits for an outcome is needed; there are no more such senders than messages that wait.
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
