/**
 * Our broker behind our listener.
 *
 * @module
 */

import { listen, type ListenOptions } from "../../../src/node.ts";
import { Broker } from "../../../src/peer/broker.ts";
import { HOST } from "../daemon.ts";

/** What our servers can be asked to do; they run until the program ends. */
export const server = {
  /** Starts a broker that lets everybody in, besides one user by password; gives its port. */
  async listen(options: Pick<ListenOptions, "tls" | "schemes"> & { origins?: string[] } = {}): Promise<number> {
    const broker = new Broker({ sasl: { users: { user: "secret" }, anonymous: true } });
    const { port } = await listen({ ...options, host: HOST, port: 0, acceptor: broker });
    return port;
  },
};
