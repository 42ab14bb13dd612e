import type { Channel, ChannelClose } from "../../src/transport/channel.ts";

/** Everything that a channel told, in order. */
export interface ChannelLog {
  /** The bytes so far, in one piece. */
  bytes(): Uint8Array;
  /** How many bytes came so far. */
  readonly received: number;
  /** Every piece of bytes as it came, then every close. */
  readonly events: Array<Uint8Array | ChannelClose>;
  /** Resolves when the channel has ended. */
  readonly closed: Promise<ChannelClose>;
  /** Resolves when this many bytes have come. */
  until(count: number): Promise<void>;
}

/** Listens to a channel and writes down what it tells. */
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
