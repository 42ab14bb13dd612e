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

/** The end of a channel. */
export type Ended = Pick<ChannelClose, "code" | "reason">;

// The ended connections of listeners, by their ports.
const ends = new Map<number, { ended: Promise<Ended>; resolve: (end: Ended) => void }>();

/** The sockets' actions. */
export const sockets = {
  /** Connects and obeys the peer, see {@linkcode obey}; returns the end of the channel. */
  async obey(url: string, maxMessageBytes?: number): Promise<Ended> {
    return await obey(await dialSocket(url, { maxMessageBytes }));
  },

  /** Listens for one connection, which obeys its peer; returns the port. */
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

  /** The end of the connection at that port. */
  ended: (port: number): Promise<Ended> => ends.get(port)!.ended,

  /** Opens tunnels through one proxy object: `turns` times, `atOnce` in parallel. */
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
