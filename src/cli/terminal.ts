/**
 * Where a command reads and writes, and how a person ends it.
 *
 * @module
 */

import process from "node:process";

/** Bytes that come from outside; destroying it is to wait for no more. */
export type Input = AsyncIterable<Uint8Array> & { destroy(): unknown };

/** What a command has of the terminal or pipe that it runs in. */
export interface Terminal {
  /** True when a person looks at what is written beside the output. */
  readonly interactive: boolean;
  /** True when somebody types the input. */
  readonly typed: boolean;
  /** What is piped in. */
  readonly input: Input;
  /** The environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to the output; resolves when more may be written. */
  write(text: string | Uint8Array): Promise<void>;
  /** Writes a line for people, beside the output. */
  tell(line: string): void;
  /** Replaces the progress line; undefined takes it away. Nothing where nobody looks. */
  progress(line: string | undefined): void;
}

/** The terminal of this process. */
export function terminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  let shown = false;
  let broken = false;
  // A reader that has seen enough, such as `head`, ends the output and is no error.
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
        // Deno goes on with the read that it has begun.
        const { Deno } = globalThis as { Deno?: { readonly stdin: { close(): void } } };
        try {
          Deno?.stdin.close();
        } catch {
          // It was closed before.
        }
      },
    },
    env: process.env,
    write(text) {
      erase();
      if (broken) throw new BrokenPipe();
      if (stdout.write(text)) return Promise.resolve();
      return new Promise((resolve) => stdout.once("drain", resolve).once("error", () => resolve()));
    },
    tell(line) {
      erase();
      stderr.write(`${line}\n`);
    },
    progress(line) {
      if (stderr.isTTY !== true) return;
      erase();
      if (line === undefined) return;
      stderr.write(line.slice(0, (stderr.columns ?? 80) - 1));
      shown = true;
    },
  };
}

/** Nobody reads the output any more. */
export class BrokenPipe extends Error {}

/** A command that was called wrongly. */
export class UsageError extends Error {}

/** What a signal of the system, such as Ctrl-C, asks of a command. */
export class Interrupted extends Error {
  /** What the process exits with. */
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

/** A signal that is aborted after that long, and what keeps it from that; without a time it never is. */
export function deadline(milliseconds: number | undefined): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  if (milliseconds === undefined) return { signal: controller.signal, stop() {} };
  const timer = setTimeout(() => controller.abort(new Error("time is up")), milliseconds);
  return { signal: controller.signal, stop: () => clearTimeout(timer) };
}

/** Shows a progress line, made anew twice a second, until the function that it gives is called. */
export function showProgress(terminal: Terminal, line: () => string): () => void {
  if (!terminal.interactive) return () => {};
  const timer = setInterval(() => terminal.progress(line()), 500);
  return () => {
    clearInterval(timer);
    terminal.progress(undefined);
  };
}

/** The lines of a stream of bytes, without what ends them. */
export async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of input) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
  }
  rest += decoder.decode();
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
