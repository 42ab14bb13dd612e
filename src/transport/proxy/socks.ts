/**
 * SOCKS 5 without I/O, with or without user name and password [rfc1928, rfc1929]: takes bytes and the time, gives bytes and
 * events.
 *
 * @module
 */

import { concat } from "@std/bytes";
import { TransportError, type TransportErrorCode } from "../../base/errors.ts";
import { utf8 } from "../../base/text.ts";
import { PROXY_STEP_TIMEOUT_MS, type ProxyEvent } from "./connect.ts";
import { parseAddress } from "./environment.ts";
import { fixedCredentials, formatAuthority, type ProxyOptions, readProxyUrl } from "./http_proxy.ts";

/** The schemes of SOCKS proxies with their default port. */
export const SOCKS_PORTS: Readonly<Record<string, number>> = { "socks5:": 1080, "socks5h:": 1080 };

/** A SOCKS 5 proxy: its address and credentials. Printing or serialising it shows only the address. */
export class SocksProxy {
  /** The proxy's name or address, IPv6 without brackets. */
  readonly hostname: string;
  readonly port: number;
  /** Always false: SOCKS has no TLS of its own. */
  readonly secure = false;
  /** `host:port`, the only form in which errors name the proxy. */
  readonly authority: string;
  readonly #user: readonly [name: Uint8Array, password: Uint8Array] | undefined;

  /**
   * Checks everything that needs no connection.
   *
   * @throws {TypeError} If the URL, the name or the password cannot be used, or an option is for HTTP proxies only.
   */
  constructor({ url, username, password, ...others }: ProxyOptions) {
    const { url: parsed, hostname, port } = readProxyUrl(url, SOCKS_PORTS);
    this.hostname = hostname;
    this.port = port;
    this.authority = formatAuthority(hostname, port);
    for (const [option, value] of Object.entries(others)) {
      if (value === undefined || option === "tls") continue;
      throw new TypeError(`Cannot use proxy: option "${option}" is for HTTP proxies and not for SOCKS 5`);
    }
    const user = fixedCredentials(parsed, { username, password });
    if (user === undefined) return;
    const pair = [utf8(user.username), utf8(user.password)] as const;
    if (pair.some(({ length }) => length < 1 || length > 255)) {
      throw new TypeError("Cannot use proxy: user name and password for SOCKS 5 have 1 to 255 bytes each");
    }
    this.#user = pair;
  }

  get hasUser(): boolean {
    return this.#user !== undefined;
  }

  /** The name and password in the format of RFC 1929. */
  credentials(): Uint8Array {
    const [name, password] = this.#user!;
    return concat([Uint8Array.of(1, name.length), name, Uint8Array.of(password.length), password]);
  }

  /** The proxy's URL without user info. */
  toString(): string {
    return `socks5://${this.authority}`;
  }

  /** The proxy's URL without user info. */
  toJSON(): string {
    return this.toString();
  }
}

const NO_AUTHENTICATION = 0;
const USERNAME_PASSWORD = 2;

// The texts of the reply codes, from 1 [rfc1928 6].
const REPLIES: readonly string[] = [
  "the proxy has failed",
  "its rules do not allow it",
  "network is unreachable",
  "host is unreachable",
  "connection was refused",
  "its time is up",
  "it knows no CONNECT",
  "it takes no address of this kind",
];

/** One exchange with a SOCKS 5 proxy, with the interface of `ProxyTunnel`. */
export class SocksTunnel {
  readonly #proxy: SocksProxy;
  readonly #hostname: string;
  readonly #port: number;
  readonly #timeoutMs: number;
  #state: "method" | "credentials" | "reply" | "done" = "method";
  #input: Uint8Array = new Uint8Array(0);
  #output: Uint8Array;
  #deadline: number | undefined;

  /**
   * Prepares the greeting for an open connection; `now` is in milliseconds, of any clock.
   *
   * @throws {TypeError} If the target's name or port cannot stand in a request.
   */
  constructor(
    options: { proxy: SocksProxy; hostname: string; port: number; limits?: { stepTimeoutMs?: number } },
    now: number,
  ) {
    formatAuthority(options.hostname, options.port);
    this.#proxy = options.proxy;
    this.#hostname = options.hostname.replace(/^\[(.*)\]$/, "$1");
    this.#port = options.port;
    this.#timeoutMs = options.limits?.stepTimeoutMs ?? PROXY_STEP_TIMEOUT_MS;
    const methods = this.#proxy.hasUser ? [NO_AUTHENTICATION, USERNAME_PASSWORD] : [NO_AUTHENTICATION];
    this.#output = Uint8Array.of(5, methods.length, ...methods);
    this.#deadline = now + this.#timeoutMs;
  }

  /** The bytes to write to the proxy now; may be empty. */
  transmit(): Uint8Array {
    const output = this.#output;
    this.#output = new Uint8Array(0);
    return output;
  }

  /** Takes bytes from the proxy, in any pieces. Bytes after `open` belong to the tunnel. */
  receive(bytes: Uint8Array, now: number): ProxyEvent | undefined {
    if (this.#state === "done") return undefined;
    // A reply has 262 bytes at most; the target's first bytes may follow it.
    this.#input = concat([this.#input, bytes]);
    if (this.#state === "method") {
      if (this.#input.length < 2) return undefined;
      const [version, method] = this.#take(2);
      if (version !== 5) return this.#fail("proxy-failed", "it does not speak SOCKS 5");
      if (method === USERNAME_PASSWORD && this.#proxy.hasUser) {
        this.#send("credentials", this.#proxy.credentials(), now);
      } else if (method === NO_AUTHENTICATION) this.#send("reply", this.#request(), now);
      else {
        const why = this.#proxy.hasUser ? "it takes no user name and password" : "it wants a user name and password";
        return this.#fail("proxy-authentication-failed", why);
      }
    }
    if (this.#state === "credentials") {
      if (this.#input.length < 2) return undefined;
      const [, status] = this.#take(2);
      if (status !== 0) return this.#fail("proxy-authentication-failed", "credentials were refused");
      this.#send("reply", this.#request(), now);
    }
    return this.#readReply();
  }

  /** Reports that the connection has ended. */
  end(_now: number): ProxyEvent | undefined {
    if (this.#state === "done") return undefined;
    const refused = this.#state === "credentials";
    return refused
      ? this.#fail("proxy-authentication-failed", "credentials were refused")
      : this.#fail("proxy-failed", "the proxy closed the connection before it answered");
  }

  /** The time to call `tick` at the latest; undefined without a deadline. */
  nextTimeout(): number | undefined {
    return this.#deadline;
  }

  /** Ends the attempt if the current step has taken too long. */
  tick(now: number): ProxyEvent | undefined {
    if (this.#deadline === undefined || now < this.#deadline) return undefined;
    return this.#fail("timeout", `no answer within ${this.#timeoutMs} ms`);
  }

  #readReply(): ProxyEvent | undefined {
    const [version, reply, , kind, first] = this.#input;
    if (this.#state !== "reply" || first === undefined) return undefined;
    if (version !== 5) return this.#fail("proxy-failed", "its answer is not SOCKS 5");
    if (reply !== 0) {
      return this.#fail("proxy-failed", REPLIES[reply! - 1] ?? `its answer is 0x${reply!.toString(16)}`);
    }
    const length = kind === 1 ? 4 : kind === 4 ? 16 : kind === 3 ? 1 + first : undefined;
    if (length === undefined) return this.#fail("proxy-failed", "its answer is not SOCKS 5");
    if (this.#input.length < 4 + length + 2) return undefined;
    this.#take(4 + length + 2);
    this.#state = "done";
    this.#deadline = undefined;
    return { kind: "open", surplus: this.#input };
  }

  // The proxy resolves names.
  #request(): Uint8Array {
    const address = parseAddress(this.#hostname);
    const name = utf8(this.#hostname);
    const target = address === undefined
      ? concat([Uint8Array.of(3, name.length), name])
      : concat([Uint8Array.of(address.length === 4 ? 1 : 4), address]);
    return concat([Uint8Array.of(5, 1, 0), target, Uint8Array.of(this.#port >> 8, this.#port & 0xff)]);
  }

  #send(state: "credentials" | "reply", bytes: Uint8Array, now: number): void {
    this.#state = state;
    this.#output = concat([this.#output, bytes]);
    this.#deadline = now + this.#timeoutMs;
  }

  #take(length: number): Uint8Array {
    const taken = this.#input.subarray(0, length);
    this.#input = this.#input.subarray(length);
    return taken;
  }

  #fail(code: TransportErrorCode, state: string): ProxyEvent {
    this.#state = "done";
    this.#deadline = undefined;
    this.#output = new Uint8Array(0);
    const message = `Cannot open tunnel through "${this.#proxy.authority}": ${state}`;
    return { kind: "failed", error: new TransportError(code, message) };
  }
}
