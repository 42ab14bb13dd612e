/**
 * Our broker behind our listener, and our gateway.
 *
 * @module
 */

import { listen, type ListenOptions, type PeerInfo, type TlsOptions } from "../../../src/transport/sockets.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { gateway } from "../../../src/gateway/gateway.ts";
import { HOST } from "../daemon.ts";

/** How our listener is set up. */
export interface Listening extends Pick<ListenOptions, "tls" | "schemes"> {
  /** The pages that may connect. */
  readonly origins?: string[] | "any";
}

/** What our servers can be asked to do; they run until the program ends. */
export const server = {
  /**
   * Starts a broker and gives its port. It lets everybody in, besides one user by password and, where certificates are asked
   * for, whoever is named by one; only `alice` may use addresses that start with her name.
   */
  async listen(options: Listening = {}): Promise<number> {
    const external = options.tls?.ca === undefined
      ? {}
      : { external: (_: string, { certificate }: PeerInfo): string | undefined => certificate?.subject.CN };
    const broker = new Broker({
      sasl: { users: { user: "secret" }, anonymous: true, ...external },
      authorize: (identity, _action, address) => !address.startsWith("alice/") || identity === "alice",
    });
    const { port } = await listen({ ...options, host: HOST, port: 0, acceptor: broker });
    return port;
  },

  /** Starts a gateway to that URL and gives its port; `dial` is TLS to the target. */
  async gateway(target: string, { dial, ...options }: Listening & { dial?: TlsOptions } = {}): Promise<number> {
    const { port } = await gateway({ listen: { ...options, host: HOST, port: 0 }, target, dial: { tls: dial } });
    return port;
  },
};
