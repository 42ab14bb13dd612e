/**
 * Runs the benches and tells what came of them.
 *
 * `npm run bench -- [NAME …] [--on deno,bun,node] [--rounds 5] [--ms 500] [--quick] [--json FILE] [--write]`
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { install } from "../published.ts";
import { type Bench, BRING, OURS, type Subject } from "./bench.ts";
import { type Child, runtimes, startChild } from "./children.ts";
import { everything, fastest } from "./fastest.ts";
import { keep } from "./last_run.ts";
import { startRelay } from "./relay.ts";
import { type Figure, heading, lines, type Outcome, type RuntimeOutcomes, summary } from "./report.ts";
import type { Absent, Result, Round } from "./worker.ts";

/** A subject that is up. */
interface Running {
  readonly subject: Subject;
  readonly client: Child;
  readonly server: Child | undefined;
  close(): void;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    on: { type: "string", default: Object.keys(runtimes).join() },
    rounds: { type: "string", default: "5" },
    ms: { type: "string", default: "500" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    write: { type: "boolean", default: false },
  },
});
// Enough to see that everything works; the numbers mean little.
const rounds = options.quick ? 1 : Number(options.rounds);
const ms = options.quick ? 20 : Number(options.ms);
const how = `${rounds} ${rounds === 1 ? "round" : "rounds"} of ${ms} ms, ${new Date().toISOString().slice(0, 10)}`;

/** Stands for the benches beside the fastest. */
const ANCHORS = "anchors";

let published: string | undefined;

await main();

async function main(): Promise<void> {
  const chosen = positionals.length === 0
    ? everything
    : everything.filter((one) =>
      positionals.includes(one.name) || positionals.includes(ANCHORS) && fastest.includes(one)
    );
  for (const name of positionals) {
    if (name === ANCHORS || everything.some((bench) => bench.name === name)) continue;
    throw new Error(`There is no bench "${name}", but ${ANCHORS}, ${everything.map((bench) => bench.name).join(", ")}`);
  }
  // The workers that are started inherit it.
  if (positionals.some((name) => name.startsWith("anchor"))) process.env[BRING] = "1";
  const all: Record<string, RuntimeOutcomes> = {};
  for (const runtime of options.on.split(",")) {
    const version = versionOf(runtime);
    const outcomes: Record<string, Outcome> = {};
    process.stdout.write(`\n### ${runtime} ${version}\n\n${heading}`);
    for (const bench of chosen) {
      const outcome = outcomes[bench.name] = await measure(runtime, bench);
      process.stdout.write(lines(bench, runtime, outcome));
    }
    all[runtime] = { version, benches: outcomes };
    // So that a run that is ended early has not been for nothing.
    if (options.write) keep(all);
  }
  const beside = fastest.filter((bench) => chosen.includes(bench));
  if (beside.length > 0) process.stdout.write(`\n### Beside the fastest\n\n${summary(beside, all)}`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(all, undefined, 2)}\n`);
}

/** Measures the subjects of a bench in turn, round by round, so that what slows the machine slows all of them. */
async function measure(runtime: string, bench: Bench): Promise<Outcome> {
  const results = new Map<string, Map<string, number[]>>();
  const missing: Record<string, string> = {};
  let all: Running[] = [];
  // One subject that fails is left out, and the others go on.
  const orMissing = async (subject: Subject, run: () => Promise<void>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      const { name, message } = error as Error;
      const skipped = name === "Skipped";
      if (!skipped) process.exitCode = 1;
      missing[subject.name] = `${skipped ? "skipped" : "failed"}: ${message}`;
      results.delete(subject.name);
      all = all.filter((running) => {
        if (running.subject === subject) running.close();
        return running.subject !== subject;
      });
    }
  };
  const up = (subject: Subject) => orMissing(subject, async () => void all.push(await start(runtime, bench, subject)));
  const down = (): void => {
    for (const running of all) running.close();
    all = [];
  };
  const round = (running: Running, counts: boolean) =>
    orMissing(running.subject, async () => {
      const result = await once(running, bench);
      if (counts) note(results, running.subject.name, result, bench.scale ?? 1);
    });
  if (bench.fresh) {
    for (let i = 0; i < rounds; i++) {
      for (const subject of bench.subjects) {
        if (missing[subject.name] !== undefined) continue;
        await up(subject);
        for (const running of all) await round(running, true);
        down();
      }
    }
  } else {
    for (const subject of bench.subjects) await up(subject);
    // Compilers have seen all of the code when it counts.
    const warmUps = options.quick ? 0 : bench.warmUps ?? 2;
    for (let i = 0; i < warmUps + rounds; i++) for (const running of all) await round(running, i >= warmUps);
    down();
  }
  const figures: Record<string, Figure> = {};
  for (const found of results.values()) for (const [name, numbers] of found) figures[name] = figure(numbers);
  return { how, figures, missing };
}

function note(results: Map<string, Map<string, number[]>>, subject: string, result: Result, scale: number): void {
  if (!results.has(subject)) results.set(subject, new Map());
  const found = results.get(subject)!;
  for (const [key, number] of Object.entries(result)) {
    const name = key === "value" ? subject : `${subject}.${key}`;
    if (!found.has(name)) found.set(name, []);
    found.get(name)!.push(number * scale);
  }
}

async function start(runtime: string, bench: Bench, subject: Subject): Promise<Running> {
  const { client: file, server: serverFile, work = bench.name, argument = "" } = subject;
  using stack = new DisposableStack();
  const up = async (...args: Parameters<typeof startChild>): Promise<Child> => {
    const child = await startChild(...args);
    stack.defer(() => child.kill());
    const { skipped } = (child.greeting ?? {}) as Partial<Absent>;
    if (skipped !== undefined) throw Object.assign(new Error(skipped), { name: "Skipped" });
    return child;
  };
  const server = serverFile === undefined
    ? undefined
    : await up(runtime, { role: "server", file: serverFile }, { measured: bench.measure === "growth" });
  const relay = bench.delayMs === undefined ? undefined : await startRelay(server!.greeting as string, bench.delayMs);
  if (relay !== undefined) stack.defer(() => relay.close());
  const url = relay?.url ?? server?.greeting as string | undefined ?? "";
  const client = await up(runtime, { role: "client", file, work, url, argument: loadable(runtime, argument) }, {
    server,
  });
  const running = stack.move();
  return { subject, client, server, close: () => running.dispose() };
}

// Deno and Bun load TypeScript as it is published; Node would strip the types of every file each time.
function loadable(runtime: string, argument: string): string {
  if (argument !== OURS) return argument;
  return runtime === "node"
    ? published ??= install({ declarations: false }).main
    : new URL("../../mod.ts", import.meta.url).href;
}

async function once({ client, server }: Running, bench: Bench): Promise<Result> {
  const round: Round = {
    measure: bench.measure,
    count: options.quick ? Math.min(100, bench.count ?? 0) : bench.count,
    ms,
  };
  // A client whose server has gone may wait for it.
  const ask = async (): Promise<Result> =>
    await Promise.race([client.ask(round), ...server === undefined ? [] : [server.ended]]) as Result;
  if (bench.measure !== "growth") return await ask();
  // As many as are counted bring code into memory that all share.
  await ask();
  const before = await server!.ask({}) as number;
  await ask();
  return { value: (await server!.ask({}) as number - before) / round.count! };
}

function figure(numbers: number[]): Figure {
  const sorted = numbers.toSorted((a, b) => a - b);
  return [sorted[sorted.length >> 1]!, sorted[0]!, sorted.at(-1)!].map(kept) as [number, number, number];
}

// Digits enough for any ratio that is told.
function kept(number: number): number {
  return Number(number.toPrecision(5));
}

function versionOf(runtime: string): string {
  const { package: name } = runtimes[runtime]!;
  return JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}
