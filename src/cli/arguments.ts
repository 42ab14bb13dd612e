/**
 * Parsing of a command line and the environment into flags and arguments.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { type Command, connectionFlags, type Flag, flagsOf } from "./commands.ts";
import { Flags, type Given } from "./context.ts";
import { isField } from "./fields.ts";
import { type Terminal, UsageError } from "./terminal.ts";

/**
 * Parses the words behind a command's name; flags not given are looked up in the environment.
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
    const flags = new Flags({ ...fromEnvironment(known, env), ...values });
    checkCount(command, positionals, flags);
    return { flags, args: positionals };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // The runtime's text names the flag, and how to write it.
    const [text] = (error as Error).message.split(/[.;]\s/, 1);
    const [, given] = /^Option '(?:-\w, )?(--?[\w-]+).*' argument (?:is ambiguous|missing)/.exec(text!) ?? [];
    if (given !== undefined) {
      const name = Object.keys(known).find((name) => known[name]!.short === given.slice(1)) ?? given.slice(2);
      throw new UsageError(`--${name} has no value; one that begins with "-" is written --${name}=-VALUE`);
    }
    const unknown = /^Unknown option '--([^']+)'/.exec(text!)?.[1];
    if (unknown !== undefined && "set" in known && isField(unknown)) {
      throw new UsageError(`${text}, write --set ${unknown}=VALUE`);
    }
    const near = unknown && nearest(unknown, Object.keys(known));
    throw new UsageError(near ? `${text}, did you mean "--${near}"?` : text);
  }
}

// Surplus words are a mistake, such as a text without quotes.
function checkCount({ args }: Command, given: readonly string[], flags: Flags): void {
  if (args.includes("…")) return;
  const places = args.split(" ").filter((place) => place !== "");
  if (places[0] === "[URL]" && !given[0]?.includes("://") && flags.text("url") !== undefined) places.shift();
  const [surplus] = given.slice(places.length);
  if (surplus === undefined) return;
  const why = args.includes("TEXT") ? "; a text with blanks needs quotes" : "";
  throw new UsageError(`there is an argument too many: "${surplus}"${why}`);
}

/** The known word nearest to `word`: one that begins with it or that it begins with, or one within a typo or two. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const begun = known.find((one) => one.startsWith(word) || word.startsWith(one));
  if (begun !== undefined || word.length < 3) return begun;
  const distances = known.map((one): [string, number] => [one, distance(word, one)]);
  const [best] = distances.sort(([, a], [, b]) => a - b);
  return best !== undefined && best[1] <= (word.length < 5 ? 1 : 2) ? best[0] : undefined;
}

// The edit distance: letters to insert, remove, change, or swap with a neighbour.
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const [above, own] = [rows[i - 1]!, [i]];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      own[j] = Math.min(above[j]! + 1, own[j - 1]! + 1, above[j - 1]! + same);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) own[j] = Math.min(own[j]!, rows[i - 2]![j - 2]! + 1);
    }
    rows.push(own);
  }
  return rows.at(-1)!.at(-1)!;
}

/** The environment variable of a flag. */
export function variableOf(flag: string): string {
  return `WEBAMQP_${flag.toUpperCase().replaceAll("-", "_")}`;
}

// Flags that say what to send or to do are for the command line alone: a variable left behind must not empty a queue.
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

export function isForEnvironment(flag: string): boolean {
  return Object.hasOwn(connectionFlags, flag) || ["listen", "json", "timeout", "target", "origin"].includes(flag);
}
