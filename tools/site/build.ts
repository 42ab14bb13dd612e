/**
 * Builds the front page of the documentation, `docs/index.html`: `npm run site`.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hashOf, scriptOf } from "../page.ts";

const here = fileURLToPath(new URL("./", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Tells by which sources of the page a file was built: its own, the README's figures, and the viewer. The library in its demo is
 * that of the day, and is built again with the next release.
 */
export function sourcesHash(): string {
  return hashOf([here], comparison(), readFileSync(`${root}src/cli/viewer.html`));
}

// The table of the README, which has the figures.
function comparison(): string {
  const readme = readFileSync(`${root}README.md`, "utf8");
  const [, lines] = /^## How it compares\n[^]*?\n((?:\|.*\n)+)/m.exec(readme)!;
  const [head, , ...rows] = lines!.trim().split("\n").map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
  return `<table>${row(head!, "th")}${rows.map((cells) => row(cells, "td")).join("")}</table>`;
}

/** The front page as one HTML file. */
export function buildSite(): string {
  const viewer = readFileSync(`${root}src/cli/viewer.html`).toString("base64");
  const script = scriptOf(`${here}main.ts`);
  return readFileSync(`${here}index.html`, "utf8")
    .replace("sources-hash", sourcesHash())
    .replace("<!-- comparison -->", () => comparison())
    .replace("/* viewer.html */", () => viewer)
    .replace("/* main.js */", () => script);
}

if (import.meta.main) writeFileSync(`${root}docs/index.html`, buildSite());
