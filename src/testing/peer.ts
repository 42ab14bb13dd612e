/**
 * A scripted peer.
 *
 * @module
 */

import { isBytes } from "../base/kinds.ts";
import { checkOptions, type OptionKinds } from "../base/options.ts";
import { quote } from "../base/text.ts";
import { Deferred } from "../base/wait.ts";
import { encodeComposite, print } from "../codec/composite.ts";
import { definitions } from "../codec/definitions.ts";
import { beginFrame, endFrame, FrameDecoder, protocolHeader, type ProtocolId } from "../codec/frame.ts";
import { DecodedMessage, encodeMessage, type Message } from "../codec/message.ts";
import type { Attach, CompositeOf, DeliveryState, Performative, SaslFrameBody, Transfer } from "../codec/types.ts";
import { Writer } from "../codec/writer.ts";
import type { Channel, ChannelClose } from "../transport/channel.ts";
import { channelPair } from "../transport/pair.ts";
import { hexBytes } from "../trace/json.ts";
import { mismatch, type Pattern, shown } from "./match.ts";

/** The kinds of input: a protocol header, a performative, a SASL frame, or an empty frame. */
export type PeerKind = "header" | "empty" | (Performative | SaslFrameBody)["kind"];

/** The fields of a frame by its kind; a header has its protocol id: 0 for AMQP, 3 for SASL. */
export type FrameFields<K extends PeerKind> = K extends "header" ? { id: 0 | 2 | 3 }
  : K extends "empty" ? Record<never, never>
  : Omit<CompositeOf<Exclude<K, "header" | "empty">>, "kind">;

/** The patterns of a frame's fields. */
export type Expected<K extends PeerKind> = { [F in keyof FrameFields<K>]?: Pattern<FrameFields<K>[F]> };

/** A received frame or header. */
export interface PeerFrame {
  /** The kind of the frame. */
  readonly kind: PeerKind;
  /** The channel number. */
  readonly channel: number;
  /** The fields by name. */
  readonly fields: { readonly [name: string]: unknown };
  /** The payload of a transfer. */
  readonly payload: Uint8Array | undefined;
  /** The message of a transfer, if complete. */
  readonly message: DecodedMessage | undefined;
}

/** Options of a {@linkcode ScriptedPeer}. */
export interface ScriptedPeerOptions {
  /** The channel to use. Default: one of a pair, whose other end is {@linkcode ScriptedPeer.channel}. */
  over?: Channel | undefined;
  /** Kinds of frames that the script ignores when it does not expect them. Default: `["empty"]`. */
  ignore?: readonly PeerKind[] | undefined;
}

/**
 * A script that was not followed: the expectation, the frame received, and the trace.
 *
 * @example
 * ```ts
 * import { ScriptError } from "@webamqp/amqp/testing";
 *
 * const error = new ScriptError("Cannot go on: expected attach, end came", ["> begin", "> end"]);
 * console.assert(error.trace.length === 2);
 * ```
 */
export class ScriptError extends Error {
  /** Always `"ScriptError"`. */
  override name = "ScriptError";
  /** All frames, one line each: `>` from the tested peer, `<` to it. */
  readonly trace: readonly string[];
  /** Always false: the script and the peer do not agree. */
  readonly retryable = false;

  /** Joins the message and the trace into one text. */
  constructor(message: string, trace: readonly string[]) {
    super([message, ...trace.map((line) => `  ${line}`)].join("\n"));
    this.trace = trace;
  }
}

type Step =
  | {
    readonly kind: "expect";
    readonly what: PeerKind;
    readonly fields: object;
    readonly answers: ((frame: PeerFrame) => void)[];
  }
  | { readonly kind: "end"; readonly code: number | undefined }
  | { readonly kind: "act"; readonly act: () => void };

/** The reaction to an expected frame; each call adds to it and returns the same object. */
export interface Expectation {
  /** Answers as usual: the same header, open, begin, attach, detach, end or close; SASL outcome ok; an accepted transfer. */
  respond(fields?: { readonly [name: string]: unknown }): Expectation;
  /** Settles a transfer. Default: accepted. */
  settle(state?: DeliveryState): Expectation;
  /** Sends a frame, valid or not, on the channel of the received one unless another is given. */
  send<K extends PeerKind>(kind: K, fields?: Partial<FrameFields<K>>, options?: SendFrameOptions): Expectation;
  /** Sends raw bytes, given as such or in hexadecimal. */
  sendBytes(bytes: Uint8Array | string): Expectation;
  /** Calls a function with the frame. */
  then(call: (frame: PeerFrame) => void): Expectation;
  /** Closes the channel; 1006 looks like a lost connection. Default: 1006. */
  drop(code?: number): Expectation;
}

/** Options of a sent frame. */
export interface SendFrameOptions {
  /** The channel number. Default: 0, or that of the frame being answered. */
  readonly channel?: number | undefined;
  /** The payload of a transfer: bytes, or a message to encode. */
  readonly payload?: Uint8Array | Message | undefined;
}

const FRAME_KINDS: OptionKinds<SendFrameOptions> = {
  channel: "whole number from 0 to 65535",
  payload: "object or Uint8Array",
};

const DONE_MS = 5_000;
// The WebSocket close code for an internal error.
const NOT_FOLLOWED = 1011;

/**
 * A peer that follows a script and checks the frames it receives: a server for a client under test, or the reverse.
 *
 * Expected frames must come in order; frames of {@linkcode ScriptedPeer.send} are sent when all earlier expectations are met.
 * A script that is not followed closes the channel with code 1011 and the fault as its reason, so that the tested side stops
 * waiting; {@linkcode ScriptedPeer.done} throws the full fault.
 *
 * @example
 * ```ts
 * import { connect } from "@webamqp/amqp";
 * import { ScriptedPeer } from "@webamqp/amqp/testing";
 *
 * const peer = new ScriptedPeer();
 * peer.expectOpening();
 * peer.expectClosing();
 * await using connection = await connect(peer.channel);
 * await connection.close();
 * await peer.done();
 * ```
 */
export class ScriptedPeer {
  /** The tested side's end of the channel: `connect(peer.channel)`, or `broker.accept(peer.channel)`. */
  readonly channel: Channel;
  /** The frames and headers received, in order. */
  readonly frames: PeerFrame[] = [];
  readonly #ignored: Set<PeerKind>;
  readonly #script: Step[] = [];
  readonly #trace: string[] = [];
  readonly #decoder = new FrameDecoder({ maxFrameSize: 0xffff_ffff });
  // Waits of `done`.
  #done: Deferred<void> | undefined;
  #over: Channel | undefined;
  #expectsHeader = true;
  #failure: ScriptError | undefined;

  /** Listens at once. */
  constructor(options: ScriptedPeerOptions = {}) {
    checkOptions("make scripted peer", options, { over: "object", ignore: "array of string" });
    const [mine, theirs] = options.over === undefined ? channelPair() : [options.over, options.over];
    this.channel = theirs;
    this.#ignored = new Set(options.ignore ?? ["empty"]);
    this.attach(mine);
  }

  /** Continues over another channel, as after a lost connection; a new exchange of headers is expected there. */
  attach(channel: Channel): void {
    this.#over = channel;
    this.#expectsHeader = true;
    const onbytes = (bytes: Uint8Array): void => this.#receive(bytes);
    const onclose = ({ code }: ChannelClose): void => this.#closed(code);
    Object.assign(channel, { onbytes, onclose });
  }

  /** Makes another pair of channels, and returns the tested side's end. */
  reconnect(): Channel {
    const [mine, theirs] = channelPair();
    this.attach(mine);
    return theirs;
  }

  /** Expects a frame with these fields; others may be anything. */
  expect<K extends PeerKind>(what: K, fields: Expected<K> = {}): Expectation {
    if (what !== "header" && what !== "empty" && !Object.hasOwn(definitions, what)) {
      throw new TypeError(`Cannot expect ${quote(String(what))}: there is no such frame`);
    }
    const answers: ((frame: PeerFrame) => void)[] = [];
    this.#script.push({ kind: "expect", what, fields, answers });
    const add = (answer: (frame: PeerFrame) => void): Expectation => {
      answers.push(answer);
      return expectation;
    };
    const expectation: Expectation = {
      respond: (fields = {}) => add((frame) => this.#respond(frame, fields)),
      settle: (state = { kind: "accepted" }) => add((frame) => this.#settle(frame, state)),
      send: (kind, fields = {}, options = {}) => {
        checkOptions("send frame", options, FRAME_KINDS);
        return add((frame) => this.#write(kind, fields, { channel: frame.channel, ...options }));
      },
      sendBytes: (bytes) => add(() => this.#put(bytes)),
      then: (call) => add(call),
      drop: (code = 1006) => add(() => this.#over!.close(code)),
    };
    return expectation;
  }

  /** Expects and answers a client's opening, up to open: with ANONYMOUS, or without SASL. Default: with. */
  expectOpening(options: { readonly sasl?: boolean } = {}): void {
    checkOptions("expect opening", options, { sasl: "boolean" });
    if (options.sasl ?? true) {
      this.expect("header", { id: 3 }).respond().send("saslMechanisms", { saslServerMechanisms: ["ANONYMOUS"] });
      this.expect("saslInit", { mechanism: "ANONYMOUS" }).respond();
    }
    this.expect("header", { id: 0 }).respond();
    this.expect("open").respond();
  }

  /** Expects a close, and answers it. */
  expectClosing(): void {
    this.expect("close").respond();
  }

  /** Expects the other side to close the channel, with `code` if given. */
  expectEnd(code?: number): void {
    this.#script.push({ kind: "end", code });
  }

  /** Sends a frame when all earlier expectations are met. */
  send<K extends PeerKind>(kind: K, fields: Partial<FrameFields<K>> = {}, options: SendFrameOptions = {}): void {
    checkOptions("send frame", options, FRAME_KINDS);
    this.#act(() => this.#write(kind, fields, options));
  }

  /** Sends raw bytes when all earlier expectations are met; a string is hexadecimal. */
  sendBytes(bytes: Uint8Array | string): void {
    this.#act(() => this.#put(bytes));
  }

  /** Closes the channel when all earlier expectations are met. Default: 1006, a lost connection. */
  drop(code = 1006): void {
    this.#act(() => this.#over!.close(code));
  }

  /** Adds kinds of frames that the script ignores when it does not expect them. */
  ignore(...kinds: PeerKind[]): void {
    for (const kind of kinds) this.#ignored.add(kind);
  }

  /**
   * Waits until the script has ended.
   *
   * @throws {ScriptError} If the script was not followed, or did not end within `timeoutMs` (default 5,000).
   */
  async done(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    checkOptions("end script", options, { timeoutMs: "number" });
    const { timeoutMs = DONE_MS } = options;
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#script.length === 0) return;
    this.#done ??= new Deferred<void>();
    const timer = setTimeout(() => {
      const missing = this.#script.find((step) => step.kind !== "act");
      const what = missing?.kind === "expect" ? expectedText(missing.what, missing.fields) : "the end of the channel";
      this.#fail(`Cannot end script: expected ${what}, nothing came in ${timeoutMs} ms`);
    }, timeoutMs);
    try {
      await this.#done.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #closed(code: number): void {
    this.#trace.push(`- channel closed, code ${code}`);
    const next = this.#script[0];
    if (next?.kind !== "end") return;
    if (next.code !== undefined && next.code !== code) {
      return this.#fail(`Cannot follow script: expected the channel to end with code ${next.code}, but it was ${code}`);
    }
    this.#script.shift();
    this.#advance();
  }

  #act(act: () => void): void {
    this.#script.push({ kind: "act", act });
    this.#advance();
  }

  // Runs the actions before the next expectation.
  #advance(): void {
    for (let next = this.#script[0]; next?.kind === "act"; next = this.#script[0]) {
      this.#script.shift();
      next.act();
    }
    if (this.#script.length === 0) this.#done?.resolve();
  }

  #receive(bytes: Uint8Array): void {
    this.#decoder.push(bytes);
    try {
      for (let frame = this.#next(); frame !== undefined; frame = this.#next()) this.#take(frame);
    } catch (error) {
      this.#fail(`Cannot read what came: ${(error as Error).message}`);
    }
  }

  #next(): PeerFrame | undefined {
    if (this.#expectsHeader) {
      const header = this.#decoder.header();
      if (header === undefined) return undefined;
      this.#expectsHeader = false;
      return { kind: "header", channel: 0, fields: { ...header }, payload: undefined, message: undefined };
    }
    const frame = this.#decoder.frame();
    if (frame === undefined) return undefined;
    const { channel, body, payload } = frame;
    const { kind = "empty", ...fields } = body ?? {};
    return {
      kind: kind as PeerKind,
      channel,
      fields,
      payload,
      message: messageOf(fields as Partial<Transfer>, payload),
    };
  }

  #take(frame: PeerFrame): void {
    this.frames.push(frame);
    this.#trace.push(`> ${frameText(frame)}`);
    if (frame.kind === "saslOutcome") this.#expectsHeader = true;
    const next = this.#script[0];
    if (next?.kind !== "expect") {
      if (!this.#ignored.has(frame.kind)) this.#fail(`Cannot follow script: it is over, but ${frame.kind} came`);
      return;
    }
    const wrong = frame.kind !== next.what ? `${frame.kind} came` : mismatch(frame.fields, next.fields, "");
    if (wrong !== undefined) {
      if (this.#ignored.has(frame.kind)) return;
      return this.#fail(`Cannot follow script: expected ${expectedText(next.what, next.fields)}, but ${wrong}`);
    }
    this.#script.shift();
    for (const answer of next.answers) answer(frame);
    this.#advance();
  }

  #respond(frame: PeerFrame, fields: object): void {
    const { kind, channel } = frame;
    switch (kind) {
      case "header":
        return this.#write("header", { id: frame.fields.id as ProtocolId, ...fields }, {});
      case "saslInit":
      case "saslResponse":
        return this.#write("saslOutcome", { code: "ok", ...fields }, {});
      case "open":
        return this.#write("open", { containerId: "scripted-peer", ...fields }, {});
      case "begin":
        return this.#write("begin", { remoteChannel: channel, ...WINDOWS, ...fields }, { channel });
      case "attach":
        return this.#write("attach", { ...answerTo(frame.fields as unknown as Attach), ...fields }, { channel });
      case "detach":
        return this.#write("detach", {
          handle: frame.fields.handle as number,
          closed: frame.fields.closed === true,
          ...fields,
        }, { channel });
      case "end":
      case "close":
        return this.#write(kind, fields, { channel });
      case "transfer":
        return this.#settle(frame, { kind: "accepted" });
      default:
        throw new TypeError(`Cannot respond: there is no usual answer to ${kind}`);
    }
  }

  #settle(frame: PeerFrame, state: DeliveryState): void {
    const { deliveryId } = frame.fields as Partial<Transfer>;
    const first = deliveryId ?? 0;
    this.#write("disposition", { role: "receiver", first, settled: true, state }, { channel: frame.channel });
  }

  #write<K extends PeerKind>(kind: K, fields: object, { channel = 0, payload }: SendFrameOptions): void {
    if (kind === "header") {
      this.#trace.push(`< header ${shown(fields)}`);
      return this.#over!.send(protocolHeader((fields as { id?: ProtocolId }).id ?? 0));
    }
    // The AMQP header follows the last SASL frame.
    if (kind === "saslOutcome") this.#expectsHeader = true;
    const body = kind === "empty" ? undefined : { kind, ...defaultsOf(kind, fields), ...fields };
    const writer = new Writer();
    const start = beginFrame(writer, kind.startsWith("sasl") ? 1 : 0, channel);
    if (body !== undefined) encodeComposite(writer, body as never);
    if (isBytes(payload)) writer.append(payload);
    else if (payload !== undefined) writer.append(encodeMessage(payload));
    endFrame(writer, start);
    this.#trace.push(`< ${body === undefined ? "empty" : print(body as never)} on channel ${channel}`);
    this.#over!.send(new Uint8Array(writer.take()));
  }

  #put(bytes: Uint8Array | string): void {
    const raw = typeof bytes === "string" ? hexBytes(bytes) : bytes;
    this.#trace.push(`< ${raw.length} bytes`);
    this.#over!.send(new Uint8Array(raw));
  }

  #fail(message: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = new ScriptError(message, [...this.#trace]);
    this.#done?.reject(this.#failure);
    this.#over!.close(NOT_FOLLOWED, message);
  }
}

const WINDOWS = { nextOutgoingId: 0, incomingWindow: 2_048, outgoingWindow: 2_048 };

// Mandatory fields of a frame that the script does not give.
function defaultsOf(kind: PeerKind, fields: object): object {
  switch (kind) {
    case "open":
      return { containerId: "scripted-peer" };
    case "begin":
      return WINDOWS;
    case "flow":
      return { ...WINDOWS, nextIncomingId: 0 };
    case "transfer":
      return "deliveryId" in fields ? { handle: 0, deliveryTag: Uint8Array.of(0), messageFormat: 0 } : { handle: 0 };
    case "attach":
      return {
        name: "scripted",
        handle: 0,
        ...("role" in fields && fields.role === "sender" && { initialDeliveryCount: 0 }),
      };
    default:
      return {};
  }
}

function answerTo({ name, handle, role, source, target }: Attach): object {
  const other = role === "sender" ? "receiver" : "sender";
  return { name, handle, role: other, source, target, ...(other === "sender" && { initialDeliveryCount: 0 }) };
}

function messageOf(
  { more, aborted }: Partial<Transfer>,
  payload: Uint8Array | undefined,
): DecodedMessage | undefined {
  if (payload === undefined || more === true || aborted === true) return undefined;
  try {
    return new DecodedMessage(payload);
  } catch {
    return undefined;
  }
}

function frameText({ kind, channel, fields, payload }: PeerFrame): string {
  if (kind === "header" || kind === "empty") return `${kind} ${shown(fields)}`;
  const bytes = payload === undefined ? "" : ` +${payload.length} bytes`;
  return `${print({ kind, ...fields } as never)} on channel ${channel}${bytes}`;
}

function expectedText(what: PeerKind, fields: object): string {
  const parts = Object.entries(fields).map(([name, pattern]) => {
    return `${name}=${typeof pattern === "function" || pattern instanceof RegExp ? String(pattern) : shown(pattern)}`;
  });
  return parts.length === 0 ? what : `${what}(${parts.join(", ")})`;
}
