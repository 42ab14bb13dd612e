/**
 * A connection: open and close, sessions by channel, time [transport 2.4].
 *
 * Bytes and the time go in; bytes, events and a deadline come out. There is no socket, clock, promise or random number in here,
 * so two endpoints joined back to back in virtual time are a faithful simulation.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError, TransportError } from "../base/errors.ts";
import { withDefaults } from "../codec/composite.ts";
import { kept } from "../codec/fast_path.ts";
import { type Frame, FrameDecoder, protocolHeader } from "../codec/frame.ts";
import { DEFAULT_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE } from "../codec/limits.ts";
import type { Attach, Begin, Close, ErrorFields, Open, Performative, SaslFrameBody } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import { Costs } from "./budgets.ts";
import { Channels } from "./channels.ts";
import { Clock } from "./clock.ts";
import type { EngineEvent } from "./events.ts";
import { Fault, fromErrorFields, toErrorFields } from "./fault.ts";
import type { Handshake } from "./handshake.ts";
import type { LinkEndpoint } from "./link.ts";
import {
  type ConnectionOptions,
  DEFAULT_CLOSE_TIMEOUT_MS,
  DEFAULT_FLUSH_BYTES,
  DEFAULT_OPEN_TIMEOUT_MS,
  DEFAULT_SASL_MAX_FRAME_SIZE,
  type EndpointOwner,
  faultOfOpen,
  MAX_SENT_TRANSFER_BYTES,
  openOf,
} from "./options.ts";
import { Output } from "./output.ts";
import type { SessionEndpoint, SessionEndpointConnection, SessionOptions } from "./session.ts";
import { type ConnectionEndpointState, type ConnectionStep, connectionTransitions, inWords } from "./states.ts";

export * from "./options.ts";

// Most memory that a unit of a frame's weight takes.
const WEIGHT_BYTES = 32;

/** One end of a connection, in either role. */
export class ConnectionEndpoint implements SessionEndpointConnection {
  state: ConnectionEndpointState = "start";
  /** Our open, once sent, with defaults filled in. */
  local: Open | undefined;
  /** The peer's open, once received. */
  remote: Open | undefined;
  /** True once the peer has answered our close, so that it has read all and sends nothing more. */
  answered = false;
  /** The exchange before AMQP: protocol headers and SASL. */
  readonly handshake: Handshake;
  readonly costs: Costs;
  /** Frames that wait to be sent. */
  readonly output: Output;

  readonly #options: ConnectionOptions;
  readonly #owner: EndpointOwner | undefined;
  readonly #clock: Clock;
  readonly #decoder: FrameDecoder;
  #events: EngineEvent[] = [];
  // An invalid open of the peer, held until it is known whether a close follows: Broker-J refuses with an open of zeros, and
  // gives the reason in its close.
  #openFault: AmqpError | undefined;
  #reported = false;

  readonly #channels = new Channels(this);
  #dirty = false;

  /**
   * Creates an endpoint; a client with SASL has its protocol header ready to be sent.
   *
   * @throws {RangeError} If `maxFrameSize` is below 512.
   */
  constructor(options: ConnectionOptions, now: number, owner?: EndpointOwner) {
    const maxFrameSize = options.maxFrameSize ?? DEFAULT_MAX_FRAME_SIZE;
    if (!(maxFrameSize >= MIN_MAX_FRAME_SIZE)) {
      throw new RangeError(`Cannot use maxFrameSize ${maxFrameSize}: it is below ${MIN_MAX_FRAME_SIZE}`);
    }
    this.#options = options;
    this.#owner = owner;
    this.#clock = new Clock(
      now,
      options.openTimeoutMs ?? DEFAULT_OPEN_TIMEOUT_MS,
      options.closeTimeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS,
    );
    this.costs = new Costs(this.#clock, options);
    const handshake = options.handshake();
    this.handshake = handshake;
    handshake.trace = options.trace;
    this.#decoder = new FrameDecoder({ maxFrameSize, limits: options.limits, fastPath: options.fastPath, owned: true });
    // A server sends no AMQP before SASL is over, so one writer serves both.
    const writer = handshake.client ? new Writer(512) : handshake.out;
    this.output = new Output(Math.min(maxFrameSize, MAX_SENT_TRANSFER_BYTES), options.trace, writer);
  }

  /** True when nothing more is read, and nothing written beyond what `transmit` still holds. */
  get finished(): boolean {
    return this.state === "end";
  }

  /** True while a client waits for the outcome of SASL, before which it sends nothing else. */
  get authenticating(): boolean {
    return this.handshake.client && this.handshake.holding;
  }

  /** True when no more frames of ours go out. */
  get closing(): boolean {
    const { state } = this;
    return state === "closeSent" || state === "closePipe" || state === "openClosePipe" || state === "discarding" ||
      state === "end";
  }

  /** Bytes that arrived without completing a frame, or that wait for the SASL outcome. */
  get buffered(): number {
    return this.#decoder.buffered;
  }

  /** Bytes that wait for `transmit`: answers and the like, as messages are written only when they leave. */
  get pendingBytes(): number {
    return this.output.writer.length;
  }

  /** Sessions that are begun, or on their way in or out. */
  get sessionCount(): number {
    return this.#channels.size;
  }

  sessions(): Iterable<SessionEndpoint> {
    return this.#channels.sessions();
  }

  /**
   * Sends the protocol header and the open of a client; those of a server go out as the answer.
   *
   * @throws {AmqpError} With `amqp:frame-size-too-small` if the open is larger than every peer accepts, `amqp:illegal-state` if
   * it was sent already.
   */
  open(): void {
    // The server's header may arrive before this call; our header was then the answer.
    if (this.state === "start") this.#sendHeader();
    this.#sendOpen({});
  }

  /**
   * Begins a session. Links with a handle above `knownHandleMax`, the highest that the peer is known to accept, such as from an
   * earlier connection, wait for its begin.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the connection is not open or is closing,
   * `amqp:resource-limit-exceeded` if either side accepts no more sessions.
   */
  begin(options: SessionOptions = {}, knownHandleMax: number = 0): SessionEndpoint {
    if (this.local === undefined || this.closing) throw this.#illegal("begin session");
    const channelMax = Math.min(this.remote?.channelMax ?? 0xffff, this.local.channelMax!);
    return this.#channels.begin(options, channelMax, knownHandleMax);
  }

  /** Closes in order, after the dispositions that wait. Does nothing if the connection is closing already. */
  close(error?: AmqpError | ErrorFields): void {
    const next = connectionTransitions[this.state].sendClose;
    if (next === undefined) {
      // Nothing was opened that a close could end.
      if (!this.closing) this.#finish(error instanceof AmqpError ? error : undefined);
      return;
    }
    this.#channels.flush(true);
    this.output.close({ kind: "close", error: error && toErrorFields(error) });
    this.state = next;
    this.#clock.closing();
  }

  /** Ends the connection because of `error`, found on this side; what still arrives is dropped [transport 2.4.7]. */
  fail(error: AmqpError): void {
    if (this.state === "end" || this.state === "discarding") return;
    // A close needs an open before it, also one for a fault before our open went out [transport 2.4.3].
    if (this.state === "headerExchanged" || this.state === "openReceived") this.#sendOpen({});
    const next = connectionTransitions[this.state].fail;
    if (next === undefined) return this.#finish(error);
    if (!this.closing) this.output.close({ kind: "close", error: toErrorFields(error) });
    this.state = next;
    this.#clock.closing();
    this.#report(error);
    this.#channels.drop();
  }

  /** Handles the end of the transport; `cause` is the reported error, unless the connection had closed before. */
  disconnect(cause: Error): EngineEvent[] {
    this.#finish(cause);
    return this.events();
  }

  /**
   * Sends a SASL frame. A server's outcome `"ok"` also handles what the client has sent ahead, so read `events` after it; any
   * other outcome ends the connection.
   *
   * @throws {AmqpError} With `amqp:illegal-state` if the frame is out of turn, `amqp:resource-limit-exceeded` if there were too
   * many challenges.
   */
  sasl(body: SaslFrameBody): void {
    if (this.state === "end") throw this.#illegal("use SASL");
    const error = this.handshake.send(body);
    if (error === undefined) this.#handle();
    else this.#finish(error);
  }

  /** Notes that the client's mechanism accepts the outcome, where the handshake waits for that. */
  confirmSasl(): void {
    this.handshake.confirm();
    if (this.state !== "end") this.#handle();
  }

  /** Takes bytes of the peer, in pieces of any size, and keeps views of them: the caller must not write to them again. */
  receive(bytes: Uint8Array, now: number): EngineEvent[] {
    this.#clock.set(now);
    if (this.state === "end") return this.events();
    this.#decoder.push(bytes);
    this.#handle();
    return this.events();
  }

  /** Returns the events since the last call of this method, `receive`, `tick` or `disconnect`. */
  events(): EngineEvent[] {
    const events = this.#events;
    if (events.length > 0) this.#events = [];
    return events;
  }

  /** Returns bytes to send, at most `flushBytes` unless one frame is larger, or undefined when there are none. */
  transmit(now: number, flushBytes: number = DEFAULT_FLUSH_BYTES): Uint8Array | undefined {
    this.#clock.set(now);
    this.output.flushBytes = flushBytes;
    const { client, out, holding } = this.handshake;
    if (client && out.length > 0) {
      const first = out.take();
      out.release();
      return first;
    }
    if (client && holding) return undefined;
    if (this.#dirty) {
      this.#dirty = false;
      this.#channels.flush(false);
    }
    if (this.state === "opened") this.#channels.transmit();
    const { writer } = this.output;
    if (writer.length === 0) {
      writer.release();
      return undefined;
    }
    this.#clock.sent();
    const bytes = writer.take();
    try {
      this.output.trace();
    } catch (error) {
      this.handleError(error);
    }
    return bytes;
  }

  /**
   * The latest time for the next `tick`, or undefined for never.
   *
   * The time changes with each `receive`, `transmit` and `tick`, and may lie further ahead than a timer of the platform
   * reaches.
   */
  nextTimeout(): number | undefined {
    return this.#clock.next(this.output.writer.length > 0);
  }

  /** Handles passed deadlines: sends a keep-alive, or ends the connection after an idle time-out or without an answer. */
  tick(now: number): EngineEvent[] {
    this.#clock.set(now);
    this.#clock.confirm();
    switch (this.#clock.due(this.output.writer.length > 0)) {
      case "open":
        this.#finish(
          new TransportError(
            "timeout",
            this.state === "opened"
              ? "Cannot open connection: time-out, peer announced a refusal and sent no close"
              : `Cannot open connection: time-out, peer sent no open, state is ${this.state}; does it speak AMQP 1.0?`,
          ),
        );
        break;
      case "close":
        this.#finish(timedOut("Cannot close connection: peer did not answer in time"));
        break;
      case "idle":
        this.fail(timedOut("Cannot keep connection: idle time-out, no frame came"));
        break;
      case "keepAlive":
        this.output.keepAlive();
    }
    return this.events();
  }

  emit(event: EngineEvent): void {
    if (!this.#reported) this.#events.push(event);
  }

  markDirty(): void {
    this.#dirty = true;
  }

  awaitConfirmation(link: LinkEndpoint): void {
    this.#clock.awaitConfirmation(link);
  }

  forgetSession(session: SessionEndpoint): void {
    this.#channels.forget(session);
  }

  /**
   * Makes our end of a link that the peer attaches; for sessions.
   *
   * @throws {AmqpError} As {@linkcode Channels.takeLink} does.
   */
  takeLink(session: SessionEndpoint, attach: Attach, handle: number, fault: AmqpError | undefined): LinkEndpoint {
    return this.#channels.takeLink(session, attach, handle, { ...this.#options, fault });
  }

  #handle(): void {
    while (this.state !== "end") {
      try {
        if (!this.#handleOne()) return this.#failOpen();
      } catch (error) {
        this.handleError(error);
      }
    }
  }

  // The only place that turns an error into close, end or detach.
  handleError(error: unknown): void {
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

  #failOpen(): void {
    const fault = this.#openFault;
    this.#openFault = undefined;
    if (fault !== undefined) this.handleError(fault);
  }

  #failConnection(error: AmqpError): void {
    if (this.handshake.expects !== "amqpFrame") return this.#finish(error);
    // While input is discarded, a frame that cannot be decoded is no worse than any other; without a frame boundary to go on
    // from there is nothing more to wait for.
    if (this.state !== "discarding") this.fail(error);
    else if (error.condition === condition.framingError) this.#finish(error);
  }

  #handleOne(): boolean {
    if (this.handshake.expects !== "amqpFrame") return this.#shakeHands(this.handshake);
    const { buffered } = this.#decoder;
    const frame = this.#decoder.frame();
    // The bytes themselves, and the objects that are made of them.
    this.costs.frameBytes = buffered - this.#decoder.buffered + this.#decoder.weight * WEIGHT_BYTES;
    if (frame !== undefined) this.#receiveFrame(frame);
    return frame !== undefined;
  }

  #shakeHands(handshake: Handshake): boolean {
    const { maxFrameSize = DEFAULT_MAX_FRAME_SIZE, saslMaxFrameSize = DEFAULT_SASL_MAX_FRAME_SIZE } = this.#options;
    if (handshake.expects === "header") {
      const id = handshake.receiveHeader(this.#decoder);
      this.#decoder.maxFrameSize = id === 0 ? maxFrameSize : saslMaxFrameSize;
      if (id === 0) this.#receiveHeader();
      return id !== undefined;
    }
    const frame = handshake.waiting(this.#decoder.buffered) ? undefined : this.#decoder.frame();
    if (frame !== undefined) this.emit(handshake.receive(frame));
    return frame !== undefined;
  }

  #receiveHeader(): void {
    this.state = this.#next("receiveHeader");
    if (this.state === "headerReceived") this.#sendHeader();
  }

  #receiveFrame(frame: Frame): void {
    const { channel, payload } = frame;
    const body = frame.body as Performative | undefined;
    this.#clock.received();
    if (frame.type !== 0) throw new AmqpError(condition.framingError, "Cannot take frame: type is SASL, not AMQP");
    this.#options.trace?.({ direction: "in", channel, body: kept(body), payloadBytes: payload?.length ?? 0 });
    if (body?.kind === "close") return this.#receiveClose(body);
    if (this.#openFault !== undefined) this.#failOpen();
    if (this.state === "discarding") return;
    if (body?.kind === "open") return this.#receiveOpen(body, channel);
    if (this.remote === undefined) throw this.#illegal(`take ${body?.kind ?? "empty frame"} before open`);
    const channelMax = this.local!.channelMax!;
    if (channel > channelMax) {
      throw new AmqpError(condition.framingError, `Cannot take frame: channel is ${channel}, above ${channelMax}`);
    }
    if (body === undefined) return this.costs.spend(1);
    if (body.kind === "begin") return this.#receiveBegin(body, channel);
    const session = this.#channels.get(channel);
    if (session !== undefined) return session.receive(body, payload);
    // The peer may use a session whose begin we could not answer, as our close was under way.
    if (this.closing) return;
    throw new AmqpError(condition.notAllowed, `Cannot take ${body.kind}: channel ${channel} has no session`);
  }

  #receiveOpen(open: Open, channel: number): void {
    if (channel !== 0) throw new AmqpError(condition.framingError, `Cannot take open: channel is ${channel}, not 0`);
    this.state = this.#next("receiveOpen");
    this.costs.keep();
    this.remote = open;
    const { maxFrameSize, channelMax, idleTimeOut } = withDefaults(open);
    this.#openFault = faultOfOpen(maxFrameSize, idleTimeOut);
    if (this.#openFault !== undefined) return;
    if (this.state === "openReceived") this.#sendOpen(this.#owner?.answerOpen(open) ?? {}, maxFrameSize);
    // The answer may announce less than our options.
    this.#decoder.maxFrameSize = this.local!.maxFrameSize!;
    // An open that announces its own refusal is followed by a close with the reason; Artemis writes "true" as a string.
    const failed = this.handshake.client &&
      String(open.properties?.["amqp:connection-establishment-failed"]) === "true";
    // That close has the time that is left for opening.
    if (!failed) this.#clock.opened(this.local!.idleTimeOut, idleTimeOut);
    this.output.peerOpened(maxFrameSize, channelMax);
    if (this.state === "opened" && !failed) this.emit({ kind: "opened", open });
  }

  #receiveClose(close: Close): void {
    this.state = this.#next("receiveClose");
    if (this.state === "closeReceived") {
      this.#channels.flush(true);
      this.output.close({ kind: "close" });
      this.state = this.#next("sendClose");
    } else this.answered = true;
    this.#finish(close.error && fromErrorFields(close.error, "Connection closed", "connection"));
  }

  #receiveBegin(begin: Begin, channel: number): void {
    if (begin.remoteChannel !== undefined) return this.#channels.answered(begin, channel);
    if (this.closing) return;
    this.#channels.begun(begin, channel, this.#options.session ?? {}, this.remote!.channelMax ?? 0xffff);
  }

  #sendHeader(): void {
    this.state = this.#next("sendHeader");
    this.output.writer.append(protocolHeader(0));
  }

  #sendOpen(answer: Partial<Omit<Open, "kind">>, peerMaxFrameSize: number = MIN_MAX_FRAME_SIZE): void {
    const next = this.#next("sendOpen");
    const open = openOf(this.#options, answer);
    this.output.open(open, Math.max(this.#options.maxOpenSize ?? MIN_MAX_FRAME_SIZE, peerMaxFrameSize));
    this.local = withDefaults(open);
    this.state = next;
  }

  #finish(error: Error | undefined): void {
    this.state = "end";
    this.#clock.over();
    this.#report(error);
    this.#channels.drop();
  }

  #report(error: Error | undefined): void {
    if (this.#reported) return;
    this.#events.push({ kind: "closed", error });
    this.#reported = true;
  }

  #next(step: ConnectionStep): ConnectionEndpointState {
    const next = connectionTransitions[this.state][step];
    if (next === undefined) throw this.#illegal(inWords(step));
    return next;
  }

  #illegal(doing: string): AmqpError {
    return new AmqpError(condition.illegalState, `Cannot ${doing}: state of the connection is ${this.state}`);
  }
}

function timedOut(message: string): AmqpError {
  return new AmqpError(condition.resourceLimitExceeded, message, { cause: new TransportError("timeout", message) });
}
