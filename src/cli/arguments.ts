/**
 * From the words on a command line, and the environment, to flags and arguments.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { type Command, connectionFlags, type Flag, flagsOf } from "./commands.ts";
import { Flags, type Given } from "./context.ts";
import { type Terminal, UsageError } from "./terminal.ts";

/**
 * Parses what follows a command's name; what is not given is looked for in the environment.
 *
 * @throws {UsageError} If a flag is not known, or a value is missing.
 */
export function parse(
  command: Command,
  words: readonly string[],
  env: Terminal["env"],
): { flags: Flags; args: string[] } {
  const known = flagsOf(command);
  const options = Object.fromEntries(
    Object.entries(known).map(([name, { value, short, multiple }]) => [name, {
      type: value === undefined ? "boolean" as const : "string" as const,
      ...(short === undefined ? {} : { short }),
      ...(multiple === undefined ? {} : { multiple }),
    }]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...words], options, allowPositionals: true });
    return { flags: new Flags({ ...fromEnvironment(known, env), ...values }), args: positionals };
  } catch (error) {
    // Its text says which flag, and how one would write it.
    throw new UsageError((error as Error).message.split(". ")[0]);
  }
}

/** The variable of the environment that stands for a flag. */
export function variableOf(flag: string): string {
  return `WEBAMQP_${flag.toUpperCase().replaceAll("-", "_")}`;
}

// Flags that say what to send or to do are for the command line alone: a variable that was left behind must not empty a queue.
function fromEnvironment(known: Readonly<Record<string, Flag>>, env: Terminal["env"]): Record<string, Given> {
  const found: Record<string, Given> = {};
  for (const [name, { value, multiple }] of Object.entries(known)) {
    const text = env[variableOf(name)];
    if (text === undefined || text === "" || !isForEnvironment(name)) continue;
    if (value === undefined) found[name] = text !== "0" && text !== "false";
    else found[name] = multiple ? text.split(",").map((part) => part.trim()) : text;
  }
  return found;
}

/** Whether a flag may be given by the environment. */
export function isForEnvironment(flag: string): boolean {
  return Object.hasOwn(connectionFlags, flag) || ["listen", "json", "timeout", "target", "origin"].includes(flag);
}
