/**
 * Sockets, TLS, hashes and the environment, from the built-in modules that Node, Deno and Bun share.
 *
 * Only this file names those modules. It looks them up when needed and imports none, so that bundles for browsers and
 * Workers hold no specifier that would have to be resolved.
 *
 * @module
 */

import type * as AsyncHooks from "node:async_hooks";
import type * as Crypto from "node:crypto";
import type * as Dns from "node:dns";
import type * as Net from "node:net";
import type * as Tls from "node:tls";
import type * as WorkerThreads from "node:worker_threads";
import { TransportError } from "../../base/errors.ts";
import { ignore } from "../../base/wait.ts";
import type { Hash } from "../proxy/digest.ts";
import type { PeerCertificate } from "../channel.ts";
import { isNode, isWorkers, userAgent } from "../../base/environment.ts";
import { ReadBuffers } from "../socket/read_buffers.ts";
import type { Socket } from "../socket/socket.ts";
import type { TlsOptions, TlsServerOptions } from "../socket/tls.ts";

export interface TcpListener {
  /** The port, chosen by the system for port 0. */
  readonly port: number;
  readonly host: string;
  /** Stops listening; resolves when all sockets are gone. */
  close(): Promise<void>;
}

// A peer that vanished is detected after about two of these, also while nothing is read from it.
const KEEP_ALIVE_MS = 60_000;

interface Process {
  readonly env?: Readonly<Record<string, string | undefined>>;
  getBuiltinModule?(id: string): unknown;
}

export function hasSockets(): boolean {
  return host().getBuiltinModule?.("node:net") !== undefined;
}

// The runtime's user agent, or that it is a browser.
function runtimeName(): string {
  const agent = userAgent();
  return agent === "" ? "this runtime" : isBrowser() ? "a browser" : JSON.stringify(agent.slice(0, 100));
}

function isBrowser(): boolean {
  return userAgent().startsWith("Mozilla/");
}

/** The error for `what`, which needs sockets, on a runtime without any. */
export function noSockets(what: string): TransportError {
  const remedy = isWorkers()
    ? "give connect the dialSocket of @webamqp/amqp/workers as dial, or connect by ws: or wss:"
    : isBrowser()
    ? "connect by ws: or wss: without it, to a broker or gateway that takes WebSockets"
    : "connect by ws: or wss: without it, or run on Node, Deno or Bun";
  return new TransportError("not-supported", `Cannot use ${what}: ${runtimeName()} has no sockets; ${remedy}`);
}

/**
 * Whether Node's own WebSocket has a reason to be used, although a socket is faster.
 *
 * It connects through the dispatcher of Node's `fetch`, which is made on first use unless there is one already. A
 * dispatcher for the proxies of the environment (NODE_USE_ENV_PROXY), or one that the program has set with a proxy or TLS
 * settings, is meant for it, too.
 */
export function hasOwnDispatcher(): boolean {
  if (!isNode()) return false;
  const host = globalThis as { [key: symbol]: Dispatcher | undefined };
  const first = host[Symbol.for("undici.globalDispatcher.1")];
  // Since version 8, undici keeps its dispatcher elsewhere and wraps it here for earlier versions.
  const dispatcher = first?.constructor.name === "Dispatcher1Wrapper"
    ? host[Symbol.for("undici.globalDispatcher.2")]
    : first;
  if (dispatcher === undefined) return false;
  const key = Object.getOwnPropertySymbols(dispatcher).find(({ description }) => description === "options");
  if (dispatcher.constructor.name !== "Agent" || key === undefined) return true;
  // A dispatcher composed with interceptors has a `dispatch` that is not its class's.
  const { dispatch } = Object.getPrototypeOf(dispatcher) as Dispatcher;
  return dispatcher.dispatch !== dispatch || dispatcher[key]?.connect !== undefined;
}

/** A value that follows a chain of asynchronous calls. */
export interface AsyncStorage<T> {
  /** The value of the running chain. */
  getStore(): T | undefined;
  /** Calls `work` in a chain whose value is `store`. */
  run<R>(store: T | undefined, work: () => R): R;
}

/** Makes an AsyncLocalStorage where that is free: before Node 24 every promise of a program would pay for it. */
export function asyncStorage<T>(): AsyncStorage<T> | undefined {
  const { versions } = host() as { versions?: { node?: string } };
  if (isNode() && !(Number.parseInt(versions?.node ?? "") >= 24)) return undefined;
  const hooks = host().getBuiltinModule?.("node:async_hooks") as typeof AsyncHooks | undefined;
  return hooks && new hooks.AsyncLocalStorage<T>() as AsyncStorage<T>;
}

/** Starts to connect; `bare` if the socket will carry no TLS. */
export function connectTcp(hostname: string, port: number, bare: boolean): Socket {
  const { connect } = builtin<typeof Net>("net");
  const options = { host: hostname, port, allowHalfOpen: true };
  // TLS sockets, Deno and Bun read into large buffers by themselves.
  if (!bare || !isNode()) return prepared(connect(options));
  const { markAsUntransferable } = builtin<typeof WorkerThreads>("worker_threads");
  const buffers = new ReadBuffers((length) => {
    const bytes = new Uint8Array(length);
    // A message's bytes transferred to a worker would take away the memory that the socket reads into.
    markAsUntransferable(bytes.buffer);
    return bytes;
  });
  const callback = (length: number): true => {
    const bytes = buffers.take(length);
    try {
      socket.emit("data", bytes);
    } catch (error) {
      // If this threw, Node would overwrite the bytes just handed out.
      queueMicrotask(() => {
        throw error;
      });
    }
    return true;
  };
  const socket: Net.Socket = connect({ ...options, onread: { buffer: () => buffers.free, callback } });
  return prepared(socket);
}

/**
 * The name that TLS asks for, and a certificate must bear. The dot of a fully qualified name is of the look-up alone: servers know
 * no such name, nor do certificates [rfc6066 3].
 */
export function certifiedName(hostname: string, { serverName }: TlsOptions): string {
  return (serverName ?? hostname).replace(/\.$/, "");
}

/** Starts TLS over a connected socket, and expects a certificate for `hostname` unless the options name another. */
export function connectTls(socket: Socket, hostname: string, options: TlsOptions & { alpn?: string[] }): Socket {
  const { isIP } = builtin<typeof Net>("net");
  const name = certifiedName(hostname, options);
  const secured = prepared(
    builtin<typeof Tls>("tls").connect({
      socket: socket as unknown as Net.Socket,
      host: name,
      // An address is checked against the certificate, but is not allowed as server name [rfc6066 3].
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ca: options.ca as string | string[] | undefined,
      cert: options.cert,
      key: options.key,
      ...(options.alpn === undefined ? {} : { ALPNProtocols: options.alpn }),
    }),
  );
  // When TLS fails, the runtimes leave the socket below it open.
  secured.on("close", () => socket.destroy());
  return secured;
}

/** Listens, and passes every socket to `onsocket`. */
export async function listenTcp(
  address: { host?: string; port: number },
  onsocket: (socket: Socket) => void,
  allow?: (address: string | undefined, port: number) => Promise<void>,
): Promise<TcpListener> {
  // The lookup comes first: Deno asks for permission for an address, and where nobody can catch its refusal.
  const { promises } = builtin<typeof Dns>("dns");
  const host = address.host === undefined ? undefined : (await promises.lookup(address.host)).address;
  await allow?.(host, address.port);
  const server = builtin<typeof Net>("net").createServer({ allowHalfOpen: true }, (socket) => {
    onsocket(prepared(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: address.port, host }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  // Accepting may fail later, too, for example without file descriptors; the next attempt may succeed.
  server.on("error", () => {});
  const bound = server.address() as Net.AddressInfo;
  return {
    port: bound.port,
    host: bound.address,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Receives a socket on which TLS has been accepted. */
export type OnSecure = (socket: Socket, certificate: PeerCertificate | undefined) => void;

/**
 * Makes a function that accepts TLS on a connected socket, to which bytes already read have been given back.
 *
 * A socket on which TLS fails is dropped. Its owner bounds the time.
 *
 * @throws {TypeError} If certificate, key or authorities cannot be used.
 */
export function tlsAcceptor(options: TlsServerOptions): (socket: Socket, onsecure: OnSecure) => void {
  const wanted = options.clientCertificate ?? (options.ca === undefined ? "none" : "request");
  // The runtimes do not expose the socket below a secured one, but both sockets have the same addresses.
  const waiting = new Map<string, { socket: Socket; onsecure: OnSecure }>();
  const server = secureServer({
    cert: options.cert,
    key: options.key,
    ca: options.ca as string | string[] | undefined,
    ALPNProtocols: ["http/1.1"],
    requestCert: wanted !== "none",
    // Checked below: a client without a certificate may be welcome, one with a bad certificate never is.
    rejectUnauthorized: false,
  });
  server.on("secureConnection", (socket) => {
    const secured = prepared(socket);
    const entry = waiting.get(pathOf(secured));
    const certificate = wanted === "none" ? undefined : certificateOf(socket);
    const refused = certificate === undefined ? wanted === "require" : !socket.authorized;
    if (entry === undefined || refused) return void secured.destroy();
    secured.on("close", () => entry.socket.destroy());
    socket.allowHalfOpen = true;
    entry.onsecure(secured, certificate);
  });
  server.on("tlsClientError", (_error, socket) => void socket.destroy());
  return (socket, onsecure) => {
    const path = pathOf(socket);
    // During the TLS handshake, a peer that ends its half is gone.
    socket.allowHalfOpen = false;
    waiting.set(path, { socket, onsecure });
    socket.on("close", () => waiting.delete(path));
    server.emit("connection", socket);
  };
}

function secureServer(options: Tls.TlsOptions): Tls.Server {
  try {
    return builtin<typeof Tls>("tls").createServer(options);
  } catch (cause) {
    throw tlsUnreadable(cause);
  }
}

/** The error for PEM that the runtime cannot use. Its own error could quote the key, and stays in the cause. */
export function tlsUnreadable(cause: unknown): TypeError {
  return new TypeError("Cannot use tls: certificate, key or ca cannot be read, or do not go together", { cause });
}

function pathOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

export function hash(...[algorithm, bytes]: Parameters<Hash>): Uint8Array | undefined {
  const names = { "MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512-256" } as const;
  try {
    return new Uint8Array(builtin<typeof Crypto>("crypto").createHash(names[algorithm]).update(bytes).digest());
  } catch {
    // Under strict cryptography rules, such as FIPS, MD5 does not exist.
    return undefined;
  }
}

export function environment(): Readonly<Record<string, string | undefined>> {
  return host().env ?? {};
}

function host(): Process {
  return (globalThis as { process?: Process }).process ?? {};
}

function builtin<Module>(name: string): Module {
  const module = host().getBuiltinModule?.(`node:${name}`);
  if (module !== undefined) return module as Module;
  throw noSockets("sockets");
}

/** Takes over a socket that an HTTP server has accepted and read a request from. */
export function adopt(socket: unknown): Socket {
  const adopted = socket as Net.Socket;
  adopted.setTimeout(0);
  return prepared(adopted);
}

/**
 * The certificate of the client of an HTTP server, if that server asked for one and it comes from its authorities; on Bun,
 * whose server does not show it, undefined.
 */
export function clientCertificate(socket: unknown): PeerCertificate | undefined {
  const { authorized, getPeerCertificate } = socket as Partial<Tls.TLSSocket>;
  if (authorized !== true || getPeerCertificate === undefined) return undefined;
  return certificateOf(socket as Tls.TLSSocket);
}

function prepared(socket: Net.Socket): Socket {
  // An unhandled error event would end the process; each owner adds a listener of its own.
  socket.on("error", ignore);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return socket as unknown as Socket;
}

function certificateOf(socket: Tls.TLSSocket): PeerCertificate | undefined {
  const { subject, subjectaltname, fingerprint256 } = socket.getPeerCertificate() ?? {};
  if (subject === undefined) return undefined;
  const names = Object.entries(subject).map(([name, value]) => [name, [value].flat().join("\n")]);
  return { subject: Object.fromEntries(names), subjectAltName: subjectaltname, fingerprint: fingerprint256 };
}

interface Dispatcher {
  readonly dispatch: unknown;
  readonly [key: symbol]: { readonly connect?: unknown } | undefined;
}
