/**
 * Checks that requirements and tests fit each other.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import { chapters, reasons } from "./clauses.ts";
import { read } from "../source.ts";
import { peerAnswers } from "./peers.ts";
import { probes } from "./probes.ts";
import { sheet, testsById } from "./sheet.ts";

const ids = chapters.flatMap(({ clauses }) => Object.keys(clauses));

test("conformance: every requirement has a test that is named after it, or a reason", () => {
  const tests = testsById();
  assertEquals(ids.filter((id) => !tests.has(id) && reasons[id] === undefined), []);
});

test("conformance: every id in the name of a test is that of a requirement", () => {
  const families = new Set(ids.map((id) => id.split("-")[0]));
  const unknown = [...testsById().keys()].filter((id) => families.has(id.split("-")[0]) && !ids.includes(id));
  assertEquals(unknown, []);
});

test("conformance: reasons are given for requirements only", () => {
  assertEquals(Object.keys(reasons).filter((id) => !ids.includes(id)), []);
});

test("conformance: every peer was asked every question that there is", () => {
  const questions = probes.map(({ id, name }) => `${id}: ${name}`).sort();
  for (const { peer, answers } of peerAnswers()) assertEquals(Object.keys(answers).sort(), questions, peer);
});

test("conformance: the sheet has every requirement, and no test that is not there: npm run conformance", () => {
  // Rows by id; newer tests may be missing from the file, which changes nothing about what holds.
  const rows = (text: string): Map<string, string[]> =>
    new Map(
      text.split("\n").filter((line) => /^\| [A-Z]{2,4}-\d+ \|/.test(line)).map((line) => {
        const [, id, requirement, status, tests, others] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
        return [id!, [requirement!, status!.replace(/^\d+ tests?$/, "tested"), tests!, others!]];
      }),
    );
  const written = rows(read("docs/conformance.md")), now = rows(sheet());
  assertEquals([...written.keys()], [...now.keys()]);
  for (const [id, [requirement, status, tests, others]] of written) {
    const [requirementNow, statusNow, testsNow, othersNow] = now.get(id)!;
    assertEquals([requirement, others], [requirementNow, othersNow], id);
    if (status !== "tested" && statusNow === "tested") continue;
    assertEquals(status, statusNow, id);
    const known = new Set(testsNow!.split("<br>"));
    assertEquals(tests!.split("<br>").filter((name) => !known.has(name)), [], id);
  }
});
