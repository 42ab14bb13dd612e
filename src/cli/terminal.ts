/**
 * The input and output of a command, and its interruption.
 *
 * @module
 */

import process from "node:process";

/** An input stream; destroying it ends the wait for bytes. */
export type Input = AsyncIterable<Uint8Array> & { destroy(): unknown };

/** The terminal or pipes of a command. */
export interface Terminal {
  /** True if standard error is a terminal. */
  readonly interactive: boolean;
  /** True if the input is a terminal. */
  readonly typed: boolean;
  readonly input: Input;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to the output; resolves when more may be written. */
  write(text: string | Uint8Array): Promise<void>;
  /** Writes a line for people to standard error. */
  report(line: string): void;
  /** Replaces the progress line; undefined removes it. Does nothing without a terminal. */
  progress(line: string | undefined): void;
}

/**
 * The terminal or pipes of `streams`. On a terminal, texts cannot steer it: most come from peers. Into a pipe or file they go
 * as they are, as bytes do everywhere.
 */
export function terminal(streams: Pick<NodeJS.Process, "stdin" | "stdout" | "stderr" | "env"> = process): Terminal {
  const { stdin, stdout, stderr, env } = streams;
  let shown = false;
  let broken = false;
  // A reader that has seen enough, such as `head`, closes the output, which is no error.
  stdout.on("error", () => broken = true);
  const erase = (): void => {
    if (shown) stderr.write("\r\x1b[K");
    shown = false;
  };
  return {
    interactive: stderr.isTTY === true,
    typed: stdin.isTTY === true,
    input: {
      [Symbol.asyncIterator]: () => stdin[Symbol.asyncIterator](),
      destroy() {
        stdin.destroy();
        // Deno continues a pending read.
        const { Deno } = globalThis as { Deno?: { readonly stdin: { close(): void } } };
        try {
          Deno?.stdin.close();
        } catch {
          // Deno throws if the input was closed before.
        }
      },
    },
    env,
    write(text) {
      erase();
      if (broken) throw new BrokenPipe();
      const shown = typeof text === "string" && stdout.isTTY ? harmless(text) : text;
      if (stdout.write(shown)) return Promise.resolve();
      return new Promise((resolve) => {
        const settle = (): void => {
          stdout.off("drain", settle).off("error", settle);
          resolve();
        };
        stdout.on("drain", settle).on("error", settle);
      });
    },
    report(line) {
      erase();
      stderr.write(`${stderr.isTTY ? harmless(line) : line}\n`);
    },
    progress(line) {
      if (stderr.isTTY !== true) return;
      erase();
      if (line === undefined) return;
      stderr.write(harmless(line).slice(0, (stderr.columns ?? 80) - 1));
      shown = true;
    },
  };
}

/** Text on one line that cannot steer a terminal: move its cursor, set its title or clipboard, or turn the direction of writing. */
export function oneLine(text: string): string {
  return escaped(text, /[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu);
}

// The same for text whose line breaks and tabs are welcome.
function harmless(text: string): string {
  return escaped(text, /(?!\r\n|[\n\t])[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu);
}

// As `printable`, which is not loaded before a command needs it.
function escaped(text: string, unsafe: RegExp): string {
  return text.replace(unsafe, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** The reader of the output is gone. */
export class BrokenPipe extends Error {}

export class UsageError extends Error {}

/** The reason of the abort by SIGINT or SIGTERM. */
export class Interrupted extends Error {
  /** The exit status of the process. */
  readonly status: number;

  constructor(signal: "SIGINT" | "SIGTERM") {
    super("interrupted");
    this.status = signal === "SIGINT" ? 130 : 143;
  }
}

/** Runs `work` with a signal that the first Ctrl-C aborts; the second ends the process at once. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const listeners = (["SIGINT", "SIGTERM"] as const).map((name) => {
    const listener = (): void => {
      if (controller.signal.aborted) process.exit(new Interrupted(name).status);
      controller.abort(new Interrupted(name));
    };
    process.on(name, listener);
    return () => process.off(name, listener);
  });
  try {
    return await work(controller.signal);
  } finally {
    for (const leave of listeners) leave();
  }
}

/** A signal that is aborted after `milliseconds`, never if undefined; `stop` cancels that. */
export function deadline(milliseconds: number | undefined): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  if (milliseconds === undefined) return { signal: controller.signal, stop() {} };
  const timer = setTimeout(() => controller.abort(new Error("time is up")), milliseconds);
  return { signal: controller.signal, stop: () => clearTimeout(timer) };
}

/** Shows a progress line, renewed twice a second, until the returned function is called. */
export function showProgress(terminal: Terminal, line: () => string): () => void {
  if (!terminal.interactive) return () => {};
  const timer = setInterval(() => terminal.progress(line()), 500);
  return () => {
    clearInterval(timer);
    terminal.progress(undefined);
  };
}

/** The lines of a byte stream, without their endings. */
export async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  // The pieces of a line that has not ended: joined once, since a line of 100 MB comes in thousands.
  let pieces: string[] = [];
  for await (const chunk of input) {
    const [first, ...others] = decoder.decode(chunk, { stream: true }).split("\n");
    pieces.push(first!);
    for (const next of others) {
      const line = pieces.join("");
      pieces = [next];
      yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
  }
  const rest = pieces.join("") + decoder.decode();
  if (rest !== "") yield rest;
}

export async function bytesOfStream(input: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of input) chunks.push(new Uint8Array(chunk));
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** A number for people: `12,345`. */
export function count(n: number): string {
  return Math.round(n).toLocaleString("en");
}

export function counted(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}
