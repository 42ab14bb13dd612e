/**
 * What happens to a connection, and where it is kept until the program asks for it.
 *
 * @module
 */

import { abortable, Deferred } from "../base/wait.ts";
import type { Open } from "../codec/types.ts";
import type { Link } from "./link.ts";
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
