/**
 * A cache of senders by address, for programs that send to changing addresses.
 *
 * @module
 */

import { checkAddress, checkOptions } from "../base/options.ts";
import type { Environment } from "../base/environment.ts";
import { isBytes } from "../base/kinds.ts";
import { quote } from "../base/text.ts";
import { abortReason, Deferred, ignore, onAbort, rejected } from "../base/wait.ts";
import { encodeMessage, type Message } from "../codec/message.ts";
import type { Link } from "./link.ts";
import { SEND_KINDS, SendAbortedError, type SendOptions, type SendOutcome } from "./outcome.ts";
import type { Sender } from "./sender.ts";

/** The default size of the cache: a quarter of the links that most peers accept on a session. */
export const MAX_KEPT_SENDERS = 256;
/** The most senders with messages under way: as many more may still wait for the answer to their detach. */
export const MAX_BUSY_SENDERS = 384;
/** Milliseconds that an idle sender is cached by default. */
export const KEPT_SENDER_IDLE_MS = 60_000;

/** The connection of cached senders. */
export interface KeepingConnection {
  readonly environment: Environment;
  readonly host: string | undefined;
  /** The highest handle that the peer accepts on the session of the cached senders, if it has said so. */
  readonly peerHandleMax: number | undefined;
  /** Throws when too much waits already while the connection is lost. */
  admit(bytes: number): void;
  /** Attaches a sender, also while the connection waits for sends before it closes. */
  keptSender(address: string): Sender;
}

/** The cached senders of one connection, by address. */
export class KeptSenders {
  readonly #connection: KeepingConnection;
  // In order of last use, the latest last.
  readonly #kept = new Map<string, { readonly sender: Sender; readonly usedAt: number }>();
  // Starts of sends for which no further sender has room yet, by address.
  readonly #waiting = new Map<string, Set<() => void>>();
  /** Messages of these sends, and their bytes. */
  readonly waiting: { messages: number; bytes: number } = { messages: 0, bytes: 0 };
  #allStarted: Deferred<void> | undefined;
  #timer: unknown;

  constructor(connection: KeepingConnection) {
    this.#connection = connection;
  }

  /** Sends to `address`: at once, or when a sender to another address has nothing more to do. */
  send(address: string, message: Message | Uint8Array, options: SendOptions): Promise<SendOutcome | undefined> {
    const others = this.#waiting.get(address);
    if (others === undefined && this.#hasRoom(address)) return this.#get(address).send(message, options);
    checkOptions("send", options, SEND_KINDS);
    // Encoded now, as by a sender, so that it may be changed after the call.
    const bytes = isBytes(message) ? message : encodeMessage(message);
    return this.#wait(address, bytes, options);
  }

  /** The cached senders. */
  senders(): Set<Link> {
    return new Set(Array.from(this.#kept.values(), ({ sender }) => sender));
  }

  /** Resolves when no send waits for a sender. */
  allStarted(): Promise<void> {
    return (this.#allStarted ??= new Deferred<void>()).promise;
  }

  #wait(address: string, bytes: Uint8Array, options: SendOptions): Promise<SendOutcome | undefined> {
    const { signal } = options;
    const { host } = this.#connection;
    const where = host === undefined ? quote(address) : `${quote(address)} at ${host}`;
    const abort = (): SendAbortedError => new SendAbortedError(abortReason(signal), false, where);
    if (signal?.aborted) return rejected(abort());
    this.#connection.admit(bytes.length);
    this.#count(1, bytes);
    return new Promise((resolve, reject) => {
      const cancel = signal && onAbort(signal, () => {
        reject(abort());
        const starts = this.#waiting.get(address);
        if (starts?.delete(start) && starts.size === 0) this.#waiting.delete(address);
        this.#count(-1, bytes);
      });
      const start = (): void => {
        cancel?.();
        this.#count(-1, bytes);
        this.#start(address, bytes, options).then(resolve, reject);
      };
      const starts = this.#waiting.get(address);
      if (starts === undefined) this.#waiting.set(address, new Set([start]));
      else starts.add(start);
    });
  }

  #count(messages: 1 | -1, { length }: Uint8Array): void {
    this.waiting.messages += messages;
    this.waiting.bytes += messages * length;
    if (this.waiting.messages > 0) return;
    this.#allStarted?.resolve();
    this.#allStarted = undefined;
  }

  async #start(address: string, bytes: Uint8Array, options: SendOptions): Promise<SendOutcome | undefined> {
    return await this.#get(address).send(bytes, options);
  }

  #startNext(): void {
    for (const [address, starts] of this.#waiting) {
      if (!this.#hasRoom(address)) return;
      this.#waiting.delete(address);
      for (const start of starts) start();
    }
  }

  // The sender to `address`, attached now unless cached.
  #get(address: string): Sender {
    const { environment } = this.#connection;
    const kept = this.#kept.get(address);
    this.#kept.delete(address);
    const sender = kept?.sender.open ? kept.sender : this.#connection.keptSender(address);
    sender.onidle ??= () => {
      if (this.#waiting.size > 0) Promise.resolve().then(() => this.#startNext());
    };
    this.#kept.set(address, { sender, usedAt: environment.now() });
    this.#timer ??= environment.setTimer(() => this.#dropIdle(), KEPT_SENDER_IDLE_MS);
    return sender;
  }

  /** Empties the cache when the connection has ended. */
  clear(): void {
    this.#connection.environment.clearTimer(this.#timer);
    this.#kept.clear();
    // Without a connection they fail.
    for (const starts of this.#waiting.values()) for (const start of starts) start();
    this.#waiting.clear();
  }

  // Whether there is a sender to `address`, or room for one, once the least used of those without messages under way is gone.
  #hasRoom(address: string): boolean {
    if (this.#kept.get(address)?.sender.open) return true;
    checkAddress("send", address);
    // Half of the peer's links are left to others, and to senders whose detach it has not answered.
    const { peerHandleMax = Infinity } = this.#connection;
    const half = Math.ceil(peerHandleMax / 2);
    if (this.#kept.size < Math.min(MAX_KEPT_SENDERS, half)) return true;
    for (const [address, { sender }] of this.#kept) if (this.#drop(address, sender)) return true;
    return this.#kept.size < Math.min(MAX_BUSY_SENDERS, half);
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
