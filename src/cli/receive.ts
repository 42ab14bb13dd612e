/**
 * `webamqp receive`, `browse` and `drain`.
 *
 * @module
 */

import type { DecodedMessage, Delivery, Receiver } from "../../mod.ts";
import { open } from "./connecting.ts";
import { addressed, type Context, type Flags } from "./context.ts";
import { bodyText, describe, messageToJson } from "./message.ts";
import { watchdog } from "./send.ts";
import { count, counted, deadline, showProgress, type Terminal } from "./terminal.ts";

const WINDOW = 64;

/** Receives messages, and accepts each once it is printed. */
export async function receive(context: Context): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, address } = addressed(context);
  const most = flags.number("count", 1) ?? Infinity;
  const window = flags.number("credit", 1) ?? WINDOW;
  await using opened = await open(context, url);
  const receiver = opened.connection.receiver(address, { credit: "manual", settle: "manual" });
  await receiver.ready({ signal });
  const counter = new Counter(terminal, () => `credit ${receiver.credit}`);
  const watch = watchdog(flags.milliseconds("timeout"), () => counter.messages);
  const stop = AbortSignal.any([signal, watch.signal]);
  try {
    while (counter.messages < most) {
      topUp(receiver, window, most - counter.messages);
      const delivery = await receiver.receive({ signal: stop });
      await counter.take(delivery, flags);
      delivery.accept();
    }
  } catch (error) {
    if (!signal.aborted && !watch.signal.aborted) throw error;
  } finally {
    watch.stop();
    counter.end();
  }
  await receiver.close();
  if (signal.aborted && Number.isFinite(most)) throw signal.reason;
  if (!watch.signal.aborted || !Number.isFinite(most)) return 0;
  terminal.report(`webamqp: time is up, ${count(counter.messages)} of ${counted(most, "message")} came`);
  return 3;
}

/** Prints the messages of a queue, and leaves them there. */
export function browseQueue(context: Context): Promise<number> {
  return sweep(context, true, "seen");
}

/** Removes the messages of a queue. */
export function drain(context: Context): Promise<number> {
  return sweep(context, false, "removed");
}

// Grants credit and drains it: if less arrives than was granted, the queue is empty.
async function sweep(context: Context, browses: boolean, what: string): Promise<number> {
  const { flags, terminal, signal } = context;
  const { url, address } = addressed(context);
  const most = flags.number("count", 1) ?? Infinity;
  const timeoutMs = flags.milliseconds("timeout");
  await using opened = await open(context, url);
  const receiver = opened.connection.receiver(address, {
    credit: "manual",
    settle: "manual",
    ...(browses && { source: { distributionMode: "copy" } }),
  });
  await receiver.ready({ signal });
  const counter = new Counter(terminal, () => "");
  const prints = browses || flags.on("print");
  try {
    for (;;) {
      const asked = Math.min(WINDOW, most - counter.messages);
      if (asked === 0) break;
      receiver.grant(asked);
      if (!await drained(receiver, signal, timeoutMs)) {
        terminal.report("webamqp: time is up, the broker has not told whether that is all");
        return 3;
      }
      const came = receiver.buffered;
      for (let i = 0; i < came; i++) {
        const delivery = await receiver.receive();
        if (prints) await counter.take(delivery, flags);
        else counter.messages++;
        delivery.accept();
      }
      if (came < asked) break;
    }
  } finally {
    counter.end();
    if (flags.on("json") && !prints) await terminal.write(`${JSON.stringify({ [what]: counter.messages })}\n`);
    else terminal.report(`${counted(counter.messages, "message")} ${what}`);
  }
  await receiver.close();
  return 0;
}

// Waits until the broker has sent what it has; false if the time is up before.
async function drained(receiver: Receiver, signal: AbortSignal, timeoutMs: number | undefined): Promise<boolean> {
  const late = deadline(timeoutMs);
  try {
    await receiver.drain({ signal: AbortSignal.any([signal, late.signal]) });
    return true;
  } catch (error) {
    if (!late.signal.aborted || signal.aborted) throw error;
    return false;
  } finally {
    late.stop();
  }
}

function topUp(receiver: Receiver, window: number, wanted: number): void {
  const coming = receiver.credit + receiver.buffered;
  if (coming >= wanted || coming * 2 > window) return;
  receiver.grant(Math.min(window, wanted) - receiver.buffered);
}

class Counter {
  messages = 0;
  bytes = 0;
  readonly #terminal: Terminal;
  readonly #hide: () => void;
  readonly #start = performance.now();

  constructor(terminal: Terminal, state: () => string) {
    this.#terminal = terminal;
    this.#hide = showProgress(terminal, () => {
      const rate = this.messages / Math.max(0.001, (performance.now() - this.#start) / 1_000);
      return `${count(this.messages)} received  ${count(rate)}/s  ${state()}`;
    });
  }

  async take(delivery: Delivery, flags: Flags): Promise<void> {
    this.messages++;
    await printMessage(delivery.message, flags, this.#terminal);
  }

  end(): void {
    this.#hide();
  }
}

/** Prints a message by the flags `--json`, `--raw` and `--full`. */
export function printMessage(message: DecodedMessage, flags: Flags, terminal: Terminal): Promise<void> {
  if (flags.on("json")) return terminal.write(`${JSON.stringify(messageToJson(message))}\n`);
  if (flags.on("raw")) return terminal.write(rawBody(message));
  return terminal.write(`${flags.on("full") ? describe(message) : bodyText(message)}\n`);
}

function rawBody(message: DecodedMessage): Uint8Array | string {
  try {
    return message.bytes();
  } catch {
    return bodyText(message);
  }
}
