/**
 * A broker on loopback, for tests of the client from outside.
 *
 * @module
 */

import type { Message } from "../mod.ts";
import { acceptor } from "../src/peer/server.ts";
import type { Sender } from "../src/peer/sender.ts";
import type { UpgradeOptions } from "../src/transport/upgrade.ts";
import { serve } from "./serve.ts";

/** A broker that runs. */
export interface BrokerServer extends AsyncDisposable {
  /** Where to connect, with user name and password. */
  readonly url: string;
  /** The same without them. */
  readonly bareUrl: string;
}

/** Starts a broker that knows one user; disposing of it ends all connections. */
export async function startBroker(options: UpgradeOptions = {}): Promise<BrokerServer> {
  interface Queue {
    waiting: Message[];
    sender?: Sender;
  }
  const queues = new Map<string, Queue>();
  const queue = (name: string): Queue => {
    const found: Queue = queues.get(name) ?? { waiting: [] };
    queues.set(name, found);
    return found;
  };
  const broker = acceptor({
    sasl: { users: { user: "secret" } },
    onReceiver: (request) => {
      void request.accept().serve(({ message }) => {
        const to = queue(request.address!);
        if (to.sender?.open) void to.sender.send(message).catch(() => {});
        else to.waiting.push(message);
      }).catch(() => {});
    },
    onSender: (request) => {
      const address = request.dynamic ? crypto.randomUUID() : request.address!;
      const from = queue(address);
      from.sender = request.accept({ address });
      for (const message of from.waiting.splice(0)) void from.sender.send(message);
    },
  });
  const server = await serve((channel) => void broker.accept(channel), options);
  return {
    url: server.url.replace("//", "//user:secret@"),
    bareUrl: server.url,
    async [Symbol.asyncDispose](): Promise<void> {
      await broker.close();
      await server.close();
    },
  };
}
