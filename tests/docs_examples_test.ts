/**
 * Holds that every class and function that an entry exports has an example, which imports the package and no file.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { test } from "./harness.ts";
import { read } from "./source.ts";

const entries: string[] = Object.values(JSON.parse(read("deno.json")).exports as Record<string, string>);

/** Where each symbol of a module is declared, by its name. */
function exportsOf(path: string): Map<string, string> {
  const text = read(path);
  const found = new Map<string, string>();
  for (const [, name] of text.matchAll(/^export (?:default )?(?:abstract )?(?:async )?(?:class|function)\*? (\w+)/gm)) {
    found.set(name, path);
  }
  for (const [, names, from] of text.matchAll(/^export (?:type )?(\{[^}]*\}|\*) from "([^"]+)";/gm)) {
    const target = new URL(from, `file:///${path}`).pathname.slice(1);
    const there = exportsOf(target);
    const wanted = names === "*"
      ? [...there.keys()]
      : names.match(/[\w$]+(?: as [\w$]+)?/g)!.filter((n) => n !== "type");
    for (const name of wanted) {
      const declared = there.get(name.split(" as ")[0]);
      if (declared !== undefined) found.set(name.split(" as ")[0], declared);
    }
  }
  return found;
}

/** The comment in front of the first declaration of a symbol. */
function commentOf(name: string, text: string): string {
  const at = text.search(new RegExp(`^export (?:abstract )?(?:async )?(?:class|function)\\*? ${name}\\b`, "m"));
  const before = text.slice(0, at).trimEnd();
  return before.endsWith("*/") ? before.slice(before.lastIndexOf("/**")) : "";
}

const symbols = new Map<string, string>();
for (const entry of entries) for (const [name, path] of exportsOf(entry.slice(2))) symbols.set(`${path} ${name}`, name);

test("docs: every class and function of every entry has an example", () => {
  const without = [...symbols].filter(([key, name]) => {
    const [path] = key.split(" ");
    return !commentOf(name, read(path)).includes("@example");
  });
  console.log(`${symbols.size} classes and functions, ${without.length} without an example`);
  assertEquals(without.map(([key]) => key), []);
});

test("docs: examples import the package, not files", () => {
  const shown = new Set(
    [...symbols.keys()].map((key) => key.split(" ")[0]).concat(entries.map((path) => path.slice(2))),
  );
  for (const path of shown) {
    for (const [line] of read(path).matchAll(/^ *\* *import .*from "[^"]*";$/gm)) {
      const [, from] = /from "([^"]*)"/.exec(line)!;
      if (/^(?:@webamqp\/amqp(?:\/\w+)?|node:\w+|@opentelemetry\/api)$/.test(from)) continue;
      assertEquals(`${path}: ${from}`, "");
    }
  }
});
