/**
 * The proxy that environment variables name for a target. The caller passes the environment, and only if the user asked for
 * it.
 *
 * @module
 */

/** The target of a connection. */
export interface ProxyTarget {
  /** Whether the target is reached over TLS (`wss:`, `amqps:`). */
  readonly secure: boolean;
  /** The name or address; an IPv6 address with or without brackets. */
  readonly hostname: string;
  /** The port, which entries of `NO_PROXY` may name. */
  readonly port: number;
}

/**
 * The proxy that the environment names for a target, or undefined when there is none or `NO_PROXY` exempts the target.
 *
 * `HTTPS_PROXY` serves targets over TLS, `HTTP_PROXY` the others, `ALL_PROXY` both; a lower-case variable wins over its
 * upper-case form, an empty one counts as absent, and a value without a scheme gets `http://`. The value may hold
 * credentials: keep it out of logs.
 *
 * `NO_PROXY` is a list, separated by commas or blanks: `*` exempts everything, `example.com` and `.example.com` the domain
 * and everything below it, `*.example.com` only what is below, `10.0.0.0/8` and `fd00::/8` addresses written as such (no
 * name is resolved), and `:8080` behind any of them only that port.
 *
 * @example
 * ```ts
 * import { proxyFromEnvironment } from "./environment.ts";
 *
 * const environment = { HTTPS_PROXY: "http://proxy.example:3128", NO_PROXY: "localhost, .corp.example, 10.0.0.0/8" };
 * const target = { secure: true, hostname: "broker.example", port: 443 };
 * console.assert(proxyFromEnvironment(environment, target) === "http://proxy.example:3128");
 * ```
 */
export function proxyFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  target: ProxyTarget,
): string | undefined {
  const proxy = first(environment, target.secure ? ["https_proxy", "HTTPS_PROXY"] : plainNames(environment)) ??
    first(environment, ["all_proxy", "ALL_PROXY"]);
  if (proxy === undefined || isExempt(first(environment, ["no_proxy", "NO_PROXY"]) ?? "", target)) return undefined;
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

// Under CGI, HTTP_PROXY is the value of the client's `Proxy:` header (httpoxy, CVE-2016-5385).
function plainNames(environment: Readonly<Record<string, string | undefined>>): string[] {
  return environment.REQUEST_METHOD === undefined ? ["http_proxy", "HTTP_PROXY"] : ["http_proxy"];
}

function first(environment: Readonly<Record<string, string | undefined>>, names: string[]): string | undefined {
  for (const name of names) {
    const value = environment[name]?.trim();
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

function isExempt(list: string, target: ProxyTarget): boolean {
  const hostname = normalize(target.hostname);
  const address = parseAddress(hostname);
  return list.split(/[\s,]/).some((entry) => entry !== "" && matches(entry, { hostname, address, port: target.port }));
}

interface NormalTarget {
  readonly hostname: string;
  readonly address: Uint8Array | undefined;
  readonly port: number;
}

function matches(entry: string, target: NormalTarget): boolean {
  if (entry === "*") return true;
  const { pattern, port } = splitPort(entry);
  if (port !== undefined && port !== target.port) return false;
  const name = normalize(pattern);
  const slash = name.indexOf("/");
  if (slash >= 0) return matchesNetwork(parseAddress(name.slice(0, slash)), name.slice(slash + 1), target.address);
  const address = parseAddress(name);
  if (address !== undefined || target.address !== undefined) return sameBits(address, target.address, Infinity);
  if (name === "*") return true;
  if (name.startsWith("*.")) return target.hostname.endsWith(name.slice(1));
  const domain = name.startsWith(".") ? name.slice(1) : name;
  return domain !== "" && (target.hostname === domain || target.hostname.endsWith(`.${domain}`));
}

// Splits "host:port" and "[v6]:port", but not a bare IPv6 address, which has colons of its own.
function splitPort(entry: string): { pattern: string; port: number | undefined } {
  const match = /^(\[[^\]]*\]|[^:]*):([0-9]{1,5})$/.exec(entry);
  return match === null ? { pattern: entry, port: undefined } : { pattern: match[1]!, port: Number(match[2]) };
}

function matchesNetwork(network: Uint8Array | undefined, prefix: string, address: Uint8Array | undefined): boolean {
  if (network === undefined || !/^[0-9]{1,3}$/.test(prefix)) return false;
  const bits = Number(prefix);
  return bits <= network.length * 8 && sameBits(network, address, bits);
}

function sameBits(a: Uint8Array | undefined, b: Uint8Array | undefined, bits: number): boolean {
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  for (let i = 0; i < a.length && i * 8 < bits; i++) {
    const unused = Math.max(0, 8 - (bits - i * 8));
    if (a[i]! >> unused !== b[i]! >> unused) return false;
  }
  return true;
}

// Ignores case, the trailing dot of a fully qualified name, and brackets.
function normalize(hostname: string): string {
  const name = hostname.toLowerCase().replace(/^\[([^\]]*)\]/, "$1");
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

/** The 4 or 16 bytes of an IP address; an IPv4-mapped IPv6 address gives 4. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^[0-9]{1,3}$/.test(part) && Number(part) <= 255)) return undefined;
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, index) => parseGroups(half, index === halves.length - 1));
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined;
  const missing = 16 - head.length - (tail?.length ?? 0);
  // "::" stands for at least one group [rfc4291 2.2].
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail ?? [], 16 - (tail?.length ?? 0));
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return mapped ? bytes.subarray(12) : bytes;
}

// The bytes of one side of "::"; only the last group of an address may be a dotted quad.
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [index, group] of groups.entries()) {
    const quad = isLast && index === groups.length - 1 && group.includes(".") ? parseIpv4(group) : undefined;
    if (quad !== undefined) {
      bytes.push(...quad);
    } else if (/^[0-9a-f]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else {
      return undefined;
    }
  }
  return bytes;
}
