/**
 * Checks the architecture of src/: imports point down only, each runtime is known to its adapter alone, and loading a file
 * does nothing.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { test } from "./harness.ts";
import { imports, list, parse, read, type Source } from "./source.ts";

// The folders that the files of each folder may import; `entry` is mod.ts.
const BELOW: Readonly<Record<string, readonly string[]>> = {
  base: [],
  codec: ["base"],
  engine: ["base", "codec"],
  sasl: ["base", "codec"],
  filters: ["base", "codec"],
  management: ["base", "codec", "client"],
  azure: ["base", "codec", "sasl", "client"],
  transport: ["base"],
  recovery: ["base", "codec"],
  client: ["base", "codec", "engine", "sasl", "transport", "recovery"],
  server: ["base", "codec", "engine", "sasl", "transport", "client"],
  broker: ["base", "codec", "engine", "sasl", "transport", "client", "server"],
  trace: ["base", "codec", "engine", "transport"],
  gateway: ["base", "codec", "engine", "transport", "trace"],
  telemetry: ["base", "codec", "client"],
  testing: ["base", "codec", "transport", "trace", "client", "broker"],
  cli: ["base", "sasl", "entry", "transport", "server", "broker", "gateway", "trace"],
  entry: ["base", "codec", "engine", "sasl", "transport", "recovery", "client"],
};

const PACKAGES: readonly string[] = ["@std/bytes", "@std/encoding"];

// Names of one kind of runtime, and the one file that may use them.
const ADAPTERS: ReadonlyArray<{ file: string; code: RegExp; string: RegExp }> = [
  {
    file: "src/transport/runtime/node.ts",
    code: /\bprocess\s*\??\.|\bgetBuiltinModule\b|\bBuffer\b|\brequire\s*\(/,
    string: /^node:/,
  },
  { file: "src/transport/runtime/deno.ts", code: /\bDeno\b/, string: /^npm:|^jsr:/ },
  { file: "src/transport/runtime/bun.ts", code: /\bBun\b/, string: /^bun(:|$)/ },
  { file: "src/transport/runtime/workers.ts", code: /\bWebSocketPair\b/, string: /^cloudflare:/ },
];

// Files that a client must not load: they would be in every edge function.
const NOT_FOR_CLIENTS =
  /^src\/(server|broker|gateway|trace|azure|telemetry|testing|cli|transport\/runtime\/(node|deno|bun|workers))\b/;

function layerOf(path: string): string {
  return /^src\/(\w+)\//.exec(path)?.[1] ?? "entry";
}

function resolve(specifier: string, from: string): string {
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

function arrowsUp(path: string, source: Source): string[] {
  const layer = layerOf(path);
  return imports(source).filter(({ specifier }) => {
    if (specifier.startsWith(".")) {
      const other = layerOf(resolve(specifier, path));
      return other !== layer && !BELOW[layer]?.includes(other);
    }
    return !PACKAGES.includes(specifier) && !ADAPTERS.some(({ string }) => string.test(specifier));
  }).map(({ specifier }) => `${path} imports "${specifier}"`);
}

function runtimeTraces(path: string, source: Source): string[] {
  const found: string[] = [];
  // The command line is a program: it runs where there is a process.
  for (const { file, code, string } of path.startsWith("src/cli/") ? [] : ADAPTERS) {
    // The adapter, and its further files, such as `deno_rights.ts`.
    if (path === file || path.startsWith(file.replace(/\.ts$/, "_"))) continue;
    const trace = code.exec(source.code)?.[0] ?? source.strings.values().find((value) => string.test(value));
    if (trace !== undefined) found.push(`${path} has ${JSON.stringify(trace)}, which belongs in ${file}`);
  }
  // The command line prints; the default of option "log" does so for faults that nobody else would report.
  if (!/^src\/cli\/|^src\/base\/log\.ts$/.test(path) && /\bconsole\b/.test(source.code)) {
    found.push(`${path} writes to the console`);
  }
  return found;
}

// Each realm has built-in classes of its own: jsdom's in a test runner, an iframe's, those of a context of node:vm.
function blindToRealms(path: string, { code }: Source): string[] {
  const found = path === "src/base/kinds.ts" ? [] : code.match(/\binstanceof (Uint8Array|Map|Date)\b/g) ?? [];
  return found.map((test) => `${path} has ${test}, for which src/base/kinds.ts has a function`);
}

/** The circles of imports, type imports included; each as its files, the last importing the first. */
function circles(sources: ReadonlyMap<string, Source>): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  // Depth first: an import of a file on the current path closes a circle.
  const way: string[] = [];
  const visit = (path: string): void => {
    const at = way.indexOf(path);
    if (at >= 0) return void found.push(way.slice(at));
    const source = sources.get(path);
    if (done.has(path) || source === undefined) return;
    done.add(path);
    way.push(path);
    for (const { specifier } of imports(source)) if (specifier.startsWith(".")) visit(resolve(specifier, path));
    way.pop();
  };
  for (const path of sources.keys()) visit(path);
  return found;
}

/**
 * Functions that are written straight into a property of an object: `channel.onclose = () => …`.
 *
 * V8 puts such a function into old space, since that is how prototypes are filled. There it keeps what it reaches, such as a
 * whole connection, from every scavenge until the next full collection. A field of a class (`readonly #onclose = () => …`), a
 * literal or a variable of its own is young.
 */
function pretenured({ code }: Source): string[] {
  return [
    ...code.matchAll(
      /(?<!\b(?:const|let)\s+\w+:[^=\n]*)[\w\])!]\s*(?:\.\s*#?\w+|\[[^\]\n]*\])\s*=\s*(?:async\s*)?(?:function\b|\w+\s*=>|\()/g,
    ),
  ]
    .filter(({ index, 0: { length }, 0: found }) => {
      if (!found.endsWith("(")) return true;
      // A parenthesis begins an arrow function if an arrow follows it, perhaps behind a type.
      let depth = 1;
      let end = index + length;
      for (; depth > 0 && end < code.length; end++) depth += code[end] === "(" ? 1 : code[end] === ")" ? -1 : 0;
      return /^\s*(?::[^=;{}]+)?=>/.test(code.slice(end, end + 100));
    })
    .map(({ 0: found }) => found.split("=")[0]!.trim());
}

const LONGEST = 500;
const SHORTEST = 30;

// Names that adapters of several runtimes have in common.
const ALIKE: readonly string[] = ["dialSocket", "handler"];

/** Names that more than one file declares and exports. */
function ambiguous(sources: ReadonlyMap<string, Source>): string[] {
  const files = new Map<string, Set<string>>();
  for (const [path, { code }] of sources) {
    const declared = /^export (?:abstract |async )*(?:class|interface|type|const|function\*?) (\w+)/gm;
    for (const [, name] of code.matchAll(declared)) {
      if (!files.has(name!)) files.set(name!, new Set());
      files.get(name!)!.add(path);
    }
  }
  return [...files].filter(([, paths]) => paths.size > 1).map(([name, paths]) => `${name}: ${[...paths].join(", ")}`);
}

/** Every file that is loaded with `entry`. */
function loaded(entry: string, sources: ReadonlyMap<string, Source>): Set<string> {
  const reached = new Set([entry]);
  for (const path of reached) {
    const source = sources.get(path);
    if (source === undefined) continue;
    for (const { specifier, kind } of imports(source)) {
      if (kind === "static" && specifier.startsWith(".")) reached.add(resolve(specifier, path));
    }
  }
  return reached;
}

// Code that esbuild keeps although it costs nothing: file names, imports of packages, and arithmetic constants, such as
// `256 * 1024`.
const HARMLESS =
  /^(\/\/.*|import [^;]*"[^"]+";|var (\w+ = (\b[A-Z][A-Z_\d]*\b|\b\d[\w.]*\b|[\s*+\-/%<|&])+(, |;$))+|)$/;

/**
 * The code that remains of files, or of a text, when a bundler has dropped everything that loading does not need.
 *
 * esbuild knows that `new Map()` and the like have no effect and would drop them although they cost time at load, so they
 * are renamed to unknown names.
 */
function workAtLoad(contents: string, external: readonly string[] = []): string {
  const constructors = [
    "Map",
    "Set",
    "WeakMap",
    "WeakSet",
    "Date",
    "Symbol",
    "Array",
    "Object",
    "RegExp",
    "Uint8Array",
  ];
  const { outputFiles } = buildSync({
    stdin: { contents, loader: "ts", resolveDir: fileURLToPath(new URL("../", import.meta.url)) },
    define: Object.fromEntries(constructors.map((name) => [name, "unknown"])),
    bundle: true,
    format: "esm",
    target: "esnext",
    treeShaking: true,
    ignoreAnnotations: true,
    minifySyntax: true,
    external: ["node:*", "cloudflare:*", "@std/*", ...external],
    write: false,
    logLevel: "silent",
  });
  return outputFiles[0].text.split("\n").filter((line) => !HARMLESS.test(line)).join("\n");
}

const sources = new Map([...list("src", ".ts"), "mod.ts"].map((path) => [path, parse(read(path))]));

// esbuild starts a worker on first use, which deno would report as a leak of the first test.
workAtLoad("");

test("layers: arrows point down only", () => {
  assertEquals([...sources].flatMap(([path, source]) => arrowsUp(path, source)), []);
});

test("layers: no two files import each other in a circle, not even for types", () => {
  assertEquals(circles(sources).map((files) => [...files, files[0]].join(" → ")), []);
});

test("layers: a file is one idea: at most 500 lines, and at least 30", () => {
  const lines = [...sources.keys()].map((path) => ({ path, count: read(path).split("\n").length - 1 }));
  const long = lines.filter(({ count }) => count > LONGEST).map(({ path }) => path);
  assertEquals(long, [], `longer than ${LONGEST} lines`);
  assertEquals(lines.filter(({ count }) => count < SHORTEST).map(({ path }) => path), [], "belongs to its one user");
});

test("layers: the tests of a folder stand in one of its name", () => {
  const folders = new Set([...sources.keys()].map((path) => /^src\/(.+)\/[^/]+$/.exec(path)?.[1]).filter(Boolean));
  const tested = list("tests", "_test.ts");
  assertEquals([...folders].filter((folder) => !tested.some((path) => path.startsWith(`tests/${folder}/`))), []);
});

test("layers: one name, one meaning: no two files export the same name", () => {
  assertEquals(ambiguous(sources).filter((found) => !ALIKE.includes(found.split(":")[0]!)), []);
  const planted = new Map([
    ["src/a.ts", parse("export interface Place {}\nexport async function lost(): Promise<void> {}")],
    ["src/b.ts", parse("export class Place {}\nfunction lost() {}")],
  ]);
  assertEquals(ambiguous(planted), ["Place: src/a.ts, src/b.ts"]);
});

test("layers: each runtime is known to its adapter alone, the console to the command line and the log", () => {
  assertEquals([...sources].flatMap(([path, source]) => runtimeTraces(path, source)), []);
});

test("layers: built-in classes are told by what tells them in every realm", () => {
  assertEquals([...sources].flatMap(([path, source]) => blindToRealms(path, source)), []);
  assertEquals(blindToRealms("src/client/a.ts", parse("if (a instanceof Map) {} // instanceof Date")).length, 1);
});

test("layers: a client loads neither servers nor adapters", () => {
  assertEquals([...loaded("mod.ts", sources)].filter((path) => NOT_FOR_CLIENTS.test(path)), []);
});

test("layers: dialling over TCP loads neither WebSockets nor proxies, and over a WebSocket no proxies", () => {
  const needless = (path: string, folders: RegExp) => [...loaded(path, sources)].filter((found) => folders.test(found));
  const dial = "src/transport/socket/dial.ts";
  // Bounds of messages are those of all WebSockets.
  assertEquals(needless(dial, /\/(?:websocket\/(?!web_socket_channel)|http\/|proxy\/)/), []);
  assertEquals(needless("src/transport/socket/web_socket.ts", /\/proxy\//), []);
});

test("layers: the command line loads what a command needs when it runs", () => {
  assertEquals([...loaded("src/cli/main.ts", sources)].filter((path) => !path.startsWith("src/cli/")), []);
});

test("layers: loading a file does nothing", () => {
  const files = [...sources.keys()].filter((path) => !path.startsWith("src/cli/"));
  // Lazy imports and their importers are bundled separately: in one bundle, esbuild would wrap them in code that runs.
  const lazy = files.flatMap((path) =>
    imports(sources.get(path)!)
      .filter(({ specifier, kind }) => kind === "dynamic" && specifier.startsWith("."))
      .map(({ specifier }) => resolve(specifier, path))
  );
  const apart = files.filter((path) => [...loaded(path, sources)].some((reached) => lazy.includes(reached)));
  const together = files.filter((path) => !apart.includes(path)).map((path) => `import "./${path}";`).join("\n");
  const root = fileURLToPath(new URL("../", import.meta.url));
  const left = (paths: readonly string[]): string[] => paths.map((path) => `${root}${path}`);
  assertEquals(workAtLoad(together, left(lazy)), "");
  for (const path of apart) {
    const reached = loaded(path, sources);
    assertEquals(workAtLoad(`import "./${path}";`, left(lazy.filter((other) => !reached.has(other)))), "", path);
  }
});

test("layers: no function is written straight into a property, where V8 would keep what it reaches", () => {
  const files = [...sources].filter(([path]) => !path.startsWith("src/cli/"));
  assertEquals(files.flatMap(([path, source]) => pretenured(source).map((found) => `${path}: ${found}`)), []);
  const planted = parse(`
    a.onclose = () => {}; this.#b = async (x: number): Promise<void> => {}; c["d"] = function () {}; e[f] = g => g;
    const h = () => {}; a.i = h; a.j = (1 + 2) * 3; class K { l = () => {}; #m = (n) => {}; } a.o === (p) ; f({ q: () => {} });
  `);
  assertEquals(pretenured(planted).length, 4);
});

test("layers: every kind of import is seen, and nothing in comments or strings", () => {
  const source = parse(`
    import { type A, b } from "./static.ts"; import type { C } from './type.ts'; import * as d from "./star.ts";
    import "./bare.ts"; export * from "./again.ts"; export type { E } from "./again_type.ts"; import type f from "./f.ts";
    const g = await import("./dynamic.ts"), h: typeof import("./h.ts") = 1 / 2, i = /["'\`/]/;
    // import "./comment.ts"
    /* import "./block.ts" */ const j = "import './quoted.ts'", k = \`import "./\${import("./inside.ts")}}" \${{}}\`;
  `);
  assertEquals(
    imports(source).map(({ specifier, kind }) => `${kind} ${specifier}`).sort(),
    [
      "dynamic ./dynamic.ts",
      "dynamic ./h.ts",
      "dynamic ./inside.ts",
      "static ./again.ts",
      "static ./bare.ts",
      "static ./star.ts",
      "static ./static.ts",
      "type ./again_type.ts",
      "type ./f.ts",
      "type ./type.ts",
    ],
  );
});

test("layers: a planted circle is found, and told file by file", () => {
  const planted = (files: Record<string, string>) =>
    new Map(Object.entries(files).map(([path, text]) => [path, parse(text)]));
  const knot = {
    "src/a.ts": `import "./b.ts";`,
    "src/b.ts": `import type { A } from "./c.ts";`,
    "src/c.ts": `export * from "./a.ts";`,
  };
  assertEquals(circles(planted(knot)), [["src/a.ts", "src/b.ts", "src/c.ts"]]);
  assertEquals(circles(planted({ "src/a.ts": `const later = () => import("./a.ts");` })), [["src/a.ts"]]);
  assertEquals(circles(planted({ ...knot, "src/c.ts": `import "./d.ts";`, "src/d.ts": "" })), []);
});

test("layers: planted breaches are found", () => {
  assertEquals(arrowsUp("src/codec/a.ts", parse(`import type { B } from "../engine/b.ts";`)).length, 1);
  assertEquals(arrowsUp("src/transport/a.ts", parse(`export * from "../codec/b.ts";`)).length, 1);
  assertEquals(arrowsUp("src/base/errors.ts", parse(`import "../codec/b.ts";`)).length, 1);
  assertEquals(arrowsUp("src/client/a.ts", parse(`import "../../mod.ts"; import "left-pad";`)).length, 2);
  assertEquals(
    arrowsUp("src/engine/a.ts", parse(`import "./b.ts"; import "../codec/c.ts"; import "../base/errors.ts";`)),
    [],
  );

  for (
    const text of [
      `import type * as Net from "node:net";`,
      `const s = proc.getBuiltinModule?.("node:net");`,
      `if (globalThis.process?.env) {}`,
      `const b = Buffer.from([]);`,
      `(globalThis as { Deno?: unknown }).Deno`,
      `Bun.serve({})`,
      `new WebSocketPair()`,
      `console.log(1)`,
    ]
  ) assertEquals(runtimeTraces("src/client/a.ts", parse(text)).length, 1, text);
  assertEquals(
    runtimeTraces("src/client/a.ts", parse(`// Deno, Bun, console.log\nthrow new Error("No Deno, no Bun");`)),
    [],
  );
});

test("layers: work at load is told from plain literals and declarations", () => {
  const idle = `
    import { concat } from "@std/bytes";
    const LIMIT = 64 * 1024, OTHER = 256 * 1024 - LIMIT, name: string = "x", table = { a: { b: [1, 2n, /x/] }, f: (x: number) => new Map([[x, concat([])]]) } as const;
    class A extends Error { #x = new Map(); y: string[] = [].map(String); static z = 1; }
    function f(): Date { return new Date(); }
    type T2 = abstract new () => Error;
    let cache: Map<string, string> | undefined;
    type T = Map<string, string>;
  `;
  assertEquals(workAtLoad(idle), "");
  for (
    const text of [
      "new Map()",
      "new TextDecoder()",
      "[1].map(String)",
      "Object.freeze({})",
      "/* @__PURE__ */ f()",
      "{ a: [new Set()] }",
      "class { static x = new WeakMap() }",
      "[...other]",
      "navigator.userAgent",
    ]
  ) assertEquals(workAtLoad(`const x = ${text};`) === "", false, text);
});
