/**
 * The state of a tracked connection: its two sides, its sessions, links and deliveries.
 *
 * @module
 */

/** The direction of a frame: `"in"` from the peer, `"out"` to the peer. */
export type Direction = "in" | "out";

/** A frame as the tracker sees it. */
export interface TrackedFrame {
  readonly direction: Direction;
  readonly channel: number;
  /** The performative, undefined in an empty frame. */
  readonly body: FrameBody | undefined;
  readonly payloadBytes: number;
}

/** A performative, or a SASL frame, as far as the tracker reads it. */
export interface FrameBody {
  /** The kind of the frame, such as `"transfer"`. */
  readonly kind: string;
  /** The fields of the frame. */
  readonly [field: string]: unknown;
}

/** A rule that a frame breaks, or an error that it carries. */
export interface TraceFault {
  /** The section of the specification, such as `"transport 2.6.7"`. */
  readonly clause: string;
  /** The fault, in one line. */
  readonly text: string;
  /** True when a peer reported the fault in the frame itself, false when the tracker found it. */
  readonly reported: boolean;
}

export interface TrackedLink {
  /** The number of the link on its connection, from 1. */
  readonly id: number;
  readonly name: string;
  readonly session: TrackedSession;
  /** The direction of the link's messages. */
  readonly sends: Direction;
  /** The address of the node, once it is known. */
  address: string | undefined;
  /** Sides that have attached and not detached since, by the direction of their frames. */
  readonly attached: Record<Direction, boolean>;
  /** Messages that the sender may still send. */
  credit: number;
  /** The sender's delivery-count. */
  deliveryCount: number;
  /** Whether the receiver asks for a drain. */
  drain: boolean;
  /** Messages so far. */
  deliveries: number;
  /** Messages that are not settled. */
  unsettled: number;
  /** Time since which there has been no credit, if there is none. */
  noCreditSince: number | undefined;
  /** Time at which the first side attached. */
  readonly startedAt: number;
  /** Time at which the last side detached, if one has. */
  detachedAt: number | undefined;
  /** Time since which a drain is unanswered, if one is. */
  drainedAt: number | undefined;
}

export interface TrackedSession {
  /** The number of the session on its connection, from 1. */
  readonly id: number;
  /** The channel of each side's frames. */
  readonly channels: Record<Direction, number | undefined>;
  readonly links: Set<TrackedLink>;
  /** Unsettled deliveries by id, for each direction. */
  readonly unsettled: Record<Direction, Map<number, TrackedDelivery>>;
  /** Transfers that may still go in each direction. */
  readonly windows: Record<Direction, number | undefined>;
  /** Sides that have ended the session. */
  readonly ended: Record<Direction, boolean>;
  /** Time of the first begin. */
  readonly startedAt: number;
}

/** One message on its way. */
export interface TrackedDelivery {
  readonly id: number;
  readonly link: TrackedLink;
  /** Time of the first frame. */
  readonly startedAt: number;
  /** Bytes of payload so far. */
  bytes: number;
  /** Whether the last frame was seen. */
  whole: boolean;
  /** The last state that a disposition named. */
  state: string | undefined;
}

/** The subjects of a frame, in their state after it, and its faults. */
export interface Observation {
  /** The session, if it is known. */
  readonly session: TrackedSession | undefined;
  /** The link, if the frame names one. */
  readonly link: TrackedLink | undefined;
  /** Deliveries that the frame carries or names. */
  readonly deliveries: readonly TrackedDelivery[];
  /** Rules that the frame breaks, and errors that it carries. */
  readonly faults: readonly TraceFault[];
}

/** The state of one side of a connection. */
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

/** The tracker's own state of a session. */
export interface TrackedSessionState extends TrackedSession {
  readonly handles: Record<Direction, Map<number, TrackedLink>>;
  // The last link of each name, by the direction of its messages.
  readonly named: Record<Direction, Map<string, TrackedLink>>;
  readonly handleMax: Record<Direction, number>;
  // The next transfer-id of each side, which makes the window together with the grant of the other.
  readonly nextOut: Record<Direction, number>;
  readonly endedAt: Record<Direction, number>;
  // Time since which the transfers of each side have had no window, if they have none.
  readonly noWindowSince: Record<Direction, number | undefined>;
  readonly nextDelivery: Record<Direction, number | undefined>;
  readonly open: Record<Direction, Map<TrackedLink, TrackedDelivery>>;
}

/** The value of a limit that nobody has set. */
export const UNLIMITED = 0xffff_ffff;
/** Each direction with the other. */
export const BOTH: readonly (readonly [Direction, Direction])[] = [["out", "in"], ["in", "out"]];

export function opposite(way: Direction): Direction {
  return way === "in" ? "out" : "in";
}

/** The name of a link for people: its address, or else its name. */
export function labelOf(link: TrackedLink): string {
  return link.address ?? link.name;
}

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
    noWindowSince: { in: undefined, out: undefined },
    nextDelivery: { in: undefined, out: undefined },
    open: { in: new Map(), out: new Map() },
  };
}

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
    noCreditSince: undefined,
    detachedAt: undefined,
    drainedAt: undefined,
  };
}
