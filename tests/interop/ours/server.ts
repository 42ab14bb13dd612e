/**
 * Our broker behind our listener, and our gateway.
 *
 * @module
 */

import { listen, type ListenOptions, type PeerInfo, type TlsOptions } from "../../../src/transport/sockets.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { gateway } from "../../../src/gateway/gateway.ts";
import { HOST } from "../daemon.ts";

/** The settings of our listener. */
export interface Listening extends Pick<ListenOptions, "tls" | "schemes"> {
  /** The pages that may connect. */
  readonly origins?: string[] | "any";
}

/** The servers' actions; servers run until the program ends. */
export const server = {
  /**
   * Starts a broker and returns its port. It accepts everybody, one user by password and, if certificates are requested,
   * the name in one; only `alice` may use addresses that start with her name.
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

  /** Starts a gateway to that URL and returns its port; `dial` is TLS to the target. */
  async gateway(target: string, { dial, ...options }: Listening & { dial?: TlsOptions } = {}): Promise<number> {
    const { port } = await gateway({ listen: { ...options, host: HOST, port: 0 }, target, dial: { tls: dial } });
    return port;
  },
};
