/**
 * One side of a bench in a separate process: it prints a line when it is ready, and one for each line that it reads.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { type Contender, type Measure, quantiles, type Work } from "./bench.ts";
import { residentBytes } from "./memory.ts";

/** The worker's only argument. */
export type Start =
  | { readonly role: "server"; readonly file: string }
  | {
    readonly role: "client";
    readonly file: string;
    readonly work: string;
    readonly url: string;
    readonly argument: string;
  };

/** A line of its input. */
export interface Round {
  readonly measure: Measure;
  /** The number of operations, if it is fixed. */
  readonly count: number | undefined;
  /** The milliseconds of the round, if it is not. */
  readonly ms: number;
}

/** The worker's first line if it lacks something that it needs. */
export interface Absent {
  /** The reason. */
  readonly skipped: string;
}

/** The result of a round, by name. */
export type Result = Readonly<Record<string, number>>;

/** The worker's last line if it fails. */
export interface Failed {
  /** Why. */
  readonly failed: string;
}

let perRound = 1_000;

// Its children end with it.
process.on("SIGTERM", () => process.exit());

const start: Start = JSON.parse(process.argv[2]!);
try {
  await work(await load(start.file));
} catch (error) {
  say({ failed: error instanceof Error ? error.message : String(error) } satisfies Failed);
}
process.exit();

// By name, so that a process loads only the measured modules.
async function work(contender: Contender): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  if (start.role === "server") {
    say(await orSkipped(contender.serve!));
    for await (const _ of lines) say(contender.residentBytes?.() ?? residentBytes());
  } else {
    const { work, url, argument } = start;
    const prepared = await orSkipped(() => contender.works[work]!(url, argument));
    say(typeof prepared === "function" ? "ready" : prepared);
    for await (const line of lines) say(await round(prepared as Work, JSON.parse(line)));
  }
}

// By name, so that a process loads nothing but what it measures.
async function load(file: string): Promise<Contender> {
  switch (file) {
    case "ours":
      return (await import("./ours.ts")).contender;
    case "observed":
      return (await import("./observed.ts")).contender;
    case "rhea":
      return (await import("./rhea.ts")).contender;
    case "raw":
      return (await import("./raw.ts")).contender;
    case "broker":
      return (await import("./broker.ts")).contender;
    case "anchored":
      return (await import("./anchored.ts")).contender;
    case "proton":
    case "fe2o3":
    case "load":
    case "rust":
    case "artemis":
    case "brokerJ":
    case "protonBroker":
      return (await import("./anchors.ts"))[file];
    case "start":
      return (await import("./start.ts")).contender;
    default:
      return (await import("./bundle.ts")).contender;
  }
}

// Reports what this machine lacks, to be left out.
async function orSkipped<T>(make: () => T | Promise<T>): Promise<T | Absent> {
  try {
    return await make();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "Skipped") throw error;
    return { skipped: error.message };
  }
}

function say(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function round(work: Work, { measure, count, ms }: Round): Promise<Result> {
  if (measure === "rate") return rate(work, ms, count ?? 100);
  return measure === "latency" ? latency(work, ms) : value(work, count!);
}

// Runs as many operations as take about `ms`, estimated by earlier rounds: the clock is not read in between.
async function rate(work: Work, ms: number, least: number): Promise<Result> {
  for (;;) {
    const count = Math.max(perRound, least);
    const started = performance.now();
    await work(count);
    const elapsed = performance.now() - started;
    perRound = Math.ceil(count * Math.min(10, ms / elapsed));
    if (elapsed > ms / 2) return { value: count / elapsed * 1e3 };
  }
}

async function latency(work: Work, ms: number): Promise<Result> {
  const samples: number[] = [];
  const end = performance.now() + ms;
  for (let before = performance.now(); before < end;) {
    await work(1);
    const after = performance.now();
    samples.push((after - before) * 1e3);
    before = after;
  }
  return quantiles(samples);
}

async function value(work: Work, count: number): Promise<Result> {
  const measured = await work(count);
  return typeof measured === "object" ? measured : { value: measured || 0 };
}
