/**
 * Channels with faults, for tests.
 *
 * @module
 */

import { type Environment, systemEnvironment } from "../base/environment.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { encodeComposite } from "../codec/composite.ts";
import { beginFrame, endFrame, type Frame, FrameDecoder } from "../codec/frame.ts";
import { Writer } from "../codec/writer.ts";
import { type Channel, type ChannelClose, checkChannel, Inbound } from "../transport/channel.ts";

/**
 * The faults of a channel. `In` is the direction to this side, `Out` the direction from it; bytes and frames are counted
 * from the beginning, and protocol headers count as bytes, not as frames.
 */
export interface Faults {
  /** Bytes received after which the connection is lost. */
  readonly cutAfterIn?: number | undefined;
  /** Bytes sent after which the connection is lost; those before arrive. */
  readonly cutAfterOut?: number | undefined;
  /** Frames received after which the connection is lost. */
  readonly cutAfterFramesIn?: number | undefined;
  /** Frames sent after which the connection is lost; those before arrive. */
  readonly cutAfterFramesOut?: number | undefined;
  /** Bytes received after which nothing comes in any more, without a close. */
  readonly stallAfterIn?: number | undefined;
  /** Bytes sent after which nothing goes out any more, without a close. */
  readonly stallAfterOut?: number | undefined;
  /** Bytes received after which this side sees the other close, while what this side sends still arrives. */
  readonly halfCloseAfterIn?: number | undefined;
  /** Bytes sent after which the other side sees this side close, which does not know of it. */
  readonly halfCloseAfterOut?: number | undefined;
  /** Milliseconds by which all received bytes are late. */
  readonly delayInMs?: number | undefined;
  /** Milliseconds by which all sent bytes are late. */
  readonly delayOutMs?: number | undefined;
  /** Bytes of each piece into which received bytes are cut. */
  readonly chop?: number | undefined;
  /** Whether received dispositions are dropped: outcomes of this side's messages, and the peer's settlements. */
  readonly dropDispositionsIn?: boolean | undefined;
  /** Whether sent dispositions are dropped. */
  readonly dropDispositionsOut?: boolean | undefined;
  /** Whether received flows give no credit. */
  readonly withholdCreditIn?: boolean | undefined;
  /** Whether sent flows give no credit. */
  readonly withholdCreditOut?: boolean | undefined;
}

const FAULT_KINDS: OptionKinds<Faults> = {
  cutAfterIn: "number",
  cutAfterOut: "number",
  cutAfterFramesIn: "number",
  cutAfterFramesOut: "number",
  stallAfterIn: "number",
  stallAfterOut: "number",
  halfCloseAfterIn: "number",
  halfCloseAfterOut: "number",
  delayInMs: "number",
  delayOutMs: "number",
  chop: "number from 1",
  dropDispositionsIn: "boolean",
  dropDispositionsOut: "boolean",
  withholdCreditIn: "boolean",
  withholdCreditOut: "boolean",
};

/**
 * Checks faults: a test with a fault that does not exist would pass and prove nothing.
 *
 * @throws {TypeError} If a fault does not exist or is of the wrong kind.
 * @throws {RangeError} If a number is below 0, or `chop` below 1.
 */
export function checkFaults(faults: Faults): void {
  checkOptions("make faulty channel", faults, FAULT_KINDS);
}

/**
 * Wraps a channel in faults; it behaves like `channel` until one of them occurs.
 *
 * @throws {TypeError} If a fault does not exist or is of the wrong kind.
 * @throws {RangeError} If a number is below 0, or `chop` below 1.
 *
 * @param environment The timers of the delays. Default: the runtime's.
 *
 * @example A connection that is lost after 100 bytes
 * ```ts
 * import { faulty, ScriptedPeer } from "@webamqp/amqp/testing";
 *
 * const peer = new ScriptedPeer();
 * const channel = faulty(peer.channel, { cutAfterOut: 100 });
 * console.assert(channel.bufferedAmount === 0);
 * ```
 */
export function faulty(channel: Channel, faults: Faults, environment: Environment = systemEnvironment): Channel {
  checkChannel("make faulty channel", channel);
  checkFaults(faults);
  return new FaultyChannel(channel, faults, environment);
}

/** The faults of one direction. */
interface DirectionFaults {
  readonly cutAfter: number | undefined;
  readonly cutAfterFrames: number | undefined;
  readonly stallAfter: number | undefined;
  readonly halfCloseAfter: number | undefined;
  readonly delayMs: number | undefined;
  readonly dropDispositions: boolean | undefined;
  readonly withholdCredit: boolean | undefined;
}

class FaultyChannel extends Inbound implements Channel {
  readonly #channel: Channel;
  readonly #in: Direction;
  readonly #out: Direction;
  readonly #chop: number;
  // Whether the other side has seen this side close.
  #half = false;

  constructor(channel: Channel, faults: Faults, environment: Environment) {
    super();
    this.#channel = channel;
    this.#chop = faults.chop ?? Infinity;
    const cut = (): void => channel.close(1006);
    this.#in = new Direction(environment, {
      cutAfter: faults.cutAfterIn,
      cutAfterFrames: faults.cutAfterFramesIn,
      stallAfter: faults.stallAfterIn,
      halfCloseAfter: faults.halfCloseAfterIn,
      delayMs: faults.delayInMs,
      dropDispositions: faults.dropDispositionsIn,
      withholdCredit: faults.withholdCreditIn,
    }, { pass: (bytes) => this.#cutUp(bytes), cut, halfClose: () => this.end({ code: 1000, reason: "" }) });
    this.#out = new Direction(environment, {
      cutAfter: faults.cutAfterOut,
      cutAfterFrames: faults.cutAfterFramesOut,
      stallAfter: faults.stallAfterOut,
      halfCloseAfter: faults.halfCloseAfterOut,
      delayMs: faults.delayOutMs,
      dropDispositions: faults.dropDispositionsOut,
      withholdCredit: faults.withholdCreditOut,
    }, {
      pass: (bytes) => channel.send(bytes),
      cut,
      halfClose: () => {
        this.#half = true;
        channel.close(1000);
      },
    });
    const onbytes = (bytes: Uint8Array): void => this.#in.take(bytes);
    const onclose = (close: ChannelClose): void => {
      // Late bytes come before the close.
      if (!this.#half) this.#in.after(() => this.end(close));
    };
    Object.assign(channel, { onbytes, onclose });
  }

  get bufferedAmount(): number {
    return this.#channel.bufferedAmount;
  }

  ready(): Promise<void> {
    return this.#channel.ready();
  }

  send(bytes: Uint8Array): void {
    this.#out.take(bytes);
  }

  close(code?: number, reason?: string, timeoutMs?: number): void {
    this.#out.after(() => {
      this.#channel.close(code, reason, timeoutMs);
      // The other side has closed long since; this side learns it now.
      if (this.#half) this.end({ code: 1006, reason: "" });
    });
  }

  #cutUp(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += this.#chop) {
      this.deliver(bytes.subarray(at, Math.min(bytes.length, at + this.#chop)));
    }
  }
}

/** The actions of a direction. */
interface DirectionEnd {
  pass(bytes: Uint8Array): void;
  cut(): void;
  halfClose(): void;
}

class Direction {
  readonly #environment: Environment;
  readonly #faults: DirectionFaults;
  readonly #end: DirectionEnd;
  // Bytes are split into frames only if a fault needs that.
  readonly #frames: Frames | undefined;
  #bytes = 0;
  #ended = false;

  constructor(environment: Environment, faults: DirectionFaults, end: DirectionEnd) {
    this.#environment = environment;
    this.#faults = faults;
    this.#end = end;
    const { cutAfterFrames, dropDispositions, withholdCredit } = faults;
    if (cutAfterFrames !== undefined || dropDispositions || withholdCredit) this.#frames = new Frames(faults);
  }

  take(bytes: Uint8Array): void {
    if (this.#frames === undefined) return this.#pass(bytes);
    for (const unit of this.#frames.cut(bytes)) this.#pass(unit);
    if (this.#frames.count >= (this.#faults.cutAfterFrames ?? Infinity)) this.#finish(() => this.#end.cut());
  }

  /** Calls `call` when all bytes taken so far have passed. */
  after(call: () => void): void {
    const { delayMs } = this.#faults;
    if (delayMs === undefined) call();
    else this.#environment.setTimer(call, delayMs);
  }

  #pass(bytes: Uint8Array): void {
    if (this.#ended) return;
    const { cutAfter = Infinity, stallAfter = Infinity, halfCloseAfter = Infinity } = this.#faults;
    const most = Math.min(cutAfter, stallAfter, halfCloseAfter);
    const part = bytes.subarray(0, most - this.#bytes);
    this.#bytes += bytes.length;
    if (part.length > 0) this.after(() => this.#end.pass(part));
    if (this.#bytes < most) return;
    if (most === cutAfter) this.#finish(() => this.#end.cut());
    else if (most === halfCloseAfter) this.#finish(() => this.#end.halfClose());
    else this.#ended = true;
  }

  #finish(call: () => void): void {
    if (this.#ended) return;
    this.#ended = true;
    this.after(call);
  }
}

/** Splits one direction into frames, and drops or changes some. */
class Frames {
  count = 0;
  readonly #faults: DirectionFaults;
  #kept = new Uint8Array(0);

  constructor(faults: DirectionFaults) {
    this.#faults = faults;
  }

  /** The protocol headers and frames that are complete now. */
  *cut(bytes: Uint8Array): Generator<Uint8Array, void, void> {
    const { cutAfterFrames = Infinity } = this.#faults;
    const all = new Uint8Array(this.#kept.length + bytes.length);
    all.set(this.#kept);
    all.set(bytes, this.#kept.length);
    let at = 0;
    while (all.length - at >= 8 && this.count < cutAfterFrames) {
      const head = new DataView(all.buffer, at, 8).getUint32(0);
      const isHeader = head === PROTOCOL;
      // A malformed frame passes as it is.
      const size = isHeader ? 8 : Math.max(8, head);
      if (all.length - at < size) break;
      const unit = all.subarray(at, at + size);
      at += size;
      if (!isHeader) this.count++;
      const passed = isHeader ? unit : this.#change(unit);
      if (passed !== undefined) yield passed;
    }
    this.#kept = all.slice(at);
  }

  #change(unit: Uint8Array): Uint8Array | undefined {
    const { dropDispositions, withholdCredit } = this.#faults;
    if (!dropDispositions && !withholdCredit) return unit;
    const frame = decode(unit);
    if (dropDispositions && frame?.body?.kind === "disposition") return undefined;
    if (!withholdCredit || frame?.body?.kind !== "flow" || frame.body.linkCredit === undefined) return unit;
    const writer = new Writer();
    const start = beginFrame(writer, 0, frame.channel);
    encodeComposite(writer, { ...frame.body, linkCredit: 0 });
    endFrame(writer, start);
    return writer.take();
  }
}

const PROTOCOL = 0x414d5150;

function decode(unit: Uint8Array): Frame | undefined {
  const decoder = new FrameDecoder({ maxFrameSize: 0xffff_ffff });
  decoder.push(unit);
  try {
    return decoder.frame();
  } catch {
    // The receiver reports the malformed frame.
    return undefined;
  }
}
