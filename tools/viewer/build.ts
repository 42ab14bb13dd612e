/**
 * Builds the viewer into one HTML file: `npm run viewer`.
 *
 * @module
 */

import { buildSync } from "esbuild";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("./", import.meta.url));

/** Tells by which sources of the viewer and of traces a file was built. */
export function sourcesHash(): string {
  const hash = createHash("sha256");
  for (const folder of [here, fileURLToPath(new URL("../../src/trace/", import.meta.url))]) {
    for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(`${folder}${name}`));
  }
  return hash.digest("hex").slice(0, 16);
}

/** The viewer as one HTML file. */
export function buildViewer(): string {
  const { outputFiles } = buildSync({
    entryPoints: [`${here}main.ts`],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
    legalComments: "none",
  });
  const style = buildSync({
    stdin: { contents: readFileSync(`${here}style.css`, "utf8"), loader: "css" },
    minify: true,
    write: false,
  });
  const script = outputFiles[0]!.text.trim().replaceAll("</script", "<\\/script");
  return readFileSync(`${here}index.html`, "utf8")
    .replace("sources-hash", sourcesHash)
    .replace("/* style.css */", () => style.outputFiles[0]!.text.trim())
    .replace("/* main.js */", () => script);
}

if (import.meta.main) {
  writeFileSync(fileURLToPath(new URL("../../src/cli/viewer.html", import.meta.url)), buildViewer());
}
