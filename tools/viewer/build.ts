/**
 * Builds the viewer into one HTML file: `npm run viewer`.
 *
 * @module
 */

import { buildSync } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hashOf, scriptOf } from "../page.ts";

const here = fileURLToPath(new URL("./", import.meta.url));

/** Tells by which sources of the viewer and of traces a file was built. */
export function sourcesHash(): string {
  return hashOf([here, fileURLToPath(new URL("../../src/trace/", import.meta.url))]);
}

/** The viewer as one HTML file. */
export function buildViewer(): string {
  const style = buildSync({
    stdin: { contents: readFileSync(`${here}style.css`, "utf8"), loader: "css" },
    minify: true,
    write: false,
  });
  const script = scriptOf(`${here}main.ts`);
  return readFileSync(`${here}index.html`, "utf8")
    .replace("sources-hash", sourcesHash)
    .replace("/* style.css */", () => style.outputFiles[0]!.text.trim())
    .replace("/* main.js */", () => script);
}

if (import.meta.main) {
  writeFileSync(fileURLToPath(new URL("../../src/cli/viewer.html", import.meta.url)), buildViewer());
}
