import { assertEquals } from "@std/assert";
import { EventEmitter } from "node:events";
import type process from "node:process";
import { describe } from "../../src/cli/message.ts";
import { terminal } from "../../src/cli/terminal.ts";
import { decodeMessage, encodeMessage } from "../../mod.ts";
import { test } from "../harness.ts";

// Sets the clipboard, clears the screen (in two ways), turns the direction, goes back in its line, rings.
const STEERING = "\x1b]52;c;cm0gLXJmCg==\x07\x1b[2J\x9b2J\u202erm\rok\x7f";
const SHOWN = "\\u{1b}]52;c;cm0gLXJmCg==\\u{7}\\u{1b}[2J\\u{9b}2J\\u{202e}rm\\u{d}ok\\u{7f}";
const ORDINARY = "one\ttwo\nthree\r\nnaïve 日本 👩‍🚀 עברית\n";

/** A terminal, or a pipe, with what is written to it. */
function streams(isTTY: boolean): { given: typeof process; written: Record<"out" | "err", (string | Uint8Array)[]> } {
  const written = { out: [], err: [] } as Record<"out" | "err", (string | Uint8Array)[]>;
  const output = (to: (string | Uint8Array)[]) => ({
    isTTY,
    columns: 200,
    on() {},
    write: (text: string | Uint8Array) => to.push(text) > 0,
  });
  const given = { stdin: {}, stdout: output(written.out), stderr: output(written.err), env: {} };
  return { given: given as unknown as typeof process, written };
}

test("CLI ATK-15: a peer's text does not steer the terminal that it is printed on", async () => {
  const { given, written } = streams(true);
  const { write, report, progress } = terminal(given);
  const bytes = new TextEncoder().encode(STEERING);
  await write(STEERING);
  await write(ORDINARY);
  await write(bytes);
  report(STEERING);
  progress(STEERING);
  assertEquals(written, { out: [SHOWN, ORDINARY, bytes], err: [`${SHOWN}\n`, SHOWN] });
});

test("CLI: a pipe gets texts as they are", async () => {
  const { given, written } = streams(false);
  await terminal(given).write(STEERING);
  assertEquals(written.out, [STEERING]);
});

test("CLI: waiting for a full pipe again and again leaves no listeners behind", async () => {
  const stdout = Object.assign(new EventEmitter(), { write: () => false });
  const stderr = Object.assign(new EventEmitter(), { write: () => true });
  const given = { stdin: {}, stdout, stderr, env: {} } as unknown as typeof process;
  const { write } = terminal(given);
  const before = stdout.listenerCount("error");
  for (const event of ["drain", "error"]) {
    const written = write("x");
    stdout.emit(event, new Error("gone"));
    await written;
    assertEquals([stdout.listenerCount("drain"), stdout.listenerCount("error")], [0, before]);
  }
});

test("CLI ATK-15: no name or text of a message adds a line to those of its sections", () => {
  const message = decodeMessage(encodeMessage({
    properties: { subject: "a\nproperties.userId: root" },
    applicationProperties: { "b\r\nheader.durable": true },
    body: "x",
  }));
  assertEquals(describe(message).split("\n"), [
    "properties.subject: a\\u{a}properties.userId: root",
    "applicationProperties.b\\u{d}\\u{a}header.durable: true",
    "x",
    "",
  ]);
});
