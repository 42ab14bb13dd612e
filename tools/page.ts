/**
 * Builds pages that are one file each: what the viewer and the front page share.
 *
 * @module
 */

import { buildSync } from "esbuild";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Tells by which sources a page was built: by this file, the files of `folders`, and `more`. */
export function hashOf(folders: readonly string[], ...more: (string | Uint8Array)[]): string {
  const hash = createHash("sha256").update(readFileSync(fileURLToPath(import.meta.url)));
  for (const part of more) hash.update(part);
  for (const folder of folders) {
    for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(`${folder}${name}`));
  }
  return hash.digest("hex").slice(0, 16);
}

/** A program and all that it imports, as the text of a script element. */
export function scriptOf(entry: string): string {
  const { outputFiles } = buildSync({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
    legalComments: "none",
  });
  return outputFiles[0]!.text.trim().replaceAll("</script", "<\\/script");
}
