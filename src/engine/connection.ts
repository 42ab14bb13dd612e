/**
 * A connection: protocol headers, SASL, open and close, sessions by channel, time [transport 2.4].
 *
 * Bytes and the time come in, bytes, events and a deadline go out. There is no socket, clock, promise or random number
 * in here, so two of these joined back to back in made-up time are a faithful simulation.
 *
 * @module
 */

import { AmqpError, condition } from "../errors.ts";
import { encodeComposite, withDefaults } from "../codec/composite.ts";
import { beginFrame, endFrame, type Frame, FrameDecoder, type ProtocolHeader, protocolHeader } from "../codec/frame.ts";
import type { CodecLimits } from "../codec/reader.ts";
import type { Attach, Begin, Close, Fields, Open, Performative, Transfer } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { EngineEvent, FrameTrace } from "./events.ts";
import { type Endpoint, Fault, fromErrorFields, toErrorFields } from "./fault.ts";
import type { LinkEndpoint } from "./link.ts";
import { DEFAULT_SASL_MAX_FRAME_SIZE, SaslEndpoint } from "./sasl.ts";
import { SessionEndpoint, type SessionOptions } from "./session.ts";
import { type ConnectionState, type ConnectionStep, connectionTransitions } from "./states.ts";

/** Largest frame that every peer takes, whatever it announced or will announce [transport 2.4.1]. */
export const MIN_MAX_FRAME_SIZE = 512;
/** Largest frame that we take by default, in bytes. */
export const DEFAULT_MAX_FRAME_SIZE = 65_536;
/** Highest channel by default: 256 sessions on a connection. */
export const DEFAULT_CHANNEL_MAX = 255;
/** Idle time-out that we announce by default, in milliseconds; the connection is given up after twice that. */
export const DEFAULT_IDLE_TIME_OUT = 60_000;
/** Shortest idle time-out of a peer that we agree to keep, in milliseconds; less would be a storm of empty frames. */
export const MIN_PEER_IDLE_TIME_OUT = 100;
/** How long the peer may take from the first byte to its open, in milliseconds. */
export const DEFAULT_OPEN_TIMEOUT_MS = 30_000;
/** How long the peer may take to answer a close, in milliseconds. */
export const DEFAULT_CLOSE_TIMEOUT_MS = 5_000;
/** Bytes that a client may send ahead while its credentials are looked at. */
export const MAX_PIPELINED_BYTES = 65_536;
/** One flush, in bytes: writing stops at the frame that passes it. */
export const DEFAULT_FLUSH_BYTES = 65_536;

/** The terms of our end of a connection. */
export interface ConnectionOptions {
  /** The client speaks first. */
  role: "client" | "server";
  /** Names this container to the peer. */
  containerId: string;
  /** The virtual host that the client wants. */
  hostname?: string;
  /** Largest frame that we take, in bytes, at least 512. Default: {@linkcode DEFAULT_MAX_FRAME_SIZE}. */
  maxFrameSize?: number;
  /** Highest channel that the peer may use. Default: {@linkcode DEFAULT_CHANNEL_MAX}. */
  channelMax?: number;
  /** Idle time-out to announce, in milliseconds, 0 for none. Default: {@linkcode DEFAULT_IDLE_TIME_OUT}. */
  idleTimeOut?: number;
  /** Connection properties. */
  properties?: Fields;
  /** Capabilities that this end offers. */
  offeredCapabilities?: string[];
  /** Capabilities that this end wants to use. */
  desiredCapabilities?: string[];
  /**
   * The client's SASL: `true` to authenticate, `"pipelined"` to send what follows without waiting for the outcome.
   * The server's: the mechanisms that it offers, and whether a client may do without.
   * Default: no SASL.
   */
  sasl?: boolean | "pipelined" | { mechanisms: string[]; required: boolean };
  /** Largest SASL frame that we take, in bytes. Default: {@linkcode DEFAULT_SASL_MAX_FRAME_SIZE}. */
  saslMaxFrameSize?: number;
  /** Terms of the sessions that the peer begins. */
  session?: SessionOptions;
  /** What the server answers to an open, over its own terms. */
  answerOpen?: (open: Open) => Partial<Omit<Open, "kind">>;
  /** Largest open frame that we send, in bytes. Default: {@linkcode MIN_MAX_FRAME_SIZE}, which every peer takes. */
  maxOpenSize?: number;
  /** Milliseconds until the peer's open. Default: {@linkcode DEFAULT_OPEN_TIMEOUT_MS}. */
  openTimeoutMs?: number;
  /** Milliseconds that a close may go unanswered. Default: {@linkcode DEFAULT_CLOSE_TIMEOUT_MS}. */
  closeTimeoutMs?: number;
  /** Bounds of what is decoded. */
  limits?: CodecLimits;
  /** Told of every frame. */
  trace?: (frame: FrameTrace) => void;
}

interface DeferredFrame {
  readonly channel: number;
  readonly body: Performative;
  readonly endpoint: SessionEndpoint | LinkEndpoint;
}

/** One end of a connection, either role. */
export class ConnectionEndpoint implements Endpoint {
  /** Where it stands. */
  state: ConnectionState = "start";
  /** The peer's open, once received. */
  remote: Open | undefined;

  readonly #options: ConnectionOptions;
  readonly #decoder: FrameDecoder;
  readonly #out = new Writer(4_096);
  #events: EngineEvent[] = [];
  #reported = false;

  #sasl: SaslEndpoint | undefined;
  #expects: "header" | "saslFrame" | "amqpFrame" = "header";

  readonly #byChannel = new Map<number, SessionEndpoint>();
  readonly #byRemoteChannel = new Map<number, SessionEndpoint>();
  #dirty = false;
  #turn = 0;
  #flushBytes = DEFAULT_FLUSH_BYTES;
  readonly #full = (): boolean => this.#out.length >= this.#flushBytes;

  #deferred: DeferredFrame[] | undefined;
  #peerMaxFrameSize = MIN_MAX_FRAME_SIZE;

  #now: number;
  #lastReceived: number;
  #lastSent: number;
  #openDeadline: number | undefined;
  #closeDeadline: number | undefined;

  /**
   * Starts an endpoint; a client with SASL has its protocol header ready to be sent.
   *
   * @throws {RangeError} If `maxFrameSize` is below 512.
   */
  constructor(options: ConnectionOptions, now: number) {
    const maxFrameSize = options.maxFrameSize ?? DEFAULT_MAX_FRAME_SIZE;
    if (!(maxFrameSize >= MIN_MAX_FRAME_SIZE)) {
      throw new RangeError(`Cannot use maxFrameSize ${maxFrameSize}: it is below ${MIN_MAX_FRAME_SIZE}`);
    }
    this.#options = options;
    this.#now = this.#lastReceived = this.#lastSent = now;
    this.#openDeadline = now + (options.openTimeoutMs ?? DEFAULT_OPEN_TIMEOUT_MS);
    this.#decoder = new FrameDecoder({ maxFrameSize, limits: options.limits });
    if (options.role === "client" && options.sasl) this.#sasl = new SaslEndpoint("client", options.trace);
  }

  /** True when nothing more will be read or written but what `transmit` still holds. */
  get finished(): boolean {
    return this.state === "end";
  }

  /** Sessions that are begun, or on their way in or out. */
  get sessionCount(): number {
    return this.#byChannel.size;
  }

  /** The sessions of this connection. */
  sessions(): IterableIterator<SessionEndpoint> {
    return this.#byChannel.values();
  }

  /**
   * Sends the protocol header and the open; for the client. The server's go out by themselves as the answer.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the open is larger than every peer takes, `amqp:illegal-state`
   * if it was sent already.
   */
  open(): void {
    this.state = this.#next("sendHeader");
    this.#out.append(protocolHeader(0));
    this.#sendOpen({});
  }

  /**
   * Begins a session.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the connection is closing, `amqp:resource-limit-exceeded` if either
   * side takes no more sessions.
   */
  begin(options: SessionOptions = {}): SessionEndpoint {
    if (this.state !== "opened" && this.state !== "openSent" && this.state !== "openPipe") {
      throw this.#illegal("begin session");
    }
    const session = this.#createSession(options);
    this.#byChannel.set(session.channel, session);
    session.sendBegin();
    return session;
  }

  /** Closes in order; what waits to be settled is told first. Does nothing when it is closing already. */
  close(error?: AmqpError): void {
    if (connectionTransitions[this.state].sendClose === undefined) {
      // Nothing was opened that a close could end.
      if (!this.#isClosing()) this.#finish(error);
      return;
    }
    for (const session of this.#byChannel.values()) session.flush();
    this.#sendClose(error);
  }

  /** Ends the connection because of `error`, found on this side; what still arrives is dropped [transport 2.4.7]. */
  fail(error: AmqpError): void {
    if (this.state === "end" || this.state === "discarding") return;
    // A close needs an open before it, also when it tells of a fault before our open went out [transport 2.4.3].
    if (this.state === "headerExchanged" || this.state === "openReceived") this.#sendOpen({});
    const next = connectionTransitions[this.state].fail;
    if (next === undefined) return this.#finish(error);
    if (this.state !== "closeSent" && this.state !== "closePipe") {
      this.#writeNow(0, { kind: "close", error: toErrorFields(error) });
    }
    this.state = next;
    this.#closeDeadline ??= this.#now + (this.#options.closeTimeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS);
    this.#report(error);
  }

  /** The transport has ended, in whatever way; `cause` is what the connection is reported closed with if it was not. */
  disconnect(cause: Error): EngineEvent[] {
    this.#finish(cause);
    return this.events();
  }

  /** Chooses a mechanism; for the client, once the mechanisms are known or ahead of them. */
  saslInit(mechanism: string, initialResponse: Uint8Array | undefined, hostname?: string): void {
    this.#requireSasl().send({ kind: "saslInit", mechanism, initialResponse, hostname });
  }

  /** Answers a challenge; for the client. */
  saslResponse(response: Uint8Array): void {
    this.#requireSasl().send({ kind: "saslResponse", response });
  }

  /** Challenges the client; for the server. */
  saslChallenge(challenge: Uint8Array): void {
    this.#requireSasl().send({ kind: "saslChallenge", challenge });
    this.#handle();
  }

  /**
   * Ends the exchange; for the server. With `"ok"` what the client sent ahead is taken now, so look at `events` after it;
   * with any other code the connection is over.
   */
  saslOutcome(code: "ok" | "auth" | "sys" | "sys-perm" | "sys-temp", additionalData?: Uint8Array): void {
    this.#requireSasl().send({ kind: "saslOutcome", code, additionalData });
    if (code !== "ok") {
      return this.#finish(
        new AmqpError(condition.unauthorizedAccess, `Cannot authenticate client: outcome is "${code}"`),
      );
    }
    this.#endSasl();
    this.#handle();
  }

  /** Takes bytes of the peer, however cut, and keeps views of them: the caller must not write to them again. */
  receive(bytes: Uint8Array, now: number): EngineEvent[] {
    this.#now = now;
    if (this.state === "end") return this.events();
    this.#decoder.push(bytes);
    if (this.#sasl?.waiting && this.#decoder.buffered > MAX_PIPELINED_BYTES) {
      this.fail(new AmqpError(condition.resourceLimitExceeded, "Cannot authenticate: too much was sent ahead"));
    }
    this.#handle();
    return this.events();
  }

  /** Hands out what happened since the last call of this or of `receive`, `tick`, `disconnect`. */
  events(): EngineEvent[] {
    const events = this.#events;
    if (events.length > 0) this.#events = [];
    return events;
  }

  /** Hands out bytes to send, about `flushBytes` of them, or undefined when there are none. */
  transmit(now: number, flushBytes: number = DEFAULT_FLUSH_BYTES): Uint8Array | undefined {
    this.#now = now;
    this.#flushBytes = flushBytes;
    if (this.#sasl !== undefined && this.#sasl.out.length > 0) return this.#sasl.out.take();
    if (this.#sasl !== undefined && this.#options.sasl !== "pipelined") return undefined;
    if (this.#dirty) {
      this.#dirty = false;
      for (const session of this.#byChannel.values()) if (session.dirty) session.flush();
    }
    if (this.state === "opened") this.#transmitTransfers();
    if (this.#out.length === 0) return undefined;
    this.#lastSent = now;
    return this.#out.take();
  }

  /** When `tick` must be called at the latest, or undefined for never. */
  nextTimeout(): number | undefined {
    if (this.state === "end") return undefined;
    let next = this.#closeDeadline ?? this.#openDeadline ?? Infinity;
    if (this.state === "opened") next = Math.min(next, this.#idleDeadline(), this.#heartbeatDue());
    return next === Infinity ? undefined : next;
  }

  /** Does what is due by time: keep-alive, idle time-out, an answer that never came. */
  tick(now: number): EngineEvent[] {
    this.#now = now;
    if (this.#closeDeadline !== undefined && now >= this.#closeDeadline) {
      this.#finish(
        new AmqpError(condition.resourceLimitExceeded, "Cannot close connection: peer did not answer in time", {
          retryable: true,
        }),
      );
    } else if (this.#openDeadline !== undefined && now >= this.#openDeadline) {
      this.#finish(
        new AmqpError(
          condition.resourceLimitExceeded,
          `Cannot open connection: no open in time, state is ${this.state}`,
          {
            retryable: true,
          },
        ),
      );
    } else if (this.state === "opened") {
      if (now >= this.#idleDeadline()) {
        this.fail(
          new AmqpError(condition.resourceLimitExceeded, "Cannot keep connection: idle time-out, no frame came"),
        );
      } else if (now >= this.#heartbeatDue() && this.#out.length === 0) {
        endFrame(this.#out, beginFrame(this.#out, 0, 0));
        this.#options.trace?.({ direction: "out", channel: 0, body: undefined, payloadBytes: 0 });
      }
    }
    return this.events();
  }

  /** Reports something; for sessions and links. */
  emit(event: EngineEvent): void {
    if (!this.#reported) this.#events.push(event);
  }

  /** Notes that a session has something put off to write; for sessions. */
  markDirty(): void {
    this.#dirty = true;
  }

  /**
   * Writes a frame; for sessions and links. Before the peer's open only what every peer takes goes out, the rest waits.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the peer does not take a frame that large.
   */
  write(channel: number, body: Performative, endpoint: SessionEndpoint | LinkEndpoint): void {
    if (this.#isClosing()) return;
    if (this.#deferred !== undefined || (this.remote === undefined && channel > 0)) {
      this.#defer(channel, body, endpoint);
      return;
    }
    if (this.#writeNow(channel, body)) return;
    if (this.remote === undefined) {
      this.#defer(channel, body, endpoint);
      return;
    }
    throw new AmqpError(
      condition.frameSizeTooSmall,
      `Cannot send ${body.kind}: it does not fit the peer's max-frame-size of ${this.#peerMaxFrameSize}`,
      { scope: "link" },
    );
  }

  /** Writes one transfer with as much of `payload` as fits, and tells how much that was; for sessions. */
  writeTransfer(channel: number, transfer: Transfer, payload: Uint8Array, endpoint: Endpoint): number {
    const out = this.#out;
    if (payload.length >= this.#peerMaxFrameSize) transfer.more = true;
    let start = beginFrame(out, 0, channel);
    encodeComposite(out, transfer);
    let room = this.#peerMaxFrameSize - (out.length - start);
    if (payload.length > room && !transfer.more) {
      out.truncate(start);
      transfer.more = true;
      start = beginFrame(out, 0, channel);
      encodeComposite(out, transfer);
      room = this.#peerMaxFrameSize - (out.length - start);
    }
    if (room < 0 || (room === 0 && payload.length > 0)) {
      out.truncate(start);
      throw new Fault(
        endpoint,
        new AmqpError(
          condition.frameSizeTooSmall,
          `Cannot send transfer: it does not fit ${this.#peerMaxFrameSize} bytes`,
          {
            scope: "link",
          },
        ),
      );
    }
    const part = payload.length > room ? payload.subarray(0, room) : payload;
    out.append(part);
    endFrame(out, start);
    this.#options.trace?.({ direction: "out", channel, body: transfer, payloadBytes: part.length });
    return part.length;
  }

  /** Drops a session that has ended both ways; for sessions. */
  forgetSession(session: SessionEndpoint): void {
    this.#byChannel.delete(session.channel);
    if (session.remoteChannel !== undefined) this.#byRemoteChannel.delete(session.remoteChannel);
  }

  /** Detaches the link of this connection that the peer attaches anew; for sessions. */
  steal(attach: Attach): void {
    for (const session of this.#byChannel.values()) session.steal(attach);
  }

  #handle(): void {
    while (this.state !== "end") {
      try {
        if (!this.#handleOne()) return;
      } catch (error) {
        this.#handleError(error);
      }
    }
  }

  // The one place where what went wrong becomes close, end or detach.
  #handleError(error: unknown): void {
    try {
      if (error instanceof Fault) error.endpoint.fail(error.error);
      else if (error instanceof AmqpError) this.#failConnection(error);
      else {
        this.#failConnection(
          new AmqpError(condition.internalError, "Cannot go on: internal fault", { cause: error }),
        );
      }
    } catch (second) {
      this.#finish(second instanceof Error ? second : new Error(String(second)));
    }
  }

  #failConnection(error: AmqpError): void {
    // What the decoder refused leaves no frame boundary to go on from.
    if (this.state === "discarding" || this.#expects !== "amqpFrame") {
      if (this.#options.role === "server" && this.state === "start" && this.#sasl === undefined) this.#offerHeader();
      return this.#finish(error);
    }
    this.fail(error);
  }

  #handleOne(): boolean {
    if (this.#expects === "header") {
      const header = this.#decoder.header();
      if (header === undefined) return false;
      this.#receiveHeader(header);
      return true;
    }
    if (this.#sasl?.waiting) return false;
    const frame = this.#decoder.frame();
    if (frame === undefined) return false;
    if (this.#expects === "saslFrame") this.#receiveSasl(frame);
    else this.#receiveFrame(frame);
    return true;
  }

  #receiveHeader(header: ProtocolHeader): void {
    const supported = header.major === 1 && header.minor === 0 && header.revision === 0;
    if (this.#options.role === "client") {
      const wanted = this.#sasl === undefined ? 0 : 3;
      if (!supported || header.id !== wanted) throw this.#headerError(header);
    } else if (this.state === "start" && this.#sasl === undefined) {
      const sasl = typeof this.#options.sasl === "object" ? this.#options.sasl : undefined;
      if (supported && header.id === 3 && sasl !== undefined) {
        this.#sasl = new SaslEndpoint("server", this.#options.trace);
        this.#sasl.send({ kind: "saslMechanisms", saslServerMechanisms: sasl.mechanisms });
      } else if (!supported || header.id !== 0 || sasl?.required) {
        throw this.#headerError(header);
      }
    } else if (!supported || header.id !== 0) {
      throw this.#headerError(header);
    }
    if (this.#sasl !== undefined) {
      this.#expects = "saslFrame";
      this.#decoder.maxFrameSize = this.#options.saslMaxFrameSize ?? DEFAULT_SASL_MAX_FRAME_SIZE;
      return;
    }
    this.#expects = "amqpFrame";
    this.state = this.#next("receiveHeader");
    if (this.state === "headerReceived") {
      this.#out.append(protocolHeader(0));
      this.state = this.#next("sendHeader");
    }
  }

  #receiveSasl(frame: Frame): void {
    const body = frame.body;
    if (frame.type !== 1 || body === undefined || !body.kind.startsWith("sasl")) {
      throw new AmqpError(condition.framingError, "Cannot authenticate: frame is not of type SASL");
    }
    const event = this.#sasl!.receive(body as Parameters<SaslEndpoint["receive"]>[0]);
    if (event.kind === "saslSucceeded") this.#endSasl();
    this.emit(event);
  }

  #endSasl(): void {
    const rest = this.#sasl!.out;
    // The outcome itself must still go out, ahead of the AMQP header.
    if (rest.length > 0) {
      const behind = this.#out.length > 0 ? this.#out.take() : undefined;
      this.#out.append(rest.take());
      if (behind !== undefined) this.#out.append(behind);
    }
    this.#sasl = undefined;
    this.#expects = "header";
    this.#decoder.maxFrameSize = this.#options.maxFrameSize ?? DEFAULT_MAX_FRAME_SIZE;
  }

  #receiveFrame(frame: Frame): void {
    const { channel, payload } = frame;
    const body = frame.body as Performative | undefined;
    this.#options.trace?.({ direction: "in", channel, body, payloadBytes: payload?.length ?? 0 });
    this.#lastReceived = this.#now;
    if (frame.type !== 0) throw new AmqpError(condition.framingError, "Cannot take frame: type is SASL, not AMQP");
    if (body?.kind === "open") return this.#receiveOpen(body, channel);
    if (body?.kind === "close") return this.#receiveClose(body);
    if (this.state === "discarding") return;
    if (this.remote === undefined) throw this.#illegal(`take ${body?.kind ?? "empty frame"} before open`);
    const channelMax = this.#options.channelMax ?? DEFAULT_CHANNEL_MAX;
    if (channel > channelMax) {
      throw new AmqpError(condition.framingError, `Cannot take frame: channel is ${channel}, above ${channelMax}`);
    }
    if (body === undefined) return;
    if (body.kind === "begin") return this.#receiveBegin(body, channel);
    const session = this.#byRemoteChannel.get(channel);
    if (session === undefined) {
      throw new AmqpError(condition.notAllowed, `Cannot take ${body.kind}: channel ${channel} has no session`);
    }
    session.receive(body, payload);
  }

  #receiveOpen(open: Open, channel: number): void {
    if (channel !== 0) throw new AmqpError(condition.framingError, `Cannot take open: channel is ${channel}, not 0`);
    this.state = this.#next("receiveOpen");
    const { maxFrameSize, idleTimeOut } = withDefaults(open);
    this.remote = open;
    if (maxFrameSize! < MIN_MAX_FRAME_SIZE) {
      throw new AmqpError(condition.invalidField, `Cannot take open: max-frame-size is ${maxFrameSize}, below 512`);
    }
    this.#peerMaxFrameSize = maxFrameSize!;
    if (this.state === "openReceived") this.#sendOpen(this.#options.answerOpen?.(open) ?? {});
    if (idleTimeOut !== undefined && idleTimeOut > 0 && idleTimeOut < MIN_PEER_IDLE_TIME_OUT) {
      throw new AmqpError(
        condition.notAllowed,
        `Cannot take open: idle-time-out of ${idleTimeOut} ms is too short to keep`,
      );
    }
    this.#openDeadline = undefined;
    this.#lastReceived = this.#lastSent = this.#now;
    this.#writeDeferred();
    // An open that announces its own refusal is followed by the close that tells why.
    const failed = this.#options.role === "client" &&
      open.properties?.["amqp:connection-establishment-failed"] === true;
    if (this.state === "opened" && !failed) this.emit({ kind: "opened", open });
  }

  #receiveClose(close: Close): void {
    this.state = this.#next("receiveClose");
    if (this.state === "closeReceived") {
      for (const session of this.#byChannel.values()) session.flush();
      this.#writeNow(0, { kind: "close" });
      this.state = this.#next("sendClose");
    }
    this.#finish(close.error && fromErrorFields(close.error, "Connection closed", "connection"));
  }

  #receiveBegin(begin: Begin, channel: number): void {
    if (this.#byRemoteChannel.has(channel)) {
      throw new AmqpError(condition.notAllowed, `Cannot take begin: channel ${channel} is in use`);
    }
    let session: SessionEndpoint | undefined;
    if (begin.remoteChannel === undefined) {
      if (this.#isClosing()) return;
      session = this.#createSession(this.#options.session ?? {});
      this.#byChannel.set(session.channel, session);
    } else {
      session = this.#byChannel.get(begin.remoteChannel);
      if (session === undefined || session.remoteChannel !== undefined) {
        throw new AmqpError(
          condition.notAllowed,
          `Cannot take begin: we began no session on channel ${begin.remoteChannel}`,
        );
      }
    }
    this.#byRemoteChannel.set(channel, session);
    session.receiveBegin(begin, channel);
  }

  #createSession(options: SessionOptions): SessionEndpoint {
    const max = Math.min(this.remote?.channelMax ?? 0xffff, this.#options.channelMax ?? DEFAULT_CHANNEL_MAX);
    let channel = 0;
    while (this.#byChannel.has(channel)) channel++;
    if (channel > max) {
      throw new AmqpError(condition.resourceLimitExceeded, `Cannot begin session: ${channel} sessions are open`);
    }
    return new SessionEndpoint(this, channel, options);
  }

  #sendOpen(answer: Partial<Omit<Open, "kind">>): void {
    const options = this.#options;
    const idleTimeOut = options.idleTimeOut ?? DEFAULT_IDLE_TIME_OUT;
    const open: Open = {
      containerId: options.containerId,
      hostname: options.hostname,
      maxFrameSize: options.maxFrameSize ?? DEFAULT_MAX_FRAME_SIZE,
      channelMax: options.channelMax ?? DEFAULT_CHANNEL_MAX,
      idleTimeOut: idleTimeOut === 0 ? undefined : idleTimeOut,
      offeredCapabilities: options.offeredCapabilities,
      desiredCapabilities: options.desiredCapabilities,
      properties: options.properties,
      ...answer,
      kind: "open",
    };
    const next = this.#next("sendOpen");
    const limit = options.maxOpenSize ?? MIN_MAX_FRAME_SIZE;
    const known = this.#peerMaxFrameSize;
    this.#peerMaxFrameSize = Math.max(limit, known);
    const fits = this.#writeNow(0, open);
    this.#peerMaxFrameSize = known;
    if (!fits) {
      throw new AmqpError(
        condition.frameSizeTooSmall,
        `Cannot open connection: the open frame is larger than ${limit} bytes, shorten its properties`,
      );
    }
    this.state = next;
  }

  #sendClose(error: AmqpError | undefined): void {
    this.#writeNow(0, { kind: "close", error: error && toErrorFields(error) });
    this.state = this.#next("sendClose");
    this.#closeDeadline = this.#now + (this.#options.closeTimeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS);
  }

  // The header that we would have taken tells the peer what to try [transport 2.2].
  #offerHeader(): void {
    this.#out.append(protocolHeader(typeof this.#options.sasl === "object" ? 3 : 0));
  }

  #defer(channel: number, body: Performative, endpoint: SessionEndpoint | LinkEndpoint): void {
    (this.#deferred ??= []).push({ channel, body, endpoint });
  }

  #writeDeferred(): void {
    const deferred = this.#deferred;
    this.#deferred = undefined;
    const channelMax = this.remote?.channelMax ?? 0xffff;
    for (const { channel, body, endpoint } of deferred ?? []) {
      if (endpoint.state === "ended" || endpoint.state === "detached") continue;
      if (channel > channelMax) {
        const session = endpoint instanceof SessionEndpoint ? endpoint : endpoint.session;
        session.abandon(
          new AmqpError(condition.resourceLimitExceeded, `Cannot begin session: peer takes only ${channelMax + 1}`, {
            scope: "session",
          }),
        );
      } else if (!this.#writeNow(channel, body)) {
        endpoint.abandon(
          new AmqpError(
            condition.frameSizeTooSmall,
            `Cannot send ${body.kind}: it does not fit the peer's max-frame-size of ${this.#peerMaxFrameSize}`,
            { scope: "link" },
          ),
        );
      }
    }
  }

  #writeNow(channel: number, body: Performative): boolean {
    const out = this.#out;
    const start = beginFrame(out, 0, channel);
    encodeComposite(out, body);
    if (out.length - start > this.#peerMaxFrameSize) {
      out.truncate(start);
      return false;
    }
    endFrame(out, start);
    this.#options.trace?.({ direction: "out", channel, body, payloadBytes: 0 });
    return true;
  }

  #transmitTransfers(): void {
    const sessions = [...this.#byChannel.values()];
    for (let i = 0; i < sessions.length && !this.#full(); i++) {
      // The session that filled the last flush comes last in the next.
      const session = sessions[(this.#turn + i) % sessions.length]!;
      try {
        session.transmitTransfers(this.#full);
      } catch (error) {
        this.#handleError(error);
      }
    }
    this.#turn++;
  }

  #idleDeadline(): number {
    const idleTimeOut = this.#options.idleTimeOut ?? DEFAULT_IDLE_TIME_OUT;
    return idleTimeOut === 0 ? Infinity : this.#lastReceived + 2 * idleTimeOut;
  }

  #heartbeatDue(): number {
    const idleTimeOut = this.remote?.idleTimeOut ?? 0;
    return idleTimeOut === 0 ? Infinity : this.#lastSent + idleTimeOut / 2;
  }

  #isClosing(): boolean {
    switch (this.state) {
      case "closeSent":
      case "closePipe":
      case "openClosePipe":
      case "discarding":
      case "end":
        return true;
      default:
        return false;
    }
  }

  #finish(error: Error | undefined): void {
    if (this.state !== "end") this.state = "end";
    this.#closeDeadline = this.#openDeadline = undefined;
    this.#byChannel.clear();
    this.#byRemoteChannel.clear();
    this.#report(error);
  }

  #report(error: Error | undefined): void {
    if (this.#reported) return;
    this.#events.push({ kind: "closed", error });
    this.#reported = true;
  }

  #requireSasl(): SaslEndpoint {
    if (this.#sasl === undefined) throw this.#illegal("use SASL");
    return this.#sasl;
  }

  #next(step: ConnectionStep): ConnectionState {
    const next = connectionTransitions[this.state][step];
    if (next === undefined) throw this.#illegal(step);
    return next;
  }

  #headerError(header: ProtocolHeader): AmqpError {
    const { id, major, minor, revision } = header;
    return new AmqpError(
      condition.framingError,
      `Cannot agree on protocol: peer's header is AMQP ${id} ${major} ${minor} ${revision}`,
    );
  }

  #illegal(doing: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot ${doing}: state of the connection is ${this.state}`);
  }
}
