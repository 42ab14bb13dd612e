/**
 * A gateway that joins WebSocket clients with brokers that speak only TCP, and the reverse.
 *
 * Bytes pass unchanged. AMQP is not parsed unless it is traced, so credentials and everything else pass end to end.
 *
 * @example
 * ```ts
 * import { gateway } from "@webamqp/amqp/gateway";
 *
 * await using running = await gateway({
 *   listen: { host: "127.0.0.1", port: 0, schemes: ["ws"], origins: ["https://app.example"] },
 *   target: "amqps://broker.example:5671",
 * });
 * console.assert(running.port > 0);
 * ```
 *
 * @module
 */

import { closeCode } from "../transport/websocket/frames.ts";
import type { FrameTrace } from "../engine/events.ts";
import { listen, type Listener, type ListenInfo, type ListenOptions } from "../transport/socket/listen.ts";
import { DIAL_KINDS, dialSocket, type SocketDialOptions } from "../transport/socket/dial.ts";
import type { PausableChannel } from "../transport/socket/socket.ts";
import { explainedUrl, joinAuthority, readUrl, type RemoteUrl } from "../transport/url.ts";
import { ChannelRelay, type RelayDirection, STALL_TIMEOUT_MS } from "./relay.ts";
import { FrameTracer } from "../trace/frame_tracer.ts";
import { closedEvent, describedError } from "../trace/transport.ts";
import type { TransportEvent } from "../transport/channel.ts";
import { systemEnvironment } from "../base/environment.ts";
import { Log } from "../base/log.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { printable } from "../base/text.ts";
import { abortable, type WaitOptions, within } from "../base/wait.ts";

/** A frame that passes through a gateway. */
export interface GatewayTrace extends FrameTrace {
  /** The relay's number, from 1. */
  readonly relay: number;
  /** `"in"` from the client, `"out"` to it. */
  readonly direction: "in" | "out";
}

/** Called with every frame that passes; `jsonLines` of `./trace`, which makes one, also writes the events below AMQP. */
export interface GatewayTracer {
  (frame: GatewayTrace): void;
  /** Called with events below AMQP; `connection` is the relay's number. */
  transport?(event: TransportEvent): void;
}

/** Counters of a gateway. */
export interface GatewayCounters {
  /** Clients that are joined with their target, or wait for it. */
  readonly relays: number;
  /** Relays whose target was reached, since the start. */
  readonly opened: number;
  /** Clients whose target was not allowed, or could not be reached. */
  readonly failed: number;
  /** Connections that never became a channel, see the listener's counters. */
  readonly refused: number;
  /** Bytes from clients to targets. */
  readonly bytesIn: number;
  /** Bytes from targets to clients. */
  readonly bytesOut: number;
}

/** How a {@linkcode gateway} dials its targets; the signal and the events of dialling are its own. */
export type GatewayDialOptions = Omit<SocketDialOptions, "signal" | "onstep">;

/** The two sides of a {@linkcode gateway}, and its limits. */
export interface GatewayOptions {
  /** How clients connect, and how many. */
  listen: Omit<ListenOptions, "acceptor" | "accept">;
  /** The target: a URL, or a function that returns one for a client, or undefined to refuse the client. */
  target: string | URL | ((info: ListenInfo) => string | URL | undefined | Promise<string | URL | undefined>);
  /**
   * All permitted targets, as URLs of which scheme, host and port count. Required if `target` is a function: its use of a
   * client's data must not become a way into the network behind the gateway.
   */
  targets?: readonly (string | URL)[] | undefined;
  /** How targets are dialled: `tls`, `headers`, `proxy`. The client's subprotocol is passed on unless one is given here. */
  dial?: GatewayDialOptions | undefined;
  /** Milliseconds to wait for more from one side after the other has ended its half. Default: 1,000. */
  lingerMs?: number | undefined;
  /** Bytes that may wait in one side of a relay before the other is no longer read; at least 262,144. Default: 1,048,576. */
  maxBufferedBytes?: number | undefined;
  /** Milliseconds in which a side has to take some of what waits for it; the relay ends after that. Default: 120,000. */
  stallTimeoutMs?: number | undefined;
  /** Called when a client's target is not allowed or not reached. Default: the error goes to `log` of `listen`. */
  onError?: ((error: unknown, info: ListenInfo) => void) | undefined;
  /**
   * Called with every frame, SASL secrets left out; `jsonLines` of `./trace` writes them, and the events below AMQP, as
   * lines. Parsing frames takes time that is otherwise saved. Errors that it throws go to `log` of `listen`.
   */
  trace?: GatewayTracer | undefined;
}

const GATEWAY_KINDS: OptionKinds<GatewayOptions> = {
  listen: "object",
  target: "string, object or function",
  targets: "array of string or object",
  dial: DIAL_KINDS,
  lingerMs: "number",
  maxBufferedBytes: "number",
  onError: "function",
  trace: "function",
  stallTimeoutMs: "number",
};

/** A running gateway; made by {@linkcode gateway}. */
export interface Gateway extends AsyncDisposable {
  /** The port that it listens on. */
  readonly port: number;
  /** The address that it listens on. */
  readonly host: string;
  /** The counters so far. */
  readonly counters: GatewayCounters;
  /** Accepts no more clients, waits for relays to end, and closes the rest in order. An aborted signal ends only the wait. */
  close(options?: GatewayCloseOptions): Promise<void>;
}

/** Options of closing a {@linkcode Gateway}. */
export interface GatewayCloseOptions extends WaitOptions {
  /** Milliseconds to wait for relays to end. Default: 10,000. */
  drainMs?: number | undefined;
}

// A broker's close takes a round trip. A client that left without a close should soon be gone at the broker.
const LINGER_MS = 1_000;

// Relays last as long as their clients like: this is time for messages in flight.
const DRAIN_MS = 10_000;

/**
 * Listens, and joins each client with its own connection to a target: WebSocket in and TCP or TLS out, or any other pair.
 *
 * A slow side holds the other back, so that a relay never buffers much more than `maxBufferedBytes` each way.
 *
 * @throws {TypeError} If a URL or another option is invalid.
 * @throws {TransportError} With code `"not-supported"` where there are no sockets.
 * @throws The system's error if the port is not available.
 *
 * @example
 * ```ts
 * import { gateway } from "@webamqp/amqp/gateway";
 *
 * async function main() {
 *   await using relay = await gateway({ listen: { port: 8080 }, target: "amqp://localhost:5672" });
 *   await new Promise((resolve) => setTimeout(resolve, 60_000));
 * }
 * ```
 */
export async function gateway(options: GatewayOptions): Promise<Gateway> {
  const running = await make(options);
  await running.start();
  return running;
}

async function make(options: GatewayOptions): Promise<RunningGateway> {
  try {
    return new RunningGateway(options);
  } catch (error) {
    const { target } = Object(options) as GatewayOptions;
    throw typeof target === "string" || target instanceof URL ? await explainedUrl(target, error) : error;
  }
}

class RunningGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #log: Log;
  readonly #allowed: ReadonlySet<string>;
  readonly #relays = new Set<Promise<void>>();
  #listener: Listener | undefined;
  #count = 0;
  #opened = 0;
  #failed = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(options: GatewayOptions) {
    checkOptions("make gateway", options ?? null, GATEWAY_KINDS);
    const { target } = options;
    if (options.listen === undefined) {
      throw new TypeError('Cannot make gateway: "listen" is missing, such as { port: 8080 }');
    }
    if (target === undefined) {
      throw new TypeError('Cannot make gateway: "target" is missing, such as "amqp://127.0.0.1:5672"');
    }
    if (typeof target === "function" && options.targets === undefined) {
      throw new TypeError('Cannot make gateway: a function as target needs "targets"');
    }
    const allowed = options.targets ?? [target as string | URL];
    this.#allowed = new Set(allowed.map((url) => placeOf(readUrl(url))));
    if (typeof target !== "function" && !this.#allowed.has(placeOf(readUrl(target)))) {
      throw new TypeError('Cannot make gateway: target is not among "targets"');
    }
    this.#options = options;
    this.#log = new Log(options.listen.log, systemEnvironment);
  }

  async start(): Promise<void> {
    const accept = (channel: PausableChannel, info: ListenInfo): void => {
      const relay = this.#serve(channel, info).catch((error) => this.#refuse(channel, error, info))
        .finally(() => this.#relays.delete(relay));
      this.#relays.add(relay);
    };
    this.#listener = await listen({ ...this.#options.listen, accept });
  }

  get port(): number {
    return this.#listener!.port;
  }

  get host(): string {
    return this.#listener!.host;
  }

  get counters(): GatewayCounters {
    return {
      relays: this.#relays.size,
      opened: this.#opened,
      failed: this.#failed,
      refused: this.#listener!.counters.refused,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    };
  }

  async close(options: GatewayCloseOptions = {}): Promise<void> {
    checkOptions("close gateway", options, { signal: "object", drainMs: "number" });
    const { drainMs = DRAIN_MS, signal } = options;
    await abortable(this.#close(drainMs), signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(drainMs: number): Promise<void> {
    this.#listener!.stop();
    await within(Promise.all(this.#relays), drainMs);
    await this.#listener!.close();
    await Promise.all(this.#relays);
  }

  // Serves one client, until both sides have ended.
  async #serve(client: PausableChannel, info: ListenInfo): Promise<void> {
    // The client's bytes stay in its socket until the target can take them.
    client.pause();
    const gone = new AbortController();
    const abort = (): void => gone.abort();
    client.onclose = abort;
    const relay = ++this.#count;
    const { trace } = this.#options;
    const listener = (event: TransportEvent): void =>
      this.#watched(() => trace?.transport?.({ ...event, connection: relay }), "trace");
    const { remoteAddress: from, scheme, protocol: subprotocol } = info;
    listener({ event: "accepted", from, scheme, subprotocol });
    let upstream: PausableChannel;
    try {
      upstream = await this.#dial(info, gone.signal, listener);
    } catch (error) {
      listener({ event: "closed", ...describedError(error) });
      if (!gone.signal.aborted) this.#refuse(client, error, info);
      return;
    }
    if (gone.signal.aborted) return upstream.close();
    this.#opened++;
    const joined = new ChannelRelay(client, upstream, {
      lingerMs: this.#options.lingerMs ?? LINGER_MS,
      maxBufferedBytes: this.#options.maxBufferedBytes,
      stallTimeoutMs: this.#options.stallTimeoutMs,
      onstall: (side) => this.#reportStall(side, info),
      onbytes: this.#observer(relay, listener),
      onclose: (side, close, last) => listener({ ...closedEvent(close), ...(!last && { event: "half closed" }), side }),
    });
    await joined.ended;
  }

  async #dial(
    info: ListenInfo,
    signal: AbortSignal,
    listener: (event: TransportEvent) => void,
  ): Promise<PausableChannel> {
    const { target, dial = {} } = this.#options;
    // A lookup is abandoned when its client has gone.
    const url = typeof target === "function" ? await abortable(Promise.resolve(target(info)), signal) : target;
    if (url === undefined) throw new NotAllowed("Cannot connect client: there is no target for it");
    const place = placeOf(readUrl(url));
    if (!this.#allowed.has(place)) throw new NotAllowed(`Cannot connect client: target "${place}" is not allowed`);
    const subprotocols = dial.subprotocols ?? (info.protocol === undefined ? undefined : [info.protocol]);
    listener({ event: "connecting", url: place });
    const onstep = this.#options.trace?.transport === undefined ? undefined : listener;
    return await dialSocket(url, { ...dial, ...(subprotocols && { subprotocols }), signal, onstep });
  }

  #refuse(client: PausableChannel, error: unknown, info: ListenInfo): void {
    this.#failed++;
    // The client learns no more: the target is none of its business.
    const reason = "the gateway cannot use the target";
    client.close(error instanceof NotAllowed ? closeCode.policyViolation : closeCode.internalError, reason);
    const { onError } = this.#options;
    if (onError === undefined) {
      const why = error instanceof Error ? error.message : String(error);
      const message = `Cannot relay client from ${info.remoteAddress ?? "unknown address"}: ${printable(why)}`;
      return this.#log.write({ level: "warning", code: "refused", message, error });
    }
    this.#watched(() => onError(error, info), "onError");
  }

  #reportStall(side: "client" | "target", { remoteAddress = "unknown address" }: ListenInfo): void {
    const { stallTimeoutMs = STALL_TIMEOUT_MS } = this.#options;
    const message = `Cannot go on with the relay of ${remoteAddress}: its ${side} has taken nothing for ` +
      `${stallTimeoutMs} ms; it hangs, or "stallTimeoutMs" is too short for it`;
    this.#log.write({ level: "warning", code: "refused", message }, `stall ${side}`);
  }

  // An error of an observing callback must not affect the client.
  #watched(call: () => void, option: "trace" | "onError"): void {
    try {
      call();
    } catch (error) {
      const message = `Cannot tell what passes the gateway: option "${option}" threw; mend it`;
      this.#log.write({ level: "error", code: "callback-failed", message, error });
    }
  }

  #observer(
    relay: number,
    listener: (event: TransportEvent) => void,
  ): (direction: RelayDirection, bytes: Uint8Array) => void {
    const { trace } = this.#options;
    const tracer = trace && new FrameTracer(
      (frame) => this.#watched(() => trace({ ...frame, relay }), "trace"),
      (direction, error) => {
        listener({ event: "not AMQP", direction, ...describedError(error) });
        const message = `Cannot trace relay ${relay} ${direction} any further: ${error.message}; its bytes go on`;
        this.#log.write({ level: "warning", code: "not-traced", message }, direction);
      },
    );
    return (direction, bytes) => {
      if (direction === "in") this.#bytesIn += bytes.length;
      else this.#bytesOut += bytes.length;
      tracer?.read(direction, bytes);
    };
  }
}

// A client whose target is not allowed.
class NotAllowed extends TypeError {}

function placeOf({ scheme, hostname, port }: RemoteUrl): string {
  return `${scheme}//${joinAuthority(hostname, port)}`;
}
