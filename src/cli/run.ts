/**
 * What the words of a command line mean: which command runs, with what, and the exit status that its end or failure has.
 *
 * @module
 */

import { nearest, parse } from "./arguments.ts";
import { type Command, commands } from "./commands.ts";
import type { Context } from "./context.ts";
import { commandHelp, connectionHelp, overview, VERSION } from "./help.ts";
import { BrokenPipe, Interrupted, interruptible, type Terminal, UsageError } from "./terminal.ts";

type Program = (context: Context) => Promise<number>;

// Loaded on use.
const programs: Readonly<Record<string, () => Promise<Program>>> = {
  send: async () => (await import("./send.ts")).send,
  receive: async () => (await import("./receive.ts")).receive,
  browse: async () => (await import("./receive.ts")).browseQueue,
  drain: async () => (await import("./receive.ts")).drain,
  request: async () => (await import("./request.ts")).request,
  respond: async () => (await import("./request.ts")).respond,
  broker: async () => (await import("./servers.ts")).broker,
  gateway: async () => (await import("./servers.ts")).runGateway,
  trace: async () => (await import("./trace.ts")).trace,
  bench: async () => (await import("./bench.ts")).bench,
  doctor: async () => (await import("./doctor.ts")).doctor,
  completion: async () => (await import("./completion.ts")).completion,
};

/** Runs the command in the words behind `webamqp` at a terminal, and resolves with the exit status. */
export async function runCommand(words: readonly string[], here: Terminal): Promise<number> {
  try {
    return await run(words, here);
  } catch (error) {
    if (error instanceof BrokenPipe) return 0;
    if (error instanceof Interrupted) return error.status;
    if (error instanceof UsageError) {
      const command = Object.hasOwn(commands, words[0] ?? "") ? `${words[0]} ` : "";
      here.report(`webamqp: ${error.message}\nSee webamqp ${command}--help`);
      return 2;
    }
    here.report(`webamqp: ${error instanceof Error ? error.message : String(error)}`);
    // An option that cannot be used is a usage error, such as a URL with another scheme.
    return error instanceof TypeError || error instanceof RangeError ? 2 : 1;
  }
}

async function run(words: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    await terminal.write(`${helpOn(rest[0])}\n`);
    return name === undefined ? 2 : 0;
  }
  if (name === "version" || name === "--version" || name === "-V") {
    await terminal.write(`webamqp ${VERSION}\n`);
    return 0;
  }
  const command = commandOf(name);
  const end = rest.indexOf("--");
  if ((end < 0 ? rest : rest.slice(0, end)).some((word) => word === "--help" || word === "-h")) {
    await terminal.write(`${commandHelp(name, command)}\n`);
    return 0;
  }
  const { flags, args } = parse(command, rest, terminal.env);
  const work = await programs[name]!();
  return await interruptible((signal) => work({ flags, args, terminal, signal }));
}

function helpOn(topic: string | undefined): string {
  if (topic === undefined) return overview();
  return topic === "connection" ? connectionHelp() : commandHelp(topic, commandOf(topic));
}

function commandOf(name: string): Command {
  if (Object.hasOwn(commands, name)) return commands[name]!;
  const near = nearest(name, [...Object.keys(commands), "help", "version"]);
  throw new UsageError(`there is no command "${name}"${near === undefined ? "" : `, did you mean "${near}"?`}`);
}
