/**
 * What is measured beside the fastest of any language, in the order in which the table of the fastest tells it.
 *
 * @module
 */

import { type Aim, type Bench, LARGE, PACE, type Row, type Subject } from "./bench.ts";
import { benches, down, idle, importing, up, whole } from "./table.ts";

const PROTON = "Proton C";
const FE2O3 = "fe2o3";
const ARTEMIS = "Artemis";
const BROKER_J = "Broker-J";
const RUST = "Rust";

const ours: Subject = { name: "ours", client: "anchored", server: "rust" };
const ws: Subject = { ...ours, name: "ws", argument: "ws" };
const proton: Subject = { name: PROTON, client: "proton", server: "rust" };
const fe2o3: Subject = { name: FE2O3, client: "fe2o3", server: "rust", argument: "ws" };

const servers: Readonly<Record<string, string>> = {
  [ARTEMIS]: "artemis",
  [BROKER_J]: "brokerJ",
  [PROTON]: "protonBroker",
};

// Rounds that a JVM needs until its compilers have seen all of the code.
const JVM_WARM_UPS = 8;

/** All of them. */
export const fastest: readonly Bench[] = [
  client("send", [ours, ws, proton], [
    beside(PROTON, "send 200 B, 1,000 in flight, TCP", "ours", { least: { node: 1, deno: 0.9, bun: 1 } }),
    beside("our own TCP", "send 200 B over WebSocket", "ws", { over: "ours", least: 0.95 }),
  ]),
  client("receive", [ours, proton], [
    beside(PROTON, "receive 200 B, accept each, TCP", "ours", { least: 1 }),
  ]),
  client("each", [{ ...ws, work: "receive" }, { ...ws, name: "each" }, { ...ws, name: RUST, client: "load" }], [
    beside("receive in large ones", "receive 200 B over WebSocket, a WebSocket message each", "each", {
      over: "ws",
      least: 0.8,
    }),
    beside(RUST, "… against a client that costs next to nothing", "each", {}),
  ]),
  large("up", [
    beside(FE2O3, "64 KiB sent, WebSocket", "ws", { least: 1.2 }),
    { title: "… TCP, against Proton C", value: "ours", over: PROTON },
  ]),
  large("down", [
    beside(FE2O3, "64 KiB received, WebSocket", "ws", { least: 1.3 }),
    { title: "… TCP, against Proton C", value: "ours", over: PROTON },
  ]),
  up,
  down,
  whole,
  {
    ...client("publish", [ours, proton], [
      beside(PROTON, "fresh connection and publish, TCP, p50", "ours.p50", { over: `${PROTON}.p50`, most: 1.1 }),
      beside(PROTON, "fresh connection and publish, TCP, p99", "ours.p99", { over: `${PROTON}.p99`, most: 2.5 }),
    ]),
    unit: "µs",
  },
  {
    ...client("first", [{ ...ours, work: "publish" }, { name: "rhea", client: "rhea", server: "rust" }], [
      beside("rhea", "fresh connection and publish, TCP, the first 300 of a process, p50", "ours.p50", {
        over: "rhea.p50",
        most: 0.9,
      }),
    ]),
    unit: "µs",
    fresh: true,
  },
  importing,
  broker("1", [BROKER_J, ARTEMIS], [
    beside(BROKER_J, "broker, a producer and a consumer, TCP", "ours", { least: { node: 1.3, deno: 1, bun: 1.5 } }),
    { title: "… against Artemis", value: "ours", over: ARTEMIS },
  ]),
  broker("1 ws", [ARTEMIS], [
    beside(ARTEMIS, "broker, a producer and a consumer, WebSocket", "ours", {
      least: { node: 1.3, deno: 1, bun: 1.5 },
    }),
  ]),
  broker("10", [ARTEMIS, BROKER_J], [
    beside(ARTEMIS, "broker, 10 and 10, own queues", "ours", { least: { node: 1, deno: 0.8, bun: 1 } }),
    { title: "… against Broker-J", value: "ours", over: BROKER_J },
  ]),
  broker("10 shared", [ARTEMIS, BROKER_J], [
    beside(ARTEMIS, "broker, 10 and 10, one queue", "ours", { least: { node: 1, deno: 0.8, bun: 1 } }),
    { title: "… against Broker-J", value: "ours", over: BROKER_J },
  ]),
  {
    ...broker("", [BROKER_J, ARTEMIS], [
      beside(BROKER_J, `broker, ${PACE.toLocaleString("en")} messages a second, p99`, "ours.p99", {
        over: `${BROKER_J}.p99`,
        most: 2,
      }),
      { title: "… against Artemis", value: "ours.p99", over: `${ARTEMIS}.p99` },
    ], "paced"),
    name: "anchor paced",
    unit: "µs",
    warmUps: 2,
  },
  {
    ...broker("", [ARTEMIS, PROTON], [
      { title: "memory of a queued message", value: "ours", most: 500, anchor: `${PROTON}, ${ARTEMIS}` },
      beside(PROTON, "… against Proton's example of a broker", "ours", {}),
      beside(ARTEMIS, "… against Artemis", "ours", {}),
    ], "fill"),
    name: "anchor queued",
    measure: "growth",
    unit: "B",
    count: 100_000,
    fresh: true,
  },
  idle,
];

/** All benches, in the order in which they run. */
export const everything: readonly Bench[] = [...new Set([...benches, ...fastest])];

function client(work: string, subjects: readonly Subject[], rows: readonly Row[]): Bench {
  return {
    name: `anchor ${work}`,
    measure: "value",
    unit: "msg/s",
    count: 1,
    subjects: subjects.map((subject) => ({ work, ...subject })),
    rows,
  };
}

function large(work: string, rows: readonly Row[]): Bench {
  return { ...client(work, [ours, ws, proton, fe2o3], rows), unit: "MB/s", scale: LARGE / 1e6 };
}

function broker(argument: string, anchors: readonly string[], rows: readonly Row[], work = "through"): Bench {
  return {
    name: `anchor broker ${argument}`,
    measure: "value",
    unit: "msg/s",
    count: 1,
    warmUps: JVM_WARM_UPS,
    subjects: [{ name: "ours", server: "broker" }, ...anchors.map((name) => ({ name, server: servers[name]! }))].map(
      (subject) => ({ client: "load", work, argument, ...subject }),
    ),
    rows,
  };
}

function beside(
  anchor: string,
  title: string,
  value: string,
  aim: { readonly over?: string; readonly least?: Aim; readonly most?: Aim },
): Row {
  return { title, value, over: anchor, anchor, ...aim };
}
