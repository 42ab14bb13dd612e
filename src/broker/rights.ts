/**
 * Who may do what.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { quote } from "../base/text.ts";
import type { Connection } from "../client/connection.ts";
import type { ClaimsNode } from "./claims.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { destination } from "./relay.ts";

/** What a peer wants to do at an address; `"create"` is a dynamic node, whose address the broker has made up. */
export type BrokerAction = "send" | "receive" | "create";

/** What is known of a peer beside its identity. None of it is proved. */
export interface BrokerPeer {
  /** The virtual host that it has asked for when it opened the connection. */
  readonly hostname: string | undefined;
  /** The name of its container. */
  readonly containerId: string | undefined;
  /** What it has put good tokens for at `$cbs`, by the audiences that it named. */
  readonly audiences: readonly string[];
  /** Its connection. */
  readonly connection: Connection;
}

/** Decides what a peer may do; the identity is undefined for an anonymous one. */
export type Authorize = (
  identity: string | undefined,
  action: BrokerAction,
  address: string,
  peer: BrokerPeer,
) => boolean | Promise<boolean>;

export interface RightsOptions {
  /** Asked for each link, each relayed message and each dynamic node; undefined allows all. */
  readonly authorize: Authorize | undefined;
  /** True if peers prove who they are, so that a user-id can be false. */
  readonly hasUsers: boolean;
  /** The tokens of peers; undefined if none are asked for. */
  readonly claims: ClaimsNode | undefined;
  /** True if messages that must survive a restart are refused. */
  readonly refusesDurable: boolean;
}

/** Checks links and messages. */
export class Rights {
  readonly #options: RightsOptions;

  /** Checks by these rules. */
  constructor(options: RightsOptions) {
    this.#options = options;
  }

  /**
   * Checks that a peer may do something, at once if the answer is there at once.
   *
   * @throws {AmqpError} With `amqp:unauthorized-access` if it may not.
   */
  authorize(connection: Connection, action: BrokerAction, address: string): void | Promise<void> {
    const { authorize, claims } = this.#options;
    if (authorize === undefined && claims === undefined) return;
    const check = (allowed: boolean): void => {
      if (allowed === true) return;
      const who = connection.identity === undefined ? "anonymous" : quote(connection.identity);
      throw new AmqpError(condition.unauthorizedAccess, `Cannot ${action} at ${quote(address)}: ${who} may not`, {
        scope: "link",
      });
    };
    const { hostname, containerId } = connection.remote ?? {};
    const audiences = claims?.audiences(connection) ?? [];
    const allowed = authorize === undefined
      ? action === "create" ? audiences.length > 0 : claims!.covers(connection, address)
      : authorize(connection.identity, action, address, { hostname, containerId, audiences, connection });
    return typeof allowed === "boolean" ? check(allowed) : allowed.then(check);
  }

  /**
   * Checks a message before it goes anywhere; `relayed` is one on a link without a fixed target.
   *
   * @throws {AmqpError} If it is refused.
   */
  inspect(encoded: EncodedMessage, connection: Connection, relayed: boolean): void | Promise<void> {
    const { refusesDurable, hasUsers } = this.#options;
    if (refusesDurable && encoded.header?.durable) {
      throw new AmqpError(
        condition.preconditionFailed,
        "Cannot keep durable message: messages are kept in memory only",
      );
    }
    // The user-id is the second of the properties.
    if (!relayed && (!hasUsers || encoded.propertyCount < 2)) return;
    const { userId, to } = encoded.properties;
    if (hasUsers && userId !== undefined && new TextDecoder().decode(userId) !== connection.identity) {
      throw new AmqpError(
        condition.unauthorizedAccess,
        'Cannot take message: its "user-id" is not that of its sender',
      );
    }
    if (relayed) return this.authorize(connection, "send", destination(to));
  }
}
