/**
 * Runs a file of this package as a separate process, under the runtime of the tests.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** A running program. */
export interface Program {
  readonly input: Writable;
  /** The lines of its output. */
  readonly lines: AsyncIterator<string>;
  /** Ends the program's input and waits for its end; resolves with the exit status, null if a signal ended it. */
  end(): Promise<number | null>;
  /** Sends SIGTERM, as a supervisor does. */
  terminate(): void;
  /** Sends SIGKILL, and waits for the end. */
  kill(): Promise<void>;
}

const root = new URL("../", import.meta.url);

/** Starts a file named relative to the package's root; its errors go to those of the tests. */
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
    // Not the child's own method, after which Deno reports that signal, whatever the end was.
    terminate: () => void process.kill(child.pid!, "SIGTERM"),
    async kill(): Promise<void> {
      process.kill(child.pid!, "SIGKILL");
      while (!(await lines.next()).done);
      await closed;
    },
    async end(): Promise<number | null> {
      child.stdin.end();
      // Unread output would keep it from ending.
      while (!(await lines.next()).done);
      const [status] = await closed;
      return status;
    },
  };
}
