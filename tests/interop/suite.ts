/**
 * What every interop suite is made of.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";

/** Checks against one foreign program, which runs until `close`. */
export interface Suite {
  /** The program and its version. */
  readonly peer: string;
  /** What is checked, in this order. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/** Installs and starts what a suite needs. */
export type Prepare = () => Promise<Suite>;

/** Installs a Debian package unless the program that it brings is there; needs to be root only then. */
export function installDebian(name: string, program: string): void {
  if (existsSync(program)) return;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", name]]) {
    execFileSync("apt-get", ["--quiet", "--quiet", ...args], { env, stdio: ["ignore", "ignore", "inherit"] });
  }
}
