/**
 * Proton of PyPI as a client of our broker: bodies, outcomes, selectors, browsing, durable subscriptions, transactions.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HOST } from "./daemon.ts";
import { runChecks } from "./maven.ts";
import { onEach, startRuntimes } from "./runtimes.ts";
import { prepared, Skipped, type Suite } from "./suite.ts";

const VERSION = "0.40.0";

/** What python/checks.py checks. */
const CHECKS = [
  "bodies of all kinds",
  "properties",
  "10 MB",
  "outcomes",
  "selector",
  "browse",
  "500 settled",
  "refused address",
  "durable subscription",
  "transactions",
] as const;

/** Brings Proton from PyPI, kept for the next run, and starts our broker. */
export function prepare(): Promise<Suite> {
  return prepared((running) => {
    const python = environment();
    const program = fileURLToPath(new URL("python/checks.py", import.meta.url));
    const runtimes = startRuntimes().map((runtime) => running.use(runtime));
    return Promise.resolve({
      peer: `python-qpid-proton ${VERSION}`,
      checks: onEach(runtimes, (runtime) => {
        let results: Promise<Map<string, string | undefined>> | undefined;
        const run = async (): Promise<Map<string, string | undefined>> =>
          await runChecks([python, program, `amqp://${HOST}:${await runtime.call("listen")}`]);
        return Object.fromEntries(CHECKS.map((name) => [name, async () => {
          const found = await (results ??= run());
          assertEquals([found.has(name), found.get(name)], [true, undefined]);
        }]));
      }),
    });
  });
}

// A virtual environment cannot be moved once it is made, so its mark is what says that it is whole.
function environment(): string {
  const folder = join(tmpdir(), `webamqp-interop-proton-${VERSION}`);
  const python = join(folder, "bin", "python");
  const mark = join(folder, "whole");
  if (existsSync(mark)) return python;
  try {
    execFileSync("python3", ["-m", "venv", "--help"], { stdio: "ignore" });
  } catch {
    throw new Skipped("there is no python3 with venv on this machine");
  }
  execFileSync("python3", ["-m", "venv", folder], { stdio: ["ignore", "inherit", "inherit"] });
  const args = ["-m", "pip", "--quiet", "install", `python-qpid-proton==${VERSION}`];
  execFileSync(python, args, { stdio: ["ignore", "inherit", "inherit"] });
  writeFileSync(mark, "");
  return python;
}
