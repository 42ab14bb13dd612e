/**
 * Installs packages of PyPI into environments of their own, which are kept for the next run.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Skipped } from "./suite.ts";

/** The interpreter of an environment that holds these packages. */
export function python(name: string, packages: readonly string[]): string {
  const folder = join(tmpdir(), `webamqp-interop-python-${name}`);
  const interpreter = join(folder, "bin", "python");
  // An environment cannot be moved once it is made, so a file marks it as complete.
  const mark = join(folder, "whole");
  const wanted = packages.join(" ");
  if (existsSync(mark) && readFileSync(mark, "utf8") === wanted) return interpreter;
  try {
    execFileSync("python3", ["-m", "venv", "--help"], { stdio: "ignore" });
  } catch {
    throw new Skipped("there is no python3 with venv on this machine");
  }
  execFileSync("python3", ["-m", "venv", "--clear", folder], { stdio: ["ignore", "inherit", "inherit"] });
  const pip = (...args: string[]): void => {
    execFileSync(interpreter, ["-m", "pip", "--quiet", ...args], { stdio: ["ignore", "inherit", "inherit"] });
  };
  const wheels = join(folder, "wheels");
  try {
    pip("download", "--dest", wheels, ...packages);
  } catch (error) {
    throw new Skipped(`pip cannot fetch ${wanted}: ${error}`);
  }
  // A failed installation is a failure. Build dependencies are downloaded now, and wheels built earlier, by other tools of
  // this machine, are not used.
  pip("install", "--no-cache-dir", "--find-links", wheels, ...packages);
  writeFileSync(mark, wanted);
  return interpreter;
}
