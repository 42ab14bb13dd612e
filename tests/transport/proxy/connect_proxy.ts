/**
 * A proxy for CONNECT with Basic or Digest, on a bare socket, that records its requests.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { KeyPair } from "../../pki.ts";

/** The settings of the proxy. */
export interface ConnectProxyOptions {
  /** The required scheme. Default: none. */
  auth?: "basic" | "digest";
  /** The algorithm of Digest. Default: MD5. */
  algorithm?: "MD5" | "SHA-256";
  /** The certificate for TLS to the proxy. */
  tls?: KeyPair;
  /** Ends the connection after each challenge. */
  closes?: boolean;
  /** Accepts a nonce for this many requests; later ones are answered as stale. */
  uses?: number;
  /** Answers everything with this status. */
  status?: number;
}

/** A running proxy. */
export interface ConnectProxy extends AsyncDisposable {
  /** Its URL without user info. */
  readonly url: string;
  /** The head of every request. */
  readonly requests: string[];
  /** The number of opened tunnels. */
  readonly tunnels: number;
  /** Cuts every connection. */
  cut(): void;
}

/** The proxy's only user. */
export const PROXY_USER = { username: "puser", password: "p:ß" } as const;

const REALM = "labrealm";

/** Starts a proxy on loopback. */
export async function connectProxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  let tunnels = 0;
  let nonce = 0;
  let uses = 0;

  function isAllowed(head: string, target: string): boolean {
    if (options.auth === undefined) return true;
    const value = /^proxy-authorization: *(.*)$/im.exec(head)?.[1];
    if (value === undefined) return false;
    if (options.auth === "basic") {
      return value === `Basic ${Buffer.from(`${PROXY_USER.username}:${PROXY_USER.password}`).toString("base64")}`;
    }
    const given = (name: string) => new RegExp(`[ ,]${name}="?([^",]*)`).exec(value)?.[1];
    const h = (text: string) =>
      createHash(options.algorithm === "SHA-256" ? "sha256" : "md5").update(text).digest("hex");
    const a1 = h(`${PROXY_USER.username}:${REALM}:${PROXY_USER.password}`);
    const a2 = h(`CONNECT:${target}`);
    const wanted = h(`${a1}:${given("nonce")}:${given("nc")}:${given("cnonce")}:auth:${a2}`);
    return given("response") === wanted && given("nonce") === `n${nonce}` && uses++ < (options.uses ?? Infinity);
  }

  function challenge(answered: boolean): string {
    if (options.auth === "basic") return `Basic realm="${REALM}", charset="UTF-8"`;
    const stale = answered && uses > (options.uses ?? Infinity) ? ", stale=true" : "";
    uses = 0;
    const algorithm = options.algorithm ?? "MD5";
    return `Digest realm="${REALM}", qop="auth", nonce="n${++nonce}", algorithm=${algorithm}, charset=UTF-8${stale}`;
  }

  function serve(socket: Socket): void {
    let text = "";
    const ondata = (bytes: Uint8Array): void => {
      text += Buffer.from(bytes).toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = text.slice(0, end + 2);
      text = text.slice(end + 4);
      requests.push(head);
      const target = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head)?.[1] ?? "";
      if (options.status !== undefined) {
        socket.end(`HTTP/1.1 ${options.status} Refused\r\nContent-Length: 0\r\n\r\n`);
      } else if (isAllowed(head, target)) {
        socket.off("data", ondata);
        tunnel(socket, target);
      } else {
        const close = options.closes ? "Connection: close\r\n" : "";
        const answered = head.toLowerCase().includes("proxy-authorization");
        socket.write(
          `HTTP/1.1 407 Who?\r\nProxy-Authenticate: ${challenge(answered)}\r\n${close}Content-Length: 5\r\n\r\nwho?\n`,
        );
        if (options.closes) socket.end();
      }
    };
    socket.on("data", ondata);
  }

  function tunnel(socket: Socket, target: string): void {
    const colon = target.lastIndexOf(":");
    const onward = keep(connect({
      host: target.slice(0, colon).replace(/^\[|\]$/g, ""),
      port: Number(target.slice(colon + 1)),
      allowHalfOpen: true,
    }));
    tunnels++;
    socket.pause();
    onward.on("connect", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      socket.pipe(onward);
      onward.pipe(socket);
    });
    socket.on("close", () => onward.destroy());
    onward.on("close", () => socket.destroy());
  }

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    return socket;
  }

  const onsocket = (socket: Socket): void => serve(keep(socket));
  const server = options.tls === undefined
    ? createServer({ allowHalfOpen: true }, onsocket)
    : createTlsServer({ ...options.tls, allowHalfOpen: true }, onsocket);
  // A failed TLS handshake is never served.
  server.on("connection", keep);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    requests,
    get tunnels(): number {
      return tunnels;
    },
    cut,
    async [Symbol.asyncDispose](): Promise<void> {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}
