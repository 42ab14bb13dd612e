/**
 * Our side of every suite: the program of `ours/main.ts`, run under Deno, Bun and Node.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Actions } from "./ours/main.ts";
import type { Suite } from "./suite.ts";

const COMMANDS = {
  deno: ["run", "--quiet", "--no-check", "--allow-all"],
  bun: [],
  node: ["--disable-warning=ExperimentalWarning"],
} as const;

/** The runtimes' names. */
export type RuntimeName = keyof typeof COMMANDS;

/** One runtime that runs our program. */
export interface Runtime extends AsyncDisposable {
  readonly name: RuntimeName;
  /** Runs one of the program's actions; several can run at once. */
  call<Name extends keyof Actions>(name: Name, ...args: Parameters<Actions[Name]>): Result<Name>;
}

type Result<Name extends keyof Actions> = Promise<Awaited<ReturnType<Actions[Name]>>>;

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

const root = new URL("../../", import.meta.url);

/** Starts our program under all runtimes. */
export function startRuntimes(): Runtime[] {
  return (Object.keys(COMMANDS) as RuntimeName[]).map(startRuntime);
}

/** The same checks for each runtime, prefixed by its name. */
export function onEach(runtimes: readonly Runtime[], checks: (runtime: Runtime) => Suite["checks"]): Suite["checks"] {
  return Object.fromEntries(
    runtimes.flatMap((runtime) =>
      Object.entries(checks(runtime)).map(([name, check]) => [`${runtime.name.padEnd(4)}  ${name}`, check])
    ),
  );
}

function startRuntime(name: RuntimeName): Runtime {
  const program = fileURLToPath(new URL(`node_modules/.bin/${name}`, root));
  const child = spawn(program, [...COMMANDS[name], fileURLToPath(new URL("ours/main.ts", import.meta.url))], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const waiting = new Map<number, (reply: Reply) => void>();
  const closed = once(child, "close");
  let ended: string | undefined;
  void closed.then(([code]) => {
    ended = `${name} ended with code ${code}`;
    for (const [id, settle] of waiting) settle({ id, error: ended });
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const reply = JSON.parse(line) as Reply;
    waiting.get(reply.id)?.(reply);
    waiting.delete(reply.id);
  });
  // Pending calls are rejected when the program has ended.
  child.stdin.on("error", () => {});
  let calls = 0;
  return {
    name,
    call(action, ...args) {
      const id = calls++;
      return new Promise((resolve, reject) => {
        if (ended !== undefined) throw new Error(ended);
        waiting.set(id, ({ value, error }) => {
          if (error === undefined) resolve(value as Awaited<Result<typeof action>>);
          else reject(new Error(error));
        });
        // JSON would make null of arguments left out at the end.
        const given = args.slice(0, args.findLastIndex((arg) => arg !== undefined) + 1);
        child.stdin.write(`${JSON.stringify({ id, action, args: given })}\n`);
      });
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await closed;
    },
  };
}
