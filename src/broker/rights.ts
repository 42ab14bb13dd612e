/**
 * Checks of what a peer may do.
 *
 * @module
 */

import * as condition from "../base/condition.ts";
import { AmqpError } from "../base/errors.ts";
import { describeKind } from "../base/options.ts";
import { quote } from "../base/text.ts";
import type { Connection } from "../client/connection.ts";
import type { ClaimsNode } from "./claims.ts";
import type { EncodedMessage } from "./encoded_message.ts";
import { destination } from "./relay.ts";

/** The action that a peer wants at an address; `"create"` makes a dynamic node, at an address that the broker generates. */
export type BrokerAction = "send" | "receive" | "create";

/** The facts about a peer beside its identity. None is proved, except `audiences`. */
export interface BrokerPeer {
  /** The virtual host that the peer's open names. */
  readonly hostname: string | undefined;
  /** The peer's container id. */
  readonly containerId: string | undefined;
  /** The audiences of the valid tokens that the peer has put at `$cbs`. */
  readonly audiences: readonly string[];
  /** The peer's connection. */
  readonly connection: Connection;
}

/** Decides whether a peer may do something; `identity` is undefined for an anonymous peer. */
export type Authorize = (
  identity: string | undefined,
  action: BrokerAction,
  address: string,
  peer: BrokerPeer,
) => boolean | Promise<boolean>;

export interface RightsOptions {
  /** Called for each link, each relayed message and each dynamic node; undefined allows all. */
  readonly authorize: Authorize | undefined;
  /** True if peers authenticate, so that a user-id can be false. */
  readonly hasUsers: boolean;
  /** The tokens of peers; undefined if none are needed. */
  readonly claims: ClaimsNode | undefined;
  /** True if durable messages are rejected. */
  readonly refusesDurable: boolean;
}

export class Rights {
  readonly #options: RightsOptions;

  constructor(options: RightsOptions) {
    this.#options = options;
  }

  /**
   * Checks that a peer may do something, synchronously if `authorize` answers so.
   *
   * @throws {AmqpError} With `amqp:unauthorized-access` if the peer may not.
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
    if (typeof allowed === "boolean") return check(allowed);
    if (typeof allowed?.then === "function") return allowed.then(check);
    throw new TypeError(`Cannot authorize: "authorize" returned ${describeKind(allowed)}, not true or false`);
  }

  /**
   * Checks a message before it goes anywhere; `relayed` if its link has no fixed target.
   *
   * @throws {AmqpError} If the message is refused.
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
