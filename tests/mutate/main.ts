/**
 * Changes one thing in the source at a time and runs the tests that must notice: `npm run mutate -- [--rules] [--only TEXT] [--minutes 25]`.
 *
 * It works in a copy of the tree, prints the survivors and the score, and ends with status 1 below 95 percent.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rules } from "./rules.ts";
import { type Mutation, mutations } from "./table.ts";

const LEAST_KILLED = 0.95;
const TIMEOUT_MS = 90_000;

const { values } = parseArgs({
  options: { only: { type: "string" }, minutes: { type: "string", default: "25" }, rules: { type: "boolean" } },
});
const root = fileURLToPath(new URL("../../", import.meta.url));
const copy = mkdtempSync(join(tmpdir(), "mutate-"));
for (
  const name of ["mod.ts", "src", "tests", "examples", "compat", "deno.json", "jsr.json", "package.json", "README.md"]
) {
  cpSync(join(root, name), join(copy, name), { recursive: true });
}
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));

const deadline = performance.now() + 60_000 * Number(values.minutes);
const chosen = [...rules, ...(values.rules ? [] : mutations)].filter(({ rule, file, to }) =>
  values.only === undefined || `${rule} ${file} ${to}`.includes(values.only)
);
const stale = chosen.filter(({ file, from }) => !existsSync(join(copy, file)) || countOf(file, from) !== 1);
if (stale.length > 0) {
  for (const { file, from } of stale) console.log(`not exactly once in ${file}: ${from}`);
  rmSync(copy, { recursive: true, force: true });
  throw new TypeError(`Cannot mutate: ${stale.length} mutations of the table do not fit the source`);
}
const survivors: Mutation[] = [];
let run = 0;
try {
  for (const mutation of chosen) {
    if (performance.now() > deadline) break;
    run++;
    if (survives(mutation)) {
      survivors.push(mutation);
      const { rule, file, from, to } = mutation;
      console.log(`survives: ${rule === undefined ? "" : `${rule}: `}${file}: ${from.trim()} → ${to.trim()}`);
    }
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
const killed = run - survivors.length;
console.log(`${killed} of ${run} killed, ${(100 * killed / run).toFixed(1)} %; ${chosen.length - run} not run in time`);
process.exitCode = killed / run < LEAST_KILLED ? 1 : 0;

function countOf(file: string, text: string): number {
  return readFileSync(join(copy, file), "utf8").split(text).length - 1;
}

function survives({ file, from, to, tests }: Mutation): boolean {
  const path = join(copy, file);
  const source = readFileSync(path, "utf8");
  writeFileSync(path, source.replace(from, () => to));
  try {
    const args = ["test", "-A", "--no-check", "--fail-fast", ...tests];
    return spawnSync(join(root, "node_modules/.bin/deno"), args, { cwd: copy, timeout: TIMEOUT_MS }).status === 0;
  } finally {
    writeFileSync(path, source);
  }
}
