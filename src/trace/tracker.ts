/**
 * Follows the frames of one connection: sessions, links, credit, windows, unsettled deliveries, and broken rules.
 *
 * The tracker sees the frames of both peers, decides nothing, and copes with missing frames. Frames come decoded, or as a trace
 * file holds them.
 *
 * @module
 */

import { reportedFault } from "./errors.ts";
import {
  BOTH,
  type Direction,
  type FrameBody,
  labelOf,
  newLink,
  newSession,
  newSide,
  type Observation,
  opposite,
  type Side,
  type TraceFault,
  type TrackedDelivery,
  type TrackedFrame,
  type TrackedLink,
  type TrackedSession,
  type TrackedSessionState,
  UNLIMITED,
} from "./tracked.ts";
import { type Wait, waitsOf } from "./waits.ts";

const MAX_FAULTS = 32;

export class ConnectionTracker {
  readonly #sides: Record<Direction, Side> = { in: newSide(), out: newSide() };
  readonly #byChannel: Record<Direction, Map<number, TrackedSessionState>> = { in: new Map(), out: new Map() };
  readonly #sessions = new Set<TrackedSessionState>();
  readonly #links = new Set<TrackedLink>();
  #sessionCount = 0;
  #linkCount = 0;
  #faults: TraceFault[] = [];
  #now = 0;

  /** Sessions that at least one side has not ended. */
  get sessions(): ReadonlySet<TrackedSession> {
    return this.#sessions;
  }

  /** Links that are attached on at least one side. */
  get links(): ReadonlySet<TrackedLink> {
    return this.#links;
  }

  /** Takes a frame that was seen at `time`, in milliseconds. */
  frame(frame: TrackedFrame, time: number): Observation {
    const { direction, channel, body } = frame;
    this.#now = time;
    this.#faults = [];
    const about = body === undefined || body.kind.startsWith("sasl")
      ? NOTHING
      : this.#performative(frame, body, direction, channel);
    if (body === undefined || !body.kind.startsWith("sasl")) this.#time(direction, time);
    const fault = body === undefined ? undefined : reportedFault(body);
    if (fault !== undefined) this.#faults.push(fault);
    return { ...about, faults: this.#faults };
  }

  /** The waits of the connection, the longest first. */
  waits(): Wait[] {
    return waitsOf({ sides: this.#sides, sessions: this.#sessions, links: this.#links });
  }

  #performative(frame: TrackedFrame, body: FrameBody, way: Direction, channel: number): Omit<Observation, "faults"> {
    const own = this.#sides[way], theirs = this.#sides[opposite(way)];
    if (own.closed) this.#fault("transport 2.4.3", `${body.kind} after close`);
    if (body.kind === "open") return this.#open(body, way, channel);
    if (!own.opened) this.#fault("transport 2.4.1", `${body.kind} before open`);
    if (body.kind === "close") {
      own.closed = true;
      own.closedAt = this.#now;
      return NOTHING;
    }
    if (theirs.opened && channel > theirs.channelMax) {
      this.#fault("transport 2.7.1", `channel ${channel} is above channel-max ${theirs.channelMax}`);
    }
    if (theirs.opened && frame.payloadBytes + 8 > theirs.maxFrameSize) {
      this.#fault("transport 2.3.1", `frame is larger than max-frame-size ${theirs.maxFrameSize}`);
    }
    if (body.kind === "begin") return this.#begin(body, way, channel);
    const session = this.#byChannel[way].get(channel);
    if (session === undefined) {
      this.#fault("transport 2.5.1", `${body.kind} on channel ${channel}, which has no session`);
      return NOTHING;
    }
    if (session.ended[way]) this.#fault("transport 2.5.3", `${body.kind} after end`);
    const about = this.#onSession(session, frame, body, way);
    return { session, link: about.link, deliveries: about.deliveries ?? [] };
  }

  #onSession(session: TrackedSessionState, frame: TrackedFrame, body: FrameBody, way: Direction): About {
    switch (body.kind) {
      case "attach":
        return { link: this.#attach(session, body, way) };
      case "detach":
        return { link: this.#detach(session, body, way) };
      case "flow":
        return { link: this.#flow(session, body, way) };
      case "transfer":
        return this.#transfer(session, frame, body, way);
      case "disposition":
        return this.#disposition(session, body, way);
      case "end":
        session.ended[way] = true;
        session.endedAt[way] = this.#now;
        if (session.ended.in && session.ended.out) this.#dropSession(session);
    }
    return {};
  }

  #open(body: FrameBody, way: Direction, channel: number): Omit<Observation, "faults"> {
    const own = this.#sides[way];
    if (own.opened) this.#fault("transport 2.4.1", "open for the second time");
    if (channel !== 0) this.#fault("transport 2.7.1", `open on channel ${channel}`);
    own.opened = true;
    own.openedAt = this.#now;
    own.maxFrameSize = numberOf(body.maxFrameSize) ?? UNLIMITED;
    own.channelMax = numberOf(body.channelMax) ?? 0xffff;
    own.idleTimeOut = numberOf(body.idleTimeOut) ?? 0;
    if (own.maxFrameSize < 512) this.#fault("transport 2.7.1", `max-frame-size ${own.maxFrameSize} is below 512`);
    return NOTHING;
  }

  #begin(body: FrameBody, way: Direction, channel: number): Omit<Observation, "faults"> {
    const remote = numberOf(body.remoteChannel);
    if (this.#byChannel[way].has(channel)) {
      this.#fault("transport 2.5.1", `begin on channel ${channel}, which is in use`);
    }
    let session = remote === undefined ? undefined : this.#byChannel[opposite(way)].get(remote);
    if (remote !== undefined && session === undefined) {
      this.#fault("transport 2.7.2", `begin answers channel ${remote}, on which nobody has begun`);
    }
    if (session === undefined) {
      session = newSession(++this.#sessionCount, this.#now);
      this.#sessions.add(session);
    }
    session.channels[way] = channel;
    session.handleMax[way] = numberOf(body.handleMax) ?? UNLIMITED;
    session.nextOut[way] = numberOf(body.nextOutgoingId) ?? 0;
    this.#setWindow(session, opposite(way), numberOf(body.incomingWindow));
    this.#byChannel[way].set(channel, session);
    return { session, link: undefined, deliveries: [] };
  }

  #attach(session: TrackedSessionState, body: FrameBody, way: Direction): TrackedLink {
    const handle = numberOf(body.handle) ?? 0;
    const name = String(body.name);
    const sends = body.role === "sender" ? way : opposite(way);
    const handles = session.handles[way];
    const most = session.handleMax[opposite(way)];
    if (handle > most) this.#fault("transport 2.7.2", `handle ${handle} is above handle-max ${most}`);
    if (handles.has(handle)) this.#fault("transport 2.7.3", `attach with handle ${handle}, which is in use`);
    let link = session.named[sends].get(name);
    const answers = link !== undefined && !link.attached[way];
    if (link === undefined || !answers) {
      link = newLink(++this.#linkCount, { name, session, sends, startedAt: this.#now });
      session.links.add(link);
      session.named[sends].set(name, link);
      this.#links.add(link);
    }
    link.attached[way] = true;
    handles.set(handle, link);
    if (sends === way) {
      const initial = numberOf(body.initialDeliveryCount);
      if (initial === undefined) this.#fault("transport 2.7.3", "sender attaches without initial-delivery-count");
      link.deliveryCount = initial ?? 0;
      // Credit that was granted before the attach counts from here.
      link.credit = Math.max(0, link.credit);
    }
    // The node is on the side that answers: if the first side sends, in its target.
    link.address ??= addressOf((body.role === "sender") !== answers ? body.target : body.source);
    this.#noteCredit(link);
    return link;
  }

  #detach(session: TrackedSessionState, body: FrameBody, way: Direction): TrackedLink | undefined {
    const link = this.#linkOf(session, body, way);
    if (link === undefined) return undefined;
    session.handles[way].delete(numberOf(body.handle) ?? 0);
    link.attached[way] = false;
    link.detachedAt = this.#now;
    link.drainedAt = undefined;
    if (!link.attached.in && !link.attached.out) {
      this.#links.delete(link);
      session.links.delete(link);
      const { named, open, unsettled } = session;
      if (named[link.sends].get(link.name) === link) named[link.sends].delete(link.name);
      for (const [way] of BOTH) {
        open[way].delete(link);
        if (link.unsettled === 0) continue;
        for (const [id, delivery] of unsettled[way]) if (delivery.link === link) unsettled[way].delete(id);
      }
    }
    return link;
  }

  #flow(session: TrackedSessionState, body: FrameBody, way: Direction): TrackedLink | undefined {
    const next = numberOf(body.nextIncomingId);
    const window = numberOf(body.incomingWindow);
    if (window !== undefined) {
      const other = opposite(way);
      this.#setWindow(session, other, next === undefined ? window : ahead(next + window, session.nextOut[other]));
    }
    const handle = body.handle === undefined || body.handle === null ? undefined : body.handle;
    if (handle === undefined) {
      if (body.linkCredit !== undefined && body.linkCredit !== null) {
        this.#fault("transport 2.7.4", "flow with link-credit, but without a handle");
      }
      return undefined;
    }
    const link = this.#linkOf(session, body, way);
    if (link === undefined) return undefined;
    const count = numberOf(body.deliveryCount);
    if (link.sends === way) {
      if (count !== undefined && count !== link.deliveryCount) {
        link.credit -= ahead(count, link.deliveryCount);
        link.deliveryCount = count;
      }
      if (link.drain && link.credit <= 0) link.drainedAt = undefined;
    } else {
      const credit = numberOf(body.linkCredit);
      if (credit !== undefined) link.credit = ahead((count ?? link.deliveryCount) + credit, link.deliveryCount);
      link.drain = body.drain === true;
      if (link.drain && link.credit > 0) link.drainedAt ??= this.#now;
      else link.drainedAt = undefined;
    }
    this.#noteCredit(link);
    return link;
  }

  #transfer(session: TrackedSessionState, frame: TrackedFrame, body: FrameBody, way: Direction): About {
    const link = this.#linkOf(session, body, way);
    session.nextOut[way] = (session.nextOut[way] + 1) >>> 0;
    const window = session.windows[way];
    if (window !== undefined) {
      if (window <= 0) this.#fault("transport 2.5.6", "transfer beyond the session's window");
      this.#setWindow(session, way, Math.max(0, window - 1));
    }
    if (link === undefined) return {};
    if (link.sends !== way) this.#fault("transport 2.7.5", "transfer from the receiver of the link");
    let delivery = session.open[way].get(link);
    const id = numberOf(body.deliveryId);
    if (delivery === undefined) delivery = this.#startDelivery(session, link, body, way);
    else if (id !== undefined && id !== delivery.id) {
      this.#fault("transport 2.7.5", `delivery ${id} begins before delivery ${delivery.id} is complete`);
    }
    delivery.bytes += frame.payloadBytes;
    if (body.settled === true || body.aborted === true) this.#settle(session, delivery, way);
    if (body.more === true && body.aborted !== true) return { link, deliveries: [delivery] };
    delivery.whole = true;
    session.open[way].delete(link);
    return { link, deliveries: [delivery] };
  }

  #startDelivery(session: TrackedSessionState, link: TrackedLink, body: FrameBody, way: Direction): TrackedDelivery {
    const expected = session.nextDelivery[way];
    const id = numberOf(body.deliveryId);
    if (id === undefined) this.#fault("transport 2.7.5", "first transfer of a delivery without delivery-id");
    if (body.deliveryTag === undefined || body.deliveryTag === null) {
      this.#fault("transport 2.7.5", "first transfer of a delivery without delivery-tag");
    }
    if (id !== undefined && expected !== undefined && id !== expected) {
      this.#fault("transport 2.7.5", `delivery-id is ${id}, not ${expected}`);
    }
    if (link.credit <= 0) this.#fault("transport 2.6.7", `transfer on ${labelOf(link)} without credit`);
    session.nextDelivery[way] = ((id ?? expected ?? 0) + 1) >>> 0;
    link.deliveries++;
    link.credit--;
    link.deliveryCount = (link.deliveryCount + 1) >>> 0;
    if (link.drain && link.credit <= 0) link.drainedAt = undefined;
    this.#noteCredit(link);
    const delivery: TrackedDelivery = {
      id: id ?? expected ?? 0,
      link,
      startedAt: this.#now,
      bytes: 0,
      whole: false,
      state: undefined,
    };
    session.unsettled[way].set(delivery.id, delivery);
    session.open[way].set(link, delivery);
    link.unsettled++;
    return delivery;
  }

  #disposition(session: TrackedSessionState, body: FrameBody, way: Direction): About {
    // A receiver's disposition names deliveries that came to it, a sender's those that it sent.
    const sent = body.role === "sender" ? way : opposite(way);
    const unsettled = session.unsettled[sent];
    const first = numberOf(body.first) ?? 0;
    const length = ahead((numberOf(body.last) ?? first) + 1, first);
    const found: TrackedDelivery[] = [];
    if (length <= unsettled.size) {
      for (let i = 0; i < length; i++) {
        const delivery = unsettled.get((first + i) >>> 0);
        if (delivery !== undefined) found.push(delivery);
      }
    } else {
      for (const delivery of unsettled.values()) if (((delivery.id - first) >>> 0) < length) found.push(delivery);
    }
    const state = body.state as { kind?: string; outcome?: { kind?: string } } | undefined;
    for (const delivery of found) {
      delivery.state = state?.outcome?.kind ?? state?.kind ?? delivery.state;
      if (body.settled === true) this.#settle(session, delivery, sent);
    }
    return { link: found[0]?.link, deliveries: found };
  }

  #settle(session: TrackedSessionState, delivery: TrackedDelivery, way: Direction): void {
    if (session.unsettled[way].get(delivery.id) !== delivery) return;
    session.unsettled[way].delete(delivery.id);
    delivery.link.unsettled--;
  }

  #linkOf(session: TrackedSessionState, body: FrameBody, way: Direction): TrackedLink | undefined {
    const handle = numberOf(body.handle) ?? 0;
    const link = session.handles[way].get(handle);
    if (link === undefined) this.#fault("transport 2.6.2", `${body.kind} for handle ${handle}, which is not attached`);
    return link;
  }

  #dropSession(session: TrackedSessionState): void {
    this.#sessions.delete(session);
    for (const link of session.links) this.#links.delete(link);
    for (const [way] of BOTH) {
      const channel = session.channels[way];
      if (channel !== undefined && this.#byChannel[way].get(channel) === session) this.#byChannel[way].delete(channel);
    }
  }

  #setWindow(session: TrackedSessionState, way: Direction, window: number | undefined): void {
    session.windows[way] = window;
    if (window !== 0) session.noWindowSince[way] = undefined;
    else session.noWindowSince[way] ??= this.#now;
  }

  #noteCredit(link: TrackedLink): void {
    if (link.credit > 0) link.noCreditSince = undefined;
    else link.noCreditSince ??= this.#now;
  }

  // A side that announced a time-out expects a frame in that time; half as much again allows for the way.
  #time(way: Direction, time: number): void {
    const own = this.#sides[way], limit = this.#sides[opposite(way)].idleTimeOut;
    if (limit > 0 && own.opened && own.lastAt !== undefined && time - own.lastAt > limit * 1.5) {
      const gap = Math.round(time - own.lastAt);
      this.#fault("transport 2.4.5", `nothing came for ${gap} ms, idle-time-out is ${limit} ms`);
    }
    own.lastAt = time;
  }

  #fault(clause: string, text: string): void {
    if (this.#faults.length < MAX_FAULTS) this.#faults.push({ clause, text, reported: false });
  }
}

interface About {
  readonly link?: TrackedLink | undefined;
  readonly deliveries?: readonly TrackedDelivery[];
}

const NOTHING = { session: undefined, link: undefined, deliveries: [] };
// Distance of serial numbers from b to a; 0 where a lies behind, as more may have been sent than was granted.
function ahead(a: number, b: number): number {
  return Math.max(0, (a - b) | 0);
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function addressOf(terminus: unknown): string | undefined {
  const address = (terminus as { address?: unknown } | undefined)?.address;
  return typeof address === "string" ? address : undefined;
}
