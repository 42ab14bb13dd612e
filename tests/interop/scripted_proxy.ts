/**
 * A proxy that requires Digest with SHA-256, which no packaged one does; `curl` checks the proxy itself.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { HOST } from "./daemon.ts";
import { PROXY_REALM, PROXY_USER, type RunningProxy } from "./proxies.ts";

/** The algorithms of the challenge. */
export type Algorithm = "SHA-256" | "SHA-256-sess";

/** Starts the proxy; every nonce is good for one connection. */
export async function startScriptedProxy(algorithm: Algorithm): Promise<RunningProxy> {
  const nonces = new Set<string>();
  const sockets = new Set<Socket>();
  const lines: string[] = [];
  const server = createServer();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("connect", (request: IncomingMessage, client: Socket, head: Uint8Array) => {
    const target = request.url ?? "";
    if (!isAnswer(request.headers["proxy-authorization"] ?? "", { target, nonces, algorithm })) {
      lines.push(`407 ${target}`);
      return void client.end(challenge(nonces, algorithm));
    }
    lines.push(`200 ${target}`);
    tunnel(client, target, head);
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${HOST}:${port}`,
    port,
    ca: undefined,
    log: () => lines.join("\n"),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function tunnel(client: Socket, target: string, head: Uint8Array): void {
  const [, host, port] = /^(.*):(\d+)$/.exec(target) ?? [];
  const origin = connect({ host, port: Number(port), family: 4 }, () => {
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    origin.write(head);
    origin.pipe(client).pipe(origin);
  });
  for (const [one, other] of [[origin, client], [client, origin]]) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
}

function challenge(nonces: Set<string>, algorithm: Algorithm): string {
  const nonce = randomBytes(16).toString("base64");
  nonces.add(nonce);
  const fields = [
    "HTTP/1.1 407 Proxy Authentication Required",
    `Proxy-Authenticate: Digest realm="${PROXY_REALM}", nonce="${nonce}", algorithm=${algorithm}, qop="auth,auth-int"`,
    "Content-Length: 0",
    "Connection: close",
  ];
  return `${fields.join("\r\n")}\r\n\r\n`;
}

interface Expected {
  readonly target: string;
  readonly nonces: Set<string>;
  readonly algorithm: Algorithm;
}

// As in RFC 7616 3.4, and nothing beyond.
function isAnswer(header: string, { target, nonces, algorithm }: Expected): boolean {
  const params = new Map(
    [...header.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)].map(([, name, quoted, token]) => [name, quoted ?? token]),
  );
  const of = (name: string): string => params.get(name) ?? "";
  if (!header.startsWith("Digest ") || !nonces.delete(of("nonce"))) return false;
  const secret = sha256(PROXY_USER.username, PROXY_REALM, PROXY_USER.password);
  const a1 = algorithm === "SHA-256" ? secret : sha256(secret, of("nonce"), of("cnonce"));
  const response = sha256(a1, of("nonce"), of("nc"), of("cnonce"), of("qop"), sha256("CONNECT", target));
  return of("username") === PROXY_USER.username && of("uri") === target && of("algorithm") === algorithm &&
    of("qop") === "auth" && of("nc") === "00000001" && of("response") === response;
}

function sha256(...parts: string[]): string {
  return createHash("sha256").update(parts.join(":")).digest("hex");
}
