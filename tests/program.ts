/**
 * Runs a file of this package as a program of its own, under the runtime that runs the tests.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** A program that runs. */
export interface Program {
  /** What it reads. */
  readonly input: Writable;
  /** The lines that it prints, one by one. */
  readonly lines: AsyncIterator<string>;
  /** Ends its input, waits until it has ended, and gives its exit status; null if a signal ended it. */
  end(): Promise<number | null>;
  /** Tells it to end, as a supervisor does. */
  terminate(): void;
  /** Ends it in the middle of whatever it does. */
  kill(): Promise<void>;
}

const root = new URL("../", import.meta.url);

/** Starts a file that is named relative to the package's root; its errors go where those of the tests go. */
export function start(path: string, args: readonly string[] = []): Program {
  const options = "Deno" in globalThis ? ["run", "--quiet", "--allow-all"] : [];
  const child = spawn(process.execPath, [...options, fileURLToPath(new URL(path, root)), ...args], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    input: child.stdin,
    lines,
    // Not by the child's own method, after which Deno reports a signal as the end whatever the end was.
    terminate: () => void process.kill(child.pid!, "SIGTERM"),
    async kill(): Promise<void> {
      process.kill(child.pid!, "SIGKILL");
      while (!(await lines.next()).done);
      await closed;
    },
    async end(): Promise<number | null> {
      child.stdin.end();
      // Output that nobody reads would keep it from ending.
      while (!(await lines.next()).done);
      const [status] = await closed;
      return status;
    },
  };
}
