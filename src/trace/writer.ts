/**
 * Traces as JSON Lines: one event a line, close to qlog.
 *
 * The first line tells what follows; each further one is an event with `time` in milliseconds from the start, `name`, and
 * `data`: the connection, the frame with its fields, the bytes of payload, the session and link it belongs to, credit, counts
 * and windows after it, and the rules that it breaks. What happens below AMQP has lines of its own: how a server is dialled, TCP, TLS, the proxy's
 * answers, the WebSocket handshake, how the channel was closed. Payloads are never written; binaries of SASL frames are empty, and
 * what looks like a secret is hidden, by its name or by itself.
 *
 * @example Write what a connection says into a file
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
import { tellingAccepted, tellingDial, type TracedDial } from "./transport.ts";
import type { FrameBody, Observation, TraceFault, TrackedFrame } from "./tracked.ts";
import { ConnectionTracker } from "./tracker.ts";

export type { FrameBody, TraceFault } from "./tracked.ts";
export type { TracedDial } from "./transport.ts";
export type { TransportEvent } from "../transport/channel.ts";

/** A frame with the connection it belongs to, as acceptors and gateways tell it. */
export interface ConnectionFrame extends FrameTrace {
  /** Numbers the connections of an acceptor. */
  readonly connection?: number;
  /** Numbers the relays of a gateway. */
  readonly relay?: number;
}

/** How {@linkcode jsonLines} writes. */
export interface TraceOptions {
  /** What the trace is of, for its readers. */
  title?: string | undefined;
  /** Who wrote it: `"server"` for an acceptor, a broker, a gateway as its clients see it. Default: `"client"`. */
  vantage?: "client" | "server" | "network" | undefined;
  /** Milliseconds of some clock. Default: `performance.now()`. */
  now?: (() => number) | undefined;
  /** When the trace begins. Default: now. */
  start?: Date | undefined;
}

const TRACE_KINDS: OptionKinds<TraceOptions> = {
  title: "string",
  vantage: '"client", "server" or "network"',
  now: "function",
  start: "object",
};

/**
 * Takes frames and what happens below AMQP, and writes a line for each; made by {@linkcode jsonLines}. It is the option `trace`
 * of `connect`, `publish`, `acceptor`, `Broker` and `gateway`.
 */
export interface TraceWriter {
  (frame: ConnectionFrame): void;
  /** Takes what happens below AMQP. */
  transport(event: TransportEvent): void;
  /** Makes of what opens channels what writes of it too: called by `connect` and `publish`; `log` is told when that fails. */
  dialling(dial: TracedDial, log?: LogOption): TracedDial;
  /** Makes of the channel of a client what writes of its end too: called by an acceptor; `log` is told when that fails. */
  accepted(channel: Channel, info: PeerInfo | undefined, connection: number, log?: LogOption): Channel;
}

/** What an event of a trace says. */
export interface TraceData {
  /** Which connection, from 1. */
  connection: number;
  /** The channel. */
  channel?: number;
  /** The performative with its fields; undefined for an empty frame. */
  frame?: FrameBody;
  /** Bytes of payload behind it. */
  payload?: number;
  /** Which session of the connection. */
  session?: number;
  /** Which link, by its address or name. */
  link?: string;
  /** How things stand after it. */
  after?: { [name: string]: number };
  /** Rules that the frame breaks, and errors that it tells. */
  faults?: TraceFault[];
  /** What happened below AMQP. */
  event?: string;
  /** More about that. */
  [detail: string]: unknown;
}

/** One line of a trace after the first. */
export interface TraceEvent {
  /** Milliseconds since the trace began. */
  time: number;
  /** What kind of event. */
  name: "amqp:frame_received" | "amqp:frame_sent" | "transport:event";
  /** What it says. */
  data: TraceData;
}

/** The first line of a trace. */
export interface TraceHead {
  /** Names the format. */
  file_schema: typeof TRACE_SCHEMA;
  /** One event a line. */
  serialization_format: "application/jsonl";
  /** What the trace is of. */
  title: string;
  /** When and by whom it was written. */
  trace: { vantage_point: { type: string }; common_fields: { reference_time: { epoch: string } } };
}

/** The name of this format, in the first line of a trace. */
export const TRACE_SCHEMA = "urn:webamqp:trace:1";

/**
 * Makes a writer of traces; `write` gets each line with its line feed, the first one at once.
 *
 * Frames of several connections may be mixed where they are numbered, as acceptors and gateways do; `connect` does not, so make a
 * writer for each. What a broken connection leaves behind is forgotten with its close, or when
 * 10,000 younger ones have been seen.
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
    dialling: (dial: TracedDial, log?: LogOption) => tellingDial(dial, transport, log),
    accepted: (channel: Channel, info: PeerInfo | undefined, connection: number, log?: LogOption) =>
      tellingAccepted(channel, info, (event) => transport({ ...event, connection }), log),
  });
}

const MOST_TRACKERS = 10_000;

function trackerOf(trackers: Map<number, ConnectionTracker>, connection: number): ConnectionTracker {
  let tracker = trackers.get(connection);
  if (tracker !== undefined) return tracker;
  tracker = new ConnectionTracker();
  trackers.set(connection, tracker);
  if (trackers.size > MOST_TRACKERS) trackers.delete(trackers.keys().next().value!);
  return tracker;
}

// What a trace says of a frame besides its fields.
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

// A frame as it may be shown: readable, and without what looks like a secret.
function shown(body: FrameBody): FrameBody {
  return withoutSecrets(toJson(body, { exact: false }), body.kind.startsWith("sasl")) as unknown as FrameBody;
}
