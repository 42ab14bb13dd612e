// A channel that writes all fields of each performative, also those at its end that have no value: Azure's services do so, and
// azure-eventhub of PyPI (5.15) cannot read what leaves them out.
import type { Channel, ChannelClose } from "@webamqp/amqp";

// How many fields each has, by descriptor [transport 2.7].
const FIELDS: Readonly<Record<number, number>> = {
  0x10: 10,
  0x11: 8,
  0x12: 14,
  0x13: 11,
  0x14: 11,
  0x15: 6,
  0x16: 3,
  0x17: 1,
  0x18: 1,
};

const NULL = 0x40;
const LIST0 = 0x45;
const LIST8 = 0xc0;
const LIST32 = 0xd0;
const HEADER_BYTES = 8;

/**
 * Fills up the frames that are sent. They grow by up to 20 bytes, so they may pass the peer's `maxFrameSize` by as much: a
 * client that minds will not do.
 */
export function withAllFields(channel: Channel): Channel {
  // The beginning of a frame whose end is still to come.
  let begun = new Uint8Array(0);
  return {
    copied: true,
    send(bytes: Uint8Array): void {
      const all = concat([begun, bytes]);
      const view = new DataView(all.buffer);
      const filled: Uint8Array[] = [];
      let at = 0;
      while (all.length - at >= HEADER_BYTES) {
        const size = view.getUint32(at) === 0x414d5150 ? HEADER_BYTES : view.getUint32(at);
        if (all.length - at < size) break;
        filled.push(fill(all.subarray(at, at + size)));
        at += size;
      }
      begun = all.slice(at);
      if (filled.length > 0) channel.send(concat(filled));
    },
    close(code?: number, reason?: string, timeoutMs?: number): void {
      channel.close(code, reason, timeoutMs);
    },
    get bufferedAmount(): number {
      return channel.bufferedAmount;
    },
    ready(): Promise<void> {
      return channel.ready();
    },
    get onbytes(): ((bytes: Uint8Array) => void) | undefined {
      return channel.onbytes;
    },
    set onbytes(listener: ((bytes: Uint8Array) => void) | undefined) {
      channel.onbytes = listener;
    },
    get onclose(): ((close: ChannelClose) => void) | undefined {
      return channel.onclose;
    },
    set onclose(listener: ((close: ChannelClose) => void) | undefined) {
      channel.onclose = listener;
    },
  };
}

/** The same frame with all fields of its performative; what is none is left as it is. */
function fill(frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const start = frame[4]! * 4;
  // A heartbeat, a frame of SASL, the header of the protocol.
  if (frame.length <= start || frame[5] !== 0) return frame;
  const wanted = FIELDS[frame[start + 2]!];
  const kind = frame[start + 3];
  const list = start + 4;
  if (wanted === undefined || (kind !== LIST0 && kind !== LIST8 && kind !== LIST32)) return frame;
  const count = kind === LIST0 ? 0 : kind === LIST8 ? frame[list + 1]! : view.getUint32(list + 4);
  const items = list + (kind === LIST0 ? 0 : kind === LIST8 ? 2 : 8);
  const end = list + (kind === LIST0 ? 0 : kind === LIST8 ? 1 + frame[list]! : 4 + view.getUint32(list));
  const nulls = new Uint8Array(wanted - count).fill(NULL);
  const head = new Uint8Array(list + 8);
  head.set(frame.subarray(0, list));
  head[start + 3] = LIST32;
  const headView = new DataView(head.buffer);
  headView.setUint32(list, 4 + end - items + nulls.length);
  headView.setUint32(list + 4, wanted);
  const filled = concat([head, frame.subarray(items, end), nulls, frame.subarray(end)]);
  new DataView(filled.buffer).setUint32(0, filled.length);
  return filled;
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((bytes, { length }) => bytes + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
