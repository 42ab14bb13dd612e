import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { test } from "../harness.ts";
import { misfits } from "./tree.ts";
import { planted } from "../simulate/planted.ts";
import { rules } from "./rules.ts";
import { mutations } from "./table.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

test("mutations: each changes what stands once in its file, and names tests that are there", () => {
  assertEquals([...rules, ...mutations, ...planted].flatMap((mutation) => misfits(mutation, root)), []);
});

test("mutations: one that does not fit is told with its file and text", () => {
  const file = "tests/mutate/tree.ts", tests = ["tests/mutate"];
  const found = (change: object) => misfits({ file, from: "export function misfits", to: "", tests, ...change }, root);
  assertEquals(found({}), []);
  assertEquals(found({ from: "never here" + "!" }), [`${file}: stands there 0 times instead of once: never here!`]);
  assertEquals(found({ from: "@module" + "\n */\n", file: "none.ts" }).length, 1);
  assertEquals(found({ from: "faults.push" })[0]?.startsWith(`${file}: stands there 3 times`), true);
  assertEquals(found({ tests: ["tests/none_test.ts"] }), [`${file}: no such test: tests/none_test.ts`]);
  assertEquals(found({ tests: [] }).length, 1);
  assertEquals(found({ to: "export function misfits" }).length, 1);
});
