/**
 * Containers that connect more than once: whose link a name is, and whether there may be a second connection.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import { type Open, symbol, uint } from "../codec/types.ts";
import type { Connection } from "../client/connection.ts";
import type { ReceiverEndpoint } from "../engine/receiver.ts";
import type { SenderEndpoint } from "../engine/sender.ts";

const SOLE_CONNECTION = "sole-connection-for-container";
const POLICY = "sole-connection-enforcement-policy";
const CLOSE_EXISTING = 1;

interface OpenConnection {
  readonly connection: Connection;
  // Undefined for one that has not asked to be the only one.
  readonly policy: number | undefined;
}

/**
 * The containers of an acceptor's peers.
 *
 * A container is known by its name and by who its peer has proved to be, so that nobody gets at another's links by guessing
 * names.
 */
export class Containers {
  readonly #links = new Map<
    string,
    { readonly connection: Connection; readonly link: SenderEndpoint | ReceiverEndpoint }
  >();
  readonly #open = new Map<string, Set<OpenConnection>>();
  readonly #refused = new WeakMap<Connection, AmqpError>();

  /**
   * Takes note of a connection that opens, and ends others or has it refused if one of them asked to be the only one of its
   * container.
   *
   * @returns What the answer says of that.
   */
  open(connection: Connection, open: Open): { offeredCapabilities?: string[]; properties?: Open["properties"] } {
    const key = keyOf(connection, open.containerId);
    const others = this.#open.get(key) ?? new Set();
    const asks = open.desiredCapabilities?.includes(SOLE_CONNECTION) ?? false;
    const wanted = open.properties?.[POLICY];
    const policy = asks
      ? Number(typeof wanted === "object" ? (wanted as { value?: unknown })?.value : wanted ?? 0)
      : undefined;
    // One that is there already may have asked, too.
    const enforced = policy ?? [...others].find((other) => other.policy !== undefined)?.policy;
    if (others.size > 0 && enforced !== undefined) {
      if (enforced !== CLOSE_EXISTING) {
        this.#refused.set(connection, inUse(open.containerId));
        return { properties: { "amqp:connection-establishment-failed": true } };
      }
      for (const other of others) {
        other.connection.close({ error: replaced(open.containerId), timeoutMs: 0 }).catch(() => {});
      }
      others.clear();
    }
    const entry = { connection, policy };
    this.#open.set(key, others.add(entry));
    connection.closed.then(() => {
      others.delete(entry);
      if (others.size === 0 && this.#open.get(key) === others) this.#open.delete(key);
    });
    if (!asks) return {};
    return { offeredCapabilities: [SOLE_CONNECTION], properties: { "sole-connection-detection-policy": uint(0) } };
  }

  /** Why a connection that has opened is to be closed at once, if it is. */
  refusal(connection: Connection): AmqpError | undefined {
    return this.#refused.get(connection);
  }

  /**
   * Ends the link that a container has on another connection under the name of one that it attaches now: it has lost that
   * connection without our knowing it [transport 2.6.1].
   */
  takeOver(connection: Connection, link: SenderEndpoint | ReceiverEndpoint): void {
    const before = this.#links.get(linkKey(connection, link));
    if (before === undefined || before.connection === connection) return;
    const error = new AmqpError(
      condition.stolen,
      `Cannot keep link ${quote(link.name)}: it was attached again on another connection`,
      { scope: "link" },
    );
    before.link.detach({ closed: true, error });
    before.connection.dropLink(before.link, error);
    before.connection.wake();
  }

  /** Remembers a link that was accepted, until it has `ended`. */
  remember(connection: Connection, link: SenderEndpoint | ReceiverEndpoint, ended: Promise<void>): void {
    const key = linkKey(connection, link);
    const entry = { connection, link };
    this.#links.set(key, entry);
    ended.then(() => {
      if (this.#links.get(key) === entry) this.#links.delete(key);
    });
  }
}

// A container may have a sender and a receiver of the same name.
function linkKey(connection: Connection, { role, name }: SenderEndpoint | ReceiverEndpoint): string {
  return `${role} ${keyOf(connection, connection.remote?.containerId)} ${name}`;
}

function keyOf({ identity }: Connection, containerId: string | undefined): string {
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
