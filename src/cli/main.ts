/**
 * The command line: sends and receives messages, runs a broker or gateway, traces frames, measures, diagnoses.
 *
 *     deno run -A jsr:@webamqp/amqp/cli send ws://localhost:5672 orders "one coffee"
 *
 * On Node and Bun, run the same file of the installed package: `node node_modules/@webamqp/amqp/src/cli/main.js`.
 *
 * @example Run a command from a program
 * ```ts
 * import { main } from "@webamqp/amqp/cli";
 *
 * console.assert(await main(["help"]) === 0);
 * ```
 *
 * @module
 */

import { realpathSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runCommand } from "./run.ts";
import { type Terminal, terminal } from "./terminal.ts";

/**
 * Runs the command in the words behind `webamqp`, and resolves with the exit status: 0 done, 1 failed, 2 usage error, 3
 * time-out, 130 after SIGINT, 143 after SIGTERM.
 *
 * @example
 * ```ts
 * import { main } from "@webamqp/amqp/cli";
 *
 * console.assert(await main(["send", "--help"]) === 0);
 * ```
 */
export function main(words: readonly string[]): Promise<number> {
  return runCommand(words, own ??= terminal());
}

// One for all calls, since each listens for errors of the output.
let own: Terminal | undefined;

// Not every supported Node has `import.meta.main`.
function isMain(): boolean {
  const { main } = import.meta as { main?: boolean };
  if (main !== undefined) return main;
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
}

if (isMain()) process.exitCode = await main(process.argv.slice(2));
