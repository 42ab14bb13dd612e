/**
 * Containers that connect more than once: link stealing, suspended links, and sole connections.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { type Environment, unref } from "../base/environment.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { type Open, symbol, uint } from "../codec/types.ts";
import { print } from "../codec/composite.ts";
import type { Connection } from "../client/connection.ts";
import type { Link } from "../client/link.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";

const SOLE_CONNECTION = "sole-connection-for-container";
const POLICY = "sole-connection-enforcement-policy";
const CLOSE_EXISTING = 1;

interface SuspendedLink {
  readonly link: Link;
  // The peer's identity, or its container without one.
  readonly holder: string;
  // The termini it was attached with.
  readonly settings: string;
  readonly timer: unknown;
}

interface AttachedLink {
  readonly connection: Connection;
  readonly endpoint: SenderEndpoint | ReceiverEndpoint;
  readonly link: Link;
  readonly suspendMs: number;
  // True if the peer listed unsettled deliveries, but nothing was kept of them; this side's attach says so.
  readonly unsettledLost: boolean;
}

/**
 * The containers of an acceptor's peers.
 *
 * A container is keyed by its name and the peer's identity, so that nobody reaches another's links by guessing names.
 */
export class Containers {
  readonly #environment: Environment;
  readonly #maxSuspended: number;
  readonly #warn: (message: string) => void;
  readonly #links = new Map<string, AttachedLink>();
  readonly #keys = new WeakMap<Link, string>();
  // Suspended links, the oldest first, and the number of each holder.
  readonly #suspended = new Map<string, SuspendedLink>();
  readonly #holders = new Map<string, number>();
  // By container; a connection is alone in its container if it asked to be.
  readonly #open = new Map<string, Connection | Set<Connection>>();
  // The policies of connections that asked to be the only one of their container.
  readonly #policies = new Map<Connection, number>();
  readonly #refused = new WeakMap<Connection, AmqpError>();

  /** Suspends at most `maxSuspended` links, and calls `warn` when there are more. */
  constructor(environment: Environment, maxSuspended: number, warn: (message: string) => void) {
    this.#environment = environment;
    this.#maxSuspended = maxSuspended;
    this.#warn = warn;
  }

  /**
   * Registers a connection that opens; closes others, or has it refused, if one of them asked to be its container's only one.
   *
   * @returns The fields of the answering open.
   */
  open(connection: Connection, open: Open): { offeredCapabilities?: string[]; properties?: Open["properties"] } {
    const key = containerKey(connection, open.containerId);
    const known = this.#open.get(key);
    const asks = open.desiredCapabilities?.includes(SOLE_CONNECTION) ?? false;
    const wanted = open.properties?.[POLICY];
    const policy = asks
      ? Number(typeof wanted === "object" ? (wanted as { value?: unknown })?.value : wanted ?? 0)
      : undefined;
    // An open connection may have asked, too.
    const enforced = policy ?? (known instanceof Set ? undefined : this.#policies.get(known!));
    if (known !== undefined && enforced !== undefined) {
      if (enforced !== CLOSE_EXISTING) {
        this.#refused.set(connection, inUse(open.containerId));
        return { properties: { "amqp:connection-establishment-failed": true } };
      }
      this.#open.delete(key);
      for (const other of known instanceof Set ? [...known] : [known]) {
        other.close({ error: replaced(open.containerId), timeoutMs: 0 }).catch(() => {});
      }
    }
    this.#add(key, connection);
    if (policy === undefined) return {};
    this.#policies.set(connection, policy);
    return { offeredCapabilities: [SOLE_CONNECTION], properties: { "sole-connection-detection-policy": uint(0) } };
  }

  /** Removes a connection that has ended. */
  closed(connection: Connection): void {
    this.#policies.delete(connection);
    const key = containerKey(connection, connection.remote?.containerId);
    const known = this.#open.get(key);
    if (known instanceof Set) {
      known.delete(connection);
      if (known.size === 0) this.#open.delete(key);
    } else if (known === connection) this.#open.delete(key);
  }

  #add(key: string, connection: Connection): void {
    const known = this.#open.get(key);
    if (known === undefined) this.#open.set(key, connection);
    else if (known instanceof Set) known.add(connection);
    else this.#open.set(key, new Set([known, connection]));
  }

  /** The error with which to close a newly opened connection, if any. */
  refusal(connection: Connection): AmqpError | undefined {
    return this.#refused.get(connection);
  }

  /**
   * Ends a container's link on another connection when it attaches one of the same name: it has lost that connection, and
   * this side has not noticed yet [transport 2.6.1].
   */
  takeOver(connection: Connection, link: SenderEndpoint | ReceiverEndpoint): void {
    const before = this.#links.get(linkKey(connection, link));
    if (before === undefined || before.connection === connection) return;
    const error = new AmqpError(
      condition.stolen,
      `Cannot keep link ${quote(link.name)}: it was attached again on another connection`,
      { scope: "link" },
    );
    before.endpoint.detach({ closed: true, error });
    before.connection.dropLink(before.endpoint, error);
    before.connection.wake();
  }

  /** Registers an accepted link, until it ends. */
  register(
    connection: Connection,
    endpoint: SenderEndpoint | ReceiverEndpoint,
    link: Link,
    suspendMs: number,
  ): void {
    const key = linkKey(connection, endpoint);
    const known = this.#keys.get(link) === key;
    const unsettledLost = !known && (endpoint.remote?.unsettled?.size ?? 0) > 0;
    this.#links.set(key, { connection, endpoint, link, suspendMs, unsettledLost });
    if (known) return;
    this.#keys.set(link, key);
    link.closed.then(() => {
      if (this.#links.get(key)?.link === link) this.#links.delete(key);
      if (this.#suspended.get(key)?.link === link) this.#removeSuspended(key);
    });
  }

  /**
   * Suspends a lost link; false if it is not to be suspended, or the limit is reached and no other peer has more.
   *
   * Nor is a link suspended whose peer lists deliveries unknown here and may not have learned that: it would take the
   * unsettled map of a link it has never seen for that of the previous one.
   */
  suspend(link: Link): boolean {
    const key = this.#keys.get(link);
    const entry = key === undefined ? undefined : this.#links.get(key);
    if (key === undefined || entry?.link !== link || entry.suspendMs === 0) return false;
    this.#links.delete(key);
    if (entry.unsettledLost && !hasOurAttach(entry.endpoint)) return false;
    const { identity, remote } = entry.connection;
    const holder = JSON.stringify(identity === undefined ? [remote?.containerId] : identity);
    if (this.#suspended.size >= this.#maxSuspended && !this.#makeRoom(holder)) return false;
    const expire = (): void => this.#end(key, expired(link.name));
    // A suspended link is no reason for the process to stay alive.
    const timer = unref(this.#environment.setTimer(expire, entry.suspendMs));
    this.#suspended.set(key, { link, holder, settings: settingsOf(entry.endpoint), timer });
    this.#holders.set(holder, this.#suspendedOf(holder) + 1);
    return true;
  }

  /**
   * Returns the suspended link that a peer's attach resumes: of the same name, to the same node, with a list of unsettled
   * deliveries. Another suspended link of that name ends.
   */
  take(connection: Connection, endpoint: SenderEndpoint | ReceiverEndpoint, suspendMs: number): Link | undefined {
    const key = linkKey(connection, endpoint);
    const kept = this.#suspended.get(key);
    if (kept === undefined) return undefined;
    this.#removeSuspended(key);
    // Also for a link that ends now.
    kept.link.connection = connection;
    if (suspendMs > 0 && endpoint.remote?.unsettled !== undefined && kept.settings === settingsOf(endpoint)) {
      return kept.link;
    }
    kept.link.handleEnded(expired(kept.link.name));
    return undefined;
  }

  close(error: AmqpError): void {
    for (const key of this.#suspended.keys()) this.#end(key, error);
  }

  // Ends the oldest link of the peer that has most, unless that peer is `holder`.
  #makeRoom(holder: string): boolean {
    this.#warn(
      `Cannot keep all links that were lost: ${this.#suspended.size} are kept, as many as "maxSuspendedLinks" allows; raise it`,
    );
    let most = holder;
    for (const other of this.#holders.keys()) if (this.#suspendedOf(other) > this.#suspendedOf(most)) most = other;
    if (most === holder) return false;
    for (const [key, { link, holder }] of this.#suspended) {
      if (holder !== most) continue;
      this.#end(key, expired(link.name));
      return true;
    }
    return false;
  }

  #suspendedOf(holder: string): number {
    return this.#holders.get(holder) ?? 0;
  }

  #end(key: string, error: AmqpError): void {
    const { link } = this.#suspended.get(key)!;
    this.#removeSuspended(key);
    link.handleEnded(error);
  }

  #removeSuspended(key: string): void {
    const { timer, holder } = this.#suspended.get(key)!;
    this.#environment.clearTimer(timer);
    this.#suspended.delete(key);
    if (this.#suspendedOf(holder) === 1) this.#holders.delete(holder);
    else this.#holders.set(holder, this.#suspendedOf(holder) - 1);
  }
}

// The requested termini, without their timeout.
function settingsOf({ remote }: SenderEndpoint | ReceiverEndpoint): string {
  const source = remote?.source && { ...remote.source, timeout: undefined };
  const target = remote?.target && { ...remote.target, timeout: undefined };
  return `${source && print(source)} ${target && print(target)}`;
}

// Whether the peer has shown that it received this side's attach: by a delivery-count, or by using the credit.
function hasOurAttach(endpoint: SenderEndpoint | ReceiverEndpoint): boolean {
  return endpoint.role === "sender"
    ? endpoint.counted
    : endpoint.deliveryCount !== (endpoint.remote?.initialDeliveryCount ?? 0);
}

function expired(name: string): AmqpError {
  return new AmqpError(condition.detachForced, `Cannot keep link ${quote(name)}: it was not attached again`, {
    scope: "link",
  });
}

// A container may have a sender and a receiver of one name.
function linkKey(connection: Connection, { role, name }: SenderEndpoint | ReceiverEndpoint): string {
  return `${role} ${containerKey(connection, connection.remote?.containerId)} ${name}`;
}

/** Names the container of a peer: two identities have two containers, even under one id [amqp 2.4.1]. */
export function containerKey({ identity }: Connection, containerId: string | undefined): string {
  return JSON.stringify([identity ?? null, containerId]);
}

function inUse(containerId: string): AmqpError {
  return new AmqpError(
    condition.invalidField,
    `Cannot open connection: container ${quote(containerId)} has one already, and there may be one only`,
    { info: { "invalid-field": symbol("container-id") } },
  );
}

function replaced(containerId: string): AmqpError {
  return new AmqpError(
    condition.resourceLocked,
    `Cannot keep connection: container ${quote(containerId)} has opened another, and there may be one only`,
    { info: { "sole-connection-enforcement": true } },
  );
}
