/**
 * Builds the front page of the documentation, `docs/index.html`: `npm run site`.
 *
 * @module
 */

import { buildSync } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("./", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));

/** The front page as one HTML file. */
export function buildSite(): string {
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
  const viewer = readFileSync(`${root}src/cli/viewer.html`).toString("base64");
  const script = outputFiles[0]!.text.trim().replaceAll("</script", "<\\/script");
  return readFileSync(`${here}index.html`, "utf8")
    .replace("/* viewer.html */", () => viewer)
    .replace("/* main.js */", () => script);
}

if (import.meta.main) writeFileSync(`${root}docs/index.html`, buildSite());
