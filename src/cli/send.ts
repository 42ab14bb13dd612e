/**
 * `webamqp send`.
 *
 * @module
 */

import { open as openFile } from "node:fs/promises";
import { type Message, OutcomeError, type Sender } from "../../mod.ts";
import { Deferred } from "../base/wait.ts";
import { fileBytes, open } from "./connecting.ts";
import { addressed, type Context, fileMistake, type Flags } from "./context.ts";
import { messageOfJson, sectionsOf } from "./message.ts";
import {
  bytesOfStream,
  count,
  counted,
  type Input,
  linesOf,
  showProgress,
  type Terminal,
  UsageError,
} from "./terminal.ts";

// As many as a sender sends in parallel by default.
const MAX_PENDING = 2_048;
const DEFAULT_SIZE = 100;

export async function send(context: Context): Promise<number> {
  const { flags, terminal } = context;
  const { url, address, rest } = addressed(context);
  const source = await messagesOf(flags, rest, terminal);
  try {
    return await sendSource(context, url, address, source);
  } finally {
    // A pipe that stays open would keep the process alive, and a file of which nothing was read would stay open.
    source.input?.destroy();
  }
}

async function sendSource(context: Context, url: string, address: string, source: Messages): Promise<number> {
  const { flags, terminal, signal } = context;
  await using opened = await open(context, url);
  const sender = opened.connection.sender(address);
  await sender.ready({ signal });
  const tally = new Tally(source.total);
  const hide = showProgress(terminal, () => tally.line(sender));
  const watch = watchdog(flags.milliseconds("timeout"), () => tally.outcomes);
  try {
    await sendEach(sender, source.messages, {
      settled: flags.on("settled"),
      keepGoing: flags.on("keep-going"),
      signal: AbortSignal.any([signal, watch.signal]),
      tally,
    });
    await sender.close({ signal });
  } finally {
    watch.stop();
    hide();
    if (flags.on("json")) await terminal.write(`${JSON.stringify(tally.summary())}\n`);
    else terminal.report(tally.toString());
  }
  if (signal.aborted) throw signal.reason;
  return watch.signal.aborted ? 3 : tally.failed > 0 ? 1 : 0;
}

interface Sending {
  readonly settled: boolean;
  readonly keepGoing: boolean;
  readonly signal: AbortSignal;
  readonly tally: Tally;
}

async function sendEach(sender: Sender, items: AsyncIterable<Item>, sending: Sending): Promise<void> {
  const { settled, keepGoing, signal, tally } = sending;
  const pending = new Set<Promise<void>>();
  const stopped = new Deferred<void>();
  let room = (): void => {};
  let failure: unknown;
  const track = async ({ message, line }: Item): Promise<void> => {
    try {
      await sender.send(message, { settled, signal });
      tally.count(settled ? "settled" : "accepted");
    } catch (error) {
      if (signal.aborted) return;
      tally.count(error instanceof OutcomeError ? error.outcome : "failed");
      const text = `${line === undefined ? "" : `line ${line}: `}${(error as Error).message}`;
      tally.firstError ??= text;
      if (error instanceof OutcomeError) tally.firstRefusal ??= text;
      if (!keepGoing || !(error instanceof OutcomeError)) {
        failure ??= line !== undefined && (error instanceof TypeError || error instanceof RangeError)
          ? new UsageError(text)
          : error;
        stopped.resolve();
      }
    }
  };
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  try {
    for await (const item of until(items, stopped)) {
      if (signal.aborted || failure !== undefined) break;
      tally.sent++;
      const sent = track(item).finally(() => {
        pending.delete(sent);
        room();
      });
      pending.add(sent);
      // A race would leave a reaction with each promise for every message.
      if (pending.size >= MAX_PENDING) await new Promise<void>((resolve) => room = resolve);
    }
  } catch (error) {
    // Earlier messages are on their way, and may have failed first.
    await Promise.all(pending);
    failure ??= error;
  }
  await Promise.all(pending);
  if (failure !== undefined && !(failure instanceof OutcomeError)) throw failure;
}

/** The items of an iterable, until `stopped` settles. */
async function* until<T>(items: AsyncIterable<T>, stopped: Deferred<void>): AsyncGenerator<T, void, void> {
  const iterator = items[Symbol.asyncIterator]();
  let stop = (): void => {};
  stopped.promise.then(() => stop());
  while (!stopped.settled) {
    const next = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
      stop = () => resolve(undefined);
      iterator.next().then(resolve, reject);
    });
    if (next === undefined || next.done) return;
    yield next.value;
  }
}

/** A signal that is aborted when `moved()` has not changed for `timeoutMs`. */
export function watchdog(timeoutMs: number | undefined, moved: () => number): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  if (timeoutMs === undefined) return { signal: controller.signal, stop() {} };
  let last = moved(), at = performance.now();
  const timer = setInterval(() => {
    if (moved() !== last) {
      last = moved();
      at = performance.now();
    } else if (performance.now() - at >= timeoutMs) {
      controller.abort(new Error("time is up"));
    }
  }, Math.min(100, timeoutMs / 4));
  return { signal: controller.signal, stop: () => clearInterval(timer) };
}

/** A message, with the line of JSON that it comes from. */
interface Item {
  readonly message: Message;
  readonly line?: number;
}

interface Messages {
  readonly messages: AsyncIterable<Item>;
  readonly total: number | undefined;
  /** The stream to close, if the messages come from one. */
  readonly input?: Input;
}

async function messagesOf(flags: Flags, texts: readonly string[], terminal: Terminal): Promise<Messages> {
  const sections = sectionsOf(flags);
  const ways = ["file", "lines", "json-lines"].filter((name) => flags.text(name) !== undefined);
  if (ways.length + (texts.length > 0 ? 1 : 0) > 1) {
    throw new UsageError("messages come from one of TEXT, --file, --lines, --json-lines");
  }
  const times = flags.number("count"), size = flags.number("size");
  if (ways.length === 1 && size !== undefined) throw new UsageError(`--size and --${ways[0]} exclude each other`);
  const lines = flags.text("lines"), jsonLines = flags.text("json-lines"), file = flags.text("file");
  if (jsonLines !== undefined) {
    const input = await inputOf(flags, "json-lines", terminal);
    return { messages: fromJsonLines(input, sections), total: undefined, input };
  }
  if (lines !== undefined) {
    const input = await inputOf(flags, "lines", terminal);
    return { messages: fromLines(input, sections), total: undefined, input };
  }
  if (file !== undefined) {
    const body = file === "-" ? await bytesOfStream(terminal.input) : await fileBytes(flags, "file");
    return { messages: repeat([{ ...sections, body }], times ?? 1), total: times ?? 1 };
  }
  if (texts.length > 0) {
    return {
      messages: repeat(texts.map((body) => ({ ...sections, body })), times ?? 1),
      total: texts.length * (times ?? 1),
    };
  }
  if (times !== undefined || size !== undefined) {
    const body = Uint8Array.from({ length: size ?? DEFAULT_SIZE }, (_, i) => 0x61 + i % 26);
    return { messages: repeat([{ ...sections, body }], times ?? 1), total: times ?? 1 };
  }
  if (terminal.typed) throw new UsageError("TEXT is missing, or --file, --lines, --json-lines, --count");
  return { messages: fromLines(terminal.input, sections), total: undefined, input: terminal.input };
}

// Opens the file that a flag names, `-` for the input.
async function inputOf(flags: Flags, name: string, terminal: Terminal): Promise<Input> {
  const path = flags.text(name)!;
  if (path === "-") return terminal.input;
  try {
    const file = await openFile(path);
    if (!(await file.stat()).isDirectory()) return file.createReadStream();
    await file.close();
    throw Object.assign(new Error("is a directory"), { code: "EISDIR" });
  } catch (error) {
    throw fileMistake(name, path, error, "read");
  }
}

async function* repeat(messages: readonly Message[], times: number): AsyncGenerator<Item, void, void> {
  for (let i = 0; i < times; i++) for (const message of messages) yield { message };
}

async function* fromLines(input: AsyncIterable<Uint8Array>, sections: Message): AsyncGenerator<Item, void, void> {
  for await (const body of linesOf(input)) yield { message: { ...sections, body } };
}

async function* fromJsonLines(
  input: AsyncIterable<Uint8Array>,
  sections: Message,
): AsyncGenerator<Item, void, void> {
  let number = 0;
  for await (const line of linesOf(input)) {
    number++;
    if (line.trim() === "") continue;
    const message = located(number, () => messageOfJson(line));
    const { header, properties, applicationProperties } = message;
    const whole = {
      ...message,
      ...((header ?? sections.header) !== undefined && { header: { ...sections.header, ...header } }),
      ...((properties ?? sections.properties) !== undefined &&
        { properties: { ...sections.properties, ...properties } }),
      ...((applicationProperties ?? sections.applicationProperties) !== undefined &&
        { applicationProperties: { ...sections.applicationProperties, ...applicationProperties } }),
    };
    yield { message: whole, line: number };
  }
}

function located<T>(line: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new UsageError(`line ${line}: ${(error as Error).message}`);
  }
}

/** Counts messages by outcome. */
class Tally {
  sent = 0;
  outcomes = 0;
  firstError: string | undefined;
  firstRefusal: string | undefined;
  readonly #counts: Record<string, number> = {};
  readonly #total: number | undefined;
  readonly #start = performance.now();

  constructor(total: number | undefined) {
    this.#total = total;
  }

  /** The messages that were not accepted. */
  get failed(): number {
    const { accepted = 0, settled = 0 } = this.#counts;
    return this.outcomes - accepted - settled;
  }

  count(outcome: string): void {
    this.outcomes++;
    this.#counts[outcome] = (this.#counts[outcome] ?? 0) + 1;
  }

  line(sender: Sender): string {
    const seconds = this.#seconds();
    const rate = this.outcomes / seconds;
    const left = this.#total === undefined ? undefined : (this.#total - this.outcomes) / rate;
    const eta = left !== undefined && Number.isFinite(left) ? `  ETA ${Math.ceil(left)} s` : "";
    const of = this.#total === undefined ? "" : ` of ${count(this.#total)}`;
    return `${count(this.sent)}${of} sent  ${count(rate)}/s  credit ${sender.credit}  ${this.#outcomes()}${eta}`;
  }

  summary(): Record<string, unknown> {
    const seconds = Math.round(this.#seconds() * 1_000) / 1_000;
    return {
      sent: this.sent,
      ...this.#counts,
      seconds,
      ...(this.firstError !== undefined && { error: this.firstError }),
    };
  }

  toString(): string {
    const seconds = this.#seconds();
    const rate = this.sent > 1 ? `, ${count(this.sent / seconds)}/s` : "";
    const refusal = this.firstRefusal === undefined ? "" : `\n${this.firstRefusal}`;
    return `${counted(this.sent, "message")} sent: ${this.#outcomes() || "no outcome"} (${
      seconds.toFixed(2)
    } s${rate})${refusal}`;
  }

  #outcomes(): string {
    return Object.entries(this.#counts).map(([name, n]) => `${count(n)} ${name}`).join(", ");
  }

  #seconds(): number {
    return Math.max(0.001, (performance.now() - this.#start) / 1_000);
  }
}
