/**
 * A connection of `azure()` to one of the stand-ins of the examples.
 *
 * @module
 */

import { azure } from "../../src/azure/azure.ts";
import { connect } from "../../src/client/connect.ts";
import type { Connection } from "../../src/client/connection.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { channelPair } from "../../src/transport/pair.ts";

export const KEY = "Endpoint=sb://ns.servicebus.windows.net;SharedAccessKeyName=root;SharedAccessKey=key";

/** A stand-in: takes connections until it is closed. */
export interface StandIn {
  accept(channel: Channel): unknown;
  close(): Promise<void>;
}

/** Connects to a stand-in; `end` closes both. */
export async function connectTo(server: StandIn): Promise<{ connection: Connection; end(): Promise<void> }> {
  const dial = () => {
    const [near, far] = channelPair();
    server.accept(far);
    return near;
  };
  const { url, options } = azure(KEY);
  const connection = await connect(url, { ...options, dial });
  const end = async (): Promise<void> => {
    await connection.close();
    await server.close();
  };
  return { connection, end };
}
