/**
 * A socket of Cloudflare Workers with the interface of `node:net`, so that channels over sockets work there, too.
 *
 * @module
 */

import type { Socket } from "../socket/socket.ts";

/** The part of a socket of `cloudflare:sockets` that is used. */
export interface CloudflareSocket {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when the socket is connected, TLS included. */
  readonly opened: Promise<unknown>;
  close(): Promise<void>;
}

/** Closes a socket, whether it still can be closed or not: it may throw as well as reject. */
export async function closeSocket(socket: CloudflareSocket): Promise<void> {
  try {
    await socket.close();
  } catch {
    // It has ended by itself.
  }
}

type Listener = (argument?: unknown) => void;

// Node's default.
const HIGH_WATER_BYTES = 65_536;

/** Reads while it is not paused, and closes when both halves have ended. */
export class WorkersSocket implements Socket {
  writableLength = 0;
  destroyed = false;
  allowHalfOpen = true;
  readonly #socket: CloudflareSocket;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #unshifted: Uint8Array[] = [];
  #paused = true;
  #pumping = false;
  #readEnded = false;
  #writeEnded = false;

  constructor(socket: CloudflareSocket) {
    this.#socket = socket;
    this.#reader = socket.readable.getReader();
    this.#writer = socket.writable.getWriter();
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
  }

  write(bytes: Uint8Array, written?: (error?: Error | null) => void): boolean {
    if (this.destroyed) return false;
    const { length } = bytes;
    this.writableLength += length;
    this.#writer.write(bytes).then(() => {
      const wasFull = this.writableLength > HIGH_WATER_BYTES;
      this.writableLength -= length;
      written?.();
      if (wasFull && this.writableLength <= HIGH_WATER_BYTES) this.#emit("drain");
    }, (error) => {
      written?.(error);
      this.#break(error);
    });
    return this.writableLength <= HIGH_WATER_BYTES;
  }

  end(): void {
    if (this.#writeEnded || this.destroyed) return;
    this.#writeEnded = true;
    this.#writer.close().then(() => this.#finish(), (error) => this.#break(error));
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.writableLength = 0;
    this.#reader.cancel().catch(() => {});
    closeSocket(this.#socket);
    Promise.resolve().then(() => this.#emit("close"));
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#pump();
  }

  unshift(bytes: Uint8Array): void {
    this.#unshifted.unshift(bytes);
  }

  on(event: string, listener: unknown): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener as Listener));
  }

  off(event: string, listener: unknown): void {
    this.#listeners.get(event)?.delete(listener as Listener);
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#paused && !this.destroyed && !this.#readEnded) {
        const bytes = this.#unshifted.shift() ?? (await this.#reader.read()).value;
        if (bytes !== undefined) {
          // Bytes that arrived while the socket was paused are kept for `resume`.
          if (this.#paused) this.#unshifted.push(bytes);
          else this.#emit("data", bytes);
        } else {
          this.#readEnded = true;
          this.#emit("end");
          this.#finish();
        }
      }
    } catch (error) {
      this.#break(error as Error);
    } finally {
      this.#pumping = false;
    }
  }

  #finish(): void {
    if (this.#readEnded && this.#writeEnded) this.destroy();
  }

  #break(error: Error): void {
    if (this.destroyed) return;
    this.#emit("error", error);
    this.destroy();
  }

  #emit(event: string, argument?: unknown): void {
    for (const listener of [...this.#listeners.get(event) ?? []]) listener(argument);
  }
}
