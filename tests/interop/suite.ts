/**
 * The parts of every interop suite.
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
  /** The checks, in order. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/** Installs and starts what a suite needs. */
export type Prepare = () => Promise<Suite>;

/** Makes a suite that ends everything on the stack when it is closed or cannot be made. */
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

/** Installs Debian packages unless their program exists; needs root only then. */
export function installDebian(names: string, program: string): void {
  if (existsSync(program)) return;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update"], ["install", "--yes", "--no-install-recommends", ...names.split(" ")]]) {
    execFileSync("apt-get", ["--quiet", "--quiet", ...args], { env, stdio: ["ignore", "ignore", "inherit"] });
  }
}

/** The version of an installed Debian package, without Debian's own part. */
export function debianVersion(name: string): string {
  const version = execFileSync("dpkg-query", ["--show", "--showformat=${Version}", name], { encoding: "utf8" });
  return version.replace(/^\d+:|[-+~].*$/g, "");
}

/** A suite that cannot be run here, and why. */
export class Skipped extends Error {
  override readonly name = "Skipped";
}
