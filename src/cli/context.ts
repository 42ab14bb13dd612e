/**
 * The context of a command: its flags, its arguments, its terminal.
 *
 * @module
 */

import { type Terminal, UsageError } from "./terminal.ts";

export interface Context {
  readonly flags: Flags;
  /** The arguments behind the command's name. */
  readonly args: readonly string[];
  readonly terminal: Terminal;
  /** Aborted by Ctrl-C, to end in order. */
  readonly signal: AbortSignal;
}

/** The parsed value of a flag. */
export type Given = string | boolean | readonly (string | boolean)[] | undefined;

/** The flags given on the command line or in the environment. */
export class Flags {
  readonly #values: Readonly<Record<string, Given>>;

  constructor(values: Readonly<Record<string, Given>>) {
    this.#values = values;
  }

  /** Whether a flag without a value is given. */
  on(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    return this.#values[name] as string | undefined;
  }

  texts(name: string): readonly string[] {
    return (this.#values[name] ?? []) as readonly string[];
  }

  /** The value of a flag as a whole number of at least `least`. */
  number(name: string, least = 0): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const number = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(number) && number >= least) return number;
    throw new UsageError(`--${name} "${text}" is not a whole number from ${least}`);
  }

  /** The value of a flag in seconds, as milliseconds. */
  milliseconds(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const seconds = Number(text);
    if (text.trim() !== "" && seconds > 0 && seconds <= 2_000_000) return seconds * 1_000;
    throw new UsageError(`--${name} "${text}" is not a number of seconds`);
  }

  /** The values of a flag of the form `NAME=VALUE`. */
  pairs(name: string, separator = "="): [name: string, value: string][] {
    return this.texts(name).map((text) => {
      const at = text.indexOf(separator);
      if (at < 1) throw new UsageError(`--${name} "${text}" is not of the form NAME${separator}VALUE`);
      return [text.slice(0, at), text.slice(at + 1)];
    });
  }
}

/** The URL of a connecting command, from the first argument or a flag, and the arguments behind it. */
export function splitUrl(
  { flags, args }: Pick<Context, "flags" | "args">,
): { url: string | undefined; rest: readonly string[] } {
  if (args[0]?.includes("://")) return { url: args[0], rest: args.slice(1) };
  return { url: flags.text("url"), rest: args };
}

/** The URL and the address of a command, and the arguments behind them. */
export function addressed(context: Context): { url: string; address: string; rest: readonly string[] } {
  const { url, rest } = splitUrl(context);
  const [address, ...others] = rest;
  if (address === undefined || address === "") throw new UsageError("ADDRESS is missing");
  if (url === undefined) throw missingUrl("URL", address);
  return { url, address, rest: others };
}

/** The error for a missing URL, which the help calls `what`; `first` may be meant as one. */
export function missingUrl(what: string, first: string | undefined): UsageError {
  if (first !== undefined && /^(localhost|\[[\da-f:]+\]|[\w-]+(\.[\w-]+)+|[\w-]+(?=:\d))(:\d+)?(\/|$)/i.test(first)) {
    return new UsageError(`"${first}" is no URL: write "amqp://${first}" or "ws://${first}"`);
  }
  return new UsageError(`${what} is missing: as the first argument${what === "URL" ? ", --url or WEBAMQP_URL" : ""}`);
}

/** The error for a flag whose file cannot be read or written. */
export function fileMistake(name: string, path: string, error: unknown, what: "read" | "written"): UsageError {
  return new UsageError(`--${name} "${path}" cannot be ${what}: ${(error as { code?: string }).code ?? error}`);
}

/**
 * Parses an address to listen at: `5672`, `:5672`, `0.0.0.0:5672`, `[::1]:5672`. Default host: `127.0.0.1`.
 *
 * @throws {UsageError} If it has another form.
 */
export function hostAndPort(text: string): { host: string; port: number } {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new UsageError(`"${text}" is not of the form [HOST:]PORT`);
  return { host: match[1] ?? (match[2] || "127.0.0.1"), port };
}
