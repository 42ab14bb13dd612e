/**
 * A broker on loopback, for tests of the client from outside.
 *
 * @module
 */

import { Broker } from "../src/broker/broker.ts";
import type { UpgradeOptions } from "../src/transport/websocket/upgrade.ts";
import { serve } from "./serve.ts";

/** A running broker. */
export interface BrokerServer extends AsyncDisposable {
  /** The URL with user name and password. */
  readonly url: string;
}

/** Starts a broker with one user; disposal ends all connections. */
export async function startBroker(options: UpgradeOptions = {}): Promise<BrokerServer> {
  const broker = new Broker({ sasl: { users: { user: "secret" } } });
  const server = await serve((channel) => void broker.accept(channel), options);
  return {
    url: server.url.replace("//", "//user:secret@"),
    async [Symbol.asyncDispose](): Promise<void> {
      await broker.close();
      await server.close();
    },
  };
}
