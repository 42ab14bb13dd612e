/**
 * Checks the page of errors: every condition, outcome, code and kind of log entry has a line there, and no other.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import * as condition from "../src/base/condition.ts";
import { test } from "./harness.ts";
import { list, parse, read } from "./source.ts";

const page = read("docs/errors.md");

/** The first cells of the table in a section of the page. */
function rows(section: string): string[] {
  const start = page.indexOf(`## ${section}`);
  const [text] = page.slice(start + 3).split("\n## ");
  return [...text.matchAll(/^\| `([^`]+)` /gm)].map(([, cell]) => cell).sort();
}

/** The strings of a union type. */
function union(path: string, name: string): string[] {
  const text = read(path);
  const start = text.indexOf(`export type ${name} =`);
  return [...text.slice(start, text.indexOf(";", start)).matchAll(/^\s*(?:=|\|)?.*?"([^"]+)"/gm)].map(([, word]) =>
    word
  );
}

test("errors: every condition has its cause and remedy on the page", () => {
  assertEquals(rows("Conditions"), Object.values(condition).map(String).sort());
});

test("errors: every outcome, every code of the transport and of the log has its cause and remedy on the page", () => {
  assertEquals(rows("Codes of `TransportError`"), union("src/base/errors.ts", "TransportErrorCode").sort());
  assertEquals(rows("Entries of the log"), union("src/base/log.ts", "LogCode").sort());
  assertEquals(rows("Outcomes of `OutcomeError`"), ["lost", "modified", "rejected", "released"]);
});

test("errors: texts of the source are a sentence without a full stop that begins with what was being done", () => {
  const bad: string[] = [];
  for (const path of list("src", ".ts")) {
    for (const text of parse(read(path)).strings.values()) {
      if (!text.startsWith("Cannot ")) continue;
      // The state may be in the next piece of the template.
      if (/[.!?]$/.test(text)) bad.push(`${path}: ${text}`);
    }
  }
  assertEquals(bad, []);
});

test("errors: every kind of log entry is told somewhere", () => {
  const told = list("src", ".ts").map(read).join("\n");
  for (const code of union("src/base/log.ts", "LogCode")) {
    // An entry is logged where its code stands.
    assert(told.includes(`code: "${code}"`), `nothing tells ${code}`);
  }
});
