/**
 * Changes one thing in the source at a time and runs the tests that must notice: `npm run mutate -- [--rules] [--only TEXT]
 * [--minutes 25] [--seconds 90]`: minutes for all, and seconds for one mutation's tests.
 *
 * It works in a copy of the tree, where the unchanged tests have to pass first, prints survivors and score, and ends with
 * status 1 below 95 percent. A mutation whose tests do not end counts as killed, and separately.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rules } from "./rules.ts";
import { type Mutation, mutations } from "./table.ts";
import { Copy, misfits } from "./tree.ts";

const MIN_KILLED = 0.95;
const MAX_OUTPUT_BYTES = 64 * 1_024 * 1_024;

type Outcome = "passed" | "failed" | "time-out";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    minutes: { type: "string", default: "25" },
    seconds: { type: "string", default: "90" },
    rules: { type: "boolean" },
  },
});
const root = fileURLToPath(new URL("../../", import.meta.url));
const timeout = 1_000 * Number(values.seconds);
const copy = new Copy(root);

const deadline = performance.now() + 60_000 * Number(values.minutes);
const chosen = [...rules, ...(values.rules ? [] : mutations)].filter(({ rule, file, to }) =>
  values.only === undefined || `${rule} ${file} ${to}`.includes(values.only)
);
const survivors: Mutation[] = [];
let run = 0, timedOut = 0;
try {
  checkTable();
  for (const mutation of chosen) {
    if (performance.now() > deadline) break;
    run++;
    const outcome = outcomeOf(mutation);
    const { rule, file, from, to } = mutation;
    const what = `${rule === undefined ? "" : `${rule}: `}${file}: ${from.trim()} → ${to.trim()}`;
    if (outcome === "time-out") {
      timedOut++;
      console.log(`killed by time-out after ${values.seconds} s: ${what}`);
    } else if (outcome === "passed") {
      survivors.push(mutation);
      console.log(`survives: ${what}`);
    }
  }
} finally {
  copy[Symbol.dispose]();
}
const killed = run - survivors.length;
const score = `${killed} of ${run} killed, ${(100 * killed / run).toFixed(1)} %`;
const how = `${killed - timedOut} by a test that failed, ${timedOut} by time-out`;
console.log(`${score} (${how}); ${chosen.length - run} not run in time`);
process.exitCode = killed / run < MIN_KILLED ? 1 : 0;

/** Fails if no result would mean anything: the table does not fit the source, or its tests fail by themselves. */
function checkTable(): void {
  if (chosen.length === 0) throw new TypeError(`Cannot mutate: no mutation has ${JSON.stringify(values.only)} in it`);
  const faults = chosen.flatMap((mutation) => misfits(mutation, copy.root));
  for (const fault of faults) console.log(fault);
  if (faults.length > 0) {
    throw new TypeError(`Cannot mutate: the table does not fit the source in ${faults.length} places`);
  }
  const sets = new Map(chosen.map(({ tests }) => [tests.join(" "), tests]));
  for (const [names, tests] of sets) {
    const { outcome, output } = runTests(tests);
    if (outcome === "passed") continue;
    console.log(output);
    const state = outcome === "failed" ? "fail" : `take more than ${values.seconds} s`;
    throw new Error(`Cannot mutate: tests ${state} before anything is changed: ${names}`);
  }
  console.log(`${sets.size} sets of tests pass unchanged, ${chosen.length} mutations follow`);
}

function outcomeOf(mutation: Mutation): Outcome {
  return copy.changed(mutation, () => runTests(mutation.tests).outcome);
}

function runTests(tests: readonly string[]): { outcome: Outcome; output: string } {
  const { status, stdout, stderr, error } = spawnSync(
    join(root, "node_modules/.bin/deno"),
    ["test", "-A", "--no-check", "--fail-fast", ...tests],
    { cwd: copy.root, timeout, encoding: "utf8", maxBuffer: MAX_OUTPUT_BYTES },
  );
  const code = (error as { code?: string } | undefined)?.code;
  if (code === "ETIMEDOUT") return { outcome: "time-out", output: "" };
  if (error !== undefined && code !== "ENOBUFS") throw error;
  return { outcome: status === 0 ? "passed" : "failed", output: (stdout + stderr).slice(-4_000) };
}
