/**
 * What somebody wants of a topic, and the queue in which it waits.
 *
 * @module
 */

import type { TerminusExpiryPolicy } from "../codec/types.ts";
import type { Consumer } from "./consumer.ts";
import type { Filters } from "./filters.ts";
import type { Queue } from "./queue.ts";

/** How long a subscription lasts that nobody listens to [messaging 3.5.6]. */
export interface Expiry {
  /** What starts the timer. */
  readonly policy: TerminusExpiryPolicy;
  /** Milliseconds from then on. */
  readonly timeoutMs: number;
}

export interface SubscriptionSettings {
  /** Names it among those of its topic. */
  readonly name: string;
  /** What it lets through. */
  readonly filters: Filters;
  /** True if several links may listen, each of which gets a part. */
  readonly shared: boolean;
  /** How long it lasts without a link. */
  readonly expiry: Expiry;
}

export class Subscription {
  readonly options: SubscriptionSettings;
  /** What waits for those who listen. */
  readonly queue: Queue;
  /** The links that listen. */
  readonly consumers: Set<Consumer> = new Set();
  /** Ends it when nobody has listened for long enough. */
  timer: unknown;
  /** The subscriptions that end with a connection, if this is one of them. */
  ending: Map<Subscription, unknown> | undefined;
  /** Told when it has ended. */
  onended: (() => void) | undefined;

  constructor(options: SubscriptionSettings, queue: Queue) {
    this.options = options;
    this.queue = queue;
  }

  /** True while a link listens. */
  get busy(): boolean {
    for (const { sender } of this.consumers) if (sender.open) return true;
    return false;
  }

  /** True until a link has listened: nobody knows of it yet. */
  get isNew(): boolean {
    return this.consumers.size === 0 && this.timer === undefined && this.ending === undefined;
  }

  /** True if it goes on when nobody listens, so that nothing may be dropped because a listener is slow. */
  get lasting(): boolean {
    return this.options.expiry.policy === "never";
  }
}
