/**
 * A socket with the interface of `node:net`, over one that is read and written by promises.
 *
 * @module
 */

import { Fifo } from "../../base/collections.ts";
import type { Socket } from "./socket.ts";

type Listener = (argument?: unknown) => void;

interface Write {
  readonly bytes: Uint8Array;
  readonly written: ((error?: Error | null) => void) | undefined;
}

// Node's default.
const HIGH_WATER_BYTES = 65_536;

/** Reads one piece ahead of what it tells, writes one after the other, and closes when both halves have ended. */
export abstract class PromisedSocket implements Socket {
  writableLength = 0;
  destroyed = false;
  allowHalfOpen = true;
  readonly #listeners: Record<string, Set<Listener> | undefined> = {};
  readonly #writes: Fifo<Write> = new Fifo();
  readonly #unshifted: Uint8Array[] = [];
  // The piece that was read and is not told yet.
  #ahead: Uint8Array | undefined;
  #paused = true;
  #beginning = false;
  #reading = false;
  #writing = false;
  #ending = false;
  // The peer's half has ended, which may still have to be told.
  #sawEnd = false;
  #readEnded = false;
  #writeEnded = false;

  /** Resolves with the next bytes, or undefined once the peer's half has ended. */
  protected abstract read(): Promise<Uint8Array | undefined>;
  /** Resolves when all the bytes have left. */
  protected abstract send(bytes: Uint8Array): Promise<unknown>;
  /** Ends this side's half. */
  protected abstract sendEnd(): Promise<unknown>;
  /** Ends both halves at once; a read or write under way may fail. */
  protected abstract drop(): void;

  write(bytes: Uint8Array, written?: (error?: Error | null) => void): boolean {
    if (this.destroyed) return false;
    this.writableLength += bytes.length;
    this.#writes.push({ bytes, written });
    this.#transmit();
    return this.writableLength <= HIGH_WATER_BYTES;
  }

  end(): void {
    if (this.#ending || this.destroyed) return;
    this.#ending = true;
    this.#transmit();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.writableLength = 0;
    this.drop();
    Promise.resolve().then(() => this.emit("close"));
  }

  pause(): void {
    this.#paused = true;
    this.#begin();
  }

  resume(): void {
    this.#paused = false;
    this.#begin();
  }

  unshift(bytes: Uint8Array): void {
    this.#unshifted.unshift(bytes);
  }

  on(event: string, listener: unknown): void {
    (this.#listeners[event] ??= new Set()).add(listener as Listener);
  }

  off(event: string, listener: unknown): void {
    this.#listeners[event]?.delete(listener as Listener);
  }

  async #begin(): Promise<void> {
    if (this.#beginning) return;
    this.#beginning = true;
    // Whoever resumes, perhaps in a constructor, goes on before anything is told.
    await undefined;
    this.#beginning = false;
    this.#tellAll();
    if (!this.#reading) await this.#readAll();
  }

  // Reads one piece ahead while the socket is paused, as only a read tells that the peer has gone.
  async #readAll(): Promise<void> {
    this.#reading = true;
    try {
      while (!this.destroyed && this.#ahead === undefined && !this.#sawEnd) {
        await this.#readAhead();
        this.#tellAll();
      }
    } finally {
      this.#reading = false;
    }
  }

  async #readAhead(): Promise<void> {
    try {
      this.#ahead = await this.read();
      this.#sawEnd = this.#ahead === undefined;
    } catch (error) {
      this.break(error as Error);
    }
  }

  #tellAll(): void {
    while (!this.#paused && !this.destroyed && !this.#readEnded) {
      const bytes = this.#next();
      if (bytes !== undefined) this.emit("data", bytes);
      else if (!this.#sawEnd) return;
      else {
        this.#readEnded = true;
        this.emit("end");
        this.#finish();
      }
    }
  }

  #next(): Uint8Array | undefined {
    const bytes = this.#unshifted.shift();
    if (bytes !== undefined) return bytes;
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead;
  }

  async #transmit(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    let write: Write | undefined;
    try {
      while ((write = this.#writes.shift()) !== undefined) {
        await this.send(write.bytes);
        if (this.destroyed) return;
        const wasFull = this.writableLength > HIGH_WATER_BYTES;
        this.writableLength -= write.bytes.length;
        write.written?.();
        if (wasFull && this.writableLength <= HIGH_WATER_BYTES) this.emit("drain");
      }
      if (!this.#ending || this.#writeEnded) return;
      await this.sendEnd();
      this.#writeEnded = true;
      this.#finish();
    } catch (error) {
      write?.written?.(error as Error);
      this.break(error as Error);
    } finally {
      this.#writing = false;
    }
  }

  #finish(): void {
    if (this.#readEnded && this.#writeEnded) this.destroy();
  }

  /** Tells of a failure, and ends both halves. */
  break(error: Error): void {
    if (this.destroyed) return;
    this.emit("error", error);
    this.destroy();
  }

  protected emit(event: string, argument?: unknown): void {
    for (const listener of [...this.#listeners[event] ?? []]) listener(argument);
  }
}
