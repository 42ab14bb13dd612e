/**
 * Plain sockets of Deno with the interface of `node:net`, at less cost than Deno's own `node:net`: they read larger pieces.
 *
 * @module
 */

import { PromisedSocket } from "../socket/promised_socket.ts";
import type { Socket } from "../socket/socket.ts";
import type { TcpListener } from "./node.ts";

// As much as the engine keeps by views; small until a read fills it, as each idle socket holds one.
const MAX_READ_BYTES = 262_144;
const MIN_READ_BYTES = 2_048;

// Milliseconds until the next attempt to accept: accepting fails without file descriptors, and would fail again at once.
const ACCEPT_AGAIN_MS = 100;

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

interface DenoListener {
  readonly addr: { readonly hostname: string; readonly port: number };
  accept(): Promise<DenoConn>;
  close(): void;
}

interface DenoGlobal {
  readonly version: { readonly deno: string };
  connect(options: { hostname: string; port: number; signal: AbortSignal }): Promise<DenoConn>;
  listen(options: { hostname: string; port: number }): DenoListener;
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

/** Listens on an address, undefined for all, and passes every socket to `onsocket`; undefined where {@linkcode connectDeno} is. */
export function listenDeno(
  hostname: string | undefined,
  port: number,
  onsocket: (socket: Socket) => void,
): TcpListener | undefined {
  const deno = denoSince29();
  if (deno === undefined) return undefined;
  const listener = listenOn(deno, hostname, port);
  const sockets = new Set<Socket>();
  let closed: (() => void) | undefined;
  const leave = (socket: Socket): void => {
    sockets.delete(socket);
    if (sockets.size === 0) closed?.();
  };
  const accept = async (): Promise<void> => {
    while (closed === undefined) {
      const conn = await listener.accept().catch(() => undefined);
      if (conn === undefined) {
        if (closed === undefined) await new Promise((resolve) => setTimeout(resolve, ACCEPT_AGAIN_MS));
        continue;
      }
      const socket = new DenoSocket();
      sockets.add(socket);
      socket.on("close", () => leave(socket));
      socket.open(conn);
      onsocket(socket);
    }
  };
  accept();
  return {
    port: listener.addr.port,
    host: listener.addr.hostname,
    close: () =>
      new Promise((resolve) => {
        closed = resolve;
        listener.close();
        if (sockets.size === 0) resolve();
      }),
  };
}

// All addresses are those of both families, unless the system has one only.
function listenOn(deno: DenoGlobal, hostname: string | undefined, port: number): DenoListener {
  if (hostname !== undefined) return deno.listen({ hostname, port });
  try {
    return deno.listen({ hostname: "::", port });
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
    return deno.listen({ hostname: "0.0.0.0", port });
  }
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
