/**
 * Our WebSockets without AMQP, and tunnels.
 *
 * @module
 */

import {
  type ChannelClose,
  dialSocket,
  listen,
  type PausableChannel,
  type ProxyOptions,
} from "../../../src/transport/sockets.ts";
import { HOST } from "../daemon.ts";
import { pattern } from "../pattern.ts";

/** How a channel ended. */
export type Ended = Pick<ChannelClose, "code" | "reason">;

// What has ended at listeners, by their ports.
const ends = new Map<number, { ended: Promise<Ended>; resolve: (end: Ended) => void }>();

/** What sockets can be asked to do. */
export const sockets = {
  /** Connects and does as it is told, see {@linkcode obey}; tells how it ended. */
  async obey(url: string, maxMessageBytes?: number): Promise<Ended> {
    return await obey(await dialSocket(url, { maxMessageBytes }));
  },

  /** Listens for one connection, which does as it is told; gives the port. */
  async listenAndObey(maxMessageBytes?: number): Promise<number> {
    const { promise: ended, resolve } = Promise.withResolvers<Ended>();
    const listener = await listen({
      host: HOST,
      port: 0,
      maxMessageBytes,
      accept: (channel) =>
        void obey(channel).then(async (end) => {
          resolve(end);
          await listener.close();
        }),
    });
    ends.set(listener.port, { ended, resolve });
    return listener.port;
  },

  /** How the connection at that port ended. */
  ended: (port: number): Promise<Ended> => ends.get(port)!.ended,

  /** Opens tunnels by what is remembered of one proxy: so many in turn, each of them as many at once. */
  async tunnels(url: string, proxy: ProxyOptions, { turns, atOnce }: { turns: number; atOnce: number }): Promise<void> {
    for (let i = 0; i < turns; i++) {
      const channels = await Promise.all(Array.from({ length: atOnce }, () => dialSocket(url, { proxy })));
      await Promise.all(channels.map((channel) =>
        new Promise((resolve) => {
          channel.onclose = resolve;
          channel.close();
        })
      ));
    }
  },
};

/**
 * Sends everything back, except for commands: `!close CODE REASON` and `!send SIZE`, which sends so many bytes of a pattern.
 */
function obey(channel: PausableChannel): Promise<Ended> {
  return new Promise((resolve) => {
    channel.onclose = ({ code, reason }) => resolve({ code, reason });
    channel.onbytes = (bytes) => {
      const text = new TextDecoder().decode(bytes.subarray(0, 200));
      const [, command, number, reason] = /^!(close|send) (\d+) ?(.*)/.exec(text) ?? [];
      if (command === "close") channel.close(Number(number), reason);
      else channel.send(command === "send" ? pattern(Number(number)) : bytes);
    };
  });
}
