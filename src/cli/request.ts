/**
 * `webamqp request` and `respond`.
 *
 * @module
 */

import { spawn } from "node:child_process";
import type { Connection, DecodedMessage, Delivery, Message, Sender } from "../../mod.ts";
import { fileBytes, open } from "./connecting.ts";
import { addressed, type Context } from "./context.ts";
import { sectionsOf } from "./message.ts";
import { printMessage } from "./receive.ts";
import { bytesOfStream, counted, deadline, UsageError } from "./terminal.ts";

/** Sends a request and prints its answer. */
export async function request(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, address, rest } = addressed(context);
  const file = flags.text("file");
  if (file !== undefined && rest.length > 0) throw new UsageError("give one TEXT or --file");
  const body = file === undefined
    ? rest[0] ?? (terminal.typed ? null : await bytesOfStream(terminal.input))
    : file === "-"
    ? await bytesOfStream(terminal.input)
    : await fileBytes(flags, "file");
  const timeoutMs = flags.milliseconds("timeout");
  await using opened = await open(context, url);
  const late = deadline(timeoutMs);
  try {
    const answer = await opened.connection.request(address, { ...sectionsOf(flags), body }, {
      signal: AbortSignal.any([signal, late.signal]),
    });
    await printMessage(answer, flags, terminal);
    return 0;
  } catch (error) {
    if (late.signal.aborted && !signal.aborted) {
      terminal.report(`webamqp: no answer from "${address}" in ${timeoutMs! / 1_000} s`);
      return 3;
    }
    throw error;
  } finally {
    late.stop();
  }
}

/** Answers requests until Ctrl-C. */
export async function respond(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, address, rest } = addressed(context);
  const command = flags.text("exec");
  if (rest.length > 0 && command !== undefined) throw new UsageError("give one TEXT or --exec");
  const most = flags.number("count", 1) ?? Infinity;
  const concurrency = flags.number("concurrency", 1) ?? 1;
  await using opened = await open(context, url);
  const answers = new Answers(opened.connection);
  const receiver = opened.connection.receiver(address, { credit: Math.min(concurrency, most) });
  await receiver.ready({ signal });
  terminal.report(`Answering requests at "${address}", Ctrl-C ends it`);
  const done = new AbortController();
  let answered = 0;
  const serving = receiver.serve(async (delivery: Delivery) => {
    const { message } = delivery;
    const body = command === undefined ? rest[0] ?? message.body : await output(command, message);
    await answers.send(message, { body });
    if (flags.on("json")) await terminal.write(`${JSON.stringify({ answered: ++answered })}\n`);
    else answered++;
    if (answered >= most) done.abort();
  }, {
    concurrency: Math.min(concurrency, most),
    signal: AbortSignal.any([signal, done.signal]),
    onerror: (error) => terminal.report(`webamqp: ${(error as Error).message}`),
  });
  await serving;
  terminal.report(`${counted(answered, "request")} answered`);
  return 0;
}

// Senders to requesters, the most recently used ones.
const MAX_SENDERS = 64;

class Answers {
  readonly #connection: Connection;
  readonly #senders = new Map<string, Sender>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async send(request: DecodedMessage, answer: Message): Promise<void> {
    const { replyTo, correlationId, messageId } = request.properties ?? {};
    if (replyTo === undefined) throw new Error("Cannot answer: the request names no replyTo");
    await this.#to(replyTo).send({ ...answer, properties: { correlationId: correlationId ?? messageId } });
  }

  #to(address: string): Sender {
    let sender = this.#senders.get(address);
    this.#senders.delete(address);
    if (sender === undefined || !sender.open) sender = this.#connection.sender(address);
    this.#senders.set(address, sender);
    if (this.#senders.size > MAX_SENDERS) {
      const [oldest, old] = this.#senders.entries().next().value!;
      this.#senders.delete(oldest);
      old.close().catch(() => {});
    }
    return sender;
  }
}

async function output(command: string, message: DecodedMessage): Promise<string | Uint8Array> {
  const child = spawn(command, { shell: true, stdio: ["pipe", "pipe", "inherit"] });
  const status = new Promise<number | null>((resolve, reject) => child.on("close", resolve).on("error", reject));
  // A command need not read its input.
  child.stdin.on("error", () => {});
  child.stdin.end(bytesFor(message));
  const bytes = await bytesOfStream(child.stdout);
  const code = await status;
  if (code !== 0) throw new Error(`Cannot answer: command exited with ${code}`);
  return typeof message.body === "string" ? new TextDecoder().decode(bytes) : bytes;
}

function bytesFor(message: DecodedMessage): Uint8Array {
  try {
    return message.bytes();
  } catch {
    return new TextEncoder().encode(JSON.stringify(message.body));
  }
}
