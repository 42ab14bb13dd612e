/**
 * The history of a connection: events, queued until the program reads them, and counters.
 *
 * @module
 */

import { abortable, Deferred } from "../base/wait.ts";
import type { DeliveryState, Open } from "../codec/types.ts";
import type { ReceiverEvent } from "../engine/receiver.ts";
import type { SenderEvent } from "../engine/sender.ts";
import type { Interruption, Link } from "./link.ts";
import type { LinkResumed } from "./recovery.ts";

/** The state of a connection. */
export type ConnectionState = "connecting" | "open" | "interrupted" | "closing" | "closed";

/** An event of a connection as a whole. */
export type ConnectionEvent =
  /** The peer has opened the connection; `remote` is its open. */
  | { readonly kind: "opened"; readonly remote: Open }
  /** The connection is lost and is dialled again. `retryable` is that of `cause`. */
  | { readonly kind: "interrupted"; readonly cause: Error; readonly retryable: boolean }
  /** The next attempt begins after `delayMs` milliseconds; `url` is without user info and query, which may hold secrets. */
  | { readonly kind: "reconnecting"; readonly attempt: number; readonly delayMs: number; readonly url: string }
  /**
   * The peer has opened the connection again; sessions and links are attaching. Of the messages in flight, `resent` are sent
   * again, `lost` had no outcome and are not, and `redelivered`, received unsettled, are delivered again.
   */
  | {
    readonly kind: "resumed";
    readonly remote: Open;
    readonly resent: number;
    readonly lost: number;
    readonly redelivered: number;
  }
  /** A link with recovery was attached again; its unsettled deliveries are resumed, or `reason` says why not. */
  | { readonly kind: "linkResumed"; readonly link: Link } & LinkResumed
  /** A link has ended with an error, while the connection goes on. */
  | { readonly kind: "linkLost"; readonly link: Link; readonly error: Error }
  /** The connection has ended; `error` is undefined after an orderly close by this side. */
  | { readonly kind: "closed"; readonly error: Error | undefined };

/** Counters of a connection, over all its attachments. */
export interface ConnectionStats {
  /** Messages sent that have an outcome, or were sent settled. */
  sent: number;
  /** Messages of `sent` that were accepted. */
  accepted: number;
  /** Messages of `sent` that were rejected. */
  rejected: number;
  /** Messages of `sent` that were released. */
  released: number;
  /** Messages of `sent` that were modified. */
  modified: number;
  /** Messages that found no credit when sent, and had to wait. */
  creditWaits: number;
  /** Messages received. */
  received: number;
  /** Times that the peer opened the connection again after a loss. */
  reconnects: number;
  /** Bytes of AMQP sent. */
  bytesSent: number;
  /** Bytes of AMQP received. */
  bytesReceived: number;
}

/** Events queued for a program that does not read them; the oldest are dropped beyond it. */
const MAX_EVENTS = 1_000;

/** The unread events of one reader. */
export class EventQueue {
  readonly #events: ConnectionEvent[] = [];
  #arrived = new Deferred<void>();
  #left = false;

  /** Adds an event; of consecutive unread attempts only the last is kept. */
  push(event: ConnectionEvent): void {
    const events = this.#events;
    if (event.kind === "reconnecting" && events.at(-1)?.kind === "reconnecting") events.pop();
    if (events.length >= MAX_EVENTS) events.shift();
    events.push(event);
    this.#arrived.resolve();
  }

  /**
   * Yields the events, up to and including the end; calls `leave` when the reader is done. As with deliveries, and unlike with a
   * generator, leaving ends a wait for the next event, and a reader that has never asked is done as well.
   */
  iterate(signal: AbortSignal | undefined, leave: () => void): AsyncGenerator<ConnectionEvent, void, void> {
    const steps = this.#steps(signal, leave);
    const [finish, fail] = [steps.return.bind(steps), steps.throw.bind(steps)];
    const left = (): void => {
      this.#left = true;
      this.#arrived.resolve();
      leave();
    };
    return Object.assign(steps, {
      return: (value: void | PromiseLike<void>) => (left(), finish(value)),
      throw: (error: unknown) => (left(), fail(error)),
    });
  }

  async *#steps(signal: AbortSignal | undefined, leave: () => void): AsyncGenerator<ConnectionEvent, void, void> {
    try {
      for (;;) {
        await abortable(this.#arrived.promise, signal);
        if (this.#left) return;
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

/** The history of one connection, over all its attachments. */
export class ConnectionHistory {
  /** The counters, without those of the present attachment. */
  get stats(): ConnectionStats {
    return this.#stats ??= {
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
  }
  /** Whether the peer has ever opened the connection. */
  opened = false;
  // Made at need, like the two below: a server may have thousands of idle connections.
  #stats: ConnectionStats | undefined;
  #queues: Set<EventQueue> | undefined;
  // The fate of messages in flight at the last loss.
  #returning: { resent: number; lost: number; redelivered: number } | undefined;

  /** Adds an event for every reader. */
  emit(event: ConnectionEvent): void {
    for (const queue of this.#queues ?? []) queue.push(event);
  }

  /** The events from now on; only the end with `error` if `over`. */
  listen(signal: AbortSignal | undefined, over: boolean, error: Error | undefined): ReturnType<EventQueue["iterate"]> {
    const queue = new EventQueue();
    const queues = this.#queues ??= new Set();
    if (over) queue.push({ kind: "closed", error });
    else queues.add(queue);
    return queue.iterate(signal, () => queues.delete(queue));
  }

  /** Counts the messages of an interrupted link. */
  handleInterrupted({ resent = 0, lost = 0, redelivered = 0 }: Interruption): void {
    const sum = this.#returning ??= { resent: 0, lost: 0, redelivered: 0 };
    sum.resent += resent;
    sum.lost += lost;
    sum.redelivered += redelivered;
  }

  /** Called when the peer has opened the connection, for the first time or again. */
  handleOpened(remote: Open): void {
    if (this.opened) this.stats.reconnects++;
    const { resent = 0, lost = 0, redelivered = 0 } = this.#returning ?? {};
    this.emit(this.opened ? { kind: "resumed", remote, resent, lost, redelivered } : { kind: "opened", remote });
    this.#returning = undefined;
    this.opened = true;
  }

  /** Counts messages by the events of links. */
  count(event: SenderEvent | ReceiverEvent): void {
    switch (event.kind) {
      case "delivery":
        this.stats.received++;
        break;
      case "disposition":
        if (event.link.role === "sender") this.#countOutcome(event.state);
        break;
      case "sent":
        if (!event.delivery.resume) this.stats.sent++;
    }
  }

  /** Adds the byte counts of an attachment that has ended. */
  handleDetached({ bytesSent, bytesReceived }: { bytesSent: number; bytesReceived: number }): void {
    this.stats.bytesSent += bytesSent;
    this.stats.bytesReceived += bytesReceived;
  }

  handleEnded(error: Error | undefined): void {
    this.emit({ kind: "closed", error });
    this.#queues?.clear();
  }

  #countOutcome(state: DeliveryState | undefined): void {
    const kind = state?.kind === "transactionalState" ? state.outcome?.kind : state?.kind;
    if (kind === undefined || kind === "declared" || !(kind in this.stats)) return;
    this.stats.sent++;
    this.stats[kind as "accepted" | "rejected" | "released" | "modified"]++;
  }
}
