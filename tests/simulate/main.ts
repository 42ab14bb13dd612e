/**
 * Simulates: `npm run simulate -- --seed 1 --runs 10000`, in `--jobs` processes, by default one a processor. It ends with
 * status 1 at the first run that breaks a rule, and prints its seed and what happened; `--runs 1` with that seed repeats it
 * to the byte. `--planted` shows that bugs are found: each of those in `planted.ts`, and by which seed.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findPlanted } from "./planted.ts";
import { simulate, Violation } from "./simulation.ts";

// Fewer seeds are not worth another process.
const RUNS_A_JOB = 50;

interface Sums {
  accepted: number;
  failed: number;
  cuts: number;
}

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "1000" },
    planted: { type: "boolean", default: false },
    jobs: { type: "string", default: String(availableParallelism()) },
    // Prints sums for a parent process.
    sums: { type: "boolean", default: false },
  },
});
const first = Number(values.seed);
const runs = Number(values.runs);
const jobs = Math.max(1, Math.min(Number(values.jobs), Math.ceil(runs / RUNS_A_JOB)));

if (values.planted) process.exitCode = findPlanted(runs) ? 0 : 1;
else await simulateAll();

async function simulateAll(): Promise<void> {
  const started = performance.now();
  const sums = await (jobs === 1 ? run() : share());
  if (values.sums) return console.log(JSON.stringify(sums));
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(
    `${runs} runs in ${seconds} s, 0 violations: ${sums.accepted} sends accepted, ${sums.failed} not, ` +
      `${sums.cuts} connections cut`,
  );
}

async function run(): Promise<Sums> {
  const sums = { accepted: 0, failed: 0, cuts: 0 };
  for (let seed = first; seed < first + runs; seed++) {
    try {
      add(sums, await simulate(seed));
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      console.error(error.trace.join("\n"));
      console.error(error.cause);
      console.error(`Seed ${seed} breaks a rule: npm run simulate -- --seed ${seed} --runs 1`);
      process.exit(1);
    }
  }
  return sums;
}

// Every job has a part of the seeds; the first failure ends the others.
async function share(): Promise<Sums> {
  const sums = { accepted: 0, failed: 0, cuts: 0 };
  const size = Math.ceil(runs / jobs);
  const children = Array.from({ length: jobs }, (_, job) => {
    const part = ["--seed", String(first + job * size), "--runs", String(Math.min(size, runs - job * size))];
    const before = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const file = fileURLToPath(import.meta.url);
    return spawn(process.execPath, [...before, file, ...part, "--jobs", "1", "--sums"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  });
  await Promise.all(children.map((child) => {
    let output = "";
    child.stdout.on("data", (piece) => output += piece);
    return new Promise<void>((resolve) => {
      child.on("close", (code) => {
        if (code !== 0) {
          for (const other of children) other.kill();
          process.exit(1);
        }
        // Node's test runner, which the harness uses, adds lines of its own.
        add(sums, JSON.parse(output.split("\n").find((line) => line.startsWith("{"))!));
        resolve();
      });
    });
  }));
  return sums;
}

function add(sums: Sums, { accepted, failed, cuts }: Sums): void {
  sums.accepted += accepted;
  sums.failed += failed;
  sums.cuts += cuts;
}
