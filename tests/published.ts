/**
 * The package as users of npm get it from JSR: JavaScript and declarations per file, specifiers rewritten.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { list, read } from "./source.ts";

/** A project with the package installed, in a folder that is deleted with this process. */
export interface Project {
  readonly folder: string;
  /** The address of the package's main file. */
  readonly main: string;
  /** The errors of per-file declarations; none if every public type is written down. */
  readonly faults: readonly string[];
}

const root = fileURLToPath(new URL("../", import.meta.url));

const DECLARATIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.esnext.d.ts", "lib.dom.d.ts", "lib.dom.asynciterable.d.ts"],
  types: ["node"],
  allowImportingTsExtensions: true,
  declaration: true,
  emitDeclarationOnly: true,
  isolatedDeclarations: true,
  strict: true,
};

/** Makes a project with the package installed, including declarations if `declarations` is true. */
export function install({ declarations }: { declarations: boolean }): Project {
  const folder = mkdtempSync(join(tmpdir(), "webamqp-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const faults: string[] = [];
  const put = (path: string, text: string): void => {
    const file = join(folder, "node_modules/@webamqp/amqp", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  };
  const sources = ["mod.ts", ...list("src", ".ts")];
  for (const path of sources) {
    const { outputText } = ts.transpileModule(read(path), {
      compilerOptions: { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext },
      fileName: path,
    });
    put(path.replace(/\.ts$/, ".js"), rewritten(outputText));
  }
  for (const path of list("src", ".html")) put(path, read(path));
  if (declarations) {
    const program = ts.createProgram(sources.map((path) => join(root, path)), DECLARATIONS);
    program.emit(undefined, (path, text) => put(path.slice(root.length), rewritten(text)));
    for (const { code, file, messageText, start } of ts.getPreEmitDiagnostics(program)) {
      // Errors of isolated declarations only; deno checks the code, with its own libraries.
      if (code < 9007 || code > 9039 || file === undefined) continue;
      const { line } = file.getLineAndCharacterOfPosition(start ?? 0);
      faults.push(
        `${file.fileName.slice(root.length)}:${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`,
      );
    }
  }
  put("package.json", JSON.stringify(manifest(), null, 2));
  installStd(folder);
  writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
  return { folder, main: pathToFileURL(join(folder, "node_modules/@webamqp/amqp/mod.js")).href, faults };
}

function manifest(): unknown {
  const { name, version, exports } = JSON.parse(read("jsr.json")) as {
    name: string;
    version: string;
    exports: Record<string, string>;
  };
  const entries = Object.entries(exports).map(([entry, path]) => {
    const bare = path.replace(/\.ts$/, "");
    return [entry, { types: `${bare}.d.ts`, default: `${bare}.js` }];
  });
  return { name, version, type: "module", exports: Object.fromEntries(entries) };
}

// JSR's packages for npm import the standard library by an alias.
function rewritten(code: string): string {
  return code
    .replace(/(?<=(?:\bfrom |\bimport\(|\bimport )")(\.[^"]*)\.ts(?=")/g, "$1.js")
    .replace(/(?<=(?:\bfrom |\bimport\(|\bimport )")@std\/(?=\w+")/g, "@jsr/std__");
}

function installStd(folder: string): void {
  for (const path of list("compat/std", "mod.js")) {
    const name = /std\/(\w+)\//.exec(path)![1]!;
    const to = join(folder, "node_modules/@jsr", `std__${name}`);
    mkdirSync(to, { recursive: true });
    const code = read(path).replace(/(?<=from ")deno-std\/(?=[^"]+")/g, () => `${modules()}/deno-std/`);
    writeFileSync(join(to, "mod.js"), code);
    writeFileSync(join(to, "mod.d.ts"), read(path.replace(/\.js$/, ".d.ts")));
    const described = JSON.parse(readFileSync(new URL(`../${dirname(path)}/package.json`, import.meta.url), "utf8"));
    writeFileSync(join(to, "package.json"), JSON.stringify({ ...described, name: `@jsr/std__${name}` }));
  }
}

function modules(): string {
  return new URL("../node_modules", import.meta.url).href;
}
