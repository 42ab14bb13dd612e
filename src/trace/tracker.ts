/**
 * Follows the frames of one connection: sessions, links, credit, windows, what is unsettled, and what breaks a rule.
 *
 * It sees what both peers say, decides nothing, and takes frames with missing ones before them. Frames may come as decoded or
 * as a trace file holds them.
 *
 * @module
 */

/** Which way a frame goes: `"in"` from the peer, `"out"` to it. */
export type Direction = "in" | "out";

/** A frame as the tracker sees it. */
export interface TrackedFrame {
  /** Which way. */
  readonly direction: Direction;
  /** Its channel. */
  readonly channel: number;
  /** The performative, undefined in an empty frame. */
  readonly body: FrameBody | undefined;
  /** Bytes of payload. */
  readonly payloadBytes: number;
}

/** A performative, or a frame of SASL, as far as the tracker looks into it. */
export interface FrameBody {
  /** Which. */
  readonly kind: string;
  /** Its fields. */
  readonly [field: string]: unknown;
}

/** A rule that a frame breaks, or an error that it tells. */
export interface TraceFault {
  /** The section of the specification, such as `"transport 2.6.7"`. */
  readonly clause: string;
  /** What is wrong, in a line. */
  readonly text: string;
  /** True when a peer says so in the frame itself, false when the tracker found it. */
  readonly told: boolean;
}

/** What is known of a link. */
export interface TrackedLink {
  /** Counts the links of a connection from 1. */
  readonly id: number;
  /** Its name. */
  readonly name: string;
  /** The session it is on. */
  readonly session: TrackedSession;
  /** Which way its messages go. */
  readonly sends: Direction;
  /** The address of the node, once it is known. */
  address: string | undefined;
  /** Which sides have attached and not detached since, by the direction of their frames. */
  readonly attached: Record<Direction, boolean>;
  /** Messages that the sender may still send. */
  credit: number;
  /** The sender's delivery-count. */
  deliveryCount: number;
  /** Whether the receiver wants it drained. */
  drain: boolean;
  /** Messages so far. */
  deliveries: number;
  /** Those of them that are not settled. */
  unsettled: number;
  /** Time since which there has been no credit, if there is none. */
  dryAt: number | undefined;
  /** Time at which the first side attached. */
  readonly startedAt: number;
}

/** What is known of a session. */
export interface TrackedSession {
  /** Counts the sessions of a connection from 1. */
  readonly id: number;
  /** The channel of each side's frames. */
  readonly channels: Record<Direction, number | undefined>;
  /** The links on it. */
  readonly links: Set<TrackedLink>;
  /** Deliveries that are not settled, by id, for each way. */
  readonly unsettled: Record<Direction, Map<number, TrackedDelivery>>;
  /** Transfers that may still go each way. */
  readonly windows: Record<Direction, number | undefined>;
  /** Which sides have ended it. */
  readonly ended: Record<Direction, boolean>;
  /** Time at which it was begun. */
  readonly startedAt: number;
}

/** One message on its way. */
export interface TrackedDelivery {
  /** Its delivery-id. */
  readonly id: number;
  /** Its link. */
  readonly link: TrackedLink;
  /** When its first frame was seen. */
  readonly startedAt: number;
  /** Bytes of payload so far. */
  bytes: number;
  /** Whether its last frame was seen. */
  whole: boolean;
  /** What the receiver has said of it. */
  state: string | undefined;
}

/** What a frame is about, and how things stand after it. */
export interface Observation {
  /** The session, if it is known. */
  readonly session: TrackedSession | undefined;
  /** The link, if the frame names one. */
  readonly link: TrackedLink | undefined;
  /** The deliveries that the frame carries or speaks of. */
  readonly deliveries: readonly TrackedDelivery[];
  /** Rules that it breaks, and errors that it tells. */
  readonly faults: readonly TraceFault[];
}

/** Something that waits for the other side. */
export interface Wait {
  /** Who waits for what, in a line. */
  readonly text: string;
  /** Since when. */
  readonly since: number;
  /** The link that it is about, if it is about one. */
  readonly link: TrackedLink | undefined;
}

interface Side {
  opened: boolean;
  closed: boolean;
  openedAt: number;
  closedAt: number;
  maxFrameSize: number;
  channelMax: number;
  idleTimeOut: number;
  lastAt: number | undefined;
}

interface SessionState extends TrackedSession {
  readonly handles: Record<Direction, Map<number, TrackedLink>>;
  readonly handleMax: Record<Direction, number>;
  // Next transfer-id of each side, and what the other grants: together they make the window.
  readonly nextOut: Record<Direction, number>;
  readonly endedAt: Record<Direction, number>;
  readonly nextDelivery: Record<Direction, number | undefined>;
  readonly open: Record<Direction, Map<TrackedLink, TrackedDelivery>>;
}

const UNLIMITED = 0xffff_ffff;
const MOST_TOLD = 32;

/** Follows one connection. */
export class ConnectionTracker {
  readonly #sides: Record<Direction, Side> = { in: side(), out: side() };
  readonly #byChannel: Record<Direction, Map<number, SessionState>> = { in: new Map(), out: new Map() };
  readonly #sessions = new Set<SessionState>();
  readonly #links = new Set<TrackedLink>();
  readonly #detachedAt = new Map<TrackedLink, number>();
  readonly #drainedAt = new Map<TrackedLink, number>();
  #sessionCount = 0;
  #linkCount = 0;
  #faults: TraceFault[] = [];
  #now = 0;

  /** The sessions that neither side has ended for good. */
  get sessions(): ReadonlySet<TrackedSession> {
    return this.#sessions;
  }

  /** The links that are attached at one side at least. */
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
    const error = body === undefined ? undefined : errorOf(body);
    if (error !== undefined) {
      this.#faults.push({ clause: clauseOf(error.condition), text: told(body!, error), told: true });
    }
    if (body?.kind === "saslOutcome" && body.code !== "ok") {
      this.#fault("security 5.3.3.6", `SASL outcome is ${String(body.code)}`, true);
    }
    return { ...about, faults: this.#faults };
  }

  /** What waits for what, the longest wait first. */
  waits(): Wait[] {
    const waits: Wait[] = [];
    const wait = (since: number, text: string, link?: TrackedLink): void => void waits.push({ since, text, link });
    for (const [way, other] of BOTH) {
      const own = this.#sides[way], theirs = this.#sides[other];
      if (own.opened && !theirs.opened) wait(own.openedAt, `open ${sent(way)} is not answered`);
      if (own.closed && !theirs.closed) wait(own.closedAt, `close ${sent(way)} is not answered`);
    }
    if (this.#sides.in.closed && this.#sides.out.closed) return waits;
    for (const session of this.#sessions) this.#sessionWaits(session, wait);
    for (const link of this.#links) this.#linkWaits(link, wait);
    return waits.sort((a, b) => a.since - b.since);
  }

  #sessionWaits(session: SessionState, wait: (since: number, text: string, link?: TrackedLink) => void): void {
    for (const [way, other] of BOTH) {
      if (session.channels[way] !== undefined && session.channels[other] === undefined) {
        wait(session.startedAt, `begin ${sent(way)} on channel ${session.channels[way]} is not answered`);
      }
      if (session.ended[way] && !session.ended[other]) {
        wait(session.endedAt[way], `end ${sent(way)} on channel ${session.channels[way]} is not answered`);
      }
      if (session.windows[way] === 0) wait(this.#now, `session ${session.id}: no window for transfers ${sent(way)}`);
      const oldest = session.unsettled[way].values().next().value;
      if (oldest !== undefined) {
        const { size } = session.unsettled[way];
        const name = labelOf(oldest.link);
        wait(
          oldest.startedAt,
          oldest.whole
            ? `${size} not settled, the oldest is delivery ${oldest.id} of ${name}`
            : `delivery ${oldest.id} of ${name} is not complete, ${oldest.bytes} bytes so far`,
          oldest.link,
        );
      }
    }
  }

  #linkWaits(link: TrackedLink, wait: (since: number, text: string, link?: TrackedLink) => void): void {
    const name = labelOf(link);
    const { attached } = link;
    if (attached.in && attached.out) {
      if (link.credit <= 0 && link.dryAt !== undefined) wait(link.dryAt, `sender ${name}: no credit`, link);
      const drained = this.#drainedAt.get(link);
      if (drained !== undefined) wait(drained, `receiver ${name}: drain is not answered`, link);
      return;
    }
    const detached = this.#detachedAt.get(link);
    const way = attached.in ? "in" : "out";
    if (detached === undefined) wait(link.startedAt, `attach of ${name} ${sent(way)} is not answered`, link);
    else wait(detached, `detach of ${name} ${sent(way === "in" ? "out" : "in")} is not answered`, link);
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

  #onSession(session: SessionState, frame: TrackedFrame, body: FrameBody, way: Direction): About {
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
    session.windows[opposite(way)] = numberOf(body.incomingWindow);
    this.#byChannel[way].set(channel, session);
    return { session, link: undefined, deliveries: [] };
  }

  #attach(session: SessionState, body: FrameBody, way: Direction): TrackedLink {
    const handle = numberOf(body.handle) ?? 0;
    const name = String(body.name);
    const sends = body.role === "sender" ? way : opposite(way);
    const handles = session.handles[way];
    const most = session.handleMax[opposite(way)];
    if (handle > most) this.#fault("transport 2.7.2", `handle ${handle} is above handle-max ${most}`);
    if (handles.has(handle)) this.#fault("transport 2.7.3", `attach with handle ${handle}, which is in use`);
    let link = [...session.links].find((link) => link.name === name && link.sends === sends && !link.attached[way]);
    const answers = link !== undefined;
    if (link === undefined) {
      link = newLink(++this.#linkCount, { name, session, sends, startedAt: this.#now });
      session.links.add(link);
      this.#links.add(link);
    }
    link.attached[way] = true;
    handles.set(handle, link);
    if (sends === way) {
      const initial = numberOf(body.initialDeliveryCount);
      if (initial === undefined) this.#fault("transport 2.7.3", "sender attaches without initial-delivery-count");
      link.deliveryCount = initial ?? 0;
      // Credit that was granted before counts from here.
      link.credit = Math.max(0, link.credit);
    }
    // The node stands at the side that answers: where the first sends, its target.
    link.address ??= addressOf((body.role === "sender") !== answers ? body.target : body.source);
    this.#noteCredit(link);
    return link;
  }

  #detach(session: SessionState, body: FrameBody, way: Direction): TrackedLink | undefined {
    const link = this.#linkOf(session, body, way);
    if (link === undefined) return undefined;
    session.handles[way].delete(numberOf(body.handle) ?? 0);
    link.attached[way] = false;
    this.#detachedAt.set(link, this.#now);
    this.#drainedAt.delete(link);
    if (!link.attached.in && !link.attached.out) {
      this.#links.delete(link);
      session.links.delete(link);
      for (const unsettled of Object.values(session.unsettled)) {
        for (const [id, delivery] of unsettled) if (delivery.link === link) unsettled.delete(id);
      }
    }
    return link;
  }

  #flow(session: SessionState, body: FrameBody, way: Direction): TrackedLink | undefined {
    const next = numberOf(body.nextIncomingId);
    const window = numberOf(body.incomingWindow);
    if (window !== undefined) {
      const other = opposite(way);
      session.windows[other] = next === undefined ? window : difference(next + window, session.nextOut[other]);
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
        link.credit -= difference(count, link.deliveryCount);
        link.deliveryCount = count;
      }
      if (link.drain && link.credit <= 0) this.#drainedAt.delete(link);
    } else {
      const credit = numberOf(body.linkCredit);
      if (credit !== undefined) link.credit = difference((count ?? link.deliveryCount) + credit, link.deliveryCount);
      link.drain = body.drain === true;
      if (link.drain && link.credit > 0) this.#drainedAt.set(link, this.#now);
      else this.#drainedAt.delete(link);
    }
    this.#noteCredit(link);
    return link;
  }

  #transfer(session: SessionState, frame: TrackedFrame, body: FrameBody, way: Direction): About {
    const link = this.#linkOf(session, body, way);
    session.nextOut[way] = (session.nextOut[way] + 1) >>> 0;
    const window = session.windows[way];
    if (window !== undefined) {
      if (window <= 0) this.#fault("transport 2.5.6", "transfer beyond the session's window");
      session.windows[way] = Math.max(0, window - 1);
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

  #startDelivery(session: SessionState, link: TrackedLink, body: FrameBody, way: Direction): TrackedDelivery {
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
    if (link.drain && link.credit <= 0) this.#drainedAt.delete(link);
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

  #disposition(session: SessionState, body: FrameBody, way: Direction): About {
    // A receiver speaks of what came to it, a sender of what it sent.
    const sent = body.role === "sender" ? way : opposite(way);
    const unsettled = session.unsettled[sent];
    const first = numberOf(body.first) ?? 0;
    const length = difference((numberOf(body.last) ?? first) + 1, first);
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

  #settle(session: SessionState, delivery: TrackedDelivery, way: Direction): void {
    if (session.unsettled[way].get(delivery.id) !== delivery) return;
    session.unsettled[way].delete(delivery.id);
    delivery.link.unsettled--;
  }

  #linkOf(session: SessionState, body: FrameBody, way: Direction): TrackedLink | undefined {
    const handle = numberOf(body.handle) ?? 0;
    const link = session.handles[way].get(handle);
    if (link === undefined) this.#fault("transport 2.6.2", `${body.kind} for handle ${handle}, which is not attached`);
    return link;
  }

  #dropSession(session: SessionState): void {
    this.#sessions.delete(session);
    for (const link of session.links) this.#links.delete(link);
    for (const [way] of BOTH) {
      const channel = session.channels[way];
      if (channel !== undefined && this.#byChannel[way].get(channel) === session) this.#byChannel[way].delete(channel);
    }
  }

  #noteCredit(link: TrackedLink): void {
    if (link.credit > 0) link.dryAt = undefined;
    else link.dryAt ??= this.#now;
  }

  // Who has announced a time-out expects a frame in that time; half as much again is allowed for the way.
  #time(way: Direction, time: number): void {
    const own = this.#sides[way], limit = this.#sides[opposite(way)].idleTimeOut;
    if (limit > 0 && own.opened && own.lastAt !== undefined && time - own.lastAt > limit * 1.5) {
      const gap = Math.round(time - own.lastAt);
      this.#fault("transport 2.4.5", `nothing came for ${gap} ms, idle-time-out is ${limit} ms`);
    }
    own.lastAt = time;
  }

  #fault(clause: string, text: string, told = false): void {
    if (this.#faults.length < MOST_TOLD) this.#faults.push({ clause, text, told });
  }
}

interface About {
  readonly link?: TrackedLink | undefined;
  readonly deliveries?: readonly TrackedDelivery[];
}

const NOTHING = { session: undefined, link: undefined, deliveries: [] };
const BOTH: readonly (readonly [Direction, Direction])[] = [["out", "in"], ["in", "out"]];

function opposite(way: Direction): Direction {
  return way === "in" ? "out" : "in";
}

function sent(way: Direction): string {
  return way === "in" ? "from the peer" : "to the peer";
}

/** A link for people: its address, or its name where it has none. */
export function labelOf(link: TrackedLink): string {
  return link.address ?? link.name;
}

// Serial numbers: the distance from b to a, or 0 where a lies behind, for more may have been sent than was granted.
function difference(a: number, b: number): number {
  return Math.max(0, (a - b) | 0);
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function addressOf(terminus: unknown): string | undefined {
  const address = (terminus as { address?: unknown } | undefined)?.address;
  return typeof address === "string" ? address : undefined;
}

function side(): Side {
  return {
    opened: false,
    closed: false,
    openedAt: 0,
    closedAt: 0,
    maxFrameSize: UNLIMITED,
    channelMax: 0xffff,
    idleTimeOut: 0,
    lastAt: undefined,
  };
}

function newSession(id: number, startedAt: number): SessionState {
  return {
    id,
    startedAt,
    channels: { in: undefined, out: undefined },
    links: new Set(),
    unsettled: { in: new Map(), out: new Map() },
    windows: { in: undefined, out: undefined },
    ended: { in: false, out: false },
    handles: { in: new Map(), out: new Map() },
    handleMax: { in: UNLIMITED, out: UNLIMITED },
    nextOut: { in: 0, out: 0 },
    endedAt: { in: 0, out: 0 },
    nextDelivery: { in: undefined, out: undefined },
    open: { in: new Map(), out: new Map() },
  };
}

function newLink(id: number, of: Pick<TrackedLink, "name" | "session" | "sends" | "startedAt">): TrackedLink {
  return {
    id,
    ...of,
    address: undefined,
    attached: { in: false, out: false },
    credit: 0,
    deliveryCount: 0,
    drain: false,
    deliveries: 0,
    unsettled: 0,
    dryAt: undefined,
  };
}

interface ToldError {
  readonly condition: string;
  readonly description: string | undefined;
}

function errorOf(body: FrameBody): ToldError | undefined {
  const state = body.state as { kind?: string; error?: unknown } | undefined;
  const error = (body.error ?? (body.kind === "disposition" ? state?.error : undefined)) as {
    condition?: unknown;
    description?: unknown;
  } | undefined;
  if (error === undefined || error === null) {
    return state?.kind === "rejected" ? { condition: "amqp:rejected:list", description: undefined } : undefined;
  }
  return {
    condition: String(error.condition),
    description: typeof error.description === "string" ? error.description : undefined,
  };
}

function told(body: FrameBody, { condition, description }: ToldError): string {
  const what = body.kind === "disposition" ? "message rejected" : body.kind;
  return `${what}: ${condition}${description === undefined ? "" : `, ${description}`}`;
}

function clauseOf(condition: string): string {
  if (condition.startsWith("amqp:connection:")) return "transport 2.8.16";
  if (condition.startsWith("amqp:session:")) return "transport 2.8.17";
  if (condition.startsWith("amqp:link:")) return "transport 2.8.18";
  if (condition.startsWith("amqp:transaction:")) return "transactions 4.5.8";
  if (condition === "amqp:rejected:list") return "messaging 3.4.3";
  return condition.startsWith("amqp:") ? "transport 2.8.15" : "transport 2.8.14";
}
