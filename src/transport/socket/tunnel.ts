/**
 * Tunnels through HTTP and SOCKS proxies over sockets. A file of its own, which only the option `proxy` loads.
 *
 * @module
 */

import { checkOptions, type OptionKinds } from "../../base/options.ts";
import { TransportError } from "../../base/errors.ts";
import { abortable, abortReason } from "../../base/wait.ts";
import { guard } from "../channel.ts";
import { type ProxyEvent, ProxyTunnel } from "../proxy/connect.ts";
import { proxyFromEnvironment } from "../proxy/environment.ts";
import { formatAuthority, HttpProxy, type ProxyOptions } from "../proxy/http_proxy.ts";
import { SocksProxy, SocksTunnel } from "../proxy/socks.ts";
import { environment, hash } from "../runtime/node.ts";
import type { RemoteUrl } from "../url.ts";
import { reasonOf, type Socket } from "./socket.ts";
import { openTcp, openTls, type StepOptions } from "./steps.ts";
import type { TlsOptions } from "./tls.ts";

/** A proxy, with the settings of TLS to it for an `https:` URL. */
export interface SocketProxyOptions extends ProxyOptions {
  /** The TLS settings for the proxy itself. Default: only `ca` of the connection's own `tls`. */
  tls?: TlsOptions | undefined;
}

const PROXY_KINDS: OptionKinds<SocketProxyOptions> = {
  url: "string or object",
  username: "string",
  password: "string",
  credentials: "function",
  authenticate: "function",
  schemes: 'array of "basic" or "digest"',
  preemptive: "boolean",
  headers: "object",
  tls: "object",
};

// Connections with the same options object share a proxy's challenge, which saves each a round trip.
let known: WeakMap<SocketProxyOptions, HttpProxy> | undefined;

/** A proxy as the program gives it: its URL, or its settings. */
type GivenProxy = string | URL | SocketProxyOptions;

/** The proxy for a target; undefined if the environment names none. */
export function proxyOf(target: RemoteUrl, proxy: GivenProxy): HttpProxy | SocksProxy | undefined {
  const options: SocketProxyOptions = typeof proxy === "string" || proxy instanceof URL ? { url: proxy } : proxy;
  checkOptions("use proxy", options, PROXY_KINDS);
  if (options.url === undefined) {
    throw new TypeError('Cannot use proxy: "url" is missing, such as "http://proxy.example:3128"');
  }
  const url = options.url === "env" ? proxyFromEnvironment(environment(), target) : options.url;
  if (url === undefined) return undefined;
  if (/^socks5h?:/i.test(`${url}`)) return new SocksProxy({ ...options, url });
  let found = url === options.url ? known?.get(options) : undefined;
  if (found === undefined) {
    const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
    found = new HttpProxy({ ...options, url }, { hash, random });
    known ??= new WeakMap();
    if (url === options.url) known.set(options, found);
  }
  return found;
}

/** The TLS settings for the proxy itself. */
export function proxyTls(proxy: GivenProxy, tls: TlsOptions): TlsOptions {
  const own = typeof proxy === "object" && "tls" in proxy ? proxy.tls : undefined;
  // The client certificate is for the target.
  return own ?? (tls.ca === undefined ? {} : { ca: tls.ca });
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
  try {
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
          throw event.error;
      }
    }
  } catch (error) {
    exchange.end();
    throw error;
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
  #broken: Error | undefined;

  constructor(socket: Socket, tunnel: ProxyTunnel | SocksTunnel, options: TunnelOptions) {
    this.#socket = socket;
    this.#tunnel = tunnel;
    this.#options = options;
    socket.on("data", this.#ondata);
    socket.on("error", this.#onerror);
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
    // A person may have to type them, which may take forever.
    if (event.kind === "credentials") {
      const credentials = await abortable(Promise.resolve(proxy.ask?.({ ...event.request, signal })), signal);
      this.#handle(tunnel.authenticate(credentials, now()));
    } else {
      const challenge = { ...event.challenge, signal };
      const answer = await abortable(Promise.resolve(proxy.authenticator?.(challenge)), signal);
      this.#handle(tunnel.respond(answer, now()));
    }
  }

  /** Stops using the socket. */
  detach(): void {
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onabort);
    this.#socket.off("data", this.#ondata);
    this.#socket.off("error", this.#onerror);
    this.#socket.off("end", this.#onend);
    this.#socket.off("close", this.#onend);
  }

  end(): void {
    this.detach();
    this.#socket.destroy();
  }

  readonly #ondata = (bytes: Uint8Array): void => this.#handle(this.#tunnel.receive(new Uint8Array(bytes), now()));
  readonly #onerror = (error: Error): void => void (this.#broken = error);
  readonly #onend = (): void => this.#handle(this.#explained(this.#tunnel.end(now())));
  readonly #onabort = (): void => {
    this.end();
    this.#waiting?.reject(abortReason(this.#options.signal));
  };

  // With TLS 1.3 a proxy refuses a client's certificate only after the handshake.
  #explained(event: ProxyEvent | undefined): ProxyEvent | undefined {
    if (event?.kind !== "failed" || this.#broken === undefined) return event;
    const { code, message } = event.error;
    const text = `${message}: ${reasonOf(this.#broken, "proxy.tls")}`;
    return { kind: "failed", error: new TransportError(code, text, { cause: this.#broken }) };
  }

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
