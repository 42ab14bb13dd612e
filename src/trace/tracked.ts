/**
 * What a tracker knows of a connection: its two sides, its sessions, links and deliveries.
 *
 * @module
 */

/** Which way a frame goes: `"in"` from the peer, `"out"` to it. */
export type Direction = "in" | "out";

/** A frame as the tracker sees it. */
export interface TrackedFrame {
  /** Which way. */
  readonly direction: Direction;
  readonly channel: number;
  /** The performative, undefined in an empty frame. */
  readonly body: FrameBody | undefined;
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
  readonly name: string;
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
  /** Time at which the last side detached, if one has. */
  detachedAt: number | undefined;
  /** Time since which a drain is not answered, if one is not. */
  drainedAt: number | undefined;
}

/** What is known of a session. */
export interface TrackedSession {
  /** Counts the sessions of a connection from 1. */
  readonly id: number;
  /** The channel of each side's frames. */
  readonly channels: Record<Direction, number | undefined>;
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

/** What is known of one side of a connection. */
export interface Side {
  opened: boolean;
  closed: boolean;
  openedAt: number;
  closedAt: number;
  maxFrameSize: number;
  channelMax: number;
  idleTimeOut: number;
  lastAt: number | undefined;
}

/** What the tracker keeps of a session. */
export interface TrackedSessionState extends TrackedSession {
  readonly handles: Record<Direction, Map<number, TrackedLink>>;
  // The last link of each name, for each way that messages go.
  readonly named: Record<Direction, Map<string, TrackedLink>>;
  readonly handleMax: Record<Direction, number>;
  // Next transfer-id of each side, and what the other grants: together they make the window.
  readonly nextOut: Record<Direction, number>;
  readonly endedAt: Record<Direction, number>;
  // Since when there has been no window for transfers of each side, if there is none.
  readonly shutAt: Record<Direction, number | undefined>;
  readonly nextDelivery: Record<Direction, number | undefined>;
  readonly open: Record<Direction, Map<TrackedLink, TrackedDelivery>>;
}

/** What stands for a limit that nobody has set. */
export const UNLIMITED = 0xffff_ffff;
/** Each direction with the other. */
export const BOTH: readonly (readonly [Direction, Direction])[] = [["out", "in"], ["in", "out"]];

/** The other direction. */
export function opposite(way: Direction): Direction {
  return way === "in" ? "out" : "in";
}

/** A link for people: its address, or its name where it has none. */
export function labelOf(link: TrackedLink): string {
  return link.address ?? link.name;
}

/** A side of which nothing has been seen. */
export function newSide(): Side {
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

/** A session that has just been begun. */
export function newSession(id: number, startedAt: number): TrackedSessionState {
  return {
    id,
    startedAt,
    channels: { in: undefined, out: undefined },
    links: new Set(),
    unsettled: { in: new Map(), out: new Map() },
    windows: { in: undefined, out: undefined },
    ended: { in: false, out: false },
    handles: { in: new Map(), out: new Map() },
    named: { in: new Map(), out: new Map() },
    handleMax: { in: UNLIMITED, out: UNLIMITED },
    nextOut: { in: 0, out: 0 },
    endedAt: { in: 0, out: 0 },
    shutAt: { in: undefined, out: undefined },
    nextDelivery: { in: undefined, out: undefined },
    open: { in: new Map(), out: new Map() },
  };
}

/** A link that one side has just attached. */
export function newLink(id: number, of: Pick<TrackedLink, "name" | "session" | "sends" | "startedAt">): TrackedLink {
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
    detachedAt: undefined,
    drainedAt: undefined,
  };
}
