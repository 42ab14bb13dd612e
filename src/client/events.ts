/**
 * What happens to a connection: events, kept until the program asks for them, and counts.
 *
 * @module
 */

import { abortable, Deferred } from "../base/wait.ts";
import type { DeliveryState, Open } from "../codec/types.ts";
import type { Interruption, Link } from "./link.ts";
import type { LinkResumed } from "./recovery.ts";

/** Where a connection stands. */
export type ConnectionState = "connecting" | "open" | "interrupted" | "closing" | "closed";

/** Something that happened to a connection as a whole. */
export type ConnectionEvent =
  /** The peer has opened it; `remote` is what it said of itself. */
  | { readonly kind: "opened"; readonly remote: Open }
  /** What carried it is lost; it is made anew. `retryable` is that of `cause`. */
  | { readonly kind: "interrupted"; readonly cause: Error; readonly retryable: boolean }
  /** The next attempt begins after `delayMs` milliseconds; `url` is without user info and query, which may hold secrets. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly delayMs: number; readonly url: string }
  /**
   * The peer has opened it again, and sessions and links are on their way: `resent` messages that had no outcome go out
   * again, `lost` had none and do not, `redelivered` were received, but not settled, and will come again.
   */
  | {
    readonly kind: "resumed";
    readonly remote: Open;
    readonly resent: number;
    readonly lost: number;
    readonly redelivered: number;
  }
  /** A link that takes up what was not settled was attached again, and what was not settled is on its way, or was in vain. */
  | { readonly kind: "linkResumed"; readonly link: Link } & LinkResumed
  /** A link has ended with an error, while the connection goes on. */
  | { readonly kind: "linkLost"; readonly link: Link; readonly error: Error }
  /** It has ended; `error` is absent after an orderly close of this side. */
  | { readonly kind: "closed"; readonly error: Error | undefined };

/** What a connection has done so far, over all that carried it. */
export interface ConnectionStats {
  /** Messages that were sent and have an outcome, or were sent settled. */
  sent: number;
  /** Of those, the accepted ones. */
  accepted: number;
  /** Of those, the rejected ones. */
  rejected: number;
  /** Of those, the released ones. */
  released: number;
  /** Of those, the ones handed back modified. */
  modified: number;
  /** Messages that found no credit when they were sent, and had to wait. */
  creditWaits: number;
  /** Messages that were received. */
  received: number;
  /** Times that it was made anew. */
  reconnects: number;
  /** Bytes of AMQP that were sent. */
  bytesSent: number;
  /** Bytes of AMQP that were received. */
  bytesReceived: number;
}

/** Events that are kept for a program that does not ask for them; of more the oldest go. */
export const MAX_EVENTS = 1_000;

/** Events between their happening and their being asked for. */
export class EventQueue {
  readonly #events: ConnectionEvent[] = [];
  #arrived = new Deferred<void>();

  /** Adds one; of attempts that nobody has asked for only the last is kept. */
  push(event: ConnectionEvent): void {
    const events = this.#events;
    if (event.kind === "reconnecting" && events.at(-1)?.kind === "reconnecting") events.pop();
    if (events.length >= MAX_EVENTS) events.shift();
    events.push(event);
    this.#arrived.resolve();
  }

  /** Hands them out, up to and with the end; `leave` is called when nobody asks any more. */
  async *iterate(signal: AbortSignal | undefined, leave: () => void): AsyncGenerator<ConnectionEvent, void, void> {
    try {
      for (;;) {
        await abortable(this.#arrived.promise, signal);
        const event = this.#events.shift();
        if (event === undefined) this.#arrived = new Deferred<void>();
        else yield event;
        if (event?.kind === "closed") return;
      }
    } finally {
      leave();
    }
  }
}

/** What has happened to one connection, over all that carried it. */
export class ConnectionHistory {
  /** What it has done so far, but for what its present attachment counts. */
  readonly stats: ConnectionStats = {
    sent: 0,
    accepted: 0,
    rejected: 0,
    released: 0,
    modified: 0,
    creditWaits: 0,
    received: 0,
    reconnects: 0,
    bytesSent: 0,
    bytesReceived: 0,
  };
  /** Whether the peer has opened it once. */
  opened = false;
  readonly #queues = new Set<EventQueue>();
  // What becomes of messages that were in motion when something was lost.
  #returning = { resent: 0, lost: 0, redelivered: 0 };

  /** Tells those who listen. */
  tell(event: ConnectionEvent): void {
    for (const queue of this.#queues) queue.push(event);
  }

  /** What happens from now on; nothing but its end with `error` once it is over. */
  listen(signal: AbortSignal | undefined, over: boolean, error: Error | undefined): ReturnType<EventQueue["iterate"]> {
    const queue = new EventQueue();
    if (over) queue.push({ kind: "closed", error });
    else this.#queues.add(queue);
    return queue.iterate(signal, () => this.#queues.delete(queue));
  }

  /** Counts the messages of a link that nothing carries any more. */
  handleInterrupted({ resent = 0, lost = 0, redelivered = 0 }: Interruption): void {
    const sum = this.#returning;
    sum.resent += resent;
    sum.lost += lost;
    sum.redelivered += redelivered;
  }

  /** Told that the peer has opened it, once more or for the first time. */
  handleOpened(remote: Open): void {
    if (this.opened) this.stats.reconnects++;
    this.tell(this.opened ? { kind: "resumed", remote, ...this.#returning } : { kind: "opened", remote });
    this.#returning = { resent: 0, lost: 0, redelivered: 0 };
    this.opened = true;
  }

  /** Told the outcome of a message that was sent. */
  handleOutcome(state: DeliveryState | undefined): void {
    const kind = state?.kind === "transactionalState" ? state.outcome?.kind : state?.kind;
    if (kind === undefined || kind === "declared" || !(kind in this.stats)) return;
    this.stats.sent++;
    this.stats[kind as "accepted" | "rejected" | "released" | "modified"]++;
  }

  /** Told that an attachment is gone, with what it has counted. */
  handleDetached({ bytesSent, bytesReceived }: { bytesSent: number; bytesReceived: number }): void {
    this.stats.bytesSent += bytesSent;
    this.stats.bytesReceived += bytesReceived;
  }

  handleEnded(error: Error | undefined): void {
    this.tell({ kind: "closed", error });
    this.#queues.clear();
  }
}
