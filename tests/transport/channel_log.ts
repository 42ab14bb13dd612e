import type { Channel, ChannelClose } from "../../src/transport/channel.ts";

/** The events of a channel, in order. */
export interface ChannelLog {
  /** The bytes so far, in one piece. */
  bytes(): Uint8Array;
  /** The number of bytes so far. */
  readonly received: number;
  /** Every piece of bytes, then every close. */
  readonly events: Array<Uint8Array | ChannelClose>;
  /** Resolves when the channel has ended. */
  readonly closed: Promise<ChannelClose>;
  /** Resolves when `count` bytes have come. */
  until(count: number): Promise<void>;
}

/** Records the events of a channel. */
export function record(channel: Channel): ChannelLog {
  const events: Array<Uint8Array | ChannelClose> = [];
  const waiting: Array<{ count: number; resolve: () => void }> = [];
  let received = 0;
  let end: (close: ChannelClose) => void;
  const closed = new Promise<ChannelClose>((resolve) => end = resolve);
  channel.onbytes = (bytes) => {
    events.push(bytes);
    received += bytes.length;
    for (const { count, resolve } of waiting) if (received >= count) resolve();
  };
  channel.onclose = (close) => {
    events.push(close);
    end(close);
  };
  return {
    events,
    closed,
    get received(): number {
      return received;
    },
    bytes(): Uint8Array {
      const all = new Uint8Array(received);
      let offset = 0;
      for (const event of events) {
        if (!(event instanceof Uint8Array)) continue;
        all.set(event, offset);
        offset += event.length;
      }
      return all;
    },
    until: (count) =>
      new Promise((resolve) => {
        if (received >= count) resolve();
        else waiting.push({ count, resolve });
      }),
  };
}
