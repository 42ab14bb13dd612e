import { TransportError } from "../../base/errors.ts";
import { quote } from "../../base/text.ts";
import { abortable, onAbort } from "../../base/wait.ts";
import { formatAuthority, type HttpProxy, joinAuthority } from "../proxy/http_proxy.ts";
import { connectTcp, connectTls } from "../runtime/node.ts";
import { SocksProxy, SocksTunnel } from "../proxy/socks.ts";
import { type ProxyEvent, ProxyTunnel } from "../proxy/connect.ts";
import { reasonOf, type Socket } from "./socket.ts";
import type { TlsOptions } from "./tls.ts";
import { guard, type TransportEvent } from "../channel.ts";

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
  const socket = connectTcp(hostname, port, bare);
  const what = `connect to ${options.peer ?? ""}"${joinAuthority(hostname, port)}"`;
  await step(socket, { event: "connect", what, ...options });
  options.onstep?.({ event: "tcp", host: hostname, port, address: socket.remoteAddress });
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
    // The runtime's error could quote the key; it stays in the cause.
    throw new TypeError("Cannot use tls: certificate, key or ca cannot be read", { cause });
  }
  const { serverName } = options.tls;
  const named = serverName === undefined || serverName === hostname ? "" : ` as ${quote(serverName)}`;
  const what = `open TLS to ${options.peer ?? ""}"${joinAuthority(hostname, port)}"${named}`;
  await step(secured, { event: "secureConnect", what, ...options });
  options.onstep?.({ event: "tls", host: serverName ?? hostname, protocol: secured.getProtocol?.() ?? undefined });
  return secured;
}

// Waits for `event`, and drops the socket if anything else comes first.
function step(
  socket: Socket,
  { event, what, signal, timeoutMs }: StepOptions & { event: "connect" | "secureConnect"; what: string },
): Promise<void> {
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
    const abort = (): void => fail(signal?.reason);
    const broken = (cause: Error): void => {
      const reason = reasonOf(cause);
      const [remedy, passes] = remedyFor(`${reason} ${cause.message}`, event);
      const options = { cause, ...(passes ? {} : { retryable: false }) };
      fail(new TransportError("connect-failed", `Cannot ${what}: ${reason}${remedy}`, options));
    };
    const ended = (): void => {
      fail(new TransportError("connect-failed", `Cannot ${what}: connection ended${remedyFor("", event)[0]}`));
    };
    const timer = guard(timeoutMs, () => {
      fail(new TransportError("timeout", `Cannot ${what}: no answer within ${timeoutMs} ms`));
    });
    socket.on(event, done);
    socket.on("error", broken);
    socket.on("close", ended);
    const callOff = signal && onAbort(signal, abort);
    if (signal?.aborted) abort();
  });
}

// A remedy for an error, from the messages of OpenSSL (Node), BoringSSL (Bun) and rustls (Deno), and whether the error may
// pass.
function remedyFor(text: string, event: "connect" | "secureConnect"): [remedy: string, passes: boolean] {
  if (event === "connect") {
    if (/EPERM|EACCES|NotCapable|Requires net access/.test(text)) {
      return [", this process may not; on Deno run with --allow-net", false];
    }
    if (/ECONNREFUSED/.test(text)) return [", nothing listens there or something on the way refuses", true];
    if (/ENOTFOUND|EAI_/.test(text)) return [", the host's name cannot be looked up", true];
    return ["", true];
  }
  if (/ALTNAME|NotValidForName|not valid for name|does not match/i.test(text)) {
    return ["; the certificate is for another name, give that in tls.serverName if it is the right one", false];
  }
  if (/EXPIRED|certificate has expired|NOT_YET_VALID/i.test(text)) return ["; the certificate is out of date", false];
  if (/SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)|UnknownIssuer|self[- ]signed|CaUsedAsEndEntity/i.test(text)) {
    return ["; give the authority that its certificate comes from in tls.ca", false];
  }
  if (/WRONG_VERSION|wrong version|InvalidContentType|packet length too long|http request/i.test(text)) {
    return ["; the port speaks no TLS, connect by ws: or amqp: if that is meant", false];
  }
  if (text === "" || /ECONNRESET|UnexpectedEof|unexpected end|eof|disconnected before/i.test(text)) {
    return ["; does this port speak TLS? ws: and amqp: do without", true];
  }
  return ["", true];
}

/** The target and the proxy of a tunnel. */
export interface TunnelOptions extends StepOptions {
  proxy: HttpProxy | SocksProxy;
  /** The TLS settings for the proxy itself. */
  tls: TlsOptions;
  hostname: string;
  port: number;
}

/** Opens a tunnel through a proxy, reconnecting as often as authentication needs it. */
export async function openTunnel(options: TunnelOptions): Promise<Socket> {
  const { proxy, hostname, port, timeoutMs, onstep } = options;
  // Checks the target before anything is dialled.
  const target = formatAuthority(hostname, port);
  let connection = await openProxy(options);
  const settings = { hostname, port, limits: { stepTimeoutMs: timeoutMs } };
  const tunnel = proxy instanceof SocksProxy
    ? new SocksTunnel({ ...settings, proxy }, now())
    : new ProxyTunnel({ ...settings, proxy }, now());
  let exchange = new Exchange(connection, tunnel, options);
  for (;;) {
    const event = await exchange.next();
    switch (event.kind) {
      case "open":
        exchange.detach();
        onstep?.({ event: "proxy", answer: "tunnel", target });
        if (event.surplus.length > 0) connection.unshift(event.surplus);
        return connection;
      case "credentials":
      case "challenge":
        onstep?.({ event: "proxy", answer: "authentication required" });
        await exchange.authenticate(event);
        break;
      case "reconnect":
        onstep?.({ event: "proxy", answer: "authentication required, on a connection of its own" });
        exchange.end();
        connection = await openProxy(options);
        (tunnel as ProxyTunnel).reconnected(now());
        exchange = new Exchange(connection, tunnel, options);
        break;
      case "failed":
        exchange.end();
        throw event.error;
    }
  }
}

async function openProxy(options: TunnelOptions): Promise<Socket> {
  const { proxy } = options;
  const steps = { ...options, peer: "proxy " } as const;
  const socket = await openTcp(proxy.hostname, proxy.port, steps);
  return proxy.secure ? await openTls(socket, proxy.hostname, proxy.port, steps) : socket;
}

// One connection to the proxy until its tunnel is open.
class Exchange {
  readonly #socket: Socket;
  readonly #tunnel: ProxyTunnel | SocksTunnel;
  readonly #options: TunnelOptions;
  readonly #events: ProxyEvent[] = [];
  #waiting: { resolve: (event: ProxyEvent) => void; reject: (reason: unknown) => void } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: Socket, tunnel: ProxyTunnel | SocksTunnel, options: TunnelOptions) {
    this.#socket = socket;
    this.#tunnel = tunnel;
    this.#options = options;
    socket.on("data", this.#ondata);
    socket.on("end", this.#onend);
    socket.on("close", this.#onend);
    options.signal?.addEventListener("abort", this.#onabort);
    this.#handle(undefined);
  }

  next(): Promise<ProxyEvent> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      if (this.#options.signal?.aborted) return this.#onabort();
      const event = this.#events.shift();
      if (event !== undefined) this.#handle(event);
    });
  }

  async authenticate(event: Extract<ProxyEvent, { kind: "credentials" | "challenge" }>): Promise<void> {
    const { signal } = this.#options;
    // Only HTTP proxies ask for credentials.
    const [proxy, tunnel] = [this.#options.proxy as HttpProxy, this.#tunnel as ProxyTunnel];
    try {
      // A person may have to type them, which may take forever.
      if (event.kind === "credentials") {
        const credentials = await abortable(Promise.resolve(proxy.ask?.(event.request)), signal);
        this.#handle(tunnel.authenticate(credentials, now()));
      } else {
        const challenge = { ...event.challenge, signal };
        const answer = await abortable(Promise.resolve(proxy.authenticator?.(challenge)), signal);
        this.#handle(tunnel.respond(answer, now()));
      }
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Stops using the socket. */
  detach(): void {
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onabort);
    this.#socket.off("data", this.#ondata);
    this.#socket.off("end", this.#onend);
    this.#socket.off("close", this.#onend);
  }

  end(): void {
    this.detach();
    this.#socket.destroy();
  }

  readonly #ondata = (bytes: Uint8Array): void => this.#handle(this.#tunnel.receive(new Uint8Array(bytes), now()));
  readonly #onend = (): void => this.#handle(this.#tunnel.end(now()));
  readonly #onabort = (): void => {
    this.end();
    this.#waiting?.reject(this.#options.signal?.reason);
  };

  #handle(event: ProxyEvent | undefined): void {
    if (event !== undefined) {
      // Further bytes belong to the tunnel's other end.
      if (event.kind === "open") {
        this.#socket.pause();
        this.detach();
      }
      if (this.#waiting === undefined) this.#events.push(event);
      else this.#waiting.resolve(event);
      this.#waiting = undefined;
    }
    const output = this.#tunnel.transmit();
    if (output.length > 0) this.#socket.write(output);
    clearTimeout(this.#timer);
    const due = this.#tunnel.nextTimeout();
    if (due !== undefined) this.#timer = guard(Math.max(0, due - now()), () => this.#handle(this.#tunnel.tick(now())));
  }
}

function now(): number {
  return performance.now();
}
