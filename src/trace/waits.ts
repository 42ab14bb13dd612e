/**
 * Waits of the two sides of a connection for each other.
 *
 * @module
 */

import { BOTH, type Direction, labelOf, type Side, type TrackedLink, type TrackedSessionState } from "./tracked.ts";

/** A wait for the other side. */
export interface Wait {
  /** The side that waits, and what for, in one line. */
  readonly text: string;
  /** Time since which the side waits. */
  readonly since: number;
  /** The link concerned, if any. */
  readonly link: TrackedLink | undefined;
}

export interface Standing {
  readonly sides: Readonly<Record<Direction, Side>>;
  readonly sessions: Iterable<TrackedSessionState>;
  readonly links: Iterable<TrackedLink>;
}

/** The waits of a connection, the longest first. */
export function waitsOf({ sides, sessions, links }: Standing): Wait[] {
  const waits: Wait[] = [];
  const wait: AddWait = (since, text, link) => void waits.push({ since, text, link });
  for (const [way, other] of BOTH) {
    const own = sides[way], theirs = sides[other];
    if (own.opened && !theirs.opened) wait(own.openedAt, `open ${sent(way)} is not answered`);
    if (own.closed && !theirs.closed) wait(own.closedAt, `close ${sent(way)} is not answered`);
  }
  if (sides.in.closed && sides.out.closed) return waits;
  for (const session of sessions) sessionWaits(session, wait);
  for (const link of links) linkWaits(link, wait);
  return waits.sort((a, b) => a.since - b.since);
}

type AddWait = (since: number, text: string, link?: TrackedLink) => void;

function sessionWaits(session: TrackedSessionState, wait: AddWait): void {
  for (const [way, other] of BOTH) {
    if (session.channels[way] !== undefined && session.channels[other] === undefined) {
      wait(session.startedAt, `begin ${sent(way)} on channel ${session.channels[way]} is not answered`);
    }
    if (session.ended[way] && !session.ended[other]) {
      wait(session.endedAt[way], `end ${sent(way)} on channel ${session.channels[way]} is not answered`);
    }
    const noWindowSince = session.noWindowSince[way];
    if (noWindowSince !== undefined) wait(noWindowSince, `session ${session.id}: no window for transfers ${sent(way)}`);
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

function linkWaits(link: TrackedLink, wait: AddWait): void {
  const name = labelOf(link);
  const { attached } = link;
  if (attached.in && attached.out) {
    if (link.credit <= 0 && link.noCreditSince !== undefined) {
      wait(link.noCreditSince, `sender ${name}: no credit`, link);
    }
    if (link.drainedAt !== undefined) wait(link.drainedAt, `receiver ${name}: drain is not answered`, link);
    return;
  }
  const way = attached.in ? "in" : "out";
  if (link.detachedAt === undefined) wait(link.startedAt, `attach of ${name} ${sent(way)} is not answered`, link);
  else wait(link.detachedAt, `detach of ${name} ${sent(way === "in" ? "out" : "in")} is not answered`, link);
}

function sent(way: Direction): string {
  return way === "in" ? "from the peer" : "to the peer";
}
