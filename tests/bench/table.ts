/**
 * What is measured, and what it should come to.
 *
 * @module
 */

import { type Bench, DELAY_MS, LARGE, OURS, type Subject } from "./bench.ts";

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
const withRaw: Subject[] = everyPair.slice(0, 3);
const counts = ["1", "10", "100", "1000"];

/** Large messages that are sent. */
export const up: Bench = large("up", "send 64 KiB, 64 in flight");

/** Large messages that are received. */
export const down: Bench = large("down", "receive 64 KiB, credit 64");

/** Messages that are received whole, whatever their size. */
export const whole: Bench = {
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
  rows: [{
    title: "messages of 64 MB received whole, against 1 MB",
    value: "64 MB",
    over: "1 MB",
    least: 0.9,
    anchor: "of 1 MB",
  }],
};

/** The cost of an idle connection. */
export const idle: Bench = {
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
    {
      title: "server's memory of an idle connection",
      value: "ours",
      over: "raw",
      most: { deno: 1.1 },
      anchor: "raw WebSocket",
    },
  ],
};

/** The cost of a message that waits in a queue. */
/** Loading what a program loads. */
export const importing: Bench = {
  name: "import",
  measure: "value",
  unit: "ms",
  count: 1,
  fresh: true,
  subjects: [
    { name: "ours", client: "start", argument: OURS },
    { name: "rhea", client: "start", argument: "rhea" },
  ],
  rows: [{ title: "import in a new process", value: "ours", over: "rhea", most: 1, anchor: "rhea" }],
};

/** The benches against rhea, raw WebSockets, and this module itself. */
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
  up,
  down,
  whole,
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
  idle,
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
    rows: [{ title: "live bytes per message in a queue, of 100,000 of 200 B", value: "ours", most: 500 }],
  },
  growth("returned", "messages that came back, and are taken again"),
  growth("died", "messages of a consumer that dies, and are taken again"),
  growth("backwards", "messages that are released, the last one first"),
  growth("refused", "messages that one consumer refuses for itself"),
  growth("in flight", "sends in flight"),
  flat("links", "links on one connection"),
  flat("connections", "connections"),
  importing,
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
];

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
      { title, value: "ours", over: "raw", least: 0.8, anchor: "raw WebSocket" },
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
