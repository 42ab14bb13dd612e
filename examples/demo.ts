/**
 * Sends a file line by line through AMQP 1.0 over a WebSocket and back, and compares every byte.
 *
 *     npm run demo -- [FILE] [--url URL] [--address QUEUE] [--wait SECONDS]
 *
 * Without `--url` the broker is the embedded one, on a port of this machine. Messages are sent with `sendAll`: as many at
 * a time as the link has credit for, and the outcome of each is waited for. Another connection receives them meanwhile and
 * compares them with the file, which it reads for itself, so that a file of any size passes through little memory.
 *
 * Exits with 0 if all came, in order, byte for byte; with 1 if not; with 2 if it was called wrongly.
 *
 * @module
 */

import { createReadStream } from "node:fs";
import { relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { connect, type Connection, type Delivery, type Message } from "@webamqp/amqp";
import { Broker } from "@webamqp/amqp/broker";
import { listen } from "@webamqp/amqp/node";

const USAGE = "Usage: demo [FILE] [--url URL] [--address QUEUE] [--wait SECONDS]";
const DEFAULT_FILE = fileURLToPath(new URL("../package-lock.json", import.meta.url));

/** A line that is longer goes in several messages. */
const MAX_PIECE_BYTES = 65_536;
/** Messages that the receiver lets come at a time. */
const CREDIT = 500;
/** Messages that the embedded broker keeps, lest a sender that is faster than the receiver fills its memory. */
const MAX_QUEUED = 2_000;
/** Missing messages that are remembered one by one. */
const MAX_MISSING = 10_000;
const PROGRESS_MS = 500;

/** Runs the demo; `print` takes the lines of its report, `progress` one that replaces the one before. */
export async function main(
  args: string[],
  print: (line: string) => void,
  progress: (line: string) => void = () => {},
): Promise<number> {
  const options = read(args);
  if (options === undefined) {
    print(USAGE);
    return 2;
  }
  try {
    return await run(options, print, progress);
  } catch (error) {
    print(`FAILED  ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

interface Options {
  readonly file: string;
  readonly url: string | undefined;
  readonly address: string;
  readonly waitMs: number;
}

function read(args: string[]): Options | undefined {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { url: { type: "string" }, address: { type: "string" }, wait: { type: "string" } },
    });
    const waitMs = Number(values.wait ?? "10") * 1_000;
    if (positionals.length > 1 || !(waitMs > 0)) return undefined;
    if (values.url !== undefined) new URL(values.url);
    // npm runs its scripts in the package's folder, wherever it was called.
    const from = process.env.INIT_CWD ?? process.cwd();
    const file = positionals[0] === undefined ? DEFAULT_FILE : resolve(from, positionals[0]);
    return { file, url: values.url, address: values.address ?? "demo", waitMs };
  } catch {
    return undefined;
  }
}

async function run(options: Options, print: (line: string) => void, progress: (line: string) => void): Promise<number> {
  await using broker = new Broker({ queue: { maxMessages: MAX_QUEUED } });
  await using listener = options.url === undefined
    ? await listen({ host: "127.0.0.1", port: 0, acceptor: broker, schemes: ["ws"] })
    : undefined;
  const url = options.url ?? `ws://127.0.0.1:${listener!.port}`;
  const { host, protocol } = new URL(url);
  const near = relative(process.cwd(), options.file);
  print(`FILE      ${near.startsWith("..") ? options.file : near}`);
  print(`BROKER    ${listener === undefined ? "" : "embedded, "}${protocol}//${host}, queue "${options.address}"`);

  await using producer = await connect(url);
  await using consumer = await connect(url);
  const tally = new Tally(progress);
  const giveUp = (error: Error): void => {
    producer.destroy(error);
    consumer.destroy(error);
  };
  const watch = setInterval(() => {
    if (tally.idleMs > options.waitMs) giveUp(new Error(`Nothing has moved for ${options.waitMs / 1_000} s: ${tally}`));
  }, Math.min(1_000, options.waitMs / 4));
  const check = new Check(options.file);
  // Tells the messages of this run from any that an earlier one has left.
  const name = crypto.randomUUID();
  try {
    const received = receive(consumer, options.address, { run: name, check, tally });
    received.ready.then(() => send(producer, options, { run: name, tally })).catch(giveUp);
    await received.done;
    await Promise.all([producer.close(), consumer.close()]);
  } finally {
    clearInterval(watch);
    giveUp(new Error("The demo is over"));
    await check.close();
  }
  return report(tally, check, print);
}

function report(tally: Tally, check: Check, print: (line: string) => void): number {
  const { sent, received, bytesSent, bytesReceived, elapsedMs } = tally;
  const rate = (amount: number): string => Math.round(amount / (elapsedMs / 1_000)).toLocaleString("en");
  print(`SENT      ${count(sent, "message")}, ${count(bytesSent, "byte")}, all accepted`);
  print(`RECEIVED  ${count(received, "message")}, ${count(bytesReceived, "byte")}, all accepted`);
  print(`TOOK      ${(elapsedMs / 1_000).toFixed(2)} s, ${rate(received)} messages/s, ${rate(bytesReceived)} bytes/s`);
  const problems = check.problems;
  if (problems.length === 0) print("OK        in order, byte for byte the same");
  for (const problem of problems) print(`FAILED    ${problem}`);
  return problems.length === 0 ? 0 : 1;
}

interface Run {
  readonly run: string;
  readonly tally: Tally;
}

async function send(connection: Connection, options: Options, { run, tally }: Run): Promise<void> {
  const sender = connection.sender(options.address);
  let index = 0n;
  async function* messages(): AsyncGenerator<Message> {
    for await (const body of pieces(options.file)) {
      tally.count("sent", body);
      yield { properties: { messageId: index++ }, applicationProperties: { "demo-run": run }, body };
    }
  }
  await sender.sendAll(messages());
  // Everything before it is accepted by now; what has not come when this one does is lost or late.
  await sender.send({
    properties: { messageId: index },
    applicationProperties: { "demo-run": run, "demo-end": true },
    body: new Uint8Array(0),
  });
}

function receive(
  connection: Connection,
  address: string,
  { run, check, tally }: Run & { check: Check },
): { ready: Promise<void>; done: Promise<void> } {
  const receiver = connection.receiver(address, { credit: CREDIT, settle: "manual" });
  async function loop(): Promise<void> {
    for await (const delivery of receiver) {
      if (await take(delivery)) return;
    }
  }
  async function take(delivery: Delivery): Promise<boolean> {
    const { properties, applicationProperties } = delivery.message;
    const from = applicationProperties?.["demo-run"];
    if (from === undefined) {
      delivery.release();
      throw new Error(`Queue "${address}" holds messages of somebody else`);
    }
    delivery.accept();
    if (from !== run) return false;
    const index = Number(properties?.messageId);
    if (applicationProperties?.["demo-end"] === true) {
      await check.finish(index);
      return true;
    }
    const body = delivery.message.bytes();
    tally.count("received", body);
    await check.compare(index, body);
    return false;
  }
  return { ready: receiver.ready(), done: loop() };
}

/** Holds what arrives against the file. */
class Check {
  readonly #expected: AsyncGenerator<Uint8Array>;
  readonly #missing = new Set<number>();
  #next = 0;
  #skipped = 0;
  #late = 0;
  #twice = 0;
  #different = 0;

  constructor(file: string) {
    this.#expected = pieces(file);
  }

  /** What was found, nothing if all is well. */
  get problems(): string[] {
    const first = this.#missing.values().next().value;
    const lost = this.#skipped - this.#late;
    return [
      lost > 0 ? `${count(lost, "message")} lost or late, the first is message ${first}` : "",
      this.#late > 0 ? `${count(this.#late, "message")} out of order` : "",
      this.#twice > 0 ? `${count(this.#twice, "message")} came twice` : "",
      this.#different > 0 ? `${count(this.#different, "message")} not the same as in the file` : "",
    ].filter((problem) => problem !== "");
  }

  async compare(index: number, body: Uint8Array): Promise<void> {
    if (index < this.#next) {
      if (this.#missing.delete(index)) this.#late++;
      else this.#twice++;
      return;
    }
    await this.#skipTo(index);
    this.#next++;
    const { value } = await this.#expected.next();
    if (value === undefined || !equal(value, body)) this.#different++;
  }

  async finish(total: number): Promise<void> {
    await this.#skipTo(total);
    const { done } = await this.#expected.next();
    if (!done) this.#different++;
  }

  async close(): Promise<void> {
    await this.#expected.return(undefined);
  }

  async #skipTo(index: number): Promise<void> {
    for (; this.#next < index; this.#next++) {
      this.#skipped++;
      if (this.#missing.size < MAX_MISSING) this.#missing.add(this.#next);
      if ((await this.#expected.next()).done) this.#different++;
    }
  }
}

/** Counts what passes, and says so from time to time. */
class Tally {
  sent = 0;
  bytesSent = 0;
  received = 0;
  bytesReceived = 0;

  readonly #progress: (line: string) => void;
  readonly #started = performance.now();
  #moved = this.#started;
  #told = this.#started;

  constructor(progress: (line: string) => void) {
    this.#progress = progress;
  }

  /** Milliseconds from the start to the last message, at least 1. */
  get elapsedMs(): number {
    return Math.max(1, this.#moved - this.#started);
  }

  /** Milliseconds since anything has moved. */
  get idleMs(): number {
    return performance.now() - this.#moved;
  }

  count(what: "sent" | "received", body: Uint8Array): void {
    this[what]++;
    this[what === "sent" ? "bytesSent" : "bytesReceived"] += body.length;
    this.#moved = performance.now();
    if (this.#moved - this.#told < PROGRESS_MS) return;
    this.#told = this.#moved;
    this.#progress(this.toString());
  }

  toString(): string {
    return `${count(this.sent, "message")} sent, ${this.received.toLocaleString("en")} received, ` +
      `${count(this.bytesReceived, "byte")}`;
  }
}

/** The lines of a file, each with what ends it, so that all of them together are the file. */
async function* pieces(file: string): AsyncGenerator<Uint8Array, undefined> {
  let rest = new Uint8Array(0);
  for await (const chunk of createReadStream(file) as AsyncIterable<Uint8Array>) {
    const bytes = rest.length === 0 ? chunk : joined(rest, chunk);
    let start = 0;
    for (;;) {
      const limit = start + MAX_PIECE_BYTES;
      const newline = bytes.indexOf(0x0a, start);
      const end = newline >= 0 && newline < limit ? newline + 1 : limit;
      if (end > bytes.length) break;
      yield bytes.subarray(start, end);
      start = end;
    }
    rest = new Uint8Array(bytes.subarray(start));
  }
  if (rest.length > 0) yield rest;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function count(n: number, what: string): string {
  return `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
}

if (import.meta.main) {
  const { stderr } = process;
  const progress = stderr.isTTY ? (line: string) => void stderr.write(`\r\x1b[K${line}\r`) : undefined;
  process.exitCode = await main(process.argv.slice(2), console.log, progress);
}
