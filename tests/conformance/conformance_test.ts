/**
 * Holds requirements and tests to each other.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import { chapters, reasons } from "./clauses.ts";
import { testsById } from "./sheet.ts";

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
