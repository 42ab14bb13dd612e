/**
 * The conformance sheet: which requirement is held by which tests.
 *
 * @module
 */

import { list, read } from "../source.ts";
import { chapters, reasons } from "./clauses.ts";

// The names of tests, in whatever quotes.
const TEST = /\btest\(\s*(["`])((?:(?!\1).)+)\1/gs;
const ID = /\b[A-Z]{2,4}-\d+\b/g;

/** The names of all tests by the ids in them. */
export function testsById(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const path of list("tests", "_test.ts")) {
    for (const [, , name] of read(path).matchAll(TEST)) {
      for (const [id] of name!.matchAll(ID)) {
        const names = found.get(id) ?? [];
        if (!names.includes(name!)) names.push(name!);
        found.set(id, names);
      }
    }
  }
  return found;
}

/** The sheet as Markdown. */
export function sheet(): string {
  const tests = testsById();
  const lines = [
    "# Conformance",
    "",
    "Requirement by requirement: AMQP 1.0, its WebSocket binding, RFC 6455, proxies, extensions, and what hostile peers try. Each in our",
    "own words, with the tests that are named after it. `npm run conformance` writes this page.",
    "",
  ];
  let all = 0, tested = 0;
  for (const { title, clauses } of chapters) {
    lines.push(`## ${title}`, "", "| id | requirement | status | tests |", "|---|---|---|---|");
    for (const [id, text] of Object.entries(clauses)) {
      const names = tests.get(id) ?? [];
      all++;
      if (names.length > 0) tested++;
      const status = names.length > 0 ? `${names.length} test${names.length === 1 ? "" : "s"}` : "no test of its own";
      const what = names.length > 0 ? names.map(withoutIds).join("<br>") : reasons[id] ?? "";
      lines.push(`| ${id} | ${cell(text)} | ${status} | ${cell(what)} |`);
    }
    lines.push("");
  }
  lines.splice(4, 0, "", `${tested} of ${all} requirements have tests of their own; the others say why not.`);
  return lines.join("\n");
}

function withoutIds(name: string): string {
  return name.replace(/^(?:[A-Z]{2,4}-\d+ ?)+: /, "");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").replace(/<(?!br>)/g, "&lt;");
}
