/**
 * Simulates: `npm run simulate -- --seed 1 --runs 1000`. It ends with status 1 at the first run that breaks a rule, and prints
 * its seed and its frames; `--runs 1` with that seed repeats it to the byte.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { simulate, Violation } from "./simulation.ts";

const { values } = parseArgs({
  options: { seed: { type: "string", default: "1" }, runs: { type: "string", default: "1000" } },
});
const first = Number(values.seed);
const runs = Number(values.runs);
const started = performance.now();
let [accepted, failed, cuts] = [0, 0, 0];
for (let seed = first; seed < first + runs; seed++) {
  try {
    const report = await simulate(seed);
    accepted += report.accepted;
    failed += report.failed;
    cuts += report.cuts;
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    console.error(error.trace.join("\n"));
    console.error(error.cause);
    console.error(`Seed ${seed} breaks a rule: npm run simulate -- --seed ${seed} --runs 1`);
    process.exit(1);
  }
}
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
console.log(
  `${runs} runs in ${seconds} s, 0 violations: ${accepted} sends accepted, ${failed} not, ${cuts} connections cut`,
);
