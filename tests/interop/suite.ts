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

/** Makes a suite that, when it is closed or cannot be made, ends all that was put on the stack. */
export async function prepared(
  make: (running: AsyncDisposableStack) => Promise<Omit<Suite, "close">>,
): Promise<Suite> {
  const running = new AsyncDisposableStack();
  try {
    return { ...await make(running), close: () => running.disposeAsync() };
  } catch (error) {
    await running.disposeAsync();
    throw error;
  }
}

/** Installs Debian packages unless the program that they bring is there; needs to be root only then. */
export function installDebian(names: string, program: string): void {
  if (existsSync(program)) return;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", ...names.split(" ")]]) {
    execFileSync("apt-get", ["--quiet", "--quiet", ...args], { env, stdio: ["ignore", "ignore", "inherit"] });
  }
}

/** The version of an installed Debian package, without Debian's own part of it. */
export function debianVersion(name: string): string {
  const version = execFileSync("dpkg-query", ["--show", "--showformat=${Version}", name], { encoding: "utf8" });
  return version.replace(/^\d+:|[-+~].*$/g, "");
}

/** A suite that cannot be run here, and why. */
export class Skipped extends Error {
  override readonly name = "Skipped";
}
