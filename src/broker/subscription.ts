/**
 * A subscription to a topic, with its queue.
 *
 * @module
 */

import type { TerminusExpiryPolicy } from "../codec/types.ts";
import type { Consumer } from "./consumer.ts";
import type { Filters } from "./filters.ts";
import type { Queue } from "./queue.ts";

/** The lifetime of a subscription without a link [messaging 3.5.6]. */
export interface Expiry {
  /** The event that starts the timer. */
  readonly policy: TerminusExpiryPolicy;
  /** Milliseconds after that event. */
  readonly timeoutMs: number;
}

export interface SubscriptionSettings {
  /** The name, unique in the topic. */
  readonly name: string;
  readonly filters: Filters;
  /** True if several links may attach, each of which gets a part of the messages. */
  readonly shared: boolean;
  readonly expiry: Expiry;
}

export class Subscription {
  readonly options: SubscriptionSettings;
  readonly queue: Queue;
  readonly consumers: Set<Consumer> = new Set();
  /** The timer that ends the subscription after its last link. */
  timer: unknown;
  /** The subscriptions that end with one connection, if this is one of them. */
  ending: Map<Subscription, unknown> | undefined;
  /** Called when the subscription has ended. */
  onended: (() => void) | undefined;

  constructor(options: SubscriptionSettings, queue: Queue) {
    this.options = options;
    this.queue = queue;
  }

  /** True while a link is attached. */
  get busy(): boolean {
    for (const { sender } of this.consumers) if (sender.open) return true;
    return false;
  }

  /** True until a first link has attached. */
  get isNew(): boolean {
    return this.consumers.size === 0 && this.timer === undefined && this.ending === undefined;
  }

  /** True if the subscription outlives its connections, so that no message may be dropped for a slow consumer. */
  get lasting(): boolean {
    return this.options.expiry.policy === "never";
  }
}
