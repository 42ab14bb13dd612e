/**
 * The module as Node gets it: JSR hands it JavaScript, file by file.
 *
 * @module
 */

import { transformSync } from "esbuild";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Makes it, in a folder that goes away with this process, and gives the address of its main file. */
export function publish(): string {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-"));
  process.on("exit", () => rmSync(folder, { recursive: true }));
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts")).map((name) => join("src", name));
  for (const name of ["mod.ts", ...sources]) {
    const { code } = transformSync(readFileSync(join(root, name), "utf8"), { loader: "ts", format: "esm" });
    const path = join(folder, scriptOf(name));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code.replace(/(?<=\b(?:from |import\(|import )"\.[^"]*)\.ts(?=")/g, ".js"));
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  return pathToFileURL(join(folder, "mod.js")).href;
}

function scriptOf(name: string): string {
  return name.replace(/\.ts$/, ".js");
}
