/**
 * What is told of measurements: a table for each runtime, and one of how we stand beside the fastest.
 *
 * @module
 */

import type { Aim, Bench, Row } from "./bench.ts";

/** The result of one subject: the median of its rounds, the lowest and the highest. */
export type Figure = readonly [median: number, min: number, max: number];

/** The result of a bench on one runtime. */
export interface Outcome {
  /** When, and by how many rounds of how long. */
  readonly how: string;
  /** The figures, by the names that rows have for them. */
  readonly figures: Readonly<Record<string, Figure>>;
  /** Why there are none of a subject. */
  readonly missing: Readonly<Record<string, string>>;
}

/** The results of all benches on one runtime. */
export interface RuntimeOutcomes {
  /** The runtime's version. */
  readonly version: string;
  /** By the names of the benches. */
  readonly benches: Readonly<Record<string, Outcome>>;
}

/** How a table for one runtime begins. */
export const heading =
  "| what | ours (min – max) | against (min – max) | ratio | aim | met |\n| --- | ---: | ---: | ---: | ---: | --- |\n";

/** The lines of a bench in the table for a runtime. */
export function lines(bench: Bench, runtime: string, outcome: Outcome): string {
  return bench.rows.map((row) => line(bench, row, runtime, outcome)).join("");
}

function line(bench: Bench, row: Row, runtime: string, outcome: Outcome): string {
  const found = compare(row, outcome);
  if (typeof found === "string") return cells([row.title, found, "", "", "", ""]);
  const { above, below, ratio } = found;
  const bound = boundOf(row, runtime);
  return cells([
    row.title,
    ranged(above, bench.unit),
    below === undefined ? "" : `${row.over}: ${ranged(below, bench.unit)}`,
    below === undefined ? "" : `${plain(ratio)}×`,
    bound === undefined ? "" : `${sign(row)} ${bound}${below === undefined ? "" : "×"}`,
    met(row, runtime, ratio),
  ]);
}

/** The table of the fastest: a line for each row that names an anchor, a column for each runtime. */
export function summary(benches: readonly Bench[], all: Readonly<Record<string, RuntimeOutcomes>>): string {
  const runtimes = ["node", "deno", "bun"].filter((runtime) => all[runtime] !== undefined);
  const columns = ["what", "anchor", ...runtimes, "aim", "met"];
  let table = cells(columns) + cells(columns.map((_, i) => i > 1 && i <= 1 + runtimes.length ? "---:" : "---"));
  for (const bench of benches) {
    for (const row of bench.rows) {
      if (row.anchor === undefined) continue;
      const found = runtimes.map((runtime) => {
        const outcome = all[runtime]!.benches[bench.name];
        return outcome === undefined ? "not measured" : compare(row, outcome);
      });
      const bounds = runtimes.map((runtime) => boundOf(row, runtime));
      const aims = new Set(bounds).size === 1 ? bounds.slice(0, 1) : bounds;
      table += cells([
        `${row.title}, ${bench.unit}`,
        row.anchor,
        ...found.map((one) => typeof one === "string" ? one : beside(one, bench.unit)),
        aims.some((bound) => bound !== undefined)
          ? `${sign(row)} ${aims.map((bound) => bound ?? "–").join(" / ")}`
          : "",
        found.map((one, i) => typeof one === "string" ? "–" : met(row, runtimes[i]!, one.ratio) || "–").join(" / "),
      ]);
    }
  }
  return table;
}

function beside({ above, below, ratio }: Comparison, unit: string): string {
  if (below === undefined) return `${plain(above[0])} ${unit}`;
  return `${ratio.toFixed(2)} (${short(above[0])} / ${short(below[0])})`;
}

interface Comparison {
  readonly above: Figure;
  readonly below: Figure | undefined;
  /** One over the other, or the value itself. */
  readonly ratio: number;
}

// Or why there is nothing to compare.
function compare({ value, over }: Row, { figures, missing }: Outcome): Comparison | string {
  for (const name of [value, ...over === undefined ? [] : [over]]) {
    if (figures[name] === undefined) return missing[name.replace(/\.p\d+$/, "")] ?? "not measured";
  }
  const above = figures[value]!;
  const below = over === undefined ? undefined : figures[over]!;
  return { above, below, ratio: below === undefined ? above[0] : above[0] / below[0] };
}

function boundOf({ least, most }: Row, runtime: string): number | undefined {
  const aim: Aim | undefined = least ?? most;
  return typeof aim === "object" ? aim[runtime] : aim;
}

function sign({ least }: Row): string {
  return least === undefined ? "≤" : "≥";
}

function met(row: Row, runtime: string, ratio: number): string {
  const bound = boundOf(row, runtime);
  if (bound === undefined) return "";
  return (row.least === undefined ? ratio <= bound : ratio >= bound) ? "yes" : "no";
}

function cells(texts: readonly string[]): string {
  return `| ${texts.map((text) => text.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |\n`;
}

function ranged([median, min, max]: Figure, unit: string): string {
  return `${plain(median)} ${unit} (${plain(min)} – ${plain(max)})`;
}

// Three digits are more than such numbers are good for.
function plain(number: number): string {
  const digits = number >= 100 ? 0 : number >= 10 ? 1 : 2;
  return (number >= 1_000 ? Number(number.toPrecision(3)) : Number(number.toFixed(digits))).toLocaleString("en");
}

function short(number: number): string {
  return number.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
}
