/**
 * Runs the command line as a program of its own, under the runtime that runs the tests.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What a program has left behind. */
export interface Result {
  /** The exit code; the name of the signal that ended it. */
  readonly status: number | string | null;
  /** What it has written. */
  readonly out: string;
  /** What it has told beside that. */
  readonly err: string;
}

/** How a program is started. */
export interface StartOptions {
  /** What it reads. Default: nothing. */
  readonly input?: string | undefined;
  /** Further variables of its environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** A program that runs. */
export interface Running {
  /** The next line that it writes. */
  line(): Promise<string>;
  /** Sends a signal. */
  signal(name: NodeJS.Signals): void;
  /** Waits for its end. */
  result: Promise<Result>;
}

/** Package's root. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** What is typed into a shell to run `webamqp` with these words. */
export function commandLine(words: readonly string[]): [program: string, ...args: string[]] {
  const runtime = "Deno" in globalThis ? ["run", "--quiet", "--allow-all"] : [];
  return [process.execPath, ...runtime, main, ...words];
}

/** Starts `webamqp` with these words. */
export function start(words: readonly string[], options: StartOptions = {}): Running {
  const [program, ...args] = commandLine(words);
  return watch(
    spawn(program, args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1", BROWSER: "", ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    }),
    options.input,
  );
}

/** Runs `webamqp` to its end. */
export function run(words: readonly string[], options: StartOptions = {}): Promise<Result> {
  return start(words, options).result;
}

/** Follows a program that was started. */
export function watch(child: ChildProcess, input = ""): Running {
  let out = "", err = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => out += text);
  child.stderr!.setEncoding("utf8").on("data", (text: string) => err += text);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  child.stdin!.on("error", () => {});
  child.stdin!.end(input);
  const result = new Promise<Result>((resolve) => {
    child.on("close", (status, signal) => resolve({ status: status ?? signal, out, err }));
  });
  return {
    result,
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`Cannot read line: program has ended: ${err}`);
      return value;
    },
    // Deno's `child.kill` tells of the signal as what has ended it, whatever came of it.
    signal: (name) => process.kill(child.pid!, name),
  };
}
