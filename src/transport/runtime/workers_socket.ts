/**
 * A socket of Cloudflare Workers with the interface of `node:net`, so that channels over sockets work there, too.
 *
 * @module
 */

import { ignore } from "../../base/wait.ts";
import { PromisedSocket } from "../socket/promised_socket.ts";

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

export class WorkersSocket extends PromisedSocket {
  readonly #socket: CloudflareSocket;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(socket: CloudflareSocket) {
    super();
    this.#socket = socket;
    this.#reader = socket.readable.getReader();
    this.#writer = socket.writable.getWriter();
    this.#reader.closed.catch(ignore);
    this.#writer.closed.catch(ignore);
  }

  protected async read(): Promise<Uint8Array | undefined> {
    return (await this.#reader.read()).value;
  }

  protected send(bytes: Uint8Array): Promise<void> {
    return this.#writer.write(bytes);
  }

  protected sendEnd(): Promise<void> {
    return this.#writer.close();
  }

  protected drop(): void {
    this.#reader.cancel().catch(ignore);
    closeSocket(this.#socket);
  }
}
