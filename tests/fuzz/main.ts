/**
 * Fuzzes for a given time: `tests/fuzz/main.ts --seconds 60 --seed 1 --target engine`.
 *
 * `--target weight` measures the cost of decoding per byte of input instead, and `--target floods` a broker's memory and
 * work per byte that a peer sends, worst shapes first.
 *
 * Each target runs one case after the other, all in turn unless one is named; a case is repeated by `--seconds 0` and its
 * own seed. It ends with status 1 at the first case that fails.
 *
 * @module
 */

import { parseArgs } from "node:util";
import process from "node:process";
import { random } from "../harness.ts";
import { printFloods } from "./floods.ts";
import { targets } from "./targets.ts";
import { printWeights } from "./weight.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    seed: { type: "string", default: String(crypto.getRandomValues(new Uint32Array(1))[0]) },
    target: { type: "string" },
  },
});
if (values.target === "weight") {
  printWeights();
  process.exit();
}
if (values.target === "floods") {
  await printFloods();
  process.exit();
}
const first = Number(values.seed) >>> 0;
const chosen = Object.entries(targets).filter(([name]) => values.target === undefined || name === values.target);
if (chosen.length === 0) throw new RangeError(`Cannot fuzz "${values.target}": targets are ${Object.keys(targets)}`);
console.log(`seed ${first}`);

const deadline = performance.now() + 1_000 * Number(values.seconds);
const counts = new Map<string, number>();
const spent = new Map<string, number>();
let cases = 0;
do {
  for (const [name, target] of chosen) {
    const started = performance.now();
    try {
      await target(random(first + cases));
    } catch (error) {
      console.error(`case ${first + cases} of "${name}" failed: --target ${name} --seed ${first + cases} --seconds 0`);
      console.error(error);
      process.exit(1);
    }
    counts.set(name, (counts.get(name) ?? 0) + 1);
    spent.set(name, (spent.get(name) ?? 0) + performance.now() - started);
  }
  cases++;
} while (performance.now() < deadline);
if ("gc" in globalThis) printWeights();
for (const [name, count] of counts) {
  console.log(`${name}: ${count} cases, ${Math.round(1_000 * count / spent.get(name)!)} a second`);
}
