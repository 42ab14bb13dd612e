/**
 * Joins an engine to a channel: bytes both ways, one timer, back-pressure, events.
 *
 * @module
 */

import { giveBlock } from "../base/pool.ts";
import * as condition from "../base/condition.ts";
import { type Environment, systemEnvironment } from "../base/environment.ts";
import { AmqpError, TransportError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { ConnectionEndpoint } from "../engine/connection.ts";
import type { EngineEvent } from "../engine/events.ts";
import { type Channel, type ChannelClose, MAX_BUFFERED_BYTES, TRY_AGAIN_LATER } from "../transport/channel.ts";
import { Deferred } from "../base/wait.ts";

// The lower bound of the option: below it channels resolve `ready()` at once.
const MIN_BUFFERED_BYTES = 262_144;

// Unsent answers, as a multiple of the bound, at which a peer that does not read is dropped; honest peers stay far below.
const MAX_UNREAD = 4;

// A flush waits for this many microtasks without new work: a `for await` loop over arrived deliveries settles one every few
// microtasks, and all these settlements are to leave in one message.
const QUIET_TICKS = 10;
// Work that lasts longer is flushed at the end of the turn, rather than checked after each microtask.
const BUSY_TICKS = 32;
// Where the runtime has no end-of-turn callback, work that never pauses is flushed after this many microtasks.
const MAX_TICKS = 5_000;

// Milliseconds between two flushes below which the second waits for the end of the turn. Some runtimes dispatch the WebSocket
// messages of one read one by one; answering each alone would cost both sides a message. With one message in flight no two
// flushes come that close.
const CLOSE_MS = 0.025;
// Flushes in microtasks of one turn after which one waits for the end of the turn: between two ends in one process, whose bytes
// need no turn of the event loop either, timers and sockets would otherwise wait for as long as both have something to say.
const MAX_EAGER = 32;
// Flushes after which the driver asks for the end of the turn, to count anew from there: bytes of a socket come in turns of
// their own, so their answers never wait.
const MANY_EAGER = 16;
// Bytes received in a turn before the answers are flushed, so that the peer has work meanwhile.
const MAX_BEHIND_BYTES = 65_536;

export interface DriverOwner {
  /** Handles an event of the driver's engine. */
  handleEvent(event: EngineEvent, driver: Driver): void;
}

/** Drives one connection. */
export class Driver {
  /** The WebSocket close code to end with after the AMQP close [wsb 4]. */
  closeCode = 1000;
  /** Milliseconds that the channel may take to close. Default: the channel's own. */
  closeTimeoutMs: number | undefined;

  bytesSent = 0;
  bytesReceived = 0;

  readonly #channel: Channel;
  readonly #endpoint: ConnectionEndpoint;
  readonly #owner: DriverOwner;
  readonly #maxBufferedBytes: number;
  readonly #environment: Environment;
  readonly #ended = new Deferred<ChannelClose>();
  // Reactions of this promise are microtasks; fake timers may replace `queueMicrotask`.
  readonly #soon = Promise.resolve();
  #ticks = 0;
  #quietTicks = 0;
  #flushedAt = -Infinity;
  #eager = 0;
  #behindBytes = 0;
  // Above 0 while the engine takes bytes, or its events are handled: `hurry` writes nothing in between.
  #depth = 0;
  #awake = false;
  #congested = false;
  #timer: unknown;
  #timerDue = Infinity;
  #over = false;

  /** Takes over `channel` and starts. */
  constructor(
    channel: Channel,
    endpoint: ConnectionEndpoint,
    owner: DriverOwner,
    options: { maxBufferedBytes?: number | undefined; environment?: Environment | undefined } = {},
  ) {
    this.#channel = channel;
    this.#endpoint = endpoint;
    this.#owner = owner;
    this.#environment = options.environment ?? systemEnvironment;
    this.#maxBufferedBytes = Math.max(options.maxBufferedBytes ?? MAX_BUFFERED_BYTES, MIN_BUFFERED_BYTES);
    channel.onbytes = this.#onbytes;
    channel.onclose = this.#onclose;
    this.wake();
  }

  get ended(): Promise<ChannelClose> {
    return this.#ended.promise;
  }

  /** True while the channel's buffer is above its bound. */
  get congested(): boolean {
    return this.#congested;
  }

  /** Called when the engine may have something to write, which is written when the current work pauses. */
  wake(): void {
    this.#quietTicks = 0;
    if (this.#awake || this.#over) return;
    this.#awake = true;
    this.#ticks = 0;
    this.#soon.then(this.#tick);
  }

  /** As `wake`, for what the peer can go on with, such as credit: behind many bytes of its own it leaves at once. */
  hurry(): void {
    this.wake();
    if (this.#behindBytes <= MAX_BEHIND_BYTES || this.#depth > 0 || this.#over) return;
    try {
      // Events wait for the flush: the caller may be in the midst of something.
      this.#write();
    } catch (error) {
      this.destroy(internalFault(error));
    }
  }

  /** Closes the channel without an AMQP close; every wait on the connection fails with `cause`. */
  destroy(cause: Error): void {
    this.#dispatch(this.#endpoint.disconnect(cause));
    this.#close();
  }

  #close(): void {
    const end = this.#endpoint.answered && this.#channel.closeNow ? "closeNow" : "close";
    try {
      this.#channel[end]!(this.closeCode, "", this.closeTimeoutMs);
    } catch (cause) {
      // A channel of the program that throws may never report its end.
      this.#onclose({ code: 1006, reason: "", cause });
    }
  }

  // V8 puts a function that stands in an assignment to a property into old space, where it keeps what it reaches, the whole
  // connection, until the next full collection; functions that are fields live and die young.
  readonly #onbytes = (bytes: Uint8Array): void => {
    const endpoint = this.#endpoint;
    const { authenticating } = endpoint;
    if (this.#behindBytes > MAX_BEHIND_BYTES) this.flush();
    this.#behindBytes += bytes.length;
    this.bytesReceived += bytes.length;
    this.#depth++;
    this.#dispatch(endpoint.receive(bytes, this.#environment.now()));
    this.#depth--;
    if (this.#congested && endpoint.pendingBytes > MAX_UNREAD * this.#maxBufferedBytes) this.destroy(unread());
    // Until SASL is over the program has nothing to add to what a client answers.
    if (authenticating) this.flush();
    else this.wake();
  };
  readonly #onclose = (close: ChannelClose): void => {
    if (this.#over) return;
    this.#over = true;
    this.#environment.clearTimer(this.#timer);
    const endpoint = this.#endpoint;
    this.#dispatch(endpoint.finished ? endpoint.events() : endpoint.disconnect(lost(close, endpoint)));
    this.#ended.resolve(close);
  };
  readonly #tick = (): void => {
    const environment = this.#environment;
    const busy = ++this.#quietTicks < QUIET_TICKS;
    const ticks = ++this.#ticks;
    if (busy && ticks < BUSY_TICKS) this.#soon.then(this.#tick);
    else if (
      (busy || this.#eager >= MAX_EAGER || environment.now() - this.#flushedAt < CLOSE_MS) &&
      environment.endOfTurn(this.#endTurn)
    ) return;
    else if (busy && ticks < MAX_TICKS) this.#soon.then(this.#tick);
    else {
      if (++this.#eager === MANY_EAGER) environment.endOfTurn(this.#endTurn);
      this.#awake = false;
      this.flush();
    }
  };
  readonly #endTurn = (): void => {
    this.#eager = 0;
    this.#awake = false;
    this.flush();
  };

  /** Writes the engine's output. Errors destroy the connection, since no caller could handle them. */
  flush(): void {
    try {
      this.#flushNow();
    } catch (error) {
      this.destroy(internalFault(error));
    }
  }

  #flushNow(): void {
    if (this.#over) return;
    const now = this.#write();
    this.#dispatch(this.#endpoint.events());
    // Even if the peer does not read what is left: the channel bounds the time of its own end.
    if (this.#endpoint.finished) this.#close();
    else this.#armTimer(now);
  }

  // Returns the time, which is not to be read more often than need be.
  #write(): number {
    this.#behindBytes = 0;
    let now = this.#environment.now();
    while (!this.#congested) {
      const bytes = this.#endpoint.transmit(now);
      if (bytes === undefined) break;
      this.#flushedAt = now;
      this.bytesSent += bytes.length;
      this.#channel.send(bytes);
      if (this.#channel.copied === true) giveBlock(bytes);
      if (this.#channel.bufferedAmount > this.#maxBufferedBytes) this.#awaitReady();
      now = this.#environment.now();
    }
    return now;
  }

  #awaitReady(): void {
    this.#congested = true;
    const resume = (): void => {
      this.#congested = false;
      if (!this.#over) this.flush();
    };
    // A channel that has ended reports that by itself.
    this.#channel.ready().then(resume, resume);
  }

  #dispatch(events: EngineEvent[]): void {
    this.#depth++;
    for (let i = 0; i < events.length; i++) {
      try {
        this.#owner.handleEvent(events[i]!, this);
      } catch (error) {
        this.#endpoint.fail(error instanceof AmqpError ? error : internalFault(error));
        events.push(...this.#endpoint.events());
      }
    }
    this.#depth--;
  }

  #armTimer(now: number): void {
    // Timers of a background page run up to a minute late, bytes are dispatched in time: the peer's heartbeats trigger ours.
    if (now >= this.#timerDue) return this.#onTimer();
    const due = this.#endpoint.nextTimeout() ?? Infinity;
    // A deadline that moved later, as each frame moves the idle time-out, is checked when the old timer fires.
    if (due >= this.#timerDue) return;
    this.#environment.clearTimer(this.#timer);
    this.#timerDue = due;
    this.#timer = this.#environment.setTimer(this.#onTimer, due - now);
  }

  readonly #onTimer = (): void => {
    this.#environment.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#timerDue = Infinity;
    this.#dispatch(this.#endpoint.tick(this.#environment.now()));
    this.flush();
  };
}

function lost({ code, reason, cause }: ChannelClose, { handshake, local, remote }: ConnectionEndpoint): TransportError {
  const known = cause instanceof TransportError ? `, ${cause.message}` : "";
  const because = reason === "" ? known : `, reason ${quote(reason, 125)}`;
  // RabbitMQ drops the connection, without a frame, for a virtual host that it does not have.
  const { hostname } = handshake.client && handshake.expects === "amqpFrame" && !remote && local || {};
  const hint = hostname !== undefined
    ? `; does the peer know the "hostname" ${quote(hostname)}?`
    : code === TRY_AGAIN_LATER
    ? "; the peer takes no more now: close connections that nobody needs, or try again later"
    // Over sockets there is no code that says so.
    : handshake.client && handshake.expects === "header" && !remote
    ? "; the peer has said nothing: has it too many connections, or does it speak no AMQP?"
    : "";
  const message = `Cannot go on: connection ended with code ${code}${because}${hint}`;
  return new TransportError("connection-lost", message, { closeCode: code, cause });
}

function unread(): AmqpError {
  return new AmqpError(
    condition.resourceLimitExceeded,
    "Cannot keep connection: peer does not read the answers to what it sends",
  );
}

function internalFault(cause: unknown): AmqpError {
  return new AmqpError(condition.internalError, "Cannot go on: internal fault", { cause });
}
