/**
 * Two connection endpoints back to back in virtual time.
 *
 * Bytes travel in pieces of any size, with latency, and the clock moves only when a test says so, so that every run is the
 * same.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { ConnectionEndpoint } from "../../src/engine/connection.ts";
import type { EngineEvent, FrameTrace } from "../../src/engine/events.ts";
import type { AttachOptions } from "../../src/engine/link.ts";
import type { ReceiverEndpoint } from "../../src/engine/receiver.ts";
import type { SenderEndpoint } from "../../src/engine/sender.ts";
import type { SessionEndpoint, SessionOptions } from "../../src/engine/session.ts";
import type { Performative, SaslFrameBody } from "../../src/codec/types.ts";
import { accept } from "../../src/engine/accept.ts";
import { attachLink, endpointOf, type EndpointOptions, linksOf } from "./endpoint.ts";
import { type Random, test } from "../harness.ts";

/** The size of pieces: fixed, whole, or random. */
export type Cut = number | "whole" | Random;

/** The settings of one run of a scenario. */
export interface Settings {
  /** The size of pieces. */
  readonly cut: Cut;
  /** The first transfer ids, delivery ids and delivery counts. */
  readonly firstId: number;
}

/** Registers a scenario: run with pieces of one byte, of three, whole, and with ids that wrap. */
export function scenario(name: string, body: (settings: Settings) => void): void {
  test(name, () => {
    for (const firstId of [0, 0xfffffffe]) {
      for (const cut of [1, 3, "whole"] as const) body({ cut, firstId });
    }
  });
}

/** Bytes in pieces, each somewhere inside a larger buffer of other bytes. */
export function pieces(bytes: Uint8Array, cut: Cut): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = cut === "whole" ? bytes.length : typeof cut === "number" ? cut : 1 + cut.int(1 + cut.int(600));
    const part = bytes.subarray(at, at + length);
    const dirty = new Uint8Array(part.length + 5).fill(0xa5);
    dirty.set(part, 3);
    found.push(dirty.subarray(3, 3 + part.length));
    at += length;
  }
  return found;
}

/** A frame in the trace of either side. */
export interface SeenFrame {
  readonly direction: "in" | "out";
  readonly channel: number;
  readonly body: Performative | SaslFrameBody | undefined;
  readonly payloadBytes: number;
}

type EventOf<K extends EngineEvent["kind"]> = Extract<EngineEvent, { kind: K }>;
type BodyOf<K extends string> = Extract<Performative | SaslFrameBody, { kind: K }>;

/** One end of a pair: the endpoint, its events, and the frames that it wrote and read. */
export class Side {
  readonly endpoint: ConnectionEndpoint;
  /** The events not taken yet. */
  events: EngineEvent[] = [];
  /** All frames, both ways. */
  readonly frames: SeenFrame[] = [];
  /** Called with every event as it happens. */
  onevent: (event: EngineEvent) => void = acceptLinks;
  /** Whether the transport has ended. */
  lost = false;
  /** Bytes in flight to this side. */
  readonly arriving: { at: number; bytes: Uint8Array }[] = [];

  constructor(options: EndpointOptions) {
    const trace = (frame: FrameTrace): void => {
      this.frames.push(frame);
      options.trace?.(frame);
    };
    this.endpoint = endpointOf({ ...options, trace });
  }

  /** Dispatches events, including those that their handlers cause. */
  dispatch(events: EngineEvent[]): void {
    for (; events.length > 0; events = this.endpoint.events()) {
      for (const event of events) {
        this.events.push(event);
        this.onevent(event);
      }
    }
  }

  /** Removes and returns the events of one kind so far. */
  take<K extends EngineEvent["kind"]>(kind: K): EventOf<K>[] {
    const taken = this.events.filter((event): event is EventOf<K> => event.kind === kind);
    this.events = this.events.filter((event) => event.kind !== kind);
    return taken;
  }

  /** Removes and returns the only event of a kind. */
  one<K extends EngineEvent["kind"]>(kind: K): EventOf<K> {
    const taken = this.take(kind);
    assertEquals(taken.length, 1, `events "${kind}"`);
    return taken[0]!;
  }

  /** The bodies of one kind that this side has sent. */
  sent<K extends (Performative | SaslFrameBody)["kind"]>(kind: K): BodyOf<K>[] {
    return this.frames.filter(({ direction, body }) => direction === "out" && body?.kind === kind)
      .map(({ body }) => body as BodyOf<K>);
  }
}

export function acceptLinks(event: EngineEvent): void {
  if (event.kind === "attachRequested" && event.link.state === "attachReceived") accept(event.link);
}

export interface PairOptions {
  readonly client?: Partial<EndpointOptions>;
  readonly server?: Partial<EndpointOptions>;
  readonly latencyMs?: number;
  readonly flushBytes?: number;
}

/** A client and a server back to back. */
export class Pair {
  /** The side that opened. */
  readonly client: Side;
  /** The side that was opened. */
  readonly server: Side;
  /** Virtual time in milliseconds. */
  now = 0;

  readonly #settings: Settings;
  readonly #options: PairOptions;

  /** Makes both endpoints; nothing is sent yet. */
  constructor(settings: Settings, options: PairOptions = {}) {
    this.#settings = settings;
    this.#options = options;
    this.client = new Side({ role: "client", containerId: "client", ...options.client });
    this.server = new Side({
      role: "server",
      containerId: "server",
      ...options.server,
      session: { initialOutgoingId: settings.firstId, ...options.server?.session },
    });
  }

  /** Opens the connection and runs until nothing is left to do. */
  static opened(settings: Settings, options: PairOptions = {}): Pair {
    const pair = new Pair(settings, options);
    pair.client.endpoint.open();
    pair.run();
    assertEquals(pair.client.one("opened").open.containerId, "server");
    assertEquals(pair.server.one("opened").open.containerId, "client");
    return pair;
  }

  /** Begins a session from the client. */
  begin(options: SessionOptions = {}): SessionEndpoint {
    return this.client.endpoint.begin({ initialOutgoingId: this.#settings.firstId, ...options });
  }

  /** Attaches a sender at the client, and returns it with the server's receiver. */
  sender(session: SessionEndpoint, options: Partial<AttachOptions> = {}): [SenderEndpoint, ReceiverEndpoint] {
    const link = attachLink(session, {
      name: "link",
      source: { kind: "source" },
      target: { kind: "target" },
      initialDeliveryCount: this.#settings.firstId,
      ...options,
      role: "sender",
    });
    this.run();
    return [link, this.#counterpart(link.name, "receiver")];
  }

  /** Attaches a receiver at the client, and returns it with the server's sender. */
  receiver(session: SessionEndpoint, options: Partial<AttachOptions> = {}): [ReceiverEndpoint, SenderEndpoint] {
    const { onevent } = this.server;
    this.server.onevent = (event) => {
      if (event.kind === "attachRequested") accept(event.link, { initialDeliveryCount: this.#settings.firstId });
      else onevent(event);
    };
    const link = attachLink(session, {
      name: "link",
      source: { kind: "source" },
      target: { kind: "target" },
      ...options,
      role: "receiver",
    });
    this.run();
    this.server.onevent = onevent;
    return [link, this.#counterpart(link.name, "sender")];
  }

  /** Moves bytes, and time as far as latency needs, until nothing is left to do. */
  run(): void {
    for (let rounds = 0; this.#step(); rounds++) assert(rounds < 1_000_000, "the two ends never come to rest");
  }

  /** Advances time: bytes arrive and timers fire when they are due. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (let rounds = 0;; rounds++) {
      assert(rounds < 1_000_000, "timers never come to rest");
      this.#transmit();
      const next = Math.min(
        this.#arrival(),
        ...this.#sides().map(({ endpoint }) => endpoint.nextTimeout() ?? Infinity),
      );
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.#deliver();
      for (const side of this.#sides()) {
        if ((side.endpoint.nextTimeout() ?? Infinity) <= this.now) side.dispatch(side.endpoint.tick(this.now));
      }
    }
    this.now = end;
  }

  /** Cuts the connection: bytes in flight are lost. */
  lose(cause: Error = new Error("lost")): void {
    for (const side of this.#sides()) {
      side.arriving.length = 0;
      side.lost = true;
      side.dispatch(side.endpoint.disconnect(cause));
    }
  }

  /** Holds back the bytes in flight to one side; returns a function that releases them. */
  hold(side: Side): () => void {
    this.#held.add(side);
    return () => {
      this.#held.delete(side);
      this.run();
    };
  }
  readonly #held = new Set<Side>();

  #step(): boolean {
    const sent = this.#transmit();
    const arrival = this.#arrival();
    if (arrival !== Infinity) this.now = Math.max(this.now, arrival);
    return this.#deliver() || sent;
  }

  #transmit(): boolean {
    let any = false;
    for (const side of this.#sides()) {
      const peer = side === this.client ? this.server : this.client;
      for (;;) {
        const bytes = side.endpoint.transmit(this.now, this.#options.flushBytes);
        if (bytes === undefined) break;
        assert(bytes.length > 0, "nothing was transmitted");
        any = true;
        if (side.lost) continue;
        const at = this.now + (this.#options.latencyMs ?? 0);
        for (const piece of pieces(bytes, this.#settings.cut)) peer.arriving.push({ at, bytes: piece });
      }
      side.dispatch(side.endpoint.events());
    }
    return any;
  }

  #deliver(): boolean {
    let any = false;
    for (const side of this.#sides()) {
      if (this.#held.has(side)) continue;
      while (side.arriving.length > 0 && side.arriving[0]!.at <= this.now) {
        any = true;
        side.dispatch(side.endpoint.receive(side.arriving.shift()!.bytes, this.now));
      }
    }
    return any;
  }

  #arrival(): number {
    const arrivals = this.#sides().filter((side) => !this.#held.has(side)).map(({ arriving }) => arriving[0]?.at);
    return Math.min(Infinity, ...arrivals.filter((at) => at !== undefined));
  }

  #sides(): [Side, Side] {
    return [this.client, this.server];
  }

  #counterpart(name: string, role: "receiver"): ReceiverEndpoint;
  #counterpart(name: string, role: "sender"): SenderEndpoint;
  #counterpart(name: string, role: "receiver" | "sender"): ReceiverEndpoint | SenderEndpoint {
    for (const session of this.server.endpoint.sessions()) {
      for (const link of linksOf(session)) if (link.name === name && link.role === role) return link;
    }
    throw new Error(`the server has no ${role} "${name}"`);
  }
}

/** The delivery tag of a number. */
export function tag(n: number): Uint8Array {
  return Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
}

/** A payload whose bytes show their places. */
export function payload(length: number, salt = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + salt) & 0xff);
}
