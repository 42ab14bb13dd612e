/**
 * What is measured, and what it should come to.
 *
 * @module
 */

import { type Bench, DELAY_MS, LARGE, OURS, type Row, type Subject } from "./bench.ts";

const alone: Subject[] = [{ name: "ours", client: "ours" }, { name: "rhea", client: "rhea" }];
const everyPair: Subject[] = [
  { name: "ours", client: "ours", server: "ours" },
  { name: "rhea", client: "rhea", server: "rhea" },
  { name: "raw", client: "raw", server: "raw" },
  { name: "ours to rhea", client: "ours", server: "rhea" },
  { name: "rhea to ours", client: "rhea", server: "ours" },
];
const sockets: Subject = { name: "sockets", client: "ours", server: "ours", argument: "socket" };
const native: Subject = { name: "native", client: "ours", server: "ours", argument: "websocket" };
const ws: Subject = { name: "ws", client: "anchored", server: "rust", work: "receive", argument: "ws" };
const withRaw: Subject[] = everyPair.slice(0, 3);
const counts = ["1", "10", "100", "1000"];

/** All benches, in the order in which they run. */
export const benches: readonly Bench[] = [
  codec("encode", "encode a small message", 8),
  codec("decode", "decode a small message", 8),
  codec("transfer", "decode a transfer frame, 200 B", 10),
  codec("disposition", "decode a disposition frame", 10),
  small("send", "send 200 B, 1,000 in flight"),
  small("receive", "receive 200 B, credit 1,000, accept each"),
  {
    name: "observed",
    measure: "rate",
    unit: "msg/s",
    subjects: ["off", "no SDK", "SDK", "frames", "lines"].map((name) => ({
      name,
      client: "observed",
      server: "ours",
      work: "send",
      argument: name,
    })),
    rows: [
      { title: "send 200 B with telemetry, no SDK registered, against none", value: "no SDK", over: "off" },
      { title: "… by the SDK, a span and five measurements each", value: "SDK", over: "off" },
      { title: "send 200 B with a function that is told of frames, against none", value: "frames", over: "off" },
      { title: "… with `jsonLines`", value: "lines", over: "off" },
    ],
  },
  large("up", "send 64 KiB, 64 in flight"),
  large("down", "receive 64 KiB, credit 64"),
  {
    name: "whole",
    measure: "value",
    unit: "MB/s",
    count: 1,
    subjects: [1, 64].map((size) => ({
      name: `${size} MB`,
      client: "ours",
      server: "ours",
      argument: `${size * 1e6}`,
    })),
    rows: [{ title: "messages of 64 MB received whole, against 1 MB", value: "64 MB", over: "1 MB", least: 0.9 }],
  },
  {
    name: "latency",
    measure: "latency",
    unit: "µs",
    subjects: withRaw,
    rows: [
      { title: "one in flight, send to outcome, p50", value: "ours.p50", over: "raw.p50", most: 1.3 },
      { title: "… p99", value: "ours.p99", over: "raw.p99" },
      { title: "… p50 of rhea", value: "rhea.p50", over: "raw.p50" },
    ],
  },
  {
    name: "publish",
    measure: "value",
    unit: "round trips",
    count: 1,
    delayMs: DELAY_MS,
    subjects: [
      { name: "ours", client: "ours", server: "ours" },
      { name: "ours, SASL ahead", client: "ours", server: "ours", argument: "pipelined" },
      { name: "rhea", client: "rhea", server: "rhea" },
      { name: "rhea, in turn", client: "rhea", server: "rhea", argument: "in turn" },
    ],
    rows: [
      { title: "publish, dial to outcome", value: "ours", most: 6 },
      { title: "… SASL ahead", value: "ours, SASL ahead", most: 4 },
      { title: "… rhea", value: "rhea" },
      { title: "… rhea, each step awaited as rhea-promise does", value: "rhea, in turn" },
    ],
  },
  {
    name: "idle",
    measure: "growth",
    unit: "KB",
    scale: 1e-3,
    count: 1_000,
    fresh: true,
    subjects: [
      { name: "ours", client: "ours", server: "ours" },
      { name: "rhea", client: "ours", server: "rhea" },
      { name: "raw", client: "raw", server: "raw" },
    ],
    rows: [
      { title: "server's RSS per idle connection, of 1,000", value: "ours", over: "rhea", most: 0.5 },
      { title: "… against a raw WebSocket", value: "ours", over: "raw" },
    ],
  },
  {
    name: "unsettled",
    measure: "value",
    unit: "B",
    count: 100_000,
    fresh: true,
    subjects: withRaw.slice(0, 2),
    rows: [{ title: "bytes per unsettled delivery, of 100,000 of 200 B", value: "ours", over: "rhea", most: 0.5 }],
  },
  {
    name: "broker",
    measure: "rate",
    unit: "msg/s",
    subjects: [
      { name: "1", client: "broker", server: "broker", argument: "1" },
      { name: "10", client: "broker", server: "broker", argument: "10" },
      { name: "10 one", client: "broker", server: "broker", argument: "10 one" },
    ],
    rows: [
      { title: "broker, a producer and a consumer, 200 B", value: "1" },
      { title: "… 10 and 10, each pair on a queue of its own", value: "10", over: "1" },
      { title: "… 10 and 10 on one queue", value: "10 one", over: "1" },
    ],
  },
  {
    name: "queued",
    measure: "value",
    unit: "B",
    count: 100_000,
    fresh: true,
    subjects: [{ name: "ours", client: "broker" }],
    rows: [{ title: "bytes per message in a queue, of 100,000 of 200 B", value: "ours", most: 500 }],
  },
  growth("returned", "messages that came back, and are taken again"),
  growth("backwards", "messages that are released, the last one first"),
  growth("refused", "messages that one consumer refuses for itself"),
  growth("in flight", "sends in flight"),
  flat("links", "links on one connection"),
  flat("connections", "connections"),
  {
    name: "import",
    measure: "value",
    unit: "ms",
    count: 1,
    fresh: true,
    subjects: [
      { name: "ours", client: "start", argument: OURS },
      { name: "rhea", client: "start", argument: "rhea" },
    ],
    rows: [{ title: "import in a new process", value: "ours", over: "rhea", most: 1 }],
  },
  {
    name: "bundle",
    measure: "value",
    unit: "KB",
    scale: 1e-3,
    count: 1,
    fresh: true,
    subjects: ["publish", "connect", "everything", "rhea"].map((name) => ({ name, client: "bundle", argument: name })),
    rows: [
      { title: "bundle of `publish`, min+gzip", value: "publish", most: 12 },
      { title: "… `connect`", value: "connect", most: 20 },
      { title: "… everything", value: "everything", most: 45 },
      { title: "… rhea, without the polyfills that it needs", value: "rhea" },
    ],
  },
  anchor("send", "send 200 B over TCP, 1,000 in flight, against Proton C", { least: 1 }, [
    { title: "… over WebSocket, against TCP", value: "ws", over: "ours", least: 0.95 },
  ]),
  anchor("receive", "receive 200 B over TCP, accept each, against Proton C", { least: 1 }),
  {
    ...anchored("each"),
    subjects: [ws, { ...ws, name: "each", work: "each" }],
    rows: [{
      title: "receive 200 B over WebSocket, a message each, against large ones",
      value: "each",
      over: "ws",
      least: 0.8,
    }],
  },
  anchor("up", "send 64 KiB over TCP, against Proton C", {}, [{
    title: "… over WebSocket",
    value: "ws",
    over: "proton",
  }]),
  anchor("down", "receive 64 KiB over TCP, against Proton C", {}, [
    { title: "… over WebSocket", value: "ws", over: "proton" },
  ]),
  {
    ...anchored("publish"),
    unit: "µs",
    subjects: clients("publish").filter(({ name }) => name !== "ws"),
    rows: [
      {
        title: "fresh connection and publish over TCP, p50, against Proton C",
        value: "ours.p50",
        over: "proton.p50",
        most: 1.1,
      },
      { title: "… p99", value: "ours.p99", over: "proton.p99", most: 2.5 },
    ],
  },
  {
    ...anchored("paced"),
    unit: "µs",
    subjects: brokers("paced", ""),
    rows: ["artemis", "brokerJ"].map((over) => ({
      title: `broker, 20,000 messages a second, p99, against ${over}`,
      value: "broker.p99",
      over: `${over}.p99`,
      most: 2,
    })),
  },
  ...["1", "10", "10 one"].map((pairs): Bench => ({
    name: `anchor broker ${pairs}`,
    group: "anchors",
    measure: "rate",
    unit: "msg/s",
    subjects: brokers("broker", pairs),
    rows: ["artemis", "brokerJ"].map((over) => ({ title: `broker, ${pairs}, against ${over}`, value: "broker", over })),
  })),
];

function anchored(name: string): Omit<Bench, "subjects" | "rows"> {
  return { name: `anchor ${name}`, group: "anchors", measure: "value", unit: "msg/s", count: 1 };
}

function anchor(name: string, title: string, aim: Partial<Row>, more: readonly Row[] = []): Bench {
  return {
    ...anchored(name),
    subjects: clients(name),
    rows: [{ title, value: "ours", over: "proton", ...aim }, ...more],
  };
}

function clients(work: string): Subject[] {
  return [
    { name: "ours", client: "anchored", server: "rust", work },
    { ...ws, work },
    { name: "proton", client: "proton", server: "rust", work },
  ];
}

function brokers(work: string, argument: string): Subject[] {
  return ["broker", "artemis", "brokerJ"].map((server) => ({ name: server, client: "broker", server, work, argument }));
}

function codec(name: string, title: string, least: number): Bench {
  return { name, measure: "rate", unit: "1/s", subjects: alone, rows: [{ title, value: "ours", over: "rhea", least }] };
}

function small(name: string, title: string): Bench {
  return {
    name,
    measure: "rate",
    unit: "msg/s",
    subjects: [...everyPair, sockets, native],
    rows: [
      { title, value: "ours", over: "rhea", least: 8 },
      { title: "… our client, rhea's server", value: "ours to rhea", over: "rhea", least: 1.5 },
      { title: "… rhea's client, our server", value: "rhea to ours", over: "rhea", least: 1.5 },
      { title: "… against a raw WebSocket message each", value: "ours", over: "raw" },
      { title: "… our framing over sockets, against the runtime's WebSocket", value: "sockets", over: "native" },
    ],
  };
}

function large(name: string, title: string): Bench {
  return {
    name,
    measure: "rate",
    unit: "MB/s",
    scale: LARGE / 1e6,
    subjects: [...withRaw, sockets, native],
    rows: [
      { title, value: "ours", over: "raw", least: 0.8 },
      { title: "… of rhea", value: "rhea", over: "raw" },
      { title: "… our framing over sockets, against the runtime's WebSocket", value: "sockets", over: "native" },
    ],
  };
}

function growth(name: string, what: string): Bench {
  return {
    name,
    measure: "value",
    unit: "µs",
    count: 1,
    subjects: [1_000, 200_000].map((size) => ({ name: `${size}`, client: "broker", argument: `${size}` })),
    rows: [{ title: `cost of each of 200,000 ${what}, against 1,000`, value: "200000", over: "1000", most: 1.5 }],
  };
}

// The cost of a message is one over the rate, so a ratio of costs has them the other way round.
function flat(name: string, what: string): Bench {
  return {
    name,
    measure: "rate",
    unit: "msg/s",
    // Enough for each of 1,000 links to have its window full.
    count: 32_000,
    subjects: counts.map((count) => ({ name: count, client: "ours", server: "ours", argument: count })),
    rows: counts.slice(1).map((count) => ({
      title: `cost per message, ${count} ${what} against 1`,
      value: "1",
      over: count,
      most: 1.5,
    })),
  };
}
