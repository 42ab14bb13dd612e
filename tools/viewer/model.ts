/**
 * A trace as the viewer works with it: events, links, deliveries, and how things stand over time.
 *
 * @module
 */

import { type FrameBody, labelOf, type TraceFault, type TrackedDelivery } from "../../src/trace/tracked.ts";
import { ConnectionTracker } from "../../src/trace/tracker.ts";
import type { Wait } from "../../src/trace/waits.ts";
import { isHead, readLine } from "../../src/trace/reader.ts";
import type { TraceEvent, TraceHead } from "../../src/trace/writer.ts";

/** One line of the trace. */
export interface Item {
  /** Its place. */
  readonly index: number;
  /** Milliseconds. */
  readonly time: number;
  /** Which connection. */
  readonly connection: number;
  /** To the peer, from it, or beside. */
  readonly way: "out" | "in" | "note";
  /** The performative, `"empty"`, or what happened below. */
  readonly kind: string;
  /** The channel. */
  readonly channel: number;
  /** The frame's fields. */
  readonly body: FrameBody | undefined;
  /** Bytes of payload. */
  readonly payload: number;
  /** The session on its connection. */
  readonly session: number | undefined;
  /** The link that it is about. */
  readonly link: Link | undefined;
  /** The deliveries that it is about. */
  readonly deliveries: readonly Delivery[];
  /** Rules that it breaks, and errors that it tells. */
  readonly faults: readonly TraceFault[];
  /** In a few words. */
  readonly summary: string;
  /** How things stand after it. */
  readonly after: Readonly<Record<string, number>>;
  /** Its text, for the search. */
  readonly text: string;
}

/** A link of the trace. */
export interface Link {
  /** Its place among all links. */
  readonly index: number;
  /** Which connection. */
  readonly connection: number;
  /** The session on its connection. */
  readonly session: number;
  /** Its name. */
  readonly name: string;
  /** Which way its messages go. */
  readonly sends: "out" | "in";
  /** Address or name. */
  label: string;
  /** How many frames are about it. */
  frames: number;
}

/** A message on its way. */
export interface Delivery {
  /** Its delivery-id. */
  readonly id: number;
  /** Its link. */
  readonly link: Link;
  /** The frames about it, by their place in the trace. */
  readonly items: number[];
  /** Bytes of payload. */
  bytes: number;
  /** What became of it. */
  state: string | undefined;
  /** When it was settled. */
  settledAt: number | undefined;
}

/** A whole trace. */
export interface Model {
  /** What it is of. */
  readonly title: string;
  /** When it began. */
  readonly start: Date | undefined;
  /** Who wrote it. */
  readonly vantage: string;
  /** Its events. */
  readonly items: readonly Item[];
  /** Its links. */
  readonly links: readonly Link[];
  /** Connections with their sessions and how many frames each has. */
  readonly connections: ReadonlyMap<number, { frames: number; sessions: Map<number, number>; peer: string }>;
  /** Events with faults, by their place. */
  readonly faults: readonly number[];
  /** Lines that could not be read. */
  readonly unreadable: number;
}

/** Reads the lines of a trace. */
export function readModel(text: string): Model {
  const builder = new Builder();
  for (const line of text.split("\n")) if (line.trim() !== "") builder.line(line);
  return builder.model;
}

/** Who waits for what after the event at `index`. */
export function waitsAt(model: Model, index: number): (Wait & { connection: number })[] {
  const trackers = new Map<number, ConnectionTracker>();
  const { items } = model;
  for (let i = 0; i <= index; i++) {
    const { way, connection, channel, body, payload, time } = items[i]!;
    if (way === "note") {
      // Another begins anew.
      if (items[i]!.kind === "closed") trackers.delete(connection);
      continue;
    }
    let tracker = trackers.get(connection);
    if (tracker === undefined) trackers.set(connection, tracker = new ConnectionTracker());
    tracker.frame({ direction: way, channel, body, payloadBytes: payload }, time);
  }
  const waits = [...trackers].flatMap(([connection, tracker]) =>
    tracker.waits().map((wait) => ({ ...wait, connection }))
  );
  return waits.sort((a, b) => a.since - b.since);
}

// Details that speak for themselves.
const NAMELESS = new Set(["url", "error", "detail", "answer"]);

class Builder {
  readonly #items: Item[] = [];
  readonly #links: Link[] = [];
  readonly #linkOf = new Map<object, Link>();
  readonly #deliveryOf = new Map<TrackedDelivery, Delivery>();
  readonly #trackers = new Map<number, ConnectionTracker>();
  readonly #connections = new Map<number, { frames: number; sessions: Map<number, number>; peer: string }>();
  readonly #faults: number[] = [];
  #head: TraceHead | undefined;
  #unreadable = 0;

  get model(): Model {
    const start = new Date(this.#head?.trace?.common_fields?.reference_time?.epoch ?? NaN);
    return {
      title: String(this.#head?.title ?? "Trace"),
      start: Number.isNaN(start.getTime()) ? undefined : start,
      vantage: this.#head?.trace?.vantage_point?.type ?? "client",
      items: this.#items,
      links: this.#links,
      connections: this.#connections,
      faults: this.#faults,
      unreadable: this.#unreadable,
    };
  }

  line(line: string): void {
    const read = readLine(line);
    try {
      if (read === undefined) this.#unreadable++;
      else if (isHead(read)) this.#head ??= read;
      else this.#event(read, line);
    } catch {
      // Its fields are not of their types.
      this.#unreadable++;
    }
  }

  #event({ time, name, data }: TraceEvent, line: string): void {
    const { connection = 1, channel = 0, frame, payload = 0 } = data;
    const index = this.#items.length;
    const known = this.#connections.get(connection) ?? { frames: 0, sessions: new Map(), peer: "" };
    this.#connections.set(connection, known);
    const text = line.toLowerCase();
    if (data.event !== undefined) {
      const { event, connection: _, ...more } = data;
      const summary = Object.entries(more).map(([name, detail]) => NAMELESS.has(name) ? detail : `${name} ${detail}`)
        .join(" ");
      const failed = event === "failed" || data.error !== undefined;
      const faults = failed ? [{ clause: "transport", text: `${event}: ${summary}`, reported: true }] : [];
      if (failed) this.#faults.push(index);
      if (event === "closed") this.#trackers.delete(connection);
      this.#items.push({ ...BESIDE, index, time, connection, kind: event, channel, payload, faults, summary, text });
      return;
    }
    known.frames++;
    let tracker = this.#trackers.get(connection);
    if (tracker === undefined) this.#trackers.set(connection, tracker = new ConnectionTracker());
    const way = name === "amqp:frame_sent" ? "out" as const : "in" as const;
    const seen = tracker.frame({ direction: way, channel, body: frame, payloadBytes: payload }, time);
    if (frame?.kind === "open" && way === "in") known.peer = String(frame.containerId ?? "");
    if (seen.session !== undefined) {
      known.sessions.set(seen.session.id, (known.sessions.get(seen.session.id) ?? 0) + 1);
    }
    const link = seen.link && this.#link(seen.link, connection, seen.link.session.id);
    if (link !== undefined && seen.link !== undefined) {
      link.label = labelOf(seen.link);
      link.frames++;
    }
    const deliveries = seen.deliveries.map((tracked) => this.#delivery(tracked, connection));
    deliveries.forEach((delivery, i) => {
      const tracked = seen.deliveries[i]!;
      delivery.items.push(index);
      delivery.bytes = tracked.bytes;
      delivery.state = tracked.state ?? delivery.state;
      if (frame?.settled === true) delivery.settledAt ??= time;
    });
    if (seen.faults.length > 0) this.#faults.push(index);
    const { session } = seen;
    this.#items.push({
      index,
      time,
      connection,
      way,
      kind: frame?.kind ?? "empty",
      channel,
      body: frame,
      payload,
      session: session?.id,
      link,
      deliveries,
      faults: seen.faults,
      summary: summaryOf(frame, payload, deliveries),
      after: {
        ...(seen.link !== undefined && {
          credit: seen.link.credit,
          deliveries: seen.link.deliveries,
          unsettled: seen.link.unsettled,
        }),
        ...(session?.windows.out !== undefined && { windowOut: session.windows.out }),
        ...(session?.windows.in !== undefined && { windowIn: session.windows.in }),
      },
      text,
    });
  }

  #link(tracked: { name: string; sends: "in" | "out" }, connection: number, session: number): Link {
    let link = this.#linkOf.get(tracked);
    if (link === undefined) {
      const { name, sends } = tracked;
      link = { index: this.#links.length, connection, session, name, sends, label: name, frames: 0 };
      this.#linkOf.set(tracked, link);
      this.#links.push(link);
    }
    return link;
  }

  #delivery(tracked: TrackedDelivery, connection: number): Delivery {
    let delivery = this.#deliveryOf.get(tracked);
    if (delivery === undefined) {
      const link = this.#link(tracked.link, connection, tracked.link.session.id);
      delivery = { id: tracked.id, link, items: [], bytes: 0, state: undefined, settledAt: undefined };
      this.#deliveryOf.set(tracked, delivery);
    }
    return delivery;
  }
}

const BESIDE = {
  way: "note" as const,
  body: undefined,
  session: undefined,
  link: undefined,
  deliveries: [],
  after: {},
};

function summaryOf(frame: FrameBody | undefined, payload: number, deliveries: readonly Delivery[]): string {
  if (frame === undefined) return "keep-alive";
  const flags = (names: string[]): string => names.filter((name) => frame[name] === true).join(" ");
  const terminus = (value: unknown): string => {
    const { address, dynamic, kind } = (value ?? {}) as { address?: string; dynamic?: boolean; kind?: string };
    return address ?? (dynamic ? "(dynamic)" : kind === "coordinator" ? "(coordinator)" : "(none)");
  };
  const error = (frame.error as { condition?: string } | undefined)?.condition ?? "";
  switch (frame.kind) {
    case "open":
      return `${frame.containerId ?? ""}`;
    case "attach":
      return `${frame.role} ${terminus(frame.source)} → ${terminus(frame.target)}`;
    case "flow":
      return frame.handle === undefined
        ? `window ${frame.incomingWindow ?? "?"}`
        : `credit ${frame.linkCredit ?? "?"} ${flags(["drain", "echo"])}`.trim();
    case "transfer":
      return `#${deliveries[0]?.id ?? "?"} ${bytesText(payload)} ${flags(["settled", "more", "aborted"])}`.trim();
    case "disposition": {
      const { first, last = first } = frame;
      const state = frame.state as { kind?: string; outcome?: { kind?: string } } | undefined;
      const range = first === last ? `#${first}` : `#${first}–${last}`;
      return `${range} ${state?.outcome?.kind ?? state?.kind ?? ""} ${flags(["settled"])}`.replace(/ +/g, " ").trim();
    }
    case "saslMechanisms":
      return [frame.saslServerMechanisms].flat().join(" ");
    case "saslInit":
      return String(frame.mechanism);
    case "saslOutcome":
      return String(frame.code);
    default:
      return error;
  }
}

/** A number of bytes for people. */
export function bytesText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A time for people. */
export function timeText(ms: number): string {
  if (ms < 1) return `${(ms * 1_000).toFixed(0)} µs`;
  if (ms < 1_000) return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
  return ms < 60_000
    ? `${(ms / 1_000).toFixed(2)} s`
    : `${Math.floor(ms / 60_000)} min ${((ms % 60_000) / 1_000).toFixed(0)} s`;
}
