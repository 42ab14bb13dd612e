/**
 * Servers on bare sockets that do exactly what a test says.
 *
 * @module
 */

import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { text } from "./wire.ts";

/** A running server. */
export interface BareServer extends AsyncDisposable {
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** Every connection so far, in order. */
  readonly sockets: Socket[];
  /** Resolves when `count` connections have come and gone. */
  gone(count: number): Promise<void>;
}

/** Reads, and sends nothing but its end. */
export function silent(socket: Socket): void {
  socket.resume();
  socket.on("end", () => socket.end());
}

/** Listens on loopback; `onsocket` is called with every connection, with TLS ones when they are secured. */
export async function bareServer(onsocket: (socket: Socket) => void, tls?: TlsOptions): Promise<BareServer> {
  const sockets: Socket[] = [];
  let ended = 0;
  let change = (): void => {};
  const track = (socket: Socket): void => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      ended++;
      change();
    });
  };
  const raw: Socket[] = [];
  const take = (socket: Socket): void => {
    track(socket);
    onsocket(socket);
  };
  const server = tls === undefined
    ? createServer({ allowHalfOpen: true, noDelay: true }, take)
    : createTlsServer({ ...tls, allowHalfOpen: true }, take);
  server.on("connection", (socket: Socket) => raw.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    async gone(count): Promise<void> {
      while (ended < count) await new Promise<void>((resolve) => change = resolve);
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of [...sockets, ...raw]) socket.destroy();
      }),
  };
}

/** A client on a bare socket. */
export class BareClient implements AsyncDisposable {
  readonly socket: Socket;
  /** The received bytes, one character each. */
  heard = "";
  /** Resolves when the socket is gone. */
  readonly ended: Promise<void>;
  #change = (): void => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (bytes: Uint8Array) => {
      this.heard += text(bytes);
      this.#change();
    });
    socket.on("end", () => socket.end());
    this.ended = new Promise((resolve) => socket.on("close", () => resolve()));
    socket.on("close", () => this.#change());
  }

  /** Connects to loopback. */
  static async connect(port: number): Promise<BareClient> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const client = new BareClient(socket);
    await new Promise<void>((resolve) => socket.on("connect", resolve));
    return client;
  }

  /** Resolves when `what` was received; rejects when it no longer can be. */
  async until(what: string): Promise<void> {
    while (!this.heard.includes(what)) {
      if (this.socket.destroyed) throw new Error(`Heard only ${JSON.stringify(this.heard)}`);
      await new Promise<void>((resolve) => this.#change = resolve);
    }
  }

  /** Drops the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.ended;
  }
}
