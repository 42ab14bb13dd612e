/**
 * Plain sockets of Deno with the interface of `node:net`, at less cost than Deno's own `node:net`: they read larger pieces.
 *
 * @module
 */

import { PromisedSocket } from "../socket/promised_socket.ts";
import type { Socket } from "../socket/socket.ts";

// As much as the engine keeps by views; small until a read fills it, as each idle socket holds one.
const MAX_READ_BYTES = 262_144;
const MIN_READ_BYTES = 2_048;

interface DenoConn {
  readonly localAddr: { readonly hostname: string };
  readonly remoteAddr: { readonly hostname: string; readonly port: number };
  /** The bytes read; null at the end of the peer's half. */
  read(bytes: Uint8Array): Promise<number | null>;
  /** The bytes written, perhaps not all. */
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  setNoDelay(): void;
  setKeepAlive(): void;
}

interface DenoGlobal {
  readonly version: { readonly deno: string };
  connect(options: { hostname: string; port: number; signal: AbortSignal }): Promise<DenoConn>;
}

// Earlier ones do not try all addresses of a name.
function denoSince29(): DenoGlobal | undefined {
  const { Deno } = globalThis as { Deno?: DenoGlobal };
  const [major = 0, minor = 0] = Deno?.version?.deno.split(".").map(Number) ?? [];
  return major > 2 || major === 2 && minor >= 9 ? Deno : undefined;
}

/** Starts to connect; undefined outside Deno, and on one that is too old. */
export function connectDeno(hostname: string, port: number): Socket | undefined {
  const deno = denoSince29();
  if (deno === undefined) return undefined;
  const connecting = new AbortController();
  let ended = false;
  const socket = new DenoSocket(() => {
    // Deno 2.9 never closes a connection that is called off when it was just made, so its promise gets a turn before.
    if (!ended) setTimeout(() => connecting.abort());
  });
  deno.connect({ hostname, port, signal: connecting.signal }).finally(() => ended = true).then(
    (conn) => socket.open(conn),
    (error) => socket.break(named(error)),
  );
  return socket;
}

/** A socket that carries bytes once it was given its connection, and emits `connect` then. */
class DenoSocket extends PromisedSocket {
  readonly #callOff: (() => void) | undefined;
  #conn: DenoConn | undefined;
  #buffer: Uint8Array | undefined;
  #size = MIN_READ_BYTES;

  constructor(callOff?: () => void) {
    super();
    this.#callOff = callOff;
  }

  get remoteAddress(): string | undefined {
    return this.#conn?.remoteAddr.hostname;
  }

  get remotePort(): number | undefined {
    return this.#conn?.remoteAddr.port;
  }

  get localAddress(): string | undefined {
    return this.#conn?.localAddr.hostname;
  }

  open(conn: DenoConn): void {
    this.#conn = conn;
    if (this.destroyed) return conn.close();
    try {
      conn.setNoDelay();
      // Deno takes no time for it: the system's is two hours on Linux. A connection's own idle-time-out is a minute.
      conn.setKeepAlive();
    } catch {
      // It has ended already, which the next read tells.
    }
    this.emit("connect");
  }

  // Bytes leave with the memory that they were read into, which nothing is read into again: a program may transfer it. A read that
  // leaves most of the memory free is copied instead.
  protected async read(): Promise<Uint8Array | undefined> {
    const buffer = this.#buffer ??= new Uint8Array(this.#size);
    const length = await this.#conn!.read(buffer);
    if (length === null) return undefined;
    if (length === buffer.length) this.#size = Math.min(4 * length, MAX_READ_BYTES);
    else if (8 * length < buffer.length) this.#size = Math.max(buffer.length / 2, MIN_READ_BYTES);
    const isSmall = 4 * length < buffer.length;
    if (!isSmall || this.#size !== buffer.length) this.#buffer = undefined;
    return isSmall ? buffer.slice(0, length) : buffer.subarray(0, length);
  }

  protected async send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.#conn!.write(at === 0 ? bytes : bytes.subarray(at));
    }
  }

  protected sendEnd(): Promise<void> {
    return this.#conn!.closeWrite();
  }

  protected drop(): void {
    this.#conn?.close();
    this.#callOff?.();
  }
}

// Deno's errors of looking up a name have no code.
function named(error: Error & { code?: string }): Error {
  if (error.code !== undefined || !/lookup address/.test(error.message)) return error;
  const code = /temporary/i.test(error.message) ? "EAI_AGAIN" : "ENOTFOUND";
  return Object.assign(new Error(error.message, { cause: error }), { code });
}
