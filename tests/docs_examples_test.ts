/**
 * Checks that every exported class and function has an example, which imports the package and no file, and that links in
 * the pages work.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { assert, assertEquals } from "@std/assert";
import { test } from "./harness.ts";
import { list, read } from "./source.ts";

const entries: string[] = Object.values(JSON.parse(read("deno.json")).exports as Record<string, string>);

/** The file that declares each symbol of a module. */
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

/** The comment before the first declaration of a symbol. */
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

test("docs: the page of every entry begins with an example that runs", () => {
  const without = entries.filter((path) => {
    const [page = ""] = /^\/\*\*.*?\*\//s.exec(read(path.slice(2))) ?? [];
    return !page.includes("@module") || !/^ \* ```ts$/m.test(page);
  });
  assertEquals(without, []);
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

// At 230 words a minute; code and tables are not read word by word.
const FIVE_MINUTES = 1_150;

test("docs: the README is five minutes' reading at most, and has its two commands before all else", () => {
  const text = read("README.md");
  const prose = text.replace(/^```[^]*?^```$/gm, "").replace(/^ *\|.*$/gm, "");
  const words = prose.split(/\s+/).length;
  console.log(`${words} words in the README, besides code and tables`);
  assert(words <= FIVE_MINUTES, `${words} words`);
  const [first] = /^```sh\n([^]*?)^```$/m.exec(text)!.slice(1);
  assertEquals(first, "npm ci && npm run demo\nnpm ci && npm test\n");
  assert(text.indexOf(first) < text.indexOf("```ts"));
});

const pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/bench/README.md", ...list("docs", ".md")];

test("docs: every link from page to page leads to a file, and to a heading of it", () => {
  const dead: string[] = [];
  for (const page of pages) {
    const text = read(page).replace(/^ *```[^]*?^ *```$/gm, "");
    for (const [, link] of text.matchAll(/\]\((?!\w+:)([^)\s]*)\)/g)) {
      const [path, heading] = link.split("#");
      const target = path === "" ? page : new URL(path, `file:///${page}`).pathname.slice(1);
      if (!existsSync(new URL(`../${target}`, import.meta.url))) dead.push(`${page}: ${link}`);
      else if (heading !== undefined && !headingsOf(target).includes(heading)) dead.push(`${page}: ${link}`);
    }
  }
  assertEquals(dead, []);
});

// The anchors that GitHub makes of a page's headings.
function headingsOf(page: string): string[] {
  const headings = [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading.toLowerCase());
  return headings.map((heading) => heading.replace(/[^\w\- ]/g, "").replaceAll(" ", "-"));
}

test("docs: every broker's page says where, by what, to whom, and what keeps it alive", () => {
  const rows = ["URL", "subprotocol", "authentication", "addresses", "keep-alive"];
  for (const page of list("docs/brokers", ".md")) {
    const told = [...read(page).matchAll(/^\| (\S[^|]*?) +\| \S/gm)].map(([, row]) => row);
    assertEquals(rows.filter((row) => !told.includes(row)), [], page);
  }
});
