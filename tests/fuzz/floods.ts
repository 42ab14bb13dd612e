/**
 * Measures a broker's memory and work per byte that a peer sends: each flood goes through acceptor and broker as from a
 * socket, until `most` bytes were sent or the broker ends the connection.
 *
 * @module
 */

import process from "node:process";
import { concat } from "@std/bytes";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { FrameDecoder, protocolHeader } from "../../src/codec/frame.ts";
import type { Close, Performative } from "../../src/codec/types.ts";
import { channelPair } from "../../src/transport/pair.ts";
import { turn } from "../client/virtual.ts";
import { attach, begin, flow, frame, transfer } from "../engine/script.ts";

/** The result of one flood. */
export interface Flood {
  readonly name: string;
  /** Bytes sent. */
  readonly bytes: number;
  /** Bytes kept for each byte sent. */
  readonly memory: number;
  /** Bytes kept in total. */
  readonly kept: number;
  /** Nanoseconds of work for each byte sent. */
  readonly time: number;
  /** The longest time, in milliseconds, for which one piece of 64 KiB kept all others waiting. */
  readonly longest: number;
  /** The error that ended the connection; undefined while it is open. */
  readonly ended: string | undefined;
}

/** Makes the frames of the `n`-th step of a flood. */
export type Step = (n: number) => Uint8Array;

const MAX_BYTES = 8_388_608;
const PIECE_BYTES = 65_536;

// The bound in docs/limits.md. The broker's fixed memory is more than that for floods that end at once.
const MAX_KEPT_PER_BYTE = 32;
const TEXT = "x".repeat(200);
const accepted = { kind: "accepted" } as const;
const received = (n: number) => ({ kind: "received", sectionNumber: 0, sectionOffset: BigInt(n) }) as const;

/** The frames before a flood: a session, a link to the broker, one from the broker, and credit for that. */
const READY: readonly Performative[] = [
  begin({ incomingWindow: 0xffff_ffff }),
  attach({ role: "sender", name: "out", handle: 0, target: { kind: "target", address: "in" } }),
  attach({ role: "receiver", name: "in", handle: 1, source: { kind: "source", address: "full" } }),
  flow({ handle: 1, linkCredit: 1_000, deliveryCount: 0, incomingWindow: 0xffff_ffff }),
];

/** All floods by name. */
export const floods: Readonly<Record<string, Step>> = {
  "empty frames": () => frame(undefined),
  "flows of the session": () => frame(flow()),
  "flows that want an echo": () => frame(flow({ echo: true })),
  "flows of a link with changing credit": (n) => frame(flow({ handle: 1, linkCredit: n, deliveryCount: 0 })),
  "flows that drain": (n) => frame(flow({ handle: 1, linkCredit: 1, deliveryCount: n, drain: true })),
  "windows of zero": () => frame(flow({ incomingWindow: 0, handle: 1, linkCredit: 10, deliveryCount: 0 })),
  "flows with properties": (n) => frame(flow({ handle: 1, properties: { [`${n}`]: TEXT } })),
  "dispositions of nothing": (n) => frame({ kind: "disposition", role: "receiver", first: n + 5_000, settled: true }),
  "dispositions of all": () =>
    frame({ kind: "disposition", role: "receiver", first: 0, last: 0x7fff_fffe, state: accepted }),
  "states that come again": (n) =>
    frame({ kind: "disposition", role: "receiver", first: 0, last: 999, state: received(n) }),
  "releases without end": (n) =>
    frame({ kind: "disposition", role: "receiver", first: n, settled: true, state: { kind: "released" } }),
  "modified with annotations": (n) =>
    concat([
      frame({
        kind: "disposition",
        role: "receiver",
        first: n,
        settled: true,
        state: { kind: "modified", messageAnnotations: { [`x-${n}`]: TEXT } },
      }),
      frame(flow({ handle: 1, linkCredit: 1_000, deliveryCount: n, incomingWindow: 0xffff_ffff })),
    ]),
  "rejected with info": (n) =>
    frame({
      kind: "disposition",
      role: "receiver",
      first: n,
      settled: true,
      state: { kind: "rejected", error: { condition: "x:y", description: TEXT, info: { a: TEXT } } },
    }),
  "begins": (n) => frame(begin({ handleMax: n }), { channel: 1 + n }),
  "begins and ends": () => concat([frame(begin(), { channel: 1 }), frame({ kind: "end" }, { channel: 1 })]),
  "begins with properties": (n) => frame(begin({ properties: { a: TEXT, b: `${n}` } }), { channel: 1 + n }),
  "attaches": (n) =>
    frame(attach({ role: "receiver", name: `${n}`, handle: 2 + n, source: { kind: "source", address: "q" } })),
  "attaches of ever new queues": (n) =>
    frame(attach({ role: "sender", name: `${n}`, handle: 2 + n, target: { kind: "target", address: `q${n}` } })),
  "attaches and detaches of ever new queues": (n) =>
    concat([
      frame(attach({ role: "sender", name: `${n}`, handle: 2, target: { kind: "target", address: `q${n}` } })),
      frame({ kind: "detach", handle: 2, closed: true }),
    ]),
  "attaches and suspends of durable subscriptions": (n) =>
    concat([
      frame(attach({
        role: "receiver",
        name: `${n}`,
        handle: 2,
        source: { kind: "source", address: "topic/a", durable: "unsettled-state", expiryPolicy: "never" } as never,
      })),
      frame({ kind: "detach", handle: 2 }),
    ]),
  "attaches with selectors": (n) =>
    concat([
      frame(attach({
        role: "receiver",
        name: `${n}`,
        handle: 2,
        source: {
          kind: "source",
          address: "q",
          filter: { "jms-selector": `a = ${n} OR ${"b LIKE '%a%' OR ".repeat(20)} c` },
        },
      })),
      frame({ kind: "detach", handle: 2, closed: true }),
    ]),
  "attaches with unsettled maps": (n) =>
    frame(attach({
      role: "receiver",
      name: `${n}`,
      handle: 2 + n,
      source: { kind: "source", address: "q" },
      unsettled: new Map(Array.from({ length: 200 }, (_, i) => [Uint8Array.of(n, i), null])),
    })),
  "attaches with empty lists": (n) =>
    frame(attach({
      role: "receiver",
      name: `${n}`,
      handle: 2 + n,
      source: { kind: "source", address: "q" },
      properties: { a: Array.from({ length: 2_000 }, () => []) },
    })),
  "dynamic nodes": (n) =>
    frame(attach({ role: "receiver", name: `${n}`, handle: 2 + n, source: { kind: "source", dynamic: true } })),
  "refused links": (n) =>
    concat([
      frame(attach({
        role: "receiver",
        name: `${n}`,
        handle: 2,
        source: { kind: "source", address: "q", filter: { unknown: "x" } },
      })),
      frame({ kind: "detach", handle: 2, closed: true }),
    ]),
  "transfers of one byte that never end": (n) =>
    n === 0
      ? frame(transfer(0, { more: true }), { payload: Uint8Array.of(0) })
      : frame({ kind: "transfer", handle: 0, more: true }, { payload: Uint8Array.of(0) }),
  "transfers of nothing that never end": (n) =>
    n === 0 ? frame(transfer(0, { more: true })) : frame({ kind: "transfer", handle: 0, more: true }),
  "deliveries that are given up": (n) => frame(transfer(n, { aborted: true })),
  "empty messages": (n) => frame(transfer(n)),
  "small messages": (n) => frame(transfer(n), { payload: Uint8Array.of(0, 0x53, 0x77, 0x40) }),
  "small messages, settled": (n) =>
    frame(transfer(n, { settled: true }), { payload: Uint8Array.of(0, 0x53, 0x77, 0x40) }),
  "messages of small annotations": (n) =>
    frame(transfer(n, { settled: true }), {
      payload: Uint8Array.of(0, 0x53, 0x72, 0xc1, 6, 2, 0xa3, 2, 0x78, 0x2d, 0x40, 0, 0x53, 0x77, 0x40),
    }),
  "messages that cannot be read": (n) =>
    frame(transfer(n, { settled: true }), { payload: Uint8Array.of(0, 0x53, 0x70, 0xc0, 5, 9) }),
  "messages with a ttl": (n) =>
    frame(transfer(n, { settled: true }), {
      payload: Uint8Array.of(
        0,
        0x53,
        0x70,
        0xc0,
        9,
        3,
        0x40,
        0x40,
        0x70,
        0,
        0,
        n >> 8 & 0xff,
        n & 0xff,
        0,
        0x53,
        0x77,
        0x40,
      ),
    }),
  "requests for transactions": (n) =>
    n === 0
      ? frame(attach({ role: "sender", name: "txn", handle: 2, target: { kind: "coordinator" } }))
      : frame(transfer(n - 1, { handle: 2 }), {
        payload: Uint8Array.of(0, 0x53, 0x77, 0, 0x53, 0x31, 0x45),
      }),
};

/** Runs all floods, or those whose name includes `only`. */
export async function measureFloods(only = ""): Promise<Flood[]> {
  const gc = (globalThis as { gc?: () => void }).gc;
  if (gc === undefined) throw new TypeError("Cannot measure memory: run with --expose-gc");
  const found: Flood[] = [];
  for (const [name, step] of Object.entries(floods)) {
    if (!name.includes(only)) continue;
    await using broker = await filledBroker();
    found.push({ name, ...await pour(broker, step, MAX_BYTES, () => used(gc)) });
  }
  return found.sort((a, b) => b.kept - a.kept);
}

/** Sends a flood to a broker, up to `most` bytes, and returns the result; `look` measures memory. */
export async function pour(broker: Broker, step: Step, most: number, look: () => number): Promise<Omit<Flood, "name">> {
  const [near, far] = channelPair();
  broker.accept(far);
  const decoder = new FrameDecoder({ maxFrameSize: 0xffff_ffff });
  let close: Close | undefined;
  let header = false;
  near.onbytes = (bytes) => {
    decoder.push(bytes);
    header ||= decoder.header() !== undefined;
    for (let one = header ? decoder.frame() : undefined; one !== undefined; one = decoder.frame()) {
      if (one.body?.kind === "close") close = one.body;
    }
  };
  let ended: string | undefined;
  near.onclose = ({ code }) => ended = close?.error?.condition ?? `code ${code}`;
  near.send(protocolHeader(0));
  near.send(frame({ kind: "open", containerId: "flood", maxFrameSize: 1_048_576, channelMax: 0xffff }));
  for (const body of READY) near.send(frame(body));
  await turn();
  await turn();
  const before = look();
  let [bytes, n, spent, longest] = [0, 0, 0, 0];
  while (bytes < most && close === undefined && ended === undefined) {
    const parts: Uint8Array[] = [];
    for (let size = 0; size < PIECE_BYTES; n++) {
      const part = step(n);
      parts.push(part);
      size += part.length;
    }
    const piece = concat(parts);
    const cpu = process.cpuUsage();
    const started = performance.now();
    near.send(piece);
    await turn();
    longest = Math.max(longest, performance.now() - started);
    const { user, system } = process.cpuUsage(cpu);
    spent += user + system;
    bytes += piece.length;
  }
  const kept = look() - before;
  ended ??= close?.error?.condition;
  near.close();
  return { bytes, memory: kept / bytes, kept, time: 1e3 * spent / bytes, longest, ended };
}

/** A broker with 2,000 messages in queue `full`. */
export async function filledBroker(options: BrokerOptions = {}): Promise<Broker> {
  const broker = new Broker({ log: null, ...options });
  const filler = await broker.connect();
  await filler.sender("full").sendAll(Array.from({ length: 2_000 }, (_, i) => ({ body: i })));
  await filler.close();
  return broker;
}

function used(gc: () => void): number {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Prints all floods, those with the most kept bytes first, and sets the exit code if one is above the bound. */
export async function printFloods(only?: string): Promise<void> {
  console.log(
    "flood                                            sent MB   kept MB  per byte  ns/byte  longest ms  ended",
  );
  const found = await measureFloods(only);
  for (const { name, bytes, kept, memory, time, longest, ended } of found) {
    console.log(
      `${name.padEnd(48)} ${(bytes / 1e6).toFixed(2).padStart(7)} ${(kept / 1e6).toFixed(2).padStart(9)} ${
        memory.toFixed(1).padStart(9)
      } ${time.toFixed(0).padStart(8)} ${longest.toFixed(0).padStart(11)}  ${ended ?? "open"}`,
    );
  }
  const above = found.filter(({ memory }) => memory > MAX_KEPT_PER_BYTE).map(({ name }) => name);
  if (above.length === 0) return;
  console.error(`More than ${MAX_KEPT_PER_BYTE} bytes are kept for each byte of ${above.join(", ")}`);
  process.exitCode = 1;
}
