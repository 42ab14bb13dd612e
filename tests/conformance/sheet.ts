/**
 * The conformance sheet: which requirement is held by which tests.
 *
 * @module
 */

import { list, read } from "../source.ts";
import { chapters, reasons } from "./clauses.ts";
import { type PeerAnswers, peerAnswers } from "./peers.ts";
import { probes } from "./probes.ts";

// The names of tests, in any quotes; a scenario of two engines is one, too.
const TEST = /\b(?:test|scenario)\(\s*(["`])((?:(?!\1).)+)\1/gs;
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
  // Their names come from a table.
  for (const { id, name } of probes) found.set(id, [...found.get(id) ?? [], `a server is asked: ${name}`]);
  return found;
}

/** The sheet as Markdown. */
export function sheet(): string {
  const tests = testsById(), peers = peerAnswers();
  const lines = [
    "# Conformance",
    "",
    "Requirement by requirement: AMQP 1.0, its WebSocket binding, RFC 6455, proxies, extensions, and what hostile peers try. Each in our",
    "own words, with the tests that are named after it. `npm run conformance` writes this page. The last column has what others",
    "answer where that can be asked from outside: ✔ as required, — the connection ends without a word, otherwise what came instead.",
    `\`tests/conformance/ask.ts\` has asked ${
      peers.map(({ peer }) => peer).join(", ")
    }; our own broker answers each as required.`,
    "",
  ];
  let all = 0, tested = 0;
  for (const { title, clauses } of chapters) {
    lines.push(`## ${title}`, "", "| id | requirement | status | tests | others |", "|---|---|---|---|---|");
    for (const [id, text] of Object.entries(clauses)) {
      const names = tests.get(id) ?? [];
      all++;
      if (names.length > 0) tested++;
      const status = names.length > 0 ? `${names.length} test${names.length === 1 ? "" : "s"}` : "no test of its own";
      const what = names.length > 0 ? names.map(withoutIds).join("<br>") : reasons[id] ?? "";
      lines.push(`| ${id} | ${cell(text)} | ${status} | ${cell(what)} | ${others(id, peers)} |`);
    }
    lines.push("");
  }
  lines.splice(6, 0, "", `${tested} of ${all} requirements have tests of their own; the others say why not.`);
  return lines.join("\n");
}

function others(id: string, peers: readonly PeerAnswers[]): string {
  const lines = probes.filter((probe) => probe.id === id).map((probe) =>
    peers.map(({ peer, answers }) => {
      const answer = answers[`${id}: ${probe.name}`] ?? "not asked";
      const short = answer === "yes" ? "✔" : answer === "ends the connection without it" ? "—" : answer;
      return `${peer.split(" ")[0]} ${short}`;
    }).join(", ")
  );
  return lines.join("<br>");
}

function withoutIds(name: string): string {
  return name.replace(/^(?:[A-Z]{2,4}-\d+(?:, | and )?)+: /, "");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").replace(/<(?!br>)/g, "&lt;");
}
