/**
 * Keeps what was measured last, and writes it into the README.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, totalmem } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { heading, lines, type RuntimeOutcomes, summary } from "./report.ts";
import { everything, fastest } from "./fastest.ts";

type Outcomes = Readonly<Record<string, RuntimeOutcomes>>;

interface LastRun {
  readonly machine: string;
  readonly runtimes: Outcomes;
}

const FIGURES = new URL("last_run.json", import.meta.url);
const README = new URL("README.md", import.meta.url);

/** Puts what was measured in the place of what was measured before; what was not, stays. */
export function keep(measured: Outcomes): void {
  const before: LastRun = existsSync(FIGURES)
    ? JSON.parse(readFileSync(FIGURES, "utf8"))
    : { machine: "", runtimes: {} };
  const runtimes: Record<string, RuntimeOutcomes> = { ...before.runtimes };
  for (const [runtime, { version, benches }] of Object.entries(measured)) {
    runtimes[runtime] = { version, benches: { ...runtimes[runtime]?.benches, ...benches } };
  }
  const run: LastRun = { machine: machine(), runtimes };
  // A figure's three numbers stand in one line.
  const text = JSON.stringify(run, undefined, 2).replace(
    /\[\s+([^\]]*?)\s+\]/g,
    (_, inner: string) => `[${inner.replace(/,\s+/g, ", ")}]`,
  );
  writeFileSync(FIGURES, `${text}\n`);
  let readme = readFileSync(README, "utf8");
  readme = renewed(readme, "fastest", summary(fastest, runtimes));
  readme = renewed(readme, "tables", `${run.machine}; ${hows(runtimes)}.\n${tables(runtimes)}`);
  writeFileSync(README, readme);
  const files = [README, FIGURES].map((url) => fileURLToPath(url));
  execFileSync(fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url)), ["fmt", "--quiet", ...files]);
}

function renewed(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const [before, rest] = text.split(begin);
  if (rest === undefined) throw new Error(`Cannot write "${name}": the README has no place for it`);
  return `${before}${begin}\n\n${content.trim()}\n\n${end}${rest.split(end)[1]}`;
}

function tables(runtimes: Outcomes): string {
  let text = "";
  for (const [runtime, { version, benches }] of Object.entries(runtimes)) {
    text += `\n### ${runtime} ${version}\n\n${heading}`;
    for (const bench of everything) {
      const outcome = benches[bench.name];
      if (outcome !== undefined) text += lines(bench, runtime, outcome);
    }
  }
  return text;
}

function hows(runtimes: Outcomes): string {
  const all = Object.values(runtimes).flatMap(({ benches }) => Object.values(benches).map(({ how }) => how));
  return [...new Set(all)].toSorted().join(", ");
}

function machine(): string {
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return `${process.platform} ${arch()}, ${cpus().length} cores of ${cpus()[0]!.model}, ${gigabytes} GiB`;
}
