/**
 * TCP segments in pcap and pcapng files.
 *
 * @module
 */

/** One TCP segment of a capture. */
export interface Segment {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** The sender, as `address:port`. */
  readonly from: string;
  /** The receiver, as `address:port`. */
  readonly to: string;
  /** The sequence number of the first byte. */
  readonly sequence: number;
  /** The SYN flag, which begins a connection. */
  readonly syn: boolean;
  /** The ACK flag. */
  readonly ack: boolean;
  /** The payload. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const MAGICS: Readonly<Record<number, { little: boolean; unit: number }>> = {
  0xa1b2c3d4: { little: false, unit: 1_000 },
  0xd4c3b2a1: { little: true, unit: 1_000 },
  0xa1b23c4d: { little: false, unit: 1_000_000 },
  0x4d3cb2a1: { little: true, unit: 1_000_000 },
};
const PCAPNG = 0x0a0d0d0a;
// The last time that is a date: a time-stamp has 64 bits, in units of up to a second.
const LATEST_MS = 8_640_000_000_000_000;

/**
 * The TCP segments of a capture; undefined if the bytes are no capture. A truncated packet at the end is left out.
 */
export function readPackets(bytes: Uint8Array<ArrayBuffer>): Iterable<Segment> | undefined {
  if (bytes.length < 24) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  if (magic === PCAPNG) return pcapng(bytes, view);
  const format = MAGICS[magic];
  return format === undefined ? undefined : pcap(bytes, view, format);
}

function* pcap(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  { little, unit }: { little: boolean; unit: number },
): Generator<Segment, void, void> {
  const linkType = view.getUint32(20, little) & 0xffff;
  for (let at = 24; at + 16 <= bytes.length;) {
    const time = view.getUint32(at, little) * 1_000 + view.getUint32(at + 4, little) / unit;
    const length = view.getUint32(at + 8, little);
    const start = at + 16;
    at = start + length;
    if (at > bytes.length) return;
    const segment = segmentOf(bytes.subarray(start, at), linkType, time);
    if (segment !== undefined) yield segment;
  }
}

interface Interface {
  readonly linkType: number;
  // Ticks per millisecond.
  readonly unit: number;
}

function* pcapng(bytes: Uint8Array<ArrayBuffer>, view: DataView): Generator<Segment, void, void> {
  let little = false;
  let interfaces: Interface[] = [];
  for (let at = 0; at + 12 <= bytes.length;) {
    const type = view.getUint32(at, little);
    if (type === PCAPNG) {
      little = view.getUint32(at + 8) === 0x4d3c2b1a;
      interfaces = [];
    }
    const length = view.getUint32(at + 4, little);
    if (length < 12 || at + length > bytes.length) return;
    const body = at + 8, end = at + length - 4;
    if (type === 1 && body + 8 <= end) {
      interfaces.push({ linkType: view.getUint16(body, little), unit: unitOf(view, body + 8, end, little) });
    }
    if (type === 6 && body + 20 <= end) {
      const source = interfaces[view.getUint32(body, little)];
      const ticks = view.getUint32(body + 4, little) * 0x1_0000_0000 + view.getUint32(body + 8, little);
      const size = view.getUint32(body + 12, little);
      if (source !== undefined && body + 20 + size <= end) {
        const packet = bytes.subarray(body + 20, body + 20 + size);
        const segment = segmentOf(packet, source.linkType, Math.min(ticks / source.unit, LATEST_MS));
        if (segment !== undefined) yield segment;
      }
    }
    at += length;
  }
}

// The option if_tsresol; without one, microseconds.
function unitOf(view: DataView, from: number, end: number, little: boolean): number {
  for (let at = from; at + 4 <= end;) {
    const code = view.getUint16(at, little), length = view.getUint16(at + 2, little);
    if (code === 9) {
      const resolution = view.getUint8(at + 4);
      return (resolution & 0x80 ? 2 ** (resolution & 0x7f) : 10 ** resolution) / 1_000;
    }
    if (code === 0) break;
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return 1_000;
}

function segmentOf(packet: Uint8Array<ArrayBuffer>, linkType: number, time: number): Segment | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  try {
    const start = networkStart(view, linkType);
    if (start === undefined) return undefined;
    const version = view.getUint8(start) >> 4;
    if (version === 4) return ipv4(packet, view, start, time);
    return version === 6 ? ipv6(packet, view, start, time) : undefined;
  } catch {
    // The packet is truncated.
    return undefined;
  }
}

// Start of the IP header, by link type: Ethernet, Linux cooked, loopback, or IP alone.
function networkStart(view: DataView, linkType: number): number | undefined {
  switch (linkType) {
    case 1: {
      let at = 12;
      while (view.getUint16(at) === 0x8100 || view.getUint16(at) === 0x88a8) at += 4;
      const type = view.getUint16(at);
      return type === 0x0800 || type === 0x86dd ? at + 2 : undefined;
    }
    case 0:
    case 108:
      return 4;
    case 12:
    case 14:
    case 101:
    case 228:
    case 229:
      return 0;
    case 113:
      return 16;
    case 276:
      return 20;
    default:
      return undefined;
  }
}

function ipv4(packet: Uint8Array<ArrayBuffer>, view: DataView, at: number, time: number): Segment | undefined {
  const header = (view.getUint8(at) & 0x0f) * 4;
  // Fragments are not reassembled.
  if (view.getUint8(at + 9) !== 6 || (view.getUint16(at + 6) & 0x3fff) !== 0) return undefined;
  // Zero where the network card makes the segments.
  const total = view.getUint16(at + 2) || packet.length - at;
  const address = (from: number): string => [0, 1, 2, 3].map((i) => view.getUint8(from + i)).join(".");
  return tcp(packet, view, at + header, at + total, [address(at + 12), address(at + 16)], time);
}

function ipv6(packet: Uint8Array<ArrayBuffer>, view: DataView, at: number, time: number): Segment | undefined {
  if (view.getUint8(at + 6) !== 6) return undefined;
  const total = 40 + (view.getUint16(at + 4) || packet.length - at - 40);
  const address = (from: number): string => {
    const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(from + 2 * i).toString(16));
    return `[${groups.join(":")}]`;
  };
  return tcp(packet, view, at + 40, at + total, [address(at + 8), address(at + 24)], time);
}

function tcp(
  packet: Uint8Array<ArrayBuffer>,
  view: DataView,
  at: number,
  end: number,
  [from, to]: [string, string],
  time: number,
): Segment {
  const flags = view.getUint8(at + 13);
  const header = (view.getUint8(at + 12) >> 4) * 4;
  return {
    time,
    from: `${from}:${view.getUint16(at)}`,
    to: `${to}:${view.getUint16(at + 2)}`,
    sequence: view.getUint32(at + 4),
    syn: (flags & 0x02) !== 0,
    ack: (flags & 0x10) !== 0,
    bytes: packet.subarray(at + header, Math.min(end, packet.length)),
  };
}
