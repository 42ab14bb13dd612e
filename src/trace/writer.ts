/**
 * Traces as JSON Lines: one event a line, close to qlog.
 *
 * The first line describes the trace; each further one is an event with `time` in milliseconds from the start, `name`, and
 * `data`: the connection, the frame with its fields, the bytes of payload, its session and link, credit, counts and windows
 * after the frame, and the rules that it breaks. Transport events have lines of their own: how a server is dialled, TCP, TLS,
 * the proxy's answers, the WebSocket handshake, how the channel was closed. Payloads are never written; binaries of SASL frames
 * are empty, and values that look like secrets are hidden, by their name or by their content.
 *
 * @example Write the trace of a connection into a file
 * ```ts
 * import { createWriteStream } from "node:fs";
 * import { connect } from "@webamqp/amqp";
 * import { jsonLines } from "@webamqp/amqp/trace";
 *
 * async function main() {
 *   const file = createWriteStream("trace.jsonl");
 *   await using connection = await connect("wss://broker.example/amqp", { trace: jsonLines((line) => file.write(line)) });
 * }
 * ```
 *
 * @module
 */

import { checkFunction, checkOptions, type OptionKinds } from "../base/options.ts";
import type { LogOption } from "../base/log.ts";
import type { FrameTrace } from "../engine/events.ts";
import type { Channel, PeerInfo, TransportEvent } from "../transport/channel.ts";
import { toJson } from "./json.ts";
import { withoutSecrets, withoutSecretText } from "./secrets.ts";
import { tracedAccepted, type TracedDial, tracedDial } from "./transport.ts";
import type { FrameBody, Observation, TraceFault, TrackedFrame } from "./tracked.ts";
import { ConnectionTracker } from "./tracker.ts";

export type { FrameBody, TraceFault } from "./tracked.ts";
export type { TracedDial } from "./transport.ts";
export type { TransportEvent } from "../transport/channel.ts";

/** A frame with its connection, as acceptors and gateways trace it. */
export interface ConnectionFrame extends FrameTrace {
  /** The number of the connection at an acceptor. */
  readonly connection?: number;
  /** The number of the relay at a gateway. */
  readonly relay?: number;
}

/** Options of {@linkcode jsonLines}. */
export interface TraceOptions {
  /** The title of the trace. Default: `"AMQP"`. */
  title?: string | undefined;
  /** The observer: `"server"` for an acceptor, a broker, a gateway as its clients see it. Default: `"client"`. */
  vantage?: "client" | "server" | "network" | undefined;
  /** A clock in milliseconds. Default: `performance.now()`. */
  now?: (() => number) | undefined;
  /** The time at which the trace begins. Default: now. */
  start?: Date | undefined;
}

const TRACE_KINDS: OptionKinds<TraceOptions> = {
  title: "string",
  vantage: '"client", "server" or "network"',
  now: "function",
  start: "object with toISOString",
};

/**
 * Writes a line for each frame and each transport event; made by {@linkcode jsonLines}. Pass it as the option `trace` of
 * `connect`, `publish`, `acceptor`, `Broker` and `gateway`.
 */
export interface TraceWriter {
  (frame: ConnectionFrame): void;
  /** Writes a transport event. */
  transport(event: TransportEvent): void;
  /** Wraps a function that opens channels, to write its steps; for `connect` and `publish`. Failures go to `log`. */
  dialling(dial: TracedDial, log?: LogOption): TracedDial;
  /** Wraps the channel of a client, to write its end; for acceptors. Failures go to `log`. */
  accepted(channel: Channel, info: PeerInfo | undefined, connection: number, log?: LogOption): Channel;
}

/** The data of a trace event. */
export interface TraceData {
  /** The number of the connection, from 1. */
  connection: number;
  /** The channel. */
  channel?: number;
  /** The performative with its fields; undefined for an empty frame. */
  frame?: FrameBody;
  /** Bytes of payload behind the performative. */
  payload?: number;
  /** The number of the session on its connection. */
  session?: number;
  /** The link's address, or else its name. */
  link?: string;
  /** Credit, counts and windows after the frame, by name. */
  after?: { [name: string]: number };
  /** Rules that the frame breaks, and errors that it carries. */
  faults?: TraceFault[];
  /** The name of a transport event. */
  event?: string;
  /** A detail of the transport event. */
  [detail: string]: unknown;
}

/** One line of a trace after the first. */
export interface TraceEvent {
  /** Milliseconds since the trace began. */
  time: number;
  /** The kind of the event. */
  name: "amqp:frame_received" | "amqp:frame_sent" | "transport:event";
  /** The data of the event. */
  data: TraceData;
}

/** The first line of a trace. */
export interface TraceHead {
  /** The name of the format. */
  file_schema: typeof TRACE_SCHEMA;
  /** One event a line. */
  serialization_format: "application/jsonl";
  /** The title of the trace. */
  title: string;
  /** The observer, and the time at which the trace begins. */
  trace: { vantage_point: { type: string }; common_fields: { reference_time: { epoch: string } } };
}

/** The name of this format, in the first line of a trace. */
export const TRACE_SCHEMA = "urn:webamqp:trace:1";

/**
 * Creates a writer of traces; `write` gets each line with its line feed, the first one at once.
 *
 * Frames of several connections may be mixed where they are numbered, as by acceptors and gateways; `connect` does not number
 * them, so make a writer for each connection. The state of a connection is dropped when it closes, or when 10,000 younger ones
 * have been seen.
 *
 * @throws {TypeError} If `write` is no function, or an option does not exist or is of the wrong kind.
 *
 * @example
 * ```ts
 * import { jsonLines } from "@webamqp/amqp/trace";
 *
 * const lines: string[] = [];
 * const trace = jsonLines((line) => lines.push(line), { title: "a test" });
 * trace({ direction: "out", channel: 0, body: { kind: "close" }, payloadBytes: 0 });
 * console.assert(JSON.parse(lines[1]).data.frame.kind === "close");
 * ```
 */
export function jsonLines(write: (line: string) => unknown, options: TraceOptions = {}): TraceWriter {
  checkFunction("trace", "what takes the lines", write);
  checkOptions("trace", options, TRACE_KINDS);
  const { title = "AMQP", vantage = "client", now = () => performance.now(), start = new Date() } = options;
  const begun = now();
  const trackers = new Map<number, ConnectionTracker>();
  const put = (line: TraceHead | TraceEvent): void => void write(`${JSON.stringify(line)}\n`);
  const time = (): number => Math.round((now() - begun) * 1_000) / 1_000;
  put({
    file_schema: TRACE_SCHEMA,
    serialization_format: "application/jsonl",
    title,
    trace: { vantage_point: { type: vantage }, common_fields: { reference_time: { epoch: start.toISOString() } } },
  });
  const frame = (traced: ConnectionFrame): void => {
    const connection = traced.connection ?? traced.relay ?? 1;
    const at = time();
    const tracker = trackerOf(trackers, connection);
    const body = traced.body as unknown as FrameBody | undefined;
    const tracked: TrackedFrame = { ...traced, body };
    const seen = tracker.frame(tracked, at);
    put({
      time: at,
      name: traced.direction === "in" ? "amqp:frame_received" : "amqp:frame_sent",
      data: {
        connection,
        channel: traced.channel,
        ...(body !== undefined && { frame: shown(body) }),
        ...(traced.payloadBytes > 0 && { payload: traced.payloadBytes }),
        ...about(seen),
      },
    });
  };
  const transport = ({ event, connection = 1, ...details }: TransportEvent): void => {
    const shown = Object.entries(details).filter(([, detail]) => detail !== undefined && detail !== "")
      .map(([name, detail]) => [name, typeof detail === "string" ? withoutSecretText(detail) : detail]);
    put({ time: time(), name: "transport:event", data: { connection, event, ...Object.fromEntries(shown) } });
    if (event === "closed") trackers.delete(connection);
  };
  return Object.assign(frame, {
    transport,
    dialling: (dial: TracedDial, log?: LogOption) => tracedDial(dial, transport, log),
    accepted: (channel: Channel, info: PeerInfo | undefined, connection: number, log?: LogOption) =>
      tracedAccepted(channel, info, (event) => transport({ ...event, connection }), log),
  });
}

const MAX_TRACKERS = 10_000;

function trackerOf(trackers: Map<number, ConnectionTracker>, connection: number): ConnectionTracker {
  let tracker = trackers.get(connection);
  if (tracker !== undefined) return tracker;
  tracker = new ConnectionTracker();
  trackers.set(connection, tracker);
  if (trackers.size > MAX_TRACKERS) trackers.delete(trackers.keys().next().value!);
  return tracker;
}

// The parts of an event besides the frame.
function about({ session, link, faults }: Observation): Partial<TraceData> {
  return {
    ...(session !== undefined && { session: session.id }),
    ...(link !== undefined && { link: link.address ?? link.name }),
    ...(session !== undefined && { after: standing({ session, link }) }),
    ...(faults.length > 0 && { faults: [...faults] }),
  };
}

function standing({ session, link }: Pick<Observation, "session" | "link">): { [name: string]: number } {
  const { windows, unsettled } = session!;
  return {
    ...(link !== undefined && { credit: link.credit, deliveryCount: link.deliveryCount, unsettled: link.unsettled }),
    ...(windows.out !== undefined && { windowOut: windows.out }),
    ...(windows.in !== undefined && { windowIn: windows.in }),
    unsettledOut: unsettled.out.size,
    unsettledIn: unsettled.in.size,
  };
}

// A frame for people, without values that look like secrets.
function shown(body: FrameBody): FrameBody {
  return withoutSecrets(toJson(body, { exact: false }), body.kind.startsWith("sasl")) as unknown as FrameBody;
}
