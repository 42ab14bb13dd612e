/**
 * Builds programs in Go, cached for the next run.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Skipped } from "./suite.ts";

/** The path of the program whose source is the folder `source` beside this file; a change of its main.go builds it anew. */
export function goProgram(source: string, name: string): string {
  const cwd = fileURLToPath(new URL(`${source}/`, import.meta.url));
  const digest = createHash("sha256").update(readFileSync(join(cwd, "main.go"))).digest("hex").slice(0, 12);
  const folder = join(tmpdir(), "webamqp-interop-go");
  const program = join(folder, `${name}-${digest}`);
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/local/go/bin` };
  try {
    execFileSync("go", ["version"], { stdio: "ignore", env });
  } catch {
    throw new Skipped("there is no Go on this machine");
  }
  execFileSync("go", ["build", "-o", program, "."], { cwd, stdio: ["ignore", "inherit", "inherit"], env });
  return program;
}
