/**
 * Peers on bare sockets, which can misbehave as no runtime's WebSocket would.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { WebSocketFrameDecoder, WebSocketFrameEncoder } from "../../src/transport/websocket/frames.ts";
import { MaskKeys } from "../../src/transport/websocket/mask.ts";
import { latin1, text } from "./wire.ts";

const HOST = "127.0.0.1";
const KEY = "AAAAAAAAAAAAAAAAAAAAAA==";

/** One end of a connection on a bare socket. */
export class RawPeer {
  readonly socket: Socket;
  /** The first head that the other end sent. */
  head = "";
  /** Payload bytes received. */
  received = 0;
  /** Control frames received. */
  readonly controls: Array<{ opcode: number; payload: Uint8Array }> = [];
  /** Resolves when the socket is gone. */
  readonly ended: Promise<void>;
  readonly #decoder: WebSocketFrameDecoder;
  readonly #encoder: WebSocketFrameEncoder;
  #change: () => void = () => {};

  /** Reads the other end's bytes; `onhead` is called once its head is complete. */
  constructor(socket: Socket, role: "client" | "server", onhead: (peer: RawPeer) => void) {
    this.socket = socket;
    this.#decoder = new WebSocketFrameDecoder(role === "server", { maxFragments: Infinity, maxMessageBytes: Infinity });
    this.#encoder = new WebSocketFrameEncoder(role === "client" ? new MaskKeys(crypto) : undefined);
    this.ended = new Promise((resolve) => socket.on("close", () => resolve()));
    socket.on("error", () => {});
    socket.on("close", () => this.#change());
    socket.on("data", (chunk: Uint8Array) => {
      let rest = new Uint8Array(chunk);
      if (!this.head.includes("\r\n\r\n")) {
        this.head += text(rest);
        const end = this.head.indexOf("\r\n\r\n");
        if (end < 0) return;
        rest = latin1(this.head.slice(end + 4));
        this.head = this.head.slice(0, end + 4);
        onhead(this);
      }
      this.#read(rest);
    });
  }

  /** The path in a client's request. */
  get path(): string {
    return this.head.split(" ")[1] ?? "";
  }

  /** Answers a client's handshake, by default as AMQP; `""` chooses no subprotocol. */
  accept(subprotocol = "amqp", behind: Uint8Array = new Uint8Array(0)): void {
    const key = /^sec-websocket-key: (.*)\r$/im.exec(this.head)?.[1] ?? "";
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    const chosen = subprotocol === "" ? "" : `Sec-WebSocket-Protocol: ${subprotocol}\r\n`;
    const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\n${chosen}\r\n`;
    this.socket.write(latin1(head + text(behind)));
  }

  /** Refuses a client's handshake. */
  refuse(status: number): void {
    this.socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  }

  /** Sends one frame. */
  send(opcode: number, payload: Uint8Array): void {
    this.#encoder.frame(opcode, payload);
    for (let piece = this.#encoder.take(); piece !== undefined; piece = this.#encoder.take()) this.socket.write(piece);
  }

  /** Resolves when the condition holds, checked on every arrival; rejects when nothing more can arrive. */
  async until(condition: (peer: RawPeer) => boolean): Promise<void> {
    while (!condition(this)) {
      if (this.socket.destroyed) throw new Error("Connection ended before the condition held");
      await new Promise<void>((resolve) => this.#change = resolve);
    }
  }

  #read(bytes: Uint8Array): void {
    this.#decoder.push(bytes);
    for (let piece = this.#decoder.next(); piece !== undefined; piece = this.#decoder.next()) {
      if (piece.kind === "bytes") this.received += piece.bytes.length;
      else this.controls.push({ opcode: piece.opcode, payload: piece.payload.slice() });
    }
    this.#change();
  }
}

/** A server that calls `onhead` for every connection. */
export async function rawServer(
  onhead: (peer: RawPeer) => void,
): Promise<{ url: string; peers: RawPeer[]; close(): Promise<void> }> {
  const peers: RawPeer[] = [];
  const server = createServer((socket) => void peers.push(new RawPeer(socket, "server", onhead)));
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  return {
    url: `ws://${HOST}:${(server.address() as AddressInfo).port}`,
    peers,
    async close(): Promise<void> {
      for (const { socket } of peers) socket.destroy();
      await Promise.all(peers.map(({ ended }) => ended));
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A client with a completed handshake. */
export async function rawClient(url: string): Promise<RawPeer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  return await new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", () => {
      new RawPeer(socket, "client", resolve);
      socket.write(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
          `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Protocol: amqp\r\n\r\n`,
      );
    });
  });
}
