/**
 * `webamqp doctor`.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import {
  AmqpError,
  connect,
  type Connection,
  type ConnectOptions,
  type TlsOptions,
  TransportError,
} from "../../mod.ts";
import { abortable } from "../base/wait.ts";
import { dialSocket, type SocketDialOptions } from "../transport/sockets.ts";
import { HTTP_PROXY_PORTS, readProxyUrl } from "../transport/proxy/http_proxy.ts";
import { SOCKS_PORTS } from "../transport/proxy/socks.ts";
import { certifiedName } from "../transport/runtime/node.ts";
import { readUrl } from "../transport/url.ts";
import { explain } from "../transport/url_mistakes.ts";
import type { TraceWriter } from "../trace/writer.ts";
import { CLEAR_ONLY, commandLabel, connectOptions, isClearOnly } from "./connecting.ts";
import { type Context, missingUrl, splitUrl } from "./context.ts";
import { deadline, type Terminal, UsageError } from "./terminal.ts";
import { traceFile } from "./trace_file.ts";

const STEP_MS = 10_000;

interface BrokerUrl {
  readonly url: string;
  readonly hostname: string;
  readonly port: number;
  readonly secure: boolean;
  readonly websocket: boolean;
}

interface Step {
  readonly name: string;
  readonly what: string;
  /** Returns what the step has found out. */
  run(signal: AbortSignal): Promise<string>;
}

/** Tries one step after another, up to the first that fails. */
export async function doctor(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, rest } = splitUrl(context);
  if (url === undefined) throw missingUrl("URL", rest[0]);
  const options = await connectOptions(flags, url);
  const timeoutMs = flags.milliseconds("timeout") ?? STEP_MS;
  const report = new Report(terminal, flags.on("json"));
  const target = targetOf(url);
  const trace = await traceFile(context, commandLabel(url), "client");
  const open: Connection[] = [];
  try {
    for (const step of stepsOf(target, options, { address: rest[0], open, writer: trace?.writer })) {
      const start = performance.now();
      const late = deadline(timeoutMs);
      try {
        const stop = AbortSignal.any([signal, late.signal]);
        await report.passed(step, await abortable(step.run(stop), stop), performance.now() - start);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        const reason = late.signal.aborted ? new Error(`no answer in ${timeoutMs / 1_000} s`) : error as Error;
        await report.failed(step, reason, performance.now() - start, adviceFor(step, reason, target));
        return 1;
      } finally {
        late.stop();
      }
    }
    await report.done();
    return 0;
  } finally {
    for (const connection of open) await connection.close({ timeoutMs: 1_000 });
    await trace?.finish();
  }
}

function targetOf(text: string): BrokerUrl {
  try {
    const { scheme, hostname, port, secure } = readUrl(text);
    return { url: text, hostname, port, secure, websocket: scheme.startsWith("ws") };
  } catch (error) {
    const { message } = explain(text) ?? error as Error;
    throw new UsageError(message.replace(/^Cannot connect: /, ""));
  }
}

interface Tried {
  readonly address: string | undefined;
  /** Connections to close at the end. */
  readonly open: Connection[];
  readonly writer: TraceWriter | undefined;
}

function stepsOf(target: BrokerUrl, options: ConnectOptions, tried: Tried): Step[] {
  const { hostname, port, secure } = target;
  const { address } = tried;
  const steps: Step[] = [];
  const direct = options.proxy === undefined;
  const place = direct ? { hostname, port } : proxyPlace(options.proxy!);
  if (place !== undefined) {
    steps.push(dnsStep(place.hostname), tcpStep(place, direct ? "TCP" : "TCP to the proxy"));
    if (secure && direct) steps.push(tlsStep(target, options));
  }
  steps.push(socketStep(target, options, direct ? "" : " through the proxy"), openStep(target, options, tried));
  if (address !== undefined) steps.push(linkStep("sender", address, tried), linkStep("receiver", address, tried));
  return steps;
}

function socketStep({ url, secure, websocket }: BrokerUrl, options: ConnectOptions, how: string): Step {
  return {
    name: websocket ? "upgrade" : "socket",
    what: websocket ? `WebSocket handshake${how}` : `${secure ? "TLS" : "TCP"} socket${how}`,
    async run(signal) {
      const { headers, tls, proxy, subprotocols } = options;
      const channel = await dialSocket(url, { headers, tls, proxy, subprotocols, signal } as SocketDialOptions);
      const { protocol } = channel;
      channel.close();
      return websocket ? `subprotocol "${protocol}"` : "connected";
    },
  };
}

function openStep({ url }: BrokerUrl, options: ConnectOptions, { open, writer }: Tried): Step {
  return {
    name: "sasl",
    what: "SASL and open",
    async run(signal) {
      let mechanisms = "";
      let authenticated = false;
      const trace: ConnectOptions["trace"] = (frame) => {
        const { body } = frame;
        writer?.(frame);
        if (body?.kind === "saslMechanisms") mechanisms = body.saslServerMechanisms.join(", ");
        if (body?.kind === "saslOutcome") authenticated = body.code === "ok";
      };
      let connection: Connection;
      try {
        connection = await connect(url, { ...options, signal, trace });
      } catch (error) {
        const known = mechanisms === "" || (error as Error).message.includes("server offers");
        const offered = known ? "" : `; server offers ${mechanisms}`;
        const where = authenticated ? "after SASL: " : "";
        throw Object.assign(new Error(`${where}${(error as Error).message}${offered}`), { cause: error });
      }
      open.push(connection);
      const { containerId, properties } = connection.remote ?? { containerId: "" };
      const product = [properties?.product, properties?.version].filter((text) => typeof text === "string").join(" ");
      const sasl = mechanisms === "" ? "without SASL" : `server offers ${mechanisms}`;
      return `${sasl}; peer "${containerId}"${product === "" ? "" : `, ${product}`}`;
    },
  };
}

function linkStep(role: "sender" | "receiver", address: string, { open }: Tried): Step {
  const sends = role === "sender";
  return {
    name: role,
    what: `link to ${sends ? "send to" : "receive from"} "${address}"`,
    async run(signal) {
      const connection = open[0]!;
      const link = sends ? connection.sender(address) : connection.receiver(address, { credit: 0 });
      await link.ready({ signal });
      const most = link.remote?.maxMessageSize;
      const detail = sends && most !== undefined && most > 0n ? `, messages up to ${most} bytes` : "";
      await link.close();
      return `attached${detail}`;
    },
  };
}

function proxyPlace(proxy: NonNullable<ConnectOptions["proxy"]>): { hostname: string; port: number } | undefined {
  const url = typeof proxy === "object" && "url" in proxy ? proxy.url : proxy;
  if (url === "env") return undefined;
  return readProxyUrl(url, { ...HTTP_PROXY_PORTS, ...SOCKS_PORTS });
}

function dnsStep(hostname: string): Step {
  return {
    name: "dns",
    what: `name "${hostname}"`,
    async run() {
      if (isIP(hostname) !== 0) return "is an address";
      const found = await lookup(hostname, { all: true });
      return found.map(({ address }) => address).join(", ");
    },
  };
}

function tcpStep({ hostname, port }: { hostname: string; port: number }, what: string): Step {
  return {
    name: "tcp",
    what: `${what}, port ${port}`,
    run: (signal) =>
      new Promise((resolve, reject) => {
        const socket = connectTcp({ host: hostname, port });
        signal.addEventListener("abort", () => socket.destroy(), { once: true });
        socket.once("error", reject);
        socket.once("connect", () => {
          const { remoteAddress } = socket;
          socket.destroy();
          resolve(`connected to ${remoteAddress}`);
        });
      }),
  };
}

function tlsStep({ hostname, port }: BrokerUrl, { tls }: ConnectOptions): Step {
  const { ca, cert, key } = (tls ?? {}) as { [name: string]: string | undefined };
  const serverName = certifiedName(hostname, (tls ?? {}) as TlsOptions);
  return {
    name: "tls",
    what: `TLS with "${serverName}"`,
    run: (signal) =>
      new Promise((resolve, reject) => {
        const named = isIP(serverName) === 0 ? { servername: serverName } : {};
        const socket: TLSSocket = connectTls({
          host: hostname,
          port,
          ca,
          cert,
          key,
          ...named,
          rejectUnauthorized: true,
        });
        signal.addEventListener("abort", () => socket.destroy(), { once: true });
        socket.once("error", reject);
        socket.once("secureConnect", () => {
          const { subject, valid_to: until } = socket.getPeerCertificate();
          const protocol = socket.getProtocol();
          socket.destroy();
          resolve(
            `${protocol ?? "TLS"}, certificate of ${subject?.CN ?? "(no name)"}${
              until ? `, valid until ${until}` : ""
            }`,
          );
        });
      }),
  };
}

// Advice for the step that failed.
function adviceFor(step: Step, error: Error, target: BrokerUrl): string {
  const cause = error.cause ?? error;
  const { code = "" } = cause as { code?: string };
  switch (step.name) {
    case "dns":
      return "Look at the spelling of the host, and whether this machine may ask a name server; behind a proxy, give --proxy.";
    case "tcp":
      if (code === "ECONNREFUSED" && step.what.includes("proxy")) {
        return "No proxy listens at that port: look at --proxy.";
      }
      if (code === "ECONNREFUSED") return "Nothing listens at that port: is the broker running, is it the right port?";
      return "A firewall may drop it: try port 443 with wss:, or --proxy.";
    case "tls":
      if (/SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|UnknownIssuer/i.test(`${code} ${error.message}`)) {
        return "The certificate is of an authority that is not trusted here: give its file with --ca.";
      }
      if (/ALTNAME|NotValidForName/i.test(`${code} ${error.message}`)) return "The certificate is for another name.";
      if (/EXPIRED/i.test(`${code} ${error.message}`)) {
        return "The certificate has expired, or the clock of this machine is wrong.";
      }
      return `Does port ${target.port} speak TLS at all? Try ${target.websocket ? "ws:" : "amqp:"} to see.`;
    case "upgrade":
      if (cause instanceof TransportError && cause.status !== undefined) {
        if (cause.status === 401 || cause.status === 403) {
          return "The server wants --header, or refuses this Origin or path.";
        }
        if (cause.status >= 300 && cause.status < 400) return "The server is elsewhere: try the URL that it names.";
        if (cause.status >= 500) return "The server, or a proxy before it, cannot serve now: look at its log.";
        if (cause.status === 404) {
          return "The path is wrong: many brokers have one, such as /amqp or /$servicebus/websocket.";
        }
        if (cause.status === 407) {
          return error.message.includes("Basic")
            ? "The proxy wants user name and password, unencrypted: put them into --proxy, and give --proxy-basic if that may be."
            : "The proxy wants user name and password: put them into --proxy.";
        }
      }
      if (error.message.startsWith("Cannot open tunnel")) {
        return `The proxy opens no tunnel: is its scheme right in --proxy, and may it reach port ${target.port}?`;
      }
      if (cause instanceof TransportError && cause.code === "subprotocol-mismatch") {
        return "Try --subprotocol AMQPWSB10 for Azure.";
      }
      return "Does a WebSocket server listen there? Try amqp: for a broker that speaks TCP.";
    case "sasl":
      if (error.message.includes("0-9-1")) {
        return "The broker speaks another AMQP there: RabbitMQ before 4.0 needs the plugin rabbitmq_amqp1_0.";
      }
      if (isClearOnly(cause)) return `The password is safe so far; ${CLEAR_ONLY}.`;
      if (error.message.includes("ANONYMOUS")) {
        return "The server wants to know who it is: give --user, and the password in WEBAMQP_PASSWORD.";
      }
      if (cause instanceof AmqpError && cause.condition === "amqp:unauthorized-access") {
        return "User name or password are wrong, or the mechanism: see --user, --password, --mechanism.";
      }
      if (error.message.includes("it is HTTP")) return "A web server listens there: try ws:.";
      if (target.secure || target.websocket) return "The server spoke no AMQP 1.0 here, or closed: look at its log.";
      return "The server spoke no AMQP 1.0 here, or closed: look at its log; try amqps: in case it wants TLS.";
    default:
      return "The broker refuses the link: does the address exist, and may this user use it?";
  }
}

class Report {
  readonly #terminal: Terminal;
  readonly #json: boolean;

  constructor(terminal: Terminal, json: boolean) {
    this.#terminal = terminal;
    this.#json = json;
  }

  passed(step: Step, found: string, ms: number): Promise<void> {
    return this.#line(
      { step: step.name, ok: true, ms: round(ms), found },
      `ok    ${pad(step.what)} ${time(ms)}  ${found}`,
    );
  }

  failed(step: Step, error: Error, ms: number, advice: string): Promise<void> {
    const text = `FAIL  ${pad(step.what)} ${time(ms)}  ${messageOf(error)}\n      ${advice}`;
    return this.#line({ step: step.name, ok: false, ms: round(ms), error: messageOf(error), advice }, text);
  }

  async done(): Promise<void> {
    if (!this.#json) await this.#terminal.write("All is well\n");
  }

  #line(json: unknown, text: string): Promise<void> {
    return this.#terminal.write(`${this.#json ? JSON.stringify(json) : text}\n`);
  }
}

// On one line, since OpenSSL's messages have two.
function messageOf(error: Error): string {
  return (error.message || (error as { code?: string }).code || String(error)).replace(/\s+/g, " ").trim();
}

function pad(text: string): string {
  return text.padEnd(36);
}

function time(ms: number): string {
  return `${ms.toFixed(1)} ms`.padStart(10);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
