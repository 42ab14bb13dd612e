import { isDeno } from "../../base/environment.ts";
import { TransportError } from "../../base/errors.ts";
import { quote } from "../../base/text.ts";
import { abortReason, onAbort, part } from "../../base/wait.ts";
import { connectTcp, connectTls, tlsUnreadable } from "../runtime/node.ts";
import { reasonOf, type Socket, type TlsOption } from "./socket.ts";
import type { TlsOptions } from "./tls.ts";
import { guard, type TransportEvent } from "../channel.ts";
import { joinAuthority } from "../url.ts";

/** The bounds of every step of dialling. */
export interface StepOptions {
  signal: AbortSignal | undefined;
  /** Milliseconds for each step. */
  timeoutMs: number;
  onstep?: ((event: TransportEvent) => void) | undefined;
  /** What listens at the place, before its name in errors. Default: nothing. */
  peer?: "proxy " | undefined;
}

/** Connects; `bare` if the socket will carry no TLS. */
export async function openTcp(hostname: string, port: number, options: StepOptions, bare = false): Promise<Socket> {
  const own = bare && isDeno() ? await part("denoSocket", () => import("../runtime/deno_socket.ts")) : undefined;
  const socket = own?.connectDeno(hostname, port) ?? connectTcp(hostname, port, bare);
  const what = `connect to ${options.peer ?? ""}"${joinAuthority(hostname, port)}"`;
  await step(socket, { event: "connect", what, ...options });
  tellStep(socket, options, { event: "tcp", host: hostname, port, address: socket.remoteAddress });
  return socket;
}

/** Starts TLS over a connected socket, and verifies the peer's certificate. */
export async function openTls(
  socket: Socket,
  hostname: string,
  port: number,
  options: StepOptions & { tls: TlsOptions & { alpn?: string[] } },
): Promise<Socket> {
  let secured: Socket;
  try {
    secured = connectTls(socket, hostname, options.tls);
  } catch (cause) {
    socket.destroy();
    throw tlsUnreadable(cause);
  }
  const { serverName } = options.tls;
  const named = serverName === undefined || serverName === hostname ? "" : ` as ${quote(serverName)}`;
  const what = `open TLS to ${options.peer ?? ""}"${joinAuthority(hostname, port)}"${named}`;
  await step(secured, { event: "secureConnect", what, ...options });
  const protocol = secured.getProtocol?.() ?? undefined;
  tellStep(secured, options, { event: "tls", host: serverName ?? hostname, protocol });
  return secured;
}

// A listener that throws ends the attempt, whose socket nobody else would drop.
function tellStep(socket: Socket, { onstep }: StepOptions, event: TransportEvent): void {
  try {
    onstep?.(event);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

// Waits for `event`, and drops the socket if anything else comes first.
function step(
  socket: Socket,
  { event, what, signal, timeoutMs, peer }: StepOptions & { event: "connect" | "secureConnect"; what: string },
): Promise<void> {
  const option = peer === undefined ? "tls" : "proxy.tls";
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer);
      callOff?.();
      socket.off(event, done);
      socket.off("error", broken);
      socket.off("close", ended);
    };
    const fail = (reason: unknown): void => {
      settle();
      socket.destroy();
      reject(reason);
    };
    const done = (): void => {
      settle();
      resolve();
    };
    const abort = (): void => fail(abortReason(signal));
    const broken = (cause: Error): void => {
      const reason = reasonOf(cause, option);
      const [remedy, passes] = remedyFor(`${reason} ${cause.message}`, event, option);
      const options = { cause, ...(passes ? {} : { retryable: false }) };
      fail(new TransportError("connect-failed", `Cannot ${what}: ${reason}${remedy}`, options));
    };
    const ended = (): void => {
      fail(new TransportError("connect-failed", `Cannot ${what}: connection ended${remedyFor("", event, option)[0]}`));
    };
    const timer = guard(timeoutMs, () => {
      fail(new TransportError("timeout", `Cannot ${what}: no answer within ${timeoutMs} ms`));
    });
    socket.on(event, done);
    socket.on("error", broken);
    socket.on("close", ended);
    const callOff = signal && onAbort(signal, abort);
  });
}

// A remedy for an error, from the messages of OpenSSL (Node), BoringSSL (Bun) and rustls (Deno), and whether the error may
// pass. `option` has the settings of this TLS: that of the connection, or the proxy's own.
function remedyFor(
  text: string,
  event: "connect" | "secureConnect",
  option: TlsOption,
): [remedy: string, passes: boolean] {
  if (event === "connect") {
    if (/EPERM|EACCES|NotCapable|Requires net access/.test(text)) {
      return [", this process may not; on Deno run with --allow-net", false];
    }
    if (/ECONNREFUSED/.test(text)) return [", nothing listens there or something on the way refuses", true];
    if (/ENOTFOUND|EAI_/.test(text)) return [", the host's name cannot be looked up", true];
    return ["", true];
  }
  if (/ALTNAME|NotValidForName|not valid for name|does not match/i.test(text)) {
    return [`; the certificate is for another name, give that in ${option}.serverName if it is the right one`, false];
  }
  if (/EXPIRED|certificate has expired|NOT_YET_VALID/i.test(text)) return ["; the certificate is out of date", false];
  if (/SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)|UnknownIssuer|self[- ]signed|CaUsedAsEndEntity/i.test(text)) {
    return [`; give the authority that its certificate comes from in ${option}.ca`, false];
  }
  if (/WRONG_VERSION|wrong version|InvalidContentType|packet length too long|http request/i.test(text)) {
    const clear = option === "tls" ? "connect by ws: or amqp:" : "give the proxy's URL as http:";
    return [`; the port speaks no TLS, ${clear} if that is meant`, false];
  }
  // What a server with TLS 1.2 says of a missing certificate, among others.
  if (/handshake.?failure/i.test(text)) {
    return [`; if the server wants a certificate, see ${option}.cert and ${option}.key`, false];
  }
  if (text === "" || /ECONNRESET|UnexpectedEof|unexpected end|eof|disconnected before/i.test(text)) {
    const clear = option === "tls" ? "ws: and amqp: do" : "an http: URL of the proxy does";
    return [`; does this port speak TLS? ${clear} without`, true];
  }
  return ["", true];
}
