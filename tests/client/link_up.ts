/**
 * A client and an accepting side joined in memory, without a socket.
 *
 * @module
 */

import { anonymous, type SaslClient } from "../../src/sasl/client.ts";
import type { SaslAuth } from "../../src/sasl/mechanism.ts";
import { type OpenOptions, openOver } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Channel } from "../../src/transport/channel.ts";
import type { Receiver } from "../../src/client/receiver.ts";
import { type Acceptor, acceptor, type ReceiverRequest } from "../../src/server/acceptor.ts";
import { channelPair, type ChannelPairOptions } from "../../src/transport/pair.ts";

/** The settings of {@linkcode linkUp}. */
export interface LinkUpOptions extends OpenOptions {
  /** The client's mechanism; null for none. Default: ANONYMOUS. */
  auth?: SaslAuth | SaslClient | null;
  /** How bytes are cut on their way. */
  pair?: ChannelPairOptions;
}

/** Connects a new client to `server`, an acceptor or a broker; waits for nothing. */
export function linkUp(server: { accept(channel: Channel): unknown }, options: LinkUpOptions = {}): Connection {
  const [client, accepted] = channelPair(options.pair);
  server.accept(accepted);
  return openOver(client, options.auth === null ? undefined : options.auth ?? anonymous(), options);
}

/** A connection whose peer accepts every sender with `take`, and the peer's end of the last one. */
export function sending(
  take: (request: ReceiverRequest) => Receiver,
  options: LinkUpOptions = {},
): { connection: Connection; ends: Receiver[]; server: Acceptor } {
  const ends: Receiver[] = [];
  const server = acceptor({ onReceiver: (request) => void ends.push(take(request)) });
  const connection = linkUp(server, options);
  return { connection, ends, server };
}
