/**
 * Runs the command line: in this process, or as one of its own, under the runtime of the tests.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { runCommand } from "../../src/cli/run.ts";

/** The result of a finished program. */
export interface Result {
  /** The exit code, or the name of the signal that ended the program. */
  readonly status: number | string | null;
  /** The standard output. */
  readonly out: string;
  /** The standard error. */
  readonly err: string;
}

export interface StartOptions {
  /** The standard input. Default: empty. */
  readonly input?: string | undefined;
  /** Additional environment variables. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** A running program. */
export interface Running {
  /** The next line of its output. */
  line(): Promise<string>;
  signal(name: NodeJS.Signals): void;
  /** Resolves when the program has ended. */
  result: Promise<Result>;
}

/** The package's root. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** The command that runs `webamqp` with these arguments. */
export function commandLine(words: readonly string[]): [program: string, ...args: string[]] {
  const runtime = "Deno" in globalThis ? ["run", "--quiet", "--allow-all"] : [];
  return [process.execPath, ...runtime, main, ...words];
}

/** Starts `webamqp` with these arguments. */
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

/** Runs `webamqp` to its end in this process, which starts none: its input, output and environment are those given here. */
export async function run(words: readonly string[], options: StartOptions = {}): Promise<Result> {
  let out = "", err = "";
  const decoder = new TextDecoder();
  const status = await runCommand(words, {
    interactive: false,
    typed: false,
    input: Readable.from([new TextEncoder().encode(options.input ?? "")]),
    env: { NO_COLOR: "1", BROWSER: "", ...options.env },
    write(text) {
      out += typeof text === "string" ? text : decoder.decode(text, { stream: true });
      return Promise.resolve();
    },
    report: (line) => void (err += `${line}\n`),
    progress() {},
  });
  return { status, out, err };
}

/** Runs `webamqp` to its end as a process. */
export function runProgram(words: readonly string[], options: StartOptions = {}): Promise<Result> {
  return start(words, options).result;
}

/** Follows a started program. */
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
    // After Deno's `child.kill`, the status is that signal, whatever ended the process.
    signal: (name) => process.kill(child.pid!, name),
  };
}
