/**
 * Runs the benches and tells what came of them.
 *
 * `npm run bench -- [NAME …] [--on deno,bun,node] [--rounds 5] [--ms 500] [--quick] [--json FILE] [--write]`
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, totalmem } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Bench, OURS, type Row, type Subject } from "./bench.ts";
import { type Child, runtimes, startChild } from "./children.ts";
import { install } from "../published.ts";
import { startRelay } from "./relay.ts";
import { benches } from "./table.ts";
import type { Absent, Result, Round } from "./worker.ts";

/** What one subject came to. */
interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** A subject that is up. */
interface Running {
  readonly subject: Subject;
  readonly client: Child;
  readonly server: Child | undefined;
  close(): void;
}

type Figures = Readonly<Record<string, Figure>>;

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

let published: string | undefined;
// Why something of the present bench cannot be had here.
let absent = "";

const heading =
  "| what | ours (min – max) | against (min – max) | ratio | aim | met |\n| --- | ---: | ---: | ---: | ---: | --- |\n";

await main();

async function main(): Promise<void> {
  const chosen = benches.filter(({ name, group = "" }) =>
    positionals.length === 0 ? group === "" : positionals.includes(name) || positionals.includes(group)
  );
  if (chosen.length === 0) throw new Error(`There is no such bench, but ${benches.map(({ name }) => name).join(", ")}`);
  const all: Record<string, Record<string, Figures>> = {};
  let tables = "";
  for (const runtime of options.on.split(",")) {
    const version = versionOf(runtime);
    process.stdout.write(`\n### ${version}\n\n${heading}`);
    tables += `\n### ${version}\n\n${heading}`;
    all[runtime] = {};
    for (const bench of chosen) {
      const figures = await measure(runtime, bench);
      all[runtime]![bench.name] = figures;
      const lines = bench.rows.map((row) => line(bench, row, figures)).join("");
      process.stdout.write(lines);
      tables += lines;
    }
  }
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(all, undefined, 2)}\n`);
  if (options.write) writeTables(tables);
}

/** Measures the subjects of a bench in turn, round by round, so that what slows the machine slows all of them. */
async function measure(runtime: string, bench: Bench): Promise<Figures> {
  const results = new Map<string, number[]>();
  absent = "";
  const note = (name: string, result: Result | undefined): void => {
    if (result === undefined) return;
    for (const [key, number] of Object.entries(result)) {
      const full = key === "value" ? name : `${name}.${key}`;
      if (!results.has(full)) results.set(full, []);
      results.get(full)!.push(number * (bench.scale ?? 1));
    }
  };
  if (bench.fresh) {
    for (let i = 0; i < rounds; i++) {
      for (const subject of bench.subjects) {
        const running = await start(runtime, bench, subject);
        if ("skipped" in running) continue;
        note(subject.name, await once(running, bench));
        running.close();
      }
    }
  } else {
    const all: Running[] = [];
    for (const subject of bench.subjects) {
      const running = await start(runtime, bench, subject);
      if ("skipped" in running) absent ||= running.skipped;
      else all.push(running);
    }
    // Compilers have seen all of the code when it counts.
    for (let i = 0; i < (options.quick ? 0 : 2); i++) for (const running of all) await once(running, bench);
    for (let i = 0; i < rounds; i++) {
      for (const running of all) note(running.subject.name, await once(running, bench));
    }
    for (const running of all) running.close();
  }
  return Object.fromEntries([...results].map(([name, numbers]) => [name, figure(numbers)]));
}

async function start(runtime: string, bench: Bench, subject: Subject): Promise<Running | Absent> {
  const { client: file, server: serverFile, work = bench.name, argument = "" } = subject;
  const server = serverFile === undefined
    ? undefined
    : await startChild(runtime, { role: "server", file: serverFile }, bench.measure === "growth");
  const lacks = (child: Child | undefined): boolean => typeof child?.greeting === "object" && child.greeting !== null;
  if (lacks(server)) {
    server!.kill();
    return server!.greeting as Absent;
  }
  const relay = bench.delayMs === undefined ? undefined : await startRelay(server!.greeting as string, bench.delayMs);
  const url = relay?.url ?? server?.greeting as string | undefined ?? "";
  const client = await startChild(runtime, { role: "client", file, work, url, argument: loadable(runtime, argument) });
  const close = (): void => {
    client.kill();
    server?.kill();
    relay?.close();
  };
  if (lacks(client)) {
    close();
    return client.greeting as Absent;
  }
  return { subject, client, server, close };
}

// Deno and Bun load TypeScript as it is published; Node would strip the types of every file each time.
function loadable(runtime: string, argument: string): string {
  if (argument !== OURS) return argument;
  return runtime === "node"
    ? published ??= install({ declarations: false }).main
    : new URL("../../mod.ts", import.meta.url).href;
}

async function once({ client, server }: Running, bench: Bench): Promise<Result | undefined> {
  const round: Round = {
    measure: bench.measure,
    count: options.quick ? Math.min(100, bench.count ?? 0) : bench.count,
    ms,
  };
  if (bench.measure !== "growth") return await client.ask(round) as Result | undefined;
  // As many as are counted bring code into memory that all share.
  await client.ask(round);
  const before = await server!.ask({}) as number;
  await client.ask(round);
  return { value: (await server!.ask({}) as number - before) / round.count! };
}

function figure(numbers: number[]): Figure {
  const sorted = numbers.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, min: sorted[0]!, max: sorted.at(-1)! };
}

function line(bench: Bench, row: Row, figures: Figures): string {
  const above = figures[row.value];
  const below = row.over === undefined ? undefined : figures[row.over];
  if (above === undefined || (row.over !== undefined && below === undefined)) {
    return `| ${row.title} | ${absent === "" ? "one of the two never finished" : `skipped: ${absent}`} |  |  |  |  |\n`;
  }
  const ratio = below === undefined ? above.median : above.median / below.median;
  const aim = row.least !== undefined ? `≥ ${row.least}` : row.most !== undefined ? `≤ ${row.most}` : "";
  const met = row.least !== undefined ? ratio >= row.least : row.most !== undefined ? ratio <= row.most : undefined;
  const cells = [
    row.title,
    show(above, bench.unit),
    below === undefined ? "" : `${row.over}: ${show(below, bench.unit)}`,
    below === undefined ? "" : `${plain(ratio)}×`,
    below === undefined ? aim : aim && `${aim}×`,
    met === undefined ? "" : met ? "yes" : "no",
  ];
  return `| ${cells.join(" | ")} |\n`;
}

function show({ median, min, max }: Figure, unit: string): string {
  return `${plain(median)} ${unit} (${plain(min)} – ${plain(max)})`;
}

// Three digits are more than such numbers are good for.
function plain(number: number): string {
  const digits = number >= 100 ? 0 : number >= 10 ? 1 : 2;
  return (number >= 1_000 ? Number(number.toPrecision(3)) : Number(number.toFixed(digits))).toLocaleString("en");
}

function versionOf(runtime: string): string {
  const { version } = JSON.parse(
    readFileSync(new URL(`../../node_modules/${runtimes[runtime]!.package}/package.json`, import.meta.url), "utf8"),
  );
  return `${runtime} ${version}`;
}

function writeTables(tables: string): void {
  const path = new URL("README.md", import.meta.url);
  const [before] = readFileSync(path, "utf8").split("<!-- tables -->");
  const model = cpus()[0]!.model;
  const machine = `${process.platform} ${arch()}, ${cpus().length} cores of ${model}, ${
    Math.round(totalmem() / 2 ** 30)
  } GiB`;
  const how = `${rounds} rounds of ${ms} ms each, ${new Date().toISOString().slice(0, 10)}`;
  writeFileSync(path, `${before}<!-- tables -->\n\n${machine}; ${how}.\n${tables}`);
}
